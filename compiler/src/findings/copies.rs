//! Can promises of copies be kept: by the stores there are, by where the log goes, by what stores keep.

use crate::count::are;
use std::collections::BTreeSet;

use super::Check;
use crate::codes;
use crate::finding::{Edit, Finding};
use crate::model::{Absent, Objective, SourceId, StoreId};
use crate::simulate::Simulation;
use crate::sources::Place;

/// A promise of copies, or of offsite ones.
#[derive(Debug, Clone, Copy)]
struct Promised {
    count: usize,
    is_offsite: bool,
}

impl Promised {
    fn of(objective: &Objective) -> impl Iterator<Item = Promised> {
        let count = |count: Option<u32>| usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX);
        let copies = Promised { count: count(objective.copies), is_offsite: false };
        let offsite = Promised { count: count(objective.offsite), is_offsite: true };
        [copies, offsite].into_iter().filter(|promised| promised.count > 0)
    }

    /// `2 copies`, `1 offsite copy`.
    fn words(self) -> String {
        let offsite = if self.is_offsite { "offsite " } else { "" };
        let copies = if self.count == 1 { "copy" } else { "copies" };
        format!("{} {offsite}{copies}", self.count)
    }

    fn verb(self) -> &'static str {
        if self.count == 1 { "is" } else { "are" }
    }
}

impl Check<'_> {
    /// What can be told without playing the plan forward.
    pub(super) fn copies(&mut self) {
        self.needed_stores();
        let model = self.model;
        for objective in &model.objectives {
            for promised in Promised::of(objective) {
                self.too_few(objective, promised);
                self.log_copies(objective, promised);
                self.silent_copies(objective, promised);
            }
        }
    }

    /// Promises that hold for the newest run alone.
    pub(super) fn copies_of_the_newest(&mut self, simulation: &Simulation<'_>) {
        let model = self.model;
        for objective in &model.objectives {
            for promised in Promised::of(objective) {
                let few = |source: &&SourceId| self.is_of_the_newest(**source, promised, simulation);
                let few: Vec<SourceId> = objective.of.iter().filter(few).copied().collect();
                if few.is_empty() {
                    continue;
                }
                let message = format!(
                    "{} {} promised, but only the newest run of {} ever has them: the next run takes it from a store that \
                     keeps less",
                    promised.words(),
                    promised.verb(),
                    self.named(&few)
                );
                let finding = Finding::new(&codes::COPIES_OF_NEWEST, objective.place, message)
                    .help("let the `keep` of as many stores as are promised hold more than one run: `last = 7`, say");
                let stores = self.counting(few[0], promised);
                let keeps =
                    stores.iter().filter_map(|id| Some((model.store(*id), model.store(*id).keep.as_ref()?)));
                self.find(keeps.fold(finding, |finding, (store, keep)| {
                    finding.with(keep.place, format!("what store `{}` keeps", store.name))
                }));
            }
        }
    }

    /// The stores that count for a promise, of those that a source reaches.
    fn counting(&self, source: SourceId, promised: Promised) -> Vec<StoreId> {
        let reached = self.reached[source.0].iter().copied();
        reached.filter(|id| !promised.is_offsite || self.model.store(*id).offsite).collect()
    }

    fn too_few(&mut self, objective: &Objective, promised: Promised) {
        let model = self.model;
        for id in &objective.of {
            let source = model.source(*id);
            let stores = self.counting(*id, promised).len();
            // What reaches no store at all is told by `reach`.
            if self.reached[id.0].is_empty() || stores >= promised.count {
                continue;
            }
            let (code, message, help) = match promised.is_offsite {
                false => (
                    &codes::COPIES_UNREACHABLE,
                    format!(
                        "{} promised, but `{}` reaches {stores}",
                        are(promised.count, "copy"),
                        source.name
                    ),
                    "add a store to the `to` of its archive",
                ),
                true => (
                    &codes::OFFSITE_UNREACHABLE,
                    format!(
                        "offsite copies promised: {}, but offsite stores that `{}` reaches: {stores}",
                        promised.count, source.name
                    ),
                    "bring its archive to a store with `offsite = true`",
                ),
            };
            self.find(
                Finding::new(code, objective.place, message).with(source.place, "the source").help(help),
            );
        }
    }

    /// What was done since the last run is in the log alone: it needs the copies as well.
    fn log_copies(&mut self, objective: &Objective, promised: Promised) {
        let model = self.model;
        for wal in model.wals.iter().filter(|wal| objective.of.contains(&wal.source)) {
            let counts = |id: &&StoreId| !promised.is_offsite || model.store(**id).offsite;
            let (there, all) = (wal.to.iter().filter(counts).count(), wal.to.len());
            // With `any` a segment counts as archived where the one store may be any of them.
            let sure = if wal.ack_any { usize::from(there == all && all > 0) } else { there };
            // A source that cannot keep the promise at all is told of once.
            if sure >= promised.count || self.counting(wal.source, promised).len() < promised.count {
                continue;
            }
            let name = &model.source(wal.source).name;
            let promise = format!("{} {} promised", promised.words(), promised.verb());
            let (place, message, help) = if there < promised.count {
                let offsite = if promised.is_offsite { "offsite " } else { "" };
                let stores = if there == 1 { "store" } else { "stores" };
                let help = match promised.is_offsite {
                    true => "add a store with `offsite = true` to its `to`",
                    false => "add a store to its `to`",
                };
                (
                    wal.place,
                    format!("{promise}, but the log of `{name}` goes to {there} {offsite}{stores}"),
                    help,
                )
            } else {
                (
                    self.facts.place("wal", name, "ack").unwrap_or(wal.place),
                    format!(
                        "{promise}, but a segment of the log of `{name}` counts as archived once one store has it"
                    ),
                    "write `ack = all`",
                )
            };
            let finding =
                Finding::new(&codes::LOG_COPIES, place, message).with(objective.place, "the promise");
            self.find(finding.help(help));
        }
    }

    /// A copy in a store that a run leaves out without a word is missing without a word.
    fn silent_copies(&mut self, objective: &Objective, promised: Promised) {
        let model = self.model;
        let is_silent = |id: &StoreId| model.store(*id).absent == Absent::Skip;
        let mut silent: BTreeSet<StoreId> = BTreeSet::new();
        for source in &objective.of {
            let stores = self.counting(*source, promised);
            let told = stores.iter().filter(|id| !is_silent(id)).count();
            if stores.len() >= promised.count && told < promised.count {
                silent.extend(stores.into_iter().filter(is_silent));
            }
        }
        for id in silent {
            let store = model.store(id);
            let place = self.facts.place("store", &store.name, "absent").unwrap_or(store.place);
            let message = format!(
                "{} {} promised, and where store `{}` is not there a run leaves it out and says nothing",
                promised.words(),
                promised.verb(),
                store.name
            );
            let finding = Finding::new(&codes::SILENT_COPY, place, message)
                .with(objective.place, "the promise")
                .help("write `absent = warn`: a run then goes on all the same, and tells");
            let written = self.set.file(place.file).text.get(place.span.start..place.span.end);
            let edit = written.filter(|text| text.ends_with("skip")).map(|text| Edit {
                place,
                old: text.to_owned(),
                new: text.replace("skip", "warn"),
            });
            self.find(match edit {
                Some(edit) => finding.mend("write `absent = warn`".into(), edit),
                None => finding,
            });
        }
    }

    /// Stores that may be left out without a word, where nothing goes on without them.
    fn needed_stores(&mut self) {
        let model = self.model;
        for archive in &model.archives {
            let what = format!("archive `{}` goes nowhere else: a run fails with 1", archive.name);
            self.needed_alone(&archive.to, archive.place, &what);
        }
        for separate in &model.separates {
            let source = &model.source(separate.source).name;
            let what = format!("the repository of `{source}` is nowhere else: a run fails with 1");
            self.needed_alone(&separate.to, separate.place, &what);
        }
        for wal in &model.wals {
            let source = &model.source(wal.source).name;
            let (why, help) = match wal.to.len() {
                1 => ("goes nowhere else", "add a store that is always there to its `to`, with `ack = any`"),
                _ if wal.ack_any => continue,
                _ => {
                    ("waits for all its stores", "write `ack = any`: the next run brings what a store lacks")
                }
            };
            let what = format!("the log of `{source}` {why}: its server keeps what it cannot hand over");
            for id in &wal.to {
                self.needed_store(*id, wal.place, &what, help);
            }
        }
    }

    /// The one store that something goes to.
    fn needed_alone(&mut self, to: &[StoreId], needs: Place, what: &str) {
        if let [only] = to {
            let help = "add a store that is always there to its `to`: what needs this one fails without it, whatever \
                        `absent` says";
            self.needed_store(*only, needs, what, help);
        }
    }

    /// Tells of a store that is needed, where its absence is to be left unsaid.
    fn needed_store(&mut self, id: StoreId, needs: Place, what: &str, help: &str) {
        let store = self.model.store(id);
        if store.absent != Absent::Skip {
            return;
        }
        let place = self.facts.place("store", &store.name, "absent").unwrap_or(store.place);
        let message = format!("store `{}` cannot be left out: where it is not there, {what}", store.name);
        let finding = Finding::new(&codes::NEEDED_STORE, place, message).with(needs, "what needs it");
        self.find(finding.help(help));
    }

    /// Whether no run has the copies any longer once there is a newer one, though stores hold older ones.
    fn is_of_the_newest(&self, source: SourceId, promised: Promised, simulation: &Simulation<'_>) -> bool {
        let stores = self.counting(source, promised);
        if stores.len() < promised.count || self.model.stores.iter().all(|store| store.keep.is_none()) {
            return false;
        }
        let all: Vec<StoreId> = self.reached[source.0].iter().copied().collect();
        let outlives_the_next = |held: &[(i64, i64)]| held.windows(2).any(|pair| pair[0].1 > pair[1].0);
        let until = simulation.held_until(source, &stores, promised.count);
        let longest = || simulation.held_until(source, &all, 1);
        until.len() > 1 && !outlives_the_next(&until) && outlives_the_next(&longest())
    }
}
