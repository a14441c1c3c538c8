//! From paths to texts: a plan file and all that it imports, read into the [`SourceSet`] that the compiler works on.
//!
//! Reading a plan must be harmless whatever lies at its path: a named pipe does not hang it, a huge file is not read,
//! and an import that cannot be read is left to the compiler, which knows the line that asks for it.

pub mod revision;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use backplan_compiler::import_paths;
use backplan_compiler::sources::{Inputs, SourceFile, SourceSet};
use backplan_grammar::ast::Item;

use crate::regular;

/// Bytes of the largest plan file that is read.
pub const LARGEST_FILE: u64 = 1 << 20;

/// Files of the largest set; more can only come from imports that a program wrote.
const MOST_FILES: usize = 500;

/// What the environment calls a parameter, before its name in capitals.
const PARAM_PREFIX: &str = "PLAN_PARAM_";

/// A plan file, or a folder of them, that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("`{shown}` {trouble}")]
pub struct LoadError {
    /// The path as messages show it.
    pub shown: String,
    /// What is wrong with it.
    #[source]
    pub trouble: Trouble,
}

/// Why a path gave no text.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing is there.
    #[error("does not exist")]
    Missing,
    /// A folder, where a file is wanted.
    #[error("is a folder, not a plan file")]
    Folder,
    /// A pipe, a socket or a device.
    #[error("is not a regular file")]
    Special,
    /// Larger than [`LARGEST_FILE`].
    #[error("is larger than 1 MiB, the most a plan file may have")]
    TooLarge,
    /// Not text.
    #[error("is not UTF-8 text: see the byte at offset {offset}")]
    NotText {
        /// Bytes before the first one that is not text.
        offset: usize,
    },
    /// The system does not let this user read it.
    #[error("may not be read by this user")]
    Denied,
    /// Anything else the system said.
    #[error("cannot be read: {0}")]
    Other(#[source] io::Error),
}

/// The findings that only this module makes: stable name, one-line meaning, and a text on what to do; all of them are
/// errors.
pub const FINDINGS: [(&str, &str, &str); 4] = [
    (
        "file_missing",
        "a file that was named does not exist",
        "The command line names a plan, or a folder of plans, that is not there. A relative path starts from the\n\
         folder that the command is started in: `/` for most service managers, the home of the account for cron. Give\n\
         the whole path there, and look for a spelling mistake, or for a disk that is not mounted. A file that an\n\
         `import` names and that is not there is `unreadable_import`.",
    ),
    (
        "file_is_folder",
        "a folder stands where a plan file is wanted",
        "`plan check` and `plan fmt` take folders, and look at every plan below; what runs or shows a plan takes one\n\
         file. Name it: `plan run /etc/backplan/site.plan`.",
    ),
    (
        "file_not_regular",
        "a pipe, a socket or a device stands where a plan file is wanted",
        "A pipe may never end, and a device is no text: a plan must be a regular file, or a link to one. Its path also\n\
         says from where it imports. Save what comes out of a pipe as a file first.",
    ),
    (
        "file_unreadable",
        "a file or folder cannot be read",
        "It is there, and the account that runs `plan` may not read it, or the disk fails. That account needs `r` on\n\
         the file and `x` on each folder above; `namei -l PATH` shows where that ends. A plan that root alone may read\n\
         is checked as root too. Where the message speaks of input and output, see to the disk.",
    ),
];

impl Trouble {
    /// The stable name of the finding that this is.
    pub fn name(&self) -> &'static str {
        match self {
            Trouble::Missing => "file_missing",
            Trouble::Folder => "file_is_folder",
            Trouble::Special => "file_not_regular",
            Trouble::TooLarge => "file_too_large",
            Trouble::NotText { .. } => "not_text",
            Trouble::Denied | Trouble::Other(_) => "file_unreadable",
        }
    }

    /// The mend.
    pub fn help(&self) -> &'static str {
        match self {
            Trouble::Missing => "check the spelling; relative paths start from the folder you are in",
            Trouble::Folder => "name a plan file in it; `plan check DIR` checks every plan below a folder",
            Trouble::Special => "name a regular file; a plan is not read from a pipe or a device",
            Trouble::TooLarge => "a plan is a page of text; is this another kind of file?",
            Trouble::NotText { .. } => {
                "a plan is UTF-8 text; is this another kind of file, or saved in another encoding?"
            }
            Trouble::Denied => "run as a user who may read it, or give this one the permission",
            Trouble::Other(_) => "see that the disk is well and the path is right",
        }
    }

    fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Trouble::Missing,
            io::ErrorKind::PermissionDenied => Trouble::Denied,
            io::ErrorKind::IsADirectory => Trouble::Folder,
            _ => Trouble::Other(error),
        }
    }
}

/// Reads a plan and everything it imports. Syntax errors are kept in the set; imports that cannot be read are listed
/// in [`SourceSet::unreadable`]. A relative `plan` starts from `current`, which is absolute.
///
/// # Errors
/// Where the plan file itself gives no text.
pub fn load(plan: &Path, current: &Path) -> Result<SourceSet, LoadError> {
    load_by(plan, display(plan), current, &read_text)
}

/// As [`load`], with the texts from elsewhere: `read` is asked for each by the absolute path it stands for. Messages call
/// the plan itself `shown`.
///
/// # Errors
/// Where the plan file itself gives no text.
pub fn load_by(
    plan: &Path,
    shown: String,
    current: &Path,
    read: &dyn Fn(&Path) -> Result<String, Trouble>,
) -> Result<SourceSet, LoadError> {
    let root = normalize(&current.join(plan));
    let text = read(&root).map_err(|trouble| LoadError { shown: shown.clone(), trouble })?;
    let mut set = SourceSet::default();
    let mut waiting: VecDeque<PathBuf> = VecDeque::new();
    let first = source_file(root.clone(), shown, text);
    waiting.extend(import_paths(&first).into_iter().map(|(path, _)| path));
    set.add(first);
    while let Some(path) = waiting.pop_front() {
        if set.find(&path).is_some() || set.unreadable.contains_key(&path) {
            continue;
        }
        if set.iter().count() >= MOST_FILES {
            set.unreadable.insert(path, format!("is one too many: a plan has at most {MOST_FILES} files"));
            continue;
        }
        match read(&path) {
            Ok(text) => {
                let file = source_file(path.clone(), shown_import(&path, &root, plan, current), text);
                waiting.extend(import_paths(&file).into_iter().map(|(path, _)| path));
                set.add(file);
            }
            Err(trouble) => {
                set.unreadable.insert(path, trouble.to_string());
            }
        }
    }
    Ok(set)
}

/// Reads one file as plan text, without what it imports.
///
/// # Errors
/// Where it gives no text.
pub fn read_plan_text(file: &Path) -> Result<String, LoadError> {
    read_text(file).map_err(|trouble| LoadError { shown: display(file), trouble })
}

/// Every `*.plan` file below a folder, sorted by path, and what could not be looked into. Hidden folders are skipped,
/// symbolic links to folders are not followed.
pub fn plan_files(folder: &Path) -> (Vec<PathBuf>, Vec<LoadError>) {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if let Err(error) = list_folder(&folder, &mut files, &mut folders) {
            errors.push(LoadError { shown: display(&folder), trouble: Trouble::from_io(error) });
        }
    }
    files.sort();
    errors.sort_by(|a, b| a.shown.cmp(&b.shown));
    (files, errors)
}

fn list_folder(folder: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden {
            continue;
        }
        if entry.file_type()?.is_dir() {
            folders.push(path);
        } else if path.extension().is_some_and(|ending| ending == "plan") {
            files.push(path);
        }
    }
    Ok(())
}

/// The plans (not libraries) directly in a folder, sorted; files that cannot be read count, so that a question about
/// them is answered with the reason.
///
/// # Errors
/// Where the folder itself cannot be listed.
pub fn plans_in(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    list_folder(folder, &mut files, &mut Vec::new())
        .map_err(|error| LoadError { shown: display(folder), trouble: Trouble::from_io(error) })?;
    files.retain(|file| match read_text(file) {
        Ok(text) => has_header(&source_file(file.clone(), String::new(), text)),
        Err(_) => true,
    });
    files.sort();
    Ok(files)
}

/// The plans below a folder, those of its folders too: files that begin with `plan NAME`, and those that cannot be read, which
/// may. Also the folders that could not be looked into.
pub fn plans_below(folder: &Path) -> (Vec<PathBuf>, Vec<LoadError>) {
    let (mut files, errors) = plan_files(folder);
    files.retain(|file| match read_text(file) {
        Ok(text) => has_header(&source_file(file.clone(), String::new(), text)),
        Err(_) => true,
    });
    (files, errors)
}

/// Whether a file says `plan NAME`: then it can be run; else it is a library.
pub fn has_header(file: &SourceFile) -> bool {
    file.parsed.ast.items.iter().any(|item| matches!(item, Item::Plan(_)))
}

/// A parameter of the environment whose value is not text.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable `{name}` is not UTF-8 text")]
pub struct BadVariable {
    /// The variable.
    pub name: String,
}

/// What a compilation is told besides the texts: parameters of the command line and of the environment, and the home.
///
/// # Errors
/// Where a variable that sets a parameter does not hold text.
pub fn inputs(
    params: BTreeMap<String, String>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Inputs, BadVariable> {
    let mut env_params = BTreeMap::new();
    for (name, value) in variables {
        let Some(param) = name.to_str().and_then(|name| name.strip_prefix(PARAM_PREFIX)) else { continue };
        let value =
            value.into_string().map_err(|_| BadVariable { name: format!("{PARAM_PREFIX}{param}") })?;
        env_params.insert(param.to_lowercase(), value);
    }
    Ok(Inputs { params, env_params, home: std::env::home_dir() })
}

/// A path as messages show it, and as it may be typed.
pub fn display(path: &Path) -> String {
    crate::text::printable(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
}

/// Replaces a file whole, keeping its owner, mode and extended attributes. After a crash it holds the old text or the new
/// one, never a part. A symbolic link stays: what it points to is replaced. Other hard links keep the old text.
///
/// # Errors
/// Where the new text could not be put in place; the file is then as it was.
pub fn rewrite(file: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(file)?;
    let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let old = fs::metadata(&target)?;
    let mut nonce = [0; 6];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let suffix: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = folder.join(format!(".backplan-{suffix}.tmp"));
    let written = write_like(&temporary, text, &target, &old).and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // The first error is the one to tell; a name of our own left behind is only untidy.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

/// A new file with `text`, and everything else as `target` has it.
fn write_like(temporary: &Path, text: &str, target: &Path, old: &fs::Metadata) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    new.write_all(text.as_bytes())?;
    let made = new.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))?;
    }
    for name in xattr::list(target)? {
        if let Some(value) = xattr::get(target, &name)? {
            xattr::set(temporary, &name, &value)?;
        }
    }
    new.set_permissions(old.permissions())?;
    new.sync_all()
}

/// Reads one file of a plan.
///
/// # Errors
/// Where it gives no text.
pub fn read_text(path: &Path) -> Result<String, Trouble> {
    let bytes = regular::read(path, LARGEST_FILE).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Trouble::TooLarge,
        io::ErrorKind::InvalidInput if path.is_dir() => Trouble::Folder,
        io::ErrorKind::InvalidInput => Trouble::Special,
        _ => Trouble::from_io(error),
    })?;
    as_text(bytes)
}

/// Bytes as the text of a plan.
///
/// # Errors
/// Where they are none, or too many.
pub fn as_text(bytes: Vec<u8>) -> Result<String, Trouble> {
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Trouble::TooLarge);
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Trouble::NotText { offset });
    }
    String::from_utf8(bytes).map_err(|error| Trouble::NotText { offset: error.utf8_error().valid_up_to() })
}

fn source_file(path: PathBuf, shown: String, text: String) -> SourceFile {
    let parsed = backplan_grammar::parse(&text);
    SourceFile { path, shown, text, parsed }
}

/// An import is shown as the plan was: relative to the current folder where it lies below it, else beside the plan.
fn shown_import(path: &Path, root: &Path, plan: &Path, current: &Path) -> String {
    if plan.is_absolute() {
        return display(path);
    }
    if let Ok(below) = path.strip_prefix(current) {
        return display(below);
    }
    let beside = root.parent().and_then(|folder| path.strip_prefix(folder).ok());
    match (beside, plan.parent()) {
        (Some(beside), Some(folder)) => display(&folder.join(beside)),
        _ => display(path),
    }
}

/// `.` and `..` taken out by the text alone, as the compiler does; `path` is absolute.
pub fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn trouble_of(path: &Path) -> Trouble {
        load(path, Path::new("/")).unwrap_err().trouble
    }

    #[test]
    fn names_what_is_wrong_with_a_path() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("binary.plan"), b"plan x\n\0").unwrap();
        fs::write(at("latin.plan"), b"# caf\xe9\n").unwrap();
        fs::write(at("big.plan"), vec![b'['; (LARGEST_FILE + 1) as usize]).unwrap();
        assert!(matches!(trouble_of(&at("none.plan")), Trouble::Missing));
        assert!(matches!(trouble_of(scratch.path()), Trouble::Folder));
        assert!(matches!(trouble_of(Path::new("/dev/zero")), Trouble::Special));
        assert!(matches!(trouble_of(&at("binary.plan")), Trouble::NotText { offset: 7 }));
        assert!(matches!(trouble_of(&at("latin.plan")), Trouble::NotText { offset: 5 }));
        assert!(matches!(trouble_of(&at("big.plan")), Trouble::TooLarge));
    }

    #[test]
    fn a_pipe_does_not_hang() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe.plan");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(matches!(trouble_of(&pipe), Trouble::Special));
    }

    #[test]
    fn a_largest_file_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("a.plan");
        fs::write(&file, vec![b'#'; LARGEST_FILE as usize]).unwrap();
        assert_eq!(load(&file, Path::new("/")).unwrap().iter().count(), 1);
    }

    #[test]
    fn finds_plans_in_order_and_skips_hidden_folders() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["b/x.plan", "a.plan", ".git/y.plan", "b/z.txt"] {
            let path = scratch.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(".", scratch.path().join("loop")).unwrap();
        let (files, errors) = plan_files(scratch.path());
        assert!(errors.is_empty());
        assert_eq!(files, [scratch.path().join("a.plan"), scratch.path().join("b/x.plan")]);
    }

    #[test]
    fn rewrites_through_a_link_and_keeps_the_mode() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let (file, link) = (scratch.path().join("a.plan"), scratch.path().join("link.plan"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.plan", &link).unwrap();
        rewrite(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
    }

    #[test]
    fn takes_parameters_from_the_environment() {
        let variables = [("PLAN_PARAM_SITE", "x"), ("HOME", "/")].map(|(n, v)| (n.into(), v.into()));
        let inputs = inputs(BTreeMap::new(), variables).unwrap();
        assert_eq!(inputs.env_params, BTreeMap::from([("site".to_string(), "x".to_string())]));
    }

    #[test]
    fn a_shown_path_cannot_steer_a_terminal() {
        assert_eq!(display(Path::new("a\u{1b}[2J.plan")), "a\\x1b[2J.plan");
    }
}
