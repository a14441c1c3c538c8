//! The entries of `paths` as one tree, so that a walk meets them, and the folders above them, in path order.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::{ScanError, Trees};

/// A name on the way to an entry of `paths`, or one itself.
#[derive(Debug, Default)]
pub struct Node {
    /// Which entry of `paths` ends here.
    pub root: Option<usize>,
    /// What is below it.
    pub children: BTreeMap<Vec<u8>, Node>,
    /// The folder of this host that stands behind it; `None` where it is made up.
    pub absolute: Option<PathBuf>,
}

fn components(path: &Path) -> Vec<&OsStr> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Builds the tree.
///
/// # Errors
/// [`ScanError::Collision`] where two entries would have one name inside the artefact.
pub fn tree(trees: &Trees) -> Result<Node, ScanError> {
    let mut top = Node::default();
    for index in 0..trees.files.paths.len() {
        add(&mut top, trees, index)?;
    }
    Ok(top)
}

fn add(top: &mut Node, trees: &Trees, index: usize) -> Result<(), ScanError> {
    let entry = &trees.files.paths[index];
    let read = entry.absolute.as_path();
    let inside = components(&entry.inside);
    let mut node = top;
    let mut above = node.root;
    for (depth, name) in inside.iter().enumerate() {
        node = node.children.entry(name.as_bytes().to_vec()).or_default();
        if node.absolute.is_none() {
            node.absolute = ancestor(read, &inside, inside.len() - depth - 1);
        }
        above = node.root.or(above);
    }
    match node.root {
        Some(first) if trees.files.paths[first].absolute != read => {
            return Err(collision(trees, first, index));
        }
        Some(_) => return Ok(()),
        None => {}
    }
    if let Some(outer) = above {
        let around = &trees.files.paths[outer];
        let below = entry.inside.strip_prefix(&around.inside).unwrap_or(&entry.inside);
        if around.absolute.join(below) != read {
            return Err(collision(trees, outer, index));
        }
    }
    node.root = Some(index);
    node.absolute = Some(read.to_path_buf());
    Ok(())
}

/// The folder `up` levels above `read`, if its last names are those that are recorded.
fn ancestor(read: &Path, inside: &[&OsStr], up: usize) -> Option<PathBuf> {
    let names = components(read);
    let same = names.len() >= inside.len() && names[names.len() - inside.len()..] == *inside;
    same.then(|| read.ancestors().nth(up).map(Path::to_path_buf)).flatten()
}

fn collision(trees: &Trees, first: usize, second: usize) -> ScanError {
    let paths = &trees.files.paths;
    ScanError::Collision {
        source_name: trees.source.clone(),
        first: paths[first].absolute.clone(),
        second: paths[second].absolute.clone(),
        inside: paths[second].inside.clone(),
    }
}
