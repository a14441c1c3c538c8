//! `plan check --live`: whether the world is as a plan needs it. Looks, and changes nothing: not a file is written, a lock
//! taken or a setting changed.

use backplan_compiler::count::plural;
use std::fs;
use std::io;
use std::path::Path;

use backplan_compiler::Laid;
use backplan_compiler::codes;
use backplan_compiler::finding::Finding;
use backplan_compiler::kinds::{self, Reading};
use backplan_compiler::model::{Absent, Model, Source, SourceId, Store, StoreId};
use backplan_compiler::sources::Place;
use jiff::Timestamp;
use rustix::fs::{Access, access, statvfs};

use crate::backups::shelf::Shelves;
use crate::catalog::fitness::Asker;
use crate::catalog::host::HostState;
use crate::catalog::layout::Layout;
use crate::catalog::manifest::Manifest;
use crate::catalog::mounted;
use crate::control::Control;
use crate::machine::host_name;
use crate::places::world;
use crate::postgres::restore::repositories;
use crate::programs::secrets::Secrets;
use crate::run::staging::{MOVE_AWAY, Staging, StagingError, Surroundings, told_of_strangers};
use crate::run::wal;
use crate::scan::link::{self, Link};
use crate::scratch::{self, Places};
use crate::source::look::{Look, nearest};
use crate::source::reader;
use crate::status;
use crate::store::{self, StoreErrorKind};

/// What is held against the world.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The plan.
    pub model: &'a Model,
    /// The paths that it names.
    pub laid: &'a Laid,
    /// Backplan's own folder on this host.
    pub state: &'a Path,
    /// The home of the account that looks.
    pub home: Option<&'a Path>,
    /// What the time is.
    pub now: Timestamp,
}

/// All that is not as the plan needs it.
pub fn look(asked: Asked<'_>, control: &Control) -> Vec<Finding> {
    let Asked { model, laid, state, now, .. } = asked;
    let shelves = Shelves::of_plan(model, None).ok();
    let runs = shelves.iter().flat_map(|shelves| &shelves.shelves).flat_map(|shelf| shelf.catalog.runs());
    let runs: Vec<&Manifest> = runs.collect();
    let newest = runs.iter().copied().max_by_key(|run| run.run);
    let mut look = Look { model, newest, runs, control, findings: Vec::new() };
    look.clock(now);
    let asker = look.asker(state);
    for (id, store) in model.each_store() {
        let before = look.findings.len();
        look.store(store, state);
        // One that is away is told once.
        let is_away = look.findings[before..].iter().any(|finding| finding.name == codes::STORE_AWAY.name);
        if is_away {
            continue;
        }
        if let Some(asker) = &asker {
            look.fitness(store, asker);
        }
        look.archives(id);
    }
    for source in &model.sources {
        look.source(source);
    }
    look.unmounted(shelves.as_ref(), state);
    look.places(laid);
    look.settings();
    let sources = model.sources.iter().enumerate();
    let probed = sources.map(|(at, source)| reader(&source.kind).probe(&mut look, SourceId(at), state));
    let database_bytes = probed.sum();
    if let Some(shelves) = &shelves {
        look.timelines(shelves, state);
    }
    look.staging(database_bytes);
    look.clearing(asked);
    look.rehearsals();
    look.findings
}

/// What is wrong with a path.
fn trouble(path: &Path, wanted: Access) -> Option<io::Error> {
    access(path, wanted).err().map(io::Error::from)
}

/// Bytes that may still be written there.
fn free(path: &Path) -> Option<u64> {
    let there = statvfs(path).ok()?;
    Some(there.f_bavail.saturating_mul(there.f_frsize))
}

impl Look<'_> {
    fn clock(&mut self, now: Timestamp) {
        let later = self.newest.filter(|run| run.started > now);
        let place = self.model.stores.first().map(|store| store.place);
        if let (Some(run), Some(place)) = (later, place) {
            let message = format!(
                "run {} began at {}, which is later than now",
                run.run,
                crate::moment::shown(run.started)
            );
            self.find(
                &codes::CLOCK_WRONG,
                place,
                message,
                "set this machine's clock: nothing is pruned until then",
            );
        }
    }

    /// This machine as the one that is to run the plan, if what it remembers can be read; whether it could keep more is told.
    fn asker(&mut self, state: &Path) -> Option<Asker> {
        let (asker, error) = match Asker::of(self.model, state).map(Asker::to_run) {
            Ok(asker) => {
                let barred = asker.barred();
                (Some(asker), barred)
            }
            Err(error) => (None, Some(error)),
        };
        if let (Some(error), Some(store)) = (error, self.model.stores.first()) {
            let help = error.mend().unwrap_or("do what it says there: no run can begin until somebody does");
            self.find(&codes::STATE_UNUSABLE, store.place, error.to_string(), help);
        }
        asker
    }

    /// What in a store keeps runs from using it.
    fn fitness(&mut self, store: &Store, asker: &Asker) {
        let Ok(opened) = store::open(store, &Secrets::default().under(self.control)) else { return };
        for text in asker.unfit(self.model, store, opened.as_ref()) {
            let help = "do what it says there: it stays so until somebody does";
            self.find(&codes::STORE_UNUSABLE, store.place, text, help);
        }
    }

    /// What keeps a run from the archives of logs in a store.
    fn archives(&mut self, id: StoreId) {
        for (at, wal) in self.model.wals.iter().enumerate().filter(|(_, wal)| wal.to.contains(&id)) {
            if let Some(text) = wal::unusable(self.model, at, id) {
                let help = "do what it says there: it stays so until somebody does";
                self.find(&codes::STORE_UNUSABLE, wal.place, text, help);
            }
        }
    }

    fn store(&mut self, store: &Store, state: &Path) {
        let goes_on = store.absent != Absent::Fail;
        let Some(path) = store.folder() else { return self.remote(store, state, goes_on) };
        if !path.is_dir() && path.symlink_metadata().is_ok() {
            let message = format!(
                "store `{}`: `{}` is a file or a link to nothing, and no folder",
                store.name,
                path.display()
            );
            let help = "move it away, or give the store a folder";
            return self.find_weighed(
                &codes::STORE_AWAY,
                store.place,
                message,
                help,
                goes_on && path.is_symlink(),
            );
        }
        if !path.is_dir() {
            let was_used = self.was_used(store, state);
            let above = path.parent().unwrap_or(path);
            if was_used || !above.is_dir() {
                let message = format!("store `{}`: `{}` is not there", store.name, path.display());
                let help = "mount it, or make the folder that it is to be in";
                return self.find_weighed(&codes::STORE_AWAY, store.place, message, help, goes_on);
            }
        }
        let there = nearest(path);
        // Of a mount that is there, and for nobody to write to, more is told with what keeps runs from using a store.
        let is_told = |cause: &io::Error| cause.kind() == io::ErrorKind::ReadOnlyFilesystem && path.is_dir();
        let cause = trouble(&there, Access::WRITE_OK | Access::EXEC_OK);
        if let Some(cause) = cause.filter(|cause| !is_told(cause)) {
            let message = format!("store `{}`: cannot write into `{}`: {cause}", store.name, there.display());
            let help = "mount it writable, and let the account that runs the plan write there";
            return self.find_weighed(&codes::STORE_READ_ONLY, store.place, message, help, goes_on);
        }
        let last = self.newest.map_or(0, |run| run.archives.iter().map(|archive| archive.size).sum::<u64>());
        if let Some(free) = free(&there).filter(|free| *free < last) {
            let message = format!(
                "store `{}` has {} free, and the last run took {last}",
                store.name,
                plural(free, "byte")
            );
            self.find(&codes::STORE_FULL, store.place, message, "make room, or let `keep` give up more");
        }
    }

    /// Whether a run of the plan has used a store.
    fn was_used(&self, store: &Store, state: &Path) -> bool {
        let known = HostState::look(state).and_then(|host| host.plan(&self.model.name, &self.model.file));
        known.is_ok_and(|plan| plan.known(&store.name, &store.location()).is_some())
    }

    /// What a run would find of a bucket or a file server, as far as looking tells.
    fn remote(&mut self, store: &Store, state: &Path, goes_on: bool) {
        let Ok(layout) = Layout::new(&self.model.name) else { return };
        let opened = match store::open(store, &Secrets::default().under(self.control)) {
            // The first run makes it.
            Err(error)
                if error.kind == StoreErrorKind::Absent
                    && !self.was_used(store, state)
                    && store::would_make(store).is_some() =>
            {
                return;
            }
            opened => opened,
        };
        let looked = opened.and_then(|opened| {
            opened.entries(&layout.manifests())?;
            Ok(opened.capabilities())
        });
        match looked {
            Ok(can) if !can.durable => {
                let message =
                    format!("store `{}`: its server cannot be asked to sync what it was sent", store.name);
                let help =
                    "let OpenSSH's own `sftp-server` or `internal-sftp` serve it, or have another store";
                self.find(&codes::STORE_UNSYNCED, store.place, message, help);
            }
            Ok(_) => {}
            Err(error) => {
                let help =
                    "see that it is there, and that the keys that a run would use may list what is in it";
                self.find_weighed(&codes::STORE_AWAY, store.place, error.to_string(), help, goes_on);
            }
        }
    }

    fn source(&mut self, source: &Source) {
        let files = source.files();
        let paths: Vec<(Place, &Path)> = match files {
            // Below a `root` only a window makes them appear.
            Some(files) if files.root.is_some() => return,
            Some(files) => files.paths.iter().map(|it| (it.place, it.absolute.as_path())).collect(),
            None if source.kind.facts().reading == Reading::File => {
                source.kind.own().paths().into_iter().map(|(_, _, path)| (source.place, path)).collect()
            }
            None => return,
        };
        for (place, path) in paths {
            if let Some(files) = files
                && let Some(Link::To(target)) = link::look(files, path)
            {
                let message = format!(
                    "source `{}`: `{}` is a symbolic link: the link is recorded, and not `{}`",
                    source.name,
                    path.display(),
                    target.display()
                );
                self.find(&codes::PATH_IS_LINK, place, message, "name what it leads to itself");
            }
            let wanted = match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => Access::READ_OK | Access::EXEC_OK,
                _ => Access::READ_OK,
            };
            if let Some(cause) = trouble(path, wanted) {
                let message = format!("source `{}`: `{}`: {cause}", source.name, path.display());
                let help =
                    "mend the path, let the account that runs the plan read it, or say `optional = true`";
                self.find_weighed(&codes::PATH_MISSING, place, message, help, source.optional);
            }
        }
    }

    /// What a run would miss that earlier runs read from file systems of their own.
    fn unmounted(&mut self, shelves: Option<&Shelves>, state: &Path) {
        let catalogs = shelves.into_iter().flat_map(|shelves| &shelves.shelves).map(|shelf| &shelf.catalog);
        for id in (0..self.model.sources.len()).map(SourceId) {
            let source = self.model.source(id);
            let missed = mounted::missed(self.model, id, state, &catalogs, self.control);
            for (_, text) in missed.unwrap_or_default() {
                let message = format!("source `{}`: {text}", source.name);
                let help =
                    "see what it says: until then each run is of a part, and no good backup goes for it";
                self.find_weighed(&codes::PATH_MISSING, source.place, message, help, source.optional);
            }
        }
    }

    /// Whether two clusters archive to one place.
    fn timelines(&mut self, shelves: &Shelves, state: &Path) {
        let places = Places { place: scratch::usual_place(), state: state.to_path_buf() };
        let access = repositories::Access::of_plan(self.model, shelves, &host_name(), places);
        for standing in status::logs(self.model, shelves, &access) {
            let declared = self.model.sources.iter().find(|source| source.name == standing.source);
            let Some(place) = declared.map(|source| source.place) else { continue };
            for text in standing.growing {
                let message = format!("source `{}`: {text}", standing.source);
                let help =
                    "make a backup of the one that goes on; `plan restore --target-timeline N` takes either";
                self.find(&codes::TIMELINES_APART, place, message, help);
            }
        }
    }

    /// What shows only where links, mounts and rights are looked at.
    fn places(&mut self, laid: &Laid) {
        self.findings.extend(world::findings(laid));
        for (path, place, distrust) in world::obeyed(laid) {
            let message = format!("root does what `{}` says: {distrust}", path.display());
            self.find(&codes::PLAN_WRITABLE, place, message, distrust.mend());
        }
    }

    /// Whether a run would clear the staging, and of what.
    fn clearing(&mut self, asked: Asked<'_>) {
        let Some(declared) = &self.model.staging else { return };
        let around = Surroundings { model: asked.model, state: asked.state, home: asked.home };
        let staging = match Staging::look(declared, around) {
            Ok(staging) => staging,
            // Told already.
            Err(StagingError::Missing(_) | StagingError::NotFolder(_)) => return,
            Err(error) => {
                let help =
                    "give the staging an empty folder of its own, in one that only this account may write to";
                return self.find(&codes::STAGING_UNSAFE, declared.place, error.to_string(), help);
            }
        };
        let Some(staging) = staging else { return };
        let known = HostState::look(asked.state)
            .and_then(|host| host.plan(&self.model.name, &self.model.file))
            .ok()
            .zip(staging.identity().ok());
        let is_known = known.is_some_and(|(plan, (path, inode))| plan.has_staging(&path, inode));
        let strangers = staging.strangers().unwrap_or_default();
        if !is_known && !strangers.is_empty() {
            let message = told_of_strangers(&declared.path, &strangers);
            self.find(&codes::STAGING_STRANGERS, declared.place, message, MOVE_AWAY);
        }
    }

    /// The place of rehearsals that runs make, by what the newest run holds.
    fn rehearsals(&mut self) {
        let place = scratch::usual_place();
        for verify in self.model.verifies.iter().filter(|verify| verify.every.is_some()) {
            let name = &self.model.source(verify.restore).name;
            let held =
                self.newest.into_iter().flat_map(|run| &run.sources).find(|source| source.name == *name);
            let needed = held.and_then(|source| source.measured()).unwrap_or(1);
            if let Some(error) = scratch::lacks(&place, needed.max(1)) {
                let message = format!("source `{name}` cannot be rehearsed: {error}");
                return self.find(
                    &codes::SCRATCH_SHORT,
                    verify.place,
                    message,
                    "see what `TMPDIR` is where runs are started from",
                );
            }
        }
    }

    /// Room for what the last run built there, or, before the first, for the databases.
    fn staging(&mut self, database_bytes: u64) {
        let Some(staging) = &self.model.staging else { return };
        let (place, there) = (staging.place, &staging.path);
        if !there.is_dir() {
            let message = format!("the staging `{}` is not there", there.display());
            return self.find(&codes::STAGING_AWAY, place, message, "make it, or mount what it is on");
        }
        if let Some(cause) = trouble(there, Access::WRITE_OK | Access::EXEC_OK) {
            let message = format!("the staging `{}` cannot be written to: {cause}", there.display());
            let help = "mount it writable, and let the account that runs the plan write there";
            return self.find(&codes::STAGING_AWAY, place, message, help);
        }
        let copied = |run: &Manifest| {
            // A repository is in a place of its own.
            let is_copied = |kind: &str| {
                kinds::facts(kind, None)
                    .is_some_and(|row| matches!(row.reading, Reading::File | Reading::Folder))
            };
            let copies =
                run.sources.iter().filter(|source| is_copied(&source.kind) && !source.is_repository());
            run.archives.iter().map(|archive| archive.size).sum::<u64>()
                + copies.map(|source| source.bytes).sum::<u64>()
        };
        let needed = self.newest.map_or(database_bytes, copied);
        if let Some(free) = free(there).filter(|free| *free < needed) {
            let message = format!(
                "the staging has {} free, and a run needs about {needed} there",
                plural(free, "byte")
            );
            self.find(&codes::STAGING_SHORT, place, message, "make room, or give the staging another `path`");
        }
    }
}
