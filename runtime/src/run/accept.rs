//! Somebody says of sources that what they lost is right so: the runs from before are for `keep` alone again.

use super::prepare::PrepareError;
use super::prune::Site;
use crate::catalog::prune::{Accepted, PrunePlan, newest_look};
use crate::catalog::runs::Catalog;

/// By source, the newest run that looked at it: what was lost up to then is accepted, and nothing that will be lost after it.
///
/// # Errors
/// Where a source has lost nothing that anything waits for, as far as the stores can be read.
pub(super) fn accepted(site: &Site<'_>) -> Result<Accepted, PrepareError> {
    let mut accepted = Accepted::new();
    if site.request.accept.is_empty() {
        return Ok(accepted);
    }
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for (id, _) in site.request.model.each_store() {
        let read = site
            .open(id)
            .and_then(|store| Catalog::load(store.as_ref(), &site.layout).map_err(|error| error.to_string()));
        match read {
            Ok(catalog) => found.push((PrunePlan::make(&catalog, &site.occasion(id)), catalog)),
            Err(why) => unread.push(why),
        }
    }
    for source in &site.request.accept {
        let waits = |plan: &PrunePlan| {
            plan.held.iter().any(|held| held.source == *source)
                || plan.refused.iter().any(|why| why.source() == Some(source))
        };
        if !found.iter().any(|(plan, _)| waits(plan)) {
            return Err(PrepareError::NotLost { source_name: source.clone(), unread });
        }
        let newest = found.iter().filter_map(|(_, catalog)| newest_look(catalog, source)).max();
        accepted.extend(newest.map(|newest| (source.clone(), newest)));
    }
    Ok(accepted)
}
