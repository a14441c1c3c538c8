//! Base backups: laid down, recovered to the end of what there is, asked, stopped, and their pages checked.

use backplan_compiler::count::plural;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::server::{checksums, detail, examine};
use super::{Needs, PATIENCE, of_restore};
use crate::backups::rehearsed::CheckVerdict;
use crate::postgres::Driver;
use crate::postgres::recovery::{Action, Point, Recovery, Timeline};
use crate::postgres::restore::PutBack;
use crate::postgres::restore::cluster::{self, ClusterError, ClusterWish};
use crate::postgres::restore::launch::Then;
use crate::postgres::restore::log::near;
use crate::postgres::restore::outside::{self, Outside};
use crate::postgres::server::{Expect, Server, Start};
use crate::postgres::wal::archive::Archive;
use crate::postgres::wal::lsn::Lsn;
use crate::rehearse::{RehearsalWish, RehearseError, Stage, words_of};

/// Restores the cluster and looks at it. `restore` puts a data directory into the stage's folder: its outer error is the backup's, the
/// inner one this machine's.
pub(crate) fn play(
    stage: &mut Stage<'_>,
    mut needs: Needs,
    restore: impl FnOnce(&mut Stage<'_>, &mut Needs) -> Result<Result<Laid, RehearseError>, ClusterError>,
) -> Result<(), RehearseError> {
    let begun = Instant::now();
    let restored = match restore(stage, &mut needs) {
        Ok(found) => found?,
        Err(error) => {
            let why = of_restore(error)?;
            stage.note("restore", begun, CheckVerdict::Failed, Some(why));
            return Ok(());
        }
    };
    let Laid { programs, what, outside, end } = restored;
    // A server without a network cannot fetch its log from one.
    let is_near = !stage.is_far;
    stage.note("restore", begun, CheckVerdict::Passed, Some(what));
    let data = stage.folder.join("data");
    let begun = Instant::now();
    let start = Start { alone: is_near, ..how(stage, needs.role.as_deref(), &programs, &data, &outside) };
    let started = Server::start(&start, stage.control).and_then(|mut server| {
        server.wait(Expect::Open, PATIENCE, stage.control)?;
        Ok(server)
    });
    let mut server = match started {
        Ok(server) => server,
        Err(error) => {
            let why = detail(error)?;
            stage.note("recover", begun, CheckVerdict::Failed, Some(why));
            return Ok(());
        }
    };
    stage.is_usable();
    let network = match (is_near, server.is_alone) {
        (false, _) => "over the network, from its repository",
        (true, true) => "with no network",
        (true, false) => "no network namespace could be had",
    };
    if let Some(Err(error)) = end.map(|end| server.has_reached(end, stage.control)) {
        let why = detail(error)?;
        stage.note("recover", begun, CheckVerdict::Failed, Some(why));
        return Ok(());
    }
    stage.note("recover", begun, CheckVerdict::Passed, Some(format!("{network}{}", words_of(server.held))));
    examine(stage, &mut server, &programs, &data)?;
    // In order, so that every page is written: what is checked next is what lies on the disk.
    server.stop();
    stage.control.check()?;
    // Outside its own view of the world, the links that its log made lead into what lies on this machine.
    if let Err(error) = outside::settle(&data, &outside) {
        let why = of_restore(error)?;
        stage.note("pg_checksums", Instant::now(), CheckVerdict::Failed, Some(why));
        return Ok(());
    }
    checksums(stage, &programs, &data)
}

/// How the server is started on what was put back.
fn how(stage: &Stage<'_>, role: Option<&str>, programs: &Path, data: &Path, outside: &[Outside]) -> Start {
    let mut start = Start::new(programs.to_path_buf(), data.to_path_buf(), stage.folder.join("server"));
    start.spare.clone_from(&stage.spare);
    // All of it is thrown away.
    start.own.push(stage.folder.clone());
    start.covers = outside.iter().map(Outside::cover).collect();
    if let Some(role) = role {
        role.clone_into(&mut start.role);
    }
    start
}

/// A data directory that was put back.
pub(crate) struct Laid {
    /// The server's programs.
    programs: PathBuf,
    /// What was restored, in words.
    what: String,
    /// The tablespaces that its log makes elsewhere.
    outside: Vec<Outside>,
    /// Where the last segment of the log ends that it is to replay, where that is known.
    end: Option<Lsn>,
}

fn recovery(wish: &RehearsalWish<'_>, fetch: Option<String>) -> Recovery {
    // The newest backup is to lead to where the cluster is now. One that is named may be from before a fork, and leads to
    // the end of its own history.
    let timeline = if wish.run.is_some() { Timeline::Current } else { Timeline::Latest };
    Recovery {
        point: Point::Latest,
        timeline,
        action: Action::Promote,
        restore_command: fetch,
        archives: false,
    }
}

/// What was restored, and what a person should know of the choice.
fn with_warnings(what: String, warnings: &[String]) -> String {
    warnings.iter().fold(what, |what, warning| format!("{what}; {warning}"))
}

/// Has a tool put the cluster back, to the end of the log that its repository has.
pub(crate) fn have_put_back(
    stage: &mut Stage<'_>,
    needs: &mut Needs,
    tool: &dyn Driver,
    name: &str,
) -> Result<Result<Laid, RehearseError>, ClusterError> {
    let wish = of_tool(stage, needs);
    let restore = tool.put_back(stage.shelves, wish, jiff::Timestamp::now())?;
    stage.run = restore.run();
    let programs = restore.programs()?;
    if let Err(error) = stage.has_room(restore.room()?) {
        return Ok(Err(error));
    }
    let outcome = restore.carry_out(stage.control)?;
    // It may be from another repository than was looked at first.
    stage.run = outcome.run.parse().unwrap_or(stage.run);
    stage.is_far = outcome.is_far;
    outside::make(&stage.folder.join("data"), &outcome.outside)?;
    let what = format!("{}, by {name}", plural(outcome.bytes, "byte"));
    let what = with_warnings(what, &outcome.warnings);
    Ok(Ok(Laid { programs, what, outside: outcome.outside, end: outcome.log_end }))
}

/// What a tool is to put back.
fn of_tool(stage: &mut Stage<'_>, needs: &mut Needs) -> ClusterWish {
    ClusterWish {
        source: stage.wish.source.clone(),
        to: stage.folder.join("data"),
        // Of none that is named, the one that leads to where the cluster is now: the newest may be of a past that was left.
        run: stage.wish.run.clone(),
        recovery: recovery(&stage.wish, None),
        log: Vec::new(),
        tablespaces: Vec::new(),
        account: None,
        reads: Vec::new(),
        resume: false,
        then: Then::Rehearse,
        passphrase: needs.passphrase.take(),
        remotes: std::mem::take(&mut needs.remotes),
        roots: std::mem::take(&mut stage.wish.roots),
    }
}

/// Lays a base backup down.
pub(crate) fn lay_down(
    stage: &mut Stage<'_>,
    needs: &mut Needs,
) -> Result<Result<Laid, RehearseError>, ClusterError> {
    // The server has no network and no key: what is far away or encrypted is brought to it before.
    let is_near = !needs.is_log_sealed && !needs.log.iter().any(Archive::is_far);
    let near = stage.folder.join("log");
    let fetch = match is_near || needs.log.is_empty() {
        true => needs.fetch.clone(),
        false => Some(near::command(&near)),
    };
    let wish = ClusterWish {
        source: stage.wish.source.clone(),
        to: stage.folder.join("data"),
        run: stage.wish.run.clone(),
        recovery: recovery(&stage.wish, fetch),
        log: std::mem::take(&mut needs.log),
        tablespaces: Vec::new(),
        account: stage.wish.account.clone(),
        reads: Vec::new(),
        resume: false,
        then: Then::Rehearse,
        passphrase: None,
        remotes: Vec::new(),
        roots: BTreeMap::new(),
    };
    let restore = cluster::plan(stage.shelves, wish, jiff::Timestamp::now())?;
    stage.run = restore.chosen;
    let (programs, end) = (restore.programs()?, restore.end);
    let mut log = if is_near { near::Near::default() } else { near::Near::of(&restore, stage.shelves)? };
    if let Err(error) = stage.has_room(restore.room()?.saturating_add(log.bytes())) {
        return Ok(Err(error));
    }
    let outcome = restore.carry_out(stage.control)?;
    log.bring(&near, &stage.folder.join("data"), stage.control)?;
    outside::make(&stage.folder.join("data"), &outcome.outside)?;
    let what = format!("{}, {}", plural(outcome.entries, "entry"), plural(outcome.bytes, "byte"));
    let what = with_warnings(what, &outcome.warnings);
    Ok(Ok(Laid { programs, what, outside: outcome.outside, end }))
}
