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

/// `2026-11-20 03:30:00.25 +01:00`: where a part of a second decides.
pub fn exactly(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.f %:z").to_string()
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
    /// It is written with an offset that its zone has not.
    Offset(Offset),
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
            Why::Offset(offset) => write!(f, ": its zone is at {offset} then"),
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
    if let Some(moment) = Some(trimmed).filter(|text| !text.ends_with(']')).and_then(|text| text.parse().ok())
    {
        return Ok(moment);
    }
    let (civil, named) = parts(trimmed);
    let named = match named {
        Some(name) => Some(zone_of(name).ok_or_else(|| none(Why::NoZone(name.to_owned())))?),
        None => None,
    };
    let zone = named.as_ref().unwrap_or(zone);
    if let Ok(moment) = civil.parse::<Timestamp>() {
        let offset = zone.to_offset(moment);
        return Some(moment)
            .filter(|_| offsets_agree(civil, offset))
            .ok_or_else(|| none(Why::Offset(offset)));
    }
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

/// The time itself, and the zone or offset that is behind it: after a space, or in brackets.
fn parts(text: &str) -> (&str, Option<&str>) {
    if let Some((civil, name)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        return (civil.trim(), Some(name));
    }
    match text.rsplit_once(char::is_whitespace) {
        Some((civil, last)) if !last.starts_with(|c: char| c.is_ascii_digit()) => (civil.trim(), Some(last)),
        _ => (text, None),
    }
}

/// Whether a time that has an offset has that of its zone: `2026-11-20T02:30+01:00[Europe/Berlin]`. `Z` says nothing of the zone.
fn offsets_agree(text: &str, offset: Offset) -> bool {
    let written = jiff::fmt::temporal::Pieces::parse(text).ok().and_then(|pieces| pieces.offset());
    match written {
        Some(jiff::fmt::temporal::PiecesOffset::Numeric(written)) => written.offset() == offset,
        _ => true,
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
            ("2026-10-25T02:30+01:00[Europe/Berlin]", "2026-10-25T01:30:00Z"),
            ("2026-11-20T02:30Z[Europe/Berlin]", "2026-11-20T02:30:00Z"),
            ("2026-11-20 02:30[Europe/Berlin]", "2026-11-20T01:30:00Z"),
            ("2026-11-20 03:30:00 +01:00", "2026-11-20T02:30:00Z"),
            ("2026-11-20 03:30:00.123456 +01:00", "2026-11-20T02:30:00.123456Z"),
            ("2026-11-20 03:30:00 -0530", "2026-11-20T09:00:00Z"),
            ("2026-11-20 02:30 UTC", "2026-11-20T02:30:00Z"),
            ("2026-11-20 02:30 Z", "2026-11-20T02:30:00Z"),
            ("2026-11-20 Asia/Kolkata", "2026-11-20T18:29:59.999999999Z"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for bad in [
            "yesterday",
            "2026-13-20",
            "",
            "2026-11-20 25:00",
            "02:30",
            "2026-11-20 02:30 Europe/Berln",
            "2026-11-20T02:30[Europe/Berln]",
            "2026-11-20T02:30+03:00[Europe/Berlin]",
            "2026-11-20T02:30[",
        ] {
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
        for form in ["2026-10-25T02:30[Europe/Berlin]", "2026-10-25 02:30 Europe/Berlin"] {
            assert!(parse(form, &TimeZone::UTC).unwrap_err().to_string().contains("both"), "{form}");
        }
        let never = parse("2026-03-29 02:30", &berlin).unwrap_err().to_string();
        assert!(never.contains("set forward"), "{never}");
    }
}
