//! A simulated web shop: deterministic traffic, and an incident on a schedule.
//!
//! Pure: time comes in through [`Service::advance`], counters go out through [`Service::series`]. It
//! knows nothing of who scrapes it. The same seed and times give the same counters, in however many
//! steps the time is advanced.

use std::{fmt, time::Duration};

use crate::{
    labels::METRIC_NAME,
    time::{Timestamp, millis},
};

/// The simulated service. Call [`advance`](Self::advance), then read [`series`](Self::series).
#[derive(Clone, Debug)]
pub struct Service {
    random: SplitMix64,
    script_start: Timestamp,
    now: Timestamp,
    routes: Vec<Route>,
}

/// What the script has the service do at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Whether `/checkout` fails.
    pub is_incident: bool,
    /// How long until this changes.
    pub left: Duration,
}

/// A counter or gauge of the service, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Names and values, sorted by name, the metric name among them.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value at the time advanced to.
    pub value: f64,
}

/// The route that the incident hits.
pub const INCIDENT_ROUTE: &str = "/checkout";

/// The share of the incident's requests that are answered with a 500.
pub const INCIDENT_ERROR_RATIO: f64 = 0.2;

// One round of the script: 45 s to get to know the table, an incident, and time to watch the burn
// rates fall. A round follows on a round, so that later incidents are 135 s apart.
const HEALTHY_BEFORE: Duration = Duration::from_secs(45);
const INCIDENT: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_secs(45 + 60 + 90);

const STEP: Duration = Duration::from_secs(1);

// One in 2,000 fails in good times: a twentieth of the budget of a 99% objective.
const BACKGROUND_ERROR_RATIO: f64 = 0.0005;
const NOT_FOUND_RATIO: f64 = 0.01;

// During the incident a request to the route takes this many times as long.
const INCIDENT_SLOWNESS: f64 = 5.0;

const CODES: [&str; 3] = ["200", "404", "500"];
const OK: usize = 0;
const NOT_FOUND: usize = 1;
const ERROR: usize = 2;

// Upper bounds in seconds beside their `le`; `+Inf` closes the list.
const BUCKETS: [(f64, &str); 8] = [
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.5, "2.5"),
    (f64::INFINITY, "+Inf"),
];

const TARGET_LABELS: [(&str, &str); 2] = [("instance", "shop-1:8080"), ("job", "shop")];

#[derive(Clone, Debug)]
struct Route {
    path: &'static str,
    requests_per_second: f64,
    latency_mean_seconds: f64,
    requests_by_code: [u64; CODES.len()],
    // Not cumulative; they are summed up when published.
    requests_by_bucket: [u64; BUCKETS.len()],
    latency_sum_seconds: f64,
}

/// Sebastiano Vigna's `SplitMix64`: a few lines are enough for traffic that only has to look alive.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

// === impl Service ===

impl Service {
    /// A service that starts counting at `start`, and whose script begins at `script_start`; until then
    /// it is healthy.
    pub fn new(seed: u64, start: Timestamp, script_start: Timestamp) -> Self {
        let routes = vec![
            Route::new(INCIDENT_ROUTE, 100.0, 0.04),
            Route::new("/search", 60.0, 0.03),
            Route::new("/login", 20.0, 0.02),
        ];
        Self { random: SplitMix64(seed), script_start, now: start, routes }
    }

    /// Lives through every whole second up to `to`; a time in the past changes nothing.
    pub fn advance(&mut self, to: Timestamp) {
        while self.now + STEP <= to {
            // The phase at the second's beginning is the one it passes in.
            let is_incident = self.phase().is_incident;
            self.now = self.now + STEP;
            for route in &mut self.routes {
                route.serve_one_second(is_incident && route.path == INCIDENT_ROUTE, &mut self.random);
            }
        }
    }

    /// Where in the script the service is; before it begins, where it begins.
    pub fn phase(&self) -> Phase {
        let ms = millis(self.now.since(self.script_start)) % millis(ROUND);
        let into_round = Duration::from_millis(ms.unsigned_abs());
        let recovery = HEALTHY_BEFORE + INCIDENT;
        if into_round < HEALTHY_BEFORE {
            Phase { is_incident: false, left: HEALTHY_BEFORE - into_round }
        } else if into_round < recovery {
            Phase { is_incident: true, left: recovery - into_round }
        } else {
            Phase { is_incident: false, left: ROUND - into_round + HEALTHY_BEFORE }
        }
    }

    /// What a scrape finds: `up`, the requests by route and code (a code appears with its first
    /// request, as in real services), and a latency histogram per route.
    pub fn series(&self) -> Vec<Series> {
        let mut series = vec![series("up", &[], 1.0)];
        for route in &self.routes {
            series.extend(route.requests());
            series.extend(route.latency());
        }
        series
    }
}

// === impl Phase ===

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = INCIDENT_ERROR_RATIO * 100.0;
        let seconds = self.left.as_secs();
        if self.is_incident {
            write!(f, "incident: {INCIDENT_ROUTE} is slow and answers {percent}% errors for {seconds} s more")
        } else {
            write!(f, "healthy; {INCIDENT_ROUTE} breaks in {seconds} s")
        }
    }
}

// === impl Route ===

impl Route {
    fn new(path: &'static str, requests_per_second: f64, latency_mean_seconds: f64) -> Self {
        Self {
            path,
            requests_per_second,
            latency_mean_seconds,
            requests_by_code: [0; CODES.len()],
            requests_by_bucket: [0; BUCKETS.len()],
            latency_sum_seconds: 0.0,
        }
    }

    fn serve_one_second(&mut self, is_broken: bool, random: &mut SplitMix64) {
        let (error_ratio, slowness) =
            if is_broken { (INCIDENT_ERROR_RATIO, INCIDENT_SLOWNESS) } else { (BACKGROUND_ERROR_RATIO, 1.0) };
        // ±10% around the route's rate.
        let requests = self.requests_per_second * (0.9 + 0.2 * random.ratio());
        for _ in 0..requests.round() as u64 {
            self.requests_by_code[code(error_ratio, random)] += 1;
            self.observe_latency(self.latency_mean_seconds * slowness * random.exponential());
        }
    }

    fn observe_latency(&mut self, seconds: f64) {
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < seconds);
        self.requests_by_bucket[bucket] += 1;
        self.latency_sum_seconds += seconds;
    }

    fn requests(&self) -> impl Iterator<Item = Series> {
        let seen = CODES.into_iter().zip(self.requests_by_code).filter(|(_, requests)| *requests > 0);
        seen.map(|(code, requests)| {
            series("http_requests_total", &[("code", code), ("route", self.path)], requests as f64)
        })
    }

    fn latency(&self) -> Vec<Series> {
        let route = ("route", self.path);
        let mut count = 0;
        let mut family: Vec<Series> = BUCKETS
            .iter()
            .zip(self.requests_by_bucket)
            .map(|((_, le), requests)| {
                count += requests;
                series("http_request_duration_seconds_bucket", &[("le", le), route], count as f64)
            })
            .collect();
        family.push(series("http_request_duration_seconds_count", &[route], count as f64));
        family.push(series("http_request_duration_seconds_sum", &[route], self.latency_sum_seconds));
        family
    }
}

fn code(error_ratio: f64, random: &mut SplitMix64) -> usize {
    match random.ratio() {
        drawn if drawn < error_ratio => ERROR,
        drawn if drawn < error_ratio + NOT_FOUND_RATIO => NOT_FOUND,
        _ => OK,
    }
}

fn series(name: &'static str, own: &[(&'static str, &'static str)], value: f64) -> Series {
    let mut labels = vec![(METRIC_NAME, name)];
    labels.extend(TARGET_LABELS);
    labels.extend(own);
    labels.sort_unstable();
    Series { labels, value }
}

// === impl SplitMix64 ===

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Even over [0, 1): the upper 53 bits, as many as an f64 has.
    fn ratio(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed with mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.ratio()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn service() -> Service {
        Service::new(7, START, START)
    }

    /// The sum of every series of this name that has all these labels.
    fn sum(service: &Service, name: &'static str, labels: &[(&'static str, &'static str)]) -> f64 {
        let wanted = |series: &Series| {
            series.labels.contains(&(METRIC_NAME, name)) && labels.iter().all(|l| series.labels.contains(l))
        };
        service.series().iter().filter(|series| wanted(series)).map(|series| series.value).sum()
    }

    /// Requests to a route, and the 500s among them, within a span of seconds.
    fn requests(path: &'static str, from: u64, to: u64) -> (f64, f64) {
        let mut service = service();
        let count = |service: &Service| {
            let all = sum(service, "http_requests_total", &[("route", path)]);
            (all, sum(service, "http_requests_total", &[("route", path), ("code", "500")]))
        };
        service.advance(at(from));
        let before = count(&service);
        service.advance(at(to));
        let after = count(&service);
        (after.0 - before.0, after.1 - before.1)
    }

    #[test]
    fn the_same_seed_gives_the_same_counters_in_any_steps() {
        let (mut at_once, mut in_steps) = (service(), service());
        at_once.advance(at(200));
        (0..=400).for_each(|half| in_steps.advance(START + Duration::from_millis(half * 500)));
        assert_eq!(at_once.series(), in_steps.series());
        let mut other = Service::new(8, START, START);
        other.advance(at(200));
        assert_ne!(at_once.series(), other.series());
    }

    #[test]
    fn counters_never_fall_and_series_never_vanish() {
        let mut service = service();
        let mut before = service.series();
        for second in 1..=ROUND.as_secs() {
            service.advance(at(second));
            let after = service.series();
            for old in &before {
                let new = after.iter().find(|new| new.labels == old.labels).unwrap();
                assert!(new.value >= old.value, "{:?}", old.labels);
            }
            before = after;
        }
    }

    #[test]
    fn only_the_incident_burns_and_only_its_route() {
        let (all, bad) = requests(INCIDENT_ROUTE, 45, 105);
        assert!((0.18..0.22).contains(&(bad / all)), "{bad} of {all}");
        for (path, from, to) in [(INCIDENT_ROUTE, 0, 45), (INCIDENT_ROUTE, 105, 240), ("/search", 0, 240)] {
            let (all, bad) = requests(path, from, to);
            assert!(bad / all < 0.002, "{path}: {bad} of {all} from {from} s to {to} s");
        }
    }

    #[test]
    fn the_script_repeats() {
        let phase = |second| {
            let mut service = service();
            service.advance(at(second));
            (service.phase().is_incident, service.phase().left.as_secs())
        };
        assert_eq!(phase(0), (false, 45));
        assert_eq!(phase(45), (true, 60));
        assert_eq!(phase(105), (false, 135));
        assert_eq!(phase(195), (false, 45));
        assert_eq!(phase(240), (true, 60));
    }

    #[test]
    fn it_is_healthy_before_the_script_starts() {
        let mut service = Service::new(7, START, at(3_600));
        service.advance(at(3_000));
        assert_eq!(service.phase(), Phase { is_incident: false, left: Duration::from_secs(45) });
    }

    #[test]
    fn a_code_appears_with_its_first_request() {
        let codes = |service: &Service| service.series().iter().filter(|s| s.labels[1].0 == "code").count();
        let mut service = service();
        assert_eq!(codes(&service), 0);
        service.advance(at(100));
        assert!(codes(&service) >= 7, "{}", codes(&service));
    }

    #[test]
    fn the_histogram_counts_every_request_and_the_incident_slows_it() {
        let mut service = service();
        let fast = |service: &Service| {
            let labels = [("route", INCIDENT_ROUTE), ("le", "0.25")];
            sum(service, "http_request_duration_seconds_bucket", &labels)
        };
        let all = |service: &Service| {
            sum(service, "http_request_duration_seconds_count", &[("route", INCIDENT_ROUTE)])
        };
        service.advance(at(45));
        let (fast_before, all_before) = (fast(&service), all(&service));
        assert_eq!(all_before, sum(&service, "http_requests_total", &[("route", INCIDENT_ROUTE)]));
        assert!(fast_before / all_before > 0.99);
        service.advance(at(105));
        assert!((fast(&service) - fast_before) / (all(&service) - all_before) < 0.8);
    }

    #[test]
    fn labels_are_sorted_by_name() {
        let mut service = service();
        service.advance(at(60));
        for series in service.series() {
            assert!(series.labels.is_sorted_by(|a, b| a.0 < b.0), "{:?}", series.labels);
        }
    }
}
