//! Files of which a difference holds only what changed: their contents are put together from it and from what it rests on.

use std::collections::BTreeMap;

use super::member::Decoder;
use super::moved::Move;
use super::sparse::{self, BadMap};
use super::tarhead::Head;
use super::{Artefact, Entry, Flags, Kind, LayerError, PIECE, ReadError, View};
use backplan_host::control::Control;

/// The folder in a difference that holds what changed of large files, each under its own path: what is extracted there by
/// other means is no file of the tree.
pub const CHANGED: &[u8] = b".backplan/changed/";
/// Bytes of a map that are read at once.
const MAP_BLOCK: u64 = 512;

/// A file does not consist of more: who says so does not mean it.
const EXTENTS_MAX: usize = 4 << 20;

/// Takes bytes and their offset in the file, in order.
pub type Taker<'a> = dyn FnMut(u64, &[u8]) -> Result<(), ReadError> + 'a;

/// The path of an entry in the tar.
pub fn path_in_tar(path: &[u8], is_patch: bool) -> Vec<u8> {
    if is_patch { [CHANGED, path].concat() } else { path.to_vec() }
}

/// Bytes of a file from a layer: where they start in its payload there, and in the file where they end.
#[derive(Debug, Clone, Copy)]
struct Extent {
    end: u64,
    part: usize,
    place: u64,
}

/// What a file consists of.
struct Parts<'v> {
    parts: Vec<Part<'v>>,
    /// By offset in the file; without overlap.
    extents: BTreeMap<u64, Extent>,
}

impl Parts<'_> {
    /// Lays a range over what is there.
    fn lay(&mut self, offset: u64, len: u64, part: usize, place: u64) {
        let end = offset + len;
        if let Some((_, before)) = self.extents.range_mut(..offset).next_back()
            && before.end > offset
        {
            let (rest, cut) = (*before, offset);
            before.end = cut;
            let start = *self.extents.range(..offset).next_back().map_or(&0, |(start, _)| start);
            if rest.end > end {
                let place = rest.place + (end - start);
                self.extents.insert(end, Extent { place, ..rest });
            }
        }
        let covered: Vec<u64> = self.extents.range(offset..end).map(|(start, _)| *start).collect();
        for start in covered {
            let Some(old) = self.extents.remove(&start) else { continue };
            if old.end > end {
                self.extents.insert(end, Extent { place: old.place + (end - start), ..old });
            }
        }
        if len > 0 {
            self.extents.insert(offset, Extent { end, part, place });
        }
    }

    /// Moves what is there: each range is laid, from where it was before all of them, to where it is.
    fn shift(&mut self, moves: &[Move]) -> Result<(), BadMap> {
        if moves.is_empty() {
            return Ok(());
        }
        let before = self.extents.clone();
        for moved in moves {
            let end = moved.from + moved.len;
            let first = before.range(..=moved.from).next_back().map_or(moved.from, |(start, _)| *start);
            for (start, extent) in before.range(first..end) {
                let (from, to) = ((*start).max(moved.from), extent.end.min(end));
                if from < to {
                    let place = extent.place + (from - start);
                    self.lay(moved.offset + (from - moved.from), to - from, extent.part, place);
                }
                if self.extents.len() > EXTENTS_MAX {
                    return Err(BadMap);
                }
            }
        }
        Ok(())
    }

    /// Cuts what is behind the end.
    fn cut(&mut self, size: u64) {
        self.extents.split_off(&size);
        if let Some((_, last)) = self.extents.range_mut(..size).next_back() {
            last.end = last.end.min(size);
        }
    }
}

impl View {
    /// Gives the contents of a file of which its layer holds only what changed, as the copies behind `tried` others have it, where there
    /// are so many; returns its header there.
    ///
    /// # Errors
    /// When a layer cannot be read, has not the file that the changes are to, or the whole does not have its digest (some
    /// bytes may have been given by then).
    pub(crate) fn patched_in(
        &self,
        tried: usize,
        (layer, entry): (usize, &Entry),
        control: &Control,
        out: &mut Taker<'_>,
    ) -> Result<Head, LayerError> {
        let of_layer = self.of_layer(layer);
        let mut stack = vec![(layer, entry.clone())];
        while let Some((above, entry)) = stack.last()
            && entry.flags.has(Flags::PATCH)
        {
            let is_gone = self.deleted(*above)?.covers(&entry.path);
            let below = self.find_in(&entry.path, *above)?;
            let Some(below) = below.filter(|below| !is_gone && is_base(&below.entry)) else {
                let what = format!(
                    "it holds what changed of `{}`, and what it rests on has no such file",
                    entry.path.escape_ascii()
                );
                return Err(of_layer(ReadError::damaged(entry.place, what)));
            };
            stack.push((below.spot.layer as usize, below.entry));
        }
        let mut whole = Parts { parts: Vec::new(), extents: BTreeMap::new() };
        let mut head = None;
        for (part, (layer, entry)) in stack.into_iter().rev().enumerate() {
            let add = |cause| self.of_layer(layer)(cause);
            let read = Part::open(tried, (layer, self.artefact(layer as u32)), entry).and_then(
                |(mut opened, found)| {
                    let ranges = opened.ranges()?;
                    whole.shift(&found.moved)?;
                    ranges.iter().for_each(|(offset, len, place)| whole.lay(*offset, *len, part, *place));
                    whole.cut(opened.entry.size);
                    whole.parts.push(opened);
                    Ok(found)
                },
            );
            head = Some(read.map_err(add)?);
        }
        let head = head.ok_or_else(|| of_layer(BadMap.into()))?;
        whole.give(layer, entry, control, out).map_err(|(layer, cause)| self.of_layer(layer)(cause))?;
        Ok(head)
    }
}

/// Whether changes can be to it.
fn is_base(entry: &Entry) -> bool {
    entry.kind == Kind::File && (entry.flags.has(Flags::PATCH) || !entry.flags.has(Flags::SPARSE))
}

impl Parts<'_> {
    /// Gives the bytes. An error comes with the layer that it is of.
    fn give(
        mut self,
        layer: usize,
        entry: &Entry,
        control: &Control,
        out: &mut Taker<'_>,
    ) -> Result<(), (usize, ReadError)> {
        let own = |cause| (layer, cause);
        let incomplete = || own(ReadError::damaged(entry.place, "the changes do not fit what they are to"));
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        for (start, extent) in std::mem::take(&mut self.extents) {
            if start != at {
                return Err(incomplete());
            }
            let part = &mut self.parts[extent.part];
            let mut offset = start;
            let of_part = part.layer;
            let read = part.read(extent.place, extent.end - start, control, &mut |bytes| {
                hasher.update(bytes);
                out(offset, bytes)?;
                offset += bytes.len() as u64;
                Ok(())
            });
            read.map_err(|cause| match cause {
                cause @ (ReadError::Output(_) | ReadError::Stopped(_)) => own(cause),
                cause => (of_part, cause),
            })?;
            at = extent.end;
        }
        if at != entry.size {
            return Err(incomplete());
        }
        if *hasher.finalize().as_bytes() == entry.whole {
            return Ok(());
        }
        let path = entry.path.escape_ascii();
        Err(own(ReadError::damaged(
            entry.place,
            format!("the contents of `{path}` do not have their digest"),
        )))
    }
}

/// A file's payload in one artefact, read from the middle.
struct Part<'v> {
    layer: usize,
    /// Behind how many other copies of the artefact it is read from.
    tried: usize,
    artefact: &'v Artefact,
    entry: Entry,
    decoder: Decoder,
    bytes: Vec<u8>,
    /// The piece that is decoded, and where its data start.
    piece: u64,
    from: usize,
    /// Where the data start in the first one.
    header: usize,
}

impl<'v> Part<'v> {
    fn open(
        tried: usize,
        (layer, artefact): (usize, &'v Artefact),
        entry: Entry,
    ) -> Result<(Part<'v>, Head), ReadError> {
        let (mut decoder, mut bytes) = (Decoder::default(), Vec::new());
        let (head, header, _) = artefact.first_member_in(tried, &entry, &mut decoder, &mut bytes)?;
        let is_stream = entry.flags.has(Flags::STREAM);
        let piece = if is_stream { u64::MAX } else { 0 };
        Ok((Part { layer, tried, artefact, entry, decoder, bytes, piece, from: header, header }, head))
    }

    /// Ranges of the file that it holds: offset, length, and where they start in the payload.
    fn ranges(&mut self) -> Result<Vec<(u64, u64, u64)>, ReadError> {
        if !self.entry.flags.has(Flags::PATCH) {
            return Ok(vec![(0, self.entry.payload, 0)]);
        }
        let (mut map, size) = (Vec::new(), self.entry.size);
        let ranges = loop {
            let at = map.len() as u64;
            if at >= self.entry.payload || map.len() > sparse::MAP_MAX {
                return Err(BadMap.into());
            }
            let now = MAP_BLOCK.min(self.entry.payload - at);
            self.read(at, now, &Control::default(), &mut |bytes| {
                map.extend_from_slice(bytes);
                Ok(())
            })?;
            if let Some(ranges) = sparse::parse(&map, size)? {
                break ranges;
            }
        };
        let mut place = map.len() as u64;
        let mut found = Vec::with_capacity(ranges.len());
        for (offset, len) in ranges {
            found.push((offset, len, place));
            place += len;
        }
        if place == self.entry.payload { Ok(found) } else { Err(BadMap.into()) }
    }

    fn read(
        &mut self,
        mut offset: u64,
        mut len: u64,
        control: &Control,
        out: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        while len > 0 {
            control.check()?;
            let index = if Artefact::is_single(&self.entry) { 0 } else { offset / PIECE as u64 };
            self.decode(index)?;
            let skip = self.from + usize::try_from(offset - index * PIECE as u64).unwrap_or(usize::MAX);
            let left = usize::try_from(len).unwrap_or(usize::MAX).min(PIECE - (skip - self.from));
            let bytes = self.bytes.get(skip..skip.saturating_add(left));
            let Some(bytes) = bytes else {
                return Err(ReadError::damaged(self.entry.place, "a member holds less than it should"));
            };
            out(bytes)?;
            offset += left as u64;
            len -= left as u64;
        }
        Ok(())
    }

    fn decode(&mut self, index: u64) -> Result<(), ReadError> {
        if self.piece == index {
            return Ok(());
        }
        let entry = &self.entry;
        let is_stream = entry.flags.has(Flags::STREAM);
        let number = entry.member.checked_add(index + u64::from(is_stream));
        let member = self.artefact.member(number.unwrap_or(u64::MAX))?;
        if member.offset < entry.place || member.offset >= entry.place + entry.span {
            return Err(ReadError::damaged(entry.place, "a file's members do not follow each other"));
        }
        let place = (member.offset, u64::from(member.len));
        self.artefact.decode_in(self.tried, &mut self.decoder, place, &mut self.bytes)?;
        self.piece = index;
        self.from = if index == 0 && !is_stream { self.header } else { 0 };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BTreeMap, Move, Parts};

    /// Moves and lays random ranges and holds the extents against an array of bytes.
    #[test]
    fn ranges_lie_over_one_another_as_bytes_do() {
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let mut parts = Parts { parts: Vec::new(), extents: BTreeMap::new() };
            let mut bytes: Vec<Option<(usize, u64)>> = vec![None; 100];
            for part in 0..8 {
                let before = bytes.clone();
                let mut moves = Vec::new();
                let mut free = 0;
                while part % 3 == 2 && free < 90 {
                    let (offset, from) = (free + random(10), random(90));
                    let len = 1 + random(100 - offset.max(from));
                    moves.push(Move { offset, len, from });
                    free = offset + len;
                }
                parts.shift(&moves).unwrap();
                for Move { offset, len, from } in moves {
                    for at in 0..len {
                        // What is not there is nowhere else either.
                        if let Some(known) = before[(from + at) as usize] {
                            bytes[(offset + at) as usize] = Some(known);
                        }
                    }
                }
                let (offset, place) = (random(100), random(1000));
                let len = random(101 - offset);
                parts.lay(offset, len, part, place);
                for at in 0..len {
                    bytes[(offset + at) as usize] = Some((part, place + at));
                }
            }
            let size = random(101);
            parts.cut(size);
            bytes.truncate(size as usize);
            let mut laid: Vec<Option<(usize, u64)>> = vec![None; size as usize];
            for (start, extent) in &parts.extents {
                for at in *start..extent.end {
                    assert!(laid[at as usize].is_none());
                    laid[at as usize] = Some((extent.part, extent.place + at - start));
                }
            }
            assert_eq!(laid, bytes);
        }
    }
}
