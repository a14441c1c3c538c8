//! The graph of steps as text: YAML for `plan compile`, pictures for `plan graph`. Steps stand behind what they need, so
//! the text does not depend on the order in which a plan is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use crate::graph::{Action, Resource, Step, StepGraph, StepId, Undo};
use crate::model::{Model, Retry};

/// Version of the format that [`to_yaml`] writes.
pub const COMPILED_VERSION: u32 = 1;

#[derive(Serialize)]
struct Compiled<'a> {
    compiled: u32,
    plan: &'a str,
    artefacts: BTreeMap<&'a str, &'a str>,
    steps: Vec<CompiledStep<'a>>,
}

#[derive(Serialize)]
struct CompiledStep<'a> {
    id: &'a StepId,
    action: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    needs: &'a BTreeSet<StepId>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    reads: &'a BTreeSet<Resource>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    writes: &'a BTreeSet<Resource>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    deletes: &'a BTreeSet<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: &'a Option<Retry>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "is_none")]
    undo: Undo,
}

fn is_none(undo: &Undo) -> bool {
    *undo == Undo::None
}

/// The graph as YAML: a header, then the steps, each behind what it needs.
pub fn to_yaml(graph: &StepGraph, model: &Model) -> String {
    let artefacts = graph.artefact_names.iter();
    let artefacts = artefacts.map(|(id, name)| (model.archive(*id).name.as_str(), name.as_str())).collect();
    let steps = graph.in_order().into_iter().map(|step| compiled_step(step, model)).collect();
    let compiled = Compiled { compiled: COMPILED_VERSION, plan: &model.name, artefacts, steps };
    // Strings, numbers and lists of them always serialize; should that change, the reader is told.
    yaml_serde::to_string(&compiled).unwrap_or_else(|error| format!("# cannot be written as YAML: {error}\n"))
}

fn compiled_step<'a>(step: &'a Step, model: &Model) -> CompiledStep<'a> {
    CompiledStep {
        id: &step.id,
        action: describe(&step.action, model),
        needs: &step.needs,
        reads: &step.reads,
        writes: &step.writes,
        deletes: &step.deletes,
        retry: &step.retry,
        timeout: step.timeout,
        undo: step.undo,
    }
}

/// What a step does, in words.
pub fn describe(action: &Action, model: &Model) -> String {
    use crate::graph::When;

    match action {
        Action::LockHost => "lock this host".into(),
        Action::LockStore(store) => format!("lock store {}", model.store(*store).name),
        Action::Recover => "undo what a dead run left".into(),
        Action::ClearStaging(When::Before) => "clear the staging before the run".into(),
        Action::ClearStaging(When::After) => "clear the staging after the run".into(),
        Action::Enter(window) => format!("enter window {}", window_name(model, *window)),
        Action::Leave(window) => format!("leave window {}", window_name(model, *window)),
        Action::Scan(source) => format!("scan source {}", model.source(*source).name),
        Action::Dump(source) => format!("dump source {}", model.source(*source).name),
        Action::Pack(archive) => format!("pack archive {}", model.archive(*archive).name),
        Action::Publish(archive, store) => {
            format!("publish archive {} to store {}", model.archive(*archive).name, model.store(*store).name)
        }
        Action::Commit(store) => format!("commit store {}", model.store(*store).name),
        Action::Prune(store) => format!("prune store {}", model.store(*store).name),
        Action::Unlock => "release the locks".into(),
        Action::Notify(notify, When::Before) => format!("tell {} of the start", notify_name(model, *notify)),
        Action::Notify(notify, When::After) => format!("tell {} of the end", notify_name(model, *notify)),
    }
}

fn notify_name(model: &Model, notify: usize) -> &str {
    model.notifies.get(notify).map_or("?", |notify| &notify.name)
}

fn window_name(model: &Model, window: usize) -> &str {
    model.windows.get(window).map_or("?", |window| &window.name)
}

/// What a step belongs to in a picture; steps of the whole run belong to nothing.
fn group(action: &Action, model: &Model) -> Option<String> {
    match action {
        Action::Scan(source) | Action::Dump(source) => Some(format!("source {}", model.source(*source).name)),
        Action::Pack(archive) | Action::Publish(archive, _) => {
            Some(format!("archive {}", model.archive(*archive).name))
        }
        _ => None,
    }
}

/// Steps by group, in the order of their ids; `None` is the run itself.
fn groups<'g>(graph: &'g StepGraph, model: &Model) -> BTreeMap<Option<String>, Vec<&'g Step>> {
    let mut groups: BTreeMap<Option<String>, Vec<&Step>> = BTreeMap::new();
    for step in graph.iter() {
        groups.entry(group(&step.action, model)).or_default().push(step);
    }
    groups
}

/// The graph for Graphviz.
pub fn to_dot(graph: &StepGraph, model: &Model) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph {} {{", quoted(&model.name));
    out.push_str("  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for (index, (group, steps)) in groups(graph, model).into_iter().enumerate() {
        let indent = if group.is_some() { "    " } else { "  " };
        if let Some(group) = &group {
            let _ = writeln!(out, "  subgraph cluster_{index} {{\n    label={};", quoted(group));
        }
        for step in steps {
            let _ = writeln!(out, "{indent}{} [shape={}];", quoted(&step.id.0), dot_shape(&step.action));
        }
        if group.is_some() {
            out.push_str("  }\n");
        }
    }
    for step in graph.iter() {
        for need in &step.needs {
            let _ = writeln!(out, "  {} -> {};", quoted(&need.0), quoted(&step.id.0));
        }
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn dot_shape(action: &Action) -> &'static str {
    match action {
        Action::LockHost | Action::LockStore(_) | Action::Unlock => "octagon",
        Action::Recover | Action::ClearStaging(_) | Action::Prune(_) => "diamond",
        Action::Enter(_) | Action::Leave(_) => "house",
        Action::Scan(_) | Action::Dump(_) => "ellipse",
        Action::Pack(_) => "box3d",
        Action::Publish(..) => "box",
        Action::Commit(_) => "doubleoctagon",
        Action::Notify(..) => "note",
    }
}

/// The graph for Mermaid.
pub fn to_mermaid(graph: &StepGraph, model: &Model) -> String {
    // Ids of steps hold slashes, which Mermaid's ids may not: number them.
    let numbers: BTreeMap<&StepId, usize> =
        graph.iter().enumerate().map(|(index, step)| (&step.id, index)).collect();
    let mut out = String::from("flowchart LR\n");
    for (index, (group, steps)) in groups(graph, model).into_iter().enumerate() {
        let indent = if group.is_some() { "    " } else { "  " };
        if let Some(group) = &group {
            let _ = writeln!(out, "  subgraph g{index}[\"{group}\"]");
        }
        for step in steps {
            let (open, close) = mermaid_shape(&step.action);
            let _ = writeln!(out, "{indent}s{}{open}\"{}\"{close}", numbers[&step.id], step.id);
        }
        if group.is_some() {
            out.push_str("  end\n");
        }
    }
    for step in graph.iter() {
        for need in &step.needs {
            // `StepGraph::new` saw that every need is there.
            if let Some(from) = numbers.get(need) {
                let _ = writeln!(out, "  s{from} --> s{}", numbers[&step.id]);
            }
        }
    }
    out
}

fn mermaid_shape(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::LockHost | Action::LockStore(_) | Action::Unlock => ("{{", "}}"),
        Action::Recover | Action::ClearStaging(_) | Action::Prune(_) => ("{", "}"),
        Action::Enter(_) | Action::Leave(_) => ("[/", "/]"),
        Action::Scan(_) | Action::Dump(_) => ("([", "])"),
        Action::Pack(_) => ("[[", "]]"),
        Action::Publish(..) => ("[", "]"),
        Action::Commit(_) => ("(((", ")))"),
        Action::Notify(..) => (">", "]"),
    }
}
