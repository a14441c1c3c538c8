//! A client for what a plan declares. What is not written there comes from where the services' own tools take it: the
//! environment, for S3 also the profile, a token of the pod's, the machine's own service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::fill;
use backplan_compiler::model::{Store as Declared, StoreKind};
use backplan_compiler::value::{Secret, Text};
use jiff::tz::TimeZone;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpConnector;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{Certificate, ClientOptions, RetryConfig};

use super::Service;
use super::copy::Copier;
use super::keys::{Fetch, Keys, OfAzure, OfS3, Pair};
use super::lost::LostUploads;
use super::patient::Patient;
use super::retention::Retention;
use super::trouble::BucketTrouble;
use crate::machine::host_name;
use crate::programs::secrets::Secrets;
use crate::store::Patience;

/// A server that does not take a connection for so long is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that sends nothing for so long is dead; a slow one sends something.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a request is repeated that another attempt may help.
const REPEAT: Duration = Duration::from_secs(60);
/// How long one is asked again that is busy ([`Patient`]).
const BUSY: Duration = Duration::from_secs(30);
/// How often, where it is not.
const ATTEMPTS: usize = 5;
/// The same for who asks again by himself: once more, for what a server does now and then.
const SOON: Duration = Duration::from_secs(5);
const ONCE_MORE: usize = 1;
/// Bytes of a file of certificates or credentials at the most.
const LARGEST: u64 = 4 << 20;
/// Where a server that has no regions is said to be.
const NO_REGION: &str = "us-east-1";

/// A client, and what it is to do.
pub struct OpenedBucket {
    /// The client.
    pub service: Arc<dyn Service>,
    /// What it signs with, where that is not for the library alone.
    pub keys: Option<Arc<Keys>>,
    /// Finds uploads that nobody goes on with.
    pub lost: Option<Arc<LostUploads>>,
    /// Copies within the bucket.
    pub copier: Option<Arc<Copier>>,
    /// Has the server itself keep what is immutable.
    pub retention: Option<Arc<Retention>>,
    /// What stands before every name.
    pub prefix: String,
    /// The class that objects are given.
    pub storage_class: Option<String>,
}

/// The client of a declared store.
///
/// # Errors
/// In words, what of the declaration makes none.
pub fn build(declared: &Declared, secrets: &Secrets, patience: Patience) -> Result<OpenedBucket, String> {
    crate::tls::choose();
    let kind = &declared.kind;
    see_address(kind)?;
    let (mut lost, mut copier, mut retention) = (None, None, None);
    let keys = keys(kind, secrets)?.map(|fetch| Keys::new(fetch, secrets)).transpose()?.map(Arc::new);
    let authority = authority(kind)?;
    let trust = Trust { authority: authority.as_deref(), has_keys: keys.is_some() };
    let busy = busy(declared, patience, authority.as_deref());
    let failed = |error: object_store::Error| BucketTrouble::of(&error).words;
    let service: Arc<dyn Service> = match kind {
        StoreKind::S3 { bucket, endpoint, .. } => {
            let options = options(endpoint.as_deref(), &trust, patience)?;
            let http = busy.connect(&options).map_err(failed)?;
            let s3 = s3(kind, keys.clone(), options, patience)?.with_http_connector(busy);
            let s3 = Arc::new(s3.build().map_err(failed)?);
            let bucket = bucket.clone();
            copier = Some(Arc::new(Copier { s3: Arc::clone(&s3), http: http.clone(), bucket }));
            lost = Some(Arc::new(LostUploads { s3: Arc::clone(&s3), http: http.clone() }));
            retention =
                Some(Arc::new(Retention { s3: Arc::clone(&s3), http, is_absent: AtomicBool::new(false) }));
            s3
        }
        StoreKind::Azblob { .. } => {
            let azblob = azblob(kind, keys.clone(), &trust, patience)?.with_http_connector(busy);
            Arc::new(azblob.build().map_err(failed)?)
        }
        StoreKind::Gcs { .. } => {
            let gcs = gcs(kind, secrets, &trust, patience)?.with_http_connector(busy);
            Arc::new(gcs.build().map_err(failed)?)
        }
        StoreKind::Dir { .. } | StoreKind::Sftp { .. } => return Err("it is no bucket".to_owned()),
    };
    let (prefix, storage_class) = match kind {
        StoreKind::S3 { prefix, storage_class, .. } => (prefix, storage_class.clone()),
        StoreKind::Azblob { prefix, .. } | StoreKind::Gcs { prefix, .. } => (prefix, None),
        StoreKind::Dir { .. } | StoreKind::Sftp { .. } => (&None, None),
    };
    Ok(OpenedBucket {
        service,
        keys,
        lost,
        copier,
        retention,
        prefix: filled(prefix.as_ref())?,
        storage_class,
    })
}

/// Sees that an address can be made of what the plan says.
fn see_address(kind: &StoreKind) -> Result<(), String> {
    match kind.faults().first() {
        Some(fault) => Err(format!("its `{}` {}", fault.attribute, fault.why)),
        None => Ok(()),
    }
}

fn filled(prefix: Option<&Text>) -> Result<String, String> {
    let Some(prefix) = prefix else { return Ok(String::new()) };
    let occasion = Occasion { host: Some(host_name()), ..Occasion::default() };
    let filled = fill(prefix, &occasion, &TimeZone::UTC)
        .map_err(|_| format!("its `prefix` (`{prefix}`) cannot be filled in"))?;
    match filled.split('/').any(|part| matches!(part, "." | "..")) {
        true => Err(format!(
            "its `prefix` (`{filled}`) has a part `.` or `..`: a bucket has no folders, take it out"
        )),
        false => Ok(filled),
    }
}

fn s3(
    kind: &StoreKind,
    keys: Option<Arc<Keys>>,
    options: ClientOptions,
    patience: Patience,
) -> Result<AmazonS3Builder, String> {
    let StoreKind::S3 { bucket, region, endpoint, path_style, .. } = kind else {
        return Err("it is no bucket of S3".to_owned());
    };
    // Keys of one's own go with nothing of the environment's, such as a session's token.
    let builder = match keys {
        Some(keys) => AmazonS3Builder::new().with_credentials(Arc::new(OfS3(keys))),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = builder.with_client_options(options).with_retry(retry(patience));
    builder = builder.with_bucket_name(bucket).with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(s3_address(endpoint, bucket, *path_style));
    }
    let told = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    Ok(builder.with_region(region.clone().or_else(told).unwrap_or(NO_REGION.to_owned())))
}

/// What has the plan's keys, else those of the profile that is in force; `None`: the library has them from elsewhere, and anew by
/// itself.
fn keys(kind: &StoreKind, secrets: &Secrets) -> Result<Option<Fetch>, String> {
    match kind {
        StoreKind::S3 { access_key: Some(id), secret_key: Some(key), .. } => {
            let (id, key) = (id.clone(), key.clone());
            Ok(Some(Box::new(move |secrets| {
                let id = fetch("access_key", &id, secrets)?;
                Ok(Pair { id, key: fetch("secret_key", &key, secrets)?, token: None })
            })))
        }
        StoreKind::S3 { access_key: None, secret_key: None, .. } => {
            let has_profile = profile(secrets)?.is_some();
            let fetch = |secrets: &Secrets| {
                profile(secrets)?.ok_or_else(|| "its profile has no keys any more".to_owned())
            };
            Ok(has_profile.then(|| Box::new(fetch) as Fetch))
        }
        StoreKind::S3 { .. } => {
            Err("it has one of `access_key` and `secret_key`: give both, or neither".to_owned())
        }
        StoreKind::Azblob { key: Some(key), .. } => {
            let key = key.clone();
            Ok(Some(Box::new(move |secrets| {
                Ok(Pair { key: fetch("key", &key, secrets)?, ..Pair::default() })
            })))
        }
        StoreKind::Azblob { .. } | StoreKind::Gcs { .. } | StoreKind::Dir { .. } | StoreKind::Sftp { .. } => {
            Ok(None)
        }
    }
}

/// The address that requests for a bucket go to.
fn s3_address(endpoint: &str, bucket: &str, path_style: bool) -> String {
    let endpoint = with_scheme(endpoint);
    match endpoint.split_once("://") {
        Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint,
    }
}

fn azblob(
    kind: &StoreKind,
    keys: Option<Arc<Keys>>,
    trust: &Trust<'_>,
    patience: Patience,
) -> Result<MicrosoftAzureBuilder, String> {
    let StoreKind::Azblob { container, account, endpoint, .. } = kind else {
        return Err("it is no container of Azure".to_owned());
    };
    // Keys of one's own go with nothing of the environment's.
    let told = || variable("AZURE_STORAGE_ENDPOINT").or_else(|| variable("AZURE_ENDPOINT"));
    let endpoint = endpoint.clone().or_else(|| keys.is_none().then(told).flatten());
    let options = options(endpoint.as_deref(), trust, patience)?;
    let builder =
        if keys.is_some() { MicrosoftAzureBuilder::new() } else { MicrosoftAzureBuilder::from_env() };
    let mut builder = builder.with_client_options(options).with_retry(retry(patience));
    builder = builder.with_container_name(container);
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    if let Some(keys) = keys {
        builder = builder.with_credentials(Arc::new(OfAzure(keys)));
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(with_scheme(&endpoint));
    }
    Ok(builder)
}

fn gcs(
    kind: &StoreKind,
    secrets: &Secrets,
    trust: &Trust<'_>,
    patience: Patience,
) -> Result<GoogleCloudStorageBuilder, String> {
    let StoreKind::Gcs { bucket, credential, endpoint, .. } = kind else {
        return Err("it is no bucket of Google's".to_owned());
    };
    let own = credential.is_some();
    let told = || variable("GOOGLE_BASE_URL").filter(|_| !own);
    let endpoint = endpoint.clone().or_else(told);
    let options = options(endpoint.as_deref(), trust, patience)?;
    let builder = if own { GoogleCloudStorageBuilder::new() } else { GoogleCloudStorageBuilder::from_env() };
    let mut builder = builder.with_client_options(options).with_retry(retry(patience));
    builder = builder.with_bucket_name(bucket);
    if let Some(credential) = credential {
        builder = builder.with_service_account_key(fetch("credential", credential, secrets)?);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(&with_scheme(&endpoint));
    }
    Ok(builder)
}

fn with_scheme(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
}

/// Whom a client believes to be the server.
struct Trust<'a> {
    /// Whom an authority says to be it that the plan names, besides those of this machine: its certificates, as PEM.
    authority: Option<&'a [u8]>,
    /// Whether it has its keys already: nobody is asked then but the server itself.
    has_keys: bool,
}

/// The file that a plan names of an authority of its own.
fn authority(kind: &StoreKind) -> Result<Option<Vec<u8>>, String> {
    let StoreKind::S3 { ca_file: Some(file), .. } = kind else { return Ok(None) };
    let pem = crate::regular::read(file, LARGEST).map_err(|error| bad_authority(file, &error))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => Err(bad_authority(file, &"it holds no certificate")),
        Ok(_) => Ok(Some(pem)),
        Err(error) => Err(bad_authority(file, &error)),
    }
}

fn bad_authority(file: &Path, why: &dyn std::fmt::Display) -> String {
    let file = file.display();
    format!("its `ca_file` `{file}`: {why}; name a file with the authority's certificate, as PEM")
}

fn options(endpoint: Option<&str>, trust: &Trust<'_>, patience: Patience) -> Result<ClientOptions, String> {
    let (connect, silence) = match patience {
        Patience::Long => (CONNECT, SILENCE),
        Patience::Short => (SOON, SILENCE / 3),
    };
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(connect)
        .with_read_timeout(silence)
        .with_allow_http(is_plain)
        // Some hundred files are read for them, and a small container has none.
        .with_no_system_certificates(is_plain && trust.has_keys && !crate::tls::is_proxied());
    for certificate in trust.authority.map(Certificate::from_pem_bundle).into_iter().flatten().flatten() {
        options = options.with_root_certificate(certificate);
    }
    Ok(options)
}

/// How long a server is asked again that is busy.
fn busy(declared: &Declared, patience: Patience, authority: Option<&[u8]>) -> Patient {
    let patience = match patience {
        Patience::Long => BUSY,
        Patience::Short => Duration::ZERO,
    };
    Patient::new(&declared.location().to_string(), patience, authority)
}

fn retry(patience: Patience) -> RetryConfig {
    let (max_retries, retry_timeout) = match patience {
        Patience::Long => (ATTEMPTS, REPEAT),
        Patience::Short => (ONCE_MORE, SOON),
    };
    RetryConfig { max_retries, retry_timeout, ..RetryConfig::default() }
}

fn fetch(what: &str, secret: &Secret, secrets: &Secrets) -> Result<String, String> {
    let value = secrets.fetch(secret).map_err(|error| format!("its `{what}`: {error}"))?;
    Ok(value.expose().to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The keys of the profile that is in force, of the file that Amazon's own tools keep them in; `None`: the environment has credentials
/// of its own, or there is none.
fn profile(secrets: &Secrets) -> Result<Option<Pair>, String> {
    const OTHERS: [&str; 4] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    if OTHERS.iter().any(|name| variable(name).is_some()) {
        return Ok(None);
    }
    let home = || Some(Path::new(&variable("HOME")?).join(".aws/credentials"));
    let file = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home);
    let (named, section) = (variable("AWS_PROFILE"), variable("AWS_PROFILE").unwrap_or("default".to_owned()));
    let Some(file) = file.filter(|file| file.exists()) else { return Ok(None) };
    let bytes =
        crate::regular::read(&file, LARGEST).map_err(|error| format!("`{}`: {error}", file.display()))?;
    match section_of(&String::from_utf8_lossy(&bytes), &section) {
        Some(profile) => {
            secrets.remember(backplan_compiler::value::Hidden::new(profile.key.clone()));
            Ok(Some(profile))
        }
        None if named.is_some() => Err(format!(
            "`{}` has no keys of the profile `{section}`, which AWS_PROFILE names",
            file.display()
        )),
        None => Ok(None),
    }
}

fn section_of(text: &str, section: &str) -> Option<Pair> {
    let mut profile = Pair::default();
    let mut is_in = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_in = name.trim() == section;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_in) {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => profile.id = value,
                "aws_secret_access_key" => profile.key = value,
                "aws_session_token" => profile.token = Some(value),
                _ => {}
            }
        }
    }
    (!profile.id.is_empty() && !profile.key.is_empty()).then_some(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_amazons_tools_read_it() {
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key=b\n[ other ]\naws_access_key_id=c\n\
                    aws_secret_access_key = d=e\naws_session_token = f\n[half]\naws_access_key_id = g\n";
        let own = |id: &str, key: &str, token: Option<&str>| {
            Some(Pair { id: id.to_owned(), key: key.to_owned(), token: token.map(str::to_owned) })
        };
        assert!(section_of(text, "default") == own("a", "b", None));
        assert!(section_of(text, "other") == own("c", "d=e", Some("f")));
        assert!(section_of(text, "half").is_none());
        assert!(section_of(text, "none").is_none());
    }

    #[test]
    fn names_that_make_no_address_are_refused_before_a_client_is_made_of_them() {
        let seen = |bucket: &str, endpoint: Option<&str>| {
            let text = |text: &str| text.to_owned();
            see_address(&StoreKind::Azblob {
                container: text(bucket),
                prefix: None,
                account: None,
                key: None,
                endpoint: endpoint.map(text),
            })
        };
        for bucket in ["", "a b", "a/b", "No_Such Bucket!", "a\n", "ü", "a?b"] {
            assert!(seen(bucket, None).is_err_and(|why| why.contains("is no name of one")), "{bucket:?}");
        }
        for endpoint in
            ["", "ftp://h", "ftp://", "http:///x", "http://a b", "https://:9", "h\n", "http://u@h"]
        {
            let why = seen("b", Some(endpoint));
            assert!(why.is_err_and(|why| why.contains("`https://HOST:PORT`")), "{endpoint:?}");
        }
        for endpoint in ["minio:9000", "http://127.0.0.1:5000/", "https://[::1]:9000", "https://s3.x.y/z"] {
            assert_eq!(seen("my.bucket-1_$", Some(endpoint)), Ok(()));
        }
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_name_of_the_server() {
        assert_eq!(s3_address("https://minio:9000/", "b", true), "https://minio:9000");
        assert_eq!(s3_address("minio:9000", "b", false), "https://b.minio:9000");
        assert_eq!(s3_address("http://127.0.0.1:1", "b", true), "http://127.0.0.1:1");
    }
}
