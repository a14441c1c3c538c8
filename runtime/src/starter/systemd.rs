//! systemd: the system's, or this account's own.

use std::io;
use std::path::{Path, PathBuf};

use super::{StarterError, done, own};

/// Where the units of administrators are.
const SYSTEM: &str = "/etc/systemd/system";
/// There where systemd is what started the machine; see sd_booted(3).
const BOOTED: &str = "/run/systemd/system";

/// Whose units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The machine's.
    System,
    /// This account's.
    User,
}

impl Whose {
    /// The folder that its units are in.
    ///
    /// # Errors
    /// Where no variable says where this account's settings are.
    pub fn folder(self) -> io::Result<PathBuf> {
        match self {
            Whose::System => Ok(PathBuf::from(SYSTEM)),
            Whose::User => Ok(own("XDG_CONFIG_HOME", ".config")?.join("systemd/user")),
        }
    }

    /// Tells it to read its units again.
    ///
    /// # Errors
    /// When it does not.
    pub fn reload(self) -> Result<(), StarterError> {
        self.told(&["daemon-reload"], &[])
    }

    /// Starts these timers now and whenever the machine starts.
    ///
    /// # Errors
    /// When it does not.
    pub fn enable(self, timers: &[&str]) -> Result<(), StarterError> {
        self.told(&["enable", "--now"], timers)
    }

    /// Stops these timers, now and for ever. A run that is under way ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn disable(self, timers: &[&str]) -> Result<(), StarterError> {
        self.told(&["disable", "--now"], timers)
    }

    /// Those that it does not start when the machine starts.
    pub fn disabled<'t>(self, timers: &[&'t str]) -> Vec<&'t str> {
        let is_off = |timer: &&&str| self.told(&["is-enabled", "--quiet"], &[timer]).is_err();
        timers.iter().filter(is_off).copied().collect()
    }

    fn told(self, words: &[&str], units: &[&str]) -> Result<(), StarterError> {
        let user: &[&str] = if self == Whose::User { &["--user"] } else { &[] };
        done("systemctl", &[user, words, units].concat(), &[]).map(drop)
    }
}

/// Whether systemd runs this machine.
pub fn is_running() -> bool {
    Path::new(BOOTED).is_dir()
}
