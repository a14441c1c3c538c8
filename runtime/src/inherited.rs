//! What every program that is started here has of this process's own environment.

use std::ffi::OsString;

/// What every program has of this process's own: where programs are, language, time, certificates.
const ALL: [&str; 6] = ["PATH", "LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a program has that runs as the same account: where that account's things are. For another one `runuser` sets its own
/// `HOME`, `SHELL`, `USER` and `LOGNAME`, and the rest would lead to folders that it may not enter.
const OWN: [&str; 13] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "SSH_AUTH_SOCK",
];

/// What begins like this is of language.
const LANGUAGE: &str = "LC_";

/// What a program has beside what it is given.
pub fn basic(is_own_account: bool) -> Vec<(OsString, OsString)> {
    let is_basic = |name: &str| {
        ALL.contains(&name) || name.starts_with(LANGUAGE) || (is_own_account && OWN.contains(&name))
    };
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_basic)).collect()
}
