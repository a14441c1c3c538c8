//! Whether servers and their tools are as a plan needs them.

mod archiving;
pub(crate) mod repository;

use std::path::Path;

use backplan_compiler::codes;
use backplan_compiler::model::{Postgres, PostgresDriver, Source, SourceId};

use super::identity::Known;
use super::probe::{self, Facts};
use super::{identity, pgbackrest, tools};
use crate::programs::secrets::Secrets;
use crate::source::look::{Look, nearest};

/// What to do about a server that does not answer, or refuses.
const AWAY: &str = "start it, or mend `host`, `port`, `user`, `password` and `run_as`";
const REFUSED: &str = "do what stands under the server's words; a run would come like this, too, and fail";

impl Look<'_> {
    /// A cluster of the plan; bytes of the databases that a run would copy into the staging.
    pub(crate) fn cluster(&mut self, id: SourceId, postgres: &Postgres, state: &Path) -> u64 {
        let source = self.model.source(id);
        self.tools(source, postgres);
        let Some(facts) = self.server(source, postgres) else { return 0 };
        self.versions(source, postgres, &facts);
        self.rights(source, postgres, &facts);
        self.unread(source, &facts);
        self.spoiling_name(source, &facts);
        self.copying(id, source, postgres, &facts, state);
        self.log(id, source, postgres, &facts);
        let earlier = self.stanza(id, source, postgres, &facts);
        self.identity(source, &facts, &earlier);
        facts.bytes.filter(|_| source.repository().is_none()).unwrap_or_default()
    }

    fn tools(&mut self, source: &Source, postgres: &Postgres) {
        if let Some(Err(error)) = postgres.run_as.as_deref().map(tools::account) {
            let message = format!("source `{}`: {error}", source.name);
            self.find(&codes::ACCOUNT_MISSING, source.place, message, "name an account of this machine");
        }
        for program in probe::programs(postgres.driver) {
            if let Err(error) = tools::find(program) {
                let message = format!("source `{}`: {error}", source.name);
                self.find(&codes::TOOL_MISSING, source.place, message, "install it where the plan runs");
            }
        }
    }

    fn server(&mut self, source: &Source, postgres: &Postgres) -> Option<Facts> {
        let secrets = Secrets::default().under(self.control);
        let password = match postgres.password.as_ref().map(|secret| secrets.fetch(secret)).transpose() {
            Ok(password) => password,
            Err(error) => {
                let message = format!("source `{}`: its password: {error}", source.name);
                let help = "make the secret readable for the account that runs the plan";
                self.find(&codes::SERVER_AWAY, source.place, message, help);
                return None;
            }
        };
        match probe::ask(postgres, &source.name, password, self.control) {
            Ok(facts) => Some(facts),
            Err(error) => {
                let (code, what, help) = match error.is_refusal() {
                    true => (&codes::SERVER_REFUSES, "lets nobody in who comes like this", REFUSED),
                    false => (&codes::SERVER_AWAY, "does not answer", AWAY),
                };
                let error = secrets.redact(&error.to_string());
                let message = format!("source `{}`: its server {what}: {error}", source.name);
                self.find(code, source.place, message, help);
                None
            }
        }
    }

    fn versions(&mut self, source: &Source, postgres: &Postgres, facts: &Facts) {
        if let Some(version) = probe::old_pgbackrest(postgres.driver, self.control) {
            let message = format!("source `{}`: pgBackRest {version} is not known here", source.name);
            let help = format!("install a newer package, {} at the least", pgbackrest::oldest());
            self.find(&codes::TOOL_OLD, source.place, message, help);
        }
        let old = probe::programs(postgres.driver)
            .iter()
            .filter_map(|program| Some((*program, probe::major_of(program, self.control)?)))
            .find(|(_, major)| *major < facts.major);
        if let Some((program, major)) = old {
            let message = format!(
                "source `{}`: `{program}` is of PostgreSQL {major}, and the server of {}",
                source.name, facts.major
            );
            let help = format!("install the client programs of PostgreSQL {}", facts.major);
            self.find(&codes::TOOL_OLD, source.place, message, help);
        }
    }

    /// Whether it is the cluster that was backed up, or one that is known to have taken its place.
    fn identity(&mut self, source: &Source, facts: &Facts, earlier: &[String]) {
        let known = Known::of(self.runs.iter().copied(), &source.name);
        let Some(known) = known.filter(|known| !earlier.contains(&known.system_id)) else { return };
        if let Some(why) = known.another(Some(&facts.system_id)) {
            let message = format!("source `{}`: {why}", source.name);
            self.find(&codes::CLUSTER_OTHER, source.place, message, identity::mend(&source.name));
        }
    }

    fn rights(&mut self, source: &Source, postgres: &Postgres, facts: &Facts) {
        let (name, place) = (&source.name, source.place);
        let copies = matches!(postgres.driver, PostgresDriver::Basebackup | PostgresDriver::Probackup);
        if copies && !facts.is_superuser && !facts.may_replicate {
            let message = format!("source `{name}`: its role has no REPLICATION");
            self.find(&codes::RIGHTS_MISSING, place, message, "`alter role NAME with replication`");
        } else if let Some(why) = &facts.refused {
            let message = format!("source `{name}`: its server lets no backup in: {why}");
            let help = "`pg_basebackup` connects for replication, as was tried here: see that it is let in";
            self.find(&codes::RIGHTS_MISSING, place, message, help);
        }
        if postgres.driver == PostgresDriver::Dump && !facts.is_superuser && !facts.reads_all {
            let message = format!("source `{name}`: its role may not read every table");
            let help = "`grant pg_read_all_data to NAME`, unless it was granted each table by itself";
            self.find_weighed(&codes::RIGHTS_MISSING, place, message, help, true);
        }
        if !facts.has_checksums && postgres.driver != PostgresDriver::Dump {
            let message = format!("source `{name}`: the pages of its cluster have no checksums");
            let help = "stop it once and run `pg_checksums --enable`: a damaged page is then noticed";
            self.find(&codes::NO_CHECKSUMS, place, message, help);
        }
    }

    /// What of its databases does not come into their dumps.
    fn unread(&mut self, source: &Source, facts: &Facts) {
        for (database, unread) in &facts.unread {
            let message = format!("source `{}`: database `{database}`: {}", source.name, unread.what);
            let code = if unread.goes_on { &codes::DUMP_LACKS } else { &codes::RIGHTS_MISSING };
            self.find(code, source.place, message, unread.mend.as_str());
        }
    }

    fn spoiling_name(&mut self, source: &Source, facts: &Facts) {
        if let Some(name) = &facts.spoiling_name {
            let message = format!("source `{}`: {}", source.name, pgbackrest::spoilt(name));
            self.find(&codes::NAME_SPOILS, source.place, message, pgbackrest::MEND_OF_NAME);
        }
    }

    /// What is copied before it is packed, as the account of the tool: whether it comes to the place.
    fn copying(&mut self, id: SourceId, source: &Source, postgres: &Postgres, facts: &Facts, state: &Path) {
        let (name, place) = (&source.name, source.place);
        if postgres.driver == PostgresDriver::Basebackup && facts.free_slots <= 0 {
            let message = format!(
                "source `{name}`: its server has no replication slot left: a run copies the cluster before it packs it"
            );
            let help = "drop the slots that nobody needs (`select * from pg_replication_slots`), or raise `max_replication_slots`";
            self.find(&codes::SLOTS_FULL, place, message, help);
        }
        let waits = |other: &Source| other.after.contains(&id);
        let why = match postgres.driver {
            // Without, `pg_dump` writes to its output, and comes to no folder.
            PostgresDriver::Dump if postgres.jobs.is_some_and(|jobs| jobs > 1) => "its dump has `jobs`",
            PostgresDriver::Basebackup if facts.has_tablespaces => "its cluster has tablespaces",
            PostgresDriver::Basebackup if facts.free_slots <= 0 => "its server has no replication slot left",
            PostgresDriver::Basebackup if self.model.sources.iter().any(waits) => {
                "another source waits for it"
            }
            _ => return,
        };
        let Some(account) = &postgres.run_as else { return };
        let folder = self.model.staging.as_ref().map_or(state, |staging| &staging.path);
        let there = nearest(folder);
        if !probe::may_enter(postgres, &there, self.control) {
            let message = format!(
                "source `{name}`: `{account}` cannot enter `{}`, where it is copied before it is packed: {why}",
                there.display()
            );
            let help = "let it through the folders above, or name a `staging` where it can";
            self.find(&codes::STAGING_AWAY, place, message, help);
        }
    }

    /// The write-ahead log: what the driver needs of it, and whether it is archived.
    fn log(&mut self, id: SourceId, source: &Source, postgres: &Postgres, facts: &Facts) {
        let name = &source.name;
        if postgres.driver != PostgresDriver::Dump && facts.wal_level == "minimal" {
            let message = format!("source `{name}`: its server has `wal_level = minimal`");
            let help = "set `wal_level = replica` and restart the server";
            self.find(&codes::WAL_LEVEL, source.place, message, help);
        }
        if postgres.driver == PostgresDriver::Basebackup
            && self.model.has_cycle()
            && facts.summarizes == Some(false)
        {
            let message =
                format!("source `{name}`: its server has `summarize_wal = off`: every run takes all of it");
            let help = "set `summarize_wal = on` and reload the server";
            self.find(&codes::SUMMARIZE_OFF, source.place, message, help);
        }
        let wal = self.model.wals.iter().find(|wal| wal.source == id);
        let (place, wanted) = match (wal, postgres.driver) {
            (Some(wal), _) => (wal.place, "wal push"),
            (None, PostgresDriver::Pgbackrest) => (source.place, "archive-push"),
            _ => return,
        };
        let line = self.archive_line(id, source, postgres).unwrap_or_default();
        if facts.archive_mode == "off" {
            let message =
                format!("source `{name}`: its server has `archive_mode = off`, and archives nothing");
            let help =
                format!("set in `postgresql.conf`, and restart the server:\narchive_mode = on\n{line}");
            return self.find(&codes::ARCHIVE_OFF, place, message, help);
        }
        if facts.is_in_recovery() && facts.archive_mode != "always" {
            let message = format!(
                "source `{name}`: its server follows another one, and archives nothing until it takes over"
            );
            let help = "see that the server which it follows archives to here, or set `archive_mode = always` and restart this one";
            self.find(&codes::ARCHIVE_STANDBY, place, message, help);
        }
        if !facts.archive_command.contains(wanted) {
            let message = format!(
                "source `{name}`: the server's `archive_command` is `{}`, which does not archive here",
                facts.archive_command
            );
            let help = format!("set in `postgresql.conf`, and reload the server:\n{line}");
            self.find(&codes::ARCHIVE_COMMAND, place, message, help);
        } else {
            self.archiving(id, source, postgres, facts);
        }
        if let Some(segment) = &facts.failed_segment {
            let message = format!("source `{name}`: the last attempt to archive, of `{segment}`, failed");
            self.find(
                &codes::ARCHIVE_FAILS,
                place,
                message,
                "the server's log says why; it tries again and again",
            );
        }
        self.timeout(id, name, facts);
    }

    /// A server at rest archives no segment for as long as its timeout.
    fn timeout(&mut self, id: SourceId, name: &str, facts: &Facts) {
        let promised = self.model.objectives.iter().filter(|objective| objective.of.contains(&id));
        let promised =
            promised.filter_map(|objective| Some((objective.rpo?, objective.place))).min_by_key(|it| it.0);
        let Some((rpo, place)) = promised else { return };
        if facts.archive_timeout != 0 && facts.archive_timeout <= rpo {
            return;
        }
        let message = match facts.archive_timeout {
            0 => format!("source `{name}`: without an `archive_timeout` a segment waits until it is full"),
            seconds => {
                format!("source `{name}`: `archive_timeout` is {seconds} s, more than the {rpo} s of `rpo`")
            }
        };
        self.find(
            &codes::ARCHIVE_TIMEOUT,
            place,
            message,
            format!("set `archive_timeout` to {rpo} s or less"),
        );
    }
}
