//! What is mounted where. One folder may be known under several names: a bind mount, two volumes of a container that are one
//! folder of its host. Under each of them it has a path in its file system, which is one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, fstatvfs, openat, statat, statx,
};
use rustix::io::Errno;

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// A link is seen itself.
    pub kind: FileType,
    /// Which mount it is of; `None` where the kernel (before 5.8) does not say of what is not open.
    pub mount: Option<u64>,
}

/// Looks at a name in a folder. Nothing is followed, and nothing mounted by looking.
///
/// # Errors
/// When nothing is there, or this account may not look.
pub fn seen(folder: impl AsFd, name: &OsStr) -> io::Result<Seen> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(&folder, name, flags, StatxFlags::TYPE | StatxFlags::MNT_ID) {
        Ok(found) => {
            let tells = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
            let kind = FileType::from_raw_mode(u32::from(found.stx_mode));
            Ok(Seen { kind, mount: tells.then_some(found.stx_mnt_id) })
        }
        // Unknown to the kernel, or to a filter around this process.
        Err(Errno::NOSYS | Errno::PERM) => {
            let found = statat(&folder, name, flags)?;
            Ok(Seen { kind: FileType::from_raw_mode(found.st_mode), mount: None })
        }
        Err(error) => Err(error.into()),
    }
}

/// The mount that something open is of: alike for two only if no mount is between them.
///
/// # Errors
/// Where the kernel does not tell.
pub fn mount_of(fd: impl AsFd) -> io::Result<u64> {
    if let Ok(Seen { mount: Some(mount), .. }) = seen_itself(&fd) {
        return Ok(mount);
    }
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    let number = told.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    number
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the kernel does not say what is mounted there; /proc must be there"))
}

/// Whether something open is of a mount that is nowhere any more, as it was unmounted while it was in use.
pub fn is_detached(fd: impl AsFd) -> bool {
    let Mounts(all) = Mounts::now();
    mount_of(fd).is_ok_and(|id| !all.is_empty() && all.iter().all(|mount| mount.id != id))
}

fn seen_itself(fd: impl AsFd) -> io::Result<Seen> {
    let found = statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    let tells = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    let kind = FileType::from_raw_mode(u32::from(found.stx_mode));
    Ok(Seen { kind, mount: tells.then_some(found.stx_mnt_id) })
}

/// All mounts of this process.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    id: u64,
    /// Major and minor number of the file system.
    device: String,
    /// What of the file system is mounted.
    root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The kind of file system: `ext4`.
    pub kind: String,
    /// What was mounted: a device, `server:/folder`, or any word.
    origin: String,
}

/// Kinds that hold nothing of anybody's, or what is elsewhere too: the system's own, and what container engines, packages and
/// automounters lay over folders.
const PASSING: [&str; 28] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

impl Mount {
    /// Whether what is in it may be missed once it is not mounted.
    pub fn is_lasting(&self) -> bool {
        !PASSING.contains(&self.kind.as_str())
    }

    /// What tells the file system from others of its kind, wherever and by whatever device it is mounted: alike for a snapshot
    /// of it. `None`: nothing does.
    pub fn identity(&self, of: impl AsFd) -> Option<String> {
        let own = self.own_identity(of);
        // A folder of it, bound to another place; a subvolume.
        match self.root == Path::new("/") {
            true => own,
            false => Some(format!("{}:{}", own.unwrap_or_default(), self.root.display())),
        }
    }

    fn own_identity(&self, of: impl AsFd) -> Option<String> {
        if self.kind.starts_with("ext") {
            return Some(format!("{:016x}", fstatvfs(of).ok()?.f_fsid));
        }
        let is_remote = self.origin.contains(":/") || self.origin.starts_with("//");
        if is_remote { Some(self.origin.clone()) } else { self.uuid() }
    }

    /// As udev tells it.
    fn uuid(&self) -> Option<String> {
        let listed = fs::read_dir("/dev/disk/by-uuid").ok()?.flatten();
        let is_own = |path: &Path| {
            let number = fs::metadata(path).ok().map(|device| device.rdev());
            number.is_some_and(|it| {
                format!("{}:{}", rustix::fs::major(it), rustix::fs::minor(it)) == self.device
            })
        };
        let mut listed = listed.map(|entry| entry.path());
        listed.find(|path| is_own(path))?.file_name()?.to_str().map(str::to_owned)
    }
}

/// Whether a file system is mounted at what was looked at; `None`: the kernel (before 5.8) does not say.
pub fn is_mount(seen: &Statx) -> Option<bool> {
    let tells = seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    tells.then(|| seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether a file system is mounted at a path; what cannot be told counts as one.
pub fn is_mounted(path: &Path) -> bool {
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
        Ok(seen) => is_mount(&seen).unwrap_or(true),
        Err(error) => !matches!(error, Errno::NOENT | Errno::NOTDIR),
    }
}

impl Mounts {
    /// As they are now; none where the system does not tell.
    pub fn now() -> Mounts {
        Mounts::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    /// proc_pid_mountinfo(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
    fn parse(text: &[u8]) -> Mounts {
        let parsed = text.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
            let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
            let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
            let mut text = || {
                Some(
                    String::from_utf8_lossy(unescaped(fields.next()?).as_os_str().as_encoded_bytes())
                        .into_owned(),
                )
            };
            let (kind, origin) = (text()?, text().unwrap_or_default());
            Some(Mount { id, device, root, point, kind, origin })
        });
        Mounts(parsed.collect())
    }

    /// The mount that something open is of.
    pub fn of(&self, fd: impl AsFd) -> Option<&Mount> {
        let id = mount_of(fd).ok()?;
        self.0.iter().find(|mount| mount.id == id)
    }

    /// Where something is in its file system, beneath the file system's number: `/253:0/srv/data`. `real` is absolute and leads
    /// through no link; what of it is not there yet is where it would be.
    pub fn in_file_system(&self, real: &Path) -> Option<PathBuf> {
        let there = real.ancestors().find(|path| path.symlink_metadata().is_ok())?;
        let fd = openat(CWD, there, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mount = self.of(&fd)?;
        let below = real.strip_prefix(&mount.point).ok()?;
        let inside = mount.root.strip_prefix("/").unwrap_or(&mount.root);
        Some(Path::new("/").join(&mount.device).join(inside).join(below))
    }
}

/// Blanks and the like are written as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &behind[3..];
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn mounts_are_read_with_their_odd_names() {
        let text =
            b"36 35 98:0 /mnt1 /mnt\\040a\\134b rw,noatime master:1 - ext3 /dev/my\\040root rw\nnonsense\n";
        let Mounts(all) = Mounts::parse(text);
        let mount = Mount {
            id: 36,
            device: "98:0".into(),
            root: "/mnt1".into(),
            point: "/mnt a\\b".into(),
            kind: "ext3".into(),
            origin: "/dev/my root".into(),
        };
        assert_eq!(all, [mount]);
    }

    #[test]
    fn what_is_not_there_yet_is_where_it_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let mounts = Mounts::now();
        let there = mounts.in_file_system(&real).unwrap();
        assert_eq!(mounts.in_file_system(&real.join("a/b")), Some(there.join("a/b")));
    }

    #[test]
    fn a_mount_is_told_by_what_is_open() {
        let root = openat(CWD, "/", OFlags::PATH, Mode::empty()).unwrap();
        let proc = openat(CWD, "/proc", OFlags::PATH, Mode::empty()).unwrap();
        assert_ne!(mount_of(&root).unwrap(), mount_of(&proc).unwrap());
        assert_eq!(seen(&root, OsStr::new("proc")).unwrap().mount, Some(mount_of(&proc).unwrap()));
    }
}
