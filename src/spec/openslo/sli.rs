//! OpenSLO's SLIs: ratios of events, values with a threshold, and where their queries are.
//!
//! The format leaves to each source what is in its `spec`, so that only what asks a Prometheus can be read.

use std::borrow::Cow;

use super::{Named, envelope, objective};
use crate::{
    promql,
    slo::{Indicator, Threshold, ThresholdOp},
    spec::{
        objects::Object,
        query::{self, Dialect, Pair, Query, Ratio},
        reader::{Fields, Place, Reader, Source},
        yaml::{Node, Value},
    },
};

/// What an object of kind DataSource says.
pub(super) struct DataSource {
    /// The type of system.
    system: String,
}

/// What an SLI says.
#[derive(Clone)]
pub(super) enum Sli<'o> {
    /// It counts, whatever the objective.
    Ratio(Box<Indicator>),
    /// Each objective has a condition on its value.
    Value(Gauge<'o>),
}

/// A query for a value.
#[derive(Clone)]
pub(super) struct Gauge<'o> {
    name: &'static str,
    node: &'o Node,
    /// The document it is in.
    source: Source<'o>,
}

pub(super) const FIELDS: [&str; 3] = ["description", "ratioMetric", "thresholdMetric"];

// The format does not say how a source's spec names its query. In the order of how common they are.
const QUERY_KEYS: [&str; 6] = ["query", "promql", "expr", "expression", "promQL", "metricQuery"];

// What is asked in PromQL, beside what is called Prometheus in any way (AmazonPrometheus, …).
const SYSTEMS: [&str; 8] = ["thanos", "mimir", "cortex", "victoriametrics", "promql", "m3", "gmp", "amp"];

/// Reads an object of kind SLI.
pub(super) fn read_object<'o>(
    reader: &mut Reader<'_>,
    object: &'o Object<'_>,
    sources: &Named<'_, DataSource>,
) -> Option<Sli<'o>> {
    let envelope = envelope::read(reader, &object.root, &FIELDS)?;
    let sli = read(reader, &envelope.spec, object.source, sources)?;
    if let Sli::Value(gauge) = &sli {
        // For its errors, which no condition changes.
        let any = Threshold { op: ThresholdOp::LessOrEqual, bound: 0.0 };
        query::read_condition(reader, Dialect::OpenSlo, &gauge.query(), any)?;
    }
    Some(sli)
}

/// Reads an object of kind DataSource.
pub(super) fn read_source(reader: &mut Reader<'_>, root: &Node) -> Option<DataSource> {
    let spec = envelope::read(reader, root, &["description", "type", "connectionDetails"])?.spec;
    let system = reader.required_text(&spec, "type")?.to_owned();
    Some(DataSource { system })
}

/// Reads the `spec` of an SLI.
pub(super) fn read<'o>(
    reader: &mut Reader<'_>,
    spec: &Fields<'o>,
    source: Source<'o>,
    sources: &Named<'_, DataSource>,
) -> Option<Sli<'o>> {
    match (spec.get("ratioMetric"), spec.get("thresholdMetric")) {
        (Some(ratio), None) => {
            read_ratio(reader, ratio, sources).map(|indicator| Sli::Ratio(Box::new(indicator)))
        }
        (None, Some(metric)) => {
            const NAME: &str = "thresholdMetric";
            let node = read_metric(reader, NAME, metric, sources)?.node;
            Some(Sli::Value(Gauge { name: NAME, node, source }))
        }
        _ => {
            reader.error(spec.at, "an SLI needs exactly one of ratioMetric and thresholdMetric");
            None
        }
    }
}

fn read_ratio(reader: &mut Reader<'_>, node: &Node, sources: &Named<'_, DataSource>) -> Option<Indicator> {
    let fields = reader.fields(node, &["counter", "good", "bad", "total", "rawType", "raw"])?;
    let is_counter = reader.optional_flag(&fields, "counter");
    let mut query = |name: &'static str| {
        let node = fields.get(name)?;
        Some(read_metric(reader, name, node, sources))
    };
    match (query("good"), query("bad"), query("total"), query("raw")) {
        (Some(good), None, Some(total), None) => {
            read_pair(reader, Pair::GoodOfTotal, is_counter, good?, total?)
        }
        (None, Some(bad), Some(total), None) => read_pair(reader, Pair::BadOfTotal, is_counter, bad?, total?),
        (None, None, None, Some(raw)) => {
            let ratios = [("success", Ratio::Good), ("failure", Ratio::Bad)];
            let of = reader.required(&fields, "rawType");
            let of = of.and_then(|node| reader.choice(node, "rawType", &ratios));
            query::read_ratio(reader, Dialect::OpenSlo, of?, &raw?)
        }
        _ => {
            reader.error(node.at, "ratioMetric needs total with one of good and bad, or raw alone");
            None
        }
    }
}

/// The indicator of two queries that count events.
pub(super) fn read_pair(
    reader: &mut Reader<'_>,
    pair: Pair,
    is_counter: bool,
    first: Query<'_>,
    second: Query<'_>,
) -> Option<Indicator> {
    let (first, second) = (growth(reader, first, is_counter), growth(reader, second, is_counter));
    query::read_pair(reader, Dialect::OpenSlo, pair, &first, &second)
}

/// A counter that stands alone stands for its growth.
fn growth<'n>(reader: &mut Reader<'_>, query: Query<'n>, is_counter: bool) -> Query<'n> {
    let text = query.text.trim();
    let name = text.split('{').next().unwrap_or_default().trim_end();
    let counts = is_counter || promql::is_counter_name(name);
    if !counts || promql::selector(text).is_err() {
        return query;
    }
    if !is_counter {
        let message = "this is named like a counter, of which the growth is counted; write counter: true";
        reader.warn(query.node.at, message);
    }
    let text = format!("sum(increase({text}[{{{{.window}}}}]))");
    Query::made(query.name, text, query.node)
}

// === where queries are ===

/// The query of a metric such as `good`.
fn read_metric<'n>(
    reader: &mut Reader<'_>,
    name: &'static str,
    node: &'n Node,
    sources: &Named<'_, DataSource>,
) -> Option<Query<'n>> {
    let fields = reader.fields(node, &["metricSource"])?;
    let known = ["metricSourceRef", "type", "spec"];
    let source = reader.required_fields(&fields, "metricSource", &known)?;
    check_system(reader, &source, sources)?;
    let node = reader.required(&source, "spec")?;
    let spec = reader.any_fields(node)?;
    let Some(query) = QUERY_KEYS.iter().find_map(|key| spec.get(key)) else {
        let keys = QUERY_KEYS.join(", ");
        reader.error(node.at, format!("the query of {name} is not found; write it as one of {keys}"));
        return None;
    };
    Query::of(reader, name, query)
}

/// Reports a system that is not asked in PromQL.
fn check_system(reader: &mut Reader<'_>, source: &Fields<'_>, sources: &Named<'_, DataSource>) -> Option<()> {
    if let Some(node) = source.get("type") {
        let system = reader.text(node)?;
        return require_promql(reader, node.at, system);
    }
    let Some(node) = source.get("metricSourceRef") else { return Some(()) };
    let name = reader.text(node)?;
    if !sources.contains(name) {
        // Only its type matters here, which is Prometheus' unless somebody says otherwise.
        sources.warn_if_misspelt(reader, node);
        return Some(());
    }
    let source = sources.resolve(reader, node)?;
    require_promql(reader, node.at, &source.system)
}

fn require_promql(reader: &mut Reader<'_>, at: Place, system: &str) -> Option<()> {
    let plain: String = system.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_lowercase();
    if plain.contains("prometheus") || SYSTEMS.contains(&plain.as_str()) {
        return Some(());
    }
    let message = format!(
        "a metric source of type {system:?} cannot be read: slod counts what Prometheus sends; use Prometheus, or \
         another that is asked in PromQL, such as Thanos, Mimir or VictoriaMetrics"
    );
    reader.error(at, message);
    None
}

// === impl Sli ===

impl<'o> Sli<'o> {
    /// The indicator for an objective, which is at `at` if it refers to the SLI, and else has it inline.
    pub(super) fn indicator(
        &self,
        reader: &mut Reader<'_>,
        objective: &Fields<'_>,
        reference: Option<Place>,
    ) -> Option<Indicator> {
        match self {
            Self::Ratio(indicator) => {
                for node in ["op", "value"].iter().filter_map(|name| objective.get(name)) {
                    reader
                        .warn(node.at, "op and value mean nothing to a ratio; they are for thresholdMetric");
                }
                Some(indicator.as_ref().clone())
            }
            Self::Value(gauge) => {
                let condition = objective::read_condition(reader, objective)?;
                gauge.indicator(reader, condition, reference)
            }
        }
    }
}

// === impl Gauge ===

impl<'o> Gauge<'o> {
    /// The query as its field has it: a text, which was checked when the SLI was read.
    fn query(&self) -> Query<'o> {
        let text = match &self.node.value {
            Value::Scalar(text) => text.as_str(),
            _ => "",
        };
        Query { name: self.name, text: Cow::Borrowed(text), node: self.node }
    }

    fn indicator(
        &self,
        reader: &mut Reader<'_>,
        condition: Threshold,
        reference: Option<Place>,
    ) -> Option<Indicator> {
        let Some(reference) = reference else {
            return query::read_condition(reader, Dialect::OpenSlo, &self.query(), condition);
        };
        // What is wrong with the query itself was said in its own file.
        let mut there = Reader::new(reader.settings, self.source);
        let indicator = query::read_condition(&mut there, Dialect::OpenSlo, &self.query(), condition);
        if indicator.is_none() {
            let why = there.into_diagnostics().pop().map(|diagnostic| diagnostic.message);
            reader.error(reference, format!("the SLI cannot be used here: {}", why.unwrap_or_default()));
        }
        indicator
    }
}
