//! The pages of the newest report, made once for all who ask.
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

use super::{Config, Encoding, Format, Renderer, compression};
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
    /// What it is.
    pub wanted: Wanted,
    /// One after the other they are the page.
    pub chunks: Arc<Vec<Bytes>>,
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
    moment: Moment,
    plain: Arc<Vec<Bytes>>,
    packed: Vec<(Encoding, Arc<Vec<Bytes>>)>,
}

// slod's metrics about itself go on while evaluations are rare, or have stopped.
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

    /// The page of an evaluation. `report` is called, for it and for slod's metrics about itself, if it is not there.
    pub fn page(
        &self,
        moment: Moment,
        wanted: Wanted,
        report: impl FnOnce() -> (Arc<Report>, Vec<proto::MetricFamily>),
    ) -> Page {
        let mut inner = self.inner.lock();
        let Wanted { format, encoding } = wanted;
        if !inner.has(format, moment) {
            inner.make(format, moment, report);
        }
        Page { wanted, chunks: inner.newest.as_mut().map_or_else(Arc::default, |kept| kept.packed(encoding)) }
    }
}

// === impl Inner ===

impl Inner {
    /// Whether the page is there, or there is no room for another one.
    fn has(&mut self, format: Format, moment: Moment) -> bool {
        self.earlier.retain(|page| page.strong_count() > 0);
        let Some(kept) = self.newest.as_ref().filter(|kept| kept.format == format) else { return false };
        let is_fresh = kept.moment.evaluation == moment.evaluation
            && moment.now.saturating_sub(kept.moment.now) < AGE_MAX;
        is_fresh || self.earlier.len() >= EARLIER_MAX
    }

    fn make(
        &mut self,
        format: Format,
        moment: Moment,
        report: impl FnOnce() -> (Arc<Report>, Vec<proto::MetricFamily>),
    ) {
        if let Some(before) = self.newest.take() {
            match Arc::try_unwrap(before.plain) {
                Ok(chunks) => self.renderer.take_back(chunks),
                Err(held) => self.earlier.push(Arc::downgrade(&held)),
            }
        }
        let (report, own) = report();
        let plain = Arc::new(self.renderer.render(&report, &own, format));
        self.renderer.release();
        self.newest = Some(Kept { format, moment, plain, packed: Vec::new() });
    }
}

// === impl Kept ===

impl Kept {
    fn packed(&mut self, encoding: Encoding) -> Arc<Vec<Bytes>> {
        if encoding == Encoding::Identity {
            return Arc::clone(&self.plain);
        }
        if let Some((_, packed)) = self.packed.iter().find(|(known, _)| *known == encoding) {
            return Arc::clone(packed);
        }
        let packed = Arc::new(compression::packed(&self.plain, encoding));
        self.packed.push((encoding, Arc::clone(&packed)));
        packed
    }
}
