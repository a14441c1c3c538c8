//! What pgBackRest makes of a store in which it is to keep a repository.

use super::{Store, StoreKind};

impl Store {
    /// Why pgBackRest cannot get there, and what to do; `None`: it can.
    pub fn unreachable_by_tool(&self) -> Option<(&'static str, &'static str)> {
        let endpoint = match &self.kind {
            StoreKind::Dir { .. } => return None,
            StoreKind::S3 { endpoint, .. } => endpoint,
            StoreKind::Azblob { account, key, endpoint, .. } => {
                if account.is_none() || key.is_none() {
                    return Some(("it lacks `account` or `key`, and pgBackRest needs both", "give both"));
                }
                endpoint
            }
            StoreKind::Gcs { endpoint, .. } => endpoint,
            StoreKind::Sftp { .. } => {
                return Some((
                    "it is reached by SFTP, where pgBackRest keeps none",
                    "name a folder, a bucket or a container; an archive can go there by SFTP",
                ));
            }
        };
        let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        is_plain.then_some((
            "it is reached without TLS, and pgBackRest speaks nothing else",
            "give its `https://` address",
        ))
    }

    /// The attributes of a store that is no folder by which a repository in it would not go.
    pub fn rules_unknown_to_tool(&self) -> Vec<&'static str> {
        let class = match &self.kind {
            StoreKind::Dir { .. } => return Vec::new(),
            StoreKind::S3 { storage_class, .. } => storage_class.is_some(),
            StoreKind::Azblob { .. } | StoreKind::Gcs { .. } | StoreKind::Sftp { .. } => false,
        };
        let rules = [
            ("storage_class", class),
            ("immutable", self.immutable.is_some()),
            ("bandwidth", self.bandwidth.is_some()),
        ];
        rules.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }
}
