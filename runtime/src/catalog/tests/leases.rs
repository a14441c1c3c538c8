//! Leases: one at a time, taken over only from the dead.

#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::stage::{layout, machine, rebooted, store};
use crate::catalog::ids::Uuid;
use crate::catalog::lock::{Lease, LeaseTimes, LockError, holder};
use crate::catalog::notes::Notes;
use crate::catalog::owner::Owner;
use crate::control::Control;
use crate::store::simulated::SimulatedFolder;
use crate::store::{
    Capabilities, Creation, Entry, Name, Object, ReadStore, Store, StoreError, StoreErrorKind, Upload,
};

const TIMES: LeaseTimes = LeaseTimes {
    lease: Duration::from_secs(2),
    patience: Duration::from_secs(2),
    heartbeat: Duration::from_millis(100),
};

fn me() -> Owner {
    Owner::of_command(machine().machine, "here", "test")
}

fn elsewhere() -> Owner {
    Owner { machine: Uuid::from_bytes([9; 16]), host: "elsewhere".to_owned(), ..me() }
}

fn acquire(store: &Arc<dyn Store>, owner: Owner) -> Result<Lease, LockError> {
    Lease::acquire(Arc::clone(store), &layout(), owner, TIMES, &Control::default(), &|_| ())
}

#[test]
fn a_living_owner_here_is_busy_at_once() {
    let store = store(&SimulatedFolder::default());
    let first = acquire(&store, me()).unwrap();
    let start = Instant::now();
    let error = acquire(&store, me()).unwrap_err();
    assert!(start.elapsed() < TIMES.lease / 2);
    assert!(matches!(error, LockError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("plan `p` is in use by `test` on host `here`"), "{error}");
    assert!(holder(&*store, &layout(), &me()).unwrap().is_some());
    first.release().unwrap();
    assert!(holder(&*store, &layout(), &me()).unwrap().is_none());
    assert_eq!(acquire(&store, me()).unwrap().number(), 2);
}

#[test]
fn an_owner_elsewhere_is_busy_while_its_heart_beats() {
    let store = store(&SimulatedFolder::default());
    let first = acquire(&store, me()).unwrap();
    assert!(matches!(acquire(&store, elsewhere()), Err(LockError::Busy { .. })));
    first.confirm().unwrap();
}

#[test]
fn an_owner_elsewhere_that_is_silent_for_a_lease_is_taken_over_and_learns_it() {
    let folder = SimulatedFolder::default();
    let store = store(&folder);
    let slow = LeaseTimes { heartbeat: Duration::from_secs(3600), lease: Duration::from_secs(7200), ..TIMES };
    let first =
        Lease::acquire(Arc::clone(&store), &layout(), me(), slow, &Control::default(), &|_| ()).unwrap();
    first.confirm().unwrap();
    let start = Instant::now();
    let second = acquire(&store, elsewhere()).unwrap();
    assert!(start.elapsed() >= TIMES.lease);
    assert_eq!(second.number(), 2);
    assert!(matches!(first.confirm(), Err(LockError::Lost { .. })));
    drop(first);
    second.confirm().unwrap();
}

/// A copy of this machine has its id, and a boot of its own.
#[test]
fn an_owner_of_another_boot_is_busy_while_its_heart_beats_and_taken_over_when_it_is_silent() {
    let store = store(&SimulatedFolder::default());
    let first = acquire(&store, rebooted()).unwrap();
    assert!(matches!(acquire(&store, me()), Err(LockError::Busy { .. })));
    first.confirm().unwrap();
    assert!(holder(&*store, &layout(), &me()).unwrap().is_some());
    first.release().unwrap();
    let mute = LeaseTimes { heartbeat: Duration::from_secs(3600), ..TIMES };
    let dead = Lease::acquire(Arc::clone(&store), &layout(), rebooted(), mute, &Control::default(), &|_| ());
    std::mem::forget(dead.unwrap());
    let start = Instant::now();
    assert_eq!(acquire(&store, me()).unwrap().number(), 3);
    assert!(start.elapsed() >= TIMES.patience);
}

#[test]
fn without_heartbeats_half_a_lease_is_the_end() {
    let store = store(&SimulatedFolder::default());
    let mute = LeaseTimes { heartbeat: Duration::from_secs(3600), ..TIMES };
    let lease = Lease::acquire(store, &layout(), me(), mute, &Control::default(), &|_| ()).unwrap();
    lease.confirm().unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert!(matches!(lease.confirm(), Err(LockError::Lost { .. })));
    // Lost is lost.
    assert!(matches!(lease.confirm(), Err(LockError::Lost { .. })));
}

#[test]
fn a_beating_heart_keeps_a_lease_for_long() {
    let store = store(&SimulatedFolder::default());
    let lease = acquire(&store, me()).unwrap();
    std::thread::sleep(TIMES.lease + TIMES.lease / 2);
    lease.confirm().unwrap();
    assert_eq!(store.list(Some(&layout().locks())).unwrap().len(), 1);
}

#[test]
fn of_many_that_take_over_one_wins() {
    let store = store(&SimulatedFolder::default());
    let dead = Owner { pid_start: me().pid_start + 1, ..me() };
    std::mem::forget(acquire(&store, dead).unwrap());
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| match acquire(&store, me()) {
                Ok(lease) => {
                    won.fetch_add(1, Ordering::SeqCst);
                    // Held until all others have been told.
                    std::mem::forget(lease);
                }
                Err(LockError::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            });
        }
    });
    assert_eq!(won.load(Ordering::SeqCst), 1);
}

#[test]
fn waiting_can_be_stopped() {
    let store = store(&SimulatedFolder::default());
    std::mem::forget(acquire(&store, elsewhere()).unwrap());
    let control = Control::default();
    control.stop();
    let stopped = Lease::acquire(store, &layout(), me(), TIMES, &control, &|_| ());
    assert!(matches!(stopped, Err(LockError::Stopped(_))));
}

#[test]
fn a_record_that_cannot_be_read_is_somebody() {
    let store = store(&SimulatedFolder::default());
    store.replace(&layout().lock(7), b"\xff nonsense").unwrap();
    assert!(holder(&*store, &layout(), &me()).unwrap().is_some());
    assert_eq!(acquire(&store, me()).unwrap().number(), 8);
}

/// Whoever can write into the store can name any process; that it lives says nothing of the lease.
#[test]
fn a_lease_that_names_a_living_process_of_another_program_is_watched() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let pid_start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let forged = || Owner { pid: child.id(), pid_start, ..me() };
    let store = store(&SimulatedFolder::default());
    let beating = acquire(&store, forged()).unwrap();
    assert!(matches!(acquire(&store, me()), Err(LockError::Busy { .. })));
    drop(beating);
    let mute = LeaseTimes { heartbeat: Duration::from_secs(3600), ..TIMES };
    std::mem::forget(Lease::acquire(
        Arc::clone(&store),
        &layout(),
        forged(),
        mute,
        &Control::default(),
        &|_| (),
    ));
    let start = Instant::now();
    assert_eq!(acquire(&store, me()).unwrap().number(), 3);
    assert!(start.elapsed() >= TIMES.patience);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A virtual machine that was copied while it ran has the original's ids, its boot among them, and not its processes.
#[test]
fn a_lease_that_was_not_taken_here_is_watched_though_its_process_is_not_seen() {
    let (folder, state) = (SimulatedFolder::default(), tempfile::tempdir().unwrap());
    let store = store(&folder);
    let noting = |owner: Owner| owner.noting(Notes::of(state.path()));
    // To this process it looks like one of its own machine that is gone.
    let gone = || Owner { pid_start: me().pid_start + 1, ..me() };
    let original = acquire(&store, gone()).unwrap();
    assert!(holder(&*store, &layout(), &noting(me())).unwrap().is_some());
    assert!(matches!(acquire(&store, noting(me())), Err(LockError::Busy { .. })));
    original.confirm().unwrap();
    drop(original);
    // One that was taken here and whose process is gone is taken over at once, and its note goes.
    let notes = || std::fs::read_dir(state.path().join("leases")).unwrap().count();
    let mute = LeaseTimes { heartbeat: Duration::from_secs(3600), ..TIMES };
    let own = noting(gone());
    std::mem::forget(
        Lease::acquire(Arc::clone(&store), &layout(), own, mute, &Control::default(), &|_| ()).unwrap(),
    );
    assert_eq!(notes(), 1);
    let start = Instant::now();
    let next = acquire(&store, noting(me())).unwrap();
    assert!(start.elapsed() < TIMES.patience);
    assert_eq!(notes(), 1);
    next.release().unwrap();
    assert_eq!(notes(), 0);
}

/// The process itself was copied: both have one lease, and both would write heartbeats into it.
#[test]
fn of_two_copies_of_one_process_none_goes_on_with_the_lease_that_both_have() {
    let folder = SimulatedFolder::default();
    let store = store(&folder);
    let mute = LeaseTimes { heartbeat: Duration::from_secs(3600), lease: Duration::from_secs(7200), ..TIMES };
    let lease =
        Lease::acquire(Arc::clone(&store), &layout(), me(), mute, &Control::default(), &|_| ()).unwrap();
    lease.confirm().unwrap();
    let name = layout().lock(lease.number());
    let text = String::from_utf8(store.read_range(&name, 0, 1 << 16).unwrap()).unwrap();
    let own = text.lines().find(|line| line.starts_with("beat: ")).unwrap();
    let beaten = text.replace(own, "beat: 00112233445566778899aabbccddeeff");
    store.replace(&name, beaten.as_bytes()).unwrap();
    let error = lease.confirm().unwrap_err();
    assert!(error.to_string().contains("a copy of this machine"), "{error}");
    assert!(lease.confirm().is_err());
}

const HERE: usize = 0;
const AWAY: usize = 1;
const FROM_CREATION: usize = 2;

/// A store whose answers are old when they come, and that can be away, or be so from the next thing on that is made.
#[derive(Debug)]
struct Slow(Arc<dyn Store>, ThreadId, Arc<AtomicUsize>);

impl Slow {
    fn has_it(&self) -> Result<(), StoreError> {
        let cause = io::Error::other("503 Slow Down");
        let doing = "write".to_owned();
        match self.2.load(Ordering::Relaxed) {
            AWAY => Err(StoreError { store: "s".to_owned(), doing, kind: StoreErrorKind::Busy, cause }),
            _ => Ok(()),
        }
    }
}

impl ReadStore for Slow {
    fn label(&self) -> &str {
        self.0.label()
    }

    fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
        self.0.read(name)
    }

    fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.has_it()?;
        let read = self.0.read_range(name, offset, len);
        // The heartbeats' own looks are not: they go on meanwhile.
        if std::thread::current().id() == self.1 {
            std::thread::sleep(TIMES.heartbeat * 3);
        }
        read
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.0.size(name)
    }

    fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError> {
        self.0.each(folder, take)
    }

    fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError> {
        self.0.entries(folder)
    }

    fn root(&self) -> Result<Vec<Entry>, StoreError> {
        self.0.root()
    }
}

impl Store for Slow {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn in_place(&self) -> Result<(), StoreError> {
        self.0.in_place()
    }

    fn create(&self, name: &Name, bytes: &[u8]) -> Result<Creation, StoreError> {
        // What was sent may arrive, and its answer not.
        let created = self.0.create(name, bytes);
        let _ = self.2.compare_exchange(FROM_CREATION, AWAY, Ordering::Relaxed, Ordering::Relaxed);
        self.has_it().and(created)
    }

    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        self.has_it()?;
        self.0.replace(name, bytes)
    }

    fn upload(
        &self,
        name: &Name,
        temporary: &Name,
        about: Option<u64>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        self.0.upload(name, temporary, about)
    }

    fn put_file(
        &self,
        file: &Path,
        temporary: &Name,
        name: &Name,
        control: &Control,
    ) -> Result<Creation, StoreError> {
        self.0.put_file(file, temporary, name, control)
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.0.delete(name)
    }

    fn sweep(&self, folder: &Name) -> Result<u64, StoreError> {
        self.0.sweep(folder)
    }
}

/// Heartbeats come between the moment of which a store tells and that in which its answer is there.
#[test]
fn an_answer_that_is_older_than_the_last_heartbeats_is_of_no_copy() {
    let here = std::thread::current().id();
    let store: Arc<dyn Store> = Arc::new(Slow(store(&SimulatedFolder::default()), here, Arc::default()));
    let lease = acquire(&store, me()).unwrap();
    for _ in 0..4 {
        lease.confirm().unwrap();
    }
    lease.release().unwrap();
}

/// An attempt whose store goes away leaves its lease there. The next one of the same process is kept out by nothing.
#[test]
fn a_lease_that_this_process_could_not_give_back_is_no_longer_held() {
    let (state, folder) = (Arc::new(AtomicUsize::new(HERE)), SimulatedFolder::default());
    let nobody = std::thread::Builder::new().spawn(|| ()).unwrap().thread().id();
    let store: Arc<dyn Store> = Arc::new(Slow(store(&folder), nobody, Arc::clone(&state)));
    let start = Instant::now();
    let lease = acquire(&store, me()).unwrap();
    assert!(matches!(acquire(&store, me()), Err(LockError::Busy { .. })));
    state.store(AWAY, Ordering::Relaxed);
    assert!(lease.release().is_err());
    state.store(HERE, Ordering::Relaxed);
    assert!(holder(&*store, &layout(), &me()).unwrap().is_none());
    let second = acquire(&store, me()).unwrap();
    assert_eq!(second.number(), 2);
    // Dropped, as where a run fails.
    state.store(AWAY, Ordering::Relaxed);
    drop(second);
    state.store(HERE, Ordering::Relaxed);
    acquire(&store, me()).unwrap().release().unwrap();
    // One whose making nobody answered: it is there.
    state.store(FROM_CREATION, Ordering::Relaxed);
    assert!(acquire(&store, me()).is_err());
    state.store(HERE, Ordering::Relaxed);
    assert_eq!(acquire(&store, me()).unwrap().number(), 5);
    assert!(start.elapsed() < TIMES.patience);
}

#[test]
fn behind_the_last_number_that_is_believed_no_lease_is_made() {
    let store = store(&SimulatedFolder::default());
    let last = layout().lock((1 << 53) - 1);
    let _ = store.create(&last, b"x").unwrap();
    let error = acquire(&store, me()).unwrap_err();
    assert!(error.to_string().contains("9007199254740991`: no run can have come so far"), "{error}");
    assert_eq!(store.entries(&layout().locks()).unwrap().len(), 1);
    store.delete(&last).unwrap();
    acquire(&store, me()).unwrap();
}
