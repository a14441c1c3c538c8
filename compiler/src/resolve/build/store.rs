//! Stores.

use super::super::Resolver;
use super::super::block::Block;
use super::super::declare::Declared;
use crate::model::{Store, StoreKind};
use crate::schema::Make;

impl<'a> Resolver<'a> {
    pub(super) fn store(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Store> {
        let Make::Store(make) = declared.ty?.make else { return None };
        let keep = self.inner(block, "keep", Self::keep);
        Some(Store {
            name: declared.name().to_owned(),
            place: block.head,
            kind: make(block)?,
            offsite: block.bool("offsite").unwrap_or(false),
            bandwidth: block.amount("bandwidth"),
            immutable: block.amount("immutable"),
            append_only: block.bool("append_only").unwrap_or(false),
            absent: block.choice("absent").unwrap_or_default(),
            keep,
        })
    }
}

pub(crate) fn dir(block: &mut Block<'_>) -> Option<StoreKind> {
    Some(StoreKind::Dir { path: block.path("path")? })
}

pub(crate) fn s3(block: &mut Block<'_>) -> Option<StoreKind> {
    let endpoint = block.str("endpoint");
    Some(StoreKind::S3 {
        bucket: block.str("bucket")?,
        prefix: block.text("prefix"),
        region: block.str("region"),
        access_key: block.secret("access_key"),
        secret_key: block.secret("secret_key"),
        storage_class: block.str("storage_class"),
        path_style: block.bool("path_style").unwrap_or(endpoint.is_some()),
        ca_file: block.path("ca_file"),
        endpoint,
    })
}

pub(crate) fn azblob(block: &mut Block<'_>) -> Option<StoreKind> {
    Some(StoreKind::Azblob {
        container: block.str("container")?,
        prefix: block.text("prefix"),
        account: block.str("account"),
        key: block.secret("key"),
        endpoint: block.str("endpoint"),
    })
}

pub(crate) fn gcs(block: &mut Block<'_>) -> Option<StoreKind> {
    Some(StoreKind::Gcs {
        bucket: block.str("bucket")?,
        prefix: block.text("prefix"),
        credential: block.secret("credential"),
        endpoint: block.str("endpoint"),
    })
}

pub(crate) fn sftp(block: &mut Block<'_>) -> Option<StoreKind> {
    Some(StoreKind::Sftp {
        host: block.str("host")?,
        port: block.int("port"),
        user: block.str("user"),
        key: block.path("key"),
        path: block.str("path")?,
        known_hosts: block.path("known_hosts"),
    })
}
