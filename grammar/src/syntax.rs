//! One statement: from its text to a node of the tree, by the grammar in `plan.pest`.

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;
use pest_derive::Parser;

use crate::ast::{Attr, Expr, ExprKind, Ident, SchedulePhrase, StrPart};
use crate::literal::{self, Fault};
use crate::parse::ParseError;
use crate::span::{Span, Spanned};

#[derive(Parser)]
#[grammar = "plan.pest"]
struct PlanParser;

/// A piece of a statement as the grammar read it.
pub(crate) type Node<'t> = Pair<'t, Rule>;

/// Where the grammar could not go on, and what it could have gone on with.
pub(crate) struct Stop {
    /// Offset in the file.
    pub at: usize,
    /// The statement that was tried.
    pub rule: Rule,
    pub expected: Vec<Rule>,
}

/// Matches `text`, which starts at `base` in its file, against one of the grammar's statements.
pub(crate) fn read(rule: Rule, text: &str, base: usize) -> Result<Node<'_>, Stop> {
    match PlanParser::parse(rule, text) {
        Ok(mut pairs) => pairs.next().ok_or(Stop { at: base, rule, expected: Vec::new() }),
        Err(error) => {
            let at = match error.location {
                InputLocation::Pos(at) | InputLocation::Span((at, _)) => base + at,
            };
            let expected = match error.variant {
                ErrorVariant::ParsingError { positives, .. } => positives,
                ErrorVariant::CustomError { .. } => Vec::new(),
            };
            Err(Stop { at, rule, expected })
        }
    }
}

/// Turns what the grammar read into nodes of the tree. A literal that means nothing is an error, and no node.
pub(crate) struct Builder<'e> {
    /// Where the statement starts in its file.
    pub base: usize,
    pub errors: &'e mut Vec<ParseError>,
}

impl Builder<'_> {
    pub(crate) fn span(&self, node: &Node) -> Span {
        let span = node.as_span();
        Span::new(self.base + span.start(), self.base + span.end())
    }

    fn settle<T>(&mut self, read: Result<T, Fault>, span: Span) -> Option<T> {
        read.map_err(|fault| {
            let error = ParseError::syntax(fault.message, span, fault.help);
            self.errors.push(fault.instead.into_iter().fold(error, |error, new| error.mended(span, new)));
        })
        .ok()
    }

    pub(crate) fn ident(&mut self, node: &Node) -> Option<Ident> {
        let span = self.span(node);
        self.settle(literal::name(node.as_str()), span)?;
        Some(Spanned::new(node.as_str().to_string(), span))
    }

    /// A name that something is given, which a reference must be able to say.
    pub(crate) fn new_name(&mut self, node: &Node) -> Option<Ident> {
        let name = self.ident(node)?;
        if matches!(node.as_str(), "true" | "false") {
            let message = format!("`{}` is a value and cannot be a name", node.as_str());
            self.errors.push(ParseError::syntax(message, name.span, None));
            return None;
        }
        Some(name)
    }

    pub(crate) fn attr(&mut self, node: Node) -> Option<Attr> {
        let (mut name, mut value) = (None, None);
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::name => name = self.ident(&part),
                Rule::equals | Rule::EOI => {}
                _ => value = self.expr(part),
            }
        }
        let (name, value) = (name?, value?);
        let span = name.span.to(value.span);
        Some(Attr { name, value, span })
    }

    pub(crate) fn expr(&mut self, node: Node) -> Option<Expr> {
        let span = self.span(&node);
        let kind = match node.as_rule() {
            Rule::reference => self.reference(node)?,
            Rule::quantity => self.quantity(node)?,
            Rule::string => ExprKind::Str(self.string(node)?),
            Rule::raw => ExprKind::RawStr(raw_text(&node)),
            Rule::list => ExprKind::List(self.elements(node)?),
            _ => ExprKind::Schedule(self.phrase(node)?),
        };
        Some(Spanned::new(kind, span))
    }

    /// All elements, or none if one is bad; errors in all of them are reported.
    fn elements(&mut self, node: Node) -> Option<Vec<Expr>> {
        let inner = node.into_inner();
        let values = inner.filter(|part| {
            !matches!(
                part.as_rule(),
                Rule::comma | Rule::open_list | Rule::close_list | Rule::open_call | Rule::close_call
            )
        });
        let read: Vec<Option<Expr>> = values.map(|part| self.expr(part)).collect();
        read.into_iter().collect()
    }

    fn reference(&mut self, node: Node) -> Option<ExprKind> {
        let mut inner = node.into_inner();
        let word = inner.next()?;
        let span = self.span(&word);
        if let Some(arguments) = inner.next() {
            let (name, args) = (self.ident(&word), self.elements(arguments));
            return Some(ExprKind::Call { name: name?, args: args? });
        }
        let bool = match word.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        if let Some(bool) = bool {
            return Some(ExprKind::Bool(bool));
        }
        self.settle(literal::value_word(word.as_str()), span)?;
        Some(ExprKind::Word(word.as_str().to_string()))
    }

    fn number(&mut self, node: &Node) -> Option<Expr> {
        let span = self.span(node);
        let kind = self.settle(literal::number(node.as_str()), span)?;
        Some(Spanned::new(kind, span))
    }

    fn quantity(&mut self, node: Node) -> Option<ExprKind> {
        let ends: Vec<Option<Expr>> = node
            .into_inner()
            .filter(|part| part.as_rule() == Rule::number)
            .map(|part| self.number(&part))
            .collect();
        let mut ends = ends.into_iter();
        match (ends.next()?, ends.next()) {
            (from, Some(to)) => Some(ExprKind::Range(Box::new(from?), Box::new(to?))),
            (only, None) => Some(only?.node),
        }
    }

    pub(crate) fn string(&mut self, node: Node) -> Option<Vec<StrPart>> {
        let (mut parts, mut text, mut whole) = (Vec::new(), String::new(), true);
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::text => text.push_str(part.as_str()),
                Rule::escape => {
                    let span = self.span(&part);
                    match self.settle(literal::escape(part.as_str()), span) {
                        Some(char) => text.push(char),
                        None => whole = false,
                    }
                }
                Rule::interpolation => {
                    if !text.is_empty() {
                        parts.push(StrPart::Text(std::mem::take(&mut text)));
                    }
                    match part.into_inner().nth(1).and_then(|value| self.expr(value)) {
                        Some(value) => parts.push(StrPart::Expr(value)),
                        None => whole = false,
                    }
                }
                _ => {}
            }
        }
        if !text.is_empty() {
            parts.push(StrPart::Text(text));
        }
        whole.then_some(parts)
    }

    fn phrase(&mut self, node: Node) -> Option<SchedulePhrase> {
        let rule = node.as_rule();
        let (mut day, mut number) = (None, None);
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::day => day = Some(part),
                Rule::number => number = Some(part),
                _ => {}
            }
        }
        let number = number?;
        if rule == Rule::every {
            return self.every(&number);
        }
        let span = self.span(&number);
        let at = self.settle(literal::time_of_day(number.as_str()), span);
        match (rule, day) {
            (Rule::weekly, Some(day)) => {
                let span = self.span(&day);
                let day = self.settle(literal::weekday(day.as_str()), span);
                Some(SchedulePhrase::Weekly { day: day?, at: at? })
            }
            (Rule::monthly, Some(day)) => {
                let span = self.span(&day);
                let day = self.settle(literal::day_of_month(day.as_str()), span);
                Some(SchedulePhrase::Monthly { day: day?, at: at? })
            }
            _ => Some(SchedulePhrase::Daily { at: at? }),
        }
    }

    fn every(&mut self, number: &Node) -> Option<SchedulePhrase> {
        let value = self.number(number)?;
        let read = match value.node {
            ExprKind::Duration(0) => {
                Err(Fault::new("`every` needs a duration longer than nothing", "such as `every 30m`"))
            }
            ExprKind::Duration(seconds) => Ok(SchedulePhrase::Every(seconds)),
            _ => Err(Fault::new(
                format!("`{}` is not a duration", number.as_str()),
                "`every` is followed by a duration, such as `every 30m`",
            )),
        };
        self.settle(read, value.span)
    }
}

/// What stands between the quotes of a raw string.
pub(crate) fn raw_text(node: &Node) -> String {
    let text = node.as_str();
    text[1..text.len() - 1].to_string()
}
