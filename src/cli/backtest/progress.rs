//! How far a replay has come, on standard error if that is a terminal.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Range;
use crate::{backtest::Backtest, time::Timestamp};

/// A bar, first of what is read and then of what is replayed.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    bar: ProgressBar,
    /// When the history begins that is replayed.
    start: Cell<Timestamp>,
}

// Drawn so often, however often it moves.
const DRAWS_PER_SECOND: u8 = 10;

// === impl Progress ===

impl Progress {
    pub(in crate::cli) fn new() -> Self {
        // Hides itself where standard error is no terminal.
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        Self { bar: ProgressBar::with_draw_target(None, target), start: Cell::default() }
    }

    /// Begins to read so many bytes, if that is known.
    pub(in crate::cli) fn reading(&self, bytes: Option<u64>) {
        match bytes.filter(|bytes| *bytes > 0) {
            Some(bytes) => {
                self.bar.set_length(bytes);
                self.style("reading   {bar:40} {bytes}/{total_bytes}, {eta} left");
            }
            None => self.style("reading   {spinner} {bytes}, {bytes_per_sec}"),
        }
    }

    pub(in crate::cli) fn bytes(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Begins to replay what was read.
    pub(in crate::cli) fn replaying(&self, backtest: &Backtest) {
        let Some(ahead) = backtest.ahead() else { return };
        self.of_time("replaying", ahead.start, ahead.end);
    }

    /// Begins to ask for a time, and to replay it.
    pub(in crate::cli) fn asking(&self, Range { from, to }: Range) {
        self.of_time("asking   ", from, to);
    }

    /// Begins to count a time.
    pub(in crate::cli) fn counting(&self, Range { from, to }: Range) {
        self.of_time("counting ", from, to);
    }

    fn of_time(&self, what: &str, start: Timestamp, end: Timestamp) {
        self.bar.reset();
        self.bar.set_length(end.since(start).as_secs());
        self.start.set(start);
        self.style(&format!("{what} {{bar:40}} {{percent}}%, {{eta}} left"));
    }

    pub(in crate::cli) fn step(&self, at: Timestamp) {
        self.bar.set_position(at.since(self.start.get()).as_secs());
    }

    pub(in crate::cli) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn style(&self, template: &str) {
        // A template of ours that is wrong costs no more than its looks.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
    }
}
