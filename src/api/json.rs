//! The shapes of answers, as Prometheus writes them.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{labels::Labels, time::Timestamp, web::Reply};

#[derive(Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    status: &'static str,
    error_type: &'a str,
    error: &'a str,
}

/// What a query comes to.
#[derive(Serialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Value {
    Scalar(Point),
    Vector(Vec<Element>),
    Matrix(Vec<Line>),
}

/// An element of an instant vector.
#[derive(Serialize)]
pub(super) struct Element {
    pub(super) metric: Metric,
    pub(super) value: Point,
}

/// A series over time.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) metric: Metric,
    pub(super) values: Vec<Point>,
}

/// The labels of a series.
pub(super) struct Metric(pub(super) Labels);

/// A value at a time: `[1435781430.781,"1"]`.
pub(super) struct Point(pub(super) Timestamp, pub(super) f64);

/// An answer.
pub(super) fn success(data: impl Serialize, warnings: Vec<String>) -> Reply {
    Reply { status: 200, json: text(&Success { status: "success", data, warnings }) }
}

/// The text of an error.
pub(super) fn error(error_type: &str, error: &str) -> String {
    text(&Failure { status: "error", error_type, error })
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and maps with texts for keys have a JSON form")
}

/// A time as RFC 3339 has it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}

/// A number as alerts have it: Go's `strconv.FormatFloat(value, 'e', -1, 64)`.
pub(super) fn scientific(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number(value),
    }
}

/// A number as values have it: Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.iter().len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(at, value) = self;
        if at.0 % 1_000 == 0 {
            (at.0 / 1_000, number(*value)).serialize(serializer)
        } else {
            (at.seconds(), number(*value)).serialize(serializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_prometheus_does() {
        for (value, plain, exponent) in [
            (14.4, "14.4", "1.44e+01"),
            (0.0, "0", "0e+00"),
            (1e21, "1000000000000000000000", "1e+21"),
            (-2.5e-7, "-0.00000025", "-2.5e-07"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!((number(value).as_str(), scientific(value).as_str()), (plain, exponent));
        }
        let point = |ms, value| serde_json::to_string(&Point(Timestamp(ms), value)).unwrap();
        assert_eq!(point(1_435_781_430_781, 1.0), r#"[1435781430.781,"1"]"#);
        assert_eq!(point(1_435_781_430_000, 0.5), r#"[1435781430,"0.5"]"#);
    }
}
