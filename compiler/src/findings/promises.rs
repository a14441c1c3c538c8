//! Can what was promised be kept by the drivers.

use super::Check;
use crate::codes;
use crate::finding::Finding;
use crate::model::{Due, LargeFiles, Level, Schedule, SourceId};
use crate::sources::Place;

impl Check<'_> {
    pub(super) fn promises(&mut self) {
        self.repositories();
        self.wal_has_a_base();
        self.drivers_do_the_levels();
        self.schedules_have_fulls();
        self.encrypted_is_compressed_again();
        self.changed_blocks();
    }

    fn wal_has_a_base(&mut self) {
        for wal in &self.model.wals {
            let source = self.model.source(wal.source);
            let Some(why) = source.kind.facts().no_log else { continue };
            let message = format!("no WAL can be archived for source `{}`: {why}", source.name);
            self.findings.push(
                Finding::new(&codes::WAL_WITHOUT_BASE, wal.place, message)
                    .with(source.place, "the source")
                    .help("delete the `wal`, or choose `driver = basebackup`"),
            );
        }
    }

    /// The levels besides fulls that the plan asks for of a source, and where.
    fn levels(&self, source: SourceId) -> Vec<(Level, Place)> {
        let own = self.model.separate(source).and_then(|separate| separate.schedule.as_ref());
        let schedule = own.or(self.model.schedule.as_ref());
        let mut levels = Vec::new();
        // A schedule of its own that says levels leaves the cycle no say.
        let is_own = own.is_some_and(Schedule::is_by_levels);
        if let Some(cycle) = self.model.cycle.as_ref().filter(|cycle| cycle.incrementals > 0 && !is_own) {
            levels.push((cycle.follow, cycle.place));
        }
        if let Some(schedule) = schedule
            && let Due::Levels { differential, incremental, .. } = &schedule.due
        {
            levels.extend(differential.as_ref().map(|_| (Level::Differential, schedule.place)));
            levels.extend(incremental.as_ref().map(|_| (Level::Incremental, schedule.place)));
        }
        levels
    }

    fn drivers_do_the_levels(&mut self) {
        for (index, source) in self.model.sources.iter().enumerate() {
            for (level, place) in self.levels(SourceId(index)) {
                let unleveled = source.kind.facts().unleveled;
                let Some((_, what)) = unleveled.iter().find(|(other, _)| *other == level) else { continue };
                let level = format!("{level:?}").to_lowercase();
                let message = format!("source `{}` may have no {level} runs: {what}", source.name);
                self.findings.push(
                    Finding::new(&codes::LEVEL_UNSUPPORTED, source.place, message)
                        .with(place, "asked for here"),
                );
            }
        }
    }

    fn schedules_have_fulls(&mut self) {
        let own = self.model.separates.iter().filter_map(|separate| separate.schedule.as_ref());
        for schedule in self.model.schedule.iter().chain(own) {
            if let Due::Levels { full: None, differential, incremental } = &schedule.due
                && (differential.is_some() || incremental.is_some())
            {
                let message =
                    "this schedule has no full: everything would rest on the very first run for ever";
                self.findings.push(
                    Finding::new(&codes::NO_FULL, schedule.place, message)
                        .help("add `full = weekly on sun at 03:00`, say"),
                );
            }
        }
    }

    fn changed_blocks(&mut self) {
        for archive in self.model.archives.iter().filter(|archive| archive.large_files == LargeFiles::Blocks)
        {
            let place = self.facts.place("archive", &archive.name, "large_files").unwrap_or(archive.place);
            let (message, help) = match archive.self_contained {
                true => (
                    format!(
                        "archive `{}` is self-contained: it has no differences that could hold blocks",
                        archive.name
                    ),
                    "leave one of the two out",
                ),
                false => (
                    format!(
                        "`tar` alone cannot lay differences of archive `{}` over what they rest on",
                        archive.name
                    ),
                    "`plan restore` does, and so does a script in docs/artefact.md",
                ),
            };
            self.findings.push(Finding::new(&codes::CHANGED_BLOCKS, place, message).help(help));
        }
    }

    fn encrypted_is_compressed_again(&mut self) {
        for archive in &self.model.archives {
            if archive.self_contained && !archive.encrypt.is_empty() {
                let place =
                    self.facts.place("archive", &archive.name, "self_contained").unwrap_or(archive.place);
                let message = format!(
                    "archive `{}` is encrypted and self-contained: each run compresses all of it again",
                    archive.name
                );
                self.findings.push(
                    Finding::new(&codes::RECOMPRESSED, place, message)
                        .help("a run holds no private key, so it cannot copy from an earlier artefact"),
                );
            }
        }
    }
}
