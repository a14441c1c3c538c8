//! What somebody means by a path: the same for every command that is told one.
//!
//! A path is first taken as a name, whatever characters it has: as it stands in the backup, below a source or an entry of
//! `paths`, or as it was on the host; then as `ls` shows it, with `\xNN` for bytes that no terminal takes. Only where
//! nothing is called that is it a pattern.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use backplan_compiler::nearest;

use super::BackupsError;
use super::chain::Chain;
use super::restore::prefix;
use super::shelf::ShelvedRun;
use crate::catalog::details::Root;
use crate::extract::{Pattern, Pick, Picks, Taken};
use crate::text::{printable, unescaped};
use crate::tree::is_path;

/// Names of a folder that are held against one that is not there.
const MOST_NAMES: usize = 100_000;

/// The places of a run that a path may begin at.
pub struct Paths {
    run: String,
    /// Paths inside the artefacts: the top, sources, entries of their `paths`.
    anchors: Arc<[Vec<u8>]>,
    roots: Vec<Root>,
}

impl Paths {
    /// Those of a run; of these sources, or all.
    pub fn of(held: &ShelvedRun<'_>, sources: &[String]) -> Paths {
        let wanted = |source: &str| sources.is_empty() || sources.iter().any(|wanted| wanted == source);
        // Without them, a path begins with its source's name all the same.
        let mut roots = held.details().map(|details| details.roots).unwrap_or_default();
        roots.retain(|root| wanted(&root.source));
        let names = held.sources().into_iter().filter(|source| wanted(source));
        let mut anchors = vec![Vec::new()];
        anchors.extend(names.map(|source| source.as_bytes().to_vec()));
        anchors.extend(roots.iter().map(prefix));
        Paths { run: held.manifest.run.to_string(), anchors: anchors.into(), roots }
    }

    /// What is meant by a path, held against the trees of a run: what is called so, else the pattern it is, if that
    /// matches something.
    ///
    /// # Errors
    /// When an index cannot be read, or it is no pattern.
    pub fn found(&self, chains: &[&Chain<'_>], asked: &OsStr) -> Result<Option<Vec<Pick>>, BackupsError> {
        let named = self.named(chains, asked)?;
        if !named.is_empty() {
            return Ok(Some(named.into_iter().map(Pick::Path).collect()));
        }
        let Some(text) = asked.to_str().filter(|text| !text.trim_matches('/').is_empty()) else {
            return Ok(None);
        };
        let picks = vec![Pick::Pattern(Pattern::new(text, Arc::clone(&self.anchors)))];
        for chain in chains {
            for live in chain.view.entries() {
                let entry = live.map_err(|error| chain.error(error))?.entry;
                if Picks::new(&picks).take(&entry.path, entry.kind) != Taken::No {
                    return Ok(Some(picks));
                }
            }
        }
        Ok(None)
    }

    /// The paths inside the artefacts that are called so.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn named(&self, chains: &[&Chain<'_>], asked: &OsStr) -> Result<Vec<Vec<u8>>, BackupsError> {
        let typed = asked.as_bytes().to_vec();
        let shown = unescaped(&typed);
        for spelt in [Some(typed), shown].into_iter().flatten() {
            for candidates in [vec![trimmed(&spelt).to_vec()], self.below(&spelt), self.of_host(&spelt)] {
                let mut found = Vec::new();
                for path in candidates.into_iter().filter(|path| is_path(path)) {
                    if is_there(chains, &path)? && !found.contains(&path) {
                        found.push(path);
                    }
                }
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
        Ok(Vec::new())
    }

    fn below(&self, spelt: &[u8]) -> Vec<Vec<u8>> {
        let anchors = self.anchors.iter().filter(|anchor| !anchor.is_empty());
        anchors.map(|anchor| [anchor, &b"/"[..], trimmed(spelt)].concat()).collect()
    }

    fn of_host(&self, spelt: &[u8]) -> Vec<Vec<u8>> {
        let path = Path::new(OsStr::from_bytes(spelt));
        let inside = |root: &Root| {
            let rest = path.strip_prefix(&*root.original).ok()?.as_os_str().as_bytes();
            let slash: &[u8] = if rest.is_empty() { b"" } else { b"/" };
            Some([&prefix(root), slash, rest].concat())
        };
        self.roots.iter().filter_map(inside).collect()
    }

    /// The error that there is nothing of this name, with the one that is near.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn absent(&self, chains: &[&Chain<'_>], asked: &OsStr) -> Result<BackupsError, BackupsError> {
        let path = printable(asked.as_bytes());
        Ok(BackupsError::NoEntry { run: self.run.clone(), path, near: self.near(chains, asked)? })
    }

    /// The folder that is there, and the name in it that is meant.
    fn near(&self, chains: &[&Chain<'_>], asked: &OsStr) -> Result<Option<String>, BackupsError> {
        let parts: Vec<&[u8]> = trimmed(asked.as_bytes()).split(|byte| *byte == b'/').collect();
        let mut best: (usize, Vec<Vec<u8>>) = (0, Vec::new());
        for anchor in self.anchors.iter() {
            let (mut depth, mut folder) = (0, anchor.clone());
            while depth < parts.len() {
                let next = joined(&folder, parts[depth]);
                if !is_path(&next) || !is_there(chains, &next)? {
                    break;
                }
                (depth, folder) = (depth + 1, next);
            }
            if depth > best.0 {
                best = (depth, Vec::new());
            }
            if depth == best.0 {
                best.1.push(folder);
            }
        }
        let (depth, folders) = best;
        let Some(wanted) = parts.get(depth).map(|part| printable(part)) else {
            return Ok(None);
        };
        for folder in &folders {
            let names = children(chains, folder)?;
            if let Some(name) = nearest(&wanted, names.iter().map(String::as_str)) {
                let meant = joined(printable(folder).as_bytes(), name.as_bytes());
                let meant = printable(&meant);
                return Ok(Some(format!("did you mean `{meant}`?")));
            }
        }
        let there = folders.first().filter(|_| depth > 0);
        Ok(there.map(|folder| format!("`{}` is there, and that is not in it", printable(folder))))
    }
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    [folder, slash, name].concat()
}

fn trimmed(path: &[u8]) -> &[u8] {
    let start = path.iter().take_while(|byte| **byte == b'/').count();
    let end = path.iter().rev().take_while(|byte| **byte == b'/').count();
    path.get(start..path.len().saturating_sub(end)).unwrap_or_default()
}

fn is_there(chains: &[&Chain<'_>], path: &[u8]) -> Result<bool, BackupsError> {
    for chain in chains {
        if chain.view.find(path).map_err(|error| chain.error(error))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The names right in a folder.
fn children(chains: &[&Chain<'_>], folder: &[u8]) -> Result<BTreeSet<String>, BackupsError> {
    let mut names = BTreeSet::new();
    for chain in chains {
        for live in chain.view.below(folder) {
            let path = live.map_err(|error| chain.error(error))?.entry.path;
            let below = path.get(folder.len()..).unwrap_or_default();
            let below = below.strip_prefix(b"/").unwrap_or(below);
            if !below.is_empty() && !below.contains(&b'/') && names.len() < MOST_NAMES {
                names.insert(printable(below));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::trimmed;

    #[test]
    fn slashes_around_a_path_say_nothing() {
        assert_eq!(trimmed(b"//a/b//"), b"a/b");
        assert_eq!(trimmed(b"///"), b"");
    }
}
