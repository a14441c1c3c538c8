//! Moments as people type them.

use backplan_runtime::moment;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::exit::Failure;

/// Reads a moment; what has neither zone nor offset is in `zone`.
///
/// # Errors
/// [`crate::exit::Status::Usage`] where it is none.
pub fn parse(text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    moment::parse(text, zone).map_err(|error| {
        Failure::usage(error.to_string()).help(
            "write `2026-11-20 02:30` in local time, `2026-11-20 02:30 Europe/Berlin`, `2026-11-20T02:30:00Z`, a time as it is \
             shown, or `2026-11-20`",
        )
    })
}
