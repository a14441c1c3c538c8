//! Trees that change at random, and come back from their increments as they were.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use backplan_archive::artefact::Codec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use rustix::fs::XattrFlags;

use crate::increments::mode;
use crate::support::moments::Moments;
use crate::support::noise;

#[derive(Debug, Clone)]
enum Step {
    Write(String, u16, u64),
    /// Some bytes of a file, or more at its end, or less.
    Patch(String, u32, u16, u64),
    Remove(String),
    Rename(String, String),
    Link(String, String),
    Symlink(String),
    Folder(String),
    Mode(String, bool),
    Attribute(String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a.b"), Just("c")];
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<u16>(), any::<u64>()).prop_map(|(path, size, seed)| Step::Write(path, size, seed)),
        4 => (path(), any::<u32>(), any::<u16>(), any::<u64>())
            .prop_map(|(path, at, len, seed)| Step::Patch(path, at, len, seed)),
        2 => path().prop_map(Step::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => path().prop_map(Step::Symlink),
        1 => path().prop_map(Step::Folder),
        1 => (path(), any::<bool>()).prop_map(|(path, wide)| Step::Mode(path, wide)),
        1 => path().prop_map(Step::Attribute),
    ]
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(seen) if seen.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Makes way for something at a path: folders above it, nothing there.
fn room(top: &Path, path: &str) {
    let mut above = top.to_path_buf();
    for name in Path::new(path).parent().unwrap() {
        above.push(name);
        if !above.symlink_metadata().is_ok_and(|seen| seen.is_dir()) {
            remove(&above);
            fs::create_dir(&above).unwrap();
        }
    }
    remove(&top.join(path));
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|seen| seen.is_file())
}

fn apply(top: &Path, step: &Step) {
    match step {
        Step::Write(path, size, seed) => {
            // Some larger than a member.
            let size = usize::from(*size) * if seed % 8 == 0 { 20 } else { 1 };
            if !is_file(&top.join(path)) || seed % 2 == 0 {
                room(top, path);
            }
            fs::write(top.join(path), noise(size, *seed)).unwrap();
        }
        Step::Patch(path, at, len, seed) if is_file(&top.join(path)) => {
            let mut bytes = fs::read(top.join(path)).unwrap();
            let at = *at as usize % (bytes.len() + 1);
            match seed % 7 {
                5 => drop(bytes.drain(at..(at + usize::from(*len)).min(bytes.len()))),
                6 => drop(bytes.splice(at..at, noise(usize::from(*len), *seed))),
                0 => bytes.truncate(at),
                1 => bytes.extend(noise(usize::from(*len) * 20, *seed)),
                _ => {
                    let new = noise(usize::from(*len).min(bytes.len() - at), *seed);
                    bytes[at..at + new.len()].copy_from_slice(&new);
                }
            }
            fs::write(top.join(path), bytes).unwrap();
        }
        Step::Patch(..) => {}
        Step::Remove(path) => remove(&top.join(path)),
        Step::Rename(from, to) if top.join(from).exists() && !Path::new(to).starts_with(from) => {
            let kept = top.join("kept aside");
            fs::rename(top.join(from), &kept).unwrap();
            room(top, to);
            fs::rename(&kept, top.join(to)).unwrap();
        }
        Step::Link(from, to) if is_file(&top.join(from)) && from != to => {
            let kept = top.join("kept aside");
            fs::hard_link(top.join(from), &kept).unwrap();
            room(top, to);
            fs::rename(&kept, top.join(to)).unwrap();
            remove(&kept);
        }
        Step::Rename(..) | Step::Link(..) => {}
        Step::Symlink(path) => {
            room(top, path);
            symlink("a/b", top.join(path)).unwrap();
        }
        Step::Folder(path) => {
            room(top, path);
            fs::create_dir(top.join(path)).unwrap();
        }
        Step::Mode(path, wide) => {
            if top.join(path).symlink_metadata().is_ok_and(|seen| !seen.is_symlink()) {
                mode(&top.join(path), if *wide { 0o755 } else { 0o700 });
            }
        }
        Step::Attribute(path) => {
            if is_file(&top.join(path)) {
                rustix::fs::setxattr(top.join(path), "user.x", b"1", XattrFlags::empty()).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_comes_back_from_every_shape(
        first in prop::collection::vec(step(), 5..40),
        later in prop::collection::vec(prop::collection::vec(step(), 0..8), 2..6),
        padded in any::<bool>(),
        blocks in any::<bool>(),
        zstd in any::<bool>(),
    ) {
        let mut moments = Moments::new(|top| first.iter().for_each(|step| apply(top, step)));
        moments.share_blocks = padded;
        moments.blocks = blocks;
        moments.codec = if zstd { Codec::Zstd } else { Codec::Gzip };
        let tree = moments.tree();
        moments.with_tar = false;
        moments.check();
        for (number, steps) in later.iter().enumerate() {
            steps.iter().for_each(|step| apply(&tree, step));
            moments.with_tar = number + 1 == later.len();
            moments.check();
        }
    }
}
