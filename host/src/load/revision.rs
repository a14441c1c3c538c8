//! The texts of a plan as they were at a revision of the git repository that it lies in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use backplan_compiler::sources::SourceSet;
use rustix::process::{Pid, Signal};

use super::{LoadError, Trouble, as_text, display, load_by, normalize, read_text};
use crate::keeper;

/// Why the texts of a revision could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// There is no git.
    #[error("the program `git` cannot be started: {0}")]
    NoGit(#[source] std::io::Error),
    /// The plan lies in no repository, or git will not read it.
    #[error("`{plan}` lies in no git repository that can be read: {said}")]
    NoRepository {
        /// The plan.
        plan: String,
        /// What git said.
        said: String,
    },
    /// The repository has no such revision.
    #[error("the repository of `{plan}` has no revision `{revision}`")]
    NoRevision {
        /// The plan.
        plan: String,
        /// What was asked for.
        revision: String,
    },
    /// The revision has no such file.
    #[error("`{plan}` is not in revision `{revision}` of its repository")]
    NotInRevision {
        /// The plan.
        plan: String,
        /// The revision.
        revision: String,
    },
    /// It is there, and is no text of a plan.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Reads a plan and everything it imports as they were at a revision. What lies outside the repository is read as it is.
///
/// # Errors
/// See [`RevisionError`].
pub fn load_revision(plan: &Path, current: &Path, revision: &str) -> Result<SourceSet, RevisionError> {
    let shown = display(plan);
    let root = normalize(&current.join(plan));
    let repository = Repository::around(&root, &shown)?;
    let commit = repository
        .commit(revision)?
        .ok_or_else(|| RevisionError::NoRevision { plan: shown.clone(), revision: revision.to_owned() })?;
    load_by(plan, format!("{shown} at {revision}"), current, &|path| repository.read(&commit, path)).map_err(
        |error| match error.trouble {
            Trouble::Missing => RevisionError::NotInRevision { plan: shown, revision: revision.to_owned() },
            _ => error.into(),
        },
    )
}

/// A work tree.
struct Repository {
    top: PathBuf,
}

impl Repository {
    fn around(plan: &Path, shown: &str) -> Result<Repository, RevisionError> {
        // The file itself may be gone by now: its folder, or the next one above that is there, tells.
        let folder = plan.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let output = git(folder, &["rev-parse", "--show-toplevel"])?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("git did not say why").trim().to_owned();
            return Err(RevisionError::NoRepository { plan: shown.to_owned(), said });
        }
        let mut top = output.stdout;
        if top.last() == Some(&b'\n') {
            top.pop();
        }
        Ok(Repository { top: PathBuf::from(OsString::from_vec(top)) })
    }

    fn commit(&self, revision: &str) -> Result<Option<String>, RevisionError> {
        let wanted = format!("{revision}^{{commit}}");
        let output = git(&self.top, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])?;
        let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success() && !commit.is_empty()).then_some(commit))
    }

    /// A file as the commit has it: through links that it has, and from submodules at the commits that it names.
    fn read(&self, commit: &str, path: &Path) -> Result<String, Trouble> {
        let mut path = path.to_path_buf();
        for _ in 0..LINKS {
            // git knows no links in paths: the folder is followed, the file is not.
            let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
            let real = match (folder, path.file_name()) {
                (Some(folder), Some(name)) => folder.join(name),
                _ => path.clone(),
            };
            let Ok(below) = real.strip_prefix(&self.top) else { return read_text(&path) };
            let (top, commit, below) = self.home(commit, below)?;
            let entry = entry(&top, &commit, &below)?.ok_or(Trouble::Missing)?;
            let text = blob(&top, &entry.object)?;
            if entry.mode != LINK {
                return as_text(text);
            }
            let target = PathBuf::from(OsString::from_vec(text));
            path = normalize(&real.parent().unwrap_or(Path::new("/")).join(target));
        }
        Err(Trouble::Other(std::io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error())))
    }

    /// The repository that a path is in, the commit that is meant of it, and the path in there: submodules are repositories.
    fn home(&self, commit: &str, below: &Path) -> Result<(PathBuf, String, PathBuf), Trouble> {
        let (mut top, mut commit, mut inside) = (self.top.clone(), commit.to_owned(), PathBuf::new());
        for part in below.components() {
            inside.push(part);
            if let Some(entry) = entry(&top, &commit, &inside)?.filter(|entry| entry.mode == SUBMODULE) {
                top.push(&inside);
                commit = entry.object;
                inside = PathBuf::new();
            }
        }
        Ok((top, commit, inside))
    }
}

/// Links that are followed one behind the other.
const LINKS: usize = 16;

/// How git writes the kinds of entries.
const LINK: &str = "120000";
const SUBMODULE: &str = "160000";

/// What a commit has at a path.
struct Entry {
    mode: String,
    object: String,
}

fn entry(top: &Path, commit: &str, below: &Path) -> Result<Option<Entry>, Trouble> {
    let args: [&OsStr; 7] = [
        "--literal-pathspecs".as_ref(),
        "ls-tree".as_ref(),
        "-z".as_ref(),
        "--full-tree".as_ref(),
        commit.as_ref(),
        "--".as_ref(),
        below.as_os_str(),
    ];
    let output = git(top, &args).map_err(trouble)?;
    // `MODE KIND OBJECT`, a tab, the path.
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = line.split(['\t', '\0']).next().unwrap_or_default().split(' ');
    let (mode, object) = (words.next(), words.nth(1));
    Ok(mode.zip(object).map(|(mode, object)| Entry { mode: mode.to_owned(), object: object.to_owned() }))
}

fn blob(top: &Path, object: &str) -> Result<Vec<u8>, Trouble> {
    let output = git(top, &["cat-file", "blob", object]).map_err(trouble)?;
    if output.status.success() { Ok(output.stdout) } else { Err(Trouble::Missing) }
}

fn trouble(error: RevisionError) -> Trouble {
    match error {
        RevisionError::NoGit(error) => Trouble::Other(error),
        _ => Trouble::Missing,
    }
}

fn git<S: AsRef<std::ffi::OsStr>>(folder: &Path, args: &[S]) -> Result<Output, RevisionError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args);
    // What stands in the way of a plain answer in the reader's own words.
    command
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = keeper::spawn(&mut command, Signal::TERM).map_err(RevisionError::NoGit)?;
    let group = Pid::from_child(&child);
    let output = child.wait_with_output();
    keeper::release(group);
    output.map_err(RevisionError::NoGit)
}
