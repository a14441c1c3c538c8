//! Which members of the base are copied: those all of whose entries are still as they are there.

use std::collections::HashMap;
use std::sync::Arc;

use super::base::CopyBase;
use super::fate::{Fate, Fates};
use super::listing::Listing;
use super::{Changes, PackError};
use crate::artefact::index::Member;
use crate::artefact::{Artefact, Entry, Flags, Kind, PIECE, ReadError};
use crate::scan::{Change, Scanned};
use backplan_host::control::Control;
use backplan_host::tree::{is_at_or_below, path_order};

/// Base members copied with one job, in bytes and in number.
const COPY_BYTES: u64 = 1 << 20;
const SHARE_MEMBERS: usize = 4096;
const NOWHERE: u32 = u32::MAX;

/// A set of members, by number.
#[derive(Debug, Default, Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    fn clear(&mut self, number: u64) {
        if let Some(word) = self.0.get_mut((number / 64) as usize) {
            *word &= !(1 << (number % 64));
        }
    }

    fn has(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }
}

/// What is copied.
#[derive(Debug)]
pub struct Keep {
    /// From where.
    pub base: CopyBase,
    copied: Bits,
    folders: Bits,
    /// For further names: the path, in the artefact, of the file. By entry number.
    pub links: HashMap<u64, Arc<[u8]>>,
}

/// Members of the base that stand next to each other, with their numbers there.
pub type Stretch = Vec<(u64, Member)>;

impl Keep {
    /// The members that are not copied as they stand, by their digests: place and length. A large file of which a part has
    /// changed is packed again, and has most of them as they were. No more than `most`, as they are held in memory.
    ///
    /// # Errors
    /// When the base's index cannot be read.
    pub fn others(&self, most: usize) -> Result<HashMap<[u8; 32], (u64, u32)>, PackError> {
        let mut others = HashMap::new();
        for block in 0.. {
            let members = self.base.artefact.member_block(block).map_err(PackError::Base)?;
            if members.is_empty() {
                break;
            }
            let first = self.base.artefact.first_of_member_block(block);
            let dirty = (first..).zip(members.iter()).filter(|(number, _)| !self.copied.has(*number));
            others.extend(dirty.map(|(_, member)| (member.hash, (member.offset, member.len))));
            if others.len() >= most {
                break;
            }
        }
        Ok(others)
    }

    /// Gives stretches of what is copied, in the base's order: of folders, or of everything else.
    ///
    /// # Errors
    /// When the base's index cannot be read, or what `take` says.
    pub fn stretches<E: From<PackError>>(
        &self,
        folders: bool,
        are_shared: bool,
        take: &mut dyn FnMut(Stretch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut stretch: Stretch = Vec::new();
        let mut bytes = 0;
        for block in 0.. {
            let members = self.base.artefact.member_block(block).map_err(PackError::Base)?;
            if members.is_empty() {
                break;
            }
            let first = self.base.artefact.first_of_member_block(block);
            for (number, member) in (first..).zip(members.iter()) {
                if !self.copied.has(number) || self.folders.has(number) != folders {
                    continue;
                }
                let next = stretch.last().is_none_or(|(last, _)| last + 1 == number);
                let full = if are_shared { stretch.len() >= SHARE_MEMBERS } else { bytes >= COPY_BYTES };
                if !next || full {
                    take(std::mem::take(&mut stretch))?;
                    bytes = 0;
                }
                bytes += u64::from(member.len);
                stretch.push((number, *member));
            }
        }
        if stretch.is_empty() { Ok(()) } else { take(stretch) }
    }
}

/// Decides what is copied, and so what becomes of each entry.
///
/// # Errors
/// [`PackError::Base`] where the base cannot be read, or is not what the scans say.
pub fn decide(
    base: &CopyBase,
    listings: &[Listing],
    changes: &Changes,
    control: &Control,
) -> Result<(Keep, Vec<Fates>), PackError> {
    let mut survey = Survey::new(&base.artefact);
    let mut rows = base.artefact.entries().peekable();
    let mut homes = Vec::with_capacity(listings.len());
    for listing in listings {
        let found = changes.of(&listing.source).and_then(|changes| changes.found.as_ref());
        let unchanged = |number| found.is_some_and(|found| found.change(number) == Change::Unchanged);
        homes.push(survey.source(listing, &unchanged, &mut rows, control)?);
    }
    for row in rows {
        survey.drop_row(&row.map_err(PackError::Base)?)?;
    }
    let (copied, folders, links) = survey.settle()?;
    let fate = |home: u32| match home {
        NOWHERE => Fate::Hot,
        home if copied.has(home.into()) => Fate::Skip,
        _ => Fate::Cold,
    };
    let fates = homes.into_iter().map(|homes| Fates::Each(homes.into_iter().map(fate).collect())).collect();
    Ok((Keep { base: base.clone(), copied, folders, links }, fates))
}

/// What is learned of the base's members.
struct Survey<'a> {
    artefact: &'a Artefact,
    kept: Bits,
    dropped: Bits,
    folder: Bits,
    other: Bits,
    /// Members that belong to one large file alone.
    own: Bits,
    links: HashMap<u64, Arc<[u8]>>,
    /// Members of files that have further names, by path.
    data: HashMap<Vec<u8>, u64>,
    /// Further names: what they are names of, and their members.
    names: Vec<(Arc<[u8]>, u64)>,
}

impl<'a> Survey<'a> {
    fn new(artefact: &'a Artefact) -> Survey<'a> {
        Survey {
            artefact,
            kept: Bits::default(),
            dropped: Bits::default(),
            folder: Bits::default(),
            other: Bits::default(),
            own: Bits::default(),
            links: HashMap::new(),
            data: HashMap::new(),
            names: Vec::new(),
        }
    }

    /// The member in which the base holds each entry that is unchanged.
    fn source<I: Iterator<Item = Result<Entry, ReadError>>>(
        &mut self,
        listing: &Listing,
        unchanged: &dyn Fn(u64) -> bool,
        rows: &mut std::iter::Peekable<I>,
        control: &Control,
    ) -> Result<Vec<u32>, PackError> {
        let of_input = |cause| PackError::Input { source_name: listing.source.clone(), cause };
        let mut homes = Vec::new();
        let mut above: Vec<(Vec<u8>, u32)> = Vec::new();
        for (number, seen) in (0..).zip(listing.entries().map_err(of_input)?) {
            control.check()?;
            let seen = seen.map_err(of_input)?;
            let path = listing.path_of(&seen.path);
            while let Some(row) = next_if(rows, |row| path_order(&row.path, &path).is_lt())? {
                self.drop_row(&row)?;
            }
            let row = next_if(rows, |row| row.path == path)?;
            let home = match (unchanged(number), row) {
                (true, Some(row)) if agrees(&row, &seen, listing.is_scan()) => {
                    self.keep_row(&row, listing.first + number)?
                }
                (true, row) => return Err(not_so(row.map_or(0, |row| row.place), &path)),
                (false, row) => {
                    row.iter().try_for_each(|row| self.drop_row(row))?;
                    NOWHERE
                }
            };
            if seen.kind == Kind::Directory {
                while above.last().is_some_and(|(folder, _)| !is_at_or_below(&seen.path, folder)) {
                    above.pop();
                }
                // Folders come behind all that is below them: so those above one that is packed are packed too.
                if let (NOWHERE, Some((_, above))) = (home, above.last())
                    && *above != NOWHERE
                {
                    self.dropped.set(u64::from(*above));
                }
                above.push((seen.path, home));
            }
            homes.push(home);
        }
        Ok(homes)
    }

    /// The members an entry is in, each marked as its kind demands.
    fn members(&mut self, row: &Entry) -> Result<std::ops::Range<u64>, PackError> {
        let count = match row.payload.div_ceil(PIECE as u64) {
            _ if Artefact::is_single(row) => 1,
            pieces if row.flags.has(Flags::STREAM) => pieces + 1,
            pieces => pieces,
        };
        let range = row.member..row.member.saturating_add(count);
        if range.end > self.artefact.member_count() || row.member >= u64::from(NOWHERE) {
            return Err(not_so(row.place, &row.path));
        }
        let is_large = count > 1;
        for member in range.clone() {
            let taken = self.kept.has(member) || self.dropped.has(member);
            if self.own.has(member) || (is_large && taken) {
                return Err(not_so(row.place, &row.path));
            }
            if is_large {
                self.own.set(member);
            }
            let kind = if row.kind == Kind::Directory { &mut self.folder } else { &mut self.other };
            kind.set(member);
        }
        Ok(range)
    }

    fn drop_row(&mut self, row: &Entry) -> Result<(), PackError> {
        self.members(row)?.for_each(|member| self.dropped.set(member));
        Ok(())
    }

    fn keep_row(&mut self, row: &Entry, number: u64) -> Result<u32, PackError> {
        self.members(row)?.for_each(|member| self.kept.set(member));
        if row.kind == Kind::HardLink {
            let target: Arc<[u8]> = Arc::from(row.link.as_slice());
            self.links.insert(number, Arc::clone(&target));
            self.names.push((target, row.member));
        } else if row.flags.has(Flags::LINKED) {
            self.data.insert(row.path.clone(), row.member);
        }
        Ok(row.member as u32)
    }

    /// Which members are copied, which of the base's are of folders, and what further names are names of.
    #[allow(clippy::type_complexity, reason = "the parts of one decision")]
    fn settle(self) -> Result<(Bits, Bits, HashMap<u64, Arc<[u8]>>), PackError> {
        let count = self.artefact.member_count();
        let is_mixed = |member: u64| self.folder.has(member) && self.other.has(member);
        let is_dirty = |member: u64| self.dropped.has(member) || is_mixed(member);
        // A folder stands behind all that is below it: those from the first dirty member on are packed again, behind
        // those that are copied.
        let first_dirty = (0..count).find(|member| self.folder.has(*member) && is_dirty(*member));
        let behind = |member: u64| first_dirty.is_some_and(|first| member >= first);
        let mut copied = Bits::default();
        for member in 0..count {
            let is_late = self.folder.has(member) && behind(member);
            if self.kept.has(member) && !is_dirty(member) && !is_late {
                copied.set(member);
            }
        }
        let mut pairs = Vec::with_capacity(self.names.len());
        for (target, member) in &self.names {
            let data = self.data.get(&**target).ok_or_else(|| not_so(0, target))?;
            pairs.push((*data, *member));
        }
        pairs.sort_unstable();
        pairs.dedup();
        // A further name comes behind its file: where the file is packed again, so are its names.
        loop {
            let late = pairs.iter().filter(|(data, name)| !copied.has(*data) && copied.has(*name));
            let late: Vec<u64> = late.map(|(_, name)| *name).collect();
            if late.is_empty() {
                break;
            }
            late.into_iter().for_each(|name| copied.clear(name));
        }
        Ok((copied, self.folder, self.links))
    }
}

fn next_if<I: Iterator<Item = Result<Entry, ReadError>>>(
    rows: &mut std::iter::Peekable<I>,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<Option<Entry>, PackError> {
    rows.next_if(|row| row.as_ref().map_or(true, &wanted)).transpose().map_err(PackError::Base)
}

fn not_so(offset: u64, path: &[u8]) -> PackError {
    let path = path.escape_ascii();
    PackError::Base(ReadError::damaged(
        offset,
        format!("it does not hold `{path}` as the scan of its run says"),
    ))
}

/// Whether the base says of an entry what the scan says.
fn agrees(row: &Entry, seen: &Scanned, is_scan: bool) -> bool {
    let kind = row.kind == seen.kind || (row.kind == Kind::HardLink && seen.kind == Kind::File);
    let times = !is_scan || seen.implied || (row.mtime, row.nanos) == seen.mtime;
    kind && times
        && (row.mode, row.uid, row.gid) == (seen.mode, seen.uid, seen.gid)
        && (row.kind != Kind::File || row.size == seen.size)
        && (row.kind != Kind::Symlink || row.link == seen.link)
        && row.device == seen.device
}

/// Members that were copied next to each other, and where they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    base_member: u64,
    members: u64,
    base: (u64, u64),
    member: u64,
    now: (u64, u64),
}

/// Where members of the base are now.
#[derive(Debug, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// A member was copied: `number` and `from` in the base, `member` and `now` in this artefact.
    pub fn push(&mut self, number: u64, from: &Member, member: u64, now: &Member) {
        let end = |member: &Member| member.offset + u64::from(member.len);
        if let Some(last) = self.0.last_mut()
            && last.is_even()
            && from.len == now.len
            && (last.base_member + last.members, last.base.1) == (number, from.offset)
            && (last.member + last.members, last.now.1) == (member, now.offset)
        {
            last.members += 1;
            (last.base.1, last.now.1) = (end(from), end(now));
            return;
        }
        self.0.push(Run {
            base_member: number,
            members: 1,
            base: (from.offset, end(from)),
            member,
            now: (now.offset, end(now)),
        });
    }

    /// To be called once all are known.
    pub fn sort(&mut self) {
        self.0.sort_unstable_by_key(|run| run.base_member);
    }

    /// An entry of the base as an entry of this artefact; `None`: it was not copied.
    pub fn translate(&self, mut entry: Entry) -> Option<Entry> {
        let at = |offset: u64| self.0.partition_point(|run| run.base.0 <= offset).checked_sub(1);
        let first = self.0[at(entry.place)?];
        let end = entry.place + entry.span;
        let last = self.0[at(end.checked_sub(1)?)?];
        let number = entry.member.checked_sub(first.base_member).filter(|number| *number < first.members)?;
        let place = first.now.0 + if first.is_even() { entry.place - first.base.0 } else { 0 };
        let new_end = if last.is_even() { last.now.0 + (end - last.base.0) } else { last.now.1 };
        if end > last.base.1 || new_end < place {
            return None;
        }
        (entry.member, entry.place, entry.span) = (first.member + number, place, new_end - place);
        Some(entry)
    }
}

impl Run {
    /// Whether it takes as many bytes as it did.
    fn is_even(&self) -> bool {
        self.base.1 - self.base.0 == self.now.1 - self.now.0
    }
}
