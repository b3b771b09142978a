//! Senders that deliver the same at once, in every encoding, while series and SLOs come and go under them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::Message;
use slod::{
    engine::{self, Engine},
    ingest::{self, Ingest},
    matching::{Instances, Plan, Role},
    prompb::{
        Version,
        generated::{v1, v2},
    },
    report::{DataStatus, Snapshot},
    telemetry::Telemetry,
    testing::{compress, slos},
    time::{Latest, Timestamp},
    window::OpenSlots,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SCRAPE: Duration = Duration::from_secs(15);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

const SPECS: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: all, service: api}
spec:
  sli:
    bad: sum(rate(requests_total{code=~"5.."}[1m]))
    total: sum(rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-pod, service: api}
spec:
  sli:
    bad: sum by (pod) (rate(requests_total{code=~"5.."}[1m]))
    total: sum by (pod) (rate(requests_total[1m]))
  objective: {target: 99, window: 10m}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 10m, short_window: 1m}]
"#;

/// An SLO that is in force every other scrape.
const VISITOR: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: visitor, service: api}
spec:
  sli:
    bad: sum by (code) (rate(requests_total{code=~"5.."}[1m]))
    total: sum by (code) (rate({__name__=~"requests_total|other"}[1m]))
  objective: {target: 99, window: 1h}
---"#;

// Pods live for five minutes, in which a new one comes with every scrape. Of half of them there is no room.
const LIFE: usize = 20;
const SCRAPES: usize = 400;
const GROUPS_MAX: usize = LIFE / 2;
const CODES: [&str; 4] = ["200", "404", "500", "503"];
// Of which each scrape has new ones. So many that label blocks are forgotten now and then.
const UNSELECTED: usize = 60;
const SERIES_MAX: usize = 400;
// While a scrape is delivered.
const TICKS: usize = 3;

/// What threads share.
struct Stage {
    ingest: Ingest,
    last_request: Latest,
    telemetry: Telemetry,
    /// Where senders and the tick begin the next scrape together.
    step: Barrier,
    sent: AtomicU64,
    written: AtomicU64,
    errors: Mutex<Vec<String>>,
}

type Pairs = Vec<(&'static str, String)>;

/// A series at a scrape, by sorted labels.
type Scraped = (Pairs, f64);

/// The encodings that a sender may choose.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    V1,
    V1Unsorted,
    V2,
}

fn at(scrape: usize) -> Timestamp {
    START + SCRAPE * scrape as u32
}

/// The value of a counter after so many scrapes of its pod: zero first, so that all of it counts.
fn value(pod: usize, code: usize, age: usize) -> f64 {
    (age * (1 + (7 * pod + 3 * code) % 11)) as f64
}

/// The pods that live at a scrape, and how old each is.
fn pods(scrape: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..=scrape).rev().take(LIFE).map(move |pod| (pod, scrape - pod))
}

/// What a scrape finds; staleness markers for the pod that ended with the one before.
fn scrape(scrape: usize) -> Vec<Scraped> {
    let series = |pod: usize, code: usize| {
        let pod = format!("api-{pod}");
        let labels = [("__name__", "requests_total".to_owned()), ("code", CODES[code].to_owned())];
        labels
            .into_iter()
            .chain([("instance", pod.clone()), ("job", "api".to_owned()), ("pod", pod)])
            .collect()
    };
    let of_pod = |(pod, age)| (0..CODES.len()).map(move |code| (series(pod, code), value(pod, code, age)));
    let ended = scrape.checked_sub(LIFE).into_iter();
    let ended = ended.flat_map(|pod| (0..CODES.len()).map(move |code| (series(pod, code), STALE)));
    let other = |n| (vec![("__name__", "other".to_owned()), ("n", format!("{scrape}-{n}"))], 1.0);
    pods(scrape).flat_map(of_pod).chain(ended).chain((0..UNSELECTED).map(other)).collect()
}

fn encode(encoding: Encoding, scraped: &[Scraped], at: Timestamp) -> Vec<u8> {
    let message = match encoding {
        Encoding::V1 => encode_v1(scraped, at, |_| ()),
        Encoding::V1Unsorted => encode_v1(scraped, at, |labels| labels.reverse()),
        Encoding::V2 => encode_v2(scraped, at),
    };
    compress(&message)
}

fn encode_v1(scraped: &[Scraped], at: Timestamp, order: impl Fn(&mut Vec<v1::Label>)) -> Vec<u8> {
    let series = |(labels, value): &Scraped| {
        let label = |(name, value): &(&str, String)| v1::Label { name: (*name).into(), value: value.clone() };
        let mut labels = labels.iter().map(label).collect();
        order(&mut labels);
        let samples = vec![v1::Sample { value: *value, timestamp: at.0 }];
        v1::TimeSeries { labels, samples, ..Default::default() }
    };
    let timeseries = scraped.iter().map(series).collect();
    v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

fn encode_v2(scraped: &[Scraped], at: Timestamp) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut known = BTreeMap::new();
    let mut symbol = |text: &str| {
        *known.entry(text.to_owned()).or_insert_with(|| {
            symbols.push(text.to_owned());
            symbols.len() as u32 - 1
        })
    };
    let mut series = |(labels, value): &Scraped| {
        let labels_refs = labels.iter().flat_map(|(name, value)| [symbol(name), symbol(value)]).collect();
        let samples = vec![v2::Sample { value: *value, timestamp: at.0, start_timestamp: 0 }];
        v2::TimeSeries { labels_refs, samples, ..Default::default() }
    };
    let timeseries = scraped.iter().map(&mut series).collect();
    v2::Request { symbols, timeseries }.encode_to_vec()
}

// === impl Stage ===

impl Stage {
    fn send(&self, encoding: Encoding, scraped: &[Scraped], at: Timestamp) {
        self.write(encoding, &encode(encoding, scraped, at), scraped.len(), at);
    }

    fn write(&self, encoding: Encoding, body: &[u8], samples: usize, at: Timestamp) {
        let version = if let Encoding::V2 = encoding { Version::V2 } else { Version::V1 };
        // No panic here: the others would wait for this one.
        match self.ingest.write(version, body, at) {
            Ok(written) => _ = self.written.fetch_add(written.samples as u64, Ordering::Relaxed),
            Err(error) => self.errors.lock().unwrap().push(error.to_string()),
        }
        self.last_request.note(at);
        self.sent.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Delivers every scrape in all of these encodings.
    fn send_all(&self, encodings: [Encoding; 3]) {
        for n in 0..SCRAPES {
            let scraped = scrape(n);
            // Two requests, as shards of a sender. Encoded before, so that they meet in what is tested.
            let (one, other) = scraped.split_at(scraped.len() / 3);
            let requests = encodings.map(|encoding| [one, other].map(|part| (encoding, part)));
            let bodies: Vec<_> = requests
                .as_flattened()
                .iter()
                .map(|(encoding, part)| (*encoding, encode(*encoding, part, at(n)), part.len()))
                .collect();
            self.step.wait();
            for (encoding, body, samples) in bodies {
                self.write(encoding, &body, samples, at(n));
            }
        }
    }

    /// Puts other SLOs in force during every scrape; those of before at last.
    fn install_all(&self, resolution: Duration) {
        for n in 0..SCRAPES {
            let specs = if n % 2 == 0 { [VISITOR, SPECS].concat() } else { SPECS.to_owned() };
            let plan = Plan::new(slos(&specs), resolution);
            self.step.wait();
            self.ingest.install(plan);
        }
    }

    fn tick_all(&self, engine: &mut Engine) {
        for n in 0..SCRAPES {
            self.step.wait();
            for _ in 0..TICKS {
                engine.tick(at(n), &self.last_request);
                self.ingest.sweep(at(n));
            }
        }
    }

    fn outcomes(&self) -> u64 {
        let families = self.telemetry.gather();
        let samples = families.iter().find(|family| family.name() == "slod_ingest_samples_total").unwrap();
        samples.get_metric().iter().map(|metric| metric.get_counter().get_value() as u64).sum()
    }
}

/// Bad events and events of all pods that ever were.
fn expected() -> (f64, f64) {
    let of_code = |code: usize| -> f64 {
        (0..SCRAPES).map(|pod| value(pod, code, (SCRAPES - 1 - pod).min(LIFE - 1))).sum()
    };
    let [ok, not_found, error, unavailable] = std::array::from_fn(of_code);
    (error + unavailable, ok + not_found + error + unavailable)
}

fn check(snapshot: &Snapshot, status: DataStatus) {
    let all: Vec<_> = snapshot.slos.iter().filter(|slo| slo.role != Role::Group).collect();
    assert_eq!(all.len(), 2, "an SLO and a roll-up");
    for slo in all {
        assert_eq!((slo.bad_events_total, slo.events_total), expected(), "{:?}", slo.role);
        assert_eq!(slo.status, status, "{:?}", slo.role);
    }
    let groups = snapshot.slos.iter().filter(|slo| slo.role == Role::Group);
    assert!((1..=GROUPS_MAX).contains(&groups.count()));
}

#[test]
fn senders_of_the_same_in_every_encoding_count_once_while_pods_come_and_go() {
    run(false);
}

#[test]
fn and_while_slos_come_and_go() {
    run(true);
}

fn run(installs: bool) {
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let resolution = engine.resolution();
    // The visitor follows what is of no interest to the others.
    let series_max = if installs { SCRAPES * UNSELECTED + SERIES_MAX } else { SERIES_MAX };
    let ingest = ingest::Config { series_max, max_gap: SCRAPE * LIFE as u32, ..ingest::Config::default() };
    let telemetry = Telemetry::new();
    let open = Arc::new(OpenSlots::new(engine.resolution()));
    let plan = Arc::new(Plan::new(slos(SPECS), engine.resolution()));
    let instances = Arc::new(Instances::new(plan, GROUPS_MAX));
    let mut engine =
        Engine::new(engine, Arc::clone(&instances), Arc::clone(&open), telemetry.evaluation.clone(), START);
    let stage = Stage {
        ingest: Ingest::new(ingest, instances, open, &telemetry),
        last_request: Latest::default(),
        telemetry,
        step: Barrier::new(3 + usize::from(installs)),
        sent: AtomicU64::new(0),
        written: AtomicU64::new(0),
        errors: Mutex::default(),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| stage.tick_all(&mut engine));
        if installs {
            scope.spawn(|| stage.install_all(resolution));
        }
        scope.spawn(|| stage.send_all([Encoding::V2, Encoding::V1Unsorted, Encoding::V1]));
        scope.spawn(|| stage.send_all([Encoding::V1, Encoding::V2, Encoding::V1Unsorted]));
    });
    let last = at(SCRAPES - 1);
    assert_eq!(*stage.errors.lock().unwrap(), Vec::<String>::new());
    let sent = stage.sent.load(Ordering::Relaxed);
    assert_eq!((stage.written.load(Ordering::Relaxed), stage.outcomes()), (sent, sent));
    check(&engine.tick(last, &stage.last_request).snapshot(), DataStatus::Ok);
    assert!(installs || stage.telemetry.ingest.blocks_forgotten.get() > 0);
    assert!(stage.telemetry.ingest.groups_refused.get() > 0);
    // Exactly those are alive that are: one less, or one more, and all would seem so or none.
    let alive: Vec<Scraped> =
        scrape(SCRAPES - 1).into_iter().filter(|(labels, _)| labels[0].1 != "other").collect();
    let ended =
        |alive: &[Scraped]| alive.iter().map(|(labels, _)| (labels.clone(), STALE)).collect::<Vec<_>>();
    stage.send(Encoding::V2, &ended(&alive[1..]), last);
    check(&engine.tick(last, &stage.last_request).snapshot(), DataStatus::Ok);
    stage.send(Encoding::V1, &ended(&alive[..1]), last);
    check(&engine.tick(last, &stage.last_request).snapshot(), DataStatus::Stale);
}
