//! A cluster as a source of a run, whatever its driver.

use std::path::Path;

use backplan_compiler::model::{ArchiveId, Compare, Postgres, Source, SourceId, Worded};

use crate::artefact::Content;
use crate::run::coordinator::Failure;
use crate::run::databases::Cluster;
use crate::run::output::Output;
use crate::run::reading::Reading;
use crate::source::look::Look;
use crate::source::{Foreseen, Reader};

impl Reader for Postgres {
    fn foresee(&self, _: &Source) -> Result<Foreseen, String> {
        // Its tool would have to be asked, and asking is an action already.
        Ok(Foreseen::Made(format!("a backup by {}", self.driver.word())))
    }

    fn dump(&self, reading: &Reading<'_>) -> Result<Output, Failure> {
        let cluster = Cluster::of(reading.doing, reading.id, self);
        cluster.dump(cluster.may_stream()).map(Output::from)
    }

    fn content(&self, reading: &Reading<'_>, archive: ArchiveId) -> Result<Option<Content>, Failure> {
        Ok(Some(match Cluster::of(reading.doing, reading.id, self).streamed()? {
            Some(feed) => Content::Feed(feed),
            None => reading.scanned(archive, Compare::Mtime),
        }))
    }

    fn probe(&self, look: &mut Look<'_>, id: SourceId, state: &Path) -> u64 {
        look.cluster(id, self, state)
    }
}
