//! Arguments of `plan wal`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Identities;

/// Archive a cluster's write-ahead log, and bring it back.
///
/// For Postgres to call: `push` is an `archive_command`, `fetch` a `restore_command`. `plan restore` writes the latter
/// itself.
#[derive(Debug, Args)]
pub struct WalArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WalCommand,
}

/// What `plan wal` does.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Archive one file; 0 only once it is durable where the plan wants it
    ///
    /// archive_command = 'plan wal push /etc/backplan/node.plan main %p'
    Push(PushArgs),
    /// Bring one file back; 1 where the archive ends, 126 where recovery must not go on
    ///
    /// restore_command = 'plan wal fetch /etc/backplan/node.plan main %f %p', or with no plan:
    /// 'plan wal fetch --store /mnt/backup main %f %p'
    Fetch(FetchArgs),
    /// Make the archive before the first run does
    Init(InitArgs),
}

/// Arguments of `plan wal push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The plan
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The source whose log it is
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The file, as `%p` gives it
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// Archive it though the cluster that it is a copy of goes on: this one is to take its place
    #[arg(long)]
    pub take_over: bool,
}

/// Arguments of `plan wal fetch`.
#[derive(Debug, Args)]
#[command(
    override_usage = "plan wal fetch [--store NAME] FILE SOURCE NAME PATH\n       plan wal fetch --store FOLDER SOURCE NAME PATH"
)]
pub struct FetchArgs {
    /// A store's folder or address, where there is no plan, or the name of one of the plan's: of it alone; may be given for several
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub store: Vec<PathBuf>,
    /// What opens what is encrypted
    #[command(flatten)]
    pub identities: Identities,
    /// The plan in the store, where it has several
    #[arg(long, value_name = "PLAN", requires = "store")]
    pub plan_name: Option<String>,
    /// Fetch what follows ahead of need, and nothing else: what this command starts by itself
    #[arg(long, hide = true)]
    pub ahead: bool,
    /// The plan, unless `--store` says where; the source; the file, as `%f` gives it; where it goes, as `%p` does
    #[arg(value_name = "FILE SOURCE NAME PATH", num_args = 3..=4, required = true)]
    pub words: Vec<PathBuf>,
}

/// Arguments of `plan wal init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The plan
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The source whose log it is
    #[arg(value_name = "SOURCE")]
    pub source: String,
}
