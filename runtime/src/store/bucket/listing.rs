//! Answers to the question what there is.
//!
//! The client library refuses a whole answer for one key that it takes for none, as one with an empty part: who may put one object
//! would keep everybody from all others. Nothing of this program's is called so; such keys are passed over. What is no listing at all
//! it reads as an empty one: a bucket behind somebody's page would hold nothing.

use std::borrow::Cow;

use object_store::path::Path as Key;

use super::lost::plain;
use super::trouble::between;

/// What lists begin with: those of S3 and of Google, and those of Azure.
const ROOTS: [&str; 2] = ["<ListBucketResult", "<EnumerationResults"];
/// What tells of an object, or of what keys begin with, and where in it the name is.
const ENTRIES: [Kind; 4] = [
    ("<Contents>", "</Contents>", "<Key>", "</Key>"),
    ("<CommonPrefixes>", "</CommonPrefixes>", "<Prefix>", "</Prefix>"),
    ("<Blob>", "</Blob>", "<Name>", "</Name>"),
    ("<BlobPrefix>", "</BlobPrefix>", "<Name>", "</Name>"),
];
/// How an entry begins and ends, and its name in it.
type Kind = (&'static str, &'static str, &'static str, &'static str);
/// Bytes that are shown of what is no listing.
const SHOWN: usize = 60;

/// An answer that is no listing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoListing {
    /// It begins so.
    #[error(
        "what answers there is no server of such a bucket: asked what there is, it says `{0}` (see `endpoint`; something between may want a login)"
    )]
    Page(String),
}

/// Whether a request asks what there is, by its query.
pub fn is_asked(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == "list-type=2" || part == "comp=list"))
}

/// A listing without the keys that the library takes for none.
///
/// # Errors
/// Where it is none.
pub fn of_keys(answer: &str) -> Result<Cow<'_, str>, NoListing> {
    if !ROOTS.iter().any(|root| answer.contains(root)) {
        let begin: String = answer.chars().take(SHOWN).collect();
        return Err(NoListing::Page(begin.escape_debug().to_string()));
    }
    let mut kept = String::new();
    let (mut rest, mut is_whole) = (answer, true);
    while let Some((at, (open, close, from, to))) = next(rest) {
        let Some(end) = rest[at..].find(close).map(|end| at + end + close.len()) else { break };
        let entry = &rest[at + open.len()..end];
        let is_key = between(entry, from, to).is_none_or(|name| Key::parse(plain(name)).is_ok());
        is_whole &= is_key;
        kept.push_str(&rest[..if is_key { end } else { at }]);
        rest = &rest[end..];
    }
    kept.push_str(rest);
    Ok(if is_whole { Cow::Borrowed(answer) } else { Cow::Owned(kept) })
}

/// Where the next entry begins, and what kind it is.
fn next(rest: &str) -> Option<(usize, Kind)> {
    let mut from = 0;
    while let Some(at) = rest[from..].find('<').map(|at| from + at) {
        if let Some(kind) = ENTRIES.into_iter().find(|(open, ..)| rest[at..].starts_with(open)) {
            return Some((at, kind));
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_that_are_none_are_passed_over_and_no_others() {
        let list = |entries: &[&str]| {
            format!(
                "<?xml?><ListBucketResult><Name>b</Name>{}<Prefix>x//</Prefix></ListBucketResult>",
                entries.concat()
            )
        };
        let object = |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
        let prefix = |key: &str| format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>");
        let (a, b) = (object("x/a&amp;b"), prefix("x/.backplan/p/"));
        let odd = [
            object("x//f"),
            prefix("x//"),
            object("x/../q"),
            object("a&#10;b"),
            object("a&#x1B;b"),
            object(".."),
        ];
        let mut all: Vec<&str> = odd.iter().map(String::as_str).collect();
        all.insert(1, &a);
        all.push(&b);
        assert_eq!(of_keys(&list(&all)).unwrap(), list(&[&a, &b]));
        assert!(matches!(of_keys(&list(&[&a, &b])).unwrap(), Cow::Borrowed(_)));
        let blobs = "<EnumerationResults><Blobs><Blob><Name>x//f</Name></Blob><BlobPrefix><Name>x/</Name></BlobPrefix></Blobs>";
        let kept = "<EnumerationResults><Blobs><BlobPrefix><Name>x/</Name></BlobPrefix></Blobs>";
        assert_eq!(of_keys(blobs).unwrap(), kept);
        let half = format!("<ListBucketResult>{}", &a[..a.len() - 5]);
        assert_eq!(of_keys(&half).unwrap(), half);
    }

    #[test]
    fn a_page_is_no_listing() {
        for page in ["<html>login please</html>", "", "<a/>", "{}"] {
            assert!(of_keys(page).is_err(), "{page}");
        }
        assert!(is_asked(Some("list-type=2&prefix=x")) && is_asked(Some("restype=container&comp=list")));
        assert!(!is_asked(Some("comp=blocklist")) && !is_asked(None));
    }
}
