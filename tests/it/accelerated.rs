//! Sixty days of a thousand SLOs at accelerated time, judged by an oracle that keeps every event by its hour.
//!
//! The budget's window is kept in slots of an hour: at a full hour its counts are exact, however irregular
//! the ticks are, and however late the events.

use std::time::Duration;

use slod::{report::SloReport, testing::Fleet, time::Timestamp};

const START: Timestamp = Fleet::START;
const SECOND: Duration = Duration::from_secs(1);
const TARGET: f64 = 0.999;

const DAYS: usize = 60;
const SLOS: usize = 1_000;
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const HOUR_MS: i64 = 3_600_000;
const DAY_H: usize = 24;
const MONTH_H: usize = 30 * DAY_H;
/// As late as a sender's backlog is.
const LATE_MAX_MS: u64 = 2 * HOUR_MS as u64;
/// As far ahead as a sample may be.
const AHEAD_MAX_MS: u64 = 600_000;

/// Of ten SLOs one has events in the first hours only, and one sleeps for days.
const RETIRED: usize = 9;
const SLEEPER: usize = 8;
const RETIRED_AT_H: usize = 20;

/// `xorshift64*`: the same numbers in each run.
struct Random(u64);

/// By SLO: bad and all events from the start until the end of each hour, the next one included.
struct EventsUntil(Vec<Vec<(u64, u64)>>);

// === impl Random ===

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

// === impl EventsUntil ===

impl EventsUntil {
    /// Hour 0 ends at the start, hour 1 an hour later.
    fn new(slos: usize) -> Self {
        Self(vec![vec![(0, 0); 3]; slos])
    }

    /// Makes room for another hour.
    fn begin_hour(&mut self) {
        self.0.iter_mut().for_each(|hours| hours.extend(hours.last().copied()));
    }

    fn add(&mut self, slo: usize, at: Timestamp, bad: u32, total: u32) {
        let hour = (at.0 - START.0 + HOUR_MS - 1) / HOUR_MS;
        for until in &mut self.0[slo][hour as usize..] {
            until.0 += u64::from(bad);
            until.1 += u64::from(total);
        }
    }

    /// Bad and all events of the hours after `from`, to the end of `to`.
    fn between(&self, slo: usize, from: usize, to: usize) -> (u64, u64) {
        let (from, to) = (self.0[slo][from], self.0[slo][to]);
        (to.0 - from.0, to.1 - from.1)
    }
}

// === the traffic ===

/// What an SLO counts at a moment: bad and all events.
fn events(random: &mut Random, slo: usize, hour: usize) -> (u32, u32) {
    let is_asleep = match slo % 10 {
        RETIRED => hour >= RETIRED_AT_H,
        SLEEPER => (hour / DAY_H + slo / 10) % 5 < 3,
        _ => false,
    };
    if is_asleep || random.once_in(3) {
        return (0, 0);
    }
    let is_burst = random.once_in(100);
    let total = 1 + random.below(if is_burst { 5_000_000 } else { 200 }) as u32;
    let is_incident = (hour + 7 * slo) % 97 < 2;
    let bad = if is_incident { random.below(u64::from(total) + 1) as u32 } else { total / 2_000 };
    (bad, total)
}

/// Mostly since the last tick; sometimes much earlier, sometimes ahead.
fn event_time(random: &mut Random, before: Timestamp, now: Timestamp) -> Timestamp {
    let back_ms = match random.below(40) {
        0 | 1 => random.below(LATE_MAX_MS) as i64,
        2 => -(random.below(AHEAD_MAX_MS) as i64),
        _ => random.below((now.0 - before.0) as u64) as i64,
    };
    Timestamp((now.0 - back_ms).max(START.0 + 1))
}

/// Sometimes a few ticks a second apart, sometimes none for long; one at every full hour.
fn step(random: &mut Random, now: Timestamp) -> Duration {
    const STEPS_S: [u64; 8] = [1, 1, 2, 10, 90, 600, 1_800, 3_600];
    let left_ms = HOUR_MS - (now.0 - START.0) % HOUR_MS;
    let step = STEPS_S[random.below(8) as usize];
    (SECOND * step as u32).min(Duration::from_millis(left_ms as u64))
}

// === the test ===

#[track_caller]
fn check(found: &SloReport, slo: usize, hour: usize, oracle: &EventsUntil) {
    let lifetime = oracle.between(slo, 0, hour);
    assert_eq!((found.bad_events_total, found.events_total), (lifetime.0 as f64, lifetime.1 as f64));
    let (bad, total) = oracle.between(slo, hour.saturating_sub(MONTH_H), hour);
    let window = found.window(MONTH).unwrap();
    let counts = (window.bad_events, window.events);
    assert_eq!(counts, (bad as f64, total as f64), "SLO {slo} in hour {hour}");
    let budget = if total == 0 { 1.0 } else { 1.0 - bad as f64 / total as f64 / (1.0 - TARGET) };
    let difference = found.budget().remaining - budget;
    assert!(
        difference.abs() <= 1e-12 * budget.abs().max(1.0),
        "SLO {slo} in hour {hour}: off by {difference}"
    );
}

#[test]
fn budgets_are_exact_at_every_full_hour_and_memory_is_flat() {
    let mut fleet = Fleet::new(SLOS);
    let mut oracle = EventsUntil::new(SLOS);
    let mut random = Random(0x5eed);
    let mut memory = vec![0];
    for hour in 1..=DAYS * DAY_H {
        let end = Timestamp(START.0 + hour as i64 * HOUR_MS);
        let mut report = None;
        while fleet.now < end {
            let step = step(&mut random, fleet.now);
            let mut adds = fleet.adds();
            for slo in 0..SLOS {
                let (bad, total) = events(&mut random, slo, hour);
                if total > 0 {
                    let at = event_time(&mut random, fleet.now, fleet.now + step);
                    adds.add(slo, at, bad, total);
                    oracle.add(slo, at, bad, total);
                }
            }
            drop(adds);
            report = Some(fleet.tick(step));
        }
        let report = report.unwrap().snapshot();
        assert_eq!((report.evaluated_at, report.slos.len()), (end, SLOS));
        report.slos.iter().enumerate().for_each(|(slo, found)| check(found, slo, hour, &oracle));
        oracle.begin_hour();
        memory.push(fleet.window_memory());
    }
    check_memory(&memory);
}

/// `memory` is by hour. All rings are in use after 31 days; a day later those of the retired are not.
#[track_caller]
fn check_memory(memory: &[i64]) {
    let (full, later) = (memory[31 * DAY_H], memory[32 * DAY_H]);
    let of_retired = (SLOS / 10 * 2 * MONTH_H) as i64;
    assert!(later <= full - of_retired, "{full} bytes fell to {later} only");
    let last = memory[memory.len() - 1];
    assert!(last * 100 <= later * 101, "{later} bytes grew to {last}");
}
