//! Dumps of a MariaDB server: loaded into a new and private one, and asked there.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use backplan_compiler::count::plural;
use backplan_compiler::model::MariadbDriver;

use crate::backups::rehearsed::CheckVerdict;
use crate::mariadb::server::{Server, ServerError};
use crate::mariadb::{DATABASES, USERS, VIEWS, plugins};
use crate::places::account;
use crate::programs::process::{ProcessError, Tell};
use crate::rehearse::{
    Play, RehearsalWish, RehearseError, Stage, Way, failed, files, other_answer, private, silent, words_of,
};

/// What a grant says of a table or routine that is not there: servers keep grants of what was dropped.
const GONE: [&str; 2] = ["ERROR 1146", "ERROR 1305"];

impl Way for MariadbDriver {
    fn word(&self) -> &'static str {
        "mariadb"
    }

    fn prepared(&self, _: &RehearsalWish<'_>) -> Result<Play, RehearseError> {
        Ok(Box::new(match self {
            MariadbDriver::Dump => play,
        }))
    }
}

/// Loads the dumps and looks at them.
fn play(stage: &mut Stage<'_>) -> Result<(), RehearseError> {
    let dumped = stage.folder.join("dump");
    private(&dumped)?;
    if !files::restore(stage, &dumped)? {
        return Ok(());
    }
    let (data, begun) = (stage.folder.join("data"), Instant::now());
    private(&data)?;
    let listed = stage.labels().find_map(|labels| labels.plugins.as_deref()).unwrap_or_default();
    let plugins = plugins::needed(listed);
    let server = match make(stage, &data, &plugins)? {
        Ok(server) => server,
        Err(why) => {
            stage.note("start", begun, CheckVerdict::Failed, Some(why));
            return Ok(());
        }
    };
    let begun = Instant::now();
    let lacking = match told(server.lacking(&plugins, stage.control))? {
        Ok(lacking) if !lacking.is_empty() => format!(
            "\n  the server that was dumped has plugins that are not on this machine, or do not work here: {}",
            lacking.join(", ")
        ),
        _ => String::new(),
    };
    let (verdict, what) = match load(stage, &server, &dumped)? {
        Ok((count, broken)) => {
            let broken = match broken {
                0 => String::new(),
                broken => format!("; {broken} of its views broken as before"),
            };
            (CheckVerdict::Passed, format!("{}{broken}{}", plural(count, "database"), words_of(server.held)))
        }
        Err(why) => (CheckVerdict::Failed, why + &lacking),
    };
    stage.note("load", begun, verdict, Some(what));
    if verdict == CheckVerdict::Failed {
        return Ok(());
    }
    stage.is_usable();
    users(stage, &server, &dumped.join(USERS), &lacking)?;
    examine(stage, &server, &data)
}

/// Makes a server and starts it; the inner error is why there is none.
fn make(stage: &Stage<'_>, data: &Path, plugins: &[String]) -> Result<Result<Server, String>, RehearseError> {
    let wanted = || stage.wish.account.clone().filter(|account| account != "root");
    let name = rustix::process::geteuid().is_root().then(|| wanted().unwrap_or_else(|| "mysql".to_owned()));
    if let Some(name) = &name {
        let Some((user, group)) = account::find(name).map_err(failed(Path::new("/etc/passwd")))? else {
            return Ok(Err(format!("there is no account `{name}` on this machine for a server to run as")));
        };
        chown(data, Some(user), Some(group)).map_err(failed(data))?;
    }
    let scratch = stage.folder.join("server");
    told(Server::start(data, &scratch, &stage.spare, name.as_deref(), plugins, stage.control))
}

/// An error of a server in words, unless it says nothing of the backup.
fn told<T>(result: Result<T, ServerError>) -> Result<Result<T, String>, RehearseError> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(ServerError::Stopped(stopped) | ServerError::Program(ProcessError::Stopped(stopped))) => {
            Err(stopped.into())
        }
        Err(ServerError::Confine(error)) => Err(RehearseError::Harmful(error.to_string())),
        Err(ServerError::Missing(why)) => Err(RehearseError::Missing(why)),
        Err(ServerError::File { path, cause }) => Err(RehearseError::File { path, cause }),
        Err(other) => Ok(Err(other.to_string())),
    }
}

/// Loads every database; how many, and views that are broken, or why one does not load. A view on a table of another database needs that
/// first: what did not load is tried again, as long as that helps.
fn load(
    stage: &Stage<'_>,
    server: &Server,
    dumped: &Path,
) -> Result<Result<(usize, usize), String>, RehearseError> {
    let below = dumped.join(DATABASES);
    let entries = fs::read_dir(&below).map_err(failed(&below))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    if let Some(other) = entries.iter().find(|file| !is_file(file)) {
        return Ok(Err(format!("`{}` is no file", other.display())));
    }
    let (count, mut waiting) = (entries.len(), entries);
    let views = Some(dumped.join(VIEWS)).filter(|views| is_file(views));
    let mut helps = views.is_some();
    loop {
        let (mut left, mut first) = (Vec::new(), None);
        for file in &waiting {
            if let Err(why) = told(server.load(file, false, stage.control, &silent()))? {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                first.get_or_insert(format!("`{name}`: {why}"));
                left.push(file.clone());
            }
        }
        // Some that a server called broken may be made again, and others rest on them.
        let broken = match &views {
            Some(views) => match forced(stage, server, views)? {
                (Ok(()), errors) => errors.len(),
                (Err(why), _) => return Ok(Err(why)),
            },
            None => 0,
        };
        match first {
            None => return Ok(Ok((count, broken))),
            Some(why) if left.len() == waiting.len() && !helps => return Ok(Err(why)),
            Some(_) => (waiting, helps) = (left, false),
        }
    }
}

/// Loads a file of which some may fail: whether it could be loaded, and the errors.
fn forced(
    stage: &Stage<'_>,
    server: &Server,
    file: &Path,
) -> Result<(Result<(), String>, Vec<String>), RehearseError> {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&errors);
    let tell: Tell = Arc::new(move |line| {
        if line.starts_with("ERROR") {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        }
    });
    let loaded = told(server.load(file, true, stage.control, &tell))?;
    let errors = errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((loaded, errors))
}

/// Accounts, roles and grants come last: tables that are granted must be there. `lacking` says which plugins are not.
fn users(stage: &mut Stage<'_>, server: &Server, file: &Path, lacking: &str) -> Result<(), RehearseError> {
    if !is_file(file) {
        return Ok(());
    }
    let begun = Instant::now();
    let (loaded, errors) = forced(stage, server, file)?;
    let (gone, other): (Vec<&String>, Vec<&String>) =
        errors.iter().partition(|line| GONE.iter().any(|code| line.starts_with(code)));
    let (verdict, what) = match (loaded, other.first()) {
        (Err(why), _) => (CheckVerdict::Failed, Some(why)),
        (_, Some(first)) => (CheckVerdict::Failed, Some(format!("{first}{lacking}"))),
        _ if gone.is_empty() => (CheckVerdict::Passed, None),
        _ => {
            let what = format!("{} on what is not in the backup", plural(gone.len(), "grant"));
            (CheckVerdict::Passed, Some(what))
        }
    };
    stage.note("users", begun, verdict, what);
    Ok(())
}

/// Whether it is a file itself: what comes from a store may hold links.
fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|seen| seen.is_file())
}

/// Asks the plan's queries and runs its programs.
fn examine(stage: &mut Stage<'_>, server: &Server, data: &Path) -> Result<(), RehearseError> {
    let database = stage.wish.database.clone();
    for query in stage.wish.queries.clone() {
        let begun = Instant::now();
        let (verdict, why) = match told(server.query(database.as_deref(), &query, stage.control))? {
            Ok(rows) if rows == [["1"]] => (CheckVerdict::Passed, None),
            Ok(rows) => {
                let columns = rows.first().map_or(1, Vec::len);
                let shown: Vec<String> = rows.into_iter().take(2).map(|row| row.join(", ")).collect();
                (CheckVerdict::Failed, Some(other_answer(columns, &shown)))
            }
            Err(why) => (CheckVerdict::Failed, Some(why)),
        };
        stage.note("query", begun, verdict, why);
    }
    stage.commands(data, &server.environment())
}
