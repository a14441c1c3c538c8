//! One file, to a stream. Whether it has its digest is known behind its last byte; what was given by then cannot be taken back. So the
//! first of it is held back, and a small file altogether: where it is damaged, another copy of its artefact is read instead.

use std::io::{self, Write};

use backplan_compiler::count::plural;

use super::view::{LayerError, Live, View};
use super::{Flags, ReadError};
use backplan_host::control::Control;

/// Bytes that are held back.
const HELD_BACK: usize = 16 << 20;

/// Gives on what it is given, once that is more than is held back.
struct HeldBack<'o> {
    out: &'o mut dyn Write,
    held: Vec<u8>,
    /// Bytes that were given on.
    gone: u64,
}

impl HeldBack<'_> {
    /// Gives on what is held.
    fn release(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.gone += held.len() as u64;
        self.out.write_all(&held)
    }
}

impl Write for HeldBack<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gone == 0 && self.held.len() + bytes.len() <= HELD_BACK {
            self.held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.release()?;
        self.out.write_all(bytes)?;
        self.gone += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl View {
    /// Writes a file's contents, holes as zeros, and returns the number of bytes. Where it is damaged before more than what is held
    /// back was written, it is read as another copy of its artefact has it.
    ///
    /// # Errors
    /// When it is no file, or its bytes do not have the recorded digest: then none was written, or the error says how many.
    pub fn cat(&self, live: &Live, out: &mut dyn Write, control: &Control) -> Result<u64, LayerError> {
        let failed = |cause| self.of_layer(live.spot.layer as usize)(ReadError::Output(cause));
        let mut held = HeldBack { out, held: Vec::new(), gone: 0 };
        let mut first = None;
        for tried in 0..self.copies() {
            match self.cat_in(tried, live, &mut held, control) {
                Ok(size) => return held.release().map(|()| size).map_err(failed),
                Err(error) if !matches!(error.cause, ReadError::Damaged { .. }) => return Err(error),
                Err(error) if held.gone > 0 => return Err(too_late(error, held.gone)),
                // Where none is whole, what was wrong with the first.
                Err(error) => _ = first.get_or_insert(error),
            }
            held.held.clear();
        }
        Err(first.unwrap_or_else(|| failed(io::Error::other("there is no copy of it"))))
    }

    /// The same of the copies behind `tried` others.
    fn cat_in(
        &self,
        tried: usize,
        live: &Live,
        out: &mut dyn Write,
        control: &Control,
    ) -> Result<u64, LayerError> {
        let layer = live.spot.layer as usize;
        match self.file_of(live)? {
            Some(file) if file.flags.has(Flags::PATCH) => {
                let mut write = |_, bytes: &[u8]| out.write_all(bytes).map_err(ReadError::Output);
                self.patched_in(tried, (layer, &file), control, &mut write)?;
                Ok(file.size)
            }
            _ => {
                let artefact = self.artefact(live.spot.layer);
                artefact.cat_in(tried, &live.entry, out, control).map_err(self.of_layer(layer))
            }
        }
    }
}

/// Damage that was seen behind bytes that were written.
fn too_late(error: LayerError, gone: u64) -> LayerError {
    let cause = match error.cause {
        ReadError::Damaged { offset, what } => {
            let gone = plural(gone, "byte");
            let what = format!("{what}; {gone} were written out before that was seen, and are not the file");
            ReadError::Damaged { offset, what }
        }
        other => other,
    };
    LayerError { cause, ..error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_goes_on_before_more_has_come_than_is_held_back() {
        let mut out = Vec::new();
        let mut held = HeldBack { out: &mut out, held: Vec::new(), gone: 0 };
        held.write_all(&vec![1; HELD_BACK]).unwrap();
        assert_eq!(held.gone, 0);
        held.write_all(&[2]).unwrap();
        held.write_all(&[3]).unwrap();
        assert_eq!(held.gone, HELD_BACK as u64 + 2);
        assert!(held.held.is_empty());
        assert_eq!(out[HELD_BACK - 1..], [1, 2, 3]);
    }
}
