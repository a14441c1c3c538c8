//! Where a pgBackRest repository is, as the tool's options say it. What nobody may see is in no argument and in no
//! manifest: it goes to the tool in its environment, and to the server's `archive_command` in a settings file of mode 0600.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::fill;
use backplan_compiler::model::{Store, StoreKind};
use backplan_compiler::value::{Hidden, Secret, Text};
use jiff::tz::TimeZone;

use crate::programs::secrets::{SecretError, Secrets};

/// The file of a service account's key, beside the settings.
pub const KEY_FILE: &str = "gcs-key.json";

/// How a repository is encrypted.
pub const CIPHER: &str = "aes-256-cbc";
/// Amazon's own default, and what servers of others call the only region they have.
const REGION: &str = "us-east-1";

/// A repository. Its options are without their `repo1-`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repository {
    plain: BTreeMap<String, String>,
    secret: BTreeMap<String, Hidden>,
    key: Option<Hidden>,
}

/// Why a store can hold no repository.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Its tool cannot go there.
    #[error("{0}")]
    Refused(String),
    /// A secret of the store.
    #[error("store `{store}`: {cause}")]
    Secret {
        /// The store.
        store: String,
        /// Why it cannot be had.
        #[source]
        cause: SecretError,
    },
    /// A value would end its line in the settings.
    #[error("`repo1-{0}` of the repository holds a line break")]
    LineBreak(String),
}

/// What of a store that is no folder keeps pgBackRest from it; `None`: nothing. `plan check` has told it before.
fn refusal(store: &Store) -> Option<String> {
    let name = &store.name;
    let unruled = || {
        let rule = store.rules_unknown_to_tool().into_iter().next()?;
        Some(format!("store `{name}` has `{rule}`, which pgBackRest does not know"))
    };
    let unreachable = store.unreachable_by_tool().map(|(why, _)| format!("store `{name}`: {why}"));
    unreachable.or_else(unruled)
}

impl Repository {
    /// One in a folder.
    pub fn folder(path: &Path) -> Repository {
        let mut repository = Repository::default();
        repository.set("path", super::text(path));
        repository
    }

    /// One in a store that is no folder, `below` its prefix.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    pub fn of(
        store: &Store,
        below: &str,
        host: &str,
        secrets: &Secrets,
    ) -> Result<Repository, RepositoryError> {
        Repository::with(store, below, host, &|secret| {
            secrets
                .fetch(secret)
                .map_err(|cause| RepositoryError::Secret { store: store.name.clone(), cause })
        })
    }

    /// The same to tell where it is, not to get there.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    pub fn without_secrets(store: &Store, below: &str, host: &str) -> Result<Repository, RepositoryError> {
        Repository::with(store, below, host, &|_| Ok(Hidden::new("")))
    }

    fn with(
        store: &Store,
        below: &str,
        host: &str,
        fetch: &dyn Fn(&Secret) -> Result<Hidden, RepositoryError>,
    ) -> Result<Repository, RepositoryError> {
        if let Some(why) = refusal(store) {
            return Err(RepositoryError::Refused(why));
        }
        let mut made = Repository::default();
        match &store.kind {
            StoreKind::Dir { path } => return Ok(Repository::folder(&path.join(below))),
            StoreKind::S3 { .. } => made.s3(&store.kind, below, host, fetch)?,
            StoreKind::Azblob { container, prefix, account, key, endpoint } => {
                made.place("azure", prefix.as_ref(), below, host)?;
                made.set("azure-container", container);
                let account = account.as_deref().unwrap_or_default();
                made.set("azure-account", account);
                made.azure_server(account, endpoint.as_deref());
                if let Some(key) = key {
                    made.secret.insert("azure-key".to_owned(), fetch(key)?);
                }
            }
            StoreKind::Gcs { bucket, prefix, credential, endpoint } => {
                made.place("gcs", prefix.as_ref(), below, host)?;
                made.set("gcs-bucket", bucket);
                if let Some(endpoint) = endpoint {
                    made.set("gcs-endpoint", address(endpoint).0);
                }
                match credential {
                    Some(credential) => made.key = Some(fetch(credential)?),
                    None => made.set("gcs-key-type", "auto"),
                }
            }
            // Refused above.
            StoreKind::Sftp { .. } => {}
        }
        made.one_line_each()
    }

    fn s3(
        &mut self,
        kind: &StoreKind,
        below: &str,
        host: &str,
        fetch: &dyn Fn(&Secret) -> Result<Hidden, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let StoreKind::S3 {
            bucket,
            prefix,
            region,
            endpoint,
            access_key,
            secret_key,
            path_style,
            ca_file,
            ..
        } = kind
        else {
            return Ok(());
        };
        self.place("s3", prefix.as_ref(), below, host)?;
        self.set("s3-bucket", bucket);
        self.s3_server(region.as_deref(), endpoint.as_deref(), *path_style);
        if let Some(file) = ca_file {
            self.set("storage-ca-file", super::text(file));
        }
        match (access_key, secret_key) {
            (Some(id), Some(key)) => {
                self.secret.insert("s3-key".to_owned(), fetch(id)?);
                self.secret.insert("s3-key-secret".to_owned(), fetch(key)?);
            }
            // The machine's role.
            _ => self.set("s3-key-type", "auto"),
        }
        Ok(())
    }

    /// The same, encrypted.
    ///
    /// # Errors
    /// [`RepositoryError::LineBreak`].
    pub fn encrypted(mut self, passphrase: Hidden) -> Result<Repository, RepositoryError> {
        self.set("cipher-type", CIPHER);
        self.secret.insert("cipher-pass".to_owned(), passphrase);
        self.one_line_each()
    }

    /// Its lines in a settings file, as the repository of this number; a key that wants a file of its own is in `key_file`.
    pub fn lines(&self, number: usize, key_file: &Path) -> Vec<String> {
        let line = |(name, value)| format!("repo{number}-{name}={value}");
        self.options(key_file).into_iter().map(line).collect()
    }

    /// The same as variables of a process.
    pub fn environment(&self, key_file: &Path) -> Vec<(String, String)> {
        let variable = |name: &str| format!("PGBACKREST_REPO1_{}", name.to_uppercase().replace('-', "_"));
        self.options(key_file).into_iter().map(|(name, value)| (variable(&name), value)).collect()
    }

    /// What everybody may see: where it is, and how it is reached.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.plain
    }

    /// Whether its settings hold what nobody may see.
    pub fn has_secret(&self) -> bool {
        !self.secret.is_empty() || self.key.is_some()
    }

    /// What the file of the key is to hold; `None`: there is none.
    pub fn key(&self) -> Option<&Hidden> {
        self.key.as_ref()
    }

    /// Whether it is reached over a network.
    pub fn is_remote(&self) -> bool {
        self.plain.contains_key("type")
    }

    /// Where it is, in words.
    pub fn location(&self) -> String {
        let get = |name: &str| self.plain.get(name).map_or("", String::as_str);
        match get("type") {
            "" => get("path").to_owned(),
            kind @ "azure" => format!("{kind}:{}{}", get("azure-container"), get("path")),
            kind => format!("{kind}:{}{}", get(&format!("{kind}-bucket")), get("path")),
        }
    }

    /// Whether it is the place that a manifest's settings name.
    pub fn is_at(&self, settings: &BTreeMap<String, String>) -> bool {
        const PLACE: [&str; 5] = ["type", "path", "s3-bucket", "azure-container", "gcs-bucket"];
        PLACE.iter().all(|name| self.plain.get(*name) == settings.get(*name))
    }

    fn options(&self, key_file: &Path) -> BTreeMap<String, String> {
        let mut options = self.plain.clone();
        options.extend(self.secret.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        if self.key.is_some() {
            options.insert("gcs-key".to_owned(), super::text(key_file));
        }
        options
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.plain.insert(name.to_owned(), value.into());
    }

    fn place(
        &mut self,
        kind: &str,
        prefix: Option<&Text>,
        below: &str,
        host: &str,
    ) -> Result<(), RepositoryError> {
        let occasion = Occasion { host: Some(host.to_owned()), ..Occasion::default() };
        let prefix = prefix.map(|prefix| fill(prefix, &occasion, &TimeZone::UTC)).transpose();
        let prefix = prefix.map_err(|_| {
            RepositoryError::Refused("the `prefix` of its store cannot be filled in".to_owned())
        })?;
        let prefix = prefix.unwrap_or_default();
        let parts = prefix.split('/').filter(|part| !part.is_empty()).chain([below]);
        self.set("type", kind);
        // A request for each of a cluster's thousand small files takes longer than their bytes.
        self.set("bundle", "y");
        self.set("path", parts.map(|part| format!("/{part}")).collect::<String>());
        Ok(())
    }

    fn s3_server(&mut self, region: Option<&str>, endpoint: Option<&str>, path_style: bool) {
        let region = region.unwrap_or(REGION);
        self.set("s3-region", region);
        match endpoint {
            Some(endpoint) => self.server("s3-endpoint", endpoint),
            None => {
                let ending = if region.starts_with("cn-") { ".cn" } else { "" };
                self.set("s3-endpoint", format!("s3.{region}.amazonaws.com{ending}"));
            }
        }
        self.set("s3-uri-style", if path_style { "path" } else { "host" });
    }

    /// The tool puts the account before the host's name, or else into the path.
    fn azure_server(&mut self, account: &str, endpoint: Option<&str>) {
        let Some(endpoint) = endpoint else { return };
        let (server, _) = address(endpoint);
        match server.strip_prefix(&format!("{account}.")) {
            Some(server) => self.server("azure-endpoint", server),
            None => {
                self.server("azure-endpoint", &server);
                self.set("azure-uri-style", "path");
            }
        }
    }

    fn server(&mut self, option: &str, endpoint: &str) {
        let (server, port) = address(endpoint);
        match port {
            Some(port) => {
                let host = server.strip_suffix(&format!(":{port}")).unwrap_or(&server).to_owned();
                self.set("storage-port", port);
                self.set(option, host);
            }
            None => self.set(option, server),
        }
    }

    fn one_line_each(self) -> Result<Repository, RepositoryError> {
        // All values but the key, which has a file of its own.
        let bare = Repository { key: None, ..self.clone() };
        match bare.options(&PathBuf::new()).into_iter().find(|(_, value)| value.contains(['\n', '\r', '\0']))
        {
            Some((name, _)) => Err(RepositoryError::LineBreak(name)),
            None => Ok(self),
        }
    }
}

/// Host and port of an address, and the port alone.
fn address(endpoint: &str) -> (String, Option<String>) {
    let server = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    let server = server.split('/').next().unwrap_or_default();
    // Behind the brackets of an IPv6 address.
    let behind = server.rfind(']').map_or(0, |at| at + 1);
    let port = server[behind..].rsplit_once(':').map(|(_, port)| port.to_owned());
    (server.to_owned(), port)
}

#[cfg(test)]
#[path = "repository_tests.rs"]
mod tests;
