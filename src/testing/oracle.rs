//! The naive evaluator: keeps every sample, and counts from scratch whenever it is asked.

use std::{collections::BTreeMap, time::Duration};

use super::Sent;
use crate::{
    counter::is_stale_marker,
    labels::{Labels, LabelsRef},
    slo::{Indicator, Slo, Term},
    time::Timestamp,
};

/// Every sample ever sent, by series, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    series: BTreeMap<Labels, Vec<(Timestamp, f64)>>,
    /// By target, and by series that were born: after when.
    births: Option<Births>,
}

/// Which series count from zero, because their target had been scraped without them.
#[derive(Clone, Debug)]
struct Births {
    warm_up: Duration,
    /// By target: the times of the first scrape, of the last but one and of the last.
    scrapes: BTreeMap<Labels, (Timestamp, Timestamp, Timestamp)>,
    /// A scrape before they were born.
    born_after: BTreeMap<Labels, Timestamp>,
}

/// Growth of a counter in `(from, to]`.
#[derive(Clone, Copy, Debug)]
struct Growth {
    from: Timestamp,
    to: Timestamp,
    events: f64,
}

// === impl Oracle ===

impl Oracle {
    /// An oracle that knows births. All series must count for the same SLOs.
    pub fn with_births(warm_up: Duration) -> Self {
        let births = Births { warm_up, scrapes: BTreeMap::new(), born_after: BTreeMap::new() };
        Self { births: Some(births), ..Self::default() }
    }

    /// Remembers what was sent.
    pub fn record(&mut self, samples: &[Sent]) {
        for sent in samples {
            if let Some(births) = self.births.as_mut().filter(|_| counts(sent.value)) {
                let is_first = self
                    .series
                    .get(&sent.labels)
                    .is_none_or(|known| !known.iter().any(|(_, value)| counts(*value)));
                births.record(sent, is_first);
            }
            self.series.entry(sent.labels.clone()).or_default().push((sent.at, sent.value));
        }
    }

    /// Bad and all events ever, of the series of a group, or of all series.
    pub fn lifetime(&self, slo: &Slo, group: Option<&Labels>, end: Timestamp) -> (f64, f64) {
        self.count(slo, group, |growth| if growth.to <= end { growth.events } else { 0.0 })
    }

    /// Bad and all events in `(end - window, end]`, of the series of a group, or of all series. Growth over
    /// an interval longer than `gap` is spread over it.
    pub fn window(
        &self,
        slo: &Slo,
        group: Option<&Labels>,
        end: Timestamp,
        window: Duration,
        gap: Duration,
    ) -> (f64, f64) {
        let start = end - window;
        self.count(slo, group, |growth| {
            let interval = growth.to.since(growth.from);
            if growth.to > end {
                0.0
            } else if interval > gap {
                let inside = growth.to.since(start.max(growth.from));
                growth.events * inside.as_secs_f64() / interval.as_secs_f64()
            } else if growth.to > start {
                growth.events
            } else {
                0.0
            }
        })
    }

    fn count(&self, slo: &Slo, group: Option<&Labels>, part: impl Fn(&Growth) -> f64) -> (f64, f64) {
        let Indicator::Counted(counted) = &slo.indicator else { return (f64::NAN, f64::NAN) };
        let group_of = |labels: &Labels| {
            let mut pairs = labels.iter().collect();
            counted.group_by.of(LabelsRef::new(&mut pairs).expect("labels are sorted and not repeated"))
        };
        let sum = |terms: &[Term]| -> f64 {
            let of_group = |(labels, samples): (&Labels, &Vec<(Timestamp, f64)>)| {
                let is_in = group.is_none_or(|group| group_of(labels) == *group);
                is_in.then(|| (labels.clone(), growths(samples, self.born_after(labels))))
            };
            let series: Vec<_> = self.series.iter().filter_map(of_group).collect();
            let of_term = |term: &Term| -> f64 {
                let matching = series.iter().filter(|(labels, _)| term.selector.matches(labels));
                matching.flat_map(|(_, growths)| growths).map(|growth| term.coefficient * part(growth)).sum()
            };
            terms.iter().map(of_term).sum()
        };
        (sum(&counted.bad), sum(&counted.total))
    }

    fn born_after(&self, labels: &Labels) -> Option<Timestamp> {
        self.births.as_ref()?.born_after.get(labels).copied()
    }
}

// === impl Births ===

// As documented: a target that was silent for longer may have been away.
const SCRAPE_GAP_MAX: Duration = Duration::from_secs(300);

impl Births {
    fn record(&mut self, sent: &Sent, is_first: bool) {
        let target = sent.labels.keep(&["cluster", "instance", "job"].map(str::to_owned));
        let Some((first, previous, last)) = self.scrapes.get_mut(&target) else {
            self.scrapes.insert(target, (sent.at, sent.at, sent.at));
            return;
        };
        let before = if *last < sent.at { *last } else { *previous };
        let is_recent = before < sent.at && sent.at.since(before) <= SCRAPE_GAP_MAX;
        if is_first && is_recent && before.since(*first) >= self.warm_up {
            self.born_after.insert(sent.labels.clone(), before);
        }
        if *last < sent.at {
            (*previous, *last) = (*last, sent.at);
        }
    }
}

/// Whether a counter can have such a value.
fn counts(value: f64) -> bool {
    value.is_finite() && value >= 0.0 && !is_stale_marker(value)
}

/// What a counter's samples, in the order of arrival, say of its growth: a sample that is not newer than
/// all before it says nothing, and a smaller value means that the counter started over. One that was born counts
/// from zero.
fn growths(samples: &[(Timestamp, f64)], born_after: Option<Timestamp>) -> Vec<Growth> {
    let mut growths = Vec::new();
    let mut last = born_after.map(|at| (at, 0.0));
    for &(at, value) in samples {
        if !counts(value) || last.is_some_and(|(last_at, _)| at <= last_at) {
            continue;
        }
        if let Some((from, last_value)) = last {
            let events = if value < last_value { value } else { value - last_value };
            growths.push(Growth { from, to: at, events });
        }
        last = Some((at, value));
    }
    growths
}
