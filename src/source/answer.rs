//! What Prometheus' API answers, in JSON.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{Matrix, Reason, Vector};
use crate::{client::shortened, history, labels::Labels, time::Timestamp};

#[derive(Deserialize)]
struct Envelope<D> {
    status: String,
    data: Option<D>,
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorEnvelope {
    #[serde(default)]
    error_type: String,
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Matrix(Vec<Series>),
    Scalar(Sample),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<Sample>,
    #[serde(default)]
    values: Vec<Sample>,
    histogram: Option<IgnoredAny>,
    histograms: Option<Vec<IgnoredAny>>,
}

/// Seconds, and the value as text, since JSON has no NaN.
#[derive(Deserialize)]
struct Sample(f64, String);

// Thanos says so in the words of its warnings only; of all others nothing is missing.
const SAYS_PARTIAL: &str = "partial";

/// The answer to an instant query.
pub(super) fn vector(body: &[u8]) -> Result<Vector, Reason> {
    match data(body)? {
        Data::Vector(series) => series.into_iter().map(Series::one).collect(),
        Data::Scalar(sample) => Ok(vec![(Labels::default(), sample.number()?)]),
        Data::Matrix(_) => Err(unusable("a range of samples, where one of each was asked for")),
        Data::String(_) => Err(unusable("a string, where numbers were asked for")),
    }
}

/// The answer to a range query.
pub(super) fn matrix(body: &[u8]) -> Result<Matrix, Reason> {
    match data(body)? {
        Data::Matrix(series) => series.into_iter().map(Series::all).collect(),
        _ => Err(malformed("no range of samples, where one was asked for")),
    }
}

/// The answer to an instant query for a range of samples, and how many native histograms are among them.
pub(super) fn samples(body: &[u8]) -> Result<(Vec<history::Series>, u64), Reason> {
    let Data::Matrix(series) = data(body)? else {
        return Err(malformed("no range of samples, where one was asked for"));
    };
    let histograms = series.iter().filter_map(|series| series.histograms.as_ref());
    let histograms = histograms.map(|histograms| histograms.len() as u64).sum();
    let series = series.into_iter().map(Series::samples).collect::<Result<_, _>>()?;
    Ok((series, histograms))
}

/// The answer to a question for the values of a label.
pub(super) fn values(body: &[u8]) -> Result<Vec<String>, Reason> {
    open(body)
}

/// What an answer that is none says of itself.
pub(super) fn error(body: &[u8]) -> Option<String> {
    let ErrorEnvelope { error_type, error } = serde_json::from_slice(body).ok()?;
    let said = shortened(&error);
    Some(if error_type.is_empty() { said } else { format!("{error_type}: {said}") })
}

fn data(body: &[u8]) -> Result<Data, Reason> {
    open(body)
}

fn open<D: DeserializeOwned>(body: &[u8]) -> Result<D, Reason> {
    let envelope: Envelope<D> = serde_json::from_slice(body).map_err(|error| not_json(&error, body))?;
    if envelope.status != "success" {
        return Err(malformed(&format!("status {:?}", envelope.status)));
    }
    let warning = envelope.warnings.iter().find(|said| said.to_lowercase().contains(SAYS_PARTIAL));
    if envelope.is_partial || warning.is_some() {
        let said = warning.map_or("some of its servers did not answer", String::as_str);
        return Err(Reason::Partial(shortened(said)));
    }
    envelope.data.ok_or_else(|| malformed("it has no data"))
}

fn not_json(error: &serde_json::Error, body: &[u8]) -> Reason {
    let begin = shortened(&String::from_utf8_lossy(&body[..body.len().min(1_000)]));
    malformed(&format!("{error}, it begins {begin:?}"))
}

fn unusable(what: &str) -> Reason {
    Reason::Unusable(what.to_owned())
}

fn malformed(what: &str) -> Reason {
    Reason::Malformed(what.to_owned())
}

// === impl Series ===

impl Series {
    fn one(self) -> Result<(Labels, f64), Reason> {
        self.refuse_histograms()?;
        let value = self.value.as_ref().ok_or_else(|| malformed("a series without a value"))?.number()?;
        Ok((self.labels()?, value))
    }

    fn all(self) -> Result<(Labels, Vec<(Timestamp, f64)>), Reason> {
        self.refuse_histograms()?;
        let samples = self.values.iter().map(|sample| Ok((sample.at(), sample.number()?)));
        let samples = samples.collect::<Result<_, Reason>>()?;
        Ok((self.labels()?, samples))
    }

    fn samples(self) -> Result<history::Series, Reason> {
        let sample = |sample: &Sample| {
            let value = history::number_or_marker(sample.number()?);
            Ok(history::Sample { at: sample.at(), value })
        };
        let samples = self.values.iter().map(sample).collect::<Result<_, Reason>>()?;
        Ok(history::Series::new(self.labels()?, samples))
    }

    fn labels(&self) -> Result<Labels, Reason> {
        Labels::new(&self.metric).map_err(|error| malformed(&error.to_string()))
    }

    fn refuse_histograms(&self) -> Result<(), Reason> {
        if self.histogram.is_none() && self.histograms.is_none() {
            return Ok(());
        }
        Err(unusable("native histograms, where numbers were asked for; use histogram_count or the like"))
    }
}

// === impl Sample ===

impl Sample {
    fn at(&self) -> Timestamp {
        Timestamp((self.0 * 1_000.0).round() as i64)
    }

    fn number(&self) -> Result<f64, Reason> {
        self.1.parse().map_err(|_| malformed(&format!("{:?}, which is no number", self.1)))
    }
}
