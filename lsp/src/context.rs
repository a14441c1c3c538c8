//! What may stand at a place of a text that cannot be parsed yet: read from the words before the place alone.
//!
//! A text is mostly broken while it is typed in, just where the question is asked. So this reads no tree but the
//! brackets and words before the place, and forgives what is not closed.

/// What may stand at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Context<'t> {
    /// A new item.
    Item,
    /// The name of a declaration of this kind.
    Name(&'t str),
    /// The type of a declaration (its kind), or of a `param`.
    Type(&'t str),
    /// A statement in a block; the heads of the blocks around, outermost first.
    Statement(Vec<Head<'t>>),
    /// The value of an attribute, or an element of it.
    Value { blocks: Vec<Head<'t>>, attr: &'t str, in_list: bool },
    /// A value whose type nothing tells: of a `let`, within a string.
    Expression,
    /// The text of a string that is the value of an attribute.
    Text { blocks: Vec<Head<'t>>, attr: &'t str },
    /// The path of an import, up to here.
    ImportPath(&'t str),
    /// A parameter of an imported file: the path of the import, and where its braces begin.
    Binding { path: &'t str, start: usize },
    /// The name of a finding.
    Allowance,
    /// Nothing that is known.
    Nothing,
}

/// The words before the brace of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'t> {
    pub kind: &'t str,
    pub ty: Option<&'t str>,
    /// Where the block begins, behind its brace.
    pub start: usize,
}

/// The start of the word that ends at a place.
pub(crate) fn word_start(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or_default();
    before.trim_end_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_').len()
}

/// What may stand at a place, which is the start of a word.
pub(crate) fn context(text: &str, offset: usize) -> Context<'_> {
    let mut scan = Scan {
        text,
        end: offset.min(text.len()),
        at: 0,
        frames: vec![Frame::new(Opener::Top, Vec::new(), 0)],
    };
    match scan.run() {
        Stop::Comment(start) => {
            let comment = text.get(start..offset).unwrap_or_default().trim_start_matches('#').trim_start();
            match comment.strip_prefix("allow:") {
                Some(rest) if rest.trim().is_empty() => Context::Allowance,
                _ => Context::Nothing,
            }
        }
        Stop::Text(start) => scan.in_text(text.get(start..offset).unwrap_or_default()),
        Stop::Between => scan.between(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    Top,
    Brace,
    Bracket,
    Paren,
    Interpolation,
}

#[derive(Debug)]
struct Frame<'t> {
    opener: Opener,
    /// The words of the statement that opened it.
    head: Vec<&'t str>,
    /// The words of the statement so far.
    words: Vec<&'t str>,
    start: usize,
}

impl<'t> Frame<'t> {
    fn new(opener: Opener, head: Vec<&'t str>, start: usize) -> Self {
        Frame { opener, head, words: Vec::new(), start }
    }
}

/// Where a scan ended.
enum Stop {
    /// In a comment that starts here.
    Comment(usize),
    /// In a string whose text starts here.
    Text(usize),
    /// Between words.
    Between,
}

struct Scan<'t> {
    text: &'t str,
    end: usize,
    at: usize,
    frames: Vec<Frame<'t>>,
}

impl<'t> Scan<'t> {
    fn run(&mut self) -> Stop {
        let bytes = self.text.as_bytes();
        while self.at < self.end {
            let start = self.at;
            match bytes[start] {
                b'#' => match self.text[start..self.end].find('\n') {
                    None => return Stop::Comment(start),
                    Some(length) => self.at += length,
                },
                b'"' => {
                    self.at += 1;
                    if let Some(stop) = self.string(start) {
                        return stop;
                    }
                }
                b'\'' => {
                    let rest = &self.text[start + 1..self.end];
                    match rest.find(['\'', '\n']) {
                        None => return Stop::Text(start + 1),
                        // It was never closed: the line ends it.
                        Some(length) if rest.as_bytes()[length] == b'\n' => self.at += length + 1,
                        Some(length) => self.at += length + 2,
                    }
                    self.push(&self.text[start..self.at]);
                }
                b'\n' => {
                    self.at += 1;
                    self.separate(true);
                }
                b',' => {
                    self.at += 1;
                    self.separate(false);
                }
                b'{' => self.open(Opener::Brace),
                b'[' => self.open(Opener::Bracket),
                b'(' => self.open(Opener::Paren),
                b'}' => {
                    self.at += 1;
                    if self.close(b'}')
                        && let Some(stop) = self.string(start)
                    {
                        return stop;
                    }
                }
                b']' | b')' => {
                    self.at += 1;
                    self.close(bytes[start]);
                }
                b'=' => self.equals(),
                byte if byte.is_ascii_alphanumeric() || byte == b'_' => self.word(),
                b':' => {
                    self.at += 1;
                    self.push(&self.text[start..start + 1]);
                }
                _ => self.at += 1,
            }
        }
        Stop::Between
    }

    /// Reads on in a string, whose text goes on at `at`.
    fn string(&mut self, start: usize) -> Option<Stop> {
        let bytes = self.text.as_bytes();
        let from = self.at;
        while self.at < self.end {
            match bytes[self.at] {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    self.push(self.text.get(start..self.at).unwrap_or("\"\""));
                    return None;
                }
                // It was never closed: the line ends it.
                b'\n' => {
                    self.push("\"\"");
                    return None;
                }
                b'$' if bytes.get(self.at + 1) == Some(&b'{') => {
                    self.at += 2;
                    self.frames.push(Frame::new(Opener::Interpolation, Vec::new(), self.at));
                    return None;
                }
                _ => self.at += 1,
            }
        }
        Some(Stop::Text(from))
    }

    fn frame(&mut self) -> &mut Frame<'t> {
        if self.frames.is_empty() {
            self.frames.push(Frame::new(Opener::Top, Vec::new(), 0));
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn push(&mut self, word: &'t str) {
        self.frame().words.push(word);
    }

    /// A comma or the end of a line.
    fn separate(&mut self, line: bool) {
        // An interpolation does not go over the end of a line, nor does the string around it.
        while line && self.frame().opener == Opener::Interpolation {
            self.frames.pop();
            self.push("\"\"");
        }
        let frame = self.frame();
        if !line || matches!(frame.opener, Opener::Top | Opener::Brace) {
            frame.words.clear();
        }
    }

    fn open(&mut self, opener: Opener) {
        self.at += 1;
        let start = self.at;
        let head = self.frame().words.clone();
        self.frames.push(Frame::new(opener, head, start));
    }

    /// Closes the nearest bracket of this sort; whether that leads back into a string.
    fn close(&mut self, closer: u8) -> bool {
        let closes = |opener: Opener| match closer {
            b'}' => matches!(opener, Opener::Brace | Opener::Interpolation),
            b']' => opener == Opener::Bracket,
            _ => opener == Opener::Paren,
        };
        // A brace ends brackets that were left open in it; a bracket without its other half ends nothing.
        let Some(place) = self
            .frames
            .iter()
            .rposition(|frame| closes(frame.opener) || closer != b'}' && frame.opener == Opener::Brace)
        else {
            return false;
        };
        if !closes(self.frames[place].opener) {
            return false;
        }
        let opener = self.frames[place].opener;
        self.frames.truncate(place);
        match opener {
            Opener::Interpolation => return true,
            Opener::Brace => self.frame().words.clear(),
            _ => self.push("[]"),
        }
        false
    }

    /// Within a list or a call there is no `=`: it was not closed, and the last word begins a statement.
    fn equals(&mut self) {
        self.at += 1;
        if matches!(self.frame().opener, Opener::Bracket | Opener::Paren) {
            let last = self.frame().words.last().copied();
            while matches!(self.frame().opener, Opener::Bracket | Opener::Paren) {
                self.frames.pop();
            }
            let frame = self.frame();
            frame.words.clear();
            frame.words.extend(last);
        }
        self.push("=");
    }

    fn word(&mut self) {
        let rest = &self.text[self.at..self.end];
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/');
        let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()).max(1);
        let word = &rest[..length];
        let at_margin = self.at == 0 || self.text.as_bytes()[self.at - 1] == b'\n';
        let after = self.text[self.at + length..].trim_start_matches([' ', '\t']);
        if at_margin && begins_item(word) && !after.starts_with('=') {
            // Items stand at the margin: what is open before one was never closed.
            self.frames.truncate(1);
            self.frame().words.clear();
        }
        self.at += length;
        self.push(word);
    }

    /// The heads of the blocks around, outermost first; `None` within the braces of an import.
    fn blocks(&self) -> Vec<Head<'t>> {
        let braces = self.frames.iter().filter(|frame| frame.opener == Opener::Brace);
        braces
            .map(|frame| Head {
                kind: frame.head.first().copied().unwrap_or_default(),
                ty: frame
                    .head
                    .iter()
                    .position(|word| *word == ":")
                    .and_then(|at| frame.head.get(at + 1).copied()),
                start: frame.start,
            })
            .collect()
    }

    /// The statement around: the innermost frame that holds statements, and whether brackets are between.
    fn statement(&self) -> (Option<&Frame<'t>>, bool) {
        let place = self.frames.iter().rposition(|frame| matches!(frame.opener, Opener::Top | Opener::Brace));
        match place {
            Some(place) => (self.frames.get(place), place + 1 < self.frames.len()),
            None => (None, false),
        }
    }

    fn in_text(&self, text: &'t str) -> Context<'t> {
        let (Some(frame), _) = self.statement() else { return Context::Nothing };
        match (frame.opener, frame.words.as_slice()) {
            (Opener::Top, ["import"]) => Context::ImportPath(text),
            (Opener::Brace, [attr, "=", ..]) => Context::Text { blocks: self.blocks(), attr },
            _ => Context::Nothing,
        }
    }

    fn between(&self) -> Context<'t> {
        if self.frames.last().is_some_and(|frame| frame.opener == Opener::Interpolation) {
            return Context::Expression;
        }
        let (Some(frame), in_brackets) = self.statement() else { return Context::Nothing };
        let import = match frame.head.as_slice() {
            ["import", path, ..] if frame.opener == Opener::Brace => Some(path.trim_matches(['"', '\''])),
            _ => None,
        };
        match (frame.opener, frame.words.as_slice()) {
            (Opener::Top, []) => Context::Item,
            (Opener::Top, ["let" | "param", .., "="]) => Context::Expression,
            (Opener::Top, ["let" | "param", .., "=", _]) if in_brackets => Context::Expression,
            (Opener::Top, [kind, .., ":"]) => Context::Type(kind),
            (Opener::Top, [kind]) => Context::Name(kind),
            (Opener::Brace, []) => match import {
                Some(path) => Context::Binding { path, start: frame.start },
                None => Context::Statement(self.blocks()),
            },
            (Opener::Brace, [_, "="]) if import.is_some() => Context::Expression,
            (Opener::Brace, [attr, "=", rest @ ..]) if rest.is_empty() || in_brackets => {
                Context::Value { blocks: self.blocks(), attr, in_list: in_brackets }
            }
            _ => Context::Nothing,
        }
    }
}

/// Whether a word begins an item.
fn begins_item(word: &str) -> bool {
    matches!(word, "plan" | "let" | "param" | "import") || backplan_compiler::schema::kind(word).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Context, context, word_start};

    /// The context at `|`.
    fn at(text: &str) -> String {
        let offset = text.find('|').unwrap_or(text.len());
        let text = text.replace('|', "");
        match context(&text, word_start(&text, offset)) {
            Context::Statement(blocks) => {
                format!("statement in {}", blocks.iter().map(|head| head.kind).collect::<Vec<_>>().join("/"))
            }
            Context::Value { blocks, attr, in_list } => {
                let kinds: Vec<&str> = blocks.iter().map(|head| head.kind).collect();
                format!("value of {}.{attr}{}", kinds.join("/"), if in_list { ", in a list" } else { "" })
            }
            Context::Text { attr, .. } => format!("text of {attr}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn places_of_whole_texts() {
        assert_eq!(at("plan a\nsto|"), "Item");
        assert_eq!(at("store local: d|"), "Type(\"store\")");
        assert_eq!(at("wal ma|"), "Name(\"wal\")");
        assert_eq!(at("store local: dir {\n  pa|\n}"), "statement in store");
        assert_eq!(at("store l: dir {\n  keep {\n  d|\n}}"), "statement in store/keep");
        assert_eq!(at("archive a {\n from = [site, d|]\n}"), "value of archive.from, in a list");
        assert_eq!(at("archive a { from = a|"), "value of archive.from");
        assert_eq!(at("let a = \"${b|}\""), "Expression");
        assert_eq!(at("schedule { zone = \"Europe/|\" }"), "text of zone");
        assert_eq!(at("import \"com|"), "ImportPath(\"\")");
        assert_eq!(at("import \"a.plan\" { si|"), "Binding { path: \"a.plan\", start: 17 }");
        assert_eq!(at("# allow: un|"), "Allowance");
        assert_eq!(at("# no|"), "Nothing");
    }

    #[test]
    fn places_of_broken_texts() {
        assert_eq!(at("archive a {\n  from = [site\n  to = [|\n}"), "value of archive.to, in a list");
        assert_eq!(at("source a: files {\n  paths = [\"/a\nstore b: dir {\n  pa|"), "statement in store");
        // The bracket is part of a string that was never closed: what follows may still be of the list.
        let after = at("source a: files {\n  paths = [\"${x\"]\n  exc|");
        assert_eq!(after, "value of source.paths, in a list");
        assert_eq!(
            at("source a: files {\n  paths = [\"${x\"]\n  exclude = [|"),
            "value of source.exclude, in a list"
        );
        assert_eq!(at("]}) a\nst|"), "Item");
        assert_eq!(at("let a = \"open\nst|"), "Item");
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "[a-z\"'{}\\[\\]()$=,:#\\\\é \n]{0,60}", place in any::<proptest::sample::Index>()) {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let offset = places[place.index(places.len())];
            let _ = context(&text, word_start(&text, offset));
        }
    }
}
