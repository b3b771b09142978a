//! From the labels of a series to the few selectors that may select it.
//!
//! Thousands of SLOs ask for the same metric and differ in a job or a service. So each selector is filed
//! under its metric name and under one of its other equalities, the one it shares with the fewest others:
//! a series finds it by looking up one value per label that selectors are filed under.

use foldhash::{HashMap, HashMapExt};

use super::TermId;
use crate::labels::{LabelSet, LabelsRef, METRIC_NAME, Matcher, Selector};

/// Selectors, by what their series must have.
#[derive(Debug, Default)]
pub(super) struct TermIndex {
    by_name: HashMap<String, OfMetric>,
    /// Selectors that fix no metric name.
    any_name: OfMetric,
}

/// The selectors of a metric.
#[derive(Debug, Default)]
struct OfMetric {
    /// By a label that selectors are filed under, and its value.
    by_label: Vec<(String, HashMap<String, Vec<TermId>>)>,
    /// Those without any equality to be filed under.
    rest: Vec<TermId>,
}

// === impl TermIndex ===

impl TermIndex {
    /// An index of selectors; the n-th is that of the n-th term.
    pub(super) fn new<'a>(selectors: impl Iterator<Item = &'a Selector>) -> Self {
        let mut of_name: HashMap<Option<&str>, Vec<(TermId, &Selector)>> = HashMap::new();
        for (n, selector) in selectors.enumerate() {
            of_name.entry(selector.metric_name()).or_default().push((TermId(n as u32), selector));
        }
        let any_name = OfMetric::new(&of_name.remove(&None).unwrap_or_default());
        let by_name = of_name
            .into_iter()
            .filter_map(|(name, selectors)| Some((name?.to_owned(), OfMetric::new(&selectors))));
        Self { by_name: by_name.collect(), any_name }
    }

    /// Visits every term that may select a series of these labels, each once.
    pub(super) fn visit(&self, labels: LabelsRef<'_>, mut visit: impl FnMut(TermId)) {
        for of_metric in self.by_name.get(labels.get(METRIC_NAME)).into_iter().chain([&self.any_name]) {
            let filed =
                of_metric.by_label.iter().filter_map(|(label, by_value)| by_value.get(labels.get(label)));
            filed.flatten().chain(&of_metric.rest).copied().for_each(&mut visit);
        }
    }
}

// === impl OfMetric ===

impl OfMetric {
    fn new(selectors: &[(TermId, &Selector)]) -> Self {
        let mut sharers: HashMap<(&str, &str), usize> = HashMap::new();
        for equality in selectors.iter().flat_map(|(_, selector)| equalities(selector)) {
            *sharers.entry((equality.name(), equality.value())).or_default() += 1;
        }
        let mut of_metric = Self::default();
        for (term, selector) in selectors {
            let rarest =
                equalities(selector).min_by_key(|matcher| sharers[&(matcher.name(), matcher.value())]);
            match rarest {
                Some(matcher) => of_metric.file(*term, matcher),
                None => of_metric.rest.push(*term),
            }
        }
        of_metric
    }

    fn file(&mut self, term: TermId, under: &Matcher) {
        let known = self.by_label.iter().position(|(label, _)| label == under.name());
        let place = known.unwrap_or_else(|| {
            self.by_label.push((under.name().to_owned(), HashMap::new()));
            self.by_label.len() - 1
        });
        self.by_label[place].1.entry(under.value().to_owned()).or_default().push(term);
    }
}

/// The conditions that only one text of a label meets, and that labels cannot meet by their absence.
fn equalities(selector: &Selector) -> impl Iterator<Item = &Matcher> {
    selector
        .matchers
        .iter()
        .filter(|matcher| matcher.is_exact() && matcher.name() != METRIC_NAME && !matcher.value().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::MatchOp;
    use proptest::prelude::*;

    const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

    fn any_selector() -> impl Strategy<Value = Selector> {
        let name = prop::sample::select(vec![METRIC_NAME, "job", "code", "le"]);
        let value = prop::sample::select(vec!["", "a", "1", "1.0"]);
        let matcher = (name, prop::sample::select(OPS.to_vec()), value)
            .prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap());
        proptest::collection::vec(matcher, 1..5).prop_map(|matchers| Selector { matchers })
    }

    proptest! {
        #[test]
        fn the_index_leaves_out_nothing_that_matches(
            selectors in proptest::collection::vec(any_selector(), 0..12),
            values in proptest::collection::vec(prop::sample::select(vec!["", "a", "1", "1.0"]), 4),
        ) {
            let mut pairs: Vec<_> = [METRIC_NAME, "code", "job", "le"].into_iter().zip(values).collect();
            let labels = LabelsRef::new(&mut pairs).unwrap();
            let mut visited = Vec::new();
            TermIndex::new(selectors.iter()).visit(labels, |term| visited.push(term));
            visited.sort();
            let all = visited.len();
            visited.dedup();
            prop_assert_eq!(visited.len(), all, "each once");
            for (n, selector) in selectors.iter().enumerate() {
                prop_assert!(!selector.matches(&labels) || visited.contains(&TermId(n as u32)));
            }
        }
    }

    #[test]
    fn selectors_are_filed_under_what_tells_them_apart() {
        let of_job = |job: String| Selector {
            matchers: vec![
                Matcher::equal(METRIC_NAME, "requests_total"),
                Matcher::equal("cluster", "eu"),
                Matcher::equal("job", &job),
            ],
        };
        let selectors: Vec<_> = (0..1_000).map(|n| of_job(n.to_string())).collect();
        let index = TermIndex::new(selectors.iter());
        let mut pairs = vec![(METRIC_NAME, "requests_total"), ("cluster", "eu"), ("job", "7")];
        let mut visited = Vec::new();
        index.visit(LabelsRef::new(&mut pairs).unwrap(), |term| visited.push(term));
        assert_eq!(visited, [TermId(7)]);
    }
}
