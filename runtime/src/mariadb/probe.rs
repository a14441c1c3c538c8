//! What is looked at before a run: programs, the server, its maker, its account's rights.

use backplan_compiler::codes;
use backplan_compiler::model::{Mariadb, SourceId};
use backplan_compiler::sources::Place;

use super::Meant;
use super::client::{self, Client, find, is_mariadb};
use super::errors;
use super::rights;
use crate::postgres::names;
use crate::postgres::tools;
use crate::programs::process::Tell;
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
    let Some((found, grants, bytes)) = asked(mariadb, look, name, place) else { return 0 };
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
    match mariadb.wanted(found).is_empty() {
        true => 0,
        false => bytes,
    }
}

/// Databases, grants and bytes of tables, as the server tells; `None`: it does not, which is told.
fn asked(
    mariadb: &Mariadb,
    look: &mut Look<'_>,
    name: &str,
    place: Place,
) -> Option<(Vec<String>, Vec<String>, u64)> {
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
    let answers = client
        .version()
        .and_then(|version| Ok((version, client.databases()?, client.grants()?, client.bytes()?)));
    let (version, found, grants, bytes) = match answers {
        Ok(answers) => answers,
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
    if is_mariadb(&version) {
        return Some((found, grants, bytes));
    }
    let message = format!("source `{name}`: {}", client::another(&version));
    look.find(&codes::SERVER_AWAY, place, message, "name a server of MariaDB");
    None
}
