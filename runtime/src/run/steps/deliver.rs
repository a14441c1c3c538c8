//! Bringing artefacts into a store, and promising them.

use backplan_compiler::model::{ArchiveId, SourceId, StoreId};

use super::{Ahead, DROPPED_OUT, Doing, Failure, Output, Performed, Scene, Sight, StepPlan, done};
use crate::catalog::commit::CommitError;
use crate::catalog::hold::Hold;
use crate::catalog::layout::artefact_name;
use crate::catalog::made::Made;
use crate::catalog::manifest::Manifest;
use crate::catalog::recover::RecoverError;
use crate::run::facts;
use crate::store::limit::limited;
use crate::store::{StoreError, StoreErrorKind};

/// What a store is brought of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishPlan {
    /// Nothing: it lacks what that rests on.
    Untaken(String),
    /// Nothing changed: the artefact that the manifest will point to is there.
    Nothing,
    /// A file of this name in the staging becomes an artefact of this name.
    Artefact(ArchiveId, StoreId, String),
}

impl PublishPlan {
    /// What is brought, by what the packing came to.
    pub fn make(scene: Scene<'_>, archive: ArchiveId, store: StoreId) -> PublishPlan {
        match scene.levels().untakable(scene.model(), store) {
            Some(why) => PublishPlan::Untaken(why),
            None if scene.facts.is_unchanged(archive) => PublishPlan::Nothing,
            None => PublishPlan::Artefact(archive, store, scene.context.artefact(archive).to_owned()),
        }
    }
}

impl StepPlan for PublishPlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let result = match *self {
            PublishPlan::Untaken(why) => {
                return (Sight::default().warned_once(ahead.scene, &why), Ok(Performed::Dropped(why)));
            }
            PublishPlan::Nothing => done(),
            PublishPlan::Artefact(_, store, name) => match in_the_way(ahead.scene, store, &name) {
                _ if !ahead.scene.has(store) => Err(Failure::lasting(DROPPED_OUT)),
                Some(text) => Err(Failure::lasting(text)),
                None => done(),
            },
        };
        (Sight::default(), result)
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        match *self {
            PublishPlan::Untaken(why) => {
                doing.warn_once(&why);
                Ok(Performed::Dropped(why))
            }
            PublishPlan::Nothing => done(),
            PublishPlan::Artefact(archive, store, name) => publish(doing, archive, store, &name),
        }
    }
}

fn publish(doing: &Doing<'_>, id: ArchiveId, store: StoreId, name: &str) -> Result<Performed, Failure> {
    let Doing { context, control, .. } = *doing;
    let session = doing.session(store);
    let Some(transaction) = session.transaction(context, store)? else {
        return match doing.facts().away.contains(&store) {
            true => Ok(Performed::Dropped(DROPPED_OUT.to_owned())),
            false => Err(Failure::lasting(DROPPED_OUT)),
        };
    };
    doing.held.see_unmoved()?;
    let staged = context.files.artefact(name);
    if let Some(fact) = doing.facts().archives.get(&id) {
        control.expect(1, fact.record.size);
    }
    let limits = session.limits(context);
    let put = match limits.is_empty() {
        true => transaction.put_file(name, &staged, control),
        false => transaction.send_file(name, &staged, control, |upload| {
            limited(upload, &context.model().store(store).name, limits, control)
        }),
    };
    put.map_err(|error| commit_failure(&error))?;
    done()
}

/// What keeps a store from taking an artefact of this name.
pub(super) fn in_the_way(scene: Scene<'_>, store: StoreId, name: &str) -> Option<String> {
    // What is there and no object has the name as well; a store that does not say has failed before.
    let size = scene.store(store).ok()??.size(&artefact_name(name).ok()?);
    let is_taken = size.map_or_else(|error| error.kind == StoreErrorKind::Foreign, |size| size.is_some());
    is_taken.then(|| {
        format!(
            "store `{}`: `{name}` is there already, and nothing is ever overwritten: give the archive another name; only what no run of \
             `plan list` has may be moved away",
            scene.model().store(store).name
        )
    })
}

/// What a store's manifest is going to promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitPlan {
    store: StoreId,
    /// The archives whose artefacts are there, whole and under their own names.
    pub archives: Vec<ArchiveId>,
    /// Sources with a backup in their own repository there.
    pub repositories: Vec<SourceId>,
}

impl CommitPlan {
    /// Looks what has come so far.
    ///
    /// # Errors
    /// When nothing has, or the run goes on without the store.
    pub fn make(scene: Scene<'_>, store: StoreId) -> Result<CommitPlan, Failure> {
        if !scene.has(store) {
            return Err(Failure::lasting(DROPPED_OUT));
        }
        let archives = scene.context.graph.artefact_names.keys().copied();
        let archives = archives.filter(|archive| scene.facts.reached.contains(&(*archive, store)));
        let separates = scene.model().separates.iter();
        let made = separates.map(|own| own.source);
        let made = made.filter(|source| scene.facts.made_apart.contains(&(*source, store)));
        let plan = CommitPlan { store, archives: archives.collect(), repositories: made.collect() };
        match plan.archives.is_empty() && plan.repositories.is_empty() {
            true => Err(nothing()),
            false => Ok(plan),
        }
    }
}

fn nothing() -> Failure {
    Failure::lasting("nothing reached the store: there is nothing to commit")
}

impl StepPlan for CommitPlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (come, context) = (facts::coming(ahead.scene, self.store, &self), ahead.scene.context);
        let accepted = context.watch.foreseen_accepted(&context.plan(), &come);
        let mut warnings = context.watch.foreseen(self.store, &come, &accepted);
        warnings.retain(|text| !ahead.scene.facts.warnings.contains(text));
        (Sight { warnings, ..Sight::default() }, Ok(Performed::Done(Output::Coming(Box::new(come)))))
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Doing { context, .. } = *doing;
        let store = self.store;
        let Some(transaction) = doing.session(store).transaction(context, store)? else {
            return Err(Failure::lasting(DROPPED_OUT));
        };
        // By a process that ended before it could say so.
        let is_committed =
            context.is_resumed && transaction.is_committed().map_err(|error| commit_failure(&error))?;
        if is_committed {
            keep_done(doing, store);
        } else {
            let manifest = self.manifest(doing)?;
            remember_made(doing, &manifest);
            let hold = hold(doing, store, &manifest)?;
            let held = hold.iter().try_for_each(Hold::before);
            let committed = transaction.commit(&manifest).map_err(|error| commit_failure(&error))?;
            let held = held.and_then(|()| hold.iter().try_for_each(Hold::after));
            if let Err(why) = held {
                doing.warn(why);
            }
            keep_done(doing, store);
            if let Some(error) = committed.untidy {
                tell_untidy(doing, store, &error);
            }
            context.watch.accept(&mut context.plan(), &manifest).map_err(Failure::lasting)?;
            tell_of_losses(doing, store, &manifest);
        }
        let mounts = doing.facts().mounts(context.model(), context.imprint.run);
        // Only so that a sequence is not used twice where every store is new; and the manifest tells of mounts too.
        let _ = context.plan().remember_run(context.imprint.run, mounts);
        done()
    }
}

impl CommitPlan {
    /// The manifest that promises it.
    fn manifest(&self, doing: &Doing<'_>) -> Result<Manifest, Failure> {
        let context = doing.context;
        let mut imprint = context.imprint.clone();
        imprint.finished = context.request.clock.now();
        imprint.plan = context.identity(self.store);
        let (facts, levels) = (doing.facts(), doing.levels());
        let names = &context.graph.artefact_names;
        let mut manifest =
            facts::manifest(&context.request, &imprint, names, &facts, &levels, self.store, self);
        if manifest.archives.is_empty() && manifest.repositories.is_empty() {
            return Err(nothing());
        }
        let mut details = facts::details(&context.request, &facts);
        details.mounts = facts.mounts(context.model(), context.imprint.run).into_values().flatten().collect();
        for warning in &mut details.warnings.first {
            *warning = context.secrets.redact(warning);
        }
        let readers = facts::readers(context.model());
        if readers.is_empty() {
            manifest.second = details.to_second().map_err(Failure::lasting)?;
        } else {
            facts::hide(&mut manifest, &mut details);
            manifest.seal(details, &readers).map_err(Failure::lasting)?;
        }
        Ok(manifest)
    }
}

/// Tells what the run could not clear away behind its commit, but for a store that is `append_only`, where nothing has to be.
fn tell_untidy(doing: &Doing<'_>, store: StoreId, error: &StoreError) {
    match error.kind.is_refusal() {
        true if doing.context.model().store(store).append_only => {}
        true => doing.warn(format!("{error}; {}", StoreError::NO_DELETION)),
        false => doing.warn(format!("{error}; the next run tidies up")),
    }
}

/// Tells of databases that the run before had, and of sources of which a store has less than half by now of what it had, each once.
fn tell_of_losses(doing: &Doing<'_>, store: StoreId, made: &Manifest) {
    let accepted = doing.context.plan().accepted().clone();
    let watch = &doing.context.watch;
    for text in watch.made(store, made, &accepted).into_iter().chain(watch.dropped(made)) {
        doing.warn_once(text);
    }
}

/// Keeps of a manifest that is going to be committed that it is this machine's own.
fn remember_made(doing: &Doing<'_>, manifest: &Manifest) {
    // What makes no bytes is not committed either.
    let Ok(bytes) = manifest.to_bytes() else { return };
    let kept = Made::keep(doing.context.plan().folder(), manifest.run, &bytes);
    if let Err(why) = kept {
        doing.warn(why);
    }
}

/// Keeps that a store has the manifest of this run.
fn keep_done(doing: &Doing<'_>, store: StoreId) {
    let (context, run) = (doing.context, doing.context.imprint.run);
    let (name, plan) = (&context.model().store(store).name, context.plan());
    let is_made = context.watch.runs.makes(store);
    let looked = is_made.then(|| Made::keep_look(plan.folder(), run, name, &[]));
    let kept = Made::keep_done(plan.folder(), run, name).and(looked.unwrap_or(Ok(())));
    drop(plan);
    if let Err(why) = kept {
        doing.warn(why);
    }
}

/// What of a run the store is to hold itself.
fn hold(doing: &Doing<'_>, id: StoreId, manifest: &Manifest) -> Result<Option<Hold>, Failure> {
    let Some(immutable) = doing.context.model().store(id).immutable else { return Ok(None) };
    let Some((store, _)) = doing.session(id).held().opened() else { return Ok(None) };
    let hold = Hold::of(store, &doing.context.layout, manifest, immutable);
    hold.map(Some).map_err(|error| commit_failure(&error.into()))
}

/// Why something did not come into a store.
pub(crate) fn commit_failure(error: &CommitError) -> Failure {
    match error {
        CommitError::Store(cause) => store_failure(cause, error.to_string()),
        CommitError::Uncertain { .. } => Failure::uncertain(error),
        CommitError::Lock(cause) if cause.is_away() => Failure::away(error),
        CommitError::Recover(RecoverError::Store(cause)) => store_failure(cause, error.to_string()),
        _ => Failure::lasting(error),
    }
}

/// A store's error: what stays as it is is not tried again.
pub(super) fn store_failure(error: &StoreError, text: String) -> Failure {
    if error.kind.is_away() {
        return Failure::away(text);
    }
    if error.kind.is_lasting() { Failure::lasting(text) } else { Failure::of(error, text) }
}
