//! The paths of a plan as the world resolves them: what the check compares by their names is compared by what they lead to, as
//! links and mounts make two names of one place.

use std::path::{Path, PathBuf};

use backplan_compiler::finding::Finding;
use backplan_compiler::sources::Place;
use backplan_compiler::{Laid, Role};
use rustix::process::geteuid;

use super::mounts::Mounts;
use super::spot::Spot;
use super::trust::{self, Distrust};

/// What of a plan would eat something else of it, and does not show in the plan. Looks, and changes nothing.
pub fn findings(laid: &Laid) -> Vec<Finding> {
    let mounts = Mounts::now();
    let spot = |path: &Path, role: Role| match role {
        Role::Read => Spot::of_itself(path, &mounts),
        Role::Used => Spot::of(path, &mounts),
    };
    let by_links = laid.moved(&|path, role| {
        let real = spot(path, role).real;
        let words = (real != path).then(|| format!("which is `{}`", real.display()));
        Some((real, words))
    });
    let by_mounts = laid.moved(&|path, role| {
        let spot = spot(path, role);
        let there = spot.in_file_system?;
        let words = format!("which is `{}` of file system {}", below(&there).display(), first(&there));
        Some((there, Some(words)))
    });
    let mut found: Vec<Finding> = Vec::new();
    let known = laid.findings();
    for finding in by_links.findings().into_iter().chain(by_mounts.findings()) {
        if !known.iter().chain(&found).any(|other| is_same(other, &finding)) {
            found.push(finding);
        }
    }
    found
}

/// The files of a plan that root obeys and others may change, with how.
pub fn obeyed(laid: &Laid) -> Vec<(PathBuf, Place, Distrust)> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    let seen = laid.plan_files().filter_map(|(path, place)| match trust::see_file(path) {
        // What cannot be looked at was not read either.
        Ok(()) | Err(Distrust::Io { .. }) => None,
        Err(distrust) => Some((path.to_path_buf(), place, distrust)),
    });
    seen.collect()
}

/// Whether two findings tell of the same things, in whatever words.
fn is_same(one: &Finding, other: &Finding) -> bool {
    let places = |finding: &Finding| -> Vec<_> { finding.others.iter().map(|label| label.place).collect() };
    one.name == other.name && one.primary.place == other.primary.place && places(one) == places(other)
}

/// The number of the file system, of a path in it.
fn first(path: &Path) -> String {
    path.iter().nth(1).unwrap_or_default().to_string_lossy().into_owned()
}

fn below(path: &Path) -> PathBuf {
    Path::new("/").join(path.iter().skip(2).collect::<PathBuf>())
}
