//! From expressions to values.

use std::path::PathBuf;

use backplan_grammar::Span;
use backplan_grammar::ast::{Expr, ExprKind, Ident, SchedulePhrase, StrPart};

use super::coerce::variable;
use super::paths::absolute;
use super::suggest::{did_you_mean, nearest};
use super::value::{Value, ValueKind};
use super::{MAX_DEPTH, MAX_TEXT, Resolver};
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::model::When;
use crate::schema::{FUNCTIONS, Ty};
use crate::sources::{FileId, Place};
use crate::value::{EnvValue, Hidden, Secret, Text, TextPart};

impl<'a> Resolver<'a> {
    /// The value of `expr`, written in `file`. `None`: it has none, and that was told.
    pub(super) fn eval(&mut self, expr: &Expr, file: FileId) -> Option<Value> {
        self.eval_for(expr, file, None)
    }

    /// The same where the type wanted is known: words that it knows are not looked up.
    pub(super) fn eval_for(&mut self, expr: &Expr, file: FileId, ty: Option<Ty>) -> Option<Value> {
        let place = Place { file, span: expr.span };
        if self.depth >= MAX_DEPTH {
            let message = format!("names rest on one another more than {MAX_DEPTH} deep");
            self.findings.push(Finding::new(&codes::NESTING_TOO_DEEP, place, message));
            return None;
        }
        self.depth += 1;
        let value = self.eval_kind(expr, place, ty);
        self.depth -= 1;
        value
    }

    fn eval_kind(&mut self, expr: &Expr, place: Place, ty: Option<Ty>) -> Option<Value> {
        let kind = match &expr.node {
            ExprKind::Str(parts) => self.interpolate(parts, place)?,
            ExprKind::RawStr(text) => ValueKind::Text(Text::literal(text)),
            ExprKind::Int(number) => ValueKind::Int(*number),
            ExprKind::Bool(truth) => ValueKind::Bool(*truth),
            ExprKind::Duration(seconds) => ValueKind::Duration(*seconds),
            ExprKind::Size(bytes) => ValueKind::Size(*bytes),
            ExprKind::Rate(bytes) => ValueKind::Rate(*bytes),
            ExprKind::TimeOfDay { hour, minute } => ValueKind::Time(*hour, *minute),
            ExprKind::Range(from, to) => {
                let from = self.eval(from, place.file);
                ValueKind::Range(from?, self.eval(to, place.file)?)
            }
            ExprKind::List(items) => {
                let values: Vec<Option<Value>> = items
                    .iter()
                    .map(|item| {
                        let failed = ty.map(|_| Value::new(ValueKind::Failed, place));
                        self.eval_for(item, place.file, ty).or(failed)
                    })
                    .collect();
                ValueKind::List(values.into_iter().collect::<Option<_>>()?)
            }
            ExprKind::Word(word) => return self.eval_word(word, place, ty),
            ExprKind::Call { name, args } => self.call(name, args, place)?,
            ExprKind::Schedule(phrase) => ValueKind::Schedule(phrase_to_when(phrase)),
        };
        Some(Value::new(kind, place))
    }

    fn eval_word(&mut self, word: &str, place: Place, ty: Option<Ty>) -> Option<Value> {
        let known = ty.is_some_and(|ty| self.knows_word(ty, word));
        if known || !self.is_bound(place.file, word) {
            return Some(Value::new(ValueKind::Word(word.to_owned()), place));
        }
        self.look_up(place.file, word).map(|value| Value { place, ..value })
    }

    /// Whether a word is a keyword or reference of an attribute of this type.
    fn knows_word(&self, ty: Ty, word: &str) -> bool {
        match ty {
            Ty::Keyword(words) | Ty::Keywords(words) => words.contains(&word),
            Ty::RefsOrAll(_) if word == "all" => true,
            Ty::Ref(kind) | Ty::Refs(kind) | Ty::RefsOrAll(kind) => self.names.index(kind, word).is_some(),
            _ => false,
        }
    }

    fn interpolate(&mut self, parts: &[StrPart], place: Place) -> Option<ValueKind> {
        let mut text = Text::default();
        let mut secret = None;
        let mut failed = false;
        for part in parts {
            match part {
                StrPart::Text(literal) => append(&mut text, TextPart::Literal(literal.clone())),
                StrPart::Expr(expr) => match self.eval(expr, place.file) {
                    None => failed = true,
                    Some(value) => match &*value.kind {
                        // Only `"NAME=${secret}"` has a use: nothing may follow, and nothing else may be hidden in it.
                        ValueKind::Secret(found) if secret.is_none() => secret = Some(found.clone()),
                        _ => failed |= self.append_value(&mut text, &value).is_none(),
                    },
                },
            }
        }
        if failed {
            return None;
        }
        if text.0.iter().map(part_length).sum::<usize>() > MAX_TEXT {
            let message = format!("this string is longer than {} KiB", MAX_TEXT / 1024);
            self.findings.push(Finding::new(&codes::TOO_LARGE, place, message));
            return None;
        }
        let ends_in_secret = matches!(parts.last(), Some(StrPart::Expr(_)));
        match secret {
            None => Some(ValueKind::Text(text)),
            Some(secret) if ends_in_secret => Some(ValueKind::SecretText(text, secret)),
            Some(_) => {
                self.secret_in_string(place);
                None
            }
        }
    }

    fn append_value(&mut self, text: &mut Text, value: &Value) -> Option<()> {
        if let Some(parts) = value.to_text() {
            parts.into_iter().for_each(|part| append(text, part));
            return Some(());
        }
        match &*value.kind {
            ValueKind::Word(word) => self.unknown_name(word, value.written),
            ValueKind::Secret(_) | ValueKind::SecretText(..) => self.secret_in_string(value.place),
            _ => {
                let message = format!("{} cannot be part of a string", value.describe());
                self.findings.push(
                    Finding::new(&codes::WRONG_TYPE, value.place, message)
                        .help("strings, numbers, durations, sizes and values of the run can"),
                );
            }
        }
        None
    }

    pub(super) fn secret_in_string(&mut self, place: Place) {
        let finding =
            Finding::new(&codes::MISPLACED_SECRET, place, "a secret cannot be part of a string: the string would be printed")
                .help("give the secret to an attribute that takes one, or to a program by `env = [\"NAME=${env(\"NAME\")}\"]`");
        self.findings.push(finding);
    }

    /// Tells that no `let` or `param` is called `word`.
    pub(super) fn unknown_name(&mut self, word: &str, place: Place) {
        let names = self.scopes.get(&place.file).map(|scope| scope.names.keys().copied().collect::<Vec<_>>());
        let names = names.unwrap_or_default();
        let near = nearest(word, names.iter().copied());
        let is_elsewhere = self.scopes.values().any(|scope| scope.names.contains_key(word));
        let help = did_you_mean(word, names.iter().copied()).unwrap_or_else(|| match is_elsewhere {
            true => format!("the `{word}` of another file is seen in that file alone: bind it in the import (`param`), or say it here too"),
            false => format!("a string stands in quotes: \"{word}\""),
        });
        let message = format!("no `let` or `param` is called `{word}`");
        self.findings.push(Finding::new(&codes::UNKNOWN_NAME, place, message).help(help).instead(word, near));
    }

    fn call(&mut self, name: &Ident, args: &[Expr], place: Place) -> Option<ValueKind> {
        let Some((function, usage, _)) = FUNCTIONS.iter().find(|(function, ..)| *function == name.node)
        else {
            let help =
                did_you_mean(&name.node, FUNCTIONS.iter().map(|(name, ..)| *name)).unwrap_or_else(|| {
                    let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
                    format!("the functions are {}", names.join(", "))
                });
            let place = Place { span: name.span, ..place };
            let message = format!("there is no function `{}`", name.node);
            let near = nearest(&name.node, FUNCTIONS.iter().map(|(name, ..)| *name));
            let finding = Finding::new(&codes::UNKNOWN_FUNCTION, place, message).help(help);
            self.findings.push(finding.instead(&name.node, near));
            return None;
        };
        let values: Vec<Option<Value>> = args.iter().map(|arg| self.eval(arg, place.file)).collect();
        let values: Vec<Value> = values.into_iter().collect::<Option<_>>()?;
        let called = match (*function, values.as_slice()) {
            ("host", []) => Some(run_part(TextPart::Host)),
            ("level", []) => Some(run_part(TextPart::Level)),
            ("exec", [words]) => exec(words, Vec::new()),
            ("exec", [words, env]) => match self.exec_env(env) {
                Given::All(env) => exec(words, env),
                Given::Told => return None,
                Given::Other => None,
            },
            ("env", [_] | [_, _]) | ("file" | "time" | "read", [_]) => {
                let texts: Option<Vec<String>> = values.iter().map(literal).collect();
                match texts {
                    Some(texts) => {
                        if let ("env", Some(default)) = (*function, values.get(1)) {
                            // A default stands in the plan for all to read.
                            self.facts.inline_secrets.push(default.written);
                        }
                        return self.call_with_texts(function, &texts, &values[0]);
                    }
                    None => None,
                }
            }
            _ => None,
        };
        if called.is_none() {
            let span = args.iter().fold(name.span, |span: Span, arg| span.to(arg.span));
            let message = format!("`{function}` takes other arguments");
            self.findings.push(
                Finding::new(&codes::WRONG_ARGUMENTS, Place { span, ..place }, message)
                    .help(format!("call it like `{usage}`, with strings known when the plan is read")),
            );
        }
        called
    }

    fn call_with_texts(&mut self, function: &str, texts: &[String], first: &Value) -> Option<ValueKind> {
        match function {
            "env" => {
                let default = texts.get(1).map(Hidden::new);
                Some(ValueKind::Secret(Secret::Env { name: texts[0].clone(), default }))
            }
            "time" => {
                if let Some(why) = due::format_error(&texts[0]) {
                    let message = format!("`{}` is not a time format: {why}", texts[0]);
                    let help = "use strftime's letters, such as \"%Y%m%d%H%M\"";
                    self.findings.push(Finding::new(&codes::BAD_VALUE, first.place, message).help(help));
                    return None;
                }
                Some(run_part(TextPart::Time(texts[0].clone())))
            }
            _ => {
                let path = self.path(&texts[0], first)?;
                self.facts.secret_files.push((path.clone(), first.place));
                match function {
                    "file" => Some(ValueKind::Secret(Secret::File(path))),
                    _ => Some(run_part(TextPart::Read(path))),
                }
            }
        }
    }

    /// What the program of a secret is given.
    fn exec_env(&mut self, env: &Value) -> Given {
        let ValueKind::List(items) = &*env.kind else { return Given::Other };
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            let (text, secret) = match &*item.kind {
                ValueKind::Failed => return Given::Told,
                ValueKind::Text(text) => (text, None),
                ValueKind::SecretText(text, secret) => (text, Some(secret)),
                _ => return Given::Other,
            };
            let Some((name, value, rest)) = variable(text) else { return Given::Other };
            let value = match secret {
                Some(_) if !value.is_empty() || !rest.is_empty() => {
                    self.secret_in_string(item.place);
                    return Given::Told;
                }
                // One level, so that names for secrets made of secrets do not double what they hold each time.
                Some(Secret::Exec { env, .. }) if !env.is_empty() => return Given::Other,
                Some(secret) => EnvValue::Secret(secret.clone()),
                None if rest.is_empty() => EnvValue::Text(value.to_owned()),
                None => return Given::Other,
            };
            all.push((name.to_owned(), value));
        }
        Given::All(all)
    }

    /// `text` as an absolute path; relative ones start at the file the value was written in.
    pub(super) fn path(&mut self, text: &str, value: &Value) -> Option<PathBuf> {
        let file = &self.set.file(value.written.file).path;
        let folder = file.parent().unwrap_or(file);
        let problem = if text.is_empty() {
            "a path cannot be empty".to_owned()
        } else if text.contains('\0') {
            "a path cannot hold a zero byte".to_owned()
        } else {
            match absolute(text, folder, self.inputs.home.as_deref()) {
                Some(path) => return Some(path),
                None => format!("`{text}` starts at a home folder, and the user who runs has none"),
            }
        };
        self.findings
            .push(Finding::new(&codes::BAD_VALUE, value.place, problem).help("write an absolute path"));
        None
    }
}

/// What the second list of `exec` came to.
enum Given {
    All(Vec<(String, EnvValue<String>)>),
    /// Something is wrong with it, and was told.
    Told,
    /// It is something else.
    Other,
}

fn exec(words: &Value, env: Vec<(String, EnvValue<String>)>) -> Option<ValueKind> {
    let ValueKind::List(words) = &*words.kind else { return None };
    let words: Vec<String> = words.iter().map(literal).collect::<Option<_>>()?;
    if words.is_empty() { None } else { Some(ValueKind::Secret(Secret::Exec { words, env })) }
}

/// The string that a value is, if it is known when the plan is read.
pub(super) fn literal(value: &Value) -> Option<String> {
    match &*value.kind {
        ValueKind::Text(text) => text.as_literal(),
        _ => None,
    }
}

fn run_part(part: TextPart) -> ValueKind {
    ValueKind::Text(Text(vec![part]))
}

/// Adds a part; neighbouring literals become one, so that equal texts are equal however they were put together.
fn append(text: &mut Text, part: TextPart) {
    match (text.0.last_mut(), part) {
        (Some(TextPart::Literal(before)), TextPart::Literal(more)) => before.push_str(&more),
        (_, TextPart::Literal(more)) if more.is_empty() => {}
        (_, part) => text.0.push(part),
    }
}

fn part_length(part: &TextPart) -> usize {
    match part {
        TextPart::Literal(text) | TextPart::Time(text) => text.len(),
        _ => 64,
    }
}

/// A schedule in words as moments: all but `every` are cron expressions.
fn phrase_to_when(phrase: &SchedulePhrase) -> When {
    match phrase {
        SchedulePhrase::Every(seconds) => When::Every(*seconds),
        SchedulePhrase::Daily { at: (hour, minute) } => When::Cron(format!("{minute} {hour} * * *")),
        SchedulePhrase::Weekly { day, at: (hour, minute) } => {
            When::Cron(format!("{minute} {hour} * * {}", (day + 1) % 7))
        }
        SchedulePhrase::Monthly { day, at: (hour, minute) } => {
            When::Cron(format!("{minute} {hour} {day} * *"))
        }
    }
}
