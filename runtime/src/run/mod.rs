//! Running a plan.
//!
//! | module | holds |
//! |---|---|
//! | [`request`] | what a run is asked to do, and what cannot be run yet |
//! | [`prepare`] | from a request to a graph of steps |
//! | `context` | a run as it was meant when it began: what a run and a dry run have alike |
//! | [`levels`] | which level each archive has, and what it rests on |
//! | [`alone`], `resume` | one step of a run in a process of its own |
//! | [`coordinator`] | the one loop that owns a run's state |
//! | [`steps`] | what a step is going to do, as a value: carried out by a run, shown by a dry run |
//! | `real`, [`dry`] | a run, a dry run: each step planned, then carried out, or shown |
//! | `awaited` | stores that come late |
//! | `held`, `session` | what a run holds of this host, and of each store |
//! | `records` | what is kept of a run while it goes on |
//! | `parts` | what an archive is made of where not all of its sources could be read |
//! | `files` | what the files of a run are called on this host |
//! | [`output`] | what a step hands to those behind it |
//! | [`facts`] | what the steps came to, and the manifest made from it |
//! | `accept` | what sources lost and somebody says is right so |
//! | `watch` | runs that are lost or strange, and what sources lost where nothing is pruned |
//! | [`prune`] | deleting what retention gives up, by itself |
//! | [`report`] | how the run ended |
//! | `footing`, [`mounts`] | the file systems that sources lie on, and which of them are missing |
//! | [`event`] | what a run tells whoever watches it |
//! | `databases` | clusters, as steps deal with them |
//! | `wal` | archives of logs, as steps reach them |
//! | [`staging`] | the staging |

mod accept;
pub mod alone;
mod awaited;
mod context;
pub mod coordinator;
pub(crate) mod databases;
pub mod dry;
mod entry;
pub mod event;
pub mod facts;
mod files;
mod footing;
mod held;
pub mod levels;
mod mark;
pub mod mounts;
pub mod notify;
pub mod output;
mod parts;
pub mod prepare;
pub mod prune;
pub(crate) mod reading;
mod real;
mod records;
pub mod report;
pub mod request;
mod resume;
mod session;
mod sinks;
mod spared;
pub mod staging;
pub(crate) mod steps;
pub mod sync;
pub mod timeline;
pub(crate) mod wal;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use coordinator::{Bounds, StopSignal, Work, execute};
use event::{Event, Observer};
use prepare::PrepareError;
use real::RealRun;
use report::Report;
use request::Request;

/// Runs a plan to its end. Signals come in on `signals`.
///
/// # Errors
/// When the run may not begin: then nothing was changed. Whatever goes wrong later is in the report.
pub async fn run(
    asked: Request,
    observer: Arc<dyn Observer>,
    signals: mpsc::Receiver<StopSignal>,
) -> Result<Report, PrepareError> {
    let begun = Instant::now();
    let timeout = asked.model.limits.timeout.map(Duration::from_secs);
    if let Some(timeout) = timeout {
        // What looks at stores before the first step is bound by it, too. Without a thread only what comes behind is.
        let _ = std::thread::Builder::new().name("timeout".to_owned()).spawn(move || {
            std::thread::sleep(timeout);
            crate::store::leave();
        });
    }
    let prepared = awaited::prepare(&asked, &observer, signals).await;
    let (context, lock, signals) = prepared.inspect_err(|error| {
        prepare::remember_refused(&asked, error);
        notify::not_begun(&asked, error, &mut |text| observer.event(Event::Note { text }));
    })?;
    for text in &context.told {
        observer.event(Event::Note { text: text.clone() });
    }
    let limits = context.model().limits.clone();
    if let Some(nice) = limits.nice {
        // A run that may not be nicer is as good a backup.
        let _ = rustix::process::nice(nice);
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let bounds = Bounds {
        jobs: limits.jobs.and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or(cores),
        timeout: timeout.map(|timeout| timeout.saturating_sub(begun.elapsed())),
    };
    let graph = Arc::clone(&context.graph);
    let run = Arc::new(RealRun::new((context, lock), Arc::clone(&observer)));
    let work = Arc::clone(&run) as Arc<dyn Work>;
    let execution = execute(graph, work, bounds, observer, signals).await;
    Ok(run.finish(&execution))
}
