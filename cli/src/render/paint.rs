//! Colours, where they are wanted.

use crate::console::Style;

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// As `style` wants it.
    pub fn new(style: Style) -> Self {
        Paint(style.color)
    }

    /// What went wrong.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What went well.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What a person should read.
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Mends.
    pub fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }

    /// What the eye looks for.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
