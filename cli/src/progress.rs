//! The steps of a run as they go: a line each that moves, on a terminal; a line when something happens, in a log.

mod bars;
mod lines;

use std::time::Duration;

use backplan_runtime::run::event::Observer;

use crate::console::Style;

/// An observer that shows a run on the standard error, as what stands behind it can show it. `quiet` leaves nothing but
/// warnings and failures.
pub fn observer(style: Style, quiet: bool) -> Box<dyn Observer> {
    match style.terminal && !quiet {
        true => Box::new(bars::Bars::new(style)),
        false => Box::new(lines::Lines::new(std::io::stderr(), quiet)),
    }
}

/// Bytes as people read them: `1.2 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = 0;
    // Half of the last digit shown: what would round up to 1024 is the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A length of time as people read it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", length.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Files and bytes of a step, and how fast: nothing where there are none.
fn amount(files: u64, count: u64, took: Duration) -> String {
    let mut parts = Vec::new();
    if files > 0 {
        parts.push(format!("{files} {}", if files == 1 { "file" } else { "files" }));
    }
    if count > 0 {
        parts.push(bytes(count));
        if took >= Duration::from_millis(100) {
            parts.push(format!("{}/s", bytes((count as f64 / took.as_secs_f64()) as u64)));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{amount, bytes, duration};

    #[test]
    fn sizes_round_into_the_next_unit() {
        let shown = [0, 1023, 1024, 1_048_575, 1_048_576, 5_000_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 MiB", "4.7 GiB"]);
    }

    #[test]
    fn times_keep_what_matters() {
        let shown = [400, 12_000, 185_000, 7_830_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.4 s", "12 s", "3 min 05 s", "2 h 10 min"]);
    }

    #[test]
    fn an_amount_leaves_out_what_is_nothing() {
        assert_eq!(amount(0, 0, Duration::ZERO), "");
        assert_eq!(amount(1, 2048, Duration::from_secs(2)), "1 file, 2.0 KiB, 1.0 KiB/s");
    }
}
