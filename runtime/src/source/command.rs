//! A program's standard output as a source: streamed, and whole only if the program ended with 0.

use std::io::{self, Read};
use std::path::Path;

use backplan_compiler::codes;
use backplan_compiler::model::{ArchiveId, Command, SourceId};
use backplan_compiler::value::Text;
use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::Reader;
use super::look::Look;
use crate::artefact::Content;
use crate::control::Control;
use crate::places::account;
use crate::programs::process::{ProcessError, Program, Running, Tell};
use crate::run::coordinator::Failure;
use crate::run::reading::Reading;

impl Reader for Command {
    fn content(&self, reading: &Reading<'_>, _: ArchiveId) -> Result<Option<Content>, Failure> {
        let output = Output::start(&reading.program(self)?, reading.control(), &reading.tell())
            .map_err(|error| reading.failure(&error))?;
        reading.is_read();
        Ok(Some(Content::Stream {
            reader: Box::new(output),
            name: self.as_name.clone(),
            mtime: reading.started(),
            mode: 0o600,
        }))
    }

    /// Whether its program is there, and its account: whoever looks is best the account that runs the plan.
    fn probe(&self, look: &mut Look<'_>, id: SourceId, _: &Path) -> u64 {
        let source = look.model.source(id);
        if let Some(name) = &self.run_as {
            match account::find(name) {
                Ok(None) => {
                    let message = format!("source `{}`: {}", source.name, account::missing(name));
                    look.find(
                        &codes::ACCOUNT_MISSING,
                        source.place,
                        message,
                        "name an account of this machine",
                    );
                }
                Ok(Some((user, _))) if !geteuid().is_root() && user != geteuid().as_raw() => {
                    let message =
                        format!("source `{}`: only root can start a program as `{name}`", source.name);
                    look.find(
                        &codes::RIGHTS_MISSING,
                        source.place,
                        message,
                        "run the plan as root, or as that account",
                    );
                }
                // What cannot be told now is told by the run.
                Ok(_) | Err(_) => {}
            }
        }
        // One whose name is known when it runs is looked for by the run.
        let program = self.run.first().and_then(Text::as_literal).filter(|program| !program.is_empty());
        if let Some(program) = program.filter(|program| !is_there(program)) {
            let message = format!("source `{}`: there is no program `{program}`", source.name);
            let help = "install it where the plan runs, or write its path";
            look.find(&codes::TOOL_MISSING, source.place, message, help);
        }
        0
    }
}

/// Whether a program would be found: by its path, else in the folders of `PATH`.
fn is_there(program: &str) -> bool {
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    match program.contains('/') {
        true => is_program(Path::new(program)),
        false => {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).any(|folder| is_program(&folder.join(program)))
        }
    }
}

/// Reads the program's output. At its end the program's status is looked at: where it is not 0, the end is an error.
pub struct Output {
    running: Option<Running>,
}

impl Output {
    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Program, control: &Control, line: &Tell) -> Result<Output, ProcessError> {
        Ok(Output { running: Some(Running::start(program, control, line)?) })
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(running) = &mut self.running else { return Ok(0) };
        match running.read(buffer) {
            Ok(0) if !buffer.is_empty() => match self.running.take().map(Running::finish) {
                Some(Err(error)) => Err(io::Error::other(error)),
                _ => Ok(0),
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    fn read(script: &str) -> (Vec<u8>, io::Result<usize>) {
        let program = Program::new(["sh", "-c", script].map(str::to_owned).to_vec());
        let silent: Tell = Arc::new(|_| {});
        let mut output = Output::start(&program, &Control::default(), &silent).unwrap();
        let mut got = Vec::new();
        let end = output.read_to_end(&mut got);
        (got, end)
    }

    #[test]
    fn an_output_is_whole_only_if_its_program_ended_with_0() {
        let (got, end) = read("printf all");
        assert_eq!((got.as_slice(), end.unwrap()), (b"all".as_slice(), 3));
        let (got, end) = read("printf half; echo disk gone >&2; exit 3");
        assert_eq!(got, b"half");
        let said = end.unwrap_err().to_string();
        assert!(said.contains("status 3") && said.contains("disk gone"), "{said}");
    }
}
