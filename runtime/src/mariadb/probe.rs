//! What is looked at before a run: programs, the server, its maker, its account's rights.

use backplan_compiler::codes;
use backplan_compiler::model::{Mariadb, SourceId};
use backplan_compiler::sources::Place;

use super::client::{self, Client, find, is_mariadb};
use super::errors;
use super::rights;
use super::{Meant, asleep, shortened, views, without_history};
use crate::postgres::names;
use crate::postgres::tools;
use crate::programs::process::{ProcessError, Tell};
use crate::programs::secrets::Secrets;
use crate::source::look::Look;

/// Looks at a server; bytes of its tables, of which a run makes text in the staging.
pub(super) fn probe(mariadb: &Mariadb, look: &mut Look<'_>, id: SourceId) -> u64 {
    let source = look.model.source(id);
    let (name, place) = (&source.name, source.place);
    if let Some(Err(error)) = mariadb.run_as.as_deref().map(tools::account) {
        let message = format!("source `{name}`: {error}");
        look.find(&codes::ACCOUNT_MISSING, place, message, "name an account of this machine");
    }
    for program in ["mariadb-dump", "mariadb"] {
        if let Err(error) = find(program) {
            look.find(
                &codes::TOOL_MISSING,
                place,
                format!("source `{name}`: {error}"),
                "install it where the plan runs",
            );
            return 0;
        }
    }
    let Some(Answers { found, grants, bytes, lacking, asleep }) = asked(mariadb, look, name, place) else {
        return 0;
    };
    let all = mariadb.databases.iter().map(|wanted| (wanted, false));
    let all = all.chain(mariadb.exclude.iter().map(|left| (left, true)));
    for (missing, goes_on) in all.filter(|(wanted, _)| !found.contains(wanted)) {
        let missing = names::shown(missing.as_bytes());
        let message = format!("source `{name}`: its server shows no database `{missing}` to this account");
        let help = "mend the name, or let the account see it";
        look.find_weighed(&codes::RIGHTS_MISSING, place, message, help, goes_on);
    }
    for lacking in rights::lacking(&grants, &mariadb.databases) {
        let message = format!("source `{name}`: {}", lacking.told());
        look.find_weighed(&codes::RIGHTS_MISSING, place, message, &lacking.mend(), true);
    }
    for lacking in lacking {
        let message = format!("source `{name}`: {lacking}");
        look.find(&codes::DUMP_LACKS, place, message, "a run goes on, and ends with a warning each time");
    }
    if let Some(asleep) = asleep {
        let help = "switch on what ran there once the dump is loaded (`alter event DATABASE.NAME enable`)";
        look.find_weighed(&codes::DUMP_LACKS, place, format!("source `{name}`: {asleep}"), help, true);
    }
    match mariadb.wanted(found).is_empty() {
        true => 0,
        false => bytes,
    }
}

/// What the server tells.
struct Answers {
    /// Its databases.
    found: Vec<String>,
    grants: Vec<String>,
    /// Of its tables.
    bytes: u64,
    /// What a dump cannot have of what is there, in words.
    lacking: Vec<String>,
    /// What a dump has otherwise than the primary of this server.
    asleep: Option<String>,
}

impl Answers {
    fn of(mariadb: &Mariadb, client: &Client<'_>) -> Result<Answers, ProcessError> {
        let (found, grants, bytes) = (client.databases()?, client.grants()?, client.bytes()?);
        let wanted = mariadb.wanted(found.clone());
        let sees_all = rights::lacking(&grants, &mariadb.databases).is_empty();
        let broken = views::broken(client, &wanted, sees_all)?;
        let mut lacking: Vec<String> = broken.iter().map(views::Broken::told).collect();
        lacking.extend(shortened(client, &wanted)?);
        if client.has_history()? {
            let tables = client.tables_of_transactions(&wanted)?.into_iter();
            lacking.extend(tables.map(|(database, table)| without_history(&database, &table)));
        }
        let asleep = asleep(client, &wanted)?;
        Ok(Answers { found, grants, bytes, lacking, asleep })
    }
}

/// What the server tells; `None`: it tells nothing, which is told.
fn asked(mariadb: &Mariadb, look: &mut Look<'_>, name: &str, place: Place) -> Option<Answers> {
    let secrets = Secrets::default().under(look.control);
    let password = match mariadb.password.as_ref().map(|secret| secrets.fetch(secret)).transpose() {
        Ok(password) => password,
        Err(error) => {
            let message = format!("source `{name}`: its password: {error}");
            let help = "make the secret readable for the account that runs the plan";
            look.find(&codes::SERVER_AWAY, place, message, help);
            return None;
        }
    };
    let tell: Tell = std::sync::Arc::new(|_| {});
    let client = Client { mariadb, password, timeout: None, control: look.control, tell };
    let asked = client.version().and_then(|version| match is_mariadb(&version) {
        true => Answers::of(mariadb, &client).map(Ok),
        false => Ok(Err(version)),
    });
    let other = match asked {
        Ok(Ok(answers)) => return Some(answers),
        Ok(Err(other)) => other,
        Err(error) => {
            let (code, what) = match errors::is_refusal(&error) {
                true => (&codes::SERVER_REFUSES, "lets nobody in who comes like this"),
                false => (&codes::SERVER_AWAY, "does not answer"),
            };
            let said = secrets.redact(&error.to_string());
            let message = format!("source `{name}`: its server {what}: {said}{}", errors::mend(&error));
            let help = "a run would come like this, too: mend `socket`, `host`, `port`, `user`, `password`, `run_as` or the server";
            look.find(code, place, message, help);
            return None;
        }
    };
    let message = format!("source `{name}`: {}", client::another(&other));
    look.find(&codes::SERVER_AWAY, place, message, "name a server of MariaDB");
    None
}
