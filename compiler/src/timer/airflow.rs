//! A DAG of Airflow for a plan: a file of Python, in which everything that comes from the plan is a literal.

use std::fmt::Write;
use std::path::PathBuf;

use jiff::Timestamp;

use super::kubernetes::{Cluster, pod};
use super::times::times;
use super::yaml::literal;
use super::{Inexpressible, Starter, cron, starts, strays};
use crate::model::{Model, StoreKind};

/// Where the plan's commands run.
#[derive(Debug, Clone)]
pub enum Over {
    /// On the worker itself.
    Worker,
    /// On the host of this connection of Airflow's.
    Ssh(String),
    /// In pods.
    Pods(Box<Cluster>),
}

/// What a task does that runs a program.
const PROGRAM: &str = r#"
class Command(BaseOperator):
    """A command of `plan`."""

    def __init__(self, *, words, **kwargs):
        super().__init__(**kwargs)
        self.words = words

    def execute(self, context):
        status, said = self.done()
        if status == 3 and "--as-job" in self.words:
            raise AirflowFailException("a repeat would make another backup, and mend nothing: " + said)
        elif status == 3:
            self.log.warning("done, with warnings: %s", said)
        elif status == 2:
            raise AirflowFailException("refused, and a repeat would not help: " + said)
        elif status == 4:
            raise AirflowException("another run is at work: " + said)
        elif status != 0:
            raise AirflowException("ended with %d: %s" % (status, said))
"#;

/// Its program on the worker.
const WORKER: &str = r#"
    def done(self):
        said = ""
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace",
        )
        for line in self.process.stdout:
            self.log.info("%s", line.rstrip())
            said = line.strip() or said
        return self.process.wait(), said

    def on_kill(self):
        # The run ends what it started, and leaves nothing behind.
        process = getattr(self, "process", None)
        if process is not None and process.poll() is None:
            process.terminate()
"#;

/// Its program on another host.
const SSH: &str = r#"
    def done(self):
        hook = SSHHook(ssh_conn_id=CONNECTION)
        with hook.get_conn() as client:
            status, out, err = hook.exec_ssh_client_command(
                client, shlex.join(self.words), get_pty=False, environment=None, timeout=None
            )
        lines = (out + b"\n" + err).decode("utf-8", "replace").split("\n")
        return status, ([line.strip() for line in lines if line.strip()] or [""])[-1]
"#;

/// What a task does that runs a pod.
const POD: &str = r#"
class Command(KubernetesPodOperator):
    """A command of `plan` in a pod."""

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowException as error:
            if ended_with(getattr(self, "remote_pod", None)) in (2, 3):
                raise AirflowFailException("a repeat would not help") from error
            raise


def ended_with(pod):
    statuses = (pod.status.container_statuses or []) if pod is not None and pod.status is not None else []
    ends = [status.state.terminated for status in statuses if status.name == "backup" and status.state]
    return ends[0].exit_code if ends and ends[0] else None


def pod(text):
    return PodGenerator.deserialize_model_dict(yaml.safe_load(text))
"#;

/// The DAG of a plan, and what has to be there before it runs.
///
/// # Errors
/// Where the plan has no schedule, or one that Airflow cannot follow.
pub fn dag(
    model: &Model,
    files: &[(PathBuf, String)],
    starter: &Starter,
    over: &Over,
    suspend: bool,
    now: Timestamp,
) -> Result<(String, Vec<String>), Inexpressible> {
    let (timetable, note) = timetable(model, now)?;
    let class = timetable.split('(').next().unwrap_or_default();
    let mut text = head(over).replace("import TIMETABLE", &format!("import {class}"));
    let mut line = |words: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{words}");
    };
    line(&format!("\n\nwith DAG(\n    dag_id={},", literal(&format!("backplan_{}", model.name))));
    line(&format!(
        "    description={},",
        literal(&format!("Backups of plan {}, verified and pruned", model.name))
    ));
    note.iter().for_each(|note| line(&format!("    {note}")));
    line(&format!("    schedule={timetable},"));
    line("    start_date=pendulum.datetime(2020, 1, 1, tz=\"UTC\"),");
    line("    # Of what was missed the newest is made up for: a backup of the past cannot be made.");
    line("    catchup=False,\n    max_active_runs=1,\n    tags=[\"backplan\"],");
    if suspend {
        line("    is_paused_upon_creation=True,");
    }
    line("    # The plan's own `notify` tells people: no callback does it a second time.");
    line(&format!("    default_args={},\n):", arguments(model)));
    let mut names = Vec::new();
    for (name, words) in commands(model) {
        line(&format!("    {name} = Command(\n        task_id={},", literal(name)));
        line(&format!("{}    )", task(model, files, starter, over, &words)?));
        names.push(name);
    }
    line(&format!("    {}", names.join(" >> ")));
    Ok((text, needs(model, over)))
}

fn head(over: &Over) -> String {
    let mut text = "import datetime\n".to_owned();
    text.push_str(match over {
        Over::Worker => "import subprocess\n",
        Over::Ssh(_) => "import shlex\n",
        Over::Pods(_) => "\nimport yaml",
    });
    text.push_str(
        "\nimport pendulum\nfrom airflow.exceptions import AirflowException, AirflowFailException\n",
    );
    text.push_str(match over {
        Over::Worker => "",
        Over::Ssh(_) => "from airflow.providers.ssh.hooks.ssh import SSHHook\n",
        Over::Pods(_) => {
            "from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator\n\
             from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator\n"
        }
    });
    text.push_str("from airflow.timetables.trigger import TIMETABLE\n\n");
    text.push_str("try:\n    from airflow.sdk import DAG, BaseOperator\nexcept ImportError:  # Airflow 2\n");
    text.push_str("    from airflow import DAG\n    from airflow.models import BaseOperator\n");
    match over {
        Over::Worker => text.push_str(&["\n", PROGRAM, WORKER].concat()),
        Over::Ssh(connection) => {
            let _ = write!(text, "\nCONNECTION = {}\n\n{PROGRAM}{SSH}", literal(connection));
        }
        Over::Pods(_) => {
            text = text
                .replace("DAG, BaseOperator", "DAG")
                .replace("    from airflow.models import BaseOperator\n", "");
            text.push_str(&["\n", POD].concat());
        }
    }
    text
}

/// All moments of all levels: which level a run has, the schedule in the plan says.
fn timetable(model: &Model, now: Timestamp) -> Result<(String, Option<String>), Inexpressible> {
    let starts = starts(model)?;
    if let Some(source) = starts.iter().find_map(|start| start.source) {
        return Err(Inexpressible::new(
            format!("source `{source}` has a schedule of its own, and a DAG has one for all"),
            "give the source a plan of its own, or use another `--for`",
        ));
    }
    let zone = starts.first().map_or("UTC", |start| start.schedule.zone.as_str());
    let (mut all, mut note) = (Vec::new(), None);
    for start in &starts {
        let moments = times(start.when)?;
        note = note.or(strays(start.schedule, start.when, &moments, now));
        all.extend(cron::expressions(&moments)?.iter().map(|fields| literal(fields)));
    }
    let zone = literal(zone);
    all.sort();
    all.dedup();
    Ok(match all.as_slice() {
        [one] => (format!("CronTriggerTimetable({one}, timezone={zone})"), note),
        // Of two levels that come together one run is made: the higher.
        _ => (format!("MultipleCronTriggerTimetable({}, timezone={zone})", all.join(", ")), note),
    })
}

fn arguments(model: &Model) -> String {
    let retry = &model.retry;
    let seconds = |count: u64| format!("datetime.timedelta(seconds={count})");
    let mut all = vec![
        format!("\"retries\": {}", retry.attempts.saturating_sub(1)),
        format!("\"retry_delay\": {}", seconds(retry.backoff_first.max(1))),
        "\"retry_exponential_backoff\": True".to_owned(),
        format!("\"max_retry_delay\": {}", seconds(retry.backoff_most.max(1))),
        format!("\"pool\": {}", literal(&pool(model))),
    ];
    if let Some(timeout) = model.limits.timeout {
        // The run ends itself by then.
        all.push(format!("\"execution_timeout\": {}", seconds(timeout.saturating_add(900))));
    }
    format!("{{\n        {},\n    }}", all.join(",\n        "))
}

/// One pool for each store that machines share, so that no more than its slots write there at a time: the first that is
/// no folder, else the first.
fn pool(model: &Model) -> String {
    let is_shared = |kind: &StoreKind| !matches!(kind, StoreKind::Dir { .. });
    let store = model.stores.iter().find(|store| is_shared(&store.kind)).or(model.stores.first());
    store.map_or("default_pool".to_owned(), |store| format!("backplan_{}", store.name))
}

/// The tasks, each behind the one before.
fn commands(model: &Model) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut all = vec![("run", vec!["run", "--as-job"]), ("verify", vec!["verify"])];
    if model.keep.is_some() || model.stores.iter().any(|store| store.keep.is_some()) {
        all.push(("prune", vec!["prune"]));
    }
    all
}

fn task(
    model: &Model,
    files: &[(PathBuf, String)],
    starter: &Starter,
    over: &Over,
    words: &[&str],
) -> Result<String, Inexpressible> {
    if let Over::Pods(cluster) = over {
        let pod = literal(&pod(model, files, cluster, words)?);
        let namespace =
            cluster.namespace.as_deref().map(|name| format!("        namespace={},\n", literal(name)));
        return Ok(format!(
            "        full_pod_spec=pod({pod}),\n{}        base_container_name=\"backup\",\n",
            namespace.unwrap_or_default()
        ));
    }
    let program = if matches!(over, Over::Ssh(_)) { "plan" } else { starter.program.as_str() };
    let mut all: Vec<String> = std::iter::once(program).chain(words.iter().copied()).map(literal).collect();
    for param in &starter.params {
        all.extend([literal("--param"), literal(param)]);
    }
    all.push(literal(&starter.file));
    Ok(format!("        words=[{}],\n", all.join(", ")))
}

fn needs(model: &Model, over: &Over) -> Vec<String> {
    let mut all = vec![format!("the pool `{}` (`airflow pools set`)", pool(model))];
    match over {
        Over::Worker => {}
        Over::Ssh(connection) => all.push(format!(
            "the connection `{connection}` to a host with the program and the plan at `{}`",
            model.file.display()
        )),
        Over::Pods(_) => all.push("what `--for kubernetes --suspend` writes, applied".to_owned()),
    }
    all
}
