//! From the values of expressions to events.

use std::collections::HashMap;

use crate::{
    expression::{Ambiguous, Expression, Samples},
    labels::Labels,
    slo::Question,
    time::Timestamp,
    window::Counts,
};

/// What an expression says at a moment.
pub(super) type Values = Vec<(Labels, f64)>;

/// The events of a moment, by the labels of their instance. Each label set once.
pub(super) fn ask(
    question: &Question<Expression>,
    at: Timestamp,
    samples: &impl Samples,
) -> Result<Vec<(Labels, Counts)>, Ambiguous> {
    Ok(events(question.try_map(|of| of.evaluate(at, samples))?))
}

/// The events that values mean.
pub(super) fn events(values: Question<Values>) -> Vec<(Labels, Counts)> {
    match values {
        Question::BadRatio(of) => each(of, |value| value.clamp(0.0, 1.0)),
        Question::GoodRatio(of) => each(of, |value| 1.0 - value.clamp(0.0, 1.0)),
        Question::Condition(of, good) => each(of, |value| f64::from(!good.is_met_by(value))),
        Question::Events { bad, total } => {
            let bad = bad.into_iter().map(|(labels, bad)| (labels, bad, 0.0));
            let total = total.into_iter().map(|(labels, total)| (labels, 0.0, total));
            add_up(bad.chain(total))
        }
    }
}

fn each(of: Values, bad: impl Fn(f64) -> f64) -> Vec<(Labels, Counts)> {
    let said = of.into_iter().filter(|(_, value)| !value.is_nan());
    said.map(|(labels, value)| (labels, Counts { bad: bad(value), total: 1.0 })).collect()
}

/// Numbers that are none say nothing.
fn add_up(events: impl Iterator<Item = (Labels, f64, f64)>) -> Vec<(Labels, Counts)> {
    let mut sums: Vec<(Labels, Counts)> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for (labels, bad, total) in events.filter(|(_, bad, total)| bad.is_finite() && total.is_finite()) {
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            sums.push((labels.clone(), Counts::ZERO));
            sums.len() - 1
        });
        sums[place].1 += Counts { bad, total };
    }
    sums
}
