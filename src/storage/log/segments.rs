//! Which segments there are, and which of them may go.
//!
//! The invariant: the newest segment stays, and so does every one with a record that no checkpoint covers.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use super::{
    Config, Sequence,
    recovery::Segment,
    segment::{DIRECTORY, name_of},
};
use crate::{storage::disk::Disk, telemetry::LogMetrics, time::Timestamp};

/// The segments on the disk, oldest first.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    kept: VecDeque<Segment>,
    retention: Duration,
    size_max: u64,
    metrics: LogMetrics,
    /// Everything before is covered by a checkpoint.
    covered: Sequence,
    /// Whether it was told that too much is not covered.
    is_too_large: bool,
}

// === impl Segments ===

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>, config: &Config, kept: &[Segment], metrics: LogMetrics) -> Self {
        Self {
            disk,
            kept: kept.iter().copied().collect(),
            retention: config.retention,
            size_max: config.size_max,
            metrics,
            covered: Sequence(0),
            is_too_large: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn newest(&mut self) -> Option<&mut Segment> {
        self.kept.back_mut()
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.kept.push_back(segment);
    }

    /// Removes the newest one, in which nothing was acknowledged.
    pub(super) fn remove_newest(&mut self) -> io::Result<()> {
        let Some(newest) = self.kept.back() else { return Ok(()) };
        remove(&*self.disk, newest)?;
        self.kept.pop_back();
        Ok(())
    }

    /// Notes what a checkpoint covers, and removes what is too old or too much of that.
    pub(super) fn prune(&mut self, covered: Sequence, now: Timestamp) {
        self.covered = covered;
        let mut size = self.size();
        self.remove_while(|segments, oldest| {
            let is_too_much = size > segments.size_max;
            size -= oldest.bytes;
            is_too_much || segments.is_old(now)
        });
        self.publish();
    }

    /// Removes everything that is covered. True if there was anything.
    pub(super) fn free(&mut self) -> bool {
        let removed = self.remove_while(|_, _| true);
        self.publish();
        removed > 0
    }

    /// Removes the oldest segments as long as they are covered and `is_due`.
    fn remove_while(&mut self, mut is_due: impl FnMut(&Self, &Segment) -> bool) -> usize {
        let before = self.kept.len();
        while let Some(oldest) = self.oldest_covered()
            && is_due(self, &oldest)
        {
            if let Err(error) = remove(&*self.disk, &oldest) {
                self.note_failure("remove", &error);
                break;
            }
            self.kept.pop_front();
        }
        let removed = before - self.kept.len();
        if removed > 0
            && let Err(error) = self.disk.sync_directory(DIRECTORY)
        {
            // They may come back after a power cut: then they are covered and go again.
            self.note_failure("sync_directory", &error);
        }
        removed
    }

    /// The oldest segment, if everything in it is covered and it is not the newest.
    fn oldest_covered(&self) -> Option<Segment> {
        let next = self.kept.get(1)?;
        if next.first <= self.covered { self.kept.front().copied() } else { None }
    }

    /// Whether everything in the oldest segment arrived longer ago than records are kept.
    fn is_old(&self, now: Timestamp) -> bool {
        let arrived_by = self.kept.get(1).and_then(|next| next.created);
        arrived_by.is_none_or(|arrived_by| now.since(arrived_by) >= self.retention)
    }

    fn size(&self) -> u64 {
        self.kept.iter().map(|segment| segment.bytes).sum()
    }

    fn uncovered(&self) -> u64 {
        let covered = self.kept.partition_point(|segment| segment.first <= self.covered).saturating_sub(1);
        self.kept.iter().skip(covered).map(|segment| segment.bytes).sum()
    }

    /// Shows what there is.
    pub(super) fn publish(&mut self) {
        let uncovered = self.uncovered();
        self.metrics.segments.set(self.kept.len() as i64);
        self.metrics.size.set(self.size() as i64);
        self.metrics.uncovered.set(uncovered as i64);
        self.metrics.oldest.set(self.kept.front().map_or(0, |oldest| oldest.first.0 as i64));
        let is_too_large = uncovered > self.size_max;
        if is_too_large && !self.is_too_large {
            let limit = self.size_max;
            tracing::warn!(
                uncovered,
                limit,
                "the log is larger than it should be, because checkpoints do not cover it; it is kept"
            );
        }
        self.is_too_large = is_too_large;
    }

    fn note_failure(&self, operation: &str, error: &io::Error) {
        self.metrics.failures.with_label_values(&[operation]).inc();
        tracing::warn!(%error, "cannot remove segments of the log that are not needed any more; trying again");
    }
}

fn remove(disk: &dyn Disk, segment: &Segment) -> io::Result<()> {
    match disk.remove(&name_of(segment.first)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
