//! Where the tool fails with the repository of one store, the next that has what is wanted is taken.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::super::cluster::{ClusterError, ClusterOutcome, beside};
use super::{Sight, ToolRestore, file, plan_from};
use crate::backups::restore::must_be_empty;
use crate::backups::unfinished::{self, Mark};
use crate::control::Control;
use crate::places::folder::{self, Folder, FolderError};
use crate::postgres::repository::KEY_FILE;
use crate::postgres::server::ServerError;

impl ToolRestore<'_> {
    /// Puts the cluster back, and starts it where that is wanted. Where its tool fails with the repository of one store, that of the next
    /// is taken, and told of.
    ///
    /// # Errors
    /// See [`ClusterError`]; of several repositories what each says.
    pub(super) fn put_back_by_any(&self, control: &Control) -> Result<ClusterOutcome, ClusterError> {
        let spaces = self.wish.tablespaces.iter().filter(|(name, _)| !name.is_absolute());
        let spaces = std::iter::once(beside(&self.wish.to)).chain(spaces.map(|(_, to)| to.clone()));
        let new: Vec<PathBuf> = spaces.filter(|space| !space.exists()).collect();
        // Until it has ended: what is taken away between two repositories is this restore's own.
        let _held = self.hold()?;
        let cause = match self.put_back(control) {
            Err(cause) if is_of_repository(&cause) => cause,
            done => return done,
        };
        let Some((from, others)) = self.stores.as_ref().filter(|(_, others)| !others.is_empty()) else {
            return Err(cause);
        };
        let mut told = vec![failed(from, &cause.to_string())];
        for other in others {
            control.check()?;
            if let Err(error) = self.clear(&new, control) {
                told.push(format!("what it left is in the way of the next: {error}"));
                break;
            }
            let sight = Sight { shelves: self.shelves, from: Some(other) };
            let next = plan_from(sight, self.asked.clone(), self.now);
            match next.and_then(|next| next.put_back(control)) {
                Ok(mut outcome) => {
                    told.push(format!(
                        "run {} was taken from the repository in store `{other}` instead",
                        outcome.run
                    ));
                    outcome.warnings.splice(0..0, told);
                    return Ok(outcome);
                }
                Err(ClusterError::Stopped(stopped)) => return Err(stopped.into()),
                Err(why) => told.push(failed(other, &why.to_string())),
            }
        }
        Err(ClusterError::Tool(told.join("\n  ")))
    }

    /// Makes the data directory, and holds it against all other restores.
    fn hold(&self) -> Result<Mark, ClusterError> {
        let to = &self.wish.to;
        DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(file(to))?;
        let held = unfinished::hold(to)?;
        // Another may have come to its end meanwhile.
        must_be_empty(to)?;
        Ok(held)
    }

    /// Takes away what the tool has laid down: the data directory was empty before, or not there, and the folders of tablespaces that are
    /// `new` were not there.
    fn clear(&self, new: &[PathBuf], control: &Control) -> Result<(), ClusterError> {
        let to = &self.wish.to;
        let told = |error: FolderError| ClusterError::Tool(error.to_string());
        match Folder::open(to) {
            // It came to nothing before the tool was called.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            data => drop(data.map_err(file(to))?.empty(&|_| true, control).map_err(told)?),
        }
        let own = [self.beside("pgbackrest.conf"), self.beside(KEY_FILE)];
        let gone = own.iter().chain(new).try_for_each(|path| folder::remove(path));
        gone.map_err(told)
    }
}

/// pgBackRest's numbers for: a server runs there, there are files, and another of its processes is at work. What lies in the folder then
/// somebody else has laid down, who knows nothing of other restores.
const OF_ANOTHER: [&str; 3] = ["[038]:", "[040]:", "[050]:"];

/// Whether another repository may do better: the tool failed, or the server that was started could not read its log to the end. Not
/// where the tool found the folder to be in use: nothing in it is to be taken away.
fn is_of_repository(cause: &ClusterError) -> bool {
    match cause {
        ClusterError::Tool(why) => !is_of_another(why),
        ClusterError::Server { cause: ServerError::Short { .. }, .. } => true,
        ClusterError::Server { cause: ServerError::Ended { words, .. }, .. } => {
            words.iter().any(|line| line.contains("could not restore file"))
        }
        _ => false,
    }
}

fn is_of_another(why: &str) -> bool {
    OF_ANOTHER.iter().any(|code| why.contains(code))
}

fn failed(store: &str, why: &str) -> String {
    format!("the repository in store `{store}` cannot be used for it: {}", why.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::is_of_another;

    #[test]
    fn a_folder_in_which_somebody_else_is_at_work_is_not_cleared() {
        let full = "P00  ERROR: [040]: unable to restore to path '/pg' because it contains files";
        assert!(is_of_another(full));
        assert!(is_of_another("ERROR: [050]: unable to acquire lock on file '/tmp/pgbackrest/x.lock'"));
        assert!(!is_of_another("ERROR: [055]: unable to load info file"));
    }
}
