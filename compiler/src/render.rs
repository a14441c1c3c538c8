//! The graph of steps as text: YAML for `plan compile`, pictures for `plan graph`. Steps stand behind what they need, so
//! the text does not depend on the order in which a plan is written.

use crate::count::plural;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use crate::diff::changes::{Fate, steps};
use crate::graph::{Action, Resource, Step, StepGraph, StepId, Undo, When};
use crate::model::{ArchiveId, Model, Retry, SourceId, StoreId};
use crate::picture::{levels, reduced};

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
    action: Doing<'a>,
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

fn compiled_step<'a>(step: &'a Step, model: &'a Model) -> CompiledStep<'a> {
    CompiledStep {
        id: &step.id,
        action: doing(&step.action, model),
        needs: &step.needs,
        reads: &step.reads,
        writes: &step.writes,
        deletes: &step.deletes,
        retry: &step.retry,
        timeout: step.timeout,
        undo: step.undo,
    }
}

/// What a step does: a verb, and what it does it to by name, so that an engine that reads this need not take ids apart.
#[derive(Serialize, Default)]
struct Doing<'a> {
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<When>,
}

fn doing<'a>(action: &Action, model: &'a Model) -> Doing<'a> {
    let none = Doing::default();
    let source = |id: &SourceId| Some(model.source(*id).name.as_str());
    let archive = |id: &ArchiveId| Some(model.archive(*id).name.as_str());
    let store = |id: &StoreId| Some(model.store(*id).name.as_str());
    match action {
        Action::LockHost => Doing { verb: "lock", ..none },
        Action::LockStore(id) => Doing { verb: "lock", store: store(id), ..none },
        Action::Recover => Doing { verb: "recover", ..none },
        Action::ClearStaging(when) => Doing { verb: "clear", when: Some(*when), ..none },
        Action::Enter(window) => Doing { verb: "enter", window: Some(window_name(model, *window)), ..none },
        Action::Leave(window) => Doing { verb: "leave", window: Some(window_name(model, *window)), ..none },
        Action::Scan(id) => Doing { verb: "scan", source: source(id), ..none },
        Action::Dump(id) => Doing { verb: "dump", source: source(id), ..none },
        Action::DumpApart(id, to) => Doing { verb: "dump", source: source(id), store: store(to), ..none },
        Action::Pack(id) => Doing { verb: "pack", archive: archive(id), ..none },
        Action::Publish(id, to) => Doing { verb: "publish", archive: archive(id), store: store(to), ..none },
        Action::Commit(id) => Doing { verb: "commit", store: store(id), ..none },
        Action::Prune(id) => Doing { verb: "prune", store: store(id), ..none },
        Action::Sync(id) => Doing { verb: "sync", store: store(id), ..none },
        Action::Expire(id) => Doing { verb: "expire", source: source(id), ..none },
        Action::ExpireApart(id, of) => Doing { verb: "expire", source: source(id), store: store(of), ..none },
        Action::OpenWal(at, to) => {
            Doing { verb: "archive", source: wal_source(model, *at), store: store(to), ..none }
        }
        Action::ExpireWal(at, of) => {
            Doing { verb: "expire", source: wal_source(model, *at), store: store(of), ..none }
        }
        Action::Rehearse(id) => Doing { verb: "rehearse", source: source(id), ..none },
        Action::Unlock => Doing { verb: "unlock", ..none },
        Action::Notify(at, when) => {
            Doing { verb: "notify", notify: Some(notify_name(model, *at)), when: Some(*when), ..none }
        }
    }
}

fn wal_source(model: &Model, wal: usize) -> Option<&str> {
    model.wals.get(wal).map(|wal| model.source(wal.source).name.as_str())
}

fn notify_name(model: &Model, notify: usize) -> &str {
    model.notifies.get(notify).map_or("?", |notify| &notify.name)
}

fn window_name(model: &Model, window: usize) -> &str {
    model.windows.get(window).map_or("?", |window| &window.name)
}

/// What a step belongs to in a picture: a source to the first archive that has it. Steps of the whole run belong to nothing.
fn group(action: &Action, model: &Model) -> Option<String> {
    match action {
        Action::Scan(source) | Action::Dump(source) | Action::DumpApart(source, _) => {
            let archive = model.archives.iter().find(|archive| archive.from.contains(source));
            Some(archive.map_or_else(
                || format!("separate {}", model.source(*source).name),
                |archive| format!("archive {}", archive.name),
            ))
        }
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

/// What needs what, without what follows from others: two hundred steps with all their needs are a thicket, and more lines
/// than Mermaid draws.
fn needs(graph: &StepGraph) -> Vec<(&StepId, &StepId)> {
    let ids: Vec<&StepId> = graph.iter().map(|step| &step.id).collect();
    let at: BTreeMap<&StepId, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let edges = graph.iter().flat_map(|step| step.needs.iter().map(|need| (need, &step.id)));
    // `StepGraph::new` saw that every need is there.
    let edges = edges.filter_map(|(from, to)| Some((*at.get(from)?, *at.get(to)?))).collect();
    reduced(ids.len(), edges).into_iter().map(|(from, to)| (ids[from], ids[to])).collect()
}

/// A step as it is written in its shape: an archive with its levels over time.
fn label(step: &Step, model: &Model, line_end: &str) -> String {
    match &step.action {
        Action::Pack(id) => {
            let keys = model.archive(*id).encrypt.len();
            let sealed = match keys {
                0 => String::new(),
                _ => format!("{line_end}encrypted for {}", plural(keys, "key")),
            };
            format!("{}{line_end}{}{sealed}", step.id, levels(model))
        }
        _ => step.id.to_string(),
    }
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
            let (id, shape) = (quoted(&step.id.0), dot_shape(&step.action));
            let label = match &step.action {
                Action::Pack(_) => {
                    format!("label={}, ", quoted(&label(step, model, "\n")).replace('\n', "\\n"))
                }
                _ => String::new(),
            };
            let _ = writeln!(out, "{indent}{id} [{label}shape={shape}];");
        }
        if group.is_some() {
            out.push_str("  }\n");
        }
    }
    for (from, to) in needs(graph) {
        let _ = writeln!(out, "  {} -> {};", quoted(&from.0), quoted(&to.0));
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
        Action::Recover
        | Action::ClearStaging(_)
        | Action::Prune(_)
        | Action::Expire(_)
        | Action::ExpireApart(..)
        | Action::ExpireWal(..) => "diamond",
        Action::OpenWal(..) => "cylinder",
        Action::Enter(_) | Action::Leave(_) => "house",
        Action::Scan(_) | Action::Dump(_) | Action::DumpApart(..) => "ellipse",
        Action::Pack(_) => "box3d",
        Action::Publish(..) | Action::Sync(_) => "box",
        Action::Commit(_) => "doubleoctagon",
        Action::Rehearse(_) => "hexagon",
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
            let label = label(step, model, "<br/>");
            let _ = writeln!(out, "{indent}s{}{open}\"{label}\"{close}", numbers[&step.id]);
        }
        if group.is_some() {
            out.push_str("  end\n");
        }
    }
    for (from, to) in needs(graph) {
        let _ = writeln!(out, "  s{} --> s{}", numbers[from], numbers[to]);
    }
    out
}

fn mermaid_shape(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::LockHost | Action::LockStore(_) | Action::Unlock => ("{{", "}}"),
        Action::Recover
        | Action::ClearStaging(_)
        | Action::Prune(_)
        | Action::Expire(_)
        | Action::ExpireApart(..)
        | Action::ExpireWal(..) => ("{", "}"),
        Action::OpenWal(..) => ("[(", ")]"),
        Action::Enter(_) | Action::Leave(_) => ("[/", "/]"),
        Action::Scan(_) | Action::Dump(_) | Action::DumpApart(..) => ("([", "])"),
        Action::Pack(_) => ("[[", "]]"),
        Action::Publish(..) | Action::Sync(_) => ("[", "]"),
        Action::Commit(_) => ("(((", ")))"),
        Action::Rehearse(_) => ("{{", "}}"),
        Action::Notify(..) => (">", "]"),
    }
}

/// The graph for Graphviz, with what has changed since `old`: marked by a sign before the name, a line of its own kind, and a
/// colour.
pub fn to_dot_of_change(old: (&StepGraph, &Model), new: (&StepGraph, &Model)) -> String {
    let mut out = to_dot(new.0, new.1);
    out.truncate(out.trim_end().len() - 1);
    for change in steps(old.0, new.0) {
        let id = &change.step.0;
        let look = match change.change {
            Fate::Added => "color=darkgreen, penwidth=3",
            Fate::Removed => "color=red, style=dashed",
            Fate::Changed => "color=orange, style=bold",
        };
        let label = format!("{} {id}", sign(change.change));
        let _ = writeln!(out, "  {} [label={}, {look}];", quoted(id), quoted(&label));
        let gone = old.0.get(&change.step).filter(|_| change.change == Fate::Removed);
        for need in gone.into_iter().flat_map(|step| &step.needs) {
            let _ = writeln!(out, "  {} -> {} [style=dashed, color=red];", quoted(&need.0), quoted(id));
        }
    }
    out.push_str("}\n");
    out
}

fn sign(change: Fate) -> &'static str {
    match change {
        Fate::Added => "+",
        Fate::Removed => "-",
        Fate::Changed => "~",
    }
}

/// The graph for Mermaid, with what has changed since `old`, as [`to_dot_of_change`] marks it.
pub fn to_mermaid_of_change(old: (&StepGraph, &Model), new: (&StepGraph, &Model)) -> String {
    let mut out = to_mermaid(new.0, new.1);
    let mut numbers: BTreeMap<&StepId, usize> =
        new.0.iter().enumerate().map(|(index, step)| (&step.id, index)).collect();
    let changes = steps(old.0, new.0);
    let gone: Vec<&Step> = old.0.iter().filter(|step| new.0.get(&step.id).is_none()).collect();
    for step in &gone {
        let number = numbers.len();
        numbers.insert(&step.id, number);
    }
    for change in &changes {
        let action = new.0.get(&change.step).or_else(|| old.0.get(&change.step)).map(|step| &step.action);
        let (open, close) = action.map_or(("[", "]"), mermaid_shape);
        let number = numbers.get(&change.step).copied().unwrap_or_default();
        let word = match change.change {
            Fate::Added => "added",
            Fate::Removed => "removed",
            Fate::Changed => "changed",
        };
        let _ = writeln!(out, "  s{number}{open}\"{} {}\"{close}:::{word}", sign(change.change), change.step);
    }
    for (step, need) in gone.iter().flat_map(|step| step.needs.iter().map(move |need| (step, need))) {
        if let Some(from) = numbers.get(need) {
            let _ = writeln!(out, "  s{from} -.-> s{}", numbers[&step.id]);
        }
    }
    out.push_str("  classDef added stroke:#1a7f37,stroke-width:4px\n  classDef removed stroke:#cf222e,stroke-dasharray:6 4\n");
    out.push_str("  classDef changed stroke:#9a6700,stroke-width:3px,stroke-dasharray:12 3\n");
    out
}
