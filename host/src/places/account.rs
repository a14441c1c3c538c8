//! Accounts of this machine, and doing something with the rights of another one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, getegid, geteuid, getgroups};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::keeper;

/// Where the program is that asks what else knows accounts, such as a directory service.
const GETENT: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];

/// The account with this number.
pub fn name_of(user: u32) -> Option<String> {
    let known = named(&fs::read_to_string("/etc/passwd").ok()?, user);
    known.or_else(|| named(&asked("passwd", &user.to_string())?, user))
}

fn named(text: &str, number: u32) -> Option<String> {
    let is_its = |line: &&str| line.split(':').nth(2).is_some_and(|text| text == number.to_string());
    text.lines().find(is_its)?.split(':').next().map(str::to_owned)
}

/// An account as messages call it.
pub fn called(user: u32) -> String {
    name_of(user).map_or_else(|| format!("the account {user}"), |name| format!("`{name}`"))
}

/// A group as messages call it.
pub fn group_called(group: u32) -> String {
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    let name = named(&text, group).or_else(|| named(&asked("group", &group.to_string())?, group));
    name.map_or_else(|| group.to_string(), |name| format!("`{name}`"))
}

/// This account, as `chown` takes it.
pub fn own_name() -> String {
    let own = geteuid().as_raw();
    name_of(own).unwrap_or_else(|| own.to_string())
}

/// User and group of an account.
///
/// # Errors
/// When the machine's own accounts cannot be read.
pub fn find(name: &str) -> io::Result<Option<(u32, u32)>> {
    let known = numbers(&fs::read_to_string("/etc/passwd")?, name);
    Ok(known.or_else(|| numbers(&asked("passwd", name)?, name)))
}

fn numbers(text: &str, name: &str) -> Option<(u32, u32)> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2).map_while(|field| field.parse().ok());
    fields.next().zip(fields.next())
}

/// What the system says of an account or a group, by name or number, wherever it has it from (NSS: LDAP, SSSD, systemd). `None`: it
/// knows none, or there is nothing to ask it with. The lines are as in the file; what they are of is for the caller to see, as a
/// name that is a number is taken for one.
fn asked(of: &str, key: &str) -> Option<String> {
    let program = GETENT.into_iter().find(|path| Path::new(path).is_file())?;
    let mut command = Command::new(program);
    command.args([of, "--", key]).env_clear().env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = keeper::spawn(&mut command, Signal::TERM).ok()?;
    let group = Pid::from_child(&child);
    let output = child.wait_with_output();
    keeper::release(group);
    let output = output.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// What is said of an account that is not there.
pub fn missing(name: &str) -> String {
    format!("there is no account `{name}` on this machine; mend `run_as`")
}

/// The accounts in a group, as the files of this machine have it, `None` for one that only a directory service knows. `None`: the
/// group is in no file.
pub fn members(group: u32) -> Option<Vec<Option<u32>>> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    members_in(&groups, &fs::read_to_string("/etc/passwd").ok()?, group)
}

fn members_in(groups: &str, accounts: &str, group: u32) -> Option<Vec<Option<u32>>> {
    let number = group.to_string();
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some(&number))?;
    let accounts: Vec<Vec<&str>> = accounts.lines().map(|line| line.split(':').collect()).collect();
    let user = |fields: &Vec<&str>| fields.get(2).and_then(|text| text.parse().ok());
    let listed = line.split(':').nth(3).unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let listed = listed.map(|name| accounts.iter().find(|fields| fields[0] == name).and_then(user));
    let own = accounts.iter().filter(|fields| fields.get(3) == Some(&number.as_str())).map(user);
    Some(listed.chain(own).collect())
}

/// Whether this process is in a group.
pub fn is_in(group: u32) -> bool {
    getegid().as_raw() == group
        || getgroups().is_ok_and(|groups| groups.into_iter().any(|other| other.as_raw() == group))
}

/// Does something to files with the rights of another account, so that the kernel lets it do no more than that account could: in
/// a folder of its own it may put anything in the place of anything. `None`, or not as root: with those of this process.
///
/// # Errors
/// Where the rights could not be given up; nothing was done then.
pub fn acting_as<T: Send>(account: Option<(u32, u32)>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some((user, group)) = account.filter(|_| geteuid().is_root()) else { return Ok(work()) };
    with_rights(user, group, &[group], work)
}

/// The first of these files that an account may not read, in all its groups, and why; not as root: that this process may not.
///
/// # Errors
/// Where its rights could not be tried.
pub fn first_unreadable(
    (user, group): (u32, u32),
    files: &[PathBuf],
) -> io::Result<Option<(&PathBuf, io::Error)>> {
    let look = move || {
        let readable = |file: &&PathBuf| access(file.as_path(), Access::READ_OK).err().map(io::Error::from);
        files.iter().find_map(|file| Some((file, readable(&file)?)))
    };
    match geteuid().is_root() {
        true => with_rights(user, group, &groups_of(user, group), look),
        false => Ok(look()),
    }
}

/// The groups that an account is in, as the files of this machine have it, its own first.
fn groups_of(user: u32, group: u32) -> Vec<u32> {
    let name = name_of(user).unwrap_or_default();
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    let is_in =
        |line: &&str| line.rsplit(':').next().is_some_and(|list| list.split(',').any(|one| one == name));
    let number = |line: &str| line.split(':').nth(2)?.parse().ok();
    std::iter::once(group).chain(text.lines().filter(is_in).filter_map(number)).collect()
}

fn with_rights<T: Send>(
    user: u32,
    group: u32,
    groups: &[u32],
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    // Rights are a thread's own to the kernel: no other thread is touched, and this one ends with its work.
    std::thread::scope(|scope| {
        let done = std::thread::Builder::new().name("account".to_owned()).spawn_scoped(scope, move || {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
            Ok(work())
        })?;
        done.join().unwrap_or_else(|_| Err(io::Error::other("a defect in this program, told above")))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn members_are_those_of_both_files() {
        let accounts = "root:x:0:0::/:/sh\nalice:x:1000:1000::/:/sh\nbob:x:1001:100::/:/sh\n";
        let groups = "root:x:0:\nalice:x:1000:\nusers:x:100:alice\nfar:x:200:alice,elsewhere\n";
        assert_eq!(members_in(groups, accounts, 1000), Some(vec![Some(1000)]));
        assert_eq!(members_in(groups, accounts, 100), Some(vec![Some(1000), Some(1001)]));
        assert_eq!(members_in(groups, accounts, 200), Some(vec![Some(1000), None]));
        assert_eq!(members_in(groups, accounts, 300), None);
    }

    #[test]
    fn accounts_are_those_of_the_file_and_of_what_else_the_system_asks() {
        assert_eq!(find("root").unwrap(), Some((0, 0)));
        assert_eq!(find("nobody_at_all").unwrap(), None);
        // It has them of the same file here. What is no name of an account is none, though it were the number of one.
        assert_eq!(numbers(&asked("passwd", "root").unwrap(), "root"), Some((0, 0)));
        assert_eq!(named(&asked("group", "0").unwrap(), 0), Some("root".to_owned()));
        assert_eq!(find("0").unwrap(), None);
        assert_eq!(find("-V").unwrap(), None);
        assert_eq!(name_of(u32::MAX - 7), None);
    }

    #[test]
    fn another_account_can_do_no_more_than_it_may() {
        if !geteuid().is_root() {
            assert_eq!(acting_as(Some((65534, 65534)), geteuid).unwrap(), geteuid());
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let tried = acting_as(Some((65534, 65534)), || (geteuid().as_raw(), fs::remove_file(&file))).unwrap();
        assert_eq!(tried.0, 65534);
        assert_eq!(tried.1.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(geteuid().is_root() && file.exists());
    }
}
