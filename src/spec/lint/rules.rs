//! The rules on what is counted: each is a mistake that real specs have, by which their alerts are wrong or dead.

use super::{
    names,
    selection::{Misfit, Relation, Selection},
};
use crate::{
    labels::{BUCKET_BOUND, MatchOp, Matcher, Selector},
    slo::{Counted, Grouping, Measure, Term},
};

/// What is wrong, why, and the way out.
type Rule = fn(&Counted) -> Option<String>;

pub(super) const ALL: [Rule; 7] =
    [fast_is_bad, never_bad, not_within_total, success_is_bad, no_bound, recorded, other_unit];

/// The classic one: `error_query` is the bucket of the fast requests.
fn fast_is_bad(counted: &Counted) -> Option<String> {
    if counted.bad.iter().any(|term| term.coefficient < 0.0) {
        return None;
    }
    let is_fast = |part: &Selection<'_>| part.is_low_end() && names::is_latency(part.family);
    let is_part = |part: &Selection<'_>| {
        selections(&counted.total).any(|all| all.is_akin(part) && all.interval.upper > part.interval.upper)
    };
    let part = selections(&counted.bad).find(|part| is_fast(part) && is_part(part))?;
    let (upper, family) = (part.interval.upper, part.family);
    let way_out = match part.term.measure {
        Measure::Increase => {
            let bound = part.term.selector.matchers.iter().find(|matcher| matcher.name() == BUCKET_BOUND)?;
            format!("sum(rate({family}_count[…])) - sum(rate({family}_bucket{{{bound}}}[…]))")
        }
        _ => "1 - the share up to there".to_owned(),
    };
    Some(format!(
        "bad events are the observations of {family} up to {upper}, the fast ones: the budget burns while all is well, and \
         recovers as requests slow down; count the slow ones instead: {way_out}"
    ))
}

/// What is taken away is all that is there.
fn never_bad(counted: &Counted) -> Option<String> {
    let (added, taken): (Vec<&Term>, Vec<&Term>) =
        counted.bad.iter().partition(|term| term.coefficient > 0.0);
    let mut taken: Vec<(f64, Selection<'_>)> =
        taken.into_iter().filter_map(|term| Some((-term.coefficient, Selection::of(term)?))).collect();
    for term in &added {
        let part = Selection::of(term).filter(Selection::is_of_events)?;
        let covers = |(weight, whole): &(f64, Selection<'_>)| {
            *weight >= term.coefficient && part.relation_to(whole) == Relation::Within
        };
        let index = taken.iter().position(covers)?;
        taken.swap_remove(index);
    }
    let found = match (added.first(), taken.is_empty()) {
        (Some(term), _) => format!("{} is a part of what is subtracted from it", term.selector),
        (None, false) => "events are subtracted from nothing".to_owned(),
        (None, true) => "good events and all events are the same".to_owned(),
    };
    Some(format!(
        "no event is ever bad: {found}, so that the budget stays whole and no alert can fire; bad events are all events \
         less the good ones"
    ))
}

/// A ratio is one of parts to their whole.
fn not_within_total(counted: &Counted) -> Option<String> {
    if never_bad(counted).is_some() {
        return None;
    }
    let totals: Vec<Selection<'_>> = selections(&counted.total).collect();
    selections(&counted.bad).find_map(|part| {
        let akin: Vec<&Selection<'_>> = totals.iter().filter(|whole| whole.is_akin(&part)).collect();
        let misfit = |whole| misfit(&part, whole, akin.len() == 1);
        let misfits: Option<Vec<Misfit<'_>>> = akin.iter().map(|whole| misfit(whole)).collect();
        Some(describe_misfit(&part, akin.first()?, misfits?.first()?))
    })
}

/// Why a part is none of a whole. Several may be the whole together: then it must lie outside of each.
fn misfit<'t>(part: &Selection<'t>, whole: &Selection<'t>, is_alone: bool) -> Option<Misfit<'t>> {
    match part.relation_to(whole) {
        Relation::Outside(misfit) => Some(misfit),
        Relation::Wider(misfit) if is_alone => Some(misfit),
        Relation::Within | Relation::Unknown | Relation::Wider(_) => None,
    }
}

fn describe_misfit(part: &Selection<'_>, whole: &Selection<'_>, misfit: &Misfit<'_>) -> String {
    let (selector, total) = (&part.term.selector, &whole.term.selector);
    let reason = match misfit {
        Misfit::Lacks(wanted) => format!(
            "it selects what {wanted} excludes, too, so that the ratio of the two may be above 1 or below 0; add {wanted} \
             to it"
        ),
        Misfit::Against(own, wanted) => format!(
            "{own} contradicts {wanted}, so that the two are of different things; select the same series in both, but \
             for what makes an event bad"
        ),
        Misfit::Beyond(upper) => format!(
            "the total counts observations up to {upper} alone, as if the two were swapped; the total is {}_count",
            whole.family
        ),
    };
    format!("{selector} is no part of the total {total}: {reason}")
}

/// What went well, as the errors.
fn success_is_bad(counted: &Counted) -> Option<String> {
    let is_success = |term: &Term| {
        let name = term.selector.metric_name();
        term.measure == Measure::Increase && name.is_some_and(names::is_success)
    };
    let by_name = counted.bad.iter().all(|term| term.coefficient > 0.0 && is_success(term))
        && !counted.total.iter().all(is_success);
    let found = match counted.bad.as_slice() {
        [bad, ..] if by_name => bad.selector.metric_name().map(ToOwned::to_owned),
        [bad] if bad.coefficient > 0.0 => {
            counted.total.iter().find_map(|total| success_matcher(&bad.selector, &total.selector))
        }
        _ => None,
    }?;
    Some(format!(
        "bad events are those that went well: {found}; the budget burns while all is well; count the failures, or \
         subtract these from the total"
    ))
}

/// The condition that alone tells bad events from all, if it picks successes.
fn success_matcher(bad: &Selector, total: &Selector) -> Option<String> {
    if bad.metric_name()? != total.metric_name()? {
        return None;
    }
    let mut own = bad.matchers.iter().filter(|matcher| !total.matchers.contains(matcher));
    let (matcher, None) = (own.next()?, own.next()) else { return None };
    (is_of_outcome(matcher) && picks_success(matcher)).then(|| matcher.to_string())
}

fn is_of_outcome(matcher: &Matcher) -> bool {
    ["code", "status", "result", "outcome"].iter().any(|word| matcher.name().contains(word))
}

/// Outcomes as they are written, the good one first.
const OUTCOMES: [&[&str]; 8] = [
    &["200", "500", "503"],
    &["2xx", "5xx"],
    &["2XX", "5XX"],
    &["OK", "Internal", "Unavailable", "INTERNAL", "ERROR", "FAILED"],
    &["ok", "error", "failed", "fail", "internal"],
    &["success", "failure", "error", "failed", "fail"],
    &["Success", "Failure", "Error", "Failed"],
    &["SUCCESS", "FAILURE", "ERROR", "FAILED"],
];

/// Of what a condition excludes, one failure is enough: it is meant to pick the rest.
fn picks_success(matcher: &Matcher) -> bool {
    OUTCOMES.iter().any(|outcomes| {
        let [good, failures @ ..] = outcomes else { return false };
        let mut failures = failures.iter();
        let leaves_out = |failure: &&str| !matcher.matches(failure);
        matcher.matches(good)
            && match matcher.op() {
                MatchOp::Equal | MatchOp::Regex => failures.all(leaves_out),
                MatchOp::NotEqual | MatchOp::NotRegex => failures.any(leaves_out),
            }
    })
}

/// All buckets of a histogram added up.
fn no_bound(counted: &Counted) -> Option<String> {
    let is_split = match &counted.group_by {
        Grouping::By(names) => names.iter().any(|name| name == BUCKET_BOUND),
        Grouping::Without(names) => !names.iter().any(|name| name == BUCKET_BOUND),
    };
    let has_no_bound = |selector: &Selector| {
        selector.metric_name().is_some_and(|name| name.ends_with("_bucket"))
            && !selector.matchers.iter().any(|matcher| [BUCKET_BOUND, "vmrange"].contains(&matcher.name()))
    };
    let counters = terms(counted).filter(|term| term.measure == Measure::Increase);
    let selector = counters.map(|term| &term.selector).find(|selector| has_no_bound(selector))?;
    (!is_split).then(|| {
        format!(
            "{selector} counts an event in every bucket at or above it, and so many times: buckets are cumulative; \
             choose one, such as le=\"+Inf\" for all events"
        )
    })
}

/// Rates of rates.
fn recorded(counted: &Counted) -> Option<String> {
    let counters = terms(counted).filter(|term| term.measure == Measure::Increase);
    let name =
        counters.filter_map(|term| term.selector.metric_name()).find(|name| names::is_recorded(name))?;
    Some(format!(
        "{name} is made by a recording rule, as its colon says: of a recorded rate the growth means nothing, and in a \
         recorded sum every restart of a process looks like one of all; count the counter that the rule reads"
    ))
}

/// Seconds where the histogram has nanoseconds.
fn other_unit(counted: &Counted) -> Option<String> {
    selections(&counted.bad).chain(selections(&counted.total)).find_map(|part| {
        let (unit, upper) = (names::small_unit(part.family)?, part.interval.upper);
        if upper <= 0.0 || upper >= unit.least {
            return None;
        }
        let meant = Matcher::equal(BUCKET_BOUND, &(upper * unit.per_second).to_string());
        let (selector, unit, meant) = (&part.term.selector, unit.name, meant.canonical_bound()?);
        Some(format!(
            "{selector} selects what took up to {upper} {unit}, which nothing does; if {upper} s was meant, write \
             le={meant:?}"
        ))
    })
}

fn selections(terms: &[Term]) -> impl Iterator<Item = Selection<'_>> {
    terms.iter().filter_map(Selection::of)
}

fn terms(counted: &Counted) -> impl Iterator<Item = &Term> {
    counted.bad.iter().chain(&counted.total)
}
