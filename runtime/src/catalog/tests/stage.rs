//! A small backup program: real protocols, artefacts of a few bytes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use backplan_compiler::model::Level;
use jiff::Timestamp;

use crate::catalog::commit::{CommitError, Transaction};
use crate::catalog::delete::{Deleted, delete_run};
use crate::catalog::details::Details;
use crate::catalog::identity::{self, Claim};
use crate::catalog::ids::{Nonce, RunId, Uuid};
use crate::catalog::layout::Layout;
use crate::catalog::lock::{Lease, LeaseTimes};
use crate::catalog::manifest::{ArchiveRecord, Content, FORMAT, HostRef, IndexPlace, Manifest, PlanRef};
use crate::catalog::names::{ArtefactName, Digest, PlanName};
use crate::catalog::owner::Owner;
use crate::catalog::recover::{Intent, Mark, Past, Recovered, RecoveryPlan, recover};
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::store::simulated::SimulatedFolder;
use crate::store::{ReadStore, Store};

pub(super) const FOREIGN: &str = "somebody's own.tar.gz";

pub(super) fn layout() -> Layout {
    Layout::new("p").unwrap()
}

pub(super) fn plan_id() -> Uuid {
    Uuid::from_bytes([7; 16])
}

pub(super) fn machine() -> HostRef {
    HostRef { machine: Uuid::from_bytes([1; 16]), name: "here".to_owned() }
}

pub(super) fn claim(known: Option<Uuid>) -> Claim<'static> {
    Claim { file: Path::new("/etc/p.plan"), machine: machine(), id: plan_id(), known, adopt: false }
}

pub(super) fn run_id(sequence: u32) -> RunId {
    let started = Timestamp::from_second(1_700_000_000 + i64::from(sequence) * 60).unwrap();
    RunId::with_random(sequence, started, [u8::try_from(sequence % 32).unwrap(); 6]).unwrap()
}

/// Where whatever held a lease before is known to be dead: nobody waits for a heartbeat of it.
pub(super) fn alone() -> LeaseTimes {
    LeaseTimes { patience: std::time::Duration::ZERO, ..LeaseTimes::default() }
}

/// A fresh process after a reboot.
pub(super) fn rebooted() -> Owner {
    static BOOT: AtomicU32 = AtomicU32::new(0);
    let boot = format!("boot-{}", BOOT.fetch_add(1, Ordering::SeqCst));
    Owner { boot, ..Owner::of_command(machine().machine, "here", "test") }
}

pub(super) fn lease(store: &Arc<dyn Store>) -> Arc<Lease> {
    Arc::new(
        Lease::acquire(Arc::clone(store), &layout(), rebooted(), alone(), &Control::default(), &|_| ())
            .unwrap(),
    )
}

pub(super) fn mark() -> Arc<Mark> {
    Arc::new(|head: &[u8]| {
        let text = std::str::from_utf8(head).ok()?;
        text.strip_prefix("artefact of ")?.split(':').next()?.parse().ok()
    })
}

pub(super) fn contents(run: RunId, artefact: &str) -> Vec<u8> {
    format!("artefact of {run}: {artefact}\n{}", "contents ".repeat(20)).into_bytes()
}

/// What a run writes, and what it points to.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub run: RunId,
    pub own: Vec<String>,
    /// Artefacts of earlier runs.
    pub held: Vec<(String, RunId)>,
    pub rests_on: Vec<RunId>,
}

impl Job {
    pub(super) fn new(sequence: u32, archives: usize) -> Job {
        let own = (0..archives).map(|archive| format!("{sequence:04} archive {archive}.tar.gz")).collect();
        Job { run: run_id(sequence), own, held: Vec::new(), rests_on: Vec::new() }
    }

    pub(super) fn nonce(&self) -> Nonce {
        Nonce::from_bytes([u8::try_from(self.run.sequence() % 256).unwrap(); 16])
    }

    pub(super) fn intent(&self) -> Intent {
        Intent::new(self.run, self.nonce(), self.own.clone())
    }

    pub(super) fn manifest(&self) -> Manifest {
        let own = self.own.iter().map(|artefact| (artefact.clone(), self.run));
        let archives =
            own.chain(self.held.iter().cloned()).enumerate().map(|(number, (artefact, holder))| {
                let contents = contents(holder, &artefact);
                ArchiveRecord {
                    name: PlanName::known(&format!("archive{number}")),
                    holder,
                    format: 1,
                    size: contents.len() as u64,
                    sha256: Some(Digest::known(&hash(&contents))),
                    root: Digest::known(&"ab".repeat(32)),
                    index: IndexPlace { offset: 0, table: 0, table_length: 0 },
                    members: 1,
                    recipients: Vec::new(),
                    contents: vec![Content {
                        source: PlanName::known("s"),
                        level: Level::Full,
                        place: 0,
                        rests_on: self.rests_on.clone(),
                    }],
                    artefact: ArtefactName::known(&artefact),
                }
            });
        let details = Details::default().to_second().unwrap();
        Manifest {
            format: FORMAT,
            min_reader: 1,
            requires: Vec::new(),
            run: self.run,
            nonce: self.nonce(),
            plan: PlanRef { name: "p".to_owned(), id: plan_id() },
            level: Level::Full,
            started: self.run.started(),
            finished: self.run.started(),
            host: machine(),
            program: "backplan test".to_owned(),
            stores: vec!["simulated".to_owned()],
            sources: Vec::new(),
            archives: archives.collect(),
            missing: Vec::new(),
            repositories: Vec::new(),
            warnings: None,
            sealed: None,
            second: details,
        }
    }
}

pub(super) fn hash(bytes: &[u8]) -> String {
    use sha2::Digest;
    crate::text::hex(&sha2::Sha256::digest(bytes))
}

pub(super) fn store(folder: &SimulatedFolder) -> Arc<dyn Store> {
    Arc::new(folder.store("simulated"))
}

pub(super) fn begin(
    store: &Arc<dyn Store>,
    lease: &Arc<Lease>,
    job: &Job,
) -> Result<Transaction, CommitError> {
    Transaction::begin(Arc::clone(store), layout(), Arc::clone(lease), mark(), job.intent())
}

pub(super) fn publish(transaction: &Transaction, job: &Job, artefact: &str) -> Result<(), CommitError> {
    let mut upload = transaction.upload(artefact, None)?;
    for piece in contents(job.run, artefact).chunks(100) {
        upload.write(piece)?;
    }
    transaction.finish(upload, artefact)
}

/// A whole run, as a process that starts after a reboot does it.
pub(super) fn run(folder: &SimulatedFolder, job: &Job, known: Option<Uuid>) {
    let store = store(folder);
    identity::inspect(&*store, &layout(), &claim(known)).unwrap();
    let lease = lease(&store);
    identity::claim(&*store, &layout(), &claim(known)).unwrap();
    recover(&*store, &layout(), &lease, (&*mark(), &Past::GivenUp)).unwrap();
    let transaction = begin(&store, &lease, job).unwrap();
    for artefact in &job.own {
        publish(&transaction, job, artefact).unwrap();
    }
    assert!(transaction.commit(&job.manifest()).unwrap().untidy.is_none());
    drop(transaction);
    Arc::into_inner(lease).unwrap().release().unwrap();
}

pub(super) fn delete(folder: &SimulatedFolder, run: RunId) -> Deleted {
    let store = store(folder);
    let lease = lease(&store);
    let mut catalog = Catalog::load(&*store, &layout()).unwrap();
    delete_run(&*store, &layout(), &lease, &mut catalog, &run, (&*mark(), &Past::Committed)).unwrap()
}

pub(super) fn recovered(folder: &SimulatedFolder) -> Recovered {
    let store = store(folder);
    let lease = lease(&store);
    let planned = RecoveryPlan::make(&*store, &layout(), None, (&*mark(), &Past::GivenUp)).unwrap();
    let recovered = recover(&*store, &layout(), &lease, (&*mark(), &Past::GivenUp)).unwrap();
    let deletes = planned.steps.into_iter().flat_map(|step| step.deletes);
    assert!(
        deletes.eq(recovered.deleted.iter().map(|(_, name)| name.clone())),
        "a look shows what is then done"
    );
    recovered
}

/// The runs there are; every one of them whole.
pub(super) fn whole_runs(folder: &SimulatedFolder) -> Vec<RunId> {
    let store = folder.store("simulated");
    let catalog = Catalog::load(&store, &layout()).unwrap();
    assert!(catalog.problems().is_empty(), "{:?}", catalog.problems());
    for manifest in catalog.runs() {
        for archive in &manifest.archives {
            let name = crate::store::Name::new(archive.artefact.as_str()).unwrap();
            let bytes = store.read(&name).unwrap_or_else(|error| panic!("run {}: {error}", manifest.run));
            assert_eq!(bytes, contents(archive.holder, &archive.artefact), "run {}", manifest.run);
        }
    }
    catalog.runs().map(|manifest| manifest.run).collect()
}

/// After a recovery: nothing is there but what manifests name, what is foreign, and Backplan's own books.
pub(super) fn assert_tidy(folder: &SimulatedFolder) {
    let catalog = Catalog::load(&folder.store("simulated"), &layout()).unwrap();
    let mut expected: BTreeMap<String, ()> = BTreeMap::from([(FOREIGN.to_owned(), ())]);
    for manifest in catalog.runs() {
        expected.extend(manifest.archives.iter().map(|archive| (archive.artefact.to_string(), ())));
        expected.insert(layout().manifest(&manifest.run).to_string(), ());
        expected.insert(layout().sums(&manifest.run).to_string(), ());
    }
    for path in folder.files().keys() {
        let known = expected.contains_key(path)
            || path == layout().format().as_str()
            || path.starts_with(".backplan/p/lock/");
        assert!(known, "`{path}` is left over");
    }
}
