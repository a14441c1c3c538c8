//! A model as plain declarations: what every attribute comes to, in words. Names that stand for values, the order of lists
//! whose order means nothing, comments and formatting are gone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use super::settings::{Attributes, Setting, Value, size, span};
use super::settings::{Filling, rate};
use crate::model::{
    Absent, Archive, Body, Compress, Cycle, Due, Keep, LargeFiles, Level, Model, Notify, NotifyKind,
    Objective, Schedule, Separate, Source, SourceId, Staging, Store, StoreId, StoreKind, Verify, Wal, When,
    Window, Worded,
};
use crate::sources::Place;

/// A declaration, found again by its kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Its kind: `source`.
    pub kind: &'static str,
    /// Its name; empty where the plan has one at the most.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.as_str() {
            "" => f.write_str(self.kind),
            name => write!(f, "{} `{name}`", self.kind),
        }
    }
}

/// All declarations of a model.
pub fn describe(model: &Model) -> BTreeMap<Key, Attributes> {
    let mut all = Declarations { model, found: BTreeMap::new() };
    all.add("plan", "", |out| out.one("name", &model.name));
    for store in &model.stores {
        all.add("store", &store.name, |out| out.store(store));
        all.keep("keep of store", &store.name, store.keep.as_ref());
    }
    if let Some(staging) = &model.staging {
        all.add("staging", "", |out| out.staging(staging));
    }
    for source in &model.sources {
        let names = all.names(&source.after);
        all.add("source", &source.name, |out| {
            out.source(source);
            out.list("after", names, false);
        });
    }
    for archive in &model.archives {
        let (from, to) = (all.names(&archive.from), all.stores(&archive.to));
        all.add("archive", &archive.name, |out| out.archive(archive, from, to));
    }
    for separate in &model.separates {
        all.separate(separate);
    }
    for wal in &model.wals {
        let to = all.stores(&wal.to);
        all.add("wal", &model.source(wal.source).name, |out| out.wal(wal, to));
    }
    all.run_blocks();
    for window in &model.windows {
        let around = all.names(&window.around);
        all.add("window", &window.name, |out| out.window(window, around));
    }
    for notify in &model.notifies {
        all.add("notify", &notify.name, |out| out.notify(notify));
    }
    for objective in &model.objectives {
        let of = all.names(&objective.of);
        all.add("objective", &of.join(", "), |out| out.objective(objective));
    }
    for verify in &model.verifies {
        all.add("verify", &model.source(verify.restore).name, |out| out.verify(verify));
    }
    all.policies();
    all.found
}

struct Declarations<'a> {
    model: &'a Model,
    found: BTreeMap<Key, Attributes>,
}

impl Declarations<'_> {
    fn add(&mut self, kind: &'static str, name: &str, fill: impl FnOnce(&mut Filling)) {
        let mut filling = Filling::default();
        fill(&mut filling);
        let mut key = Key { kind, name: name.to_owned() };
        // Promises have no names: two for the same sources are told apart by their place.
        let mut number = 2;
        while self.found.contains_key(&key) {
            key.name = format!("{name} ({number})");
            number += 1;
        }
        self.found.insert(key, filling.0);
    }

    fn names(&self, ids: &[SourceId]) -> Vec<String> {
        ids.iter().map(|id| self.model.source(*id).name.clone()).collect()
    }

    fn stores(&self, ids: &[StoreId]) -> Vec<String> {
        ids.iter().map(|id| self.model.store(*id).name.clone()).collect()
    }

    fn keep(&mut self, kind: &'static str, name: &str, keep: Option<&Keep>) {
        if let Some(keep) = keep {
            self.add(kind, name, |out| out.keep(keep));
        }
    }

    fn separate(&mut self, separate: &Separate) {
        let (name, to) = (self.model.source(separate.source).name.clone(), self.stores(&separate.to));
        self.add("separate", &name, |out| {
            out.list("to", to, true);
            out.secret("passphrase", separate.passphrase.as_ref());
        });
        self.keep("keep of separate", &name, separate.keep.as_ref());
        if let Some(schedule) = &separate.schedule {
            self.add("schedule of separate", &name, |out| out.schedule(schedule));
        }
    }

    /// All policies as one: which file lays a rule makes no difference.
    fn policies(&mut self) {
        let policies = &self.model.policies;
        let words = |rules: &mut dyn Iterator<Item = &(&'static str, Place)>| -> Vec<String> {
            let unique: BTreeSet<&str> = rules.map(|(rule, _)| *rule).collect();
            unique.into_iter().map(str::to_owned).collect()
        };
        if !policies.is_empty() {
            let require = words(&mut policies.iter().flat_map(|policy| &policy.require));
            let forbid = words(&mut policies.iter().flat_map(|policy| &policy.forbid));
            self.add("policy", "", |out| {
                out.list("require", require, true);
                out.list("forbid", forbid, true);
            });
        }
    }

    fn run_blocks(&mut self) {
        let model = self.model;
        if let Some(cycle) = &model.cycle {
            self.add("cycle", "", |out| out.cycle(cycle));
        }
        if let Some(schedule) = &model.schedule {
            self.add("schedule", "", |out| out.schedule(schedule));
        }
        self.keep("keep", "", model.keep.as_ref());
        self.add("retry", "", |out| {
            out.one("attempts", model.retry.attempts);
            let retry = &model.retry;
            out.one("backoff", format!("{}..{}", span(retry.backoff_first), span(retry.backoff_most)));
        });
        self.add("limits", "", |out| {
            let limits = &model.limits;
            out.maybe("jobs", limits.jobs);
            out.maybe("nice", limits.nice);
            out.maybe("bandwidth", limits.bandwidth.map(rate));
            out.maybe("timeout", limits.timeout.map(span));
        });
    }
}

impl Filling {
    fn store(&mut self, store: &Store) {
        self.store_kind(&store.kind);
        self.flag("offsite", store.offsite);
        self.maybe("bandwidth", store.bandwidth.map(rate));
        self.maybe("immutable", store.immutable.map(span));
        self.flag("append_only", store.append_only);
        if store.absent != Absent::default() {
            self.one("absent", store.absent.word());
        }
    }

    fn store_kind(&mut self, kind: &StoreKind) {
        match kind {
            StoreKind::Dir { path } => {
                self.one("type", "dir");
                self.one("path", path.display());
            }
            StoreKind::S3 {
                bucket,
                prefix,
                region,
                endpoint,
                access_key,
                secret_key,
                storage_class,
                path_style,
                ca_file,
            } => {
                self.one("type", "s3");
                self.one("bucket", bucket);
                self.maybe("prefix", prefix.as_ref());
                self.maybe("region", region.as_ref());
                self.maybe("endpoint", endpoint.as_ref());
                self.secret("access_key", access_key.as_ref());
                self.secret("secret_key", secret_key.as_ref());
                self.maybe("storage_class", storage_class.as_ref());
                self.flag("path_style", *path_style);
                self.path("ca_file", ca_file.as_ref());
            }
            StoreKind::Azblob { container, prefix, account, key, endpoint } => {
                self.one("type", "azblob");
                self.one("container", container);
                self.maybe("prefix", prefix.as_ref());
                self.maybe("account", account.as_ref());
                self.secret("key", key.as_ref());
                self.maybe("endpoint", endpoint.as_ref());
            }
            StoreKind::Gcs { bucket, prefix, credential, endpoint } => {
                self.one("type", "gcs");
                self.one("bucket", bucket);
                self.maybe("prefix", prefix.as_ref());
                self.secret("credential", credential.as_ref());
                self.maybe("endpoint", endpoint.as_ref());
            }
            StoreKind::Sftp { host, port, user, key, path, known_hosts } => {
                self.one("type", "sftp");
                self.one("host", host);
                self.maybe("port", *port);
                self.maybe("user", user.as_ref());
                self.path("key", key.as_ref());
                self.one("path", path);
                self.path("known_hosts", known_hosts.as_ref());
            }
        }
    }

    fn staging(&mut self, staging: &Staging) {
        self.one("path", staging.path.display());
        let clear: &[&str] = match (staging.clear_before, staging.clear_after) {
            (true, true) => &["before", "after"],
            (true, false) => &["before"],
            (false, true) => &["after"],
            (false, false) => &[],
        };
        self.list("clear", clear.iter().map(ToString::to_string).collect(), true);
    }

    fn source(&mut self, source: &Source) {
        self.one("type", source.kind.facts().word);
        source.kind.own().describe(self);
        self.flag("optional", source.optional);
        self.flag("strict", source.strict);
        self.maybe("timeout", source.timeout.map(span));
    }

    fn archive(&mut self, archive: &Archive, from: Vec<String>, to: Vec<String>) {
        self.list("from", from, true);
        self.list("to", to, true);
        self.maybe("name", archive.file_name.as_ref());
        if archive.compress != Compress::default() {
            self.one("compress", archive.compress.word());
        }
        self.one("level", archive.level);
        self.list("encrypt", archive.encrypt.clone(), true);
        self.flag("self_contained", archive.self_contained);
        if archive.large_files != LargeFiles::default() {
            self.one("large_files", archive.large_files.word());
        }
        self.flag("share_blocks", archive.share_blocks);
    }

    fn wal(&mut self, wal: &Wal, to: Vec<String>) {
        self.list("to", to, true);
        self.maybe("keep", wal.keep.map(span));
        self.list("encrypt", wal.encrypt.clone(), true);
        if wal.ack_any {
            self.one("ack", "any");
        }
    }

    fn cycle(&mut self, cycle: &Cycle) {
        self.one("incrementals", cycle.incrementals);
        self.one("base", if cycle.follow == Level::Differential { "full" } else { "previous" });
    }

    fn schedule(&mut self, schedule: &Schedule) {
        match &schedule.due {
            Due::Run(when) => self.one("run", moments(when)),
            Due::Levels { full, differential, incremental } => {
                self.maybe("full", full.as_ref().map(moments));
                self.maybe("differential", differential.as_ref().map(moments));
                self.maybe("incremental", incremental.as_ref().map(moments));
            }
        }
        self.one("zone", &schedule.zone);
        self.maybe("jitter", schedule.jitter.map(span));
        if !schedule.catch_up {
            self.one("catch_up", "false");
        }
    }

    fn keep(&mut self, keep: &Keep) {
        self.maybe("cycles", keep.cycles);
        self.maybe("last", keep.last);
        self.maybe("within", keep.within.map(span));
        self.maybe("hourly", keep.hourly);
        self.maybe("daily", keep.daily);
        self.maybe("weekly", keep.weekly);
        self.maybe("monthly", keep.monthly);
        self.maybe("yearly", keep.yearly);
        self.maybe("full", keep.full);
        self.maybe("differential", keep.differential);
        self.maybe("wal", keep.wal.map(span));
        if keep.prefer_full {
            self.one("prefer", "full");
        }
    }

    fn window(&mut self, window: &Window, around: Vec<String>) {
        self.list("around", around, true);
        self.words("enter", window.enter.as_ref());
        self.words("leave", window.leave.as_ref());
        self.env(&window.env);
        self.maybe("run_as", window.run_as.as_ref());
        self.maybe("timeout", window.timeout.map(span));
    }

    fn notify(&mut self, notify: &Notify) {
        match &notify.kind {
            NotifyKind::Webhook { url, body, token } => {
                self.one("type", "webhook");
                self.secret("url", Some(url));
                match body {
                    Body::Shape(shape) => self.one("shape", shape.word()),
                    Body::Template(template) => self.one("template", template.text()),
                }
                self.secret("token", token.as_ref());
            }
            NotifyKind::Healthcheck { url, monitor } => {
                self.one("type", "healthcheck");
                self.secret("url", Some(url));
                self.one("monitor", monitor.word());
            }
            NotifyKind::Email(email) => {
                self.one("type", "email");
                self.list("to", email.to.clone(), true);
                self.one("from", &email.from);
                self.one("server", &email.server);
                self.one("tls", email.tls.word());
                self.maybe("user", email.user.as_ref());
                self.secret("password", email.password.as_ref());
            }
            NotifyKind::Command { run, env } => {
                self.one("type", "command");
                self.words("run", Some(run));
                self.env(env);
            }
        }
        self.list("on", notify.on.iter().map(|event| event.word().to_owned()).collect(), true);
    }

    fn objective(&mut self, objective: &Objective) {
        self.maybe("rpo", objective.rpo.map(span));
        self.maybe("rto", objective.rto.map(span));
        self.maybe("copies", objective.copies);
        self.maybe("offsite", objective.offsite);
    }

    fn verify(&mut self, verify: &Verify) {
        self.maybe("every", verify.every.map(span));
        self.maybe("query", verify.query.as_ref());
        self.words("command", verify.command.as_ref());
        self.env(&verify.env);
        self.secret("identity", verify.identity.as_ref());
    }
}

/// Moments that repeat, in words.
pub fn moments(when: &When) -> String {
    match when {
        When::Every(seconds) => format!("every {}", span(*seconds)),
        When::Cron(text) => format!("cron `{text}`"),
    }
}
