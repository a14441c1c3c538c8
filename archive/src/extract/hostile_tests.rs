//! Artefacts made to do harm: every digest is right, but what they say is not.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::{ProptestConfig, any};

use super::{Existing, Extraction, ProblemKind, Target, extract};
use crate::artefact::framing::{Closing, closing, opening};
use crate::artefact::gzip::{MemberWriter, stored_member};
use crate::artefact::index::{BlockPlace, Member, Table, write_entries, write_members, write_table};
use crate::artefact::tarhead::{self, Head, Owners, padding};
use crate::artefact::{
    Artefact, Codec, Depth, Entry, Flags, Kind, ReadAt, ReadError, Root, end_of_archive, index_header, verify,
};
use backplan_host::control::Control;

struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        let from = self.0.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        Ok(from[..len.min(from.len())].to_vec())
    }
}

fn head(path: &str, kind: Kind, payload: &[u8], link: &str) -> Head {
    Head {
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 1,
        payload: payload.len() as u64,
        sparse: None,
        link: link.as_bytes().to_vec(),
        device: (0, 0),
        attributes: Vec::new(),
        moved: Vec::new(),
    }
}

fn file(path: &str) -> (Head, Vec<u8>) {
    (head(path, Kind::File, b"payload", ""), b"payload".to_vec())
}

fn link(path: &str, kind: Kind, to: &str) -> (Head, Vec<u8>) {
    (head(path, kind, b"", to), Vec::new())
}

/// One member with these entries, and an index that says the same, unless `edit` changes it; `harm` may change the bytes of
/// its blocks before they are signed.
fn forge(
    entries: &[(Head, Vec<u8>)],
    edit: impl Fn(&mut Vec<Entry>),
    harm: impl Fn(usize, &mut Vec<u8>),
) -> Vec<u8> {
    let mut out = opening(Codec::Gzip, "00000001-20260101T000000Z-aaaaaa");
    let first = Member { offset: 0, len: out.len() as u32, decoded: 0, hash: *blake3::hash(&out).as_bytes() };
    let (mut tar, mut rows) = (Vec::new(), Vec::new());
    for (head, payload) in entries {
        let start = tar.len() as u32;
        tarhead::write(head, Owners::default(), false, &mut tar);
        tar.extend_from_slice(payload);
        tar.resize(tar.len() + padding(payload.len() as u64), 0);
        rows.push(Entry {
            path: head.path.clone(),
            kind: head.kind,
            mode: head.mode,
            uid: head.uid,
            gid: head.gid,
            mtime: head.mtime,
            nanos: 0,
            size: head.sparse.unwrap_or(head.payload),
            payload: head.payload,
            place: out.len() as u64,
            span: 0,
            member: 1,
            start,
            whole: [0; 32],
            hash: *blake3::hash(payload).as_bytes(),
            flags: if head.sparse.is_some() { Flags::SPARSE } else { Flags::LINKED },
            link: head.link.clone(),
            device: head.device,
        });
    }
    let mut member = Vec::new();
    MemberWriter::new(6).write(&tar, &mut member);
    rows.iter_mut().for_each(|row| row.span = member.len() as u64);
    edit(&mut rows);
    let hash = *blake3::hash(&member).as_bytes();
    let second =
        Member { offset: out.len() as u64, len: member.len() as u32, decoded: tar.len() as u32, hash };
    out.extend_from_slice(&member);
    let data_end = out.len() as u64;
    let mut places = Vec::new();
    let mut blocks = Vec::new();
    let counts = [rows.len(), 2];
    for (at, mut block) in [write_entries(&rows), write_members(&[first, second])].into_iter().enumerate() {
        harm(at, &mut block);
        let offset = data_end + index_header(Codec::Gzip, 0).len() as u64 + blocks.len() as u64;
        let start = blocks.len();
        stored_member(&block, None, &mut blocks);
        places.push(BlockPlace {
            kind: at as u8 + 1,
            offset,
            len: (blocks.len() - start) as u32,
            decoded: block.len() as u32,
            hash: *blake3::hash(&blocks[start..]).as_bytes(),
            count: counts[at] as u32,
            first: 0,
            path: if at == 0 { rows[0].path.clone() } else { Vec::new() },
        });
    }
    let decoded: u64 = places.iter().map(|place| u64::from(place.decoded)).sum();
    let mut table = write_table(&Table { run: "x".to_string(), data_end, blocks: places });
    harm(2, &mut table);
    let mut table_member = Vec::new();
    stored_member(&table, None, &mut table_member);
    let length = decoded + table.len() as u64;
    out.extend_from_slice(&index_header(Codec::Gzip, length));
    out.extend_from_slice(&blocks);
    let place = out.len() as u64;
    out.extend_from_slice(&table_member);
    out.extend_from_slice(&end_of_archive(Codec::Gzip, length));
    out.extend_from_slice(&closing(
        Codec::Gzip,
        &Closing {
            table: place,
            table_len: table_member.len() as u32,
            table_decoded: table.len() as u32,
            root: Root(*blake3::hash(&table_member).as_bytes()),
        },
    ));
    out
}

fn extraction(to: &Path) -> Extraction {
    Extraction {
        targets: vec![Target::folder(b"", to)],
        only: Vec::new(),
        existing: Existing::Replace,
        owners: Some(false),
        sync: false,
        workers: Some(1),
    }
}

/// Extracts into a folder of its own and returns the kinds of problems, or the error; nothing but that folder may change.
fn attack(bytes: Vec<u8>) -> Result<Vec<ProblemKind>, String> {
    let around = tempfile::tempdir().unwrap();
    std::fs::write(around.path().join("victim"), "untouched").unwrap();
    let to = around.path().join("to");
    let outcome = Artefact::open(Arc::new(Memory(bytes)), None).map_err(|error| error.to_string()).and_then(
        |artefact| {
            let _ = verify(&artefact, Depth::Entries, &Control::default());
            extract(&artefact.into(), &extraction(&to), &Control::default())
                .map_err(|error| error.to_string())
        },
    );
    assert_eq!(std::fs::read(around.path().join("victim")).unwrap(), b"untouched");
    let names: Vec<_> =
        std::fs::read_dir(around.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "victim" || name == "to"), "{names:?}");
    outcome.map(|extracted| extracted.problems.iter().map(|problem| problem.kind).collect())
}

fn nothing(_: usize, _: &mut Vec<u8>) {}

#[test]
fn a_forged_artefact_without_malice_is_extracted() {
    assert_eq!(
        attack(forge(&[file("s/a"), link("s/b", Kind::HardLink, "s/a")], |_| (), nothing)),
        Ok(vec![])
    );
}

#[test]
fn paths_that_lead_outside_are_refused() {
    for path in ["/s/a", "../victim", "s/../../victim", "s/./a", "s//a", "s/a/", "", "s/\0"] {
        let refused = attack(forge(&[file(path)], |_| (), nothing)).unwrap_err();
        assert!(refused.contains("a path that is none"), "{path} {refused}");
    }
}

#[test]
fn no_file_goes_through_a_link_of_the_artefact() {
    let outward = [link("s/l", Kind::Symlink, "../../"), file("s/l/victim")];
    assert_eq!(attack(forge(&outward, |_| (), nothing)), Ok(vec![ProblemKind::InTheWay]));
}

#[test]
fn hard_links_lead_to_files_of_the_artefact_only() {
    for target in ["../victim", "/etc/passwd", "victim", "s", "s/l"] {
        let entries = [link("s/b", Kind::HardLink, target), link("s/l", Kind::Symlink, "/etc/passwd")];
        assert_eq!(attack(forge(&entries, |_| (), nothing)), Ok(vec![ProblemKind::Hostile]), "{target}");
    }
}

#[test]
fn an_entry_twice_is_refused() {
    let refused = attack(forge(&[file("s/a"), file("s/a")], |_| (), nothing)).unwrap_err();
    assert!(refused.contains("twice"), "{refused}");
}

#[test]
fn what_index_and_header_say_differently_is_not_extracted() {
    let edits: [fn(&mut Entry); 9] = [
        |entry| entry.path = b"s/b".to_vec(),
        |entry| entry.mode = 0o4755,
        |entry| entry.uid = 1,
        |entry| entry.kind = Kind::Fifo,
        |entry| entry.mtime = 2,
        |entry| (entry.size, entry.payload) = (3, 3),
        |entry| entry.link = b"x".to_vec(),
        |entry| entry.start = 512,
        |entry| entry.flags = Flags::SPARSE,
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let problems = attack(forge(&[file("s/a")], |rows| edit(&mut rows[0]), nothing));
        assert_eq!(problems, Ok(vec![ProblemKind::Hostile]), "{number}");
    }
    let forged = forge(&[file("s/a")], |rows| rows[0].hash[0] ^= 1, nothing);
    assert_eq!(attack(forged), Ok(vec![ProblemKind::Damaged]));
}

#[test]
fn a_sparse_map_cannot_write_beyond_its_file_or_ask_for_the_world() {
    let maps = [
        "1\n0\n99999999999\n",
        "999999999999\n",
        "2\n5\n1\n0\n1\n",
        "x\n",
        "1\n18446744073709551615\n5\n",
        "",
    ];
    for map in maps {
        let mut payload = map.as_bytes().to_vec();
        payload.resize(512, 0);
        payload.extend_from_slice(b"data");
        let mut entry = head("s/a", Kind::File, &payload, "");
        entry.sparse = Some(1000);
        let problems = attack(forge(&[(entry, payload)], |_| (), nothing));
        assert_eq!(problems, Ok(vec![ProblemKind::Damaged]), "{map}");
    }
}

#[test]
fn places_outside_the_artefact_are_refused() {
    let edits: [fn(&mut Entry); 4] = [
        |entry| entry.place = u64::MAX,
        |entry| entry.span = u64::MAX,
        |entry| entry.member = 77,
        |entry| entry.span = 0,
    ];
    for edit in edits {
        let refused = attack(forge(&[file("s/a")], |rows| edit(&mut rows[0]), nothing)).unwrap_err();
        assert!(refused.contains("points outside"), "{refused}");
    }
    let endless = |entry: &mut Entry| (entry.size, entry.payload) = (1 << 60, 1 << 60);
    let problems = attack(forge(&[file("s/a")], |rows| endless(&mut rows[0]), nothing));
    assert_eq!(problems, Ok(vec![ProblemKind::Damaged]));
}

#[test]
fn a_column_that_must_be_known_is_a_newer_program_s() {
    let bytes = forge(
        &[file("s/a")],
        |_| (),
        |block, bytes| {
            if block == 0 {
                bytes[17] |= 0x80;
            }
        },
    );
    let artefact = Artefact::open(Arc::new(Memory(bytes)), None).unwrap();
    let refused = artefact.entries().next().unwrap().unwrap_err();
    assert!(matches!(refused, ReadError::Damaged { .. }) && refused.to_string().contains("does not know"));
}

#[test]
fn no_block_makes_the_reader_fall_over() {
    let entries =
        [file("s/a"), link("s/b", Kind::HardLink, "s/a"), link("s/c", Kind::Symlink, "x"), file("s/d")];
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    proptest::proptest!(config, |(block in 0..3_usize, harms in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4))| {
        let harm = |at: usize, bytes: &mut Vec<u8>| {
            if at == block {
                for (place, value) in &harms {
                    let length = bytes.len();
                    bytes[usize::from(*place) % length] = *value;
                }
            }
        };
        let bytes = forge(&entries, |_| (), harm);
        if let Ok(artefact) = Artefact::open(Arc::new(Memory(bytes.clone())), None) {
            for entry in artefact.entries().flatten() {
                let _ = artefact.cat(&entry, &mut std::io::sink(), &Control::default());
            }
        }
        let _ = attack(bytes);
    });
}

#[test]
fn what_was_restored_into_a_folder_that_was_moved_is_told_of() {
    let around = tempfile::tempdir().unwrap();
    let (to, moved) = (around.path().join("to"), around.path().join("moved"));
    let artefact = Artefact::open(Arc::new(Memory(forge(&[file("s/a")], |_| (), nothing))), None).unwrap();
    let (view, extraction) = (artefact.into(), extraction(&to));
    let opened = super::Choice::of(&view, &extraction).unwrap().open().unwrap();
    std::fs::rename(&to, &moved).unwrap();
    let error = opened.run(&Control::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("is in `{}` now", moved.display())), "{error}");
    assert!(moved.join("s/a").exists());
}
