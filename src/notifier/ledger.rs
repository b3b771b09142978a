//! What a receiver was last told of each alert, and what it is to be told now: Prometheus' rules.
//!
//! A pure core: alerts and the time go in, what is due comes out. It does not know how alerts are delivered, nor
//! whether they were: what goes wrong later is made good by telling again.
//!
//! The invariant: an alert is told to fire only while it fires, and to be resolved only when it does not.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use xxhash_rust::xxh3::Xxh3;

use crate::{alert::AlertState, report::Alert, time::Timestamp};

/// What tells an alert from others: a hash of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u128);

/// How often alerts are told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long a firing alert is not told again.
    pub resend_delay: Duration,
    /// How long it counts as firing if it is not told again.
    pub validity: Duration,
    /// Whether the receiver may forget what it was told: it is told of a resolved alert again, too, while that is
    /// remembered, and of everything after it was away.
    pub may_forget: bool,
}

/// What one receiver was told.
#[derive(Debug)]
pub struct Ledger {
    pace: Pace,
    entries: HashMap<Key, Entry, BuildHasherDefault<DefaultHasher>>,
    round: u64,
}

/// What it was last told of one alert.
#[derive(Clone, Copy, Debug)]
struct Entry {
    status: Status,
    since: Timestamp,
    told_at: Timestamp,
    /// The last round in which there was such an alert.
    round: u64,
}

/// What an alert is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It fires.
    Firing,
    /// It does not any more.
    Resolved,
}

/// An alert that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which one in the list.
    pub index: usize,
    /// Its labels.
    pub key: Key,
    /// What it is.
    pub status: Status,
    /// Since when it fires, or fired.
    pub starts_at: Timestamp,
    /// When it was resolved, or until when it counts as firing.
    pub ends_at: Timestamp,
    /// Whether the receiver was told the same before.
    pub is_repeated: bool,
}

// === impl Key ===

impl Key {
    /// Of a set of labels.
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        let mut hash = Xxh3::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            hash.update(text.as_bytes());
            // No text of UTF-8 has it.
            hash.update(&[0xff]);
        }
        Self(hash.digest128())
    }
}

// === impl Ledger ===

impl Ledger {
    /// Of a receiver that was told nothing.
    pub fn new(pace: Pace) -> Self {
        Self { pace, entries: HashMap::default(), round: 0 }
    }

    /// What is to be told at `now`; what is new to the receiver comes first. Each [`Due`] that is on its way is to be
    /// noted.
    pub fn due(&mut self, alerts: &[(Key, Alert)], now: Timestamp) -> Vec<Due> {
        self.round += 1;
        for (key, _) in alerts {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.round = self.round;
            }
        }
        let round = self.round;
        // Of what is gone nothing is known any more, so nothing is told: it ends when its time is over.
        self.entries.retain(|_, entry| entry.round == round);
        let due = |(index, (key, alert)): (usize, &(Key, Alert))| {
            let (status, starts_at, ends_at) = self.next(self.entries.get(key), alert, now)?;
            let is_repeated = self.entries.get(key).is_some_and(|entry| entry.is(status, starts_at));
            Some(Due { index, key: *key, status, starts_at, ends_at, is_repeated })
        };
        let mut due: Vec<Due> = alerts.iter().enumerate().filter_map(due).collect();
        due.sort_by_key(|due| due.is_repeated);
        due
    }

    /// Notes that this is on its way.
    pub fn note(&mut self, due: &Due, now: Timestamp) {
        let Due { key, status, starts_at, .. } = *due;
        let entry = Entry { status, since: starts_at, told_at: now, round: self.round };
        self.entries.insert(key, entry);
    }

    /// The receiver was away: if it may have forgotten what it was told, everything is due.
    pub fn tell_again(&mut self) {
        if !self.pace.may_forget {
            return;
        }
        #[expect(clippy::iter_over_hash_type, reason = "each entry by itself")]
        for entry in self.entries.values_mut() {
            entry.told_at = Timestamp(i64::MIN);
        }
    }

    fn next(
        &self,
        entry: Option<&Entry>,
        alert: &Alert,
        now: Timestamp,
    ) -> Option<(Status, Timestamp, Timestamp)> {
        let was_firing = entry.filter(|entry| entry.status == Status::Firing);
        match alert.state {
            // It was resolved and holds again, and nobody looked in between.
            AlertState::Inactive | AlertState::Pending { .. } => {
                was_firing.map(|entry| (Status::Resolved, entry.since, now))
            }
            // Whoever was told of it before it was muted takes it to end when its time is over.
            AlertState::Firing { .. } if alert.is_muted => None,
            AlertState::Firing { since, .. } => {
                let since = since.min(now);
                let is_due = self.is_due(entry, Status::Firing, since, now);
                is_due.then(|| (Status::Firing, since, now + self.pace.validity))
            }
            // Of what was muted all the time nobody needs to know the end.
            AlertState::Resolved { .. } if alert.is_muted && entry.is_none() => None,
            AlertState::Resolved { since, at } => {
                let since = since.min(at);
                let is_new = !entry.is_some_and(|entry| entry.is(Status::Resolved, since));
                let is_due = is_new || self.pace.may_forget;
                let is_due = is_due && self.is_due(entry, Status::Resolved, since, now);
                is_due.then(|| (Status::Resolved, since, at.min(now)))
            }
        }
    }

    /// Whether the receiver was not told this, or so long ago that it is told again. As in Prometheus, a moment later.
    fn is_due(&self, entry: Option<&Entry>, status: Status, since: Timestamp, now: Timestamp) -> bool {
        match entry {
            Some(entry) if entry.is(status, since) => now > entry.told_at + self.pace.resend_delay,
            _ => true,
        }
    }
}

// === impl Entry ===

impl Entry {
    fn is(&self, status: Status, since: Timestamp) -> bool {
        self.status == status && self.since == since
    }
}

// === impl Pace ===

impl Pace {
    /// Prometheus' own, for Alertmanagers: two tellings may be lost before an alert counts as resolved.
    pub fn of_alertmanager(resend_delay: Duration, evaluation_interval: Duration) -> Self {
        let validity = resend_delay.max(evaluation_interval) * 4;
        Self { resend_delay, validity, may_forget: true }
    }

    /// For who acts on what it is told.
    pub fn of_webhook(repeat_interval: Duration) -> Self {
        Self { resend_delay: repeat_interval, validity: repeat_interval, may_forget: false }
    }
}

#[cfg(test)]
mod tests;
