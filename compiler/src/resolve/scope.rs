//! The names of a file: `let` and `param`, evaluated when first used, so that their order never matters.

use std::collections::BTreeMap;

use backplan_grammar::ast::{Expr, Item, Param};
use backplan_grammar::parse;

use super::Resolver;
use super::suggest::{did_you_mean, nearest};
use super::value::{Value, ValueKind};
use crate::codes;
use crate::finding::Finding;
use crate::schema::PARAM_TYPES;
use crate::sources::{FileId, Place};
use crate::value::{Hidden, Secret, Text};

/// The names of one file.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    pub names: BTreeMap<&'a str, Binding<'a>>,
    /// The values that an import gave to the parameters.
    pub bindings: Bindings<'a>,
}

/// What an import gives to the parameters of a library.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Bindings<'a> {
    /// `None`: it failed, and that was told.
    pub values: BTreeMap<&'a str, Option<Value>>,
    /// Whether a value was meant for a parameter that does not exist.
    pub has_unknown: bool,
}

/// One name.
#[derive(Debug)]
pub(crate) struct Binding<'a> {
    pub place: Place,
    origin: Origin<'a>,
    state: State,
    pub used: bool,
}

#[derive(Debug, Clone, Copy)]
enum Origin<'a> {
    Let(&'a Expr),
    Param(&'a Param),
}

#[derive(Debug, Clone)]
enum State {
    Unseen,
    Evaluating,
    /// `None`: it failed, and that was told.
    Done(Option<Value>),
}

impl Binding<'_> {
    /// `let` or `param`.
    pub fn word(&self) -> &'static str {
        match self.origin {
            Origin::Let(_) => "let",
            Origin::Param(_) => "param",
        }
    }
}

impl<'a> Resolver<'a> {
    /// Makes the scope of a file whose parameters an import gave these values.
    pub(super) fn open_scope(&mut self, file: FileId, bindings: Bindings<'a>) {
        let mut scope = Scope { names: BTreeMap::new(), bindings };
        for item in &self.set.file(file).parsed.ast.items {
            let (name, origin) = match item {
                Item::Let(item) => (&item.name, Origin::Let(&item.value)),
                Item::Param(item) => (&item.name, Origin::Param(item)),
                _ => continue,
            };
            let place = Place { file, span: name.span };
            match scope.names.get(name.node.as_str()) {
                Some(first) => self.findings.push(
                    Finding::new(&codes::DUPLICATE, place, format!("`{}` is bound twice", name.node))
                        .with(first.place, "first bound here")
                        .help("give one of them another name"),
                ),
                None => {
                    let binding = Binding { place, origin, state: State::Unseen, used: false };
                    scope.names.insert(&name.node, binding);
                }
            }
        }
        self.scopes.insert(file, scope);
    }

    /// Whether `name` is bound in `file`.
    pub(super) fn is_bound(&self, file: FileId, name: &str) -> bool {
        self.scopes.get(&file).is_some_and(|scope| scope.names.contains_key(name))
    }

    /// Takes a name for used, if it is bound in `file`.
    pub(super) fn mark_used(&mut self, file: FileId, name: &str) {
        if let Some(binding) = self.scopes.get_mut(&file).and_then(|scope| scope.names.get_mut(name)) {
            binding.used = true;
        }
    }

    /// The value that `name` is bound to in `file`; the caller has seen that it is bound.
    pub(super) fn look_up(&mut self, file: FileId, name: &str) -> Option<Value> {
        let binding = self.scopes.get_mut(&file)?.names.get_mut(name)?;
        binding.used = true;
        match binding.state.clone() {
            State::Done(value) => value,
            State::Evaluating => {
                self.report_loop(file, name);
                None
            }
            State::Unseen => self.bind(file, name),
        }
    }

    /// Evaluates every name that nothing used, for the sake of the errors in it.
    pub(super) fn evaluate_unused(&mut self) {
        let unseen: Vec<(FileId, String)> = self
            .scopes
            .iter()
            .flat_map(|(file, scope)| {
                let unseen = scope.names.iter().filter(|(_, binding)| matches!(binding.state, State::Unseen));
                unseen.map(|(name, _)| (*file, name.to_string()))
            })
            .collect();
        for (file, name) in unseen {
            let is_unseen = self
                .scopes
                .get(&file)
                .and_then(|scope| scope.names.get(name.as_str()))
                .is_some_and(|binding| matches!(binding.state, State::Unseen));
            if is_unseen {
                self.bind(file, &name);
            }
        }
    }

    fn bind(&mut self, file: FileId, name: &str) -> Option<Value> {
        let binding = self.scopes.get_mut(&file)?.names.get_mut(name)?;
        binding.state = State::Evaluating;
        let (origin, place) = (binding.origin, binding.place);
        self.stack.push((file, name.to_owned(), place));
        let value = match origin {
            Origin::Let(expr) => self.eval(expr, file),
            Origin::Param(param) => self.eval_param(param, file),
        };
        self.stack.pop();
        let binding = self.scopes.get_mut(&file)?.names.get_mut(name)?;
        binding.state = State::Done(value.clone());
        value
    }

    fn report_loop(&mut self, file: FileId, name: &str) {
        let Some(start) = self.stack.iter().position(|(at, found, _)| *at == file && found == name) else {
            return;
        };
        let members = &self.stack[start..];
        let mut path: Vec<String> = members.iter().map(|(_, name, _)| format!("`{name}`")).collect();
        path.push(format!("`{name}`"));
        let message = format!("`{name}` rests on itself: {}", path.join(" → "));
        let mut finding = Finding::new(&codes::LOOP, members[0].2, message);
        for (_, name, place) in &members[1..] {
            finding = finding.with(*place, format!("`{name}` is part of the loop"));
        }
        self.findings.push(finding.help("give one of them a value of its own"));
    }

    fn eval_param(&mut self, param: &'a Param, file: FileId) -> Option<Value> {
        let place = Place { file, span: param.name.span };
        let ty = self.param_type(param, file)?;
        let name = param.name.node.as_str();
        // A secret that is written here is one, and to be hidden, also where another value takes its place.
        let secret = param.default.as_ref().filter(|_| ty == Some("secret"));
        let secret =
            secret.map(|default| self.eval(default, file).and_then(|it| self.fit_param(it, ty, name)));
        let bindings = self.scopes.get(&file).map(|scope| &scope.bindings);
        if let Some(value) = bindings.and_then(|bindings| bindings.values.get(name)).cloned() {
            return self.fit_param(value?, ty, name);
        }
        // The value of a mistyped name was hardly meant for another parameter.
        let is_mistyped = bindings.is_some_and(|bindings| bindings.has_unknown);
        let outside = ty.or_else(|| param.default.as_ref().and_then(literal_type)).unwrap_or("string");
        if let Some(text) = self.inputs.params.get(name) {
            return self.parse_param(name, text, outside, place, "-p");
        }
        if let Some(text) = self.inputs.env_params.get(name) {
            if outside == "secret" {
                let secret = Secret::Env { name: variable(name), default: None };
                return Some(Value::new(ValueKind::Secret(secret), place));
            }
            return self.parse_param(name, text, outside, place, "the environment");
        }
        if let Some(secret) = secret {
            return secret;
        }
        if let Some(default) = &param.default {
            let value = self.eval(default, file)?;
            return self.fit_param(value, ty, name);
        }
        if !is_mistyped {
            let variable = variable(name);
            let help = format!(
                "give it one: `-p {name}=VALUE`, {variable}, an import's `{{ {name} = … }}`, or a default"
            );
            let message = format!("parameter `{name}` has no value");
            self.findings.push(Finding::new(&codes::UNBOUND_PARAM, place, message).help(help));
        }
        None
    }

    /// The type written, if one is. The outer `None`: there is no such type, and that was told.
    fn param_type(&mut self, param: &'a Param, file: FileId) -> Option<Option<&'a str>> {
        let Some(ty) = &param.ty else { return Some(None) };
        if PARAM_TYPES.contains(&ty.node.as_str()) {
            return Some(Some(&ty.node));
        }
        let help = did_you_mean(&ty.node, PARAM_TYPES.iter().copied())
            .unwrap_or_else(|| format!("the types are {}", PARAM_TYPES.join(", ")));
        let message = format!("a parameter cannot have the type `{}`", ty.node);
        let place = Place { file, span: ty.span };
        let near = nearest(&ty.node, PARAM_TYPES.iter().copied());
        let finding = Finding::new(&codes::UNKNOWN_TYPE, place, message).help(help);
        self.findings.push(finding.instead(&ty.node, near));
        None
    }

    /// A value written in a plan for a parameter of this type.
    fn fit_param(&mut self, value: Value, ty: Option<&str>, name: &str) -> Option<Value> {
        let Some(ty) = ty else { return Some(value) };
        let fits = matches!(
            (ty, &*value.kind),
            ("string", ValueKind::Text(_))
                | ("int", ValueKind::Int(_))
                | ("bool", ValueKind::Bool(_))
                | ("duration", ValueKind::Duration(_))
                | ("size", ValueKind::Size(_))
                | ("rate", ValueKind::Rate(_))
                | ("time", ValueKind::Time(..))
                | ("secret", ValueKind::Secret(_))
        );
        if fits {
            return Some(value);
        }
        if let ("secret", ValueKind::Text(text)) = (ty, &*value.kind)
            && let Some(text) = text.as_literal()
        {
            self.facts.inline_secrets.push(value.written);
            let secret = Secret::Inline(Hidden::new(text));
            return Some(Value { kind: ValueKind::Secret(secret).into(), ..value });
        }
        let message = format!("parameter `{name}` is of type `{ty}`, but this is {}", value.describe());
        let finding = Finding::new(&codes::WRONG_TYPE, value.place, message)
            .help(format!("write it like `{}`", param_example(ty)));
        self.findings.push(finding);
        None
    }

    /// Text from outside, read as a literal of the parameter's type.
    fn parse_param(&mut self, name: &str, text: &str, ty: &str, place: Place, from: &str) -> Option<Value> {
        let kind = match ty {
            "string" => Some(ValueKind::Text(Text::literal(text))),
            "secret" => {
                self.facts.inline_secrets.push(place);
                Some(ValueKind::Secret(Secret::Inline(Hidden::new(text))))
            }
            _ => parse_literal(text).filter(|kind| {
                matches!(
                    (ty, kind),
                    ("int", ValueKind::Int(_))
                        | ("bool", ValueKind::Bool(_))
                        | ("duration", ValueKind::Duration(_))
                        | ("size", ValueKind::Size(_))
                        | ("rate", ValueKind::Rate(_))
                        | ("time", ValueKind::Time(..))
                )
            }),
        };
        if kind.is_none() {
            let message = format!("`{text}`, given by {from} for parameter `{name}`, is not of type `{ty}`");
            let help = format!("write it like `{}`", param_example(ty));
            self.findings.push(Finding::new(&codes::BAD_PARAM, place, message).help(help));
        }
        Some(Value::new(kind?, place))
    }
}

/// The environment variable that a parameter may come from.
fn variable(name: &str) -> String {
    format!("PLAN_PARAM_{}", name.to_uppercase())
}

/// A literal of the plan language, as text.
fn parse_literal(text: &str) -> Option<ValueKind> {
    use backplan_grammar::ast::ExprKind;

    let parsed = parse(&format!("let x = {text}\n"));
    let ([Item::Let(item)], []) = (parsed.ast.items.as_slice(), parsed.errors.as_slice()) else {
        return None;
    };
    Some(match &item.value.node {
        ExprKind::Int(number) => ValueKind::Int(*number),
        ExprKind::Bool(truth) => ValueKind::Bool(*truth),
        ExprKind::Duration(seconds) => ValueKind::Duration(*seconds),
        ExprKind::Size(bytes) => ValueKind::Size(*bytes),
        ExprKind::Rate(bytes) => ValueKind::Rate(*bytes),
        ExprKind::TimeOfDay { hour, minute } => ValueKind::Time(*hour, *minute),
        _ => return None,
    })
}

/// The type of a parameter that has a literal default and no type written.
fn literal_type(default: &Expr) -> Option<&'static str> {
    use backplan_grammar::ast::ExprKind;

    Some(match &default.node {
        ExprKind::Int(_) => "int",
        ExprKind::Bool(_) => "bool",
        ExprKind::Duration(_) => "duration",
        ExprKind::Size(_) => "size",
        ExprKind::Rate(_) => "rate",
        ExprKind::TimeOfDay { .. } => "time",
        ExprKind::Call { name, .. } if ["env", "file", "exec"].contains(&name.node.as_str()) => "secret",
        _ => "string",
    })
}

fn param_example(ty: &str) -> &'static str {
    match ty {
        "int" => "12",
        "bool" => "true",
        "duration" => "30d",
        "size" => "64MiB",
        "rate" => "50MiB/s",
        "time" => "02:30",
        "secret" => "env(\"NAME\")",
        _ => "\"text\"",
    }
}
