//! Uploads that were begun and never came to their end, because who sent them is gone. They are no objects, and cost room.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::path::Path as Key;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{Error, MultipartId};

use super::trouble::between;

/// How long a signed address is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// Asks a server of S3's protocol for them.
#[derive(Debug)]
pub struct LostUploads {
    /// Signs.
    pub s3: Arc<AmazonS3>,
    /// Asks.
    pub http: HttpClient,
}

impl LostUploads {
    /// The uploads of this very key.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn of(&self, key: &Key) -> Result<Vec<MultipartId>, Error> {
        let query = SignedUrlOptions::default().with_query([("uploads", ""), ("prefix", key.as_ref())]);
        let url = self.s3.signed_url_opts(Method::GET, &Key::default(), GOOD_FOR, &query).await?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(|error| failed(Box::new(error)))?;
        let answer = self.http.execute(request).await.map_err(|error| failed(Box::new(error)))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| failed(Box::new(error)))?;
        let text = String::from_utf8_lossy(&body);
        match status.is_success() {
            true => Ok(uploads(&text, key.as_ref())),
            // In the words in which the library tells of an answer.
            false => Err(failed(format!("status code: {status}: {text}").into())),
        }
    }
}

pub(super) fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "S3", source }
}

/// The ids of the uploads of a key in a server's answer.
fn uploads(answer: &str, key: &str) -> Vec<MultipartId> {
    let uploads = answer.split("<Upload>").skip(1);
    let of_key =
        uploads.filter(|upload| between(upload, "<Key>", "</Key>").is_some_and(|it| plain(it) == key));
    of_key.filter_map(|upload| Some(plain(between(upload, "<UploadId>", "</UploadId>")?))).collect()
}

/// A text of XML as it was meant.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let meant = behind.split_once(';').and_then(|(name, after)| Some((meant(name)?, after)));
        let (c, after) = meant.unwrap_or(('&', behind));
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn meant(name: &str) -> Option<char> {
    let number = |text: &str| match text.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "amp" => Some('&'),
        name => char::from_u32(number(name.strip_prefix('#')?)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_of_other_keys_are_nobodys_business() {
        let answer = "<ListMultipartUploadsResult><Upload><Key>p/a&amp;b.tar</Key><UploadId>1&lt;</UploadId></Upload>\
                      <Upload><UploadId>2</UploadId><Key>p/a&amp;b.tar.gz</Key></Upload><Upload><Key>p/a&amp;b.tar</Key>\
                      <UploadId>3</UploadId></Upload></ListMultipartUploadsResult>";
        assert_eq!(uploads(answer, "p/a&b.tar"), ["1<", "3"]);
        assert_eq!(uploads("", "p"), Vec::<String>::new());
    }
}
