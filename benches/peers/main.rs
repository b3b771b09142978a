//! slod beside Prometheus, VictoriaMetrics and vmagent, each as a whole process, on the same write requests.
//!
//! ```text
//! series ─▶ requests, encoded and compressed before ─▶ 2 connections ─▶ one process after another
//! ```
//!
//! 1,000 SLOs are evaluated each second while slod receives, and every series counts for one of them. Samples
//! lie within seconds of the clock, as live ones do: their spacing follows from how fast the receiver was in
//! a short pass before. Afterwards the receiver must say that it took every sample, and slod's counts of
//! events must be exact.
//!
//! `make bench-peers` runs all scenarios in some five minutes; `cargo test --bench peers` runs small ones, so
//! that they keep working. `make bench-peers ARGS='--peer slod --series 50000 --unselected 30'` runs another, and
//! `ARGS=--help` tells of more.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

mod client;
mod history;
mod load;
mod process;
mod restart;
mod subject;

use std::time::Duration;

use clap::Parser;
use slod::time::Timestamp;

use client::Pace;
use load::{Events, Load, Protocol, Scrapes, Shape};
use process::{now, own_cpu, wait_until, wall};
use subject::{Peer, Setup, Subject};

/// Measures slod and its peers on the same write requests.
#[derive(Debug, Parser)]
struct Args {
    /// Only scenarios whose name contains this.
    filter: Option<String>,
    /// A scenario of one's own instead of the usual ones.
    #[arg(long)]
    peer: Option<Peer>,
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    #[arg(long, default_value_t = 2_000)]
    samples_per_request: usize,
    /// Percent of the series that no SLO selects.
    #[arg(long, default_value_t = 0)]
    unselected: usize,
    #[arg(long, value_enum, default_value = "v1")]
    protocol: Protocol,
    /// Each with two SLOs.
    #[arg(long, default_value_t = 500)]
    services: usize,
    /// A target has ten series of each, of ten at most.
    #[arg(long, default_value_t = 10)]
    handlers: usize,
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// More lines for the configuration of slod.
    #[arg(long, default_value = "")]
    slod_config: String,
    /// Sends for a minute as time passes, kills slod and Prometheus, and measures until they are ready again.
    #[arg(long)]
    restart: bool,
    /// Twenty samples of each series to a process that never saw it, instead of a steady stream.
    #[arg(long)]
    cold: bool,
    /// How long a steady stream is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Small scenarios that take a second each; their numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// What cargo says when it benchmarks, and not when it tests.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Debug)]
struct Scenario {
    name: String,
    peer: Peer,
    shape: Shape,
    is_cold: bool,
    target: Duration,
    /// Lines of slod's configuration.
    slod_config: String,
}

/// What came out.
#[derive(Debug)]
struct Measured {
    samples: f64,
    took: f64,
    cpu: f64,
    client_cpu: f64,
    p50: Duration,
    p99: Duration,
    max: Duration,
    peak_memory: u64,
    /// On the wire, and before snappy.
    bytes_per_sample: (f64, f64),
    event_time: (f64, f64),
}

/// One scenario under way.
struct Run {
    scenario: Scenario,
    subject: Subject,
    load: Load,
    scrapes: usize,
    /// The time up to which samples were sent.
    sent_to: Timestamp,
    /// Seconds that it takes to encode a sample, on all connections together.
    encoding_speed: f64,
}

const COLD_SCRAPES: usize = 20;
/// Between what slod and its peers take of new series, so that their times are live to slod either way.
const COLD_SPEED: f64 = 1_000_000.0;
/// Enough for a guess at the speed that is right within some ten percent.
const CALIBRATION_SAMPLES: usize = 1_000_000;
const CALIBRATION_SPEED: f64 = 500_000.0;
/// Encoded requests take 30 bytes a sample and must fit into memory beside what is measured.
const SAMPLES_MAX: usize = 40_000_000;
/// How far ahead of the clock samples begin, in seconds: in the middle of what slod takes for live.
const LEAD: f64 = 1.5;
/// slod counts samples as live up to its evaluation delay of 5 s behind the clock, and its 16 slots of a
/// second reach 10 s ahead. A second less on both sides, as it moves on once a second.
const LIVE: (f64, f64) = (-4.0, 8.0);

fn main() {
    let args = args();
    if args.restart {
        return restart::run(shape(&args), &args.slod_config);
    }
    let all = scenarios(&args);
    if all.is_empty() && args.bench {
        eprintln!("no scenario has this name");
        std::process::exit(2);
    }
    let mut rows: Vec<(Scenario, Measured)> = Vec::new();
    for scenario in if args.quick { quick(all) } else { all } {
        eprintln!("{} …", scenario.name);
        let measured = run(scenario.clone());
        eprintln!("{measured:?}");
        rows.push((scenario, measured));
    }
    if !rows.is_empty() {
        print_table(&rows);
    }
}

/// As given, if this is a benchmark. As a test it is small, and gets arguments that are meant for other tests:
/// of these it takes a filter, and treats `--list` as one.
fn args() -> Args {
    let mut given = std::env::args().skip(1);
    if std::env::args().any(|arg| arg == "--bench") {
        return Args::parse();
    }
    let filter = given.find(|arg| !arg.starts_with('-') || arg == "--list");
    Args { filter, quick: true, ..Args::parse_from(["peers"]) }
}

fn shape(args: &Args) -> Shape {
    Shape {
        series: args.series,
        samples_per_request: args.samples_per_request,
        unselected: args.unselected,
        protocol: args.protocol,
        services: args.services,
        handlers: args.handlers,
        connections: args.connections,
    }
}

fn scenarios(args: &Args) -> Vec<Scenario> {
    let shape = shape(args);
    let target = Duration::from_secs(args.seconds.into());
    let named = |name: &str, peer, shape, is_cold| {
        let name = name.to_owned();
        Scenario { name, peer, shape, is_cold, target, slod_config: args.slod_config.clone() }
    };
    let kept = |durability: &str, connections| {
        let slod_config = format!("storage: {{durability: {durability}}}\n{}", args.slod_config);
        let name = format!("slod, {durability}, {connections} connections");
        Scenario { slod_config, ..named(&name, Peer::Slod, Shape { connections, ..shape }, false) }
    };
    if let Some(peer) = args.peer {
        return vec![named("as given", peer, shape, args.cold)];
    }
    let v2 = Shape { protocol: Protocol::V2, ..shape };
    let all = [
        named("slod", Peer::Slod, shape, false),
        kept("sync", 2),
        kept("interval", 2),
        kept("none", 2),
        kept("sync", 50),
        kept("interval", 50),
        kept("none", 50),
        named("slod, 500 samples a request", Peer::Slod, Shape { samples_per_request: 500, ..shape }, false),
        named("slod, 1M series", Peer::Slod, Shape { series: 1_000_000, ..shape }, false),
        named("slod, all unselected", Peer::Slod, Shape { unselected: 100, ..shape }, false),
        named("slod, v2", Peer::Slod, v2, false),
        named("slod, cold", Peer::Slod, shape, true),
        named("slod, v2, cold", Peer::Slod, v2, true),
        named("Prometheus", Peer::Prometheus, shape, false),
        named("Prometheus, cold", Peer::Prometheus, shape, true),
        named("VictoriaMetrics", Peer::VictoriaMetrics, shape, false),
        named("VictoriaMetrics, cold", Peer::VictoriaMetrics, shape, true),
        named("vmagent", Peer::Vmagent, shape, false),
    ];
    let is_wanted =
        |scenario: &Scenario| args.filter.as_ref().is_none_or(|part| scenario.name.contains(part));
    all.into_iter().filter(is_wanted).collect()
}

/// One of a kind, and small.
fn quick(scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let mut quick: Vec<Scenario> = scenarios.into_iter().map(Scenario::quick).collect();
    let mut seen = Vec::new();
    quick.retain(|scenario| {
        let kind = (scenario.peer, scenario.shape.protocol);
        let is_news = !seen.contains(&kind);
        seen.push(kind);
        is_news
    });
    quick
}

fn run(scenario: Scenario) -> Measured {
    let load = Load::new(scenario.shape);
    let (series, is_cold, target) = (scenario.shape.series, scenario.is_cold, scenario.target);
    let setup = Setup::new(load::specs(scenario.shape.services), scenario.slod_config.clone());
    let subject = Subject::start(scenario.peer, setup);
    let encoding_speed = CALIBRATION_SPEED.recip();
    let mut run = Run { scenario, subject, load, scrapes: 0, sent_to: Timestamp(0), encoding_speed };
    if is_cold {
        return run.finish(|run| run.pass(COLD_SCRAPES, COLD_SPEED));
    }
    run.pass(1, CALIBRATION_SPEED);
    let calibration = run.pass(CALIBRATION_SAMPLES.min(series * 20).div_ceil(series), CALIBRATION_SPEED);
    let speed = calibration.samples / calibration.took;
    let samples = (speed * target.as_secs_f64()).min(SAMPLES_MAX as f64);
    run.finish(|run| run.pass((samples / series as f64).ceil() as usize, speed))
}

fn print_table(rows: &[(Scenario, Measured)]) {
    // Cold beside cold.
    let of_slod = |is_cold: bool| {
        let of_slod = |(scenario, _): &&(Scenario, Measured)| {
            scenario.peer == Peer::Slod && scenario.is_cold == is_cold
        };
        rows.iter().find(of_slod).map(|(_, measured)| measured.per_cpu_second())
    };
    println!(
        "| scenario | samples/s | samples per CPU s | slod does | p50 | p99 | max | peak RSS | client CPU | event time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (scenario, measured) in rows {
        let times = of_slod(scenario.is_cold).map(|slod| slod / measured.per_cpu_second());
        let times = times.map_or_else(|| "–".to_owned(), |times| format!("{times:.2}×"));
        println!(
            "| {} | {:.0}k | {:.0}k | {times} | {:.2} ms | {:.2} ms | {:.1} ms | {} MiB | {:.0} % | {:+.1}…{:+.1} s |",
            scenario.name,
            measured.samples / measured.took / 1e3,
            measured.per_cpu_second() / 1e3,
            measured.p50.as_secs_f64() * 1e3,
            measured.p99.as_secs_f64() * 1e3,
            measured.max.as_secs_f64() * 1e3,
            measured.peak_memory >> 20,
            100.0 * measured.client_cpu / measured.took,
            measured.event_time.0,
            measured.event_time.1,
        );
    }
    let (sent, decoded) = rows[0].1.bytes_per_sample;
    println!("\nA sample of the first row: {sent:.1} bytes on the wire, {decoded:.1} before snappy.");
    println!(
        "Client CPU is that of this process, the receiver behind vmagent included, in percent of one core."
    );
}

// === impl Run ===

impl Run {
    /// Sends so many scrapes, at times as if the receiver took `speed` samples a second.
    fn pass(&mut self, scrapes: usize, speed: f64) -> Measured {
        // Timestamps are in milliseconds, and no two samples of a series share theirs.
        let interval = Duration::from_secs_f64((self.scenario.shape.series as f64 / speed).max(1e-3));
        let samples = (scrapes * self.scenario.shape.series) as f64;
        let start = wall() + Duration::from_secs_f64(samples * self.encoding_speed + LEAD);
        let scrapes =
            Scrapes { first: self.scrapes, count: scrapes, start: start.max(self.sent_to), interval };
        let encoding = now();
        let prepared = client::prepare(&self.load, self.subject.address, scrapes);
        self.encoding_speed = encoding.elapsed().as_secs_f64() / samples;
        (self.scrapes, self.sent_to) = (self.scrapes + scrapes.count, scrapes.end());

        let (cpu, client_cpu) = (self.subject.process.cpu(), own_cpu());
        let sent = client::send(self.subject.address, &prepared, Pace::Full);
        self.subject.settle(self.scrapes * self.scenario.shape.series);
        let quantile = |q: f64| sent.latencies[((sent.latencies.len() - 1) as f64 * q) as usize];
        Measured {
            samples: sent.samples as f64,
            took: sent.took.as_secs_f64(),
            cpu: (self.subject.process.cpu() - cpu).as_secs_f64(),
            client_cpu: (own_cpu() - client_cpu).as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: quantile(1.0),
            peak_memory: self.subject.process.peak_memory(),
            bytes_per_sample: (sent.bytes.0 as f64 / samples, sent.bytes.1 as f64 / samples),
            event_time: sent.event_time,
        }
    }

    /// The last pass, and what the receiver says of all of them.
    fn finish(&mut self, pass: impl FnOnce(&mut Self) -> Measured) -> Measured {
        let mut measured = pass(self);
        let samples = (self.scrapes * self.scenario.shape.series) as f64;
        let taken = self.subject.samples();
        assert_eq!(taken, samples, "not every sample was taken:\n{}", self.subject.outcomes());
        if self.subject.peer == Peer::Slod {
            let (earliest, latest) = measured.event_time;
            if earliest < LIVE.0 || latest > LIVE.1 {
                eprintln!(
                    "samples were {earliest:+.1} to {latest:+.1} s from the clock, not live: measure again"
                );
            }
            self.check_events();
        }
        measured.peak_memory = self.subject.process.peak_memory();
        measured
    }

    fn check_events(&self) {
        let sent_to = self.sent_to.seconds();
        wait_until("slod evaluates all samples", || self.subject.has_evaluated(sent_to));
        // The first scrape is the baseline.
        let (scrapes, each) = ((self.scrapes - 1) as f64, self.load.expected());
        let expected = Events { bad: each.bad * scrapes, total: each.total * scrapes };
        assert_eq!(self.subject.events(), expected, "slod miscounted");
    }
}

// === impl Scenario ===

impl Scenario {
    fn quick(mut self) -> Self {
        let divisor = self.shape.series / 2_000;
        self.shape.series /= divisor.max(1);
        self.shape.samples_per_request /= 10;
        self.target = Duration::from_millis(300);
        // Nothing waits for a delay that nobody needs here.
        self.slod_config.push_str("evaluation_delay: 1s\n");
        self
    }
}

// === impl Measured ===

impl Measured {
    /// At the grain of `/proc`, a very short run may use nothing.
    fn per_cpu_second(&self) -> f64 {
        self.samples / self.cpu.max(0.01)
    }
}
