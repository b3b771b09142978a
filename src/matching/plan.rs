//! The SLOs in force and the index by which a series finds them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    labels::{Labels, METRIC_NAME, Selector},
    slo::{Indicator, Slo},
    window::Layout,
};

/// The SLOs in force.
#[derive(Debug, Default)]
pub struct Plan {
    slos: Vec<Planned>,
    by_metric_name: HashMap<String, Vec<usize>>,
    /// Terms whose selector fixes no metric name.
    any_name: Vec<usize>,
    terms: Vec<PlannedTerm>,
}

#[derive(Debug)]
struct Planned {
    slo: Arc<Slo>,
    layout: Arc<Layout>,
}

/// A selector with its share in the bad and in all events of an SLO.
#[derive(Debug)]
struct PlannedTerm {
    slo: usize,
    selector: Selector,
    bad: f64,
    total: f64,
}

/// The share a series has in an SLO: each of its increments counts `bad` times as bad events and
/// `total` times as events.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The SLO's place in the plan.
    pub slo: usize,
    /// Bad events per increment.
    pub bad: f64,
    /// Events per increment.
    pub total: f64,
    /// The instance: the series' labels that split the SLO.
    pub group: Labels,
}

// === impl Plan ===

impl Plan {
    /// A plan for these SLOs, evaluated at multiples of `resolution`.
    pub fn new(slos: Vec<Slo>, resolution: Duration) -> Self {
        let mut plan = Self::default();
        for slo in slos {
            let layout = Arc::new(Layout::new(&slo.rolling_windows(), resolution));
            plan.add_terms(&slo.indicator);
            plan.slos.push(Planned { slo: Arc::new(slo), layout });
        }
        plan
    }

    /// The SLOs, in the order of the specs.
    pub fn slos(&self) -> impl ExactSizeIterator<Item = &Arc<Slo>> {
        self.slos.iter().map(|planned| &planned.slo)
    }

    /// The SLO at a place of the plan.
    pub fn slo(&self, index: usize) -> &Arc<Slo> {
        &self.slos[index].slo
    }

    /// The windows of the SLO at a place of the plan.
    pub fn layout(&self, index: usize) -> &Arc<Layout> {
        &self.slos[index].layout
    }

    /// Every SLO that a series of these labels counts for. A series that the selectors match but whose
    /// shares cancel out counts for nothing.
    pub fn matches(&self, labels: &Labels) -> Vec<Match> {
        let by_name = self.by_metric_name.get(labels.get(METRIC_NAME)).into_iter().flatten();
        let mut terms: Vec<&PlannedTerm> = by_name
            .chain(&self.any_name)
            .map(|index| &self.terms[*index])
            .filter(|term| term.selector.matches(labels))
            .collect();
        terms.sort_by_key(|term| term.slo);
        let mut matches: Vec<Match> = Vec::new();
        for term in terms {
            match matches.last_mut().filter(|last| last.slo == term.slo) {
                Some(last) => (last.bad, last.total) = (last.bad + term.bad, last.total + term.total),
                None => matches.push(Match {
                    slo: term.slo,
                    bad: term.bad,
                    total: term.total,
                    group: labels.keep(&self.slos[term.slo].slo.indicator.group_by),
                }),
            }
        }
        matches.retain(|found| found.bad != 0.0 || found.total != 0.0);
        matches
    }

    fn add_terms(&mut self, indicator: &Indicator) {
        let slo = self.slos.len();
        let bad = indicator.bad.iter().map(|term| (term, term.coefficient, 0.0));
        let total = indicator.total.iter().map(|term| (term, 0.0, term.coefficient));
        for (term, bad, total) in bad.chain(total) {
            let index = self.terms.len();
            self.terms.push(PlannedTerm { slo, selector: term.selector.clone(), bad, total });
            match term.selector.metric_name() {
                Some(name) => self.by_metric_name.entry(name.to_owned()).or_default().push(index),
                None => self.any_name.push(index),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        labels::{MatchOp, Matcher},
        slo::{Measure, Objective, SloId, Target, Term},
    };

    fn term(coefficient: f64, matchers: &[(&str, MatchOp, &str)]) -> Term {
        let matchers = matchers.iter().map(|(n, op, v)| Matcher::new(n, *op, v).unwrap()).collect();
        Term { coefficient, selector: Selector { matchers }, measure: Measure::Increase }
    }

    fn plan(bad: Vec<Term>, total: Vec<Term>, group_by: &[&str]) -> Plan {
        let slo = Slo {
            id: SloId { service: "s".into(), name: "n".into() },
            description: String::new(),
            labels: Default::default(),
            annotations: Default::default(),
            objective: Objective::rolling(Target::new(0.9).unwrap(), Duration::from_secs(3_600)),
            indicator: Indicator { bad, total, group_by: group_by.iter().map(|s| (*s).into()).collect() },
            alerts: Vec::new(),
        };
        Plan::new(vec![slo.clone(), slo], Duration::from_secs(1))
    }

    /// The shares `(bad, total)` of a series in both SLOs of the plan, which are the same.
    #[track_caller]
    fn check(plan: &Plan, series: &[(&str, &str)], expected: Option<(f64, f64)>) {
        let matches = plan.matches(&Labels::new(series.iter().copied()).unwrap());
        let shares: Vec<_> = matches.iter().map(|found| (found.slo, found.bad, found.total)).collect();
        let expected = expected.map(|(bad, total)| vec![(0, bad, total), (1, bad, total)]);
        assert_eq!(shares, expected.unwrap_or_default());
    }

    #[test]
    fn good_over_total_makes_the_other_codes_bad() {
        let requests = [(METRIC_NAME, MatchOp::Equal, "requests_total")];
        let good = [requests[0], ("code", MatchOp::NotRegex, "5..")];
        let plan = plan(vec![term(1.0, &requests), term(-1.0, &good)], vec![term(1.0, &requests)], &[]);
        check(&plan, &[(METRIC_NAME, "requests_total"), ("code", "200")], Some((0.0, 1.0)));
        check(&plan, &[(METRIC_NAME, "requests_total"), ("code", "503")], Some((1.0, 1.0)));
        check(&plan, &[(METRIC_NAME, "other_total"), ("code", "503")], None);
    }

    #[test]
    fn count_minus_bucket_takes_the_fast_ones_from_the_bad() {
        let count = [(METRIC_NAME, MatchOp::Equal, "d_count")];
        let fast = [(METRIC_NAME, MatchOp::Equal, "d_bucket"), ("le", MatchOp::Equal, "0.5")];
        let plan = plan(vec![term(1.0, &count), term(-1.0, &fast)], vec![term(1.0, &count)], &[]);
        check(&plan, &[(METRIC_NAME, "d_count")], Some((1.0, 1.0)));
        check(&plan, &[(METRIC_NAME, "d_bucket"), ("le", "0.5")], Some((-1.0, 0.0)));
        check(&plan, &[(METRIC_NAME, "d_bucket"), ("le", "1")], None);
    }

    #[test]
    fn a_selector_may_leave_the_name_open() {
        let any = [(METRIC_NAME, MatchOp::Regex, "(a|b)_total")];
        let plan = plan(vec![], vec![term(1.0, &any)], &[]);
        check(&plan, &[(METRIC_NAME, "a_total")], Some((0.0, 1.0)));
        check(&plan, &[(METRIC_NAME, "c_total")], None);
    }

    #[test]
    fn the_group_is_made_of_the_splitting_labels() {
        let plan = plan(vec![], vec![term(1.0, &[(METRIC_NAME, MatchOp::Equal, "a")])], &["route", "zone"]);
        let series = Labels::new([(METRIC_NAME, "a"), ("route", "/x"), ("code", "200")]).unwrap();
        assert_eq!(plan.matches(&series)[0].group, Labels::new([("route", "/x")]).unwrap());
    }
}
