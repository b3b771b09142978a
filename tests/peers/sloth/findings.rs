//! Where slod and Sloth's rules differ on a subject, and that they do not differ by more than they may.

use std::time::Duration;

use slod::{
    report::{SloReport, WindowReport},
    time::{Timestamp, format_duration},
    window::Counts,
};

use super::{
    HOUR, MONTH, Month, RARE, SCRAPE, START, Sloth, Subject,
    shop::{Shop, difference, next_scrape},
};

/// What was found of one subject.
pub struct Findings {
    pub subject: Subject,
    pub windows: Vec<Difference>,
    pub alerts: Vec<Agreement>,
    pub budget: Budget,
}

/// How far both are apart on a window, at every hour, in burn rates.
#[derive(Default)]
pub struct Difference {
    pub window: Duration,
    pub hours: usize,
    /// Hours without a value of Sloth's, or with one that is no number.
    pub silent: usize,
    pub squares: f64,
    pub most: f64,
}

/// At how many marks the alerts of a severity are active.
pub struct Agreement {
    pub severity: &'static str,
    pub both: usize,
    pub slod_only: usize,
    pub sloth_only: usize,
}

/// What remains of the budget at the end.
pub struct Budget {
    pub target: f64,
    pub slod: f64,
    pub sloth: f64,
    pub at_once: f64,
    /// The evaluations of the rule for 5m that had a value.
    pub counted: usize,
}

/// Ratios come from few operations on numbers below 2^53.
const ROUNDING: f64 = 1e-12;

// === impl Findings ===

impl Findings {
    pub fn new(subject: &Subject, month: &Month, sloth: &Sloth) -> Self {
        let windows = sloth.windows.keys().map(|window| difference_of(subject, month, sloth, *window));
        let alerts = ["page", "ticket"].map(|severity| agreement(subject, month, sloth, severity));
        Self {
            subject: *subject,
            windows: windows.collect(),
            alerts: alerts.into(),
            budget: budget(subject, month, sloth),
        }
    }
}

// === alert windows ===

fn difference_of(subject: &Subject, month: &Month, sloth: &Sloth, window: Duration) -> Difference {
    let mut found = Difference { window, ..Difference::default() };
    for (at, slo) in month.of(subject).filter(|(at, _)| *at == at.floor(HOUR)) {
        let ours = slo.window(window).unwrap();
        let key = (subject.2.to_owned(), at);
        let moment = format!("{subject:?} over {} at {at:?}", format_duration(window));
        check_truth(&month.shop, subject, at, window, ours);
        if subject.0 != RARE {
            check_anchored(&moment, ours, sloth.anchored[&window].get(&key).copied());
        }
        let theirs = sloth.windows[&window].get(&key).copied().filter(|ratio| !ratio.is_nan());
        check_extrapolation(&moment, subject, &month.shop, at, window, theirs);
        found.add(slo, ours, theirs);
    }
    found
}

/// slod counts every request, to the last one.
fn check_truth(shop: &Shop, subject: &Subject, at: Timestamp, window: Duration, ours: &WindowReport) {
    let truth = shop.counts(subject.1, subject.2, at - window, at);
    let counted = Counts { bad: ours.bad_events, total: ours.events };
    assert_eq!(counted, truth, "{subject:?} over {} at {at:?}", format_duration(window));
}

/// Without extrapolation Sloth's rule says what slod says.
fn check_anchored(moment: &str, ours: &WindowReport, anchored: Option<f64>) {
    let anchored = anchored.unwrap_or(f64::NAN);
    // Prometheus divides nothing by nothing.
    let is_same = (ours.events == 0.0 && anchored.is_nan()) || is_close(ours.error_ratio, anchored);
    assert!(is_same, "{moment}: {anchored} without extrapolation, slod says {ours:?}");
}

/// `rate` sees no growth before the first sample of a window. What it makes of the others it makes of the errors'
/// series and of all alike, but for one that was near zero: that it takes to have begun there, at most one scrape
/// later than the others.
fn check_extrapolation(
    moment: &str,
    subject: &Subject,
    shop: &Shop,
    at: Timestamp,
    window: Duration,
    theirs: Option<f64>,
) {
    let from = at - window;
    let counts = |from, to| shop.counts(subject.1, subject.2, from, to);
    let seen = difference(counts(from, at), counts(from, next_scrape(from)));
    let slack = 1.0 - SCRAPE.as_secs_f64() / window.as_secs_f64();
    let expected = seen.bad / seen.total;
    let is_within = match theirs {
        None => seen.total == 0.0 || subject.0 == RARE,
        // Born with its first error, of which `rate` knows nothing, a series may also have just enough
        // samples to be taken for more than there was: half an interval before, and one after.
        Some(ratio) if subject.0 == RARE => ratio <= expected / slack * 3.2 + ROUNDING,
        Some(ratio) => ratio >= expected * slack - ROUNDING && ratio <= expected / slack + ROUNDING,
    };
    assert!(is_within, "{moment}: {theirs:?}, from samples in the window {seen:?}");
}

fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING
}

// === impl Difference ===

impl Difference {
    fn add(&mut self, slo: &SloReport, ours: &WindowReport, theirs: Option<f64>) {
        self.hours += 1;
        match theirs {
            None => self.silent += 1,
            Some(ratio) => {
                let apart = (ours.error_ratio - ratio).abs() / slo.slo.objective.target.budget_ratio();
                self.squares += apart * apart;
                self.most = self.most.max(apart);
            }
        }
    }

    /// The root of the mean square.
    pub fn usual(&self) -> f64 {
        (self.squares / (self.hours - self.silent).max(1) as f64).sqrt()
    }
}

// === alerts ===

fn agreement(subject: &Subject, month: &Month, sloth: &Sloth, severity: &'static str) -> Agreement {
    let mut found = Agreement { severity, both: 0, slod_only: 0, sloth_only: 0 };
    for (at, slo) in month.of(subject) {
        let mut alerts = slo.slo.alerts.iter().zip(&slo.alerts);
        let ours = alerts.any(|(alert, report)| alert.severity == severity && report.condition);
        match (ours, sloth.alerts[severity].contains(&(subject.2.to_owned(), at))) {
            (true, true) => found.both += 1,
            (true, false) => found.slod_only += 1,
            (false, true) => found.sloth_only += 1,
            (false, false) => {}
        }
    }
    found
}

/// Extrapolation may decide, but only where a burn rate is next to its factor.
pub fn check_alerts(findings: &[Findings]) {
    let all = || findings.iter().flat_map(|found| &found.alerts);
    let both: usize = all().map(|alert| alert.both).sum();
    let either: usize = all().map(|alert| alert.slod_only + alert.sloth_only).sum();
    assert!(both > 100, "alerts were active at {both} marks only");
    assert!(either <= both / 50, "alerts were active at {both} marks in both, at {either} in one");
}

// === budgets ===

fn budget(subject: &Subject, month: &Month, sloth: &Sloth) -> Budget {
    let end = START + MONTH;
    let (_, slo) = month.of(subject).last().unwrap();
    let key = (subject.2.to_owned(), end);
    let budget_ratio = slo.slo.objective.target.budget_ratio();
    let remaining = |ratio: f64| 1.0 - ratio / budget_ratio;
    let ours = slo.window(MONTH).unwrap();
    check_truth(&month.shop, subject, end, MONTH, ours);
    assert!(is_close(slo.budget().remaining, remaining(ours.error_ratio)));
    let each_minute: Vec<f64> = of_route(sloth, subject.2).collect();
    check_is_mean(subject, &each_minute, sloth.period[&key]);
    Budget {
        target: slo.slo.objective.target.ratio(),
        slod: slo.budget().remaining,
        sloth: sloth.remaining[&key],
        at_once: remaining(sloth.period_at_once[&key]),
        counted: each_minute.len(),
    }
}

fn of_route(sloth: &Sloth, route: &str) -> impl Iterator<Item = f64> {
    sloth.shortest.iter().filter(move |((of, _), _)| of == route).map(|(_, ratio)| *ratio)
}

/// The period of Sloth is the mean of what its rule for 5m said each minute, however much happened in it.
fn check_is_mean(subject: &Subject, each_minute: &[f64], period: f64) {
    let mean = each_minute.iter().sum::<f64>() / each_minute.len() as f64;
    let is_mean = (mean.is_nan() && period.is_nan()) || (mean - period).abs() <= 1e-9;
    assert!(is_mean, "{subject:?}: {period} over the period, the mean of 5m is {mean}");
}
