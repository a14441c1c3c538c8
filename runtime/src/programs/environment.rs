//! The environment of a program that is started: what it needs to find its way, and what it is given. What else stands in
//! the environment of this process may be somebody's secret.

use std::ffi::OsString;

use backplan_compiler::model::Store;
use backplan_compiler::value::{Env, EnvValue, Secret, Text};

use super::secrets::{SecretError, Secrets};
pub use crate::inherited::basic;

/// What begins like this says to PostgreSQL's programs how to connect.
const POSTGRES: &str = "PG";
/// But for this, which is the source's to say.
const PASSWORD: &str = "PGPASSWORD";
/// And but for settings of pgBackRest, which the plan's own must not contradict; how it compresses is free.
const PGBACKREST: [&str; 2] = ["PGBACKREST_", "PGBACKREST_COMPRESS_"];

/// What the services' own clients take from the environment.
const SERVICES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
/// By which way a server is reached.
const WAYS: [&str; 6] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"];

/// What a program needs of this process's environment that is to reach these stores.
pub fn to_reach<'s>(stores: impl IntoIterator<Item = &'s Store>) -> Vec<(OsString, OsString)> {
    let secrets = stores.into_iter().flat_map(Store::secrets);
    let named: Vec<&str> = secrets
        .filter_map(|secret| match secret {
            Secret::Env { name, .. } => Some(name.as_str()),
            Secret::File(_) | Secret::Exec { .. } | Secret::Inline(_) => None,
        })
        .collect();
    let is_needed = |name: &str| {
        named.contains(&name) || is_way(name) || SERVICES.iter().any(|service| name.starts_with(service))
    };
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_needed)).collect()
}

/// Whether a variable says by which way a server is reached.
pub fn is_way(name: &str) -> bool {
    WAYS.contains(&name)
}

/// What a program of the plan is given: the texts filled in, the secrets fetched.
///
/// # Errors
/// Those of `fill`, and of a secret as `failed` says it.
pub fn given<E>(
    env: &Env,
    secrets: &Secrets,
    fill: impl Fn(&Text) -> Result<String, E>,
    failed: impl Fn(SecretError) -> E,
) -> Result<Vec<(String, String)>, E> {
    let value = |value: &EnvValue| match value {
        EnvValue::Text(text) => fill(text),
        EnvValue::Secret(secret) => Ok(secrets.fetch(secret).map_err(&failed)?.expose().to_owned()),
    };
    env.iter().map(|(name, set)| Ok((name.clone(), value(set)?))).collect()
}

/// What programs of PostgreSQL have besides: all `PG…` but the password and settings of pgBackRest.
pub fn of_postgres() -> Vec<(String, String)> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let pairs = std::env::vars_os().filter_map(text);
    let [all, free] = PGBACKREST;
    let is_theirs = |name: &str| {
        name.starts_with(POSTGRES) && name != PASSWORD && (!name.starts_with(all) || name.starts_with(free))
    };
    pairs.filter(|(name, _)| is_theirs(name)).collect()
}
