//! Requests to a server that is busy, or that nobody stands behind for now.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};

use super::listing;

/// Too many requests; not now; and what a gateway says while there is nobody behind it.
const LATER: [u16; 4] = [429, 502, 503, 504];
/// A server that wants to be left alone for longer is away for now.
const LONGEST: Duration = Duration::from_secs(25);
/// How long one is left alone that does not say so, at first and at last.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// One that was waited for in vain is not waited for again until it has answered, or nobody has asked it for so long.
const WORN: Duration = Duration::from_secs(60);

/// When servers were last waited for in vain, by the places of stores: a command opens a store more than once.
static IN_VAIN: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

/// Clients by what they were made of. What they trust of this machine is read anew for each, and their connections are their own: a
/// command opens a store more than once, and each opening is served by what the first one made.
static CLIENTS: Mutex<BTreeMap<String, HttpClient>> = Mutex::new(BTreeMap::new());

/// How often a listing is asked for whose answer is cut.
const TRIES: usize = 4;

/// Makes clients that ask a server again for so long before such an answer is seen, not before it says so (`Retry-After`). The library
/// itself repeats a request a few times within seconds: for a server that begins anew that is not long enough. Where it was not long
/// enough either, no request is repeated so until one is answered.
#[derive(Debug, Clone)]
pub struct Patient {
    place: Arc<str>,
    patience: Duration,
    /// What of the authority that is trusted besides this machine's tells it from others.
    authority: Option<blake3::Hash>,
}

impl Patient {
    /// With so much patience with the server of a store, which is at this place and may be proven by an authority's certificates, as PEM.
    pub fn new(place: &str, patience: Duration, authority: Option<&[u8]>) -> Patient {
        Patient { place: place.into(), patience, authority: authority.map(blake3::hash) }
    }

    /// The client for these options; what they say of certificates does not show in them.
    fn client(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let made_of = format!("{:?} {options:?}", self.authority);
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&made_of) {
            return Ok(client.clone());
        }
        let client = ReqwestConnector::default().connect(options)?;
        clients.insert(made_of, client.clone());
        Ok(client)
    }

    /// What is left of it for a request that has been asked for so long, and would be again behind this pause.
    fn lasts(&self, asked: Duration, pause: Duration) -> bool {
        let mut in_vain = IN_VAIN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_worn = in_vain.get(&*self.place).is_some_and(|at| at.elapsed() < WORN);
        let lasts = !is_worn && asked + pause <= self.patience;
        // Who has none to begin with has tried nothing.
        if !lasts && !self.patience.is_zero() {
            in_vain.insert(self.place.to_string(), Instant::now());
        }
        lasts
    }

    /// The server has answered.
    fn is_heard(&self) {
        IN_VAIN.lock().unwrap_or_else(PoisonError::into_inner).remove(&*self.place);
    }
}

impl HttpConnector for Patient {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Waiting(self.client(options)?, self.clone())))
    }
}

#[derive(Debug)]
struct Waiting(HttpClient, Patient);

impl HttpService for Waiting {
    fn call<'service, 'answer>(
        &'service self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'answer>>
    where
        'service: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            if listing::is_asked(request.uri().query()) {
                return self.list(request).await;
            }
            self.ask(request).await
        })
    }
}

impl Waiting {
    /// What there is. An answer that is cut is asked for again: the library does that with requests, and not with what it reads.
    async fn list(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut tries = 1;
        loop {
            let answer = self.ask(request.clone()).await?;
            if !answer.status().is_success() {
                return Ok(answer);
            }
            match of_keys(answer).await {
                Err(error) if tries < TRIES && !matches!(error.kind(), HttpErrorKind::Decode) => tries += 1,
                listed => return listed,
            }
        }
    }

    /// As long as its patience lasts.
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (began, [mut pause, longest]) = (Instant::now(), PAUSES);
        loop {
            let answer = self.0.execute(request.clone()).await?;
            if !LATER.contains(&answer.status().as_u16()) {
                self.1.is_heard();
                return Ok(answer);
            }
            let said = answer.headers().get("retry-after").and_then(|value| seconds(value.as_bytes()));
            let wait = said.unwrap_or(pause);
            if !self.1.lasts(began.elapsed(), wait) {
                return Ok(answer);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// What there is, as the library can read it.
async fn of_keys(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (head, body) = answer.into_parts();
    let body = body.bytes().await?;
    let text = String::from_utf8_lossy(&body);
    let body = match listing::of_keys(&text) {
        Ok(Cow::Borrowed(_)) => HttpResponseBody::from(body),
        Ok(Cow::Owned(text)) => HttpResponseBody::from(text),
        Err(error) => return Err(HttpError::new(HttpErrorKind::Decode, error)),
    };
    Ok(HttpResponse::from_parts(head, body))
}

/// For how long a server wants to be left alone; `None`: it names a date, or more than is waited.
fn seconds(value: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|wait| *wait <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_waited_for_once() {
        let (none, short, second) = (Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1));
        let (one, other) = (Patient::new("a server", second, None), Patient::new("another", second, None));
        assert!(one.lasts(none, short) && one.lasts(short, short));
        assert!(!Patient::new("a server", none, None).lasts(none, short));
        assert!(one.lasts(none, short), "who has no patience takes none away");
        assert!(!one.lasts(second, short));
        // Whoever asks it now, from another client too.
        assert!(!Patient::new("a server", second, None).lasts(none, short) && other.lasts(none, short));
        one.is_heard();
        assert!(one.lasts(none, short));
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_says_and_not_for_ever() {
        assert_eq!(seconds(b"3"), Some(Duration::from_secs(3)));
        assert_eq!(seconds(b" 25 "), Some(LONGEST));
        for other in [&b"26"[..], b"-1", b"Fri, 31 Dec 1999 23:59:59 GMT", b"", b"\xff"] {
            assert_eq!(seconds(other), None);
        }
    }
}
