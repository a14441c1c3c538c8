//! What this process was started for: itself, or one of the small things that this program does under other names.

use std::path::Path;
use std::process::ExitCode;

use crate::{confine, keeper};

pub use backplan_host::aide::{command, is_offered, offer};

/// Does what the name of this process asks for; `None` for a process that a person started. To be called before anything
/// else is done.
pub fn serve() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    match words.next() {
        Some(name) if name == confine::NAME => Some(confine::serve(words)),
        Some(name) if name == keeper::NAME => Some(keeper::serve()),
        _ => {
            // Whatever is put in its place on the disk meanwhile.
            offer(Path::new("/proc/self/exe"));
            None
        }
    }
}
