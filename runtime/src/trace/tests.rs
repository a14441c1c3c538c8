//! Traces as they are sent, read again by their own messages.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::run::event::{Outcome, Unobserved};

fn step(name: &str) -> StepId {
    StepId(name.to_owned())
}

fn recorder(url: &str, parent: Option<&str>) -> Recorder {
    let get = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => Some(url.to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("x-key=open%20sesame".to_owned()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("2000".to_owned()),
        "TRACEPARENT" => parent.map(str::to_owned),
        _ => None,
    };
    Recorder::begin(Arc::new(Unobserved), &get).unwrap().unwrap()
}

fn watched(recorder: &Recorder) {
    recorder.event(Event::Started { step: step("pack/main"), control: Control::default() });
    let error = "no route".to_owned();
    recorder.event(Event::Retrying {
        step: step("pack/main"),
        attempt: 1,
        wait: Duration::from_secs(2),
        error,
    });
    recorder.event(Event::Warning { step: step("pack/main"), text: "a file changed".to_owned() });
    let took = Duration::from_millis(1500);
    recorder.event(Event::Finished {
        step: step("pack/main"),
        outcome: Outcome::Failed("full".to_owned()),
        took,
    });
    recorder.event(Event::Started { step: step("unlock"), control: Control::default() });
    recorder.event(Event::Finished {
        step: step("commit/x"),
        outcome: Outcome::NotRun("so".to_owned()),
        took,
    });
}

/// Answers one request, and gives it.
fn collector(answer: Vec<u8>, status: &'static str) -> (String, JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut read, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let size = stream.read(&mut part).unwrap();
            read.extend_from_slice(&part[..size]);
            let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(read[..end].to_vec()).unwrap().to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if read.len() >= end + 4 + length.unwrap() {
                let head_of_answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                stream.write_all(&[head_of_answer.into_bytes(), answer].concat()).unwrap();
                return (head, read[end + 4..].to_vec());
            }
        }
    });
    (url, thread)
}

#[test]
fn a_run_is_a_span_and_each_step_one_below_it() {
    let (url, thread) = collector(Vec::new(), "200 OK");
    let recorder = recorder(&url, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    watched(&recorder);
    recorder.send("shop", Err("it could not begin")).unwrap();
    let (head, body) = thread.join().unwrap();
    assert!(
        head.contains("content-type: application/x-protobuf") && head.contains("x-key: open sesame"),
        "{head}"
    );
    let export = Export::decode(body.as_slice()).unwrap();
    let spans = &export.resource_spans[0].scope_spans[0].spans;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["run", "pack/main", "unlock"]);
    let (root, pack) = (&spans[0], &spans[1]);
    assert_eq!((root.trace_id[0], root.parent_span_id[7]), (0x0a, 0x31));
    assert_eq!(root.status.as_ref().unwrap().message, "it could not begin");
    assert_eq!((&pack.trace_id, &pack.parent_span_id), (&root.trace_id, &root.span_id));
    assert_eq!(pack.end_time_unix_nano - pack.start_time_unix_nano, 1_500_000_000);
    assert_eq!(pack.status, Some(Status { message: "full".to_owned(), code: 2 }));
    assert_eq!(pack.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["retry", "warning"]);
    assert!(spans[2].end_time_unix_nano >= spans[2].start_time_unix_nano && spans[2].status.is_none());
}

#[test]
fn what_a_collector_does_not_take_is_told() {
    let rejected = proto::PartialSuccess { rejected_spans: 2, error_message: "too old".to_owned() };
    let answer = proto::Answer { partial_success: Some(rejected) }.encode_to_vec();
    let (url, thread) = collector(answer, "200 OK");
    let told = recorder(&url, None).send("shop", Err("x")).unwrap_err();
    assert_eq!(told, "2 spans were rejected: too old");
    thread.join().unwrap();
    let (url, thread) = collector(b"no such tenant".to_vec(), "403 Forbidden");
    let told = recorder(&url, None).send("shop", Err("x")).unwrap_err();
    assert!(told.contains("403 Forbidden: no such tenant"), "{told}");
    thread.join().unwrap();
    // Nobody is there: told, and soon.
    let begun = std::time::Instant::now();
    recorder("http://127.0.0.1:1/v1/traces", None).send("shop", Err("x")).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
