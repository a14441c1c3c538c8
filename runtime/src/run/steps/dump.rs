//! Copying a source that is no tree of files.

use std::path::Path;

use backplan_compiler::count::plural;
use backplan_compiler::model::{Source, SourceId};

use super::{Ahead, Context, Doing, Failure, Output, Performed, Scene, Sight, StepPlan};
use crate::catalog::mounted::Mounted;
use crate::run::facts::SourceFact;
use crate::run::footing;
use crate::run::reading::Reading;
use crate::source::{Foreseen, reader};

/// What a database lies on.
#[derive(Debug)]
pub(crate) enum Footing {
    /// This file system; `None`: what everything is on.
    On(Option<Mounted>),
    /// What it lay on is not mounted any more, and it may be left out.
    Gone(String),
}

/// Sees that the database of a source, at this path, lies on the file system that it lay on before.
///
/// # Errors
/// When what it lay on is not mounted any more, and it is needed.
pub(crate) fn footing(context: &Context, id: SourceId, path: &Path) -> Result<Footing, Failure> {
    let source = context.model().source(id);
    let expected = context.mounts.get(&id).map(Vec::as_slice).unwrap_or_default();
    match footing::see(context.model(), id, expected, path) {
        Ok(now) => Ok(Footing::On(now)),
        Err(why) if source.optional => Ok(Footing::Gone(why)),
        Err(why) => Err(Failure::passing(format!("source `{}`: {why}", source.name))),
    }
}

/// A source that is copied.
pub(crate) struct DumpPlan<'a> {
    id: SourceId,
    source: &'a Source,
    /// What it lies on, where that is known without asking a server.
    footing: Option<Footing>,
}

impl<'a> DumpPlan<'a> {
    /// Looks what it lies on.
    ///
    /// # Errors
    /// When what it lay on is not mounted any more.
    pub fn make(scene: Scene<'a>, id: SourceId) -> Result<DumpPlan<'a>, Failure> {
        let source = scene.model().source(id);
        let lies_at = reader(&source.kind).lies_at();
        let footing = lies_at.map(|path| footing(scene.context, id, path)).transpose()?;
        Ok(DumpPlan { id, source, footing })
    }
}

impl StepPlan for DumpPlan<'_> {
    fn foreseen(self: Box<Self>, _: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (sight, output) = match self.footing {
            Some(Footing::Gone(why)) => {
                let told = format!("source `{}`: {why}; it would be left out", self.source.name);
                (Sight::default().warned(told), Ok(SourceFact::Absent(why).into()))
            }
            _ => foreseen(self.source),
        };
        (sight, output.map(Performed::Done))
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let reading = Reading { doing, id: self.id };
        let absent = self.footing.and_then(|footing| reading.lies_on(footing));
        absent.map_or_else(|| reader(&self.source.kind).dump(&reading), Ok).map(Performed::from)
    }
}

/// What a dry run sees of a copy, and what it would come to.
pub(super) fn foreseen(source: &Source) -> (Sight, Result<Output, Failure>) {
    match reader(&source.kind).foresee(source) {
        Err(error) => (Sight::default(), Err(Failure::lasting(error))),
        Ok(Foreseen::Nothing) => (Sight::default(), Ok(Output::Nothing)),
        Ok(Foreseen::File(bytes)) => {
            let sight = Sight::found(format!("about {}", plural(bytes, "byte")));
            (sight, Ok(SourceFact::Expected(Some(bytes)).into()))
        }
        Ok(Foreseen::Made(what)) => {
            let sight = Sight::found(format!("{what}; its size is known when it is made"));
            (sight, Ok(SourceFact::Expected(None).into()))
        }
        Ok(Foreseen::Absent(why)) => {
            (Sight::default().warned(why.clone()), Ok(SourceFact::Absent(why).into()))
        }
    }
}
