//! Patterns of `exclude`, as git reads the lines of a `.gitignore`: byte by byte, the last that matches decides, and what
//! is in a folder that is left out is not looked at. A test holds them against git itself.
//!
//! | module | does |
//! |---|---|
//! | `glob` | reads one pattern into tokens, and matches names and paths |
//! | `search` | finds a path that patterns leave, match or take back, or that there is none |

mod glob;
mod search;

use glob::Glob;

pub use search::Found;

/// Patterns in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    lines: Vec<Line>,
}

/// A pattern.
#[derive(Debug, Clone)]
struct Line {
    /// It begins with `!`.
    takes_in: bool,
    /// It ends with a slash.
    folders_only: bool,
    /// It is held against the whole path, not against the last name of it.
    anchored: bool,
    glob: Glob,
}

/// What the patterns say of a path: each with the place of the pattern that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No pattern matches.
    Open,
    /// It is left out.
    LeftOut(usize),
    /// It is taken in again.
    TakenIn(usize),
}

impl Verdict {
    /// Whether the path is left out.
    pub fn is_left_out(self) -> bool {
        matches!(self, Verdict::LeftOut(_))
    }
}

impl Patterns {
    /// These patterns.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Patterns {
        Patterns { lines: texts.into_iter().map(Line::new).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What the patterns say of one path, relative to where they are anchored, without looking at the folders above it.
    pub fn verdict(&self, path: &[u8], is_folder: bool) -> Verdict {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let is_hit = |line: &Line| {
            let text = if line.anchored { path } else { name };
            (is_folder || !line.folders_only) && line.glob.matches(text)
        };
        match self.lines.iter().rposition(is_hit) {
            None => Verdict::Open,
            Some(at) if self.lines[at].takes_in => Verdict::TakenIn(at),
            Some(at) => Verdict::LeftOut(at),
        }
    }

    /// What keeps a walk from the path: the first folder on the way, or itself, that is left out, as the length of its path,
    /// and the place of the pattern that does it.
    pub fn left_out(&self, path: &[u8], is_folder: bool) -> Option<(usize, usize)> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        ends.chain([path.len()]).find_map(|end| {
            match self.verdict(&path[..end], is_folder || end < path.len()) {
                Verdict::LeftOut(at) => Some((end, at)),
                _ => None,
            }
        })
    }
}

impl Line {
    fn new(text: &str) -> Line {
        let trimmed = without_trailing_blanks(text.as_bytes());
        let (takes_in, body) = match trimmed.strip_prefix(b"!") {
            Some(body) => (true, body),
            None => (false, trimmed),
        };
        let (folders_only, body) = match body.strip_suffix(b"/") {
            Some(body) => (true, body),
            None => (false, body),
        };
        if text.starts_with('#') {
            return Line { takes_in: false, folders_only: false, anchored: false, glob: Glob::never() };
        }
        // `**/name` is a name anywhere, and quicker so.
        let mut plain = body;
        while let Some(rest) = plain.strip_prefix(b"**/") {
            plain = rest;
        }
        if !plain.contains(&b'/') && !plain.starts_with(b"**") {
            return Line { takes_in, folders_only, anchored: false, glob: Glob::of_name(plain) };
        }
        let glob = match body.contains(&b'/') {
            true => Glob::of_path(body.strip_prefix(b"/").unwrap_or(body)),
            false => Glob::of_name(body),
        };
        Line { takes_in, folders_only, anchored: body.contains(&b'/'), glob }
    }
}

/// A path as a pattern, so that each byte stands for itself.
pub fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for (at, letter) in path.char_indices() {
        let is_first_of_all = at == 0 && matches!(letter, '!' | '#');
        // A blank at the end would be taken for none.
        let is_end = letter == ' ' && path[at..].trim_end_matches(' ').is_empty();
        if matches!(letter, '*' | '?' | '[' | '\\') || is_first_of_all || is_end {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// A pattern without the blanks at its end; one that a backslash stands before stays.
fn without_trailing_blanks(text: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while at < text.len() {
        // A backslash at the very end keeps what stands before it.
        match text[at] {
            b'\\' => at += 2,
            b' ' => {
                at += 1;
                continue;
            }
            _ => at += 1,
        }
        end = at.min(text.len());
    }
    &text[..end]
}
