//! Who logs in where: what a plan says of a file server, as words for `ssh` that hold no harm.

use std::fmt;
use std::path::Path;
use std::process::Command;

use backplan_compiler::model::StoreKind;

use crate::programs::environment;

/// How long a server may take to take a connection, in seconds.
const CONNECT: u32 = 15;
/// A connection whose other end answers to nothing is asked so often (seconds), so many times.
const ALIVE: (u32, u32) = (15, 4);

/// Who logs in where.
#[derive(Debug, Clone)]
pub struct Login {
    host: String,
    port: Option<u16>,
    user: Option<String>,
    key: Option<String>,
    known_hosts: Option<String>,
}

impl Login {
    /// Who logs in where, and the folder there.
    ///
    /// # Errors
    /// In words, what of it is no such thing.
    pub fn of(kind: &StoreKind) -> Result<(Login, String), String> {
        let StoreKind::Sftp { host, port, user, key, path, known_hosts } = kind else {
            return Err("it is no file server".to_owned());
        };
        if let Some(fault) = kind.faults().first() {
            return Err(format!("its `{}` {}", fault.attribute, fault.why));
        }
        let login = Login {
            host: host.clone(),
            port: *port,
            user: user.clone(),
            key: key.as_deref().map(|key| file("key", key)).transpose()?,
            known_hosts: known_hosts.as_deref().map(|file_of| file("known_hosts", file_of)).transpose()?,
        };
        Ok((login, path.clone()))
    }

    /// The system's `ssh`, to be started: asking nobody, trusting no host that is not known, forwarding nothing, with a
    /// connection of its own. All else is as the account's own settings have it.
    pub fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.env_clear().envs(environment::basic(true)).current_dir("/");
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "RequestTTY=no",
            "ControlPath=none",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("ConnectTimeout={CONNECT}")]);
        command.args(["-o", &format!("ServerAliveInterval={}", ALIVE.0)]);
        command.args(["-o", &format!("ServerAliveCountMax={}", ALIVE.1)]);
        if let Some(key) = &self.key {
            command.args(["-o", &format!("IdentityFile=\"{key}\""), "-o", "IdentitiesOnly=yes"]);
        }
        if let Some(known) = &self.known_hosts {
            command.args(["-o", &format!("UserKnownHostsFile=\"{known}\"")]);
            command.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["-s", "--", &self.host, "sftp"]);
        command
    }

    /// How lists of known hosts name it.
    fn known_as(&self) -> String {
        match self.port {
            Some(port) if port != 22 => format!("[{}]:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    /// The list of known hosts, as a shell is told of it.
    fn list(&self) -> String {
        let own = self.known_hosts.as_ref();
        own.map_or("~/.ssh/known_hosts".to_owned(), |file| shell_word(&file.replace("%%", "%")))
    }

    /// What the last words of `ssh` say of a connection that ended, where that lasts until somebody does something.
    pub fn refusal(&self, words: &str) -> Option<Refusal> {
        let (host, list) = (self.known_as(), self.list());
        let says = |part: &str| words.contains(part);
        let text = if says("IDENTIFICATION HAS CHANGED") {
            format!(
                "THE HOST KEY OF `{host}` HAS CHANGED: it is another server, or somebody stands between. Nothing was sent. Only if \
                 you know why it changed, take the old key away (`ssh-keygen -R '{host}' -f {list}`) and let the new one in as the \
                 first one was"
            )
        } else if says("key is known for") || says("Host key verification failed") {
            let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
            let folder = if self.known_hosts.is_none() { "mkdir -p ~/.ssh; " } else { "" };
            format!(
                "the host key of `{host}` is not known here: run `{folder}ssh-keyscan {port}{} >> {list}`, and hold what \
                 `ssh-keygen -l -F '{host}' -f {list}` shows then against what the server's own administrator says",
                self.host
            )
        } else if says("UNPROTECTED PRIVATE KEY FILE") {
            let key = self.key.as_ref().map(|key| shell_word(&key.replace("%%", "%")));
            format!(
                "`ssh` leaves the private key aside, as other accounts may read it: run `chmod 600 {}`",
                key.as_deref().unwrap_or("~/.ssh/id_*")
            )
        } else if says("Permission denied (") || says("Too many authentication failures") {
            let user = self.user.as_ref().map(|user| format!(" `{user}`")).unwrap_or_default();
            format!(
                "`{host}` does not let{user} in: {words}; see `user` and `key`, the server's `authorized_keys`, and that a key \
                 with a passphrase is in the agent"
            )
        } else if says("subsystem request failed") {
            format!("`{host}` offers no SFTP: give its `sshd_config` a `Subsystem sftp internal-sftp`")
        } else {
            return None;
        };
        Some(Refusal(text))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.known_as())
    }
}

/// What a server and this machine do not come to terms about. Another attempt meets the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// A path, as a shell is told of it.
fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

/// A file, as `ssh` is told of one: it takes quotes, `%` and `${` for more than they say.
fn file(what: &str, path: &Path) -> Result<String, String> {
    let failed = |why: &str| format!("its `{what}` `{}`: {why}", path.display());
    let text = path.to_str().ok_or_else(|| failed("it is not UTF-8"))?;
    if text.contains(['"', '\\']) || text.contains("${") || text.chars().any(char::is_control) {
        return Err(failed(
            "`ssh` cannot be told of a file with quotes, backslashes, `${` or control characters in its name",
        ));
    }
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(text.replace('%', "%%")),
        Ok(_) => Err(failed("it is not a file")),
        // No host is known then, and how one comes to be is said where that matters.
        Err(error) if what == "known_hosts" && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(text.replace('%', "%%"))
        }
        Err(error) if what == "key" => Err(failed(&format!(
            "{error}: name a file with a private key, or leave `key` out to ask the agent"
        ))),
        Err(error) => Err(failed(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn login(host: &str, user: Option<&str>) -> Result<Login, String> {
        let user = user.map(str::to_owned);
        let (host, path) = (host.to_owned(), "/x".to_owned());
        let kind = StoreKind::Sftp { host, port: Some(2222), user, key: None, path, known_hosts: None };
        Login::of(&kind).map(|(login, _)| login)
    }

    #[test]
    fn names_that_are_more_than_names_are_refused() {
        for host in ["", "-oProxyCommand=x", "h;id", "a b", "u@h", "h\n", "$(id)", "h/x"] {
            login(host, None).unwrap_err();
        }
        for user in ["", "-l", "u;id", "`id`", "u v", "$HOME", "a\\b"] {
            login("h", Some(user)).unwrap_err();
        }
        for host in ["backup.example.org", "::1", "fe80::1%eth0", "10.0.0.1", "my_host"] {
            login(host, Some("us.er+x@dom")).unwrap();
        }
    }

    #[test]
    fn the_last_words_of_ssh_say_what_is_to_be_done() {
        let login = login("h", Some("u")).unwrap();
        let told = |words: &str| login.refusal(words).map(|refusal| refusal.0);
        let unknown =
            told("No ED25519 host key is known for [h]:2222 and you have requested strict checking.")
                .unwrap();
        assert!(
            unknown.contains("`mkdir -p ~/.ssh; ssh-keyscan -p 2222 h >> ~/.ssh/known_hosts`"),
            "{unknown}"
        );
        let changed = told("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @").unwrap();
        assert!(changed.contains("`ssh-keygen -R '[h]:2222'"), "{changed}");
        assert!(told("u@h: Permission denied (publickey).").unwrap().contains("does not let `u` in"));
        assert_eq!(told("ssh: connect to host h port 2222: Connection refused"), None);
    }

    #[test]
    fn what_is_advised_is_a_line_that_a_shell_takes() {
        let login = Login {
            key: Some("/a b/it's 100%%".to_owned()),
            known_hosts: Some("/a b/known".to_owned()),
            ..login("h", None).unwrap()
        };
        let told = |words: &str| login.refusal(words).map(|refusal| refusal.0).unwrap();
        assert!(told("Host key verification failed").contains(">> '/a b/known'`"));
        assert!(told("IDENTIFICATION HAS CHANGED").contains("-f '/a b/known'`"));
        let open = told("@ WARNING: UNPROTECTED PRIVATE KEY FILE! @; u@h: Permission denied (publickey).");
        assert!(open.contains(r"`chmod 600 '/a b/it'\''s 100%'`"), "{open}");
    }

    #[test]
    fn a_file_with_a_percent_sign_is_told_as_ssh_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a %d");
        std::fs::write(&path, "").unwrap();
        assert!(file("key", &path).unwrap().ends_with("a %%d"));
        assert!(file("key", &folder.path().join("none")).unwrap_err().contains("No such file"));
        assert!(file("key", &folder.path().join("a\"b")).unwrap_err().contains("quotes"));
    }
}
