//! The samples that ingest records, until they are taken.

use std::{collections::HashMap, mem, sync::Arc};

use parking_lot::Mutex;

use crate::{
    expression::Sample,
    labels::{Labels, LabelsRef},
    time::Timestamp,
};

/// Every series whose samples are recorded. Locked when one is met for the first time, or given up.
#[derive(Debug, Default)]
pub struct Recent {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Labels, Arc<Recorded>>,
    /// What the sampler has not met yet.
    opened: Vec<Arc<Recorded>>,
    /// How many were refused since that was last asked.
    refused: u64,
}

/// A series whose samples are recorded.
#[derive(Debug)]
pub struct Recorded {
    /// Its labels, with the metric name.
    pub(super) labels: Labels,
    /// Its labels without the metric name.
    pub(super) nameless: Labels,
    inbox: Mutex<Inbox>,
}

/// Samples in the order of time, newer than all that were taken.
#[derive(Debug)]
struct Inbox {
    last_at: Timestamp,
    samples: Vec<Sample>,
    dropped: u64,
}

/// What was taken of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The time of the last sample so far.
    pub(super) last_at: Timestamp,
    /// How many samples were lost since something was taken before.
    pub(super) lost: u64,
}

/// Before every time that a sample can have.
pub(super) const NEVER: Timestamp = Timestamp(i64::MIN);

/// The most samples that are kept of a series: three hours that are pending, and two hours of ranges and offsets,
/// at a scrape each second. A series that has more loses its oldest.
pub(super) const SAMPLES_PER_SERIES_MAX: usize = 18_000;

// With a sample each 15 s for two hours, 800 MB. Further series are not seen by expressions.
const SERIES_MAX: usize = 100_000;

// === impl Recent ===

impl Recent {
    /// Where the samples of a series are recorded. `None` if there are as many series as may be.
    pub fn open(&self, labels: LabelsRef<'_>) -> Option<Arc<Recorded>> {
        let labels = Labels::new(labels.iter()).ok()?;
        let inner = &mut *self.inner.lock();
        if let Some(known) = inner.known.get(&labels) {
            return Some(Arc::clone(known));
        }
        let recorded = inner.insert(labels, NEVER)?;
        inner.opened.push(Arc::clone(&recorded));
        Some(recorded)
    }

    /// A series whose samples up to `last_at` were recorded before a restart. `None` if it is known already, or if
    /// there are as many as may be.
    pub(super) fn restore(&self, labels: Labels, last_at: Timestamp) -> Option<Arc<Recorded>> {
        let inner = &mut *self.inner.lock();
        if inner.known.contains_key(&labels) { None } else { inner.insert(labels, last_at) }
    }

    /// The series opened since the last call.
    pub(super) fn take_opened(&self) -> Vec<Arc<Recorded>> {
        mem::take(&mut self.inner.lock().opened)
    }

    /// How many series were refused since the last call.
    pub(super) fn take_refused(&self) -> u64 {
        mem::take(&mut self.inner.lock().refused)
    }

    /// Gives up a series that only this and the caller hold. False if it is still needed.
    pub(super) fn close_unused(&self, recorded: &Arc<Recorded>) -> bool {
        let inner = &mut *self.inner.lock();
        // Nobody can take another reference meanwhile: those come from `open`.
        Arc::strong_count(recorded) <= 2 && inner.known.remove(&recorded.labels).is_some()
    }
}

// === impl Inner ===

impl Inner {
    fn insert(&mut self, labels: Labels, last_at: Timestamp) -> Option<Arc<Recorded>> {
        if self.known.len() >= SERIES_MAX {
            self.refused += 1;
            return None;
        }
        let inbox = Inbox { last_at, samples: Vec::new(), dropped: 0 };
        let nameless = labels.leave_out(&[]);
        let recorded = Arc::new(Recorded { labels: labels.clone(), nameless, inbox: Mutex::new(inbox) });
        self.known.insert(labels, Arc::clone(&recorded));
        Some(recorded)
    }
}

// === impl Recorded ===

impl Recorded {
    /// Records a sample, or a staleness marker, if it is newer than the last one.
    pub fn record(&self, at: Timestamp, value: f64) {
        let inbox = &mut *self.inbox.lock();
        if at <= inbox.last_at {
            return;
        }
        inbox.last_at = at;
        if inbox.samples.len() < SAMPLES_PER_SERIES_MAX {
            inbox.samples.push(Sample { at, value });
        } else {
            inbox.dropped += 1;
        }
    }

    /// Moves what was recorded since the last call behind `samples`.
    pub(super) fn take(&self, samples: &mut Vec<Sample>) -> Taken {
        let inbox = &mut *self.inbox.lock();
        // What a backlog needed is given back.
        samples.extend(mem::take(&mut inbox.samples));
        Taken { last_at: inbox.last_at, lost: mem::take(&mut inbox.dropped) }
    }

    /// Takes back times later than this: the clock that allowed them was wrong.
    pub(super) fn set_back(&self, at: Timestamp) {
        let inbox = &mut *self.inbox.lock();
        inbox.last_at = inbox.last_at.min(at);
        inbox.samples.retain(|sample| sample.at <= at);
    }
}
