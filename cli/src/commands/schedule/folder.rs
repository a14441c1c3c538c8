//! Files in a folder: units of systemd, crontabs of the system, and whatever is written with `--out`.

use std::io;
use std::path::PathBuf;

use backplan_runtime::load::display;
use backplan_runtime::stamped::{Folder, Standing, is_of, plan_of, stamped};
use backplan_runtime::starter::StarterError;
use backplan_runtime::starter::systemd::{Whose, is_running};

use super::{Deed, Planned, say_refused, shown_difference, told, whose};
use crate::args::{ScheduleArgs, Timers};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Where crontabs of the system are.
const CRON: &str = "/etc/cron.d";

/// A file, what is to stand there, and what does.
struct Change {
    name: String,
    /// `None`: nothing is to.
    text: Option<String>,
    found: Standing,
}

impl Change {
    fn is_none(&self) -> bool {
        match self.text {
            Some(_) => self.found == Standing::Same,
            None => self.found == Standing::Nothing,
        }
    }
}

pub(super) fn execute(
    plans: &[Planned],
    args: &ScheduleArgs,
    deed: Deed,
    console: &mut Console,
) -> Result<Status, Failure> {
    let folder = open(args, deed)?;
    let (mut worst, mut changes) = (Status::Done, Vec::new());
    for plan in plans {
        let done = changes_of(&folder, plan, deed, console).and_then(|found| {
            if deed == Deed::Compare {
                let status = compare(&folder, &found, console);
                if status != Status::Done
                    && let Some(refused) = refusal(&folder, plan, &found, args)
                {
                    say_refused(&refused, console);
                }
                return Ok((status, found));
            }
            refuse_foreign(&folder, plan, &found)?;
            if matches!(deed, Deed::Write | Deed::Install) {
                put(&folder, &found, args, console)?;
            }
            Ok((Status::Done, found))
        });
        match done {
            Ok((status, found)) => {
                worst = worst.max(status);
                changes.extend(found);
            }
            Err(failure) => worst = worst.max(told(&failure, console)),
        }
    }
    let finished = match (deed, args.starter) {
        (Deed::Compare, Timers::Systemd) if args.out.is_none() => Ok(say_disabled(&changes, args, console)),
        (Deed::Compare, _) => Ok(Status::Done),
        (_, Timers::Systemd) => tell_systemd(&folder, &changes, args, deed, console),
        _ => remove(&folder, &changes, console),
    };
    let status = finished.unwrap_or_else(|failure| told(&failure, console));
    Ok(worst.max(status))
}

/// The folder where these files are.
fn open(args: &ScheduleArgs, deed: Deed) -> Result<Folder, Failure> {
    let path = match (&args.out, args.starter) {
        (Some(folder), _) => folder.clone(),
        (None, Timers::Systemd) => {
            whose(args).folder().map_err(|error| Failure::new(error.to_string()).help("set HOME"))?
        }
        (None, _) => PathBuf::from(CRON),
    };
    if args.user && args.out.is_none() && deed == Deed::Install {
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::new(format!("`{}` cannot be made: {error}", display(&path))))?;
    }
    Folder::open(&path)
        .or_else(|error| match error.kind() {
            // Nothing is installed in it.
            io::ErrorKind::NotFound if matches!(deed, Deed::Compare | Deed::Remove) => {
                Ok(Folder::absent(&path))
            }
            _ => Err(error),
        })
        .map_err(|error| {
            let failure = Failure::new(format!("`{}`: {error}", display(&path)));
            match error.kind() {
                io::ErrorKind::NotFound if args.out.is_some() => failure.help("make the folder first"),
                io::ErrorKind::NotFound => failure.help("what is to start the runs is not installed here"),
                _ => failure,
            }
        })
}

/// What is to change for a plan. Files that it had under another schedule would go on starting it: they go.
fn changes_of(
    folder: &Folder,
    plan: &Planned,
    deed: Deed,
    console: &mut Console,
) -> Result<Vec<Change>, Failure> {
    let standing = |name: &str, text: &str| {
        let unread =
            |error| Failure::new(format!("`{}` cannot be read: {error}", display(&folder.join(name))));
        folder.standing(name, text).map_err(unread)
    };
    let mut changes = Vec::new();
    for unit in &plan.units {
        let text = stamped(&plan.file, &unit.text);
        let found = standing(&unit.name, &text)?;
        changes.push(Change { name: unit.name.clone(), text: Some(text), found });
    }
    for name in plan.former.iter().filter(|name| plan.units.iter().all(|unit| unit.name != **name)) {
        let found = standing(name, "")?;
        if matches!(found, Standing::Ours(_)) && deed != Deed::Compare {
            refuse_other(folder, plan, name, &found, "nothing was written")?;
        }
        // Another plan's of this name, or one that this program never wrote, is none of this plan's.
        if !is_of(found.text(), &plan.file) && (deed != Deed::Remove || found == Standing::Nothing) {
            continue;
        }
        if deed != Deed::Remove && matches!(found, Standing::Foreign(_)) {
            let place = display(&folder.join(name));
            console.remark(
                "warning",
                &format!("`{place}` was changed by somebody and stays: the plan has it no more"),
            );
            continue;
        }
        changes.push(Change { name: name.clone(), text: None, found });
    }
    Ok(changes)
}

/// Before anything is written all is looked at: no half of a pair.
fn refuse_foreign(folder: &Folder, plan: &Planned, changes: &[Change]) -> Result<(), Failure> {
    for change in changes {
        let place = display(&folder.join(&change.name));
        let nothing = if change.text.is_some() { "nothing was written" } else { "nothing was removed" };
        match &change.found {
            Standing::Foreign(_) => {
                return Err(Failure::new(format!("`{place}` was written, or changed, by somebody"))
                    .help(format!("move it away, or take over what was changed into the plan; {nothing}")));
            }
            found => refuse_other(folder, plan, &change.name, found, nothing)?,
        }
    }
    Ok(())
}

/// Why nothing of what is to change for a plan would be written.
fn refusal(folder: &Folder, plan: &Planned, changes: &[Change], args: &ScheduleArgs) -> Option<Failure> {
    let deed = if args.out.is_some() { Deed::Write } else { Deed::Install };
    // Where this account's own units are is made by who installs them.
    let opened = if args.user && args.out.is_none() { Ok(()) } else { open(args, deed).map(drop) };
    let former = plan.former.iter().filter(|name| plan.units.iter().all(|unit| unit.name != **name));
    let former = || {
        former.into_iter().try_for_each(|name| match folder.standing(name, "") {
            Ok(found @ Standing::Ours(_)) => {
                refuse_other(folder, plan, name, &found, "nothing would be written")
            }
            _ => Ok(()),
        })
    };
    opened.and_then(|()| former()).and_then(|()| refuse_foreign(folder, plan, changes)).err()
}

/// Two plans of one name would take turns in one file.
fn refuse_other(
    folder: &Folder,
    plan: &Planned,
    name: &str,
    found: &Standing,
    nothing: &str,
) -> Result<(), Failure> {
    let other = plan_of(found.text()).filter(|_| !is_of(found.text(), &plan.file));
    other.map_or(Ok(()), |other| {
        let place = display(&folder.join(name));
        Err(Failure::new(format!("`{place}` is that of another plan of this name, {other}")).help(format!(
            "give one of the two another name, or delete it where that plan is no more; {nothing}"
        )))
    })
}

fn put(
    folder: &Folder,
    changes: &[Change],
    args: &ScheduleArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let files: Vec<(&str, &str)> = changes
        .iter()
        .filter(|change| !change.is_none())
        .filter_map(|change| Some((change.name.as_str(), change.text.as_deref()?)))
        .collect();
    folder.put(&files).map_err(|(place, error)| {
        let failure = Failure::new(format!("`{}` cannot be written: {error}", display(&place)));
        match error.kind() {
            io::ErrorKind::PermissionDenied if !args.user && args.out.is_none() => failure.help(
                "run it as root, or take `--user` for what this account itself is to start; nothing was written",
            ),
            _ => failure.help("nothing was written"),
        }
    })?;
    for change in changes.iter().filter(|change| change.text.is_some()) {
        let word = match change.found {
            Standing::Same => "unchanged",
            Standing::Nothing => "written",
            Standing::Ours(_) | Standing::Foreign(_) => "replaced",
        };
        console.say(&format!("{}: {word}\n", display(&folder.join(&change.name))));
    }
    Ok(())
}

/// Deletes what the plans have no more.
fn remove(folder: &Folder, changes: &[Change], console: &mut Console) -> Result<Status, Failure> {
    for change in changes.iter().filter(|change| change.text.is_none()) {
        let place = display(&folder.join(&change.name));
        folder
            .remove(&change.name)
            .map_err(|error| Failure::new(format!("`{place}` cannot be removed: {error}")))?;
        console.say(&format!("{place}: removed\n"));
    }
    Ok(Status::Done)
}

/// What switched a timer on leads nowhere once the timer is gone. systemd itself takes it away where it runs.
fn remove_links(folder: &Folder, timers: &[&str]) {
    let Ok(wants) = Folder::open(&folder.join("timers.target.wants")) else { return };
    for timer in timers {
        // One that stays starts nothing.
        let _ = wants.remove_link(timer);
    }
}

fn compare(folder: &Folder, changes: &[Change], console: &mut Console) -> Status {
    let mut status = Status::Done;
    for change in changes.iter().filter(|change| !change.is_none()) {
        status = Status::Warnings;
        let place = display(&folder.join(&change.name));
        let before = (change.found != Standing::Nothing).then(|| change.found.text());
        shown_difference(console, &place, before, change.text.as_deref());
    }
    status
}

fn timers(changes: &[Change], is_wanted: impl Fn(&Change) -> bool) -> Vec<&str> {
    let timers = changes.iter().filter(|change| change.name.ends_with(".timer") && is_wanted(change));
    timers.map(|change| change.name.as_str()).collect()
}

fn say_disabled(changes: &[Change], args: &ScheduleArgs, console: &mut Console) -> Status {
    let there = timers(changes, |change| change.text.is_some() && change.found != Standing::Nothing);
    let disabled = if is_running() { whose(args).disabled(&there) } else { Vec::new() };
    for timer in &disabled {
        console.remark("warning", &format!("`{timer}` is not enabled: it starts nothing"));
    }
    if disabled.is_empty() { Status::Done } else { Status::Warnings }
}

/// Files are in place: switches timers on and off, or says how.
fn tell_systemd(
    folder: &Folder,
    changes: &[Change],
    args: &ScheduleArgs,
    deed: Deed,
    console: &mut Console,
) -> Result<Status, Failure> {
    let systemd = whose(args);
    let (wanted, gone) =
        (timers(changes, |change| change.text.is_some()), timers(changes, |change| change.text.is_none()));
    let is_told = is_running() && args.out.is_none() && deed != Deed::Write;
    if is_told && !gone.is_empty() {
        systemd.disable(&gone).map_err(|error| unheard(systemd, &error, "disable --now", &gone))?;
    }
    remove(folder, changes, console)?;
    remove_links(folder, &gone);
    let is_changed = changes.iter().any(|change| !change.is_none());
    if !is_told {
        if is_changed || (deed == Deed::Install && !wanted.is_empty()) {
            say_commands(
                systemd,
                &wanted,
                &gone,
                is_running() || deed == Deed::Write || args.out.is_some(),
                console,
            );
        }
        return Ok(Status::Done);
    }
    if is_changed {
        systemd.reload().map_err(|error| unheard(systemd, &error, "daemon-reload", &[]))?;
    }
    if !wanted.is_empty() {
        systemd.enable(&wanted).map_err(|error| unheard(systemd, &error, "enable --now", &wanted))?;
        console.say(&format!("enabled: {}\n", wanted.join(" ")));
        if systemd == Whose::User {
            console.say("they run while this account is logged in; always after `loginctl enable-linger`\n");
        }
    }
    Ok(Status::Done)
}

fn systemctl(systemd: Whose) -> &'static str {
    match systemd {
        Whose::System => "systemctl",
        Whose::User => "systemctl --user",
    }
}

fn say_commands(systemd: Whose, wanted: &[&str], gone: &[&str], is_here: bool, console: &mut Console) {
    let program = systemctl(systemd);
    let mut commands = Vec::new();
    if !gone.is_empty() {
        commands.push(format!("{program} stop {}", gone.join(" ")));
    }
    commands.push(format!("{program} daemon-reload"));
    if !wanted.is_empty() {
        commands.push(format!("{program} enable --now {}", wanted.join(" ")));
    }
    let before = if is_here { "then" } else { "systemd does not run here; where it does" };
    console.say(&format!("{before}: {}\n", commands.join(" && ")));
}

/// Its files are there, but it was not told.
fn unheard(systemd: Whose, error: &StarterError, words: &str, units: &[&str]) -> Failure {
    let command = [&[systemctl(systemd), words], units].concat().join(" ");
    Failure::new(format!("{error}")).help(format!("what was written stays; `{command}` does the rest"))
}
