//! Where traces go, as the variables of OpenTelemetry say it
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>): what is said for traces goes before what is said for all.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::proto::{KeyValue, text};

/// How long sending may take, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a variable; an empty one is none.
pub type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a trace goes.
#[derive(Debug)]
pub struct Target {
    pub url: Url,
    pub headers: HeaderMap,
    pub timeout: Duration,
    /// Who tells.
    pub resource: Vec<KeyValue>,
    /// The trace that this one is a part of, and the span in it.
    pub parent: Option<([u8; 16], [u8; 8])>,
}

impl Target {
    /// `None`: nobody is to be told.
    ///
    /// # Errors
    /// What one of the variables says cannot be done.
    pub fn of(get: Get<'_>) -> Result<Option<Target>, String> {
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || get("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
        {
            return Ok(None);
        }
        let Some(url) = url(get)? else { return Ok(None) };
        if let Some(protocol) = either(get, "PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            return Err(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is `{protocol}`; traces are sent by `http/protobuf` alone, which collectors take at port 4318"
            ));
        }
        let timeout = either(get, "TIMEOUT").and_then(|text| text.trim().parse().ok());
        Ok(Some(Target {
            url,
            headers: headers(&either(get, "HEADERS").unwrap_or_default())?,
            timeout: timeout
                .map_or(TIMEOUT, Duration::from_millis)
                .clamp(Duration::from_millis(1), TIMEOUT * 6),
            resource: resource(get),
            parent: get("TRACEPARENT").and_then(|text| parent(&text)),
        }))
    }
}

fn either(get: Get<'_>, name: &str) -> Option<String> {
    get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn url(get: Get<'_>) -> Result<Option<Url>, String> {
    let (text, name) = match (get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), get("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(own), _) => (own, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        // Its path is that of the collector; each signal has its own below it.
        (None, Some(all)) => {
            (format!("{}/v1/traces", all.trim().trim_end_matches('/')), "OTEL_EXPORTER_OTLP_ENDPOINT")
        }
        (None, None) => return Ok(None),
    };
    let url = Url::parse(text.trim())
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    match url {
        Some(url) => Ok(Some(url)),
        None => Err(format!("{name} is no address; it looks like `http://localhost:4318`")),
    }
}

/// `name=value` with commas between them, values as addresses have them.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let read = entry.split_once('=').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let mut value = HeaderValue::from_bytes(&unescaped(value.trim())).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        // What it says may be a secret.
        let (name, value) = read.ok_or("OTEL_EXPORTER_OTLP_HEADERS holds what is no `NAME=VALUE`")?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn resource(get: Get<'_>) -> Vec<KeyValue> {
    let given = get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut all: Vec<(String, String)> = given
        .split(',')
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| {
            (name.trim().to_owned(), String::from_utf8_lossy(&unescaped(value.trim())).into_owned())
        })
        .collect();
    if let Some(name) = get("OTEL_SERVICE_NAME") {
        all.retain(|(key, _)| key != "service.name");
        all.push(("service.name".to_owned(), name));
    }
    let own = [
        ("service.name", "backplan".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.name", crate::machine::host_name()),
    ];
    for (key, value) in own {
        if !all.iter().any(|(known, _)| known == key) {
            all.push((key.to_owned(), value));
        }
    }
    all.into_iter().map(|(key, value)| text(&key, value)).collect()
}

/// As W3C's Trace Context has it: `00-TRACE-SPAN-FLAGS`.
fn parent(text: &str) -> Option<([u8; 16], [u8; 8])> {
    let mut parts = text.trim().split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 {
        return None;
    }
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    for (at, byte) in trace_id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(trace.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    for (at, byte) in span_id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(span.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (trace_id != [0; 16] && span_id != [0; 8]).then_some((trace_id, span_id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn target(variables: &[(&str, &str)]) -> Result<Option<Target>, String> {
        Target::of(&|name| Some(variables.iter().find(|(own, _)| *own == name)?.1.to_owned()))
    }

    const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://here:4318/otlp/");

    #[test]
    fn variables_say_where_a_trace_goes() {
        assert!(target(&[]).unwrap().is_none());
        assert!(target(&[HERE, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert_eq!(target(&[HERE]).unwrap().unwrap().url.as_str(), "http://here:4318/otlp/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://there/x");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YQ==, x-team = a%2Cb ");
        let found = target(&[HERE, own, headers, ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")]).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.timeout), ("https://there/x", Duration::from_millis(2500)));
        assert_eq!(
            (&found.headers["authorization"], &found.headers["x-team"]),
            (&HeaderValue::from_static("Basic YQ=="), &HeaderValue::from_static("a,b"))
        );
        assert!(!format!("{found:?}").contains("YQ"), "{found:?}");
        for wrong in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ] {
            let told = target(&[wrong, HERE]).unwrap_err();
            assert!(told.contains(wrong.0) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_trace_goes_on_where_it_was_begun() {
        let with = |text| target(&[HERE, ("TRACEPARENT", text)]).unwrap().unwrap().parent;
        let (trace, span) = with("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!((trace[0], trace[15], span[7]), (0x0a, 0x9c, 0x31));
        for wrong in [
            "",
            "00-0-0-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319ä-b7ad6b7169203331-01",
        ] {
            assert_eq!(with(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_tells_has_a_name() {
        let found = target(&[
            HERE,
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,site=n%C3%BCrnberg"),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        let resource = found.unwrap().unwrap().resource;
        assert!(
            resource.contains(&text("service.name", "b")) && resource.contains(&text("site", "nürnberg")),
            "{resource:?}"
        );
        assert_eq!(resource.iter().filter(|one| one.key == "service.name").count(), 1);
    }
}
