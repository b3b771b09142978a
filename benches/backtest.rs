//! How long a replay of a month takes: 1,000 series scraped every 30 s for 30 days, 86 million samples, on one core.
//!
//! The history is made up, the same each time: 50 services of 5 instances, each with requests by four codes, and now
//! and then an incident. It is handed to the replay as a file's would be, sample by sample.
//!
//! `cargo bench --bench backtest` measures, also with the tuner; `-- --test` replays an hour, so that it keeps working;
//! `-- --write FILE` writes the history as OpenMetrics instead, for `slod backtest`.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use slod::{
    backtest::{Backtest, Config, Report},
    engine,
    history::Sample,
    ingest,
    labels::Labels,
    slo::Slo,
    testing::slos,
    time::Timestamp,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SCRAPE: Duration = Duration::from_secs(30);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const TEST: Duration = Duration::from_secs(3_600);
const SERVICES: usize = 50;
const INSTANCES: usize = 5;
const CODES: [&str; 4] = ["200", "204", "404", "500"];

/// A series of a month that never was.
struct Made {
    labels: Labels,
    service: usize,
    code: usize,
    /// Scrapes of an instance are apart from those of others.
    offset: Duration,
    random: u64,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--write") {
        return write(&args[at + 1], MONTH);
    }
    // `cargo bench` says so; `cargo test` does not.
    let has = |flag| args.iter().any(|arg| arg == flag);
    let is_test = has("--test") || !has("--bench");
    let length = if is_test { TEST } else { MONTH };
    for tune in [false, true] {
        let report = measure(length, tune);
        let alerts: usize = report.instances.iter().map(|instance| instance.firings.len()).sum();
        assert_eq!(report.instances.len(), SERVICES);
        assert!(is_test || alerts > 0, "a month without alerts");
        println!("  {alerts} alerts");
    }
}

fn measure(length: Duration, tune: bool) -> Report {
    let specs = (0..SERVICES).map(slo).collect();
    let config = Config {
        interval: SCRAPE,
        engine: engine::Config::default(),
        ingest: ingest::Config::default(),
        groups_per_slo_max: 1_000,
        incidents: Vec::new(),
        tune,
    };
    let mut backtest = Backtest::new(specs, config).unwrap();
    let start = Instant::now();
    for made in all() {
        let track = backtest.open(&made.labels);
        made.samples(length, |sample| backtest.push(track, sample));
    }
    let (adding, samples, bytes) = (start.elapsed(), backtest.samples() as f64, backtest.bytes());
    let start = Instant::now();
    let report = backtest.finish(|_| ()).unwrap();
    let replaying = start.elapsed();
    println!(
        "tune {tune}: {:.1}M samples, held in {:.2} B each, made and held in {:.1} s, replayed in {:.1} s: {:.2}M/s; peak {} MiB",
        samples / 1e6,
        bytes as f64 / samples,
        adding.as_secs_f64(),
        replaying.as_secs_f64(),
        samples / replaying.as_secs_f64() / 1e6,
        peak_mib(),
    );
    report
}

fn write(path: &str, length: Duration) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for made in all() {
        let labels: Vec<String> = made.labels.iter().skip(1).map(|(n, v)| format!("{n}={v:?}")).collect();
        let series = format!("{}{{{}}}", made.labels.get("__name__"), labels.join(","));
        made.samples(length, |Sample { at, value }| {
            writeln!(file, "{series} {value} {}", at.seconds()).unwrap();
        });
    }
    file.write_all(b"# EOF\n").unwrap();
    file.flush().unwrap();
}

fn slo(service: usize) -> Slo {
    let spec = format!(
        r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {{name: availability, service: service-{service}}}
spec:
  sli:
    bad: sum(rate(http_requests_total{{service="service-{service}",code=~"5.."}}[5m]))
    total: sum(rate(http_requests_total{{service="service-{service}"}}[5m]))
  objective: {{target: 99.9, window: 30d}}
"#
    );
    slos(&spec).remove(0)
}

fn all() -> impl Iterator<Item = Made> {
    (0..SERVICES * INSTANCES * CODES.len()).map(|number| {
        let (instance, code) = (number / CODES.len(), number % CODES.len());
        let service = instance / INSTANCES;
        let labels = Labels::new([
            ("__name__", "http_requests_total"),
            ("service", &format!("service-{service}")),
            ("instance", &format!("10.0.{}.{}:8080", instance / 250, instance % 250)),
            ("job", "api"),
            ("namespace", "production"),
            ("code", CODES[code]),
        ]);
        let offset = Duration::from_millis((instance as u64 * 7_919) % 30_000);
        Made { labels: labels.unwrap(), service, code, offset, random: number as u64 }
    })
}

/// The most memory the process ever had.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1_024
}

// === impl Made ===

impl Made {
    fn samples(mut self, length: Duration, mut take: impl FnMut(Sample)) {
        let (mut value, mut since) = (0.0, Duration::ZERO);
        while since < length {
            value += self.growth(since);
            take(Sample { at: START + self.offset + since, value });
            since += SCRAPE;
        }
    }

    /// Some 40 requests a scrape; each service has an incident of its own length every five days.
    fn growth(&mut self, since: Duration) -> f64 {
        let phase = (since.as_secs() + self.service as u64 * 8_640) % (5 * 86_400);
        let is_incident = phase < 300 + 60 * self.service as u64;
        let mean = match (self.code, is_incident) {
            (0, true) => 10,
            (0, false) => 30,
            (1 | 2, _) => 5,
            (_, true) => 20,
            (_, false) => return f64::from(u8::from(self.next().is_multiple_of(500))),
        };
        (mean / 2 + self.next() % mean) as f64
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
