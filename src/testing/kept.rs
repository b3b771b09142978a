//! Samples of series that are all kept, for expressions to be evaluated over.

use std::{borrow::Cow, time::Duration};

use super::parse_series;
use crate::{
    expression::{Sample, Samples, Series},
    labels::{Labels, Selector},
    time::Timestamp,
};

/// Every sample of some series, each series in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Kept(pub Vec<(Labels, Vec<Sample>)>);

// === impl Kept ===

impl Kept {
    /// Reads series in Prometheus' notation, one a line, with samples in steps from a start.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn parse(text: &str, start: Timestamp, interval: Duration) -> Result<Self, String> {
        let read = |line| {
            let line = parse_series(line)?;
            let times = (0..).map(|n| start + interval * n);
            let samples = times.zip(line.values).filter_map(|(at, value)| Some(Sample { at, value: value? }));
            Ok((line.labels, samples.collect()))
        };
        text.lines().filter(|line| !line.trim().is_empty()).map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl Samples for Kept {
    fn select<'a>(&'a self, selector: &Selector) -> impl Iterator<Item = Series<'a>> {
        let selected = self.0.iter().filter(|(labels, _)| selector.matches(labels));
        selected.map(|(labels, samples)| Series {
            labels,
            nameless: Cow::Owned(labels.leave_out(&[])),
            samples,
        })
    }
}
