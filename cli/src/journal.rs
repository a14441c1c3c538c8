//! Where the standard error is the journal of systemd, each line begins with its weight (`<3>` an error, `<4>` a warning, `<6>`
//! all else), so that `journalctl -p warning` finds what matters.

use std::borrow::Cow;
use std::env;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::LazyLock;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

static LISTENS: LazyLock<bool> = LazyLock::new(|| {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let Ok(own) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    // The variable is handed on to programs whose output goes elsewhere.
    device.parse() == Ok(own.st_dev) && inode.parse() == Ok(own.st_ino)
});

/// Whether the journal reads the standard error.
pub fn listens() -> bool {
    *LISTENS
}

/// The text with the weight of each of its lines, where the journal reads it: that of the last line that says one.
pub fn prefixed(text: &str) -> Cow<'_, str> {
    if listens() { Cow::Owned(weighed(text)) } else { Cow::Borrowed(text) }
}

fn weighed(text: &str) -> String {
    let mut weight = 6;
    let lines = text.split_inclusive('\n').map(|line| {
        let says = |words: &[&str]| {
            words.iter().any(|word| line.starts_with(word) || line.contains(&format!(": {word}")))
        };
        // What goes on from the line before weighs as much.
        weight = match line.starts_with(' ') {
            true => weight,
            false if says(&["error:", "failed"]) => 3,
            false if says(&["warning:"]) => 4,
            false => 6,
        };
        format!("<{weight}>{line}")
    });
    lines.collect()
}

/// Writes log lines with their weight.
#[derive(Debug, Clone, Copy)]
pub struct Leveled;

/// One of them.
#[derive(Debug)]
pub struct Line(u8);

impl<'a> MakeWriter<'a> for Leveled {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(6)
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line {
        Line(match *of.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        })
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let lines: String = text.split_inclusive('\n').map(|line| format!("<{}>{line}", self.0)).collect();
        io::stderr().write_all(lines.as_bytes()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::weighed;

    #[test]
    fn a_line_weighs_what_it_says() {
        assert_eq!(
            weighed("error: no\n  help: yes\nscan/x: warning: hm\npack: done\npack: failed after 2 s: no\n"),
            "<3>error: no\n<3>  help: yes\n<4>scan/x: warning: hm\n<6>pack: done\n<3>pack: failed after 2 s: no\n"
        );
    }
}
