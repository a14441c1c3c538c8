//! What the log says of tablespaces: read from segments as they come, record by record. Pure.
//!
//! Source: PostgreSQL's `access/xlog_internal.h`, `access/xlogrecord.h`, `commands/tablespace.h` and `access/xact.h`, alike
//! from version 9.5 on. Whether a record is whole is left to the server: what is read here only says what to be ready for.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::lsn::Lsn;
use super::name::Segment;

/// Bytes of a page's header, and of the one that a segment's first page has.
const SHORT: usize = 24;
const LONG: usize = 40;
const RECORD: usize = 24;
/// Bits of a page's header: its first bytes continue a record; it has the long header.
const CONTINUES: u16 = 1;
const HAS_LONG: u16 = 2;
const PAGES: std::ops::RangeInclusive<usize> = 1024..=65_536;
/// Bytes of a record at the most, and of one that is looked into.
const RECORD_MAX: usize = 1 << 30;
const LOOKED_INTO: usize = 1 << 16;
/// Resource managers.
const TRANSACTION: u8 = 1;
const TABLESPACE: u8 = 5;
/// What begins a part of a record's head: its data, an origin, a transaction above.
const DATA_SHORT: u8 = 255;
const DATA_LONG: u8 = 254;
const ORIGIN: u8 = 253;
const ABOVE: u8 = 252;
/// From 1970 to 2000, in microseconds.
const EPOCH: i64 = 946_684_800_000_000;

/// A tablespace that the log makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its number.
    pub oid: u32,
    /// Where.
    pub at: PathBuf,
}

/// The end of a transaction that is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// When, in microseconds since 1970.
    pub time: i64,
    /// Where its record begins.
    pub at: Lsn,
}

/// Where reading may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Until {
    /// Behind this place.
    pub lsn: Option<Lsn>,
    /// Behind this moment, in microseconds since 1970.
    pub time: Option<i64>,
}

/// Reads segments in their order.
#[derive(Debug, Clone, Default)]
pub struct Records {
    until: Until,
    /// Bytes of the segment that are no whole page yet, and where they begin.
    open: Vec<u8>,
    at: u64,
    page: usize,
    record: State,
    /// Where the record that is read began.
    begin: u64,
    found: Vec<Created>,
    last: Option<Commit>,
    /// Of this segment, of this timeline there is nothing more to be read.
    is_over: bool,
    is_behind: Option<u32>,
    is_other: bool,
}

/// Where in a record reading is.
#[derive(Debug, Clone, Default)]
enum State {
    /// Between two.
    #[default]
    Between,
    /// In one of which this is known, and so many bytes are to come.
    Within { known: Vec<u8>, rest: usize },
    /// In one that is of no interest.
    Past { rest: usize },
}

impl State {
    fn rest(&self) -> usize {
        match self {
            State::Between => 0,
            State::Within { rest, .. } | State::Past { rest } => *rest,
        }
    }
}

impl Records {
    /// Reads up to there.
    pub fn new(until: Until) -> Records {
        Records { until, ..Records::default() }
    }

    /// The next segment begins. Whether anything in it is of interest.
    pub fn begin(&mut self, segment: Segment) -> bool {
        self.open.clear();
        self.page = 0;
        (self.is_over, self.is_other) = (self.is_behind == Some(segment.timeline), false);
        if self.is_behind != Some(segment.timeline) {
            self.is_behind = None;
        }
        !self.is_over
    }

    /// Some more bytes of it.
    pub fn take(&mut self, segment: Segment, mut bytes: &[u8]) {
        while !self.is_over && !bytes.is_empty() {
            let wanted = if self.page == 0 { LONG } else { self.page };
            let count = bytes.len().min(wanted - self.open.len());
            self.open.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.open.len() < wanted {
                return;
            }
            if self.page == 0 {
                self.first(segment);
                continue;
            }
            let page = std::mem::take(&mut self.open);
            self.page(segment, &page);
            self.at = self.at.saturating_add(page.len() as u64);
            self.open = page;
            self.open.clear();
        }
    }

    /// What has been found so far, in the order of the log.
    pub fn found(&self) -> &[Created] {
        &self.found
    }

    /// Whether what was given of the segment that was begun last is another one, or none.
    pub fn is_other(&self) -> bool {
        self.is_other
    }

    /// The last commit so far.
    pub fn last(&self) -> Option<Commit> {
        self.last
    }

    /// The head of a segment's first page.
    fn first(&mut self, segment: Segment) {
        let size = u32_at(&self.open, 36) as usize;
        let begin = segment.begin(u32_at(&self.open, 32).into()).0;
        // A file that is to be used again has the name of what will be in it, and still what was.
        let is_head = u16_at(&self.open, 2) & HAS_LONG != 0;
        self.is_other = !is_head || u64_at(&self.open, 8) != begin;
        if self.is_other || !PAGES.contains(&size) || !size.is_power_of_two() {
            self.is_over = true;
            return;
        }
        (self.page, self.at) = (size, u64_at(&self.open, 8));
    }

    fn page(&mut self, segment: Segment, page: &[u8]) {
        let info = u16_at(page, 2);
        // What was there before the segment was used again.
        if u64_at(page, 8) != self.at {
            (self.is_over, self.record) = (true, State::Between);
            return;
        }
        let mut at = if info & HAS_LONG == 0 { SHORT } else { LONG };
        let continued = if info & CONTINUES == 0 { 0 } else { u32_at(page, 16) as usize };
        if continued != self.record.rest() {
            // Its beginning was not read, or it was given up.
            self.record = if continued == 0 { State::Between } else { State::Past { rest: continued } };
        }
        while at < page.len() && !self.is_over {
            at = self.step(segment, page, at);
        }
    }

    /// Reads on from a place in a page; up to where.
    fn step(&mut self, segment: Segment, page: &[u8], at: usize) -> usize {
        let here = &page[at..];
        let (end, is_whole) = match &mut self.record {
            State::Between => {
                let size = u32_at(here, 0) as usize;
                if !(RECORD..=RECORD_MAX).contains(&size) {
                    // Nothing more on this page.
                    return page.len();
                }
                let begin = self.at.saturating_add(at as u64);
                self.begin = begin;
                if self.until.lsn.is_some_and(|until| begin > until.0) {
                    self.end(segment);
                }
                self.record = State::Within { known: Vec::new(), rest: size };
                return at;
            }
            State::Past { rest } => {
                let count = here.len().min(*rest);
                *rest -= count;
                (at + count, *rest == 0)
            }
            State::Within { known, rest } => {
                // The head first: it says whether the body is wanted.
                let wanted = if known.len() < RECORD { RECORD - known.len() } else { *rest };
                let count = here.len().min(wanted).min(*rest);
                known.extend_from_slice(&here[..count]);
                *rest -= count;
                if known.len() == RECORD && !is_of_interest(known) {
                    self.record = State::Past { rest: *rest };
                    return at + count;
                }
                (at + count, *rest == 0)
            }
        };
        if !is_whole {
            return end;
        }
        if let State::Within { known, .. } = std::mem::take(&mut self.record) {
            self.whole(segment, &known);
        }
        end.next_multiple_of(8)
    }

    fn whole(&mut self, segment: Segment, record: &[u8]) {
        let (info, manager) = (record[16], record[17]);
        let Some(data) = data(&record[RECORD..]) else { return };
        if manager == TABLESPACE {
            if info & 0xF0 == 0
                && data.len() > 4
                && let Some(path) = data[4..].split(|byte| *byte == 0).next()
            {
                let at = PathBuf::from(OsString::from_vec(path.to_vec()));
                self.found.push(Created { oid: u32_at(data, 0), at });
            }
            return;
        }
        // Commits and aborts, of prepared transactions too: what ends recovery at a moment.
        let ends = matches!(info & 0x70, 0x00 | 0x20 | 0x30 | 0x40) && data.len() >= 8;
        let time = u64_at(data, 0).cast_signed().saturating_add(EPOCH);
        if ends && self.until.time.is_some_and(|until| time > until) {
            self.end(segment);
        } else if ends && matches!(info & 0x70, 0x00 | 0x30) {
            self.last = Some(Commit { time, at: Lsn(self.begin) });
        }
    }

    /// Nothing behind this is replayed, on this timeline.
    fn end(&mut self, segment: Segment) {
        (self.is_over, self.is_behind, self.record) = (true, Some(segment.timeline), State::Between);
    }
}

fn is_of_interest(head: &[u8]) -> bool {
    matches!(head[17], TRANSACTION | TABLESPACE) && (u32_at(head, 0) as usize) <= LOOKED_INTO
}

/// The data of a record without blocks: all that lies behind what is said of it.
fn data(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    loop {
        let (id, behind) = rest.split_first()?;
        let (head, size) = match *id {
            DATA_SHORT => (1, usize::from(*behind.first()?)),
            DATA_LONG => (4, u32::from_ne_bytes(behind.get(..4)?.try_into().ok()?) as usize),
            ORIGIN => {
                rest = behind.get(2..)?;
                continue;
            }
            ABOVE => {
                rest = behind.get(4..)?;
                continue;
            }
            _ => return None,
        };
        return behind.get(head..)?.get(..size);
    }
}

/// Numbers as the machine has them, as the server wrote them; nothing where there is nothing.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |bytes| u16::from_ne_bytes([bytes[0], bytes[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 8192;
    const BYTES: u64 = 1 << 20;

    /// A log: records laid into pages, from the beginning of a segment on.
    struct Log {
        bytes: Vec<u8>,
        start: u64,
    }

    impl Log {
        fn new(start: u64) -> Log {
            Log { bytes: Vec::new(), start }
        }

        fn head(&mut self, rest: usize) {
            let at = self.start + self.bytes.len() as u64;
            let is_first = at.is_multiple_of(BYTES);
            let info = u16::from(rest > 0) | if is_first { HAS_LONG } else { 0 };
            self.bytes.extend(0xD110_u16.to_ne_bytes());
            self.bytes.extend(info.to_ne_bytes());
            self.bytes.extend(1_u32.to_ne_bytes());
            self.bytes.extend(at.to_ne_bytes());
            self.bytes.extend((rest as u32).to_ne_bytes());
            self.bytes.extend([0; 4]);
            if is_first {
                self.bytes.extend(7_u64.to_ne_bytes());
                self.bytes.extend((BYTES as u32).to_ne_bytes());
                self.bytes.extend((PAGE as u32).to_ne_bytes());
            }
        }

        fn record(&mut self, manager: u8, info: u8, data: &[u8]) {
            let mut record = Vec::new();
            let body: Vec<u8> = match u8::try_from(data.len()) {
                Ok(size) => [&[DATA_SHORT, size], data].concat(),
                Err(_) => [&[DATA_LONG], &(data.len() as u32).to_ne_bytes()[..], data].concat(),
            };
            record.extend(((RECORD + body.len()) as u32).to_ne_bytes());
            record.extend([0; 12]);
            record.extend([info, manager, 0, 0, 0, 0, 0, 0]);
            record.extend(body);
            let mut rest = &record[..];
            while !rest.is_empty() {
                if self.bytes.len().is_multiple_of(PAGE) {
                    self.head(if rest.len() == record.len() { 0 } else { rest.len() });
                }
                let room = PAGE - self.bytes.len() % PAGE;
                let (now, later) = rest.split_at(room.min(rest.len()));
                self.bytes.extend(now);
                rest = later;
            }
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        }

        fn tablespace(&mut self, oid: u32, at: &str) {
            self.record(TABLESPACE, 0, &[&oid.to_ne_bytes()[..], at.as_bytes(), &[0]].concat());
        }

        /// Its segments, the last one filled with zeros.
        fn segments(mut self) -> Vec<Vec<u8>> {
            self.bytes.resize(self.bytes.len().next_multiple_of(BYTES as usize), 0);
            self.bytes.chunks(BYTES as usize).map(<[u8]>::to_vec).collect()
        }
    }

    fn read(segments: &[Vec<u8>], start: u64, until: Until, piece: usize) -> Vec<Created> {
        let mut records = Records::new(until);
        let mut segment = Segment::of(1, Lsn(start), BYTES);
        for bytes in segments {
            if records.begin(segment) {
                bytes.chunks(piece).for_each(|piece| records.take(segment, piece));
            }
            segment = segment.next(BYTES);
        }
        records.found().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever lies between, however it is cut, across pages and segments.
        #[test]
        fn every_tablespace_is_found(
            sizes in prop::collection::vec((0_u8..12, 0_usize..70_000), 1..60),
            piece in 1_usize..100_000,
        ) {
            let (start, mut log, mut wanted) = (5 * BYTES, Log::new(5 * BYTES), Vec::new());
            for (at, (kind, size)) in sizes.iter().enumerate() {
                if *kind < 3 {
                    let path = format!("/srv/{}", "x".repeat(size % 900));
                    log.tablespace(at as u32, &path);
                    wanted.push(Created { oid: at as u32, at: path.into() });
                } else {
                    // A tablespace that goes, among others.
                    log.record(kind - 2, 0x10, &vec![*kind; *size]);
                }
            }
            prop_assert_eq!(read(&log.segments(), start, Until::default(), piece), wanted);
        }

        /// Nothing that is in a file makes it go wrong.
        #[test]
        fn garbage_is_survived(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        ) {
            let mut log = Log::new(0);
            (0..200).for_each(|oid| log.tablespace(oid, "/srv/x"));
            let mut segments = log.segments();
            for (at, byte) in flips {
                let at = at.index(3 * PAGE);
                segments[0][at] = byte;
            }
            let _ = read(&segments, 0, Until::default(), 5000);
        }
    }

    #[test]
    fn reading_ends_where_recovery_does() {
        let commit = |log: &mut Log, time: i64| log.record(TRANSACTION, 0, &(time - EPOCH).to_ne_bytes());
        let mut log = Log::new(0);
        log.tablespace(1, "/a");
        commit(&mut log, 1_000);
        log.tablespace(2, "/b");
        let behind = log.bytes.len() as u64;
        commit(&mut log, 2_000);
        log.tablespace(3, "/c");
        let segments = log.segments();
        let found = |until| read(&segments, 0, until, 1 << 20).iter().map(|one| one.oid).collect::<Vec<_>>();
        assert_eq!(found(Until::default()), [1, 2, 3]);
        assert_eq!(found(Until { time: Some(1_000), lsn: None }), [1, 2]);
        assert_eq!(found(Until { time: Some(2_000), lsn: None }), [1, 2, 3]);
        assert_eq!(found(Until { time: None, lsn: Some(Lsn(behind - 1)) }), [1, 2]);
    }

    /// A segment that is missing, and a record that was cut by it.
    #[test]
    fn a_gap_loses_nothing_behind_it() {
        let mut log = Log::new(0);
        log.tablespace(1, "/a");
        log.record(9, 0, &vec![1; 3 * BYTES as usize]);
        log.tablespace(2, "/b");
        let segments = log.segments();
        let kept = [segments[0].clone(), segments[3].clone()];
        let mut records = Records::new(Until::default());
        for (number, bytes) in [0, 3].into_iter().zip(&kept) {
            let segment = Segment::of(1, Lsn(number * BYTES), BYTES);
            assert!(records.begin(segment));
            records.take(segment, bytes);
        }
        assert_eq!(records.found().iter().map(|one| one.oid).collect::<Vec<_>>(), [1, 2]);
    }
}
