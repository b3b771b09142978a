//! What ingest knows as messages of `proto/state_counter.proto`.
//!
//! Series are stored by the hundred thousand, so they come in blocks of columns: neighbours in the table came in one
//! request, and have times in common. In a block of a thousand a series takes less than 30 bytes, of which 16 are its key;
//! measured once: 22 bytes, 27 ns to encode and 17 to decode.
//!
//! What is read here has the right form. Whether a counter makes sense is for `counter` and `histogram` to say.

use prost::Message;

use super::{
    DecodeError,
    columns::{
        Places, differences, from_numbers, from_sparse, numbers, or_never, sparse, sums, unless_never,
    },
    content, generated as wire,
};
use crate::{
    counter::CounterState,
    histogram::{DistributionState, HistogramSampleState, HistogramState, ScaleState},
    ingest::{
        ExtraState, SeriesState,
        ha::{ElectedState, ElectionsState},
    },
    time::Timestamp,
};

const KEY_BYTES: usize = size_of::<u128>();

// === series ===

/// Series, best in the order in which they were met.
pub fn encode_series(series: &[SeriesState]) -> Vec<u8> {
    let counters = || series.iter().map(|of| &of.counter);
    wire::SeriesBlock {
        keys: keys(series),
        last_at_ms: differences(counters().map(|counter| or_never(counter.last_at))),
        last_values: Some(numbers(counters().map(|counter| counter.last_value))),
        starts: sparse(counters().map(|counter| counter.start)),
        ends: sparse(counters().map(|counter| counter.ended_at)),
        last_arrival_ms: differences(series.iter().map(|of| of.last_arrival.0)),
        replica_epochs: differences(series.iter().map(|of| of.replica_epoch.into())),
        extras: extras(series),
    }
    .encode_to_vec()
}

/// What [`encode_series`] made.
///
/// # Errors
/// When it is none.
pub fn decode_series(bytes: &[u8]) -> Result<Vec<SeriesState>, DecodeError> {
    let block = wire::SeriesBlock::decode(bytes)?;
    let (keys, rest) = block.keys.as_chunks::<KEY_BYTES>();
    if !rest.is_empty() {
        return content(format!("{} bytes of keys, which have {KEY_BYTES} each", block.keys.len()));
    }
    let rows = keys.len();
    let last_at = sums(block.last_at_ms, rows)?;
    let last_values = from_numbers(&block.last_values.unwrap_or_default(), rows)?;
    let last_arrival = sums(block.last_arrival_ms, rows)?;
    let replica_epochs = sums(block.replica_epochs, rows)?;
    let row = |row: usize| SeriesState {
        key: u128::from_le_bytes(keys[row]),
        counter: CounterState {
            last_at: unless_never(last_at[row]),
            last_value: last_values[row],
            ..CounterState::default()
        },
        last_arrival: Timestamp(last_arrival[row]),
        // Every number that was one of an election is in reach of it.
        replica_epoch: replica_epochs[row] as u32,
        extra: None,
    };
    let mut series: Vec<SeriesState> = (0..rows).map(row).collect();
    from_sparse(block.starts, rows, |row, at| series[row].counter.start = Some(at))?;
    from_sparse(block.ends, rows, |row, at| series[row].counter.ended_at = Some(at))?;
    let mut places = Places::default();
    for extra in block.extras {
        let row = places.next(extra.gap, rows)?;
        series[row].extra = Some(Box::new(from_extra(extra)?));
    }
    Ok(series)
}

fn keys(series: &[SeriesState]) -> Vec<u8> {
    let mut keys = Vec::with_capacity(series.len() * KEY_BYTES);
    series.iter().for_each(|of| keys.extend_from_slice(&of.key.to_le_bytes()));
    keys
}

fn extras(series: &[SeriesState]) -> Vec<wire::ExtraOfSeries> {
    let mut gap = 0;
    let of = |of: &SeriesState| match of.extra.as_deref() {
        Some(ExtraState { gauge, histogram: of }) => {
            let gap = std::mem::take(&mut gap);
            let gauge = Some(counter(gauge));
            let histogram = (*of != HistogramState::default()).then(|| histogram(of));
            Some(wire::ExtraOfSeries { gap, gauge, histogram })
        }
        None => {
            gap += 1;
            None
        }
    };
    series.iter().filter_map(of).collect()
}

fn from_extra(extra: wire::ExtraOfSeries) -> Result<ExtraState, DecodeError> {
    let gauge = extra.gauge.map_or_else(CounterState::default, from_counter);
    let histogram = extra.histogram.map(from_histogram).transpose()?;
    Ok(ExtraState { gauge, histogram: histogram.unwrap_or_default() })
}

fn counter(counter: &CounterState) -> wire::CounterOfSeries {
    let ms = |at: Option<Timestamp>| at.map(|at| at.0);
    wire::CounterOfSeries {
        last_at_ms: ms(counter.last_at),
        last_value: Some(counter.last_value),
        start_ms: ms(counter.start),
        ended_at_ms: ms(counter.ended_at),
    }
}

fn from_counter(counter: wire::CounterOfSeries) -> CounterState {
    CounterState {
        last_at: counter.last_at_ms.map(Timestamp),
        last_value: counter.last_value.unwrap_or_default(),
        start: counter.start_ms.map(Timestamp),
        ended_at: counter.ended_at_ms.map(Timestamp),
    }
}

// === native histograms ===

fn histogram(of: &HistogramState) -> wire::HistogramOfSeries {
    let last = of.last.as_ref().map(|last| wire::HistogramSample {
        at_ms: last.at.0,
        started_at_ms: last.started_at.map(|at| at.0),
        sent_schema: last.sent_schema.map(i32::from),
        observed: last.observed.as_ref().map(observed),
    });
    wire::HistogramOfSeries { last, ended_at_ms: of.ended_at.map(|at| at.0) }
}

fn from_histogram(of: wire::HistogramOfSeries) -> Result<HistogramState, DecodeError> {
    let last = of.last.map(from_sample).transpose()?;
    Ok(HistogramState { last, ended_at: of.ended_at_ms.map(Timestamp) })
}

fn from_sample(sample: wire::HistogramSample) -> Result<HistogramSampleState, DecodeError> {
    Ok(HistogramSampleState {
        at: Timestamp(sample.at_ms),
        started_at: sample.started_at_ms.map(Timestamp),
        sent_schema: sample.sent_schema.map(schema).transpose()?,
        observed: sample.observed.map(from_observed).transpose()?,
    })
}

fn observed(of: &DistributionState) -> wire::Observed {
    let (schema, custom_bounds) = match &of.scale {
        ScaleState::Exponential(schema) => (Some(i32::from(*schema)), Vec::new()),
        ScaleState::Custom(bounds) => (None, bounds.clone()),
    };
    wire::Observed {
        count: Some(of.count),
        sum: Some(of.sum),
        schema,
        custom_bounds,
        zero_threshold: Some(of.zero_threshold),
        zero_count: Some(of.zero_count),
        negative: buckets(&of.negative),
        positive: buckets(&of.positive),
    }
}

fn from_observed(of: wire::Observed) -> Result<DistributionState, DecodeError> {
    Ok(DistributionState {
        count: of.count.unwrap_or_default(),
        sum: of.sum.unwrap_or_default(),
        scale: match of.schema {
            Some(exponential) => ScaleState::Exponential(schema(exponential)?),
            None => ScaleState::Custom(of.custom_bounds),
        },
        zero_threshold: of.zero_threshold.unwrap_or_default(),
        zero_count: of.zero_count.unwrap_or_default(),
        negative: from_buckets(of.negative)?,
        positive: from_buckets(of.positive)?,
    })
}

fn schema(schema: i32) -> Result<i8, DecodeError> {
    schema.try_into().or_else(|_| content(format!("schema {schema} of a histogram")))
}

fn buckets(buckets: &[(i32, f64)]) -> Option<wire::Buckets> {
    let mut before = 0_i32;
    let difference = |(index, _): &(i32, f64)| index.wrapping_sub(std::mem::replace(&mut before, *index));
    let indexes = buckets.iter().map(difference).collect();
    let counts = Some(numbers(buckets.iter().map(|(_, count)| *count)));
    (!buckets.is_empty()).then_some(wire::Buckets { indexes, counts })
}

fn from_buckets(buckets: Option<wire::Buckets>) -> Result<Vec<(i32, f64)>, DecodeError> {
    let Some(wire::Buckets { indexes, counts }) = buckets else { return Ok(Vec::new()) };
    let counts = from_numbers(&counts.unwrap_or_default(), indexes.len())?;
    let mut index = 0_i32;
    let sum = |difference: i32| {
        index = index.wrapping_add(difference);
        index
    };
    Ok(indexes.into_iter().map(sum).zip(counts).collect())
}

// === elections ===

/// Who is elected.
pub fn encode_elections(elections: &ElectionsState) -> Vec<u8> {
    let elected = |of: &ElectedState| wire::Elected {
        cluster: of.cluster.clone(),
        replica: of.replica.clone(),
        epoch: of.epoch,
        heard_ms: of.heard.0,
    };
    let clusters = elections.clusters.iter().map(elected).collect();
    wire::Elections { elections: elections.elections, clusters }.encode_to_vec()
}

/// What [`encode_elections`] made.
///
/// # Errors
/// When it is none.
pub fn decode_elections(bytes: &[u8]) -> Result<ElectionsState, DecodeError> {
    let wire::Elections { elections, clusters } = wire::Elections::decode(bytes)?;
    let elected = |of: wire::Elected| {
        let wire::Elected { cluster, replica, epoch, heard_ms } = of;
        ElectedState { cluster, replica, epoch, heard: Timestamp(heard_ms) }
    };
    Ok(ElectionsState { elections, clusters: clusters.into_iter().map(elected).collect() })
}

#[cfg(test)]
mod tests;
