//! Is every policy kept. What a policy wants is an error where it is not there, so that no allowance takes it away, and
//! each rule is told once for each place, by whichever file lays it first.

use std::collections::BTreeSet;

use backplan_grammar::ast::Item;

use super::Check;
use super::repositories::{IN_CLEAR, encrypts};
use crate::codes;
use crate::finding::Finding;
use crate::model::{Keep, Model, SourceId, StoreId};
use crate::sources::Place;

/// What a policy misses: where, in words, and the mend.
type Lack = (Place, String, String);

impl Check<'_> {
    pub(super) fn policies(&mut self) {
        let model = self.model;
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (rule, law) in model.policies.iter().flat_map(|policy| &policy.require) {
            if !told.insert(rule) {
                continue;
            }
            for (place, message, help) in self.lacks(rule) {
                self.find(
                    Finding::new(&codes::POLICY_BROKEN, place, message)
                        .with(*law, "the policy requires it")
                        .help(help),
                );
            }
        }
        // There is one thing to forbid.
        let Some((_, law)) = model.policies.iter().find_map(|policy| policy.forbid.first()) else { return };
        for place in &self.facts.inline_secrets {
            let message = "a secret is written into the plan";
            self.findings.push(
                Finding::new(&codes::POLICY_BROKEN, *place, message)
                    .with(*law, "the policy forbids it")
                    .help("write `env(\"NAME\")` or `file(\"/run/secrets/x\")`"),
            );
        }
    }

    /// Where a plan has not what a policy requires.
    fn lacks(&self, rule: &str) -> Vec<Lack> {
        match rule {
            "encrypt" => self.left_open(),
            "offsite" => self.left_near(),
            "objective" => self.unpromised(),
            "verify" => self.unrehearsed(),
            "schedule" => self.unscheduled(),
            _ => self.unbounded(),
        }
    }

    fn left_open(&self) -> Vec<Lack> {
        let model = self.model;
        let mut open = Vec::new();
        for archive in model.archives.iter().filter(|archive| archive.encrypt.is_empty()) {
            open.push((
                archive.place,
                format!("archive `{}` is not encrypted", archive.name),
                ENCRYPT.into(),
            ));
        }
        for wal in model.wals.iter().filter(|wal| wal.encrypt.is_empty()) {
            let message = format!("wal `{}` is not encrypted", model.source(wal.source).name);
            open.push((wal.place, message, ENCRYPT.into()));
        }
        for separate in model.separates.iter().filter(|separate| separate.passphrase.is_none()) {
            let name = &model.source(separate.source).name;
            let message = format!("the repository of `{name}`, which is kept apart, is not encrypted");
            let help = match encrypts(model, separate) {
                true => "add `passphrase = file(\"/etc/backplan/passphrase\")`",
                false => IN_CLEAR,
            };
            open.push((separate.place, message, help.into()));
        }
        open
    }

    fn left_near(&self) -> Vec<Lack> {
        let model = self.model;
        let near = |stores: &mut dyn Iterator<Item = &StoreId>| {
            let mut stores = stores.peekable();
            // What reaches no store at all is told by `reach`.
            stores.peek().is_some() && stores.all(|store| !model.store(*store).offsite)
        };
        let mut lacks = Vec::new();
        for (source, stores) in model.sources.iter().zip(&self.reached) {
            if near(&mut stores.iter()) {
                let mend = "bring its archive to a store with `offsite = true`";
                lacks.push((
                    source.place,
                    format!("source `{}` reaches no offsite store", source.name),
                    mend.into(),
                ));
            }
        }
        for wal in model.wals.iter().filter(|wal| near(&mut wal.to.iter())) {
            let message = format!("the log of `{}` reaches no offsite store", model.source(wal.source).name);
            lacks.push((wal.place, message, "add a store with `offsite = true` to its `to`".into()));
        }
        lacks
    }

    fn unpromised(&self) -> Vec<Lack> {
        let promised: BTreeSet<SourceId> =
            self.model.objectives.iter().flat_map(|it| it.of.clone()).collect();
        let rest = self.model.sources.iter().enumerate().filter(|(id, _)| !promised.contains(&SourceId(*id)));
        let rest = rest.map(|(_, source)| {
            let message = format!("nothing is promised for source `{}`", source.name);
            (source.place, message, "add `objective { rpo = 24h }`".to_owned())
        });
        rest.collect()
    }

    /// A rehearsal that nothing starts is none.
    fn unrehearsed(&self) -> Vec<Lack> {
        let model = self.model;
        if model.verifies.iter().any(|verify| verify.every.is_some()) {
            return Vec::new();
        }
        let mend = "add `every = 7d`".to_owned();
        let idle = |place| (place, "no run rehearses this: it says no `every`".to_owned(), mend.clone());
        match model.verifies.first() {
            Some(verify) => vec![idle(verify.place)],
            None => self.whole("rehearsal", "add `verify { every = 7d, restore = … }`"),
        }
    }

    fn unscheduled(&self) -> Vec<Lack> {
        let model = self.model;
        if model.schedule.is_some() {
            return Vec::new();
        }
        let by_its_own = |id: usize| model.separate(SourceId(id)).is_some_and(|it| it.schedule.is_some());
        match (0..model.sources.len()).all(by_its_own) {
            true => Vec::new(),
            false => self.whole("schedule", "add `schedule { run = daily at 02:30 }`"),
        }
    }

    /// A plan's `keep` holds for every store; without it each store that artefacts go to, and each repository, needs its own.
    fn unbounded(&self) -> Vec<Lack> {
        let model = self.model;
        let archived = model.archives.iter().flat_map(|archive| &archive.to);
        let stores = archived.map(|store| model.store(*store).keep.as_ref());
        let apart = model.separates.iter().map(|separate| separate.keep.as_ref());
        let all: Vec<Option<&Keep>> = stores.chain(apart).collect();
        match model.keep.is_some() || !all.is_empty() && all.iter().all(Option::is_some) {
            true => Vec::new(),
            false => self.whole("retention", "add `keep { daily = 7, weekly = 4 }`"),
        }
    }

    /// That a plan has none of something.
    fn whole(&self, what: &str, mend: &str) -> Vec<Lack> {
        let Model { name, .. } = self.model;
        vec![(self.plan_place(), format!("plan `{name}` has no {what}"), mend.to_owned())]
    }

    /// The first line of the plan.
    fn plan_place(&self) -> Place {
        let file = self.facts.root;
        let items = &self.set.file(file).parsed.ast.items;
        let span = items.iter().find_map(|item| match item {
            Item::Plan(header) => Some(header.span),
            _ => None,
        });
        Place { file, span: span.unwrap_or_default() }
    }
}

const ENCRYPT: &str = "add `encrypt = [\"age1…\"]`";
