//! From syntax trees to the model: imports followed, names bound, values typed.
//!
//! | module | does |
//! |---|---|
//! | `imports` | opens the plan and all it imports |
//! | `scope` | `let` and `param` of each file, evaluated when first used |
//! | `eval`, `value` | expressions to values |
//! | `declare` | which declarations there are, and which of them count |
//! | `block`, `coerce` | attributes of a declaration against the schema |
//! | `build` | declarations to the model |
//! | `paths`, `suggest` | paths as text; "did you mean" |
//!
//! An expression that failed yields nothing further, so that one mistake is told once.

use std::collections::BTreeMap;
use std::path::PathBuf;

mod block;
pub(crate) mod build;
mod coerce;
mod declare;
mod eval;
mod imports;
pub(crate) mod paths;
mod recipient;
mod scope;
pub(crate) mod suggest;
mod value;

use crate::finding::{Finding, Severity};
use crate::model::Model;
use crate::sources::{FileId, Inputs, Place, SourceSet};

pub use imports::import_paths;

pub(crate) use block::Block;

use declare::{Declared, Names};
use scope::{Bindings, Scope};

/// How deep expressions and the names in them may rest on one another.
const MAX_DEPTH: usize = 200;
/// How deep imports may be nested.
const MAX_IMPORT_DEPTH: usize = 32;
/// Bytes of one string.
const MAX_TEXT: usize = 64 * 1024;

/// What resolution gives.
#[derive(Debug)]
pub struct Resolved {
    /// The plan; `None` if there is an error.
    pub model: Option<Model>,
    /// What was found on the way, in no particular order.
    pub findings: Vec<Finding>,
    /// What the checks need beside the model.
    pub(crate) facts: Facts,
}

/// Where attributes are written, by kind and name of their declaration.
pub(crate) type AttrPlaces = BTreeMap<(&'static str, String), BTreeMap<&'static str, Place>>;

/// What the checks need and the model does not hold: places, and what a plan says only to the compiler.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub attrs: AttrPlaces,
    /// `let` or `param`, name, place.
    pub unused: Vec<(&'static str, String, Place)>,
    pub inline_secrets: Vec<Place>,
    /// Files that secrets and `read` come from.
    pub secret_files: Vec<(PathBuf, Place)>,
    /// Sources that an archive excludes, by the archive's place in the model.
    pub excluded: Vec<(usize, usize, Place)>,
    pub home: Option<PathBuf>,
    pub root: FileId,
}

impl Facts {
    /// Where an attribute is written, if it is.
    pub fn place(&self, kind: &'static str, name: &str, attr: &str) -> Option<Place> {
        self.attrs.get(&(kind, name.to_owned()))?.get(attr).copied()
    }
}

/// Resolves a plan. Parse errors are not looked at: an item that could not be read is not there.
pub fn resolve(set: &SourceSet, inputs: &Inputs) -> Resolved {
    let mut resolver = Resolver::new(set, inputs);
    resolver.open_all();
    resolver.declare_all();
    let model = resolver.build();
    resolver.evaluate_unused();
    resolver.note_unused();
    let failed = resolver.findings.iter().any(|finding| finding.severity == Severity::Error);
    Resolved { model: model.filter(|_| !failed), findings: resolver.findings, facts: resolver.facts }
}

/// The state of one resolution.
struct Resolver<'a> {
    set: &'a SourceSet,
    inputs: &'a Inputs,
    findings: Vec<Finding>,
    facts: Facts,
    /// The files in use, the plan first.
    files: Vec<FileId>,
    children: BTreeMap<FileId, Vec<FileId>>,
    /// Where each library was first imported, and with what.
    imported: BTreeMap<FileId, (Place, Bindings<'a>)>,
    scopes: BTreeMap<FileId, Scope<'a>>,
    /// Names being evaluated.
    stack: Vec<(FileId, String, Place)>,
    depth: usize,
    plan_name: Option<String>,
    declared: Vec<Declared<'a>>,
    names: Names<'a>,
}

impl<'a> Resolver<'a> {
    fn new(set: &'a SourceSet, inputs: &'a Inputs) -> Self {
        let facts = Facts { home: inputs.home.clone(), root: set.root(), ..Facts::default() };
        Resolver {
            set,
            inputs,
            findings: Vec::new(),
            facts,
            files: Vec::new(),
            children: BTreeMap::new(),
            imported: BTreeMap::new(),
            scopes: BTreeMap::new(),
            stack: Vec::new(),
            depth: 0,
            plan_name: None,
            declared: Vec::new(),
            names: Names::default(),
        }
    }

    fn note_unused(&mut self) {
        for scope in self.scopes.values() {
            for (name, binding) in scope.names.iter().filter(|(_, binding)| !binding.used) {
                self.facts.unused.push((binding.word(), (*name).to_owned(), binding.place));
            }
        }
    }
}
