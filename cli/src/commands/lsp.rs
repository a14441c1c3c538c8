//! `plan lsp`

use super::plan::inputs;
use crate::args::Global;
use crate::exit::{Failure, Status};

/// Serves one editor over the standard streams, until it says that it is done.
///
/// # Errors
/// Where the editor does not keep to the protocol.
pub fn execute(global: &Global) -> Result<Status, Failure> {
    let inputs = inputs(global)?;
    match backplan_lsp::serve(inputs) {
        Ok(true) => Ok(Status::Done),
        Ok(false) => Err(Failure::new("the editor ended without `shutdown`")),
        Err(error) => {
            Err(Failure::new(error.to_string())
                .help("`plan lsp` is started by an editor; see docs/editors.md"))
        }
    }
}
