//! Text to syntax tree.
//!
//! A file is cut into tokens, brackets are paired, and what lies between them into statements; each statement's text is
//! then matched against the grammar on its own. So one bad statement costs one error, and everything around it is read.

use crate::ast::{Ast, Attr, Decl, Entry, Ident, Import, Item, Let, Param, PlanHeader, StrPart};
use crate::cut::Piece;
use crate::lex::{Kind, Token, lex};
use crate::mistake::{Statement, shown};
use crate::nest::nest;
use crate::span::{Span, Spanned};
use crate::syntax::{Builder, Node, Rule, raw_text, read};

/// Bytes in the largest file that is read.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep braces, brackets, parentheses and interpolations may be nested in all.
pub const MAX_DEPTH: usize = 64;

/// Errors reported for one file: nobody reads more, and the rest follow from the first.
pub const MAX_ERRORS: usize = 50;

/// A syntax error at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Stable name of the finding: `syntax`, `nesting_too_deep`, `file_too_large` or `not_text`.
    pub name: &'static str,
    /// What is wrong, lower case, without the place.
    pub message: String,
    /// The offending token.
    pub span: Span,
    /// How to mend it, where that is known.
    pub help: Option<String>,
    /// Mends that a program can make, the likeliest first.
    pub mends: Vec<TextMend>,
}

/// A change of the text that mends a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextMend {
    /// What is replaced; empty: where something is put in.
    pub span: Span,
    /// What stands there afterwards; empty: nothing.
    pub new: String,
}

impl ParseError {
    pub(crate) fn too_deep(span: Span) -> Self {
        ParseError {
            name: "nesting_too_deep",
            message: format!("nested more than {MAX_DEPTH} deep"),
            span,
            help: Some("close a bracket, or give a part a name of its own with `let`".into()),
            mends: Vec::new(),
        }
    }

    pub(crate) fn syntax(message: impl Into<String>, span: Span, help: Option<String>) -> Self {
        ParseError { name: "syntax", message: message.into(), span, help, mends: Vec::new() }
    }

    /// With a mend that a program can make.
    #[must_use]
    pub(crate) fn mended(mut self, span: Span, new: impl Into<String>) -> Self {
        self.mends.push(TextMend { span, new: new.into() });
        self
    }
}

/// What parsing gives: whatever could be read, and every error found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The items that could be read; complete if `errors` is empty.
    pub ast: Ast,
    /// All syntax errors, in source order.
    pub errors: Vec<ParseError>,
}

/// Reads a plan file. Never panics; takes time in proportion to the length of `text`, and stops at [`MAX_BYTES`],
/// [`MAX_DEPTH`] and [`MAX_ERRORS`].
pub fn parse(text: &str) -> Parsed {
    match tokens(text) {
        Err(error) => Parsed { ast: Ast::default(), errors: vec![error] },
        Ok((tokens, mut errors)) => {
            let comments = comments(text, &tokens);
            let mut parser = Parser { text, tokens: &tokens, errors: Vec::new(), forgiven: None };
            let items = parser.items();
            if let Some(closer) = parser.forgiven {
                errors.retain(|error| error.span != tokens[closer].span());
            }
            errors.append(&mut parser.errors);
            errors.sort_by_key(|error| (error.span.start, error.span.end));
            errors.truncate(MAX_ERRORS);
            Parsed { ast: Ast { items, comments }, errors }
        }
    }
}

/// The file's tokens with their brackets paired, and the errors in them.
///
/// # Errors
/// One that makes the rest of the file unreadable: a cap was exceeded, or the file is not text.
pub(crate) fn tokens(text: &str) -> Result<(Vec<Token>, Vec<ParseError>), ParseError> {
    check_text(text)?;
    let mut lexed = lex(text);
    if lexed.too_deep {
        return Err(lexed.errors.remove(0));
    }
    let mut errors = lexed.errors;
    errors.append(&mut nest(text, &mut lexed.tokens)?);
    Ok((lexed.tokens, errors))
}

fn check_text(text: &str) -> Result<(), ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError {
            name: "file_too_large",
            message: format!("the file has {} bytes; a plan has at most {MAX_BYTES}", text.len()),
            span: Span::new(0, 0),
            help: Some("is it a plan? A large one can be divided with `import`".into()),
            mends: Vec::new(),
        });
    }
    let bytes = text.as_bytes();
    let odd = text.char_indices().find(|&(at, c)| match c {
        '\n' | '\t' => false,
        '\r' => bytes.get(at + 1) != Some(&b'\n'),
        // They make a reviewer see another text than the one that is read.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => c.is_control(),
    });
    match odd {
        None => Ok(()),
        Some((at, c)) => Err(ParseError {
            name: "not_text",
            message: format!("the character U+{:04X} cannot stand in a plan", u32::from(c)),
            span: Span::new(at, at + c.len_utf8()),
            help: Some(format!(
                "a plan is plain UTF-8 text; within a string, write `\\u{{{:x}}}`",
                u32::from(c)
            )),
            mends: Vec::new(),
        }),
    }
}

fn comments(text: &str, tokens: &[Token]) -> Vec<Spanned<String>> {
    let comments = tokens.iter().filter(|token| token.kind == Kind::Comment);
    comments.map(|token| Spanned::new(token.text(text).to_string(), token.span())).collect()
}

/// What stands before a block's brace.
struct Head {
    kind: Ident,
    name: Option<Ident>,
    ty: Option<Ident>,
}

pub(crate) struct Parser<'t> {
    pub text: &'t str,
    pub tokens: &'t [Token],
    errors: Vec<ParseError>,
    /// The closing brace of a block that has no opening one, which is told: what is up to here was meant to be in it.
    forgiven: Option<usize>,
}

impl<'t> Parser<'t> {
    pub(crate) fn full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    pub(crate) fn error(&mut self, message: impl Into<String>, span: Span, help: impl Into<String>) {
        self.errors.push(ParseError::syntax(message, span, Some(help.into())));
    }

    pub(crate) fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    fn word(&self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |token| token.text(self.text))
    }

    pub(crate) fn is_brace(&self, index: usize) -> bool {
        self.kind(index) == Some(Kind::Open) && self.word(index) == "{"
    }

    /// The index behind the group that opens at `open`.
    pub(crate) fn behind(&self, open: usize) -> usize {
        let token = self.tokens[open];
        if token.bad { token.mate } else { token.mate + 1 }
    }

    fn items(&mut self) -> Vec<Item> {
        let (mut items, mut at) = (Vec::new(), 0);
        while !self.full() {
            let Some(piece) = self.piece(&mut at, self.tokens.len(), false) else { break };
            let item = match self.word(piece.first) {
                "plan" => self.plan_item(piece).map(Item::Plan),
                "import" => self.import_item(piece).map(Item::Import),
                "let" => self.let_item(piece).map(Item::Let),
                "param" => self.param_item(piece).map(Item::Param),
                _ if self.kind(piece.first + 1) == Some(Kind::Equals) && piece.brace.is_none() => {
                    self.attr_outside_block(piece);
                    None
                }
                _ => self.decl(piece).map(Item::Decl),
            };
            items.extend(item);
        }
        items
    }

    fn attr_outside_block(&mut self, piece: Piece) {
        let forgiven = self.forgiven.is_some_and(|closer| piece.first < closer);
        if !piece.bad && !forgiven {
            let name = self.word(piece.first);
            let help = format!(
                "a value that has a name is `let {name} = …`; an attribute stands in a block's braces"
            );
            self.error(format!("`{name}` stands in no block"), self.tokens[piece.first].span(), help);
        }
    }

    /// Matches the statement up to its block against the grammar's `rule`.
    fn read(&mut self, rule: Rule, piece: Piece) -> Option<(Node<'t>, usize)> {
        let end = piece.brace.unwrap_or(piece.end);
        let written: Vec<Token> = self.tokens[piece.first..end]
            .iter()
            .filter(|token| !matches!(token.kind, Kind::Newline | Kind::Comment))
            .copied()
            .collect();
        let (Some(first), Some(last)) = (written.first(), written.last()) else {
            if let Some(brace) = piece.brace {
                let help = "a block starts with its kind: `keep { … }`";
                self.error("expected a name before `{`", self.tokens[brace].span(), help);
            }
            return None;
        };
        if piece.bad {
            return None;
        }
        let brace = piece.brace.map(|brace| self.tokens[brace]);
        let all: Vec<Token> = written.iter().copied().chain(brace).collect();
        let statement = Statement { text: self.text, tokens: &all };
        if let Some(error) = statement.mistake() {
            self.errors.push(error);
            return None;
        }
        match read(rule, &self.text[first.start..last.end], first.start) {
            Ok(node) => Some((node, first.start)),
            Err(stop) => {
                self.errors.push(statement.stopped(&stop));
                None
            }
        }
    }

    fn builder(&mut self, base: usize) -> Builder<'_> {
        Builder { base, errors: &mut self.errors }
    }

    /// The statement has braces where none belong.
    fn refuse_block(&mut self, piece: Piece) {
        if let (Some(brace), false) = (piece.brace, piece.bad) {
            let word = self.word(piece.first);
            let span = self.tokens[brace].span();
            self.error(format!("`{word}` has no block"), span, "take the braces out");
        }
    }

    fn span(&self, piece: Piece) -> Span {
        let last = self.tokens[piece.first..piece.end].iter().rev();
        let mut written = last.skip_while(|token| matches!(token.kind, Kind::Newline | Kind::Comment));
        let start = self.tokens[piece.first].start;
        Span::new(start, written.next().map_or(start, |token| token.end))
    }

    fn plan_item(&mut self, piece: Piece) -> Option<PlanHeader> {
        let (node, base) = self.read(Rule::plan_item, piece)?;
        self.refuse_block(piece);
        let name = node.into_inner().find(|part| part.as_rule() == Rule::name)?;
        let name = self.builder(base).new_name(&name)?;
        Some(PlanHeader { name, span: self.span(piece) })
    }

    fn let_item(&mut self, piece: Piece) -> Option<Let> {
        let param = self.binding(Rule::let_item, piece)?;
        Some(Let { name: param.name, value: param.default?, span: param.span })
    }

    fn param_item(&mut self, piece: Piece) -> Option<Param> {
        self.binding(Rule::param_item, piece)
    }

    /// `let` and `param` alike: a name, perhaps a type, perhaps a value.
    fn binding(&mut self, rule: Rule, piece: Piece) -> Option<Param> {
        let (node, base) = self.read(rule, piece)?;
        self.refuse_block(piece);
        let span = self.span(piece);
        let mut builder = self.builder(base);
        let (mut name, mut ty, mut default) = (None, Some(None), Some(None));
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::name => name = builder.new_name(&part),
                Rule::type_name => ty = builder.ident(&part).map(Some),
                Rule::kw_let | Rule::kw_param | Rule::colon | Rule::equals | Rule::EOI => {}
                _ => default = builder.expr(part).map(Some),
            }
        }
        Some(Param { name: name?, ty: ty?, default: default?, span })
    }

    fn import_item(&mut self, piece: Piece) -> Option<Import> {
        let path = self.import_path(piece);
        let bindings = self.bindings(piece);
        Some(Import { path: path?, bindings, span: self.span(piece) })
    }

    fn import_path(&mut self, piece: Piece) -> Option<Spanned<String>> {
        let (node, base) = self.read(Rule::import_item, piece)?;
        let path = node.into_inner().nth(1)?;
        let mut builder = self.builder(base);
        let span = builder.span(&path);
        if path.as_rule() == Rule::raw {
            return Some(Spanned::new(raw_text(&path), span));
        }
        let parts = builder.string(path)?;
        let mut text = String::new();
        for part in parts {
            match part {
                StrPart::Text(part) => text.push_str(&part),
                StrPart::Expr(value) => {
                    let help = "imports are read before anything is computed: write the path out";
                    self.error("an import's path holds no `${…}`", value.span, help);
                    return None;
                }
            }
        }
        Some(Spanned::new(text, span))
    }

    fn bindings(&mut self, piece: Piece) -> Vec<Attr> {
        let mut bindings = Vec::new();
        for entry in self.body(piece) {
            match entry {
                Entry::Attr(attr) => bindings.push(attr),
                Entry::Block(block) => {
                    let message = "an import's braces hold parameters, no blocks";
                    self.error(message, block.kind.span, format!("write `{} = …`", block.kind.node));
                }
            }
        }
        bindings
    }

    fn decl(&mut self, piece: Piece) -> Option<Decl> {
        let head = if self.equals_before_block(piece) { None } else { self.head(piece) };
        let body = self.body(piece);
        let Head { kind, name, ty } = head?;
        Some(Decl { kind, name, ty, body, span: self.span(piece) })
    }

    /// `keep = { … }`
    fn equals_before_block(&mut self, piece: Piece) -> bool {
        let Some(brace) = piece.brace.filter(|&brace| brace > piece.first) else { return false };
        if self.kind(brace - 1) != Some(Kind::Equals) {
            return false;
        }
        let help = format!("a block has no `=`: write `{} {{ … }}`", self.word(piece.first));
        let span = self.tokens[brace - 1].span();
        let written = Span::new(span.start, self.tokens[brace].start);
        let error = ParseError::syntax("unexpected `=` before a block", span, Some(help));
        self.errors.push(error.mended(written, ""));
        true
    }

    fn head(&mut self, piece: Piece) -> Option<Head> {
        let (node, base) = self.read(Rule::head, piece)?;
        let mut builder = self.builder(base);
        let (mut kind, mut name, mut ty) = (None, Some(None), Some(None));
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::name => kind = builder.ident(&part),
                Rule::block_name => name = builder.new_name(&part).map(Some),
                Rule::type_name => ty = builder.ident(&part).map(Some),
                _ => {}
            }
        }
        let head = Head { kind: kind?, name: name?, ty: ty? };
        if piece.brace.is_none() {
            let span = self.tokens[piece.end - 1].span();
            let help = format!(
                "a declaration has a block: `{} {{ … }}`",
                &self.text[self.tokens[piece.first].start..span.end]
            );
            self.forgive_closer(piece.end);
            self.error(
                format!("expected `{{` after {}", shown(self.tokens[piece.end - 1], self.text)),
                span,
                help,
            );
            return None;
        }
        Some(head)
    }

    /// The block's `{` is missing, which is told; finds its `}`, so that it is not told of too.
    fn forgive_closer(&mut self, mut at: usize) {
        if self.forgiven.is_some() {
            return;
        }
        while at < self.tokens.len() {
            let token = self.tokens[at];
            let item = token.kind != Kind::Close
                && matches!(self.text[..token.start].chars().last(), None | Some('\n'));
            match token.kind {
                Kind::Newline | Kind::Comment => {}
                Kind::Close if token.bad => {
                    self.forgiven = Some(at);
                    return;
                }
                _ if item => return,
                _ => {}
            }
            at = if token.kind == Kind::Open { self.behind(at) } else { at + 1 };
        }
    }

    /// The statements in the block of `piece`.
    fn body(&mut self, piece: Piece) -> Vec<Entry> {
        let Some(brace) = piece.brace else { return Vec::new() };
        let (mut at, end) = (brace + 1, self.tokens[brace].mate);
        let mut body = Vec::new();
        while !self.full() {
            let Some(piece) = self.piece(&mut at, end, true) else { break };
            body.extend(self.entry(piece));
        }
        body
    }

    fn entry(&mut self, piece: Piece) -> Option<Entry> {
        let word = self.word(piece.first);
        let follows = self.kind(piece.first + 1);
        if matches!(word, "let" | "param" | "import" | "plan")
            && matches!(follows, Some(Kind::Word | Kind::Str))
        {
            let help = "put it outside of every block; the order of items does not matter";
            self.error(
                format!("`{word}` stands at the top of a file, not in a block"),
                self.tokens[piece.first].span(),
                help,
            );
            return None;
        }
        if piece.brace.is_some() {
            return self.decl(piece).map(Entry::Block);
        }
        let (node, base) = self.read(Rule::attr, piece)?;
        self.builder(base).attr(node).map(Entry::Attr)
    }
}
