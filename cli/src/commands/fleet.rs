//! Many plans at once: which files are meant, and each in a program of its own, so that none stops, slows or outlives the
//! others.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use backplan_runtime::control::Control;
use backplan_runtime::load::{self, LoadError, display};
use backplan_runtime::threads::on_several;
use serde_json::Value;

use super::plan::{current_folder, sole};
use super::stop::until_signal;
use crate::args::{Format, Global, PlanFiles, RunArgs, VerifyArgs, WantedLevel};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::fleet::{self, Line};

/// Between two looks at a program.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes that are kept of what a program says beside its answer.
const SAID: usize = 64 << 10;

/// Bytes of an answer at the most.
const ANSWER: u64 = 64 << 20;

/// The plans that are meant.
#[derive(Debug)]
pub struct Found {
    /// Their files, each once.
    pub files: Vec<PathBuf>,
    /// Folders that could not be looked into: there may be others.
    pub troubles: Vec<LoadError>,
}

impl Found {
    /// Tells of the folders that could not be looked into. Gives what they make of a status.
    pub fn told(&self, status: Status, console: &mut Console) -> Status {
        for error in &self.troubles {
            console.remark("error", &error.to_string());
        }
        let all = [status.code()].into_iter().chain(self.troubles.first().map(|_| Status::Failed.code()));
        worst(all)
    }
}

/// The plans that are meant: those named, and every one below the folders that are.
///
/// # Errors
/// [`Status::Usage`] where there is none.
pub fn files_of(plans: &PlanFiles) -> Result<Found, Failure> {
    let current = current_folder()?;
    if plans.paths.is_empty() {
        return Ok(Found { files: vec![sole(&current)?], troubles: Vec::new() });
    }
    let (mut files, mut troubles) = (Vec::new(), Vec::new());
    for path in &plans.paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (below, errors) = load::plans_below(path);
        files.extend(below);
        troubles.extend(errors);
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(load::normalize(&current.join(file))));
    if files.is_empty() && troubles.is_empty() {
        // A misspelt folder must not look like a good one.
        return Err(Failure::usage("there is no plan below the folders that were named")
            .help("a plan is a `*.plan` file that begins with `plan NAME`"));
    }
    Ok(Found { files, troubles })
}

/// Does something for each file, on so many threads; the answers in the order of the files.
pub fn each<T: Send>(files: &[PathBuf], jobs: usize, work: impl Fn(&Path) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(files.len()));
    on_several(jobs.clamp(1, files.len().max(1)), || {
        while let Some((at, file)) =
            Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|at| Some((at, files.get(at)?)))
        {
            let made = work(file);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, made));
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
}

/// How many at once.
pub fn jobs(asked: Option<NonZero<usize>>) -> usize {
    let cores = || thread::available_parallelism().map_or(2, NonZero::get);
    asked.map_or_else(cores, NonZero::get)
}

/// Runs every plan.
///
/// # Errors
/// For wrong usage; what becomes of the plans is an answer.
pub fn run(args: &RunArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let one = [
        ("--only", !args.asked.only.is_empty()),
        ("--new-cluster", !args.asked.new_cluster.is_empty()),
        ("--unmounted", !args.asked.unmounted.is_empty()),
        ("--adopt", args.asked.adopt),
    ];
    if let Some((option, _)) = one.into_iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("`{option}` is for one plan")).help("name that plan alone"));
    }
    let mut words: Vec<OsString> = Vec::new();
    let level = match args.asked.level {
        WantedLevel::Auto => None,
        WantedLevel::Full => Some("full"),
        WantedLevel::Differential => Some("differential"),
        WantedLevel::Incremental => Some("incremental"),
    };
    words.extend(level.map(|level| format!("--level={level}").into()));
    let flags = [("--dry-run", args.dry_run), ("--scheduled", args.scheduled)];
    words.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.into()));
    let fleet = Fleet { command: "run", words, jobs: jobs(args.jobs), again: !args.dry_run };
    let found = files_of(&args.plans)?;
    let status = fleet.carry_out(&found.files, args.format, global, console)?;
    Ok(found.told(status, console))
}

/// Verifies the backups of every plan.
///
/// # Errors
/// As [`run`].
pub fn verify(args: &VerifyArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let one = [
        ("--store", args.place.store.store.is_some()),
        ("--source", !args.sources.is_empty()),
        ("--run", args.run != "latest"),
    ];
    if let Some((option, _)) = one.into_iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("`{option}` is for one plan")).help("name that plan alone"));
    }
    let mut words: Vec<OsString> = Vec::new();
    let flags =
        [("--all", args.all), ("--deep", args.deep), ("--quick", args.quick), ("--rehearse", args.rehearse)];
    words.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.into()));
    for file in &args.place.store.identities.identity {
        words.extend(["--identity".into(), file.clone().into()]);
    }
    if let Some(folder) = &args.scratch {
        words.extend(["--scratch".into(), folder.clone().into()]);
    }
    let fleet = Fleet { command: "verify", words, jobs: jobs(args.jobs), again: false };
    let found = files_of(&args.place.plans)?;
    let status = fleet.carry_out(&found.files, args.format, global, console)?;
    Ok(found.told(status, console))
}

/// A command for many plans.
struct Fleet {
    command: &'static str,
    /// Its options.
    words: Vec<OsString>,
    jobs: usize,
    /// Whether one that found a lock held is tried once more when the others are through.
    again: bool,
}

impl Fleet {
    fn carry_out(
        &self,
        files: &[PathBuf],
        format: Format,
        global: &Global,
        console: &mut Console,
    ) -> Result<Status, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(format!("this program's place cannot be told: {error}")))?;
        let begun = Instant::now();
        let control = Control::default();
        let shown = Mutex::new(console);
        let told = |line: Line| {
            let mut console = shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match format {
                // Whoever reads them need not wait for the last.
                Format::Json => console.answer(&fleet::json_line(&line)),
                Format::Human => console.say(&fleet::progress(&line)),
            }
            line
        };
        let is_over = || control.check().is_err();
        let one = |file: &Path| match is_over() {
            true => None,
            false => Some(self.one(&program, file, global, &control)),
        };
        let is_busy = |line: &Line| self.again && line.status == Status::Locked.code();
        let (lines, signal) = until_signal(&control, || {
            let first = each(files, self.jobs, |file| {
                one(file).map(|line| if is_busy(&line) { line } else { told(line) })
            });
            let mut lines = Vec::new();
            for line in first.into_iter().flatten() {
                // Another of them held its lock, perhaps: a staging may be several plans'.
                lines.push(match is_busy(&line) && !is_over() {
                    true => one(&line.file.clone()).map_or(line, told),
                    false => line,
                });
            }
            lines
        })?;
        let console = shown.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = files.len() - lines.len();
        match format {
            Format::Human if global.quiet && left == 0 && lines.iter().all(|line| line.status == 0) => {}
            Format::Human => {
                console.answer(&fleet::summary(
                    self.command,
                    &lines,
                    left,
                    begun.elapsed(),
                    console.answers(),
                ));
            }
            Format::Json => console.answer(&fleet::json_totals(&lines, left)),
        }
        Ok(signal.unwrap_or_else(|| worst(lines.iter().map(|line| line.status))))
    }

    /// One plan, in a program of its own.
    fn one(&self, program: &Path, file: &Path, global: &Global, control: &Control) -> Line {
        let begun = Instant::now();
        let mut command = Command::new(program);
        command.arg(self.command).args(&self.words).args(["--format=json", "--color=never", "--quiet"]);
        for binding in &global.params {
            command.arg("-p").arg(format!("{}={}", binding.name, binding.value));
        }
        // A file may be called like an option.
        command.arg("--").arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended =
            command.spawn().map_err(|error| error.to_string()).and_then(|child| watched(child, control));
        let took = begun.elapsed();
        match ended {
            Ok(Ended { status, answer, said }) => Line::of_answer(file, status, took, answer, &said),
            Err(why) => Line::failed(file, Status::Failed.code(), took, format!("its program: {why}")),
        }
    }
}

/// What became of a program.
struct Ended {
    status: u8,
    answer: Option<Value>,
    said: String,
}

/// Waits for a program, and tells it to stop when this one is to.
fn watched(mut child: Child, control: &Control) -> Result<Ended, String> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let answer = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.map(|out| out.take(ANSWER).read_to_end(&mut bytes));
            serde_json::from_slice::<Value>(&bytes).ok()
        });
        let said = scope.spawn(move || last_of(err));
        let mut is_told = false;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) => {}
                Err(error) => break Err(error.to_string()),
            }
            if !is_told && control.check().is_err() {
                is_told = true;
                let pid = rustix::process::Pid::from_child(&child);
                // It may be over by now.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            thread::sleep(PAUSE);
        };
        let status = status?;
        let killed = std::os::unix::process::ExitStatusExt::signal(&status);
        let said = said.join().unwrap_or_default();
        let said = killed.map_or(said, |signal| format!("error: it was ended by signal {signal}"));
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        Ok(Ended { status: code, answer: answer.join().ok().flatten(), said })
    })
}

/// The end of what comes.
fn last_of(from: Option<impl Read>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        if let Some(more @ 1..) = kept.len().checked_sub(SAID) {
            kept.drain(..more);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The worst of these statuses: stopped before failed, failed before what did not begin, that before a held lock, that before
/// warnings.
pub fn worst(statuses: impl Iterator<Item = u8>) -> Status {
    let of = |code: u8| match code {
        0 => Status::Done,
        2 => Status::Usage,
        3 => Status::Warnings,
        4 => Status::Locked,
        130 => Status::Interrupted,
        143 => Status::Terminated,
        _ => Status::Failed,
    };
    statuses.map(of).max_by_key(|status| fleet::weight(status.code())).unwrap_or(Status::Done)
}

/// What a file is called before its plan's name is known.
pub fn name_of(file: &Path) -> String {
    file.file_stem().map_or_else(|| display(file), |stem| stem.to_string_lossy().into_owned())
}
