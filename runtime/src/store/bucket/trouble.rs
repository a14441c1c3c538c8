//! What a server's errors mean.

use std::error::Error as _;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::store::StoreErrorKind;

/// How the library tells of an answer that nobody is let in by.
const REFUSED: [&str; 2] = ["status code: 401", "status code: 403"];

/// How it tells of one that came too often, and what servers of S3 and Azure say then. It has asked again for as long as it should.
const TOO_OFTEN: [&str; 3] = ["status code: 429", "SlowDown", "ServerBusy"];

/// How it tells of a server that is there for nobody, or of one whose place another answers in. It has asked again here, too.
const OUT_OF_ORDER: [&str; 3] = ["status code: 502", "status code: 503", "status code: 504"];

/// What to do where there is no bucket.
const NO_BUCKET: &str = " (make it there, or mend its name in the plan)";

/// What to do about words that do not say it.
fn mend(words: &str) -> &'static str {
    let says = |part: &str| words.contains(part);
    if says("InvalidContentType") || says("corrupt message") {
        " (what answers there does not speak TLS: write `http://` in front of `endpoint`, or mend its port)"
    } else if says("AuthorizationHeaderMalformed") || says("PermanentRedirect") {
        " (the bucket is in another region: write that into `region`)"
    } else if says("NotValidForName") || says("not valid for name") {
        " (its certificate is for another name: write that into `endpoint`)"
    } else if says("CaUsedAsEndEntity") {
        " (its certificate is that of an authority, which no server may have itself: make one with `basicConstraints=critical,CA:FALSE`, \
         and name that by `ca_file`)"
    } else if says("UnknownIssuer") {
        " (nobody that this machine trusts has signed its certificate: name who has by `ca_file`)"
    } else if says("No CA certificates were loaded") {
        " (this machine has none that it trusts: install its package `ca-certificates`, or name who has signed the server's by `ca_file`)"
    } else if says("invalid peer certificate: Expired") {
        " (renew its certificate, or set the clock of this machine right)"
    } else {
        ""
    }
}

/// What went wrong, and the server's own words.
#[derive(Debug)]
pub struct BucketTrouble {
    /// What kind it is.
    pub kind: StoreErrorKind,
    /// In words.
    pub words: String,
}

impl BucketTrouble {
    /// What an error of the library means.
    pub fn of(error: &Error) -> BucketTrouble {
        let told = told(error);
        let is_no_bucket = ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| told.starts_with(code));
        let kind = match error {
            _ if is_no_bucket => StoreErrorKind::Unreachable,
            Error::NotFound { .. } => StoreErrorKind::NotFound,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreErrorKind::Credentials,
            Error::AlreadyExists { .. } => StoreErrorKind::Exists,
            Error::Precondition { .. } | Error::NotModified { .. } => StoreErrorKind::Changed,
            // A listing that is refused has no kind of its own.
            _ if is_told(error, &REFUSED) => StoreErrorKind::Credentials,
            _ if is_told(error, &TOO_OFTEN) => StoreErrorKind::Busy,
            _ if is_told(error, &OUT_OF_ORDER) || is_away(error) => StoreErrorKind::Unreachable,
            _ => StoreErrorKind::Other,
        };
        let mend = if is_no_bucket { NO_BUCKET } else { mend(&told) };
        BucketTrouble { kind, words: format!("{told}{mend}") }
    }

    /// An object that is not there.
    pub fn absent() -> BucketTrouble {
        BucketTrouble { kind: StoreErrorKind::NotFound, words: "no such object".to_owned() }
    }

    /// Something else.
    pub fn other(words: String) -> BucketTrouble {
        BucketTrouble { kind: StoreErrorKind::Other, words }
    }

    /// A server that creates what is there.
    pub fn unconditional() -> BucketTrouble {
        BucketTrouble::other(
            "the server ignores the condition of a creation (`If-None-Match: *`), so two runs could both believe that they \
             hold its lock: it cannot be used"
                .to_owned(),
        )
    }
}

/// Whether an error of the library tells of an answer with one of these.
fn is_told(error: &Error, statuses: &[&str]) -> bool {
    let words = error.to_string();
    statuses.iter().any(|status| words.contains(status))
}

/// Whether no answer came, or only one that the server is not there for anybody.
fn is_away(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(at) = cause {
        if let Some(http) = at.downcast_ref::<HttpError>() {
            let kind = http.kind();
            return matches!(
                kind,
                HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Interrupted
            );
        }
        cause = at.source();
    }
    false
}

/// The server's words: of an answer in XML its code and message, else the innermost cause.
fn told(error: &Error) -> String {
    let whole = error.to_string();
    let code = between(&whole, "<Code>", "</Code>");
    let message = between(&whole, "<Message>", "</Message>");
    match (code, message) {
        (Some(code), Some(message)) => {
            format!("{code}: {}", message.trim().trim_end_matches('.').replace('\n', " "))
        }
        (Some(code), None) => code.to_owned(),
        _ => innermost(error),
    }
}

fn innermost(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(at) = cause {
        words = at.to_string();
        cause = at.source();
    }
    let words = words.trim().trim_end_matches([':', '.']).replace('\n', " ");
    if words.is_empty() { error.to_string() } else { words }
}

pub(super) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}
