//! From which backup a cluster recovers to a point, and to which points it can. Pure.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::log::Lead;
use super::log::commits::Tail;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::moment::shown;
use crate::postgres::recovery::{Point, Recovery, Timeline};
use crate::postgres::wal::lsn::Lsn;
use crate::postgres::wal::name::Segment;
use crate::postgres::wal::survey::Missing;

/// A backup of a cluster that recovery may begin from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The run that holds it.
    pub run: RunId,
    /// When it was whole: no earlier moment can be recovered from it.
    pub ended: Timestamp,
    /// Where it was whole.
    pub stop: Option<Lsn>,
    /// The first transaction that had not begun by then.
    pub next_xid: Option<u64>,
    /// How far the archived log leads from it; `None` where that is not known.
    pub reach: Option<Lead>,
}

/// From one moment to another, any of which can be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first.
    pub from: Timestamp,
    /// The last.
    pub until: Timestamp,
}

/// Stretches of time as few as they can be told in, oldest first.
pub fn spans(found: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Vec<Span> {
    let mut found: Vec<(Timestamp, Timestamp)> = found.into_iter().collect();
    found.sort();
    let mut spans: Vec<Span> = Vec::new();
    for (from, until) in found {
        match spans.last_mut() {
            Some(last) if from <= last.until => last.until = last.until.max(until),
            _ => spans.push(Span { from, until }),
        }
    }
    spans
}

impl Base {
    /// As a run's labels tell of it; `finished` where they do not.
    pub fn of(run: RunId, labels: &Labels, finished: Timestamp) -> Base {
        Base {
            run,
            ended: labels.ended().unwrap_or(finished),
            stop: labels.lsn_stop.as_ref().and_then(|text| text.parse().ok()),
            next_xid: labels.next_xid.as_ref().and_then(|text| text.parse().ok()),
            reach: None,
        }
    }
}

impl Base {
    /// Whether there is a way from it to the timeline that is wanted; what cannot be told is believed.
    fn is_way(&self) -> bool {
        self.reach.is_none_or(|reach| reach.is_way)
    }

    /// Whether it was whole by then; what cannot be told is believed.
    fn leads_to(&self, point: &Point) -> bool {
        match point {
            Point::Time(time) => self.ended <= *time,
            Point::Before(time) => self.ended < *time,
            Point::Lsn(lsn) => self.stop.is_none_or(|stop| stop <= *lsn),
            Point::Xid(xid) => self.next_xid.is_none_or(|next| next <= *xid),
            Point::Latest | Point::Immediate | Point::Name(_) => true,
        }
    }

    /// Whether the log that follows it comes as far; what cannot be told is believed.
    fn reaches(&self, point: &Point) -> bool {
        let Some(reach) = self.reach else { return true };
        match point {
            Point::Time(time) | Point::Before(time) => *time <= reach.until,
            Point::Lsn(lsn) => *lsn <= reach.end,
            Point::Latest | Point::Immediate | Point::Name(_) | Point::Xid(_) => true,
        }
    }
}

/// The write-ahead log that there is beside the backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// None: a backup has what makes it whole, and no more.
    Own,
    /// An archive: how far it leads stands with each backup.
    Archive,
}

/// The points that a source can be recovered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The end of the oldest backup.
    pub from: Timestamp,
    /// The end of the newest.
    pub newest: Timestamp,
    /// The log.
    pub log: Log,
    /// What the archived log leads to, where that is known of every backup.
    pub spans: Vec<Span>,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log {
            Log::Own if self.from == self.newest => {
                write!(f, "it can be recovered to the end of its backup alone, {}", shown(self.from))
            }
            Log::Own => {
                write!(
                    f,
                    "it can be recovered to the ends of its backups alone, from {} to {}",
                    shown(self.from),
                    shown(self.newest)
                )
            }
            Log::Archive if self.spans.is_empty() => {
                write!(
                    f,
                    "it can be recovered to any moment from {} to the last archived one",
                    shown(self.from)
                )
            }
            Log::Archive => {
                let told = self
                    .spans
                    .iter()
                    .map(|span| format!("from {} to {}", shown(span.from), shown(span.until)));
                write!(f, "it can be recovered to any moment {}", told.collect::<Vec<_>>().join(", and "))
            }
        }
    }
}

/// Why no backup leads to a point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// There is none at all.
    #[error("there is no backup of it")]
    None,
    /// It is before the first backup.
    #[error("{point} is before the end of the first backup: {window}")]
    Before {
        /// The point.
        point: Point,
        /// What can be had.
        window: Window,
    },
    /// It is after what was archived, or in a hole of it.
    #[error("{point} is not in what was archived: {window}")]
    After {
        /// The point.
        point: Point,
        /// What can be had.
        window: Window,
    },
    /// The end of the log is behind a segment that is missing.
    #[error(
        "segment `{segment}` is missing, and others behind it are there: a server that is to have all of the log does not start \
         from run {run}, and what is before the hole is not all; {window}"
    )]
    Hole {
        /// The segment.
        segment: Segment,
        /// The run.
        run: RunId,
        /// What can be had.
        window: Window,
    },
    /// No backup leads to the timeline.
    #[error(
        "no backup leads to timeline {timeline}: its history is not in the archive, or it left the timeline of each backup that \
         there is, or that `--run` names, before that was whole; name an earlier run, or another `--target-timeline`"
    )]
    NoWay {
        /// The timeline.
        timeline: u32,
    },
    /// There is no log to go on with.
    #[error("there is no write-ahead log to reach {point} with, as the plan has no `wal` block: {window}")]
    NoLog {
        /// The point.
        point: Point,
        /// What can be had.
        window: Window,
    },
}

/// The points that `bases` and a log lead to.
///
/// # Errors
/// Where there is no base, or none leads to the timeline that is wanted.
pub fn window(bases: &[Base], log: Log) -> Result<Window, WindowError> {
    let leading = || bases.iter().filter(|base| base.is_way());
    let (Some(from), Some(newest)) =
        (leading().map(|base| base.ended).min(), leading().map(|base| base.ended).max())
    else {
        let timeline = bases.iter().find_map(|base| base.reach).map(|reach| reach.timeline);
        return Err(timeline.map_or(WindowError::None, |timeline| WindowError::NoWay { timeline }));
    };
    let reaches: Option<Vec<_>> =
        leading().map(|base| base.reach.map(|reach| (base.ended, reach.until))).collect();
    let spans = match log {
        Log::Archive => spans(reaches.unwrap_or_default()),
        Log::Own => Vec::new(),
    };
    Ok(Window { from, newest, log, spans })
}

/// The newest backup from which the point can be reached: of several pasts, in the one that was archived last.
///
/// # Errors
/// When none leads there.
pub fn choose<'b>(
    bases: &'b [Base],
    log: Log,
    point: &Point,
    now: Timestamp,
) -> Result<&'b Base, WindowError> {
    let window = window(bases, log)?;
    if log == Log::Own && !matches!(point, Point::Latest | Point::Immediate) {
        return Err(WindowError::NoLog { point: point.clone(), window });
    }
    let leading = || bases.iter().filter(|base| base.is_way() && base.leads_to(point));
    // What is to come is archived nowhere.
    let is_to_come = matches!(point, Point::Time(time) | Point::Before(time) if *time > now);
    let found = newest(leading().filter(|base| base.reaches(point)).collect(), point);
    match found.filter(|_| !is_to_come) {
        Some(base) => match (point, base.reach.and_then(|reach| reach.missing)) {
            // Who wants all of it does not want what is before a hole.
            (Point::Latest, Some(Missing::Hole(segment))) => {
                Err(WindowError::Hole { segment, run: base.run, window })
            }
            _ => Ok(base),
        },
        None if leading().next().is_some() => Err(WindowError::After { point: point.clone(), window }),
        None => Err(WindowError::Before { point: point.clone(), window }),
    }
}

/// The newest of these. Where a cluster was recovered to a moment before its last backups, those are of a past that was left;
/// what goes on is what was archived last.
fn newest<'b>(mut found: Vec<&'b Base>, point: &Point) -> Option<&'b Base> {
    let is_known = found.iter().all(|base| base.reach.is_some());
    let reaches = found.iter().filter_map(|base| base.reach);
    if let Some(last) =
        reaches.max_by_key(|reach| reach.until).filter(|_| is_known && *point != Point::Immediate)
    {
        found.retain(|base| base.reach.is_some_and(|reach| reach.timeline == last.timeline));
    }
    found.into_iter().max_by_key(|base| base.run)
}

impl Recovery {
    /// The same as it is written where it is known how far the log leads: `latest` is the timeline that does, as Postgres
    /// looks for the newest by number and gives up where one is missing; and of a log that was given up there is no end but the
    /// backup's own.
    #[must_use]
    fn along(self, reach: Option<&Lead>) -> Recovery {
        let Some(reach) = reach else { return self };
        match (&self.point, reach.missing, self.timeline) {
            (Point::Latest, Some(Missing::GivenUp(_)), _) => {
                Recovery { point: Point::Immediate, timeline: Timeline::Current, ..self }
            }
            (_, _, Timeline::Latest) => Recovery { timeline: Timeline::Number(reach.timeline), ..self },
            _ => self,
        }
    }

    /// Makes of what is asked for what a server can find behind this backup, as far as the log is known; and says where that is.
    pub fn settle(&mut self, base: &Base, tail: Tail) -> String {
        let asked = self.point.to_string();
        let instead = tail.instead(&self.point, base.stop);
        let is_behind = instead.is_some();
        self.point = instead.unwrap_or_else(|| std::mem::take(&mut self.point));
        *self = std::mem::take(self).along(base.reach.as_ref());
        match (is_behind, tail.moment()) {
            (true, Some(at)) => {
                format!("{asked}, behind the last commit in the log, which was at {at}: to that")
            }
            (true, None) => {
                format!("{asked}: nothing is committed in the log since the backup, so to its end")
            }
            (false, _) => self.point.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;

    use super::{Base, Lead, Log, Missing, Point, Segment, WindowError, choose, shown};
    use crate::catalog::ids::RunId;
    use crate::postgres::wal::lsn::Lsn;

    fn time(hour: u32) -> Timestamp {
        format!("2026-11-20T{hour:02}:00:00Z").parse().unwrap()
    }

    fn bases() -> Vec<Base> {
        (1..=3_u32)
            .map(|n| Base {
                run: RunId::new(n, time(n)).unwrap(),
                ended: time(n * 4),
                stop: Some(Lsn(u64::from(n) * 100)),
                next_xid: Some(u64::from(n) * 1000),
                reach: None,
            })
            .collect()
    }

    fn lead(hour: u32, lsn: u64, missing: Option<Missing>) -> Lead {
        Lead { until: time(hour), last: None, end: Lsn(lsn), missing, timeline: 1, is_way: true }
    }

    const ARCHIVE: Log = Log::Archive;

    fn chosen(log: Log, point: &Point) -> Result<u32, WindowError> {
        choose(&bases(), log, point, time(20)).map(|base| base.run.sequence())
    }

    #[test]
    fn the_newest_backup_that_ended_before_the_point_is_taken() {
        assert_eq!(chosen(ARCHIVE, &Point::Latest), Ok(3));
        assert_eq!(chosen(ARCHIVE, &Point::Time(time(11))), Ok(2));
        assert_eq!(chosen(ARCHIVE, &Point::Time(time(12))), Ok(3));
        assert_eq!(chosen(ARCHIVE, &Point::Lsn(Lsn(150))), Ok(1));
        assert_eq!(chosen(ARCHIVE, &Point::Xid(2500)), Ok(2));
    }

    #[test]
    fn a_point_outside_the_window_is_refused_with_the_window() {
        let early = chosen(ARCHIVE, &Point::Time(time(3))).unwrap_err();
        assert!(matches!(early, WindowError::Before { .. }));
        let told = format!("any moment from {} to the last", shown(time(4)));
        assert!(early.to_string().contains(&told), "{early}");
        assert!(matches!(chosen(ARCHIVE, &Point::Lsn(Lsn(99))), Err(WindowError::Before { .. })));
        assert!(matches!(chosen(ARCHIVE, &Point::Xid(999)), Err(WindowError::Before { .. })));
        // The future is archived nowhere.
        assert!(matches!(chosen(ARCHIVE, &Point::Time(time(21))), Err(WindowError::After { .. })));
    }

    #[test]
    fn a_hole_in_the_log_is_no_part_of_the_window() {
        let mut bases = bases();
        // From the first to hour 6, from the second (8) to hour 14, the third (12) only for itself.
        let reach = [(6, 150), (14, 400), (12, 300)];
        for (base, (hour, lsn)) in bases.iter_mut().zip(reach) {
            base.reach = Some(lead(hour, lsn, None));
        }
        let chosen = |point: &Point| choose(&bases, ARCHIVE, point, time(20)).map(|base| base.run.sequence());
        assert_eq!(chosen(&Point::Time(time(5))), Ok(1));
        let hole = chosen(&Point::Time(time(7))).unwrap_err();
        assert!(matches!(hole, WindowError::After { .. }));
        let [first, until, second, last] = [4, 6, 8, 14].map(|hour| shown(time(hour)));
        let told = format!("from {first} to {until}, and from {second} to {last}");
        assert!(hole.to_string().ends_with(&told), "{hole}");
        // The third would be nearer, and does not come so far.
        assert_eq!(chosen(&Point::Time(time(13))), Ok(2));
        assert_eq!(chosen(&Point::Lsn(Lsn(400))), Ok(2));
        assert!(matches!(chosen(&Point::Lsn(Lsn(401))), Err(WindowError::After { .. })));
        assert!(matches!(chosen(&Point::Time(time(15))), Err(WindowError::After { .. })));
    }

    #[test]
    fn all_of_a_log_with_a_hole_is_refused_and_what_was_given_up_is_none() {
        let mut bases = bases();
        let segment = Segment::of(1, Lsn(5 << 24), 1 << 24);
        let chosen = |bases: &[Base], point: &Point| {
            choose(bases, ARCHIVE, point, time(20)).map(|base| base.run.sequence())
        };
        bases[2].reach = Some(lead(13, 300, Some(Missing::GivenUp(segment))));
        assert_eq!(chosen(&bases, &Point::Latest), Ok(3));
        bases[2].reach = Some(lead(13, 300, Some(Missing::Hole(segment))));
        let hole = chosen(&bases, &Point::Latest).unwrap_err();
        assert!(hole.to_string().starts_with("segment `000000010000000000000005` is missing"), "{hole}");
        // What is before it can be had, if it is asked for.
        for point in [Point::Time(time(13)), Point::Lsn(Lsn(300)), Point::Immediate] {
            assert_eq!(chosen(&bases, &point), Ok(3));
        }
    }

    #[test]
    fn backups_of_a_past_that_was_left_are_taken_for_that_alone() {
        // The third (12) was made after the accident; recovered to hour 10, the cluster goes on as timeline 2.
        let mut bases = bases();
        for (base, (until, timeline)) in bases.iter_mut().zip([(18, 2), (18, 2), (13, 1)]) {
            base.reach = Some(Lead { timeline, ..lead(until, 900, None) });
        }
        let chosen = |bases: &[Base], point: &Point| {
            choose(bases, ARCHIVE, point, time(20)).map(|base| base.run.sequence())
        };
        for point in
            [Point::Latest, Point::Time(time(13)), Point::Time(time(18)), Point::Name("x".to_owned())]
        {
            assert_eq!(chosen(&bases, &point), Ok(2), "{point}");
        }
        assert_eq!(chosen(&bases, &Point::Immediate), Ok(3));
        // The other is a copy's that ended long ago.
        bases[2].reach = Some(lead(19, 900, None));
        assert_eq!(chosen(&bases, &Point::Latest), Ok(3));
        // Asked for the second timeline, the third is none that leads there.
        bases[2].reach = Some(Lead { timeline: 2, is_way: false, ..lead(12, 300, None) });
        assert_eq!(chosen(&bases, &Point::Latest), Ok(2));
        let none = chosen(&bases[2..], &Point::Latest).unwrap_err();
        assert!(none.to_string().starts_with("no backup leads to timeline 2"), "{none}");
    }

    #[test]
    fn without_an_archive_only_the_ends_of_backups_can_be_had() {
        assert_eq!(chosen(Log::Own, &Point::Latest), Ok(3));
        assert_eq!(chosen(Log::Own, &Point::Immediate), Ok(3));
        let none = chosen(Log::Own, &Point::Time(time(13))).unwrap_err();
        assert!(none.to_string().contains("the plan has no `wal` block"), "{none}");
        assert_eq!(choose(&[], ARCHIVE, &Point::Latest, time(1)), Err(WindowError::None));
    }
}
