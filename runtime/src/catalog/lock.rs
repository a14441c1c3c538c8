//! The lease of a plan in a store: one run at a time, on whatever machine.
//!
//! The highest `lock/N` is the lease. Its owner rewrites it with a counter, the heartbeat; N+1 may be made by who has seen no
//! heartbeat for a whole lease, measured on its own clock, or knows the owner to be dead or to have released it. Wall clocks
//! are never compared. A number is never used twice, so an owner that slept and wakes finds a higher one and stops.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::ids::Nonce;
use super::layout::Layout;
use super::owner::{Life, Owner};
use super::{reserve, unreleased};
use crate::control::{Control, Stopped};
use crate::store::fs::Kind;
use crate::store::{Creation, Name, ReadStore, Store, StoreError, StoreErrorKind};

/// Bytes of a lease at the most.
const MAX_BYTES: usize = 64 << 10;
/// Heartbeats that are known again.
const BEATS: usize = 16;
/// From this number on a lease is nobody's.
const HIGHEST: u64 = 1 << 53;
/// How often a fresh look is taken because another was quicker.
const ATTEMPTS: usize = 100;

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long a heartbeat makes it last at the most, half of that by the owner's own account.
    pub lease: Duration,
    /// Without a heartbeat for so long it may be taken over: no less than the lease, but where no owner can live.
    pub patience: Duration,
    /// Between two heartbeats.
    pub heartbeat: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        LeaseTimes { lease: minute, patience: minute, heartbeat: Duration::from_secs(15) }
    }
}

/// Why there is no lease, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it, and lives.
    #[error("store `{store}`: plan `{plan}` is in use by {holder}")]
    Busy {
        /// The store.
        store: String,
        /// The plan.
        plan: String,
        /// Who has it.
        holder: Box<Holder>,
    },
    /// It was ours, and may not be any more: nothing may be committed or deleted.
    #[error(
        "store `{store}`: the lock of plan `{plan}` was lost: {why}; this run stops there, the next one cleans up"
    )]
    Lost {
        /// The store.
        store: String,
        /// The plan.
        plan: String,
        /// How that is known.
        why: String,
        /// The store is away: no heartbeat arrived.
        is_away: bool,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stopped while waiting.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl LockError {
    /// Whether it is no more than that the store is away.
    pub fn is_away(&self) -> bool {
        match self {
            LockError::Store(error) => error.kind.is_away(),
            LockError::Lost { is_away, .. } => *is_away,
            LockError::Busy { .. } | LockError::Stopped(_) => false,
        }
    }
}

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// This one.
    Known(Owner),
    /// Somebody whose record cannot be read.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Known(owner) => owner.fmt(f),
            Holder::Unknown => f.write_str("somebody whose record cannot be read"),
        }
    }
}

/// The contents of `lock/N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    owner: Owner,
    /// Tells this lease from another of the same process.
    nonce: Nonce,
    /// The heartbeat.
    counter: u64,
    /// Another with each heartbeat: a copy of the owner's own process, made while it held the lease, writes other ones.
    #[serde(default)]
    beat: Option<Nonce>,
    #[serde(default)]
    released: bool,
}

/// A lease that is held. Dropped, it is released.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    beating: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    layout: Layout,
    number: u64,
    times: LeaseTimes,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    record: Record,
    /// The last heartbeats, the newest last: which of them a look comes upon depends on when it was begun, and one may arrive
    /// late of which nobody said so.
    sent: VecDeque<Nonce>,
    /// When the last heartbeat that arrived was begun, on the owner's clock.
    beaten: Duration,
    /// Why the lease is lost, and whether that is no more than that the store is away.
    lost: Option<(String, bool)>,
    /// The last heartbeat found the store away.
    is_away: bool,
    ending: bool,
}

/// The owner's clock counts while the machine sleeps: a lease must not seem younger than it is.
fn owner_clock() -> Duration {
    since(clock_gettime(ClockId::Boottime))
}

/// The observer's does not: silence that nobody listened to is none.
fn observer_clock() -> Duration {
    since(clock_gettime(ClockId::Monotonic))
}

fn since(time: rustix::time::Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The lease as a look at the store shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    number: u64,
    bytes: Vec<u8>,
}

impl Sight {
    fn record(&self) -> Option<Record> {
        crate::yaml::from_slice(&self.bytes).ok()
    }
}

fn look(store: &dyn ReadStore, layout: &Layout) -> Result<Option<Sight>, StoreError> {
    let Some(number) = highest(store, layout)? else { return Ok(None) };
    // Not there any more: a later one is, as only lower ones are removed.
    match store.read_range(&layout.lock(number), 0, MAX_BYTES) {
        Ok(bytes) => Ok(Some(Sight { number, bytes })),
        Err(error) if error.kind == StoreErrorKind::NotFound => look(store, layout),
        Err(error) => Err(error),
    }
}

fn highest(store: &dyn ReadStore, layout: &Layout) -> Result<Option<u64>, StoreError> {
    let leases = numbers(store, layout)?.into_iter().filter(|(_, kind)| matches!(kind, Kind::File(_)));
    Ok(leases.map(|(number, _)| number).max())
}

/// Numbers that are taken, and by what: folders and links are no leases, but nothing can have their names.
fn numbers(store: &dyn ReadStore, layout: &Layout) -> Result<Vec<(u64, Kind)>, StoreError> {
    let entries = store.entries(&layout.locks())?;
    let numbers =
        entries.into_iter().filter_map(|entry| Some((layout.number_of_lock(&entry.name)?, entry.kind)));
    let numbers: Vec<(u64, Kind)> = numbers.collect();
    match numbers.iter().map(|(number, _)| *number).max() {
        Some(number) if number >= HIGHEST => Err(too_far(store, layout, number)),
        _ => Ok(numbers),
    }
}

fn too_far(store: &dyn ReadStore, layout: &Layout, number: u64) -> StoreError {
    StoreError {
        store: store.label().to_owned(),
        doing: format!("take the lock behind `{}`", layout.lock(number)),
        kind: StoreErrorKind::Foreign,
        cause: io::Error::other("no run can have come so far: move it away"),
    }
}

/// Who holds the lease now, as far as a single look can tell; for a dry run and for `status`.
///
/// # Errors
/// When the store cannot be read.
pub fn holder(store: &dyn ReadStore, layout: &Layout, me: &Owner) -> Result<Option<Holder>, StoreError> {
    let Some(sight) = look(store, layout)? else { return Ok(None) };
    Ok(match sight.record() {
        Some(record) if record.released || life(me, &record) == Life::Dead => None,
        Some(record) => Some(Holder::Known(record.owner)),
        None => Some(Holder::Unknown),
    })
}

/// Whether the holder of a lease lives. That its process is not seen here proves it dead only where it was taken here.
fn life(me: &Owner, record: &Record) -> Life {
    match me.life_of(&record.owner) {
        Life::Alive if unreleased::have(record.nonce, record.beat) => Life::Dead,
        Life::Dead if me.notes.as_ref().is_some_and(|notes| !notes.have(&record.nonce)) => Life::Unknown,
        life => life,
    }
}

/// What keeps runs from taking the lease at all, or from taking it at once, though nobody has it.
pub fn trouble(store: &dyn ReadStore, layout: &Layout) -> Option<String> {
    match look(store, layout) {
        Err(error) => Some(error.to_string()),
        Ok(Some(sight)) if sight.record().is_none() => {
            Some(format!("store `{}`: {}", store.label(), unreadable(&layout.lock(sight.number))))
        }
        Ok(_) => None,
    }
}

fn unreadable(lease: &Name) -> String {
    format!(
        "the lease `{lease}` cannot be read: a run waits a minute before it takes it over; where none is at work, move it away"
    )
}

impl Lease {
    /// Takes the lease. At once where nobody has it, or its owner is known to be dead; else only after watching its
    /// heartbeat stand still for a whole lease; `tell` is told of that before.
    ///
    /// # Errors
    /// [`LockError::Busy`] as soon as the owner is known to live.
    pub fn acquire(
        store: Arc<dyn Store>,
        layout: &Layout,
        owner: Owner,
        times: LeaseTimes,
        control: &Control,
        tell: &dyn Fn(String),
    ) -> Result<Lease, LockError> {
        let (nonce, beat) = (Nonce::random(), Some(Nonce::random()));
        let record = Record { owner, nonce, counter: 0, beat, released: false };
        if let Some(notes) = &record.owner.notes {
            notes.add(&nonce);
        }
        let taken = Lease::take(store, layout, &record, Wait { times, control, tell });
        let is_none = matches!(taken, Err(LockError::Busy { .. } | LockError::Stopped(_)));
        if taken.is_err() && !is_none {
            // Where the store failed, the lease may have been made all the same.
            unreleased::add(nonce, VecDeque::from_iter(beat));
        }
        if let Some(notes) = record.owner.notes.as_ref().filter(|_| is_none) {
            notes.drop(&nonce);
        }
        taken
    }

    fn take(
        store: Arc<dyn Store>,
        layout: &Layout,
        record: &Record,
        wait: Wait<'_>,
    ) -> Result<Lease, LockError> {
        for _ in 0..ATTEMPTS {
            let sight = look(&*store, layout)?;
            if let Some(sight) = &sight {
                wait_for(&*store, layout, &record.owner, sight, &wait)?;
            }
            let seen_record = sight.as_ref().and_then(Sight::record);
            let seen = sight.map_or(0, |sight| sight.number);
            let number = next(&numbers(&*store, layout)?, seen);
            if number >= HIGHEST {
                // A lease that this one made would keep out all that come later.
                return Err(too_far(&*store, layout, seen).into());
            }
            let beaten = owner_clock();
            if make(&*store, layout, number, record)? {
                let before = seen_record.filter(|before| before.nonce != record.nonce);
                if let (Some(before), Some(notes)) = (before, &record.owner.notes) {
                    notes.drop(&before.nonce);
                }
                let record = record.clone();
                let sent = VecDeque::from_iter(record.beat);
                let state =
                    Mutex::new(State { record, sent, beaten, lost: None, is_away: false, ending: false });
                let (layout, wake) = (layout.clone(), Condvar::new());
                let shared = Arc::new(Shared { store, layout, number, times: wait.times, state, wake });
                return Ok(Lease::start(shared));
            }
        }
        Err(LockError::Busy {
            store: store.label().to_owned(),
            plan: layout.plan().to_owned(),
            holder: Box::new(Holder::Unknown),
        })
    }

    fn start(shared: Arc<Shared>) -> Lease {
        let beats = Arc::clone(&shared);
        let spawned = std::thread::Builder::new().name("lease".to_owned()).spawn(move || beats.beat_on());
        // Without a thread the lease is merely lost after half its time.
        Lease { shared, beating: spawned.ok() }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.shared.number
    }

    /// Reads the lease again, and sees that the store is where it was. To be called before every commit and every delete.
    ///
    /// # Errors
    /// [`LockError::Lost`] when it is another's, or the last heartbeat is older than half a lease.
    pub fn confirm(&self) -> Result<(), LockError> {
        self.shared.confirm()
    }

    /// Sees that there is room for the day on which the store has none. Gives what was made for it.
    pub fn keep_room(&self) -> Vec<Name> {
        reserve::keep(&*self.shared.store, &self.shared.layout)
    }

    /// Gives the lease back, so that the next run need not wait.
    ///
    /// # Errors
    /// When the store could not be told; the next run then waits for a lease, or sees that this process is dead.
    pub fn release(mut self) -> Result<(), LockError> {
        self.stop_beating();
        self.shared.let_go()
    }

    fn stop_beating(&mut self) {
        self.shared.state().ending = true;
        self.shared.wake.notify_all();
        if let Some(beating) = self.beating.take() {
            let _ = beating.join();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.shared.state().ending {
            self.stop_beating();
            let _ = self.shared.let_go();
        }
    }
}

/// How somebody waits for a lease.
struct Wait<'a> {
    times: LeaseTimes,
    control: &'a Control,
    tell: &'a dyn Fn(String),
}

impl Wait<'_> {
    /// Says for what the wait is.
    fn announce(&self, store: &dyn Store, lease: &Name, record: Option<&Record>) {
        let (store, seconds) = (store.label(), self.times.patience.as_secs());
        let text = match record {
            Some(record) => format!(
                "store `{store}`: `{lease}` is the lease of {}, of which nothing tells whether it lives: watching it for {seconds} s",
                record.owner
            ),
            None => format!("store `{store}`: {}", unreadable(lease)),
        };
        (self.tell)(text);
    }
}

/// Returns once a sighted lease may be taken over.
fn wait_for(
    store: &dyn Store,
    layout: &Layout,
    me: &Owner,
    sight: &Sight,
    wait: &Wait<'_>,
) -> Result<(), LockError> {
    let Wait { times, control, .. } = wait;
    let record = sight.record();
    let busy = |record: Option<Record>| LockError::Busy {
        store: store.label().to_owned(),
        plan: layout.plan().to_owned(),
        holder: Box::new(record.map_or(Holder::Unknown, |record| Holder::Known(record.owner))),
    };
    match &record {
        Some(record) if record.released => return Ok(()),
        Some(other) => match life(me, other) {
            Life::Dead => return Ok(()),
            Life::Alive if other.owner.is_this_program() => return Err(busy(record)),
            // Of another program's process, or another account's, somebody only wrote that it has the lease.
            Life::Alive | Life::Unknown => {}
        },
        None => {}
    }
    wait.announce(store, &layout.lock(sight.number), record.as_ref());
    let start = observer_clock();
    let mut watched = Duration::ZERO;
    while watched < times.patience {
        control.check()?;
        std::thread::sleep((times.patience - watched).min(times.heartbeat / 4).min(Duration::from_secs(1)));
        match look(store, layout)? {
            Some(now) if now == *sight => {}
            Some(now) if now.number == sight.number && now.record().is_some_and(|record| record.released) => {
                return Ok(());
            }
            now => return Err(busy(now.and_then(|now| now.record()))),
        }
        // Taken after the look: what was seen unchanged now was unchanged all the time.
        watched = observer_clock().saturating_sub(start);
    }
    Ok(())
}

/// The number behind the lease that was seen, and behind what else has taken one: a later lease has it, and is met there.
fn next(numbers: &[(u64, Kind)], seen: u64) -> u64 {
    let others = numbers.iter().filter(|(_, kind)| !matches!(kind, Kind::File(_)));
    let mut taken: Vec<u64> = others.map(|(number, _)| *number).collect();
    taken.sort_unstable();
    taken.into_iter().fold(seen + 1, |next, taken| if taken == next { next + 1 } else { next })
}

/// Makes `lock/N`; says whether it is ours.
fn make(store: &dyn Store, layout: &Layout, number: u64, record: &Record) -> Result<bool, LockError> {
    let bytes = to_bytes(record);
    let name = layout.lock(number);
    let found = || store.read_range(&name, 0, MAX_BYTES);
    match reserve::within(store, layout, || store.create(&name, &bytes)) {
        Ok(Creation::Created) => Ok(true),
        // Ours after all, where a lower layer tried twice.
        Ok(Creation::Exists) => Ok(found().is_ok_and(|found| found == bytes)),
        // It may have been made all the same. If not, the first trouble is the one to tell of.
        Err(error) => match found() {
            Ok(found) => Ok(found == bytes),
            Err(_) => Err(error.into()),
        },
    }
}

fn to_bytes(record: &Record) -> Vec<u8> {
    // Plain data with text keys: it can be written. An empty record would be a holder that cannot be read.
    yaml_serde::to_string(record).unwrap_or_default().into_bytes()
}

impl State {
    fn remember(&mut self, beat: Nonce) {
        if self.sent.len() == BEATS {
            self.sent.pop_front();
        }
        self.sent.push_back(beat);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat_on(&self) {
        loop {
            let waiting = |state: &mut State| !state.ending && state.lost.is_none();
            let waited = self.wake.wait_timeout_while(self.state(), self.times.heartbeat, waiting);
            let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if !timeout.timed_out() {
                return;
            }
            drop(state);
            // Trouble is not final: the next beat may arrive in time, and `confirm` knows how old the last one is.
            let beaten = self.beat();
            let is_away = matches!(&beaten, Err(LockError::Store(error)) if error.kind.is_away());
            self.state().is_away = is_away;
        }
    }

    fn beat(&self) -> Result<(), LockError> {
        self.look_for_others()?;
        self.look_for_copies()?;
        let begun = owner_clock();
        let mut record = self.state().record.clone();
        record.counter += 1;
        let beat = Nonce::random();
        record.beat = Some(beat);
        self.state().remember(beat);
        self.write(&record)?;
        let mut state = self.state();
        state.record = record;
        state.beaten = begun;
        Ok(())
    }

    /// Sees that the lease is as this process wrote it.
    fn look_for_copies(&self) -> Result<(), LockError> {
        let bytes = self.store.read_range(&self.layout.lock(self.number), 0, MAX_BYTES)?;
        let (nonce, sent) = {
            let state = self.state();
            (state.record.nonce, state.sent.clone())
        };
        match crate::yaml::from_slice::<Record>(&bytes) {
            Ok(found) if found.nonce != nonce => {}
            Ok(found) if found.beat.is_some_and(|beat| sent.contains(&beat)) => return Ok(()),
            Ok(_) => {
                let why = "a copy of this machine, made while it held it, has it too".to_owned();
                return Err(self.lose(format!("lease {}: {why}", self.number)));
            }
            Err(_) => {}
        }
        Err(self.lose(format!("lease {} is another's", self.number)))
    }

    fn look_for_others(&self) -> Result<(), LockError> {
        match highest(&*self.store, &self.layout)? {
            Some(number) if number == self.number => Ok(()),
            Some(number) if number > self.number => {
                Err(self.lose(format!("another run made lease {number}")))
            }
            _ => Err(self.lose(format!("lease {} is gone", self.number))),
        }
    }

    fn lose(&self, why: String) -> LockError {
        self.lose_to(why, false)
    }

    fn lose_to(&self, why: String, is_away: bool) -> LockError {
        self.state().lost = Some((why.clone(), is_away));
        self.lost(why, is_away)
    }

    fn lost(&self, why: String, is_away: bool) -> LockError {
        let (store, plan) = (self.store.label().to_owned(), self.layout.plan().to_owned());
        LockError::Lost { store, plan, why, is_away }
    }

    fn fresh(&self) -> Result<(), LockError> {
        let (lost, beaten, is_away) = {
            let state = self.state();
            (state.lost.clone(), state.beaten, state.is_away)
        };
        if let Some((why, is_away)) = lost {
            return Err(self.lost(why, is_away));
        }
        let age = owner_clock().saturating_sub(beaten);
        if age > self.times.lease / 2 {
            return Err(self.lose_to(format!("the last heartbeat is {} s old", age.as_secs()), is_away));
        }
        Ok(())
    }

    fn confirm(&self) -> Result<(), LockError> {
        self.fresh()?;
        self.store.in_place()?;
        self.look_for_others()?;
        self.look_for_copies()?;
        // The looks took time, too.
        self.fresh()
    }

    fn let_go(&self) -> Result<(), LockError> {
        let mut record = self.state().record.clone();
        record.released = true;
        if let Err(error) = self.look_for_others().and_then(|()| Ok(self.write(&record)?)) {
            unreleased::add(record.nonce, self.state().sent.clone());
            return Err(error);
        }
        if let Some(notes) = &record.owner.notes {
            notes.drop(&record.nonce);
        }
        Ok(())
    }

    fn write(&self, record: &Record) -> Result<(), StoreError> {
        let (name, bytes) = (self.layout.lock(self.number), to_bytes(record));
        reserve::within(&*self.store, &self.layout, || self.store.replace(&name, &bytes))
    }
}
