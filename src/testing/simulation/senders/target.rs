//! A process that counts requests, and is down, restarts, and has new series at times.

use super::Random;
use crate::{counter::STALE_MARKER_BITS, labels::Labels, testing::Sent, time::Timestamp};

/// What is scraped.
#[derive(Debug)]
pub(super) struct Target {
    zone: usize,
    counters: [Counter; CODES.len()],
    down_until: Timestamp,
}

#[derive(Debug)]
struct Counter {
    labels: Labels,
    value: f64,
    /// Whether it is exposed: that of errors is not before the first of them.
    exists: bool,
    /// By replica: whether it was there at the last scrape.
    was_seen: [bool; 2],
}

pub(super) const ZONES: [&str; 2] = ["north", "south"];
pub(super) const SCRAPE_INTERVAL_S: i64 = 5;
const CODES: [&str; 3] = ["200", "404", "500"];

// === impl Target ===

impl Target {
    /// Some targets are not there from the start.
    pub(super) fn new(number: usize, is_paired: bool, random: &mut Random, now: Timestamp) -> Self {
        let zone = number % ZONES.len();
        let after_s = if number % 3 == 2 { 1 + random.below(600) as i64 } else { 0 };
        let counter = |code: &str| Counter {
            labels: labels(number, zone, code, is_paired),
            value: if code == "500" { 0.0 } else { random.below(10_000) as f64 },
            exists: code != "500",
            was_seen: [false; 2],
        };
        Self { zone, counters: CODES.map(counter), down_until: Timestamp(now.0 + 1_000 * after_s) }
    }

    pub(super) fn zone(&self) -> usize {
        self.zone
    }

    /// A second passes.
    pub(super) fn advance(&mut self, random: &mut Random, is_failing: bool, now: Timestamp) {
        match random.below(1_000) {
            0 => self.down_until = Timestamp(now.0 + 1_000 * (1 + random.below(120) as i64)),
            1 => self.restart(),
            _ => (),
        }
        let growth = match (is_failing, random.per_mille(20)) {
            (true, _) => [random.below(20), random.below(3), random.below(12)],
            (false, is_bad) => [random.below(20), random.below(3), u64::from(is_bad)],
        };
        for (counter, growth) in self.counters.iter_mut().zip(growth) {
            counter.value += growth as f64;
            counter.exists |= growth > 0;
        }
    }

    /// What a replica sees.
    pub(super) fn scrape(&mut self, replica: usize, at: Timestamp, now: Timestamp) -> Vec<Sent> {
        let is_up = self.down_until <= now;
        let mut samples = Vec::new();
        for counter in &mut self.counters {
            let is_seen = is_up && counter.exists;
            let value = if is_seen { counter.value } else { f64::from_bits(STALE_MARKER_BITS) };
            if is_seen || counter.was_seen[replica] {
                samples.push(Sent { labels: counter.labels.clone(), at, value });
            }
            counter.was_seen[replica] = is_seen;
        }
        samples
    }

    fn restart(&mut self) {
        for (counter, code) in self.counters.iter_mut().zip(CODES) {
            (counter.value, counter.exists) = (0.0, code != "500");
        }
    }
}

fn labels(number: usize, zone: usize, code: &str, is_paired: bool) -> Labels {
    let instance = format!("shop-{number}");
    let common = [("__name__", "requests_total"), ("code", code), ("zone", ZONES[zone])];
    let place = [("instance", instance.as_str()), ("job", if is_paired { "pair" } else { "shop" })];
    let cluster = is_paired.then_some(("cluster", "prod"));
    let all = common.into_iter().chain(place).chain(cluster);
    Labels::new(all).expect("no name twice")
}
