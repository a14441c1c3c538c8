//! Names of owners, as the host's own files give them.

use std::collections::HashMap;

use crate::artefact::tarhead::Owners;

/// Names by id. Accounts that only a directory service knows have none: their ids are recorded all the same.
#[derive(Debug, Default)]
pub struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    /// Reads `/etc/passwd` and `/etc/group`, if they are there.
    pub fn of_this_host() -> Names {
        Names { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    /// The names of an owner and a group.
    pub fn of(&self, uid: u32, gid: u32) -> Owners<'_> {
        Owners {
            user: self.users.get(&uid).map_or("", String::as_str),
            group: self.groups.get(&gid).map_or("", String::as_str),
        }
    }
}

/// Lines of `name:x:id:…`; the first name of an id is its name.
fn read(file: &str) -> HashMap<u32, String> {
    let text = std::fs::read(file).unwrap_or_default();
    let mut names = HashMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(Ok(id))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            names.entry(id).or_insert_with(|| name.to_string());
        }
    }
    names
}
