//! What passes between the planner, the workers and the writer.

use std::sync::Arc;

use blake3::hazmat::ChainingValue;

use super::PackError;
use super::again::Before;
use super::keep::Stretch;
use super::open::Opened;
use super::scratch::Slot;
use crate::artefact::Flags;
use crate::artefact::index::Member;
use crate::scan::{Scanned, Warning};

/// An entry that is to be packed.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its number over all sources, in path order.
    pub number: u64,
    /// Its source, by number.
    pub source: u16,
    /// Its path in the artefact.
    pub path: Vec<u8>,
    /// What the walk saw.
    pub seen: Scanned,
    /// For a further name: the path in the artefact that it is another name of.
    pub link: Option<Arc<[u8]>>,
    /// It has further names in this artefact.
    pub has_links: bool,
}

impl Planned {
    /// An entry that is only to be looked at.
    pub fn of(seen: Scanned) -> Planned {
        Planned { number: 0, source: 0, path: Vec::new(), seen, link: None, has_links: false }
    }
}

/// A part of a member.
pub enum Item {
    /// Header, and contents if it is a file.
    Entry(Planned),
    /// Header and contents of a file that is open.
    Opened(Planned, Arc<Opened>),
    /// Header and contents of a file that was read already.
    Fed(Planned, Vec<u8>),
}

/// What makes a member.
pub enum Work {
    /// Members of the base, as they are.
    Copy(Stretch),
    /// The same, without reading them: the sink takes them from the base's file.
    Share(Stretch),
    /// Whole entries; and whether their contents seem to be compressed already.
    Entries(Vec<Item>, bool),
    /// A large file's header and first piece.
    Head(Planned, Arc<Opened>),
    /// A further piece of it.
    Piece(Planned, Arc<Opened>, u64, Option<Arc<Before>>),
    /// Header and first piece of a large file that is read as it comes; its further pieces are those of a stream.
    FedHead(Planned, Vec<u8>),
    /// Room for a stream's header.
    StreamHead(Planned),
    /// Bytes of a stream.
    StreamPiece {
        /// The bytes.
        bytes: Vec<u8>,
        /// Which piece.
        index: u64,
        /// Whether it is the last.
        last: bool,
        /// The source, by number.
        source: u16,
        /// Where the base has the file.
        before: Option<Arc<Before>>,
    },
}

/// Work with its place in the artefact.
pub struct Job {
    /// Its turn.
    pub turn: u64,
    /// What to do.
    pub work: Work,
}

/// Digest of a payload, or of a piece.
pub enum PieceHash {
    /// Of all.
    Whole([u8; 32]),
    /// Of one of several pieces.
    Part(ChainingValue),
}

/// Where a file of several members stands.
pub enum Large {
    /// It starts here: the last slot is its. Its path, where its grains are to be kept.
    Starts(Option<PieceHash>, Option<Vec<u8>>),
    /// A stream starts here: its header will be written once its length is known.
    StreamStarts(Planned),
    /// It goes on.
    Goes {
        /// Digest of the piece; `None` where it is empty.
        hash: Option<PieceHash>,
        /// Bytes of the piece.
        bytes: u64,
        /// What happened to it.
        flags: Flags,
        /// Whether it ends here.
        last: bool,
    },
}

/// Members of the base that are ready to be written.
pub struct Copied {
    /// Number and place in the base, and what they are now; their offset is the writer's to fill in.
    pub members: Vec<(u64, Member, Member)>,
    /// Their bytes are in the base's file still.
    pub are_shared: bool,
}

/// A member that is ready to be written.
#[derive(Default)]
pub struct Done {
    /// Its turn.
    pub turn: u64,
    /// Its bytes; none where all its entries were left out.
    pub member: Vec<u8>,
    /// What it decodes to, in bytes.
    pub decoded: u32,
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// The grains of a piece of a large file, where they are to be kept.
    pub grains: Vec<super::grains::Grain>,
    /// It is a member of the base, taken over.
    pub from_base: bool,
    /// Its entries; place and span are the writer's to fill in.
    pub slots: Vec<Slot>,
    /// The large file it is of.
    pub large: Option<Large>,
    /// It is copied members.
    pub copied: Option<Copied>,
    /// What ends the packing: the base could not be read, or this process lacks what it takes to read.
    pub failure: Option<PackError>,
    /// What was left out or looks wrong, by source.
    pub warnings: Vec<(u16, Warning)>,
    /// Files that turned out to be too large for their member.
    pub deferred: Vec<Planned>,
    /// Bytes of contents, by source.
    pub bytes: Vec<(u16, u64)>,
    /// Entries that are over and done with, those left out counted.
    pub entries: u64,
}
