//! Where artefacts go.

use super::{Attr, Kind, Make, Naming, RunParts, Ty, Type, def, opt, req};
use crate::model::{Absent, StoreKind, Worded, words};
use crate::resolve::Block;
use crate::resolve::build::store;

pub(super) const STORE: Kind = Kind {
    name: "store",
    doc: "A place that artefacts are brought to.",
    naming: Naming::New,
    repeats: false,
    types: TYPES,
    attrs: EVERY,
    blocks: &["keep"],
};

const ABSENT: [&str; 3] = words(Absent::TABLE);

const TYPES: &[Type] = &[
    ty("dir", "A folder of this machine.", DIR, store::dir),
    ty("s3", "A bucket of Amazon S3 or of a server that speaks its protocol.", S3, store::s3),
    ty("azblob", "A container of Azure Blob Storage.", AZBLOB, store::azblob),
    ty("gcs", "A bucket of Google Cloud Storage.", GCS, store::gcs),
    ty("sftp", "A folder of an SSH file server.", SFTP, store::sftp),
];

const fn ty(
    name: &'static str,
    doc: &'static str,
    attrs: &'static [Attr],
    make: fn(&mut Block<'_>) -> Option<StoreKind>,
) -> Type {
    Type { name, doc, attrs, make: Make::Store(make) }
}

const EVERY: &[Attr] = &[
    def("offsite", Ty::Bool, "false", "Whether it stands elsewhere and counts for `objective.offsite`."),
    opt("bandwidth", Ty::Rate, "The most that is sent to it, in bytes a second."),
    opt("immutable", Ty::Duration, "Nothing younger than this is ever deleted there."),
    def("append_only", Ty::Bool, "false", "Whether this host never deletes anything there."),
    def(
        "absent",
        Ty::Keyword(&ABSENT),
        "warn",
        "What a run does when the store cannot be reached: warn, say nothing, or fail before its first step.",
    ),
];

const DIR: &[Attr] = &[req("path", Ty::Path, "The folder.")];

const S3: &[Attr] = &[
    req("bucket", Ty::Str, "The bucket."),
    opt("prefix", Ty::Text(RunParts::HostOnly), "What stands before every name in the bucket."),
    opt("region", Ty::Str, "The region of the bucket."),
    opt("endpoint", Ty::Str, "The address of a server other than Amazon's."),
    opt("access_key", Ty::Secret, "The id of the access key."),
    opt("secret_key", Ty::Secret, "The secret access key."),
    opt("storage_class", Ty::Str, "The storage class that artefacts are given."),
    def(
        "path_style",
        Ty::Bool,
        "true with an endpoint",
        "Whether the bucket is part of the path, not of the host name.",
    ),
    opt("ca_file", Ty::Path, "The certificate authority that signed the server's certificate."),
];

const AZBLOB: &[Attr] = &[
    req("container", Ty::Str, "The container."),
    opt("prefix", Ty::Text(RunParts::HostOnly), "What stands before every name in the container."),
    opt("account", Ty::Str, "The storage account."),
    opt("key", Ty::Secret, "The key of the account."),
    opt("endpoint", Ty::Str, "The address of a server other than Azure's."),
];

const GCS: &[Attr] = &[
    req("bucket", Ty::Str, "The bucket."),
    opt("prefix", Ty::Text(RunParts::HostOnly), "What stands before every name in the bucket."),
    opt("credential", Ty::Secret, "The key of a service account, as JSON."),
    opt("endpoint", Ty::Str, "The address of a server other than Google's."),
];

const SFTP: &[Attr] = &[
    req("host", Ty::Str, "The server's name or address."),
    opt("port", Ty::Int(1, 65_535), "The server's port."),
    opt("user", Ty::Str, "The account on the server."),
    opt("key", Ty::Path, "The file of the private key; left out, the agent is asked."),
    req("path", Ty::Str, "The folder on the server."),
    opt("known_hosts", Ty::Path, "The file of known host keys."),
];
