//! The locks of this host, taken by the first step, and all that a run holds, given back by its last.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backplan_compiler::model::{ArchiveId, StoreId};

use super::clear::Tenancy;
use super::{Access, Ahead, Doing, Failure, Output, Performed, Scene, Sight, StepPlan, done};
use crate::catalog::host::{HostLock, HostLockError};
use crate::catalog::reserve;
use crate::places::folder;
use crate::run::staging::{MOVE_AWAY, Staging, told_of_strangers};

/// How often whoever waits looks whether he has to go on waiting.
const LOOK: Duration = Duration::from_millis(200);

/// What the run takes of this host.
pub(crate) struct HostPlan {
    /// What links and mounts make of the plan's paths.
    told: Vec<String>,
    /// The staging and whose it is; `None`: there is none, or it is never cleared. What is wrong with it is told by a run that has
    /// begun.
    staging: Result<Option<(PathBuf, Tenancy)>, Failure>,
}

impl HostPlan {
    /// Looks at the staging.
    pub fn make(scene: Scene<'_>) -> HostPlan {
        HostPlan { told: scene.context.told.clone(), staging: tenancy(scene).map_err(Failure::fatal) }
    }
}

fn tenancy(scene: Scene<'_>) -> Result<Option<(PathBuf, Tenancy)>, crate::run::staging::StagingError> {
    let request = &scene.context.request;
    let Some(declared) = &request.model.staging else { return Ok(None) };
    let Some(staging) = Staging::look(declared, request.around())? else { return Ok(None) };
    let tenancy = Tenancy::of(&staging, &scene.context.plan())?;
    Ok(Some((staging.shown().to_path_buf(), tenancy)))
}

impl StepPlan for HostPlan {
    fn foreseen(self: Box<Self>, _: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let sight = Sight { found: self.told, ..Sight::default() };
        match self.staging {
            Err(failure) => (sight, Err(failure)),
            Ok(Some((staging, Tenancy::Strange(strangers)))) => {
                let told = told_of_strangers(&staging, &strangers);
                (sight.warned(format!("{told}: nothing of it would be deleted; {MOVE_AWAY}")), done())
            }
            Ok(Some((_, Tenancy::Taken(path, inode)))) => {
                (sight, Ok(Performed::Done(Output::TakesStaging(path, inode))))
            }
            Ok(_) => (sight, done()),
        }
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Doing { context, held, .. } = *doing;
        held.anchor("the local state", context.host.folder())?;
        // Before anything else may fail: a run that nobody knows of did not happen.
        doing.records.begin(context)?;
        let Some(declared) = &context.model().staging else { return done() };
        let (lock, has_waited) = take_staging(doing, &declared.path)?;
        held.keep_staging(lock);
        let staging = if has_waited {
            tenancy(doing.scene(&doing.facts())).map_err(Failure::fatal)
        } else {
            self.staging
        };
        match staging? {
            Some((_, Tenancy::Taken(path, inode))) => {
                context.plan().remember_staging(&path, inode).map_err(Failure::fatal)?;
            }
            // Before its first run a staging may be full of what somebody needs: that is told of, and stays until it is gone.
            Some((staging, Tenancy::Strange(strangers))) => {
                let told = told_of_strangers(&staging, &strangers);
                doing.warn(format!("{told}: nothing of it is deleted; {MOVE_AWAY}"));
            }
            Some((_, Tenancy::Own)) | None => {}
        }
        held.anchor("the staging", &declared.path)?;
        done()
    }
}

/// Takes the lock of the staging, and says whether it was waited for: plans may share one, and what starts them starts them at one
/// moment. Whoever has it is alive, as the lock ends with him.
fn take_staging(doing: &Doing<'_>, staging: &Path) -> Result<(HostLock, bool), Failure> {
    let context = doing.context;
    let mut has_waited = false;
    loop {
        let busy = match HostLock::staging(&context.host, staging, &context.note()) {
            Ok(lock) => return Ok((lock, has_waited)),
            Err(busy @ HostLockError::Busy { .. }) => busy,
            Err(error) => return Err(Failure::fatal(error)),
        };
        if !has_waited {
            doing.note(format!("{busy}: waits for it to end"));
            has_waited = true;
        }
        doing.control.check().map_err(|_| Failure::stopped())?;
        std::thread::sleep(LOOK);
    }
}

/// Giving back all that the run holds.
pub(crate) struct UnlockPlan;

impl StepPlan for UnlockPlan {
    /// What would be made in stores of the room that they keep, once the backup is there.
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (scene, layout) = (ahead.scene, &ahead.scene.context.layout);
        let of = |id: &StoreId| {
            let names = match scene.stores.access(*id) {
                Access::Open(store) => reserve::missing(store.as_ref(), layout),
                Access::ToBeMade | Access::None => reserve::all(layout),
            };
            let store = &scene.model().store(*id).name;
            names.into_iter().map(|name| format!("{store}:{name}")).collect::<Vec<_>>()
        };
        let made = scene.facts.committed.iter().flat_map(of).collect();
        (Sight::default(), Ok(Performed::Done(Output::Wrote(made))))
    }

    /// Undoes what was not committed, removes scratch files, releases the stores. Hands on what it has made there of room that
    /// they keep.
    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Doing { context, held, .. } = *doing;
        let (mut trouble, mut made) = (forget_scans(doing), Vec::new());
        let facts = doing.facts();
        for (id, session) in &held.sessions {
            let (troubles, room) = session.release(facts.committed.contains(id));
            trouble.extend(troubles);
            let store = &context.model().store(*id).name;
            made.extend(room.iter().map(|name| format!("{store}:{name}")));
        }
        let staging = context.model().staging.as_ref();
        let kept = staging.is_none_or(|staging| staging.clear_before || staging.clear_after);
        let folders = [Some(context.files.work()), (!kept).then(|| context.files.staged())];
        for folder in folders.into_iter().flatten() {
            if let Err(error) = folder::remove_safely(folder) {
                trouble.push(error.to_string());
            }
        }
        trouble.extend(held.moved());
        held.leave_staging();
        for text in trouble {
            doing.warn(text);
        }
        Ok(Performed::Done(Output::Wrote(made)))
    }
}

/// Deletes the scans that no run after this one needs, where this one is committed.
fn forget_scans(doing: &Doing<'_>) -> Vec<String> {
    let context = doing.context;
    let (cache, levels, facts, model) = (context.cache(), doing.levels(), doing.facts(), context.model());
    let mut trouble = Vec::new();
    let is_committed =
        |id: ArchiveId| model.archive(id).to.iter().any(|store| facts.committed.contains(store));
    for (id, fact) in facts.archives.iter().filter(|(id, _)| is_committed(**id)) {
        let contents = fact.record.contents.iter();
        let made = contents.map(|content| (content.source.as_str(), content.level)).collect();
        let mut keep = levels.needed(*id, &made);
        keep.insert(context.imprint.run);
        if let Err(error) = cache.keep_only(&fact.record.name, &keep) {
            trouble.push(format!("archive `{}`: old scans stay: {error}", fact.record.name));
        }
    }
    // Otherwise not all was looked at that may still be needed.
    if context.request.only.is_empty()
        && facts.archives.len() == model.archives.len()
        && !facts.committed.is_empty()
    {
        // One that was renamed goes on from the scans it had under its old name, as long as it rests on them.
        let mut names: BTreeSet<String> = levels.archives_rested_on().map(str::to_owned).collect();
        names.extend(model.archives.iter().map(|archive| archive.name.clone()));
        if let Err(error) = cache.keep_archives(&names) {
            trouble.push(format!("scans of archives that the plan no longer has stay: {error}"));
        }
    }
    trouble
}
