//! The keys that requests are signed with. What a plan names by `exec` or `file`, or a profile holds, may be good for an hour only:
//! where a server refuses the keys they are had anew, and the request is made once more if they are others by now.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use object_store::aws::AwsCredential;
use object_store::azure::{AzureAccessKey, AzureCredential};
use object_store::client::CredentialProvider;
use object_store::{Error, Result};

use super::trouble::between;
use crate::programs::secrets::Secrets;

/// How servers say that keys are no good any more.
const EXPIRED: [&str; 8] = [
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSecurity",
    "AuthenticationFailed",
    "AuthorizationFailure",
];
/// How the library tells of an answer that has no words, as one to a look at an object.
const WORDLESS: [&str; 3] = ["status code: 400", "status code: 401", "status code: 403"];
/// Keys that were had anew and are the same are not asked for again before so long: they may be refused at every request.
const PAUSE: Duration = Duration::from_secs(60);

/// Keys of a store.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pair {
    /// Whose they are; empty where a server asks for none.
    pub id: String,
    /// What signs.
    pub key: String,
    /// Of a session.
    pub token: Option<String>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Has them, by what fetches secrets.
pub type Fetch = Box<dyn Fn(&Secrets) -> std::result::Result<Pair, String> + Send + Sync>;

/// The keys of a store that is open.
pub struct Keys {
    fetch: Fetch,
    secrets: Secrets,
    held: Mutex<HeldKeys>,
}

struct HeldKeys {
    pair: Pair,
    /// How often they have become others.
    turn: u64,
    /// When they were last had anew and were the same.
    same_since: Option<Instant>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Has them for the first time.
    ///
    /// # Errors
    /// In words, why they cannot be had.
    pub fn new(fetch: Fetch, secrets: &Secrets) -> std::result::Result<Keys, String> {
        let pair = fetch(secrets)?;
        Ok(Keys {
            fetch,
            secrets: secrets.clone(),
            held: Mutex::new(HeldKeys { pair, turn: 0, same_since: None }),
        })
    }

    fn held(&self) -> MutexGuard<'_, HeldKeys> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has them anew, unless another request has done so since it was that turn; says whether they are others than then.
    fn renew(&self, turn: u64) -> bool {
        // One at a time: the next finds what this one got.
        let mut held = self.held();
        if held.turn != turn {
            return true;
        }
        if held.same_since.is_some_and(|since| since.elapsed() < PAUSE) {
            return false;
        }
        // Where they cannot be had the server's words are told.
        match (self.fetch)(&self.secrets.anew()) {
            Ok(pair) if pair != held.pair => {
                *held = HeldKeys { pair, turn: turn + 1, same_since: None };
                true
            }
            _ => {
                held.same_since = Some(Instant::now());
                false
            }
        }
    }
}

/// Makes a request, and once more with other keys where the server refuses these.
///
/// # Errors
/// The request's.
pub async fn signed<T, F>(keys: Option<Arc<Keys>>, request: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let Some(keys) = keys else { return request().await };
    let turn = keys.held().turn;
    match request().await {
        Err(error) if is_refused(&error) => {
            // A program may have to be waited for.
            let renewed = tokio::task::spawn_blocking(move || keys.renew(turn)).await;
            if renewed.is_ok_and(|is_new| is_new) { request().await } else { Err(error) }
        }
        done => done,
    }
}

/// Whether other keys may be let in. A right that is lacking is none of theirs.
fn is_refused(error: &Error) -> bool {
    let text = error.to_string();
    match between(&text, "<Code>", "</Code>") {
        Some(code) => EXPIRED.contains(&code),
        None => WORDLESS.iter().any(|status| text.contains(status)),
    }
}

/// Signs as S3 wants it.
#[derive(Debug)]
pub struct OfS3(pub Arc<Keys>);

/// Signs as Azure wants it.
#[derive(Debug)]
pub struct OfAzure(pub Arc<Keys>);

/// What is handed to the library, as its trait has it.
type Had<'a, T> = Pin<Box<dyn Future<Output = Result<Arc<T>>> + Send + 'a>>;

impl CredentialProvider for OfS3 {
    type Credential = AwsCredential;

    fn get_credential<'keys, 'had>(&'keys self) -> Had<'had, AwsCredential>
    where
        'keys: 'had,
        Self: 'had,
    {
        let Pair { id, key, token } = self.0.held().pair.clone();
        Box::pin(async move { Ok(Arc::new(AwsCredential { key_id: id, secret_key: key, token })) })
    }
}

impl CredentialProvider for OfAzure {
    type Credential = AzureCredential;

    fn get_credential<'keys, 'had>(&'keys self) -> Had<'had, AzureCredential>
    where
        'keys: 'had,
        Self: 'had,
    {
        let key = AzureAccessKey::try_new(&self.0.held().pair.key);
        Box::pin(async move { Ok(Arc::new(AzureCredential::AccessKey(key?))) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn refused(words: &str) -> Error {
        Error::Generic { store: "S3", source: words.to_owned().into() }
    }

    fn numbered(most: usize) -> (Arc<Keys>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let fetch = move |_: &Secrets| {
            let number = count.fetch_add(1, Ordering::SeqCst).min(most);
            Ok(Pair { id: number.to_string(), ..Pair::default() })
        };
        (Arc::new(Keys::new(Box::new(fetch), &Secrets::default()).unwrap()), asked)
    }

    /// A request that is let in with these keys alone.
    async fn asked_with(keys: &Arc<Keys>, id: &str, words: &str) -> Result<()> {
        let request = || async {
            let had = OfS3(Arc::clone(keys)).get_credential().await?;
            if had.key_id == id { Ok(()) } else { Err(refused(words)) }
        };
        signed(Some(Arc::clone(keys)), request).await
    }

    #[tokio::test]
    async fn keys_that_are_refused_are_had_anew_once_and_not_at_each_request() {
        let expired = "status code: 400: <Error><Code>ExpiredToken</Code></Error>";
        let (keys, asked) = numbered(1);
        asked_with(&keys, "0", expired).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        asked_with(&keys, "1", "Server returned non-2xx status code: 403 Forbidden: ").await.unwrap();
        asked_with(&keys, "1", expired).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // The same once more: the server's words are told, and for a while nobody asks.
        for _ in 0..3 {
            assert!(asked_with(&keys, "2", expired).await.unwrap_err().to_string().contains("ExpiredToken"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        // A right that is lacking.
        let (keys, asked) = numbered(9);
        let denied = "status code: 403: <Error><Code>AccessDenied</Code></Error>";
        asked_with(&keys, "1", denied).await.unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
