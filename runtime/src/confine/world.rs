//! A tree of mounts in which nothing can be written but some folders, and in which some are others than outside.
//!
//! It is built beside the one that is seen: a root of its own, with all that is in `/` bound into it. Where a path is to
//! be found that is nowhere outside, the last folder on the way to it that is there is replaced by an empty one, with all
//! that was in it bound into that. Then everything is made read-only but what may be written, and the old root is let go.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use super::Confinement;
use super::inside::{Trouble, failed};

/// Links that a path may lead over.
const LINKS: usize = 40;
/// Where shared memory is: its own.
const SHARED_MEMORY: &str = "/dev/shm";

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// As far as there is something, without links.
    there: PathBuf,
    /// What is missing below it.
    missing: PathBuf,
}

/// Something that is bound to a place.
struct Seat {
    at: Place,
    with: PathBuf,
}

struct World<'a> {
    root: &'a Path,
    /// Folders of it that are its own, with what is outside bound into them one by one.
    open: BTreeSet<PathBuf>,
}

/// Enters a world in which nothing but what is wanted can be written. Of a process with a mount namespace of its own.
pub(super) fn enter(wanted: &Confinement) -> Result<(), Trouble> {
    let place = fs::canonicalize(&wanted.place).map_err(failed(wanted.place.display()))?;
    // What happens here is seen by nobody else.
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", all).map_err(failed("mounts cannot be made one's own"))?;
    empty(&place, c"mode=755")?;
    // It is bound with nothing that it lies in.
    mount_change(&place, MountPropagationFlags::UNBINDABLE).map_err(failed(place.display()))?;
    let mut world = World { root: &place, open: BTreeSet::from([PathBuf::from("/")]) };
    world.fill(Path::new("/"))?;
    let seats = seats(wanted)?;
    for seat in &seats {
        world.seat(seat)?;
    }
    let mut free: Vec<PathBuf> = seats.iter().map(|seat| world.inside(&seat.at.path())).collect();
    if Path::new(SHARED_MEMORY).is_dir() {
        let memory = world.inside(Path::new(SHARED_MEMORY));
        empty(&memory, c"mode=1777")?;
        free.push(memory);
    }
    seal(&place, &free)?;
    settle(&place)
}

impl Place {
    fn path(&self) -> PathBuf {
        // Nothing missing: no slash at the end.
        if self.missing.as_os_str().is_empty() { self.there.clone() } else { self.there.join(&self.missing) }
    }
}

/// What is bound where, from the root downwards: what lies in another is bound after it.
fn seats(wanted: &Confinement) -> Result<Vec<Seat>, Trouble> {
    let mut seats = Vec::new();
    let own = wanted.own.iter().map(|own| (own, own));
    for (at, with) in own.chain(wanted.covers.iter().map(|cover| (&cover.at, &cover.with))) {
        let with = fs::canonicalize(with).map_err(failed(with.display()))?;
        seats.push(Seat { at: resolve(at).map_err(failed(at.display()))?, with });
    }
    seats.sort_by_key(|seat| seat.at.path().components().count());
    Ok(seats)
}

impl World<'_> {
    /// Where a path of the outside is in this world, seen from outside.
    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn seat(&mut self, seat: &Seat) -> Result<(), Trouble> {
        let Place { there, missing } = &seat.at;
        if !missing.as_os_str().is_empty() {
            self.open(there)?;
        }
        let at = self.inside(&seat.at.path());
        // Missing here, and not outside, is what lies in something that was covered: that is the program's own.
        if fs::symlink_metadata(&at).is_err() {
            fs::create_dir_all(&at).map_err(failed(at.display()))?;
        }
        mount_bind_recursive(&seat.with, &at).map_err(failed(at.display()))
    }

    /// Makes a folder one of this world, in which others can be made.
    fn open(&mut self, folder: &Path) -> Result<(), Trouble> {
        if self.open.insert(folder.to_path_buf()) {
            empty(&self.inside(folder), c"mode=755")?;
            self.fill(folder)?;
        }
        Ok(())
    }

    /// Binds all that is in a folder outside.
    fn fill(&self, folder: &Path) -> Result<(), Trouble> {
        for entry in fs::read_dir(folder).map_err(failed(folder.display()))? {
            let entry = entry.map_err(failed(folder.display()))?;
            let (from, to) = (entry.path(), self.inside(&entry.path()));
            match bind(&from, &to, from == self.root) {
                // It went meanwhile, or may not be entered, and then not by the program.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
                bound => bound.map_err(failed(from.display()))?,
            }
        }
        Ok(())
    }
}

/// Makes the same thing there: what a link says, or the thing itself.
fn bind(from: &Path, to: &Path, is_hidden: bool) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
    } else {
        File::create_new(to)?;
    }
    if is_hidden { Ok(()) } else { Ok(mount_bind_recursive(from, to)?) }
}

fn empty(at: &Path, options: &std::ffi::CStr) -> Result<(), Trouble> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("backplan", at, "tmpfs", flags, options).map_err(failed(at.display()))
}

/// Follows a path as far as there is something.
fn resolve(path: &Path) -> io::Result<Place> {
    let mut place = Place { there: PathBuf::from("/"), missing: PathBuf::new() };
    let (mut rest, mut links) = (names(path), 0);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            if !place.missing.pop() {
                place.there.pop();
            }
            continue;
        }
        let next = place.there.join(&name);
        let is_there = place.missing.as_os_str().is_empty();
        match if is_there { fs::symlink_metadata(&next) } else { Err(io::ErrorKind::NotFound.into()) } {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error()));
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    place.there = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            }
            Ok(found) if found.is_dir() || rest.is_empty() => place.there = next,
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => place.missing.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok(place)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// Makes all mounts below `root` read-only, but those at or below what is `free`.
fn seal(root: &Path, free: &[PathBuf]) -> Result<(), Trouble> {
    let text = fs::read("/proc/self/mountinfo").map_err(failed("/proc/self/mountinfo"))?;
    let mounts = text.split(|byte| *byte == b'\n').filter_map(mounted);
    for (at, kept) in mounts.filter(|(at, _)| at.starts_with(root)) {
        if free.iter().any(|free| at.starts_with(free)) {
            continue;
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | kept;
        if let Err(error) = mount_remount(&at, flags, c"") {
            // What cannot be made harmless (the mount of a program that hangs, say) goes.
            unmount(&at, UnmountFlags::DETACH).map_err(|_| failed(at.display())(error))?;
        }
    }
    Ok(())
}

/// A line of the table of mounts: where it is, and what must not be lost when it is changed. Those about times stay by
/// themselves.
fn mounted(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut words = line.split(|byte| *byte == b' ').skip(4);
    let at = PathBuf::from(OsStr::from_bytes(&plain(words.next()?)));
    let mut kept = MountFlags::empty();
    for option in words.next()?.split(|byte| *byte == b',') {
        kept |= match option {
            b"nosuid" => MountFlags::NOSUID,
            b"nodev" => MountFlags::NODEV,
            b"noexec" => MountFlags::NOEXEC,
            _ => MountFlags::empty(),
        };
    }
    Some((at, kept))
}

/// A path of that table: blanks and backslashes are in it as `\040`.
fn plain(word: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(word.len()), word);
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                plain.push(code);
                rest = &behind[3..];
            }
            _ => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

/// Makes this world the only one that there is for this process.
fn settle(root: &Path) -> Result<(), Trouble> {
    rustix::process::chdir(root).map_err(failed(root.display()))?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH).map_err(failed("the old root"))?,
        // The root is none that can be exchanged: that of a `chroot`, or the first of all.
        Err(rustix::io::Errno::INVAL) => rustix::process::chroot(".").map_err(failed(root.display()))?,
        Err(error) => return Err(failed("the root")(error)),
    }
    rustix::process::chdir("/").map_err(failed("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_followed_as_far_as_there_is_something() {
        let scratch = tempfile::tempdir().unwrap();
        let here = scratch.path().canonicalize().unwrap();
        let at = |below: &str| here.join(below);
        fs::create_dir(at("a")).unwrap();
        File::create(at("a/file")).unwrap();
        symlink("a", at("near")).unwrap();
        symlink(at("gone/b"), at("far")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let place = |below: &str| {
            let place = resolve(&at(below)).unwrap();
            (place.there.strip_prefix(&here).unwrap().to_path_buf(), place.missing)
        };
        let pair = |there: &str, missing: &str| (PathBuf::from(there), PathBuf::from(missing));
        assert_eq!(place("near/../a"), pair("a", ""));
        assert_eq!(place("near/file"), pair("a/file", ""));
        assert_eq!(place("far/c"), pair("", "gone/b/c"));
        assert_eq!(place("x/../y/z"), pair("", "y/z"));
        assert_eq!(resolve(&at("a/file/x")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert!(resolve(&at("loop")).is_err());
        assert_eq!(resolve(Path::new("/")).unwrap().path(), Path::new("/"));
    }

    #[test]
    fn the_table_of_mounts_is_read_with_its_escapes() {
        let line = br"36 35 98:0 / /mnt/a\040b\134 rw,nosuid,noexec,relatime shared:1 - ext4 /dev/x rw";
        let (at, kept) = mounted(line).unwrap();
        assert_eq!(at, Path::new(r"/mnt/a b\"));
        assert_eq!(kept, MountFlags::NOSUID | MountFlags::NOEXEC);
        assert!(mounted(b"").is_none());
    }
}
