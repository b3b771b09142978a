//! Queries at one moment and at many.
//!
//! Every series that a query selects is worked out at every moment first; then the evaluator that SLIs are asked
//! with goes over those samples.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use foldhash::{HashMap, HashMapExt};

use super::{
    Facts, Fault,
    json::{self, Element, Line, Metric, Point},
    moments::Moments,
    parameters::Parameters,
    published::{self, Origin, Series},
};
use crate::{
    counter::STALE_MARKER_BITS,
    expression::{self, Ambiguous, Expression, Sample, Samples},
    labels::{Labels, Selector},
    time::Timestamp,
    web::Reply,
    window::Past,
};

/// What the selectors of a query select, at every moment that it looks at.
struct Prepared {
    selected: Vec<(Selector, Vec<Track>)>,
    /// From when on all that is said is of whole windows.
    whole_from: Option<Timestamp>,
}

struct Track {
    labels: Labels,
    nameless: Labels,
    samples: Vec<Sample>,
}

/// The past of the instances that a query looks at.
type Pasts = HashMap<usize, Past>;

// How old a value may be that stands for the present: Prometheus' lookback.
const LOOKBACK: Duration = Duration::from_secs(300);
// The present also stands for the last moment of a query that is this much earlier, or a step: who asks has rounded
// down, or a clock that is slow.
const PRESENT_EARLIER: Duration = Duration::from_secs(60);
// 16 MB of samples: all burn rates of 10,000 SLOs now, or those of a hundred at 1,000 moments.
const SAMPLES_MAX: usize = 1_000_000;
// Some 20 KB each while they are looked at.
const HISTORIES_MAX: usize = 1_000;
// How many the thread that ticks copies in one go: a fraction of a millisecond.
const COPIED_AT_ONCE: usize = 64;

/// `/api/v1/query`.
pub(super) fn instant(parameters: Parameters<'_>, facts: &Facts<'_>) -> Result<Reply, Fault> {
    let expression = parameters.query()?;
    let moments = parameters.moment(facts.now)?;
    let limit = parameters.limit()?;
    let prepared = Prepared::new(&expression, moments, facts)?;
    let at = moments.start;
    let mut elements = expression.evaluate_named(at, &prepared).map_err(ambiguous)?;
    elements.truncate(limit);
    let point = |value| Point(at, value);
    let value = if expression.is_scalar() {
        json::Value::Scalar(point(elements.first().map_or(f64::NAN, |(_, value)| *value)))
    } else {
        let element = |(labels, value)| Element { metric: Metric(labels), value: point(value) };
        json::Value::Vector(elements.into_iter().map(element).collect())
    };
    Ok(json::success(value, prepared.warnings()))
}

/// `/api/v1/query_range`.
pub(super) fn range(parameters: Parameters<'_>, facts: &Facts<'_>) -> Result<Reply, Fault> {
    let expression = parameters.query()?;
    let moments = parameters.moments()?;
    let limit = parameters.limit()?;
    let prepared = Prepared::new(&expression, moments, facts)?;
    let mut lines: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
    let mut points = 0;
    for at in moments.iter() {
        if (facts.is_overdue)() {
            return Err(Fault::timeout());
        }
        let elements = expression.evaluate_named(at, &prepared).map_err(ambiguous)?;
        points += elements.len();
        check_size(points)?;
        for (labels, value) in elements {
            lines.entry(labels).or_default().push(Point(at, value));
        }
    }
    let line = |(labels, values)| Line { metric: Metric(labels), values };
    let lines = lines.into_iter().take(limit).map(line).collect();
    Ok(json::success(json::Value::Matrix(lines), prepared.warnings()))
}

fn ambiguous(error: Ambiguous) -> Fault {
    Fault::execution(error.to_string())
}

fn check_size(samples: usize) -> Result<(), Fault> {
    if samples > SAMPLES_MAX {
        return Err(Fault::execution(format!(
            "the query needs {samples} samples or more, the limit is {SAMPLES_MAX}; select fewer series or ask for \
             fewer steps"
        )));
    }
    Ok(())
}

// === impl Prepared ===

impl Prepared {
    fn new(expression: &Expression, moments: Moments, facts: &Facts<'_>) -> Result<Self, Fault> {
        let mut looks: Vec<(Selector, Vec<Moments>)> = Vec::new();
        for (selector, offset) in expression.latest() {
            let moments = moments.earlier_by(offset);
            match looks.iter_mut().find(|(known, _)| known == selector) {
                Some((_, all)) => all.push(moments),
                None => looks.push((selector.clone(), vec![moments])),
            }
        }
        let mut prepared = Self { selected: Vec::new(), whole_from: None };
        let selected: Vec<Vec<Series>> =
            looks.iter().map(|(selector, _)| published::select(facts, &[selector])).collect();
        let samples = |(series, (_, moments)): (&Vec<Series>, &(_, Vec<Moments>))| {
            series.len() * moments.iter().map(|moments| moments.len()).sum::<usize>()
        };
        check_size(selected.iter().zip(&looks).map(samples).sum())?;
        let pasts = pasts(&selected, &looks, facts)?;
        for (series, (selector, all)) in selected.into_iter().zip(looks) {
            let mut times: Vec<(Timestamp, bool)> =
                all.iter().flat_map(|moments| of(*moments, facts)).collect();
            times.sort_unstable();
            // The same moment of another offset may stand for the present.
            times.dedup_by(|later, kept| {
                kept.1 |= later.0 == kept.0 && later.1;
                later.0 == kept.0
            });
            let mut tracks = Vec::new();
            for series in series {
                if (facts.is_overdue)() {
                    return Err(Fault::timeout());
                }
                tracks.push(prepared.track(series, &times, &pasts, facts));
            }
            prepared.selected.push((selector, tracks));
        }
        Ok(prepared)
    }

    fn track(
        &mut self,
        series: Series,
        times: &[(Timestamp, bool)],
        pasts: &Pasts,
        facts: &Facts<'_>,
    ) -> Track {
        let evaluated = facts.report.evaluated_at;
        let history = series.past.as_ref().and_then(|origin| {
            Some((origin, facts.report.view_at(origin.place)?, pasts.get(&origin.place)?))
        });
        let mut whole_from = self.whole_from;
        let mut past_value = |at: Timestamp| {
            let (origin, view, past) = history.as_ref()?;
            let found = origin.at(view, past, at)?;
            if found.share < 1.0 {
                whole_from = whole_from.max(Some(at));
            }
            Some(found.value)
        };
        let sample = |(at, is_present): &(Timestamp, bool)| {
            let present = is_present.then_some(series.present);
            let value = if *at < evaluated { past_value(*at).or(present) } else { present };
            Sample { at: *at, value: value.unwrap_or(f64::from_bits(STALE_MARKER_BITS)) }
        };
        let samples = times.iter().map(sample).collect();
        self.whole_from = whole_from;
        Track { nameless: series.labels.leave_out(&[]), labels: series.labels, samples }
    }

    fn warnings(&self) -> Vec<String> {
        let warning = |at: Timestamp| {
            format!(
                "up to {} slots do not reach back to where some windows began: their values are of the part that is \
                 known, at least half of the window",
                json::rfc3339(at)
            )
        };
        self.whole_from.map(warning).into_iter().collect()
    }
}

impl Samples for Prepared {
    fn select<'a>(&'a self, selector: &Selector) -> impl Iterator<Item = expression::Series<'a>> {
        let selected = self.selected.iter().find(|(known, _)| known == selector);
        selected.into_iter().flat_map(|(_, tracks)| tracks).map(|track| expression::Series {
            labels: &track.labels,
            nameless: Cow::Borrowed(&track.nameless),
            samples: &track.samples,
        })
    }
}

/// Each moment, and whether the present stands for it.
fn of(moments: Moments, facts: &Facts<'_>) -> impl Iterator<Item = (Timestamp, bool)> {
    let (evaluated, last) = (facts.report.evaluated_at, moments.last());
    let earlier = moments.step().max(PRESENT_EARLIER);
    moments.iter().map(move |at| {
        let is_late = at >= evaluated && at.since(evaluated) < LOOKBACK;
        let is_early = at == last && at < evaluated && evaluated.since(at) <= earlier;
        (at, is_late || is_early)
    })
}

/// The past of every instance of which a past value is asked for.
fn pasts(
    selected: &[Vec<Series>],
    looks: &[(Selector, Vec<Moments>)],
    facts: &Facts<'_>,
) -> Result<Pasts, Fault> {
    let is_past = |moments: &Moments| moments.start < facts.report.evaluated_at;
    let of_past = selected.iter().zip(looks).filter(|(_, (_, moments))| moments.iter().any(is_past));
    let origins = of_past.flat_map(|(series, _)| series.iter().filter_map(|series| series.past.as_ref()));
    let mut places: Vec<usize> = origins.map(|Origin { place, .. }| *place).collect();
    places.sort_unstable();
    places.dedup();
    if places.len() > HISTORIES_MAX {
        return Err(Fault::execution(format!(
            "the query asks for the past of {} SLOs and groups, the limit is {HISTORIES_MAX}; select fewer",
            places.len()
        )));
    }
    let mut pasts = Pasts::new();
    for some in places.chunks(COPIED_AT_ONCE) {
        let copied = (facts.copied)(facts.report.roster(), some).map_err(Fault::unavailable)?;
        pasts.extend(some.iter().copied().zip(copied.into_iter().map(Past::new)));
    }
    Ok(pasts)
}
