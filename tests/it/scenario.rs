//! A scratch world with the program in it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder to work in, a home, a state and a folder for temporary files, all of them gone at the end.
#[derive(Debug)]
pub struct Scenario {
    scratch: TempDir,
    env: Vec<(String, String)>,
}

impl Scenario {
    /// An empty world.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for folder in ["work", "home", "state", "tmp"] {
            fs::create_dir(scratch.path().join(folder)).unwrap();
        }
        Scenario { scratch, env: Vec::new() }
    }

    /// With a file below the folder to work in.
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        self
    }

    /// With a copy of a file of the repository.
    pub fn copy(self, from: &Path, to: &str) -> Self {
        let contents = fs::read(from).unwrap();
        self.file(to, contents)
    }

    /// With an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A path below the folder to work in.
    pub fn path(&self, below: &str) -> PathBuf {
        self.scratch.path().join("work").join(below)
    }

    /// The text of a file below the folder to work in.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Runs the program.
    pub fn plan<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Answer {
        self.plan_with(args, b"")
    }

    /// Runs the program with something on its standard input.
    pub fn plan_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Answer {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read its input closes it.
        let _ = child.stdin.take().unwrap().write_all(input);
        Answer::new(&child.wait_with_output().unwrap(), self.scratch.path())
    }

    /// The program in this world, not started yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plan"));
        let at = |folder: &str| self.scratch.path().join(folder);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", at("home"))
            .env("XDG_STATE_HOME", at("state"))
            .env("TMPDIR", at("tmp"))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(at("work"));
        command
    }
}

/// What the program said, the scratch folder shown as `$W`.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status.
    pub code: i32,
    /// Its answer.
    pub stdout: String,
    /// Everything else it said.
    pub stderr: String,
}

impl Answer {
    fn new(output: &Output, scratch: &Path) -> Self {
        let scratch = scratch.to_str().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(scratch, "$W");
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// It ended with this status.
    #[track_caller]
    pub fn status(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// It answered exactly this.
    #[track_caller]
    pub fn stdout(self, expected: &str) -> Self {
        assert_eq!(self.stdout, expected, "stderr:\n{}", self.stderr);
        self
    }

    /// Its answer holds this.
    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Self {
        assert!(
            self.stdout.contains(part),
            "no `{part}` in stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Beside its answer it said exactly this.
    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        assert_eq!(self.stderr, expected, "stdout:\n{}", self.stdout);
        self
    }

    /// Beside its answer it said this.
    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Self {
        assert!(
            self.stderr.contains(part),
            "no `{part}` in stderr:\n{}\nstdout:\n{}",
            self.stderr,
            self.stdout
        );
        self
    }
}

/// A path of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}
