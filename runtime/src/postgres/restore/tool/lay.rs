//! Laying the cluster down: the tool restores, and what it leaves is given to whom it belongs.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::cluster::{ClusterError, ClusterOutcome, beside, give_folder, mapped, unbound};
use super::super::launch::{Laid, Then};
use super::super::outside;
use super::far::{Far, held, silently};
use super::{Repository, ToolRestore, file, stanza_of};
use crate::backups::restore;
use crate::backups::shelf::Shelves;
use crate::backups::silence::silence;
use crate::catalog::ids::RunId;
use crate::catalog::runs::Choice;
use crate::confine::Bounds;
use crate::control::Control;
use crate::extract::Existing;
use crate::postgres::recovery::{Point, command_word, fetch_strictly};
use crate::postgres::repository::{KEY_FILE, Repository as Remote};
use crate::postgres::restore::PutBack;
use crate::postgres::tools;

impl ToolRestore<'_> {
    /// The same from the repository that was chosen, and from no other.
    pub(super) fn put_back(&self, control: &Control) -> Result<ClusterOutcome, ClusterError> {
        let programs = match &self.wish.then {
            Then::Start(_) => Some(self.programs()?),
            Then::ByHand | Then::Rehearse => None,
        };
        let program = tools::find("pgbackrest").map_err(|error| ClusterError::Tool(error.to_string()))?;
        let mut outcome = self.outline();
        if matches!(self.repository, Repository::Packed) {
            let to = self.beside("repository");
            self.unpack(self.run, Vec::new(), &to, control)?;
            let log = format!("{}/archive/{}", self.wish.source, stanza_of(self.record, &self.wish.source));
            self.behind
                .iter()
                .try_for_each(|run| self.unpack(*run, vec![log.clone().into()], &to, control))?;
        }
        let config = self.settings()?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.wish.to).map_err(file(&self.wish.to))?;
        let (bounds, made) = self.bounds(control)?;
        outcome.unbound = bounds.refusal().map(str::to_owned);
        let restored = held(self.arguments(&program, config.as_deref())?, &bounds, control, &silently());
        for space in made {
            // One that something came to stays.
            let _ = fs::remove_dir(&space);
        }
        restored?;
        let data = fs::File::open(&self.wish.to).map_err(file(&self.wish.to))?;
        if !self.wish.recovery.archives {
            silence(&data).map_err(file(&self.wish.to))?;
        }
        let fetch = self.base(&program, config.as_deref())?;
        let fetch: Vec<String> = fetch.iter().map(|word| command_word(word)).collect();
        let fetch = format!("{} archive-get %f \"%p\"", fetch.join(" "));
        fetch_strictly(&data, &fetch).map_err(file(&self.wish.to))?;
        self.give(config.as_deref())?;
        let own = self.own_folders();
        let data = [std::path::absolute(&self.wish.to).map_err(file(&self.wish.to))?];
        let bounds = Arc::new(Bounds::find(&data, data[0].parent(), control).map_err(unbound)?);
        let far = Far { base: self.base(&program, config.as_deref())?, below: &self.wish.to, bounds };
        let mapped = mapped(&self.wish.to, &self.wish.tablespaces);
        let (to, point) = (&self.wish.to, &self.wish.recovery.point);
        let outside = outside::find(to, &own, &far, point, &mapped, control)?;
        let action = self.wish.recovery.action;
        let end = self.end.filter(|_| *point == Point::Latest);
        let laid = Laid { data: to, own, outside, action, end, programs };
        laid.go_on(&self.wish.then, &mut outcome, control)?;
        Ok(outcome)
    }

    /// What the tool is held to, and the folders that were made for that: beside the data directory, and where it is told to
    /// put tablespaces by name.
    fn bounds(&self, control: &Control) -> Result<(Arc<Bounds>, Vec<PathBuf>), ClusterError> {
        let (mut own, mut made) = (vec![self.wish.to.clone()], Vec::new());
        let named = self.wish.tablespaces.iter().filter(|(name, _)| !name.is_absolute());
        for space in std::iter::once(beside(&self.wish.to)).chain(named.map(|(_, to)| to.clone())) {
            if !space.is_dir() {
                // Where it cannot be made, and is needed, the tool says so.
                let above = space.parent().unwrap_or(&space);
                let done = DirBuilder::new().recursive(true).mode(0o755).create(above);
                let done = done.and_then(|()| DirBuilder::new().mode(0o700).create(&space));
                if done.is_err() {
                    continue;
                }
                made.push(space.clone());
            }
            own.push(space);
        }
        let own = own.iter().map(|own| std::path::absolute(own).map_err(file(own)));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        let near = own[0].parent();
        Ok((Arc::new(Bounds::find(&own, near, control).map_err(unbound)?), made))
    }

    /// The data directory itself belongs to whom its files do, and so does what its server reads.
    fn give(&self, config: Option<&Path>) -> Result<(), ClusterError> {
        let first = self.wish.to.join("PG_VERSION");
        let owner = fs::metadata(&first).map_err(file(&first))?;
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let key = self.remote().and_then(Remote::key).map(|_| self.beside(KEY_FILE));
        for path in [config, key.as_deref()].into_iter().flatten() {
            lchown(path, Some(owner.uid()), Some(owner.gid())).map_err(file(path))?;
        }
        let folders = std::iter::once(self.wish.to.clone()).chain(self.spaces()?);
        folders.into_iter().try_for_each(|folder| give_folder(&folder, &owner).map_err(file(&folder)))
    }

    /// The folders of its tablespaces, as the tool makes them: nobody's but root's. The one that they lie in stays so, where
    /// nobody puts something else in their place, and others may pass through.
    fn spaces(&self) -> Result<Vec<PathBuf>, ClusterError> {
        let above = beside(&self.wish.to);
        let (beside, mapped): (Vec<_>, Vec<_>) =
            self.own_folders().into_iter().partition(|folder| *folder == above);
        let mut spaces = mapped;
        for folder in beside {
            let open = fs::Permissions::from_mode(0o711);
            fs::set_permissions(&folder, open).map_err(file(&folder))?;
            for entry in fs::read_dir(&folder).map_err(file(&folder))? {
                spaces.push(entry.map_err(file(&folder))?.path());
            }
        }
        Ok(spaces)
    }

    /// Lays down what a run's artefact has of the repository: all of it, or these parts, over what is there.
    fn unpack(
        &self,
        run: RunId,
        paths: Vec<OsString>,
        to: &Path,
        control: &Control,
    ) -> Result<(), ClusterError> {
        unpacked(self.shelves, (run, &self.wish.source), paths, to, control)
    }

    /// Where its tablespaces are, as far as there are any.
    fn own_folders(&self) -> Vec<PathBuf> {
        let mapped = self.wish.tablespaces.iter().map(|(_, to)| to.clone());
        std::iter::once(beside(&self.wish.to)).chain(mapped).filter(|path| path.is_dir()).collect()
    }
}

/// Lays down what a run's artefact has of a tool's repository: all of it into a new folder, or these parts, over what is there.
///
/// # Errors
/// When it cannot be read, or not be laid down whole.
pub fn unpacked(
    shelves: &Shelves,
    (run, source): (RunId, &str),
    paths: Vec<OsString>,
    to: &Path,
    control: &Control,
) -> Result<(), ClusterError> {
    let held = shelves.held(&Choice::Id(run.to_string()), Some(source))?;
    let mut wish = restore::RestoreWish::of(source, to);
    if !paths.is_empty() {
        (wish.paths, wish.existing) = (paths, Existing::Replace);
    }
    let done = restore::plan(&held, &wish)?.carry_out(control)?;
    match done.problem_count {
        0 => Ok(()),
        count => Err(ClusterError::Incomplete { count, first: done.problems.into_iter().take(3).collect() }),
    }
}
