//! What waits for one receiver: of each alert the newest version only.
//!
//! It does not know when anything is due. The invariant: it never holds more alerts than its capacity, those that are
//! being sent included; what does not fit is told to the caller, who still has the state.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use super::{ledger::Key, message::Notification};

/// A queue by alert.
#[derive(Debug)]
pub struct Outbox {
    capacity: usize,
    /// In the order in which they came to wait.
    order: VecDeque<Key>,
    waiting: HashMap<Key, Arc<Notification>, BuildHasherDefault<DefaultHasher>>,
    sending: usize,
}

// === impl Outbox ===

impl Outbox {
    /// An empty one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, order: VecDeque::new(), waiting: HashMap::default(), sending: 0 }
    }

    /// Adds an alert, or takes it for the one that waits by the same labels. Returns whether there was room.
    pub fn push(&mut self, notification: Arc<Notification>) -> bool {
        let key = notification.key;
        if let Some(waiting) = self.waiting.get_mut(&key) {
            *waiting = notification;
            return true;
        }
        if self.len() >= self.capacity {
            return false;
        }
        self.order.push_back(key);
        self.waiting.insert(key, notification);
        true
    }

    /// Takes what is sent next, at most so many; says later that it was [`done`](Self::done) or
    /// [`put back`](Self::put_back).
    pub fn take(&mut self, max: usize) -> Vec<Arc<Notification>> {
        let count = self.order.len().min(max);
        let keys = self.order.drain(..count);
        let taken: Vec<_> = keys.filter_map(|key| self.waiting.remove(&key)).collect();
        self.sending = taken.len();
        taken
    }

    /// What was taken need not be sent again.
    pub fn done(&mut self) {
        self.sending = 0;
    }

    /// What was taken is to be sent again, unless a newer version came meanwhile.
    pub fn put_back(&mut self, taken: Vec<Arc<Notification>>) {
        self.sending = 0;
        for notification in taken.into_iter().rev() {
            let key = notification.key;
            if !self.waiting.contains_key(&key) {
                self.order.push_front(key);
                self.waiting.insert(key, notification);
            }
        }
    }

    /// How many there are, those that are being sent included.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sending
    }

    /// Whether nothing waits, and nothing is being sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{notifier::ledger::Status, time::Timestamp};

    fn notification(key: u128, at: i64) -> Arc<Notification> {
        Arc::new(Notification {
            key: Key(key),
            labels: Default::default(),
            annotations: Default::default(),
            status: Status::Firing,
            starts_at: Timestamp(at),
            ends_at: Timestamp(at),
            generator_url: String::new(),
        })
    }

    fn said(taken: &[Arc<Notification>]) -> Vec<(u128, i64)> {
        taken.iter().map(|one| (one.key.0, one.starts_at.0)).collect()
    }

    #[test]
    fn the_newest_version_takes_the_place_of_the_older_one() {
        let mut outbox = Outbox::new(2);
        assert!(outbox.push(notification(1, 0)) && outbox.push(notification(2, 0)));
        assert!(outbox.push(notification(1, 5)), "a newer version needs no room");
        assert!(!outbox.push(notification(3, 0)), "it is full");
        assert_eq!(said(&outbox.take(9)), [(1, 5), (2, 0)]);
    }

    #[test]
    fn what_failed_is_sent_again_first_unless_there_is_news() {
        let mut outbox = Outbox::new(4);
        (1..=4).for_each(|key| assert!(outbox.push(notification(key, 0))));
        let taken = outbox.take(3);
        assert_eq!(outbox.len(), 4);
        assert!(!outbox.push(notification(5, 0)), "what is being sent takes room");
        // What is being sent is not there to be replaced, so that its successor needs room of its own.
        outbox.put_back(taken);
        assert!(outbox.push(notification(2, 7)));
        assert_eq!(said(&outbox.take(9)), [(1, 0), (2, 7), (3, 0), (4, 0)]);
        outbox.done();
        assert!(outbox.is_empty());

        assert!(outbox.push(notification(1, 0)));
        let taken = outbox.take(9);
        assert!(outbox.push(notification(1, 9)));
        outbox.put_back(taken);
        assert_eq!(said(&outbox.take(9)), [(1, 9)], "the older version is not sent after the newer one");
    }
}
