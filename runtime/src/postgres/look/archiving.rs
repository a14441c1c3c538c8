//! Whether the server's `archive_command` brings its log to where the plan keeps it, as the account that runs it.

use backplan_compiler::count::plural;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backplan_compiler::codes;
use backplan_compiler::model::{Postgres, PostgresDriver, Source, SourceId, Wal};
use backplan_compiler::sources::Place;

use crate::places::account;
use crate::postgres::pgbackrest::{CONFIG, archive_line};
use crate::postgres::probe::Facts;
use crate::postgres::recovery::{command_word, quote};
use crate::postgres::wal::archive;
use crate::postgres::wal::name::{Segment, WalName};
use crate::programs::process::{self, Program, Tell};
use crate::source::look::Look;

/// How long a program may take to say its version.
const LIMIT: Duration = Duration::from_secs(20);
/// Segments that may wait: one that is being pushed, and one behind it.
const WAITING: u64 = 3;

impl Look<'_> {
    /// Looks at the command of a server that archives.
    pub(super) fn archiving(&mut self, id: SourceId, source: &Source, postgres: &Postgres, facts: &Facts) {
        let wal = self.model.wals.iter().find(|wal| wal.source == id);
        let place = wal.map_or(source.place, |wal| wal.place);
        let words = words(&facts.archive_command);
        let told = match wal {
            Some(wal) => self.pushes(source, wal, facts, &words),
            None if postgres.driver == PostgresDriver::Pgbackrest => {
                self.pushes_by_tool(id, source, postgres, facts, &words)
            }
            None => return,
        };
        if let Some((wrong, text)) = told {
            let name = &source.name;
            let line = self.archive_line(id, source, postgres).unwrap_or_default();
            let (code, message, help) = match wrong {
                Wrong::Elsewhere => (
                    &codes::ARCHIVE_COMMAND,
                    format!("source `{name}`: the server's `archive_command` {text}"),
                    format!("set in `postgresql.conf`, and reload the server:\n{line}"),
                ),
                Wrong::NoProgram => (
                    &codes::ARCHIVE_UNREACHABLE,
                    format!("source `{name}`: {text}"),
                    "put the program where every account can run it (`/usr/local/bin`), and name it there in `archive_command`"
                        .to_owned(),
                ),
                Wrong::Closed => (
                    &codes::ARCHIVE_UNREACHABLE,
                    format!("source `{name}`: {text}"),
                    "let the server's account through the folders above, and read and write there".to_owned(),
                ),
            };
            self.find(code, place, message, help);
        }
        self.waiting(source, place, facts);
    }

    /// `plan wal push FILE SOURCE %p`: what is wrong with it.
    fn pushes(&self, source: &Source, wal: &Wal, facts: &Facts, words: &[String]) -> Option<(Wrong, String)> {
        let at = words.windows(2).position(|pair| pair == ["wal", "push"])?;
        let program = words[..at].last()?;
        let mut operands = words[at + 2..].iter().filter(|word| !word.starts_with('-'));
        let (file, pushed) = (operands.next()?, operands.next()?);
        if *pushed != source.name {
            return Some((Wrong::Elsewhere, format!("pushes the log of `{pushed}`")));
        }
        let file = facts.folder().join(file);
        if !is_same(&file, &self.model.file) {
            return Some((Wrong::Elsewhere, format!("pushes by another plan, `{}`", file.display())));
        }
        let account = Account::of(facts)?;
        let folders = wal.to.iter().filter_map(|store| self.model.store(*store).folder());
        let archives = folders.map(|root| archive::folder(root, &self.model.name, &source.name));
        let closed = || archives.filter(|folder| folder.is_dir()).find(|folder| !account.may("-w", folder));
        let (wrong, why) = match () {
            () if !account.runs(program, "--version") => {
                (Wrong::NoProgram, format!("cannot run `{program}`"))
            }
            () if !account.may("-r", &file) => {
                (Wrong::Closed, format!("cannot read the plan `{}`", file.display()))
            }
            () => (Wrong::Closed, format!("cannot write into the archive `{}`", closed()?.display())),
        };
        Some((wrong, format!("`{}`, whose server archives by it, {why}", account.name)))
    }

    /// `pgbackrest --config=FILE --stanza=S archive-push %p`.
    fn pushes_by_tool(
        &self,
        id: SourceId,
        source: &Source,
        postgres: &Postgres,
        facts: &Facts,
        words: &[String],
    ) -> Option<(Wrong, String)> {
        let program = words.iter().find(|word| word.rsplit('/').next() == Some("pgbackrest"))?;
        words.iter().find(|word| *word == "archive-push")?;
        let option = |name: &str| words.iter().rev().find_map(|word| word.strip_prefix(name));
        let stanza = postgres.stanza.as_deref().unwrap_or(&source.name);
        match option("--stanza=") {
            Some(other) if other != stanza => {
                return Some((
                    Wrong::Elsewhere,
                    format!("pushes to stanza `{other}`, and the plan's is `{stanza}`"),
                ));
            }
            Some(_) => {}
            None => return None,
        }
        let wanted = self.settings_of(id, source, postgres)?;
        let file = facts.folder().join(option("--config=")?);
        if !is_same(&file, &wanted) {
            return Some((
                Wrong::Elsewhere,
                format!("has the settings `{}`, and the plan's are `{}`", file.display(), wanted.display()),
            ));
        }
        let account = Account::of(facts)?;
        let (wrong, why) = match () {
            () if !account.runs(program, "version") => (Wrong::NoProgram, format!("cannot run `{program}`")),
            // Before the first run there are none.
            () if !wanted.exists() || account.may("-r", &wanted) => return None,
            () => (Wrong::Closed, format!("cannot read the settings `{}`", wanted.display())),
        };
        Some((wrong, format!("`{}`, whose server archives by it, {why}", account.name)))
    }

    /// The line of `postgresql.conf` by which the server archives where the plan keeps its log.
    pub(super) fn archive_line(&self, id: SourceId, source: &Source, postgres: &Postgres) -> Option<String> {
        if !self.model.wals.iter().any(|wal| wal.source == id) {
            let stanza = postgres.stanza.as_deref().unwrap_or(&source.name);
            return Some(archive_line(&self.settings_of(id, source, postgres)?, stanza));
        }
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("plan"));
        let words =
            [own.display().to_string(), "wal".into(), "push".into(), self.model.file.display().to_string()];
        let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
        let command = format!("{} {} %p", words.join(" "), source.name);
        Some(format!("archive_command = {}", quote(&command).unwrap_or(command)))
    }

    /// The settings file that a run and the server share.
    fn settings_of(&self, id: SourceId, source: &Source, postgres: &Postgres) -> Option<PathBuf> {
        if let Some(config) = &postgres.config {
            return Some(config.clone());
        }
        let apart = self.model.separate(id).and_then(|own| {
            let only = own.to.first().filter(|_| own.to.len() == 1)?;
            let folder = self.model.store(*only).folder()?;
            Some(folder.join(backplan_compiler::lower::repository(&self.model.name, &source.name)))
        });
        postgres.staging.clone().or(apart).map(|home| home.join(CONFIG))
    }

    /// What the server has written and not archived.
    fn waiting(&mut self, source: &Source, place: Place, facts: &Facts) {
        let segment = |name: &Option<String>| match name.as_ref()?.get(..24)?.parse() {
            Ok(WalName::Segment(segment)) => Some(segment),
            _ => None,
        };
        let (Some(last), Some(current)) = (segment(&facts.last_archived), segment(&facts.current)) else {
            return;
        };
        if last.timeline != current.timeline {
            return;
        }
        let begin = |segment: Segment| segment.begin(facts.segment_bytes).0;
        let ahead = begin(current).saturating_sub(begin(last)) / facts.segment_bytes.max(1);
        // The current one is not due yet.
        let waiting = ahead.saturating_sub(1);
        if waiting < WAITING {
            return;
        }
        let message = format!(
            "source `{}`: its log waits to be archived, {} of it; the last that was is `{last}`",
            source.name,
            plural(waiting, "segment")
        );
        let help = "the server's log says what holds `archive_command` up; its disk fills meanwhile";
        self.find(&codes::ARCHIVE_BEHIND, place, message, help);
    }
}

/// What is wrong with a server's command.
enum Wrong {
    /// It brings the log elsewhere.
    Elsewhere,
    /// The server's account cannot run the program.
    NoProgram,
    /// It cannot reach the plan, the settings or the archive.
    Closed,
}

/// The account of the server, where this process can look as it.
struct Account {
    name: String,
    /// Who this process is already.
    is_own: bool,
}

impl Account {
    fn of(facts: &Facts) -> Option<Account> {
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(facts.data_directory.as_ref()?).ok()?.uid();
        let own = rustix::process::geteuid();
        let is_own = own.as_raw() == owner;
        (is_own || own.is_root()).then_some(())?;
        Some(Account { name: account::name_of(owner)?, is_own })
    }

    fn may(&self, what: &str, path: &Path) -> bool {
        self.succeeds(vec!["test".to_owned(), what.to_owned(), path.display().to_string()])
    }

    /// Whether a program that is known to be harmless says its version; of another, whether it could be started.
    fn runs(&self, program: &str, ask: &str) -> bool {
        match program.rsplit('/').next() {
            Some("plan" | "pgbackrest") => self.succeeds(vec![program.to_owned(), ask.to_owned()]),
            _ if program.contains('/') => self.may("-x", Path::new(program)),
            _ => self.succeeds(["sh", "-c", "command -v -- \"$0\"", program].map(str::to_owned).to_vec()),
        }
    }

    fn succeeds(&self, argv: Vec<String>) -> bool {
        let silent: Tell = Arc::new(|_| {});
        let mut asked = Program::new(argv);
        asked.run_as = (!self.is_own).then(|| self.name.clone());
        (asked.timeout, asked.folder) = (Some(LIMIT), Some(PathBuf::from("/")));
        process::run(&asked, &crate::control::Control::default(), &silent).is_ok()
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}

/// The words of a command, as a shell parts them; what else it may do with them is not looked at.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut all = command.chars();
    while let Some(c) = all.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(all.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    // The server makes one of two before the shell sees them.
    words.into_iter().map(|word| word.replace("%%", "%")).collect()
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_command_falls_into_its_words() {
        let found = words("test ! -e /x && '/opt/my plan' wal  push \"/etc/a b.plan\" main %p");
        assert_eq!(found[5..], ["/opt/my plan", "wal", "push", "/etc/a b.plan", "main", "%p"]);
        assert_eq!(words(r"a\ b '' 'it'\''s 100%%'"), ["a b", "", "it's 100%"]);
        assert!(words(" ").is_empty());
    }
}
