//! What stores were filled with, for people.

use std::fmt::Write;

use backplan_compiler::count::plural;
use backplan_runtime::run::sync::StoreSync;

use super::paint::Paint;
use super::text::harmless;
use crate::console::Style;
use crate::progress::bytes;

/// A sync, or what it would be.
pub fn sync(stores: &[StoreSync], dry_run: bool, style: Style) -> String {
    let paint = Paint::new(style);
    let verb = if dry_run { "would be copied" } else { "copied" };
    let mut out = String::new();
    for store in stores {
        let _ = writeln!(out, "{}", paint.bold(&format!("store `{}`", store.store)));
        for brought in &store.runs {
            let _ = writeln!(out, "  run `{}` {verb}, {}", brought.run, bytes(brought.bytes));
        }
        for log in &store.log {
            let _ = writeln!(out, "  {} of the log of `{}` {verb}", plural(log.files, "file"), log.source);
        }
        if store.given_up > 0 {
            let _ =
                writeln!(out, "  {} not copied, as `keep` gives it up here", plural(store.given_up, "run"));
        }
        for text in &store.warnings {
            let _ = writeln!(out, "  {} {}", paint.yellow("warning:"), harmless(text));
        }
        match &store.error {
            Some(error) => {
                let _ = writeln!(out, "  {} {}", paint.red("not filled:"), harmless(error));
            }
            None if store.runs.is_empty() && store.log.is_empty() => out.push_str("  nothing to copy\n"),
            None => {}
        }
    }
    if dry_run {
        out.push_str("nothing was written.\n");
    }
    out
}
