//! Moments as people read and write them: one clock, that of the zone this process is in (`TZ`, or the system's), always with
//! its offset. What is shown can be typed back as it is.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// `2026-11-20 03:30:00 +01:00`
pub fn shown(at: Timestamp) -> String {
    shown_in(at, &TimeZone::system())
}

/// A moment in a zone.
pub fn shown_in(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time{why}")]
pub struct NoMoment {
    /// The text.
    pub text: String,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Unread,
    NoZone(String),
    /// Clocks were set back: it is both of these.
    Twice(String, String),
    /// Clocks were set forward: between these.
    Never(Offset, Offset),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unread => Ok(()),
            Why::NoZone(name) => write!(f, ": there is no time zone `{name}`"),
            Why::Twice(first, second) => {
                write!(
                    f,
                    ": clocks were set back then, and it is both `{first}` and `{second}`: write one of them"
                )
            }
            Why::Never(before, after) => {
                write!(f, ": clocks were set forward over it then, from {before} to {after}")
            }
        }
    }
}

/// Reads `2026-11-20T02:30:00Z` (or with another offset), `2026-11-20 02:30`, `2026-11-20`, and each of the latter with a zone
/// or an offset behind it: `2026-11-20 02:30 Europe/Berlin`, `2026-11-20 03:30:00 +01:00`. What has neither is in `zone`. A
/// day alone means its last moment, so that everything of that day is before it.
///
/// # Errors
/// Where it is none of these, or not one moment.
pub fn parse(text: &str, zone: &TimeZone) -> Result<Timestamp, NoMoment> {
    let none = |why: Why| NoMoment { text: text.to_owned(), why };
    let trimmed = text.trim();
    if let Ok(moment) = trimmed.parse::<Timestamp>() {
        return Ok(moment);
    }
    if trimmed.contains('[') {
        return trimmed.parse::<jiff::Zoned>().map(|at| at.timestamp()).map_err(|_| none(Why::Unread));
    }
    let (civil, named) = match trimmed.rsplit_once(char::is_whitespace) {
        Some((before, last)) if !last.starts_with(|c: char| c.is_ascii_digit()) => {
            (before.trim(), Some(last))
        }
        _ => (trimmed, None),
    };
    let named = match named {
        Some(name) => Some(zone_of(name).ok_or_else(|| none(Why::NoZone(name.to_owned())))?),
        None => None,
    };
    let zone = named.as_ref().unwrap_or(zone);
    let is_day = civil.len() == "2026-11-20".len();
    let read: DateTime = civil.parse().map_err(|_| none(Why::Unread))?;
    let moment = if is_day { read.end_of_day() } else { read };
    let candidates = zone.to_ambiguous_timestamp(moment);
    let at = |offset: Offset| {
        offset.to_timestamp(moment).map(|at| shown_in(at, &TimeZone::fixed(offset))).unwrap_or_default()
    };
    match candidates.offset() {
        AmbiguousOffset::Fold { before, after } if !is_day => Err(none(Why::Twice(at(before), at(after)))),
        AmbiguousOffset::Gap { before, after } if !is_day => Err(none(Why::Never(before, after))),
        // A day ends once.
        AmbiguousOffset::Fold { .. } | AmbiguousOffset::Gap { .. } => {
            candidates.later().map_err(|_| none(Why::Unread))
        }
        AmbiguousOffset::Unambiguous { .. } => candidates.unambiguous().map_err(|_| none(Why::Unread)),
    }
}

/// A zone by its name, or an offset.
fn zone_of(name: &str) -> Option<TimeZone> {
    if matches!(name, "Z" | "z") {
        return Some(TimeZone::UTC);
    }
    if !name.starts_with(['+', '-']) {
        return TimeZone::get(name).ok();
    }
    let forms = ["%:z", "%z"];
    let read = |form: &&str| jiff::fmt::strtime::parse(form, name).ok()?.offset();
    forms.iter().find_map(read).map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::tz::{TimeZone, offset};

    use super::{parse, shown_in};

    #[test]
    fn reads_what_people_type() {
        let zone = TimeZone::fixed(offset(2));
        let read = |text: &str| parse(text, &zone).unwrap().to_string();
        for (text, expected) in [
            ("2026-11-20T02:30:00Z", "2026-11-20T02:30:00Z"),
            ("2026-11-20T02:30:00+01:00", "2026-11-20T01:30:00Z"),
            ("2026-11-20 02:30", "2026-11-20T00:30:00Z"),
            ("2026-11-20", "2026-11-20T21:59:59.999999999Z"),
            ("2026-11-20 21:44 Europe/Berlin", "2026-11-20T20:44:00Z"),
            ("2026-07-20 21:44:30 America/New_York", "2026-07-21T01:44:30Z"),
            ("2026-11-20T21:44[Europe/Berlin]", "2026-11-20T20:44:00Z"),
            ("2026-11-20 03:30:00 +01:00", "2026-11-20T02:30:00Z"),
            ("2026-11-20 03:30:00 -0530", "2026-11-20T09:00:00Z"),
            ("2026-11-20 02:30 UTC", "2026-11-20T02:30:00Z"),
            ("2026-11-20 02:30 Z", "2026-11-20T02:30:00Z"),
            ("2026-11-20 Asia/Kolkata", "2026-11-20T18:29:59.999999999Z"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for bad in
            ["yesterday", "2026-13-20", "", "2026-11-20 25:00", "02:30", "2026-11-20 02:30 Europe/Berln"]
        {
            assert!(parse(bad, &zone).is_err(), "{bad}");
        }
        assert!(
            parse("2026-11-20 02:30 Nowhere", &zone)
                .unwrap_err()
                .to_string()
                .contains("no time zone `Nowhere`")
        );
    }

    #[test]
    fn what_is_shown_is_read_as_the_same_moment_wherever() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for second in [1_792_887_000, 1_792_890_600, 1_792_894_200, 0, -1, 4_102_444_800] {
            let at = jiff::Timestamp::from_second(second).unwrap();
            for zone in [&berlin, &TimeZone::UTC, &TimeZone::get("America/New_York").unwrap()] {
                assert_eq!(parse(&shown_in(at, zone), &berlin), Ok(at));
            }
        }
    }

    #[test]
    fn a_time_that_is_twice_or_never_is_no_moment() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let twice = parse("2026-10-25 02:30", &berlin).unwrap_err().to_string();
        assert!(
            twice.contains("`2026-10-25 02:30:00 +02:00`") && twice.contains("`2026-10-25 02:30:00 +01:00`")
        );
        assert_eq!(parse("2026-10-25 02:30:00 +02:00", &berlin).unwrap().to_string(), "2026-10-25T00:30:00Z");
        assert_eq!(parse("2026-10-25 02:30:00 +01:00", &berlin).unwrap().to_string(), "2026-10-25T01:30:00Z");
        let never = parse("2026-03-29 02:30", &berlin).unwrap_err().to_string();
        assert!(never.contains("set forward"), "{never}");
    }
}
