//! What `pg_dump` and `pg_dumpall` warn of: a dump was made, and something may not be in it.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use crate::programs::process::Tell;
use crate::text::printable;

/// The programs that are listened to. They speak English: they are started with `LC_ALL=C`.
const PROGRAMS: [&str; 2] = ["pg_dump: ", "pg_dumpall: "];

/// Warnings by which nothing is lost. All others of PostgreSQL 15 to 17 tell of something that is not in the dump, or not as it was: subscriptions,
/// roles whose names begin with `pg_`, grants of roles that are gone, objects whose owner, type or function is.
const HARMLESS: &[&str] = &[
    // Of tables of one extension that name one another, as TimescaleDB's do, each time: their rows are in the dump, and the extension says
    // how to load them. Of others it is told by a dump without definitions alone.
    "there are circular foreign-key constraints",
];

/// What to do about some.
const MENDS: &[(&str, &str)] = &[("subscriptions not dumped", SUBSCRIPTIONS)];

/// What is to be done for subscriptions to be in a dump.
pub(super) const SUBSCRIPTIONS: &str = "`pg_dump` dumps subscriptions for a superuser alone: let one dump them (`alter role NAME superuser`), or drop what nobody \
     needs (`drop subscription`)";

/// How many of one program are told by themselves.
const TOLD: usize = 5;

/// Listens to the programs of a source.
#[derive(Default)]
pub(super) struct Warned(Arc<Mutex<Vec<String>>>);

impl Warned {
    /// Hears what goes to `tell`, too.
    pub(super) fn listening(&self, tell: &Tell) -> Tell {
        let (heard, tell) = (Arc::clone(&self.0), Arc::clone(tell));
        Arc::new(move |line| {
            hear(&mut heard.lock().unwrap_or_else(PoisonError::into_inner), line);
            tell(line);
        })
    }

    /// What was warned of since it was last asked for.
    pub(super) fn take(&self) -> Vec<String> {
        let mut heard = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        heard.retain(|said| !HARMLESS.iter().any(|harmless| said.contains(harmless)));
        let more = heard.len().saturating_sub(TOLD);
        heard.truncate(TOLD);
        let mut told: Vec<String> = heard.iter().map(|said| mended(said)).collect();
        told.extend((more > 0).then(|| format!("and {more} more, which are in its output")));
        told
    }
}

/// Keeps a warning, and what stands below it.
fn hear(heard: &mut Vec<String>, line: &str) {
    let Some(said) = PROGRAMS.iter().find_map(|program| line.strip_prefix(program)) else { return };
    if let Some(warning) = said.strip_prefix("warning: ") {
        heard.push(printable(warning.as_bytes()));
    } else if let (Some(detail), Some(last)) = (said.strip_prefix("detail: "), heard.last_mut()) {
        last.push(' ');
        last.push_str(&printable(detail.as_bytes()));
    }
}

fn mended(said: &str) -> String {
    let mend = MENDS.iter().find(|(part, _)| said.contains(part)).map(|(_, mend)| *mend);
    mend.map_or_else(|| said.to_owned(), |mend| format!("{said}; {mend}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_a_dump_is_heard_and_what_only_sounds_like_it_is_not() {
        let warned = Warned::default();
        let tell = warned.listening(&(Arc::new(|_: &str| {}) as Tell));
        for line in [
            "pg_dump: warning: there are circular foreign-key constraints on this table:",
            "pg_dump: detail: chunk",
            "pg_dump: hint: You might not be able to restore the dump without using --disable-triggers.",
            "WARNING:  database \"x\" has a collation version mismatch",
            "pg_dump: saving encoding = UTF8",
            "pg_dump: warning: subscriptions not dumped because current user is not a superuser",
            "pg_dump: warning: could not resolve dependency loop among these items:",
            "pg_dump: detail:   FUNCTION f  (ID 1 OID 2)",
            "pg_dumpall: warning: role name starting with \"pg_\" skipped (pg_x)",
        ] {
            tell(line);
        }
        let told = warned.take();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("alter role NAME superuser"), "{told:?}");
        assert_eq!(
            told[1],
            "could not resolve dependency loop among these items:   FUNCTION f  (ID 1 OID 2)"
        );
        assert!(told[2].starts_with("role name"), "{told:?}");
        (0..8)
            .for_each(|at| tell(&format!("pg_dump: warning: owner of table \"{at}\" appears to be invalid")));
        assert_eq!(warned.take().last().map(String::as_str), Some("and 3 more, which are in its output"));
        assert!(warned.take().is_empty());
    }
}
