//! Operators between numbers, and between vectors whose elements find each other by their labels.

use foldhash::{HashMap, HashMapExt, HashSet};

use super::{Ambiguous, Binary, Labeling, Operator, Vector};
use crate::labels::{Labels, METRIC_NAME};

/// What an operator makes of two numbers. `None` where a comparison does not hold.
pub(super) fn of_numbers(operator: Operator, left: f64, right: f64) -> Option<f64> {
    let is_kept = match operator {
        Operator::Add => return Some(left + right),
        Operator::Sub => return Some(left - right),
        Operator::Mul => return Some(left * right),
        Operator::Div => return Some(left / right),
        Operator::Mod => return Some(left % right),
        Operator::Pow => return Some(left.powf(right)),
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        // Between vectors only.
        Operator::And | Operator::Or | Operator::Unless => false,
    };
    is_kept.then_some(left)
}

/// A comparison as 0 or 1; anything else as it is.
pub(super) fn of_scalars(binary: &Binary, left: f64, right: f64) -> f64 {
    let value = of_numbers(binary.operator, left, right);
    if binary.operator.is_comparison() { f64::from(value.is_some()) } else { value.unwrap_or(f64::NAN) }
}

/// Between each element of a vector and a number, which stands on the left or on the right.
pub(super) fn with_number(binary: &Binary, elements: Vector, number: f64, is_left: bool) -> Vector {
    let keeps_name = binary.operator.is_comparison() && !binary.is_bool;
    let value = |value: f64| {
        let (left, right) = if is_left { (number, value) } else { (value, number) };
        match of_numbers(binary.operator, left, right) {
            found if binary.is_bool => Some(f64::from(found.is_some())),
            // What a comparison lets through is the element, on whichever side it stands.
            Some(_) if binary.operator.is_comparison() => Some(value),
            found => found,
        }
    };
    let element = |(labels, of): (Labels, f64)| {
        Some((if keeps_name { labels } else { labels.leave_out(&[]) }, value(of)?))
    };
    elements.into_iter().filter_map(element).collect()
}

/// Between two vectors.
pub(super) fn of_vectors(binary: &Binary, left: Vector, right: Vector) -> Result<Vector, Ambiguous> {
    let matching = &binary.matching;
    match binary.operator {
        Operator::And => Ok(having(left, &keys(matching, &right), matching, true)),
        Operator::Unless => Ok(having(left, &keys(matching, &right), matching, false)),
        Operator::Or => {
            let others = having(right, &keys(matching, &left), matching, false);
            Ok(left.into_iter().chain(others).collect())
        }
        _ => one_to_one(binary, left, right),
    }
}

fn keys(matching: &Labeling, elements: &Vector) -> HashSet<Labels> {
    elements.iter().map(|(labels, _)| matching.of(labels)).collect()
}

/// The elements that have one of the keys, or none of them.
fn having(elements: Vector, keys: &HashSet<Labels>, matching: &Labeling, has: bool) -> Vector {
    elements.into_iter().filter(|(labels, _)| keys.contains(&matching.of(labels)) == has).collect()
}

fn one_to_one(binary: &Binary, left: Vector, right: Vector) -> Result<Vector, Ambiguous> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vector::new());
    }
    let mut partners: HashMap<Labels, (f64, bool)> = HashMap::new();
    for (labels, value) in right {
        let key = binary.matching.of(&labels);
        if partners.contains_key(&key) {
            return Err(Ambiguous(key));
        }
        partners.insert(key, (value, false));
    }
    let mut result = Vector::new();
    for (labels, value) in left {
        let key = binary.matching.of(&labels);
        let Some((partner, is_taken)) = partners.get_mut(&key) else { continue };
        if std::mem::replace(is_taken, true) {
            return Err(Ambiguous(key));
        }
        let found = of_numbers(binary.operator, value, *partner);
        let value = if binary.is_bool { Some(f64::from(found.is_some())) } else { found };
        result.extend(value.map(|value| (binary.result_labels(&labels), value)));
    }
    Ok(result)
}

// === impl Binary ===

impl Binary {
    /// The labels of what becomes of an element on the left. A comparison that filters leaves it its name.
    fn result_labels(&self, left: &Labels) -> Labels {
        let keeps_name = self.operator.is_comparison() && !self.is_bool;
        match &self.matching {
            Labeling::AllBut(names) if keeps_name => left.retain(|name| !names.iter().any(|n| n == name)),
            Labeling::Only(names) => {
                left.retain(|name| names.iter().any(|n| n == name) && (keeps_name || name != METRIC_NAME))
            }
            matching => matching.of(left),
        }
    }
}

// === impl Operator ===

impl Operator {
    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    /// Whether it stands between vectors only.
    pub fn is_of_sets(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}
