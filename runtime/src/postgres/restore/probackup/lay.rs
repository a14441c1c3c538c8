//! Laying the cluster down: the catalogue is unpacked, the tool restores out of it, and what it leaves is given to whom it belongs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::super::cluster::{ClusterError, ClusterOutcome, Space, all_mapped, behind, file, mapped, unbound};
use super::super::launch::{Laid, Then};
use super::super::outside;
use super::super::tool::far::{held, silently};
use super::super::tool::lay::unpacked;
use super::held::segment;
use super::{CatalogueRestore, label};
use crate::backups::restore::must_be_empty;
use crate::backups::unfinished;
use crate::confine::Bounds;
use crate::control::Control;
use crate::places::folder;
use crate::postgres::probackup::inspect::Inspection;
use crate::postgres::restore::PutBack;
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::name::Segment;
use crate::postgres::wal::records::Records;
use crate::programs::process::{self, Program};

/// Whom a cluster belongs to that root restores and that was nobody's else.
const ACCOUNT: &str = "postgres";

impl CatalogueRestore<'_> {
    /// Puts the cluster back, and starts it where that is wanted.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub(super) fn lay_down(&self, control: &Control) -> Result<ClusterOutcome, ClusterError> {
        let programs = match &self.wish.then {
            Then::Start(_) => Some(self.programs()?),
            Then::ByHand | Then::Rehearse => None,
        };
        let (mut outcome, to) = (self.outline(), &self.wish.to);
        let catalogue = self.catalogue();
        DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(file(to))?;
        let _held = unfinished::hold(to)?;
        // Another may have come to its end meanwhile.
        must_be_empty(to)?;
        match &self.kept {
            Some(kept) => self.validate(kept, control)?,
            None => unpacked(self.shelves, (self.run, &self.wish.source), Vec::new(), &catalogue, control)?,
        }
        self.spaces.iter().try_for_each(make)?;
        outcome.unbound = self.have_restored(control)?;
        self.wish.recovery.write(to).map_err(file(to))?;
        self.give(&catalogue, control)?;
        let own: Vec<PathBuf> = self.spaces.iter().map(|space| space.to.clone()).collect();
        let mapped = mapped(to, &self.wish.tablespaces);
        let far = Beside(catalogue.join("wal").join(&self.instance));
        let outside = outside::find(to, &own, &far, &self.wish.recovery.point, &mapped, control)?;
        all_mapped(&self.wish.tablespaces, &self.spaces, &outside)?;
        if !self.has_log && self.kept.is_none() {
            // What was unpacked for this restore; the cluster has all of it.
            folder::remove(&catalogue).map_err(|error| ClusterError::Tool(error.to_string()))?;
        }
        let action = self.wish.recovery.action;
        let end = outcome.log_end;
        let laid = Laid { data: to, own, outside, action, end, programs };
        laid.go_on(&self.wish.then, &mut outcome, control)?;
        Ok(outcome)
    }

    /// Has the tool read all of the backup first, as the account that the catalogue belongs to: it notes there what it finds.
    fn validate(&self, kept: &Path, control: &Control) -> Result<(), ClusterError> {
        let inspection = Inspection { folder: kept, instance: &self.instance };
        inspection.validate(label(self.record), control).map_err(|error| match error {
            error if error.is_stopped() => {
                control.check().err().map_or_else(|| ClusterError::Tool(error.to_string()), Into::into)
            }
            error => ClusterError::Tool(error.to_string()),
        })
    }

    /// Has the tool restore, held to the folders of the cluster and to the catalogue, which it locks: of one in a store to the
    /// backups of its instance. Gives why it was not held, where it was not.
    fn have_restored(&self, control: &Control) -> Result<Option<String>, ClusterError> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(file(path));
        let (to, catalogue) = (absolute(&self.wish.to)?, absolute(&self.catalogue())?);
        let mut argv = vec![
            self.program.clone(),
            "restore".to_owned(),
            format!("--backup-path={}", catalogue.display()),
            format!("--instance={}", self.instance),
            format!("--pgdata={}", to.display()),
            format!("--backup-id={}", label(self.record)),
            // What is not the cluster's would go where it was.
            "--skip-external-dirs".to_owned(),
        ];
        let locked = match &self.kept {
            Some(kept) => {
                // It was, just now.
                argv.push("--no-validate".to_owned());
                kept.join("backups").join(&self.instance)
            }
            None => catalogue,
        };
        let mut own = vec![to.clone(), locked];
        for space in &self.spaces {
            let new = absolute(&space.to)?;
            let word = |path: &Path| path.display().to_string().replace('=', "\\=");
            argv.push(format!("--tablespace-mapping={}={}", word(&space.was), word(&new)));
            own.push(new);
        }
        let bounds = Arc::new(Bounds::find(&own, to.parent(), control).map_err(unbound)?);
        held(argv, &bounds, control, &silently())?;
        Ok(bounds.refusal().map(str::to_owned))
    }

    /// What root restored belongs to whom the catalogue does.
    fn give(&self, catalogue: &Path, control: &Control) -> Result<(), ClusterError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let owner = fs::symlink_metadata(catalogue.join("backups")).map_err(file(catalogue))?;
        let account = match owner.uid() {
            0 => format!("{ACCOUNT}:"),
            uid => format!("{uid}:{}", owner.gid()),
        };
        let mut argv = vec!["chown".to_owned(), "-hR".to_owned(), account, "--".to_owned()];
        let spaces = self.spaces.iter().map(|space| &space.to);
        argv.extend(std::iter::once(&self.wish.to).chain(spaces).map(|path| behind(path)));
        process::run(&Program::new(argv), control, &silently()).map(drop).map_err(ClusterError::Owner)
    }
}

/// Makes the folder of a tablespace, and those above it so that its account may pass through.
fn make(space: &Space) -> Result<(), ClusterError> {
    let above = space.to.parent().unwrap_or(&space.to);
    DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(file(above))?;
    match DirBuilder::new().mode(0o700).create(&space.to) {
        // An empty one, as was looked at.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(file(&space.to)),
    }
}

/// The log in a catalogue that is unpacked.
struct Beside(PathBuf);

impl outside::Far for Beside {
    fn segments(&self, _: &ClusterId, _: &Control) -> Result<Vec<Segment>, ClusterError> {
        let names = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(file(&self.0))?,
        };
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| segment(&name)).collect())
    }

    fn read(
        &self,
        _: &ClusterId,
        segment: Segment,
        all: &mut Records,
        _: &Control,
    ) -> Result<(), ClusterError> {
        let plain = self.0.join(segment.to_string());
        let mut take = |bytes: &[u8]| all.take(segment, bytes);
        match outside::read_file(&plain, &mut take) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read.map_err(file(&plain)),
        }
        let packed = plain.with_extension("gz");
        let mut whole = MultiGzDecoder::new(File::open(&packed).map_err(file(&packed))?);
        outside::read_all(&mut whole, &mut take).map_err(|error| outside::unusable(segment, error))
    }
}
