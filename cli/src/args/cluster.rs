//! Arguments for getting a Postgres cluster back.

use clap::{Args, ValueEnum};

/// How far a Postgres cluster recovers, and what it does then.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "For a Postgres cluster (with one --source)")]
pub struct ClusterArgs {
    /// Recover to the state before this time, without what was committed in it: the time of an accident, as the log has it
    #[arg(long, value_name = "TIME", group = "point")]
    pub before: Option<String>,
    /// Recover up to this place of the write-ahead log: `0/3000110`
    #[arg(long, value_name = "LSN", group = "point")]
    pub lsn: Option<String>,
    /// Recover up to this restore point
    #[arg(long, value_name = "NAME", group = "point")]
    pub restore_point: Option<String>,
    /// Recover up to the end of this transaction
    #[arg(long, value_name = "XID", group = "point")]
    pub xid: Option<u64>,
    /// Recover no further than the backup itself
    #[arg(long, group = "point")]
    pub immediate: bool,
    /// Follow this timeline: `latest`, `current`, or a number
    #[arg(long, value_name = "TIMELINE")]
    pub target_timeline: Option<String>,
    /// What the server does at its target
    #[arg(long, value_name = "ACTION")]
    pub target_action: Option<TargetAction>,
    /// Put a tablespace elsewhere; may be given for several. Without, they go to folders beside DIR
    #[arg(long, value_name = "OLD=NEW")]
    pub tablespace: Vec<String>,
    /// Let it archive its log as the original does: for the one that takes its place. Without, `archive_mode` is off
    #[arg(long)]
    pub archive: bool,
    /// Start it, on a private socket, and wait until it has recovered
    #[arg(long)]
    pub start: bool,
    /// The port of its socket
    #[arg(long, value_name = "PORT", requires = "start")]
    pub port: Option<u16>,
    /// How long it may take to recover, in seconds
    #[arg(long, value_name = "SECONDS", requires = "start")]
    pub patience: Option<u64>,
}

/// What a server does at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TargetAction {
    /// Becomes a server that is written to
    Promote,
    /// Stays in recovery, to be read
    Pause,
    /// Stops
    Shutdown,
}

impl ClusterArgs {
    /// Whether anything of it was asked for.
    pub fn is_asked(&self) -> bool {
        let ClusterArgs {
            before, lsn, restore_point, xid, immediate, target_timeline, target_action, ..
        } = self;
        before.is_some()
            || lsn.is_some()
            || restore_point.is_some()
            || xid.is_some()
            || *immediate
            || target_timeline.is_some()
            || target_action.is_some()
            || !self.tablespace.is_empty()
            || self.archive
            || self.start
    }
}
