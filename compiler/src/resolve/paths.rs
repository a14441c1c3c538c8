//! Paths as text: nothing here looks at a disk.

use std::path::{Component, Path, PathBuf};

/// `path` without `.` and `..`, as text: `..` takes the component before it, and stops at the root.
pub(crate) fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(".."),
            },
            other => out.push(other),
        }
    }
    out
}

/// `text` as an absolute path: `~` is `home`, anything relative starts at `folder`. `None` where a home is needed and
/// there is none.
pub(crate) fn absolute(text: &str, folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => home?.join(rest.trim_start_matches('/')),
        _ => folder.join(text),
    };
    Some(normalise(&path))
}

/// The name that a path written as `text` has inside its source's folder: an absolute one without its leading slash, a
/// relative one as written, and one that leaves its folder by `..` as the absolute path it stands for.
pub(crate) fn inside(text: &str, absolute: &Path) -> PathBuf {
    let written = normalise(Path::new(text));
    let leaves = written.components().next() == Some(Component::ParentDir);
    if text.starts_with('/') || text == "~" || text.starts_with("~/") || leaves {
        absolute.strip_prefix("/").unwrap_or(absolute).to_path_buf()
    } else {
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::{Path, PathBuf};

    use super::{absolute, inside, normalise};

    #[test]
    fn dots_are_resolved_as_text() {
        for (written, normal) in
            [("/a/./b/../c", "/a/c"), ("/../x", "/x"), ("a/../../b", "../b"), ("/a//b/", "/a/b"), (".", "")]
        {
            assert_eq!(normalise(Path::new(written)), PathBuf::from(normal), "{written}");
        }
    }

    #[test]
    fn paths_start_at_their_file_or_home() {
        let folder = Path::new("/etc/plans");
        let home = Some(Path::new("/home/u"));
        let absolute_of = |text| absolute(text, folder, home).unwrap();
        assert_eq!(absolute_of("a/../b"), PathBuf::from("/etc/plans/b"));
        assert_eq!(absolute_of("~/x"), PathBuf::from("/home/u/x"));
        assert_eq!(absolute_of("~"), PathBuf::from("/home/u"));
        assert_eq!(absolute_of("~x"), PathBuf::from("/etc/plans/~x"));
        assert_eq!(absolute("~/x", folder, None), None);
    }

    #[test]
    fn names_inside_follow_what_is_written() {
        assert_eq!(inside("/srv/x", Path::new("/srv/x")), PathBuf::from("srv/x"));
        assert_eq!(inside("notes/", Path::new("/p/notes")), PathBuf::from("notes"));
        assert_eq!(inside("../up", Path::new("/up")), PathBuf::from("up"));
        assert_eq!(inside("~.x", Path::new("/srv/~.x")), PathBuf::from("~.x"));
        assert_eq!(inside("~/x", Path::new("/home/u/x")), PathBuf::from("home/u/x"));
        assert_eq!(inside(".", Path::new("/p")), PathBuf::new());
    }
}
