//! Stores.

use super::super::Resolver;
use super::super::block::Block;
use super::super::declare::Declared;
use crate::model::{Absent, Store, StoreKind};

impl<'a> Resolver<'a> {
    pub(super) fn store(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Store> {
        let keep = self.inner(block, "keep", Self::keep);
        Some(Store {
            name: declared.name().to_owned(),
            place: block.head,
            kind: store_kind(declared.ty?.name, block)?,
            offsite: block.bool("offsite").unwrap_or(false),
            bandwidth: block.amount("bandwidth"),
            immutable: block.amount("immutable"),
            append_only: block.bool("append_only").unwrap_or(false),
            absent: match block.keyword("absent") {
                Some("skip") => Absent::Skip,
                Some("fail") => Absent::Fail,
                _ => Absent::Warn,
            },
            keep,
        })
    }
}

fn store_kind(ty: &str, block: &mut Block<'_>) -> Option<StoreKind> {
    Some(match ty {
        "dir" => StoreKind::Dir { path: block.path("path")? },
        "s3" => {
            let endpoint = block.str("endpoint");
            StoreKind::S3 {
                bucket: block.str("bucket")?,
                prefix: block.text("prefix"),
                region: block.str("region"),
                access_key: block.secret("access_key"),
                secret_key: block.secret("secret_key"),
                storage_class: block.str("storage_class"),
                path_style: block.bool("path_style").unwrap_or(endpoint.is_some()),
                ca_file: block.path("ca_file"),
                endpoint,
            }
        }
        "azblob" => StoreKind::Azblob {
            container: block.str("container")?,
            prefix: block.text("prefix"),
            account: block.str("account"),
            key: block.secret("key"),
            endpoint: block.str("endpoint"),
        },
        "gcs" => StoreKind::Gcs {
            bucket: block.str("bucket")?,
            prefix: block.text("prefix"),
            credential: block.secret("credential"),
            endpoint: block.str("endpoint"),
        },
        _ => StoreKind::Sftp {
            host: block.str("host")?,
            port: block.int("port"),
            user: block.str("user"),
            key: block.path("key"),
            path: block.str("path")?,
            known_hosts: block.path("known_hosts"),
        },
    })
}
