//! What plans that are checked together would do to one another: in a store, a plan's own folder goes by its name, and
//! artefacts of all plans lie side by side.

use std::collections::{BTreeMap, BTreeSet};

use backplan_grammar::ast::Item;
use jiff::tz::TimeZone;

use crate::codes;
use crate::due;
use crate::finding::{Finding, Label};
use crate::findings::names::fill;
use crate::model::{Archive, Location, Model, Store, StoreId};
use crate::sources::{Place, SourceSet};
use crate::value::{Text, TextPart};

/// A plan among others.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Its texts.
    pub set: &'a SourceSet,
    /// What they mean.
    pub model: &'a Model,
}

/// A finding of one plan that is of another one, too.
#[derive(Debug)]
pub struct Meeting {
    /// The plan that has the finding, by its place among those that were looked at.
    pub plan: usize,
    /// The plan that it meets.
    pub with: usize,
    finding: Finding,
    /// Places of the other plan, in its own texts.
    there: Vec<Label>,
}

impl Meeting {
    /// The finding, with the places of the other plan: the texts that they are in come to those of its own.
    #[must_use]
    pub fn told(self, own: &mut SourceSet, other: &SourceSet) -> Finding {
        let mut finding = self.finding;
        for mut label in self.there {
            label.place.file = own.add(other.file(label.place.file).clone());
            finding.others.push(label);
        }
        finding
    }
}

/// Where these plans meet, in their order; each is told of with the first one that it meets.
pub fn together(plans: &[Beside<'_>]) -> Vec<Meeting> {
    let mut found = one_name(plans);
    found.extend(one_artefact(plans));
    found
}

/// Two plans of one name with a common store.
fn one_name(plans: &[Beside<'_>]) -> Vec<Meeting> {
    let mut first: BTreeMap<(&str, Location), (usize, &Store)> = BTreeMap::new();
    let mut found: BTreeMap<(usize, usize), Meeting> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        for store in written(plan.model).into_iter().map(|id| plan.model.store(id)) {
            let Some(location) = known(store) else { continue };
            let (with, other) = *first.entry((plan.model.name.as_str(), location)).or_insert((index, store));
            if with != index {
                let meet = || names_meet(plan, store, &plans[with], other, (index, with));
                found.entry((index, with)).or_insert_with(meet);
            }
        }
    }
    found.into_values().collect()
}

fn names_meet(
    plan: &Beside<'_>,
    store: &Store,
    other: &Beside<'_>,
    its_store: &Store,
    (index, with): (usize, usize),
) -> Meeting {
    let shown = &other.set.file(other.set.root()).shown;
    let message = format!(
        "`{shown}` is a plan `{}` too, and both write to {}: each takes the other's backups for its own",
        plan.model.name,
        store.location()
    );
    let finding = Finding::new(&codes::SHARED_PLAN_NAME, header(plan.set).unwrap_or(store.place), message)
        .with(store.place, "the store")
        .help("give each plan a name of its own, or a store");
    let label = |place, text: &str| Label { place, text: text.to_owned() };
    let there = header(other.set).map(|place| label(place, "the same name"));
    let there = there.into_iter().chain([label(its_store.place, "the same place")]).collect();
    Meeting { plan: index, with, finding, there }
}

/// Two plans that write one artefact name into one store.
fn one_artefact(plans: &[Beside<'_>]) -> Vec<Meeting> {
    let Some(day) = due::some_day(&TimeZone::UTC) else { return Vec::new() };
    let mut first: BTreeMap<(String, Location), (usize, &Archive)> = BTreeMap::new();
    let mut found: BTreeMap<(usize, Place), Meeting> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        for archive in &plan.model.archives {
            let Some(name) = archive.file_name.as_ref().filter(|name| is_known(name)) else { continue };
            let filled = fill(name, &day, None);
            for location in archive.to.iter().filter_map(|id| known(plan.model.store(*id))) {
                let (with, other) = *first.entry((filled.clone(), location)).or_insert((index, archive));
                // One plan's own archives are told of where it is checked alone.
                if with != index {
                    let meet = || artefacts_meet(plan, archive, &plans[with], other, (index, with));
                    found.entry((index, archive.place)).or_insert_with(meet);
                }
            }
        }
    }
    found.into_values().collect()
}

fn artefacts_meet(
    plan: &Beside<'_>,
    archive: &Archive,
    other: &Beside<'_>,
    its_archive: &Archive,
    (index, with): (usize, usize),
) -> Meeting {
    let shown = &other.set.file(other.set.root()).shown;
    let message = format!(
        "archive `{}` and archive `{}` of `{shown}` write the same artefact name into one store",
        archive.name, its_archive.name
    );
    let finding = Finding::new(&codes::SHARED_ARTEFACT_NAME, archive.place, message)
        .help(format!("put the plan's own name into it: \"{}_…\", or leave `name` out", plan.model.name));
    let there = vec![Label { place: its_archive.place, text: "the same name".to_owned() }];
    Meeting { plan: index, with, finding, there }
}

/// The stores that a plan writes to: a library may have more.
fn written(model: &Model) -> BTreeSet<StoreId> {
    let archives = model.archives.iter().flat_map(|archive| &archive.to);
    let separates = model.separates.iter().flat_map(|separate| &separate.to);
    archives.chain(separates).chain(model.wals.iter().flat_map(|wal| &wal.to)).copied().collect()
}

/// Where a store is, unless only a run knows: plans of several hosts may be apart by that.
fn known(store: &Store) -> Option<Location> {
    store.kind.prefix().is_none_or(is_known).then(|| store.location())
}

/// Whether a text is the same wherever a plan runs.
fn is_known(text: &Text) -> bool {
    !text.0.iter().any(|part| matches!(part, TextPart::Host | TextPart::Read(_)))
}

/// Where a plan is given its name.
fn header(set: &SourceSet) -> Option<Place> {
    let file = set.root();
    set.file(file).parsed.ast.items.iter().find_map(|item| match item {
        Item::Plan(header) => Some(Place { file, span: header.name.span }),
        _ => None,
    })
}
