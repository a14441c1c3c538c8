//! Archiving one file: compressed once, into all stores at once, durable before it is told.

use std::io::{self, BufReader, Read};
use std::path::Path;

use jiff::Timestamp;

use super::WalError;
use super::archive::Archive;
use super::cluster::{ClusterId, NoSegment, PageHead};
use super::held::Held;
use super::name::WalName;
use super::object::{self, ObjectError};
use super::rival::{self, Pushing};
use super::waiting::{self, Waiting};
use crate::store::{Creation, Upload};
use crate::threads::on_each;

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
pub struct PushRequest<'a> {
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
/// one of them. `away` says why others cannot be opened. Of the files that wait behind it, as many go with it as may: which ones
/// did is told.
///
/// # Errors
/// The first store's that failed. What was written stays: archived again, it is found to be the same. Nothing is written
/// anywhere where one of them says that the file is a copy's.
pub fn push(
    archives: &[Archive],
    away: Vec<WalError>,
    request: &PushRequest<'_>,
    waiting: &[Waiting],
) -> Result<(Pushed, Vec<WalName>), WalError> {
    see_head(&request.pushing)?;
    let mut pushed = Pushed { failed: away, ..Pushed::default() };
    let open = look_into(archives, request, &mut pushed);
    // What does not heal comes before a store that is away.
    if let Some(copy) = pushed.failed.iter().position(WalError::is_of_a_copy) {
        return Err(pushed.failed.swap_remove(copy));
    }
    if !request.any && !pushed.failed.is_empty() {
        return Err(pushed.failed.swap_remove(0));
    }
    let own = || send(&open, request, std::mem::take(&mut pushed), waiting.is_empty());
    // None of those behind it is a copy's if it is not: they are of the same cluster and timeline.
    match waiting::together(own, waiting, |next| push_next(archives, request, next)) {
        (Ok(pushed), sent) => Ok((pushed, sent)),
        (Err(error), _) => Err(error),
    }
}

/// Whether each of these archives has a file, or any of them.
pub fn has(archives: &[Archive], cluster: &ClusterId, name: WalName, any: bool) -> bool {
    let there = on_each(archives, |archive| archive.find(cluster, name).is_ok_and(|found| found.is_some()));
    if any { there.contains(&true) } else { !there.contains(&false) }
}

/// Archives a file that waits behind another; whether it may be told to be archived.
fn push_next(archives: &[Archive], request: &PushRequest<'_>, next: &Waiting) -> bool {
    let pushing = Pushing { name: next.name, file: &next.file, ..request.pushing };
    let request = PushRequest { pushing, take_over: true, ..*request };
    let mut pushed = Pushed::default();
    see_head(&pushing).is_ok() && {
        let open = look_into(archives, &request, &mut pushed);
        (request.any || pushed.failed.is_empty()) && send(&open, &request, pushed, false).is_ok()
    }
}

/// Writes a file to the archives that lack it.
fn send(
    open: &[&Archive],
    request: &PushRequest<'_>,
    mut pushed: Pushed,
    is_alone: bool,
) -> Result<Pushed, WalError> {
    let mut ready = Vec::new();
    for archive in open {
        match begin(archive, request) {
            Ok(begun) => ready.push(begun),
            Err(error) => pushed.failed.push(error),
        }
    }
    if !ready.is_empty() {
        for archive in write(ready, request, is_alone, &mut pushed)? {
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

/// Whether a segment is the one that it is called; of one that was left unfinished, where it says anything.
fn see_head(pushing: &Pushing<'_>) -> Result<(), WalError> {
    let Pushing { cluster, name, file, .. } = *pushing;
    let (WalName::Segment(segment) | WalName::Partial(segment)) = name else { return Ok(()) };
    let mut open = crate::regular::open(file).map_err(at(file))?;
    let bytes = open.metadata().map_err(at(file))?.len();
    let head = PageHead::of_file(&mut open).map_err(at(file))?;
    let is_partial = matches!(name, WalName::Partial(_));
    match PageHead::see(head, bytes, cluster, segment) {
        Err(NoSegment::Headless | NoSegment::Length { .. }) if is_partial => Ok(()),
        Err(NoSegment::OtherCluster(found)) => {
            Err(WalError::OtherCluster { name: name.to_string(), found, wanted: cluster.system })
        }
        Err(cause) => Err(WalError::NoSegment { name: name.to_string(), cause }),
        Ok(()) => Ok(()),
    }
}

/// The archives that a file is to be written to, all of them looked into at once.
fn look_into<'a>(
    archives: &'a [Archive],
    request: &PushRequest<'_>,
    pushed: &mut Pushed,
) -> Vec<&'a Archive> {
    let looked = on_each(archives, |archive| look(archive, request));
    let mut open = Vec::new();
    for (archive, looked) in archives.iter().zip(looked) {
        match looked {
            Ok(true) => open.push(archive),
            Ok(false) => pushed.known += 1,
            Err(error) => pushed.failed.push(error),
        }
    }
    open
}

/// A store that a file is being written to.
struct Begun<'a> {
    archive: &'a Archive,
    upload: Result<Box<dyn Upload>, WalError>,
}

/// Whether a file is to be written; not where the same is there already.
fn look(archive: &Archive, request: &PushRequest<'_>) -> Result<bool, WalError> {
    let Pushing { cluster, name, file, .. } = request.pushing;
    if let Some(held) = archive.find(cluster, name)? {
        same(archive, cluster, name, held, file)?;
        return archive.settle(cluster, name, held).map(|()| false);
    }
    if !request.take_over {
        rival::refuse(archive, &request.pushing)?;
    }
    Ok(true)
}

/// Starts to write, once the histories that the archive lacks are there.
fn begin<'a>(archive: &'a Archive, request: &PushRequest<'_>) -> Result<Begun<'a>, WalError> {
    for (name, own) in rival::lacking(archive, &request.pushing)? {
        let begun = Begun { archive, upload: Ok(archive.upload(request.pushing.cluster, name)?) };
        let pushing = Pushing { name, file: &own, ..request.pushing };
        let mut pushed = Pushed::default();
        write(vec![begun], &PushRequest { pushing, ..*request }, true, &mut pushed)?;
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
    request: &PushRequest<'_>,
    is_alone: bool,
    pushed: &mut Pushed,
) -> Result<Vec<&'a Archive>, WalError> {
    let Pushing { cluster, name, file, .. } = request.pushing;
    let mut from = crate::regular::open(file).map_err(at(file))?;
    let take = |bytes: &[u8]| {
        for begun in &mut open {
            if let Ok(upload) = &mut begun.upload
                && let Err(error) = upload.write(bytes)
            {
                begun.upload = Err(error.into());
            }
        }
        Ok::<(), WalError>(())
    };
    let written = match is_alone {
        true => object::write(&mut from, request.now, take),
        false => object::write_on(1, &mut from, request.now, take),
    };
    written.map_err(|error| match error {
        WalError::Object { cause: ObjectError::In(cause), .. } => at(file)(cause),
        error => error,
    })?;
    let settled = on_each(open, |Begun { archive, upload }| {
        let finished = upload.and_then(|upload| Ok(upload.finish()?));
        let settled = finished.and_then(|creation| match creation {
            Creation::Created => Ok(true),
            // Another attempt was quicker.
            Creation::Exists => {
                let held = archive.find(cluster, name)?.ok_or_else(|| WalError::Absent(name.to_string()))?;
                same(archive, cluster, name, held, file).map(|()| false)
            }
        });
        (archive, settled)
    });
    let mut there = Vec::new();
    for (archive, settled) in settled {
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

/// Sees that what is archived is what the file holds. Of what is encrypted, a digest tells it.
fn same(
    archive: &Archive,
    cluster: &ClusterId,
    name: WalName,
    held: Held,
    file: &Path,
) -> Result<(), WalError> {
    const OTHER: io::ErrorKind = io::ErrorKind::InvalidData;
    let differs = || WalError::Differs { store: archive.label.clone(), name: name.to_string() };
    if held.is_sealed {
        let there = archive.closing(cluster, name, held)?;
        archive.check(cluster, name, held)?;
        return if object::is_of(&there, file).map_err(at(file))? { Ok(()) } else { Err(differs()) };
    }
    let mut own = BufReader::new(crate::regular::open(file).map_err(at(file))?);
    let mut piece = Vec::new();
    let compared = archive.read(cluster, name, held, |bytes| {
        piece.resize(bytes.len(), 0);
        match own.read_exact(&mut piece) {
            Ok(()) if piece == bytes => Ok(()),
            Ok(()) => Err(OTHER.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(OTHER.into()),
            Err(error) => Err(error),
        }
    });
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
