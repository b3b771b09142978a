//! The remaining budget over time, drawn with blocks:
//!
//! ```text
//! 100% ████████████▇▇▇▇▇▆▆▆▆▆▆▆▆▅▅▅
//!      █████████████████████████████
//!   0% █████████████████████████████
//!                   !            ·     ! a page, · another alert
//! ```

use crate::{
    backtest::{InstanceReport, Span},
    slo::is_urgent,
    time::Timestamp,
};

/// Whether to use escape codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Colors,
    Plain,
}

/// A column: the least that remained in its time, and the most urgent alert.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Column {
    least: f64,
    mark: char,
}

// What fits beside the scale on the narrowest usual terminal.
const WIDTH: usize = 72;
const HEIGHT: usize = 6;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// The lines of a chart; none for a history of less than two hours.
pub(super) fn lines(instance: &InstanceReport, span: Span, paint: Paint) -> Vec<String> {
    if instance.hours.len() < 2 {
        return Vec::new();
    }
    let columns = columns(instance, span);
    // Of what is overspent only so much: deeper is as bad.
    let least = columns.iter().map(|column| column.least).fold(0.0, f64::min).max(-1.0);
    let mut lines: Vec<String> = (0..HEIGHT).map(|row| line(&columns, row, least, paint)).collect();
    let marks: String = columns.iter().map(|column| column.mark).collect();
    if !marks.trim().is_empty() {
        lines.push(format!("       {}", marks.trim_end()));
    }
    lines
}

fn line(columns: &[Column], row: usize, least: f64, paint: Paint) -> String {
    let step = (1.0 - least) / HEIGHT as f64;
    let (top, bottom) = (1.0 - step * row as f64, 1.0 - step * (row + 1) as f64);
    let scale = match row {
        0 => "100%".to_owned(),
        _ if row == HEIGHT - 1 => format!("{:.0}%", least * 100.0),
        _ => String::new(),
    };
    let mut line = format!("{scale:>6} ");
    let mut color = "";
    for column in columns {
        let next = column.color();
        if paint == Paint::Colors && next != color {
            line += next;
            color = next;
        }
        line.push(block((column.least - bottom) / (top - bottom)));
    }
    if color.is_empty() { line.trim_end().to_owned() } else { line + RESET }
}

fn block(filled: f64) -> char {
    BLOCKS[(filled.clamp(0.0, 1.0) * 8.0).round() as usize]
}

fn columns(instance: &InstanceReport, span: Span) -> Vec<Column> {
    let width = WIDTH.min(instance.hours.len());
    let length_ms = (span.end.0 - span.start.0) / width as i64;
    let mut last = 1.0;
    (0..width as i64)
        .map(|number| {
            let start = Timestamp(span.start.0 + length_ms * number);
            let part = Span { start, end: Timestamp(start.0 + length_ms) };
            let own = instance.hours.iter().filter(|hour| hour.at > part.start && hour.at <= part.end);
            let least = own.map(|hour| hour.ratio).min_by(f64::total_cmp).unwrap_or(last);
            last = least;
            Column { least, mark: mark(instance, part) }
        })
        .collect()
}

fn mark(instance: &InstanceReport, part: Span) -> char {
    let fired = || instance.firings.iter().filter(|firing| firing.span.meets(part));
    if fired().any(|firing| is_urgent(&instance.slo.alerts[firing.alert].severity)) {
        '!'
    } else if fired().next().is_some() {
        '·'
    } else {
        ' '
    }
}

// === impl Column ===

impl Column {
    fn color(self) -> &'static str {
        match self.least {
            least if least <= 0.0 => RED,
            least if least < 0.25 => YELLOW,
            _ => GREEN,
        }
    }
}
