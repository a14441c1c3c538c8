//! Requests to webhooks and monitors.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use backplan_compiler::model::{Body, Event, Monitor, Shape};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::json;

use super::message::{Message, Occurrence};
use super::{LIMIT, NotifyError};
use crate::control::Control;
use crate::programs::redaction;
use crate::tls;

/// How long one attempt of a notification may take.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Waits between attempts.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Bytes of an answer that are read for its first words.
const LOOKED_AT: usize = 4096;
/// Letters of an answer that are told.
const TOLD: usize = 200;
/// Letters of a part of an address that may be a secret; shorter ones are names.
const TELLING: usize = 8;
/// How often it is looked whether the work is to stop.
const TICK: Duration = Duration::from_millis(50);

/// A request, ready to be sent. Its address may be a secret.
#[derive(Debug)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    /// What may be a secret and come back in an answer.
    hidden: Vec<String>,
}

impl Request {
    /// A request of somebody else's making.
    #[cfg(any(feature = "otlp", test))]
    pub(crate) fn post(url: Url, headers: HeaderMap, body: Vec<u8>) -> Request {
        Request { method: Method::POST, url, headers, body, hidden: Vec::new() }.with_hidden(None)
    }

    /// Together with what must not be seen of it: whoever answers may say what was asked.
    fn with_hidden(mut self, token: Option<&str>) -> Request {
        let parts = [self.url.path(), self.url.query().unwrap_or_default()];
        let parts = parts.into_iter().filter(|part| part.len() >= TELLING).map(str::to_owned);
        self.hidden = parts.chain(token.map(str::to_owned)).collect();
        self.hidden.extend(
            self.headers
                .values()
                .filter(|value| value.is_sensitive())
                .filter_map(|value| Some(value.to_str().ok()?.trim_start_matches("Bearer ").to_owned())),
        );
        self
    }
}

/// How long sending may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// One attempt.
    pub attempt: Duration,
    /// All of them.
    pub limit: Duration,
    /// Bytes that are read of the answer.
    pub reads: usize,
}

/// The request that tells a webhook.
///
/// # Errors
/// When the address or the token is none.
pub fn hook(url: &str, body: &Body, token: Option<&str>, message: &Message) -> Result<Request, NotifyError> {
    let mut headers = HeaderMap::new();
    let is_in_body = matches!(body, Body::Template(template) if template.names("token"));
    if let Some(token) = token.filter(|_| !is_in_body) {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| {
            wrong("its `token` cannot stand in a header: it holds a line break or another control character")
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let text = message.text();
    let shape = match body {
        Body::Shape(shape) => shape,
        Body::Template(template) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let body = template.fill(&|name| message.part(name, token)).to_string().into_bytes();
            let request =
                Request { method: Method::POST, url: address(url)?, headers, body, hidden: Vec::new() };
            return Ok(request.with_hidden(token));
        }
    };
    let (kind, body) = match shape {
        Shape::Json => ("application/json", message.json()),
        Shape::Slack => ("application/json", slack(message, &text).to_string().into_bytes()),
        Shape::Teams => ("application/json", teams(message, &text).to_string().into_bytes()),
        Shape::Ntfy => {
            let (priority, tag) = match message.event {
                Occurrence::Of(Event::Failure) => ("5", "rotating_light"),
                Occurrence::Of(Event::Warning) => ("4", "warning"),
                Occurrence::Of(Event::Success) => ("2", "white_check_mark"),
                Occurrence::Of(Event::Start) | Occurrence::Test => ("2", "information_source"),
            };
            headers.insert("title", plain(&message.title));
            headers.insert("priority", HeaderValue::from_static(priority));
            headers.insert("tags", HeaderValue::from_static(tag));
            ("text/plain; charset=utf-8", text.into_bytes())
        }
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let request = Request { method: Method::POST, url: address(url)?, headers, body, hidden: Vec::new() };
    Ok(request.with_hidden(token))
}

/// The request that tells a monitor.
///
/// # Errors
/// When the address is none.
pub fn sign(url: &str, monitor: Monitor, message: &Message) -> Result<Request, NotifyError> {
    let mut url = address(url)?;
    let text = format!("{}\n{}", message.title, message.text());
    match monitor {
        Monitor::Healthchecks => {
            let end = match message.event {
                Occurrence::Of(Event::Start) => Some("start"),
                Occurrence::Of(Event::Failure) => Some("fail"),
                // The backup is there; what should be read is in the body.
                Occurrence::Of(Event::Success | Event::Warning) => None,
                Occurrence::Test => Some("log"),
            };
            if let (Some(end), Ok(mut path)) = (end, url.path_segments_mut()) {
                path.pop_if_empty().push(end);
            }
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            let request =
                Request { method: Method::POST, url, headers, body: text.into_bytes(), hidden: Vec::new() };
            Ok(request.with_hidden(None))
        }
        Monitor::Kuma => {
            let status = match message.event {
                Occurrence::Of(Event::Failure) => "down",
                _ => "up",
            };
            // What the address of the page already says of these is an example.
            let others: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| !["status", "msg", "ping"].contains(&name.as_ref()))
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            let told: String =
                message.title.chars().chain("; ".chars()).chain(message.text().chars()).take(240).collect();
            url.query_pairs_mut()
                .clear()
                .extend_pairs(others)
                .append_pair("status", status)
                .append_pair("msg", told.trim_end_matches("; "));
            let (headers, hidden) = (HeaderMap::new(), Vec::new());
            Ok(Request { method: Method::GET, url, headers, body: Vec::new(), hidden }.with_hidden(None))
        }
    }
}

fn slack(message: &Message, text: &str) -> serde_json::Value {
    // These three have a meaning there, whatever is around them.
    let shown = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "text": format!("*{}*\n{}", shown(&message.title), shown(text)) })
}

fn teams(message: &Message, text: &str) -> serde_json::Value {
    let colour = match message.event {
        Occurrence::Of(Event::Failure) => "Attention",
        Occurrence::Of(Event::Warning) => "Warning",
        Occurrence::Of(Event::Success) => "Good",
        Occurrence::Of(Event::Start) | Occurrence::Test => "Default",
    };
    let block = |text: &str| json!({ "type": "TextBlock", "text": text, "wrap": true });
    let mut title = block(&message.title);
    title["weight"] = "Bolder".into();
    title["color"] = colour.into();
    let body: Vec<_> = std::iter::once(title).chain(text.lines().map(block)).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// A text as a header takes it: in one line, of letters that every server reads.
fn plain(text: &str) -> HeaderValue {
    let plain: String = text
        .chars()
        .map(|letter| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' })
        .collect();
    HeaderValue::from_str(&plain).unwrap_or(HeaderValue::from_static("Backplan"))
}

fn address(text: &str) -> Result<Url, NotifyError> {
    let url = Url::parse(text.trim());
    let url =
        url.map_err(|error| wrong(&format!("its `url` is no address ({error}); it begins with `https://`")))?;
    match url.scheme() {
        "https" | "http" if url.host().is_some() => Ok(url),
        other => Err(wrong(&format!("its `url` begins with `{other}:`; an address begins with `https://`"))),
    }
}

fn wrong(what: &str) -> NotifyError {
    NotifyError::Wrong(what.to_owned())
}

/// How an attempt ended that was no success.
struct Missed {
    why: String,
    may_help: bool,
    wait: Option<Duration>,
}

/// Sends a request, and again where that may help. A redirection is never followed: whoever answers at the address could
/// otherwise send this machine's requests to its neighbours.
///
/// # Errors
/// [`NotifyError::Untold`] with the last attempt's cause, [`NotifyError::Stopped`].
pub fn send(request: &Request, control: &Control) -> Result<(), NotifyError> {
    send_within(request, Bounds { attempt: ATTEMPT, limit: LIMIT, reads: 0 }, control).map(drop)
}

/// The same within other bounds; gives the beginning of the answer.
///
/// # Errors
/// As [`send`].
pub fn send_within(request: &Request, bounds: Bounds, control: &Control) -> Result<Vec<u8>, NotifyError> {
    let failed = |why: &dyn std::fmt::Display| NotifyError::Untold(format!("requests cannot be made: {why}"));
    tls::choose();
    let client = Client::builder();
    let is_plain = request.url.scheme() == "http" && !tls::is_proxied();
    // Where no TLS is spoken, a machine without any certificates tells as well.
    let client = if is_plain { client.tls_certs_only([]) } else { client };
    let client = client
        .redirect(Policy::none())
        .timeout(bounds.attempt)
        .user_agent(concat!("backplan/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(&innermost(&error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let sent = runtime.block_on(async {
        let attempts = attempts(&client, request, bounds);
        tokio::pin!(attempts);
        loop {
            tokio::select! {
                done = &mut attempts => return done,
                () = tokio::time::sleep(TICK) => control.check()?,
            }
        }
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    sent
}

async fn attempts(client: &Client, request: &Request, bounds: Bounds) -> Result<Vec<u8>, NotifyError> {
    let begun = Instant::now();
    let mut waits = WAITS.into_iter();
    let mut made = 0;
    loop {
        made += 1;
        let missed = match attempt(client, request, bounds).await {
            Ok(answer) => return Ok(answer),
            Err(missed) => missed,
        };
        let wait = waits.next().filter(|_| missed.may_help).map(|wait| missed.wait.unwrap_or(wait));
        match wait.filter(|wait| begun.elapsed() + *wait + bounds.attempt <= bounds.limit) {
            Some(wait) => tokio::time::sleep(wait).await,
            None if made == 1 => return Err(NotifyError::Untold(missed.why)),
            None => return Err(NotifyError::Untold(format!("{}; {made} attempts were made", missed.why))),
        }
    }
}

async fn attempt(client: &Client, request: &Request, bounds: Bounds) -> Result<Vec<u8>, Missed> {
    let made = client.request(request.method.clone(), request.url.clone());
    let sending = made.headers(request.headers.clone()).body(request.body.clone()).send();
    // The address may be a secret: what is said is where, and what happened there.
    let place = request.url.host_str().unwrap_or_default();
    let answer = sending.await.map_err(|error| {
        let why = if error.is_timeout() {
            format!("`{place}` did not answer within {} s", bounds.attempt.as_secs_f32())
        } else {
            format!("`{place}`: {}", innermost(&error.without_url()))
        };
        Missed { why, may_help: true, wait: None }
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(beginning(answer, bounds.reads).await);
    }
    let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let wait = wait.map(Duration::from_secs);
    if status.is_redirection() {
        let why = format!(
            "`{place}` answered {status}, with another address; none is followed: write the address that it leads to into `url`"
        );
        return Err(Missed { why, may_help: false, wait });
    }
    let may_help = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let words = words(answer, &request.hidden).await;
    Err(Missed { why: format!("`{place}` answered {status}{words}"), may_help, wait })
}

/// The beginning of an answer; what does not come is no matter.
async fn beginning(mut answer: reqwest::Response, most: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < most
        && let Ok(Some(part)) = answer.chunk().await
    {
        read.extend_from_slice(&part);
    }
    read
}

/// The first words of an answer: what a service says of what was wrong. What is hidden goes before anything is cut or written in
/// another way: half a secret, or one with further backslashes, is found by nobody.
async fn words(answer: reqwest::Response, hidden: &[String]) -> String {
    let first = beginning(answer, LOOKED_AT).await;
    let forms: BTreeSet<String> = hidden.iter().flat_map(|secret| redaction::forms(secret)).collect();
    let text = redaction::redact(&String::from_utf8_lossy(&first), forms.iter().map(String::as_str));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_unicode().to_string(),
        false => letter.to_string(),
    };
    let text: String = text.chars().take(TOLD).map(shown).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
