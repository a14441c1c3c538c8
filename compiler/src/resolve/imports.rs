//! From the plan to every file it imports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_grammar::Span;
use backplan_grammar::ast::{Import, Item, PlanHeader};

use super::paths::normalise;
use super::scope::Bindings;
use super::suggest::{did_you_mean, nearest};
use super::{MAX_IMPORT_DEPTH, Resolver};
use crate::codes;
use crate::finding::Finding;
use crate::sources::{FileId, Place, SourceFile};

/// The absolute paths that a file imports, and where it says so: what a loader reads next.
pub fn import_paths(file: &SourceFile) -> Vec<(PathBuf, Span)> {
    let imports = file.parsed.ast.items.iter().filter_map(|item| match item {
        Item::Import(import) => Some((import_path(file, import), import.path.span)),
        _ => None,
    });
    imports.collect()
}

fn import_path(file: &SourceFile, import: &Import) -> PathBuf {
    let folder = file.path.parent().unwrap_or(Path::new("/"));
    normalise(&folder.join(&import.path.node))
}

impl<'a> Resolver<'a> {
    /// Opens the plan and, from there, all that is imported.
    pub(super) fn open_all(&mut self) {
        let root = self.set.root();
        self.open(root, Bindings::default(), &mut Vec::new());
        self.check_header(root);
        // What could not be read may have the parameter.
        if self.set.unreadable.is_empty() {
            self.check_outside_params();
        }
    }

    fn open(&mut self, file: FileId, bindings: Bindings<'a>, path: &mut Vec<FileId>) {
        self.files.push(file);
        self.children.insert(file, Vec::new());
        self.open_scope(file, bindings);
        path.push(file);
        let set = self.set;
        for item in &set.file(file).parsed.ast.items {
            if let Item::Import(import) = item {
                self.follow(file, import, path);
            }
        }
        path.pop();
    }

    fn follow(&mut self, importer: FileId, import: &'a Import, path: &mut Vec<FileId>) {
        let place = Place { file: importer, span: import.path.span };
        let target = import_path(self.set.file(importer), import);
        let Some(file) = self.set.find(&target) else {
            let why = self.set.unreadable.get(&target).map_or("it was not read", String::as_str);
            let message = format!("cannot import `{}`: {why}", import.path.node);
            let help = format!("the path starts at the importing file and means `{}`", target.display());
            self.findings.push(Finding::new(&codes::UNREADABLE_IMPORT, place, message).help(help));
            return;
        };
        if let Some(start) = path.iter().position(|open| *open == file) {
            return self.import_loop(place, &path[start..]);
        }
        if path.len() >= MAX_IMPORT_DEPTH {
            let message = format!("imports are nested more than {MAX_IMPORT_DEPTH} deep");
            self.findings.push(Finding::new(&codes::NESTING_TOO_DEEP, place, message));
            return;
        }
        let bindings = self.bindings(importer, import, file);
        if let Some(children) = self.children.get_mut(&importer) {
            children.push(file);
        }
        if let Some((first, before)) = self.imported.get(&file) {
            if *before != bindings {
                let message = format!("`{}` is imported twice with different parameters", import.path.node);
                self.findings.push(
                    Finding::new(&codes::IMPORT_CONFLICT, place, message)
                        .with(*first, "first imported here")
                        .help("a library is part of a plan once: give both imports the same parameters"),
                );
            }
            return;
        }
        self.imported.insert(file, (place, bindings.clone()));
        if let Some(header) = self.header(file) {
            let message = format!("`{}` is a plan of its own, `{}`", import.path.node, header.name.node);
            self.findings.push(
                Finding::new(&codes::IMPORTED_PLAN, place, message)
                    .with(Place { file, span: header.span }, "this makes it a plan")
                    .help("move what both need into a file without `plan NAME`, and import that"),
            );
            return;
        }
        self.open(file, bindings, path);
    }

    fn import_loop(&mut self, place: Place, members: &[FileId]) {
        let mut names: Vec<&str> = members.iter().map(|file| self.set.file(*file).shown.as_str()).collect();
        names.extend(names.first().copied());
        let message = format!("files import one another: {}", names.join(" → "));
        self.findings.push(
            Finding::new(&codes::IMPORT_LOOP, place, message)
                .help("move what they share into a file that imports neither"),
        );
    }

    /// The values that an import gives, evaluated where they are written.
    fn bindings(&mut self, importer: FileId, import: &'a Import, file: FileId) -> Bindings<'a> {
        let set = self.set;
        let params: Vec<&str> = params_of(set.file(file)).map(|(name, _)| name).collect();
        let mut bindings = Bindings::default();
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for binding in &import.bindings {
            let name = binding.name.node.as_str();
            let place = Place { file: importer, span: binding.name.span };
            if !params.contains(&name) {
                let help =
                    did_you_mean(name, params.iter().copied()).unwrap_or_else(|| match params.as_slice() {
                        [] => "it has no parameters".into(),
                        params => format!("its parameters are {}", params.join(", ")),
                    });
                let message = format!("`{}` has no parameter `{name}`", import.path.node);
                let near = nearest(name, params.iter().copied());
                let finding = Finding::new(&codes::UNKNOWN_PARAM, place, message).help(help);
                self.findings.push(finding.instead(name, near));
                bindings.has_unknown = true;
                continue;
            }
            if let Some(first) = seen.insert(name, place) {
                let message = format!("parameter `{name}` is given twice");
                self.findings
                    .push(Finding::new(&codes::DUPLICATE, place, message).with(first, "first given here"));
                continue;
            }
            let value = self.eval(&binding.value, importer);
            bindings.values.insert(name, value);
        }
        bindings
    }

    /// The `plan NAME` of a file.
    fn header(&self, file: FileId) -> Option<&'a PlanHeader> {
        let set = self.set;
        headers(set.file(file)).next()
    }

    fn check_header(&mut self, root: FileId) {
        let set = self.set;
        let file = set.file(root);
        let mut headers = headers(file);
        let Some(first) = headers.next() else {
            let place = Place { file: root, span: Span::new(0, 0) };
            let message = "this file has no `plan NAME`: it is a library, and only a plan can be run";
            self.findings.push(
                Finding::new(&codes::MISSING_PLAN, place, message)
                    .help("begin it with `plan` and a name, or import it"),
            );
            return;
        };
        self.plan_name = Some(first.name.node.clone());
        for second in headers {
            let message = "a file is one plan";
            self.findings.push(
                Finding::new(&codes::DUPLICATE, Place { file: root, span: second.span }, message)
                    .with(Place { file: root, span: first.span }, "first named here")
                    .help("keep one of them"),
            );
        }
    }

    /// `-p` for a parameter that no file has.
    fn check_outside_params(&mut self) {
        let set = self.set;
        let known: Vec<&str> =
            self.files.iter().flat_map(|file| params_of(set.file(*file)).map(|(name, _)| name)).collect();
        for name in self.inputs.params.keys().filter(|name| !known.contains(&name.as_str())) {
            let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
                [] => "this plan has no parameters".into(),
                known => format!("its parameters are {}", known.join(", ")),
            });
            let place = Place { file: set.root(), span: Span::new(0, 0) };
            let message = format!("`-p {name}=…` is given, but no file has a parameter `{name}`");
            self.findings.push(Finding::new(&codes::UNKNOWN_PARAM, place, message).help(help));
        }
    }
}

fn headers(file: &SourceFile) -> impl Iterator<Item = &PlanHeader> {
    file.parsed.ast.items.iter().filter_map(|item| match item {
        Item::Plan(header) => Some(header),
        _ => None,
    })
}

fn params_of(file: &SourceFile) -> impl Iterator<Item = (&str, Span)> {
    file.parsed.ast.items.iter().filter_map(|item| match item {
        Item::Param(param) => Some((param.name.node.as_str(), param.name.span)),
        _ => None,
    })
}
