//! What the world is asked about a plan, and where the answers go.

use std::path::{Path, PathBuf};

use backplan_compiler::codes::Code;
use backplan_compiler::finding::{Finding, Severity};
use backplan_compiler::model::Model;
use backplan_compiler::sources::Place;

use crate::catalog::manifest::Manifest;
use crate::control::Control;

/// A look at the world: whether it is as a plan needs it.
pub(crate) struct Look<'a> {
    pub model: &'a Model,
    /// The newest run of all stores.
    pub newest: Option<&'a Manifest>,
    /// All of them.
    pub runs: Vec<&'a Manifest>,
    pub control: &'a Control,
    pub findings: Vec<Finding>,
}

impl Look<'_> {
    pub fn find(&mut self, code: &Code, place: Place, message: String, help: impl Into<String>) {
        self.findings.push(Finding::new(code, place, message).help(help));
    }

    /// As [`Look::find`], as a warning where a run would go on.
    pub fn find_weighed(&mut self, code: &Code, place: Place, message: String, help: &str, goes_on: bool) {
        let mut finding = Finding::new(code, place, message).help(help);
        if goes_on {
            finding.severity = Severity::Warning;
        }
        self.findings.push(finding);
    }
}

/// The folder, or the nearest above it that is there.
pub fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}
