//! The plan's text, in the house style.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use backplan_compiler::model::StoreKind;
use backplan_compiler::value::Text;
use backplan_runtime::load::display;
use backplan_runtime::store::address;

use super::Wanted;
use crate::exit::Failure;

/// The text of the plan for `target`.
///
/// # Errors
/// When a path cannot be written into a plan.
pub fn text(wanted: &Wanted, target: &Path) -> Result<String, Failure> {
    let stem = target.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut out = format!("plan {}\n\nstore backups: {}\n\n", name(&stem), store(&wanted.store)?);
    if !wanted.files.is_empty() {
        files(&mut out, wanted)?;
    }
    for (index, database) in wanted.found.databases.iter().enumerate() {
        let stem = database.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("db_{}_{}", index + 1, name(&stem));
        let _ = write!(out, "source {name}: sqlite {{\n  path = {}\n}}\n\n", quoted(database)?);
    }
    for (index, server) in wanted.servers.iter().enumerate() {
        let same = wanted.servers[..index].iter().filter(|other| other.port == server.port).count();
        let number = if same > 0 { format!("_{}", same + 1) } else { String::new() };
        let _ = write!(
            out,
            "source postgres_{}{number}: postgres {{\n  driver = dump\n  host = {}\n  port = {}\n  run_as = \"{}\"\n}}\n\n",
            server.port,
            quoted(&server.socket)?,
            server.port,
            server.owner
        );
    }
    out.push_str("archive main {\n  from = all\n  to = [backups]\n}\n\ncycle {\n  incrementals = 6\n}\n\nkeep {\n  cycles = 4\n}\n\n");
    out.push_str("schedule {\n  run = daily at 02:30\n}\n");
    backplan_grammar::format(&out).map_err(|errors| {
        let why = errors.first().map(|error| error.message.clone()).unwrap_or_default();
        Failure::new(format!("no plan came of it: {why}"))
    })
}

/// What a store is declared as that is there, by a path or an address.
fn store(place: &Path) -> Result<String, Failure> {
    let parsed = address::parse(place).map_err(|error| Failure::new(error.to_string()))?;
    let word = |text: &str| quoted(Path::new(text));
    let prefix = |prefix: &Option<Text>| -> Result<Option<(&str, String)>, Failure> {
        prefix.as_ref().map(|prefix| Ok(("prefix", word(&prefix.to_string())?))).transpose()
    };
    let (kind, attributes) = match &parsed.kind {
        StoreKind::Dir { path } => ("dir", vec![Some(("path", quoted(path)?))]),
        StoreKind::S3 { bucket, prefix: below, endpoint, path_style, ca_file, .. } => {
            let endpoint = endpoint.as_deref().map(|text| Ok(("endpoint", word(text)?))).transpose()?;
            let ca_file = ca_file.as_deref().map(|path| Ok(("ca_file", quoted(path)?))).transpose()?;
            let style = path_style.then(|| ("path_style", "true".to_owned()));
            ("s3", vec![Some(("bucket", word(bucket)?)), prefix(below)?, endpoint, style, ca_file])
        }
        StoreKind::Azblob { container, prefix: below, .. } => {
            ("azblob", vec![Some(("container", word(container)?)), prefix(below)?])
        }
        StoreKind::Gcs { bucket, prefix: below, .. } => {
            ("gcs", vec![Some(("bucket", word(bucket)?)), prefix(below)?])
        }
        StoreKind::Sftp { host, port, user, path, .. } => {
            let user = user.as_deref().map(|user| Ok(("user", word(user)?))).transpose()?;
            let port = port.map(|port| ("port", port.to_string()));
            ("sftp", vec![Some(("host", word(host)?)), user, port, Some(("path", word(path)?))])
        }
    };
    let lines: String =
        attributes.into_iter().flatten().map(|(name, value)| format!("  {name} = {value}\n")).collect();
    Ok(format!("{kind} {{\n{lines}}}"))
}

fn files(out: &mut String, wanted: &Wanted) -> Result<(), Failure> {
    let paths = wanted.files.iter().map(|path| quoted(path)).collect::<Result<Vec<_>, _>>()?;
    let mut exclude: Vec<String> = wanted.found.useless.iter().map(|name| format!("\"{name}/\"")).collect();
    let apart = wanted.found.databases.iter().flat_map(|path| {
        ["", "-wal", "-shm", "-journal"].map(|ending| PathBuf::from(format!("{}{ending}", path.display())))
    });
    let folders = wanted.found.clusters.iter().chain(&wanted.left_out).cloned();
    for path in apart.chain(folders) {
        let below = wanted.files.iter().find_map(|source| path.strip_prefix(source).ok());
        if let Some(below) = below.filter(|below| !below.as_os_str().is_empty()) {
            // A pattern's own signs stand for themselves behind a backslash.
            let text = below.to_string_lossy().replace('\\', "\\\\");
            let text: String = text
                .chars()
                .flat_map(|c| if "*?[]!#".contains(c) { vec!['\\', c] } else { vec![c] })
                .collect();
            exclude.push(quoted(Path::new(&format!("/{text}")))?);
        }
    }
    // Only what is there can be left out: a pattern that never matches is a mistake elsewhere, not here.
    let _ = writeln!(out, "source files: files {{\n  paths = [{}]", paths.join(", "));
    if !exclude.is_empty() {
        let _ = writeln!(out, "  exclude = [{}]", exclude.join(", "));
    }
    out.push_str("  exclude_caches = true\n}\n\n");
    Ok(())
}

/// A name as the language wants it.
fn name(text: &str) -> String {
    let text: String =
        text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_lowercase()) { text } else { format!("p{text}") }
}

fn quoted(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| {
        Failure::new(format!("the name of `{}` cannot be written into a plan", display(path)))
            .help("rename it, or name the folder above")
    })?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$")))
}
