//! Arguments as typed, and the help texts. What they mean is worked out by the commands.

#[cfg(test)]
mod advice_tests;
mod artefacts;
mod cluster;
mod keeping;
mod plans;
mod wal;

use std::str::FromStr;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub use artefacts::{
    Asked, CatArgs, DiffRunArgs, Identities, ListArgs, LsArgs, RestoreArgs, RunArgs, StepArgs, StoreChoice,
    VerifyArgs, WantedLevel, Where, WhereFile, WherePlans,
};
pub use cluster::{ClusterArgs, TargetAction};
pub use keeping::{
    Calendar, KeepArgs, NotifyArgs, PruneArgs, ReportArgs, ScheduleArgs, StatusArgs, StatusFormat, SyncArgs,
    Timers,
};
pub use plans::{
    CheckArgs, CompileArgs, CompletionsArgs, Denied, DiffArgs, DiffFormat, ExplainArgs, FmtArgs, GraphArgs,
    InitPlanArgs, LspArgs, Picture, PlanFile, PlanFiles, Report, WantedClusters, WhyArgs,
};
pub use wal::{FetchArgs, InitArgs, PushArgs, WalArgs, WalCommand};

const STATUSES: &str = "\
Exit statuses:
  0    done; nothing to report
  1    failed (check: errors were found)
  2    wrong usage, or a plan that does not compile
  3    done, with warnings that a person should read
  4    another run holds the lock
  126  wal fetch: recovery must go no further
  130  stopped by SIGINT, cleaned up
  143  stopped by SIGTERM, cleaned up

Where a command takes FILE and none is given, the one plan in the current folder is meant.";

/// Backup plans as code: say what must survive, check it, run it, restore from it.
///
/// A plan file says what must survive a disaster and how. `plan` checks it before it runs, shows what a run would do,
/// runs it, and restores from what the runs left, also where nothing but the store and this program is left.
#[derive(Debug, Parser)]
#[command(name = "plan", version, max_term_width = 100, after_long_help = STATUSES)]
pub struct Args {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Set a parameter of the plan; may be given for several
    ///
    /// It goes before the environment variable PLAN_PARAM_NAME and the parameter's default.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", global = true)]
    pub params: Vec<Binding>,
    /// When to colour: a terminal is coloured unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true, hide_possible_values = false)]
    pub color: Color,
    /// Say more of what is done; twice for everything
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say nothing but answers and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Human,
    /// For programs: one JSON document
    Json,
}

/// `NAME=VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The parameter.
    pub name: String,
    /// Its value, as text.
    pub value: String,
}

impl FromStr for Binding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it wants NAME=VALUE, such as `-p site=web-01`")?;
        let named = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !named {
            return Err(format!(
                "`{name}` is not a name: a small letter, then small letters, digits and `_`"
            ));
        }
        Ok(Binding { name: name.into(), value: value.into() })
    }
}

/// The commands. What each does is said by the documentation of its arguments, which is its help text.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Command {
    Check(CheckArgs),
    Fmt(FmtArgs),
    Explain(ExplainArgs),
    Compile(CompileArgs),
    Diff(DiffArgs),
    Graph(GraphArgs),
    Keep(KeepArgs),
    Why(WhyArgs),
    Init(InitPlanArgs),
    Run(RunArgs),
    Step(StepArgs),
    List(ListArgs),
    Ls(LsArgs),
    Cat(CatArgs),
    DiffRun(DiffRunArgs),
    Restore(Box<RestoreArgs>),
    Verify(VerifyArgs),
    Status(StatusArgs),
    Report(ReportArgs),
    Prune(PruneArgs),
    Sync(SyncArgs),
    Notify(NotifyArgs),
    Schedule(ScheduleArgs),
    Wal(WalArgs),
    Lsp(LspArgs),
    Completions(CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Args, Binding};

    #[test]
    fn the_definition_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn headings_stand_over_what_they_speak_of_alone() {
        let of_clusters = [
            "lsn",
            "restore_point",
            "xid",
            "immediate",
            "target_timeline",
            "target_action",
            "tablespace",
            "archive",
            "start",
            "port",
            "patience",
        ];
        let of_all = ["params", "color", "verbose", "quiet"];
        let mut waiting = vec![Args::command()];
        while let Some(command) = waiting.pop() {
            for arg in command.get_arguments() {
                let (command, id) = (command.get_name(), arg.get_id().as_str());
                let expected = match arg.get_help_heading() {
                    // `diff-run` calls a run so.
                    Some(heading) if heading.contains("Postgres") => {
                        of_clusters.contains(&id) || id == "before"
                    }
                    Some(heading) if heading.contains("every command") => of_all.contains(&id),
                    Some(_) => false,
                    None => !of_clusters.contains(&id) && !of_all.contains(&id),
                };
                assert!(expected, "{command} {id} stands under {:?}", arg.get_help_heading());
            }
            waiting.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn a_binding_is_split_at_the_first_equals_sign() {
        let binding = "site=a=b".parse();
        assert_eq!(binding, Ok(Binding { name: "site".into(), value: "a=b".into() }));
        assert!("site".parse::<Binding>().is_err());
        assert!("Site=x".parse::<Binding>().is_err());
    }
}
