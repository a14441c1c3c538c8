//! Records of extended (pax) headers, and ACLs in the text that they hold.

/// The attribute that holds a file's ACL.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds what a folder gives to what is made in it.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Appends `length key=value\n`, the length counting itself.
pub fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The records of an extended header; `None` where it is none.
pub fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let (now, later) = bytes.split_at_checked(length)?;
        let text = now.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = text.iter().position(|byte| *byte == b'=')?;
        records.push((&text[..equals], &text[equals + 1..]));
        bytes = later;
    }
    Some(records)
}

/// Appends the record of an extended attribute, ACLs in the form that GNU tar, bsdtar and star share. Nothing where the
/// ACL cannot be understood.
pub fn attribute(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let acl = match name {
        ACL_ACCESS => Some(&b"SCHILY.acl.access"[..]),
        ACL_DEFAULT => Some(&b"SCHILY.acl.default"[..]),
        _ => None,
    };
    if let Some(key) = acl {
        if let Some(text) = acl_text(value) {
            record(key, text.as_bytes(), out);
        }
        return;
    }
    let mut key = XATTR.to_vec();
    for byte in name {
        // As GNU tar does: the first `=` ends a key.
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            other => key.push(*other),
        }
    }
    record(&key, value, out);
}

/// The extended attribute that a record holds: `None` if it holds none, `Some(None)` if an ACL makes no sense.
pub fn read_attribute(key: &[u8], value: &[u8]) -> Option<Option<(Vec<u8>, Vec<u8>)>> {
    match key {
        b"SCHILY.acl.access" => return Some(acl_bytes(value).map(|acl| (ACL_ACCESS.to_vec(), acl))),
        b"SCHILY.acl.default" => return Some(acl_bytes(value).map(|acl| (ACL_DEFAULT.to_vec(), acl))),
        _ => {}
    }
    let mut rest = key.strip_prefix(XATTR)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((first, later)) = rest.split_first() {
        let (byte, used) = match later {
            [b'2', b'5', ..] if *first == b'%' => (b'%', 3),
            [b'3', b'D', ..] if *first == b'%' => (b'=', 3),
            _ => (*first, 1),
        };
        name.push(byte);
        rest = &rest[used..];
    }
    Some(Some((name, value.to_vec())))
}

const TAGS: [(u16, &str); 6] =
    [(0x01, "user"), (0x02, "user"), (0x04, "group"), (0x08, "group"), (0x10, "mask"), (0x20, "other")];

/// An ACL as text, from the kernel's form (version 2: tag, permissions, id).
fn acl_text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || !entries.len().is_multiple_of(8) {
        return None;
    }
    let mut parts = Vec::new();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let word = TAGS.iter().find(|(number, _)| *number == tag)?.1;
        let id = if matches!(tag, 0x02 | 0x08) { id.to_string() } else { String::new() };
        let letter = |bit: u16, letter: char| if permissions & bit != 0 { letter } else { '-' };
        parts.push(format!("{word}:{id}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    Some(parts.join(","))
}

/// An ACL in the kernel's form, from text with numeric ids.
fn acl_bytes(text: &[u8]) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for part in std::str::from_utf8(text).ok()?.split([',', '\n']).filter(|part| !part.is_empty()) {
        let mut fields = part.split(':');
        let (word, id, letters) = (fields.next()?, fields.next()?, fields.next()?);
        let named = !id.is_empty();
        let wanted = TAGS.iter().filter(|(_, known)| *known == word).map(|(tag, _)| *tag);
        let tag = wanted.clone().find(|tag| matches!(tag, 0x02 | 0x08) == named)?;
        let id = if named { id.parse().ok()? } else { u32::MAX };
        let permissions = letters.bytes().try_fold(0_u16, |all, letter| {
            Some(
                all | match letter {
                    b'r' => 4,
                    b'w' => 2,
                    b'x' => 1,
                    b'-' => 0,
                    _ => return None,
                },
            )
        })?;
        entries.push((tag, id, permissions));
    }
    entries.sort_unstable();
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{acl_bytes, acl_text, attribute, read_attribute, record, records};

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [0, 1, 90, 92, 93, 94, 985, 986, 987, 988, 10_000] {
            let (value, mut out) = (vec![b'x'; length], Vec::new());
            record(b"path", &value, &mut out);
            assert_eq!(records(&out).unwrap(), [(&b"path"[..], &value[..])]);
        }
    }

    #[test]
    fn an_acl_survives_its_text() {
        let text = "user::rw-,user:1000:r-x,group::r--,group:7:---,mask::rwx,other::---";
        let bytes = acl_bytes(text.as_bytes()).unwrap();
        assert_eq!(acl_text(&bytes).unwrap(), text);
        assert_eq!(acl_bytes(b"user:root:rwx"), None);
    }

    #[test]
    fn an_attribute_may_have_any_name() {
        let mut out = Vec::new();
        attribute(b"user.a=b%c%3D", b"v\0\n=", &mut out);
        let records = records(&out).unwrap();
        let read = read_attribute(records[0].0, records[0].1).unwrap().unwrap();
        assert_eq!(read, (b"user.a=b%c%3D".to_vec(), b"v\0\n=".to_vec()));
    }
}
