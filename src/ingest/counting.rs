//! The second half of a request: all of it has been read and every series looked up; now it counts.

use std::{ops::Range, time::Duration};

use parking_lot::MutexGuard;

use super::{
    Ingest, Refusal,
    outcome::{Outcome, Tally},
    series::{Moment, Series},
    show,
    table::{Chunk, Held, Known, SeriesNumber},
};
use crate::{
    histogram::Histogram,
    prompb::{Request, Sample, SeriesView},
    time::Timestamp,
    window::Batch,
};

/// A request that is being counted.
struct Counting<'a> {
    ingest: &'a Ingest,
    message: &'a [u8],
    request: &'a Request,
    moment: Moment,
    batch: Batch<'a>,
    tally: &'a mut Tally,
}

/// The chunk that the last series was in. Never two at once: who takes one gives back the other before.
struct Cursor<'a> {
    held: &'a Held<'a>,
    chunk: Option<(usize, MutexGuard<'a, Chunk>)>,
}

// The longest window there can be: what is older counts in none.
const AGE_MAX: Duration = Duration::from_secs(90 * 86_400);

// === impl Ingest ===

impl Ingest {
    /// Counts what has been read, series by series.
    pub(super) fn count(
        &self,
        held: &Held<'_>,
        message: &[u8],
        request: &Request,
        known: &[Known],
        moment: Moment,
        tally: &mut Tally,
    ) {
        let batch = self.open.batch();
        let mut counting = Counting { ingest: self, message, request, moment, batch, tally };
        let mut cursor = Cursor { held, chunk: None };
        let (mut samples, mut histograms) = (0..0, 0..0);
        for (view, known) in request.series.iter().zip(known) {
            samples = samples.end..view.samples_end as usize;
            histograms = histograms.end..view.histograms_end as usize;
            match known {
                Known::Followed(number) => {
                    let series = cursor.series(*number);
                    for sample in &request.samples[samples.clone()] {
                        counting.sample(series, view, sample);
                    }
                    if !histograms.is_empty() {
                        counting.histograms(series, view, histograms.clone());
                    }
                }
                Known::Unselected => {
                    counting.tally.accept(Outcome::Unselected, samples.len());
                    counting.tally.accept_histograms(Outcome::Unselected, histograms.len());
                }
                // Its refusal has been noted when it was met.
                Known::Stranger => {
                    counting.tally.count(Outcome::Refused, samples.len() + histograms.len());
                }
            }
        }
    }
}

// === impl Counting ===

impl Counting<'_> {
    #[inline]
    fn sample(&mut self, series: &mut Series, view: &SeriesView, sample: &Sample) {
        let at = Timestamp(sample.timestamp_ms);
        if self.is_in_time(at) {
            let observation = series.observe(self.ingest, &mut self.batch, self.moment, sample);
            self.tally.accept(observation.into(), 1);
        } else if self.is_too_old(view, at) {
            self.tally.accept(Outcome::TooOld, 1);
        }
    }

    fn histograms(&mut self, series: &mut Series, view: &SeriesView, range: Range<usize>) {
        if !series.is_of_histogram() {
            return self.tally.accept_histograms(Outcome::HistogramIgnored, range.len());
        }
        for encoded in self.request.histograms(self.message, range) {
            let start_ms = encoded.series_start_ms;
            let decoded = Histogram::decode(encoded.message).map(|histogram| match start_ms {
                0 => histogram,
                start_ms => histogram.or_started_at(Timestamp(start_ms)),
            });
            match decoded {
                Ok(histogram) if self.is_in_time(histogram.at()) => {
                    let outcome =
                        series.observe_histogram(self.ingest, &mut self.batch, self.moment, histogram);
                    self.tally.accept_histograms(outcome, 1);
                }
                Ok(histogram) => {
                    let too_old = usize::from(self.is_too_old(view, histogram.at()));
                    self.tally.accept_histograms(Outcome::TooOld, too_old);
                }
                Err(error) => {
                    let series = || show(self.message, self.request, view);
                    self.tally.refuse(|| Refusal::Histogram { series: series(), error });
                }
            }
        }
    }

    #[inline]
    fn is_in_time(&self, at: Timestamp) -> bool {
        let now = self.moment.now;
        at <= now + self.ingest.config.future_max && at >= now - AGE_MAX
    }

    /// Refuses a sample whose time is not acceptable, unless it is only too old to count.
    #[cold]
    fn is_too_old(&mut self, view: &SeriesView, at: Timestamp) -> bool {
        let is_ahead = at > self.moment.now;
        if is_ahead {
            let series = || show(self.message, self.request, view);
            let ahead_max_seconds = self.ingest.config.future_max.as_secs();
            self.tally.refuse(|| Refusal::Future { at, series: series(), ahead_max_seconds });
        }
        !is_ahead
    }
}

// === impl Cursor ===

impl Cursor<'_> {
    #[inline]
    fn series(&mut self, number: SeriesNumber) -> &mut Series {
        if self.chunk.as_ref().is_none_or(|(n, _)| *n != number.chunk()) {
            self.chunk = None;
            self.chunk = Some((number.chunk(), self.held.chunk(number).lock()));
        }
        let series = self.chunk.as_mut().and_then(|(_, chunk)| chunk[number.lane()].as_mut());
        series.expect("BUG: a number leads to no series while the table is held")
    }
}
