//! What ingest knows of an instance beside its events: when its series were last seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    time::{Latest, Timestamp},
    window::SliId,
};

/// Noted by ingest threads, read by the tick.
///
/// All orderings are relaxed: each figure stands for itself, and a tick that misses the newest of them
/// sees it a second later.
#[derive(Debug, Default)]
pub struct Presence {
    last_sample: Latest,
    live_series: AtomicI64,
    late_arrival: Latest,
    late_since: Latest,
}

/// The presences of all instances by SLI number, side by side, so that a tick reads them in a row.
#[derive(Clone, Debug, Default)]
pub struct Presences(Vec<Arc<[Presence; PER_CHUNK]>>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct PresenceRef {
    chunk: Arc<[Presence; PER_CHUNK]>,
    lane: usize,
}

const PER_CHUNK: usize = 256;

/// What is stored of a presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceState {
    /// The newest sample of any of its series.
    pub last_sample: Option<Timestamp>,
    /// When a sample last arrived much later than its time …
    pub late_arrival: Option<Timestamp>,
    /// … and since when such samples arrive.
    pub late_since: Option<Timestamp>,
    /// Whether any of its series had not ended.
    pub is_live: bool,
}

// A sender's shards wait at most 5 s between two tries of a request; this many tries of the slowest.
const CATCH_UP_QUIET: Duration = Duration::from_secs(30);
// Two hours of backlog take a sender a minute or two.
const CATCH_UP_MAX: Duration = Duration::from_secs(300);

// === impl Presence ===

impl Presence {
    /// Notes a sample. Returns the time of the newest one before, unless this one is not newer.
    pub(super) fn note_sample(&self, at: Timestamp) -> Option<Option<Timestamp>> {
        // Most samples of a scrape share its time with one seen before: no write for them.
        if self.last_sample() >= Some(at) {
            return None;
        }
        let before = self.last_sample.note(at);
        (before < Some(at)).then_some(before)
    }

    /// Notes that a sample arrived much later than its time.
    pub(super) fn note_late_arrival(&self, now: Timestamp) {
        if self.late_arrival.note(now).is_none_or(|before| now.since(before) > CATCH_UP_QUIET) {
            self.late_since.note(now);
        }
    }

    /// Notes series that came alive, or ended (negative).
    pub(super) fn note_live_series(&self, change: i64) {
        self.live_series.fetch_add(change, Ordering::Relaxed);
    }

    /// Whether a backlog is coming in: its series arrive one after the other, and until all are there the
    /// counts of the recent past do not belong together. Not believed for ever, because a sender may
    /// always be late.
    pub fn is_catching_up(&self, now: Timestamp) -> bool {
        let is_within = |latest: &Latest, limit| latest.get().is_some_and(|at| now.since(at) <= limit);
        is_within(&self.late_arrival, CATCH_UP_QUIET) && is_within(&self.late_since, CATCH_UP_MAX)
    }

    /// The newest sample of any of its series.
    pub fn last_sample(&self) -> Option<Timestamp> {
        self.last_sample.get()
    }

    /// How many of its series have not ended.
    pub fn live_series(&self) -> i64 {
        self.live_series.load(Ordering::Relaxed)
    }

    /// Takes back what was noted by a clock that has been set back, so that event time is `at`.
    pub fn set_back(&self, at: Timestamp) {
        self.last_sample.lower_to(at);
        self.late_arrival.forget();
        self.late_since.forget();
    }

    /// What is stored of it.
    pub fn state(&self) -> PresenceState {
        PresenceState {
            last_sample: self.last_sample.get(),
            late_arrival: self.late_arrival.get(),
            late_since: self.late_since.get(),
            is_live: self.live_series() > 0,
        }
    }

    /// Takes in what was stored. Series that were live then are counted when they are met again.
    pub fn restore(&self, state: &PresenceState) {
        let note = |latest: &Latest, at: Option<Timestamp>| at.map(|at| latest.note(at));
        note(&self.last_sample, state.last_sample);
        note(&self.late_arrival, state.late_arrival);
        note(&self.late_since, state.late_since);
    }

    pub(super) fn forget(&self) {
        self.last_sample.forget();
        self.live_series.store(0, Ordering::Relaxed);
        self.late_arrival.forget();
        self.late_since.forget();
    }
}

// === impl Presences ===

impl Presences {
    /// The presence of an SLI.
    pub fn of(&self, sli: SliId) -> &Presence {
        &self.0[sli.0 as usize / PER_CHUNK][sli.0 as usize % PER_CHUNK]
    }

    /// What is stored of each, by number.
    pub fn states(&self) -> Vec<PresenceState> {
        self.0.iter().flat_map(|chunk| chunk.iter()).map(Presence::state).collect()
    }

    /// A fresh presence for an SLI, whose number is at most one above the highest so far.
    pub(super) fn begin(&mut self, sli: SliId) -> PresenceRef {
        let (number, lane) = (sli.0 as usize / PER_CHUNK, sli.0 as usize % PER_CHUNK);
        if number == self.0.len() {
            self.0.push(Arc::new(std::array::from_fn(|_| Presence::default())));
        }
        let presence = PresenceRef { chunk: Arc::clone(&self.0[number]), lane };
        presence.forget();
        presence
    }
}

impl std::ops::Deref for PresenceRef {
    type Target = Presence;
    fn deref(&self) -> &Presence {
        &self.chunk[self.lane]
    }
}
