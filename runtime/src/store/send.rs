//! A file of this host on its way into an upload.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{StoreError, StoreErrorKind, Upload};
use crate::control::Control;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Sends all of a file; `failed` says of what an error is.
///
/// # Errors
/// When it cannot be read or written, or becomes another size meanwhile; [`StoreErrorKind::Stopped`] once `control` says so.
pub fn send(
    file: &Path,
    upload: &mut dyn Upload,
    control: &Control,
    failed: &dyn Fn(StoreErrorKind, io::Error) -> StoreError,
) -> Result<(), StoreError> {
    let other = |cause| failed(StoreErrorKind::Other, cause);
    let mut host = crate::regular::open(file).map_err(other)?;
    let size = host.metadata().map_err(other)?.len();
    let (mut chunk, mut done) = (vec![0; CHUNK], 0);
    loop {
        control.check().map_err(|stopped| failed(StoreErrorKind::Stopped, io::Error::other(stopped)))?;
        match host.read(&mut chunk).map_err(other)? {
            0 if done == size => return Ok(()),
            0 => return Err(other(io::Error::other("the file became another size meanwhile"))),
            count => {
                upload.write(&chunk[..count])?;
                done += count as u64;
                control.advance(0, count as u64);
            }
        }
    }
}

/// Sends `len` bytes of a file, from `offset`.
///
/// # Errors
/// When they cannot be read or written.
pub fn send_range(
    file: &File,
    offset: u64,
    len: u64,
    upload: &mut dyn Upload,
    failed: &dyn Fn(io::Error) -> StoreError,
) -> Result<(), StoreError> {
    let (mut chunk, mut done) = (vec![0; CHUNK], 0);
    while done < len {
        let now = (len - done).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut chunk[..now], offset + done).map_err(failed)?;
        upload.write(&chunk[..now])?;
        done += now as u64;
    }
    Ok(())
}
