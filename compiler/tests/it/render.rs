//! The pictures and the YAML of a small graph.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::graph::{Action, Resource, Step, StepGraph, StepId, Undo};
use backplan_compiler::model::{ArchiveId, Model, Retry, SourceId, StoreId};
use backplan_compiler::render::{to_dot, to_mermaid, to_yaml};

use crate::common::compile_files;

const PLAN: &str = "plan site\nstore local: dir { path = \"/backup\" }\nsource site: files { paths = [\"/srv\"] }\n\
                    archive site { from = [site], to = [local] }\n";

fn step(id: &str, action: Action, needs: &[&str]) -> Step {
    Step {
        id: StepId(id.into()),
        action,
        needs: needs.iter().map(|need| StepId((*need).into())).collect(),
        parts: Vec::new(),
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        deletes: BTreeSet::new(),
        retry: None,
        timeout: None,
        undo: Undo::None,
    }
}

fn sample() -> (StepGraph, Model) {
    let (_, compiled) = compile_files(&[("site.plan", PLAN)]);
    let (source, archive, store) = (SourceId(0), ArchiveId(0), StoreId(0));
    let mut publish =
        step("publish/site/local", Action::Publish(archive, store), &["pack/site", "lock/local"]);
    publish.writes.insert(Resource::Object { store: "local".into(), name: "site.tar.gz".into() });
    publish.retry = Some(Retry::default());
    publish.undo = Undo::DeleteObjects;
    let mut scan = step("scan/site", Action::Scan(source), &["lock/host"]);
    scan.reads.insert(Resource::Path("/srv".into()));
    scan.timeout = Some(3600);
    let steps = vec![
        step("commit/local", Action::Commit(store), &["publish/site/local"]),
        publish,
        step("pack/site", Action::Pack(archive), &["scan/site"]),
        scan,
        step("lock/local", Action::LockStore(store), &["lock/host"]),
        step("lock/host", Action::LockHost, &[]),
    ];
    let graph = StepGraph::new(steps, BTreeMap::from([(archive, "site.tar.gz".into())])).unwrap();
    (graph, compiled.model.unwrap())
}

#[test]
fn yaml() {
    let (graph, model) = sample();
    insta::assert_snapshot!(to_yaml(&graph, &model));
}

#[test]
fn dot() {
    let (graph, model) = sample();
    insta::assert_snapshot!(to_dot(&graph, &model));
}

#[test]
fn mermaid() {
    let (graph, model) = sample();
    insta::assert_snapshot!(to_mermaid(&graph, &model));
}
