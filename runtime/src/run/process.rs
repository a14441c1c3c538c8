//! Programs that a run starts: each the leader of a process group of its own, so that stopping it stops whatever it
//! started, its output drained all the while, and its last words kept for the error message.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::control::{Control, Stopped};

/// How long a group may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// Lines of standard error kept for the error message.
const LAST_WORDS: usize = 12;
/// Bytes of one line that are kept.
const LINE: usize = 64 * 1024;
/// How long a pipe may stay silent once the program itself has ended: a daemon that it left behind holds the pipe open.
const SILENCE: Duration = Duration::from_millis(500);
/// How often a silent program is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of standard output that [`run`] keeps.
const KEPT_OUTPUT: usize = 1 << 20;

/// Where the lines of a program's output go.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// A program to be started.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Program and arguments; at least the program.
    pub argv: Vec<String>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// The account it runs as; `None`: as this process.
    pub run_as: Option<String>,
    /// Stopped after this long.
    pub timeout: Option<Duration>,
    /// The folder it starts in; `None`: that of this process.
    pub folder: Option<PathBuf>,
    /// It gets a SIGTERM when the thread that started it ends, even one that is killed.
    pub is_bound: bool,
}

impl Program {
    /// A program with its arguments.
    pub fn new(argv: Vec<String>) -> Program {
        Program { argv, ..Program::default() }
    }

    fn name(&self) -> String {
        self.argv.first().cloned().unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut words: Vec<&str> = Vec::new();
        if self.is_bound {
            words.extend(["setpriv", "--pdeathsig=TERM", "--"]);
        }
        if let Some(account) = &self.run_as {
            words.extend(["runuser", "-u", account, "--"]);
        }
        words.extend(self.argv.iter().map(String::as_str));
        let mut command = Command::new(words.first().copied().unwrap_or_default());
        command.args(words.iter().skip(1)).process_group(0).stdin(Stdio::null());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
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
    #[error("`{program}` was stopped after {} s, its timeout{}", after.as_secs(), last_words(words))]
    Timeout {
        /// The program.
        program: String,
        /// The timeout.
        after: Duration,
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
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
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

/// Runs a program to its end and gives its standard output (the first MiB). Every line of both outputs goes to `line`.
///
/// # Errors
/// See [`ProcessError`]. Where it is none of [`ProcessError::Start`], the program has ended; on any error its whole group.
pub fn run(program: &Program, control: &Control, line: &Tell) -> Result<Vec<u8>, ProcessError> {
    let mut running = Running::start(program, control, line)?;
    let mut kept = Vec::new();
    let mut lines = Lines::default();
    let mut buffer = vec![0; LINE];
    loop {
        match running.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                let room = KEPT_OUTPUT.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
                lines.take(&buffer[..count], line);
            }
            Err(cause) => return Err(running.failed_read(cause)),
        }
    }
    lines.end(line);
    running.finish()?;
    Ok(kept)
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
    /// When the program was first seen to have ended.
    ended: Option<(Instant, ExitStatus)>,
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
        let mut command = program.command();
        let mut child = command.stdout(output).stderr(Stdio::piped()).spawn().map_err(failed)?;
        Ok(Running {
            group: Pid::from_child(&child),
            program: program.name(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            deadline: program.timeout.map(|after| (Instant::now() + after, after)),
            ended: None,
            trouble: None,
            control: control.clone(),
            line: Arc::clone(line),
            error_lines: Lines::default(),
        })
    }

    /// Whether the program has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten().map(|status| (Instant::now(), status));
        }
        self.ended.is_some()
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
        match self.ended {
            Some((_, status)) if !status.success() => {
                let words = self.error_lines.last_words();
                Err(ProcessError::Status { program: self.program.clone(), status, words })
            }
            _ => Ok(()),
        }
    }

    /// What a failed read was about, with the group ended.
    pub(crate) fn failed_read(mut self, cause: io::Error) -> ProcessError {
        self.end_group();
        let program = self.program.clone();
        self.trouble.take().unwrap_or(ProcessError::Output { program, cause })
    }

    /// Looks at everything that may end the program early.
    fn look(&mut self) -> io::Result<()> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?.map(|status| (Instant::now(), status));
        }
        if let Err(stopped) = self.control.check() {
            return Err(self.give_up(stopped.into()));
        }
        if let Some((_, after)) =
            self.deadline.filter(|(at, _)| self.ended.is_none() && Instant::now() >= *at)
        {
            let words = self.error_lines.last_words();
            return Err(self.give_up(ProcessError::Timeout { program: self.program.clone(), after, words }));
        }
        Ok(())
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
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
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

    /// TERM, a grace, KILL, wait.
    fn end_group(&mut self) {
        // A group that is gone already is what is wanted.
        let _ = kill_process_group(self.group, Signal::TERM);
        let until = Instant::now() + GRACE;
        while self.ended.is_none() && Instant::now() < until {
            self.ended = self.child.try_wait().ok().flatten().map(|status| (Instant::now(), status));
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.look()?;
            let (out, err) = self.ready()?;
            if err {
                self.drain_error()?;
            }
            if out && let Some(pipe) = &mut self.stdout {
                match pipe.read(buffer)? {
                    0 => self.stdout = None,
                    count => return Ok(count),
                }
            }
            let silent = self.ended.is_some_and(|(at, _)| !out && !err && at.elapsed() > SILENCE);
            if silent || (self.stdout.is_none() && (self.stderr.is_none() || self.ended.is_some())) {
                self.look()?;
                if self.ended.is_some() || self.stdout.is_none() {
                    return Ok(0);
                }
            }
        }
    }
}

/// Not finished: whatever it does is not wanted any more.
impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end_group();
        }
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

    #[test]
    fn a_daemon_left_behind_does_not_hold_the_run() {
        let begun = Instant::now();
        run(&sh("setsid sleep 3 & echo started"), &Control::default(), &silent()).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
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
