//! The SLOs in force and the index by which a series finds them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::index::TermIndex;
use crate::{
    histogram::Distribution,
    labels::{LabelSet, Labels, LabelsRef, Selector},
    slo::{
        Budgeting, Counted, Grouping, HistogramMeasure, Indicator, Interval, Measure, Pulled, Sampled, Slo,
        SloId, Term, Threshold, TimeWindow,
    },
    time::{Timestamp, millis},
    window::{Counts, Layout, Slices},
};

/// The SLOs in force.
#[derive(Debug, Default)]
pub struct Plan {
    slos: Vec<Planned>,
    terms: Vec<PlannedTerm>,
    index: TermIndex,
    /// Each of another shape.
    layouts: Vec<Arc<Layout>>,
    generation: u64,
    in_force_since: Option<Timestamp>,
    begins_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Planned {
    slo: Arc<Slo>,
    layout: Arc<Layout>,
}

/// The place of a term in the plan: a selector with what its series are worth to an SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermId(pub u32);

/// A selector with what its series are worth to an SLO.
#[derive(Debug)]
struct PlannedTerm {
    slo: usize,
    term: Term,
    /// Events per unit of what is measured.
    worth: Counts,
    group_by: Arc<Grouping>,
    /// Whether its samples are kept instead, for an expression.
    is_sampled: bool,
}

/// The share a series has in an SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The SLO's place in the plan.
    pub slo: usize,
    /// What it counts for.
    pub worth: Worth,
    /// The instance: the series' labels that split the SLO.
    pub group: Labels,
}

/// How many bad events and events a series stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worth {
    /// Per unit of a counter's growth.
    pub growth: Counts,
    /// Per sample of a gauge.
    pub sample: Counts,
    /// Per unit of the value of a gauge's sample.
    pub value: Counts,
    /// Per sample of a gauge that meets a condition.
    pub conditions: Vec<(Threshold, Counts)>,
    /// Per unit of what a native histogram gained. Each measure once.
    pub histogram: Vec<(HistogramMeasure, Counts)>,
    /// Whether samples are kept for an expression over them: by themselves they are worth nothing.
    pub is_sampled: bool,
}

const VM_RANGE: &str = "vmrange";
// No byte of UTF-8.
const SEPARATOR: u8 = 0xff;

// === impl Plan ===

impl Plan {
    /// A plan for these SLOs, evaluated at multiples of `resolution`.
    pub fn new(slos: Vec<Slo>, resolution: Duration) -> Self {
        let mut plan = Self::default();
        for slo in slos {
            let layout = plan.share(layout(&slo, resolution));
            match &slo.indicator {
                Indicator::Counted(counted) => plan.add_terms(plan.slos.len(), counted),
                Indicator::Sampled(_) => plan.add_sampled(plan.slos.len(), &slo.indicator),
                Indicator::Pulled(_) => (),
            }
            plan.slos.push(Planned { slo: Arc::new(slo), layout });
        }
        plan.index = TermIndex::new(plan.terms.iter().map(|planned| &planned.term.selector));
        plan
    }

    /// The same, whose SLOs that were not in force before come into force at a time: series whose last sample came
    /// earlier have not counted for them.
    #[must_use]
    pub fn in_force_since(self, since: Timestamp) -> Self {
        Self { in_force_since: Some(since), ..self }
    }

    /// When SLOs come into force that were not before; `None` if before everything.
    pub fn since(&self) -> Option<Timestamp> {
        self.in_force_since
    }

    /// The same, whose SLOs count as they come what happens after `at` only, unless they have done so before: what
    /// happened up to then is filled in from history.
    #[must_use]
    pub fn beginning_at(self, at: Timestamp) -> Self {
        Self { begins_at: Some(at), ..self }
    }

    /// From when on SLOs that were not in force before count as they come; `None` if at once.
    pub fn begins_at(&self) -> Option<Timestamp> {
        self.begins_at
    }

    /// How many plans were in force before it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same plan as the one that follows another.
    pub(super) fn after(self, other: &Self) -> Self {
        Self { generation: other.generation + 1, ..self }
    }

    /// By the place of an SLO in a plan before: the place here of the SLO that goes on with its history.
    pub(super) fn successors(&self, before: &Self) -> Vec<Option<usize>> {
        let mut places: HashMap<&SloId, usize> =
            self.slos().enumerate().map(|(place, slo)| (&slo.id, place)).collect();
        let mut successor = |slo: &Arc<Slo>| {
            let place = places.remove(&slo.id)?;
            self.slo(place).has_history_of(slo).then_some(place)
        };
        before.slos().map(&mut successor).collect()
    }

    /// SLOs with the same windows share one layout, and so the memory and the cache lines of its clock.
    fn share(&mut self, layout: Layout) -> Arc<Layout> {
        if let Some(known) = self.layouts.iter().find(|known| ***known == layout) {
            return Arc::clone(known);
        }
        self.layouts.push(Arc::new(layout));
        Arc::clone(&self.layouts[self.layouts.len() - 1])
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

    /// The terms that select a series of these labels, into `terms`, in the order of their SLOs.
    pub fn terms(&self, labels: LabelsRef<'_>, terms: &mut Vec<TermId>) {
        terms.clear();
        self.index.visit(labels, |term| {
            if self.terms[term.0 as usize].term.selector.matches(&labels) {
                terms.push(term);
            }
        });
        terms.sort_unstable();
    }

    /// Whether any term selects a series of these labels.
    pub fn selects(&self, labels: LabelsRef<'_>) -> bool {
        let mut terms = Vec::new();
        self.terms(labels, &mut terms);
        !terms.is_empty()
    }

    /// Writes what of the labels decides for a term, beside its selecting them: series for which this is the same
    /// belong to the same group, and are worth the same.
    pub fn write_key(&self, term: TermId, labels: LabelsRef<'_>, key: &mut Vec<u8>) {
        let planned = &self.terms[term.0 as usize];
        let mut push = |text: &str| {
            key.extend_from_slice(text.as_bytes());
            key.push(SEPARATOR);
        };
        match (&*planned.group_by, planned.term.replaces.as_slice()) {
            (Grouping::By(names), []) => names.iter().for_each(|name| push(labels.get(name))),
            _ => planned.group(labels).iter().for_each(|(name, value)| {
                push(name);
                push(value);
            }),
        }
        if matches!(planned.term.measure, Measure::VmRange(_)) {
            push(labels.get(VM_RANGE));
        }
    }

    /// Every SLO that a series of these labels counts for, given the [terms](Self::terms) that select it.
    /// A series that they match but whose shares cancel out counts for nothing.
    pub fn matches(&self, terms: &[TermId], labels: LabelsRef<'_>) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        for term in terms {
            let planned = &self.terms[term.0 as usize];
            let group = planned.group(labels);
            // Terms of one SLO follow each other; some may have groups of their own.
            let of_slo = matches.iter_mut().rev().take_while(|found| found.slo == planned.slo);
            let known = of_slo.into_iter().find(|found| found.group == group);
            let worth = match known {
                Some(found) => &mut found.worth,
                None => {
                    matches.push(Match { slo: planned.slo, worth: Worth::default(), group });
                    let last = matches.len() - 1;
                    &mut matches[last].worth
                }
            };
            worth.add(planned.term.measure, planned.worth, labels);
            worth.is_sampled |= planned.is_sampled;
        }
        matches.retain(|found| !found.worth.is_nothing());
        matches
    }

    /// The SLOs that a Prometheus is asked for, by their places in the plan.
    pub fn pulled(&self) -> impl Iterator<Item = (usize, &Pulled)> {
        self.slos.iter().enumerate().filter_map(|(place, planned)| match &planned.slo.indicator {
            Indicator::Pulled(pulled) => Some((place, pulled)),
            Indicator::Counted(_) | Indicator::Sampled(_) => None,
        })
    }

    /// The SLOs with an expression over samples, by their places in the plan.
    pub fn sampled(&self) -> impl Iterator<Item = (usize, &Sampled)> {
        self.slos.iter().enumerate().filter_map(|(place, planned)| match &planned.slo.indicator {
            Indicator::Sampled(sampled) => Some((place, sampled)),
            Indicator::Counted(_) | Indicator::Pulled(_) => None,
        })
    }

    /// Selectors of series whose samples are kept: worth nothing, in a group of their own only once evaluated.
    fn add_sampled(&mut self, slo: usize, indicator: &Indicator) {
        let group_by = Arc::new(Grouping::none());
        let mut selectors = indicator.selectors();
        let mut known: Vec<&Selector> = Vec::new();
        selectors.retain(|selector| {
            let is_new = !known.contains(selector);
            known.extend(is_new.then_some(*selector));
            is_new
        });
        let planned = |selector: &Selector| PlannedTerm {
            slo,
            term: Term {
                coefficient: 0.0,
                selector: selector.clone(),
                measure: Measure::Samples,
                replaces: Vec::new(),
            },
            worth: Counts::ZERO,
            group_by: Arc::clone(&group_by),
            is_sampled: true,
        };
        self.terms.extend(selectors.into_iter().map(planned));
    }

    fn add_terms(&mut self, slo: usize, counted: &Counted) {
        let bad = counted.bad.iter().map(|term| (term, Counts { bad: term.coefficient, total: 0.0 }));
        let total = counted.total.iter().map(|term| (term, Counts { bad: 0.0, total: term.coefficient }));
        let group_by = Arc::new(counted.group_by.clone());
        let planned = |(term, worth): (&Term, _)| PlannedTerm {
            slo,
            term: term.clone(),
            worth,
            group_by: Arc::clone(&group_by),
            is_sampled: false,
        };
        self.terms.extend(bad.chain(total).map(planned));
    }
}

/// The part of a bucket of VictoriaMetrics' histograms, such as `1.000e-01...1.136e-01`, that lies in an interval:
/// values are taken to lie evenly in it, as its `histogram_share` does.
fn share_of_vm_range(range: &str, Interval { lower, upper }: Interval) -> f64 {
    let Some((start, end)) = range.split_once("...") else { return 0.0 };
    let (Ok(start), Ok(end)) = (start.parse::<f64>(), end.parse::<f64>()) else { return 0.0 };
    if end <= upper && start >= lower {
        return 1.0;
    }
    let inside = end.min(upper) - start.max(lower);
    if inside > 0.0 && end.is_finite() { inside / (end - start) } else { 0.0 }
}

fn layout(slo: &Slo, resolution: Duration) -> Layout {
    let budgets: Vec<Duration> = slo.objective.windows.iter().filter_map(TimeWindow::rolling).collect();
    let calendars = slo.objective.windows.iter().filter_map(|window| match window {
        TimeWindow::Rolling(_) => None,
        TimeWindow::Calendar(calendar) => Some(calendar.clone()),
    });
    let good_from = match slo.objective.budgeting {
        Budgeting::Timeslices { target, .. } => Some(target),
        Budgeting::Occurrences | Budgeting::RatioTimeslices { .. } => None,
    };
    let slice = slo.objective.budgeting.slice();
    Layout {
        calendars: calendars.collect(),
        slices: slice.map(|slice| Slices { width_ms: millis(slice), good_from }),
        ..Layout::new(&slo.rolling_windows(), &budgets, resolution)
    }
}

// === impl PlannedTerm ===

impl PlannedTerm {
    fn group(&self, labels: LabelsRef<'_>) -> Labels {
        if self.term.replaces.is_empty() {
            return self.group_by.of(labels);
        }
        let mut pairs: Vec<(String, String)> =
            labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for replace in &self.term.replaces {
            replace.apply(&mut pairs);
        }
        let mut pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // Names were not repeated before, and replacing repeats none.
        LabelsRef::new(&mut pairs).map_or_else(|_| Labels::default(), |labels| self.group_by.of(labels))
    }
}

// === impl Worth ===

impl Worth {
    /// Whether it reads samples as a gauge's.
    pub fn is_of_gauge(&self) -> bool {
        self.sample != Counts::ZERO || self.value != Counts::ZERO || !self.conditions.is_empty()
    }

    /// Whether it reads native histograms. Their samples come in a list of their own, so that a series may be
    /// one of these and a counter or a gauge.
    pub fn is_of_histogram(&self) -> bool {
        !self.histogram.is_empty()
    }

    /// The events of what a native histogram gained. A sum that is not finite, as it is after an observation
    /// of NaN or infinity, says nothing and counts as zero.
    pub fn histogram_events(&self, growth: &Distribution) -> Counts {
        let mut events = Counts::ZERO;
        for (measure, worth) in &self.histogram {
            let value = match measure {
                HistogramMeasure::Count => growth.count(),
                HistogramMeasure::Sum => growth.sum(),
                HistogramMeasure::Within(interval) => growth.within(interval.lower, interval.upper),
            };
            if value.is_finite() {
                events += *worth * value;
            }
        }
        events
    }

    /// The events of a sample of a gauge.
    pub fn sample_events(&self, value: f64) -> Counts {
        let mut events = self.sample;
        // NaN is no event at all; an infinite value says nothing beside that there was a sample.
        if value.is_finite() {
            events += self.value * value;
        }
        for (threshold, worth) in &self.conditions {
            if threshold.is_met_by(value) {
                events += *worth;
            }
        }
        events
    }

    fn add(&mut self, measure: Measure, worth: Counts, labels: LabelsRef<'_>) {
        match measure {
            Measure::Increase => self.growth += worth,
            Measure::Samples => self.sample += worth,
            Measure::SamplesWhere(threshold) => self.conditions.push((threshold, worth)),
            Measure::Histogram(measure) => self.add_histogram(measure, worth),
            Measure::Values => self.value += worth,
            Measure::VmRange(interval) => {
                self.growth += worth * share_of_vm_range(labels.get(VM_RANGE), interval)
            }
        }
    }

    fn add_histogram(&mut self, measure: HistogramMeasure, worth: Counts) {
        match self.histogram.iter_mut().find(|(known, _)| *known == measure) {
            Some((_, known)) => *known += worth,
            None => self.histogram.push((measure, worth)),
        }
    }

    fn is_nothing(&self) -> bool {
        let is_zero = |(_, worth): &(HistogramMeasure, Counts)| *worth == Counts::ZERO;
        let is_worthless =
            self.growth == Counts::ZERO && !self.is_of_gauge() && self.histogram.iter().all(is_zero);
        is_worthless && !self.is_sampled
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        histogram::Histogram,
        labels::{METRIC_NAME, MatchOp, Matcher},
        prompb::generated::v2,
        slo::{Interval, Objective, SloId, Target, Term, ThresholdOp},
    };

    fn term(coefficient: f64, matchers: &[(&str, MatchOp, &str)]) -> Term {
        let matchers = matchers.iter().map(|(n, op, v)| Matcher::new(n, *op, v).unwrap()).collect();
        Term {
            coefficient,
            selector: Selector { matchers },
            measure: Measure::Increase,
            replaces: Vec::new(),
        }
    }

    fn plan(bad: Vec<Term>, total: Vec<Term>, group_by: &[&str]) -> Plan {
        let slo = Slo {
            id: SloId { service: "s".into(), name: "n".into() },
            description: String::new(),
            labels: Default::default(),
            annotations: Default::default(),
            objective: Objective::rolling(Target::new(0.9).unwrap(), Duration::from_secs(3_600)),
            indicator: Indicator::Counted(Counted {
                bad,
                total,
                group_by: Grouping::by(group_by.iter().copied()),
            }),
            alerts: Vec::new(),
            state_alerts: Vec::new(),
            inhibits: true,
        };
        Plan::new(vec![slo.clone(), slo], Duration::from_secs(1))
    }

    fn matches(plan: &Plan, series: &[(&str, &str)]) -> Vec<Match> {
        let (mut pairs, mut terms) = (series.to_vec(), Vec::new());
        let labels = LabelsRef::new(&mut pairs).unwrap();
        plan.terms(labels, &mut terms);
        plan.matches(&terms, labels)
    }

    /// The shares `(bad, total)` of a series in both SLOs of the plan, which are the same.
    #[track_caller]
    fn check(plan: &Plan, series: &[(&str, &str)], expected: Option<(f64, f64)>) {
        let matches = matches(plan, series);
        let shares: Vec<_> = matches
            .iter()
            .map(|found| (found.slo, found.worth.growth.bad, found.worth.growth.total))
            .collect();
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
        check(&plan, &[(METRIC_NAME, "d_bucket"), ("le", "0.50")], Some((-1.0, 0.0)));
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
    fn a_gauge_counts_its_samples_and_those_that_are_good() {
        let good = Threshold { op: ThresholdOp::Less, bound: 0.5 };
        let queue = |coefficient, measure| Term {
            measure,
            ..term(coefficient, &[(METRIC_NAME, MatchOp::Equal, "queue_seconds")])
        };
        let bad = vec![queue(1.0, Measure::Samples), queue(-1.0, Measure::SamplesWhere(good))];
        let plan = plan(bad, vec![queue(1.0, Measure::Samples)], &[]);
        let found = matches(&plan, &[(METRIC_NAME, "queue_seconds")]);
        let events = |value| found[0].worth.sample_events(value);
        assert_eq!(events(0.4), Counts { bad: 0.0, total: 1.0 });
        assert_eq!(events(0.5), Counts { bad: 1.0, total: 1.0 });
        assert_eq!(events(f64::INFINITY), Counts { bad: 1.0, total: 1.0 });
    }

    /// The observations of a histogram of schema 0, by bucket from an index on.
    fn observed(first: i32, counts: &[i64], sum: f64) -> Distribution {
        let mut last = 0;
        let delta = |count: &i64| *count - std::mem::replace(&mut last, *count);
        let message = v2::Histogram {
            count: Some(v2::histogram::Count::CountInt(counts.iter().sum::<i64>() as u64)),
            sum,
            positive_spans: vec![v2::BucketSpan { offset: first, length: counts.len() as u32 }],
            positive_deltas: counts.iter().map(delta).collect(),
            ..v2::Histogram::default()
        };
        Histogram::decode(&message.encode_to_vec()).unwrap().observed().unwrap().clone()
    }

    #[test]
    fn a_native_histogram_counts_what_lies_in_an_interval() {
        let latency = |coefficient, measure| Term {
            measure: Measure::Histogram(measure),
            ..term(coefficient, &[(METRIC_NAME, MatchOp::Equal, "latency_seconds")])
        };
        let fast = HistogramMeasure::Within(Interval { lower: 0.0, upper: 2.0 });
        let bad = vec![latency(1.0, HistogramMeasure::Count), latency(-1.0, fast)];
        let plan = plan(bad, vec![latency(1.0, HistogramMeasure::Count)], &[]);
        let worth = &matches(&plan, &[(METRIC_NAME, "latency_seconds")])[0].worth;
        assert!(worth.is_of_histogram() && !worth.is_of_gauge());
        assert_eq!(worth.sample_events(5.0), Counts::ZERO);
        // Buckets (0.5, 1], (1, 2] and (2, 4].
        let events = worth.histogram_events(&observed(0, &[3, 4, 5], 20.0));
        assert_eq!(events, Counts { bad: 5.0, total: 12.0 });
        assert_eq!(worth.histogram.len(), 2);
    }

    #[test]
    fn a_sum_that_is_not_finite_counts_as_zero() {
        let worth = Counts { bad: 1.0, total: 2.0 };
        let worth = Worth { histogram: vec![(HistogramMeasure::Sum, worth)], ..Worth::default() };
        assert_eq!(worth.histogram_events(&observed(0, &[1], 0.75)), Counts { bad: 0.75, total: 1.5 });
        assert_eq!(worth.histogram_events(&observed(0, &[1], f64::INFINITY)), Counts::ZERO);
        assert_eq!(worth.histogram_events(&observed(0, &[1], f64::NAN)), Counts::ZERO);
    }

    #[test]
    fn histograms_that_cancel_out_count_for_nothing() {
        let count = |coefficient| Term {
            measure: Measure::Histogram(HistogramMeasure::Count),
            ..term(coefficient, &[(METRIC_NAME, MatchOp::Equal, "a")])
        };
        let plan = plan(vec![count(1.0), count(-1.0)], vec![], &[]);
        assert_eq!(matches(&plan, &[(METRIC_NAME, "a")]), []);
    }

    #[test]
    fn slos_of_the_same_windows_share_a_layout() {
        let plan = plan(vec![], vec![term(1.0, &[(METRIC_NAME, MatchOp::Equal, "a")])], &[]);
        assert!(Arc::ptr_eq(plan.layout(0), plan.layout(1)));
    }

    #[test]
    fn the_group_is_made_of_the_splitting_labels() {
        let plan = plan(vec![], vec![term(1.0, &[(METRIC_NAME, MatchOp::Equal, "a")])], &["route", "zone"]);
        let series = [(METRIC_NAME, "a"), ("route", "/x"), ("code", "200")];
        assert_eq!(matches(&plan, &series)[0].group, Labels::new([("route", "/x")]).unwrap());
    }
}
