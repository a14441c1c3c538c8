//! Plans examined in the background, and what was found told to the editor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use backplan_compiler::sources::Inputs;
use lsp_server::{Message, Notification};
use lsp_types::{Diagnostic, PublishDiagnosticsParams, Uri};

use crate::examine::{Job, Report, Told, examine};
use crate::files::Files;

/// Plans examined for one open library: one that more import is examined with these.
const MOST_PLANS: usize = 50;

/// A round of examinations: the plans of all texts that are open.
struct Round {
    number: u64,
    jobs: Vec<Job>,
}

/// The examiner and what it found last.
pub(crate) struct Watch {
    sender: Sender<Round>,
    newest: Arc<AtomicU64>,
    board: Arc<Mutex<Board>>,
    inputs: Inputs,
}

/// What was found last, by plan, and what the editor was told.
#[derive(Debug, Default)]
struct Board {
    reports: BTreeMap<PathBuf, Report>,
    told: BTreeMap<PathBuf, (Uri, Vec<Diagnostic>)>,
}

impl Watch {
    /// Starts the examiner; what it finds goes out by `send`.
    pub fn start(send: impl Fn(Message) + Send + 'static, inputs: Inputs) -> Watch {
        let (sender, receiver) = mpsc::channel::<Round>();
        let newest = Arc::new(AtomicU64::new(0));
        let board = Arc::new(Mutex::new(Board::default()));
        let watch =
            Watch { sender, newest: Arc::clone(&newest), board: Arc::clone(&board), inputs: inputs.clone() };
        thread::spawn(move || {
            while let Ok(round) = receiver.recv() {
                let is_old = || newest.load(Ordering::Relaxed) != round.number;
                let mut reports = BTreeMap::new();
                for job in &round.jobs {
                    if is_old() {
                        break;
                    }
                    reports.insert(job.root(), examine(job, &inputs));
                }
                if !is_old() {
                    lock(&board).tell(reports, &send);
                }
            }
        });
        watch
    }

    /// Has the plans of all open texts examined.
    pub fn look(&self, files: &mut Files) {
        let mut jobs = BTreeMap::new();
        for path in files.open_paths() {
            for set in files.plans_of(&path).into_iter().take(MOST_PLANS) {
                if let Some(job) = Job::new(files, set) {
                    jobs.insert(job.root(), job);
                }
            }
        }
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        // The examiner ends with this end of the channel, so it is there.
        let _ = self.sender.send(Round { number, jobs: jobs.into_values().collect() });
    }

    /// What is found in a file as it is now.
    pub fn told_now(&self, files: &mut Files, path: &Path) -> Vec<Told> {
        let sets = files.plans_of(path);
        let version = files.version(path);
        let mut told = Vec::new();
        for set in sets.into_iter().take(MOST_PLANS) {
            let Some(job) = Job::new(files, set) else { continue };
            let board = lock(&self.board);
            match board
                .reports
                .get(&job.root())
                .filter(|report| report.versions.get(path).copied() == version)
            {
                Some(report) => told.extend(report.told.get(path).cloned().unwrap_or_default()),
                None => {
                    drop(board);
                    told.extend(examine(&job, &self.inputs).told.remove(path).unwrap_or_default());
                }
            }
        }
        told
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// Takes the reports of a round and tells the editor what changed by them.
    fn tell(&mut self, reports: BTreeMap<PathBuf, Report>, send: &dyn Fn(Message)) {
        self.reports = reports;
        let mut files: BTreeMap<PathBuf, (Uri, Option<i32>, Vec<Diagnostic>)> = BTreeMap::new();
        for report in self.reports.values() {
            for (path, told) in &report.told {
                let Some(uri) = report.uris.get(path) else { continue };
                let version = report.versions.get(path).copied();
                let of_file = files.entry(path.clone()).or_insert_with(|| (uri.clone(), version, Vec::new()));
                for one in told {
                    // A library's findings are the same in each plan that imports it.
                    if !of_file.2.contains(&one.diagnostic) {
                        of_file.2.push(one.diagnostic.clone());
                    }
                }
            }
        }
        let gone: BTreeSet<PathBuf> =
            self.told.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
        for path in gone {
            if let Some((uri, before)) = self.told.remove(&path)
                && !before.is_empty()
            {
                publish(send, uri, None, Vec::new());
            }
        }
        for (path, (uri, version, diagnostics)) in files {
            let before = self.told.get(&path).map(|(_, before)| before.as_slice());
            // An open text is told of anew for every version; another only when something changed.
            let is_news = version.is_some() || before.unwrap_or_default() != diagnostics.as_slice();
            if is_news {
                publish(send, uri.clone(), version, diagnostics.clone());
            }
            self.told.insert(path, (uri, diagnostics));
        }
    }
}

fn publish(send: &dyn Fn(Message), uri: Uri, version: Option<i32>, diagnostics: Vec<Diagnostic>) {
    let params = PublishDiagnosticsParams { uri, version, diagnostics };
    send(Notification::new("textDocument/publishDiagnostics".to_owned(), params).into());
}
