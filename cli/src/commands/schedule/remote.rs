//! What starts runs elsewhere: Kubernetes and Airflow.

use std::path::{Path, PathBuf};

use backplan_compiler::timer::{self, Cluster, Over, Unit};
use backplan_runtime::load::display;

use super::super::plan::Ready;
use super::super::run::clock;
use super::{Deed, Planned, starter};
use crate::args::{Binding, ScheduleArgs, Timers};
use crate::console::Console;
use crate::exit::Failure;

/// Whom the file belongs to that lists those of all plans.
const ALL: &str = "all plans";
/// Its name, which kustomize prescribes.
const BASE: &str = "kustomization.yaml";

/// Whether what is asked for goes together.
pub(super) fn usage(args: &ScheduleArgs) -> Result<(), Failure> {
    let remote = &args.remote;
    let is_remote = matches!(args.starter, Timers::Kubernetes | Timers::Airflow);
    let is_cluster = args.starter == Timers::Kubernetes || (is_remote && remote.image.is_some());
    let wrong = |what: &str, help: &str| Err(Failure::usage(what.to_owned()).help(help.to_owned()));
    match () {
        () if is_remote && (args.install || args.user) => wrong(
            "`--install` and `--user` are for what starts programs on this machine",
            "write with `--out DIR`; then `kubectl apply -k DIR`, or let DIR be where Airflow reads its DAGs",
        ),
        () if is_remote && (args.diff || args.remove) && args.out.is_none() => {
            wrong("`--diff` and `--remove` look into a folder here", "name it with `--out DIR`")
        }
        () if args.starter == Timers::Kubernetes && remote.image.is_none() && !args.remove => wrong(
            "pods need an image",
            "name one that has the program: `--image registry.example/backplan:1`",
        ),
        () if !is_cluster
            && (remote.namespace.is_some() || remote.node.is_some() || !remote.claim.is_empty()) =>
        {
            wrong(
                "`--namespace`, `--node` and `--claim` are for pods",
                "take `--for kubernetes`, or give `--image` too",
            )
        }
        () if args.starter != Timers::Airflow && remote.ssh.is_some() => {
            wrong("`--ssh` is for Airflow", "take `--for airflow`")
        }
        () if !is_remote && (remote.image.is_some() || remote.suspend) => {
            wrong("`--image` and `--suspend` are for Kubernetes and Airflow", "take `--for kubernetes`")
        }
        () => Ok(()),
    }
}

/// A plan's manifests or DAG.
pub(super) fn of_plan(
    file: &Path,
    ready: &Ready,
    args: &ScheduleArgs,
    params: &[Binding],
) -> Result<Planned, Failure> {
    let model = &ready.model;
    let name = match args.starter {
        Timers::Kubernetes => format!("{}.yaml", model.name),
        _ => format!("backplan_{}.py", model.name),
    };
    let former = vec![name.clone()];
    let mut planned = Planned {
        name: model.name.clone(),
        file: model.file.clone(),
        units: Vec::new(),
        former,
        objects: Vec::new(),
        needs: Vec::new(),
    };
    if args.remove {
        return Ok(planned);
    }
    let is_cluster = args.starter == Timers::Kubernetes || args.remote.image.is_some();
    if is_cluster && !ready.inline_secrets.is_empty() {
        return Err(Failure::new(format!("{}: a secret is written into the plan", display(file))).help(
            "a ConfigMap is for everybody to read: write `env(\"NAME\")` or `file(\"/run/secrets/x\")`",
        ));
    }
    let starter = starter(model, args, params)?;
    let texts: Vec<(PathBuf, String)> =
        ready.sources.iter().map(|(_, file)| (file.path.clone(), file.text.clone())).collect();
    let cluster = cluster(args, &starter.params);
    let now = clock()?.now();
    let inexpressible = |error: timer::Inexpressible| {
        Failure::new(format!("{}: {}", display(file), error.what)).help(error.help)
    };
    let (text, needs) = if args.starter == Timers::Kubernetes {
        let manifests = timer::manifests(model, &texts, &cluster, now).map_err(inexpressible)?;
        planned.objects = manifests.names;
        (manifests.text, manifests.needs)
    } else {
        let over = match (&args.remote.ssh, &args.remote.image) {
            (Some(connection), _) => Over::Ssh(connection.clone()),
            (None, Some(_)) => Over::Pods(Box::new(cluster)),
            (None, None) => Over::Worker,
        };
        timer::dag(model, &texts, &starter, &over, args.remote.suspend, now).map_err(inexpressible)?
    };
    planned.units.push(Unit { name, text });
    planned.needs = needs;
    Ok(planned)
}

fn cluster(args: &ScheduleArgs, params: &[String]) -> Cluster {
    let remote = &args.remote;
    Cluster {
        image: remote.image.clone().unwrap_or_default(),
        namespace: remote.namespace.clone(),
        node: remote.node.clone(),
        claims: remote.claim.clone(),
        is_file: Some(Path::is_file),
        suspend: remote.suspend,
        home: std::env::home_dir(),
        params: params.to_vec(),
    }
}

/// What lists the files of all plans, as kustomize wants it.
pub(super) fn base(plans: &[Planned], args: &ScheduleArgs, deed: Deed) -> Option<Planned> {
    if args.starter != Timers::Kubernetes || plans.is_empty() {
        return None;
    }
    let files: Vec<String> =
        plans.iter().flat_map(|plan| &plan.units).map(|unit| unit.name.clone()).collect();
    let unit = Unit { name: BASE.to_owned(), text: timer::kustomization(&files) };
    Some(Planned {
        name: ALL.to_owned(),
        file: PathBuf::from(ALL),
        units: if deed == Deed::Remove { Vec::new() } else { vec![unit] },
        former: vec![BASE.to_owned()],
        objects: Vec::new(),
        needs: Vec::new(),
    })
}

/// What has to be there before.
pub(super) fn say_needs(plans: &[Planned], args: &ScheduleArgs, console: &mut Console) {
    for plan in plans.iter().filter(|_| !args.diff) {
        for need in &plan.needs {
            console.say(&format!("plan {} needs {need}\n", plan.name));
        }
    }
}
