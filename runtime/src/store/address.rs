//! Stores without a plan: an address says where one is, and keys come from where the services' own tools take them.

use std::path::{Path, PathBuf};

use backplan_compiler::model::{Absent, Store as Declared, StoreKind};
use backplan_compiler::sources::{FileId, Place};
use backplan_compiler::value::Text;

/// What is no address of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of a store: give a folder, `s3://BUCKET/PREFIX`, `azblob://CONTAINER/PREFIX`, `gs://BUCKET/PREFIX` or \
     `sftp://USER@HOST:PORT/PATH`"
)]
pub struct BadAddress(pub String);

/// The store of an address, or of a folder. It is called by what was written.
///
/// # Errors
/// [`BadAddress`] for a scheme that no store has, and for no bucket.
pub fn parse(written: &Path) -> Result<Declared, BadAddress> {
    let shown = written.display().to_string();
    let kind = match shown.split_once("://") {
        None => StoreKind::Dir { path: written.to_path_buf() },
        Some(("sftp", rest)) => server(rest).ok_or(BadAddress(shown.clone()))?,
        Some((scheme, rest)) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            remote(scheme, bucket, prefix).filter(|_| !bucket.is_empty()).ok_or(BadAddress(shown.clone()))?
        }
    };
    Ok(Declared {
        name: shown,
        place: Place { file: FileId(0), span: Default::default() },
        kind,
        offsite: false,
        bandwidth: None,
        immutable: None,
        append_only: false,
        absent: Absent::Fail,
        keep: None,
    })
}

/// A file server: keys and known hosts are those of the account. One slash parts the path from the server, a second one
/// begins a path from the root.
fn server(rest: &str) -> Option<StoreKind> {
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = match server.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, server),
    };
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or(())).transpose().ok()?;
    let is_word = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(':');
    if host.is_empty() || !user.is_none_or(is_word) {
        return None;
    }
    Some(StoreKind::Sftp {
        host: host.to_owned(),
        port,
        user: user.map(str::to_owned),
        key: None,
        path: path.to_owned(),
        known_hosts: None,
    })
}

fn remote(scheme: &str, bucket: &str, prefix: &str) -> Option<StoreKind> {
    let bucket = bucket.to_owned();
    let prefix = (!prefix.trim_matches('/').is_empty()).then(|| Text::literal(prefix));
    match scheme {
        "s3" => {
            let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let endpoint = named("AWS_ENDPOINT_URL_S3").or_else(|| named("AWS_ENDPOINT_URL"));
            let path_style = endpoint.is_some();
            let ca_file = named("AWS_CA_BUNDLE").map(PathBuf::from);
            Some(StoreKind::S3 {
                bucket,
                prefix,
                region: None,
                endpoint,
                access_key: None,
                secret_key: None,
                storage_class: None,
                path_style,
                ca_file,
            })
        }
        "azblob" => {
            Some(StoreKind::Azblob { container: bucket, prefix, account: None, key: None, endpoint: None })
        }
        "gs" => Some(StoreKind::Gcs { bucket, prefix, credential: None, endpoint: None }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_what_stands_before_its_names() {
        let at = |text: &str| parse(Path::new(text)).map(|store| store.location().to_string());
        assert_eq!(at("s3://b/p/q/").unwrap(), "s3://b/p/q");
        assert_eq!(at("gs://b").unwrap(), "gs://b");
        assert_eq!(at("azblob://c/p").unwrap(), "azblob://c/p");
        assert_eq!(at("sftp://h/p/q/").unwrap(), "sftp://h/p/q");
        assert_eq!(at("sftp://u@h:2222//srv/b").unwrap(), "sftp://u@h:2222//srv/b");
        assert_eq!(at("sftp://u@[::1]:2222/b").unwrap(), "sftp://u@[::1]:2222/b");
        assert_eq!(at("/mnt/backup").unwrap(), "/mnt/backup");
        for bad in [
            "s3://",
            "s3:///p",
            "ftp://h/p",
            "sftp://",
            "sftp://h:x/p",
            "sftp://u:secret@h/p",
            "sftp://h:0/p",
        ] {
            assert_eq!(at(bad).unwrap_err(), BadAddress(bad.to_owned()));
        }
    }
}
