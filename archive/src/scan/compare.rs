//! Two scans of one source, held against each other: what changed between two runs.
//!
//! Both are sorted, so they are gone through side by side; in memory are one byte for each entry of the new one, and the
//! groups of hard links.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io;

use super::{Doubts, LinkGroup, ScanReader, Scanned, Unseen};
use backplan_host::control::Control;
use backplan_host::tree::Kind;
use backplan_host::tree::{is_at_or_below, path_order};

/// Clocks of file systems tick this coarsely, in nanoseconds: what changed less long before the walk may have changed
/// after it, unseen.
const TICK: i128 = 100_000_000;

/// What became of an entry of the new scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Change {
    /// It is as it was.
    Unchanged = 0,
    /// It was not there.
    Added = 1,
    /// It was something else, a folder instead of a file perhaps.
    Kind = 2,
    /// Size, time, owner, mode, inode, link target or anything else that is known without reading it.
    Metadata = 3,
    /// It had changed so shortly before the earlier walk that a further change might not show.
    Racy = 4,
    /// The earlier artefact does not hold it as the earlier walk saw it.
    Doubtful = 5,
    /// It has the same name as another file now, or had then: all names of a file change together.
    Links = 6,
    /// Its contents, found by reading them.
    Contents = 7,
}

/// How much changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries that are new.
    pub added: u64,
    /// Entries that were there and are different, or must be taken to be.
    pub changed: u64,
    /// Entries that are no longer there.
    pub deleted: u64,
    /// Entries that are as they were.
    pub unchanged: u64,
    /// Bytes to be read of files that are new or different, each group of hard links once.
    pub bytes: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Counts) -> Counts {
        Counts {
            added: self.added + other.added,
            changed: self.changed + other.changed,
            deleted: self.deleted + other.deleted,
            unchanged: self.unchanged + other.unchanged,
            bytes: self.bytes + other.bytes,
        }
    }

    /// Whether nothing was added, changed or deleted.
    pub fn is_unchanged(&self) -> bool {
        self.added + self.changed + self.deleted == 0
    }
}

/// What a comparison found.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// A [`Change`] for each entry of the new scan, by number.
    changes: Vec<Change>,
    /// How much changed.
    pub counts: Counts,
    /// Folders of the new scan, by number, from which something was taken away.
    pub(crate) touched: Doubts,
}

impl Comparison {
    /// What became of the entry with this number in the new scan.
    pub fn change(&self, number: u64) -> Change {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.changes.get(at).copied().unwrap_or(Change::Added)
    }

    /// What became of each entry of the new scan, in its order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Appends what became of the next entry of the new scan.
    pub(crate) fn push(&mut self, change: Change, bytes: u64) {
        match change {
            Change::Unchanged => self.counts.unchanged += 1,
            Change::Added => self.counts.added += 1,
            _ => self.counts.changed += 1,
        }
        if change != Change::Unchanged {
            self.counts.bytes += bytes;
        }
        self.changes.push(change);
    }

    /// Says that an entry, found unchanged so far, is not. `bytes` is what there is to read of it.
    pub(crate) fn mark(&mut self, number: u64, change: Change, bytes: u64) {
        let Some(slot) = usize::try_from(number).ok().and_then(|at| self.changes.get_mut(at)) else { return };
        if *slot == Change::Unchanged {
            *slot = change;
            self.counts.unchanged -= 1;
            self.counts.changed += 1;
            self.counts.bytes += bytes;
        }
    }
}

/// Takes paths (inside the source, sorted) that are to be removed before what is new is laid down.
pub type Gone<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Compares a scan with an earlier one. `doubts` belong to the earlier. `gone` is given what is no longer there, a folder
/// only by its topmost path, and what has become another kind of file. What the new one could not look at is neither there
/// nor gone; what the earlier one could not look at, and the new one can, is new: what was there before may be gone.
///
/// # Errors
/// When a scan is damaged; what `gone` says; [`io::ErrorKind::Interrupted`] where `control` says to stop.
pub fn compare(
    base: ScanReader,
    new: ScanReader,
    doubts: &Doubts,
    gone: &mut Gone<'_>,
    control: &Control,
) -> io::Result<Comparison> {
    let started = base.header().started;
    let hidden = Hidden::new(&base, &new);
    let mut anew = Anew::new(&base, &new, &hidden);
    let groups = Groups::new(&base.trailer().groups, &new.trailer().groups);
    let expected = usize::try_from(new.trailer().entries).unwrap_or_default().min(1 << 26);
    let found = Comparison { changes: Vec::with_capacity(expected), ..Comparison::default() };
    let (base, new) = (Cursor::start(base)?, Cursor::start(new)?);
    let mut both = Both { base, new, found, groups, above: Above::default(), removed: None, gone };
    let mut steps = 0_u32;
    while both.base.here || both.new.here {
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(1 << 12) {
            control.check().map_err(|stopped| io::Error::new(io::ErrorKind::Interrupted, stopped))?;
        }
        match anew.before(&both.base, &both.new) {
            Some(path) => drop(both.remove(&path)?),
            None => both.step(&hidden, &mut anew, |base, new| judge(base, new, started, doubts))?,
        }
    }
    while let Some(path) = anew.next() {
        both.remove(&path)?;
    }
    let Both { mut found, groups, .. } = both;
    groups.settle(&mut found);
    Ok(found)
}

/// Two scans side by side, and what was found so far.
struct Both<'g, 'f> {
    base: Cursor,
    new: Cursor,
    found: Comparison,
    groups: Groups,
    above: Above,
    /// What was told to be gone last.
    removed: Option<Vec<u8>>,
    gone: &'g mut Gone<'f>,
}

impl Both<'_, '_> {
    /// Takes the next entry of the one, of the other, or of both.
    fn step(
        &mut self,
        hidden: &Hidden,
        anew: &mut Anew,
        judge: impl Fn(&Cursor, &Scanned) -> Change,
    ) -> io::Result<()> {
        match order(&self.base, &self.new) {
            Ordering::Less => {
                self.groups.base_alone(self.base.number);
                if !hidden.may_be_there(&self.base.entry.path) {
                    self.found.counts.deleted += 1;
                    let path = self.base.entry.path.clone();
                    if self.remove(&path)? {
                        let folder = self.above.of(&path);
                        folder.into_iter().for_each(|folder| self.found.touched.add(folder));
                    }
                }
                return self.base.next();
            }
            Ordering::Equal if !anew.is_anew(&self.new.entry.path) => {
                let change = judge(&self.base, &self.new.entry);
                if change == Change::Kind {
                    let path = self.base.entry.path.clone();
                    self.remove(&path)?;
                }
                self.found.note(&self.new, Some(self.base.number), change, &mut self.groups);
                self.base.next()?;
            }
            both => {
                if anew.begins(&self.new.entry.path) {
                    let path = self.new.entry.path.clone();
                    self.remove(&path)?;
                }
                if both == Ordering::Equal {
                    self.groups.base_alone(self.base.number);
                    self.base.next()?;
                }
                self.found.note(&self.new, None, Change::Added, &mut self.groups);
            }
        }
        self.above.enter(&self.new);
        self.new.next()
    }

    /// Tells of a path that is gone; false if that is said already by a folder above it.
    fn remove(&mut self, path: &[u8]) -> io::Result<bool> {
        if self.removed.as_ref().is_some_and(|above| is_at_or_below(path, above)) {
            return Ok(false);
        }
        (self.gone)(path)?;
        self.removed = Some(path.to_vec());
        Ok(true)
    }
}

/// How far a source differs from an earlier scan of it, as far as that shows without reading contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Difference {
    /// Entries that are new or different.
    pub entries: u64,
    /// Bytes to be read of them.
    pub bytes: u64,
    /// Entries that are no longer there.
    pub deleted: u64,
    /// Entries whose contents decide.
    pub open: u64,
    /// Bytes of these.
    pub open_bytes: u64,
}

impl Difference {
    /// Whether it is known to be as it was.
    pub fn is_none(&self) -> bool {
        *self == Difference::default()
    }
}

/// An earlier scan, beside a walk that writes none.
pub struct Beside<'a> {
    base: Cursor,
    started: (i64, u32),
    doubts: &'a Doubts,
    found: Difference,
}

impl<'a> Beside<'a> {
    /// # Errors
    /// When the scan is damaged.
    pub fn of(base: ScanReader, doubts: &'a Doubts) -> io::Result<Beside<'a>> {
        let started = base.header().started;
        Ok(Beside { base: Cursor::start(base)?, started, doubts, found: Difference::default() })
    }

    /// The next entry of the walk.
    ///
    /// # Errors
    /// When the scan is damaged.
    pub fn see(&mut self, new: &Scanned) -> io::Result<()> {
        let base = &mut self.base;
        while base.here && path_order(&base.entry.path, &new.path).is_lt() {
            self.found.deleted += 1;
            base.next()?;
        }
        let change = if base.here && base.entry.path == new.path {
            let change = judge(base, new, self.started, self.doubts);
            base.next()?;
            change
        } else {
            Change::Added
        };
        match change {
            Change::Unchanged => {}
            Change::Racy | Change::Doubtful => {
                self.found.open += 1;
                self.found.open_bytes += new.bytes_to_read();
            }
            _ => {
                self.found.entries += 1;
                self.found.bytes += new.bytes_to_read();
            }
        }
        Ok(())
    }

    /// The walk is over.
    ///
    /// # Errors
    /// When the scan is damaged.
    pub fn end(mut self) -> io::Result<Difference> {
        while self.base.here {
            self.found.deleted += 1;
            self.base.next()?;
        }
        Ok(self.found)
    }
}

/// What of the earlier scan may be there although the new one has nothing of it: what was not looked at, in path order, none of
/// it below another.
struct Hidden(Vec<Vec<u8>>);

impl Hidden {
    fn new(base: &ScanReader, new: &ScanReader) -> Hidden {
        // With another declaration, what is left out is wanted no more.
        let is_same = base.header().options == new.header().options;
        let mut unseen: Vec<Vec<u8>> = Vec::new();
        for Unseen { path, mounted } in &new.trailer().unseen {
            let is_below = unseen.last().is_some_and(|last| is_at_or_below(path, last));
            if !is_below && (is_same || !mounted) {
                unseen.push(path.clone());
            }
        }
        Hidden(unseen)
    }

    fn may_be_there(&self, path: &[u8]) -> bool {
        let after = self.0.partition_point(|unseen| path_order(unseen, path).is_le());
        let unseen = after.checked_sub(1).and_then(|at| self.0.get(at));
        unseen.is_some_and(|above| is_at_or_below(path, above))
    }
}

/// What the earlier scan could not look at and the new one can: what still earlier ones had of it is not what is there now.
struct Anew {
    /// In path order, the next one last.
    ahead: Vec<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Anew {
    fn new(base: &ScanReader, new: &ScanReader, hidden: &Hidden) -> Anew {
        let unseen = &new.trailer().unseen;
        // Where a part of it is still not looked at, that part may be there.
        let is_whole = |path: &[u8]| !unseen.iter().any(|it| is_at_or_below(&it.path, path));
        let lost = base.trailer().unseen.iter().filter(|it| !it.mounted).map(|it| it.path.clone());
        let mut ahead: Vec<Vec<u8>> = Vec::new();
        for path in lost.filter(|path| is_whole(path) && !hidden.may_be_there(path)) {
            if !ahead.last().is_some_and(|last| is_at_or_below(&path, last)) {
                ahead.push(path);
            }
        }
        ahead.reverse();
        Anew { ahead, last: None }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        self.last = Some(self.ahead.pop()?);
        self.last.clone()
    }

    /// The next one, where neither scan has an entry of that path.
    fn before(&mut self, base: &Cursor, new: &Cursor) -> Option<Vec<u8>> {
        let next = self.ahead.last()?;
        let is_ahead = |cursor: &Cursor| !cursor.here || path_order(next, &cursor.entry.path).is_lt();
        if is_ahead(base) && is_ahead(new) { self.next() } else { None }
    }

    /// Whether this is the next one, which is then the one that is gone through.
    fn begins(&mut self, path: &[u8]) -> bool {
        let is_next = self.ahead.last().is_some_and(|next| next == path);
        if is_next {
            let _ = self.next();
        }
        is_next
    }

    /// Whether this is the next one, or at or below the one that is gone through.
    fn is_anew(&self, path: &[u8]) -> bool {
        self.ahead.last().is_some_and(|next| next == path)
            || self.last.as_ref().is_some_and(|last| is_at_or_below(path, last))
    }
}

/// A scan, one entry at a time.
struct Cursor {
    reader: ScanReader,
    entry: Scanned,
    number: u64,
    here: bool,
}

impl Cursor {
    fn start(mut reader: ScanReader) -> io::Result<Cursor> {
        let mut entry = Scanned::default();
        let here = reader.read_entry(&mut entry)?;
        Ok(Cursor { reader, entry, number: 0, here })
    }

    fn next(&mut self) -> io::Result<()> {
        self.here = self.reader.read_entry(&mut self.entry)?;
        self.number += 1;
        Ok(())
    }
}

fn order(base: &Cursor, new: &Cursor) -> Ordering {
    match (base.here, new.here) {
        (true, true) if base.entry.path == new.entry.path => Ordering::Equal,
        (true, true) => path_order(&base.entry.path, &new.entry.path),
        (true, false) => Ordering::Less,
        (false, _) => Ordering::Greater,
    }
}

/// Folders of the new scan, by number, from the outermost to where the comparison is.
#[derive(Default)]
struct Above(Vec<(u64, Vec<u8>)>);

impl Above {
    /// Leaves the folders that `path` is not below, and tells the innermost that is left.
    fn of(&mut self, path: &[u8]) -> Option<u64> {
        while self.0.last().is_some_and(|(_, folder)| !is_at_or_below(path, folder)) {
            self.0.pop();
        }
        self.0.last().map(|(number, _)| *number)
    }

    fn enter(&mut self, new: &Cursor) {
        if new.entry.kind == Kind::Directory {
            self.of(&new.entry.path);
            self.0.push((new.number, new.entry.path.clone()));
        }
    }
}

fn judge(base: &Cursor, new: &Scanned, started: (i64, u32), doubts: &Doubts) -> Change {
    let old = &base.entry;
    if old.kind != new.kind {
        Change::Kind
    } else if !is_same(old, new) {
        Change::Metadata
    } else if doubts.has(base.number) {
        Change::Doubtful
    } else if is_racy(old, started) {
        Change::Racy
    } else {
        Change::Unchanged
    }
}

fn is_same(old: &Scanned, new: &Scanned) -> bool {
    let owner = |entry: &Scanned| (entry.mode, entry.uid, entry.gid, entry.implied, entry.synthetic);
    if owner(old) != owner(new) {
        return false;
    }
    // Of a folder that is only on the way to what is to be kept, times say nothing about the source.
    if new.implied {
        return true;
    }
    let is_folder = new.kind == Kind::Directory;
    // Not the file system's number: a snapshot has another one each time it is mounted.
    (old.ctime, old.mtime, old.inode, old.size) == (new.ctime, new.mtime, new.inode, new.size)
        && (is_folder || old.names == new.names)
        && old.link == new.link
        && old.device == new.device
}

/// Whether it changed so shortly before the walk that began at `started` (or after that) that a change in the same tick
/// of the file system's clock would not show.
pub(crate) fn is_racy(seen: &Scanned, started: (i64, u32)) -> bool {
    seen.root.is_some() && !seen.implied && is_recent(seen.ctime, started)
}

/// Whether a moment is not clearly before another.
pub(crate) fn is_recent(moment: (i64, u32), started: (i64, u32)) -> bool {
    let nanos = |time: (i64, u32)| i128::from(time.0) * 1_000_000_000 + i128::from(time.1);
    nanos(moment) + TICK >= nanos(started)
}

impl Comparison {
    fn note(&mut self, new: &Cursor, base: Option<u64>, mut change: Change, groups: &mut Groups) {
        let was_linked = base.is_some_and(|base| groups.base.contains_key(&base));
        let bytes = if new.entry.further_name { 0 } else { new.entry.bytes_to_read() };
        if groups.new.contains_key(&new.number) {
            groups.new_member(new.number, base, change, bytes);
        } else if was_linked && change == Change::Unchanged {
            change = Change::Links;
        }
        self.push(change, bytes);
    }
}

/// Files with several names: unchanged only if all their names are, and are the same.
struct Groups {
    /// Group of each member, by its number.
    base: HashMap<u64, usize>,
    base_sizes: Vec<usize>,
    new: HashMap<u64, usize>,
    seen: Vec<Seen>,
}

/// What is known of a group of the new scan.
#[derive(Default)]
struct Seen {
    /// Members that are unchanged by themselves, and what there is to read of each.
    quiet: Vec<(u64, u64)>,
    changed: bool,
    /// The group that its names had.
    was: Option<usize>,
    members: usize,
}

impl Groups {
    fn new(base: &[LinkGroup], new: &[LinkGroup]) -> Groups {
        let members = |groups: &[LinkGroup]| {
            let each = |(at, group): (usize, &LinkGroup)| {
                let further = group.further.iter().map(|(number, _)| *number);
                std::iter::once(group.first).chain(further).map(|number| (number, at)).collect::<Vec<_>>()
            };
            groups.iter().enumerate().flat_map(each).collect::<HashMap<u64, usize>>()
        };
        Groups {
            base: members(base),
            base_sizes: base.iter().map(|group| group.further.len() + 1).collect(),
            new: members(new),
            seen: new.iter().map(|_| Seen::default()).collect(),
        }
    }

    /// A name that is gone leaves a group that cannot be whole any more.
    fn base_alone(&mut self, number: u64) {
        if let Some(group) = self.base.get(&number) {
            self.base_sizes[*group] = usize::MAX;
        }
    }

    fn new_member(&mut self, number: u64, base: Option<u64>, change: Change, bytes: u64) {
        let Some(group) = self.new.get(&number) else { return };
        let was = base.and_then(|base| self.base.get(&base).copied());
        let seen = &mut self.seen[*group];
        if change == Change::Unchanged {
            seen.quiet.push((number, bytes));
        }
        let first = seen.members == 0;
        seen.members += 1;
        seen.changed |= change != Change::Unchanged || was.is_none() || (!first && seen.was != was);
        seen.was = was;
    }

    fn settle(self, found: &mut Comparison) {
        for seen in self.seen {
            let size = seen.was.map(|was| self.base_sizes[was]);
            if !seen.changed && size == Some(seen.members) {
                continue;
            }
            for (number, bytes) in seen.quiet {
                found.mark(number, Change::Links, bytes);
            }
        }
    }
}
