//! Somebody says that it is right so: of sources that what they lost is, so that the runs from before are for `keep` alone again; of
//! runs that no store has them any more, or that this machine did not make them.

use backplan_compiler::model::StoreId;

use super::prepare::PrepareError;
use super::prune::Site;
use crate::catalog::host::PlanState;
use crate::catalog::ids::RunId;
use crate::catalog::made::{Made, Mark};
use crate::catalog::prune::{Accepted, held_runs, newest_look, shrunk};
use crate::catalog::runs::Catalog;

/// What is said to be right.
#[derive(Debug, Default)]
pub(super) struct Accepting {
    /// By source, the newest run that looked at it: what was lost up to then is accepted, and nothing that will be lost after it.
    pub sources: Accepted,
    /// Runs that no store has any more.
    gone: Vec<RunId>,
    /// Runs that this machine did not make, as they are, with the digests of their manifests.
    pub strange: Vec<(RunId, String)>,
}

impl Accepting {
    /// Keeps it, durably.
    pub fn keep(self, plan: &mut PlanState) -> Result<(), PrepareError> {
        for run in &self.gone {
            Made::mark(plan.folder(), *run, Mark::Accepted).map_err(PrepareError::Read)?;
        }
        for (run, digest) in &self.strange {
            Made::accept(plan.folder(), *run, digest).map_err(PrepareError::Read)?;
        }
        if !self.sources.is_empty() {
            plan.accept(self.sources)?;
        }
        Ok(())
    }
}

/// The stores as they are now, and why others cannot be read.
#[derive(Default)]
struct Seen {
    found: Vec<(StoreId, Catalog)>,
    unread: Vec<String>,
}

impl Seen {
    fn of(site: &Site<'_>) -> Seen {
        let mut seen = Seen::default();
        for (id, _) in site.request.model.each_store() {
            let read = site.open(id).and_then(|store| {
                Catalog::load(store.as_ref(), &site.layout).map_err(|error| error.to_string())
            });
            match read {
                Ok(catalog) => seen.found.push((id, catalog)),
                Err(why) => seen.unread.push(why),
            }
        }
        seen
    }
}

/// What is to be accepted.
///
/// # Errors
/// Where a source has lost nothing, or nothing is told of a run, as far as the stores can be read.
pub(super) fn accepted(site: &Site<'_>) -> Result<Accepting, PrepareError> {
    let mut accepting = Accepting::default();
    if site.request.accept.is_empty() {
        return Ok(accepting);
    }
    let seen = Seen::of(site);
    for name in &site.request.accept {
        match name.parse() {
            Ok(run) => accept_run(site, &seen, run, &mut accepting)?,
            Err(_) => accept_source(site, &seen, name, &mut accepting.sources)?,
        }
    }
    Ok(accepting)
}

fn accept_source(
    site: &Site<'_>,
    Seen { found, unread }: &Seen,
    source: &str,
    accepted: &mut Accepted,
) -> Result<(), PrepareError> {
    let is_lost = found.iter().any(|(id, catalog)| {
        let occasion = site.occasion(*id, catalog);
        let held = held_runs(catalog, &occasion.accepted, site.request.now);
        let shrunk = shrunk(catalog, &occasion);
        held.iter().any(|held| held.source == source)
            || shrunk.iter().any(|why| why.source().is_some_and(|name| name == source))
    });
    if !is_lost {
        return Err(PrepareError::NotLost { source_name: source.to_owned(), unread: unread.clone() });
    }
    let newest = found.iter().filter_map(|(_, catalog)| newest_look(catalog, source)).max();
    accepted.extend(newest.map(|newest| (source.to_owned(), newest)));
    Ok(())
}

/// A run, and those before it of which the same is told.
fn accept_run(
    site: &Site<'_>,
    Seen { found, unread }: &Seen,
    run: RunId,
    accepting: &mut Accepting,
) -> Result<(), PrepareError> {
    let made = Made::load(site.plan.folder()).map_err(PrepareError::Read)?;
    let gone = match unread.is_empty() {
        true => made.gone(found.iter().map(|(_, catalog)| catalog)),
        false => Vec::new(),
    };
    let gone = if gone.contains(&run) { gone } else { Vec::new() };
    let strange: Vec<_> = found
        .iter()
        .map(|(id, catalog)| made.strange(catalog, &site.request.model.store(*id).name))
        .collect();
    let of_it = strange.into_iter().filter(|strange| strange.iter().any(|(other, _)| *other == run));
    let strange: Vec<(RunId, &str)> = of_it.flatten().filter(|(other, _)| *other <= run).collect();
    if gone.is_empty() && strange.is_empty() {
        return Err(PrepareError::NotTold { run: run.to_string(), unread: unread.clone() });
    }
    accepting.gone.extend(gone.into_iter().filter(|other| *other <= run));
    accepting.strange.extend(strange.into_iter().map(|(run, digest)| (run, digest.to_owned())));
    Ok(())
}
