//! Checking an artefact.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::agree::difference;
use super::columns::BlockKind;
use super::framing::{Closing, closing};
use super::index::Member;
use super::layout::{Blocks, Placement, by_member};
use super::member::Decoder;
use super::pack::{end_of_archive, index_header};
use super::tarhead::{self, padding};
use super::{Artefact, Entry, Kind, ReadError};
use backplan_host::control::{Control, Stopped};
use backplan_host::threads::{self, on_several};

/// Members are read in runs of about this length.
const RUN: u64 = 1 << 20;
/// Paths named for each damaged part.
const PATHS_NAMED: usize = 100;

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte has its digest.
    Hashes,
    /// And every entry decodes, has its contents' digest, and its tar header says what the index says.
    Entries,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Members looked at.
    pub members: u64,
    /// Entries looked at (with [`Depth::Entries`]) or known.
    pub entries: u64,
    /// SHA-256 of the whole artefact.
    pub sha256: [u8; 32],
    /// What is damaged; empty: all is well.
    pub damage: Vec<Damage>,
}

/// A damaged part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The member's number; `None` where it is no member's.
    pub member: Option<u64>,
    /// Offset of the damaged part in the artefact.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
    /// What is wrong.
    pub what: String,
    /// The first hundred entries that suffer, by path.
    pub paths: Vec<Vec<u8>>,
    /// How many entries suffer.
    pub entries: u64,
}

impl Damage {
    fn new(member: Option<u64>, offset: u64, len: u64, what: impl ToString) -> Damage {
        Damage { member, offset, len, what: what.to_string(), paths: Vec::new(), entries: 0 }
    }

    fn names(&mut self, path: &[u8]) {
        self.entries += 1;
        if self.paths.len() < PATHS_NAMED {
            self.paths.push(path.to_vec());
        }
    }
}

/// Checks a whole artefact.
///
/// # Errors
/// When it cannot be read at all; damage is no error, it is reported.
pub fn verify(artefact: &Artefact, depth: Depth, control: &Control) -> Result<VerifyReport, ReadError> {
    control.expect(artefact.entry_count(), artefact.size());
    let mut report = VerifyReport { entries: artefact.entry_count(), ..VerifyReport::default() };
    let (members, mut damage) = members(artefact)?;
    report.members = members.len() as u64;
    report.sha256 = hashes(artefact, &members, &mut damage, control)?;
    damage.extend(frame(artefact)?);
    let placements = index(artefact, &mut damage, control)?;
    if depth == Depth::Entries {
        let broken: Vec<u64> = damage.iter().filter_map(|damage| damage.member).collect();
        deep(artefact, &placements, &broken, &mut damage, control)?;
    }
    damage.sort_by_key(|damage| damage.offset);
    report.damage = damage;
    Ok(report)
}

/// All members, and what of their list is damaged.
fn members(artefact: &Artefact) -> Result<(Numbered, Vec<Damage>), ReadError> {
    let (mut members, mut damage) = (Vec::new(), Vec::new());
    let places = artefact.table().blocks.iter().filter(|block| block.kind == BlockKind::Members as u8);
    for (block, place) in places.enumerate() {
        match artefact.member_block(block) {
            Ok(list) => members.extend((place.first..).zip(list.iter().copied())),
            Err(ReadError::Damaged { offset, what }) => {
                damage.push(Damage::new(None, offset, place.len.into(), what));
            }
            Err(other) => return Err(other),
        }
    }
    let covered = members
        .iter()
        .try_fold(0, |at, (_, member)| (member.offset == at).then_some(at + u64::from(member.len)));
    if damage.is_empty() && covered != Some(artefact.table().data_end) {
        damage.push(Damage::new(None, 0, artefact.table().data_end, "the list of members leaves gaps"));
    }
    Ok((members, damage))
}

/// Reads everything once: SHA-256 here, members' digests on other threads.
fn hashes(
    artefact: &Artefact,
    members: &[(u64, Member)],
    damage: &mut Vec<Damage>,
    control: &Control,
) -> Result<[u8; 32], ReadError> {
    let mut sha256 = Sha256::new();
    let found = Mutex::new(Vec::new());
    let read = std::thread::scope(|scope| -> Result<(), ReadError> {
        let (runs, queue) = sync_channel::<Run>(4);
        let queue = Arc::new(Mutex::new(queue));
        let found = &found;
        for number in 0..threads() {
            let queue = Arc::clone(&queue);
            let started = threads::start(scope, move || check_runs(&queue, found));
            // With fewer it takes longer.
            if let (Err(refused), 0) = (started, number) {
                return Err(refused.into());
            }
        }
        drop(queue);
        let (mut at, mut next) = (0, 0);
        while at < artefact.size() {
            control.check()?;
            let mut run = Vec::new();
            let mut end = at;
            while end < at + RUN
                && let Some((number, member)) = members.get(next).filter(|(_, member)| member.offset == end)
            {
                end += u64::from(member.len);
                run.push((*number, *member));
                next += 1;
            }
            if run.is_empty() {
                let start = members.get(next).map_or(artefact.size(), |(_, member)| member.offset);
                end = start.min(at + RUN).max(at + 1);
            }
            let bytes = Arc::new(artefact.read(at, end.min(artefact.size()) - at)?);
            sha256.update(&*bytes);
            control.advance(0, bytes.len() as u64);
            if !run.is_empty() && runs.send((at, bytes, run)).is_err() {
                break;
            }
            at = end;
        }
        Ok(())
    });
    read?;
    damage.append(&mut found.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(sha256.finalize().into())
}

/// Members with their numbers.
type Numbered = Vec<(u64, Member)>;
/// Bytes from an offset, and the members in them.
type Run = (u64, Arc<Vec<u8>>, Numbered);

fn check_runs(queue: &Mutex<Receiver<Run>>, found: &Mutex<Vec<Damage>>) {
    loop {
        let run = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((at, bytes, members)) = run else { return };
        for (number, member) in members {
            let from = (member.offset - at) as usize;
            let part = bytes.get(from..from + member.len as usize).unwrap_or_default();
            if *blake3::hash(part).as_bytes() != member.hash {
                let what = "a member does not have its digest";
                let damage = Damage::new(Some(number), member.offset, member.len.into(), what);
                found.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
            }
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(16)
}

/// Compares what frames the index with what it must be.
fn frame(artefact: &Artefact) -> Result<Vec<Damage>, ReadError> {
    let table = artefact.table();
    let index = artefact.index();
    let closing_member = read_closing_member(artefact)?;
    let decoded: u64 = table.blocks.iter().map(|block| u64::from(block.decoded)).sum();
    let length = decoded + u64::from(closing_member.table_decoded);
    let codec = artefact.codec();
    let opening = super::framing::opening(codec, artefact.run());
    let parts = [
        (0, opening, "the opening member"),
        (table.data_end, index_header(codec, length), "the index's tar header"),
        (index.table + u64::from(index.table_len), end_of_archive(codec, length), "the end of the tar"),
    ];
    let mut damage = Vec::new();
    for (offset, wanted, what) in parts {
        let len = wanted.len() as u64;
        let there = offset.checked_add(len).is_some_and(|end| end <= artefact.size());
        if !there || artefact.read(offset, len)? != wanted {
            damage.push(Damage::new(None, offset, len, format!("{what} is not what it must be")));
        }
    }
    let end = index.table + u64::from(index.table_len) + end_of_archive(codec, length).len() as u64;
    let rest = closing(codec, &closing_member);
    if artefact.size() != end + rest.len() as u64 || artefact.read(end, rest.len() as u64)? != rest {
        let what = "the closing member is not what it must be";
        damage.push(Damage::new(None, end, artefact.size().saturating_sub(end), what));
    }
    Ok(damage)
}

fn read_closing_member(artefact: &Artefact) -> Result<Closing, ReadError> {
    let len = super::framing::CLOSING_LEN as u64;
    let offset = artefact.size().saturating_sub(len);
    match super::framing::read_closing(&artefact.read(offset, len)?) {
        super::framing::Framed::Found(closing) => Ok(closing),
        _ => Err(ReadError::damaged(offset, "the closing member changed while it was read")),
    }
}

/// Reads all of the index; names the entries that damaged parts hold.
fn index(
    artefact: &Artefact,
    damage: &mut Vec<Damage>,
    control: &Control,
) -> Result<Vec<Placement>, ReadError> {
    let mut placements = Vec::new();
    let mut broken = Vec::new();
    for block in 0..artefact.entry_block_count() {
        control.check()?;
        let entries = match artefact.entry_block(block) {
            Ok(entries) => entries,
            Err(ReadError::Damaged { offset, what }) => {
                broken.push(Damage::new(None, offset, 0, what));
                continue;
            }
            Err(other) => return Err(other),
        };
        for (row, entry) in entries.iter().enumerate() {
            let end = entry.place + entry.span;
            let hit = |damage: &&mut Damage| damage.offset < end && entry.place < damage.offset + damage.len;
            damage.iter_mut().filter(hit).for_each(|damage| damage.names(&entry.path));
            placements.push(Placement {
                member: entry.member as u32,
                start: entry.start,
                block: block as u32,
                row: row as u32,
                order: placements.len() as u32,
            });
        }
    }
    damage.append(&mut broken);
    placements.sort_unstable();
    Ok(placements)
}

/// Decodes every entry.
fn deep(
    artefact: &Artefact,
    placements: &[Placement],
    broken: &[u64],
    damage: &mut Vec<Damage>,
    control: &Control,
) -> Result<(), ReadError> {
    let blocks = Blocks::new(artefact);
    let members = Mutex::new(by_member(placements));
    let found = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    on_several(threads(), || {
        let mut decoder = Decoder::default();
        let mut bytes = Vec::new();
        loop {
            let member = members.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(placements) = member else { return };
            if control.check().is_err() {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopped.into());
                return;
            }
            let checked = check_member(artefact, &blocks, placements, (&mut decoder, &mut bytes), control);
            match checked {
                Ok(list) => {
                    let fresh = list
                        .into_iter()
                        .filter(|damage| damage.member.is_none_or(|member| !broken.contains(&member)));
                    found.lock().unwrap_or_else(PoisonError::into_inner).extend(fresh);
                }
                Err(error) => {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
            }
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    damage.append(&mut found.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

fn check_member(
    artefact: &Artefact,
    blocks: &Blocks<'_>,
    placements: &[Placement],
    (decoder, bytes): (&mut Decoder, &mut Vec<u8>),
    control: &Control,
) -> Result<Vec<Damage>, ReadError> {
    let Some(first) = placements.first() else { return Ok(Vec::new()) };
    let number = u64::from(first.member);
    let mut damage = Vec::new();
    let mut decoded = false;
    let mut end = 0;
    for placement in placements {
        let entry = blocks.entry(*placement)?;
        let mut wrong = |what: String| {
            let mut one = Damage::new(Some(number), entry.place, entry.span, what);
            one.names(&entry.path);
            damage.push(one);
        };
        control.advance(1, 0);
        if !Artefact::is_single(&entry) {
            match artefact.payload(&entry, control, &mut |_| Ok(())) {
                Err(ReadError::Damaged { what, .. }) => wrong(what),
                other => drop(other?),
            }
            continue;
        }
        if !decoded {
            if let Err(error) = artefact.decode(decoder, entry.place, entry.span, bytes) {
                match error {
                    ReadError::Damaged { what, .. } => wrong(what),
                    other => return Err(other),
                }
                break;
            }
            decoded = true;
        }
        if entry.start as usize != end {
            wrong("the member holds something that the index does not list".to_string());
        }
        match check_entry(&entry, bytes) {
            Ok(length) => end = entry.start as usize + length,
            Err(what) => {
                wrong(what);
                break;
            }
        }
    }
    if decoded && damage.is_empty() && end != bytes.len() {
        damage.push(Damage::new(
            Some(number),
            0,
            0,
            "the member holds something that the index does not list",
        ));
    }
    Ok(damage)
}

/// Checks an entry in its decoded member; how many bytes it takes there.
fn check_entry(entry: &Entry, member: &[u8]) -> Result<usize, String> {
    let from = member.get(entry.start as usize..).unwrap_or_default();
    let (head, length) = tarhead::read(from).ok_or("no tar header where the index says one is")?;
    if let Some(what) = difference(entry, &head) {
        return Err(format!("index and tar header differ in the {what}"));
    }
    if entry.kind != Kind::File {
        return Ok(length);
    }
    let payload = usize::try_from(entry.payload).unwrap_or(usize::MAX);
    let data = from.get(length..length.saturating_add(payload)).ok_or("the contents are cut")?;
    if *blake3::hash(data).as_bytes() != entry.hash {
        return Err("the contents do not have their digest".to_string());
    }
    Ok(length + payload + padding(entry.payload))
}
