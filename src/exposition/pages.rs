//! The pages of the newest report, made once for all who ask.
//!
//! What is said of SLOs is made once for all; slod's metrics about itself are those of the moment, and end the page.
//! A packed page is made as a whole, so that there those are of when it was packed.
//!
//! Whoever asks first waits while it is made; who asks meanwhile waits, too, and shares it. A page lives until the
//! next one is asked for, then its memory is used again, unless a slow reader still holds it. Of those there may be
//! few: beyond that the newest page is given again, a moment old, rather than another one made.
//!
//! The report is held only while its page is made: who holds it longer makes the evaluation allocate another.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::proto;

use super::{Config, Encoding, Format, Renderer, compression, own};
use crate::report::Report;

/// Which form of a page is asked for, by the headers of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The format.
    pub format: Format,
    /// The compression.
    pub encoding: Encoding,
}

/// Which evaluation a page shows, and when it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The number of the evaluation, or anything else that differs from one to the next.
    pub evaluation: u64,
    /// In steady time.
    pub now: Duration,
}

/// A page as it is sent.
#[derive(Clone, Debug)]
pub struct Page {
    /// One after the other they are the page, but for its end.
    pub chunks: Arc<Vec<Bytes>>,
    /// Its end.
    pub end: Bytes,
}

/// The pages of the newest report.
#[derive(Debug)]
pub struct Pages {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    renderer: Renderer,
    newest: Option<Kept>,
    /// Earlier ones that may still be read.
    earlier: Vec<Weak<Vec<Bytes>>>,
}

#[derive(Debug)]
struct Kept {
    format: Format,
    evaluation: u64,
    plain: Arc<Vec<Bytes>>,
    packed: Vec<Packed>,
}

#[derive(Debug)]
struct Packed {
    encoding: Encoding,
    made: Duration,
    chunks: Arc<Vec<Bytes>>,
}

// slod's metrics about itself go on while evaluations are rare or have stopped.
const AGE_MAX: Duration = Duration::from_secs(5);
// A scraper that takes longer than its interval holds one, so that a few of them can.
const EARLIER_MAX: usize = 3;

// === impl Pages ===

impl Pages {
    /// None yet.
    pub fn new(config: Config) -> Self {
        let inner = Inner { renderer: Renderer::new(config), newest: None, earlier: Vec::new() };
        Self { inner: Mutex::new(inner) }
    }

    /// The page of an evaluation. `report` is called if it is not there, `own` for slod's metrics about itself.
    pub fn page(
        &self,
        moment: Moment,
        wanted: Wanted,
        report: impl FnOnce() -> Arc<Report>,
        own: impl FnOnce() -> Vec<proto::MetricFamily>,
    ) -> Page {
        let mut inner = self.inner.lock();
        let end = || own::text(&own(), wanted.format).into();
        let kept = inner.kept(wanted.format, moment, report);
        match wanted.encoding {
            Encoding::Identity => Page { chunks: Arc::clone(&kept.plain), end: end() },
            encoding => Page { chunks: kept.packed(encoding, moment.now, end), end: Bytes::new() },
        }
    }
}

// === impl Inner ===

impl Inner {
    fn kept(&mut self, format: Format, moment: Moment, report: impl FnOnce() -> Arc<Report>) -> &mut Kept {
        self.earlier.retain(|page| page.strong_count() > 0);
        let before = match self.newest.take() {
            // That of the evaluation, or there is no room for another one.
            Some(kept)
                if kept.format == format && (kept.is_of(moment) || self.earlier.len() >= EARLIER_MAX) =>
            {
                return self.newest.insert(kept);
            }
            before => before,
        };
        self.give_up(before);
        let plain = Arc::new(self.renderer.render(&report(), format));
        self.renderer.release();
        self.newest.insert(Kept { format, evaluation: moment.evaluation, plain, packed: Vec::new() })
    }

    fn give_up(&mut self, before: Option<Kept>) {
        match before.map(|before| Arc::try_unwrap(before.plain)) {
            Some(Ok(chunks)) => self.renderer.take_back(chunks),
            Some(Err(held)) => self.earlier.push(Arc::downgrade(&held)),
            None => (),
        }
    }
}

// === impl Kept ===

impl Kept {
    fn is_of(&self, moment: Moment) -> bool {
        self.evaluation == moment.evaluation
    }

    fn packed(&mut self, encoding: Encoding, now: Duration, end: impl FnOnce() -> Bytes) -> Arc<Vec<Bytes>> {
        self.packed.retain(|packed| now.saturating_sub(packed.made) < AGE_MAX);
        if let Some(packed) = self.packed.iter().find(|packed| packed.encoding == encoding) {
            return Arc::clone(&packed.chunks);
        }
        let end = end();
        let chunks = Arc::new(compression::packed(self.plain.iter().chain([&end]), encoding));
        self.packed.push(Packed { encoding, made: now, chunks: Arc::clone(&chunks) });
        chunks
    }
}
