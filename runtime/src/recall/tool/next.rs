//! Where the tool fails with the repository of one store, the next that has what is wanted is taken.

use std::path::Path;

use super::super::cluster::{ClusterError, Outcome, beside};
use super::{Sight, ToolRestore, file, plan_from};
use crate::control::Control;
use crate::places::folder::{self, Folder};
use crate::postgres::repository::KEY_FILE;

impl ToolRestore<'_> {
    /// Puts the cluster back, and starts it where that is wanted. Where its tool fails with the repository of one store, that of the next
    /// is taken, and told of.
    ///
    /// # Errors
    /// See [`ClusterError`]; of several repositories what each says.
    pub fn carry_out(&self, control: &Control) -> Result<Outcome, ClusterError> {
        let had_spaces = beside(&self.wish.to).exists();
        let why = match self.put_back(control) {
            Err(ClusterError::Tool(why)) => why,
            done => return done,
        };
        let Some((from, others)) = self.stores.as_ref().filter(|(_, others)| !others.is_empty()) else {
            return Err(ClusterError::Tool(why));
        };
        let mut told = vec![failed(from, &why)];
        for other in others {
            control.check()?;
            self.clear(had_spaces, control)?;
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

    /// Takes away what the tool has laid down: the data directory was empty before, or not there, and the folder of tablespaces was made
    /// for them.
    fn clear(&self, had_spaces: bool, control: &Control) -> Result<(), ClusterError> {
        let to = &self.wish.to;
        let emptied = Folder::open(to).map(|data| data.empty(&|_| true, control));
        emptied.map_err(file(to))?.map_err(|error| ClusterError::Tool(error.to_string()))?;
        let spaces = beside(to);
        let own = [self.beside("pgbackrest.conf"), self.beside(KEY_FILE)];
        let own =
            own.iter().map(std::path::PathBuf::as_path).chain((!had_spaces).then_some(spaces.as_path()));
        let gone = own.map(|path: &Path| folder::remove(path)).collect::<Result<(), _>>();
        gone.map_err(|error| ClusterError::Tool(error.to_string()))
    }
}

fn failed(store: &str, why: &str) -> String {
    format!("the repository in store `{store}` cannot be used for it: {}", why.replace('\n', " "))
}
