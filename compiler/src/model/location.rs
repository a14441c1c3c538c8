//! Where a store is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::StoreKind;
use crate::value::Text;

/// Where a store is: two stores with one location are one place, whatever their names. It is the same for findings, for what
/// a machine remembers of its stores, and in messages. Nothing is resolved: two paths may still lead to one folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// A folder of this machine; absolute.
    Folder(PathBuf),
    /// A bucket or container, or a part of one.
    Bucket {
        /// Whose protocol it is, as addresses begin: `s3`, `azblob`, `gs`.
        scheme: &'static str,
        /// The server, where it is not the service's own.
        endpoint: Option<String>,
        /// The account, where buckets of one name may belong to several.
        account: Option<String>,
        /// The bucket or container.
        name: String,
        /// What stands before every name in it, no slash at its ends; empty: nothing.
        prefix: String,
    },
    /// A folder of a file server.
    Server {
        /// Name or address.
        host: String,
        /// The port.
        port: u16,
        /// The account there: a relative path starts from its home.
        user: Option<String>,
        /// The folder, no slash at its end.
        path: String,
    },
}

impl Location {
    /// The folder, if it is one of this machine.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Location::Folder(path) => Some(path),
            Location::Bucket { .. } | Location::Server { .. } => None,
        }
    }
}

impl From<&StoreKind> for Location {
    fn from(kind: &StoreKind) -> Location {
        let below = |prefix: &Option<Text>| {
            prefix.as_ref().map(|text| text.to_string().trim_matches('/').to_owned()).unwrap_or_default()
        };
        match kind {
            StoreKind::Dir { path } => Location::Folder(path.clone()),
            StoreKind::S3 { bucket, prefix, endpoint, .. } => Location::Bucket {
                scheme: "s3",
                endpoint: endpoint.clone(),
                account: None,
                name: bucket.clone(),
                prefix: below(prefix),
            },
            StoreKind::Azblob { container, prefix, account, endpoint, .. } => Location::Bucket {
                scheme: "azblob",
                endpoint: endpoint.clone(),
                account: account.clone(),
                name: container.clone(),
                prefix: below(prefix),
            },
            StoreKind::Gcs { bucket, prefix, endpoint, .. } => Location::Bucket {
                scheme: "gs",
                endpoint: endpoint.clone(),
                account: None,
                name: bucket.clone(),
                prefix: below(prefix),
            },
            StoreKind::Sftp { host, port, user, path, .. } => Location::Server {
                host: host.clone(),
                port: port.unwrap_or(SSH),
                user: user.clone(),
                path: match path.trim_end_matches('/') {
                    "" => path.clone(),
                    trimmed => trimmed.to_owned(),
                },
            },
        }
    }
}

/// The port of SSH.
const SSH: u16 = 22;

impl Location {
    /// How `--store` names it where there is no plan: the server of a bucket, and an account, come from the environment then.
    pub fn address(&self) -> String {
        match self {
            Location::Bucket { scheme, name, prefix, .. } if prefix.is_empty() => {
                format!("{scheme}://{name}")
            }
            Location::Bucket { scheme, name, prefix, .. } => format!("{scheme}://{name}/{prefix}"),
            Location::Folder(_) | Location::Server { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(path) => path.display().fmt(f),
            Location::Bucket { scheme, endpoint, account, name, prefix } => {
                write!(f, "{scheme}://")?;
                if let Some(account) = account {
                    write!(f, "{account}/")?;
                }
                f.write_str(name)?;
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
                endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
            }
            Location::Server { host, port, user, path } => {
                f.write_str("sftp://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                match host.contains(':') {
                    true => write!(f, "[{host}]")?,
                    false => f.write_str(host)?,
                }
                if *port != SSH {
                    write!(f, ":{port}")?;
                }
                // One slash parts it from the server; a second begins a path from the root.
                write!(f, "/{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Location;
    use crate::model::StoreKind;
    use crate::value::Text;

    fn bucket(prefix: Option<&str>, endpoint: Option<&str>) -> Location {
        Location::from(&StoreKind::S3 {
            bucket: "b".to_owned(),
            prefix: prefix.map(Text::literal),
            region: None,
            endpoint: endpoint.map(str::to_owned),
            access_key: None,
            secret_key: None,
            storage_class: None,
            path_style: false,
            ca_file: None,
        })
    }

    #[test]
    fn prefixes_and_servers_tell_buckets_apart_and_slashes_do_not() {
        assert_ne!(bucket(Some("a"), None), bucket(Some("b"), None));
        assert_ne!(bucket(Some("a"), None), bucket(Some("a"), Some("https://minio")));
        assert_eq!(bucket(Some("a/"), None), bucket(Some("/a"), None));
        assert_eq!(bucket(Some("a/b/"), Some("https://minio")).to_string(), "s3://b/a/b at https://minio");
    }

    #[test]
    fn the_port_of_ssh_need_not_be_said() {
        let server = |port, path: &str| {
            Location::from(&StoreKind::Sftp {
                host: "h".to_owned(),
                port,
                user: Some("u".to_owned()),
                key: None,
                path: path.to_owned(),
                known_hosts: None,
            })
        };
        assert_eq!(server(None, "/x/"), server(Some(22), "/x"));
        assert_eq!(server(Some(2222), "/x").to_string(), "sftp://u@h:2222//x");
        assert_eq!(server(None, "x").to_string(), "sftp://u@h/x");
        assert_eq!(server(None, "/").to_string(), "sftp://u@h//");
    }
}
