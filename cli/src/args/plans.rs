//! Arguments of the commands that read plans and touch nothing else.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::Shell;

/// The plan that a command works on.
#[derive(Debug, Clone, Args)]
pub struct PlanFile {
    /// The plan; left out, the one in the current folder
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// The plans that a command works on, one or many.
#[derive(Debug, Clone, Args)]
pub struct PlanFiles {
    /// Plans, or folders with plans; left out, the one in the current folder
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
}

impl PlanFiles {
    /// Whether several are meant: then they are told of together, though there be one in the folder.
    pub fn is_several(&self) -> bool {
        self.paths.len() > 1 || self.paths.iter().any(|path| path.is_dir())
    }

    /// The one that is meant, where it is one.
    pub fn alone(&self) -> PlanFile {
        PlanFile { file: self.paths.first().cloned() }
    }
}

/// Find what is wrong with plans before they run.
///
/// Reads plans and everything they import, and says all that is wrong with them at once: each finding has a stable
/// name, the place that causes it, the place it conflicts with, and a mend. Nothing but plan files is touched. With
/// `--live` the world is looked at as well, and nothing of it changed: paths, stores, free space, servers and tools.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan check                        the one plan in this folder
  plan check site.plan -p env=prod  with a parameter
  plan check plans/                 every plan below a folder
  plan check plans/ --format json   for programs
  plan check --format github        in a GitHub workflow: findings beside the lines
  plan check site.plan --live       also paths, stores, room, servers, rights and tools
  plan check --deny warnings        in CI: a warning fails as well

Exit statuses: 0 no errors, 1 errors (with `--deny warnings`: or warnings).
A `# allow: NAME reason` comment above a line quiets a finding there; `plan explain NAME` tells of each.")]
pub struct CheckArgs {
    /// Plans, or folders: every `*.plan` file below a folder, hidden folders left out
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Report,
    /// Also look whether the world is as the plan needs it; changes nothing
    #[arg(long)]
    pub live: bool,
    /// What counts as an error
    #[arg(long, value_name = "WHAT")]
    pub deny: Option<Denied>,
}

/// How `check` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Report {
    /// For people
    #[default]
    Human,
    /// For programs: one JSON document
    Json,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
    /// GitHub's workflow commands: findings beside the lines of a pull request
    Github,
}

/// What `--deny` makes an error of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Denied {
    /// Warnings
    Warnings,
}

/// Bring plans into the house style.
///
/// Rewrites plans in the one house style. Comments stay where they are, and what a plan means never changes. A file
/// that cannot be read as a plan is left alone. Files are replaced whole, with their owner, mode and attributes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan fmt                  the one plan in this folder
  plan fmt plans/           every plan and library below a folder
  plan fmt --check plans/   in CI: show what would change, write nothing
  plan fmt - < site.plan    from the standard input to the standard output

Exit statuses: 0 done (with `--check`: nothing would change), 1 a file cannot be formatted (or would change).")]
pub struct FmtArgs {
    /// Files, folders, or `-` for the standard input
    #[arg(value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Write nothing; show what would change and end with 1 if something would
    #[arg(long)]
    pub check: bool,
}

/// Print a page on a finding or on a kind of declaration.
///
/// Prints a page on a finding of `plan check` (what it means, an example, the mend) or on a kind of declaration (what
/// it says, its attributes). Without a name it lists both.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan explain                     all names
  plan explain unreached_source    a finding
  plan explain archive             a kind of declaration")]
pub struct ExplainArgs {
    /// A finding or a kind of declaration; left out, all of them are listed
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Print the steps of a run as YAML.
///
/// Prints the steps of a full run as YAML: what each needs, reads, writes and deletes, how it is repeated and taken
/// back. The order in which a plan is written changes nothing of it; what only a run knows stands as `${…}`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan compile site.plan
  diff <(plan compile old.plan) <(plan compile new.plan)   what a change does")]
pub struct CompileArgs {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
}

/// Show what a change of a plan does.
///
/// Shows what a change of a plan does: to data first (sources no longer backed up, backups that retention would now
/// delete, copies, encryption and points in time lost), then what is written differently, then which steps of a run
/// differ. Names of values, order, comments and formatting are no change. Secrets are shown as references and never
/// fetched. OLD is read as if it lay where NEW does.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan diff old.plan new.plan
  plan diff --rev HEAD site.plan             against the last commit
  plan diff --rev main --format markdown     for a pull request
  plan diff --deployed site.plan             against the plan that made the newest backup

Exit statuses: 0 the plans mean the same, 1 the comparison could not be made, 2 something changed.")]
pub struct DiffArgs {
    /// OLD and NEW; with `--rev` or `--deployed` the new plan alone
    #[arg(value_name = "FILE", num_args = 0..=2, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Compare with the plan as it is at this revision of its git repository
    #[arg(long, value_name = "REV", conflicts_with = "deployed")]
    pub rev: Option<String>,
    /// Compare with the plan that made the newest backup in its stores
    #[arg(long)]
    pub deployed: bool,
    /// What opens the plan of an encrypted backup.
    #[command(flatten)]
    pub identities: super::Identities,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: DiffFormat,
}

/// Whom a difference is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people
    Human,
    /// For programs: one JSON document
    Json,
    /// For a pull request
    Markdown,
}

/// Write a first plan.
///
/// Writes a first plan for what is to be backed up: files, the SQLite databases that are found among them by looking, and
/// the Postgres servers that run here (by their sockets, also where `PGHOST` says). Tells of folders that cost most of the
/// room. Asks at a terminal for what is not given. Writes only a plan that passes `plan check` without a warning, and never
/// over a file.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan init
  plan init site.plan --source /srv/www --source /etc/app --store /mnt/backup --yes
  plan init --source . --store /mnt/backup --postgres none

Exit statuses: 0 the plan is written, 1 it is not: something is there already, or no good plan came of the answers.")]
pub struct InitPlanArgs {
    /// The plan to write, or the folder to write `backup.plan` in; left out, the current folder
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub target: Option<PathBuf>,
    /// A file or folder to back up; may be given several times
    #[arg(long = "source", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub sources: Vec<PathBuf>,
    /// The folder that backups go to
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// A file or folder below a source that is not to be backed up; may be given several times
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub exclude: Vec<PathBuf>,
    /// Whether Postgres clusters are looked for
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub postgres: WantedClusters,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
}

/// Whether Postgres clusters are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WantedClusters {
    /// Those that run here
    Auto,
    /// No
    None,
}

/// Say whether a path is backed up, and why.
///
/// Says for one path which source reads it, which rule takes it in or leaves it out, which archives and stores it reaches,
/// and which backups hold it. Patterns are asked as a run asks them.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan why site.plan /srv/www/cache/x.tmp
  plan why site.plan notes/todo.txt --format json

Exit statuses: 0 it is backed up, 3 it is not, or some of its backups cannot be told.")]
pub struct WhyArgs {
    /// The plan
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The path; relative ones start from the current folder
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// What opens encrypted backups.
    #[command(flatten)]
    pub identities: super::Identities,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: super::Format,
}

/// Draw the steps of a run.
///
/// Draws the steps of a full run and what waits for what: a column for each phase, a band for each archive with its sources
/// and for each store. With `--diff` what changed is marked by a sign, a line and a colour.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan graph site.plan --format html > site.html          to look at in a browser
  plan graph site.plan --format svg --diff old.plan > change.svg
  plan graph site.plan | dot -Tsvg > site.svg
  plan graph site.plan --format mermaid        for a page that draws Mermaid")]
pub struct GraphArgs {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// The language of the drawing
    #[arg(long, value_name = "FORMAT", default_value = "dot")]
    pub format: Picture,
    /// Mark what changed since this plan
    #[arg(long, value_name = "OLD", value_hint = ValueHint::FilePath)]
    pub diff: Option<PathBuf>,
}

/// The language of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Picture {
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
    /// A drawing that needs no other program
    Svg,
    /// A page around that drawing: it can be moved, made larger, and shows what a step waits for
    Html,
}

/// Serve an editor: what is wrong while you type, completion, renaming
///
/// Speaks the Language Server Protocol over the standard streams; an editor starts it. It reads plan files and changes
/// none: changes are the editor's. docs/editors.md says how to set up yours. Parameters given by `-p` or
/// PLAN_PARAM_NAME count as in every command.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan lsp
  plan -p site=web-01 lsp")]
pub struct LspArgs {
    /// The standard streams, the only channel there is; what many editors say by themselves
    #[arg(long, hide = true)]
    pub stdio: bool,
}

/// Print a script that completes commands in a shell.
///
/// Prints a script for a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan completions bash > ~/.local/share/bash-completion/completions/plan
  plan completions fish > ~/.config/fish/completions/plan.fish
  plan completions zsh > \"${fpath[1]}/_plan\"")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}
