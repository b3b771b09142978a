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
    /// Remembers what was sent.
    pub fn record(&mut self, samples: &[Sent]) {
        for sent in samples {
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
                is_in.then(|| (labels.clone(), growths(samples)))
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
}

/// What a counter's samples, in the order of arrival, say of its growth: a sample that is not newer than
/// all before it says nothing, and a smaller value means that the counter started over.
fn growths(samples: &[(Timestamp, f64)]) -> Vec<Growth> {
    let mut growths = Vec::new();
    let mut last: Option<(Timestamp, f64)> = None;
    for &(at, value) in samples {
        let counts = value.is_finite() && value >= 0.0 && !is_stale_marker(value);
        if !counts || last.is_some_and(|(last_at, _)| at <= last_at) {
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
