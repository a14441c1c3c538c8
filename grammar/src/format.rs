//! Plan files in the one house style.
//!
//! Works on the tokens, not on the tree: literals stay as they were spelt, and comments where they were put. The rules:
//!
//! - two blanks to the level; one statement a line; at most one blank line, none inside a brace, one around each block
//!   of several lines at the top of a file;
//! - a block or list that was written on one line stays there if it fits, else it has a line for each part;
//! - `=` of attributes, of `let`s and of `param`s, and `{` of blocks on one line, are aligned in lines that follow one
//!   another directly;
//! - comments behind statements stand at one column, further right where a statement is longer, and are then aligned in
//!   lines that follow one another.

use crate::layout::{Line, Run, WIDTH, indent, print, width};
use crate::lex::{Kind, Token};
use crate::parse::{ParseError, parse, tokens};

/// `text` in the house style. Formatting what was formatted changes nothing, and formatting never changes the tree.
///
/// # Errors
/// The syntax errors of `text`: what cannot be read is not rewritten.
pub fn format(text: &str) -> Result<String, Vec<ParseError>> {
    let parsed = parse(text);
    if !parsed.errors.is_empty() {
        return Err(parsed.errors);
    }
    let (tokens, _) = tokens(text).map_err(|error| vec![error])?;
    let mut formatter = Formatter { text, tokens: &tokens, lines: Vec::new() };
    formatter.statements(0, tokens.len(), 0);
    Ok(print(&formatter.lines))
}

struct Formatter<'t> {
    text: &'t str,
    tokens: &'t [Token],
    lines: Vec<Line>,
}

impl Formatter<'_> {
    fn kind(&self, index: usize) -> Kind {
        self.tokens[index].kind
    }

    fn written(&self, index: usize) -> &str {
        self.tokens[index].text(self.text)
    }

    fn is_brace(&self, index: usize) -> bool {
        self.kind(index) == Kind::Open && self.written(index) == "{"
    }

    /// The index behind the token or group at `index`.
    fn behind(&self, index: usize) -> usize {
        if self.kind(index) == Kind::Open { self.tokens[index].mate + 1 } else { index + 1 }
    }

    /// The statements from token `at` to `end`: a whole file at level 0, else the inside of a block.
    fn statements(&mut self, mut at: usize, end: usize, level: usize) {
        let start = self.lines.len();
        let mut newlines = 0;
        // The first of the comment lines that stand directly above the next statement.
        let mut above = None;
        let mut behind_block = false;
        while at < end {
            match self.kind(at) {
                Kind::Newline => newlines += 1,
                Kind::Comma => {}
                Kind::Comment if newlines == 0 && self.trail(at) => {}
                kind => {
                    if self.lines.len() > start && (newlines > 1 || behind_block) {
                        self.lines.push(Line::blank());
                        above = None;
                    }
                    (newlines, behind_block) = (0, false);
                    let first = self.lines.len();
                    if kind == Kind::Comment {
                        above.get_or_insert(first);
                        let comment = self.written(at).to_string();
                        self.lines.push(Line::plain(level, comment));
                    } else {
                        let after = self.statement_end(at, end);
                        let block = self.statement(at, after, level);
                        if level == 0 && block && self.lines.len() > first + 1 {
                            self.set_apart(above.unwrap_or(first));
                            behind_block = true;
                        }
                        above = None;
                        at = after;
                        continue;
                    }
                }
            }
            at += 1;
        }
    }

    /// Puts a blank line before line `place`, if there is none.
    fn set_apart(&mut self, place: usize) {
        if place > 0 && !self.lines[place - 1].is_blank() {
            self.lines.insert(place, Line::blank());
        }
    }

    /// Puts the comment at `index` behind the last line, if there is one that has none yet.
    fn trail(&mut self, index: usize) -> bool {
        let comment = self.written(index).to_string();
        let Some(line) = self.lines.last_mut().filter(|line| !line.is_blank() && line.comment.is_none())
        else {
            return false;
        };
        line.comment = Some(comment);
        true
    }

    fn statement_end(&self, mut at: usize, end: usize) -> usize {
        while at < end && !matches!(self.kind(at), Kind::Newline | Kind::Comma | Kind::Comment) {
            let block = self.is_brace(at);
            at = self.behind(at);
            if block {
                break;
            }
        }
        at
    }

    /// Writes one statement; answers whether it is a block.
    fn statement(&mut self, at: usize, end: usize, level: usize) -> bool {
        let brace = (at..end).find(|&index| self.is_brace(index));
        match brace {
            Some(brace) => self.block(at, brace, level),
            None => self.binding(at, end, level),
        }
        brace.is_some()
    }

    fn block(&mut self, at: usize, brace: usize, level: usize) {
        let close = self.tokens[brace].mate;
        let run = if self.written(at) == "import" { Run::Import } else { Run::Block };
        let head = self.flat(at, brace);
        let separators = |index| matches!(self.kind(index), Kind::Newline | Kind::Comma);
        let one_line = (brace + 1..close).all(separators) || !self.has_newline(brace, close);
        if one_line {
            let tail = self.flat(brace, close + 1);
            if indent(level) + width(&head) + 1 + width(&tail) <= WIDTH {
                self.lines.push(Line { level, head, tail, run, comment: None });
                return;
            }
        }
        self.lines.push(Line::plain(level, format!("{head} {{")));
        self.statements(brace + 1, close, level + 1);
        self.lines.push(Line::plain(level, "}".into()));
    }

    fn has_newline(&self, at: usize, end: usize) -> bool {
        self.tokens[at..end].iter().any(|token| token.kind == Kind::Newline)
    }

    /// An attribute, `let`, `param`, `import` or `plan`: what is before the `=`, and what follows it.
    fn binding(&mut self, at: usize, end: usize, level: usize) {
        let equals = (at..end).find(|&index| self.kind(index) == Kind::Equals);
        let head = self.flat(at, equals.unwrap_or(end));
        let first = self.lines.len();
        let Some(equals) = equals else {
            let run = self.item_run(at, Run::None);
            self.lines.push(Line { level, head, run, ..Line::default() });
            return;
        };
        self.lines.push(Line::plain(level, format!("{head} = ")));
        self.expr(equals + 1, end, level);
        if self.lines.len() == first + 1 {
            let run = self.item_run(at, Run::Attr);
            let line = &mut self.lines[first];
            line.tail = line.head.split_off(head.len() + 1);
            line.head = head;
            line.run = run;
        }
    }

    fn item_run(&self, at: usize, other: Run) -> Run {
        match (self.written(at), self.tokens.get(at + 1).map(|token| token.kind)) {
            ("let", Some(Kind::Word)) => Run::Let,
            ("param", Some(Kind::Word)) => Run::Param,
            ("import", Some(Kind::Str | Kind::RawStr)) => Run::Import,
            _ => other,
        }
    }

    /// Tokens `at` to `end` on one line, whatever they were written on.
    fn flat(&self, at: usize, end: usize) -> String {
        let mut text = String::new();
        let mut last: Option<usize> = None;
        let mut comma = None;
        for index in at..end {
            match self.kind(index) {
                Kind::Newline | Kind::Comment => continue,
                Kind::Comma => {
                    comma = Some(index);
                    continue;
                }
                Kind::Close => comma = None,
                _ => {}
            }
            // A comma is written when something follows it.
            if comma.take().is_some() && last.is_some_and(|last| self.kind(last) != Kind::Open) {
                text.push_str(", ");
            } else if last.is_some_and(|last| self.spaced(last, index)) {
                text.push(' ');
            }
            text.push_str(self.written(index));
            last = Some(index);
        }
        text
    }

    /// Whether a blank stands between two tokens.
    fn spaced(&self, before: usize, after: usize) -> bool {
        match (self.kind(before), self.kind(after)) {
            (_, Kind::Colon | Kind::DotDot | Kind::Comma) | (Kind::DotDot, _) => false,
            (Kind::Open, Kind::Close) => false,
            (Kind::Open, _) => self.written(before) == "{",
            (_, Kind::Close) => self.written(after) == "}",
            (Kind::Word, Kind::Open) => self.written(after) != "(",
            _ => true,
        }
    }

    fn append(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.head.push_str(text);
        }
    }

    /// Writes the expression in tokens `at` to `end` on from the last line.
    fn expr(&mut self, mut at: usize, end: usize, level: usize) {
        let mut last: Option<usize> = None;
        while at < end {
            let token = at;
            at = self.behind(at);
            if matches!(self.kind(token), Kind::Newline | Kind::Comment) {
                continue;
            }
            if last.is_some_and(|last| self.spaced(last, token)) {
                self.append(" ");
            }
            if self.kind(token) == Kind::Open {
                self.group(token, level);
            } else {
                let written = self.written(token).to_string();
                self.append(&written);
            }
            last = Some(token);
        }
    }

    /// A list, or a call's arguments.
    fn group(&mut self, open: usize, level: usize) {
        let close = self.tokens[open].mate;
        let inside = self.direct(open);
        let spread = inside.iter().any(|&index| self.kind(index) == Kind::Newline);
        let too_wide = !inside.is_empty() && !self.has_newline(open, close) && !self.fits(open, level);
        // A list that is all there is in its parentheses is spread itself, and they stay around it.
        let mut parts = inside.iter().filter(|&&index| self.kind(index) != Kind::Comma);
        let wraps = parts.next().is_some_and(|&part| self.kind(part) == Kind::Open) && parts.next().is_none();
        if spread || (too_wide && !wraps) {
            return self.spread(open, level);
        }
        let (opener, closer) = (self.written(open).to_string(), self.written(close).to_string());
        self.append(&opener);
        let mut at = open + 1;
        let mut first = true;
        while at < close {
            let end = self.element_end(at, close);
            if end > at {
                if !first {
                    self.append(", ");
                }
                self.expr(at, end, level);
                first = false;
            }
            at = end + 1;
        }
        self.append(&closer);
    }

    fn fits(&self, open: usize, level: usize) -> bool {
        let before = self.lines.last().map_or(0, |line| width(&line.head));
        indent(level) + before + width(&self.flat(open, self.tokens[open].mate + 1)) <= WIDTH
    }

    /// The tokens directly inside a group, not those of groups within it.
    fn direct(&self, open: usize) -> Vec<usize> {
        let close = self.tokens[open].mate;
        let mut direct = Vec::new();
        let mut at = open + 1;
        while at < close {
            direct.push(at);
            at = self.behind(at);
        }
        direct
    }

    fn element_end(&self, mut at: usize, close: usize) -> usize {
        while at < close && self.kind(at) != Kind::Comma {
            at = self.behind(at);
        }
        at
    }

    /// A group with a line for each element.
    fn spread(&mut self, open: usize, level: usize) {
        let close = self.tokens[open].mate;
        let (opener, closer) = (self.written(open).to_string(), self.written(close).to_string());
        self.append(&opener);
        let first = self.lines.len();
        let mut at = open + 1;
        if self.kind(at) == Kind::Comment && self.trail(at) {
            at += 1;
        }
        while at < close {
            let element = self.next_element(at, close);
            at = element.next;
            self.comment_lines(&element.above, first, level + 1);
            if let Some((start, end)) = element.tokens {
                self.list_line(String::new(), element.blank, first, level + 1);
                self.expr(start, end, level + 1);
                self.append(",");
            }
            if let Some(comment) = element.behind {
                self.trail(comment);
            }
            self.comment_lines(&element.below, first, level + 1);
        }
        self.lines.push(Line::plain(level, closer));
    }

    fn comment_lines(&mut self, comments: &[(usize, bool)], first: usize, level: usize) {
        for &(comment, blank) in comments {
            let text = self.written(comment).to_string();
            self.list_line(text, blank, first, level);
        }
    }

    /// A new line in a list whose inside starts at line `first`, after a blank one if there is something above.
    fn list_line(&mut self, text: String, blank: bool, first: usize, level: usize) {
        if blank && self.lines.len() > first {
            self.lines.push(Line::blank());
        }
        self.lines.push(Line::plain(level, text));
    }

    /// Reads the element at `at`, with the comments that belong to it and its comma.
    fn next_element(&self, mut at: usize, close: usize) -> Element {
        let mut element = Element::default();
        let (mut newlines, mut same_line) = (0, false);
        while at < close {
            match self.kind(at) {
                Kind::Newline => {
                    newlines += 1;
                    same_line = false;
                }
                Kind::Comment => {
                    let comment = (at, newlines > 1);
                    newlines = 0;
                    match element.tokens {
                        None => element.above.push(comment),
                        Some(_) if same_line && element.behind.is_none() => element.behind = Some(at),
                        Some(_) => element.below.push(comment),
                    }
                }
                Kind::Comma => {
                    at += 1;
                    if self.kind(at) == Kind::Comment && element.behind.is_none() && element.below.is_empty()
                    {
                        element.behind = Some(at);
                        at += 1;
                    }
                    break;
                }
                _ => {
                    element.extend(at, self.behind(at), newlines > 1);
                    (newlines, same_line) = (0, true);
                    at = self.behind(at);
                    continue;
                }
            }
            at += 1;
        }
        element.next = at;
        element
    }
}

/// An element of a list that has a line for each. Comments are token indices, with whether a blank line is above them.
#[derive(Default)]
struct Element {
    above: Vec<(usize, bool)>,
    /// A blank line is between the comments above and the element.
    blank: bool,
    /// The first token, and the one behind the last.
    tokens: Option<(usize, usize)>,
    behind: Option<usize>,
    below: Vec<(usize, bool)>,
    next: usize,
}

impl Element {
    /// Takes in one more token or group. Comments that turn out to stand in the middle of the element go above it.
    fn extend(&mut self, token: usize, behind: usize, blank: bool) {
        match &mut self.tokens {
            None => {
                self.tokens = Some((token, behind));
                self.blank = blank;
            }
            Some((_, end)) => {
                *end = behind;
                self.above.extend(self.behind.take().map(|comment| (comment, false)));
                self.above.append(&mut self.below);
            }
        }
    }
}
