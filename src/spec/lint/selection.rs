//! Which events a term counts, and whether another term counts them, too.
//!
//! The series of a classic histogram are taken together: `_bucket` counts the observations up to `le`, `_count` those
//! up to infinity. What is good or bad, nothing here knows.
//!
//! Invariant: what is said of two selections holds for whatever series there are; else nothing is said.

use crate::{
    labels::{BUCKET_BOUND, METRIC_NAME, MatchOp, Matcher},
    slo::{HistogramMeasure, Interval, Measure, Term},
};

/// The events that a term counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'t> {
    /// The metric's name; of a classic histogram without its suffix.
    pub(super) family: &'t str,
    /// Of a histogram the observations that are counted; of all others everything.
    pub(super) interval: Interval,
    pub(super) term: &'t Term,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Classic,
    Native,
    Gauge,
}

/// How the events of one selection lie to those of another.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Relation<'t> {
    /// All of them are among the others.
    Within,
    /// It depends, or takes more than a look at the matchers.
    Unknown,
    /// Some may not be.
    Wider(Misfit<'t>),
    /// None is.
    Outside(Misfit<'t>),
}

/// Why events are not among the others.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Misfit<'t> {
    /// Nothing is said of a label of which the others must fulfil this.
    Lacks(&'t Matcher),
    /// The first contradicts the second, which is the others'.
    Against(&'t Matcher, &'t Matcher),
    /// The others are the observations up to here.
    Beyond(f64),
}

const ALL: Interval = Interval { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

/// As Pyrra has it, so that `1` matches `1.0`, too.
const OPTIONAL_FRACTION: &str = "(\\.0)?";

// === impl Selection ===

impl<'t> Selection<'t> {
    /// `None` if what is counted are no events that could be told from their neighbours.
    pub(super) fn of(term: &'t Term) -> Option<Self> {
        let name = term.selector.metric_name().filter(|_| term.replaces.is_empty())?;
        let (kind, family, interval) = match term.measure {
            Measure::Increase => counter(name, term)?,
            Measure::VmRange(interval) => (Kind::Classic, name.strip_suffix("_bucket")?, interval),
            Measure::Histogram(HistogramMeasure::Count) => (Kind::Native, name, ALL),
            Measure::Histogram(HistogramMeasure::Within(interval)) => (Kind::Native, name, interval),
            Measure::Histogram(HistogramMeasure::Sum) => return None,
            Measure::Samples | Measure::SamplesWhere(_) | Measure::Values => (Kind::Gauge, name, ALL),
        };
        Some(Self { family, interval, term, kind })
    }

    /// Whether each event counts one, so that a part is never more than the whole.
    pub(super) fn is_of_events(&self) -> bool {
        self.kind != Kind::Gauge
    }

    /// Whether both are of the same metric.
    pub(super) fn is_akin(&self, other: &Self) -> bool {
        (self.kind, self.family) == (other.kind, other.family)
    }

    /// Whether it is the lower end of a histogram.
    pub(super) fn is_low_end(&self) -> bool {
        self.interval.lower <= 0.0 && self.interval.upper.is_finite()
    }

    pub(super) fn relation_to(&self, other: &Self) -> Relation<'t> {
        if !self.is_akin(other) {
            return Relation::Unknown;
        }
        let by_label = other.matchers().map(|wanted| self.meets(wanted));
        by_label.fold(self.lies_in(other), Relation::and)
    }

    fn lies_in(&self, other: &Self) -> Relation<'t> {
        let (own, others) = (self.interval, other.interval);
        if own.lower >= others.lower && own.upper <= others.upper {
            Relation::Within
        } else {
            Relation::Wider(Misfit::Beyond(others.upper))
        }
    }

    /// Whether what is selected meets a condition.
    fn meets(&self, wanted: &'t Matcher) -> Relation<'t> {
        let own: Vec<&'t Matcher> = self.matchers().filter(|own| own.name() == wanted.name()).collect();
        if own.contains(&wanted) {
            return Relation::Within;
        }
        if own.is_empty() {
            let is_plain = asks_only_for_presence(wanted);
            return if is_plain { Relation::Unknown } else { Relation::Wider(Misfit::Lacks(wanted)) };
        }
        let listed = own.iter().find_map(|matcher| Some((*matcher, values(matcher)?)));
        match (listed, values(wanted)) {
            (Some((matcher, mut values)), _) => {
                values.retain(|value| own.iter().all(|own| own.matches(value)));
                let misfit = Misfit::Against(matcher, wanted);
                match values.iter().filter(|value| wanted.matches(value)).count() {
                    count if count == values.len() => Relation::Within,
                    0 => Relation::Outside(misfit),
                    _ => Relation::Wider(misfit),
                }
            }
            (None, Some(values)) => {
                let excludes = |own: &&&Matcher| values.iter().all(|value| !own.matches(value));
                let found = own.iter().find(excludes);
                found.map_or(Relation::Unknown, |own| Relation::Outside(Misfit::Against(own, wanted)))
            }
            (None, None) => Relation::Unknown,
        }
    }

    /// The conditions on labels other than those that make the family.
    pub(super) fn matchers(&self) -> impl Iterator<Item = &'t Matcher> + use<'t> {
        let matchers = self.term.selector.matchers.iter();
        matchers.filter(|matcher| ![METRIC_NAME, BUCKET_BOUND].contains(&matcher.name()))
    }
}

/// What a counter is of, and which observations it counts if it is of a classic histogram.
fn counter<'t>(name: &'t str, term: &Term) -> Option<(Kind, &'t str, Interval)> {
    if let Some(family) = name.strip_suffix("_bucket") {
        let bound = term.selector.matchers.iter().find(|matcher| matcher.name() == BUCKET_BOUND)?;
        return Some((Kind::Classic, family, Interval { upper: bound_of(bound)?, ..ALL }));
    }
    let family = name.strip_suffix("_count").map(|family| (Kind::Classic, family, ALL));
    Some(family.unwrap_or((Kind::Counter, name, ALL)))
}

/// The number that a matcher of `le` stands for, in whatever spellings.
fn bound_of(matcher: &Matcher) -> Option<f64> {
    let plain = match matcher.op() {
        MatchOp::Equal => matcher.value().to_owned(),
        MatchOp::Regex => matcher.value().replace(OPTIONAL_FRACTION, "").replace('\\', ""),
        MatchOp::NotEqual | MatchOp::NotRegex => return None,
    };
    let bounds: Option<Vec<f64>> = plain.split('|').map(|bound| bound.parse().ok()).collect();
    let bounds = bounds?;
    let first = bounds.first().copied()?;
    bounds.iter().all(|bound| *bound == first).then_some(first)
}

/// The only values that satisfy a condition, if it lists them.
fn values(matcher: &Matcher) -> Option<Vec<String>> {
    match matcher.op() {
        MatchOp::Equal => Some(vec![matcher.value().to_owned()]),
        MatchOp::Regex => matcher.value().split('|').map(literal).collect(),
        MatchOp::NotEqual | MatchOp::NotRegex => None,
    }
}

/// The one text that a regular expression matches.
fn literal(pattern: &str) -> Option<String> {
    let plain = pattern.replace("\\.", "").replace("\\+", "");
    (!plain.contains(|c| ".+*?()[]{}^$\\".contains(c))).then(|| pattern.replace('\\', ""))
}

/// Whether most series that have the label at all satisfy a condition.
fn asks_only_for_presence(matcher: &Matcher) -> bool {
    match matcher.op() {
        MatchOp::Equal => false,
        MatchOp::NotEqual | MatchOp::NotRegex => matcher.value().is_empty(),
        MatchOp::Regex => ["a", "GET", "/a/b-c_d", "503"].iter().all(|value| matcher.matches(value)),
    }
}

// === impl Relation ===

impl Relation<'_> {
    /// Of two conditions, of which both must be met.
    fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Within => 0,
            Self::Unknown => 1,
            Self::Wider(_) => 2,
            Self::Outside(_) => 3,
        }
    }
}
