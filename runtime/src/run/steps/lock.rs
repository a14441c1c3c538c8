//! Taking a store into use.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use backplan_compiler::model::{Absent, Location, Store as Declared, StoreId};

use super::deliver::store_failure;
use super::{Access, Ahead, Context, Doing, Failure, FailureKind, Output, Performed, Scene, Sight, StepPlan};
use crate::catalog::fitness;
use crate::catalog::identity::{IdentityError, Opened, Standing};
use crate::catalog::ids::Uuid;
use crate::catalog::lock::{self, Holder, Lease, LockError};
use crate::control::Control;
use crate::run::awaited::is_needed;
use crate::run::entry::Entry;
use crate::store::limit::Limit;
use crate::store::{self, Object, ReadStore, Store, StoreError};

/// A store that is away: the run goes on without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Why.
    reason: String,
    /// Whether a person should read of it.
    is_told: bool,
}

/// What a store that cannot be used means for the run.
///
/// # Errors
/// Where the run, or this store's part of it, fails.
fn absent(declared: &Declared, error: &IdentityError) -> Result<Dropped, Failure> {
    let dropped = |is_told| Ok(Dropped { reason: error.to_string(), is_told });
    match declared.absent {
        _ if !is_away(error) => Err(Failure::lasting(error)),
        Absent::Fail => Err(Failure::fatal(error)),
        Absent::Skip => dropped(false),
        Absent::Warn => dropped(true),
    }
}

/// The same of one that was there when it was looked at first.
///
/// # Errors
/// As [`absent`].
fn went_away(declared: &Declared, failure: Failure) -> Result<Dropped, Failure> {
    match (failure.kind, declared.absent) {
        (FailureKind::Away, Absent::Fail) => Err(Failure::fatal(failure.message)),
        (FailureKind::Away, absent) => {
            Ok(Dropped { reason: failure.message, is_told: absent == Absent::Warn })
        }
        _ => Err(failure),
    }
}

/// One that was there when the run was prepared, went away since, and without which the run fails: it is asked for again, as `retry`
/// says. One that was away then was waited for by then.
fn awaited(scene: Scene<'_>, id: StoreId, is_away: bool, why: &impl ToString) -> Option<Failure> {
    let (context, model) = (scene.context, scene.model());
    if !is_away || context.away.contains_key(&id) {
        return None;
    }
    // Stores are locked in this order: what comes behind has not been asked for yet.
    let is_off = |other: StoreId| match other < id {
        true => !scene.has(other),
        false => context.away.contains_key(&other),
    };
    let off = model.each_store().map(|(other, _)| other).filter(|other| is_off(*other)).collect();
    let is_needed = model.store(id).absent == Absent::Fail || is_needed(model, &context.graph, id, &off);
    is_needed.then(|| Failure::away(why.to_string()))
}

/// Whether a store is not there, or does not answer.
fn is_away(error: &IdentityError) -> bool {
    match error {
        IdentityError::FolderMissing { .. } => true,
        IdentityError::Store(error) => error.kind.is_away(),
        _ => false,
    }
}

/// What becomes of a store.
pub(crate) enum LockPlan {
    /// The run goes on without it.
    Dropped(Dropped),
    /// It is taken into use.
    Take(Box<Take>),
}

/// A store that is taken into use.
pub(crate) struct Take {
    id: StoreId,
    /// The identity of the plan that this host remembers of it.
    known: Option<Uuid>,
    /// As it was looked at.
    opened: Opened,
    /// What it is to the plan.
    standing: Standing,
}

impl LockPlan {
    /// Looks whose it is: nothing at all is written to a store that is not this run's.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn make(scene: Scene<'_>, id: StoreId, control: &Control) -> Result<LockPlan, Failure> {
        let (context, declared) = (scene.context, scene.model().store(id));
        let known = context.known(id);
        let away = |error: &IdentityError| match awaited(scene, id, is_away(error), error) {
            Some(failure) => Err(failure),
            None => absent(declared, error).map(LockPlan::Dropped),
        };
        let entry = context.entry(id, known);
        let opened = match entry.open(&context.secrets.under(control)) {
            Ok(opened) => opened,
            Err(error) => return away(&error),
        };
        let not_ours = |error: IdentityError| claim_failure(&error, &declared.location());
        let standing = match entry.look(&opened) {
            // A server is asked for the first time here.
            Err(error @ IdentityError::Store(_)) if is_away(&error) => return away(&error),
            looked => looked.map_err(not_ours)?,
        };
        if let Ok(store) = opened.store()
            && let Err(failure) = context.highest(store.as_ref()).map_err(not_ours)
        {
            let is_away = failure.kind == FailureKind::Away;
            return match awaited(scene, id, is_away, &failure.message) {
                Some(failure) => Err(failure),
                None => went_away(declared, failure).map(LockPlan::Dropped),
            };
        }
        Ok(LockPlan::Take(Box::new(Take { id, known, opened, standing })))
    }
}

impl StepPlan for LockPlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        match *self {
            LockPlan::Dropped(dropped) => would_drop(dropped),
            LockPlan::Take(take) => take.foreseen(ahead),
        }
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        match *self {
            LockPlan::Dropped(dropped) => Ok(go_on_without(doing, dropped)),
            LockPlan::Take(take) => {
                let id = take.id;
                let declared = doing.context.model().store(id);
                take.carry_out(doing).or_else(|failure| {
                    let is_away = failure.kind == FailureKind::Away;
                    let facts = doing.facts();
                    match awaited(doing.scene(&facts), id, is_away, &failure.message) {
                        Some(failure) => Err(failure),
                        None => went_away(declared, failure).map(|dropped| go_on_without(doing, dropped)),
                    }
                })
            }
        }
    }
}

fn would_drop(Dropped { reason, is_told }: Dropped) -> (Sight, Result<Performed, Failure>) {
    let warned = is_told.then(|| format!("{reason}; the run would go on without it"));
    let sight = Sight { warnings: warned.into_iter().collect(), ..Sight::default() };
    (sight, Ok(Performed::Dropped(reason)))
}

fn go_on_without(doing: &Doing<'_>, Dropped { reason, is_told }: Dropped) -> Performed {
    if is_told {
        // One that goes away while each step of the run is a process of its own is missed by every one behind.
        doing.warn_once(format!("{reason}; the run goes on without it"));
    }
    Performed::Dropped(reason)
}

impl Take {
    fn foreseen(self, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (scene, declared) = (ahead.scene, ahead.scene.model().store(self.id));
        let wrote = self.wrote(scene.context);
        let looked = match self.opened.store() {
            Ok(store) => found(scene.context, store.as_ref(), &self.standing),
            Err(_) => Ok((store::would_make(declared).unwrap_or_default(), None)),
        };
        let would_not = |error: StoreError| match absent(declared, &error.into()) {
            Ok(dropped) => would_drop(dropped),
            Err(failure) => (Sight::default(), Err(failure)),
        };
        let (found, busy) = match looked {
            Ok(found) => found,
            Err(error) => return would_not(error),
        };
        let access = match self.opened.into_store() {
            Ok(store) => Access::Open(store),
            Err(error) if found.is_empty() => return would_not(error),
            Err(_) => Access::ToBeMade,
        };
        if let Some(failure) = is_anothers(scene, self.id) {
            return (Sight::default(), Err(failure));
        }
        if let Some(message) = busy {
            return (Sight::found(found), Err(Failure { message, kind: FailureKind::Busy }));
        }
        ahead.stores.take(self.id, access);
        (Sight::found(found), Ok(Performed::Done(Output::Wrote(wrote))))
    }

    /// What claiming it writes, with the store in front.
    fn wrote(&self, context: &Context) -> Vec<String> {
        let name = &context.model().store(self.id).name;
        let wrote = self.standing.writes_format().then(|| format!("{name}:{}", context.layout.format()));
        wrote.into_iter().collect()
    }

    fn carry_out(self, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let (id, context) = (self.id, doing.context);
        let declared = context.model().store(id);
        let wrote = self.wrote(context);
        let entry = context.entry(id, self.known);
        let store = match entry.made(self.opened, &doing.secrets()) {
            Ok(store) => store,
            Err(error) => {
                return absent(declared, &error.into()).map(|dropped| go_on_without(doing, dropped));
            }
        };
        let location = declared.location();
        let not_ours = |error: IdentityError| claim_failure(&error, &location);
        let lease = lease(doing, &entry, &store, &location)?;
        let mut held = doing.session(id).held();
        let checked = entry
            .claimed(store.as_ref())
            .map_err(not_ours)
            .and_then(|format| {
                context.plan().remember(&declared.name, &location, format.id).map_err(Failure::lasting)
            })
            .and_then(|()| context.highest(store.as_ref()).map_err(not_ours))
            .and_then(|highest| check_sequence(context, store.as_ref(), highest));
        if let Err(failure) = checked {
            // The store is not this run's: it is given back at once, and untouched.
            let _ = lease.release();
            return Err(failure);
        }
        held.limit = declared.bandwidth.map(Limit::new).map(Arc::new);
        held.store = Some(store);
        held.lease = Some(Arc::new(lease));
        Ok(Performed::Done(Output::Wrote(wrote)))
    }
}

/// How a store stands, in words, and who has it in use.
fn found(
    context: &Context,
    store: &dyn Store,
    standing: &Standing,
) -> Result<(String, Option<String>), StoreError> {
    let found = match standing {
        Standing::New => "nothing of this plan yet: this would be its first run here".to_owned(),
        Standing::Ours(_) => format!("earlier runs: {}", runs_in(store, context)?),
        Standing::Adopted(format) => format!("would be taken over from `{}`", format.machine.name),
    };
    fitness::takes_a_run(store, &context.layout)?;
    let holder = lock::holder(store, &context.layout, &context.owner())?;
    Ok((found, holder.map(|holder| format!("store `{}` is in use by {holder}", store.label()))))
}

/// Whether its folder is that of a store which the run would have by then.
fn is_anothers(scene: Scene<'_>, id: StoreId) -> Option<Failure> {
    let declared = scene.model().store(id);
    let place = |store: &Declared| {
        let meta = std::fs::metadata(store.folder()?).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    let own = place(declared)?;
    let others = scene.model().each_store().filter(|(other, _)| *other != id && scene.has(*other));
    let is_same = others.filter_map(|(_, other)| place(other)).any(|other| other == own);
    is_same.then(|| not_twice(&declared.name, &declared.location()))
}

fn not_twice(store: &str, location: &Location) -> Failure {
    Failure::lasting(format!(
        "store `{store}`: its folder `{location}` is another store's of this plan too; give it one of its own"
    ))
}

fn runs_in(store: &dyn ReadStore, context: &Context) -> Result<usize, StoreError> {
    let mut runs = 0;
    let mut take = |object: Object| {
        runs += usize::from(context.layout.run_of_manifest(&object.name).is_some());
    };
    store.each(Some(&context.layout.manifests()), &mut take)?;
    Ok(runs)
}

/// The lease on a store, unless it is one that this very run has locked by another path.
fn lease(
    doing: &Doing<'_>,
    entry: &Entry<'_>,
    store: &Arc<dyn Store>,
    location: &Location,
) -> Result<Lease, Failure> {
    let run = doing.context.imprint.run.to_string();
    let tell = |text: String| doing.note(text);
    entry.lease(store, doing.control, &tell).map_err(|error| match &error {
        LockError::Busy { holder, .. } if matches!(&**holder, Holder::Known(owner) if owner.run == run) => {
            not_twice(store.label(), location)
        }
        _ => lock_failure(error),
    })
}

fn check_sequence(context: &Context, store: &dyn Store, highest: u32) -> Result<(), Failure> {
    if highest < context.imprint.run.sequence() {
        return Ok(());
    }
    let text =
        format!("store `{}`: run {highest} was made while this one began; start it again", store.label());
    Err(Failure::fatal(text))
}

/// Why a store is not for this run, with its place.
fn claim_failure(error: &IdentityError, location: &Location) -> Failure {
    let text = error.to_string();
    match error {
        IdentityError::Store(error) => store_failure(error, text),
        _ if text.contains(&location.to_string()) => Failure::lasting(text),
        _ => Failure::lasting(format!("{text} (it is `{location}`)")),
    }
}

fn lock_failure(error: LockError) -> Failure {
    let message = error.to_string();
    match error {
        LockError::Busy { .. } => Failure { message, kind: FailureKind::Busy },
        LockError::Stopped(_) => Failure::stopped(),
        LockError::Store(error) => store_failure(&error, message),
        _ => Failure::passing(message),
    }
}
