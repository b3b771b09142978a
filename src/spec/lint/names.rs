//! What names of metrics tell, by the conventions of Prometheus and by habit.
//!
//! A name is a list of words. Words that would make another one mean something else count, too.

const DURATIONS: [&str; 17] = [
    "seconds",
    "milliseconds",
    "millis",
    "ms",
    "microseconds",
    "us",
    "nanoseconds",
    "ns",
    "duration",
    "durations",
    "latency",
    "latencies",
    "time",
    "elapsed",
    "delay",
    "lag",
    "wait",
];

/// Of these a long one is good.
const LASTING: [&str; 13] = [
    "age",
    "between",
    "expiration",
    "expiry",
    "failure",
    "left",
    "lifetime",
    "remaining",
    "session",
    "sessions",
    "ttl",
    "until",
    "uptime",
];

const SUCCESSES: [&str; 5] = ["success", "successes", "successful", "successfully", "succeeded"];

/// What may be bad about a success, such as that it came late.
const TROUBLES: [&str; 24] = [
    "after", "attack", "attacks", "blocked", "error", "errors", "fail", "failed", "failure", "failures",
    "fraud", "late", "missed", "no", "non", "not", "rejected", "retried", "retries", "retry", "slow",
    "timeout", "un", "without",
];

/// A unit of time below a second.
#[derive(Debug)]
pub(super) struct Unit {
    /// How it is written.
    pub(super) name: &'static str,
    pub(super) per_second: f64,
    /// A lower limit for an event was meant in seconds.
    pub(super) least: f64,
    words: [&'static str; 2],
}

// A microsecond is less than a request over any network takes. Half a millisecond is the lowest bucket of Istio's
// histograms; those of OpenTelemetry begin with five.
const UNITS: [Unit; 3] = [
    Unit { name: "ns", per_second: 1e9, least: 1e3, words: ["nanoseconds", "ns"] },
    Unit { name: "µs", per_second: 1e6, least: 2.0, words: ["microseconds", "us"] },
    Unit { name: "ms", per_second: 1e3, least: 0.5, words: ["milliseconds", "ms"] },
];

/// Whether it measures time that events take, of which little is good.
pub(super) fn is_latency(name: &str) -> bool {
    has_word(name, &DURATIONS) && !has_word(name, &LASTING)
}

/// Whether it counts what went well.
pub(super) fn is_success(name: &str) -> bool {
    has_word(name, &SUCCESSES) && !has_word(name, &TROUBLES)
}

/// Whether only recording rules have such names.
pub(super) fn is_recorded(name: &str) -> bool {
    name.contains(':')
}

/// The unit below a second that a histogram measures in.
pub(super) fn small_unit(family: &str) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| family.rsplit('_').next().is_some_and(|last| unit.words.contains(&last)))
}

fn has_word(name: &str, known: &[&str]) -> bool {
    name.to_lowercase().split(['_', ':', '.']).any(|word| known.contains(&word))
}
