//! What numbers, strings and words mean, and what to write instead where they mean nothing.

use crate::ast::ExprKind;

/// Why a literal cannot be read, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub message: String,
    pub help: Option<String>,
    /// What may stand in its place, the likeliest first.
    pub instead: Vec<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Fault { message: message.into(), help: Some(help.into()), instead: Vec::new() }
    }

    /// A fault that another spelling mends.
    fn spelt(message: impl Into<String>, instead: impl Into<String>) -> Self {
        let instead = instead.into();
        Fault { instead: vec![instead.clone()], ..Fault::new(message, format!("write `{instead}`")) }
    }

    fn or(mut self, instead: impl Into<String>) -> Self {
        self.instead.push(instead.into());
        self
    }
}

/// Units of duration, in seconds, longest first.
const DURATIONS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Units of size, in bytes, in an order in which the longest fitting is found first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Whether `word` looks like a unit, so that `5 GB` is a size with a blank in it.
pub(crate) fn is_unit(word: &str) -> bool {
    let word = word.strip_suffix("/s").unwrap_or(word);
    find(&DURATIONS, word).is_some() || find(&SIZES, word).is_some() || meant(word).is_some()
}

/// Reads what starts with a digit: a number, duration, size, rate or time of day.
pub(crate) fn number(text: &str) -> Result<ExprKind, Fault> {
    if text.contains(':') {
        return time_of_day(text).map(|(hour, minute)| ExprKind::TimeOfDay { hour, minute });
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    if unit.starts_with('.') {
        return Err(fraction(count, unit));
    }
    if unit.is_empty() {
        let max = format!("the largest number is {}", i64::MAX);
        return text
            .parse()
            .map(ExprKind::Int)
            .map_err(|_| Fault::new(format!("`{text}` is too large"), max));
    }
    let (base, rate) = match unit.strip_suffix("/s") {
        Some(base) => (base, true),
        None => (unit, false),
    };
    let read = |factor: u64| scaled(text, count, factor);
    match (find(&DURATIONS, base), find(&SIZES, base)) {
        (Some(factor), _) if !rate => read(factor).map(ExprKind::Duration),
        (_, Some(factor)) if rate => read(factor).map(ExprKind::Rate),
        (_, Some(factor)) => read(factor).map(ExprKind::Size),
        _ => Err(unknown_unit(text, count, unit)),
    }
}

fn find(units: &[(&str, u64)], name: &str) -> Option<u64> {
    units.iter().find(|(unit, _)| *unit == name).map(|(_, factor)| *factor)
}

fn scaled(text: &str, count: &str, factor: u64) -> Result<u64, Fault> {
    let value = count.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    // Values are counted in signed numbers further on, where differences of them are taken.
    value.filter(|&value| i64::try_from(value).is_ok()).ok_or_else(|| {
        Fault::new(
            format!("`{text}` is too large"),
            format!("the largest value is {} seconds or bytes", i64::MAX),
        )
    })
}

/// The unit that was most likely meant by a word that is none.
fn meant(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" | "h" => "h",
        "day" | "days" | "d" => "d",
        "week" | "weeks" | "w" => "w",
        "byte" | "bytes" | "b" => "B",
        "k" | "kb" => "KB",
        "m" | "mb" => "MB",
        "g" | "gb" => "GB",
        "t" | "tb" => "TB",
        "ki" | "kib" => "KiB",
        "mi" | "mib" => "MiB",
        "gi" | "gib" => "GiB",
        "ti" | "tib" => "TiB",
        _ => return None,
    })
}

fn unknown_unit(text: &str, count: &str, unit: &str) -> Fault {
    if let Some(sum) = compound(text) {
        let message = format!("`{text}` has more than one unit");
        return Fault::spelt(message, shortest(sum, &DURATIONS));
    }
    if unit.starts_with('_') {
        let message = format!("`{text}` is not a number: digits stand without `_`");
        return Fault::spelt(message, text.replace('_', ""));
    }
    let (base, per) = unit.split_once('/').map_or((unit, None), |(base, per)| (base, Some(per)));
    let message = format!("`{unit}` in `{text}` is not a unit");
    let help = match (meant(base), per) {
        _ if base == "ms" => "the smallest unit of time is `s`".into(),
        (Some(size), Some(_)) if size.ends_with('B') => {
            let rate = format!("{count}{size}/s");
            return Fault::new(message, format!("rates are a size a second: write `{rate}`")).or(rate);
        }
        _ if per.is_some() || unit.ends_with("ps") => "rates are a size a second: `50MiB/s`".into(),
        _ if base.to_ascii_lowercase().starts_with("mo") => in_days("months", count, 30),
        _ if matches!(base, "y" | "yr" | "year" | "years") => in_days("years", count, 365),
        (Some(unit), None) if unit.ends_with('B') && unit.len() == 2 => {
            let binary = format!("{}iB", &unit[..1]);
            let help = format!("write `{count}{unit}` (a thousand to the step) or `{count}{binary}` (1024)");
            return Fault::new(message, help).or(format!("{count}{unit}")).or(format!("{count}{binary}"));
        }
        (Some(unit), None) => return Fault::spelt(message, format!("{count}{unit}")),
        _ => "units are `s m h d w` for durations, `B KB MB GB TB KiB MiB GiB TiB` for sizes".into(),
    };
    Fault::new(message, help)
}

fn in_days(unit: &str, count: &str, days: u64) -> String {
    let days = count.parse::<u64>().ok().and_then(|count| count.checked_mul(days));
    // As many as can be counted in seconds.
    let days = days.filter(|days| days.checked_mul(86_400).is_some_and(|all| i64::try_from(all).is_ok()));
    format!("{unit} differ in length: count in days, such as `{}d`", days.unwrap_or(30))
}

/// `1h30m` in seconds.
fn compound(text: &str) -> Option<u64> {
    let (mut sum, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        sum = sum.checked_add(count.parse::<u64>().ok()?.checked_mul(find(&DURATIONS, unit)?)?)?;
        rest = next;
    }
    Some(sum)
}

/// `value` in the largest unit of `units` that divides it.
fn shortest(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
    unit.map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}

/// `1.5h` and its like.
fn fraction(whole: &str, rest: &str) -> Fault {
    let text = format!("{whole}{rest}");
    let after = &rest[1..];
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (decimals, unit) = after.split_at(digits);
    let (base, per) = unit.split_once('/').map_or((unit, ""), |(base, _)| (base, "/s"));
    let units: &[(&str, u64)] = if find(&DURATIONS, base).is_some() { &DURATIONS } else { &SIZES };
    let exact = || {
        let factor = find(units, base)?;
        let scale = 10u64.checked_pow(u32::try_from(decimals.len()).ok()?)?;
        let value = format!("{whole}{decimals}").parse::<u64>().ok()?.checked_mul(factor)?;
        // Binary sizes stay binary, decimal ones decimal.
        let binary = base.contains('i');
        let family: Vec<_> = units
            .iter()
            .copied()
            .filter(|(unit, _)| unit.len() == 1 || unit.contains('i') == binary)
            .collect();
        value.is_multiple_of(scale).then(|| shortest(value / scale, &family))
    };
    let message = format!("`{text}` is not a whole number");
    match exact() {
        Some(exact) => Fault::spelt(message, format!("{exact}{per}")),
        None => Fault::new(message, "write it in a smaller unit, as a whole number"),
    }
}

/// Reads `02:30`.
pub(crate) fn time_of_day(text: &str) -> Result<(u8, u8), Fault> {
    let message = format!("`{text}` is not a time of day");
    let example = "times run from `00:00` to `23:59`";
    let Some((hour, minute)) = text.split_once(':') else { return Err(Fault::new(message, example)) };
    let part = |part: &str, limit: u8| part.parse::<u8>().ok().filter(|&value| value < limit);
    let minute_and_seconds = minute.split_once(':').map_or(minute, |(minute, _)| minute);
    match (part(hour, 24), part(minute_and_seconds, 60)) {
        (Some(h), Some(m)) if hour.len() == 2 && minute.len() == 2 => Ok((h, m)),
        (Some(h), Some(m)) => {
            let time = format!("{h:02}:{m:02}");
            Err(Fault::new(message, format!("hours and minutes have two digits: write `{time}`")).or(time))
        }
        _ => Err(Fault::new(message, example)),
    }
}

/// Reads an escape, backslash included.
pub(crate) fn escape(text: &str) -> Result<char, Fault> {
    match text {
        "\\n" => Ok('\n'),
        "\\t" => Ok('\t'),
        "\\\"" => Ok('"'),
        "\\\\" => Ok('\\'),
        "\\$" => Ok('$'),
        _ if text.starts_with("\\u{") => {
            let hex = text[3..].trim_end_matches('}');
            let value = (hex.len() <= 6).then(|| u32::from_str_radix(hex, 16).ok()).flatten();
            value.filter(|_| !hex.starts_with('+')).and_then(char::from_u32).ok_or_else(|| {
                Fault::new(
                    format!("`{text}` is not a character"),
                    "write its number in hexadecimal: `\\u{e9}`",
                )
            })
        }
        _ => Err(Fault::new(
            format!("`{text}` is not an escape"),
            "escapes are `\\n \\t \\\" \\\\ \\$ \\u{…}`; a backslash is `\\\\`, and a 'raw string' takes it as it is",
        )),
    }
}

/// Bytes of the longest name: files are named by a plan, an archive and a time together.
const LONGEST_NAME: usize = 64;

/// Why `word` is not a name: `[a-z][a-z0-9_]*`, and short enough to be part of a file's.
pub(crate) fn name(word: &str) -> Result<(), Fault> {
    let first = word.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if first && word.len() > LONGEST_NAME {
        let start: String = word.chars().take(12).collect();
        return Err(Fault::new(
            format!("the name `{start}…` is too long: it has {} letters", word.chars().count()),
            format!("names have at most {LONGEST_NAME} letters, as files are named by them"),
        ));
    }
    if first && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Ok(());
    }
    let spelt: String = word
        .trim_start_matches('_')
        .chars()
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect();
    let message = format!("`{word}` is not a name: names are `a` to `z`, digits and `_`, a letter first");
    let spelling = spelt.is_ascii() && spelt.starts_with(|c: char| c.is_ascii_lowercase());
    Err(match spelling {
        true => Fault::spelt(message, spelt),
        false => Fault { message, help: None, instead: Vec::new() },
    })
}

/// Why `word` cannot be a value; names of things that are values have another spelling here.
pub(crate) fn value_word(word: &str) -> Result<(), Fault> {
    let meant = match word.to_ascii_lowercase().as_str() {
        "yes" | "on" => "true",
        "no" | "off" => "false",
        lower @ ("true" | "false") if lower != word => {
            if lower == "true" {
                "true"
            } else {
                "false"
            }
        }
        "null" | "none" | "nil" => {
            return Err(Fault::new(format!("`{word}` is not a value"), "leave the attribute out"));
        }
        _ => {
            return name(word).map_err(|fault| match fault.help {
                Some(help) => {
                    let text = format!("\"{word}\"");
                    let help = Some(format!("{help}, or `{text}` if it is text"));
                    Fault { help, ..fault }.or(text)
                }
                None => fault,
            });
        }
    };
    Err(Fault::spelt(format!("`{word}` is not a value"), meant))
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Reads `sun`: 0 is Monday.
pub(crate) fn weekday(word: &str) -> Result<u8, Fault> {
    if let Some(day) = (0u8..).zip(WEEKDAYS).find(|(_, name)| *name == word) {
        return Ok(day.0);
    }
    let lower = word.to_ascii_lowercase();
    let meant = WEEKDAYS.iter().find(|name| lower.starts_with(**name));
    let message = format!("`{word}` is not a day of the week");
    Err(match meant {
        Some(name) => Fault::spelt(message, *name),
        None => Fault::new(message, format!("days are `{}`", WEEKDAYS.join(" "))),
    })
}

/// Reads a day of the month, 1 to 31.
pub(crate) fn day_of_month(word: &str) -> Result<u8, Fault> {
    let day = word.parse::<u8>().ok().filter(|day| (1..=31).contains(day));
    day.ok_or_else(|| Fault::new(format!("`{word}` is not a day of the month"), "days run from 1 to 31"))
}
