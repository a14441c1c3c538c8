//! A program's standard output as a source: streamed, and whole only if the program ended with 0.

use std::io::{self, Read};

use backplan_compiler::model::{ArchiveId, Command};

use super::Reader;
use crate::artefact::Content;
use crate::control::Control;
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
