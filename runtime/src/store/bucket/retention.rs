//! Retention that a server of S3's protocol keeps itself ("object lock"), in mode `GOVERNANCE`: until its moment no version of
//! the object is deleted by who has not the right to go around it. As the API's `PutObjectRetention` and `HeadObject` have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use object_store::Error;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::path::Path as Key;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use sha2::{Digest as _, Sha256};

use super::lost::failed;
use super::trouble::between;

/// How long a signed address is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// How often it is asked where the server has no answer for now, and how long is waited before it is asked again the first time: twice
/// as long each further time.
const ATTEMPTS: u32 = 6;
const WAIT: Duration = Duration::from_millis(200);
/// How a bucket says that it was made without object lock, or a server that it knows none.
const WITHOUT: [&str; 4] =
    ["ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed", "InvalidRequest"];

/// Asks for retention.
#[derive(Debug)]
pub struct Retention {
    /// Signs.
    pub s3: Arc<AmazonS3>,
    /// Asks.
    pub http: HttpClient,
    /// The bucket keeps none.
    pub is_absent: AtomicBool,
}

impl Retention {
    /// Holds an object until a moment at the least; `false` where the bucket keeps no retention.
    ///
    /// # Errors
    /// When it is not known to be held.
    pub async fn hold(&self, key: &Key, until: Timestamp) -> Result<bool, Error> {
        if self.is_absent.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        // It may be held for longer already, as where the plan asked for more once: nothing is shortened.
        let held = self.ask(Method::HEAD, key, "").await?.held;
        if held.is_some_and(|held| held >= until) {
            return Ok(true);
        }
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>GOVERNANCE</Mode>\
             <RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let answer = self.ask(Method::PUT, key, &body).await?;
        if answer.is_success {
            return Ok(true);
        }
        if WITHOUT.contains(&between(&answer.text, "<Code>", "</Code>").unwrap_or_default()) {
            self.is_absent.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        // In the words in which the library tells of an answer.
        Err(failed(answer.text.into()))
    }

    /// Asks until there is an answer. A run that is not held now is held by no later one.
    async fn ask(&self, method: Method, key: &Key, body: &str) -> Result<Answer, Error> {
        let mut attempt = 0;
        loop {
            let answer = self.ask_once(method.clone(), key, body.to_owned()).await;
            attempt += 1;
            if attempt == ATTEMPTS || matches!(&answer, Ok(answer) if !answer.is_passing) {
                return answer;
            }
            tokio::time::sleep(WAIT * 2_u32.pow(attempt - 1)).await;
        }
    }

    /// Looks at an object (`HEAD`), or has it held (`PUT`).
    async fn ask_once(&self, method: Method, key: &Key, body: String) -> Result<Answer, Error> {
        let mut options = SignedUrlOptions::default();
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        if method == Method::PUT {
            options = options.with_query([("retention", "")]);
            let sum = STANDARD.encode(Sha256::digest(body.as_bytes()));
            let sum = sum.parse().map_err(|error| failed(Box::new(error)))?;
            options.signed_headers.insert("x-amz-checksum-sha256", sum);
            *request.headers_mut() = options.signed_headers.clone();
            *request.body_mut() = body.into();
        }
        let url = self.s3.signed_url_opts(method.clone(), key, GOOD_FOR, &options).await?;
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|error| failed(Box::new(error)))?;
        let answer = self.http.execute(request).await.map_err(|error| failed(Box::new(error)))?;
        let status = answer.status();
        let held = answer.headers().get("x-amz-object-lock-retain-until-date");
        let held = held.and_then(|held| held.to_str().ok()?.parse().ok());
        let text = answer.into_body().bytes().await.map_err(|error| failed(Box::new(error)))?;
        let text = format!("status code: {status}: {}", String::from_utf8_lossy(&text));
        let is_passing = status.is_server_error() && status.as_u16() != 501 || status.as_u16() == 429;
        Ok(Answer { is_success: status.is_success(), is_passing, held, text })
    }
}

/// What a server says.
struct Answer {
    is_success: bool,
    /// Another time it may say something else.
    is_passing: bool,
    /// Until when the object is held.
    held: Option<Timestamp>,
    text: String,
}
