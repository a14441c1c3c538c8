//! A base backup as it comes from the server, in tar's format, without a copy on this machine: entry by entry to the packer,
//! and held against the server's own list of files, which comes last.
//!
//! The log that makes it whole comes at its end, when the server may have given it up: a temporary replication slot keeps it
//! until then, as long as the program lives that asked for it.

use backplan_compiler::count::plural;
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::basebackup::{MANIFEST, from_backup_label, from_manifest};
use crate::artefact::{Fed, Feed};
use crate::catalog::labels::Labels;
use crate::postgres::wal::lsn::Lsn;
use crate::programs::process::Running;
use crate::tree::is_path;

const BLOCK: usize = 512;
const LABEL: &str = "backup_label";
const LOG: &str = "pg_wal/";
/// Bytes of what is kept in memory at the most: the list has about 200 for each file.
const KEPT: u64 = 1 << 30;

/// What becomes known of the backup while it is packed.
pub type Told = Arc<Mutex<Labels>>;

/// Asks, when the copy is complete, for what else the labels say.
pub type Last = Box<dyn FnOnce() -> Result<Labels, String> + Send>;

/// A base backup under way.
pub struct Streamed {
    running: Option<Running>,
    /// Keeps the log; ends with this value.
    slot: Option<Running>,
    owner: (u32, u32),
    told: Told,
    last: Option<Last>,
    /// The entry that came last, and how much of it is still to come, padding not counted.
    entry: Option<Entry>,
    /// Sizes and digests of files, by path.
    came: HashMap<String, (u64, [u8; 32])>,
    label: Vec<u8>,
    list: Vec<u8>,
    is_begun: bool,
}

struct Entry {
    path: String,
    size: u64,
    left: u64,
    sum: Sha256,
}

impl Streamed {
    /// What a program writes that was just started.
    pub fn new(running: Running, slot: Running, owner: (u32, u32), told: Told, last: Last) -> Streamed {
        Streamed {
            running: Some(running),
            slot: Some(slot),
            owner,
            told,
            last: Some(last),
            entry: None,
            came: HashMap::new(),
            label: Vec::new(),
            list: Vec::new(),
            is_begun: false,
        }
    }

    /// Fills a block; `false` at the end of all.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.some(&mut block[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(early()),
                count => filled += count,
            }
        }
        Ok(true)
    }

    fn some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(running) = &mut self.running else { return Ok(0) };
        match running.read(buffer) {
            Ok(count) => Ok(count),
            Err(cause) => {
                Err(self.running.take().map_or(early(), |all| io::Error::other(all.failed_read(cause))))
            }
        }
    }

    /// Passes over what is left of the entry, and its padding.
    fn end_entry(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        while self.entry.as_ref().is_some_and(|entry| entry.left > 0) {
            rest.clear();
            self.read(&mut rest, 1 << 16)?;
        }
        let Some(entry) = self.entry.take() else { return Ok(()) };
        let padding = usize::try_from(entry.size % BLOCK as u64).unwrap_or_default();
        if padding > 0 {
            let mut rest = vec![0; BLOCK - padding];
            let mut filled = 0;
            while filled < rest.len() {
                match self.some(&mut rest[filled..])? {
                    0 => return Err(early()),
                    count => filled += count,
                }
            }
        }
        let known = self.came.insert(entry.path.clone(), (entry.size, entry.sum.finalize().into()));
        if known.is_some() { Err(wrong(&format!("`{}` came twice", entry.path))) } else { Ok(()) }
    }

    /// The end of the stream: a success only if the tool says so, and all is there that the server lists.
    fn end(&mut self) -> io::Result<()> {
        let mut rest = vec![0; 1 << 16];
        while self.some(&mut rest)? > 0 {}
        if let Some(running) = self.running.take() {
            running.finish().map_err(io::Error::other)?;
        }
        let list = List::read(&self.list).map_err(|why| wrong(&why))?;
        list.compare(&self.came).map_err(|why| wrong(&why))?;
        let mut labels = from_backup_label(&String::from_utf8_lossy(&self.label));
        labels.extend(from_manifest(&String::from_utf8_lossy(&self.list)));
        let last = self.last.take().map(|last| last()).transpose();
        labels.extend(last.map_err(io::Error::other)?.unwrap_or_default());
        self.told.lock().unwrap_or_else(PoisonError::into_inner).extend(labels);
        self.slot = None;
        Ok(())
    }

    fn fed(&mut self, header: &Header) -> io::Result<Fed> {
        let bytes = header.path_bytes();
        let path = std::str::from_utf8(&bytes).map_err(|_| wrong("a name is no text"))?;
        let path = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/').to_owned();
        let is_folder = match header.entry_type() {
            EntryType::Directory => true,
            EntryType::Regular => false,
            _ => return Err(wrong(&format!("`{path}` is neither file nor folder"))),
        };
        if !is_path(path.as_bytes()) {
            return Err(wrong(&format!("`{path}` cannot be the name of an entry")));
        }
        let size = if is_folder { 0 } else { header.entry_size()? };
        if (path == LABEL || path == MANIFEST) && size > KEPT {
            return Err(wrong(&format!("`{path}` has {}", plural(size, "byte"))));
        }
        if !is_folder {
            self.entry = Some(Entry { path: path.clone(), size, left: size, sum: Sha256::new() });
        }
        Ok(Fed {
            path: path.into_bytes(),
            is_folder,
            mode: header.mode()?,
            uid: self.owner.0,
            gid: self.owner.1,
            mtime: i64::try_from(header.mtime()?).unwrap_or_default(),
            size,
        })
    }
}

impl Feed for Streamed {
    fn next(&mut self) -> io::Result<Option<Fed>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            // The data directory itself is not among what it gives.
            let (uid, gid) = self.owner;
            let path = Vec::new();
            return Ok(Some(Fed { path, is_folder: true, mode: 0o700, uid, gid, mtime: 0, size: 0 }));
        }
        self.end_entry()?;
        let mut header = Header::new_old();
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            // A tool that fails says why.
            return self
                .running
                .take()
                .map_or(Ok(()), Running::finish)
                .map_err(io::Error::other)
                .and(Err(early()));
        }
        if block.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        header.as_mut_bytes().copy_from_slice(&block);
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(wrong("a header does not have its checksum"));
        }
        self.fed(&header).map(Some)
    }

    fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<()> {
        let Some(mut entry) = self.entry.take() else { return Ok(()) };
        let wanted = usize::try_from(entry.left).map_or(most, |left| left.min(most));
        let start = buffer.len();
        buffer.resize(start + wanted, 0);
        let mut filled = start;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => return Err(early()),
                count => filled += count,
            }
        }
        let bytes = &buffer[start..];
        entry.left -= bytes.len() as u64;
        entry.sum.update(bytes);
        match entry.path.as_str() {
            LABEL => self.label.extend_from_slice(bytes),
            MANIFEST => self.list.extend_from_slice(bytes),
            _ => {}
        }
        self.entry = Some(entry);
        Ok(())
    }
}

fn early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the base backup ended early")
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the base backup is not as it should be: {why}"))
}

/// The server's list of a backup's files.
#[derive(Debug, Deserialize)]
struct List<'a> {
    #[serde(rename = "Files", borrow)]
    files: Vec<Listed<'a>>,
    #[serde(rename = "WAL-Ranges", borrow)]
    ranges: Vec<Range<'a>>,
    #[serde(rename = "Manifest-Checksum")]
    sum: &'a str,
}

#[derive(Debug, Deserialize)]
struct Listed<'a> {
    /// A name that is text may have escapes.
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<&'a str>,
    #[serde(rename = "Checksum")]
    sum: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct Range<'a> {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: &'a str,
    #[serde(rename = "End-LSN")]
    end: &'a str,
}

impl<'a> List<'a> {
    /// Reads a list that has the digest of itself in its last line.
    fn read(bytes: &'a [u8]) -> Result<List<'a>, String> {
        const LAST: &[u8] = b"\n\"Manifest-Checksum\"";
        let list: List<'_> =
            serde_json::from_slice(bytes).map_err(|error| format!("`{MANIFEST}` cannot be read: {error}"))?;
        let at = bytes.windows(LAST.len()).rposition(|window| window == LAST).unwrap_or_default() + 1;
        match hex(&Sha256::digest(&bytes[..at])) == list.sum {
            true => Ok(list),
            false => Err(format!("`{MANIFEST}` does not have its checksum")),
        }
    }

    /// Holds what came against the list.
    fn compare(&self, came: &HashMap<String, (u64, [u8; 32])>) -> Result<(), String> {
        let mut listed = 0;
        for file in &self.files {
            let path = file.path.as_deref().ok_or("a listed file has a name that is no text")?;
            let (size, sum) = came.get(path).ok_or_else(|| format!("`{path}` is listed and did not come"))?;
            if *size != file.size {
                return Err(format!(
                    "`{path}` has {}, and the list says {}",
                    plural(*size, "byte"),
                    file.size
                ));
            }
            if file.algorithm != Some("SHA256") || file.sum != Some(hex(sum).as_str()) {
                return Err(format!("`{path}` does not have its checksum"));
            }
            listed += usize::from(!path.starts_with(LOG));
        }
        let others = came.keys().filter(|path| *path != MANIFEST && !path.starts_with(LOG)).count();
        if others != listed {
            return Err(format!("{} came, and {listed} are listed", plural(others, "file")));
        }
        self.ranges.iter().try_for_each(|range| range.is_there(came))
    }
}

impl Range<'_> {
    /// Every segment of the log that the backup needs came, whole.
    fn is_there(&self, came: &HashMap<String, (u64, [u8; 32])>) -> Result<(), String> {
        let lsn = |text: &str| text.parse::<Lsn>().map(|lsn| lsn.0).map_err(|error| error.to_string());
        let (start, end) = (lsn(self.start)?, lsn(self.end)?);
        let is_segment = |path: &&String| path.len() == LOG.len() + 24 && path.starts_with(LOG);
        let size = came.iter().find(|(path, _)| is_segment(path)).map_or(0, |(_, (size, _))| *size);
        if !size.is_power_of_two() || size > 1 << 32 {
            return Err("its log did not come".to_owned());
        }
        let per_log = (1 << 32) / size;
        for number in start / size..=end.saturating_sub(1) / size {
            let name = format!("{LOG}{:08X}{:08X}{:08X}", self.timeline, number / per_log, number % per_log);
            if came.get(&name).is_none_or(|(bytes, _)| *bytes != size) {
                return Err(format!("`{name}` of its log did not come whole"));
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::Control;
    use crate::programs::process::{Program, Tell};

    const SEGMENT: &str = "pg_wal/000000010000000000000004";

    fn silent() -> Tell {
        Arc::new(|_| {})
    }

    fn list(files: &[(&str, &[u8])]) -> Vec<u8> {
        let listed = files.iter().filter(|(path, _)| !path.starts_with(LOG)).map(|(path, bytes)| {
            let sum = hex(&Sha256::digest(bytes));
            format!(
                r#"{{ "Path": "{path}", "Size": {}, "Checksum-Algorithm": "SHA256", "Checksum": "{sum}" }}"#,
                bytes.len()
            )
        });
        let mut text = format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{}\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": 1, \
             \"Start-LSN\": \"0/4000028\", \"End-LSN\": \"0/4000100\" }}\n],\n",
            listed.collect::<Vec<_>>().join(",\n")
        );
        let sum = hex(&Sha256::digest(text.as_bytes()));
        text += &format!("\"Manifest-Checksum\": \"{sum}\"}}\n");
        text.into_bytes()
    }

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = Header::new_ustar();
            header.set_path(path).unwrap();
            header.set_entry_type(if path.ends_with('/') {
                EntryType::Directory
            } else {
                EntryType::Regular
            });
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// What comes of these bytes: paths and labels, or why not.
    fn read(bytes: &[u8], status: u8) -> Result<(Vec<String>, Labels), String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        let script = format!("cat '{}'; exit {status}", file.path().display());
        let program = Program::new(["sh", "-c", &script].map(str::to_owned).to_vec());
        let start = |program: &Program| Running::start(program, &Control::default(), &silent()).unwrap();
        let slot = start(&Program::new(["sleep", "60"].map(str::to_owned).to_vec()));
        let told = Told::default();
        let last: Last = Box::new(|| Ok(Labels { time_stop: Some("then".to_owned()), ..Labels::default() }));
        let mut streamed = Streamed::new(start(&program), slot, (7, 8), Told::clone(&told), last);
        let (mut paths, mut buffer) = (Vec::new(), Vec::new());
        while let Some(fed) = streamed.next().map_err(|error| error.to_string())? {
            assert_eq!((fed.uid, fed.gid), (7, 8));
            paths.push(String::from_utf8(fed.path).unwrap());
            buffer.clear();
            // Some are read, others are passed over.
            if paths.len().is_multiple_of(2) {
                streamed.read(&mut buffer, 1 << 20).map_err(|error| error.to_string())?;
            }
        }
        let labels = told.lock().unwrap().clone();
        Ok((paths, labels))
    }

    const LABELLED: &[u8] = b"START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\n";

    #[test]
    fn a_backup_is_whole_or_it_is_none() {
        let log = vec![7; 1 << 20];
        let files: Vec<(&str, &[u8])> = vec![
            (LABEL, LABELLED),
            ("base/", b""),
            ("./base/1/", b""),
            ("base/1/2", &[9; 70_000]),
            ("PG_VERSION", b"15\n"),
        ];
        let real: Vec<(&str, &[u8])> =
            files.iter().copied().filter(|(path, _)| !path.ends_with('/')).collect();
        let list_of_all = list(&real);
        let with = |more: &[(&'static str, &[u8])]| {
            let all: Vec<(&str, &[u8])> = files.iter().copied().chain(more.iter().copied()).collect();
            tar(&all)
        };
        let range = "0/4000028";
        assert!(String::from_utf8_lossy(&list_of_all).contains(range));
        // A segment of one MiB: number 64 of the log.
        let segment = "pg_wal/000000010000000000000040";
        let whole = with(&[(segment, &log), (MANIFEST, &list_of_all)]);
        let (paths, labels) = read(&whole, 0).unwrap();
        assert_eq!(paths.len(), 8);
        assert!(paths[0].is_empty() && paths.contains(&"base/1".to_owned()));
        assert_eq!(labels.lsn_start.as_deref(), Some(range));
        assert_eq!(labels.lsn_stop.as_deref(), Some("0/4000100"));
        assert_eq!(labels.time_stop.as_deref(), Some("then"));
        // The tool failed, though all came.
        assert!(read(&whole, 1).unwrap_err().contains("status 1"));
        // A bit, in a file, in a header, in the list.
        let flip = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            read(&bytes, 0).unwrap_err()
        };
        let place = |what: &[u8]| whole.windows(what.len()).position(|window| window == what).unwrap();
        assert!(flip(place(&[9; 100]) + 50).contains("`base/1/2` does not have its checksum"));
        assert!(flip(place(b"PG_VERSION")).contains("header"));
        assert!(
            flip(place(b"Timeline")).contains("cannot be read")
                || flip(place(b"Timeline")).contains("checksum")
        );
        // Its end is missing, in the midst of a file or before the list.
        for cut in [600, whole.len() / 2, whole.len() - 2048] {
            assert!(read(&whole[..cut], 0).is_err(), "{cut}");
        }
        assert!(read(&with(&[(segment, &log)]), 0).is_err());
        // A file too many, one too few, no log, another log, one half of it.
        for (more, says) in [
            (vec![("base/x", &b"x"[..]), (segment, &log[..])], "are listed"),
            (vec![], "its log did not come"),
            (vec![(SEGMENT, &log[..])], "did not come whole"),
            (vec![(segment, &log[..1000])], "its log did not come"),
        ] {
            let more: Vec<_> = more.into_iter().chain([(MANIFEST, &list_of_all[..])]).collect();
            let why = read(&with(&more), 0).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        let fewer = tar(&[(LABEL, LABELLED), (segment, &log), (MANIFEST, &list_of_all)]);
        assert!(read(&fewer, 0).unwrap_err().contains("is listed and did not come"));
        // What leads out of its folder.
        let mut out = with(&[("base/XX/PG", b"")]);
        let at = out.windows(10).position(|window| window == b"base/XX/PG").unwrap();
        out[at + 5..at + 7].copy_from_slice(b"..");
        assert!(read(&out, 0).is_err());
    }
}
