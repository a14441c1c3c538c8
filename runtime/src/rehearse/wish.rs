//! From a plan to the rehearsals that it asks for.

use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::{LowerError, fill, zone};
use backplan_compiler::model::{Model, SourceId};
use backplan_compiler::value::Text;

use super::{Asked, Planned, RehearsalWish};
use crate::cipher::{Keyring, NoOne};
use crate::programs::environment;
use crate::programs::secrets::{SecretError, Secrets};
use crate::scratch::Places;

impl<'a> RehearsalWish<'a> {
    /// A rehearsal that asks nothing but whether the source comes back.
    pub fn plain(source: &str, places: &Places) -> RehearsalWish<'a> {
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
        model: &'a Model,
        source: SourceId,
        occasion: &Occasion,
        places: &Places,
        secrets: &Secrets,
    ) -> Result<RehearsalWish<'a>, LowerError> {
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
        for store in &model.stores {
            wish.roots.extend(store.folder().map(|folder| (store.name.clone(), folder.to_path_buf())));
        }
        let host = occasion.host.clone().unwrap_or_default();
        wish.planned = Some(Planned { model, source, host, secrets: secrets.clone() });
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
