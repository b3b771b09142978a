//! How far a window may be from the truth, and that whole counts never drift.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use slod::{
    slo::{Budgeting, workbook_alerts},
    time::Timestamp,
    window::{Counts, Layout, OpenSlots, SliId, Windows},
};

use crate::support::cases;

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const HOUR_MS: i64 = 3_600_000;
const SLI: SliId = SliId(0);

/// One SLI with the windows that an SLO of 30 days has by default, and all that was ever added to it.
struct Recorded {
    open: Arc<OpenSlots>,
    windows: Windows,
    layout: Arc<Layout>,
    events: Vec<(i64, Counts)>,
}

/// What is to be known of a window at a moment.
#[derive(Debug)]
struct Judged {
    /// As estimated.
    found: Counts,
    /// The sum of what lies inside.
    exact: Counts,
    /// All events of the slot that the start cuts.
    cut: f64,
    /// The share of that slot that lies outside.
    outside: f64,
}

// === impl Recorded ===

impl Recorded {
    fn new() -> Self {
        let of_alerts = workbook_alerts(MONTH, Budgeting::Occurrences)
            .into_iter()
            .flat_map(|alert| [alert.short, alert.long]);
        let layout = Arc::new(Layout::new(&of_alerts.collect::<Vec<_>>(), &[MONTH], SECOND));
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), START);
        windows.insert(SLI, &layout);
        Self { open, windows, layout, events: Vec::new() }
    }

    fn now_ms(&self) -> i64 {
        self.windows.now().0
    }

    fn add(&mut self, at_ms: i64, bad: f64, total: f64) {
        let counts = Counts { bad, total };
        self.open.batch().add(SLI, at_ms, counts);
        self.events.push((at_ms, counts));
    }

    fn judge(&self) -> Vec<Judged> {
        let found = self.windows.history(SLI).unwrap().windows();
        self.layout
            .windows
            .iter()
            .zip(found)
            .map(|(window, found)| {
                let slot_ms = self.layout.tiers[window.tier].slot_ms;
                let start_ms = self.now_ms() - window.length_ms;
                let cut_ms = start_ms.div_euclid(slot_ms) * slot_ms;
                Judged {
                    found,
                    exact: self.sum(start_ms, self.now_ms()),
                    cut: self.sum(cut_ms, cut_ms + slot_ms).total,
                    outside: (start_ms - cut_ms) as f64 / slot_ms as f64,
                }
            })
            .collect()
    }

    /// Event by event, `(from, to]`.
    fn sum(&self, from_ms: i64, to_ms: i64) -> Counts {
        let inside = self.events.iter().filter(|(at_ms, _)| *at_ms > from_ms && *at_ms <= to_ms);
        inside.fold(Counts::ZERO, |mut sum, (_, counts)| {
            sum += *counts;
            sum
        })
    }
}

fn ratio(counts: Counts) -> f64 {
    if counts.total == 0.0 { 0.0 } else { counts.bad / counts.total }
}

// === the bound ===

/// How long until the next evaluation, in seconds; or until a multiple of so many, where slots end.
#[derive(Clone, Copy, Debug)]
enum Step {
    By(i64),
    ToMultipleOf(i64),
}

/// Events before an evaluation: when within the step, in thousandths; how many; and how many of a thousand
/// of them are bad.
type Burst = (i64, u32, u32);

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1i64..30).prop_map(Step::By),
        3 => (30i64..3_000).prop_map(Step::By),
        3 => (3_000i64..40_000).prop_map(Step::By),
        1 => (40_000i64..400_000).prop_map(Step::By),
        2 => prop_oneof![Just(10), Just(120), Just(1_200), Just(3_600)].prop_map(Step::ToMultipleOf),
    ]
}

fn any_bursts() -> impl Strategy<Value = Vec<Burst>> {
    let events = prop_oneof![4 => 1u32..50, 2 => 50u32..5_000, 1 => 5_000u32..3_000_000];
    let bad = prop_oneof![4 => Just(0u32), 3 => 0u32..20, 2 => 0u32..=1_000, 1 => Just(1_000)];
    proptest::collection::vec((0i64..1_000, events, bad), 0..8)
}

impl Step {
    fn length_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::By(seconds) => seconds * 1_000,
            Self::ToMultipleOf(seconds) => seconds * 1_000 - now_ms.rem_euclid(seconds * 1_000),
        }
    }
}

/// With `N` the estimated total of a window, `n` all events in the slot that its start cuts, and `f` the share
/// of that slot outside:
///
/// ```text
/// |ratio - exact ratio| <= max(f, 1 - f) × n / N <= n / N
/// ```
///
/// Let event `i` be bad (`b = 1`) or not (`b = 0`), lie inside (`x = 1`) or not (`x = 0`), and count with the
/// weight `w`: `x` itself for events of whole slots, `1 - f` for those of the cut one. The exact ratio `r` is
/// where `Σ x (b - r) = 0`, so that
///
/// ```text
/// ratio - r = Σ w (b - r) / Σ w = Σ (w - x) (b - r) / N
/// ```
///
/// In this sum are only the `n` events of the cut slot. For each of them `w - x` is `-f` or `1 - f`, and
/// `b - r` lies within -1 and 1. Where the start is the edge of a slot, `f = 0`, and nothing is off.
fn check_bound(judged: &Judged) -> Result<(), TestCaseError> {
    let Judged { found, exact, cut, outside } = *judged;
    if outside == 0.0 {
        prop_assert_eq!(found, exact);
        return Ok(());
    }
    let off = (ratio(found) - ratio(exact)).abs();
    if cut == 0.0 || found.total == 0.0 {
        prop_assert_eq!(found, exact);
        return Ok(());
    }
    let bound = outside.max(1.0 - outside) * cut / found.total;
    prop_assert!(off <= bound + 1e-12, "off by {off}, the bound is {bound}: {judged:?}");
    prop_assert!(off <= cut / found.total + 1e-12);
    Ok(())
}

#[test]
fn the_cut_slot_is_at_most_a_thirtieth_of_every_default_window() {
    let layout = Recorded::new().layout;
    let minutes: Vec<i64> = layout.windows.iter().map(|window| window.length_ms / 60_000).collect();
    assert_eq!(minutes, [5, 30, 60, 120, 360, 1_440, 4_320, 43_200]);
    for window in &layout.windows {
        assert!(layout.tiers[window.tier].slot_ms * 30 <= window.length_ms, "{window:?}");
    }
}

// === whole counts ===

/// Counts at an age in seconds: bad and all events, of either sign, as `count - bucket` gives them.
type Adds = Vec<(i64, i64, i64)>;

fn any_adds() -> impl Strategy<Value = Adds> {
    let whole =
        || prop_oneof![4 => -300i64..300, 2 => -70_000i64..3_000_000_000, 1 => -(1i64 << 40)..=1 << 40];
    let age = prop_oneof![4 => 0i64..20, 1 => 0i64..7_200, 1 => 0i64..400_000];
    proptest::collection::vec((age, whole(), whole()), 0..4)
}

fn check_on_edges(recorded: &Recorded) -> Result<(), TestCaseError> {
    for judged in recorded.judge().into_iter().filter(|judged| judged.outside == 0.0) {
        prop_assert_eq!(judged.found, judged.exact);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_ratio_is_off_by_at_most_the_cut_slots_part(
        steps in proptest::collection::vec((any_step(), any_bursts()), 1..150),
    ) {
        let mut recorded = Recorded::new();
        for (step, bursts) in steps {
            let length_ms = step.length_ms(recorded.now_ms());
            let next_ms = recorded.now_ms() + length_ms;
            for (part, total, bad) in bursts {
                let bad = u64::from(total) * u64::from(bad) / 1_000;
                recorded.add(next_ms - length_ms * part / 1_000, bad as f64, f64::from(total));
            }
            recorded.windows.advance(Timestamp(next_ms));
            recorded.judge().iter().try_for_each(check_bound)?;
        }
    }

    #[test]
    fn whole_counts_come_and_go_without_a_trace(
        steps in proptest::collection::vec((any_step(), any_adds()), 50..200),
    ) {
        let mut recorded = Recorded::new();
        let mut quiet_since = None;
        for (step, adds) in steps.iter().cycle().take(2_000) {
            let next_ms = recorded.now_ms() + step.length_ms(recorded.now_ms());
            let age = Duration::from_millis((next_ms - START.0) as u64);
            if age <= 31 * DAY {
                for (age, bad, total) in adds {
                    recorded.add(next_ms - age * 1_000, *bad as f64, *total as f64);
                }
            } else if age > 2 * 31 * DAY {
                break;
            } else {
                quiet_since.get_or_insert(next_ms);
            }
            recorded.windows.advance(Timestamp(next_ms));
            check_on_edges(&recorded)?;
        }
        // The counts of the last hour may wait in a slot until it has left all windows.
        let end_ms = quiet_since.unwrap_or(recorded.now_ms()) + 30 * 24 * HOUR_MS + HOUR_MS;
        recorded.windows.advance(Timestamp(end_ms.max(recorded.now_ms())));
        let history = recorded.windows.history(SLI).unwrap();
        prop_assert!(history.windows().all(|counts| counts == Counts::ZERO));
        prop_assert!(history.is_empty());
        let all = recorded.sum(i64::MIN, i64::MAX);
        prop_assert_eq!(history.lifetime(), all);
    }
}
