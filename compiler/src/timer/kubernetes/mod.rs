//! Manifests of Kubernetes: a CronJob for each level that the schedule names, and what its pods need.

mod objects;
mod places;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, Zoned};
use serde::Serialize;

use self::objects::{
    Account, Capabilities, Claim, Condition, Container, CronJob, ExitCodes, FailurePolicy, Job, JobTemplate,
    Metadata, Object, Pod, PodSecurity, PodTemplate, Resources, Rule, Seccomp, Security, Spec, Texts,
    Variable, VolumeKind, Words,
};
use self::places::Places;
use super::times::{Times, times};
use super::yaml::document;
use super::{Inexpressible, Start, cron, starts, strays};
use crate::due;
use crate::model::{Model, SourceKind, When};

/// The longest name of a CronJob: its jobs have eleven letters more.
const LONGEST: usize = 52;
/// Where a pod keeps what runs remember.
const STATE: &str = "/var/lib/backplan";
/// Nobody's account, as images without accounts have it.
const NOBODY: u32 = 65_532;
const CONTAINER: &str = "backup";

/// Where the jobs run, and with what.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The image with the program.
    pub image: String,
    /// The namespace; `None`: where it is applied.
    pub namespace: Option<String>,
    /// The machine whose folders are meant.
    pub node: Option<String>,
    /// Paths, and the claims that are mounted there.
    pub claims: Vec<(PathBuf, String)>,
    /// Whether a path is a file, not a folder, as far as can be seen from here.
    pub is_file: Option<fn(&Path) -> bool>,
    /// Jobs are started by hand alone.
    pub suspend: bool,
    /// The home that the plan was compiled with.
    pub home: Option<PathBuf>,
    /// `NAME=VALUE` of the plan's parameters.
    pub params: Vec<String>,
}

/// What is applied.
#[derive(Debug, Clone)]
pub struct Manifests {
    /// All objects, as a stream of YAML documents.
    pub text: String,
    /// `Kind NAME` of each.
    pub names: Vec<String>,
    /// What has to be there before, in words.
    pub needs: Vec<String>,
}

/// The objects for a plan, whose files have these texts.
///
/// # Errors
/// Where the plan has no schedule, or what is in it cannot be in a cluster.
pub fn manifests(
    model: &Model,
    files: &[(PathBuf, String)],
    cluster: &Cluster,
    now: Timestamp,
) -> Result<Manifests, Inexpressible> {
    let starts = starts(model)?;
    let name = label(&model.name, &model.name)?;
    let body = body(model, files, cluster, &name)?;
    let mut stream =
        Stream { model, namespace: cluster.namespace.clone(), text: String::new(), names: Vec::new() };
    let account = Account { automount_service_account_token: false };
    stream.put("v1", "ServiceAccount", name.clone(), Words::new(), account);
    stream.put("v1", "ConfigMap", name.clone(), Words::new(), Texts { data: body.texts.clone() });
    let room = Words::from([("storage".to_owned(), "1Gi".to_owned())]);
    let resources = Resources { requests: room, limits: Words::new() };
    let claim = Claim { access_modes: vec!["ReadWriteOnce"], resources };
    stream.put("v1", "PersistentVolumeClaim", format!("{name}-state"), Words::new(), Spec { spec: claim });
    for start in starts {
        for (number, fields) in expressions(&start)?.into_iter().enumerate() {
            let job = job_name(model, &start, number)?;
            let notes = notes(&start, now)?;
            let cron_job = cron_job(model, cluster, &body, &start, fields, now);
            stream.put("batch/v1", "CronJob", job, notes, Spec { spec: cron_job });
        }
    }
    Ok(Manifests { text: stream.text, names: stream.names, needs: needs(&body, &name) })
}

/// What makes these files a base of kustomize.
pub fn kustomization(files: &[String]) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Kustomization<'f> {
        api_version: &'static str,
        kind: &'static str,
        resources: &'f [String],
    }
    let api_version = "kustomize.config.k8s.io/v1beta1";
    document(&Kustomization { api_version, kind: "Kustomization", resources: files })
}

/// A pod that runs the plan once, as YAML: for whoever starts pods by other ways.
///
/// # Errors
/// As [`manifests`].
pub fn pod(
    model: &Model,
    files: &[(PathBuf, String)],
    cluster: &Cluster,
    words: &[&str],
) -> Result<String, Inexpressible> {
    let name = label(&model.name, &model.name)?;
    let body = body(model, files, cluster, &name)?;
    let mut command = vec!["plan".to_owned()];
    command.extend(words.iter().map(|word| (*word).to_owned()));
    let spec = template(model, cluster, &body, with_file(command, model, cluster));
    let pod = Object {
        api_version: "v1",
        kind: "Pod",
        metadata: spec.metadata.clone(),
        rest: Spec { spec: spec.spec },
    };
    Ok(document(&pod))
}

struct Stream<'m> {
    model: &'m Model,
    namespace: Option<String>,
    text: String,
    names: Vec<String>,
}

impl Stream<'_> {
    fn put(
        &mut self,
        api_version: &'static str,
        kind: &'static str,
        name: String,
        notes: Words,
        rest: impl Serialize,
    ) {
        self.names.push(format!("{kind} {name}"));
        let (labels, namespace) = (labels(self.model), self.namespace.clone());
        let metadata = Metadata { name: Some(name), namespace, labels, annotations: notes };
        self.text.push_str("---\n");
        self.text.push_str(&document(&Object { api_version, kind, metadata, rest }));
    }
}

fn labels(model: &Model) -> Words {
    let of = |key: &str, value: &str| (format!("app.kubernetes.io/{key}"), value.to_owned());
    Words::from([
        of("name", "backplan"),
        of("instance", &model.name.chars().take(63).collect::<String>().replace('_', "-")),
        of("component", "backup"),
    ])
}

/// What is the same for all pods of a plan.
struct Body {
    name: String,
    places: Places,
    texts: BTreeMap<String, String>,
    is_root: bool,
}

fn body(
    model: &Model,
    files: &[(PathBuf, String)],
    cluster: &Cluster,
    name: &str,
) -> Result<Body, Inexpressible> {
    let mut places = Places::default();
    let texts = places::texts(files, name, &mut places)?;
    places::volumes(model, cluster, &mut places)?;
    // Files of all accounts are read by root alone; a folder of the node is root's; another account takes root to become.
    let is_of_root = |kind: &SourceKind| matches!(kind, SourceKind::Files(_) | SourceKind::Sqlite(_));
    let is_root = model.sources.iter().any(|source| is_of_root(&source.kind))
        || changes_account(model)
        || places.writes_node;
    places::secrets(model, name, is_root, &mut places)?;
    places.add("state", VolumeKind::PersistentVolumeClaim { claim_name: format!("{name}-state") });
    places.mount("state", STATE, None, false);
    places.add("tmp", VolumeKind::EmptyDir {});
    places.mount("tmp", "/tmp", None, false);
    let plain =
        |name: &str, value: String| Variable { name: name.to_owned(), value: Some(value), value_from: None };
    places.variables.push(plain("XDG_STATE_HOME", "/var/lib".to_owned()));
    // Rehearsals restore into it; all else of the pod cannot be written to.
    places.variables.push(plain("TMPDIR", "/tmp".to_owned()));
    if let Some(home) = cluster.home.as_ref().and_then(|home| home.to_str()) {
        places.variables.push(plain("HOME", home.to_owned()));
    }
    Ok(Body { name: name.to_owned(), places, texts, is_root })
}

fn changes_account(model: &Model) -> bool {
    model.sources.iter().any(|source| source.kind.own().run_as().is_some())
        || model.windows.iter().any(|window| window.run_as.is_some())
}

fn cron_job(
    model: &Model,
    cluster: &Cluster,
    body: &Body,
    start: &Start<'_>,
    fields: String,
    now: Timestamp,
) -> CronJob {
    let zone = start.schedule.zone.as_str();
    let mut command: Vec<String> = ["plan", "run", "--as-job"].map(str::to_owned).to_vec();
    command.extend(start.options());
    let template = template(model, cluster, body, with_file(command, model, cluster));
    let job =
        Job { backoff_limit: model.retry.attempts.saturating_sub(1), pod_failure_policy: policy(), template };
    CronJob {
        schedule: fields,
        time_zone: zone.to_owned(),
        concurrency_policy: "Forbid",
        starting_deadline_seconds: if start.schedule.catch_up { gap(start.when, zone, now) } else { 300 },
        suspend: cluster.suspend,
        successful_jobs_history_limit: 3,
        failed_jobs_history_limit: 3,
        job_template: JobTemplate {
            metadata: Metadata { labels: labels(model), ..Metadata::default() },
            spec: job,
        },
    }
}

fn with_file(mut command: Vec<String>, model: &Model, cluster: &Cluster) -> Vec<String> {
    for param in &cluster.params {
        command.extend(["--param".to_owned(), param.clone()]);
    }
    command.push(model.file.display().to_string());
    // Kubernetes fills in `$(NAME)`, and takes `$$` for a dollar sign.
    command.into_iter().map(|word| word.replace('$', "$$")).collect()
}

/// Seconds between two moments, at the least: what is later than that is made up for by the next.
fn gap(when: &When, zone: &str, now: Timestamp) -> u64 {
    let Some(zone) = due::zone(zone) else { return 3600 };
    let from = now.to_zoned(zone);
    let moments: Vec<Zoned> = due::moments(when, &from).take(200).collect();
    let gaps =
        moments.windows(2).map(|pair| pair[1].timestamp().as_second() - pair[0].timestamp().as_second());
    u64::try_from(gaps.min().unwrap_or(3600)).unwrap_or(3600).max(60)
}

/// What a repeat cannot help is not repeated; a pod that the cluster itself took away counts for nothing.
fn policy() -> FailurePolicy {
    let codes = ExitCodes { container_name: CONTAINER, operator: "In", values: vec![2, 3] };
    let condition = Condition { kind: "DisruptionTarget", status: "True" };
    FailurePolicy {
        rules: vec![
            // 1.27 wants a list of conditions in every rule.
            Rule { action: "FailJob", on_exit_codes: Some(codes), on_pod_conditions: Vec::new() },
            Rule { action: "Ignore", on_exit_codes: None, on_pod_conditions: vec![condition] },
        ],
    }
}

fn template(model: &Model, cluster: &Cluster, body: &Body, command: Vec<String>) -> PodTemplate {
    let number = |jobs: u32| Words::from([("cpu".to_owned(), jobs.to_string())]);
    let resources = model.limits.jobs.map(|jobs| Resources { requests: Words::new(), limits: number(jobs) });
    let node = cluster.node.iter().map(|node| ("kubernetes.io/hostname".to_owned(), node.clone())).collect();
    let account = if body.is_root { 0 } else { NOBODY };
    let container = Container {
        name: CONTAINER,
        image: cluster.image.clone(),
        command,
        env: body.places.variables.clone(),
        resources,
        termination_message_policy: "FallbackToLogsOnError",
        security_context: Security {
            allow_privilege_escalation: false,
            read_only_root_filesystem: true,
            capabilities: Capabilities { drop: vec!["ALL"], add: rights(model) },
        },
        volume_mounts: body.places.mounts.clone(),
    };
    let spec = Pod {
        restart_policy: "Never",
        service_account_name: body.name.clone(),
        automount_service_account_token: false,
        enable_service_links: false,
        hostname: body.name.clone(),
        termination_grace_period_seconds: 900,
        node_selector: node,
        security_context: PodSecurity {
            run_as_non_root: !body.is_root,
            run_as_user: account,
            run_as_group: account,
            fs_group: (!body.is_root).then_some(NOBODY),
            fs_group_change_policy: (!body.is_root).then_some("OnRootMismatch"),
            seccomp_profile: Seccomp { kind: "RuntimeDefault" },
        },
        containers: vec![container],
        volumes: body.places.volumes.clone(),
    };
    PodTemplate { metadata: Metadata { labels: labels(model), ..Metadata::default() }, spec }
}

/// What root keeps of its rights.
fn rights(model: &Model) -> Vec<&'static str> {
    let has = |is: fn(&SourceKind) -> bool| model.sources.iter().any(|source| is(&source.kind));
    let mut rights = Vec::new();
    if has(|kind| matches!(kind, SourceKind::Sqlite(_))) {
        rights.push("DAC_OVERRIDE");
    }
    if has(|kind| matches!(kind, SourceKind::Files(_))) {
        rights.push("DAC_READ_SEARCH");
    }
    if changes_account(model) {
        rights.extend(["KILL", "SETGID", "SETUID"]);
    }
    rights
}

/// The moments in five fields, in as few expressions as can be.
fn expressions(start: &Start<'_>) -> Result<Vec<String>, Inexpressible> {
    cron::expressions(&times(start.when)?)
}

fn notes(start: &Start<'_>, now: Timestamp) -> Result<Words, Inexpressible> {
    let moments: Vec<Times> = times(start.when)?;
    let mut notes = Words::new();
    if let Some(note) = strays(start.schedule, start.when, &moments, now) {
        notes.insert("backplan/clock-changes".to_owned(), note.trim_start_matches("# ").to_owned());
    }
    if start.schedule.jitter.is_some() {
        notes.insert(
            "backplan/jitter".to_owned(),
            "Kubernetes starts at the minute: jitter is not followed.".to_owned(),
        );
    }
    Ok(notes)
}

/// Names as DNS has them: the plan's `_` become `-`.
fn label(name: &str, of: &str) -> Result<String, Inexpressible> {
    let label = name.replace('_', "-");
    if label.len() <= LONGEST && !label.ends_with('-') {
        return Ok(label);
    }
    let what = if label.len() > LONGEST {
        format!("is longer than {LONGEST} letters")
    } else {
        "ends with `_`".to_owned()
    };
    Err(Inexpressible::new(
        format!("`{label}`, the name of a CronJob of plan `{of}`, {what}"),
        "give the plan, or its store, a shorter name that ends with a letter or a digit",
    ))
}

/// `PLAN-STORE-LEVEL`; without the store where there are several, as a run goes to all.
fn job_name(model: &Model, start: &Start<'_>, number: usize) -> Result<String, Inexpressible> {
    let mut parts = vec![model.name.clone()];
    if let [store] = model.stores.as_slice() {
        parts.push(store.name.clone());
    }
    parts.extend(start.ending().into_iter().map(str::to_owned));
    if start.ending().is_empty() {
        parts.push("run".to_owned());
    }
    if number > 0 {
        parts.push((number + 1).to_string());
    }
    label(&parts.join("-"), &model.name)
}

fn needs(body: &Body, name: &str) -> Vec<String> {
    let mut needs: Vec<String> =
        body.places.claims.iter().map(|claim| format!("the claim `{claim}`")).collect();
    if !body.places.keys.is_empty() {
        let keys: Vec<&str> = body.places.keys.iter().map(String::as_str).collect();
        needs.push(format!("the secret `{name}` with {}", keys.join(", ")));
    }
    needs
}
