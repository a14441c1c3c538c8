//! Every secret that a plan names, wherever it stands.

use super::{Model, Notify, NotifyKind, Store, StoreKind};
use crate::value::{EnvValue, Secret};

impl Model {
    /// Every secret, those that other secrets are made of among them.
    pub fn secrets(&self) -> Vec<&Secret> {
        let mut all: Vec<&Secret> = Vec::new();
        all.extend(self.stores.iter().flat_map(of_store));
        all.extend(self.sources.iter().filter_map(|source| source.kind.own().password()));
        all.extend(self.separates.iter().filter_map(|separate| separate.passphrase.as_ref()));
        all.extend(self.notifies.iter().flat_map(of_notify));
        all.extend(self.verifies.iter().filter_map(|verify| verify.identity.as_ref()));
        all.extend(self.environments().flatten().filter_map(|(_, set)| match set {
            EnvValue::Secret(secret) => Some(secret),
            EnvValue::Text(_) => None,
        }));
        // What a program that prints one is given may be secret too.
        let mut at = 0;
        while at < all.len() {
            if let Secret::Exec { env, .. } = all[at] {
                all.extend(env.iter().filter_map(|(_, set)| match set {
                    EnvValue::Secret(secret) => Some(secret),
                    EnvValue::Text(_) => None,
                }));
            }
            at += 1;
        }
        all
    }

    /// The variables that secrets are taken from and that have no default, each once.
    pub fn needed_variables(&self) -> Vec<&str> {
        let mut names: Vec<&str> = (self.secrets().into_iter())
            .filter_map(|secret| match secret {
                Secret::Env { name, default: None } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn of_store(store: &Store) -> Vec<&Secret> {
    let all = match &store.kind {
        StoreKind::S3 { access_key, secret_key, .. } => vec![access_key, secret_key],
        StoreKind::Azblob { key, .. } => vec![key],
        StoreKind::Gcs { credential, .. } => vec![credential],
        StoreKind::Dir { .. } | StoreKind::Sftp { .. } => Vec::new(),
    };
    all.into_iter().flatten().collect()
}

fn of_notify(notify: &Notify) -> Vec<&Secret> {
    match &notify.kind {
        NotifyKind::Webhook { url, token, .. } => std::iter::once(url).chain(token).collect(),
        NotifyKind::Healthcheck { url, .. } => vec![url],
        NotifyKind::Email(email) => email.password.iter().collect(),
        NotifyKind::Command { .. } => Vec::new(),
    }
}
