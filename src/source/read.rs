//! Raw samples of the past, with their own times.
//!
//! Two ways lead to them. Remote-read has every sample as it was written, staleness markers too. Where it is not offered
//! (VictoriaMetrics, Thanos' querier), an instant query for `selector[range]` has the samples: Prometheus leaves out
//! staleness markers, VictoriaMetrics says NaN. `query_range` would sample anew at its steps, and is of no use here. A
//! source that lacks remote-read is remembered.
//!
//! A Prometheus adds its `external_labels` to what it sends by remote-write and remote-read, but not to what queries
//! find, and knows them in no matcher but equality. So matchers that they satisfy are left out of the question, they
//! are added to series that lack them, and the selector is applied to what comes. The same goes for the bounds of
//! buckets, which have several spellings ([`labels`](crate::labels)).
//!
//! A long time is read in [`Pieces`], the oldest first; one that is too much is read in halves. One request is under
//! way at a time. How often a server may be asked is up to the caller, who has a clock: [`pause_after`].

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{Error, Reason, Source, answer, remote_read, seconds};
use crate::{
    history::{Sample, Series},
    labels::{BUCKET_BOUND, Labels, METRIC_NAME, MatchOp, Matcher, Selector},
    time::{Timestamp, millis},
};

/// A time that is read piece by piece. Where reading ended, it may go on later, also by another source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    next: Timestamp,
    end: Timestamp,
    length: Duration,
    length_max: Duration,
}

/// The samples of a piece of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The first moment that was asked for.
    pub start: Timestamp,
    /// The last one.
    pub end: Timestamp,
    /// By labels; a series without samples is left out.
    pub series: Vec<Series>,
    /// Native histograms, which are left out.
    pub histograms: u64,
}

/// What was found so far of a piece.
#[derive(Debug)]
pub(super) struct Found<'a> {
    external_labels: &'a Labels,
    start: Timestamp,
    end: Timestamp,
    selector: Option<&'a Selector>,
    series: BTreeMap<Labels, Vec<Sample>>,
    samples: usize,
    pub(super) histograms: u64,
}

// The scrape interval of the hasty: nothing is gained by shorter pieces.
const PIECE_MIN: Duration = Duration::from_secs(15);
// 64 MiB; a chunk's byte may hold four samples, so that the bound of bytes alone is none.
const SAMPLES_MAX: usize = 4 << 20;
// Longer than a server needs to breathe, shorter than people wait.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long to wait after a request that took so long, so that a server is busy with requests for this share of time at
/// most.
pub fn pause_after(asked: Duration, share_max: f64) -> Duration {
    let pause = asked.as_secs_f64() * (1.0 / share_max - 1.0);
    Duration::try_from_secs_f64(pause.max(0.0)).map_or(PAUSE_MAX, |pause| pause.min(PAUSE_MAX))
}

// === impl Source ===

impl Source {
    /// The samples that these selectors select, of a time with both its ends.
    ///
    /// # Errors
    /// When there is no usable answer, or it has more than 4 million samples.
    pub async fn read(
        &self,
        selectors: &[Selector],
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<Series>, Error> {
        self.read_piece(selectors, start, end).await.map(|piece| piece.series)
    }

    /// The samples of the next piece, which is shortened as far as it takes; `None` at the end.
    ///
    /// # Errors
    /// When there is no usable answer; asking again asks for the same piece.
    pub async fn read_next(
        &self,
        selectors: &[Selector],
        pieces: &mut Pieces,
    ) -> Result<Option<Piece>, Error> {
        while let Some((start, end)) = pieces.peek() {
            match self.read_piece(selectors, start, end).await {
                Ok(piece) => {
                    pieces.advance();
                    return Ok(Some(piece));
                }
                Err(error) if error.reason.may_be_of_size() && pieces.shorten() => (),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn read_piece(
        &self,
        selectors: &[Selector],
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Piece, Error> {
        let mut found = Found::new(&self.config.external_labels, start, end);
        for selector in selectors {
            found.selector = Some(selector);
            let asked = question(selector, &self.config.external_labels);
            let read = self.read_selector(&asked, &mut found).await;
            read.map_err(|reason| self.error(&asked.to_string(), reason))?;
        }
        Ok(found.piece())
    }

    async fn read_selector(&self, asked: &Selector, found: &mut Found<'_>) -> Result<(), Reason> {
        if self.lacks_remote_read.load(Relaxed) {
            return self.query_samples(asked, found).await;
        }
        match self.remote_read(asked, found).await {
            Err(reason) if says_it_is_not_offered(&reason) => {
                self.query_samples(asked, found).await?;
                // Only now: where nothing answers, the address may be wrong for a while.
                self.lacks_remote_read.store(true, Relaxed);
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn remote_read(&self, asked: &Selector, found: &mut Found<'_>) -> Result<(), Reason> {
        let body = remote_read::question(asked, found.start, found.end);
        let (head, body) = self.exchange("read", &remote_read::HEADERS, body).await?;
        remote_read::answer(&head.headers, body, found)
    }

    async fn query_samples(&self, asked: &Selector, found: &mut Found<'_>) -> Result<(), Reason> {
        // Prometheus 3 leaves the begin of a range out, Prometheus 2 does not; what is too much is left out by `found`.
        let length = millis(found.end.since(found.start)) + 1;
        let form = self.form(&format!("{asked}[{length}ms]"), &[("time", seconds(found.end))]);
        let (_, body) = self.exchange("query", &super::FORM_HEADERS, form.into()).await?;
        let (series, histograms) = answer::samples(&body)?;
        found.histograms += histograms;
        series.into_iter().try_for_each(|Series { labels, samples }| found.add(labels, samples.into_iter()))
    }
}

/// Whether this is how a server answers that has no remote-read.
fn says_it_is_not_offered(reason: &Reason) -> bool {
    match reason {
        Reason::Failed { status, .. } => matches!(status, 404 | 405 | 501),
        // VictoriaMetrics' word for any path it does not know.
        Reason::Refused { message, .. } => message.contains("unsupported path"),
        // A proxy that lets queries through only.
        Reason::Unauthorized { status, .. } => *status == 403,
        _ => false,
    }
}

/// The selector as a server understands it, which selects at least as much.
fn question(selector: &Selector, external_labels: &Labels) -> Selector {
    let asked = selector.matchers.iter().filter_map(|matcher| asked(matcher, external_labels));
    let mut matchers: Vec<Matcher> = asked.collect();
    // A selector must not select what has no labels.
    if matchers.iter().all(|matcher| matcher.matches("")) {
        matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Regex, ".+"));
    }
    Selector { matchers }
}

fn asked(matcher: &Matcher, external_labels: &Labels) -> Option<Matcher> {
    let external = external_labels.get(matcher.name());
    if !external.is_empty() && matcher.matches(external) {
        return None;
    }
    if matcher.name() != BUCKET_BOUND || matcher.is_exact() {
        return Some(matcher.clone());
    }
    let spellings: Vec<String> = matcher.spellings()?.iter().map(|text| regex::escape(text)).collect();
    Matcher::new(BUCKET_BOUND, MatchOp::Regex, &spellings.join("|")).ok()
}

// === impl Found ===

impl<'a> Found<'a> {
    pub(super) fn new(external_labels: &'a Labels, start: Timestamp, end: Timestamp) -> Self {
        let series = BTreeMap::new();
        Self { external_labels, start, end, selector: None, series, samples: 0, histograms: 0 }
    }

    /// Adds samples of a series, of which some may be there already.
    pub(super) fn add(
        &mut self,
        labels: Labels,
        samples: impl ExactSizeIterator<Item = Sample>,
    ) -> Result<(), Reason> {
        self.check(samples.len())?;
        let labels = self.with_external(labels);
        if self.selector.is_some_and(|selector| !selector.matches(&labels)) {
            return Ok(());
        }
        let (start, end) = (self.start, self.end);
        let kept = self.series.entry(labels).or_default();
        let before = kept.len();
        kept.extend(samples.filter(|sample| (start..=end).contains(&sample.at)));
        self.samples += kept.len() - before;
        Ok(())
    }

    /// Refuses more samples than may be held.
    pub(super) fn check(&self, more: usize) -> Result<(), Reason> {
        if self.samples + more > SAMPLES_MAX { Err(Reason::TooManySamples(SAMPLES_MAX)) } else { Ok(()) }
    }

    fn with_external(&self, labels: Labels) -> Labels {
        let lacking = self.external_labels.iter().filter(|(name, _)| labels.get(name).is_empty());
        let lacking: Vec<(&str, &str)> = lacking.collect();
        if lacking.is_empty() {
            return labels;
        }
        Labels::new(labels.iter().chain(lacking)).expect("BUG: a label that lacked is there")
    }

    pub(super) fn piece(self) -> Piece {
        let Self { start, end, histograms, .. } = self;
        let series = self.series.into_iter().filter(|(_, samples)| !samples.is_empty());
        let series = series.map(|(labels, samples)| Series::new(labels, samples)).collect();
        Piece { start, end, series, histograms }
    }
}

// === impl Pieces ===

impl Pieces {
    /// A time with both its ends, in pieces of a length.
    pub fn new(start: Timestamp, end: Timestamp, length: Duration) -> Self {
        let length = length.max(PIECE_MIN);
        Self { next: start, end, length, length_max: length }
    }

    /// From where on it has not been read.
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// The piece to be asked for, with both its ends.
    fn peek(&self) -> Option<(Timestamp, Timestamp)> {
        let end = self.next + self.length - Duration::from_millis(1);
        (self.next <= self.end).then(|| (self.next, end.min(self.end)))
    }

    /// The piece was read. The next one may be longer.
    fn advance(&mut self) {
        self.next = self.next + self.length;
        self.length = (self.length * 2).min(self.length_max);
    }

    /// The piece was too long. Returns whether there is a shorter one.
    fn shorten(&mut self) -> bool {
        // The last piece is shorter than others.
        let left = self.end.since(self.next) + Duration::from_millis(1);
        let half = self.length.min(left) / 2;
        let can = half >= PIECE_MIN;
        self.length = if can { half } else { self.length };
        can
    }
}

#[cfg(test)]
mod tests;
