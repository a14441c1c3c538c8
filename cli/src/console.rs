//! Where answers and messages go. Answers go to the standard output, everything else to the standard error; each is
//! drawn for what stands behind it: a terminal, or a file or program that wants plain text.

use std::env;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use backplan_runtime::text::printable;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Color, Global};
use crate::journal;
use crate::render::text::going_on;

/// Columns of text that nobody looks at through a terminal.
pub const PLAIN_WIDTH: usize = 100;

/// The environment variable that chooses log lines more finely than `-v`.
const LOG_VARIABLE: &str = "BACKPLAN_LOG";

/// How text for one stream is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub color: bool,
    /// With lines and signs beyond ASCII.
    pub unicode: bool,
    /// Columns.
    pub width: usize,
    /// A person watches: bars may move.
    pub terminal: bool,
}

impl Style {
    /// Plain text, as for a pipe.
    pub const PLAIN: Style = Style { color: false, unicode: false, width: PLAIN_WIDTH, terminal: false };

    fn of(terminal: bool, wanted: Color) -> Style {
        let color = match wanted {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && color_allowed(),
        };
        if !terminal {
            return Style { color, ..Style::PLAIN };
        }
        let width = console_width().unwrap_or(PLAIN_WIDTH);
        Style { color, unicode: speaks_unicode(), width, terminal }
    }
}

/// Both streams of the program.
#[derive(Debug)]
pub struct Console {
    out: BufWriter<Stdout>,
    trouble: Option<io::Error>,
    answers: Style,
    errors: Style,
    quiet: bool,
}

impl Console {
    /// The console as the arguments and the environment want it.
    pub fn new(global: &Global) -> Self {
        Console {
            out: BufWriter::with_capacity(64 * 1024, io::stdout()),
            trouble: None,
            answers: Style::of(io::stdout().is_terminal(), global.color),
            errors: Style::of(io::stderr().is_terminal(), global.color),
            quiet: global.quiet,
        }
    }

    /// How answers are drawn.
    pub fn answers(&self) -> Style {
        self.answers
    }

    /// How messages are drawn.
    pub fn errors(&self) -> Style {
        self.errors
    }

    /// Writes a part of the answer. Trouble is kept for [`Console::finish`]: a command need not stop for it.
    pub fn answer(&mut self, text: &str) {
        self.answer_bytes(text.as_bytes());
    }

    /// Writes a part of an answer that need not be text.
    pub fn answer_bytes(&mut self, bytes: &[u8]) {
        if self.trouble.is_none()
            && let Err(error) = self.out.write_all(bytes)
        {
            self.trouble = Some(error);
        }
    }

    /// Whether nobody reads the answer any more: long answers may stop.
    pub fn is_deaf(&self) -> bool {
        self.trouble.is_some()
    }

    /// Says something beside the answer, unless told to be quiet.
    pub fn say(&mut self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Says something beside the answer, always.
    pub fn complain(&mut self, text: &str) {
        // The standard error is the last resort: there is nowhere to tell of its own trouble.
        let _ = io::stderr().write_all(journal::prefixed(text).as_bytes());
    }

    /// Says a warning or a note, in which there may be names of anything.
    pub fn remark(&mut self, kind: &str, text: &str) {
        let lines = text.split('\n').map(|line| printable(line.as_bytes()));
        self.complain(&format!("{kind}: {}\n", going_on(lines)));
    }

    /// Brings out what is still buffered.
    ///
    /// # Errors
    /// Where the answer did not get out whole, except into a pipe that was closed: its reader had enough.
    pub fn finish(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        match self.trouble.take().map_or(flushed, Err) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

/// Sends log lines to the standard error: warnings, with `-v` what is done, with `-vv` everything.
pub fn start_log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let wanted = env::var(LOG_VARIABLE).ok();
    if wanted.is_none() && global.verbose == 0 {
        // Every command pays for a subscriber at its start; only those that run steps log anything without being asked.
        return;
    }
    // By targets and levels: patterns over the fields of spans would bring an engine for regular expressions along.
    let filter = wanted.and_then(|wanted| wanted.parse().ok()).or_else(|| level.parse().ok());
    let filter: Targets = filter.unwrap_or_default();
    let style = Style::of(io::stderr().is_terminal(), global.color);
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_target(false);
    // A subscriber that is already there (in a test) stays.
    let _ = match journal::listens() {
        // It has a clock of its own.
        true => {
            let log = log.with_writer(journal::Leveled).with_ansi(false).without_time();
            log.finish().with(filter).try_init()
        }
        false => log.with_writer(io::stderr).with_ansi(style.color).finish().with(filter).try_init(),
    };
}

fn color_allowed() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// By the locale, in the order in which the C library looks.
fn speaks_unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(env::var_os)
        .find(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().to_lowercase());
    locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}

fn console_width() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size()?;
    // Narrower, nothing can be read; wider, no eye follows a line.
    Some(usize::from(columns).clamp(40, 140))
}
