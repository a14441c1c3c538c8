//! When the steps of the last runs on this host began, and how long they took, as their journals tell.

use std::fs;
use std::io;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::host::{HostState, StateError};
use crate::past::journal::{self, How, Line, Record};
use crate::past::state::Folders;

/// A run and its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Its id.
    pub run: String,
    /// When it began.
    pub began: Timestamp,
    /// Its exit status; `None`: it has not come to its end, or never will.
    pub status: Option<u8>,
    /// Milliseconds until its last record.
    pub took_ms: u64,
    /// The steps that were run, in the order in which they began.
    pub steps: Vec<TimedStep>,
}

/// A step that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedStep {
    /// Its name.
    pub step: String,
    /// Milliseconds from the beginning of the run.
    pub after_ms: u64,
    /// Milliseconds that it took, all attempts together.
    pub took_ms: u64,
    /// How it ended.
    pub outcome: How,
}

/// The last runs of a plan whose journals are here, the newest first and `most` of them. Those that another run kept out are
/// left out, and so are journals that tell no times. Reads only.
///
/// # Errors
/// When local state is there and cannot be read.
pub fn last(state: &Path, plan: &str, file: &Path, most: usize) -> Result<Vec<Timeline>, StateError> {
    let plan = HostState::look(state)?.plan(plan, file)?;
    let folder = Folders::new(plan.folder()).journals();
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| StateError::Io { doing: "read", path, cause }
    };
    let mut found = Vec::new();
    for path in journal::newest_first(&folder).map_err(failed(&folder))? {
        if found.len() == most {
            break;
        }
        match fs::read(&path) {
            Ok(text) => found.extend(told(&String::from_utf8_lossy(&text))),
            // A run that goes on tidies up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    Ok(found)
}

fn told(text: &str) -> Option<Timeline> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let (began, run) = lines.find_map(|line| match line.record {
        Record::Begin { run, .. } => Some((line.at, run)),
        _ => None,
    })?;
    // A clock that was set back makes nothing negative.
    let since = |at: Timestamp| u64::try_from(at.duration_since(began).as_millis()).unwrap_or(0);
    let mut timeline = Timeline { run, began, status: None, took_ms: 0, steps: Vec::new() };
    for Line { at, record } in lines {
        match record {
            Record::Step { step, outcome, took_ms: Some(took_ms), .. } => {
                let took = SignedDuration::from_millis(i64::try_from(took_ms).ok()?);
                let after_ms = at.checked_sub(took).map_or(0, since);
                timeline.steps.push(TimedStep { step, after_ms, took_ms, outcome });
            }
            Record::End { status, .. } => timeline.status = Some(status),
            // That is the later run's time.
            Record::Recovered { .. } => continue,
            _ => {}
        }
        timeline.took_ms = timeline.took_ms.max(since(at));
    }
    timeline.steps.sort_by(|one, two| (one.after_ms, &one.step).cmp(&(two.after_ms, &two.step)));
    (!timeline.steps.is_empty() && timeline.status != Some(4)).then_some(timeline)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn line(ms: i64, record: Record) -> String {
        serde_json::to_string(&Line { at: at(ms), record }).unwrap() + "\n"
    }

    fn step(ms: i64, step: &str, outcome: How, took_ms: Option<u64>) -> String {
        line(ms, Record::Step { step: step.to_owned(), outcome, took_ms, reason: None, output: None })
    }

    fn begin() -> String {
        line(1000, Record::Begin { run: "r".to_owned(), pid: 1, only: Default::default(), owner: None })
    }

    #[test]
    fn steps_stand_where_they_began() {
        let mut text = begin();
        text += &step(1500, "scan/b", How::Done, Some(300));
        text += &step(1600, "scan/a", How::Failed, Some(600));
        text += &step(1600, "pack/x", How::NotRun, None);
        text += &line(1900, Record::End { status: 1, whole: false, warnings: Vec::new() });
        text += &line(90_000, Record::Recovered { by: "next".to_owned() });
        let told = told(&text).unwrap();
        let steps: Vec<_> = told.steps.iter().map(|step| (step.step.as_str(), step.after_ms)).collect();
        assert_eq!(steps, [("scan/a", 0), ("scan/b", 200)]);
        assert_eq!((told.status, told.took_ms), (Some(1), 900));
    }

    #[test]
    fn what_tells_no_times_is_left_out_and_half_a_line_is_nothing() {
        assert_eq!(told(""), None);
        assert_eq!(told(&(begin() + &step(1500, "scan/b", How::Done, None))), None);
        let kept_out = begin()
            + &step(1500, "lock/p", How::Failed, Some(1))
            + &line(1600, Record::End { status: 4, whole: false, warnings: Vec::new() });
        assert_eq!(told(&kept_out), None);
        let torn = begin() + &step(1500, "scan/b", How::Done, Some(10)) + "{\"at\":\"19";
        let torn = told(&torn).unwrap();
        assert_eq!((torn.status, torn.steps.len()), (None, 1));
        // Set back by an hour meanwhile.
        let back = told(&(begin() + &step(-3_600_000, "scan/b", How::Done, Some(10)))).unwrap();
        assert_eq!((back.took_ms, back.steps[0].after_ms), (0, 0));
    }
}
