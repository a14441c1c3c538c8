//! Which files changed between two runs. Both are read in path order, side by side: memory does not grow with them.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use serde::Serialize;

use super::BackupsError;
use super::chain::Chain;
use crate::artefact::{Entry, Flags, Kind, LayerError, Live};
use crate::control::Control;
use crate::tree::path_order;

/// One of the two runs: its archives, open.
pub struct Side<'a> {
    chains: Vec<Chain<'a>>,
    /// Which chain has a source.
    sources: BTreeMap<String, usize>,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the later run has it.
    Added(Entry),
    /// Only the earlier run has it.
    Removed(Entry),
    /// Both have it, and it differs.
    Changed {
        /// In the earlier run.
        before: Box<Entry>,
        /// In the later run.
        after: Entry,
        /// In what.
        how: Vec<How>,
    },
}

/// In what an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It is something else: a file that was a folder. Nothing more is compared then.
    Kind,
    /// A file's bytes, or a device's numbers.
    Content,
    /// Where a symbolic link leads; which other names a file has.
    Link,
    /// Permission bits.
    Mode,
    /// Owner or group.
    Owner,
    /// Time of last change of contents.
    Time,
    /// Extended attributes or ACLs.
    Xattr,
}

impl Change {
    /// The entry, as the later run has it, if it does.
    pub fn entry(&self) -> &Entry {
        match self {
            Change::Added(entry) | Change::Removed(entry) | Change::Changed { after: entry, .. } => entry,
        }
    }
}

impl How {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            How::Kind => "kind",
            How::Content => "content",
            How::Link => "link",
            How::Mode => "mode",
            How::Owner => "owner",
            How::Time => "time",
            How::Xattr => "xattr",
        }
    }
}

impl<'a> Side<'a> {
    /// A run with these archives; of a source that several hold, the first counts.
    pub fn new(chains: Vec<Chain<'a>>) -> Side<'a> {
        let mut sources = BTreeMap::new();
        for (number, chain) in chains.iter().enumerate() {
            for source in chain.sources() {
                sources.entry(source.to_owned()).or_insert(number);
            }
        }
        Side { chains, sources }
    }

    /// Its archives.
    pub fn chains(&self) -> Vec<&Chain<'a>> {
        self.chains.iter().collect()
    }

    fn entries(&self, source: &str) -> Entries<'_, 'a> {
        let chain = self.sources.get(source).map(|chain| &self.chains[*chain]);
        let read = chain.map(|chain| chain.view.below(source.as_bytes())).into_iter().flatten();
        let read: Box<dyn Iterator<Item = Result<Live, LayerError>> + '_> = Box::new(read);
        Entries { chain, read: read.peekable() }
    }
}

/// A source's entries in one of the runs.
struct Entries<'s, 'a> {
    chain: Option<&'s Chain<'a>>,
    read: Peekable<Box<dyn Iterator<Item = Result<Live, LayerError>> + 's>>,
}

impl Entries<'_, '_> {
    fn path(&mut self) -> Option<&[u8]> {
        self.read.peek().map(|live| live.as_ref().map_or(&b""[..], |live| &live.entry.path))
    }

    fn next(&mut self) -> Option<Result<Live, BackupsError>> {
        let error = |error| match self.chain {
            Some(chain) => chain.error(error),
            None => BackupsError::NoStore { reasons: Vec::new() },
        };
        self.read.next().map(|live| live.map_err(error))
    }
}

/// Every change from `before` to `after`, in path order. Ends after the first error.
pub fn compare<'s>(
    before: &'s Side<'_>,
    after: &'s Side<'_>,
    control: &'s Control,
) -> impl Iterator<Item = Result<Change, BackupsError>> + 's {
    let sources: BTreeSet<&String> = before.sources.keys().chain(after.sources.keys()).collect();
    let mut failed = false;
    let changes = sources.into_iter().flat_map(move |source| {
        let (mut old, mut new) = (before.entries(source), after.entries(source));
        std::iter::from_fn(move || next(&mut old, &mut new, control).transpose())
    });
    changes.take_while(move |change| !std::mem::replace(&mut failed, change.is_err()))
}

fn next(
    old: &mut Entries<'_, '_>,
    new: &mut Entries<'_, '_>,
    control: &Control,
) -> Result<Option<Change>, BackupsError> {
    loop {
        control.check().map_err(|stopped| BackupsError::Extract(stopped.into()))?;
        let order = match (old.path(), new.path()) {
            (None, None) => return Ok(None),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => path_order(old, new),
        };
        let before = if order.is_le() { old.next().transpose()? } else { None };
        let after = if order.is_ge() { new.next().transpose()? } else { None };
        match (before, after) {
            (Some(before), None) => return Ok(Some(Change::Removed(before.entry))),
            (None, Some(after)) => return Ok(Some(Change::Added(after.entry))),
            (Some(before), Some(after)) => {
                let (Some(old), Some(new)) = (old.chain, new.chain) else { return Ok(None) };
                let how = differences((old, &before), (new, &after), control)?;
                if !how.is_empty() {
                    return Ok(Some(Change::Changed {
                        before: Box::new(before.entry),
                        after: after.entry,
                        how,
                    }));
                }
            }
            (None, None) => return Ok(None),
        }
    }
}

type One<'x, 'a> = (&'x Chain<'a>, &'x Live);

fn differences(before: One<'_, '_>, after: One<'_, '_>, control: &Control) -> Result<Vec<How>, BackupsError> {
    let same_row = before.0.view.is_same(before.1, &after.0.view, after.1);
    let made_up = |one: One<'_, '_>| one.1.entry.flags.has(Flags::SYNTHETIC);
    // A folder that no host had has no owner and no time that could mean something.
    if same_row || (made_up(before) && made_up(after)) {
        return Ok(Vec::new());
    }
    let (old, new) = (subject(before)?, subject(after)?);
    if old.kind != new.kind {
        return Ok(vec![How::Kind]);
    }
    let content = old.size != new.size
        || old.device != new.device
        || ((old.hash != new.hash || is_part(&old) || is_part(&new))
            && contents((before.0, before.1, &old), control)?
                != contents((after.0, after.1, &new), control)?);
    let checks = [
        (content, How::Content),
        (before.1.entry.link != after.1.entry.link, How::Link),
        (old.mode != new.mode, How::Mode),
        ((old.uid, old.gid) != (new.uid, new.gid), How::Owner),
        ((old.mtime, old.nanos) != (new.mtime, new.nanos), How::Time),
        (attributes(before, &old)? != attributes(after, &new)?, How::Xattr),
    ];
    Ok(checks.into_iter().filter(|(differs, _)| *differs).map(|(_, how)| how).collect())
}

/// Whether its artefact holds only what changed of it: another file may have the same changes.
fn is_part(entry: &Entry) -> bool {
    entry.flags.has(Flags::PATCH)
}

/// What stands behind a name: a hard link's file.
fn subject((chain, live): One<'_, '_>) -> Result<Entry, BackupsError> {
    let file = chain.view.file_of(live).map_err(|error| chain.error(error))?;
    Ok(file.unwrap_or_else(|| live.entry.clone()))
}

/// The digest of a file's bytes: that of a sparse one's data is not what a file without holes would have.
fn contents(
    (chain, live, file): (&Chain<'_>, &Live, &Entry),
    control: &Control,
) -> Result<[u8; 32], BackupsError> {
    if !file.flags.has(Flags::SPARSE) {
        return Ok(file.hash);
    }
    let mut hasher = blake3::Hasher::new();
    chain.view.cat(live, &mut hasher, control).map_err(|error| chain.error(error))?;
    Ok(*hasher.finalize().as_bytes())
}

/// Extended attributes: name, value.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

fn attributes((chain, live): One<'_, '_>, entry: &Entry) -> Result<Attributes, BackupsError> {
    if !entry.flags.has(Flags::XATTRS) || entry.kind == Kind::HardLink {
        return Ok(Vec::new());
    }
    let head = chain.view.head(live.spot, entry).map_err(|error| chain.error(error))?;
    let mut attributes = head.attributes;
    attributes.sort_unstable();
    Ok(attributes)
}
