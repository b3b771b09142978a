//! What elements of a vector have in common, group by group.

use foldhash::{HashMap, HashMapExt};

use super::{
    Aggregation, BUCKET_BOUND, Labeling, Vector,
    statistics::{self, Bucket},
};
use crate::labels::Labels;

/// One element for each group of elements.
pub(super) fn aggregate(aggregation: Aggregation, labeling: &Labeling, elements: Vector) -> Vector {
    grouped(labeling, elements, |values| apply(aggregation, &values))
}

/// The quantile of each group.
pub(super) fn quantile(q: f64, labeling: &Labeling, elements: Vector) -> Vector {
    grouped(labeling, elements, |values| statistics::quantile(q, values))
}

/// The quantile of each classic histogram. Elements without a bound of a bucket are none of it.
pub(super) fn histogram_quantile(q: f64, elements: Vector) -> Vector {
    let others = Labeling::AllBut(vec![BUCKET_BOUND.to_owned()]);
    let buckets = elements.into_iter().filter_map(|(labels, count)| {
        let bound = labels.get(BUCKET_BOUND).parse().ok().filter(|bound: &f64| !bound.is_nan())?;
        Some((others.of(&labels), Bucket { bound, count }))
    });
    let quantile = |(labels, buckets)| (labels, statistics::histogram_quantile(q, buckets));
    group(buckets).into_iter().map(quantile).collect()
}

fn grouped(labeling: &Labeling, elements: Vector, value: impl Fn(Vec<f64>) -> f64) -> Vector {
    let elements = elements.into_iter().map(|(labels, value)| (labeling.of(&labels), value));
    group(elements).into_iter().map(|(labels, values)| (labels, value(values))).collect()
}

/// In the order in which groups appear, so that the same samples give the same result.
fn group<T>(elements: impl Iterator<Item = (Labels, T)>) -> Vec<(Labels, Vec<T>)> {
    let mut groups: Vec<(Labels, Vec<T>)> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for (labels, value) in elements {
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            groups.push((labels.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(value);
    }
    groups
}

fn apply(aggregation: Aggregation, values: &[f64]) -> f64 {
    let all = || values.iter().copied();
    match aggregation {
        Aggregation::Avg => statistics::sum(all()) / values.len() as f64,
        Aggregation::Count => values.len() as f64,
        Aggregation::Group => 1.0,
        Aggregation::Max => statistics::max(all()),
        Aggregation::Min => statistics::min(all()),
        Aggregation::Stddev => statistics::variance(all()).sqrt(),
        Aggregation::Stdvar => statistics::variance(all()),
        Aggregation::Sum => statistics::sum(all()),
    }
}
