//! The options that each kind of store comes to, exactly.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Absent, Store, StoreKind};
use backplan_compiler::sources::{FileId, Place};
use backplan_compiler::value::{Hidden, Secret, Text, TextPart};

use super::Repository;
use crate::programs::secrets::Secrets;

fn store(kind: StoreKind) -> Store {
    Store {
        name: "far".to_owned(),
        place: Place { file: FileId(0), span: Default::default() },
        kind,
        offsite: true,
        bandwidth: None,
        immutable: None,
        append_only: false,
        absent: Absent::Warn,
        keep: None,
    }
}

fn secret(value: &str) -> Option<Secret> {
    Some(Secret::Inline(Hidden::new(value)))
}

fn made(store: &Store) -> Repository {
    Repository::of(store, ".backplan-repo/p/db", "node1", &Secrets::default()).unwrap()
}

fn lines(store: &Store) -> Vec<String> {
    made(store).lines(1, Path::new("/home/of/key"))
}

fn s3() -> StoreKind {
    StoreKind::S3 {
        bucket: "buck".to_owned(),
        prefix: None,
        region: None,
        endpoint: None,
        access_key: None,
        secret_key: None,
        storage_class: None,
        path_style: false,
        ca_file: None,
    }
}

#[test]
fn a_bucket_of_amazon_needs_no_more_than_its_name() {
    let wanted = [
        "repo1-bundle=y",
        "repo1-path=/.backplan-repo/p/db",
        "repo1-s3-bucket=buck",
        "repo1-s3-endpoint=s3.us-east-1.amazonaws.com",
        "repo1-s3-key-type=auto",
        "repo1-s3-region=us-east-1",
        "repo1-s3-uri-style=host",
        "repo1-type=s3",
    ];
    assert_eq!(lines(&store(s3())), wanted);
    assert!(!made(&store(s3())).has_secret());
    let StoreKind::S3 { bucket, .. } = s3() else { panic!() };
    let china = StoreKind::S3 {
        bucket,
        prefix: None,
        region: Some("cn-north-1".to_owned()),
        endpoint: None,
        access_key: None,
        secret_key: None,
        storage_class: None,
        path_style: false,
        ca_file: None,
    };
    assert!(lines(&store(china)).contains(&"repo1-s3-endpoint=s3.cn-north-1.amazonaws.com.cn".to_owned()));
}

fn server() -> Store {
    store(StoreKind::S3 {
        bucket: "buck".to_owned(),
        prefix: Some(Text(vec![TextPart::Literal("/backups/".to_owned()), TextPart::Host])),
        region: Some("eu-1".to_owned()),
        endpoint: Some("https://minio.example:9000/".to_owned()),
        access_key: secret("the id"),
        secret_key: secret("the key"),
        storage_class: None,
        path_style: true,
        ca_file: Some(PathBuf::from("/etc/ca.pem")),
    })
}

#[test]
fn a_server_of_another_s_has_its_port_its_certificate_and_its_keys() {
    let repository = made(&server()).encrypted(Hidden::new("the pass")).unwrap();
    let wanted = [
        "repo1-bundle=y",
        "repo1-cipher-pass=the pass",
        "repo1-cipher-type=aes-256-cbc",
        "repo1-path=/backups/node1/.backplan-repo/p/db",
        "repo1-s3-bucket=buck",
        "repo1-s3-endpoint=minio.example",
        "repo1-s3-key=the id",
        "repo1-s3-key-secret=the key",
        "repo1-s3-region=eu-1",
        "repo1-s3-uri-style=path",
        "repo1-storage-ca-file=/etc/ca.pem",
        "repo1-storage-port=9000",
        "repo1-type=s3",
    ];
    assert_eq!(repository.lines(1, Path::new("/home/of/key")), wanted);
    let variables: BTreeMap<String, String> =
        repository.environment(Path::new("/home/of/key")).into_iter().collect();
    assert_eq!(variables["PGBACKREST_REPO1_S3_KEY_SECRET"], "the key");
    assert_eq!(variables["PGBACKREST_REPO1_TYPE"], "s3");
    assert_eq!(variables.len(), wanted.len());
    // A manifest is read by more people than may see a secret, and so is what a debugger or an error prints.
    assert!(repository.has_secret());
    let shown = format!("{:?}{repository:?}", repository.settings());
    assert!(!["the pass", "the id", "the key"].iter().any(|secret| shown.contains(secret)), "{shown}");
    assert_eq!(repository.location(), "s3:buck/backups/node1/.backplan-repo/p/db");
}

#[test]
fn an_account_of_azure_is_before_the_host_or_in_the_path() {
    let azure = |endpoint: Option<&str>| {
        store(StoreKind::Azblob {
            container: "box".to_owned(),
            prefix: None,
            account: Some("acc".to_owned()),
            key: secret("a2V5"),
            endpoint: endpoint.map(str::to_owned),
        })
    };
    let own = [
        "repo1-azure-account=acc",
        "repo1-azure-container=box",
        "repo1-azure-key=a2V5",
        "repo1-bundle=y",
        "repo1-path=/.backplan-repo/p/db",
        "repo1-type=azure",
    ];
    assert_eq!(lines(&azure(None)), own);
    let with = |more: &[&str]| {
        let mut all: Vec<String> = own.iter().chain(more).map(|line| (*line).to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(
        lines(&azure(Some("https://acc.blob.core.chinacloudapi.cn"))),
        with(&["repo1-azure-endpoint=blob.core.chinacloudapi.cn"])
    );
    let local =
        with(&["repo1-azure-endpoint=[::1]", "repo1-azure-uri-style=path", "repo1-storage-port=10000"]);
    assert_eq!(lines(&azure(Some("https://[::1]:10000/acc"))), local);
}

#[test]
fn a_key_of_google_is_in_a_file_beside_the_settings() {
    let gcs = |credential| {
        store(StoreKind::Gcs { bucket: "buck".to_owned(), prefix: None, credential, endpoint: None })
    };
    let with_key = made(&gcs(secret("{\n \"type\": \"service_account\"\n}")));
    let wanted = [
        "repo1-bundle=y",
        "repo1-gcs-bucket=buck",
        "repo1-gcs-key=/home/of/key",
        "repo1-path=/.backplan-repo/p/db",
        "repo1-type=gcs",
    ];
    assert_eq!(with_key.lines(1, Path::new("/home/of/key")), wanted);
    assert!(with_key.has_secret() && with_key.key().is_some());
    let by_machine = lines(&gcs(None));
    assert!(by_machine.contains(&"repo1-gcs-key-type=auto".to_owned()), "{by_machine:?}");
}

#[test]
fn what_the_tool_cannot_do_is_refused() {
    assert!(server().unreachable_by_tool().is_none() && server().rules_unknown_to_tool().is_empty());
    let StoreKind::S3 { bucket, access_key, .. } = server().kind else { panic!() };
    let bad = StoreKind::S3 {
        bucket,
        prefix: None,
        region: None,
        endpoint: Some("http://minio:9000".to_owned()),
        access_key,
        secret_key: None,
        storage_class: Some("GLACIER".to_owned()),
        path_style: true,
        ca_file: None,
    };
    let bad = Store { immutable: Some(9), bandwidth: Some(9), ..store(bad) };
    assert!(bad.unreachable_by_tool().unwrap().0.contains("without TLS"));
    assert_eq!(bad.rules_unknown_to_tool(), ["storage_class", "immutable", "bandwidth"]);
    assert!(Repository::of(&bad, "x", "h", &Secrets::default()).is_err());
}

#[test]
fn a_value_cannot_add_a_line_to_the_settings() {
    let folder = || Repository::folder(Path::new("/repo"));
    let error = folder().encrypted(Hidden::new("a\nrepo1-path=/etc")).unwrap_err().to_string();
    assert_eq!(error, "`repo1-cipher-pass` of the repository holds a line break");
    assert_eq!(folder().lines(2, Path::new("/")), ["repo2-path=/repo"]);
    assert!(!folder().is_remote() && folder().location() == "/repo");
}
