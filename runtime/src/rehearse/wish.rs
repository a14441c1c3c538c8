//! From a plan to the rehearsals that it asks for.

use std::path::Path;

use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::{LowerError, fill, zone};
use backplan_compiler::model::{Model, SourceId};
use backplan_compiler::value::Text;

use super::{Asked, RehearsalWish};
use crate::cipher::{Keyring, NoOne};
use crate::postgres::recovery::command_word;
use crate::postgres::restore::{log, repositories};
use crate::postgres::wal::archive::Access;
use crate::programs::environment;
use crate::programs::secrets::{SecretError, Secrets};
use crate::scratch::Places;

impl RehearsalWish {
    /// A rehearsal that asks nothing but whether the source comes back.
    pub fn plain(source: &str, places: &Places) -> RehearsalWish {
        RehearsalWish {
            source: source.to_owned(),
            place: places.place.clone(),
            state: places.state.clone(),
            ..RehearsalWish::default()
        }
    }

    /// The rehearsal of a source with all that the plan's `verify` blocks ask of it.
    ///
    /// # Errors
    /// When a command's text cannot be filled in.
    pub fn of_plan(
        model: &Model,
        source: SourceId,
        occasion: &Occasion,
        places: &Places,
        secrets: &Secrets,
    ) -> Result<RehearsalWish, LowerError> {
        let declared = model.source(source);
        let mut wish =
            RehearsalWish { host: occasion.host.clone(), ..RehearsalWish::plain(&declared.name, places) };
        wish.secrets = secrets.clone();
        for verify in model.verifies.iter().filter(|verify| verify.restore == source) {
            wish.queries.extend(verify.query.clone());
            if let Some(command) = &verify.command {
                let fill = |text: &Text| fill(text, occasion, &zone(model));
                let no_secret = |error: SecretError| {
                    LowerError::Unfilled(format!(
                        "what the `command` on `{}` is given: {error}",
                        declared.name
                    ))
                };
                let argv = command.iter().map(fill).collect::<Result<_, _>>()?;
                let env = environment::given(&verify.env, secrets, fill, no_secret)?;
                wish.commands.push(Asked { argv, env });
            }
        }
        let promised = model.objectives.iter().filter(|objective| objective.of.contains(&source));
        wish.rto = promised.filter_map(|objective| objective.rto).min();
        let own = declared.kind.own();
        wish.database = own.database().map(str::to_owned);
        wish.account = own.run_as().map(str::to_owned);
        wish.role = declared.postgres().and_then(|cluster| cluster.user.clone());
        for store in &model.stores {
            wish.roots.extend(store.folder().map(|folder| (store.name.clone(), folder.to_path_buf())));
        }
        let own = model.separate(source).and_then(|own| own.passphrase.as_ref());
        wish.passphrase = own.map(|secret| secrets.fetch(secret)).transpose().map_err(|error| {
            LowerError::Unfilled(format!("the passphrase of the repository of `{}`: {error}", declared.name))
        })?;
        let host = occasion.host.as_deref().unwrap_or_default();
        let remotes = repositories::reachable(model, (source, &declared.name), host, secrets);
        wish.remotes = remotes.map_err(|error| {
            LowerError::Unfilled(format!("the repository of `{}`: {error}", declared.name))
        })?;
        if let Some(wal) = model.wals.iter().find(|wal| wal.source == source) {
            let access = Access { secrets: secrets.clone(), ..Access::default() };
            (wish.log, _) = log::archives(model, wal, &access);
            wish.is_log_sealed = !wal.encrypt.is_empty();
            let folders: Vec<&Path> = wal.to.iter().filter_map(|id| model.store(*id).folder()).collect();
            wish.fetch = fetch(&folders, &model.name, &declared.name);
        }
        Ok(wish)
    }
}

/// The private keys that the plan's `verify` blocks give for these sources.
///
/// # Errors
/// When one cannot be fetched, or is none.
pub fn keys(model: &Model, sources: &[SourceId], secrets: &Secrets) -> Result<Keyring, String> {
    let mut keys = Keyring::default();
    let asked = model.verifies.iter().filter(|verify| sources.contains(&verify.restore));
    for (verify, secret) in asked.filter_map(|verify| Some((verify, verify.identity.as_ref()?))) {
        let place = format!("of `verify` of `{}`", model.source(verify.restore).name);
        let text = secrets.fetch(secret).map_err(|error| format!("identity {place}: {error}"))?;
        keys.add(&place, text.expose().as_bytes(), &NoOne).map_err(|error| error.to_string())?;
    }
    Ok(keys)
}

/// The command by which a server gets its log back out of stores, whichever has it whole: this program, with no plan file, which the
/// server's account may not be able to read. `None`: there is no store.
fn fetch(roots: &[&Path], plan: &str, source: &str) -> Option<String> {
    let own = std::env::current_exe().ok()?;
    let mut words = vec![own.display().to_string(), "wal".to_owned(), "fetch".to_owned()];
    for root in roots {
        words.extend(["--store".to_owned(), std::path::absolute(root).ok()?.display().to_string()]);
    }
    words.extend(["--plan-name", plan, source].map(str::to_owned));
    let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
    (!roots.is_empty()).then(|| format!("{} %f %p", words.join(" ")))
}
