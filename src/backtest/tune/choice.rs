//! Which of the settings that were tried are worth looking at, and which is best.
//!
//! A setting beats another if it misses no more incidents, has no more false alerts, tells incidents no later, and is
//! better in one of the three. Those that nobody beats are the Pareto set. Settings of two alerts are made of the best
//! single ones: a fast alert for outages and a slow one for what smoulders.
//!
//! The best is the one that misses the fewest, and among those has the least *cost*: the mean time to tell, and a
//! price in time for each false alert a week. It must be as sensitive to slow burns as the present setting: that none
//! happened in this history is no reason to do without what would tell them.

use std::time::Duration;

use super::{Candidate, Grid, Outcome, Setting, Severity, SeverityTuning, Trial};
use crate::{
    backtest::{
        incidents::tells,
        span::{Span, total, union},
    },
    slo,
};

/// What was tried of an instance, and its incidents.
#[derive(Debug)]
pub(in crate::backtest) struct Case {
    pub(in crate::backtest) trial: Trial,
    /// With the share of the budget that each spent.
    pub(in crate::backtest) incidents: Vec<(Span, f64)>,
}

/// The alerts that were tried of an instance.
struct Tried {
    /// By candidate.
    firings: Vec<Vec<Span>>,
    incidents: Vec<Span>,
}

/// A setting by the numbers of its candidates, and how it did.
#[derive(Clone, Debug)]
struct Judged {
    members: Vec<usize>,
    outcome: Outcome,
    cost: f64,
    /// The lowest burn rate that it tells.
    slowest: f64,
}

// What a false alert a week is worth, in time to tell: nobody wants to be woken for nothing to know of outages five
// minutes sooner. A ticket is read at work, and may come an hour later.
const PAGE_PRICE: Duration = Duration::from_secs(300);
const TICKET_PRICE: Duration = Duration::from_secs(3_600);
// Settings of two alerts are made of so many; each pair of them is judged.
const COMBINED_MAX: usize = 24;
const WEEK_S: f64 = 7.0 * 86_400.0;

/// The settings worth looking at of each severity of a grid, over a history of this length. `given`: the incidents are
/// known, and not those that the budget shows.
pub(in crate::backtest) fn choose(
    grid: &Grid,
    mut cases: Vec<Case>,
    history: Span,
    given: bool,
) -> Vec<SeverityTuning> {
    let severities = grid.severities.iter().enumerate();
    severities
        .map(|(number, severity)| choose_one(grid, severity, number, &mut cases, history, given))
        .collect()
}

fn choose_one(
    grid: &Grid,
    severity: &Severity,
    number: usize,
    cases: &mut [Case],
    history: Span,
    given: bool,
) -> SeverityTuning {
    let tried: Vec<Tried> = cases
        .iter_mut()
        .map(|case| Tried {
            firings: case.trial.firings(number, history.end),
            incidents: case.incidents(given, severity.share),
        })
        .collect();
    let candidates: Vec<Candidate> = severity.candidates().collect();
    let weeks = history.length().as_secs_f64() / WEEK_S;
    let price_s = if slo::is_urgent(&severity.model.severity) { PAGE_PRICE } else { TICKET_PRICE };
    let factor = |member: &usize| severity.tier(grid, candidates[*member]).factor;
    let judge = |members: Vec<usize>| {
        let outcome = outcome(&tried, &members);
        let detection_s = outcome.detection_mean.unwrap_or_default().as_secs_f64();
        let cost = detection_s + price_s.as_secs_f64() * outcome.false_alerts as f64 / weeks;
        let slowest = members.iter().map(factor).fold(f64::INFINITY, f64::min);
        Judged { members, outcome, cost, slowest }
    };
    let place = |candidate: &Candidate| candidates.iter().position(|known| known == candidate);
    let present = judge(severity.present.iter().filter_map(place).collect());
    let mut all: Vec<Judged> = (0..candidates.len()).map(|member| judge(vec![member])).collect();
    let best = most_promising(&all, &present);
    for (n, a) in best.iter().enumerate() {
        all.extend(best[n + 1..].iter().map(|b| judge(vec![*a, *b])));
    }
    all.push(present.clone());
    let incidents = tried.iter().map(|tried| tried.incidents.len()).sum();
    let settings = settings(grid, severity, &candidates, &present, &all, incidents);
    let incident_share = (!given).then_some(severity.share);
    SeverityTuning {
        severity: severity.model.severity.clone(),
        incidents,
        incident_share,
        tried: all.len(),
        settings,
    }
}

/// The candidates from which settings of two are made: those that nobody beats, the best, and the best for slow burns.
fn most_promising(all: &[Judged], present: &Judged) -> Vec<usize> {
    let mut by_cost: Vec<&Judged> = all.iter().collect();
    by_cost.sort_by(|a, b| better(a, b));
    let slow =
        by_cost.iter().copied().filter(|judged| judged.is_as_sensitive(present)).take(COMBINED_MAX / 2);
    let others = front(all).into_iter().take(COMBINED_MAX / 4).chain(by_cost.iter().copied());
    let mut best: Vec<usize> = slow.map(|judged| judged.members[0]).collect();
    for judged in others {
        if best.len() < COMBINED_MAX && !best.contains(&judged.members[0]) {
            best.push(judged.members[0]);
        }
    }
    best
}

fn settings(
    grid: &Grid,
    severity: &Severity,
    candidates: &[Candidate],
    present: &Judged,
    all: &[Judged],
    incidents: usize,
) -> Vec<Setting> {
    let mut shown = front(all);
    shown.retain(|judged| incidents == 0 || judged.outcome.missed < incidents);
    // Where nothing happened, nothing can be said of what would have told it.
    let best = (incidents > 0).then(|| {
        let sensitive = all.iter().filter(|judged| judged.is_as_sensitive(present));
        sensitive.min_by(|a, b| better(a, b))
    });
    let best = best.flatten();
    let best = best.map(|best| if is_as_good(present, best) { present } else { best });
    for needed in [Some(present), best].into_iter().flatten() {
        if !shown.iter().any(|shown| shown.members == needed.members) {
            shown.push(needed);
        }
    }
    shown.sort_by_key(|judged| {
        (detection(&judged.outcome), judged.outcome.false_alerts, judged.outcome.firing)
    });
    let setting = |judged: &&Judged| Setting {
        tiers: judged.members.iter().map(|member| severity.tier(grid, candidates[*member])).collect(),
        outcome: judged.outcome,
        is_present: judged.members == present.members,
        is_recommended: best.is_some_and(|best| best.members == judged.members),
    };
    shown.iter().map(setting).collect()
}

/// Those that no other beats; of those that did the same, the one that fired least.
fn front(all: &[Judged]) -> Vec<&Judged> {
    let mut front: Vec<&Judged> = Vec::new();
    let mut sorted: Vec<&Judged> = all.iter().collect();
    // Whoever beats comes before whom it beats.
    sorted.sort_by_key(|judged| (key(judged), judged.outcome.firing, judged.members.len()));
    for judged in sorted {
        if !front.iter().any(|known| is_no_worse(&known.outcome, &judged.outcome)) {
            front.push(judged);
        }
    }
    front
}

fn key(judged: &Judged) -> (usize, usize, Duration) {
    let outcome = &judged.outcome;
    (outcome.missed, outcome.false_alerts, detection(outcome))
}

/// What tells nothing takes for ever to do so.
fn detection(outcome: &Outcome) -> Duration {
    outcome.detection_mean.unwrap_or(Duration::MAX)
}

fn is_no_worse(a: &Outcome, b: &Outcome) -> bool {
    a.missed <= b.missed && a.false_alerts <= b.false_alerts && detection(a) <= detection(b)
}

/// The order of what is better: fewer incidents missed, less cost, less time of alerts, fewer alerts to look after.
fn better(a: &Judged, b: &Judged) -> std::cmp::Ordering {
    let missed = a.outcome.missed.cmp(&b.outcome.missed);
    let cost = missed.then(a.cost.total_cmp(&b.cost));
    cost.then(a.outcome.firing.cmp(&b.outcome.firing)).then(a.members.len().cmp(&b.members.len()))
}

/// Whether there is no reason to leave the present setting for another.
fn is_as_good(present: &Judged, best: &Judged) -> bool {
    present.outcome.missed == best.outcome.missed && present.cost <= best.cost
}

/// How the alerts of some candidates did together.
fn outcome(tried: &[Tried], members: &[usize]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut detections: Vec<Duration> = Vec::new();
    for tried in tried {
        let firings = match members {
            [only] => tried.firings[*only].clone(),
            members => {
                union(members.iter().flat_map(|member| tried.firings[*member].iter().copied()).collect())
            }
        };
        let belongs = |firing: &Span| tried.incidents.iter().any(|incident| firing.meets(tells(*incident)));
        outcome.alerts += firings.len();
        outcome.false_alerts += firings.iter().filter(|firing| !belongs(firing)).count();
        outcome.firing += total(&firings);
        for incident in &tried.incidents {
            let first = firings.iter().find(|firing| firing.meets(tells(*incident)));
            match first {
                Some(firing) => detections.push(firing.start.since(incident.start)),
                None => outcome.missed += 1,
            }
        }
    }
    let sum: Duration = detections.iter().sum();
    outcome.detection_mean = (!detections.is_empty()).then(|| sum / detections.len() as u32);
    outcome.detection_max = detections.into_iter().max();
    outcome
}

// === impl Judged ===

impl Judged {
    /// Whether it tells burns as slow as the other does, give or take rounding.
    fn is_as_sensitive(&self, other: &Self) -> bool {
        self.slowest <= other.slowest * (1.0 + 1e-9)
    }
}

// === impl Case ===

impl Case {
    /// The incidents that alerts should tell which stand for this share of the budget.
    fn incidents(&self, given: bool, share: f64) -> Vec<Span> {
        let counts = |(_, spent): &&(Span, f64)| given || *spent >= share;
        self.incidents.iter().filter(counts).map(|(span, _)| *span).collect()
    }
}
