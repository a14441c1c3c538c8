//! Parts of an upload that a server of S3's protocol copies from another object of the bucket, so that nobody sends them.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::multipart::PartId;
use object_store::path::Path as Key;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{Error, MultipartId};

use super::lost::{failed, plain};
use super::trouble::between;

/// How long a signed address is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// Requests for one part, and the wait between them.
const ATTEMPTS: u32 = 2;
const WAIT: Duration = Duration::from_secs(1);

/// Asks a server for copies.
#[derive(Debug)]
pub struct Copier {
    /// Signs.
    pub s3: Arc<AmazonS3>,
    /// Asks.
    pub http: HttpClient,
    /// The bucket.
    pub bucket: String,
}

impl Copier {
    /// Makes a range of an object a part of an upload.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn part(
        &self,
        from: &Key,
        range: Range<u64>,
        to: &Key,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId, Error> {
        let mut attempt = 1;
        loop {
            match self.once(from, &range, to, id, index).await {
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    async fn once(
        &self,
        from: &Key,
        range: &Range<u64>,
        to: &Key,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId, Error> {
        let source = format!("/{}/{}", self.bucket, encoded(from.as_ref()));
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let headers = [("x-amz-copy-source", source), ("x-amz-copy-source-range", bytes)];
        let number = (index + 1).to_string();
        let mut options = SignedUrlOptions::default()
            .with_query([("partNumber", number.as_str()), ("uploadId", id.as_str())]);
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::PUT;
        for (name, value) in headers {
            options.signed_headers.insert(name, value.parse().map_err(|error| failed(Box::new(error)))?);
            request.headers_mut().insert(name, value.parse().map_err(|error| failed(Box::new(error)))?);
        }
        let url = self.s3.signed_url_opts(Method::PUT, to, GOOD_FOR, &options).await?;
        *request.uri_mut() = url.as_str().parse().map_err(|error| failed(Box::new(error)))?;
        let answer = self.http.execute(request).await.map_err(|error| failed(Box::new(error)))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| failed(Box::new(error)))?;
        let text = String::from_utf8_lossy(&body);
        // An error may come behind a status that says that all is well.
        match between(&text, "<ETag>", "</ETag>").filter(|_| status.is_success()) {
            Some(tag) => Ok(PartId { content_id: plain(tag) }),
            None => Err(failed(format!("status code: {status}: {text}").into())),
        }
    }
}

/// A key as it stands in a header.
fn encoded(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte.into())
            }
            // Writing to a string does not fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_encoded_byte_by_byte() {
        assert_eq!(super::encoded("a b/ü%.tar.gz"), "a%20b/%C3%BC%25.tar.gz");
    }
}
