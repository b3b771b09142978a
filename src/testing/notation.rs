//! Prometheus' series notation: `name{label="value"} 0+10x5 _ stale 7`.

use crate::{
    counter::STALE_MARKER_BITS,
    labels::{Labels, METRIC_NAME},
};

/// A series and its value at each step; `None` where there is no sample.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesLine {
    /// The series.
    pub labels: Labels,
    /// One entry per step.
    pub values: Vec<Option<f64>>,
}

/// Reads a line of series notation. `a+bxn` and `a-bxn` stand for `n + 1` samples from `a` in steps of
/// `b`, `axn` for `a` repeated, `_` for a missing sample and `stale` for a staleness marker.
///
/// # Errors
/// What cannot be understood.
pub fn parse_series(line: &str) -> Result<SeriesLine, String> {
    let labels_end = match (line.find('}'), line.find(char::is_whitespace)) {
        (Some(brace), _) => brace + 1,
        (None, Some(blank)) => blank,
        (None, None) => return Err(format!("series {line:?} has no values")),
    };
    let (series, values) = line.split_at(labels_end);
    let labels = parse_labels(series)?;
    let values = values.split_whitespace().map(parse_values).collect::<Result<Vec<_>, _>>()?.concat();
    Ok(SeriesLine { labels, values })
}

/// Reads `name{label="value",…}`.
///
/// # Errors
/// When it is no series.
pub fn parse_labels(text: &str) -> Result<Labels, String> {
    let expression =
        promql_parser::parser::parse(text).map_err(|error| format!("series {text:?}: {error}"))?;
    let promql_parser::parser::Expr::VectorSelector(selector) = expression else {
        return Err(format!("{text:?} is not a series"));
    };
    let name = selector.name.iter().map(|name| (METRIC_NAME, name.as_str()));
    let labels = selector.matchers.matchers.iter().map(|m| (m.name.as_str(), m.value.as_str()));
    Labels::new(name.chain(labels)).map_err(|error| format!("series {text:?}: {error}"))
}

fn parse_values(item: &str) -> Result<Vec<Option<f64>>, String> {
    let bad = || format!("cannot read value {item:?}; write 1, 0+10x5, 3x4, _, _x3 or stale");
    let (values, times) = match item.rsplit_once('x') {
        Some((values, times)) => (values, Some(times.parse::<usize>().map_err(|_| bad())?)),
        None => (item, None),
    };
    match (values, times) {
        ("_", times) => return Ok(vec![None; times.unwrap_or(1)]),
        ("stale", None) => return Ok(vec![Some(f64::from_bits(STALE_MARKER_BITS))]),
        _ => (),
    }
    // The sign of the step, not of the start.
    let sign = values.get(1..).and_then(|rest| rest.find(['+', '-'])).map(|at| at + 1);
    let (start, step) = sign.map_or((values, "0"), |at| values.split_at(at));
    let start: f64 = start.parse().map_err(|_| bad())?;
    let step: f64 = step.parse().map_err(|_| bad())?;
    Ok((0..=times.unwrap_or(0)).map(|n| Some(start + step * n as f64)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &str, expected: &[Option<f64>]) {
        let line = parse_series(&format!("m{{a=\"b c\"}} {values}")).unwrap();
        assert_eq!(line.labels, Labels::new([(METRIC_NAME, "m"), ("a", "b c")]).unwrap());
        assert_eq!(line.values, expected);
    }

    #[test]
    fn values_as_prometheus_reads_them() {
        check("1 2.5", &[Some(1.0), Some(2.5)]);
        check("0+10x2", &[Some(0.0), Some(10.0), Some(20.0)]);
        check("-1-1x1 _ _x2 3x1", &[Some(-1.0), Some(-2.0), None, None, None, Some(3.0), Some(3.0)]);
        let stale = parse_series("m stale").unwrap().values;
        assert_eq!(stale[0].map(f64::to_bits), Some(STALE_MARKER_BITS));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["m", "m{a=} 1", "m 1+x", "m{a=\"b\"} soon", "1 2"] {
            assert!(parse_series(line).is_err(), "{line}");
        }
    }
}
