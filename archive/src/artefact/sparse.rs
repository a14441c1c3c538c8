//! Reading sparse payloads: a map in the form of GNU tar 1.0, then the data between the holes.

/// A map is never longer.
pub const MAP_MAX: usize = 8 << 20;

/// Turns the bytes of a payload, as they come, into data and where it belongs.
#[derive(Debug)]
pub struct Expander {
    size: u64,
    map: Vec<u8>,
    ranges: Option<Vec<(u64, u64)>>,
    range: usize,
    done: u64,
}

/// Takes data and its offset in the file.
pub type Taker<'a, E> = dyn FnMut(u64, &[u8]) -> Result<(), E> + 'a;

/// The map makes no sense, or does not fit the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its map of holes makes no sense")]
pub struct BadMap;

impl Expander {
    /// For a file of `size` bytes, holes counted.
    pub fn new(size: u64) -> Expander {
        Expander { size, map: Vec::new(), ranges: None, range: 0, done: 0 }
    }

    /// Takes the next bytes of the payload and gives data with its offset in the file, in order.
    ///
    /// # Errors
    /// [`BadMap`], or what `out` says.
    pub fn push<E: From<BadMap>>(&mut self, mut bytes: &[u8], out: &mut Taker<'_, E>) -> Result<(), E> {
        while self.ranges.is_none() && !bytes.is_empty() {
            let (block, rest) = bytes.split_at(bytes.len().min(512 - self.map.len() % 512));
            self.map.extend_from_slice(block);
            bytes = rest;
            if self.map.len().is_multiple_of(512) {
                self.ranges = parse(&self.map, self.size)?;
            }
            if self.map.len() > MAP_MAX {
                return Err(BadMap.into());
            }
        }
        let Some(ranges) = &self.ranges else { return Ok(()) };
        while !bytes.is_empty() {
            let (offset, len) = *ranges.get(self.range).ok_or(BadMap)?;
            let left = usize::try_from(len - self.done).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(bytes.len().min(left));
            if !now.is_empty() {
                out(offset + self.done, now)?;
            }
            self.done += now.len() as u64;
            bytes = rest;
            if self.done == len {
                self.range += 1;
                self.done = 0;
            }
        }
        Ok(())
    }

    /// Whether the payload was all that the map promises.
    pub fn is_complete(&self) -> bool {
        let rest = self.ranges.as_ref().map(|ranges| &ranges[self.range.min(ranges.len())..]);
        self.done == 0 && rest.is_some_and(|rest| rest.iter().all(|(_, len)| *len == 0))
    }
}

/// The ranges of a map; `None` where more of it is needed.
///
/// # Errors
/// When it is none.
pub fn parse(map: &[u8], size: u64) -> Result<Option<Vec<(u64, u64)>>, BadMap> {
    let mut numbers = Vec::new();
    let mut rest = map;
    let mut wanted = 1;
    while numbers.len() < wanted {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let text = std::str::from_utf8(&rest[..end]).map_err(|_| BadMap)?;
        let number: u64 = text.parse().map_err(|_| BadMap)?;
        numbers.push(number);
        rest = &rest[end + 1..];
        if numbers.len() == 1 {
            wanted = usize::try_from(number).ok().filter(|count| *count <= MAP_MAX).ok_or(BadMap)? * 2 + 1;
        }
    }
    let mut end = 0;
    let ranges: Vec<(u64, u64)> = numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    for (offset, len) in &ranges {
        if *offset < end || offset.checked_add(*len).is_none_or(|end| end > size) {
            return Err(BadMap);
        }
        end = offset + len;
    }
    Ok(Some(ranges))
}
