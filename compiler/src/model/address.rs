//! What of a store's declaration makes no address that a client could go to. Who runs a plan asks the same.

use std::path::Path;

use jiff::tz::TimeZone;

use super::StoreKind;
use crate::graph::Occasion;
use crate::lower::fill;
use crate::value::Text;

/// What is wrong with an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The attribute.
    pub attribute: &'static str,
    /// Why it cannot be, behind the attribute's name: `("a b") is no name of one`.
    pub why: String,
}

fn fault(attribute: &'static str, why: impl Into<String>) -> Fault {
    Fault { attribute, why: why.into() }
}

impl StoreKind {
    /// Everything that is wrong, as far as the plan itself tells.
    pub fn faults(&self) -> Vec<Fault> {
        match self {
            StoreKind::Dir { path } => a_scheme(path).into_iter().collect(),
            StoreKind::S3 { bucket, prefix, endpoint, access_key, secret_key, .. } => {
                let half = match (access_key, secret_key) {
                    (Some(_), None) => {
                        Some(fault("access_key", "stands alone: give `secret_key` too, or neither"))
                    }
                    (None, Some(_)) => {
                        Some(fault("secret_key", "stands alone: give `access_key` too, or neither"))
                    }
                    _ => None,
                };
                let place = at_a_server("bucket", bucket, prefix.as_ref(), endpoint.as_deref());
                place.into_iter().chain(half).collect()
            }
            StoreKind::Azblob { container, prefix, endpoint, .. } => {
                at_a_server("container", container, prefix.as_ref(), endpoint.as_deref())
            }
            StoreKind::Gcs { bucket, prefix, endpoint, .. } => {
                at_a_server("bucket", bucket, prefix.as_ref(), endpoint.as_deref())
            }
            StoreKind::Sftp { host, user, path, .. } => {
                let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
                let is_user = |c: char| c.is_alphanumeric() || ".-_+@".contains(c);
                let user = user.as_deref().and_then(|user| word("user", user, is_user));
                let path = path.contains('\0').then(|| fault("path", "holds a NUL"));
                word("host", host, is_host).into_iter().chain(user).chain(path).collect()
            }
        }
    }
}

/// A folder called as an address begins is no folder that somebody meant.
fn a_scheme(path: &Path) -> Option<Fault> {
    const SCHEMES: [&str; 7] = ["s3:", "gs:", "azblob:", "sftp:", "http:", "https:", "file:"];
    let names = path.iter().filter_map(|name| name.to_str());
    let scheme = names.into_iter().find(|name| SCHEMES.contains(name))?;
    Some(fault(
        "path",
        format!(
            "has a folder `{scheme}`, as an address begins: declare a store of that kind (`s3`, `gcs`, `azblob`, `sftp`), with its bucket or host"
        ),
    ))
}

fn at_a_server(
    word: &'static str,
    bucket: &str,
    prefix: Option<&Text>,
    endpoint: Option<&str>,
) -> Vec<Fault> {
    let may_hold = |c: char| c.is_ascii_alphanumeric() || "._-$".contains(c);
    let named = (bucket.is_empty() || !bucket.chars().all(may_hold)).then(|| {
        let what =
            "is no name of one: write it as the service shows it, of letters, digits, `.`, `-` and `_`";
        fault(word, format!("({bucket:?}) {what}"))
    });
    let address = endpoint.filter(|endpoint| !is_address(endpoint));
    let address =
        address.map(|text| fault("endpoint", format!("({text:?}) is no address: write `https://HOST:PORT`")));
    named.into_iter().chain(address).chain(prefix.and_then(climbing)).collect()
}

fn is_address(endpoint: &str) -> bool {
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}?#@".contains(c);
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && !host.starts_with([':', '/'])
        && !host.contains(is_odd)
}

/// A prefix with a part that means a folder above, whatever host fills it in.
fn climbing(prefix: &Text) -> Option<Fault> {
    let occasion = Occasion { host: Some("host".to_owned()), ..Occasion::default() };
    let filled = fill(prefix, &occasion, &TimeZone::UTC).ok()?;
    let climbs = filled.split('/').any(|part| matches!(part, "." | ".."));
    climbs.then(|| {
        fault("prefix", format!("(`{prefix}`) has a part `.` or `..`: a bucket has no folders, take it out"))
    })
}

/// A word of a command line that other programs' command lines may be made of.
fn word(what: &'static str, text: &str, may_hold: impl Fn(char) -> bool) -> Option<Fault> {
    let bad = text.chars().find(|c| !may_hold(*c));
    match bad {
        _ if text.is_empty() => Some(fault(what, "is empty")),
        _ if text.starts_with('-') => Some(fault(what, format!("(`{text}`) begins with `-`"))),
        Some(bad) => Some(fault(what, format!("({text:?}) holds {bad:?}, which no such name has"))),
        None => None,
    }
}
