//! Tar headers: ustar, with an extended header before it where ustar cannot say it.

use tar::{EntryType, Header};

use super::moved::{self, Move};
use super::{Kind, pax};

/// A tar block.
pub const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
const ID_MAX: u32 = 0o7_777_777;
const SIZE_MAX: u64 = 0o77_777_777_777;
/// Bytes that records of extended attributes may take in one header; further ones are left out, and warned of.
pub const ATTRIBUTES_MAX: usize = 1 << 20;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Path inside the artefact, without a trailing slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Bytes in the data area.
    pub payload: u64,
    /// Size of a sparse file with its holes.
    pub sparse: Option<u64>,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Numbers of a device.
    pub device: (u32, u32),
    /// Extended attributes: name, value.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// What moved in a file of which the payload is what changed.
    pub moved: Vec<Move>,
}

/// Names of the owner and the group; empty where unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Owners<'a> {
    /// The owner's.
    pub user: &'a str,
    /// The group's.
    pub group: &'a str,
}

/// Bytes that pad `length` to whole blocks.
pub fn padding(length: u64) -> usize {
    ((BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64) as usize
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + padding(length as u64), 0);
}

/// Appends the header. With `reserve`, its length does not depend on the payload's.
pub fn write(head: &Head, owners: Owners<'_>, reserve: bool, out: &mut Vec<u8>) {
    let mut name = head.path.clone();
    if head.kind == Kind::Directory {
        name.push(b'/');
    }
    let mut records = Vec::new();
    let split = match head.sparse {
        Some(size) => sparse_records(&name, size, &mut records),
        None => ustar_name(&name),
    };
    if split.is_none() && head.sparse.is_none() {
        text_record(b"path", &name, &mut records);
    }
    if head.link.len() > NAME {
        text_record(b"linkpath", &head.link, &mut records);
    }
    if reserve {
        pax::record(b"size", format!("{:020}", head.payload).as_bytes(), &mut records);
    } else if head.payload > SIZE_MAX {
        pax::record(b"size", head.payload.to_string().as_bytes(), &mut records);
    }
    for (key, id) in [(&b"uid"[..], head.uid), (b"gid", head.gid)] {
        if id > ID_MAX {
            pax::record(key, id.to_string().as_bytes(), &mut records);
        }
    }
    if !u64::try_from(head.mtime).is_ok_and(|seconds| seconds <= SIZE_MAX) {
        pax::record(b"mtime", head.mtime.to_string().as_bytes(), &mut records);
    }
    for (key, value) in &head.attributes {
        pax::attribute(key, value, &mut records);
    }
    if !head.moved.is_empty() {
        pax::record(moved::KEY, moved::write(&head.moved).as_bytes(), &mut records);
    }
    if !records.is_empty() {
        extended(&records, out);
    }
    let (prefix, name) = split.unwrap_or((Vec::new(), name[..name.len().min(NAME)].to_vec()));
    out.extend_from_slice(ustar(head, owners, &prefix, &name).as_bytes());
}

fn text_record(key: &[u8], text: &[u8], records: &mut Vec<u8>) {
    if std::str::from_utf8(text).is_err() && !records.starts_with(b"21 hdrcharset=BINARY\n") {
        let mut all = Vec::new();
        pax::record(b"hdrcharset", b"BINARY", &mut all);
        all.append(records);
        *records = all;
    }
    pax::record(key, text, records);
}

/// As GNU tar's format 1.0: the real name is in a record, the header has one that warns those who do not know.
fn sparse_records(name: &[u8], size: u64, records: &mut Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    pax::record(b"GNU.sparse.major", b"1", records);
    pax::record(b"GNU.sparse.minor", b"0", records);
    text_record(b"GNU.sparse.name", name, records);
    pax::record(b"GNU.sparse.realsize", size.to_string().as_bytes(), records);
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let mut stand_in = b"GNUSparseFile.0/".to_vec();
    stand_in.extend_from_slice(last);
    stand_in.truncate(NAME);
    Some((Vec::new(), stand_in))
}

/// The name as ustar's prefix and name; `None` where it does not fit.
fn ustar_name(name: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if name.len() <= NAME {
        return Some((Vec::new(), name.to_vec()));
    }
    let first = name.len() - NAME - 1;
    let cut = (first..name.len() - 1).find(|at| name[*at] == b'/')?;
    (cut <= PREFIX && cut > 0).then(|| (name[..cut].to_vec(), name[cut + 1..].to_vec()))
}

fn extended(records: &[u8], out: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..14].copy_from_slice(b"././@PaxHeader");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_entry_type(EntryType::XHeader);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    pad(out, records.len());
}

fn ustar(head: &Head, owners: Owners<'_>, prefix: &[u8], name: &[u8]) -> Header {
    let mut header = Header::new_ustar();
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.name[..name.len()].copy_from_slice(name);
        ustar.prefix[..prefix.len()].copy_from_slice(prefix);
        let link = &head.link[..head.link.len().min(NAME)];
        ustar.linkname[..link.len()].copy_from_slice(link);
        for (field, name) in [(&mut ustar.uname, owners.user), (&mut ustar.gname, owners.group)] {
            if name.len() < field.len() {
                field[..name.len()].copy_from_slice(name.as_bytes());
            }
        }
        ustar.set_device_major(head.device.0);
        ustar.set_device_minor(head.device.1);
    }
    header.set_mode(head.mode);
    header.set_uid(if head.uid > ID_MAX { 0 } else { head.uid.into() });
    header.set_gid(if head.gid > ID_MAX { 0 } else { head.gid.into() });
    header.set_mtime(u64::try_from(head.mtime).ok().filter(|seconds| *seconds <= SIZE_MAX).unwrap_or(0));
    header.set_size(if head.payload > SIZE_MAX { 0 } else { head.payload });
    header.set_entry_type(match head.kind {
        Kind::File => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::HardLink => EntryType::Link,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice => EntryType::Char,
        Kind::BlockDevice => EntryType::Block,
    });
    header.set_cksum();
    header
}

/// Reads the header at the start of `bytes`: what it says, and how many bytes it takes. `None` where there is none.
pub fn read(bytes: &[u8]) -> Option<(Head, usize)> {
    let (first, mut rest) = bytes.split_first_chunk::<BLOCK>()?;
    let mut header = Header::from_byte_slice(first);
    if !is_whole(header) {
        return None;
    }
    let mut records = Vec::new();
    if header.entry_type() == EntryType::XHeader {
        let length = usize::try_from(header.size().ok()?).ok()?;
        records = pax::records(rest.get(..length)?)?;
        let (next, later) = rest.get(length + padding(length as u64)..)?.split_first_chunk::<BLOCK>()?;
        header = Header::from_byte_slice(next);
        rest = later;
        if !is_whole(header) {
            return None;
        }
    }
    let head = apply(plain(header)?, &records)?;
    Some((head, bytes.len() - rest.len()))
}

fn is_whole(header: &Header) -> bool {
    let mut again = header.clone();
    again.set_cksum();
    header.as_ustar().is_some() && again.as_old().cksum == header.as_old().cksum
}

fn plain(header: &Header) -> Option<Head> {
    let kind = match header.entry_type() {
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => Kind::CharDevice,
        EntryType::Block => Kind::BlockDevice,
        _ => return None,
    };
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let device =
        if is_device { (header.device_major().ok()??, header.device_minor().ok()??) } else { (0, 0) };
    Some(Head {
        path: header.path_bytes().into_owned(),
        kind,
        mode: header.mode().ok()?,
        uid: u32::try_from(header.uid().ok()?).ok()?,
        gid: u32::try_from(header.gid().ok()?).ok()?,
        mtime: i64::try_from(header.mtime().ok()?).ok()?,
        payload: header.size().ok()?,
        sparse: None,
        link: header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default(),
        device,
        attributes: Vec::new(),
        moved: Vec::new(),
    })
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn apply(mut head: Head, records: &[(&[u8], &[u8])]) -> Option<Head> {
    let mut sparse_name = None;
    for (key, value) in records {
        match *key {
            b"path" => head.path = value.to_vec(),
            b"linkpath" => head.link = value.to_vec(),
            b"size" => head.payload = number(value)?,
            b"uid" => head.uid = number(value)?,
            b"gid" => head.gid = number(value)?,
            b"mtime" => head.mtime = number(value)?,
            b"GNU.sparse.name" => sparse_name = Some(value.to_vec()),
            b"GNU.sparse.realsize" => head.sparse = Some(number(value)?),
            b"GNU.sparse.major" if *value != b"1" => return None,
            b"GNU.sparse.minor" if *value != b"0" => return None,
            moved::KEY => head.moved = moved::read(value)?,
            _ => {
                if let Some(attribute) = pax::read_attribute(key, value) {
                    head.attributes.push(attribute?);
                }
            }
        }
    }
    if let (Some(name), Some(_)) = (sparse_name, head.sparse) {
        head.path = name;
    }
    if head.kind == Kind::Directory
        && let Some(path) = head.path.strip_suffix(b"/")
    {
        head.path = path.to_vec();
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Head, Move, Owners, read, write};
    use crate::artefact::Kind;

    fn head(path: &[u8]) -> Head {
        Head {
            path: path.to_vec(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 1000,
            gid: 7,
            mtime: 1_700_000_000,
            payload: 12,
            sparse: None,
            link: Vec::new(),
            device: (0, 0),
            attributes: Vec::new(),
            moved: Vec::new(),
        }
    }

    fn survives(head: &Head) -> usize {
        let mut out = Vec::new();
        write(head, Owners { user: "root", group: "root" }, false, &mut out);
        let length = out.len();
        out.extend_from_slice(b"payload");
        assert_eq!(read(&out), Some((head.clone(), length)));
        length
    }

    #[test]
    fn a_header_says_what_was_written() {
        assert_eq!(survives(&head(b"a/b")), 512);
        assert_eq!(survives(&head(&[b'x'; 100])), 512);
        assert!(survives(&head(&[b'x'; 101])) > 512);
        let long = [&[b'd'; 150][..], b"/", &[b'n'; 100]].concat();
        assert_eq!(survives(&head(&long)), 512);
        assert!(survives(&head(&[&long[..], b"/n"].concat())) > 512);
        assert!(survives(&head(&[b"\xff/".repeat(800), vec![b'z']].concat())) > 512);
        survives(&Head { mtime: -5, uid: u32::MAX, gid: 3_000_000, payload: 1 << 40, ..head(b"n") });
        survives(&Head { sparse: Some(1 << 33), ..head(b"sparse \xff") });
        let moved = vec![Move { offset: 4, len: 1 << 40, from: 0 }];
        survives(&Head { sparse: Some(1 << 50), moved, ..head(b"moved") });
        survives(&Head { kind: Kind::Directory, payload: 0, ..head(&[b'd'; 100]) });
        survives(&Head { kind: Kind::Symlink, link: vec![b'l'; 300], ..head(b"l") });
        survives(&Head { kind: Kind::BlockDevice, device: (259, 70_000), ..head(b"b") });
        survives(&Head { attributes: vec![(b"user.x".to_vec(), vec![0, 10, 255])], ..head(b"x") });
    }
}
