//! The process that gives up its rights and then becomes the program: alone, without threads.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use super::{Confinement, Cover, HeldBy, rules, world};

/// Says that nobody reads an answer: both outputs are the program's from the beginning.
pub(super) const SILENT: &str = "--silent";

/// What could not be done.
pub(super) struct Trouble(pub String);

/// Says what was tried.
pub(super) fn failed<E: Into<io::Error>>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Trouble {
    move |cause| Trouble(format!("{what}: {}", cause.into()))
}

/// What the process says to the one that started it, as its only line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It becomes the program now.
    Ready {
        /// It has no network.
        is_alone: bool,
    },
    /// It does not.
    Refused(String),
}

impl Answer {
    fn line(&self) -> String {
        match self {
            Answer::Ready { is_alone: true } => "ready alone\n".to_owned(),
            Answer::Ready { is_alone: false } => "ready\n".to_owned(),
            Answer::Refused(why) => format!("refused {}\n", why.replace('\n', " ")),
        }
    }

    pub(super) fn parse(text: &str) -> Answer {
        let text = text.trim_end();
        match text {
            "ready" => Answer::Ready { is_alone: false },
            "ready alone" => Answer::Ready { is_alone: true },
            _ => Answer::Refused(text.strip_prefix("refused ").unwrap_or("it ended").to_owned()),
        }
    }
}

/// What is asked of the process.
#[derive(Debug, Default)]
struct Order {
    way: OsString,
    wanted: Confinement,
    folder: PathBuf,
    is_silent: bool,
    argv: Vec<OsString>,
}

/// An order as the words of a command line.
pub(super) fn words(way: HeldBy, wanted: &Confinement, folder: &Path, argv: &[OsString]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["--way".into(), way.word().into(), "--in".into(), folder.into()];
    words.extend(["--on".into(), wanted.place.clone().into()]);
    if wanted.alone {
        words.push("--alone".into());
    }
    for own in &wanted.own {
        words.extend(["--own".into(), own.into()]);
    }
    for cover in &wanted.covers {
        words.extend(["--cover".into(), cover.at.clone().into(), cover.with.clone().into()]);
    }
    words.push("--".into());
    words.extend(argv.iter().cloned());
    words
}

impl Order {
    fn parse(words: impl Iterator<Item = OsString>) -> Option<Order> {
        let (mut words, mut order) = (words, Order::default());
        loop {
            let word = words.next()?;
            match word.to_str()? {
                "--way" => order.way = words.next()?,
                "--in" => order.folder = words.next()?.into(),
                "--on" => order.wanted.place = words.next()?.into(),
                SILENT => order.is_silent = true,
                "--alone" => order.wanted.alone = true,
                "--own" => order.wanted.own.push(words.next()?.into()),
                "--cover" => {
                    let (at, with) = (words.next()?.into(), words.next()?.into());
                    order.wanted.covers.push(Cover { at, with });
                }
                "--" => break,
                _ => return None,
            }
        }
        order.argv = words.collect();
        (!order.argv.is_empty()).then_some(order)
    }

    fn carry_out(&self) -> Result<bool, Trouble> {
        let is = |way: HeldBy| self.way == OsStr::new(way.word());
        if is(HeldBy::Mounts) {
            let is_alone = leave(self.wanted.alone)?;
            world::enter(&self.wanted)?;
            return Ok(is_alone);
        }
        if !is(HeldBy::Rules) {
            return Err(Trouble("no such way".to_owned()));
        }
        rules::obey(&self.wanted.own)?;
        // Without rules about it the network is left as it is found, as where there is no namespace for it.
        Ok(self.wanted.alone && apart(UnshareFlags::NEWNET).is_ok())
    }

    fn become_program(&self) -> ExitCode {
        let error = Command::new(&self.argv[0]).args(&self.argv[1..]).current_dir(&self.folder).exec();
        eprintln!("`{}`: {error}", self.argv[0].display());
        ExitCode::FAILURE
    }
}

/// Gives up what was not ordered, tells, and becomes the program.
pub(crate) fn serve(words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(order) = Order::parse(words) else { return ExitCode::from(2) };
    let done = order.carry_out();
    match (order.is_silent, &done) {
        (false, _) => {}
        (true, Ok(_)) => return order.become_program(),
        (true, Err(Trouble(why))) => {
            eprintln!("it cannot be held to its own folders: {why}");
            return ExitCode::FAILURE;
        }
    }
    let answer = match done {
        Ok(is_alone) => Answer::Ready { is_alone },
        Err(Trouble(why)) => Answer::Refused(why),
    };
    // Nobody reads it where the other process is gone: then there is nothing to be done.
    let told = io::stdout().write_all(answer.line().as_bytes()).and_then(|()| io::stdout().flush());
    if told.is_err() || matches!(answer, Answer::Refused(_)) {
        return ExitCode::FAILURE;
    }
    // From here on both outputs are the program's.
    if rustix::stdio::dup2_stdout(io::stderr()).is_err() {
        return ExitCode::FAILURE;
    }
    order.become_program()
}

/// Leaves the namespaces of the others; whether that of the network, too.
fn leave(network: bool) -> Result<bool, Trouble> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        apart(UnshareFlags::NEWNS).map_err(failed("no mount namespace"))?;
    } else {
        apart(UnshareFlags::NEWNS | UnshareFlags::NEWUSER).map_err(failed("no user namespace"))?;
        // The account stays what it is: files of its own are its own inside, too.
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{user} {user} 1")),
            ("gid_map", format!("{group} {group} 1")),
        ] {
            let path = Path::new("/proc/self").join(file);
            std::fs::write(&path, text).map_err(failed(path.display()))?;
        }
    }
    Ok(network && apart(UnshareFlags::NEWNET).is_ok())
}

#[allow(unsafe_code)]
fn apart(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: only a table of descriptors that is not shared any more could surprise another thread; `FILES` is never among
    // these flags, and there is no other thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn an_order_is_what_was_said() {
        let odd = PathBuf::from(OsString::from_vec(b"/a b\n\xff--".to_vec()));
        let wanted = Confinement {
            own: vec![odd.clone(), "--own".into()],
            covers: vec![Cover { at: "/x".into(), with: odd.clone() }],
            alone: true,
            place: "/place".into(),
            stays: false,
            env: Vec::new(),
        };
        let argv: Vec<OsString> = ["postgres".into(), "--".into(), odd.clone().into()].to_vec();
        let order = Order::parse(words(HeldBy::Rules, &wanted, &odd, &argv).into_iter()).unwrap();
        assert_eq!((order.way, order.folder, order.argv), ("rules".into(), odd, argv));
        assert_eq!((order.wanted.own, order.wanted.covers), (wanted.own, wanted.covers));
        assert!(order.wanted.alone && order.wanted.place == wanted.place);
        assert!(Order::parse(["--alone", "--"].map(OsString::from).into_iter()).is_none());
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let refused = Answer::Refused("no user namespace: Operation not permitted".to_owned());
        for answer in [Answer::Ready { is_alone: true }, Answer::Ready { is_alone: false }, refused] {
            assert_eq!(Answer::parse(&answer.line()), answer);
        }
        assert_eq!(Answer::parse(""), Answer::Refused("it ended".to_owned()));
    }
}
