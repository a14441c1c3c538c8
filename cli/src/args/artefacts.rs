//! Arguments of the commands that make backups or read them.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{ArgGroup, Args, ValueEnum, ValueHint};

use super::{ClusterArgs, Format, PlanFile, PlanFiles};

/// Make a backup.
///
/// Runs a plan: reads its sources, packs its archives, brings them to its stores, and writes the manifest that makes
/// them a backup. What a run before it left behind when it died is undone first.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan run site.plan --dry-run      every step with sizes and names; writes nothing anywhere
  plan run site.plan                make a backup
  plan run site.plan --only db      these sources alone, as an archive's other sources are left out
  plan run /etc/backplan --jobs 4   every plan of a folder, four at a time; one that fails stops none
  plan run site.plan --metrics /var/lib/node_exporter/site.prom

Exit statuses: 0 done, 1 a source or a store failed (what was whole is committed), 2 the plan does not compile or needs
what this version cannot run, 3 done with warnings, 4 another run holds the lock, 130 and 143 stopped and cleaned up. Of
several plans the worst: 130 and 143, 1, 2, 4, 3, 0.")]
pub struct RunArgs {
    /// The plans.
    #[command(flatten)]
    pub plans: PlanFiles,
    /// Show every step and what it would read, write and delete; do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What is asked of the run.
    #[command(flatten)]
    pub asked: Asked,
    /// Make nothing where the schedule has a higher level at the same moment, or the plan's own run takes the source of `--only` along:
    /// for what starts each at its times
    #[arg(long)]
    pub scheduled: bool,
    /// As a job of a cluster: waits while another run is at work, ends with 0 also with warnings, and says at last in one line
    /// what happened, also in `/dev/termination-log`
    #[arg(long, conflicts_with_all = ["dry_run", "format"])]
    pub as_job: bool,
    /// Plans run side by side, of several; left out, as many as there are cores
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
    /// Write how the plans stand then into this file, as numbers for node_exporter: whatever the run comes to
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "dry_run")]
    pub metrics: Option<PathBuf>,
    /// Whom the summary is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Do one step of a run in a process of its own.
///
/// For an engine that has an order of its own. The first step, `lock`, begins a run and says its id; every other takes it by
/// `--run`, once the steps that it needs have ended (`plan compile` shows them). Between two steps no lock is held: a run of
/// the plan that begins meanwhile takes this one for dead and takes back what it had begun, and no further step is done.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan step site.plan lock --format json                                  begins a run: `run` is its id, `next` what can follow
  plan step site.plan scan/site --run 00000042-20261120T023000Z-k7f3qa

A step that was killed may be done again; one that has ended says once more how. Behind the last one the run is over, and
`report` is what it came to.

Exit statuses: of the step, as if it were a run: 0 done, or nothing to do, 1 it failed, or cannot be done now, 2 there is no
such step, 3 done with warnings, 4 another run or step holds the lock, 130 and 143 stopped: it may be done again.")]
pub struct StepArgs {
    /// The plan
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The step, by its name in the graph
    #[arg(value_name = "ID")]
    pub step: String,
    /// The run; left out, the step `lock` begins one
    #[arg(long, value_name = "RUN", conflicts_with_all = ["level", "only", "new_cluster", "unmounted", "adopt"])]
    pub run: Option<String>,
    /// What is asked of the run that begins.
    #[command(flatten)]
    pub asked: Asked,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// What is asked of a run, however many processes make it.
#[derive(Debug, Args)]
pub struct Asked {
    /// The level of the run
    #[arg(long, value_name = "LEVEL", default_value = "auto")]
    pub level: WantedLevel,
    /// Read this source only; may be given for several
    #[arg(long, value_name = "SOURCE")]
    pub only: Vec<String>,
    /// The cluster of this Postgres source is another one than in earlier runs, and meant to be; may be given for several
    #[arg(long, value_name = "SOURCE")]
    pub new_cluster: Vec<String>,
    /// What was mounted here below a source is given up for good: no run misses it any more; may be given several times
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub unmounted: Vec<PathBuf>,
    /// Take over a store that belongs to another machine or to another plan of this name
    #[arg(long)]
    pub adopt: bool,
}

/// The level that a run is wanted to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WantedLevel {
    /// The next place in the plan's cycle
    Auto,
    /// Rests on nothing
    Full,
    /// Rests on the last full
    Differential,
    /// Rests on the run before it
    Incremental,
}

/// Where backups are looked for: in the stores of a plan, or in one store with no plan at hand. The plan is the
/// command's own argument.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// The store.
    #[command(flatten)]
    pub store: StoreChoice,
}

/// As [`Where`], for commands that take several plans.
#[derive(Debug, Clone, Args)]
pub struct WherePlans {
    /// The plans.
    #[command(flatten)]
    pub plans: PlanFiles,
    /// The store.
    #[command(flatten)]
    pub store: StoreChoice,
}

impl WherePlans {
    /// The plan that is meant, where it is one.
    pub fn plan(&self) -> PlanFile {
        self.plans.alone()
    }
}

/// As [`Where`], for commands whose own arguments are something else.
#[derive(Debug, Clone, Args)]
pub struct WhereFile {
    /// The plan; left out, the one in the current folder
    #[arg(short = 'f', long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The store.
    #[command(flatten)]
    pub store: StoreChoice,
}

/// A store to read from.
#[derive(Debug, Clone, Args)]
pub struct StoreChoice {
    /// Read from this store: the folder itself (then no plan is needed), or the name of one of the plan's stores
    #[arg(long, value_name = "PATH|NAME", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// The plan whose backups are meant, where a store without a plan file holds several
    #[arg(long = "plan-name", value_name = "NAME", requires = "store")]
    pub plan_name: Option<String>,
    /// What opens encrypted backups.
    #[command(flatten)]
    pub identities: Identities,
}

/// Private keys for backups that are encrypted.
#[derive(Debug, Clone, Default, Args)]
pub struct Identities {
    /// A file with a private key for encrypted backups, of age or SSH; may be given for several. Otherwise `BACKPLAN_IDENTITY`
    /// names one. A passphrase is asked for at the terminal
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,
}

/// List the backups that exist.
///
/// Lists the backups that exist: those that have a manifest in a store.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan list site.plan
  plan list --store /mnt/backup     with no plan at hand")]
pub struct ListArgs {
    /// Where to look.
    #[command(flatten)]
    pub place: Where,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// List what a backup holds.
///
/// Lists what a backup holds.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan ls latest                    everything in the newest backup of the plan in this folder
  plan ls 42 notes/2026             below a path, in the run with sequence 42
  plan ls latest --store /mnt/backup")]
pub struct LsArgs {
    /// A run: its id, its sequence number, or `latest`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// List this and what is below it, or what a pattern matches: the source's name, then the path inside it
    #[arg(value_parser = something())]
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,
    /// Where to look.
    #[command(flatten)]
    pub place: WhereFile,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Print one file of a backup.
///
/// Writes one file of a backup to the standard output. Only the part of the artefact that holds it is read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan cat latest notes/notes/todo.txt
  plan cat latest app/app.db > app.db
  plan cat 42 site/etc/hosts --store /mnt/backup")]
pub struct CatArgs {
    /// A run: its id, its sequence number, or `latest`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The file: the source's name, then the path inside it
    #[arg(value_parser = something())]
    #[arg(value_name = "PATH")]
    pub path: OsString,
    /// Where to look.
    #[command(flatten)]
    pub place: WhereFile,
}

/// Show which files changed between two backups.
///
/// Compares two backups file by file: `+` only the second has it, `-` only the first has it, `~` both do, and it differs
/// in what is named behind it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan diff-run 41 latest           what changed since run 41
  plan diff-run 41 42 --store /mnt/backup --format json

Exit statuses: 0 nothing changed, 1 they could not be compared, 2 something changed (or wrong usage).")]
pub struct DiffRunArgs {
    /// The earlier run: its id, its sequence number, or `latest`
    #[arg(value_name = "RUN")]
    pub before: String,
    /// The later run
    #[arg(value_name = "RUN")]
    pub after: String,
    /// Compare only this path and what is below it, or what a pattern matches; may be given for several
    #[arg(long = "path", value_name = "PATH|GLOB", value_parser = something())]
    pub paths: Vec<OsString>,
    /// Where to look.
    #[command(flatten)]
    pub place: WhereFile,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Put files of a backup back.
///
/// Puts files back, from the store alone. Each source gets a folder of its own name below DIR; with one `--source`, DIR
/// is that source's own root. A folder that is not empty is refused unless `--overwrite` is given, or `--resume` for one that
/// a restore left which did not end. Nothing is ever
/// written outside DIR, whatever the backup says.
#[derive(Debug, Clone, Args)]
#[command(
    group = ArgGroup::new("target").args(["to", "in_place"]).required(true),
    after_long_help = "\
Examples:
  plan restore site.plan --to /tmp/back                       the newest backup
  plan restore site.plan --to /tmp/back --at '2026-11-20 03:00'
  plan restore site.plan --to /tmp/back --path 'notes/**/*.txt'
  plan restore --store /mnt/backup --to /tmp/back             with nothing but the store
  plan restore site.plan --in-place --overwrite --source site   where the files came from
  plan restore site.plan --to /tmp/back --dry-run             what would be written
  plan restore site.plan --to /tmp/back --resume              go on with a restore that was cut short
  plan restore site.plan --source main --to /srv/pg --at '2026-11-20 03:00' --start
                                                              a Postgres cluster as it was then, running"
)]
pub struct RestoreArgs {
    /// Where to look.
    #[command(flatten)]
    pub place: Where,
    /// The run: its id, its sequence number, or `latest`
    #[arg(long, value_name = "RUN", default_value = "latest")]
    pub run: String,
    /// The newest run that began at this time or before, as `list` shows it: `2026-11-20 02:30` in local time, with a zone
    /// or an offset behind it in that one (`2026-11-20 02:30 Europe/Berlin`), or `2026-11-20T02:30:00Z`.
    /// For a Postgres cluster: recover up to this time
    #[arg(long, value_name = "TIME", group = "point")]
    pub at: Option<String>,
    /// Restore this source only; may be given for several
    #[arg(long = "source", value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Restore only this path and what is below it, or what a pattern matches; may be given for several
    #[arg(long = "path", value_name = "PATH|GLOB", value_parser = something())]
    pub paths: Vec<OsString>,
    /// The folder to restore into
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Put files where the plan has them
    #[arg(long)]
    pub in_place: bool,
    /// With `--in-place`: what the plan does not name goes where the backup says that it came from
    #[arg(long, requires = "in_place")]
    pub as_recorded: bool,
    /// With `--in-place`: put another machine's files here, as this machine takes its place
    #[arg(long, requires = "in_place")]
    pub adopt: bool,
    /// Replace what is already there
    #[arg(long)]
    pub overwrite: bool,
    /// Go on with a restore into DIR that was cut short: the same run, sources and paths; what is there already is compared
    /// and not fetched again. How far a cluster is to recover is said again
    #[arg(long, requires = "to", conflicts_with_all = ["overwrite", "run", "sources", "paths"])]
    pub resume: bool,
    /// Show what would be written; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Whom the summary is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
    /// How a Postgres cluster comes back; last, as its heading stands over all that follows.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Compare backups with their hashes, or rehearse a restore.
///
/// Reads backups where they lie and compares them with their hashes. Damage is named by artefact, by member and by the
/// files that are in it. Repositories of pgBackRest are read file by file, by `pgbackrest verify`. With `--rehearse`, sources are restored into a scratch folder, a Postgres cluster is started on
/// a private socket, the plan's `verify` blocks ask their queries, and all of it is removed again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan verify site.plan             the newest backup in every store
  plan verify site.plan --all       every backup
  plan verify site.plan --all --quick   whether all of them are there; from a bucket almost nothing is fetched
  plan verify /etc/backplan         the newest of every plan of a folder
  plan verify --deep --store /mnt/backup
  plan verify site.plan --rehearse   restore what the plan's `verify` blocks name, and look at it
  plan verify site.plan --rehearse --source db --scratch /srv/scratch

Exit statuses: 0 whole, 1 damaged or not readable, or a rehearsal failed, 3 a rehearsal took longer than `rto`.")]
pub struct VerifyArgs {
    /// Where to look.
    #[command(flatten)]
    pub place: WherePlans,
    /// The run: its id, its sequence number, or `latest`; with it those that it rests on
    #[arg(long, value_name = "RUN", default_value = "latest", conflicts_with = "all")]
    pub run: String,
    /// Every run
    #[arg(long)]
    pub all: bool,
    /// Also decode every entry and compare it with the index, and look into pgBackRest repositories that artefacts hold
    #[arg(long)]
    pub deep: bool,
    /// Read no contents: whether each artefact is there, with the size and the ends that it was written with, and each file of a log
    #[arg(long, conflicts_with = "deep")]
    pub quick: bool,
    /// Restore into a scratch folder, look at what came back, and remove it
    #[arg(long, conflicts_with_all = ["all", "deep", "quick"])]
    pub rehearse: bool,
    /// Rehearse this source only; may be given for several. Otherwise those of the plan's `verify` blocks, or all
    #[arg(long = "source", value_name = "SOURCE", requires = "rehearse")]
    pub sources: Vec<String>,
    /// Where to make the scratch folder: as large as what is restored. Otherwise TMPDIR, or `/var/tmp`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub scratch: Option<PathBuf>,
    /// Plans verified side by side, of several; left out, as many as there are cores
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// A path that is not empty: a script whose variable is must not get everything.
fn something() -> impl TypedValueParser<Value = OsString> {
    clap::builder::OsStringValueParser::new().try_map(|path| match path.is_empty() {
        true => Err("it is empty; to mean everything, leave it out"),
        false => Ok(path),
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{CatArgs, DiffRunArgs, ListArgs, LsArgs, RestoreArgs, RunArgs, VerifyArgs};

    /// The commands that make and read backups, by themselves.
    #[derive(Debug, Parser)]
    enum Alone {
        Run(RunArgs),
        List(ListArgs),
        Ls(LsArgs),
        Cat(CatArgs),
        DiffRun(DiffRunArgs),
        Restore(Box<RestoreArgs>),
        Verify(VerifyArgs),
    }

    #[test]
    fn the_definitions_hold_together() {
        Alone::command().debug_assert();
    }

    #[test]
    fn a_restore_wants_one_place_to_restore_to() {
        let parses = |words: &[&str]| {
            let words = ["plan", "restore"].iter().chain(words);
            Alone::try_parse_from(words).is_ok()
        };
        assert!(parses(&["site.plan", "--to", "x"]));
        assert!(parses(&["--store", "s", "--in-place"]));
        assert!(!parses(&["site.plan"]));
        assert!(!parses(&["site.plan", "--to", "x", "--in-place"]));
        assert!(!parses(&["site.plan", "--to", "x", "--at", "2026-11-20", "--lsn", "0/1"]));
        assert!(!parses(&["site.plan", "--to", "x", "--port", "5433"]));
        assert!(parses(&["site.plan", "--to", "x", "--xid", "4711", "--start", "--port", "5433"]));
    }
}
