//! Moments as people type them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::exit::Failure;

/// Reads `2026-11-20T02:30:00Z` (or with another offset), `2026-11-20 02:30` or `2026-11-20`; what has no offset is in
/// `zone`, and a day alone means its last moment, so that everything of that day is before it.
///
/// # Errors
/// [`crate::exit::Status::Usage`] where it is none of these.
pub fn parse(text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let is_day = text.len() == "2026-11-20".len();
    let civil: Option<DateTime> = text.parse().ok();
    let moment = civil.and_then(|civil| {
        let civil = if is_day { civil.end_of_day() } else { civil };
        zone.to_timestamp(civil).ok()
    });
    moment.ok_or_else(|| {
        Failure::usage(format!("`{text}` is not a time"))
            .help("write `2026-11-20T02:30:00Z`, or `2026-11-20 02:30` in local time, or `2026-11-20`")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::tz::{TimeZone, offset};

    use super::parse;

    #[test]
    fn reads_what_people_type() {
        let zone = TimeZone::fixed(offset(2));
        let read = |text: &str| parse(text, &zone).unwrap().to_string();
        assert_eq!(read("2026-11-20T02:30:00Z"), "2026-11-20T02:30:00Z");
        assert_eq!(read("2026-11-20T02:30:00+01:00"), "2026-11-20T01:30:00Z");
        assert_eq!(read("2026-11-20 02:30"), "2026-11-20T00:30:00Z");
        assert_eq!(read("2026-11-20"), "2026-11-20T21:59:59.999999999Z");
        assert!(parse("yesterday", &zone).is_err());
        assert!(parse("2026-13-20", &zone).is_err());
    }
}
