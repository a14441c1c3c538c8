//! Archives of logs, as the steps of a run, a sync and a check reach them. What is in them is written by the servers.

use backplan_compiler::model::{Model, Source, StoreId};

use crate::control::Control;
use crate::postgres::wal::archive::{Access, Archive};
use crate::postgres::wal::{self, WalError, bring};
use crate::programs::secrets::Secrets;

/// How a run reaches the archives of a `wal` block.
pub(super) fn access(model: &Model, at: usize, secrets: &Secrets) -> Access {
    Access { secrets: secrets.clone(), recipients: model.wals[at].encrypt.clone(), ..Access::default() }
}

/// The archive of a `wal` block in a store.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn opened(
    model: &Model,
    at: usize,
    store: StoreId,
    secrets: &Secrets,
) -> Result<Archive, WalError> {
    let (declared, source) = (model.store(store), model.source(model.wals[at].source));
    Archive::open(declared, &model.name, &source.name, &access(model, at, secrets))
}

/// The archives of the same log in other stores, as far as they can be opened.
pub(super) fn others(model: &Model, at: usize, store: StoreId, secrets: &Secrets) -> Vec<Archive> {
    let others = model.wals[at].to.iter().filter(|other| **other != store);
    others.filter_map(|other| opened(model, at, *other, secrets).ok()).collect()
}

/// Files that the archives of logs in a store lack and others have, by source.
pub(super) fn lacking(model: &Model, store: StoreId) -> Vec<(String, usize)> {
    let secrets = Secrets::default();
    let goes_there = |at: &usize| model.wals[*at].to.contains(&store);
    let each = (0..model.wals.len()).filter(goes_there).filter_map(|at| {
        let others = others(model, at, store, &secrets);
        let files = match opened(model, at, store, &secrets) {
            Ok(archive) => bring::count(&archive, &others).ok()?,
            Err(WalError::NoArchive { .. }) => bring::all(&others).ok()?,
            Err(_) => return None,
        };
        Some((model.source(model.wals[at].source).name.clone(), files))
    });
    each.filter(|(_, files)| *files > 0).collect()
}

/// Brings to the archives of logs in a store what they lack and others have: by source how many files, and what could not be
/// brought.
///
/// # Errors
/// When an archive cannot be made or opened, or it is asked to stop.
pub(super) fn bring_to(
    model: &Model,
    store: StoreId,
    control: &Control,
) -> Result<Vec<(String, usize, Vec<String>)>, String> {
    let secrets = Secrets::default().under(control);
    let mut done = Vec::new();
    for at in (0..model.wals.len()).filter(|at| model.wals[*at].to.contains(&store)) {
        let source = model.source(model.wals[at].source);
        let access = access(model, at, &secrets);
        wal::init(model, source, model.store(store), &access).map_err(|error| error.to_string())?;
        let archive = opened(model, at, store, &secrets).map_err(|error| error.to_string())?;
        let brought = bring::from_others(&archive, &others(model, at, store, &secrets), control);
        let brought = brought.map_err(|stopped| stopped.to_string())?;
        done.push((source.name.clone(), brought.files.len(), brought.failed));
    }
    Ok(done)
}

/// What is said of an archive that is not there.
pub(super) fn no_archive(error: &WalError, model: &Model, source: &Source) -> String {
    format!(
        "{error}; no run writes anything else there, so none can tell: mount the right one, or make the archive with \
         `plan wal init {} {}`",
        model.file.display(),
        source.name
    )
}

/// Why a run could not use an archive of a log, in its own words.
pub(crate) fn unusable(model: &Model, at: usize, store: StoreId) -> Option<String> {
    let source = model.source(model.wals[at].source);
    let is_ours = model.archives.iter().any(|archive| archive.to.contains(&store));
    match opened(model, at, store, &Secrets::default()) {
        Ok(_) => None,
        Err(WalError::NoArchive { .. }) if is_ours => None,
        Err(error @ WalError::NoArchive { .. }) => Some(no_archive(&error, model, source)),
        Err(error) => Some(error.to_string()),
    }
}
