//! Archiving one file: compressed once, into all stores at once, durable before it is told.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use jiff::Timestamp;

use super::WalError;
use super::archive::Archive;
use super::cluster::{ClusterId, system_of_segment};
use super::name::WalName;
use super::object::{self, ObjectError};
use crate::store::{Creation, Upload};

/// What became of a file.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Stores that have it now and had it not.
    pub written: usize,
    /// Stores that had it, with the same content.
    pub known: usize,
    /// Why others have it not; only where one store is enough.
    pub failed: Vec<WalError>,
}

/// Archives a file of the log in every one of `archives`; with `any`, one that has it is enough. `archives` holds those that
/// cannot be opened, too.
///
/// # Errors
/// The first store's that failed. What was written stays: archived again, it is found to be the same.
pub fn push(
    archives: Vec<Result<Archive, WalError>>,
    any: bool,
    cluster: &ClusterId,
    name: WalName,
    file: &Path,
    now: Timestamp,
) -> Result<Pushed, WalError> {
    if let WalName::Segment(_) | WalName::Partial(_) = name {
        let found = system_of_segment(file).map_err(at(file))?;
        if let Some(found) = found.filter(|found| *found != cluster.system) {
            return Err(WalError::OtherCluster { name: name.to_string(), found, wanted: cluster.system });
        }
    }
    let mut pushed = Pushed::default();
    let mut open = Vec::new();
    for archive in archives {
        match archive.and_then(|archive| begin(archive, cluster, name, file)) {
            Ok(Some(begun)) => open.push(begun),
            Ok(None) => pushed.known += 1,
            Err(error) => pushed.failed.push(error),
        }
    }
    if !open.is_empty() && (any || pushed.failed.is_empty()) {
        write(open, cluster, name, file, now, &mut pushed)?;
    }
    let is_enough = if any { pushed.written + pushed.known > 0 } else { pushed.failed.is_empty() };
    match is_enough {
        true => Ok(pushed),
        // Content that differs is told before a store that is away: it is what does not heal.
        false => {
            let differs = |error: &WalError| matches!(error, WalError::Differs { .. });
            let first = pushed.failed.iter().position(differs).unwrap_or_default();
            Err(pushed.failed.swap_remove(first))
        }
    }
}

/// A store that a file is being written to.
struct Begun {
    archive: Archive,
    upload: Result<Box<dyn Upload>, WalError>,
}

/// Starts to write; `None` where the same is there already.
fn begin(
    archive: Archive,
    cluster: &ClusterId,
    name: WalName,
    file: &Path,
) -> Result<Option<Begun>, WalError> {
    if let Some(size) = archive.size(cluster, name)? {
        same(&archive, cluster, name, size, file)?;
        return archive.settle(cluster, name).map(|()| None);
    }
    let upload = Ok(archive.upload(name)?);
    Ok(Some(Begun { archive, upload }))
}

fn write(
    mut open: Vec<Begun>,
    cluster: &ClusterId,
    name: WalName,
    file: &Path,
    now: Timestamp,
    pushed: &mut Pushed,
) -> Result<(), WalError> {
    let mut from = File::open(file).map_err(at(file))?;
    let written = object::write(&mut from, now, |bytes| {
        for begun in &mut open {
            if let Ok(upload) = &mut begun.upload
                && let Err(error) = upload.write(bytes)
            {
                begun.upload = Err(error.into());
            }
        }
        Ok::<(), WalError>(())
    });
    written.map_err(|error| match error {
        WalError::Object { cause: ObjectError::In(cause), .. } => at(file)(cause),
        error => error,
    })?;
    for Begun { archive, upload } in open {
        let finished = upload.and_then(|upload| archive.finish(upload, cluster, name));
        let settled = finished.and_then(|creation| match creation {
            Creation::Created => Ok(true),
            // Another attempt was quicker.
            Creation::Exists => {
                let size = archive.size(cluster, name)?.ok_or_else(|| WalError::Absent(name.to_string()))?;
                same(&archive, cluster, name, size, file).map(|()| false)
            }
        });
        match settled {
            Ok(true) => pushed.written += 1,
            Ok(false) => pushed.known += 1,
            Err(error) => pushed.failed.push(error),
        }
    }
    Ok(())
}

/// Sees that what is archived is what the file holds.
fn same(
    archive: &Archive,
    cluster: &ClusterId,
    name: WalName,
    size: u64,
    file: &Path,
) -> Result<(), WalError> {
    const OTHER: io::ErrorKind = io::ErrorKind::InvalidData;
    let mut own = BufReader::new(File::open(file).map_err(at(file))?);
    let mut piece = Vec::new();
    let compared = archive.read(cluster, name, size, |bytes| {
        piece.resize(bytes.len(), 0);
        match own.read_exact(&mut piece) {
            Ok(()) if piece == bytes => Ok(()),
            Ok(()) => Err(OTHER.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(OTHER.into()),
            Err(error) => Err(error),
        }
    });
    let differs = || WalError::Differs { store: archive.label.clone(), name: name.to_string() };
    match compared {
        Err(WalError::Object { cause: ObjectError::Out(error), .. }) if error.kind() == OTHER => {
            Err(differs())
        }
        Err(error) => Err(error),
        Ok(_) => match own.read(&mut [0]).map_err(at(file))? {
            0 => Ok(()),
            _ => Err(differs()),
        },
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WalError + use<> {
    let path = path.to_path_buf();
    move |cause| WalError::File { path, cause }
}
