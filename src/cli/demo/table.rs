//! The screen as text: a table of SLOs, what happens to the service, and where to look further.
//!
//! Pure: the same view gives the same text. Colours are added at the end, to text that is already laid
//! out, so that they cannot move a column.

use crossterm::style::{Color, Stylize};

use super::wording::{burn_rate, instance_name, percent, target_percent, time_of_day};
use crate::{
    report::{DataStatus, SloReport, Snapshot},
    slo::BurnRateAlert,
    time::format_duration,
};

/// What a screen shows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The latest evaluation.
    pub report: &'a Snapshot,
    /// What the simulated service does.
    pub phase: &'a str,
    /// How the sender fares.
    pub sender: &'a str,
    /// Pages worth opening, a line each.
    pub urls: &'a [String],
}

/// Whether the text carries ANSI colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// Plain text.
    Off,
    /// With escape sequences, unless `NO_COLOR` is set.
    On,
}

#[derive(Clone, Copy)]
enum Mood {
    Plain,
    Quiet,
    Good,
    Warning,
    Bad,
}

struct Column {
    header: &'static str,
    is_number: bool,
    cells: Vec<Cell>,
}

struct Cell {
    text: String,
    mood: Mood,
}

const BAR_CELLS: usize = 20;
const GAP: &str = "  ";
// A name is cut before the rest of its row is, but not below this.
const NAME_WIDTH_MIN: usize = 12;
// What goes first when the terminal is narrow: the rest says the same, or does not change.
const DISPENSABLE: [&str; 2] = ["TARGET", "BUDGET"];

/// The whole screen, its lines at most `width` wide wherever that can be done.
pub fn render(view: &View<'_>, width: usize, colors: Colors) -> String {
    let mut text = title(view, colors);
    text.push_str(&table(fit(columns(&view.report.slos), width), colors));
    text.push_str(&format!("\n{}\n\n", paint(view.sender, Mood::Quiet, colors)));
    for url in view.urls {
        text.push_str(&format!("{url}\n"));
    }
    text.push_str(&paint("Ctrl-C ends the demonstration.", Mood::Quiet, colors));
    text.push('\n');
    text
}

fn title(view: &View<'_>, colors: Colors) -> String {
    let phase = paint(view.phase, Mood::Warning, colors);
    if view.report.slos.is_empty() {
        format!("slod demo  not evaluated yet  {phase}\n\n")
    } else {
        format!("slod demo  {}  {phase}\n\n", time_of_day(view.report.evaluated_at))
    }
}

fn columns(slos: &[SloReport]) -> Vec<Column> {
    let column = |header, is_number, cell: fn(&SloReport) -> Cell| Column {
        header,
        is_number,
        cells: slos.iter().map(cell).collect(),
    };
    vec![
        column("SLO", false, |slo| Cell::plain(instance_name(slo))),
        column("TARGET", true, |slo| Cell::plain(target_percent(slo.slo.objective.target.ratio()))),
        column("STATE", false, state),
        column("LEFT", true, |slo| Cell {
            text: percent(slo.budget().remaining),
            mood: budget_mood(slo.budget().remaining),
        }),
        column("BUDGET", false, |slo| Cell {
            text: bar(slo.budget().remaining),
            mood: budget_mood(slo.budget().remaining),
        }),
        column("BURN SHORT", true, |slo| burn(slo, |alert| alert.short)),
        column("BURN LONG", true, |slo| burn(slo, |alert| alert.long)),
        column("DATA", false, status),
    ]
}

/// Drops what is dispensable, then cuts names, until a row is at most `width` wide.
fn fit(mut columns: Vec<Column>, width: usize) -> Vec<Column> {
    for header in DISPENSABLE {
        if row_width(&columns) > width {
            columns.retain(|column| column.header != header);
        }
    }
    let excess = row_width(&columns).saturating_sub(width);
    if excess > 0 {
        let name_width = columns[0].width().saturating_sub(excess).max(NAME_WIDTH_MIN);
        columns[0].cells.iter_mut().for_each(|cell| cell.cut(name_width));
    }
    columns
}

fn row_width(columns: &[Column]) -> usize {
    columns.iter().map(Column::width).sum::<usize>() + GAP.len() * columns.len().saturating_sub(1)
}

fn table(columns: Vec<Column>, colors: Colors) -> String {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let mut lines = vec![line(&columns, |column| paint(&column.pad(column.header), Mood::Quiet, colors))];
    for row in 0..rows {
        lines.push(line(&columns, |column| {
            let cell = &column.cells[row];
            paint(&column.pad(&cell.text), cell.mood, colors)
        }));
    }
    lines.concat()
}

fn line(columns: &[Column], cell: impl Fn(&Column) -> String) -> String {
    let cells: Vec<String> = columns.iter().map(cell).collect();
    format!("{}\n", cells.join(GAP).trim_end())
}

/// The most urgent of the alerts; without any, whether that means anything.
fn state(slo: &SloReport) -> Cell {
    let alerts = slo.slo.alerts.iter().zip(&slo.alerts);
    // `rev` because the last of equals wins, and specs name the most urgent first.
    let worst = alerts.rev().max_by_key(|(_, report)| report.level);
    let (severity, level) = worst.map_or(("", 0), |(alert, r)| (alert.severity.as_str(), r.level));
    match level {
        0 if slo.status.is_blind() || slo.status == DataStatus::NoSeries => {
            Cell { text: "unknown".to_owned(), mood: Mood::Warning }
        }
        0 => Cell { text: "ok".to_owned(), mood: Mood::Good },
        1 => Cell { text: format!("pending {severity}"), mood: Mood::Warning },
        _ => Cell { text: format!("FIRING {severity}"), mood: Mood::Bad },
    }
}

fn status(slo: &SloReport) -> Cell {
    let mood = if slo.status == DataStatus::Ok { Mood::Good } else { Mood::Warning };
    Cell { text: slo.status.name().to_owned(), mood }
}

/// The burn rate over a window of the first alert: bad where that window's half of the condition holds.
fn burn(slo: &SloReport, window: fn(&BurnRateAlert) -> std::time::Duration) -> Cell {
    let Some(alert) = slo.slo.alerts.first() else {
        return Cell::plain(String::new());
    };
    let window = window(alert);
    let is_above = slo.window(window).is_some_and(|report| report.burn_rate > alert.factor);
    let mood = if is_above { Mood::Bad } else { Mood::Plain };
    Cell { text: format!("{} {}", burn_rate(slo, window), format_duration(window)), mood }
}

fn bar(budget_remaining: f64) -> String {
    let full = (budget_remaining.clamp(0.0, 1.0) * BAR_CELLS as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(BAR_CELLS - full)
}

fn budget_mood(budget_remaining: f64) -> Mood {
    match budget_remaining {
        spent if spent <= 0.0 => Mood::Bad,
        low if low < 0.25 => Mood::Warning,
        _ => Mood::Good,
    }
}

fn paint(text: &str, mood: Mood, colors: Colors) -> String {
    match mood {
        _ if colors == Colors::Off => text.to_owned(),
        Mood::Plain => text.to_owned(),
        Mood::Quiet => text.dim().to_string(),
        Mood::Good => text.with(Color::DarkGreen).to_string(),
        Mood::Warning => text.with(Color::DarkYellow).to_string(),
        Mood::Bad => text.with(Color::DarkRed).bold().to_string(),
    }
}

// === impl Column ===

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.text.chars().count());
        cells.max().unwrap_or(0).max(self.header.len())
    }

    fn pad(&self, text: &str) -> String {
        let width = self.width();
        if self.is_number { format!("{text:>width$}") } else { format!("{text:<width$}") }
    }
}

// === impl Cell ===

impl Cell {
    fn plain(text: String) -> Self {
        Self { text, mood: Mood::Plain }
    }

    fn cut(&mut self, width: usize) {
        if self.text.chars().count() > width {
            self.text = self.text.chars().take(width - 1).chain(['…']).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::fixture::{report, slo};

    fn three() -> Snapshot {
        report(vec![
            slo("availability", "", 0.953, [0.1, 0.05], 0),
            slo("route-availability", "/checkout", 0.312, [19.6, 23.1], 2),
            SloReport { status: DataStatus::SenderDown, ..slo("latency", "", -0.25, [0.0, 4.0], 1) },
        ])
    }

    fn text(report: &Snapshot, width: usize) -> String {
        let urls = ["http://127.0.0.1:9099/metrics  what Prometheus reads".to_owned()];
        let view = View { report, phase: "healthy", sender: "sent 5 samples in 1 requests", urls: &urls };
        render(&view, width, Colors::Off)
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let expected = "\
slod demo  22:13:20Z  healthy

SLO                                      TARGET  STATE           LEFT  BUDGET                BURN SHORT  BURN LONG  DATA
shop/availability                           99%  ok             95.3%  ███████████████████░     0.1× 5s    0.1× 1m  ok
shop/route-availability route=/checkout     99%  FIRING page    31.2%  ██████░░░░░░░░░░░░░░    19.6× 5s   23.1× 1m  ok
shop/latency                                99%  pending page  -25.0%  ░░░░░░░░░░░░░░░░░░░░     0.0× 5s    4.0× 1m  sender_down

sent 5 samples in 1 requests

http://127.0.0.1:9099/metrics  what Prometheus reads
Ctrl-C ends the demonstration.
";
        assert_eq!(text(&three(), 140), expected);
    }

    #[test]
    fn a_narrow_terminal_loses_the_bar_and_the_ends_of_names() {
        let text = text(&three(), 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('█') && text.contains("shop/route-ava") && text.contains('…'), "{text}");
    }

    #[test]
    fn no_series_is_not_called_ok() {
        let blind = SloReport { status: DataStatus::NoSeries, ..slo("availability", "", 1.0, [0.0, 0.0], 0) };
        let text = text(&report(vec![blind]), 140);
        assert!(text.contains("unknown") && text.contains("no_series"), "{text}");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let report = three();
        let view = View { report: &report, phase: "", sender: "", urls: &[] };
        let coloured = render(&view, 140, Colors::On);
        let ansi = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
        let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        let plain = render(&view, 140, Colors::Off);
        assert_eq!(trimmed(&ansi.replace_all(&coloured, "")), trimmed(&plain));
    }

    #[test]
    fn an_empty_report_is_a_header_without_a_time() {
        let text = text(&Snapshot::default(), 80);
        assert!(text.starts_with("slod demo  not evaluated yet  healthy\n\nSLO  TARGET  STATE"), "{text}");
    }
}
