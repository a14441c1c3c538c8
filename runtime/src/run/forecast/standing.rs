//! How a store stands before a run, without a change to it.

use std::path::Path;

use crate::catalog::identity::{Claim, IdentityError, Standing, inspect};
use crate::catalog::ids::Uuid;
use crate::catalog::lock;
use crate::catalog::manifest::HostRef;
use crate::catalog::owner::Owner;
use crate::run::prepare::{Prepared, host_name};
use crate::store::dir::DirStore;
use crate::store::{ReadStore, StoreError, StoreErrorKind};

/// What a run would find of a store, and who has it in use.
///
/// # Errors
/// Why the run could not use it.
pub(super) fn look_at_store(
    prepared: &Prepared,
    name: &str,
    folder: &Path,
    known: Option<Uuid>,
) -> Result<(String, Option<String>), IdentityError> {
    let store = match DirStore::open(name, folder) {
        Ok(store) => store,
        Err(error) if error.kind == StoreErrorKind::Unreachable && !folder.exists() => {
            if known.is_some() && !prepared.request.adopt {
                let (store, folder) = (name.to_owned(), folder.display().to_string());
                return Err(IdentityError::FolderMissing { store, folder });
            }
            if !folder.parent().is_some_and(Path::is_dir) {
                return Err(error.into());
            }
            return Ok((format!("the folder `{}` would be made", folder.display()), None));
        }
        Err(error) => return Err(error.into()),
    };
    let host = HostRef { machine: prepared.host.machine(), name: host_name() };
    let owner = Owner::this_process(host.machine, &host.name, &prepared.run);
    let claim = Claim {
        file: &prepared.request.model.file,
        machine: host,
        id: prepared.plan.id().unwrap_or_else(Uuid::random),
        known,
        adopt: prepared.request.adopt,
    };
    let found = match inspect(&store, &prepared.layout, &claim)? {
        Standing::New => "nothing of this plan yet: this would be its first run here".to_owned(),
        Standing::Ours(_) => format!("earlier runs: {}", runs_in(&store, prepared)?),
        Standing::Adopted(format) => format!("would be taken over from `{}`", format.machine.name),
    };
    let holder = lock::holder(&store, &prepared.layout, &owner)?;
    let busy = holder.map(|holder| format!("store `{name}` is in use by {holder}"));
    Ok((found, busy))
}

fn runs_in(store: &dyn ReadStore, prepared: &Prepared) -> Result<usize, StoreError> {
    let objects = store.list(Some(&prepared.layout.manifests()))?;
    Ok(objects.iter().filter(|object| prepared.layout.run_of_manifest(&object.name).is_some()).count())
}
