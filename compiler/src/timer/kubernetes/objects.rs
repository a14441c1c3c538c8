//! The objects of Kubernetes that are written, with the fields that are written: the serializer alone makes YAML of them.

use std::collections::BTreeMap;

use serde::Serialize;

pub(super) type Words = BTreeMap<String, String>;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object<S> {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub metadata: Metadata,
    #[serde(flatten)]
    pub rest: S,
}

#[derive(Debug, Clone, Serialize, Default)]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub labels: Words,
    #[serde(skip_serializing_if = "Words::is_empty")]
    pub annotations: Words,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub automount_service_account_token: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Texts {
    pub data: Words,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Spec<S> {
    pub spec: S,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claim {
    pub access_modes: Vec<&'static str>,
    pub resources: Resources,
}

#[derive(Debug, Clone, Serialize, Default)]
pub(super) struct Resources {
    #[serde(skip_serializing_if = "Words::is_empty")]
    pub requests: Words,
    #[serde(skip_serializing_if = "Words::is_empty")]
    pub limits: Words,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CronJob {
    pub schedule: String,
    pub time_zone: String,
    pub concurrency_policy: &'static str,
    pub starting_deadline_seconds: u64,
    pub suspend: bool,
    pub successful_jobs_history_limit: u32,
    pub failed_jobs_history_limit: u32,
    pub job_template: JobTemplate,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct JobTemplate {
    pub metadata: Metadata,
    pub spec: Job,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    pub backoff_limit: u32,
    pub pod_failure_policy: FailurePolicy,
    pub template: PodTemplate,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct FailurePolicy {
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exit_codes: Option<ExitCodes>,
    pub on_pod_conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExitCodes {
    pub container_name: &'static str,
    pub operator: &'static str,
    pub values: Vec<u8>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub status: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct PodTemplate {
    pub metadata: Metadata,
    pub spec: Pod,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pod {
    pub restart_policy: &'static str,
    pub service_account_name: String,
    pub automount_service_account_token: bool,
    pub enable_service_links: bool,
    pub hostname: String,
    pub termination_grace_period_seconds: u32,
    #[serde(skip_serializing_if = "Words::is_empty")]
    pub node_selector: Words,
    pub security_context: PodSecurity,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSecurity {
    pub run_as_non_root: bool,
    pub run_as_user: u32,
    pub run_as_group: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group_change_policy: Option<&'static str>,
    pub seccomp_profile: Seccomp,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Seccomp {
    #[serde(rename = "type")]
    pub kind: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub name: &'static str,
    pub image: String,
    pub command: Vec<String>,
    pub env: Vec<Variable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    pub termination_message_policy: &'static str,
    pub security_context: Security,
    pub volume_mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Security {
    pub allow_privilege_escalation: bool,
    pub read_only_root_filesystem: bool,
    pub capabilities: Capabilities,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Capabilities {
    pub drop: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variable {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValueFrom {
    pub secret_key_ref: KeyRef,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct KeyRef {
    pub name: String,
    pub key: String,
    pub optional: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub name: String,
    pub mount_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    pub read_only: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Volume {
    pub name: String,
    #[serde(flatten)]
    pub what: VolumeKind,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum VolumeKind {
    #[serde(rename_all = "camelCase")]
    EmptyDir {},
    #[serde(rename_all = "camelCase")]
    ConfigMap { name: String },
    #[serde(rename_all = "camelCase")]
    Secret { secret_name: String, default_mode: u32 },
    #[serde(rename_all = "camelCase")]
    PersistentVolumeClaim { claim_name: String },
    #[serde(rename_all = "camelCase")]
    HostPath {
        path: String,
        #[serde(rename = "type")]
        kind: &'static str,
    },
}
