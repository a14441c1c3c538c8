//! Large plans stay quick: nothing is compared with everything.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write;
use std::time::{Duration, Instant};

use backplan_compiler::compile;

use common::{inputs, set_of};

/// A plan of ten thousand sources, each with a path of its own.
fn large() -> String {
    let mut text = String::from(
        "plan large\nstore local: dir { path = \"/backup\" }\nstaging { path = \"/staging\" }\n",
    );
    for number in 0..10_000 {
        let _ = writeln!(
            text,
            "source s{number}: files {{ paths = [\"/srv/{}/{number}\"], exclude = [\"tmp/\"] }}",
            number % 97
        );
    }
    text.push_str(
        "archive all { from = all, to = [local] }\nschedule { run = every 30m }\nobjective { copies = 1 }\n",
    );
    text
}

#[test]
fn ten_thousand_sources_are_checked_at_once() {
    let set = set_of(&[("large.plan", &large())]);
    let start = Instant::now();
    let compiled = compile(&set, &inputs(&[]));
    let took = start.elapsed();
    println!("10,000 sources: {took:?}");
    assert!(compiled.is_sound(), "{:?}", compiled.findings.first());
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_page_is_checked_in_no_time() {
    let page = include_str!("samples/alation.plan");
    let set = set_of(&[("alation.plan", page)]);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(compile(&set, &inputs(&[])).is_sound());
    }
    println!("a page: {:?}", start.elapsed() / 100);
}

#[test]
fn a_zone_with_summer_time_costs_little() {
    let page = include_str!("samples/alation.plan").replace("zone = \"UTC\"", "zone = \"Europe/Berlin\"");
    let set = set_of(&[("alation.plan", &page)]);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(compile(&set, &inputs(&[])).is_sound());
    }
    println!("a page with a zone: {:?}", start.elapsed() / 100);
}
