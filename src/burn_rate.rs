//! The arithmetic of error budgets: counts in, ratios out. No state, no time but as an argument.
//!
//! With `T` the target, `b = 1 - T` the budget ratio and `P` the period (SRE workbook, chapter 5):
//! error ratio `r(W) = bad(W) / total(W)`, burn rate `r(W) / b`, and budget remaining `1 - r(P) / b`.
//!
//! A target of 100% has no budget. Without bad events nothing burns and all of nothing remains, which is 1; with any
//! the burn rate is infinite, and what remains is minus infinity. Nothing here is ever NaN.

/// Bad events up to this are none where there is no budget: what rounding leaves of events that have left a window
/// must not look like one. A millionth of an event is none, and rounding is off by less below 10⁹ events.
const DUST: f64 = 1e-6;

/// `bad / total`, held within 0 and 1; 0 when nothing happened, because nothing bad did. Bad events without
/// any total are no ratio either: their total has not arrived yet, or its selector is wrong
/// ([`is_inconsistent`] tells), and neither is worth a page.
///
/// ```
/// # use slod::burn_rate::error_ratio;
/// assert_eq!(error_ratio(1.0, 1_000.0), 0.001);
/// assert_eq!(error_ratio(0.0, 0.0), 0.0);
/// ```
pub fn error_ratio(bad: f64, total: f64) -> f64 {
    if total <= 0.0 { 0.0 } else { (bad / total).clamp(0.0, 1.0) }
}

/// Whether counts contradict each other: bad events below zero or above all events. Happens when the
/// two come from series of different scrapes, or when a spec has its terms mixed up.
pub fn is_inconsistent(bad: f64, total: f64) -> bool {
    if bad >= 0.0 && bad <= total {
        return false;
    }
    // Edge interpolation leaves rounding dust.
    let dust = 1e-9 * total.abs().max(1.0);
    bad < -dust || bad > total + dust || total < -dust
}

/// How many times faster than allowed errors happen: 1 spends the budget exactly within the period. The
/// [`error_ratio`] divided by the budget ratio `b`, in one division.
///
/// ```
/// # use slod::burn_rate::burn_rate;
/// assert!((burn_rate(144.0, 10_000.0, 0.001) - 14.4).abs() < 1e-9);
/// assert_eq!(burn_rate(0.0, 0.0, 0.001), 0.0);
/// ```
pub fn burn_rate(bad: f64, total: f64, budget_ratio: f64) -> f64 {
    if total <= 0.0 {
        0.0
    } else if budget_ratio > 0.0 {
        bad.clamp(0.0, total) / (total * budget_ratio)
    } else if bad > DUST {
        f64::INFINITY
    } else {
        0.0
    }
}

/// What is left of a budget, as a ratio of it, when this part of the period has passed at a [`burn_rate`]. Below 0
/// when it is overspent.
///
/// ```
/// # use slod::burn_rate::remaining;
/// assert_eq!(remaining(0.25, 1.0), 0.75);
/// assert_eq!(remaining(f64::INFINITY, 0.5), f64::NEG_INFINITY);
/// ```
pub fn remaining(burn_rate: f64, passed: f64) -> f64 {
    // Zero times infinity is no number.
    if passed > 0.0 { 1.0 - burn_rate * passed } else { 1.0 }
}

/// The share of a budget that was spent on `recent` ones among the bad events of its period, of which this coverage was
/// observed: what is spent looks larger while most of the period's events are not known.
///
/// ```
/// # use slod::burn_rate::dropped;
/// assert_eq!(dropped(0.5, 20.0, 100.0, 1.0), 0.1);
/// ```
pub fn dropped(remaining: f64, recent: f64, bad: f64, coverage: f64) -> f64 {
    // Zero times infinity is no number.
    let is_any = recent > DUST && bad > 0.0 && coverage > 0.0;
    if is_any { (1.0 - remaining) * (recent / bad).min(1.0) * coverage } else { 0.0 }
}

/// How many bad events a budget allows.
pub fn allowed(total: f64, budget_ratio: f64) -> f64 {
    if budget_ratio > 0.0 { total * budget_ratio } else { DUST }
}

/// The inverse of the [`burn_rate`]: how many periods an untouched budget lasts at it. Infinite when
/// nothing burns. What is left of a budget lasts `remaining × P × this`, or longer when old errors are about
/// to leave the period.
///
/// ```
/// # use slod::burn_rate::periods_to_burn;
/// let half_at_the_page_rate_s = 0.5 * 30.0 * 86_400.0 * periods_to_burn(144.0, 10_000.0, 0.001);
/// assert!((half_at_the_page_rate_s - 25.0 * 3_600.0).abs() < 1e-6);
/// assert_eq!(periods_to_burn(0.0, 10_000.0, 0.001), f64::INFINITY);
/// ```
pub fn periods_to_burn(bad: f64, total: f64, budget_ratio: f64) -> f64 {
    let none = if budget_ratio > 0.0 { 0.0 } else { DUST };
    if total <= 0.0 || bad <= none { f64::INFINITY } else { total * budget_ratio / bad.min(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_counts_burn_as_the_nearest_possible_ones() {
        for (bad, total, nearest) in [(5.0, 4.0, 4.0), (-1.0, 4.0, 0.0), (1.0, 0.0, 0.0), (1.0, -1.0, 0.0)] {
            assert_eq!(burn_rate(bad, total, 0.1), burn_rate(nearest, total.max(1.0), 0.1));
            assert_eq!(periods_to_burn(bad, total, 0.1), periods_to_burn(nearest, total.max(1.0), 0.1));
        }
    }

    #[test]
    fn without_a_budget_any_bad_event_overspends_it_and_nothing_is_nan() {
        #[track_caller]
        fn check(bad: f64, total: f64, burns: f64, remains: f64, lasts: f64) {
            assert_eq!(burn_rate(bad, total, 0.0), burns);
            assert_eq!(remaining(burns, 1.0), remains);
            assert_eq!(periods_to_burn(bad, total, 0.0), lasts);
            assert_eq!(bad <= allowed(total, 0.0), burns == 0.0);
        }
        const NONE: f64 = 0.0;
        check(NONE, 0.0, 0.0, 1.0, f64::INFINITY);
        check(NONE, 1e9, 0.0, 1.0, f64::INFINITY);
        check(1.0, 1e12, f64::INFINITY, f64::NEG_INFINITY, 0.0);
        check(0.5, 0.5, f64::INFINITY, f64::NEG_INFINITY, 0.0);
        // What subtraction leaves of a million events that are gone.
        check(1e-9, 1e6, 0.0, 1.0, f64::INFINITY);
        check(-1e-9, 1e6, 0.0, 1.0, f64::INFINITY);
        assert_eq!(remaining(f64::INFINITY, 0.0), 1.0);
    }

    #[test]
    fn impossible_counts_are_held_within_bounds_and_told() {
        assert_eq!(error_ratio(5.0, 4.0), 1.0);
        assert_eq!(error_ratio(-1.0, 4.0), 0.0);
        assert_eq!(error_ratio(-1.0, -4.0), 0.0);
        assert_eq!(error_ratio(1.0, 0.0), 0.0);
        assert!(is_inconsistent(5.0, 4.0) && is_inconsistent(-1.0, 4.0));
        assert!(!is_inconsistent(4.0, 4.0) && !is_inconsistent(-1e-12, 4.0));
    }
}
