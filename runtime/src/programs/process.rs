//! Programs that a run starts: each the leader of a process group of its own, so that stopping it stops whatever it
//! started, its output drained all the while, and its last words kept for the error message.
//!
//! A program whose output is wanted is over when its output is: what it started may still write, as the last program of a
//! pipeline in the background does. One that is started for what it does ([`act`]) is over when it ends itself: a service
//! that it started may hold its outputs for as long as it runs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

use super::environment;
use crate::confine::Bounds;
use crate::control::{Control, Stopped};
use crate::keeper;

/// How long a group may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Lines of standard error kept for the error message.
const LAST_WORDS: usize = 12;
/// Bytes of one line that are kept.
const LINE: usize = 64 * 1024;
/// How long a group that was killed may take to be gone: one that hangs in the system is not waited for.
const GONE: Duration = Duration::from_secs(5);
/// How long what is left in the pipes of a program that has ended is read: others may write into them without end.
const LEAVINGS: Duration = Duration::from_millis(500);
/// Bytes that a pipe holds at the most.
const LEFT_IN_PIPE: usize = 1 << 20;
/// How long a program that must be started is tried again where the system has none to give, and how often.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);
/// When it is told that a program has ended and its output has not.
const HELD: Duration = Duration::from_secs(10);
/// How often a silent program is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of standard output at the most that [`run`] gives.
const KEPT_OUTPUT: usize = 64 << 20;

/// Where the lines of a program's output go.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// A program to be started.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Program and arguments; at least the program.
    pub argv: Vec<String>,
    /// Its environment, beside the little that every program has.
    pub env: Vec<(String, String)>,
    /// The account it runs as; `None`: as this process.
    pub run_as: Option<String>,
    /// Stopped after this long.
    pub timeout: Option<Duration>,
    /// The folder it starts in; `None`: that of this process.
    pub folder: Option<PathBuf>,
    /// What it reads on its standard input; empty: nothing.
    pub input: Vec<u8>,
    /// What it is held to; `None`: it may write what its account may.
    pub bounds: Option<Arc<Bounds>>,
}

impl Program {
    /// A program with its arguments.
    pub fn new(argv: Vec<String>) -> Program {
        Program { argv, ..Program::default() }
    }

    fn name(&self) -> String {
        self.argv.first().cloned().unwrap_or_default()
    }

    /// Its words as a log shows them.
    fn shown(&self) -> String {
        let words = self.argv.iter().map(|word| format!("`{}`", crate::text::printable(word.as_bytes())));
        words.collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> io::Result<Command> {
        let mut words: Vec<&str> = Vec::new();
        if let Some(account) = self.run_as.as_deref().filter(|account| !is_own(account)) {
            words.extend([runuser(), "-u", account, "--"]);
        }
        words.extend(self.argv.iter().map(String::as_str));
        let folder = self.folder.as_deref().unwrap_or(Path::new("/"));
        let bound = self.bounds.as_ref().map(|bounds| bounds.command(&words, folder)).transpose()?;
        let mut command = bound.flatten().unwrap_or_else(|| {
            let mut command = Command::new(words.first().copied().unwrap_or_default());
            command.args(words.iter().skip(1));
            command
        });
        command.stdin(Stdio::null());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.env_clear().envs(environment::basic(self.run_as.is_none()));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// Whether this process is of that account: who is not root can become no other, and need not become itself.
fn is_own(account: &str) -> bool {
    let own = rustix::process::geteuid();
    !own.is_root()
        && crate::places::account::find(account)
            .is_ok_and(|found| found.is_some_and(|(user, _)| user == own.as_raw()))
}

/// What starts a program as another account. A cron's `PATH` has no folder of the system's own programs.
fn runuser() -> &'static str {
    let searched = std::env::var_os("PATH").unwrap_or_default();
    let is_found = std::env::split_paths(&searched).any(|folder| folder.join("runuser").is_file());
    let known = ["/usr/sbin/runuser", "/sbin/runuser"].into_iter().find(|path| Path::new(path).is_file());
    if is_found { "runuser" } else { known.unwrap_or("runuser") }
}

/// Why a program is no success.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start `{program}`: {cause}")]
    Start {
        /// The program.
        program: String,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// It ended with another status than 0.
    #[error("`{program}` ended with {}{}", status_words(*status), last_words(words))]
    Status {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines on standard error.
        words: Vec<String>,
    },
    /// It took too long and was stopped.
    #[error("`{program}` was stopped after {} s, its timeout{}{}", after.as_secs(), held(*is_held), last_words(words))]
    Timeout {
        /// The program.
        program: String,
        /// The timeout.
        after: Duration,
        /// It had ended, and its output had not.
        is_held: bool,
        /// Its last lines on standard error.
        words: Vec<String>,
    },
    /// Its output could not be read.
    #[error("cannot read the output of `{program}`: {cause}")]
    Output {
        /// The program.
        program: String,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// It wrote more than anybody can want.
    #[error("`{0}` wrote more than {most} MiB", most = KEPT_OUTPUT >> 20)]
    TooMuch(String),
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

fn held(is_held: bool) -> &'static str {
    if is_held { ": it had ended, and something that it started still held its output" } else { "" }
}

fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

fn last_words(words: &[String]) -> String {
    if words.is_empty() { String::new() } else { format!("; it said:\n  {}", words.join("\n  ")) }
}

/// Runs a program to the end of its output, and gives that. Every line of both outputs goes to `line`.
///
/// # Errors
/// See [`ProcessError`]. Where it is none of [`ProcessError::Start`], the program has ended; on any error its whole group.
pub fn run(program: &Program, control: &Control, line: &Tell) -> Result<Vec<u8>, ProcessError> {
    let mut kept = Vec::new();
    let keep = |bytes: &[u8]| {
        kept.extend_from_slice(bytes);
        kept.len() <= KEPT_OUTPUT
    };
    Running::start(program, control, line)?.told(keep)?;
    Ok(kept)
}

/// Runs a program that is started for what it does, not for what it says: it is over when it ends itself. Every line of both
/// outputs goes to `line`.
///
/// # Errors
/// As [`run`].
pub fn act(program: &Program, control: &Control, line: &Tell) -> Result<(), ProcessError> {
    let mut running = Running::start(program, control, line)?;
    running.is_act = true;
    running.told(|_| true)
}

/// As [`act`], for what must be done: where the system gives no process now, it is asked again for a while.
///
/// # Errors
/// As [`run`].
pub fn act_surely(program: &Program, control: &Control, line: &Tell) -> Result<(), ProcessError> {
    let begun = Instant::now();
    loop {
        match act(program, control, line) {
            Err(ProcessError::Start { cause, .. })
                if is_short(&cause) && begun.elapsed() < PATIENCE && control.check().is_ok() =>
            {
                std::thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
}

/// Whether the system has no process, thread or memory to give just now.
fn is_short(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory)
}

/// A file of no folder that holds `bytes`, to be read from its beginning: unlike a pipe, nobody must wait for its reader.
fn readable(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A program that runs, and its standard output. Reading it drains standard error too, looks at the timeout, and at
/// whether the run was asked to stop.
pub struct Running {
    child: Child,
    group: Pid,
    program: String,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    deadline: Option<(Instant, Duration)>,
    /// Bytes that were read behind the deadline: what an ended program wrote in time may be read later.
    late: usize,
    /// It is over when it ends itself, whatever becomes of its output.
    is_act: bool,
    /// When the program was first seen to have ended. It stays a zombie until it is waited for, and its group keeps its number.
    ended: Option<Instant>,
    is_held_told: bool,
    is_waited_for: bool,
    trouble: Option<ProcessError>,
    control: Control,
    line: Tell,
    error_lines: Lines,
}

impl Running {
    /// Starts a program as the leader of a process group.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start(program: &Program, control: &Control, line: &Tell) -> Result<Running, ProcessError> {
        Running::start_into(Stdio::piped(), program, control, line)
    }

    /// The same with its standard output somewhere else than here, where there is then nothing to read.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start_into(
        output: Stdio,
        program: &Program,
        control: &Control,
        line: &Tell,
    ) -> Result<Running, ProcessError> {
        let failed = |cause| ProcessError::Start { program: program.name(), cause };
        let mut command = program.command().map_err(failed)?;
        command.stdout(output).stderr(Stdio::piped());
        if !program.input.is_empty() {
            command.stdin(readable(&program.input).map_err(failed)?);
        }
        let mut child = keeper::spawn(&mut command, Signal::TERM).map_err(failed)?;
        // A plan can put no secret among the arguments; its environment, where they are, is not shown.
        tracing::info!(pid = child.id(), account = program.run_as.as_deref(), "starts {}", program.shown());
        Ok(Running {
            group: Pid::from_child(&child),
            program: program.name(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            deadline: program.timeout.map(|after| (Instant::now() + after, after)),
            late: 0,
            is_act: false,
            ended: None,
            is_held_told: false,
            is_waited_for: false,
            trouble: None,
            control: control.clone(),
            line: Arc::clone(line),
            error_lines: Lines::default(),
        })
    }

    /// Whether the program has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let seen = waitid(WaitId::Pid(self.group), look);
            // One that is nobody's child any more has ended, too.
            self.ended = (!matches!(seen, Ok(None) | Err(Errno::INTR))).then(Instant::now);
        }
        self.ended.is_some()
    }

    /// Tells the lines of the output, and gives its bytes to `keep` for as long as that wants more.
    fn told(mut self, mut keep: impl FnMut(&[u8]) -> bool) -> Result<(), ProcessError> {
        let (mut lines, line) = (Lines::default(), Arc::clone(&self.line));
        let mut buffer = vec![0; LINE];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if !keep(&buffer[..count]) => {
                    self.trouble = Some(ProcessError::TooMuch(self.program.clone()));
                    return Err(self.failed_read(io::ErrorKind::FileTooLarge.into()));
                }
                Ok(count) => lines.take(&buffer[..count], &line),
                Err(cause) => return Err(self.failed_read(cause)),
            }
        }
        lines.end(&line);
        self.finish()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// See [`ProcessError`]; an output that ended is no success until this says so.
    pub fn finish(mut self) -> Result<(), ProcessError> {
        // What is left of the outputs is of no use to anybody, but must not block the program.
        let mut rest = vec![0; LINE];
        loop {
            match self.read(&mut rest) {
                Ok(0) if self.ended.is_some() => break,
                Ok(_) => {}
                Err(cause) => return Err(self.failed_read(cause)),
            }
        }
        self.error_lines.end(&self.line);
        let program = self.program.clone();
        tracing::debug!(pid = self.group.as_raw_nonzero().get(), "`{program}` ends");
        match self.wait_for() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(ProcessError::Status { program, status, words: self.error_lines.last_words() }),
            Err(cause) => Err(ProcessError::Output { program, cause }),
        }
    }

    /// The status of a program that has ended.
    fn wait_for(&mut self) -> io::Result<ExitStatus> {
        self.is_waited_for = true;
        // What it leaves in its group goes on; before its number is free for others.
        keeper::release(self.group);
        self.child.wait()
    }

    /// What a failed read was about, with the group ended.
    pub(crate) fn failed_read(mut self, cause: io::Error) -> ProcessError {
        self.end_group();
        let program = self.program.clone();
        self.trouble.take().unwrap_or(ProcessError::Output { program, cause })
    }

    /// Looks at everything that may end the program early.
    fn look(&mut self) -> io::Result<()> {
        let has_ended = self.has_ended();
        if let Err(stopped) = self.control.check() {
            return Err(self.give_up(stopped.into()));
        }
        if !has_ended || self.late > LEFT_IN_PIPE {
            return self.look_at_clock();
        }
        Ok(())
    }

    fn look_at_clock(&mut self) -> io::Result<()> {
        let Some((_, after)) = self.deadline.filter(|(at, _)| Instant::now() >= *at) else { return Ok(()) };
        let (program, words) = (self.program.clone(), self.error_lines.last_words());
        let is_held = self.ended.is_some() && self.stdout.is_some();
        Err(self.give_up(ProcessError::Timeout { program, after, is_held, words }))
    }

    /// Nobody would guess what is waited for.
    fn tell_of_hold(&mut self) {
        if !self.is_held_told && self.ended.is_some_and(|at| at.elapsed() > HELD) {
            self.is_held_told = true;
            let program = &self.program;
            (self.line)(&format!(
                "`{program}` has ended; something that it started holds its output, which is read on"
            ));
        }
    }

    fn give_up(&mut self, why: ProcessError) -> io::Error {
        let text = why.to_string();
        self.trouble = Some(why);
        io::Error::other(text)
    }

    /// Which outputs have something to read, or have ended.
    fn ready(&self) -> io::Result<(bool, bool)> {
        let mut fds = Vec::with_capacity(2);
        fds.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        if fds.is_empty() {
            std::thread::sleep(Duration::from_millis(2));
            return Ok((false, false));
        }
        // Of one that has ended all is there that it wrote.
        let is_over = self.ended.is_some() && (self.is_act || self.stdout.is_none());
        let wait = if is_over { Duration::ZERO } else { TICK };
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
        let out = self.stdout.is_some() && events.next().unwrap_or(false);
        Ok((out, self.stderr.is_some() && events.next().unwrap_or(false)))
    }

    fn drain_error(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.stderr else { return Ok(()) };
        let mut buffer = [0; 8192];
        match pipe.read(&mut buffer)? {
            0 => self.stderr = None,
            count => self.error_lines.take(&buffer[..count], &self.line),
        }
        Ok(())
    }

    /// Whether there is nothing more to wait for, where `is_silent` says whether the outputs had something to read.
    fn is_through(&self, is_silent: bool) -> bool {
        match self.ended {
            Some(at) if self.is_act || self.stdout.is_none() => is_silent || at.elapsed() > LEAVINGS,
            Some(_) => false,
            None => self.stdout.is_none() && self.stderr.is_none(),
        }
    }

    /// TERM, a grace, KILL, wait: for everything that it started and that did not leave its group.
    fn end_group(&mut self) {
        if self.is_waited_for {
            return;
        }
        self.is_waited_for = true;
        // A group that is gone already is what is wanted.
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GONE)] {
            let _ = kill_process_group(self.group, signal);
            let until = Instant::now() + patience;
            while Instant::now() < until {
                let is_over = !matches!(self.child.try_wait(), Ok(None));
                if is_over && test_kill_process_group(self.group).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.look()?;
            if self.ended.is_some() && self.is_through(false) {
                return Ok(0);
            }
            let (out, err) = self.ready()?;
            if err {
                self.drain_error()?;
            }
            if out && let Some(pipe) = &mut self.stdout {
                match pipe.read(buffer)? {
                    0 => self.stdout = None,
                    count => {
                        let is_late = self.deadline.is_some_and(|(at, _)| Instant::now() >= at);
                        self.late += if is_late { count } else { 0 };
                        return Ok(count);
                    }
                }
            }
            if self.is_through(!out && !err) {
                return Ok(0);
            }
            if !out {
                self.look_at_clock()?;
                self.tell_of_hold();
            }
        }
    }
}

/// Not finished: whatever it does is not wanted any more.
impl Drop for Running {
    fn drop(&mut self) {
        self.end_group();
        keeper::release(self.group);
    }
}

/// Cuts bytes into lines, and remembers the last ones.
#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], line: &Tell) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(part);
            if part.ends_with(b"\n") || self.open.len() >= LINE {
                self.end(line);
            }
        }
    }

    fn end(&mut self, line: &Tell) {
        let text = String::from_utf8_lossy(&self.open).trim_end_matches(['\n', '\r']).to_owned();
        self.open.clear();
        if text.is_empty() {
            return;
        }
        line(&text);
        self.last.push_back(text);
        if self.last.len() > LAST_WORDS {
            self.last.pop_front();
        }
    }

    fn last_words(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    fn silent() -> Tell {
        Arc::new(|_| {})
    }

    fn sh(script: &str) -> Program {
        Program::new(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn output_is_kept_and_every_line_is_told() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let tell: Tell = Arc::new(move |line| heard.lock().unwrap().push(line.to_owned()));
        let out = run(&sh("echo one; echo two >&2; printf three"), &Control::default(), &tell).unwrap();
        assert_eq!(out, b"one\nthree");
        let mut lines = lines.lock().unwrap().clone();
        lines.sort();
        assert_eq!(lines, ["one", "three", "two"]);
    }

    #[test]
    fn a_failure_carries_the_status_and_the_last_words() {
        let error =
            run(&sh("echo no such database >&2; exit 7"), &Control::default(), &silent()).unwrap_err();
        assert_eq!(error.to_string(), "`sh` ended with status 7; it said:\n  no such database");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&Program::new(vec!["no-such-program".to_owned()]), &Control::default(), &silent())
            .unwrap_err();
        assert!(error.to_string().starts_with("cannot start `no-such-program`"), "{error}");
    }

    #[test]
    fn a_timeout_ends_the_whole_group() {
        let program =
            Program { timeout: Some(Duration::from_millis(100)), ..sh("sleep 77.25 & sleep 77.25") };
        let begun = Instant::now();
        let error = run(&program, &Control::default(), &silent()).unwrap_err();
        assert!(matches!(error, ProcessError::Timeout { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(50));
        let left = run(
            &sh("ps -eo stat,args | grep -v grep | grep '[s]leep 77.25' | grep -v '^Z' | wc -l"),
            &Control::default(),
            &silent(),
        );
        assert_eq!(String::from_utf8(left.unwrap()).unwrap().trim(), "0");
    }

    fn text(script: &str) -> String {
        String::from_utf8(run(&sh(script), &Control::default(), &silent()).unwrap()).unwrap()
    }

    #[test]
    fn what_a_program_left_in_the_background_writes_is_read_to_its_end() {
        // Longer than any grace that one could think of for what has ended.
        assert_eq!(text("(sleep 1.2; echo late) & echo early"), "early\nlate\n");
        assert_eq!(text("seq 200000 | (sleep 1; md5sum) &"), text("seq 200000 | md5sum"));
        let mut stream =
            Running::start(&sh("(sleep 0.8; printf late) &"), &Control::default(), &silent()).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        stream.finish().unwrap();
        assert_eq!(got, "late");
    }

    #[test]
    fn an_output_that_never_ends_is_ended_by_a_timeout_or_a_stop() {
        let script = "setsid sleep 30.5 & echo started";
        let program = Program { timeout: Some(Duration::from_millis(700)), ..sh(script) };
        let begun = Instant::now();
        let error = run(&program, &Control::default(), &silent()).unwrap_err().to_string();
        assert!(
            error.contains("it had ended, and something that it started still held its output"),
            "{error}"
        );
        let control = Control::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                control.stop();
            });
            assert!(matches!(run(&sh(script), &control, &silent()), Err(ProcessError::Stopped(_))));
        });
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_was_written_in_time_may_be_read_later() {
        let program = Program { timeout: Some(Duration::from_millis(200)), ..sh("seq 1000; seq 5 >&2") };
        let mut stream = Running::start(&program, &Control::default(), &silent()).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        stream.finish().unwrap();
        assert!(got.ends_with("\n1000\n"));
        // But not without end.
        let program = Program { timeout: Some(Duration::from_millis(200)), ..sh("timeout 30 yes &") };
        let error = run(&program, &Control::default(), &silent()).unwrap_err();
        assert!(matches!(error, ProcessError::Timeout { is_held: true, .. }), "{error}");
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_what_is_done_for_its_effect() {
        let begun = Instant::now();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let tell: Tell = Arc::new(move |line| heard.lock().unwrap().push(line.to_owned()));
        for daemon in ["setsid sleep 30.5 &", "timeout 30 yes & sleep 0.1;"] {
            act(&sh(&format!("{daemon} echo started >&2")), &Control::default(), &tell).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert_eq!(lines.lock().unwrap().iter().filter(|line| *line == "started").count(), 2);
        let error = act(&sh("setsid sleep 30.5 & exit 4"), &Control::default(), &tell).unwrap_err();
        assert!(error.to_string().contains("status 4"), "{error}");
    }

    #[test]
    fn all_of_a_large_output_is_given_or_it_is_an_error() {
        let out = run(&sh("head -c 5000000 /dev/zero"), &Control::default(), &silent()).unwrap();
        assert_eq!(out.len(), 5_000_000);
        let error = run(&sh("head -c 70000000 /dev/zero"), &Control::default(), &silent()).unwrap_err();
        assert_eq!(error.to_string(), "`sh` wrote more than 64 MiB");
    }

    #[test]
    fn what_ends_late_is_killed_though_its_leader_is_gone() {
        let script = "(trap '' TERM; sleep 66.25; sleep 66.25) & echo x";
        let program = Program { timeout: Some(Duration::from_millis(200)), ..sh(script) };
        run(&program, &Control::default(), &silent()).unwrap_err();
        assert_eq!(text("ps -eo stat,args | grep '[s]leep 66.25' | grep -v '^Z' | wc -l").trim(), "0");
    }

    #[test]
    fn a_program_has_what_it_is_given_and_what_everyone_needs() {
        // The test runner's own environment is full of others.
        assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
        let mut program = Program::new(vec!["env".to_owned()]);
        program.env = vec![("GIVEN".to_owned(), "a b".to_owned())];
        let said = String::from_utf8(run(&program, &Control::default(), &silent()).unwrap()).unwrap();
        let names: Vec<&str> =
            said.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(said.contains("GIVEN=a b") && names.contains(&"PATH") && names.contains(&"HOME"), "{said}");
        assert!(!names.iter().any(|name| name.starts_with("CARGO") || name.starts_with("NEXTEST")), "{said}");
    }

    #[test]
    fn a_stream_that_died_is_no_success() {
        let control = Control::default();
        let mut running = Running::start(&sh("printf half; kill -9 $$"), &control, &silent()).unwrap();
        let mut got = Vec::new();
        running.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"half");
        let error = running.finish().unwrap_err();
        assert!(error.to_string().contains("signal 9"), "{error}");
    }

    #[test]
    fn stopping_ends_a_stream() {
        let control = Control::default();
        let mut running = Running::start(&sh("echo x; sleep 30"), &control, &silent()).unwrap();
        let mut byte = [0; 2];
        running.read_exact(&mut byte).unwrap();
        control.stop();
        assert!(running.read(&mut byte).is_err());
        assert!(matches!(running.failed_read(io::Error::other("")), ProcessError::Stopped(_)));
    }
}
