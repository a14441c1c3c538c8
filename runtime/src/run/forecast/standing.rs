//! How a store stands before a run, without a change to it.

use backplan_compiler::model::Store as Declared;

use crate::catalog::fitness;
use crate::catalog::identity::{Claim, IdentityError, Standing, inspect, may_be_made};
use crate::catalog::ids::Uuid;
use crate::catalog::lock;
use crate::catalog::manifest::HostRef;
use crate::catalog::owner::Owner;
use crate::programs::secrets::Secrets;
use crate::run::prepare::{Prepared, highest_in, host_name, most_believed};
use crate::store::{self, ReadStore, StoreError, StoreErrorKind};

/// A store before a run.
pub(super) struct Looked {
    /// What the run would find, in words.
    pub found: String,
    /// Who has it in use.
    pub busy: Option<String>,
    /// What claiming it would write, with the store in front.
    pub wrote: Vec<String>,
}

/// What a run would find of a store, and who has it in use.
///
/// # Errors
/// Why the run could not use it.
pub(super) fn look_at_store(
    prepared: &Prepared,
    declared: &Declared,
    known: Option<Uuid>,
) -> Result<Looked, IdentityError> {
    let format = || vec![format!("{}:{}", declared.name, prepared.layout.format())];
    let store = match store::open(declared, &Secrets::default()) {
        Ok(store) => store,
        Err(error) if error.kind == StoreErrorKind::Absent => {
            may_be_made(declared, known, prepared.request.adopt)?;
            return match store::would_make(declared) {
                Some(found) => Ok(Looked { found, busy: None, wrote: format() }),
                None => Err(error.into()),
            };
        }
        Err(error) => return Err(error.into()),
    };
    let host = HostRef { machine: prepared.host.machine(), name: host_name() };
    let owner = Owner::this_process(host.machine, &host.name, &prepared.run).noting(prepared.host.leases());
    let claim = Claim {
        file: &prepared.request.model.file,
        machine: host,
        id: prepared.plan.id().unwrap_or_else(Uuid::random),
        known,
        adopt: prepared.request.adopt,
    };
    let standing = inspect(store.as_ref(), &prepared.layout, &claim)?;
    let wrote = if standing.writes_format() { format() } else { Vec::new() };
    let found = match standing {
        Standing::New => "nothing of this plan yet: this would be its first run here".to_owned(),
        Standing::Ours(_) => format!("earlier runs: {}", runs_in(store.as_ref(), prepared)?),
        Standing::Adopted(format) => format!("would be taken over from `{}`", format.machine.name),
    };
    fitness::takes_a_run(store.as_ref(), &prepared.layout)?;
    let most = most_believed(prepared.plan.sequence(), prepared.request.adopt);
    highest_in(store.as_ref(), &prepared.layout, most, None)?;
    let holder = lock::holder(store.as_ref(), &prepared.layout, &owner)?;
    let busy = holder.map(|holder| format!("store `{}` is in use by {holder}", declared.name));
    Ok(Looked { found, busy, wrote })
}

fn runs_in(store: &dyn ReadStore, prepared: &Prepared) -> Result<usize, StoreError> {
    let objects = store.list(Some(&prepared.layout.manifests()))?;
    Ok(objects.iter().filter(|object| prepared.layout.run_of_manifest(&object.name).is_some()).count())
}
