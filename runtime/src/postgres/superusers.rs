//! Who can ask a cluster anything: its superusers, as its own files name them. A restored cluster has the roles that it had then, which
//! are not those that a plan names today, and nobody can be asked before one of them is known.
//!
//! The format is PostgreSQL's own: `global/pg_filenode.map` (src/backend/utils/cache/relmapper.c) says which file `pg_authid` is, whose
//! pages (src/include/storage/bufpage.h) hold its rows (src/include/catalog/pg_authid.h). What is read is a guess at names that are
//! tried: rows that were deleted may be among them, and a file that is damaged has none.

use std::path::Path;

/// `pg_authid`, whatever its file is called.
const AUTHID: u32 = 1260;
/// The one that `initdb` makes.
const BOOTSTRAP: u32 = 10;
const MAP_MAGIC: u32 = 0x0059_2717;
const PAGE: usize = 8192;
const PAGE_HEADER: usize = 24;
/// Bytes of the files, at the most.
const LARGEST: u64 = 4 << 20;
/// Bytes of a name.
const NAME: usize = 64;

/// The superusers that may log in, by the files of a data directory: first the one that `initdb` made.
pub(super) fn superusers(data: &Path) -> Vec<String> {
    let found = file(data).map(|pages| pages.chunks_exact(PAGE).flat_map(rows).collect::<Vec<Role>>());
    let mut found = found.unwrap_or_default();
    found.sort_by_key(|role| role.number != BOOTSTRAP);
    let mut names: Vec<String> = Vec::new();
    for Role { name, .. } in found {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

struct Role {
    number: u32,
    name: String,
}

/// The pages of `pg_authid`.
fn file(data: &Path) -> Option<Vec<u8>> {
    let map = crate::regular::read(&data.join("global/pg_filenode.map"), LARGEST).ok()?;
    if word(&map, 0)? != MAP_MAGIC {
        return None;
    }
    let count = usize::try_from(word(&map, 4)?).ok()?;
    let pairs = (0..count.min(PAGE)).map(|at| Some((word(&map, 8 + at * 8)?, word(&map, 12 + at * 8)?)));
    let (_, number) = pairs.flatten().find(|(relation, _)| *relation == AUTHID)?;
    crate::regular::read(&data.join(format!("global/{number}")), LARGEST).ok()
}

/// The superusers of a page.
fn rows(page: &[u8]) -> Vec<Role> {
    let end = half(page, 12).map_or(0, usize::from).min(PAGE);
    let pointers = (PAGE_HEADER..end).step_by(4).filter_map(|at| word(page, at));
    // Fifteen bits of an offset, two that say that it is in use.
    let used = pointers.filter(|pointer| pointer >> 15 & 3 == 1);
    used.filter_map(|pointer| role(page.get(usize::try_from(pointer & 0x7fff).ok()?..)?)).collect()
}

/// The role of a row, if it is a superuser that may log in.
fn role(row: &[u8]) -> Option<Role> {
    let columns = row.get(usize::from(*row.get(22)?)..)?;
    let (number, name) = (word(columns, 0)?, columns.get(4..4 + NAME)?);
    let [is_super, _, _, _, may_log_in] = *columns.get(4 + NAME..4 + NAME + 5)? else { return None };
    let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    (is_super == 1 && may_log_in == 1).then_some(Role { number, name })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_cluster_has_no_superusers() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(superusers(scratch.path()).is_empty());
        std::fs::create_dir(scratch.path().join("global")).unwrap();
        let map = |count: u32| [MAP_MAGIC, count, AUTHID, 5].map(u32::to_ne_bytes).concat();
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(scratch.path().join("global").join(name), bytes).unwrap()
        };
        for (count, page) in [(1, vec![0xff; PAGE]), (u32::MAX, vec![0x7f; 2 * PAGE]), (1, vec![0; 100])] {
            put("pg_filenode.map", &map(count));
            put("5", &page);
            assert!(superusers(scratch.path()).is_empty());
        }
    }
}
