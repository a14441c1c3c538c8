//! Lines of formatted text, and what is aligned in neighbouring ones.

/// Columns that a line may fill before lists and blocks are spread over several.
pub(crate) const WIDTH: usize = 120;

/// Where trailing comments stand, counted from 0, unless the text before them is longer.
const COMMENT_COLUMN: usize = 42;

const INDENT: usize = 2;

/// Lines of one kind that follow one another directly have their tails aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Run {
    /// Aligned with nothing.
    #[default]
    None,
    Attr,
    Let,
    Param,
    Import,
    Block,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// In steps, not blanks.
    pub level: usize,
    pub head: String,
    /// What is aligned: from `=` or `{` to the end.
    pub tail: String,
    pub run: Run,
    pub comment: Option<String>,
}

impl Line {
    pub(crate) fn plain(level: usize, text: String) -> Self {
        Line { level, head: text, ..Line::default() }
    }

    pub(crate) fn blank() -> Self {
        Line::default()
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.head.is_empty() && self.comment.is_none()
    }
}

/// Columns of indentation at `level`.
pub(crate) fn indent(level: usize) -> usize {
    level * INDENT
}

/// The width of `text` in columns, near enough: one for each character.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text of `lines`, aligned, each with its end of line.
pub(crate) fn print(lines: &[Line]) -> String {
    let codes = codes(lines);
    let mut text = String::new();
    let mut start = 0;
    while start < lines.len() {
        let commented = lines[start..].iter().take_while(|line| line.comment.is_some()).count();
        let end = start + commented.max(1);
        let widest = codes[start..end].iter().map(|code| width(code)).max().unwrap_or(0);
        let column = COMMENT_COLUMN.max(widest + 2);
        for (line, code) in lines[start..end].iter().zip(&codes[start..end]) {
            text.push_str(code);
            if let Some(comment) = &line.comment {
                text.extend(std::iter::repeat_n(' ', column - width(code)));
                text.push_str(comment);
            }
            text.push('\n');
        }
        start = end;
    }
    text
}

/// Each line without its comment, tails aligned within runs.
fn codes(lines: &[Line]) -> Vec<String> {
    let mut codes = Vec::with_capacity(lines.len());
    for run in lines.chunk_by(|a, b| a.run != Run::None && a.run == b.run && a.level == b.level) {
        let tailed = run.iter().filter(|line| !line.tail.is_empty());
        let column = tailed.map(|line| width(&line.head)).max().unwrap_or(0);
        codes.extend(run.iter().map(|line| code(line, column)));
    }
    codes
}

fn code(line: &Line, column: usize) -> String {
    if line.head.is_empty() {
        return String::new();
    }
    let mut code = " ".repeat(indent(line.level));
    code.push_str(&line.head);
    if !line.tail.is_empty() {
        code.extend(std::iter::repeat_n(' ', column - width(&line.head) + 1));
        code.push_str(&line.tail);
    }
    code
}
