//! The threads on which requests are made. What calls them waits, and knows nothing of it.

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, sync_channel};

use object_store::Error;
use tokio::runtime::{Builder, Runtime};

/// Requests wait much and compute little.
const THREADS: usize = 2;

static ENGINE: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("store").enable_all().build()
});

/// What a request will have come to.
pub struct Pending<T>(Receiver<Result<T, Error>>);

impl<T> Pending<T> {
    /// Waits for it.
    ///
    /// # Errors
    /// The request's.
    pub fn wait(self) -> Result<T, Error> {
        self.0.recv().unwrap_or_else(|_| Err(failed("a request was given up")))
    }
}

/// Starts a request.
pub fn start<T: Send + 'static>(
    request: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Pending<T> {
    let (done, pending) = sync_channel(1);
    match &*ENGINE {
        Ok(engine) => {
            engine.spawn(async move {
                // Nobody waits any more: then nobody needs to know.
                let _ = done.send(request.await);
            });
        }
        Err(error) => {
            let _ = done.send(Err(failed(&format!("threads for requests cannot be started: {error}"))));
        }
    }
    Pending(pending)
}

/// Makes a request and waits for it.
///
/// # Errors
/// The request's.
pub fn run<T: Send + 'static>(
    request: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    start(request).wait()
}

fn failed(why: &str) -> Error {
    Error::Generic { store: "bucket", source: why.to_owned().into() }
}
