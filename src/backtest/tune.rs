//! The tuner: many windows and factors tried in one replay.
//!
//! For each pair of windows the lower of the two burn rates says which factors are exceeded: all up to it. So a step
//! costs two divisions a pair, and every factor is a threshold. What is kept of a factor is when it was exceeded.
//!
//! The windows that are tried are counted beside the SLO's own, as those of alerts that can never fire.

mod choice;

use std::{sync::Arc, time::Duration};

use super::{
    report::Tier,
    span::{Span, union},
};
use crate::{
    burn_rate,
    report::{Shape, View},
    slo::{BurnRateAlert, Slo, SloId},
    time::{Timestamp, millis},
    window::Counts,
};

pub(super) use choice::{Case, choose};

/// The settings worth looking at of an SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Of which SLO.
    pub slo: SloId,
    /// By severity, in the order of the SLO's alerts.
    pub severities: Vec<SeverityTuning>,
    /// The SLO's alerts as recommended, in slod's own format; `None` if they are best as they are.
    pub yaml: Option<String>,
}

/// The settings worth looking at of a severity.
#[derive(Clone, Debug, PartialEq)]
pub struct SeverityTuning {
    /// Such as `page`.
    pub severity: String,
    /// How many incidents there were to tell.
    pub incidents: usize,
    /// The share of the budget that makes an incident; `None` where incidents were given.
    pub incident_share: Option<f64>,
    /// How many settings were tried.
    pub tried: usize,
    /// The present setting, and those that no other beats in all respects; fastest first.
    pub settings: Vec<Setting>,
}

/// The alerts of a severity, and how they did.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// One or several.
    pub tiers: Vec<Tier>,
    /// How they did.
    pub outcome: Outcome,
    /// Whether the SLO has them.
    pub is_present: bool,
    /// Whether it should.
    pub is_recommended: bool,
}

/// How the alerts of a severity did together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many there were.
    pub alerts: usize,
    /// How many of them belong to no incident.
    pub false_alerts: usize,
    /// How many incidents were not told.
    pub missed: usize,
    /// How long it took to tell the others, on average; `None` if there are none.
    pub detection_mean: Option<Duration>,
    /// How long at most.
    pub detection_max: Option<Duration>,
    /// How long alerts fired.
    pub firing: Duration,
}

/// What is tried of an SLO.
#[derive(Debug)]
pub(super) struct Grid {
    budget_ratio: f64,
    /// Long and short windows.
    pairs: Vec<(Duration, Duration)>,
    severities: Vec<Severity>,
}

/// What is tried of a severity.
#[derive(Debug)]
struct Severity {
    /// The first alert of it, which lends the others what is not tried.
    model: BurnRateAlert,
    min_bad_events: f64,
    /// By pair, ascending.
    factors: Vec<Vec<f64>>,
    /// The present setting.
    present: Vec<Candidate>,
    /// The share of the budget that its most eager alert stands for.
    share: f64,
}

/// A pair of windows and a factor, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    pair: usize,
    factor: usize,
}

/// What was tried of an instance.
#[derive(Debug)]
pub(super) struct Trial {
    grid: Arc<Grid>,
    /// The numbers of the long and the short window of each pair.
    windows: Vec<(usize, usize)>,
    /// By severity, then by pair.
    tracks: Vec<Track>,
    is_quiet: bool,
}

/// When the factors of a pair were exceeded.
#[derive(Debug, Default)]
struct Track {
    /// Since when: of those that are now, the lowest first.
    since: Vec<Timestamp>,
    spans: Vec<(usize, Span)>,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

// From the fastest outage that a page could tell to the workbook's slowest burn.
const LONG: [u64; 8] = [15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 72 * HOUR];
// The workbook's short window is a twelfth of the long one; half and twice as much beside.
const LONG_BY_SHORT: [u32; 3] = [24, 12, 6];
// Four scrapes a minute apart: of less the ratio says little (ADR 2).
const SHORT_MIN: Duration = Duration::from_secs(5 * MINUTE);
// The longest window says little of a period of which it is most.
const PERIOD_BY_LONG: u32 = 4;
// The budget shares that make the factors: around the workbook's 2, 5 and 10%.
const SHARES: [f64; 14] = [0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5];
// As the engine's default: what is silent for longer counts as stale, and its alerts end.
const STALE_AFTER: Duration = Duration::from_secs(300);

// === impl Grid ===

impl Grid {
    /// What to try of an SLO; `None` if it has no alerts.
    pub(super) fn new(slo: &Slo) -> Option<Self> {
        let budget_ratio = slo.objective.target.budget_ratio();
        let mut pairs = pairs(slo.objective.period());
        for alert in &slo.alerts {
            if !pairs.contains(&(alert.long, alert.short)) {
                pairs.push((alert.long, alert.short));
            }
        }
        let mut severities: Vec<Severity> = Vec::new();
        for alert in &slo.alerts {
            if severities.iter().all(|known| known.model.severity != alert.severity) {
                severities.push(Severity::new(slo, alert, &pairs));
            }
        }
        (!severities.is_empty()).then_some(Self { budget_ratio, pairs, severities })
    }

    /// The SLO with alerts that never fire, so that their windows are counted.
    pub(super) fn widen(&self, slo: &Slo) -> Slo {
        let mut wide = slo.clone();
        for (long, short) in &self.pairs {
            let factor = f64::INFINITY;
            let model = self.severities[0].model.clone();
            wide.alerts.push(BurnRateAlert { long: *long, short: *short, factor, ..model });
        }
        wide
    }
}

/// The pairs of windows that are tried for a period.
fn pairs(period: Duration) -> Vec<(Duration, Duration)> {
    let longs = LONG.map(Duration::from_secs).into_iter().filter(|long| *long <= period / PERIOD_BY_LONG);
    let mut pairs: Vec<(Duration, Duration)> =
        longs.flat_map(|long| LONG_BY_SHORT.map(|by| (long, (long / by).max(SHORT_MIN)))).collect();
    pairs.dedup();
    pairs
}

// === impl Severity ===

impl Severity {
    fn new(slo: &Slo, model: &BurnRateAlert, pairs: &[(Duration, Duration)]) -> Self {
        let period = slo.objective.period();
        let own: Vec<&BurnRateAlert> =
            slo.alerts.iter().filter(|alert| alert.severity == model.severity).collect();
        let share = |alert: &BurnRateAlert| alert.factor * alert.long.div_duration_f64(period);
        let is_alert =
            |pair: &(Duration, Duration), alert: &BurnRateAlert| *pair == (alert.long, alert.short);
        let factors: Vec<Vec<f64>> = pairs
            .iter()
            .map(|pair| {
                let tried = SHARES.map(|share| share * period.div_duration_f64(pair.0)).into_iter();
                // Below 1 the budget lasts, and what can never fire is none.
                let tried = tried
                    .filter(|factor| *factor >= 1.0 && factor * slo.objective.target.budget_ratio() < 1.0);
                let present = own.iter().filter(|alert| is_alert(pair, alert)).map(|alert| alert.factor);
                let mut factors: Vec<f64> = tried.chain(present).collect();
                factors.sort_by(f64::total_cmp);
                factors.dedup_by(|a, b| (*a - *b).abs() < 1e-9 * a.abs());
                factors
            })
            .collect();
        let place = |alert: &&BurnRateAlert| {
            let pair = pairs.iter().position(|pair| is_alert(pair, alert))?;
            let factor =
                factors[pair].iter().position(|factor| (factor - alert.factor).abs() < 1e-9 * factor)?;
            Some(Candidate { pair, factor })
        };
        Self {
            min_bad_events: slo.min_bad_events(model),
            present: own.iter().filter_map(place).collect(),
            share: own.iter().map(|alert| share(alert)).fold(f64::INFINITY, f64::min),
            model: model.clone(),
            factors,
        }
    }
}

// === impl Trial ===

impl Trial {
    pub(super) fn new(grid: &Arc<Grid>, shape: &Shape) -> Self {
        let number = |length: Duration| {
            let found = shape.windows.iter().find(|(window, _)| window.rolling() == Some(length));
            found.map_or(0, |(_, number)| *number)
        };
        Self {
            windows: grid.pairs.iter().map(|(long, short)| (number(*long), number(*short))).collect(),
            tracks: (0..grid.severities.len() * grid.pairs.len()).map(|_| Track::default()).collect(),
            grid: Arc::clone(grid),
            is_quiet: true,
        }
    }

    /// Takes what the windows hold at a step.
    pub(super) fn step(&mut self, at: Timestamp, view: View<'_>) {
        let most = self.windows.iter().map(|(long, _)| view.counts[*long].bad).fold(0.0, f64::max);
        if self.is_quiet && most <= 0.0 {
            return;
        }
        self.is_quiet = true;
        let grid = Arc::clone(&self.grid);
        let silence_ms = view.row.last_sample.map_or(i64::MAX, |last| at.0 - last.0);
        for (pair, (long, short)) in self.windows.iter().enumerate() {
            let stale_after_ms = millis(STALE_AFTER.max(grid.pairs[pair].1));
            let (long, short) = (view.counts[*long], view.counts[*short]);
            let burn = grid.burn_rate(long).min(grid.burn_rate(short));
            for (number, severity) in grid.severities.iter().enumerate() {
                let track = &mut self.tracks[number * grid.pairs.len() + pair];
                if silence_ms > stale_after_ms {
                    track.step(at, 0);
                } else if !view.row.status.is_blind() {
                    track.step(at, severity.level(pair, long, burn));
                }
                self.is_quiet &= track.since.is_empty();
            }
        }
    }

    /// The alerts of each candidate of a severity, by its place among [`Severity::candidates`].
    fn firings(&mut self, severity: usize, end: Timestamp) -> Vec<Vec<Span>> {
        let grid = Arc::clone(&self.grid);
        let Severity { model, factors, .. } = &grid.severities[severity];
        let mut firings = Vec::new();
        for (pair, factors) in factors.iter().enumerate() {
            let track = &mut self.tracks[severity * grid.pairs.len() + pair];
            track.step(end, 0);
            let mut by_factor = vec![Vec::new(); factors.len()];
            track.spans.iter().for_each(|(factor, span)| by_factor[*factor].push(*span));
            firings.extend(by_factor.into_iter().map(|held| fire(held, model)));
        }
        firings
    }
}

/// The alerts of a condition that held at these times.
fn fire(held: Vec<Span>, model: &BurnRateAlert) -> Vec<Span> {
    let fired = held.into_iter().filter(|span| span.length() >= model.for_);
    let fired =
        fired.map(|span| Span { start: span.start + model.for_, end: span.end + model.keep_firing_for });
    union(fired.collect())
}

impl Grid {
    fn burn_rate(&self, counts: Counts) -> f64 {
        burn_rate::burn_rate(counts.bad, counts.total, self.budget_ratio)
    }
}

impl Severity {
    /// How many factors are exceeded.
    fn level(&self, pair: usize, long: Counts, burn: f64) -> usize {
        if long.bad < self.min_bad_events {
            return 0;
        }
        self.factors[pair].partition_point(|factor| *factor < burn)
    }

    /// Every pair with every factor.
    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let of = |(pair, factors): (usize, &Vec<f64>)| {
            (0..factors.len()).map(move |factor| Candidate { pair, factor })
        };
        self.factors.iter().enumerate().flat_map(of)
    }

    fn tier(&self, grid: &Grid, candidate: Candidate) -> Tier {
        let (long, short) = grid.pairs[candidate.pair];
        Tier { long, short, factor: self.factors[candidate.pair][candidate.factor] }
    }
}

// === impl Track ===

impl Track {
    fn step(&mut self, at: Timestamp, level: usize) {
        while self.since.len() > level {
            let factor = self.since.len() - 1;
            self.spans.extend(self.since.pop().map(|start| (factor, Span { start, end: at })));
        }
        while self.since.len() < level {
            self.since.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_exceeded_while_all_below_it_are() {
        let mut track = Track::default();
        for (at, level) in [(0, 0), (1, 2), (2, 1), (3, 3), (4, 0)] {
            track.step(Timestamp(at), level);
        }
        let mut spans: Vec<_> = track.spans.iter().map(|(f, s)| (*f, s.start.0, s.end.0)).collect();
        spans.sort_unstable();
        assert_eq!(spans, [(0, 1, 4), (1, 1, 2), (1, 3, 4), (2, 3, 4)]);
    }

    #[test]
    fn windows_of_a_week_are_tried_for_a_month_but_not_for_a_week() {
        let days = |days: u64| Duration::from_secs(days * 24 * HOUR);
        let longest = |period| pairs(period).last().unwrap().0;
        assert_eq!((longest(days(30)), longest(days(7))), (days(3), days(1)));
        assert_eq!(pairs(days(30))[..3], [(900, 300), (1_800, 300), (3_600, 300)].map(seconds));
    }

    fn seconds((long, short): (u64, u64)) -> (Duration, Duration) {
        (Duration::from_secs(long), Duration::from_secs(short))
    }
}
