//! Archiving one file: compressed once, into all stores at once, durable before it is told.

use std::io::{self, BufReader, Read};
use std::path::Path;

use jiff::Timestamp;

use super::WalError;
use super::archive::Archive;
use super::cluster::{ClusterId, system_of_segment};
use super::name::WalName;
use super::object::{self, ObjectError};
use super::rival::{self, Pushing};
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

/// How a file is archived.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The file.
    pub pushing: Pushing<'a>,
    /// One store that has it is enough.
    pub any: bool,
    /// Also where the cluster that it left goes on.
    pub take_over: bool,
    /// When this is.
    pub now: Timestamp,
}

/// Archives a file of the log in every one of `archives`, with histories that they lack before it; where one is enough, in
/// one of them. `archives` holds those that cannot be opened, too.
///
/// # Errors
/// The first store's that failed. What was written stays: archived again, it is found to be the same. Nothing is written
/// anywhere where one of them says that the file is a copy's.
pub fn push(archives: Vec<Result<Archive, WalError>>, request: &Request<'_>) -> Result<Pushed, WalError> {
    let Pushing { cluster, name, file, .. } = request.pushing;
    if let WalName::Segment(_) | WalName::Partial(_) = name {
        let found = system_of_segment(file).map_err(at(file))?;
        if let Some(found) = found.filter(|found| *found != cluster.system) {
            return Err(WalError::OtherCluster { name: name.to_string(), found, wanted: cluster.system });
        }
    }
    let mut pushed = Pushed::default();
    let mut open = Vec::new();
    for archive in archives {
        match archive.and_then(|archive| look(archive, request)) {
            Ok(Some(archive)) => open.push(archive),
            Ok(None) => pushed.known += 1,
            Err(error) => pushed.failed.push(error),
        }
    }
    // What does not heal comes before a store that is away.
    if let Some(copy) = pushed.failed.iter().position(WalError::is_of_a_copy) {
        return Err(pushed.failed.swap_remove(copy));
    }
    if !open.is_empty() && (request.any || pushed.failed.is_empty()) {
        let mut ready = Vec::new();
        for archive in &open {
            match begin(archive, request) {
                Ok(begun) => ready.push(begun),
                Err(error) => pushed.failed.push(error),
            }
        }
        for archive in write(ready, cluster, name, file, request.now, &mut pushed)? {
            // Without, the next one is held against an older note, or against histories.
            let _ = rival::note(archive, &request.pushing);
        }
    }
    let is_enough = if request.any { pushed.written + pushed.known > 0 } else { pushed.failed.is_empty() };
    match is_enough {
        true => Ok(pushed),
        false => {
            let first = pushed.failed.iter().position(WalError::is_of_a_copy).unwrap_or_default();
            Err(pushed.failed.swap_remove(first))
        }
    }
}

/// A store that a file is being written to.
struct Begun<'a> {
    archive: &'a Archive,
    upload: Result<Box<dyn Upload>, WalError>,
}

/// Whether a file is to be written; `None` where the same is there already.
fn look(archive: Archive, request: &Request<'_>) -> Result<Option<Archive>, WalError> {
    let Pushing { cluster, name, file, .. } = request.pushing;
    if let Some(size) = archive.size(cluster, name)? {
        same(&archive, cluster, name, size, file)?;
        return archive.settle(cluster, name).map(|()| None);
    }
    if !request.take_over {
        rival::refuse(&archive, &request.pushing)?;
    }
    Ok(Some(archive))
}

/// Starts to write, once the histories that the archive lacks are there.
fn begin<'a>(archive: &'a Archive, request: &Request<'_>) -> Result<Begun<'a>, WalError> {
    for (name, own) in rival::lacking(archive, &request.pushing)? {
        let begun = Begun { archive, upload: Ok(archive.upload(request.pushing.cluster, name)?) };
        let mut pushed = Pushed::default();
        write(vec![begun], request.pushing.cluster, name, &own, request.now, &mut pushed)?;
        if let Some(error) = pushed.failed.pop() {
            return Err(error);
        }
    }
    let upload = Ok(archive.upload(request.pushing.cluster, request.pushing.name)?);
    Ok(Begun { archive, upload })
}

/// Writes a file; gives the archives that have it then.
fn write<'a>(
    mut open: Vec<Begun<'a>>,
    cluster: &ClusterId,
    name: WalName,
    file: &Path,
    now: Timestamp,
    pushed: &mut Pushed,
) -> Result<Vec<&'a Archive>, WalError> {
    let mut from = crate::regular::open(file).map_err(at(file))?;
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
    let mut there = Vec::new();
    for Begun { archive, upload } in open {
        let finished = upload.and_then(|upload| Ok(upload.finish()?));
        let settled = finished.and_then(|creation| match creation {
            Creation::Created => Ok(true),
            // Another attempt was quicker.
            Creation::Exists => {
                let size = archive.size(cluster, name)?.ok_or_else(|| WalError::Absent(name.to_string()))?;
                same(archive, cluster, name, size, file).map(|()| false)
            }
        });
        match settled {
            Ok(is_new) => {
                there.push(archive);
                *if is_new { &mut pushed.written } else { &mut pushed.known } += 1;
            }
            Err(error) => pushed.failed.push(error),
        }
    }
    Ok(there)
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
    let mut own = BufReader::new(crate::regular::open(file).map_err(at(file))?);
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
