//! The arithmetic of error budgets: counts in, ratios out. No state, no time but as an argument.
//!
//! With `T` the target, `b = 1 - T` the budget ratio and `P` the period (SRE workbook, chapter 5):
//! error ratio `r(W) = bad(W) / total(W)`, burn rate `r(W) / b`, and budget remaining `1 - r(P) / b`.

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
    if total <= 0.0 { 0.0 } else { bad.clamp(0.0, total) / (total * budget_ratio) }
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
    if total <= 0.0 || bad <= 0.0 { f64::INFINITY } else { total * budget_ratio / bad.min(total) }
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
    fn impossible_counts_are_held_within_bounds_and_told() {
        assert_eq!(error_ratio(5.0, 4.0), 1.0);
        assert_eq!(error_ratio(-1.0, 4.0), 0.0);
        assert_eq!(error_ratio(-1.0, -4.0), 0.0);
        assert_eq!(error_ratio(1.0, 0.0), 0.0);
        assert!(is_inconsistent(5.0, 4.0) && is_inconsistent(-1.0, 4.0));
        assert!(!is_inconsistent(4.0, 4.0) && !is_inconsistent(-1e-12, 4.0));
    }
}
