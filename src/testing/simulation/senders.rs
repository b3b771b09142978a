//! Targets that count, and senders like Prometheus that scrape them and send what they saw until it is acknowledged.
//!
//! A sender has shards, each of which sends its samples in their order, one request at a time. Two of them may be the
//! replicas of a pair, which scrape the same.
//!
//! Invariant: a shard gives up nothing but what is answered 400.

mod shard;
mod target;

use super::{random::Random, setting::Setting};
use crate::{prompb::Version, testing::Sent, time::Timestamp};
use shard::Shard;
pub(super) use shard::{Answer, Request};
use target::{SCRAPE_INTERVAL_S, Target, ZONES};

/// Everything that is scraped, and everyone who sends.
#[derive(Debug)]
pub(super) struct Senders {
    random: Random,
    targets: Vec<Target>,
    senders: Vec<Sender>,
    /// By zone: until when much fails there.
    incidents: [Timestamp; ZONES.len()],
    has_births: bool,
    is_over: bool,
}

#[derive(Debug)]
struct Sender {
    /// In a pair: which one it is.
    replica: Option<&'static str>,
    /// Which targets it scrapes.
    targets: std::ops::Range<usize>,
    version: Version,
    /// After the full second.
    offset_ms: i64,
    /// Until when it does not scrape, and does not send.
    dead_until: Timestamp,
    /// Until when nothing of it arrives.
    cut_off_until: Timestamp,
    shards: Vec<Shard>,
}

/// A shard of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShardId {
    pub(super) sender: usize,
    shard: usize,
}

const TARGETS: usize = 6;
const PAIRED_TARGETS: usize = 2;
const SHARDS: usize = 3;

// === impl Senders ===

impl Senders {
    pub(super) fn new(setting: &Setting, mut random: Random, now: Timestamp) -> Self {
        let numbers = 0..TARGETS + PAIRED_TARGETS;
        let targets = numbers.map(|n| Target::new(n, n >= TARGETS, &mut random, now)).collect();
        let mut sender = |replica, targets, offset_ms| Sender {
            replica,
            targets,
            version: random.pick(&[Version::V1, Version::V2]),
            offset_ms,
            dead_until: now,
            cut_off_until: now,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        };
        let mut senders = vec![sender(None, 0..TARGETS, 400)];
        if setting.has_pair {
            let paired = TARGETS..TARGETS + PAIRED_TARGETS;
            senders.extend([("a", 100), ("b", 700)].map(|(name, ms)| sender(Some(name), paired.clone(), ms)));
        }
        let incidents = [now; ZONES.len()];
        Self { random, targets, senders, incidents, has_births: setting.has_births, is_over: false }
    }

    /// A second passes. Returns the samples of it that no replica shares.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Sent> {
        if self.is_over {
            return Vec::new();
        }
        self.strike(now);
        for target in &mut self.targets {
            let is_failing = self.incidents[target.zone()] > now;
            target.advance(&mut self.random, is_failing, now);
        }
        let mut made = Vec::new();
        for number in 0..self.senders.len() {
            let samples = self.scrape(number, now);
            if self.senders[number].replica.is_none() {
                made.extend(samples);
            }
        }
        made
    }

    /// The requests of this second, in the order in which they arrive.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(Timestamp, ShardId)> {
        let mut due = Vec::new();
        for (number, sender) in self.senders.iter_mut().enumerate() {
            let is_out = !self.is_over && (sender.dead_until > now || sender.cut_off_until > now);
            for (shard, of) in sender.shards.iter_mut().enumerate() {
                let arrival = Timestamp(now.0 + 1 + self.random.below(999) as i64);
                if of.is_due(now, self.is_over) && !is_out {
                    due.push((arrival, ShardId { sender: number, shard }));
                }
            }
        }
        due.sort_unstable();
        due
    }

    /// The request that a shard sends.
    pub(super) fn send(&mut self, id: ShardId, now: Timestamp) -> Request {
        let sender = &mut self.senders[id.sender];
        sender.shards[id.shard].send(sender.version, sender.replica, &mut self.random, now)
    }

    /// A request that any shard has sent before, as some proxies repeat them.
    pub(super) fn repeat(&mut self) -> Option<Request> {
        let number = self.random.below(self.senders.len() as u64) as usize;
        let shard = self.random.below(SHARDS as u64) as usize;
        self.senders[number].shards[shard].acknowledged()
    }

    /// What a shard hears of a request.
    pub(super) fn handle(&mut self, id: ShardId, attempt: u64, answer: Answer, now: Timestamp) {
        let wait_s = 1 + self.random.below(5) as u32;
        self.senders[id.sender].shards[id.shard].handle(attempt, answer, now, wait_s);
    }

    /// Nothing is scraped any more, and all is well: what is left is to be delivered.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    pub(super) fn is_drained(&self) -> bool {
        self.senders.iter().flat_map(|sender| &sender.shards).all(Shard::is_empty)
    }

    /// How many samples wait.
    pub(super) fn waiting(&self) -> usize {
        self.senders.iter().flat_map(|sender| &sender.shards).map(Shard::waiting).sum()
    }

    fn strike(&mut self, now: Timestamp) {
        let random = &mut self.random;
        let later =
            |random: &mut Random, most_s| Timestamp(now.0 + 1_000 * (1 + random.below(most_s) as i64));
        if random.per_mille(4) {
            let zone = random.below(ZONES.len() as u64) as usize;
            self.incidents[zone] = later(random, 400);
        }
        for sender in &mut self.senders {
            if random.per_mille(3) {
                sender.dead_until = later(random, 90);
            }
            if random.per_mille(4) {
                sender.cut_off_until = later(random, 200);
            }
        }
    }

    fn scrape(&mut self, number: usize, now: Timestamp) -> Vec<Sent> {
        let Self { targets, senders, has_births, .. } = self;
        let sender = &mut senders[number];
        if sender.dead_until > now {
            return Vec::new();
        }
        let mut all = Vec::new();
        for n in sender.targets.clone() {
            if (now.0 / 1_000 + n as i64) % SCRAPE_INTERVAL_S != 0 {
                continue;
            }
            let at = Timestamp(now.0 + sender.offset_ms);
            let samples = targets[n].scrape(usize::from(sender.replica == Some("b")), at, now);
            for (place, sent) in samples.into_iter().enumerate() {
                // By series, as Prometheus does it, or so that the series of a target stay together.
                let shard = if *has_births { n } else { n + place } % SHARDS;
                sender.shards[shard].push(sent.clone());
                all.push(sent);
            }
        }
        all
    }
}
