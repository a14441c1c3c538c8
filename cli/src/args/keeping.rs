//! Arguments of the commands that look after backups that exist.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use backplan_runtime::metrics::Dialect;

use super::{Format, PlanFile, PlanFiles};

/// Show how plans stand.
///
/// Shows how old each source's newest backup is and where it lies, what the next run is and when it is due, and which
/// objectives hold now. Of several plans, and of those of a folder, a line each, the worst first. Nothing but the stores is read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan status site.plan
  plan status site.plan --format json   for a monitor
  plan status /etc/backplan             all plans of a folder
  plan status /etc/backplan --due       what should have run and did not
  plan status /etc/backplan --format prometheus --out /var/lib/node_exporter/backplan.prom

Exit statuses: 0 all is well; 3 a person should look: a run is overdue, an objective missed, a store or a manifest not
readable, a source without a backup; 1 there is no backup at all, or nothing can be read. Of several plans the worst. With
`--due`: 0 nothing is, 3 something is. With numbers for a monitor: 0 they are whole, 3 some could not be told.")]
pub struct StatusArgs {
    /// The plans.
    #[command(flatten)]
    pub plans: PlanFiles,
    /// Show only what should have run and did not
    #[arg(long)]
    pub due: bool,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: StatusFormat,
    /// Write it here, whole or not at all, not to the standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Plans looked at side by side; left out, as many as there are cores
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
}

/// Whom `status` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StatusFormat {
    /// For people
    #[default]
    Human,
    /// For programs: one JSON document; of several plans a line each
    Json,
    /// Numbers in Prometheus' text format, for node_exporter
    Prometheus,
    /// Numbers in OpenMetrics' format
    Openmetrics,
}

impl StatusFormat {
    /// How numbers are written, where they are asked for.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            StatusFormat::Human | StatusFormat::Json => None,
            StatusFormat::Prometheus => Some(Dialect::Prometheus),
            StatusFormat::Openmetrics => Some(Dialect::OpenMetrics),
        }
    }
}

/// Write a page on how plans stand.
///
/// One page of HTML that needs nothing else: what is protected and what not, what is wrong, the last runs and their sizes, the days of
/// which there are backups and why each stays, chains, rehearsals. It is read on a phone, in the dark, without colours and in print.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan report site.plan -o site.html
  plan report /etc/backplan -o /srv/www/backups.html   all plans of a folder, the worst first

Exit statuses: as of `plan status`, the worst of all plans; 1 also where the page could not be written.")]
pub struct ReportArgs {
    /// The plans.
    #[command(flatten)]
    pub plans: PlanFiles,
    /// Write it here, whole or not at all, not to the standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Plans looked at side by side; left out, as many as there are cores
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
}

/// Send a message to all whom the plan tells of its runs.
///
/// Sends to each `notify` of the plan what says that it is a test, whatever events it is declared for. A run that nobody was
/// told of is a run that nobody knows of: try it when the plan is new, and when somebody changed the address.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan notify site.plan --test

Exit statuses: 0 all took it, 1 one did not, or the plan tells nobody, 2 the plan does not compile.")]
pub struct NotifyArgs {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// Send a test; there is nothing else that can be sent by hand
    #[arg(long, required = true)]
    pub test: bool,
}

/// Write what starts a plan's runs: timers of systemd, a crontab, CronJobs, a DAG.
///
/// A plan's `schedule` says when runs are due; what starts them then is systemd, cron, Kubernetes or Airflow. Prints their files, writes them into a
/// folder with `--out`, or puts them where they are read with `--install`. A file there that somebody changed is neither
/// overwritten nor removed. What those cannot express is refused, with the nearest that they can.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan schedule site.plan --for systemd                               a service and a timer, printed
  plan schedule site.plan --for systemd --diff                        what --install would change
  plan schedule /etc/backplan --for systemd --install                 every plan of a folder, switched on
  plan schedule site.plan --for systemd --remove                      switched off and deleted
  plan schedule site.plan --for cron --user --install                 into this account's crontab
  plan schedule site.plan --for cron --out units                      a file for /etc/cron.d, for root
  plan schedule /etc/backplan --for kubernetes --image registry.example/backplan:1 --node web-1 --out base
  plan schedule site.plan --for airflow --ssh web-1 --out dags        a DAG, over SSH

Exit statuses: 0 done (`--diff`: all is as the plans say), 1 a schedule cannot be expressed or a file not be written, 2 a
plan does not compile, 3 `--diff` found differences.")]
pub struct ScheduleArgs {
    /// Which plans.
    #[command(flatten)]
    pub plans: PlanFiles,
    /// What is to start the runs
    #[arg(long = "for", value_name = "WHAT")]
    pub starter: Timers,
    /// Write the files into this folder; with `--diff` or `--remove`, look at those in it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Put the files where systemd or cron reads them, and switch them on
    #[arg(long, conflicts_with_all = ["out", "remove", "diff"])]
    pub install: bool,
    /// Switch off and delete what was installed, as far as nobody changed it
    #[arg(long, conflicts_with = "diff")]
    pub remove: bool,
    /// Show what differs between what is installed and what the plans say now
    #[arg(long)]
    pub diff: bool,
    /// For this account's own systemd or crontab, not the system's
    #[arg(long)]
    pub user: bool,
    /// What only some of those that start runs take.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// What Kubernetes and Airflow have to be told.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    /// Kubernetes: the image with the program; Airflow: run in pods of this image
    #[arg(long, value_name = "IMAGE", value_parser = of_line())]
    pub image: Option<String>,
    /// Kubernetes: the namespace; left out, the one that it is applied to
    #[arg(long, value_name = "NAME", value_parser = of_names())]
    pub namespace: Option<String>,
    /// Kubernetes: the claim that is mounted at a path of the plan; may be given for several
    #[arg(long, value_name = "PATH=CLAIM", value_parser = of_claims())]
    pub claim: Vec<(PathBuf, String)>,
    /// Kubernetes: the machine whose folders the plan's other paths are
    #[arg(long, value_name = "NAME", value_parser = of_names())]
    pub node: Option<String>,
    /// Kubernetes, Airflow: start nothing until somebody says so there
    #[arg(long)]
    pub suspend: bool,
    /// Airflow: run on the host of this connection of Airflow's; left out, on its worker
    #[arg(long, value_name = "CONNECTION", conflicts_with = "image", value_parser = of_line())]
    pub ssh: Option<String>,
}

fn of_line() -> fn(&str) -> Result<String, String> {
    |text| match text {
        text if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) => {
            Err("it is a word without spaces".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}

fn of_names() -> fn(&str) -> Result<String, String> {
    |text| {
        let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_name = text.len() <= 253
            && text.starts_with(is_end)
            && text.ends_with(is_end)
            && text.chars().all(|c| is_end(c) || c == '-' || c == '.');
        if is_name {
            Ok(text.to_owned())
        } else {
            Err("names there are of `a` to `z`, digits, `-` and `.`".to_owned())
        }
    }
}

fn of_claims() -> fn(&str) -> Result<(PathBuf, String), String> {
    |text| {
        let (path, claim) = text.rsplit_once('=').ok_or("it wants PATH=CLAIM, such as `/srv/data=data`")?;
        if !path.starts_with('/') {
            return Err("the path begins with `/`".to_owned());
        }
        Ok((PathBuf::from(path), of_names()(claim)?))
    }
}

/// What starts runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Timers {
    /// A service and a timer
    Systemd,
    /// Lines of a crontab
    Cron,
    /// CronJobs, and what their pods need
    Kubernetes,
    /// A DAG
    Airflow,
}

/// Delete the backups that `keep` gives up.
///
/// Deletes the backups that the plan's `keep` gives up, as every run does at its end, and shows what stays with every rule
/// that keeps it. A backup that another one rests on, and the newest of each source, are never deleted. Nothing is deleted
/// where the clock or a source cannot be believed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan prune site.plan --dry-run                   what stays and why, what would go; deletes nothing
  plan prune site.plan
  plan prune site.plan --store nas                 this store alone
  plan prune site.plan --dry-run --at 2027-01-01   as if it were that day
  plan prune site.plan --accept mail               that source is as small as it is to be

Exit statuses: 0 done, 1 a store could not be pruned, 2 the plan does not compile, 3 refused (the clock is before the
newest backup, or far past it; a source lost more than half) or something that a person should look at, 4 a run goes on.")]
pub struct PruneArgs {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// Show what stays, why, and what would go; delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// As if it were this time: `2026-11-20T02:30:00Z`, or `2026-11-20 02:30` in local time
    #[arg(long, value_name = "TIME", requires = "dry_run")]
    pub at: Option<String>,
    /// This store alone
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// Say that what this source lost up to its newest backup is right so: the last backup from before need not stay for 30 days.
    /// Or a run that `status` tells of, as no store has it any more or this machine did not make it. May be given for several
    #[arg(long, value_name = "SOURCE|RUN")]
    pub accept: Vec<String>,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Fill a store with what it lacks and others have.
///
/// Copies what a store lacks of what the plan's other stores have: backups, the oldest first, and archived logs; also to a
/// store that is new to the plan. Each artefact is checked against its digest while it is copied, and a backup exists where its
/// manifest is, which comes last. What the store's `keep` would delete at once is not copied. Stopped at any moment, the
/// next sync goes on.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan sync site.plan --dry-run        what would be copied where; writes nothing
  plan sync site.plan
  plan sync site.plan --store offsite  fill this store alone

Exit statuses: 0 done, 1 a store could not be filled, 2 the plan does not compile, 3 something could not be copied, 4 a run
goes on.")]
pub struct SyncArgs {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// Show what would be copied; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Fill this store alone
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// Whom the answer is for
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Show which backups there will be, and until when each lives.
///
/// Plays the plan's schedule, cycle and retention forward and shows what each store holds: on one day with the reason
/// why each backup is kept, or day by day what is made and what goes. It begins with what the stores hold now, every run
/// from now on succeeding. Where they cannot be read or hold nothing yet, and of days before today, it shows what the plan says once it
/// has been followed for longer than its rules reach. The first line says which.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plan keep site.plan                                   what there is today, why, and until when
  plan keep site.plan --on 2027-03-01                   on another day
  plan keep site.plan --from 2027-03-01 --days 31       day by day
  plan keep site.plan --on 2027-03-01 --settled         by the plan alone, whatever the stores hold
  plan keep site.plan --days 90 --format svg -o keep.svg   a picture
  plan keep site.plan --format html -o keep.html           a page, for screens, phones and paper

Exit statuses: 0 done, 2 the plan does not compile or has no schedule.")]
pub struct KeepArgs {
    /// The plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// The day that is looked at, at its end; left out, today
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "days"])]
    pub on: Option<String>,
    /// The first day of a calendar; left out, today
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// How many days the calendar has; left out, 31
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub days: Option<u16>,
    /// This store alone
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// Read no store: what the plan says, once it has been followed for longer than its rules reach
    #[arg(long)]
    pub settled: bool,
    /// How it is shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Calendar,
    /// Write it here, not to the standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// How a calendar is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Calendar {
    /// For people
    Text,
    /// For programs: one JSON document
    Json,
    /// A drawing
    Svg,
    /// A page that needs nothing else
    Html,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{PruneArgs, StatusArgs};

    #[derive(Debug, Parser)]
    enum Alone {
        Status(StatusArgs),
        Prune(PruneArgs),
    }

    #[test]
    fn another_time_is_only_looked_at() {
        Alone::command().debug_assert();
        assert!(Alone::try_parse_from(["plan", "prune", "--at", "2027-01-01"]).is_err());
        assert!(Alone::try_parse_from(["plan", "prune", "--at", "2027-01-01", "--dry-run"]).is_ok());
    }
}
