//! Where everything lies in a store. Artefacts stand at the root under their own names; `.backplan/PLAN/` beside them
//! holds the rest.

use super::ids::RunId;
use crate::store::{BadName, HOME, Name};

/// The names of one plan in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    plan: String,
    home: Name,
}

impl Layout {
    /// The layout of a plan.
    ///
    /// # Errors
    /// When the plan's name cannot be a single folder.
    pub fn new(plan: &str) -> Result<Layout, BadName> {
        let component = Name::new(plan)?;
        if component.as_str().contains('/') {
            return Err(BadName(plan.to_owned()));
        }
        Ok(Layout { plan: plan.to_owned(), home: Name::known(format!("{HOME}/{plan}")) })
    }

    /// The folder that holds the folders of all plans.
    pub fn home_of_all() -> Name {
        Name::known(HOME.to_owned())
    }

    /// The plan's name.
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// `.backplan/PLAN`
    pub fn home(&self) -> &Name {
        &self.home
    }

    /// `.backplan/PLAN/format.yaml`
    pub fn format(&self) -> Name {
        self.below("format.yaml")
    }

    /// `.backplan/PLAN/manifests`
    pub fn manifests(&self) -> Name {
        self.below("manifests")
    }

    /// `.backplan/PLAN/manifests/RUN.yaml`
    pub fn manifest(&self, run: &RunId) -> Name {
        self.below(&format!("manifests/{run}.yaml"))
    }

    /// The run whose manifest has this name.
    pub fn run_of_manifest(&self, name: &Name) -> Option<RunId> {
        self.part(name, "manifests/")?.strip_suffix(".yaml")?.parse().ok()
    }

    /// The run that something beside the manifests is named after: `RUN.yaml.bak`, `.RUN.yaml.k2Xa`.
    pub fn run_named_in(&self, name: &Name) -> Option<RunId> {
        let text = self.part(name, "manifests/")?;
        let starts = text.char_indices().map(|(at, _)| at);
        starts.filter_map(|at| text.get(at..at + RunId::LENGTH)).find_map(|part| part.parse().ok())
    }

    /// `.backplan/PLAN/intents`
    pub fn intents(&self) -> Name {
        self.below("intents")
    }

    /// `.backplan/PLAN/intents/RUN`
    pub fn intent(&self, run: &RunId) -> Name {
        self.below(&format!("intents/{run}"))
    }

    /// The run whose intent has this name.
    pub fn run_of_intent(&self, name: &Name) -> Option<RunId> {
        self.part(name, "intents/")?.parse().ok()
    }

    /// `.backplan/PLAN/tombstones`
    pub fn tombstones(&self) -> Name {
        self.below("tombstones")
    }

    /// `.backplan/PLAN/tombstones/RUN`
    pub fn tombstone(&self, run: &RunId) -> Name {
        self.below(&format!("tombstones/{run}"))
    }

    /// The run whose tombstone has this name.
    pub fn run_of_tombstone(&self, name: &Name) -> Option<RunId> {
        self.part(name, "tombstones/")?.parse().ok()
    }

    /// `.backplan/PLAN/sums`
    pub fn all_sums(&self) -> Name {
        self.below("sums")
    }

    /// `.backplan/PLAN/sums/RUN.sha256`
    pub fn sums(&self, run: &RunId) -> Name {
        self.below(&format!("sums/{run}.sha256"))
    }

    /// `.backplan/PLAN/lock`
    pub fn locks(&self) -> Name {
        self.below("lock")
    }

    /// `.backplan/PLAN/lock/N`
    pub fn lock(&self, number: u64) -> Name {
        self.below(&format!("lock/{number}"))
    }

    /// The number of the lease that has this name.
    pub fn number_of_lock(&self, name: &Name) -> Option<u64> {
        let text = self.part(name, "lock/")?;
        let number: u64 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    }

    /// `.backplan/PLAN/reserve/N`: given up when there is no room left.
    pub fn reserve(&self, piece: u32) -> Name {
        self.below(&format!("reserve/{piece}"))
    }

    /// `.backplan/PLAN/tmp`: what is on its way in.
    pub fn temporaries(&self) -> Name {
        self.below("tmp")
    }

    /// `.backplan/PLAN/tmp/RUN/ARTEFACT`
    pub fn temporary(&self, run: &RunId, artefact: &Name) -> Name {
        self.below(&format!("tmp/{run}")).join(artefact)
    }

    /// The run that a temporary belongs to.
    pub fn run_of_temporary(&self, name: &Name) -> Option<RunId> {
        self.part(name, "tmp/")?.split('/').next()?.parse().ok()
    }

    fn below(&self, rest: &str) -> Name {
        Name::known(format!("{}/{rest}", self.home))
    }

    fn part<'a>(&self, name: &'a Name, folder: &str) -> Option<&'a str> {
        name.as_str().strip_prefix(self.home.as_str())?.strip_prefix('/')?.strip_prefix(folder)
    }
}

/// The object name of an artefact: one component at the store's root, never Backplan's own folder.
///
/// # Errors
/// When the file name is no such name.
pub fn artefact_name(file_name: &str) -> Result<Name, BadName> {
    let name = Name::new(file_name)?;
    if file_name.contains('/') || file_name.starts_with(HOME) {
        return Err(BadName(file_name.to_owned()));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Layout, artefact_name};
    use crate::catalog::ids::RunId;
    use crate::store::Name;

    #[test]
    fn names_lead_back_to_what_they_name() {
        let layout = Layout::new("node1").unwrap();
        let run: RunId = "00000042-20261120T023000Z-k7f3qa".parse().unwrap();
        assert_eq!(
            layout.manifest(&run).as_str(),
            ".backplan/node1/manifests/00000042-20261120T023000Z-k7f3qa.yaml"
        );
        assert_eq!(layout.run_of_manifest(&layout.manifest(&run)), Some(run));
        assert_eq!(layout.run_of_intent(&layout.intent(&run)), Some(run));
        assert_eq!(layout.run_of_tombstone(&layout.tombstone(&run)), Some(run));
        assert_eq!(layout.number_of_lock(&layout.lock(7)), Some(7));
        let artefact = artefact_name("a.tar.gz").unwrap();
        assert_eq!(layout.run_of_temporary(&layout.temporary(&run, &artefact)), Some(run));
        assert_eq!(layout.run_of_manifest(&layout.intent(&run)), None);
        assert_eq!(layout.number_of_lock(&Name::new(".backplan/node1/lock/007").unwrap()), None);
        assert_eq!(Layout::new("node").unwrap().run_of_manifest(&layout.manifest(&run)), None);
    }

    #[test]
    fn an_artefact_is_never_inside_a_folder_nor_in_ours() {
        for bad in ["", ".", "..", "a/b", ".backplan", ".backplan.tar.gz", "a\0"] {
            assert!(artefact_name(bad).is_err(), "{bad:?}");
        }
        assert!(artefact_name("ä b.tar.gz").is_ok());
        assert!(Layout::new("a/b").is_err());
        assert!(Layout::new("..").is_err());
    }
}
