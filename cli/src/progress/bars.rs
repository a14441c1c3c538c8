//! Lines that move: one for each step that runs, and above them a line for each thing that happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use backplan_compiler::graph::StepId;
use backplan_runtime::control::{Control, Progress};
use backplan_runtime::run::event::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{amount, duration, lines};
use crate::console::Style;
use crate::render::text::harmless;

/// How often counters are read.
const TICK: Duration = Duration::from_millis(100);

/// Draws on the terminal behind the standard error until it is dropped.
#[derive(Debug)]
pub struct Bars {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    style: Style,
    screen: MultiProgress,
    running: Mutex<BTreeMap<StepId, Running>>,
    ended: AtomicBool,
}

#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    control: Control,
    since: Instant,
}

impl Bars {
    /// Nothing is drawn until a step starts.
    pub fn new(style: Style) -> Self {
        let shared = Arc::new(Shared {
            style,
            screen: MultiProgress::new(),
            running: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        // Without a thread to read the counters there are still lines: no reason to fail a backup.
        let ticker =
            thread::Builder::new().name("progress".into()).spawn(move || watched.tick_until_end()).ok();
        Bars { shared, ticker }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // A panic there has spoilt a drawing, no more.
            let _ = ticker.join();
        }
        let _ = self.shared.screen.clear();
    }
}

impl Observer for Bars {
    fn event(&self, event: Event) {
        let line = match event {
            Event::Started { step, control } => {
                self.shared.start(step, control);
                None
            }
            Event::Finished { step, outcome, took } => {
                let running = self.shared.running().remove(&step);
                if let Some(running) = &running {
                    running.bar.finish_and_clear();
                    self.shared.screen.remove(&running.bar);
                }
                lines::finished(
                    &step,
                    &outcome,
                    took,
                    running.as_ref().map(|running| &running.control),
                    false,
                )
            }
            event => lines::said(&event, false),
        };
        if let Some(line) = line {
            // The terminal may have gone; the run goes on.
            let _ = self.shared.screen.println(harmless(&line));
        }
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<StepId, Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn start(&self, step: StepId, control: Control) {
        let bar = self.screen.add(ProgressBar::new_spinner());
        bar.set_style(look(self.style));
        bar.set_prefix(step.to_string());
        self.running().insert(step, Running { bar, control, since: Instant::now() });
    }

    fn tick_until_end(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            for running in self.running().values() {
                let progress = running.control.progress();
                running.bar.set_message(message(progress, running.since.elapsed(), self.style));
                running.bar.tick();
            }
            thread::park_timeout(TICK);
        }
    }
}

fn look(style: Style) -> ProgressStyle {
    let template = if style.color {
        "{spinner:.cyan} {prefix:.bold} {wide_msg}"
    } else {
        "{spinner} {prefix} {wide_msg}"
    };
    let ticks = if style.unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "-\\|/ " };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars(ticks)
}

/// Bar, amount, rate, and the time that remains where that can be said.
fn message(progress: Progress, since: Duration, style: Style) -> String {
    let amount = amount(progress.files, progress.bytes, since);
    let Some(share) = share(progress) else { return amount };
    let percent = (share * 100.0) as u32;
    let mut parts = vec![drawn(share, style), format!("{percent:>3} %")];
    if !amount.is_empty() {
        parts.push(amount);
    }
    if let Some(remaining) = remaining(share, since) {
        parts.push(format!("{} left", duration(remaining)));
    }
    parts.join("  ")
}

/// How much is done, 0 to 1; `None` while nobody knows how much there is. Files that grow do not push it past the end.
fn share(progress: Progress) -> Option<f64> {
    let (done, all) = match progress.bytes_total {
        0 => (progress.files, progress.files_total),
        total => (progress.bytes, total),
    };
    (all > 0).then(|| (done as f64 / all as f64).min(1.0))
}

fn remaining(share: f64, since: Duration) -> Option<Duration> {
    let worth_saying = share > 0.01 && share < 1.0 && since > Duration::from_secs(2);
    worth_saying.then(|| since.mul_f64((1.0 - share) / share))
}

fn drawn(share: f64, style: Style) -> String {
    // On a narrow terminal what is said matters more than what is drawn.
    let cells = if style.width < 100 { 8 } else { 20 };
    let (full, empty) = if style.unicode { ("━", "─") } else { ("=", " ") };
    let done = (share * cells as f64) as usize;
    format!("{}{}", full.repeat(done), empty.repeat(cells - done))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backplan_runtime::control::Progress;

    use super::message;
    use crate::console::Style;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        let progress = Progress { bytes: 1 << 20, bytes_total: 4 << 20, files: 7, files_total: 30 };
        assert_eq!(
            message(progress, Duration::from_secs(4), Style::PLAIN),
            "=====                  25 %  7 files, 1.0 MiB, 256.0 KiB/s  12 s left"
        );
    }

    #[test]
    fn nothing_is_guessed_while_the_whole_is_unknown() {
        let progress = Progress { bytes: 2048, files: 1, ..Progress::default() };
        assert_eq!(message(progress, Duration::from_secs(1), Style::PLAIN), "1 file, 2.0 KiB, 2.0 KiB/s");
    }

    #[test]
    fn files_that_grew_do_not_pass_the_end() {
        let progress = Progress { bytes: 5000, bytes_total: 4000, ..Progress::default() };
        assert!(
            message(progress, Duration::from_secs(9), Style::PLAIN)
                .starts_with("====================  100 %")
        );
    }
}
