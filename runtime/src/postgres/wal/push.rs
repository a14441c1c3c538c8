//! Archiving one file: compressed once, into all stores at once, durable before it is told.

use std::io::{self, BufReader, Read};
use std::path::Path;

use jiff::Timestamp;

use super::WalError;
use super::archive::Archive;
use super::cluster::{ClusterId, NoSegment, PageHead};
use super::held::HeldFile;
use super::name::WalName;
use super::object::{self, ObjectError};
use super::rival::{self, Origin, Pushing};
use super::waiting::{self, Waiting};
use crate::store::{Creation, Upload};
use crate::threads::on_each;

/// A file of no more bytes is compressed while its archives are still asked for it. A usual segment has a quarter of it at the most.
const PACKED_AHEAD: u64 = 64 << 20;

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
    let (open, packed) = look_and_pack(archives, request, &mut pushed, waiting.is_empty());
    // What does not heal comes before a store that is away.
    if let Some(copy) = pushed.failed.iter().position(WalError::is_of_a_copy) {
        return Err(pushed.failed.swap_remove(copy));
    }
    if !request.any && !pushed.failed.is_empty() {
        return Err(pushed.failed.swap_remove(0));
    }
    let turn = if waiting.is_empty() { Turn::Alone(packed) } else { Turn::First };
    let own = || send(&open, request, std::mem::take(&mut pushed), turn);
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
        (request.any || pushed.failed.is_empty()) && send(&open, &request, pushed, Turn::Behind).is_ok()
    }
}

/// How a file stands to others that are archived by the same call.
enum Turn {
    /// There are none: it has the machine for itself, and may be compressed already.
    Alone(Option<Packed>),
    /// The server waits for this one, others go with it.
    First,
    /// It goes with another.
    Behind,
}

/// A file, compressed.
type Packed = Result<Vec<u8>, WalError>;

/// Writes a file to the archives that lack it.
fn send(
    open: &[Lacking<'_>],
    request: &PushRequest<'_>,
    mut pushed: Pushed,
    turn: Turn,
) -> Result<Pushed, WalError> {
    // Who archives is noted once a call.
    let is_noted = !matches!(turn, Turn::Behind);
    let mut ready = Vec::new();
    for lacking in open {
        match begin(lacking, request) {
            Ok(begun) => ready.push(begun),
            Err(error) => pushed.failed.push(error),
        }
    }
    if !ready.is_empty() {
        for (archive, last) in write(ready, request, turn, &mut pushed)? {
            if is_noted {
                // Without, the next one is held against an older note, or against histories.
                let _ = rival::note(archive, &request.pushing, last);
            }
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

/// Looks into the archives; what is far away answers while the file is being compressed, if nothing else needs the processors.
fn look_and_pack<'a>(
    archives: &'a [Archive],
    request: &PushRequest<'_>,
    pushed: &mut Pushed,
    is_alone: bool,
) -> (Vec<Lacking<'a>>, Option<Packed>) {
    let bytes = std::fs::metadata(request.pushing.file).map_or(u64::MAX, |seen| seen.len());
    let is_far = !archives.is_empty() && archives.iter().all(Archive::is_far);
    if !is_alone || !is_far || bytes > PACKED_AHEAD {
        return (look_into(archives, request, pushed), None);
    }
    std::thread::scope(|scope| {
        // Where there is no thread for it, it is compressed later.
        let packing = std::thread::Builder::new().spawn_scoped(scope, || pack(request)).ok();
        let open = look_into(archives, request, pushed);
        (open, packing.and_then(|packing| packing.join().ok()))
    })
}

fn pack(request: &PushRequest<'_>) -> Packed {
    let file = request.pushing.file;
    let mut packed = Vec::new();
    let mut from = crate::regular::open(file).map_err(at(file))?;
    let taken = object::write(&mut from, request.now, |bytes| {
        packed.extend_from_slice(bytes);
        Ok(())
    });
    taken.map_err(|error| of_file(error, file))?;
    Ok(packed)
}

/// What cannot be read is the file's.
fn of_file(error: WalError, file: &Path) -> WalError {
    match error {
        WalError::Object { cause: ObjectError::In(cause), .. } => at(file)(cause),
        error => error,
    }
}

/// The archives that a file is to be written to, all of them looked into at once.
fn look_into<'a>(
    archives: &'a [Archive],
    request: &PushRequest<'_>,
    pushed: &mut Pushed,
) -> Vec<Lacking<'a>> {
    let looked = on_each(archives, |archive| look(archive, request));
    let mut open = Vec::new();
    for looked in looked {
        match looked {
            Ok(Some(lacking)) => open.push(lacking),
            Ok(None) => pushed.known += 1,
            Err(error) => pushed.failed.push(error),
        }
    }
    open
}

/// An archive that a file is to be written to, and who archived there last, where that was asked.
struct Lacking<'a> {
    archive: &'a Archive,
    last: Option<Origin>,
}

/// A store that a file is being written to.
struct Begun<'a> {
    archive: &'a Archive,
    last: Option<Origin>,
    upload: Result<Box<dyn Upload>, WalError>,
}

/// Where a file is to be written; `None`: the same is there already.
fn look<'a>(archive: &'a Archive, request: &PushRequest<'_>) -> Result<Option<Lacking<'a>>, WalError> {
    let Pushing { cluster, name, file, .. } = request.pushing;
    if let Some(held) = archive.find(cluster, name)? {
        same(archive, cluster, name, held, file)?;
        return archive.settle(cluster, name, held).map(|()| None);
    }
    let last = if request.take_over { None } else { rival::refuse(archive, &request.pushing)? };
    Ok(Some(Lacking { archive, last }))
}

/// Starts to write, once the histories that the archive lacks are there.
fn begin<'a>(lacking: &Lacking<'a>, request: &PushRequest<'_>) -> Result<Begun<'a>, WalError> {
    let archive = lacking.archive;
    for (name, own) in rival::lacking(archive, &request.pushing)? {
        let upload = Ok(archive.upload(request.pushing.cluster, name, bytes_of(&own))?);
        let pushing = Pushing { name, file: &own, ..request.pushing };
        let mut pushed = Pushed::default();
        let request = PushRequest { pushing, ..*request };
        write(vec![Begun { archive, last: None, upload }], &request, Turn::Alone(None), &mut pushed)?;
        if let Some(error) = pushed.failed.pop() {
            return Err(error);
        }
    }
    let Pushing { cluster, name, file, .. } = request.pushing;
    let upload = Ok(archive.upload(cluster, name, bytes_of(file))?);
    Ok(Begun { archive, last: lacking.last.clone(), upload })
}

/// The bytes of a file of this host; one that is not there is told of where it is read.
fn bytes_of(file: &Path) -> Option<u64> {
    file.metadata().ok().map(|meta| meta.len())
}

/// Writes a file; gives the archives that have it then, and who archived there before.
fn write<'a>(
    mut open: Vec<Begun<'a>>,
    request: &PushRequest<'_>,
    turn: Turn,
    pushed: &mut Pushed,
) -> Result<Vec<(&'a Archive, Option<Origin>)>, WalError> {
    let Pushing { cluster, name, file, .. } = request.pushing;
    fill(&mut open, request, turn)?;
    let settled = on_each(open, |Begun { archive, last, upload }| {
        let finished = upload.and_then(|upload| Ok(upload.finish()?));
        let settled = finished.and_then(|creation| match creation {
            Creation::Created => Ok(true),
            // Another attempt was quicker.
            Creation::Exists => {
                let held = archive.find(cluster, name)?.ok_or_else(|| WalError::Absent(name.to_string()))?;
                same(archive, cluster, name, held, file).map(|()| false)
            }
        });
        ((archive, last), settled)
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

/// Gives the uploads the file, compressed once for all of them.
fn fill(open: &mut [Begun<'_>], request: &PushRequest<'_>, turn: Turn) -> Result<(), WalError> {
    let mut take = |bytes: &[u8]| {
        for begun in open.iter_mut() {
            if let Ok(upload) = &mut begun.upload
                && let Err(error) = upload.write(bytes)
            {
                begun.upload = Err(error.into());
            }
        }
        Ok::<(), WalError>(())
    };
    let file = request.pushing.file;
    let open = || crate::regular::open(file).map_err(at(file));
    let written = match turn {
        Turn::Alone(Some(packed)) => return take(&packed?),
        Turn::Alone(None) => object::write(&mut open()?, request.now, take),
        Turn::First | Turn::Behind => object::write_on(1, &mut open()?, request.now, take),
    };
    written.map(drop).map_err(|error| of_file(error, file))
}

/// Sees that what is archived is what the file holds. Of what is encrypted, a digest tells it.
fn same(
    archive: &Archive,
    cluster: &ClusterId,
    name: WalName,
    held: HeldFile,
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
