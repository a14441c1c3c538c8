//! From values to what attributes want.

use std::path::PathBuf;

use super::Resolver;
use super::eval::literal;
use super::paths::inside;
use super::recipient;
use super::suggest::{did_you_mean, nearest};
use super::value::{Value, ValueKind};
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::model::{FilesPath, When};
use crate::schema::{RunParts, Ty};
use crate::sources::Place;
use crate::template::{self, Fault, Template};
use crate::value::{self, EnvValue, Hidden, Secret, Text, TextPart};

/// A value of the type that its attribute wants.
#[derive(Debug, Clone)]
pub(crate) enum Typed {
    Str(String),
    Text(Text),
    Path(PathBuf),
    Secret(Secret),
    Int(i64),
    Bool(bool),
    /// Seconds, bytes or bytes a second.
    Amount(u64),
    Range(u64, u64),
    When(When),
    Keyword(&'static str),
    Keywords(Vec<(&'static str, Place)>),
    /// Places in the sorted lists of the model.
    Refs(Vec<(usize, Place)>),
    All,
    Texts(Vec<Text>),
    Env(value::Env),
    Strings(Vec<(String, Place)>),
    Paths(Vec<FilesPath>),
}

/// An attribute as messages name it, and what it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'n> {
    pub name: &'n str,
    pub ty: Ty,
}

impl Resolver<'_> {
    /// `value` as the attribute wants it. `None`: it is not, and that was told.
    pub(super) fn coerce(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<Typed> {
        let amount = |amount: u64| Some(Typed::Amount(amount));
        match (wanted.ty, &*value.kind) {
            (Ty::Secret, ValueKind::Secret(secret)) => Some(Typed::Secret(secret.clone())),
            (Ty::Secret, ValueKind::SecretText(text, secret)) if text.0.is_empty() => {
                Some(Typed::Secret(secret.clone()))
            }
            (Ty::Secret, ValueKind::Text(text)) if text.as_literal().is_some() => {
                self.facts.inline_secrets.push(value.written);
                Some(Typed::Secret(Secret::Inline(Hidden::new(literal(value)?))))
            }
            (Ty::Env, ValueKind::List(items)) => {
                let items: Vec<_> = items.iter().map(|item| self.env_entry(item, wanted)).collect();
                Some(Typed::Env(items.into_iter().collect::<Option<_>>()?))
            }
            (_, ValueKind::Secret(_) | ValueKind::SecretText(..)) => self.misplaced_secret(value, wanted),
            (Ty::Int(least, most), ValueKind::Int(number)) => {
                self.bounded(*number, least, most, value, wanted).map(Typed::Int)
            }
            (Ty::Bool, ValueKind::Bool(truth)) => Some(Typed::Bool(*truth)),
            (
                Ty::Duration | Ty::Size | Ty::Rate,
                ValueKind::Duration(0) | ValueKind::Size(0) | ValueKind::Rate(0),
            ) => self.bad_value(value, format!("`{}` must be above zero", wanted.name), wanted),
            (Ty::Duration, ValueKind::Duration(seconds)) => amount(*seconds),
            (Ty::Size, ValueKind::Size(bytes)) => amount(*bytes),
            (Ty::Rate, ValueKind::Rate(bytes)) => amount(*bytes),
            (Ty::DurationRange, ValueKind::Range(from, to)) => self.range(value, from, to, wanted),
            (Ty::Schedule, _) => self.schedule(value, wanted).map(Typed::When),
            (Ty::Keyword(words), ValueKind::Word(word)) => {
                self.keyword(word, words, value.place, wanted).map(Typed::Keyword)
            }
            (Ty::RefsOrAll(_), ValueKind::Word(word)) if word == "all" => Some(Typed::All),
            (Ty::Ref(kind), ValueKind::Word(word)) => {
                Some(Typed::Refs(vec![(self.reference(word, kind, value.place)?, value.place)]))
            }
            (
                Ty::Keywords(_)
                | Ty::Refs(_)
                | Ty::RefsOrAll(_)
                | Ty::Args
                | Ty::Addresses
                | Ty::Recipients
                | Ty::Paths
                | Ty::Patterns
                | Ty::Names,
                ValueKind::List(items),
            ) => self.list(value, items, wanted),
            (_, ValueKind::Text(text)) => self.text(value, text, wanted),
            _ => self.wrong_type(value, wanted),
        }
    }

    fn list(&mut self, value: &Value, items: &[Value], wanted: Wanted<'_>) -> Option<Typed> {
        let may_be_empty = matches!(wanted.ty, Ty::Recipients | Ty::Patterns | Ty::Keywords(_))
            || ["exclude", "after"].contains(&wanted.name);
        if items.is_empty() && !may_be_empty {
            let message = format!("`{}` is empty", wanted.name);
            let help = format!("write at least one entry, such as `{}`", wanted.ty.example());
            self.findings.push(Finding::new(&codes::EMPTY_LIST, value.place, message).help(help));
            return None;
        }
        let items: Vec<Option<Typed>> = items.iter().map(|item| self.list_item(item, wanted)).collect();
        let items: Vec<Typed> = items.into_iter().collect::<Option<_>>()?;
        Some(gather(wanted.ty, items))
    }

    /// One entry of a list, as a list of one.
    fn list_item(&mut self, item: &Value, wanted: Wanted<'_>) -> Option<Typed> {
        match (wanted.ty, &*item.kind) {
            (_, ValueKind::Failed) => None,
            (Ty::Keywords(words), ValueKind::Word(word)) => {
                Some(Typed::Keywords(vec![(self.keyword(word, words, item.place, wanted)?, item.place)]))
            }
            (Ty::Refs(kind) | Ty::RefsOrAll(kind), ValueKind::Word(word)) => {
                Some(Typed::Refs(vec![(self.reference(word, kind, item.place)?, item.place)]))
            }
            (Ty::Args, ValueKind::Text(text)) => Some(Typed::Texts(vec![text.clone()])),
            (Ty::Addresses | Ty::Recipients | Ty::Paths | Ty::Patterns | Ty::Names, ValueKind::Text(_)) => {
                let text = self.known_string(item, wanted)?;
                match wanted.ty {
                    Ty::Paths => {
                        let absolute = self.path(&text, item)?;
                        let inside = inside(&text, &absolute);
                        Some(Typed::Paths(vec![FilesPath { place: item.place, absolute, inside }]))
                    }
                    Ty::Recipients => self.recipient(text, item),
                    Ty::Addresses => {
                        self.plain(&text, is_address, "an e-mail address", item, wanted)?;
                        Some(Typed::Strings(vec![(text, item.place)]))
                    }
                    _ => Some(Typed::Strings(vec![(text, item.place)])),
                }
            }
            (_, ValueKind::Secret(_) | ValueKind::SecretText(..)) => self.misplaced_secret(item, wanted),
            (
                Ty::Args | Ty::Addresses | Ty::Recipients | Ty::Paths | Ty::Patterns | Ty::Names,
                ValueKind::Word(word),
            ) => {
                self.unknown_name(word, item.written);
                None
            }
            _ => {
                let message = format!(
                    "`{}` wants {}; this entry is {}",
                    wanted.name,
                    wanted.ty.describe(),
                    item.describe()
                );
                self.findings.push(
                    written_at(Finding::new(&codes::WRONG_TYPE, item.place, message), item).help(format!(
                        "write it like `{} = {}`",
                        wanted.name,
                        wanted.ty.example()
                    )),
                );
                None
            }
        }
    }

    fn text(&mut self, value: &Value, text: &Text, wanted: Wanted<'_>) -> Option<Typed> {
        match wanted.ty {
            Ty::Text(RunParts::All) => Some(Typed::Text(text.clone())),
            Ty::Text(RunParts::HostOnly) => {
                let fixed = text.0.iter().all(|part| matches!(part, TextPart::Literal(_) | TextPart::Host));
                if fixed {
                    return Some(Typed::Text(text.clone()));
                }
                self.misplaced_run_value(
                    value,
                    wanted,
                    "of the values of a run, only `host()` may stand here",
                )
            }
            Ty::FileName => {
                let sample = sample_name(text);
                self.component(&sample, value, wanted)?;
                Some(Typed::Text(text.clone()))
            }
            Ty::Str => self.known_string(value, wanted).map(Typed::Str),
            Ty::Component => {
                let text = self.known_string(value, wanted)?;
                self.component(&text, value, wanted)?;
                Some(Typed::Str(text))
            }
            Ty::Path => {
                let text = self.known_string(value, wanted)?;
                self.path(&text, value).map(Typed::Path)
            }
            Ty::Account => self.plain_string(is_account, "the name of an account", value, wanted),
            Ty::Stanza => self.plain_string(is_stanza, "the name of a stanza", value, wanted),
            Ty::Address => self.plain_string(is_address, "an e-mail address", value, wanted),
            Ty::Server => {
                self.plain_string(is_server, "the name of a server, with or without `:PORT`", value, wanted)
            }
            Ty::Zone => self.zone(value, wanted),
            Ty::Template => self.template(value, wanted),
            _ => self.wrong_type(value, wanted),
        }
    }

    /// A string of which not every one is meant.
    fn plain_string(
        &mut self,
        is_one: fn(&str) -> bool,
        what: &str,
        value: &Value,
        wanted: Wanted<'_>,
    ) -> Option<Typed> {
        let text = self.known_string(value, wanted)?;
        self.plain(&text, is_one, what, value, wanted)?;
        Some(Typed::Str(text))
    }

    fn plain(
        &mut self,
        text: &str,
        is_one: fn(&str) -> bool,
        what: &str,
        value: &Value,
        wanted: Wanted<'_>,
    ) -> Option<()> {
        match is_one(text) {
            true => Some(()),
            false => self.bad_value(value, format!("`{}` cannot be {what}", text.escape_debug()), wanted),
        }
    }

    fn zone(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<Typed> {
        let text = self.known_string(value, wanted)?;
        if due::zone(&text).is_some() {
            return Some(Typed::Str(text));
        }
        let names = due::zone_names();
        let help = did_you_mean(&text, names.iter().map(String::as_str))
            .unwrap_or_else(|| "name it like \"Europe/Berlin\" or \"UTC\"".into());
        let message = format!("there is no time zone `{text}`");
        self.findings.push(
            Finding::new(&codes::BAD_VALUE, value.place, message)
                .help(help)
                .instead(&text, nearest(&text, names.iter().map(String::as_str))),
        );
        None
    }

    fn template(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<Typed> {
        let text = self.known_string(value, wanted)?;
        let message = match Template::parse(&text) {
            Ok(_) => return Some(Typed::Str(text)),
            Err(Fault::NoJson(why)) => format!("`{}` is no JSON: {why}", wanted.name),
            Err(Fault::NoBody) => format!("`{}` is JSON, but no object and no list", wanted.name),
            Err(Fault::Unknown(name)) => {
                let names = template::NAMES.map(|name| format!("`{{{name}}}`")).join(", ");
                let help = did_you_mean(&name, template::NAMES).unwrap_or_else(|| {
                    format!("there are {names}; for the word itself write `{{{{{name}}}}}`")
                });
                let message = format!("nothing in a message is called `{{{name}}}`");
                self.findings.push(Finding::new(&codes::BAD_VALUE, value.place, message).help(help));
                return None;
            }
        };
        self.bad_value(value, message, wanted)
    }

    /// The string that a value is, where nothing of a run may be in it.
    fn known_string(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<String> {
        match literal(value) {
            Some(text) => Some(text),
            None => self.misplaced_run_value(value, wanted, "it must be known when the plan is read"),
        }
    }

    fn component(&mut self, name: &str, value: &Value, wanted: Wanted<'_>) -> Option<()> {
        let problem = if name.is_empty() {
            "it is empty"
        } else if name.contains('/') {
            "it holds a `/`"
        } else if [".", "..", ".backplan"].contains(&name) {
            "this name is taken"
        } else if name.chars().any(char::is_control) {
            "it holds a control character"
        } else if name.len() > 255 {
            "it is longer than 255 bytes"
        } else {
            return Some(());
        };
        let message = format!("`{}` must be one file name: {problem}", wanted.name);
        self.findings.push(
            written_at(Finding::new(&codes::BAD_FILE_NAME, value.place, message), value)
                .help("write a name without folders; the folder is the store's"),
        );
        None
    }

    fn recipient(&mut self, text: String, item: &Value) -> Option<Typed> {
        let Some((message, help)) = recipient::fault(&text) else {
            return Some(Typed::Strings(vec![(text, item.place)]));
        };
        self.findings.push(Finding::new(&codes::BAD_RECIPIENT, item.place, message).help(help));
        None
    }

    fn env_entry(&mut self, item: &Value, wanted: Wanted<'_>) -> Option<(String, EnvValue)> {
        let (text, secret) = match &*item.kind {
            ValueKind::Failed => return None,
            ValueKind::Text(text) => (text, None),
            ValueKind::SecretText(text, secret) => (text, Some(secret)),
            ValueKind::Secret(_) => {
                return self.bad_value(item, "a variable needs its name".into(), wanted);
            }
            _ => return self.wrong_type(item, wanted),
        };
        let Some((name, value, rest)) = variable(text) else {
            return self.bad_value(item, "an entry of `env` is `NAME=value`".into(), wanted);
        };
        let Some(secret) = secret else {
            let mut value = Text::literal(value);
            value.0.extend_from_slice(rest);
            return Some((name.to_owned(), EnvValue::Text(value)));
        };
        if !value.is_empty() || !rest.is_empty() {
            self.secret_in_string(item.place);
            return None;
        }
        Some((name.to_owned(), EnvValue::Secret(secret.clone())))
    }

    fn bounded(
        &mut self,
        number: i64,
        least: i64,
        most: i64,
        value: &Value,
        wanted: Wanted<'_>,
    ) -> Option<i64> {
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let message = format!("`{}` must be between {least} and {most}, not {number}", wanted.name);
        self.bad_value(value, message, wanted)
    }

    fn range(&mut self, value: &Value, from: &Value, to: &Value, wanted: Wanted<'_>) -> Option<Typed> {
        let (ValueKind::Duration(first), ValueKind::Duration(most)) = (&*from.kind, &*to.kind) else {
            return self.wrong_type(value, wanted);
        };
        if first <= most {
            return Some(Typed::Range(*first, *most));
        }
        let message = format!("`{}` begins above its end", wanted.name);
        self.bad_value(value, message, wanted)
    }

    fn schedule(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<When> {
        let when = match &*value.kind {
            ValueKind::Schedule(when) => when.clone(),
            ValueKind::Word(word) if word == "hourly" => When::Cron("0 * * * *".into()),
            ValueKind::Word(word) => {
                let help = match word.as_str() {
                    "daily" => "write `daily at 02:30`",
                    "weekly" => "write `weekly on sun at 03:00`",
                    "monthly" => "write `monthly on 1 at 04:00`",
                    _ => "write `every 30m`, `hourly`, `daily at 02:30`, or a cron string",
                };
                let message = format!("`{word}` is no schedule");
                self.findings.push(Finding::new(&codes::BAD_SCHEDULE, value.place, message).help(help));
                return None;
            }
            ValueKind::Text(_) => When::Cron(self.known_string(value, wanted)?.trim().to_owned()),
            _ => return self.wrong_type(value, wanted),
        };
        let Some(why) = due::when_error(&when) else { return Some(when) };
        let help = "write `every 30m`, `daily at 02:30`, or a cron string such as \"30 2 * * 1-5\"";
        self.findings.push(Finding::new(&codes::BAD_SCHEDULE, value.place, why).help(help));
        None
    }

    fn keyword(
        &mut self,
        word: &str,
        words: &'static [&'static str],
        place: Place,
        wanted: Wanted<'_>,
    ) -> Option<&'static str> {
        if let Some(found) = words.iter().find(|known| **known == word) {
            return Some(found);
        }
        let help = did_you_mean(word, words.iter().copied())
            .unwrap_or_else(|| format!("`{}` takes {}", wanted.name, wanted.ty.describe()));
        let message = format!("`{}` does not know `{word}`", wanted.name);
        let near = nearest(word, words.iter().copied());
        self.findings
            .push(Finding::new(&codes::UNKNOWN_KEYWORD, place, message).help(help).instead(word, near));
        None
    }

    pub(super) fn reference(&mut self, word: &str, kind: &'static str, place: Place) -> Option<usize> {
        if let Some(index) = self.names.index(kind, word) {
            return Some(index);
        }
        let known = self.names.of(kind);
        let help = did_you_mean(word, known.iter().copied()).unwrap_or_else(|| match known {
            _ if word == "all" => "write `all` alone, without brackets, where an attribute takes it".into(),
            [] => format!("declare it: `{kind} {word}: … {{ … }}`"),
            known if known.len() <= 8 => format!("the {kind}s are {}", known.join(", ")),
            _ => format!("declare it, or name one of the {} {kind}s there are", known.len()),
        });
        let message = match word {
            "all" => format!("`all` may not stand here: this is a list of {kind}s"),
            _ => format!("there is no {kind} `{word}`"),
        };
        let near = nearest(word, known.iter().copied());
        self.findings
            .push(Finding::new(&codes::UNKNOWN_REFERENCE, place, message).help(help).instead(word, near));
        None
    }

    fn wrong_type<T>(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<T> {
        if let ValueKind::Word(word) = &*value.kind
            && !matches!(wanted.ty, Ty::Keywords(_) | Ty::Refs(_) | Ty::RefsOrAll(_))
        {
            self.unknown_name(word, value.written);
            return None;
        }
        let message = format!("`{}` wants {}, not {}", wanted.name, wanted.ty.describe(), value.describe());
        let help = match (&*value.kind, wanted.ty) {
            (ValueKind::Word(word), Ty::Keywords(_) | Ty::Refs(_) | Ty::RefsOrAll(_)) => {
                format!("write it as a list: `{} = [{word}]`", wanted.name)
            }
            (ValueKind::Text(text), Ty::Args | Ty::Paths | Ty::Patterns | Ty::Names | Ty::Recipients)
                if text.as_literal().is_some() =>
            {
                format!("write it as a list: `{} = [{:?}]`", wanted.name, literal(value).unwrap_or_default())
            }
            _ => format!("write it like `{} = {}`", wanted.name, wanted.ty.example()),
        };
        let finding = Finding::new(&codes::WRONG_TYPE, value.place, message).help(help);
        self.findings.push(written_at(as_list(finding, value, wanted.ty), value));
        None
    }

    fn bad_value<T>(&mut self, value: &Value, message: String, wanted: Wanted<'_>) -> Option<T> {
        let finding = Finding::new(&codes::BAD_VALUE, value.place, message).help(format!(
            "write it like `{} = {}`",
            wanted.name,
            wanted.ty.example()
        ));
        self.findings.push(written_at(finding, value));
        None
    }

    fn misplaced_run_value<T>(&mut self, value: &Value, wanted: Wanted<'_>, why: &str) -> Option<T> {
        let message = format!("`{}` holds a value that only a run knows: {why}", wanted.name);
        let finding = Finding::new(&codes::MISPLACED_RUN_VALUE, value.place, message)
            .help("`time`, `host`, `level` and `read` may stand in artefact names, argument lists and notifications");
        self.findings.push(written_at(finding, value));
        None
    }

    fn misplaced_secret<T>(&mut self, value: &Value, wanted: Wanted<'_>) -> Option<T> {
        let message = format!("`{}` takes no secret: it would be seen there", wanted.name);
        let help = match wanted.ty {
            Ty::Args => {
                "arguments can be read by every user of the machine; give it by `env = [\"NAME=${…}\"]`"
                    .to_owned()
            }
            _ => format!("write it like `{} = {}`", wanted.name, wanted.ty.example()),
        };
        let finding = Finding::new(&codes::MISPLACED_SECRET, value.place, message).help(help);
        self.findings.push(written_at(finding, value));
        None
    }
}

/// With the mend that puts a lone element into a list, where a list is wanted.
fn as_list(finding: Finding, value: &Value, ty: Ty) -> Finding {
    let element = match (&*value.kind, ty) {
        (ValueKind::Word(word), Ty::Keywords(_) | Ty::Refs(_) | Ty::RefsOrAll(_)) => word.clone(),
        (ValueKind::Text(_), Ty::Args | Ty::Paths | Ty::Patterns | Ty::Names | Ty::Recipients) => {
            match literal(value) {
                Some(text) => format!("{text:?}"),
                None => return finding,
            }
        }
        _ => return finding,
    };
    finding.instead(&element, Some(&format!("[{element}]")))
}

/// Adds where a value was written, if that is elsewhere.
fn written_at(finding: Finding, value: &Value) -> Finding {
    if value.written == value.place {
        finding
    } else {
        finding.with(value.written, "its value is written here")
    }
}

/// Lists of one as one list.
fn gather(ty: Ty, items: Vec<Typed>) -> Typed {
    let mut all = match ty {
        Ty::Keywords(_) => Typed::Keywords(Vec::new()),
        Ty::Refs(_) | Ty::RefsOrAll(_) => Typed::Refs(Vec::new()),
        Ty::Args => Typed::Texts(Vec::new()),
        Ty::Paths => Typed::Paths(Vec::new()),
        _ => Typed::Strings(Vec::new()),
    };
    for item in items {
        match (&mut all, item) {
            (Typed::Keywords(all), Typed::Keywords(one)) => all.extend(one),
            (Typed::Refs(all), Typed::Refs(one)) => all.extend(one),
            (Typed::Texts(all), Typed::Texts(one)) => all.extend(one),
            (Typed::Paths(all), Typed::Paths(one)) => all.extend(one),
            (Typed::Strings(all), Typed::Strings(one)) => all.extend(one),
            _ => {}
        }
    }
    all
}

/// A name as some run would fill it in; what cannot be known is a letter.
fn sample_name(text: &Text) -> String {
    let day = due::some_day(&jiff::tz::TimeZone::UTC);
    text.0
        .iter()
        .map(|part| match part {
            TextPart::Literal(text) => text.clone(),
            TextPart::Time(format) => day.as_ref().map(|day| due::format(format, day)).unwrap_or_default(),
            TextPart::Host | TextPart::Level | TextPart::Read(_) => "x".into(),
        })
        .collect()
}

fn is_account(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || b"_-.@$\\".contains(&letter))
}

/// It is a section of a settings file, a folder of a repository and a word of the server's `archive_command`.
fn is_stanza(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_.-@+ ".contains(letter);
    text.chars().next().is_some_and(char::is_alphanumeric)
        && text.chars().all(is_plain)
        && !text.ends_with(' ')
        && text != "global"
}

/// It is a word of a mail server's commands and a header's value: only what needs no quotes.
fn is_address(text: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&letter);
    text.rsplit_once('@').is_some_and(|(local, host)| {
        !local.is_empty() && local.bytes().all(is_plain) && is_host(host) && text.len() <= 254
    })
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter))
            && !label.starts_with('-')
    };
    text.split('.').all(is_label)
}

fn is_server(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (None, rest.strip_prefix(':')),
        Some(_) => return false,
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_whole =
        text.ends_with(']') || port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    is_whole && host.is_none_or(is_host)
}

/// The parts of `NAME=value`; `None`: it is none.
pub(super) fn variable(text: &Text) -> Option<(&str, &str, &[TextPart])> {
    let Some((TextPart::Literal(first), rest)) = text.0.split_first() else { return None };
    let (name, value) = first.split_once('=')?;
    is_variable(name).then_some((name, value, rest))
}

fn is_variable(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}
