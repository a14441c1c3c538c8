//! What a backup is: the layout of a store, manifests, identity, locks, commit, delete, recovery.
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | what this host remembers, and the locks among its processes |
//! | [`identity`] | whose store it is |
//! | [`ids`] | ids of runs, plans, machines, attempts |
//! | [`layout`] | the name of everything in a store |
//! | [`manifest`] | a run's manifest: its clear part |
//! | [`details`] | a manifest's second document: what may be private |

pub mod details;
pub mod host;
pub mod identity;
pub mod ids;
pub mod layout;
pub mod manifest;

// Coming in this order, with these signatures:
//
// store::dir
//   DirStore::open(label: &str, path: &Path) -> Result<DirStore, StoreError>      Unreachable when the folder is missing
//   DirStore::create(label: &str, path: &Path) -> Result<DirStore, StoreError>    makes the last component only
// catalog::host   (local state)
//   HostState::open(dir: &Path) -> Result<HostState, StateError>;  .machine() -> Uuid;  .folder()
//   .plan(name, file: &Path) -> Result<PlanState, StateError>       one folder per plan file: .folder() for journal, scan cache
//   PlanState::known(store, location) -> Option<Uuid>; .remember(store, location, Uuid); .id() -> Option<Uuid>
//   PlanState::sequence() -> u32; .remember_sequence(u32)
//   HostLock::plan(&PlanState, &Note) / HostLock::staging(&HostState, path, &Note) -> Result<HostLock, HostLockError>  (Busy{..})
// catalog::identity
//   Claim { plan, file, machine, host, id: Uuid (for a new store), known: Option<Uuid>, adopt: bool }
//   inspect(store: &dyn ReadStore, &Layout, &Claim) -> Result<Standing, IdentityError>   New | Ours(Format) | Adopt(Format); read-only
//   claim(store: &dyn Store, &Layout, &Claim) -> Result<Format, IdentityError>           under the lease
// catalog::lock
//   Owner::this_process(machine, run) ; LeaseTimes { lease, heartbeat }
//   Lease::acquire(Arc<dyn Store>, &Layout, Owner, LeaseTimes, &Control) -> Result<Lease, LockError>   Busy(Holder)
//   lease.confirm() -> Result<(), LockError>; lease.release() -> Result<(), LockError>
// catalog::commit
//   type Mark = dyn Fn(&[u8]) -> Option<RunId> + Send + Sync   the run named by an artefact's first HEAD_BYTES bytes
//   Transaction::begin(Arc<dyn Store>, Layout, Arc<Lease>, Intent, Arc<Mark>) -> Result<Transaction, CommitError>
//   tx.put_file(&artefact, &Path, &Control), tx.upload(&artefact) -> Box<dyn Upload>, tx.finish(upload, &artefact)
//   tx.commit(&Manifest) -> Result<Committed, CommitError>;  tx.undo() -> Result<Recovery, CommitError>
// catalog::recover
//   RecoveryPlan::make(&dyn ReadStore, &Layout, current: Option<&RunId>, &Mark) -> Result<RecoveryPlan, ..>   the dry run's twin
//   plan.execute(&dyn Store, &Lease) -> Result<Recovered, ..>
// catalog::delete
//   delete_run(&dyn Store, &Layout, &Lease, &mut Catalog, &RunId, &Mark) -> Result<Deleted, DeleteError>
// catalog::runs
//   Catalog::load(&dyn ReadStore, &Layout) -> Result<Catalog, StoreError>; .runs(), .problems(), .highest(), .choose(&Choice)
//   plans(&dyn ReadStore) -> Result<Vec<String>, StoreError>;  next_sequence(...)
