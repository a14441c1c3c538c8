//! The threads on which requests are made. What calls them waits, and knows nothing of it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Requests wait much and compute little.
const THREADS: usize = 2;

static ENGINE: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("store").enable_all().build()
});

/// When somebody asked for the end of what this program does.
static LEAVING: OnceLock<Instant> = OnceLock::new();
/// How long a server is waited for from then on.
const GRACE: Duration = Duration::from_secs(3);
/// Whether one has kept somebody waiting for so long; the next request is given less.
static SILENT: AtomicBool = AtomicBool::new(false);
/// How long a server is waited for that has not answered then.
const AGAIN: Duration = Duration::from_secs(1);
/// How often whoever waits looks whether that is so.
const LOOK: Duration = Duration::from_millis(200);

/// From now on no request is waited for much longer, and no program that is to say a key. What it was to do may still be done, as where
/// this program is killed.
pub fn leave() {
    LEAVING.get_or_init(Instant::now);
    crate::programs::secrets::leave();
}

/// Why a request was not made to its end, whatever a server would have said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GivenUp(String);

impl GivenUp {
    /// For this reason.
    pub fn because(why: &str) -> GivenUp {
        GivenUp(why.to_owned())
    }
}

impl From<GivenUp> for io::Error {
    fn from(given_up: GivenUp) -> io::Error {
        io::Error::other(given_up)
    }
}

impl From<GivenUp> for object_store::Error {
    fn from(given_up: GivenUp) -> object_store::Error {
        object_store::Error::Generic { store: "bucket", source: given_up.into() }
    }
}

/// What a request will have come to.
#[derive(Debug)]
pub struct Pending<T, E>(Receiver<Result<T, E>>);

impl<T, E: From<GivenUp>> Pending<T, E> {
    /// Waits for it.
    ///
    /// # Errors
    /// The request's.
    pub fn wait(self) -> Result<T, E> {
        let begun = Instant::now();
        let grace = || if SILENT.load(Ordering::Relaxed) { AGAIN } else { GRACE };
        let is_over = |since: &Instant| since.elapsed() > GRACE && begun.elapsed() > grace();
        loop {
            match self.0.recv_timeout(LOOK) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) if LEAVING.get().is_some_and(is_over) => {
                    SILENT.store(true, Ordering::Relaxed);
                    return Err(GivenUp("stopped, and no answer had come".to_owned()).into());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(GivenUp("a request was given up".to_owned()).into());
                }
            }
        }
    }
}

/// Starts a request.
pub fn start<T: Send + 'static, E: From<GivenUp> + Send + 'static>(
    request: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Pending<T, E> {
    let (done, pending) = sync_channel(1);
    match &*ENGINE {
        Ok(engine) => {
            engine.spawn(async move {
                // Nobody waits any more: then nobody needs to know.
                let _ = done.send(request.await);
            });
        }
        Err(error) => {
            let why = format!("threads for requests cannot be started: {error}");
            let _ = done.send(Err(GivenUp(why).into()));
        }
    }
    Pending(pending)
}

/// Starts something that itself waits for requests.
pub fn aside<T: Send + 'static, E: From<GivenUp> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Pending<T, E> {
    start(async {
        let given_up = || GivenUp("a request was given up".to_owned()).into();
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(given_up()))
    })
}

/// Makes a request and waits for it.
///
/// # Errors
/// The request's.
pub fn run<T: Send + 'static, E: From<GivenUp> + Send + 'static>(
    request: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    start(request).wait()
}
