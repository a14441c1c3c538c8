//! Two runs, or two archives, never write the same artefact name.

use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, ToSpan, Zoned};

use super::Check;
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::model::{Archive, Compress, Due, Level, Schedule, When};
use crate::sources::Place;
use crate::value::{Text, TextPart};

/// So many runs in a row are looked at: a year of daily ones and more.
const RUNS: usize = 400;

impl Check<'_> {
    pub(super) fn names(&mut self) {
        self.archives_differ();
        self.runs_differ();
        self.names_mislead();
    }

    /// Names that end as if the artefact were packed otherwise.
    fn names_mislead(&mut self) {
        for archive in &self.model.archives {
            let Some(TextPart::Literal(text)) = archive.file_name.as_ref().and_then(|name| name.0.last())
            else {
                continue;
            };
            let is_sealed = !archive.encrypt.is_empty();
            let is_named_sealed = text.ends_with(".age");
            let bare = text.strip_suffix(".age").unwrap_or(text);
            let (own, others, packed) = match archive.compress {
                Compress::Gzip => (".tar.gz", [".zst", ".tzst"], "compressed by gzip"),
                Compress::Zstd => (".tar.zst", [".gz", ".tgz"], "compressed by zstd"),
            };
            let end = if is_sealed { format!("{own}.age") } else { own.to_owned() };
            let is_tar = || [".gz", ".tgz", ".zst", ".tzst", ".tar"].iter().any(|end| bare.ends_with(end));
            let is = match () {
                () if others.iter().any(|end| bare.ends_with(end)) => packed,
                () if is_named_sealed && !is_sealed => "in clear",
                () if is_sealed && !is_named_sealed && is_tar() => "encrypted",
                () => continue,
            };
            let message =
                format!("artefacts of archive `{}` are {is}, and their name says otherwise", archive.name);
            self.find(
                Finding::new(&codes::MISLEADING_NAME, self.name_place(archive), message)
                    .help(format!("let it end with `{end}`")),
            );
        }
    }

    /// A run at another moment than those of the schedule: by hand, or made up for.
    fn unplanned_run(&mut self, archive: &Archive, name: &Text) {
        let Some(unit) = coarse(name) else { return };
        let schedule = self.model.schedule.as_ref();
        let who = match schedule.is_some_and(|schedule| schedule.catch_up) {
            true => "a run on demand, or one that is made up for (`catch_up`),",
            false => "a run on demand",
        };
        let message = format!(
            "artefacts of archive `{}` are named by the {unit}: {who} may have the name of another, and then fails",
            archive.name
        );
        self.find(
            Finding::new(&codes::COARSE_NAME, self.name_place(archive), message)
                .help("put the whole time into it: `${time(\"%Y%m%d%H%M%S\")}`, or leave `name` out"),
        );
    }

    fn name_place(&self, archive: &Archive) -> Place {
        self.facts.place("archive", &archive.name, "name").unwrap_or(archive.place)
    }

    fn archives_differ(&mut self) {
        let Some(day) = due::some_day(&TimeZone::UTC) else { return };
        let mut seen: BTreeMap<String, &Archive> = BTreeMap::new();
        for archive in &self.model.archives {
            let Some(name) = &archive.file_name else { continue };
            let filled = fill(name, &day, None);
            let Some(first) = seen.get(&filled) else {
                seen.insert(filled, archive);
                continue;
            };
            let message =
                format!("archives `{}` and `{}` write the same artefact name", first.name, archive.name);
            let finding = Finding::new(&codes::SAME_NAME, self.name_place(archive), message)
                .with(self.name_place(first), "the same name")
                .help(format!("put the archive's own name into it: \"…_{}.tar.gz\"", archive.name));
            self.findings.push(finding);
        }
    }

    fn runs_differ(&mut self) {
        let mut known: HashMap<Vec<&TextPart>, Option<String>> = HashMap::new();
        for archive in &self.model.archives {
            let Some(name) = &archive.file_name else { continue };
            let varying: Vec<&TextPart> =
                name.0.iter().filter(|part| matches!(part, TextPart::Time(_) | TextPart::Level)).collect();
            let schedule = self.model.schedule.as_ref();
            let repeats = known.entry(varying).or_insert_with(|| repetition(name, schedule)).clone();
            let Some(how) = repeats else {
                self.unplanned_run(archive, name);
                continue;
            };
            let message = format!("artefacts of archive `{}` do not differ in name: {how}", archive.name);
            let mut finding = Finding::new(&codes::REPEATED_NAME, self.name_place(archive), message)
                .help("put the whole time into it: `${time(\"%Y%m%d%H%M%S\")}`, or leave `name` out");
            if let (Some(schedule), true) = (schedule, has_time(name)) {
                finding = finding.with(schedule.place, "the runs");
            }
            self.findings.push(finding);
        }
    }
}

fn has_time(name: &Text) -> bool {
    name.0.iter().any(|part| matches!(part, TextPart::Time(_)))
}

/// How two runs come to write one name; `None` if they do not.
fn repetition(name: &Text, schedule: Option<&Schedule>) -> Option<String> {
    if !has_time(name) {
        return Some("it holds no `time`, so a second run would write the name of the first".into());
    }
    let Some(schedule) = schedule else {
        let day = due::some_day(&TimeZone::UTC)?;
        return later(
            name,
            &day,
            None,
            &[(1.day(), "a run on the next day"), (1.year(), "a run a year later")],
        );
    };
    let zone = due::zone(&schedule.zone)?;
    if let Some(how) = repeated_hour(name, schedule, &zone) {
        return Some(how);
    }
    let delay = schedule.jitter.filter(|jitter| *jitter > 0);
    if is_plain(name) && is_by_the_minute(schedule) && delay.is_none() {
        return None;
    }
    let start = due::some_day(&zone)?;
    let end = start.checked_add(100.years()).ok()?;
    let runs = due::runs(schedule, start..=end, RUNS);
    let delayed = || same_if_delayed(name, &runs, delay?);
    if let Some(how) = same_among(name, &runs).or_else(delayed) {
        return Some(how);
    }
    let (first, level) = runs.first()?;
    let is_frequent = runs.get(1).is_some_and(|(second, _)| first.duration_until(second).as_hours() < 24);
    let day_and_more = [(1.day(), "a day later"), (1.month(), "a month later"), (1.year(), "a year later")];
    later(name, first, *level, if is_frequent { &day_and_more } else { &day_and_more[2..] })
}

/// The unit of time that a name is by, where two runs a minute apart may have the same.
fn coarse(name: &Text) -> Option<&'static str> {
    // In the middle of an hour, a day, a week, a month and a year.
    let noon = jiff::civil::date(2027, 6, 16).at(12, 30, 0, 0).to_zoned(TimeZone::UTC).ok()?;
    let filled = fill(name, &noon, None);
    let is_same = |step: Span| noon.checked_add(step).is_ok_and(|later| fill(name, &later, None) == filled);
    let units = [
        (1.minute(), "hour"),
        (1.hour(), "day"),
        (1.day(), "week, or by more"),
        (7.days(), "month, or by more"),
    ];
    units.into_iter().take_while(|(step, _)| is_same(*step)).last().map(|(_, unit)| unit)
}

/// Two of these runs that write one name.
fn same_among(name: &Text, runs: &[(Zoned, Option<Level>)]) -> Option<String> {
    let mut seen: HashMap<String, &Zoned> = HashMap::with_capacity(runs.len());
    for (at, level) in runs {
        let filled = fill(name, at, *level);
        if let Some(first) = seen.insert(filled.clone(), at) {
            let show = |at: &Zoned| at.strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
            return Some(format!("the runs of {} and {} both write `{filled}`", show(first), show(at)));
        }
    }
    None
}

/// Two of these runs that write one name where the first begins late by up to `jitter` seconds. Only neighbours: what holds
/// a whole date comes to one name within an unbroken time, so that the end of one delay and the next run are the closest.
fn same_if_delayed(name: &Text, runs: &[(Zoned, Option<Level>)], jitter: u64) -> Option<String> {
    let most = SignedDuration::from_secs(i64::try_from(jitter).ok()?);
    runs.windows(2).find_map(|pair| {
        let [(first, level), (next, next_level)] = pair else { return None };
        // One that is delayed beyond the next is that one's hindrance, and not before it.
        let before_next = first.duration_until(next) - SignedDuration::from_secs(1);
        let delayed = first.checked_add(most.min(before_next)).ok()?;
        let filled = fill(name, &delayed, *level);
        let show = |at: &Zoned| at.strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
        (filled == fill(name, next, *next_level)).then(|| {
            format!(
                "the run of {}, which `jitter` may delay to {}, and that of {} both write `{filled}`",
                show(first),
                show(&delayed),
                show(next)
            )
        })
    })
}

/// Where clocks are set back, an hour comes twice, and with it the names of its runs.
fn repeated_hour(name: &Text, schedule: &Schedule, zone: &TimeZone) -> Option<String> {
    if zone.to_fixed_offset().is_ok() {
        return None;
    }
    let start = due::some_day(zone)?.timestamp();
    let mut offset = zone.to_offset(start);
    for change in zone.following(start).take(2) {
        if change.offset() < offset {
            let from = change.timestamp().checked_sub(90.minutes()).ok()?.to_zoned(zone.clone());
            let until = change.timestamp().checked_add(90.minutes()).ok()?.to_zoned(zone.clone());
            let runs = due::runs(schedule, from..=until, 2 * RUNS);
            return same_among(name, &runs)
                .map(|how| format!("{how}, as clocks are set back (add `%z`, or take the zone \"UTC\")"));
        }
        offset = change.offset();
    }
    None
}

/// Whether a run this much later writes the same name.
fn later(name: &Text, at: &Zoned, level: Option<Level>, steps: &[(Span, &str)]) -> Option<String> {
    let filled = fill(name, at, level);
    let repeated = steps
        .iter()
        .find(|(step, _)| at.checked_add(*step).is_ok_and(|other| fill(name, &other, level) == filled))?;
    Some(format!("{} writes the same name", repeated.1))
}

/// Whether a name plainly holds year, month, day, hour and minute.
fn is_plain(name: &Text) -> bool {
    let formats: String = (name.0.iter())
        .filter_map(|part| match part {
            TextPart::Time(format) => Some(format.as_str()),
            _ => None,
        })
        .collect();
    let has = |letters: &str| formats.contains(letters);
    let date = has("%F") || has("%Y") && (has("%m") || has("%b")) && has("%d");
    date && (has("%H") && has("%M") || has("%R") || has("%T"))
}

/// Whether no two runs are within one minute.
fn is_by_the_minute(schedule: &Schedule) -> bool {
    let slow = |when: &When| match when {
        When::Every(seconds) => *seconds >= 60,
        When::Cron(text) => text.split_ascii_whitespace().count() == 5,
    };
    match &schedule.due {
        Due::Run(when) => slow(when),
        Due::Levels { full, differential, incremental } => {
            [full, differential, incremental].into_iter().flatten().all(slow)
        }
    }
}

/// The name as a run at `at` fills it in; what is the same for every run of a machine stays a placeholder.
pub(crate) fn fill(name: &Text, at: &Zoned, level: Option<Level>) -> String {
    name.0
        .iter()
        .map(|part| match part {
            TextPart::Literal(text) => text.clone(),
            TextPart::Time(format) => due::format(format, at),
            TextPart::Host => "HOST".into(),
            TextPart::Level => level.map_or("LEVEL".into(), |level| format!("{level:?}").to_lowercase()),
            TextPart::Read(path) => format!("read({})", path.display()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::is_plain;
    use crate::value::{Text, TextPart};

    #[test]
    fn whole_times_are_seen_without_playing_the_schedule() {
        let plain = |format: &str| is_plain(&Text(vec![TextPart::Time(format.into())]));
        assert!(plain("%Y%m%d%H%M"));
        assert!(plain("%FT%R"));
        assert!(!plain("%Y%m%d"));
        assert!(!plain("%m%d%H%M"));
    }
}
