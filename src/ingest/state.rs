//! What is known of a series, as plain data that outlives the process.

use crate::{counter::CounterState, histogram::HistogramState, time::Timestamp};

/// A series that SLOs count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesState {
    /// A hash of its labels, the same in every process.
    pub key: u128,
    /// Its counter.
    pub counter: CounterState,
    /// When its last sample arrived.
    pub last_arrival: Timestamp,
    /// In which election won the replica that sent the last sample that counted; 0 if there was none.
    pub replica_epoch: u32,
    /// What few series have.
    pub extra: Option<Box<ExtraState>>,
}

/// What few series have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExtraState {
    /// As those see it that read a gauge, if others read a counter.
    pub gauge: CounterState,
    /// Its native histograms.
    pub histogram: HistogramState,
}
