//! What is known of steps as messages of `proto/state_sampling.proto`.
//!
//! The samples of late may be many, so they come in parts: each is a message of its own, and one that cannot be read
//! costs only what is in it.

use prost::Message;

use super::{
    DecodeError,
    columns::{from_numbers, label_pairs, labels, numbers},
    content, generated as wire,
};
use crate::{
    expression::Sample,
    sampling::{GroupState, PulledState, PullerState, RecordedState, SampledState, SamplerState},
    slo::SloId,
    time::Timestamp,
};

// With 5 bytes each a part takes 64 KiB and, if one series has that many samples, no more than twice that.
const SAMPLES_PER_PART: usize = 13_000;
// Series without samples have labels.
const SERIES_PER_PART: usize = 500;

// === sampled ===

/// The parts of a state, never none.
pub fn encode_sampler(state: &SamplerState) -> Vec<Vec<u8>> {
    let slos = state.slos.iter().map(sampled).collect();
    let head = wire::Sampling { at_ms: Some(state.at.0), slos, series: Vec::new() };
    let mut parts = vec![head.encode_to_vec()];
    let mut rest = &state.series[..];
    while !rest.is_empty() {
        let (part, after) = rest.split_at(series_of_part(rest));
        let series = part.iter().map(recorded).collect();
        parts.push(wire::Sampling { series, ..wire::Sampling::default() }.encode_to_vec());
        rest = after;
    }
    parts
}

/// Puts a part that [`encode_sampler`] made to those that were read before.
///
/// # Errors
/// When it is none; nothing of it is taken then.
pub fn decode_sampler(part: &[u8], state: &mut SamplerState) -> Result<(), DecodeError> {
    let wire::Sampling { at_ms, slos, series } = wire::Sampling::decode(part)?;
    let slos: Vec<SampledState> = slos.into_iter().map(from_sampled).collect::<Result<_, _>>()?;
    let series: Vec<RecordedState> = series.iter().map(from_recorded).collect::<Result<_, _>>()?;
    state.at = at_ms.map_or(state.at, Timestamp);
    state.slos.extend(slos);
    state.series.extend(series);
    Ok(())
}

/// How many series the next part has: at least one.
fn series_of_part(series: &[RecordedState]) -> usize {
    let mut samples = 0;
    let fits = |series: &&RecordedState| {
        samples += series.samples.len();
        samples <= SAMPLES_PER_PART
    };
    series.iter().take(SERIES_PER_PART).take_while(fits).count().max(1)
}

fn sampled(of: &SampledState) -> wire::SampledSlo {
    let slo = Some(asked(&of.id, &of.identity));
    wire::SampledSlo { slo, next_ms: of.next.map(|at| at.0), groups: groups(&of.groups) }
}

fn from_sampled(of: wire::SampledSlo) -> Result<SampledState, DecodeError> {
    let (id, identity) = from_asked(of.slo);
    Ok(SampledState { id, identity, next: of.next_ms.map(Timestamp), groups: from_groups(&of.groups)? })
}

// --- samples ---

fn recorded(of: &RecordedState) -> wire::RecordedSeries {
    let later = |pair: &[Sample]| pair[1].at.0.abs_diff(pair[0].at.0);
    wire::RecordedSeries {
        labels: label_pairs(&of.labels),
        last_at_ms: of.last_at.map(|at| at.0),
        first_at_ms: of.samples.first().map_or(0, |first| first.at.0),
        later_ms: of.samples.windows(2).map(later).collect(),
        values: Some(numbers(of.samples.iter().map(|sample| sample.value))),
    }
}

fn from_recorded(of: &wire::RecordedSeries) -> Result<RecordedState, DecodeError> {
    let values = of.values.clone().unwrap_or_default();
    let values = from_numbers(&values, values.codes.len())?;
    let times = times(of.first_at_ms, &of.later_ms)?;
    if times.len() != values.len().max(1) {
        return content(format!("{} values at {} times", values.len(), times.len()));
    }
    let samples = times.into_iter().zip(values).map(|(at, value)| Sample { at, value }).collect();
    Ok(RecordedState { labels: labels(&of.labels)?, last_at: of.last_at_ms.map(Timestamp), samples })
}

/// In their order: no two are the same.
fn times(first: i64, later: &[u64]) -> Result<Vec<Timestamp>, DecodeError> {
    let mut times = Vec::with_capacity(later.len() + 1);
    times.push(Timestamp(first));
    let mut last = first;
    for later in later {
        last = match last.checked_add_unsigned(*later) {
            Some(at) if at > last => at,
            _ => return content(format!("a sample {later} ms after one at {}", Timestamp(last))),
        };
        times.push(Timestamp(last));
    }
    Ok(times)
}

// === pulled ===

/// A state.
pub fn encode_puller(state: &PullerState) -> Vec<u8> {
    let slo = |of: &PulledState| wire::PulledSlo {
        slo: Some(asked(&of.id, &of.identity)),
        next_ms: of.next.0,
        is_seen: of.is_seen,
        groups: groups(&of.groups),
    };
    wire::Pulling { at_ms: state.at.0, slos: state.slos.iter().map(slo).collect() }.encode_to_vec()
}

/// What [`encode_puller`] made.
///
/// # Errors
/// When it is none.
pub fn decode_puller(bytes: &[u8]) -> Result<PullerState, DecodeError> {
    let wire::Pulling { at_ms, slos } = wire::Pulling::decode(bytes)?;
    let slo = |of: wire::PulledSlo| {
        let (id, identity) = from_asked(of.slo);
        let (next, groups) = (Timestamp(of.next_ms), from_groups(&of.groups)?);
        Ok(PulledState { id, identity, next, is_seen: of.is_seen, groups })
    };
    Ok(PullerState {
        at: Timestamp(at_ms),
        slos: slos.into_iter().map(slo).collect::<Result<_, DecodeError>>()?,
    })
}

// === both ===

fn asked(SloId { service, name }: &SloId, identity: &str) -> wire::SloAsked {
    wire::SloAsked { service: service.clone(), name: name.clone(), identity: identity.to_owned() }
}

fn from_asked(slo: Option<wire::SloAsked>) -> (SloId, String) {
    let wire::SloAsked { service, name, identity } = slo.unwrap_or_default();
    (SloId { service, name }, identity)
}

fn groups(groups: &[GroupState]) -> Vec<wire::SteppedGroup> {
    let group = |of: &GroupState| wire::SteppedGroup { labels: label_pairs(&of.labels), seen_ms: of.seen.0 };
    groups.iter().map(group).collect()
}

fn from_groups(groups: &[wire::SteppedGroup]) -> Result<Vec<GroupState>, DecodeError> {
    let group =
        |of: &wire::SteppedGroup| Ok(GroupState { labels: labels(&of.labels)?, seen: Timestamp(of.seen_ms) });
    groups.iter().map(group).collect()
}

#[cfg(test)]
mod tests;
