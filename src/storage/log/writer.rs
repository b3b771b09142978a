//! Writes records to the newest segment, and begins a new one when that is full or its end is unknown.
//!
//! The invariant: bytes are only written behind bytes that are known to be there. After a failure there is no segment
//! to write to until another one was made, whose header says which records were given up.

use std::{io, sync::Arc, time::Duration};

use super::{
    Config, Durability, HOUSEKEEPING_INTERVAL, Queued, Recovery, Refusal, Sequence,
    format::{self, SegmentHeader},
    recovery::Segment,
    segment::{DIRECTORY, name_of},
    segments::Segments,
};
use crate::{
    storage::disk::{Disk, DiskFile},
    telemetry::LogMetrics,
    time::Timestamp,
};

/// The end of the log.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    config: Config,
    metrics: LogMetrics,
    segments: Segments,
    /// `None` at first and after a failure.
    current: Option<Current>,
    outage: Option<Outage>,
    /// Free bytes, if they are too few.
    low_space: Option<u64>,
    space_checked: Option<Timestamp>,
    synced: Option<Timestamp>,
    /// The sequence behind the last acknowledged record.
    acknowledged: Sequence,
    /// Records on their way into the current segment.
    buffer: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
struct Current {
    file: Arc<dyn DiskFile>,
    written: u64,
    is_synced: bool,
}

/// A time without a segment to write to.
#[derive(Debug)]
struct Outage {
    reason: Arc<str>,
    failed: Timestamp,
    /// How long after that it is tried again.
    delay: Duration,
}

/// An operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {error}")]
struct Failure {
    operation: &'static str,
    error: io::Error,
}

// What 80 requests of 50 KB are: larger writes are no faster.
const WRITE_BYTES: usize = 4 << 20;
// A disk that comes back is noticed soon, and one that does not is not asked often.
const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

// === impl Writer ===

impl Writer {
    pub(super) fn new(disk: Arc<dyn Disk>, config: Config, recovery: &Recovery, metrics: LogMetrics) -> Self {
        let mut segments = Segments::new(Arc::clone(&disk), &config, recovery.on_disk(), metrics.clone());
        segments.publish();
        let writer = Self {
            disk,
            config,
            metrics,
            segments,
            current: None,
            outage: None,
            low_space: None,
            space_checked: None,
            synced: None,
            acknowledged: recovery.solid_end(),
            buffer: Vec::new(),
        };
        for segment in recovery.unsettled() {
            if let Err(failure) = writer.settle(segment) {
                writer.count_failure(&failure);
            }
        }
        writer
    }

    /// Syncs what the process before wrote to a segment, since what comes now builds on it, and gives back what it
    /// reserved and did not use.
    fn settle(&self, segment: &Segment) -> Result<(), Failure> {
        let file = self.disk.open(&name_of(segment.first)).map_err(failed("open"))?;
        file.set_len(segment.bytes).map_err(failed("cut"))?;
        file.sync_data().map_err(failed("sync"))?;
        self.disk.sync_directory(DIRECTORY).map_err(failed("sync_directory"))
    }

    /// Why requests should be refused, if they should.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let limit = self.config.free_bytes_min;
        match &self.outage {
            Some(outage) => Some(Refusal::Failed { reason: Arc::clone(&outage.reason) }),
            None => self.low_space.map(|free| Refusal::DiskFull { free, limit }),
        }
    }

    /// Writes these entries, the first of which has the sequence `first`, and does what is due.
    pub(super) fn write(
        &mut self,
        first: Sequence,
        entries: &[Queued],
        covered: Sequence,
        now: Timestamp,
    ) -> Result<(), Arc<str>> {
        self.segments.prune(covered, now);
        self.check_space(now);
        if let Some(outage) = &self.outage
            && !is_due(Some(outage.failed), outage.delay, now)
        {
            return Err(Arc::clone(&outage.reason));
        }
        match self.try_write(first, entries, now) {
            Ok(()) => self.note_success(),
            Err(failure) => return Err(self.note_failure(&failure, now)),
        }
        Ok(())
    }

    /// Ends the current segment.
    pub(super) fn close(&mut self) -> Result<(), Arc<str>> {
        if let Some(outage) = &self.outage {
            return Err(Arc::clone(&outage.reason));
        }
        self.close_segment().map_err(|failure| failure.to_string().into())
    }

    fn try_write(&mut self, first: Sequence, entries: &[Queued], now: Timestamp) -> Result<(), Failure> {
        if self.current.is_none() && (self.outage.is_some() || !entries.is_empty()) {
            self.open_segment(first, self.acknowledged, now)?;
        }
        for (sequence, queued) in (first.0..).map(Sequence).zip(entries) {
            self.push(sequence, queued, (sequence.0 - first.0) as usize, now)?;
        }
        self.flush()?;
        if self.sync_is_due(now) {
            self.sync()?;
            self.synced = Some(now);
        }
        if self.current.is_some() {
            self.acknowledged = Sequence(first.0 + entries.len() as u64);
        }
        self.buffer.shrink_to(WRITE_BYTES);
        self.metrics.records.inc_by(entries.len() as u64);
        Ok(())
    }

    fn push(
        &mut self,
        sequence: Sequence,
        queued: &Queued,
        unacknowledged: usize,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if self.is_full(format::record_bytes(&queued.entry.body)) {
            self.close_segment()?;
            self.open_segment(sequence, sequence, now)?;
        }
        format::encode_record(sequence, &queued.entry, unacknowledged, &mut self.buffer);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Whether the current segment has no room for so many bytes more. It has for a first record of any length.
    fn is_full(&self, more: u64) -> bool {
        let used = self.current.as_ref().map_or(0, |current| current.written) + self.buffer.len() as u64;
        used > format::SEGMENT_HEADER_BYTES as u64 && used + more > self.config.segment_bytes
    }

    /// Writes what is in the buffer.
    fn flush(&mut self) -> Result<(), Failure> {
        let (Some(current), false) = (&mut self.current, self.buffer.is_empty()) else { return Ok(()) };
        let (file, at) = (&current.file, current.written);
        let result = with_space(&mut self.segments, || file.write_all_at(&self.buffer, at));
        result.map_err(failed("write"))?;
        current.written += self.buffer.len() as u64;
        current.is_synced = false;
        self.metrics.bytes.inc_by(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    fn sync_is_due(&self, now: Timestamp) -> bool {
        match self.config.durability {
            Durability::Sync => true,
            Durability::Interval => is_due(self.synced, self.config.sync_interval, now),
            Durability::None => false,
        }
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let Some(current) = self.current.as_mut().filter(|current| !current.is_synced) else { return Ok(()) };
        current.file.sync_data().map_err(failed("sync"))?;
        current.is_synced = true;
        self.metrics.syncs.inc();
        Ok(())
    }

    /// Begins a segment. What lies between `follows` and `first` was given up.
    fn open_segment(&mut self, first: Sequence, follows: Sequence, now: Timestamp) -> Result<(), Failure> {
        let name = name_of(first);
        // One that was made in vain: in this process, since others leave names that are taken alone.
        if self.segments.newest().is_some_and(|newest| newest.first == first) {
            self.segments.remove_newest().map_err(failed("remove"))?;
        }
        let is_first = self.segments.is_empty();
        let file = self.disk.create(&name).map_err(failed("create"))?;
        let bytes = self.config.segment_bytes;
        self.segments.push(Segment { first, follows, created: Some(now), bytes, is_begun: true });
        with_space(&mut self.segments, || file.allocate(bytes)).map_err(failed("allocate"))?;
        let header = SegmentHeader { first, follows, created: now }.encode();
        file.write_all_at(&header, 0).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        self.disk.sync_directory(DIRECTORY).map_err(failed("sync_directory"))?;
        if is_first {
            // The name of the directory itself.
            self.disk.sync_directory("").map_err(failed("sync_directory"))?;
        }
        self.current = Some(Current { file, written: header.len() as u64, is_synced: true });
        Ok(())
    }

    /// Writes and syncs what is left, in every mode, and gives back what was reserved and not used.
    fn close_segment(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.sync()?;
        let Some(current) = self.current.take() else { return Ok(()) };
        if let Some(newest) = self.segments.newest() {
            newest.bytes = current.written;
        }
        if let Err(error) = current.file.set_len(current.written) {
            // The records are safe all the same.
            self.count_failure(&Failure { operation: "cut", error });
        }
        Ok(())
    }

    /// Once a second looks at how much is free, and frees what may be if it is too little.
    fn check_space(&mut self, now: Timestamp) {
        if !is_due(self.space_checked, HOUSEKEEPING_INTERVAL, now) {
            return;
        }
        self.space_checked = Some(now);
        let mut low = self.low_space();
        if low.is_some() && self.segments.free() {
            low = self.low_space();
        }
        self.note_space(low);
    }

    fn low_space(&self) -> Option<u64> {
        match self.disk.free_bytes() {
            Ok(free) => (free < self.config.free_bytes_min).then_some(free),
            Err(error) => {
                self.count_failure(&Failure { operation: "free_space", error });
                None
            }
        }
    }

    fn note_space(&mut self, low: Option<u64>) {
        let limit = self.config.free_bytes_min;
        match (self.low_space, low) {
            (None, Some(free)) => tracing::error!(
                free,
                limit,
                "the disk of storage.path is nearly full: write requests are answered 503 until there is space"
            ),
            (Some(_), None) => tracing::info!("the disk of storage.path has space again"),
            _ => (),
        }
        self.low_space = low;
    }

    fn note_success(&mut self) {
        if self.outage.take().is_some() {
            tracing::info!("the log is written again, in a new segment; write requests are accepted");
        }
    }

    /// Gives up the current segment, and what of this round is in it.
    fn note_failure(&mut self, failure: &Failure, now: Timestamp) -> Arc<str> {
        self.current = None;
        self.buffer.clear();
        self.count_failure(failure);
        let reason: Arc<str> = failure.to_string().into();
        let delay = match &self.outage {
            Some(outage) => (outage.delay * 2).min(RETRY_DELAY_MAX),
            None => {
                tracing::error!(
                    operation = failure.operation,
                    error = %failure.error,
                    "cannot write the log: write requests are answered 503 and repeated by their senders until a new segment can be written; what was acknowledged is kept, evaluation goes on"
                );
                RETRY_DELAY_MIN
            }
        };
        self.outage = Some(Outage { reason: Arc::clone(&reason), failed: now, delay });
        reason
    }

    fn count_failure(&self, failure: &Failure) {
        self.metrics.failures.with_label_values(&[failure.operation]).inc();
    }
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure { operation, error }
}

/// Does it again if the disk was full, and something on it is not needed.
fn with_space(segments: &mut Segments, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    match attempt() {
        Err(error) if is_full(&error) && segments.free() => attempt(),
        result => result,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether something is to be done that was done `last`. After a clock that was set back it is.
fn is_due(last: Option<Timestamp>, interval: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| now < last || now.since(last) >= interval)
}
