//! The evaluation of an expression at a moment.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt};

use super::{
    Ambiguous, Binary, Expression, Function, LOOKBACK, LabelJoin, LabelReplace, OverTime, Sample, Samples,
    Series, Source, Span, Vector, aggregation, operators,
    over_time::{self, Window},
    possible_labels::absent_labels,
    statistics,
};
use crate::{
    counter::is_stale_marker,
    labels::{Labels, Selector},
    time::Timestamp,
};

/// A moment, and the samples to look at.
struct Evaluation<'s, S> {
    at: Timestamp,
    samples: &'s S,
}

enum Value {
    Scalar(f64),
    Vector(Vector),
}

/// Samples of series in a span of time.
type Matrix<'s> = Vec<(Cow<'s, Labels>, Cow<'s, [Sample]>)>;

/// See [`Expression::evaluate`].
pub(super) fn evaluate(
    expression: &Expression,
    at: Timestamp,
    samples: &impl Samples,
) -> Result<Vector, Ambiguous> {
    let mut elements = Evaluation { at, samples }.vector(expression)?;
    for (labels, _) in &mut elements {
        *labels = labels.leave_out(&[]);
    }
    distinct(elements)
}

/// See [`Expression::evaluate_named`].
pub(super) fn evaluate_named(
    expression: &Expression,
    at: Timestamp,
    samples: &impl Samples,
) -> Result<Vector, Ambiguous> {
    distinct(Evaluation { at, samples }.vector(expression)?)
}

fn distinct(elements: Vector) -> Result<Vector, Ambiguous> {
    let mut seen: Vec<&Labels> = elements.iter().map(|(labels, _)| labels).collect();
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Ambiguous(pair[0].clone())),
        None => Ok(elements),
    }
}

// === impl Evaluation ===

impl<S: Samples> Evaluation<'_, S> {
    /// The value as a vector; a number is an element without labels.
    fn vector(&self, expression: &Expression) -> Result<Vector, Ambiguous> {
        Ok(match self.value(expression)? {
            Value::Scalar(number) => vec![(Labels::default(), number)],
            Value::Vector(elements) => elements,
        })
    }

    /// The value as a number; a vector is one if it has one element.
    fn scalar(&self, expression: &Expression) -> Result<f64, Ambiguous> {
        Ok(match self.value(expression)? {
            Value::Scalar(number) => number,
            Value::Vector(elements) if elements.len() == 1 => elements[0].1,
            Value::Vector(_) => f64::NAN,
        })
    }

    fn value(&self, expression: &Expression) -> Result<Value, Ambiguous> {
        Ok(Value::Vector(match expression {
            Expression::Number(number) => return Ok(Value::Scalar(*number)),
            Expression::Time => return Ok(Value::Scalar(self.at.seconds())),
            Expression::Negative(of) => match self.value(of)? {
                Value::Scalar(number) => return Ok(Value::Scalar(-number)),
                Value::Vector(elements) => map(elements, |value| -value),
            },
            Expression::Binary(binary) => return self.binary(binary),
            Expression::Call(function, arguments) => return self.call(*function, arguments),
            Expression::Latest(selector, offset) => {
                let latest = self.latest(selector, self.at - *offset);
                latest.map(|(series, sample)| (series.labels.clone(), sample.value)).collect()
            }
            Expression::OverTime(function, span) => self.over_time(*function, span)?,
            Expression::QuantileOverTime(quantile, span) => {
                let q = self.scalar(quantile)?;
                let values = |samples: &[Sample]| samples.iter().map(|sample| sample.value).collect();
                let quantile = |(labels, samples): (Cow<'_, Labels>, Cow<'_, [Sample]>)| {
                    (labels.into_owned(), statistics::quantile(q, values(&samples)))
                };
                self.matrix(span, false)?.into_iter().map(quantile).collect()
            }
            Expression::LabelReplace(of, replace) => {
                relabel(self.vector(of)?, |labels| replace.apply(labels))
            }
            Expression::LabelJoin(of, join) => relabel(self.vector(of)?, |labels| Some(join.apply(labels))),
            Expression::Aggregate(aggregation, labeling, of) => {
                aggregation::aggregate(*aggregation, labeling, self.vector(of)?)
            }
            Expression::Quantile(quantile, labeling, of) => {
                aggregation::quantile(self.scalar(quantile)?, labeling, self.vector(of)?)
            }
        }))
    }

    fn binary(&self, binary: &Binary) -> Result<Value, Ambiguous> {
        let (left, right) = (self.value(&binary.left)?, self.value(&binary.right)?);
        Ok(Value::Vector(match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                return Ok(Value::Scalar(operators::of_scalars(binary, left, right)));
            }
            (Value::Scalar(left), Value::Vector(right)) => operators::with_number(binary, right, left, true),
            (Value::Vector(left), Value::Scalar(right)) => operators::with_number(binary, left, right, false),
            (Value::Vector(left), Value::Vector(right)) => operators::of_vectors(binary, left, right)?,
        }))
    }

    fn call(&self, function: Function, arguments: &[Expression]) -> Result<Value, Ambiguous> {
        let number = |nth: usize| arguments.get(nth).map_or(Ok(1.0), |argument| self.scalar(argument));
        let elements = |nth: usize| arguments.get(nth).map_or(Ok(Vector::new()), |of| self.vector(of));
        Ok(Value::Vector(match function {
            Function::Scalar => return number(0).map(Value::Scalar),
            Function::Vector => elements(0)?,
            Function::Absent => self.absent(elements(0)?.is_empty(), arguments[0].selector()),
            Function::Abs => map(elements(0)?, f64::abs),
            Function::Ceil => map(elements(0)?, f64::ceil),
            Function::Exp => map(elements(0)?, f64::exp),
            Function::Floor => map(elements(0)?, f64::floor),
            Function::Ln => map(elements(0)?, f64::ln),
            Function::Log10 => map(elements(0)?, f64::log10),
            Function::Log2 => map(elements(0)?, f64::log2),
            Function::Sgn => map(elements(0)?, sign),
            Function::Sqrt => map(elements(0)?, f64::sqrt),
            Function::Round => {
                let inverse = 1.0 / number(1)?;
                map(elements(0)?, |value| (value * inverse + 0.5).floor() / inverse)
            }
            Function::Clamp => clamp(elements(0)?, number(1)?, number(2)?),
            Function::ClampMin => clamp(elements(0)?, number(1)?, f64::INFINITY),
            Function::ClampMax => clamp(elements(0)?, f64::NEG_INFINITY, number(1)?),
            Function::Timestamp => self.timestamps(&arguments[0])?,
            Function::HistogramQuantile => aggregation::histogram_quantile(number(0)?, elements(1)?),
        }))
    }

    /// Of a selector the times of its samples, of all else the moment.
    fn timestamps(&self, of: &Expression) -> Result<Vector, Ambiguous> {
        let Expression::Latest(selector, offset) = of else {
            return Ok(map(self.vector(of)?, |_| self.at.seconds()));
        };
        let time =
            |(series, sample): (Series<'_>, Sample)| (series.nameless.into_owned(), sample.at.seconds());
        Ok(self.latest(selector, self.at - *offset).map(time).collect())
    }

    fn absent(&self, is_absent: bool, selector: Option<&Selector>) -> Vector {
        is_absent.then(|| (absent_labels(selector), 1.0)).into_iter().collect()
    }

    // --- samples ---

    /// The newest samples up to a time that count for it.
    fn latest(&self, selector: &Selector, at: Timestamp) -> impl Iterator<Item = (Series<'_>, Sample)> {
        let window = Window { end: at, range: LOOKBACK };
        self.samples.select(selector).filter_map(move |series| {
            let newest = *window.of(series.samples).last()?;
            (!is_stale_marker(newest.value)).then_some((series, newest))
        })
    }

    fn over_time(&self, function: OverTime, span: &Span) -> Result<Vector, Ambiguous> {
        let keeps_name = function == OverTime::Last;
        let matrix = self.matrix(span, keeps_name)?;
        if function == OverTime::Absent {
            return Ok(self.absent(matrix.is_empty(), span.selector()));
        }
        let window = self.window(span);
        let element = |(labels, samples): (Cow<'_, Labels>, Cow<'_, [Sample]>)| {
            Some((labels.into_owned(), over_time::apply(function, &samples, window)?))
        };
        Ok(matrix.into_iter().filter_map(element).collect())
    }

    fn window(&self, span: &Span) -> Window {
        Window { end: self.at - span.offset, range: span.range }
    }

    /// All samples in a span, series by series; none without a sample, and no staleness markers.
    fn matrix(&self, span: &Span, keeps_name: bool) -> Result<Matrix<'_>, Ambiguous> {
        let window = self.window(span);
        let selector = match &span.of {
            Source::Series(selector) => selector,
            Source::Steps(of, step) => return self.steps(of, window.steps(*step), keeps_name),
        };
        let inside = self.samples.select(selector).map(|series| {
            let labels = if keeps_name { Cow::Borrowed(series.labels) } else { series.nameless };
            (labels, without_markers(window.of(series.samples)))
        });
        Ok(inside.filter(|(_, samples)| !samples.is_empty()).collect())
    }

    /// What an expression says at each step of a subquery.
    fn steps(
        &self,
        of: &Expression,
        steps: impl Iterator<Item = Timestamp>,
        keeps_name: bool,
    ) -> Result<Matrix<'_>, Ambiguous> {
        let mut matrix: Vec<(Labels, Vec<Sample>)> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for at in steps {
            for (labels, value) in (Evaluation { at, samples: self.samples }).vector(of)? {
                let place = *places.entry(labels).or_insert_with_key(|labels| {
                    matrix.push((labels.clone(), Vec::new()));
                    matrix.len() - 1
                });
                let (labels, samples) = &mut matrix[place];
                if samples.last().is_some_and(|last| last.at == at) {
                    return Err(Ambiguous(labels.clone()));
                }
                samples.push(Sample { at, value });
            }
        }
        let owned = |(labels, samples): (Labels, _)| {
            let labels = if keeps_name { labels } else { labels.leave_out(&[]) };
            (Cow::Owned(labels), Cow::Owned(samples))
        };
        Ok(matrix.into_iter().map(owned).collect())
    }
}

fn without_markers(samples: &[Sample]) -> Cow<'_, [Sample]> {
    if samples.iter().any(|sample| is_stale_marker(sample.value)) {
        samples.iter().filter(|sample| !is_stale_marker(sample.value)).copied().collect()
    } else {
        Cow::Borrowed(samples)
    }
}

fn map(elements: Vector, value: impl Fn(f64) -> f64) -> Vector {
    elements.into_iter().map(|(labels, of)| (labels.leave_out(&[]), value(of))).collect()
}

fn relabel(elements: Vector, relabel: impl Fn(&Labels) -> Option<Labels>) -> Vector {
    let element = |(labels, value)| (relabel(&labels).unwrap_or(labels), value);
    elements.into_iter().map(element).collect()
}

/// -1, 0 or 1; what is neither positive nor negative as it is.
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// Nothing lies between bounds that are the wrong way round. NaN stays what it is, and as a bound makes all NaN.
fn clamp(elements: Vector, min: f64, max: f64) -> Vector {
    if max < min {
        return Vector::new();
    }
    map(elements, |value| {
        if value.is_nan() || min.is_nan() || max.is_nan() { f64::NAN } else { value.clamp(min, max) }
    })
}

// === impl LabelReplace ===

impl LabelReplace {
    /// The labels with the one that is written; `None` if the condition is not met.
    fn apply(&self, labels: &Labels) -> Option<Labels> {
        let value = self.source.expand(labels.get(self.source.name()), &self.replacement)?;
        Some(write_label(labels, &self.label, &value))
    }
}

// === impl LabelJoin ===

impl LabelJoin {
    fn apply(&self, labels: &Labels) -> Labels {
        let values: Vec<&str> = self.sources.iter().map(|source| labels.get(source)).collect();
        write_label(labels, &self.label, &values.join(&self.separator))
    }
}

fn write_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let others = labels.iter().filter(|(other, _)| *other != name);
    // Each name once, as before, and none is empty.
    Labels::new(others.chain([(name, value)])).unwrap_or_default()
}
