//! Choices that the language has words for.

use super::{
    Absent, BackupMode, Compare, Compress, Event, LargeFiles, MariadbDriver, Monitor, PostgresDriver, Shape,
    Tls,
};

/// A choice that the language has words for. The words and what they mean stand in one table, from which the schema has them
/// too: no word can mean what it does not say.
pub trait Worded: Copy + PartialEq + 'static {
    /// Every word, in the order of the reference page, and what it means.
    const TABLE: &'static [(&'static str, Self)];

    /// What a word means; `None` if it is none of these.
    fn of(word: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning)
    }

    /// The word for it.
    fn word(self) -> &'static str {
        Self::TABLE.iter().find(|(_, meaning)| *meaning == self).map_or("", |(word, _)| word)
    }
}

/// The words of a table; a table of another length does not compile.
pub(crate) const fn words<T: Copy, const N: usize>(table: &[(&'static str, T)]) -> [&'static str; N] {
    assert!(table.len() == N);
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

impl Worded for Compress {
    const TABLE: &'static [(&'static str, Compress)] = &[("gzip", Compress::Gzip), ("zstd", Compress::Zstd)];
}

impl Worded for LargeFiles {
    const TABLE: &'static [(&'static str, LargeFiles)] =
        &[("whole", LargeFiles::Whole), ("blocks", LargeFiles::Blocks)];
}

impl Worded for Absent {
    const TABLE: &'static [(&'static str, Absent)] =
        &[("warn", Absent::Warn), ("skip", Absent::Skip), ("fail", Absent::Fail)];
}

impl Worded for Compare {
    const TABLE: &'static [(&'static str, Compare)] =
        &[("mtime", Compare::Mtime), ("checksum", Compare::Checksum)];
}

impl Worded for PostgresDriver {
    const TABLE: &'static [(&'static str, PostgresDriver)] = &[
        ("pgbackrest", PostgresDriver::Pgbackrest),
        ("basebackup", PostgresDriver::Basebackup),
        ("probackup", PostgresDriver::Probackup),
        ("dump", PostgresDriver::Dump),
    ];
}

impl Worded for MariadbDriver {
    const TABLE: &'static [(&'static str, MariadbDriver)] = &[("dump", MariadbDriver::Dump)];
}

impl Worded for BackupMode {
    const TABLE: &'static [(&'static str, BackupMode)] =
        &[("delta", BackupMode::Delta), ("page", BackupMode::Page), ("ptrack", BackupMode::Ptrack)];
}

impl Worded for Event {
    const TABLE: &'static [(&'static str, Event)] = &[
        ("start", Event::Start),
        ("success", Event::Success),
        ("warning", Event::Warning),
        ("failure", Event::Failure),
    ];
}

impl Worded for Shape {
    const TABLE: &'static [(&'static str, Shape)] =
        &[("json", Shape::Json), ("slack", Shape::Slack), ("teams", Shape::Teams), ("ntfy", Shape::Ntfy)];
}

impl Worded for Monitor {
    const TABLE: &'static [(&'static str, Monitor)] =
        &[("healthchecks", Monitor::Healthchecks), ("kuma", Monitor::Kuma)];
}

impl Worded for Tls {
    const TABLE: &'static [(&'static str, Tls)] =
        &[("starttls", Tls::Starttls), ("tls", Tls::Always), ("plain", Tls::Never)];
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn round<T: Worded + Debug>() {
        for (word, meaning) in T::TABLE {
            assert_eq!(T::of(word), Some(*meaning));
            assert_eq!(meaning.word(), *word);
        }
        assert_eq!(T::of("nothing of this kind"), None);
    }

    #[test]
    fn every_word_means_one_thing() {
        round::<Absent>();
        round::<Compare>();
        round::<PostgresDriver>();
        round::<MariadbDriver>();
        round::<BackupMode>();
        round::<Event>();
        round::<Shape>();
        round::<Monitor>();
        round::<Tls>();
    }
}
