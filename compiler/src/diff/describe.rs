//! A model as plain declarations: what every attribute comes to, in words. Names that stand for values, the order of lists
//! whose order means nothing, comments and formatting are gone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::{
    Absent, Archive, Command, Compare, Cycle, Due, Files, Keep, Level, Model, Notify, NotifyKind, Objective,
    Postgres, PostgresDriver, Schedule, Separate, Source, SourceId, SourceKind, Staging, Store, StoreId,
    StoreKind, Verify, Wal, When, Window, Worded,
};
use crate::sources::Place;
use crate::value::{Env, EnvValue, Hidden, Secret, Text};

/// What a redacted text has where a secret was written into it: nobody knows what it was.
const REDACTED: &str = "(secret)";

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

/// What an attribute is set to.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The values: one, or those of a list.
    pub values: Vec<Value>,
    /// Whether it is a list.
    pub is_list: bool,
    /// Whether the list means the same in another order.
    unordered: bool,
}

/// A value in words. A secret is its reference, never itself.
#[derive(Debug, Clone)]
pub struct Value {
    /// In words.
    pub shown: String,
    secret: Option<Secret>,
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.shown == other.shown
            && match (&self.secret, &other.secret) {
                (Some(one), Some(two)) => is_same(one, two),
                (one, two) => one == two,
            }
    }
}

/// Whether two secrets are the same, as far as that can be told: what a plan of before says may have been redacted.
fn is_same(one: &Secret, two: &Secret) -> bool {
    let hides =
        |one: &Hidden, two: &Hidden| one == two || one.expose() == REDACTED || two.expose() == REDACTED;
    match (one, two) {
        (Secret::Inline(one), Secret::Inline(two)) => hides(one, two),
        (Secret::Env { name, default: Some(one) }, Secret::Env { name: other, default: Some(two) }) => {
            name == other && hides(one, two)
        }
        (Secret::Exec { words, env }, Secret::Exec { words: other, env: given }) => {
            let is_given = |((name, one), (other, two)): (&(_, _), &(_, _))| {
                name == other
                    && match (one, two) {
                        (EnvValue::Secret(one), EnvValue::Secret(two)) => is_same(one, two),
                        (one, two) => one == two,
                    }
            };
            words == other && env.len() == given.len() && env.iter().zip(given).all(is_given)
        }
        (one, two) => one == two,
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Setting) -> bool {
        if !self.unordered {
            return self.values == other.values;
        }
        let covers = |one: &Setting, two: &Setting| one.values.iter().all(|value| two.values.contains(value));
        covers(self, other) && covers(other, self)
    }
}

/// The attributes of one declaration.
pub type Attributes = BTreeMap<&'static str, Setting>;

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

/// The attributes of a declaration while they are collected. What is left at its default is left out.
#[derive(Default)]
struct Filling(Attributes);

impl Filling {
    fn one(&mut self, name: &'static str, value: impl ToString) {
        let values = vec![Value { shown: value.to_string(), secret: None }];
        self.0.insert(name, Setting { values, ..Setting::default() });
    }

    fn maybe(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.one(name, value);
        }
    }

    fn path(&mut self, name: &'static str, path: Option<&std::path::PathBuf>) {
        self.maybe(name, path.map(|path| path.display()));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        if value {
            self.one(name, "true");
        }
    }

    fn list(&mut self, name: &'static str, values: Vec<String>, unordered: bool) {
        if !values.is_empty() {
            let values = values.into_iter().map(|shown| Value { shown, secret: None }).collect();
            self.0.insert(name, Setting { values, is_list: true, unordered });
        }
    }

    fn secret(&mut self, name: &'static str, secret: Option<&Secret>) {
        if let Some(secret) = secret {
            let values = vec![Value { shown: secret.to_string(), secret: Some(secret.clone()) }];
            self.0.insert(name, Setting { values, ..Setting::default() });
        }
    }

    fn words(&mut self, name: &'static str, words: Option<&Vec<Text>>) {
        let words = words.map(|words| words.iter().map(ToString::to_string).collect());
        self.list(name, words.unwrap_or_default(), false);
    }

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
        match &source.kind {
            SourceKind::Files(files) => self.files(files),
            SourceKind::Postgres(postgres) => self.postgres(postgres),
            SourceKind::Sqlite { path } => {
                self.one("type", "sqlite");
                self.one("path", path.display());
            }
            SourceKind::Command(command) => self.command(command),
        }
        self.flag("optional", source.optional);
        self.maybe("timeout", source.timeout.map(span));
    }

    fn files(&mut self, files: &Files) {
        self.one("type", "files");
        self.list(
            "paths",
            files.paths.iter().map(|path| path.absolute.display().to_string()).collect(),
            true,
        );
        // A later pattern goes before an earlier one: their order means something.
        self.list("exclude", files.exclude.iter().map(|pattern| pattern.text.clone()).collect(), false);
        self.flag("exclude_caches", files.exclude_caches);
        self.flag("one_file_system", files.one_file_system);
        self.maybe("max_file_size", files.max_file_size.map(size));
        if files.compare != Compare::default() {
            self.one("compare", files.compare.word());
        }
        self.path("root", files.root.as_ref());
    }

    fn postgres(&mut self, postgres: &Postgres) {
        self.one("type", "postgres");
        self.one("driver", postgres.driver.word());
        self.maybe("host", postgres.host.as_ref());
        self.maybe("port", postgres.port);
        self.maybe("user", postgres.user.as_ref());
        self.secret("password", postgres.password.as_ref());
        self.maybe("database", postgres.database.as_ref());
        self.path("data_dir", postgres.data_dir.as_ref());
        self.maybe("stanza", postgres.stanza.as_ref());
        self.path("staging", postgres.staging.as_ref());
        self.path("config", postgres.config.as_ref());
        self.maybe("run_as", postgres.run_as.as_ref());
        if postgres.driver == PostgresDriver::Probackup {
            self.one("backup_mode", postgres.backup_mode.word());
        }
        self.maybe("jobs", postgres.jobs);
    }

    fn command(&mut self, command: &Command) {
        self.one("type", "command");
        self.words("run", Some(&command.run));
        self.one("as", &command.as_name);
        self.env(&command.env);
        self.maybe("run_as", command.run_as.as_ref());
    }

    fn env(&mut self, env: &Env) {
        let shown = |(name, value): &(String, EnvValue)| match value {
            EnvValue::Text(text) => Value { shown: format!("{name}={text}"), secret: None },
            EnvValue::Secret(secret) => {
                Value { shown: format!("{name}={secret}"), secret: Some(secret.clone()) }
            }
        };
        if !env.is_empty() {
            let values = env.iter().map(shown).collect();
            self.0.insert("env", Setting { values, is_list: true, unordered: true });
        }
    }

    fn archive(&mut self, archive: &Archive, from: Vec<String>, to: Vec<String>) {
        self.list("from", from, true);
        self.list("to", to, true);
        self.maybe("name", archive.file_name.as_ref());
        self.one("level", archive.level);
        self.list("encrypt", archive.encrypt.clone(), true);
        self.flag("self_contained", archive.self_contained);
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
            NotifyKind::Webhook { url } => {
                self.one("type", "webhook");
                self.secret("url", Some(url));
            }
            NotifyKind::Healthcheck { url } => {
                self.one("type", "healthcheck");
                self.secret("url", Some(url));
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

/// Seconds in the largest unit that they are a multiple of.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// Bytes in the largest unit that they are a multiple of.
pub fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

fn rate(bytes: u64) -> String {
    format!("{}/s", size(bytes))
}
