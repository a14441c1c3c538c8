//! A scratch world with the program in it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A folder to work in, a home, a state and a folder for temporary files, all of them gone at the end.
#[derive(Debug)]
pub struct Scenario {
    scratch: TempDir,
    env: Vec<(String, String)>,
    day: Cell<Option<u32>>,
}

impl Scenario {
    /// An empty world.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for folder in ["work", "home", "state", "tmp"] {
            fs::create_dir(scratch.path().join(folder)).unwrap();
        }
        Scenario { scratch, env: Vec::new(), day: Cell::new(None) }
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

    /// Another day begins: artefacts are named by the second, and none is ever overwritten.
    pub fn next_day(&self) -> &Self {
        self.day.set(Some(self.day.get().unwrap_or(0) + 1));
        self
    }

    /// A file below the folder to work in, written anew.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(path), contents).unwrap();
    }

    /// Runs the program.
    pub fn plan<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Answer {
        self.plan_with(args, b"")
    }

    /// Runs the program in a folder below the folder to work in.
    pub fn plan_in<S: AsRef<OsStr>>(&self, folder: &str, args: impl IntoIterator<Item = S>) -> Answer {
        let output = self.command().current_dir(self.path(folder)).args(args).stdin(Stdio::null()).output();
        Answer::new(&output.unwrap(), self.scratch.path())
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

    /// Starts the program as the leader of a process group; what is left of the group is killed with the value.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.command();
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Running { child: Some(command.spawn().unwrap()), scratch: self.scratch.path().to_path_buf() }
    }

    /// Starts the program with both its streams in hand, for one that answers while it goes on asking.
    pub fn converse<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.spawn().unwrap()
    }

    /// Runs the program by way of another: `strace -o log`, `faketime ...`, `setpriv ...`.
    pub fn plan_by<S: AsRef<OsStr>>(&self, way: &[&str], args: impl IntoIterator<Item = S>) -> Answer {
        let program = self.command();
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).arg(program.get_program()).args(args).env_clear();
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(program.get_current_dir().unwrap()).stdin(Stdio::null());
        Answer::new(&command.output().unwrap(), self.scratch.path())
    }

    /// Runs another program in this world.
    pub fn other(&self, argv: &[&str]) -> Answer {
        let world = self.command();
        let mut command = Command::new(argv[0]);
        command
            .args(&argv[1..])
            .env_clear()
            .envs(world.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(world.get_current_dir().unwrap()).stdin(Stdio::null());
        Answer::new(&command.output().unwrap(), self.scratch.path())
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
            .envs(self.day.get().map(|day| {
                ("BACKPLAN_NOW", format!("2026-{:02}-{:02}T02:30:00Z", 1 + day / 28, 1 + day % 28))
            }))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(at("work"));
        command
    }
}

/// The program at work.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    scratch: PathBuf,
}

impl Running {
    /// Sends a signal to the program alone.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        shell(Path::new("/"), &format!("kill -{name} {id}"));
    }

    /// Kills the program and everything of its group.
    pub fn kill_group(&self) {
        let id = self.child.as_ref().unwrap().id();
        // A group that has ended is what is wanted.
        let _ = Command::new("sh").args(["-c", &format!("kill -KILL -{id} 2>/dev/null")]).status();
    }

    /// Waits for the end.
    pub fn answer(mut self) -> Answer {
        Answer::new(&self.child.take().unwrap().wait_with_output().unwrap(), &self.scratch)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
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
            code: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(1)),
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

    /// Its answer, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Everything it said.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// It said this, wherever.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.said().contains(part), "no `{part}` in:\n{}\n{}", self.stdout, self.stderr);
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

/// A plan `p` with the folder store `store`, one attempt a step, and these declarations.
pub fn plan(declarations: &str) -> String {
    format!(
        "plan p\n\nstore store: dir {{\n  path = \"store\"\n}}\n\nretry {{\n  attempts = 1\n}}\n\n{declarations}\n"
    )
}

/// A source `site` of files and its archive.
pub const SITE: &str = "\
source site: files {
  paths = [\"site\"]
}

archive main {
  from = [site]
  to   = [store]
}
";

/// Everything below a folder: size, mode and time of change by path.
pub fn everything(folder: &Path) -> BTreeMap<PathBuf, (u64, u32, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (metadata.len(), metadata.mode(), metadata.mtime_nsec()));
        }
    }
    found
}

/// The artefacts in a folder, sorted.
pub fn artefacts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// What a shell script prints that must succeed.
#[track_caller]
pub fn shell(folder: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until something is so.
#[track_caller]
pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let since = Instant::now();
    while !there() {
        assert!(since.elapsed() < Duration::from_secs(30), "waited for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until what was just written is older than the tick that a scan allows the file system's clock. What is younger is
/// read again by the next run, and is then whole in the difference where nothing says what it was like.
pub fn settle() {
    thread::sleep(Duration::from_millis(150));
}

/// Numbers that look like chance and can be had again: the seed is printed, and `BACKPLAN_TEST_SEED` sets it.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// With this seed if the environment has none.
    pub fn new(seed: u64) -> Self {
        let seed = std::env::var("BACKPLAN_TEST_SEED").map_or(seed, |text| text.parse().unwrap());
        println!("BACKPLAN_TEST_SEED={seed}");
        Chance(seed)
    }

    /// Below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// How often something is tried: `usual`, or what `BACKPLAN_TEST_ROUNDS` says.
pub fn rounds(usual: u32) -> u32 {
    std::env::var("BACKPLAN_TEST_ROUNDS").map_or(usual, |text| text.parse().unwrap())
}
