//! Killed again and again: what was acknowledged is counted, and nothing twice.
//!
//! A sender delivers scrape after scrape, each of them until it is acknowledged, while slod is killed at random moments:
//! under load, while it writes a checkpoint, while it recovers. In the end slod must have counted exactly what was
//! acknowledged. Kills are `kill -9` of the real process; its checkpoints come so often that many a kill meets one.
//!
//! `CRASH_KILLS` says how often (20), `CRASH_SEED` repeats a run.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use slod::{
    labels::Labels,
    testing::{Sent, encode},
    time::Timestamp,
};

use crate::support::{Random, Slod, kills, seconds_since_epoch, try_post_write, wait_until, write_headers};

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500"}[1m]))
    total: sum(rate(requests_total[1m]))
  objective: {target: 99, window: 30d}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    bad: sum by (instance) (rate(requests_total{code="500"}[1m]))
    total: sum by (instance) (rate(requests_total[1m]))
  objective: {target: 99, window: 30d}
"#;

const CONFIG: &str = "evaluation_delay: 1s\nstorage: {checkpoint_interval: 100ms}\n";
const INSTANCES: usize = 300;
const SERIES: usize = 2 * INSTANCES;
const EVENTS: &str = "slo_events_total{service=\"shop\",slo=\"availability\"";
const BAD: &str = "slo_bad_events_total{service=\"shop\",slo=\"availability\"";

/// A sender that gives up nothing.
struct Sender {
    address: SocketAddr,
    random: Random,
    labels: Vec<Labels>,
    values: Vec<f64>,
    /// What the first scrape showed, which nobody may count.
    baseline: Vec<f64>,
    /// What the last scrape showed that was acknowledged.
    acknowledged: Vec<f64>,
    /// How often something had to be sent again.
    retries: u64,
}

/// Bad and all events.
type Events = (f64, f64);

#[test]
fn nothing_acknowledged_is_lost_or_counted_twice() {
    let mut random = Random::seeded("CRASH_SEED");
    let kills = kills();
    let mut slod = Slod::start(SPEC, CONFIG);
    let done = Arc::new(AtomicBool::new(false));
    let mut sender = Sender::new(slod.address, Random::new(random.next()));
    sender.deliver();
    let sending = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                sender.deliver();
            }
            sender
        })
    };
    for kill in 0..kills {
        // One in three before it is ready, which takes it some hundredths of a second.
        if kill % 3 == 2 {
            thread::sleep(Duration::from_millis(random.below(60)));
        } else {
            slod.wait_until_ready();
            thread::sleep(Duration::from_millis(random.below(700)));
        }
        slod.kill();
        slod.start_again();
    }
    slod.wait_until_ready();
    done.store(true, Ordering::SeqCst);
    let sender = sending.join().unwrap();
    assert!(sender.retries > kills / 2, "kills meet requests: {}", sender.retries);
    check(&slod, sender.acknowledged());

    // A clean end keeps the same.
    slod.stop();
    slod.start_again();
    slod.wait_until_ready();
    check(&slod, sender.acknowledged());
    assert_eq!(
        slod.sum("slod_storage_log_recovered_records_total"),
        0.0,
        "a clean end leaves nothing to replay"
    );
}

#[track_caller]
fn check(slod: &Slod, expected: Events) {
    let counted = || (slod.sum(BAD), slod.sum(EVENTS));
    let settled = seconds_since_epoch();
    wait_until("all is evaluated", || slod.sum("slod_evaluated_to_timestamp_seconds") > settled);
    assert_eq!(counted(), expected, "{}", slod.log());
    let groups = slod.sum("slo_events_total{instance=");
    assert_eq!(groups, expected.1, "the groups are what their roll-up is");
}

// === impl Sender ===

impl Sender {
    fn new(address: SocketAddr, mut random: Random) -> Self {
        let labels = |n: usize| {
            let (code, instance) = (["200", "500"][n % 2], format!("shop-{}", n / 2));
            let pairs =
                [("__name__", "requests_total"), ("code", code), ("instance", &instance), ("job", "shop")];
            Labels::new(pairs).unwrap()
        };
        let values: Vec<f64> = (0..SERIES).map(|_| random.below(1_000) as f64).collect();
        let (labels, baseline, acknowledged) =
            ((0..SERIES).map(labels).collect(), values.clone(), values.clone());
        Self { address, random, labels, values, baseline, acknowledged, retries: 0 }
    }

    /// Sends the next scrape until it is acknowledged.
    fn deliver(&mut self) {
        let at = Timestamp((seconds_since_epoch() * 1_000.0) as i64);
        let sent = self.labels.iter().zip(&self.values);
        let sent: Vec<Sent> =
            sent.map(|(labels, value)| Sent { labels: labels.clone(), at, value: *value }).collect();
        let body = encode(&sent);
        while !self.is_acknowledged(&body) {
            self.retries += 1;
            thread::sleep(Duration::from_millis(5));
        }
        self.acknowledged.clone_from(&self.values);
        for value in &mut self.values {
            *value += self.random.below(5) as f64;
        }
        // Samples of a series have different times.
        thread::sleep(Duration::from_millis(2));
    }

    fn is_acknowledged(&self, body: &[u8]) -> bool {
        let length = format!("Content-Length: {}", body.len());
        let headers = [&write_headers()[..], &[length.as_str()]].concat();
        // Whoever listens may die before it has answered.
        let answer = try_post_write(self.address, &headers, body);
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 204"))
    }

    /// What has grown between the first scrape and the last that was acknowledged.
    fn acknowledged(&self) -> Events {
        let growth = |n: usize| self.acknowledged[n] - self.baseline[n];
        let bad = (0..SERIES).filter(|n| n % 2 == 1).map(growth).sum();
        (bad, (0..SERIES).map(growth).sum())
    }
}
