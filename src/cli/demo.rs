//! `slod demo`: the real daemon, a simulated service that writes to it, and a live view of its SLOs.
//!
//! Nothing here is a short cut: the samples go over HTTP like any sender's, and the view reads the
//! report that every other reader gets. Who calls [`run`] starts the daemon, with [`SLOS`].

pub mod changes;
#[cfg(test)]
mod fixture;
mod screen;
pub mod sender;
pub mod service;
pub mod table;
mod wording;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use hyper::Uri;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{report::Snapshot, time::Clock};
use changes::Changes;
use screen::Screen;
use sender::{Progress, Sender};
use table::{Colors, View};
use wording::time_of_day;

/// The SLOs of the simulated service, in slod's own format.
pub const SLOS: &str = include_str!("../../config/demo-slos.yaml");

/// What a demonstration needs from the daemon that it shows.
pub struct Demo {
    /// The daemon's remote-write endpoint.
    pub write_url: Uri,
    /// Pages worth opening, shown a line each; text after the URL is welcome.
    pub urls: Vec<String>,
    /// The clock that the samples are stamped with.
    pub clock: Arc<dyn Clock>,
    /// Fetches the latest evaluation.
    pub latest_report: Box<dyn Fn() -> Snapshot + Send + Sync>,
    /// Whether standard output is a terminal: a table is redrawn in place there, elsewhere each change
    /// is printed as a line.
    pub is_terminal: bool,
}

/// How the view is written: redrawn, or a line per change.
enum Output {
    Table(Screen),
    Lines { changes: Changes, last: Option<Progress> },
}

/// What the service has behind it at the start. An hour, the window of the demonstration's SLOs: with it
/// an incident costs the share of the budget that it should, instead of all of it.
pub const HISTORY: Duration = Duration::from_secs(3_600);

const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Sends and shows until `shutdown` turns true, or its sender is gone.
///
/// # Errors
/// When standard output cannot be written to; a reader that closed the pipe is no error.
pub async fn run(demo: Demo, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
    let (sender, progress) = Sender::new(demo.write_url.clone(), Arc::clone(&demo.clock), HISTORY);
    let shown = tokio::select! {
        // An error means that nobody is left to signal: a shutdown as well.
        _ = shutdown.wait_for(|is_shutdown| *is_shutdown) => Ok(()),
        () = sender.run() => Ok(()),
        shown = demo.show(&progress) => shown,
    };
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

// === impl Demo ===

impl Demo {
    /// Refreshes the view every second; returns only with an error.
    async fn show(&self, progress: &watch::Receiver<Progress>) -> io::Result<()> {
        let mut output = Output::open(self)?;
        let mut refresh = interval(REFRESH_INTERVAL);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            refresh.tick().await;
            let progress = progress.borrow().clone();
            output.refresh(self, &(self.latest_report)(), progress)?;
        }
    }
}

// === impl Output ===

impl Output {
    fn open(demo: &Demo) -> io::Result<Self> {
        if demo.is_terminal {
            return Screen::enter().map(Self::Table);
        }
        print(&demo.urls)?;
        Ok(Self::Lines { changes: Changes::default(), last: None })
    }

    fn refresh(&mut self, demo: &Demo, report: &Snapshot, progress: Progress) -> io::Result<()> {
        match self {
            Self::Table(screen) => {
                let (phase, sender) = (progress.phase.to_string(), progress.to_string());
                let view = View { report, phase: &phase, sender: &sender, urls: &demo.urls };
                screen.draw(table::render(&view, screen.width(), Colors::On))
            }
            Self::Lines { changes, last } => {
                let time = time_of_day(demo.clock.now());
                let mut lines = progress_lines(&time, last.as_ref(), &progress);
                lines.extend(changes.observe(report));
                *last = Some(progress);
                print(&lines)
            }
        }
    }
}

/// What is new of the script and of the sender.
fn progress_lines(time: &str, last: Option<&Progress>, now: &Progress) -> Vec<String> {
    let mut lines = Vec::new();
    if last.is_none_or(|last| last.phase.is_incident != now.phase.is_incident) {
        lines.push(format!("{time} demo {}", now.phase));
    }
    if let Some(error) = &now.last_error
        && last.is_none_or(|last| last.last_error.as_ref() != Some(error))
    {
        lines.push(format!("{time} demo sender: {error}"));
    }
    lines
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::demo::service::Phase, labels::LabelsRef, time::Timestamp};

    fn progress(is_incident: bool, last_error: Option<&str>) -> Progress {
        Progress {
            phase: Phase { is_incident, left: Duration::from_secs(45) },
            requests_total: 0,
            samples_total: 0,
            retries_total: 0,
            dropped_total: 0,
            last_error: last_error.map(str::to_owned),
        }
    }

    #[test]
    fn phases_and_errors_are_told_once() {
        let (healthy, broken) = (progress(false, None), progress(true, Some("503")));
        let lines = |last, now| progress_lines("12:00:00Z", last, now);
        assert_eq!(lines(None, &healthy), ["12:00:00Z demo healthy; /checkout breaks in 45 s"]);
        assert_eq!(lines(Some(&healthy), &healthy), [""; 0]);
        assert_eq!(
            lines(Some(&healthy), &broken),
            [
                "12:00:00Z demo incident: /checkout is slow and answers 20% errors for 45 s more",
                "12:00:00Z demo sender: 503"
            ]
        );
        assert_eq!(lines(Some(&broken), &broken), [""; 0]);
    }

    #[test]
    fn the_slos_are_valid_and_each_counts_something_the_service_sends() {
        let specs = crate::spec::read("demo", SLOS);
        assert!(specs.diagnostics.is_empty(), "{:?}", specs.diagnostics);
        let plan = crate::matching::Plan::new(specs.slos, REFRESH_INTERVAL);
        let mut service = service::Service::new(1, Timestamp(0), Timestamp(0));
        service.advance(Timestamp(0) + HISTORY);
        let matches_of = |series: &service::Series| {
            let mut pairs = series.labels.clone();
            let (labels, mut terms) = (LabelsRef::new(&mut pairs).unwrap(), Vec::new());
            plan.terms(labels, &mut terms);
            plan.matches(&terms, labels)
        };
        let matches: Vec<_> = service.series().iter().flat_map(matches_of).collect();
        for (index, slo) in plan.slos().enumerate() {
            let shares = matches.iter().filter(|found| found.slo == index);
            assert!(shares.clone().any(|found| found.worth.growth.bad != 0.0), "{} has nothing bad", slo.id);
            assert!(
                shares.clone().any(|found| found.worth.growth.total != 0.0),
                "{} has nothing at all",
                slo.id
            );
        }
    }

    struct FixedClock;

    impl Clock for FixedClock {
        fn now(&self) -> Timestamp {
            Timestamp(1_700_000_000_000)
        }
    }

    #[tokio::test]
    async fn it_ends_when_told_even_while_nobody_answers() {
        let demo = Demo {
            write_url: Uri::from_static("http://127.0.0.1:9/"),
            urls: vec![],
            clock: Arc::new(FixedClock),
            latest_report: Box::new(Snapshot::default),
            is_terminal: false,
        };
        let (signal, shutdown) = watch::channel(false);
        let running = tokio::spawn(run(demo, shutdown));
        tokio::time::sleep(Duration::from_millis(50)).await;
        signal.send(true).unwrap();
        running.await.unwrap().unwrap();
    }
}
