//! What is wrong with a statement that the grammar cannot read, and what to write instead.

use crate::lex::{Kind, Token, token_at};
use crate::literal;
use crate::parse::ParseError;
use crate::span::Span;
use crate::syntax::{Rule, Stop};

/// A statement's tokens, comments and newlines within its brackets left out.
pub(crate) struct Statement<'t> {
    pub text: &'t str,
    pub tokens: &'t [Token],
}

impl<'t> Statement<'t> {
    fn word(&self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |token| token.text(self.text))
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// A mistake that can be seen without the grammar, from the tokens alone.
    pub(crate) fn mistake(&self) -> Option<ParseError> {
        for (index, token) in self.tokens.iter().enumerate() {
            if token.kind == Kind::Other {
                return Some(self.unquoted(index));
            }
            if token.kind == Kind::Equals && self.kind(index + 1) == Some(Kind::Equals) {
                let span = token.span().to(self.tokens[index + 1].span());
                let error = ParseError::syntax("unexpected `==`", span, Some("write one `=`".into()));
                return Some(error.mended(span, "="));
            }
            if token.kind == Kind::Number
                && self.kind(index + 1) == Some(Kind::Word)
                && token.text(self.text).bytes().all(|byte| byte.is_ascii_digit())
                && literal::is_unit(self.word(index + 1))
                && self.kind(index + 2) != Some(Kind::Equals)
            {
                return Some(self.split_unit(index));
            }
        }
        None
    }

    /// A run of characters that means nothing: mostly text without its quotes.
    fn unquoted(&self, index: usize) -> ParseError {
        let token = self.tokens[index];
        let run = token.text(self.text);
        let first = run.chars().next().unwrap_or(' ');
        let help = match first {
            ';' => "statements end at a newline or a comma".into(),
            '“' | '”' | '„' | '‘' | '’' | '`' => "write plain quotes: `\"text\"`".into(),
            '\u{a0}' | '\u{3000}' => "write a plain blank".into(),
            '$' => "a name stands without `$`; `${name}` is for the inside of a string".into(),
            '-' if run[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                "no attribute takes a negative number".into()
            }
            _ if run.chars().all(|c| "+-%?!<>&|^".contains(c)) => {
                "there are no operators; text is joined within a string: `\"${a}/${b}\"`".into()
            }
            _ if run.len() > 60 => "text stands in quotes".into(),
            _ if run.ends_with(';') => {
                format!("statements end at a newline or a comma: take out the `;` of `{run}`")
            }
            _ => format!("text stands in quotes: `\"{run}\"`"),
        };
        let error =
            ParseError::syntax(format!("unexpected {}", shown(token, self.text)), token.span(), Some(help));
        match self.quoted(index) {
            Some(new) => error.mended(token.span(), new),
            None => error,
        }
    }

    /// What stands for a run of characters that means nothing, where that is plain.
    fn quoted(&self, index: usize) -> Option<String> {
        let token = self.tokens[index];
        let run = token.text(self.text);
        let fancy = |c: char| matches!(c, '“' | '”' | '„' | '‘' | '’' | '`');
        let stands_alone = self.tokens.get(index + 1).is_none_or(|next| next.start > token.end)
            && index.checked_sub(1).is_some_and(|before| self.tokens[before].end < token.start);
        match run {
            _ if run.ends_with(';') && index + 1 == self.tokens.len() => {
                Some(run.trim_end_matches(';').to_owned())
            }
            _ if run.strip_prefix('$').is_some_and(|name| literal::name(name).is_ok()) => {
                Some(run[1..].to_owned())
            }
            _ if run.chars().all(|c| matches!(c, '\u{a0}' | '\u{3000}')) => Some(" ".into()),
            _ if !stands_alone || run.contains(['"', '\\', '$', ';']) => None,
            _ if run.starts_with(fancy) && run.ends_with(fancy) && run.chars().count() > 2 => {
                let inner = run.trim_matches(fancy);
                (!inner.contains(fancy)).then(|| format!("\"{inner}\""))
            }
            _ if run.contains(fancy) || run.starts_with('-') => None,
            _ => run.contains(['/', '.', ':']).then(|| format!("\"{run}\"")),
        }
    }

    fn split_unit(&self, index: usize) -> ParseError {
        let (number, unit) = (self.word(index), self.word(index + 1));
        let span = self.tokens[index].span().to(self.tokens[index + 1].span());
        let joined = format!("{number}{unit}");
        let (help, instead) = match literal::number(&joined) {
            Ok(_) => (format!("write `{joined}`"), vec![joined]),
            Err(fault) => (fault.help.unwrap_or_default(), fault.instead),
        };
        let message = format!("a blank stands between `{number}` and its unit");
        let error = ParseError::syntax(message, span, Some(help));
        instead.into_iter().fold(error, |error, new| error.mended(span, new))
    }

    /// The grammar stopped: what it expected, what it found, and a mend for what is often meant.
    pub(crate) fn stopped(&self, stop: &Stop) -> ParseError {
        let expected = self.expected(stop);
        let end = self.tokens.last().map_or(stop.at, |token| token.end);
        let found = self.token_over(stop.at, end);
        let Some(found) = found else {
            let last = self.tokens.last().copied();
            let after = last.map_or(String::new(), |token| format!(" after {}", shown(token, self.text)));
            let span = last.map_or_else(Default::default, |token| token.span());
            return ParseError::syntax(
                format!("expected {expected}{after}"),
                span,
                self.hint(self.tokens.len(), stop),
            );
        };
        let message = format!("expected {expected}, found {}", shown(found, self.text));
        let place = self.tokens.iter().position(|token| token.start == found.start).unwrap_or(usize::MAX);
        let error = ParseError::syntax(message, found.span(), self.hint(place, stop));
        match self.change(place, stop) {
            Some((span, new)) => error.mended(span, new),
            None => error,
        }
    }

    /// The change that the hint speaks of, where it is one.
    fn change(&self, place: usize, stop: &Stop) -> Option<(Span, String)> {
        let before = self.tokens.get(place.checked_sub(1)?)?;
        let found = self.tokens.get(place)?;
        let wants = |rule: Rule| stop.expected.contains(&rule);
        // Between the two, blanks included.
        let between = Span::new(before.end, found.start);
        let after = |text: &str| Some((Span::new(before.end, before.end), text.to_owned()));
        match found.kind {
            Kind::Number if self.word(place - 1) == "daily" && wants(Rule::kw_at) => after(" at"),
            Kind::Colon if wants(Rule::equals) => Some((found.span(), " =".into())),
            Kind::Str | Kind::RawStr
                if wants(Rule::name) || wants(Rule::block_name) || wants(Rule::type_name) =>
            {
                let name = self.word(place).trim_matches(['"', '\'']);
                literal::name(name).is_ok().then(|| (found.span(), name.to_owned()))
            }
            Kind::Str | Kind::RawStr | Kind::Number if wants(Rule::equals) => Some((between, " = ".into())),
            Kind::Word if wants(Rule::colon) && stop.rule == Rule::param_item => after(":"),
            Kind::Equals if wants(Rule::comma) => None,
            Kind::Word if self.kind(place + 1) == Some(Kind::Equals) => Some((between, "\n".into())),
            Kind::Word if wants(Rule::colon) && place == 2 => {
                Some((before.span().to(found.span()), self.name_and_type()))
            }
            Kind::Open => None,
            _ if wants(Rule::comma) => after(","),
            _ => None,
        }
    }

    /// The two words behind the first, as they should be written: which is the type is told by what types there are.
    fn name_and_type(&self) -> String {
        match (self.word(1), self.word(2)) {
            (one, two) if TYPES.contains(&one) && !TYPES.contains(&two) => format!("{two}: {one}"),
            (one, two) => format!("{one}: {two}"),
        }
    }

    /// The token at `at`; within a string, the token of the interpolation.
    fn token_over(&self, at: usize, end: usize) -> Option<Token> {
        let token = *self.tokens.iter().find(|token| token.end > at)?;
        if token.start >= at || !matches!(token.kind, Kind::Str) {
            return Some(token);
        }
        Some(token_at(&self.text[..end], at).unwrap_or(token))
    }

    fn expected(&self, stop: &Stop) -> String {
        let before = self
            .tokens
            .iter()
            .rev()
            .find(|token| token.end <= stop.at)
            .map_or("", |token| token.text(self.text));
        let phrase = matches!(before, "daily" | "weekly" | "monthly" | "every");
        let mut words: Vec<&str> = Vec::new();
        for rule in &stop.expected {
            let word = match rule {
                Rule::EOI if stop.rule == Rule::head => "`{`",
                Rule::string | Rule::raw | Rule::quote if stop.rule == Rule::import_item => {
                    "a path in quotes"
                }
                Rule::number if before == "at" => "a time of day such as `02:30`",
                Rule::number if before == "every" => "a duration such as `30m`",
                _ => in_words(*rule),
            };
            let follows = phrase && matches!(rule, Rule::EOI | Rule::dots);
            if !(word.is_empty() || follows || words.contains(&word)) {
                words.push(word);
            }
        }
        if words.len() > 1 {
            // True of every number, and never what was meant.
            words.retain(|word| *word != "`..`");
        }
        if words.contains(&VALUE) {
            words.retain(|word| *word != "a number");
        }
        words.sort_by_key(|word| *word == END);
        match words.as_slice() {
            [] => "something else".into(),
            [only] => (*only).into(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
        }
    }

    /// What was likely meant, where the token `place` was not expected.
    fn hint(&self, place: usize, stop: &Stop) -> Option<String> {
        let before = place.checked_sub(1).map_or("", |before| self.word(before));
        let wants = |rule: Rule| stop.expected.contains(&rule);
        let found = self.word(place);
        match (self.kind(place), before) {
            (_, "daily") if wants(Rule::kw_at) => Some("such as `daily at 02:30`".into()),
            (_, "weekly") if wants(Rule::kw_on) => Some("such as `weekly on sun at 03:00`".into()),
            (_, "monthly") if wants(Rule::kw_on) => Some("such as `monthly on 1 at 04:00`".into()),
            (Some(Kind::Colon), name) if wants(Rule::equals) => Some(format!("write `{name} = …`")),
            (Some(Kind::Str | Kind::RawStr), _)
                if wants(Rule::name) || wants(Rule::block_name) || wants(Rule::type_name) =>
            {
                let name = found.trim_matches(['"', '\'']);
                literal::name(name).is_ok().then(|| format!("names stand without quotes: write `{name}`"))
            }
            (Some(_), name) if wants(Rule::equals) && place == 1 => Some(format!("write `{name} = …`")),
            (Some(Kind::Word), name) if wants(Rule::colon) && stop.rule == Rule::param_item => {
                Some(format!("the type stands behind a colon: write `param {name}: {found}`"))
            }
            (None | Some(Kind::Open), ":") if stop.rule == Rule::head => {
                Some(format!("write `{} {{ … }}`, or put a type behind the `:`", self.word(0)))
            }
            (Some(Kind::Equals), _) if wants(Rule::comma) => Some("elements have no names".into()),
            (Some(Kind::Word), _) if self.kind(place + 1) == Some(Kind::Equals) => {
                Some(format!("statements end at a newline or a comma: put one before `{found}`"))
            }
            (Some(Kind::Word), _) if wants(Rule::colon) && place == 2 => Some(format!(
                "the type stands behind a colon: write `{} {} {{`",
                self.word(0),
                self.name_and_type()
            )),
            (Some(Kind::Open), "=" | "," | "[" | "(") if found == "{" => {
                Some("a value has no braces: a list is `[a, b]`, a block a declaration of its own".into())
            }
            (Some(_), _) if wants(Rule::comma) => Some("put a `,` between two elements".into()),
            _ => None,
        }
    }
}

/// The words that name types of blocks: nothing but what is suggested rests on them.
pub const TYPES: &[&str] = &[
    "files",
    "sqlite",
    "postgres",
    "mariadb",
    "command",
    "dir",
    "s3",
    "azblob",
    "gcs",
    "sftp",
    "webhook",
    "email",
    "healthcheck",
];

const VALUE: &str = "a value";
const END: &str = "the end of the statement";

fn in_words(rule: Rule) -> &'static str {
    match rule {
        Rule::name | Rule::block_name | Rule::word_start => "a name",
        Rule::type_name => "a type",
        Rule::equals => "`=`",
        Rule::colon => "`:`",
        Rule::comma => "`,`",
        Rule::dots => "`..`",
        Rule::close_list => "`]`",
        Rule::close_call => "`)`",
        Rule::close_interpolation => "`}`",
        Rule::number => "a number",
        Rule::day => "a day",
        Rule::kw_at => "`at`",
        Rule::kw_on => "`on`",
        Rule::EOI => END,
        Rule::reference
        | Rule::word
        | Rule::quantity
        | Rule::string
        | Rule::raw
        | Rule::list
        | Rule::quote => VALUE,
        Rule::every
        | Rule::daily
        | Rule::weekly
        | Rule::monthly
        | Rule::expr
        | Rule::phrase
        | Rule::open_list => VALUE,
        Rule::kw_plan => "`plan`",
        Rule::kw_import => "`import`",
        Rule::kw_let => "`let`",
        Rule::kw_param => "`param`",
        // What could also follow, but never is what was meant.
        _ => "",
    }
}

/// `token` as it is named in a message.
pub(crate) fn shown(token: Token, text: &str) -> String {
    let written = token.text(text);
    match token.kind {
        Kind::Newline => "the end of the line".into(),
        Kind::Str | Kind::RawStr if written.len() > 24 => "a string".into(),
        Kind::Word | Kind::Number | Kind::Other if written.len() > 60 => {
            format!("`{}…`", written.chars().take(24).collect::<String>())
        }
        _ => format!("`{written}`"),
    }
}
