//! The plans that the language was designed on, and those of real processes, have no error and no warning.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::finding::Severity;
use backplan_compiler::graph::{Occasion, Resource, Step, StepId, Undo};
use backplan_compiler::lower::lower;

use crate::common::{compile_files, shown};

const COMPANY: (&str, &str) = ("company.plan", include_str!("../samples/company.plan"));

const SAMPLES: [(&str, &str); 7] = [
    ("quickstart.plan", include_str!("../samples/quickstart.plan")),
    ("alation.plan", include_str!("../samples/alation.plan")),
    ("alation_excluded.plan", include_str!("../samples/alation_excluded.plan")),
    ("node1.plan", include_str!("../samples/node1.plan")),
    ("nextcloud.plan", include_str!("../samples/nextcloud.plan")),
    ("v1.plan", include_str!("../samples/v1.plan")),
    ("cluster.plan", include_str!("../samples/cluster.plan")),
];

#[test]
fn sample_plans_are_clean() {
    for sample in SAMPLES {
        let (set, compiled) = compile_files(&[sample, COMPANY]);
        let loud: Vec<_> =
            compiled.findings.iter().filter(|finding| finding.severity > Severity::Note).cloned().collect();
        assert!(compiled.is_sound() && loud.is_empty(), "{}:\n{}", sample.0, shown(&set, &loud));
    }
}

/// Paths that a step writes or deletes on this host, and objects in stores.
fn touched(step: &Step) -> BTreeSet<&Resource> {
    step.writes.union(&step.deletes).collect()
}

#[test]
fn steps_take_back_what_is_their_own_and_none_is_in_the_way_of_another() {
    for sample in SAMPLES {
        let (_, compiled) = compile_files(&[sample, COMPANY]);
        let model = compiled.model.unwrap();
        let graph = lower(&model, &Occasion::default()).unwrap();
        let staging = model.staging.as_ref().map(|staging| staging.path.as_path());
        let is_own = |written: &Resource| match written {
            Resource::Path(path) | Resource::Contents(path) => {
                staging.is_some_and(|own| path.starts_with(own))
            }
            Resource::State(_) => true,
            Resource::Object { .. } | Resource::World(_) => false,
        };
        let mut before: BTreeMap<&StepId, BTreeSet<&StepId>> = BTreeMap::new();
        let mut seen: Vec<&Step> = Vec::new();
        for step in graph.in_order() {
            let own = step.needs.iter().flat_map(|need| before[need].iter().copied().chain([need]));
            let own: BTreeSet<&StepId> = own.collect();
            let beside = seen.iter().filter(|other| !own.contains(&other.id));
            let hit = beside.clone().find(|other| !touched(step).is_disjoint(&touched(other)));
            assert!(hit.is_none(), "{}: {} meets {}", sample.0, step.id, hit.unwrap().id);
            match step.undo {
                Undo::DeleteFiles => assert!(step.writes.iter().all(is_own), "{}: {}", sample.0, step.id),
                Undo::DeleteObjects => {
                    let is_object = |written: &Resource| matches!(written, Resource::Object { .. });
                    assert!(step.writes.iter().all(is_object), "{}: {}", sample.0, step.id);
                }
                Undo::None | Undo::Release | Undo::LeaveWindow => {}
            }
            before.insert(&step.id, own);
            seen.push(step);
        }
    }
}
