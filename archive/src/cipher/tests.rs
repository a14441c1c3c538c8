//! What is encrypted here opens with the `age` crate and the other way round, at every edge of a chunk; what is damaged, cut,
//! moved or exchanged does not open at all.

#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::Arc;

use age::x25519::Identity;

use super::chunks::{CHUNK, SEALED, plain_len, sealed_len};
use super::head::{HEAD_LIKELY, mark, recipient};
use super::keyring::{Ask, Keyring, NoOne, Passphrase};
use super::seal::{Act, Seal};
use super::unseal::{UnsealError, Unsealed};
use crate::artefact::{Codec, ReadAt};

const RUN: &str = "00000001-20261120T023000Z-k7f3qa";

struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let from = (offset as usize).min(self.0.len());
        Ok(self.0[from..(from + len).min(self.0.len())].to_vec())
    }
}

fn key() -> (Keyring, String) {
    use age_core::secrecy::ExposeSecret;
    let identity = Identity::generate();
    let mut ring = Keyring::default();
    ring.add("test", identity.to_string().expose_secret().as_bytes(), &NoOne).unwrap();
    (ring, identity.to_public().to_string())
}

/// Bytes that differ from chunk to chunk.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at % 251) as u8).collect()
}

fn act(file: &mut Vec<u8>, act: Act) {
    match act {
        Act::Write(bytes) => file.extend(bytes),
        Act::Hold(_) => {}
        Act::Patch(offset, bytes) => file[offset as usize..][..bytes.len()].copy_from_slice(&bytes),
    }
}

/// Encrypts, in pieces of `piece` bytes.
fn sealed(to: &str, plain: &[u8], piece: usize) -> Vec<u8> {
    let (mut seal, head) = Seal::start(&[to.to_owned()], RUN).unwrap();
    let mut file = Vec::new();
    act(&mut file, head);
    for piece in plain.chunks(piece) {
        seal.write(piece).unwrap().into_iter().for_each(|one| act(&mut file, one));
    }
    let (last, size) = seal.finish().unwrap();
    file.extend(last);
    assert_eq!(size, file.len() as u64);
    file
}

fn open(file: &[u8], ring: &Keyring) -> Result<Unsealed, UnsealError> {
    Unsealed::open(Arc::new(Memory(file.to_vec())), ring)
}

fn all(file: &[u8], ring: &Keyring) -> Option<Vec<u8>> {
    let opened = open(file, ring).ok()?;
    opened.read_at(0, opened.size().unwrap() as usize).ok()
}

#[test]
fn every_range_at_every_edge_reads_as_it_was_written() {
    let (ring, to) = key();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
        let plain = bytes(len);
        let file = sealed(&to, &plain, 10_007);
        let opened = open(&file, &ring).unwrap();
        assert_eq!(opened.size().unwrap(), len as u64);
        assert_eq!(opened.run(), Some(RUN));
        let edges =
            [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 7, len, len + 1];
        for from in edges {
            for wanted in [0, 1, 2, CHUNK, CHUNK + 2, 3 * CHUNK] {
                let expected = &plain[from.min(len)..(from + wanted).min(len)];
                assert_eq!(
                    opened.read_at(from as u64, wanted).unwrap(),
                    expected,
                    "{len}: {wanted} from {from}"
                );
            }
        }
        let payload = sealed_len(len as u64);
        assert_eq!(plain_len(payload), Some(len as u64));
        assert!(file.len() as u64 > payload);
    }
    for none in [0, 15, SEALED as u64 + 1, SEALED as u64 + 16] {
        assert_eq!(plain_len(none), None, "{none}");
    }
}

#[test]
fn the_age_crate_reads_it_and_is_read() {
    use age_core::secrecy::ExposeSecret;
    let identity = Identity::generate();
    let to = identity.to_public();
    let mut ring = Keyring::default();
    ring.add("test", identity.to_string().expose_secret().as_bytes(), &NoOne).unwrap();
    for len in [0, 5, CHUNK, 3 * CHUNK + 5] {
        let plain = bytes(len);
        let file = sealed(&to.to_string(), &plain, 4096);
        assert_eq!(age::decrypt(&identity, &file).unwrap(), plain);
        let mut theirs = Vec::new();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&to as &dyn age::Recipient)).unwrap();
        let mut writer = encryptor.wrap_output(&mut theirs).unwrap();
        writer.write_all(&plain).unwrap();
        writer.finish().unwrap();
        assert_eq!(all(&theirs, &ring).unwrap(), plain);
        assert_eq!(mark(&theirs), None, "it is nobody's artefact");
    }
}

#[test]
fn what_is_held_is_patched_wherever_it_lies() {
    let (ring, to) = key();
    for at in [0, 7, CHUNK - 600, CHUNK - 1, CHUNK, 3 * CHUNK - 2] {
        for behind in [0, 1, CHUNK, 3 * CHUNK] {
            let (before, patch) = (bytes(at), vec![0xAB; 1200]);
            let (mut seal, head) = Seal::start(std::slice::from_ref(&to), RUN).unwrap();
            let mut file = Vec::new();
            act(&mut file, head);
            let mut sent = file.clone();
            let mut apply = |acts: Vec<Act>| {
                for one in acts {
                    if let Act::Write(bytes) = &one {
                        sent.extend_from_slice(bytes);
                    }
                    act(&mut file, one);
                }
            };
            apply(seal.write(&before).unwrap());
            seal.hold(1200);
            apply(seal.write(&[0; 1200]).unwrap());
            apply(seal.write(&bytes(behind)).unwrap());
            assert!(seal.patch(at as u64 + 1, &[1; 1200]).is_err(), "not what was held");
            apply(seal.patch(at as u64, &patch).unwrap().into_iter().collect());
            assert!(seal.patch(at as u64, &patch).is_err(), "once only");
            apply(seal.write(&bytes(10)).unwrap());
            file.extend(seal.finish().unwrap().0);
            let expected = [before, patch, bytes(behind), bytes(10)].concat();
            assert!(all(&file, &ring).unwrap() == expected, "{at}, {behind}");
        }
    }
    // What is never patched is never finished.
    let (mut seal, _) = Seal::start(&[to], RUN).unwrap();
    seal.hold(10);
    seal.write(&[0; 10]).unwrap();
    assert!(seal.finish().is_err());
}

/// Counts what is read.
struct Counted(Memory, std::sync::atomic::AtomicUsize);

impl ReadAt for Counted {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.read_at(offset, len)
    }
}

#[test]
fn an_artefact_that_is_encrypted_gives_one_file_with_a_few_reads() {
    use crate::artefact::{Artefact, Content, Expected, Input, PackOptions, Shape, Sink, SinkError, pack};
    use backplan_host::control::Control;

    #[derive(Default)]
    struct Kept(Vec<u8>);
    impl Sink for Kept {
        fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
            self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    let (ring, to) = key();
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        let noise: Vec<u8> =
            bytes(700_000).iter().map(|byte| byte.wrapping_mul(193) ^ name.as_bytes()[0]).collect();
        std::fs::write(folder.path().join(name), noise).unwrap();
    }
    let file = |name: &str| Input {
        source: name.to_owned(),
        content: Content::File { path: folder.path().join(name), name: name.to_owned() },
    };
    let stream = Input {
        source: "told".to_owned(),
        content: Content::Stream {
            reader: Box::new(io::Cursor::new(bytes(300_000))),
            name: "told".to_owned(),
            mtime: std::time::SystemTime::now(),
            mode: 0o600,
        },
    };
    let options = PackOptions {
        level: 0,
        run: RUN.to_owned(),
        scratch: folder.path().to_path_buf(),
        workers: Some(2),
        shape: Shape::Whole { copy_from: None },
        share_blocks: false,
        grains: None,
        codec: Codec::Gzip,
        is_copied: false,
        deleted: None,
        recipients: vec![to],
    };
    let mut kept = Kept::default();
    let inputs = names.map(file).into_iter().chain([stream]).collect();
    let packed = pack(inputs, &options, &mut kept, &Control::default()).unwrap();
    assert_eq!(packed.size, kept.0.len() as u64);
    assert!(!kept.0.windows(5).any(|window| window == b"ustar"), "nothing of the tar shows");
    let object = Arc::new(Counted(Memory(kept.0), 0.into()));
    let opened = Arc::new(Unsealed::open(Arc::clone(&object) as Arc<dyn ReadAt>, &ring).unwrap());
    let expected = Expected { size: opened.size().unwrap(), root: packed.root, index: packed.index };
    let artefact = Artefact::open(opened, Some(&expected)).unwrap();
    let entry = artefact.find(b"b/b").unwrap().unwrap();
    let mut found = Vec::new();
    artefact.cat(&entry, &mut found, &Control::default()).unwrap();
    assert_eq!(found, std::fs::read(folder.path().join("b")).unwrap());
    // The header, the table, a block of entries, and of a large file the list of members and its two members.
    assert_eq!(object.1.load(std::sync::atomic::Ordering::Relaxed), 6);
    let told = artefact.find(b"told/told").unwrap().unwrap();
    let mut found = Vec::new();
    artefact.cat(&told, &mut found, &Control::default()).unwrap();
    assert!(found == bytes(300_000), "its header was patched at the end");
}

#[test]
fn a_chunk_that_is_held_leaves_only_once() {
    let (_, to) = key();
    let (mut seal, _) = Seal::start(&[to], RUN).unwrap();
    seal.write(b"before").unwrap();
    seal.hold(100);
    let acts = seal.write(&bytes(2 * CHUNK + 1)).unwrap();
    let [Act::Hold(len), Act::Write(place), Act::Write(_)] = &acts[..] else { panic!("{}", acts.len()) };
    assert_eq!(*len, SEALED as u64);
    assert!(place.iter().all(|byte| *byte == 0), "nothing of it is encrypted before it is whole");
}

#[test]
fn damage_cuts_swaps_and_doubles_are_found() {
    let (ring, to) = key();
    let plain = bytes(3 * CHUNK + 100);
    let file = sealed(&to, &plain, CHUNK);
    let head = file.len() - sealed_len(plain.len() as u64) as usize;
    assert_eq!(all(&file, &ring).unwrap(), plain);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = file.clone();
        change(&mut file);
        file
    };
    let chunk = |number: usize| head + number * SEALED..head + (number + 1) * SEALED;
    let swapped = changed(&|file| {
        let second = file[chunk(1)].to_vec();
        let first: Vec<u8> = file.splice(chunk(0), second).collect();
        file.splice(chunk(1), first);
    });
    let doubled = changed(&|file| {
        let first = file[chunk(0)].to_vec();
        file.splice(chunk(1), first);
    });
    let other = sealed(&to, &plain, CHUNK);
    let anothers = changed(&|file| {
        file.truncate(head);
        file.extend_from_slice(&other[other.len() - sealed_len(plain.len() as u64) as usize..]);
    });
    for (what, bad) in [
        ("a bit", changed(&|file| file[head + SEALED + 5] ^= 1)),
        ("the last byte", changed(&|file| *file.last_mut().unwrap() ^= 1)),
        ("cut in a chunk", changed(&|file| file.truncate(head + SEALED + 500))),
        ("cut behind a chunk", changed(&|file| file.truncate(head + 2 * SEALED))),
        ("cut to nothing", changed(&|file| file.truncate(head))),
        ("cut in a tag", changed(&|file| file.truncate(head + SEALED + 9))),
        ("a chunk left out", changed(&|file| drop(file.splice(chunk(1), [])))),
        ("chunks swapped", swapped),
        ("a chunk twice", doubled),
        ("something behind", changed(&|file| file.push(0))),
        ("another file's payload", anothers),
        ("the mark", changed(&|file| file[40] ^= 1)),
        ("the nonce", changed(&|file| file[head - 1] ^= 1)),
        ("the header cut", changed(&|file| file.truncate(60))),
    ] {
        assert!(all(&bad, &ring).is_none(), "{what}");
    }
    // What lies before the damage is still read.
    let damaged = changed(&|file| file[head + SEALED + 5] ^= 1);
    assert_eq!(open(&damaged, &ring).unwrap().read_at(0, CHUNK).unwrap(), &plain[..CHUNK]);
}

#[test]
fn a_header_that_was_tampered_with_does_not_open() {
    let (ring, to) = key();
    let (other, to_other) = key();
    let file = sealed(&to, b"contents", 100);
    assert_eq!(mark(&file), Some(RUN));
    assert!(matches!(open(&file, &other), Err(UnsealError::NoKey)));
    assert!(matches!(open(&file, &Keyring::default()), Err(UnsealError::NoKey)));
    // Another run in the mark: for who has no key it is that run's; whoever opens it finds out.
    let forged = {
        let mut forged = file.clone();
        let at = forged.windows(RUN.len()).position(|window| window == RUN.as_bytes()).unwrap();
        forged[at + 7] = b'2';
        forged
    };
    assert_eq!(mark(&forged), Some("00000002-20261120T023000Z-k7f3qa"));
    assert!(matches!(open(&forged, &ring), Err(UnsealError::Damaged(what)) if what.contains("changed")));
    // A recipient more, taken from another file.
    let theirs = sealed(&to_other, b"contents", 100);
    let stanza = |file: &[u8]| {
        let text = String::from_utf8_lossy(file).into_owned();
        let from = text.find("-> X25519").unwrap();
        file[from..text.find("---").unwrap()].to_vec()
    };
    let mut forged = file.clone();
    let at = String::from_utf8_lossy(&file).find("---").unwrap();
    forged.splice(at..at, stanza(&theirs));
    assert!(matches!(open(&forged, &ring), Err(UnsealError::Damaged(_))));
    for junk in [&b""[..], b"BACKPLAN", b"age-encryption.org/v1\n", b"age-encryption.org/v9\n-> x\n\n--- \n"]
    {
        assert!(matches!(open(junk, &ring), Err(UnsealError::Damaged(_))), "{}", junk.escape_ascii());
    }
    for none in
        [&b"age-encryption.org/v1\n-> X25519 a\n"[..], b"age-encryption.org/v1\n-> backplan a b\n\n", b"x"]
    {
        assert_eq!(mark(none), None, "{}", none.escape_ascii());
    }
}

#[test]
fn many_recipients_open_each_by_themselves() {
    let keys: Vec<(Keyring, String)> = (0..60).map(|_| key()).collect();
    let all_keys: Vec<String> = keys.iter().map(|(_, to)| to.clone()).collect();
    let (seal, head) = Seal::start(&all_keys, RUN).unwrap();
    let too_many = vec![all_keys[0].clone(); 5000];
    assert!(Seal::start(&too_many, RUN).is_err(), "who reads takes no more than so many");
    let mut file = Vec::new();
    act(&mut file, head);
    assert!(file.len() > HEAD_LIKELY, "the header is longer than what is read at first");
    file.extend(seal.finish().unwrap().0);
    for (ring, to) in &keys {
        assert_eq!(all(&file, ring).unwrap(), b"");
        assert!(ring.fits(std::slice::from_ref(to)) && !ring.fits(&["age1other".to_owned()]));
    }
}

#[test]
fn recipients_that_are_none_say_what_is_wrong() {
    let (_, to) = key();
    recipient(&to).unwrap();
    let other = if to.ends_with('x') { 'y' } else { 'x' };
    for (text, why) in [
        (format!("{}{other}", &to[..to.len() - 1]), "a character is wrong"),
        (to[..40].to_owned(), "a character is wrong"),
        ("ssh-ed25519 AAAAnonsense".to_owned(), "a character is wrong"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==".to_owned(), "ecdsa"),
    ] {
        let error = recipient(&text).err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// Answers one after the other.
struct Answers(std::cell::RefCell<Vec<&'static str>>);

impl Ask for Answers {
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        self.0.borrow_mut().pop().map(Passphrase::from)
    }
}

#[test]
fn a_file_of_keys_is_read_and_nothing_of_it_is_told() {
    use age_core::secrecy::ExposeSecret;
    let identity = Identity::generate();
    let secret = identity.to_string().expose_secret().to_owned();
    let mut ring = Keyring::default();
    ring.add("id", format!("# made today\n\n{secret}\n").as_bytes(), &NoOne).unwrap();
    assert_eq!(ring.publics().collect::<Vec<_>>(), [identity.to_public().to_string()]);
    assert!(!format!("{ring:?}").contains(&secret));
    // Under a passphrase, which is asked for again where it is wrong.
    let mut under = Vec::new();
    let mut recipient = age::scrypt::Recipient::new(Passphrase::from("right"));
    recipient.set_work_factor(2);
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut writer = encryptor.wrap_output(&mut under).unwrap();
    writer.write_all(secret.as_bytes()).unwrap();
    writer.finish().unwrap();
    let ask = |answers: &[&'static str]| Answers(answers.iter().rev().copied().collect::<Vec<_>>().into());
    Keyring::default().add("id", &under, &ask(&["wrong", "right"])).unwrap();
    let long = secret[..secret.len() - 1].to_owned();
    for (text, answers, why) in [
        (&under[..], &["a", "b", "c", "right"][..], "the passphrase is wrong"),
        (&under[..], &[], "no terminal"),
        (b"", &[], "no private key in it"),
        (b"# nothing\n", &[], "no private key in it"),
        (long.as_bytes(), &[], "line 1 is no private key"),
        (identity.to_public().to_string().as_bytes(), &[], "a public key"),
        (b"\xff\xfe", &[], "no text"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nnonsense\n-----END RSA PRIVATE KEY-----\n", &[], "no SSH key"),
        (b"age-encryption.org/v1\nnonsense", &[], "damaged"),
    ] {
        let error = Keyring::default().add("id", text, &ask(answers)).unwrap_err().to_string();
        assert!(error.starts_with("identity `id`: ") && error.contains(why), "{error}");
        assert!(!error.to_uppercase().contains(&secret[..30]), "{error}");
    }
    let mut armoured = Vec::new();
    let mut writer =
        age::armor::ArmoredWriter::wrap_output(&mut armoured, age::armor::Format::AsciiArmor).unwrap();
    writer.write_all(&under).unwrap();
    writer.finish().unwrap();
    Keyring::default().add("id", &armoured, &ask(&["right"])).unwrap();
}
