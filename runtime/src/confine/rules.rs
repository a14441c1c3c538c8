//! Landlock: writing is permitted below some folders, reading everywhere.

use std::path::PathBuf;

use landlock::{ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus};

use super::inside::Trouble;

/// What it must be able to tell apart: an older kernel lets a file be cut short by its path, which replaying a dropped table
/// does.
const KNOWN: ABI = ABI::V3;
/// Everybody writes to it.
const NOWHERE: &str = "/dev/null";

/// From now on this process writes nothing but `own`; nor does what it starts.
pub(super) fn obey(own: &[PathBuf]) -> Result<(), Trouble> {
    let trouble = |cause: &dyn std::fmt::Display| Trouble(format!("no rules of Landlock: {cause}"));
    let all = AccessFs::from_write(KNOWN);
    let mut rules =
        Ruleset::default().handle_access(all).and_then(Ruleset::create).map_err(|cause| trouble(&cause))?;
    for path in own.iter().map(PathBuf::as_path).chain([std::path::Path::new(NOWHERE)]) {
        let access = if path.is_dir() { all } else { AccessFs::from_file(KNOWN) & all };
        let folder = PathFd::new(path).map_err(|cause| trouble(&cause))?;
        rules = rules.add_rule(PathBeneath::new(folder, access)).map_err(|cause| trouble(&cause))?;
    }
    let status = rules.restrict_self().map_err(|cause| trouble(&cause))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(trouble(&"the system has none")),
        RulesetStatus::PartiallyEnforced => Err(trouble(&"those of this kernel (before 6.2) do not suffice")),
        RulesetStatus::FullyEnforced => Ok(()),
    }
}
