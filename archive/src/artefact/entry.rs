//! What the index knows of an entry.

use backplan_host::tree::Kind;

/// What is remarkable about an entry: a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// It grew while it was read, and was cut.
    pub const GREW: Flags = Flags(1);
    /// It shrank while it was read, and was padded with zeros.
    pub const SHRANK: Flags = Flags(1 << 1);
    /// It changed so recently before the scan that a later change may not show: read it again next time.
    pub const RACY: Flags = Flags(1 << 2);
    /// A folder that is here only because something below it is.
    pub const IMPLIED: Flags = Flags(1 << 3);
    /// It has extended attributes or ACLs.
    pub const XATTRS: Flags = Flags(1 << 4);
    /// Its payload is a sparse map and the data between the holes.
    pub const SPARSE: Flags = Flags(1 << 5);
    /// Reading failed in the middle; the rest is zeros.
    pub const DAMAGED: Flags = Flags(1 << 6);
    /// A folder made up by the packer: nothing of the host stands behind it.
    pub const SYNTHETIC: Flags = Flags(1 << 7);
    /// It has further names (hard links) in this artefact.
    pub const LINKED: Flags = Flags(1 << 8);
    /// It was a stream: its header has a member of its own.
    pub const STREAM: Flags = Flags(1 << 9);

    /// Its payload is what changed of the file since the artefacts this one rests on: a map as of a sparse file, whose holes are
    /// what is there already.
    pub const PATCH: Flags = Flags(1 << 10);
    /// Of a patch: some of what was there already is at another place now.
    pub const MOVED: Flags = Flags(1 << 11);

    /// Whether all of `other`'s bits are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other`'s bits set as well.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// One entry of an artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Source, `/`, path inside it: no leading or trailing slash, no `.`, no `..`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change of contents: seconds since 1970.
    pub mtime: i64,
    /// Its nanoseconds.
    pub nanos: u32,
    /// Size of the file in bytes, holes counted.
    pub size: u64,
    /// Bytes in the tar's data area; differs from `size` where the file is sparse.
    pub payload: u64,
    /// Offset of its first member in the artefact.
    pub place: u64,
    /// Compressed bytes of all the members it is in.
    pub span: u64,
    /// Number of its first member, counted from 0.
    pub member: u64,
    /// Offset of its first tar header (an extended one, if it has one) in that member, decompressed.
    pub start: u32,
    /// BLAKE3 of the payload; zeros for what has none.
    pub hash: [u8; 32],
    /// BLAKE3 of the whole contents where the payload is what changed of them; else zeros.
    pub whole: [u8; 32],
    /// What is remarkable.
    pub flags: Flags,
    /// Target of a symbolic link, or path inside the artefact of the file a hard link names; else empty.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
}
