//! `plan schedule`

mod crontab;
mod folder;
mod remote;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Model, SourceKind};
use backplan_compiler::timer::{self, Inexpressible, Links, STATE, Starter, Unit};
use backplan_grammar::ast::Item;
use backplan_runtime::load::display;
use backplan_runtime::starter::systemd::Whose;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use similar::TextDiff;

use super::fleet::files_of;
use super::plan::{Ready, ready};
use super::run::clock;
use crate::args::{Binding, Global, PlanFile, ScheduleArgs, Timers};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human;

/// A plan, and what is to stand for it.
struct Planned {
    /// The plan's name.
    name: String,
    /// Its file, absolute.
    file: PathBuf,
    /// What starts it; nothing where all is to go.
    units: Vec<Unit>,
    /// Names that it may have had under another schedule.
    former: Vec<String>,
    /// What else must differ between plans: names of objects.
    objects: Vec<String>,
    /// What has to be there before, in words.
    needs: Vec<String>,
}

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Write,
    Install,
    Remove,
    Compare,
}

impl Deed {
    fn of(args: &ScheduleArgs) -> Deed {
        match () {
            () if args.diff => Deed::Compare,
            () if args.remove => Deed::Remove,
            () if args.install => Deed::Install,
            () => Deed::Write,
        }
    }
}

/// Prints, writes, installs, compares or removes what starts the plans' runs.
///
/// # Errors
/// For wrong usage; a plan whose schedule cannot be followed is told of, and the others go on.
pub fn execute(args: &ScheduleArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let found = files_of(&args.plans)?;
    let deed = Deed::of(args);
    remote::usage(args)?;
    let (mut worst, mut plans) = (Status::Done, Vec::new());
    for file in &found.files {
        match of_plan(file, args, global, console) {
            Ok(plan) => plans.push(plan),
            Err(failure) => worst = worst.max(told(&failure, console)),
        }
    }
    apart(&plans)?;
    remote::say_needs(&plans, args, console);
    if deed == Deed::Write && args.out.is_none() {
        for unit in plans.iter().flat_map(|plan| &plan.units) {
            console.answer(&format!("# {}\n{}\n", unit.name, unit.text));
        }
        return Ok(found.told(worst, console));
    }
    plans.extend(remote::base(&plans, args, deed));
    let done = match (args.starter, &args.out) {
        (Timers::Cron, None) if args.user => crontab::execute(&plans, deed, console),
        _ => folder::execute(&plans, args, deed, console),
    }?;
    Ok(found.told(worst.max(done), console))
}

/// Tells of a failure that ends the work on one plan alone.
fn told(failure: &Failure, console: &mut Console) -> Status {
    let text = human::failure(failure, console.errors());
    console.complain(&text);
    failure.status
}

/// Two plans of one name would start one of the two.
fn apart(plans: &[Planned]) -> Result<(), Failure> {
    let mut owners: BTreeMap<&str, &Planned> = BTreeMap::new();
    for plan in plans {
        let names = plan.units.iter().map(|unit| unit.name.as_str());
        for name in names.chain(plan.former.iter().chain(&plan.objects).map(String::as_str)) {
            if let Some(other) = owners.insert(name, plan).filter(|other| other.file != plan.file) {
                let message = format!(
                    "`{}` and `{}` would both be started by `{name}`",
                    display(&other.file),
                    display(&plan.file)
                );
                return Err(
                    Failure::new(message).help("give the plans names that differ; nothing was written")
                );
            }
        }
    }
    Ok(())
}

fn of_plan(
    file: &Path,
    args: &ScheduleArgs,
    global: &Global,
    console: &mut Console,
) -> Result<Planned, Failure> {
    let ready = ready(&PlanFile { file: Some(file.to_owned()) }, global, console)?;
    let params = bound(&ready, global);
    if let Some(secret) = params.iter().find(|param| ready.secret_params.contains(&param.name)) {
        return Err(Failure::usage(format!(
            "the parameter `{}` is a secret, and would stand where everybody reads it",
            secret.name
        ))
        .help("let the plan take it from a file: `file(\"/etc/backplan/…\")`"));
    }
    let former = match args.starter {
        Timers::Systemd => timer::names(&ready.model),
        Timers::Cron => vec![crontab_name(&ready.model)],
        Timers::Kubernetes | Timers::Airflow => return remote::of_plan(file, &ready, args, &params),
    };
    let units = match Deed::of(args) {
        Deed::Remove => Vec::new(),
        _ => {
            let (starter, now) = (starter(&ready.model, args, &params)?, clock()?.now());
            made(&ready.model, &starter, args, now).map_err(|error| {
                Failure::new(format!("{}: {}", display(file), error.what)).help(error.help)
            })?
        }
    };
    let mut needs = unmade(&ready.model, args);
    needs.extend(state_elsewhere(args));
    let objects = Vec::new();
    Ok(Planned { name: ready.model.name, file: ready.model.file, units, former, objects, needs })
}

/// Where runs by hand keep their state elsewhere than a timer's would, which do not know of each other then.
fn state_elsewhere(args: &ScheduleArgs) -> Option<String> {
    let folder = std::env::var_os("XDG_STATE_HOME").filter(|folder| !folder.is_empty() && !args.remove)?;
    let folder = display(Path::new(&folder));
    let how = match args.starter {
        Timers::Systemd => format!("`Environment=XDG_STATE_HOME={folder}` in a drop-in of the unit"),
        _ => format!("a line `XDG_STATE_HOME={folder}` in the crontab"),
    };
    Some(format!(
        "the state of runs by hand where the timer's runs find it: `XDG_STATE_HOME` is set here (`{folder}`), and not there. Run by hand \
         without it, or write {how}"
    ))
}

/// Folders that the first run would make, and cannot in the sandbox of its unit: they have to be there.
fn unmade(model: &Model, args: &ScheduleArgs) -> Vec<String> {
    if args.starter != Timers::Systemd || args.user || args.remove {
        return Vec::new();
    }
    let confined = timer::confined_stores(model).into_iter().filter(|path| !path.exists());
    let told = confined.map(|path| {
        format!(
            "the folder `{}`, which is not there: its unit cannot make it, as it runs in a sandbox. Make it, or begin with `plan run` by \
             hand",
            display(path)
        )
    });
    told.collect()
}

/// The parameters that have values from outside: those that were given, and those of this environment, which what starts the program
/// does not have. A secret is told there, by its variable.
fn bound(ready: &Ready, global: &Global) -> Vec<Binding> {
    let is_given = |name: &str| global.params.iter().any(|param| param.name == name);
    let mut all = global.params.clone();
    for item in ready.sources.iter().flat_map(|(_, file)| &file.parsed.ast.items) {
        let Item::Param(param) = item else { continue };
        let name = param.name.node.as_str();
        let is_secret = param.ty.as_ref().is_some_and(|ty| ty.node == "secret");
        let value = std::env::var(format!("PLAN_PARAM_{}", name.to_uppercase())).ok();
        if let Some(value) = value.filter(|_| !is_secret && !is_given(name)) {
            all.push(Binding { name: name.to_owned(), value });
        }
    }
    all
}

fn starter(model: &Model, args: &ScheduleArgs, params: &[Binding]) -> Result<Starter, Failure> {
    let plain = |what: &str, text: Option<&str>| match text {
        Some(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err(Failure::new(format!("{what} is no plain text"))
            .help("a line of a unit or a crontab cannot hold it: give it another name")),
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("this program's place cannot be told: {error}")))?;
    let param = |param: &Binding| plain("a parameter", Some(&format!("{}={}", param.name, param.value)));
    Ok(Starter {
        program: plain("this program's place", program.to_str())?,
        file: plain(&format!("the plan's place (`{}`)", display(&model.file)), model.file.to_str())?,
        params: params.iter().map(param).collect::<Result<_, _>>()?,
        is_user: args.user,
        links: links(model),
    })
}

/// What of the plan, and of the state that its runs keep, is a link on this machine.
fn links(model: &Model) -> Links {
    let real = |path: &Path| path.canonicalize().ok();
    let is_link = |path: &&Path| path.is_symlink();
    let state = Some(Path::new(STATE)).filter(is_link);
    // One that leads nowhere is for the run to tell of.
    let state = state.map(|path| real(path).unwrap_or_else(|| path.to_path_buf()));
    let databases = model.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Sqlite(sqlite) => {
            let linked = Some(sqlite.path.as_path()).filter(is_link).and_then(real)?;
            Some((sqlite.path.clone(), linked.parent()?.to_path_buf()))
        }
        _ => None,
    });
    Links { state, databases: databases.collect() }
}

fn made(
    model: &Model,
    starter: &Starter,
    args: &ScheduleArgs,
    now: Timestamp,
) -> Result<Vec<Unit>, Inexpressible> {
    match args.starter {
        Timers::Systemd => timer::units(model, starter, now),
        _ => {
            let zone = TimeZone::system();
            let zone = zone.iana_name().unwrap_or("UTC");
            let text = timer::crontab(model, starter, (!args.user).then_some("root"), zone, now)?;
            Ok(vec![Unit { name: crontab_name(model), text }])
        }
    }
}

/// A file of crontabs with a dot in its name is not read.
fn crontab_name(model: &Model) -> String {
    format!("backplan-{}", model.name)
}

fn whose(args: &ScheduleArgs) -> Whose {
    if args.user { Whose::User } else { Whose::System }
}

/// Says beside what would change that it would not be written as things stand.
fn say_refused(refused: &Failure, console: &mut Console) {
    let help = refused.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
    console.remark("warning", &format!("this would be refused: {}{help}", refused.message));
}

/// What a text would become, as a patch has it.
fn shown_difference(console: &mut Console, place: &str, before: Option<&str>, after: Option<&str>) {
    let of = |text: Option<&str>, what| text.map_or("/dev/null".to_owned(), |_| format!("{place} ({what})"));
    let difference = TextDiff::from_lines(before.unwrap_or_default(), after.unwrap_or_default());
    let mut unified = difference.unified_diff();
    let text = unified.header(&of(before, "installed"), &of(after, "of the plan")).to_string();
    console.answer(&text);
}
