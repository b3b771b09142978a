//! A month of requests: what was served between two scrapes of each service, as truth and as samples.
//!
//! The numbers are drawn from one seed, so that each run sends the same.

use std::time::Duration;

use slod::{
    labels::Labels,
    testing::Sent,
    time::{Timestamp, millis},
    window::Counts,
};

pub const START: Timestamp = Timestamp(1_700_006_400_000);
pub const SCRAPE: Duration = Duration::from_secs(30);
/// Scrapes do not happen when rules are evaluated.
const OFFSET: Duration = Duration::from_secs(11);

/// All services, and what they did so far.
pub struct Shop {
    services: Vec<Service>,
    random: Random,
}

/// One target, or one route of it.
struct Service {
    profile: &'static Profile,
    counters: Counters,
    pod: usize,
    /// All that was counted at the end of each scrape.
    history: Vec<Counts>,
}

/// How a service behaves.
struct Profile {
    job: &'static str,
    route: &'static str,
    exposed: Exposed,
    /// Requests per second at night, and at three in the afternoon.
    rate: (f64, f64),
    /// Nothing is asked for outside of these hours.
    open: (f64, f64),
    /// The share of bad requests, usually.
    bad: f64,
    incidents: &'static [Incident],
    /// Days on which the process starts anew.
    restarts: &'static [usize],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Exposed {
    Codes,
    Buckets,
    /// Codes, that of errors from the first one on, and a new instance each day. Its first errors are later than the
    /// five minutes in which slod would take their series for one that it had not seen before.
    CodesOfPods,
}

/// A share of bad requests on one day, or on each, between two hours of it.
struct Incident {
    day: Option<usize>,
    hours: (f64, f64),
    bad: f64,
}

#[derive(Clone, Copy, Default)]
struct Counters {
    good: u64,
    not_found: u64,
    bad: u64,
}

/// SplitMix64, by Sebastiano Vigna.
struct Random(u64);

const ALWAYS: (f64, f64) = (0.0, 24.0);
const RESTART_HOUR: f64 = 11.0 + 17.0 / 60.0;
const NEW_POD_HOUR: f64 = 2.0 + 17.0 / 60.0;
/// Of the good requests.
const NOT_FOUND: f64 = 0.02;
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

const fn on(day: usize, from: f64, to: f64, bad: f64) -> Incident {
    Incident { day: Some(day), hours: (from, to), bad }
}

const PROFILES: &[Profile] = &[
    Profile {
        job: "checkout",
        route: "",
        exposed: Exposed::Codes,
        rate: (1.0, 40.0),
        open: ALWAYS,
        bad: 0.0003,
        // An outage at night, a short one by day, and a slow burn.
        incidents: &[on(6, 3.1, 4.0, 0.5), on(12, 15.0, 15.2, 0.3), on(21, 20.0, 23.0, 0.004)],
        restarts: &[9, 20],
    },
    Profile {
        job: "search",
        route: "",
        exposed: Exposed::Buckets,
        rate: (5.0, 20.0),
        open: ALWAYS,
        bad: 0.004,
        // Nightly jobs make it slow.
        incidents: &[Incident { day: None, hours: (1.0, 4.0), bad: 0.03 }],
        restarts: &[],
    },
    Profile {
        job: "catalog",
        route: "/items",
        exposed: Exposed::Codes,
        rate: (10.0, 30.0),
        open: ALWAYS,
        bad: 0.001,
        incidents: &[on(23, 6.0, 20.0, 0.02)],
        restarts: &[],
    },
    Profile {
        job: "catalog",
        route: "/find",
        exposed: Exposed::Codes,
        rate: (2.0, 10.0),
        open: ALWAYS,
        bad: 0.002,
        incidents: &[on(17, 10.0, 10.7, 0.2)],
        restarts: &[],
    },
    Profile {
        job: "catalog",
        route: "/admin",
        exposed: Exposed::Codes,
        rate: (0.02, 0.2),
        open: ALWAYS,
        bad: 0.002,
        incidents: &[],
        restarts: &[],
    },
    Profile {
        job: "mailer",
        route: "",
        exposed: Exposed::CodesOfPods,
        rate: (2.0, 5.0),
        open: ALWAYS,
        bad: 0.0,
        incidents: &[
            on(4, 8.9, 9.2, 0.02),
            on(11, 21.95, 22.2, 0.02),
            on(13, 13.9, 14.2, 0.05),
            on(25, 4.95, 5.2, 0.02),
        ],
        restarts: &[],
    },
    Profile {
        job: "reports",
        route: "",
        exposed: Exposed::Codes,
        rate: (0.5, 0.5),
        open: (8.0, 18.0),
        bad: 0.004,
        incidents: &[],
        restarts: &[],
    },
];

// === impl Shop ===

impl Shop {
    pub fn new() -> Self {
        Self { services: PROFILES.iter().map(Service::new).collect(), random: Random(42) }
    }

    /// The time of a scrape.
    pub fn at(scrape: usize) -> Timestamp {
        START + OFFSET + SCRAPE * scrape as u32
    }

    /// Serves until the next scrape; what that sees.
    pub fn scrape(&mut self) -> Vec<Sent> {
        let random = &mut self.random;
        self.services.iter_mut().flat_map(|service| service.scrape(random)).collect()
    }

    /// What a service counted in `(from, to]`.
    pub fn counts(&self, job: &str, route: &str, from: Timestamp, to: Timestamp) -> Counts {
        let mut services = self.services.iter();
        let service = services.find(|service| (service.profile.job, service.profile.route) == (job, route));
        let history = &service.unwrap().history;
        let until = |at| scrapes_until(at).checked_sub(1).map_or(Counts::ZERO, |last| history[last]);
        difference(until(to), until(from))
    }
}

/// The time of the first scrape after this.
pub fn next_scrape(at: Timestamp) -> Timestamp {
    Shop::at(scrapes_until(at))
}

fn scrapes_until(at: Timestamp) -> usize {
    let since = at.0 - Shop::at(0).0;
    (since.div_euclid(millis(SCRAPE)) + 1).max(0) as usize
}

pub fn difference(a: Counts, b: Counts) -> Counts {
    Counts { bad: a.bad - b.bad, total: a.total - b.total }
}

// === impl Service ===

impl Service {
    fn new(profile: &'static Profile) -> Self {
        // As if they had run for long; a pod begins at nothing.
        let counters = match profile.exposed {
            Exposed::CodesOfPods => Counters::default(),
            _ => Counters { good: 1_000_000, not_found: 20_000, bad: 1_000 },
        };
        Self { profile, counters, pod: 0, history: Vec::new() }
    }

    fn scrape(&mut self, random: &mut Random) -> Vec<Sent> {
        let at = Shop::at(self.history.len());
        let mut sent = Vec::new();
        if self.begins_anew(at) {
            match self.profile.exposed {
                Exposed::CodesOfPods => sent = self.replace_pod(at),
                _ => self.counters = Counters::default(),
            }
        }
        let served = self.serve(at, random, !sent.is_empty());
        let before = self.history.last().copied().unwrap_or(Counts::ZERO);
        self.history.push(Counts { bad: before.bad + served.bad, total: before.total + served.total });
        sent.extend(self.samples(at));
        sent
    }

    /// Whether the process is another one since the last scrape.
    fn begins_anew(&self, at: Timestamp) -> bool {
        let (day, hour) = day_and_hour(at);
        let is_at = |start: f64| hour >= start && hour - start < SCRAPE.as_secs_f64() / 3_600.0;
        match self.profile.exposed {
            Exposed::CodesOfPods => is_at(NEW_POD_HOUR),
            _ => is_at(RESTART_HOUR) && self.profile.restarts.contains(&day),
        }
    }

    /// The markers at the end of the old one's series.
    fn replace_pod(&mut self, at: Timestamp) -> Vec<Sent> {
        let mut ended = self.samples(at);
        ended.iter_mut().for_each(|sent| sent.value = STALE);
        self.pod += 1;
        self.counters = Counters::default();
        ended
    }

    /// Nothing before the first scrape, of the service and of a pod: nobody could know.
    fn serve(&mut self, at: Timestamp, random: &mut Random, is_new: bool) -> Counts {
        let (day, hour) = day_and_hour(at);
        let noise = 0.7 + 0.6 * random.share();
        let total = random.round(self.profile.mean(hour) * noise);
        let bad = random.round(total as f64 * self.profile.bad(day, hour)).min(total);
        let not_found = random.round((total - bad) as f64 * NOT_FOUND).min(total - bad);
        if self.history.is_empty() || is_new {
            return Counts::ZERO;
        }
        self.counters.bad += bad;
        self.counters.not_found += not_found;
        self.counters.good += total - bad - not_found;
        Counts { bad: bad as f64, total: total as f64 }
    }

    fn samples(&self, at: Timestamp) -> Vec<Sent> {
        let Counters { good, not_found, bad } = self.counters;
        let series = |name, label, value, count| self.sample(at, name, (label, value), count);
        match self.profile.exposed {
            Exposed::Buckets => vec![
                series("http_request_duration_seconds_bucket", "le", "0.25", good + not_found),
                series("http_request_duration_seconds_count", "le", "", good + not_found + bad),
            ],
            Exposed::Codes | Exposed::CodesOfPods => {
                let is_there = bad > 0 || self.profile.exposed == Exposed::Codes;
                let mut codes = vec![("200", good), ("404", not_found)];
                codes.extend(is_there.then_some(("500", bad)));
                let codes = codes.into_iter();
                codes.map(|(code, count)| series("http_requests_total", "code", code, count)).collect()
            }
        }
    }

    fn sample(&self, at: Timestamp, name: &str, label: (&str, &str), count: u64) -> Sent {
        let instance = format!("{}-{}", self.profile.job, self.pod);
        let labels = [
            ("__name__", name),
            ("job", self.profile.job),
            ("instance", &instance),
            ("route", self.profile.route),
            label,
        ];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        Sent { labels: Labels::new(labels).unwrap(), at, value: count as f64 }
    }
}

fn day_and_hour(at: Timestamp) -> (usize, f64) {
    let seconds = at.since(START).as_secs_f64();
    ((seconds / 86_400.0) as usize, seconds % 86_400.0 / 3_600.0)
}

// === impl Profile ===

impl Profile {
    /// How many requests there are between two scrapes: most at three in the afternoon, least from midnight to six.
    fn mean(&self, hour: f64) -> f64 {
        if hour < self.open.0 || hour >= self.open.1 {
            return 0.0;
        }
        let (low, high) = self.rate;
        let day = (1.0 - (hour - 15.0).abs() / 9.0).max(0.0);
        (low + (high - low) * day) * SCRAPE.as_secs_f64()
    }

    fn bad(&self, day: usize, hour: f64) -> f64 {
        let is_now = |incident: &&Incident| {
            incident.day.is_none_or(|of| of == day) && hour >= incident.hours.0 && hour < incident.hours.1
        };
        self.incidents.iter().find(is_now).map_or(self.bad, |incident| incident.bad)
    }
}

// === impl Random ===

impl Random {
    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Up or down, so that the mean is right.
    fn round(&mut self, mean: f64) -> u64 {
        (mean + self.share()) as u64
    }
}
