//! Reading. Nothing an artefact says is believed before it has its digest, and nothing it says makes this allocate more
//! than the format's largest sizes.

use backplan_compiler::count::plural;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::agree::difference;
use super::columns::{BadBlock, BlockKind};
use super::framing::{CLOSING_LEN, Closing, Framed, OPENING_MAX, read_closing, read_opening};
use super::gzip::MEMBER_MAX;
use super::index::{BlockPlace, Member, Table, read_entries, read_members, read_table};
use super::member::{Codec, Decoder};
use super::sparse::{BadMap, Expander};
use super::tarhead::Head;
use super::{Entry, Flags, IndexPlace, Kind, PIECE, Root, tarhead};
use backplan_host::control::{Control, Stopped};
use backplan_host::middle::{ReadAt, Spoilt};
use backplan_host::tree::{is_at_or_below, is_path, path_order};

/// No table decodes to more.
const TABLE_MAX: usize = 64 << 20;
/// The end that is read at once when nothing says where the index is.
const TAIL: u64 = 256 << 10;
/// A member's compressed bytes are never more: it may be stored.
const COMPRESSED_MAX: u64 = MEMBER_MAX as u64 + (1 << 20);

/// What a manifest says an artefact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub root: Root,
    /// Where its index is.
    pub index: IndexPlace,
}

/// Why an artefact cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes cannot be had.
    #[error("cannot read the artefact: {0}")]
    Io(#[source] io::Error),
    /// It was made by other means.
    #[error("not a Backplan artefact: neither its start nor its end is one's")]
    Foreign,
    /// It is of a format that this program does not know.
    #[error("the artefact has format {0}, and this program knows {known}; use a newer one", known = super::VERSION)]
    Newer(u16),
    /// Its end is missing.
    #[error(
        "the artefact of run `{run}` is truncated: its end with the index is missing after {}; \
         `tar xzf` restores the files before that",
        plural(*size, "byte")
    )]
    Truncated {
        /// The run that made it.
        run: String,
        /// Bytes that are there.
        size: u64,
    },
    /// It is not the one that the manifest names.
    #[error("not the artefact that the manifest names: its {what} is {found}, not {expected}")]
    Other {
        /// What differs.
        what: &'static str,
        /// In the artefact.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// A part is damaged.
    #[error("the artefact is damaged at offset {offset}: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// There is no file of that name.
    #[error("`{0}` is no file")]
    NotAFile(String),
    /// Where the contents go to failed.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<io::Error> for ReadError {
    /// Damage is of what lies there; and so is what a disk cannot read any more. All else is no news about the bytes.
    fn from(error: io::Error) -> ReadError {
        if let Some(Spoilt { offset, what }) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return ReadError::damaged(*offset, what);
        }
        ReadError::Io(error)
    }
}

impl ReadError {
    /// What was written is not there, from an offset of the artefact.
    pub fn damaged(offset: u64, what: impl fmt::Display) -> ReadError {
        ReadError::Damaged { offset, what: what.to_string() }
    }
}

/// So many of its first bytes are enough to [`identify`] an artefact.
pub const IDENTIFY_LEN: usize = OPENING_MAX;

/// The id of the run that an artefact is of, by its first [`IDENTIFY_LEN`] bytes (or all, if it is shorter); `None` if it
/// is no artefact, or of another format.
pub fn identify(start: &[u8]) -> Option<String> {
    match read_opening(start) {
        Framed::Found(run) => Some(run),
        Framed::Newer(_) | Framed::Foreign => None,
    }
}

/// An artefact that is open for reading.
pub struct Artefact {
    source: Arc<dyn ReadAt>,
    codec: Codec,
    size: u64,
    root: Root,
    index: IndexPlace,
    table: Table,
    entry_blocks: Vec<BlockPlace>,
    member_blocks: Vec<BlockPlace>,
    recent_members: Mutex<Option<(usize, Arc<Vec<Member>>)>>,
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artefact")
            .field("run", &self.table.run)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Artefact {
    /// Opens: reads the end (or, with `expected`, what the manifest points to) and the table of the index.
    ///
    /// # Errors
    /// When it is no artefact, not the expected one, of a newer format, truncated or damaged.
    pub fn open(source: Arc<dyn ReadAt>, expected: Option<&Expected>) -> Result<Artefact, ReadError> {
        let size = source.size()?;
        if let Some(expected) = expected
            && size < expected.size
        {
            return Err(ReadError::Other {
                what: "size",
                found: format!("{} (it is truncated)", plural(size, "byte")),
                expected: plural(expected.size, "byte"),
            });
        }
        let likely = expected.map_or(size.saturating_sub(TAIL), |expected| expected.index.table.min(size));
        let from = likely.max(size.saturating_sub(TABLE_MAX as u64));
        let tail = read_exact(&*source, from, size - from)?;
        let closing = find_closing(&*source, size, &tail)?;
        if let Some(expected) = expected {
            expect(expected, size, &closing)?;
        }
        let len = u64::from(closing.table_len);
        let end = closing.table.checked_add(len).filter(|end| *end <= size);
        if end.is_none() || closing.table_decoded as usize > TABLE_MAX {
            return Err(ReadError::damaged(size, "the closing member points outside"));
        }
        let bytes = match usize::try_from(closing.table.wrapping_sub(from)) {
            Ok(at) if closing.table >= from => tail[at..at + len as usize].to_vec(),
            _ => read_exact(&*source, closing.table, len)?,
        };
        let table = decode_block(&bytes, closing.table, TABLE_MAX, &closing.root.0)?;
        let table = read_table(table).map_err(|bad| bad_block(&bad, closing.table))?;
        let index = IndexPlace {
            offset: table.blocks.first().map_or(closing.table, |block| block.offset),
            table: closing.table,
            table_len: closing.table_len,
        };
        check_table(&table, closing.table)?;
        let of = |kind: BlockKind| {
            table.blocks.iter().filter(|block| block.kind == kind as u8).cloned().collect::<Vec<_>>()
        };
        let (entry_blocks, member_blocks) = (of(BlockKind::Entries), of(BlockKind::Members));
        let (root, recent_members) = (closing.root, Mutex::new(None));
        let codec = Codec::of(&tail[tail.len() - CLOSING_LEN..]);
        Ok(Artefact { source, codec, size, root, index, table, entry_blocks, member_blocks, recent_members })
    }

    /// The id of the run that made it.
    pub fn run(&self) -> &str {
        &self.table.run
    }

    /// How it is compressed.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The digest that stands for all of it.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Where its index is.
    pub fn index(&self) -> IndexPlace {
        self.index
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of entries.
    pub fn entry_count(&self) -> u64 {
        self.entry_blocks.iter().map(|block| u64::from(block.count)).sum()
    }

    pub(crate) fn member_count(&self) -> u64 {
        self.member_blocks.iter().map(|block| u64::from(block.count)).sum()
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn entry_block_count(&self) -> usize {
        self.entry_blocks.len()
    }

    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        read_exact(&*self.source, offset, len)
    }

    /// What `take` makes of bytes that it finds sound: from the first copy in which they are.
    fn sound<T>(
        &self,
        offset: u64,
        len: u64,
        mut take: impl FnMut(&[u8]) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let first = self.read(offset, len).and_then(|bytes| take(&bytes));
        if !matches!(first, Err(ReadError::Damaged { .. })) {
            return first;
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let others = (1..).map_while(|tried| self.source.read_copy(tried, offset, len));
        let whole = others.flatten().filter(|bytes| bytes.len() == len);
        whole.map(|bytes| take(&bytes)).find(Result::is_ok).unwrap_or(first)
    }

    /// The same, from the copy behind `tried` others as long as the bytes are sound there.
    fn sound_in<T>(
        &self,
        tried: usize,
        (offset, len): (u64, u64),
        mut take: impl FnMut(&[u8]) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let wanted = usize::try_from(len).unwrap_or(usize::MAX);
        let other = (tried > 0).then(|| self.source.read_copy(tried, offset, wanted)).flatten();
        let other = other.and_then(Result::ok).filter(|bytes| bytes.len() == wanted);
        match other.and_then(|bytes| take(&bytes).ok()) {
            Some(taken) => Ok(taken),
            None => self.sound(offset, len, take),
        }
    }

    /// How many copies of it can be read.
    pub(crate) fn copies(&self) -> usize {
        self.source.copies()
    }

    fn block(&self, place: &BlockPlace) -> Result<Vec<u8>, ReadError> {
        let decode = |bytes: &[u8]| decode_block(bytes, place.offset, MEMBER_MAX, &place.hash);
        self.sound(place.offset, place.len.into(), decode)
    }

    /// The entries of a block of the index.
    pub(crate) fn entry_block(&self, block: usize) -> Result<Vec<Entry>, ReadError> {
        let Some(place) = self.entry_blocks.get(block) else { return Ok(Vec::new()) };
        let entries = read_entries(self.block(place)?).map_err(|bad| bad_block(&bad, place.offset))?;
        let wrong = |what: &str| Err(ReadError::damaged(place.offset, format!("the index {what}")));
        if entries.len() != place.count as usize
            || entries.first().is_none_or(|entry| entry.path != place.path)
        {
            return wrong("does not hold what its table says");
        }
        let sorted = |pair: &[Entry]| path_order(&pair[0].path, &pair[1].path).is_lt();
        let next = self.entry_blocks.get(block + 1).map(|next| &next.path);
        let ends = entries.last().zip(next).is_none_or(|(last, next)| path_order(&last.path, next).is_lt());
        if !entries.windows(2).all(sorted) || !ends {
            return wrong("has paths twice or out of order");
        }
        for entry in &entries {
            if !is_path(&entry.path) {
                return wrong(&format!("has a path that is none: `{}`", entry.path.escape_ascii()));
            }
            let end = entry.place.checked_add(entry.span).filter(|end| *end <= self.table.data_end);
            if end.is_none() || entry.member >= self.member_count() || entry.span == 0 {
                return wrong(&format!("points outside the artefact for `{}`", entry.path.escape_ascii()));
            }
        }
        Ok(entries)
    }

    /// All entries in path order (component-wise), read block by block. Ends after the first error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, ReadError>> + '_ {
        self.entries_from(0)
    }

    fn entries_from(&self, first: usize) -> impl Iterator<Item = Result<Entry, ReadError>> + '_ {
        let mut failed = false;
        let mut blocks = first..self.entry_blocks.len();
        let mut entries = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = entries.next() {
                    return Some(Ok(entry));
                }
                let block = blocks.next().filter(|_| !failed)?;
                match self.entry_block(block) {
                    Ok(read) => entries = read.into_iter(),
                    Err(error) => {
                        failed = true;
                        return Some(Err(error));
                    }
                }
            }
        })
    }

    /// The block that `path` is in, if anywhere.
    pub(crate) fn block_of(&self, path: &[u8]) -> usize {
        let after = |block: &BlockPlace| path_order(&block.path, path).is_le();
        self.entry_blocks.partition_point(after).saturating_sub(1)
    }

    /// The entry at `path` (source, slash, inner path).
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        Ok(self.locate(path)?.map(|(_, _, entry)| entry))
    }

    /// The entry at `path`, with its block and its row in that.
    pub(crate) fn locate(&self, path: &[u8]) -> Result<Option<(usize, usize, Entry)>, ReadError> {
        let block = self.block_of(path);
        let mut entries = self.entry_block(block)?;
        let found = entries.binary_search_by(|entry| path_order(&entry.path, path));
        Ok(found.ok().map(|row| (block, row, entries.swap_remove(row))))
    }

    /// The entry at `path` and all below it, in path order; everything for an empty path.
    pub fn below(&self, path: &[u8]) -> impl Iterator<Item = Result<Entry, ReadError>> + '_ {
        let folder = path.to_vec();
        let before = folder.clone();
        self.entries_from(self.block_of(path))
            .skip_while(move |entry| {
                entry.as_ref().is_ok_and(|entry| path_order(&entry.path, &before).is_lt())
            })
            .take_while(move |entry| {
                entry.as_ref().map_or(true, |entry| is_at_or_below(&entry.path, &folder))
            })
    }

    /// A member's place.
    pub(crate) fn member(&self, number: u64) -> Result<Member, ReadError> {
        let block = self.member_blocks.partition_point(|block| block.first <= number).saturating_sub(1);
        let Some(place) = self.member_blocks.get(block) else {
            return Err(ReadError::damaged(self.index.offset, "the index lists no members"));
        };
        let members = self.member_block(block)?;
        let at = usize::try_from(number - place.first).unwrap_or(usize::MAX);
        members.get(at).copied().ok_or_else(|| ReadError::damaged(place.offset, "a member is not listed"))
    }

    /// The members of a block of the index; the last one read is kept.
    pub(crate) fn member_block(&self, block: usize) -> Result<Arc<Vec<Member>>, ReadError> {
        let lock = || self.recent_members.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((recent, members)) = &*lock()
            && *recent == block
        {
            return Ok(Arc::clone(members));
        }
        let Some(place) = self.member_blocks.get(block) else { return Ok(Arc::default()) };
        let members = read_members(self.block(place)?).map_err(|bad| bad_block(&bad, place.offset))?;
        let contiguous =
            |pair: &[Member]| pair[0].offset.checked_add(pair[0].len.into()) == Some(pair[1].offset);
        let last = members.last().and_then(|last| last.offset.checked_add(last.len.into()));
        let inside = last.is_some_and(|end| end <= self.table.data_end);
        let sound = |member: &Member| {
            u64::from(member.len) <= COMPRESSED_MAX && member.decoded as usize <= MEMBER_MAX
        };
        if members.len() != place.count as usize
            || !inside
            || !members.windows(2).all(contiguous)
            || !members.iter().all(sound)
        {
            return Err(ReadError::damaged(place.offset, "the index lists members that cannot be"));
        }
        let members = Arc::new(members);
        *lock() = Some((block, Arc::clone(&members)));
        Ok(members)
    }

    /// The number of the first member of such a block.
    pub(crate) fn first_of_member_block(&self, block: usize) -> u64 {
        self.member_blocks.get(block).map_or(0, |place| place.first)
    }

    /// Whether an entry's header and contents are in one member.
    pub(crate) fn is_single(entry: &Entry) -> bool {
        entry.payload <= PIECE as u64 && !entry.flags.has(Flags::STREAM)
    }

    /// Reads and decodes a member into `out`.
    pub(crate) fn decode(
        &self,
        decoder: &mut Decoder,
        offset: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        self.decode_in(0, decoder, (offset, len), out)
    }

    /// The same, of the copy behind `tried` others.
    pub(crate) fn decode_in(
        &self,
        tried: usize,
        decoder: &mut Decoder,
        (offset, len): (u64, u64),
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        if len > COMPRESSED_MAX {
            return Err(ReadError::damaged(offset, "a member larger than the format allows"));
        }
        self.sound_in(tried, (offset, len), |bytes| {
            decoder.decode(bytes, MEMBER_MAX, out).map_err(|bad| ReadError::damaged(offset, bad))
        })
    }

    /// Decodes an entry's first member into `bytes`; its header, found to agree with the index, where that ends, and the
    /// member's length.
    pub(crate) fn first_member(
        &self,
        entry: &Entry,
        decoder: &mut Decoder,
        bytes: &mut Vec<u8>,
    ) -> Result<(Head, usize, u64), ReadError> {
        self.first_member_in(0, entry, decoder, bytes)
    }

    /// The same, of the copy behind `tried` others.
    pub(crate) fn first_member_in(
        &self,
        tried: usize,
        entry: &Entry,
        decoder: &mut Decoder,
        bytes: &mut Vec<u8>,
    ) -> Result<(Head, usize, u64), ReadError> {
        let at = entry.place;
        let len = if Artefact::is_single(entry) { entry.span } else { self.member(entry.member)?.len.into() };
        self.decode_in(tried, decoder, (at, len), bytes)?;
        let (head, length) = bytes
            .get(entry.start as usize..)
            .and_then(tarhead::read)
            .ok_or_else(|| ReadError::damaged(at, "no tar header where the index says one is"))?;
        if let Some(what) = difference(entry, &head) {
            let path = entry.path.escape_ascii();
            return Err(ReadError::damaged(
                at,
                format!("index and tar header differ in the {what} of `{path}`"),
            ));
        }
        Ok((head, entry.start as usize + length, len))
    }

    /// Gives the payload of a file to `out`, piece by piece, after its header was found to agree with the index, and
    /// checks its digest in the end. Returns the header.
    pub(crate) fn payload(
        &self,
        entry: &Entry,
        control: &Control,
        out: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<Head, ReadError> {
        self.payload_in(0, entry, control, out)
    }

    /// The same, of the copy behind `tried` others: what has not its digest may have it there, though each piece is one.
    pub(crate) fn payload_in(
        &self,
        tried: usize,
        entry: &Entry,
        control: &Control,
        out: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<Head, ReadError> {
        let mut decoder = Decoder::default();
        let mut bytes = Vec::new();
        let mut number = entry.member;
        let (head, mut from, first) = self.first_member_in(tried, entry, &mut decoder, &mut bytes)?;
        let mut hasher = blake3::Hasher::new();
        let mut left = entry.payload;
        let mut at = entry.place + first;
        loop {
            control.check()?;
            let now = (bytes.len() - from).min(usize::try_from(left).unwrap_or(usize::MAX));
            hasher.update(&bytes[from..from + now]);
            out(&bytes[from..from + now])?;
            left -= now as u64;
            if left == 0 {
                break;
            }
            number += 1;
            let member = self.member(number)?;
            if member.offset != at || member.decoded == 0 || at >= entry.place + entry.span {
                return Err(ReadError::damaged(at, "a file's members do not follow each other"));
            }
            self.decode_in(tried, &mut decoder, (at, member.len.into()), &mut bytes)?;
            at += u64::from(member.len);
            from = 0;
        }
        if *hasher.finalize().as_bytes() == entry.hash {
            return Ok(head);
        }
        let path = entry.path.escape_ascii();
        Err(ReadError::damaged(entry.place, format!("the contents of `{path}` do not have their digest")))
    }

    /// Writes a file's contents, holes as zeros, and returns the number of bytes. A hard link gives its file's contents.
    ///
    /// # Errors
    /// When it is no file, or its bytes do not have the recorded digest (some bytes may have been written by then).
    pub fn cat(&self, entry: &Entry, out: &mut dyn Write, control: &Control) -> Result<u64, ReadError> {
        self.cat_in(0, entry, out, control)
    }

    /// The same of the copy behind `tried` others.
    pub(crate) fn cat_in(
        &self,
        tried: usize,
        entry: &Entry,
        out: &mut dyn Write,
        control: &Control,
    ) -> Result<u64, ReadError> {
        let target = match entry.kind {
            Kind::HardLink => self.find(&entry.link)?,
            _ => Some(entry.clone()),
        };
        let Some(file) = target.filter(|target| target.kind == Kind::File) else {
            return Err(ReadError::NotAFile(entry.path.escape_ascii().to_string()));
        };
        if file.flags.has(Flags::PATCH) {
            let what = format!("it holds only what changed of `{}`", file.path.escape_ascii());
            return Err(ReadError::damaged(file.place, what));
        }
        if !file.flags.has(Flags::SPARSE) {
            let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(ReadError::Output);
            self.payload_in(tried, &file, control, &mut write)?;
            return Ok(file.size);
        }
        let mut expander = Expander::new(file.size);
        let mut done = 0;
        self.payload_in(tried, &file, control, &mut |bytes| {
            expander.push(bytes, &mut |offset, data: &[u8]| {
                zeros(out, offset - done)?;
                out.write_all(data).map_err(ReadError::Output)?;
                done = offset + data.len() as u64;
                Ok::<(), ReadError>(())
            })
        })?;
        if !expander.is_complete() {
            return Err(BadMap.into());
        }
        zeros(out, file.size - done)?;
        Ok(file.size)
    }
}

impl From<BadMap> for ReadError {
    fn from(bad: BadMap) -> ReadError {
        ReadError::damaged(0, bad)
    }
}

fn zeros(out: &mut dyn Write, mut count: u64) -> Result<(), ReadError> {
    let block = [0; 1 << 16];
    while count > 0 {
        let now = count.min(block.len() as u64);
        out.write_all(&block[..now as usize]).map_err(ReadError::Output)?;
        count -= now;
    }
    Ok(())
}

fn read_exact(source: &dyn ReadAt, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
    let len = usize::try_from(len).map_err(|_| ReadError::damaged(offset, "a length that cannot be"))?;
    let bytes = source.read_at(offset, len)?;
    if bytes.len() == len { Ok(bytes) } else { Err(ReadError::damaged(offset, "it ends early")) }
}

fn find_closing(source: &dyn ReadAt, size: u64, tail: &[u8]) -> Result<Closing, ReadError> {
    let end = tail.len().checked_sub(CLOSING_LEN).map(|at| &tail[at..]);
    match end.map_or(Framed::Foreign, read_closing) {
        Framed::Found(closing) => return Ok(closing),
        Framed::Newer(version) => return Err(ReadError::Newer(version)),
        Framed::Foreign => {}
    }
    match read_opening(&source.read_at(0, OPENING_MAX)?) {
        Framed::Found(run) => Err(ReadError::Truncated { run, size }),
        Framed::Newer(version) => Err(ReadError::Newer(version)),
        Framed::Foreign => Err(ReadError::Foreign),
    }
}

fn expect(expected: &Expected, size: u64, closing: &Closing) -> Result<(), ReadError> {
    let pairs = [
        ("digest", closing.root.to_string(), expected.root.to_string()),
        ("size", size.to_string(), expected.size.to_string()),
        ("index", closing.table.to_string(), expected.index.table.to_string()),
        ("index length", closing.table_len.to_string(), expected.index.table_len.to_string()),
    ];
    match pairs.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(ReadError::Other { what, found, expected }),
        None => Ok(()),
    }
}

fn decode_block(bytes: &[u8], offset: u64, most: usize, hash: &[u8; 32]) -> Result<Vec<u8>, ReadError> {
    if blake3::hash(bytes).as_bytes() != hash {
        return Err(ReadError::damaged(offset, "a block of the index does not have its digest"));
    }
    let mut decoded = Vec::new();
    Decoder::default()
        .decode(bytes, most, &mut decoded)
        .map_err(|bad| ReadError::damaged(offset, format!("the index: {bad}")))?;
    Ok(decoded)
}

fn bad_block(bad: &BadBlock, offset: u64) -> ReadError {
    match bad {
        BadBlock::Newer(version) => ReadError::Newer(*version),
        other => ReadError::damaged(offset, other),
    }
}

/// The blocks lie behind the data and before the table, and count what they hold without gaps.
fn check_table(table: &Table, table_offset: u64) -> Result<(), ReadError> {
    let mut first = [0_u64; 256];
    let mut last: Option<&BlockPlace> = None;
    for block in &table.blocks {
        let end = block.offset.checked_add(block.len.into()).is_some_and(|end| end <= table_offset);
        let counted = block.first == first[usize::from(block.kind)];
        first[usize::from(block.kind)] = block.first.saturating_add(block.count.into());
        let is_entries = |block: &BlockPlace| block.kind == BlockKind::Entries as u8;
        let before = last.filter(|last| is_entries(last) && is_entries(block));
        let sorted = before.is_none_or(|last| path_order(&last.path, &block.path).is_lt());
        let sized = u64::from(block.len) <= COMPRESSED_MAX && block.count > 0;
        if !end || !counted || !sorted || !sized || block.offset < table.data_end {
            return Err(ReadError::damaged(table_offset, "the table of the index makes no sense"));
        }
        last = Some(block);
    }
    Ok(())
}
