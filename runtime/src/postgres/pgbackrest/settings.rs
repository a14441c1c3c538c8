//! A settings file of the operator's, held against the plan: it must not keep the repository elsewhere, nor decide what goes.

use std::collections::BTreeSet;
use std::path::Path;

use backplan_compiler::count::plural;
use backplan_compiler::kinds::Kind;
use backplan_compiler::lower;
use backplan_compiler::model::{Model, Postgres, PostgresDriver, SourceId};

use crate::postgres::repository::{CIPHER, Repository, RepositoryError};

/// Where a repository is: what `archive_command` must say like the plan.
const PLACE: [&str; 5] = ["type", "path", "s3-bucket", "azure-container", "gcs-bucket"];

/// What the plan says of a source's repository.
pub(super) struct Wanted<'a> {
    pub stanza: &'a str,
    pub postgres: &'a Postgres,
    pub repository: &'a Repository,
    /// Whether the plan's `separate` decides how it is encrypted; `None`: the file does.
    pub is_encrypted: Option<bool>,
    /// Its number in the file, from 1.
    pub number: usize,
    /// How many repositories the plan has.
    pub count: usize,
}

/// In what the settings files of a plan's sources contradict it; those of `only` are looked at, or all where it is empty. A file
/// that cannot be read is one of them.
pub fn conflicts(model: &Model, only: &dyn Fn(&str) -> bool, host: &str) -> Vec<(SourceId, String)> {
    let mut found = Vec::new();
    for (at, source) in model.sources.iter().enumerate() {
        let (id, name) = (SourceId(at), &source.name);
        let Some(postgres) = source.postgres() else { continue };
        let Some(config) = &postgres.config else { continue };
        if postgres.driver != PostgresDriver::Pgbackrest || !only(name) {
            continue;
        }
        let Ok(repositories) = places(model, id, postgres, host) else { continue };
        let own = model.separate(id);
        let wanted = repositories.iter().enumerate().map(|(at, repository)| Wanted {
            stanza: postgres.stanza.as_deref().unwrap_or(name),
            postgres,
            repository,
            is_encrypted: own.map(|own| own.passphrase.is_some()),
            number: at + 1,
            count: repositories.len(),
        });
        let told: BTreeSet<String> = match crate::regular::read_text(config) {
            Ok(text) => wanted.flat_map(|wanted| wanted.conflicts(&text)).collect(),
            Err(cause) => BTreeSet::from([format!("cannot be read: {cause}")]),
        };
        let told =
            told.into_iter().map(|text| (id, format!("source `{name}`: `{}` {text}", config.display())));
        found.extend(told);
    }
    found
}

/// Where the repositories of a source are, in the order of their numbers; no secret of them is fetched.
fn places(
    model: &Model,
    id: SourceId,
    postgres: &Postgres,
    host: &str,
) -> Result<Vec<Repository>, RepositoryError> {
    let Some(own) = model.separate(id) else {
        return Ok(postgres.repository().map(Repository::folder).into_iter().collect());
    };
    let below = lower::repository(&model.name, &model.source(id).name);
    own.to.iter().map(|store| Repository::without_secrets(model.store(*store), &below, host)).collect()
}

/// A settings file with no repository but the one of this number, which is the first in it.
pub(super) fn of_one(text: &str, number: usize) -> String {
    let kept = text.lines().filter_map(|line| {
        let Some((option, value)) = line.split_once('=') else { return Some(line.to_owned()) };
        let name = of_today(option.trim());
        match repository_of(&name) {
            None => Some(line.to_owned()),
            Some((other, rest)) if other == number => Some(format!("repo1-{rest}={}", value.trim())),
            Some(_) => None,
        }
    });
    kept.map(|line| line + "\n").collect()
}

impl Wanted<'_> {
    /// What a file's text says otherwise, each beginning with a verb.
    pub(super) fn conflicts(&self, text: &str) -> Vec<String> {
        let set = options(text, self.stanza);
        let mut found = Vec::new();
        for name in PLACE {
            let option = format!("repo{}-{name}", self.number);
            let plan = self.repository.settings().get(name);
            let there = set.iter().filter(|(key, _)| *key == option).map(|(_, value)| value.as_str());
            let there: Vec<&str> = there.collect();
            match (plan, there.as_slice()) {
                (Some(plan), []) => found.push(format!(
                    "has no `{option}`: add `{option}={plan}`, so that `archive_command` finds the repository too"
                )),
                (Some(plan), there) => {
                    let other = there.iter().find(|value| Path::new(value) != Path::new(plan));
                    found.extend(other.map(|other| {
                        format!("has `{option}={other}`, and the plan says `{plan}`: make them the same")
                    }));
                }
                (None, there) => {
                    let other = there.iter().find(|value| name != "type" || **value != "posix");
                    found.extend(other.map(|other| {
                        format!("has `{option}={other}`, and the plan's repository is in a folder: take it out")
                    }));
                }
            }
        }
        found.extend(self.other_cluster(&set));
        found.extend(self.cipher(&set));
        for (option, value) in &set {
            let Some((number, rest)) = repository_of(option) else { continue };
            if number > self.count {
                found.push(format!(
                    "has `{option}`, and the plan knows {}: take it out",
                    plural(self.count, "repository")
                ));
            } else if number == self.number && rest.starts_with("retention-") {
                found.push(format!(
                    "has `{option}={value}`, and what goes is for the plan's `keep` to say: take it out"
                ));
            }
        }
        found
    }

    fn other_cluster(&self, set: &[(String, String)]) -> Option<String> {
        let plan = self.postgres.data_dir.as_ref()?;
        let (_, other) =
            set.iter().find(|(option, value)| option == "pg1-path" && Path::new(value) != plan.as_path())?;
        Some(format!(
            "has `pg1-path={other}`, and the plan says `data_dir = \"{}\"`: make them the same",
            plan.display()
        ))
    }

    fn cipher(&self, set: &[(String, String)]) -> Option<String> {
        let is_encrypted = self.is_encrypted?;
        let number = self.number;
        let name = format!("repo{number}-cipher-type");
        let value = set.iter().rfind(|(option, _)| *option == name).map(|(_, value)| value.as_str());
        match (is_encrypted, value) {
            (true, Some(CIPHER)) | (false, None | Some("none")) => None,
            (true, _) => Some(format!(
                "has no `{name}={CIPHER}`, and the plan has a `passphrase`: add it, and `repo{number}-cipher-pass`"
            )),
            (false, Some(value)) => Some(format!(
                "has `{name}={value}`, and the plan's `separate` has no `passphrase`: give it one"
            )),
        }
    }
}

/// Options that concern a stanza, by their names of today.
fn options(text: &str, stanza: &str) -> Vec<(String, String)> {
    let mut concerns = false;
    let mut set: BTreeSet<(String, String)> = BTreeSet::new();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            // `[global:archive-push]`: for one command alone.
            let name = section.split(':').next().unwrap_or_default();
            concerns = name == "global" || name == stanza;
        } else if let Some((option, value)) = line.split_once('=').filter(|_| concerns) {
            set.insert((of_today(option.trim()), value.trim().to_owned()));
        }
    }
    set.into_iter().collect()
}

/// Old names had no number.
fn of_today(option: &str) -> String {
    match option.split_once('-') {
        Some(("repo", rest)) => format!("repo1-{rest}"),
        Some(("retention", _)) => format!("repo1-{option}"),
        Some(("db", rest)) => format!("pg1-{rest}"),
        _ => option.to_owned(),
    }
}

/// The number of the repository that an option is of, and what it says of it.
fn repository_of(option: &str) -> Option<(usize, &str)> {
    let (number, rest) = option.strip_prefix("repo")?.split_once('-')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(text: &str, repository: &Repository, is_encrypted: Option<bool>) -> Vec<String> {
        let postgres = Postgres {
            driver: PostgresDriver::Pgbackrest,
            host: None,
            port: None,
            user: None,
            password: None,
            database: None,
            data_dir: Some("/data".into()),
            stanza: None,
            staging: None,
            config: None,
            run_as: None,
            backup_mode: backplan_compiler::model::BackupMode::Delta,
            jobs: None,
        };
        let wanted =
            Wanted { stanza: "db", postgres: &postgres, repository, is_encrypted, number: 1, count: 1 };
        wanted.conflicts(text)
    }

    #[test]
    fn a_file_that_says_what_the_plan_says_or_nothing_of_it_is_no_conflict() {
        let repository = Repository::folder(Path::new("/repo"));
        let text = "# repo1-path=/elsewhere\n[global]\nrepo1-path = /repo/\nrepo1-type=posix\ncompress-type=zst\n\n\
                    [global:archive-push]\nprocess-max=4\n[db]\npg1-path=/data\n[other]\nrepo1-path=/else\n\
                    repo1-retention-full=1\n";
        assert_eq!(told(text, &repository, Some(false)), Vec::<String>::new());
        assert_eq!(told(text, &repository, None), Vec::<String>::new());
    }

    #[test]
    fn each_contradiction_is_told() {
        let repository = Repository::folder(Path::new("/repo"));
        let text = "[global]\nrepo-path=/old\nretention-full=2\nrepo1-cipher-type=aes-256-cbc\nrepo2-path=/two\n\
                    [db:backup]\nrepo1-retention-archive=1\n[db]\npg1-path=/other\nrepo1-s3-bucket=b\n";
        let found = told(text, &repository, Some(false)).join("\n");
        for part in [
            "`repo1-path=/old`, and the plan says `/repo`",
            "`repo1-s3-bucket=b`, and the plan's repository is in a folder",
            "`repo1-retention-full=2`",
            "`repo1-retention-archive=1`",
            "`repo2-path`",
            "`pg1-path=/other`",
            "no `passphrase`",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
        assert!(told("[global]\n", &repository, None)[0].contains("add `repo1-path=/repo`"));
        assert!(told("[global]\nrepo1-path=/repo\n", &repository, Some(true))[0].contains("cipher-pass"));
    }
}
