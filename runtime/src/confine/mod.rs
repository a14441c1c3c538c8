//! Programs that can write nothing but their own folders, whatever the data tells them to.
//!
//! | module | holds |
//! |---|---|
//! | this one | what is wanted, and starting a program so |
//! | `bounds` | tools that are held so where the system permits it |
//! | `inside` | the process that gives up its rights, then becomes the program |
//! | `world` | the mounts in which nothing but the own folders can be written |
//! | `rules` | Landlock, where no mounts can be had |
//!
//! Two ways, the first that the system permits: a mount namespace, in a user namespace of its own where this is not root;
//! rules of Landlock. What stands in the place of other folders needs the first. Where there is neither, nothing is started:
//! that the log as it was read beforehand makes nothing elsewhere does not mean that what arrives meanwhile does not either.

mod bounds;
mod inside;
mod rules;
mod world;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use crate::control::{Control, Stopped};
use crate::inherited;
use crate::{aide, keeper};

pub use bounds::Bounds;
pub(crate) use inside::serve;

/// The name of the process that confines itself.
pub(crate) const NAME: &str = "confined";
/// Between two looks at whether the caller is to stop.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of an answer at the most.
const ANSWER: u64 = 1 << 14;

/// What a program may write, and what it sees.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    /// All that it may write: folders and files that are there.
    pub own: Vec<PathBuf>,
    /// What it finds in the place of something else.
    pub covers: Vec<Cover>,
    /// No network, where the system permits that.
    pub alone: bool,
    /// An empty folder for the mounts to be made on.
    pub place: PathBuf,
    /// It goes on when this process ends. Otherwise that ends it, even where this process is killed.
    pub stays: bool,
    /// What it is given of the environment beside the little that every program has.
    pub env: Vec<(OsString, OsString)>,
}

/// A folder of its own that a program finds at another path, whether there is something or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// The path.
    pub at: PathBuf,
    /// What is found there. It can be written.
    pub with: PathBuf,
}

/// How a program is held to its own folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// By mounts: all else is read-only.
    Mounts,
    /// By Landlock.
    Rules,
}

impl HeldBy {
    fn word(self) -> &'static str {
        match self {
            HeldBy::Mounts => "mounts",
            HeldBy::Rules => "rules",
        }
    }
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The system.
    #[error("{0}")]
    System(#[from] io::Error),
    /// It could not be made so that it does no harm.
    #[error(
        "this system does not let it be held to its own folders ({0}): run as root, or permit user namespaces \
         (`sysctl user.max_user_namespaces`), or do this on another machine"
    )]
    Refused(String),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A program that runs so.
#[derive(Debug)]
pub struct Confined {
    /// The program, the leader of a process group.
    pub child: Child,
    /// What holds it.
    pub held: HeldBy,
    /// Whether it has no network.
    pub is_alone: bool,
}

/// Starts a program so, in `folder`, with its outputs in `log`.
///
/// # Errors
/// When it cannot be started, or cannot be given what is to cover other folders.
pub fn start(
    wanted: &Confinement,
    argv: &[OsString],
    folder: &std::path::Path,
    log: &File,
    control: &Control,
) -> Result<Confined, ConfineError> {
    let mut refusals = Vec::new();
    let ways: &[HeldBy] =
        if wanted.covers.is_empty() { &[HeldBy::Mounts, HeldBy::Rules] } else { &[HeldBy::Mounts] };
    for way in ways {
        let mut command = aide::command(NAME)?;
        command.args(inside::words(*way, wanted, folder, argv)).current_dir("/").process_group(0);
        command.env_clear().envs(inherited::basic(!rustix::process::geteuid().is_root()));
        command.envs(wanted.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        // A server that is ended so gives up what it was about to write at once, and leaves nothing running.
        let mut child =
            if wanted.stays { command.spawn()? } else { keeper::spawn(&mut command, Signal::QUIT)? };
        let answer = child.stdout.take().map(|pipe| answer(pipe, control)).transpose();
        match answer {
            Ok(answer) => match inside::Answer::parse(&answer.unwrap_or_default()) {
                inside::Answer::Ready { is_alone } => return Ok(Confined { child, held: *way, is_alone }),
                inside::Answer::Refused(why) => refusals.push(why),
            },
            Err(error) => {
                child.kill()?;
                over(&mut child)?;
                return Err(error);
            }
        }
        over(&mut child)?;
    }
    Err(ConfineError::Refused(refusals.join("; ")))
}

fn over(child: &mut Child) -> io::Result<()> {
    keeper::release(Pid::from_child(child));
    child.wait().map(drop)
}

/// What the process says before it becomes the program.
fn answer(pipe: ChildStdout, control: &Control) -> Result<String, ConfineError> {
    loop {
        control.check()?;
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    let mut text = String::new();
    pipe.take(ANSWER).read_to_string(&mut text)?;
    Ok(text)
}
