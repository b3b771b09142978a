//! A queue of samples, and the request that is on its way.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Random;
use crate::{
    labels::Labels,
    prompb::Version,
    testing::{Sent, encode, encode_v2},
    time::Timestamp,
};

/// A queue that is sent in its order.
#[derive(Debug, Default)]
pub(super) struct Shard {
    queue: VecDeque<Sent>,
    flight: Option<Flight>,
    /// The last request that was acknowledged.
    acknowledged: Option<Request>,
}

#[derive(Debug)]
struct Flight {
    request: Request,
    /// When it is sent again; `None` while it is waited for.
    again_at: Option<Timestamp>,
    sent_at: Timestamp,
}

/// A body, and what is in it.
#[derive(Clone, Debug)]
pub(in crate::testing::simulation) struct Request {
    pub(in crate::testing::simulation) version: Version,
    pub(in crate::testing::simulation) body: Bytes,
    /// As slod sees them: without what tells replicas apart.
    pub(in crate::testing::simulation) samples: Vec<Sent>,
    /// How often it was sent before.
    pub(in crate::testing::simulation) attempt: u64,
}

/// What a sender hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::testing::simulation) enum Answer {
    /// 2xx.
    Acknowledged,
    /// 503, or the connection broke.
    Repeat,
}

const BATCH_MAX: usize = 12;
const FLUSH_AFTER_MS: i64 = 2_000;
// Of a sender that is patient; Prometheus waits 30 s.
const TIMEOUT_MS: i64 = 8_000;

// === impl Shard ===

impl Shard {
    pub(super) fn push(&mut self, sent: Sent) {
        self.queue.push_back(sent);
    }

    pub(super) fn is_due(&mut self, now: Timestamp, is_over: bool) -> bool {
        match &self.flight {
            Some(flight) => match flight.again_at {
                Some(at) => at <= now,
                None => now.0 - flight.sent_at.0 >= TIMEOUT_MS,
            },
            None => {
                let is_old = |oldest: &Sent| is_over || now.0 - oldest.at.0 >= FLUSH_AFTER_MS;
                self.queue.len() >= BATCH_MAX || self.queue.front().is_some_and(is_old)
            }
        }
    }

    pub(super) fn send(
        &mut self,
        version: Version,
        replica: Option<&str>,
        random: &mut Random,
        now: Timestamp,
    ) -> Request {
        let flight = match self.flight.take() {
            Some(mut flight) => {
                flight.request.attempt += 1;
                Flight { again_at: None, sent_at: now, ..flight }
            }
            None => {
                let length = self.queue.len().min(1 + random.below(BATCH_MAX as u64) as usize);
                let samples: Vec<Sent> = self.queue.drain(..length).collect();
                let body = body(version, replica, &samples);
                let request = Request { version, body, samples, attempt: 0 };
                Flight { request, again_at: None, sent_at: now }
            }
        };
        self.flight.insert(flight).request.clone()
    }

    pub(super) fn handle(&mut self, attempt: u64, answer: Answer, now: Timestamp, wait_s: u32) {
        let Some(flight) = self.flight.take_if(|flight| flight.request.attempt == attempt) else { return };
        match answer {
            Answer::Acknowledged => self.acknowledged = Some(flight.request),
            Answer::Repeat => {
                let again_at = Some(Timestamp(now.0 + i64::from(wait_s) * 1_000));
                self.flight = Some(Flight { again_at, ..flight });
            }
        }
    }

    pub(super) fn acknowledged(&self) -> Option<Request> {
        self.acknowledged.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.flight.is_none()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.flight.as_ref().map_or(0, |flight| flight.request.samples.len())
    }
}

fn body(version: Version, replica: Option<&str>, samples: &[Sent]) -> Bytes {
    let of_replica = |sent: &Sent| {
        let replica = replica.map(|replica| ("__replica__", replica));
        let labels = Labels::new(sent.labels.iter().chain(replica)).expect("no name twice");
        Sent { labels, ..sent.clone() }
    };
    let samples: Vec<Sent> = samples.iter().map(of_replica).collect();
    match version {
        Version::V1 => encode(&samples),
        Version::V2 => encode_v2(&samples),
    }
    .into()
}
