//! The log: the bodies of accepted requests, in the order in which they counted.
//!
//! A request is acknowledged once its body is in the log, so that after a crash everything acknowledged counts again:
//! by the state that is known as of a sequence, and the records from there on. The log does not know what bodies say,
//! and never reads what it wrote but at start.
//!
//! ```text
//! log/00000000000000000000.log   closed: synced, cut to its length
//! log/00000000000000001313.log   newest: reserved to its full length, written at its end
//!
//! segment   "slodlog\n" · format · 0 · first sequence · follows · created · checksum                           48 bytes
//! record    "rec" · version · body bytes · sequence · arrived · epoch · unacknowledged · checksum · checksum   44 bytes
//!           body as received
//! ```
//!
//! `docs/format/log.md` has every byte, and what becomes of each kind of damage.
//!
//! Requests append to a queue in memory and wait. One thread writes all that is queued at once, syncs it, and tells
//! them ([`Log::write_queued`]): while the disk syncs for some, the next gather. After a write or sync that failed,
//! nothing is known of the segment's end. It is left as it is, everyone who waits is told, requests are refused, and
//! the log goes on in a new segment as soon as there can be one.
//!
//! The invariant: with [`Durability::Sync`] a ticket that says so is in a file that was synced, under a name that was
//! synced, and stays there until [`Log::release`] says that a checkpoint covers it.
//!
//! Sketch per record of 50 KB: checksum and two copies at some 5 GB/s each, 30 µs; the sync is shared. Measured on two
//! cores: 25 µs from `append` to its ticket without a sync, 5 ms with one; read again at 3 GB/s.

mod errors;
mod format;
mod recovery;
mod segment;
mod segments;
mod ticket;
mod writer;

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{prompb::Version, storage::disk::Disk, telemetry::LogMetrics, time::Timestamp};

pub use errors::{LogError, OpenError, Refusal};
pub use recovery::{Finding, Recovery, Report, Segment, check};
use ticket::Done;
pub use ticket::Ticket;
use writer::Writer;

/// The place of a record in the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// An accepted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it arrived.
    pub arrived: Timestamp,
    /// The version of the protocol.
    pub version: Version,
    /// Of the replica that sent it; 0 where there are no elections.
    pub epoch: u32,
    /// As received, compressed.
    pub body: Bytes,
}

/// An entry in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub sequence: Sequence,
    /// What was appended.
    pub entry: Entry,
}

/// When a request is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is synced: it survives the loss of power.
    #[default]
    Sync,
    /// Once it is written: it survives the end of the process, and the loss of power after `sync_interval`.
    Interval,
    /// Once it is queued: what is written shortly after survives the end of the process.
    None,
}

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// When a request is acknowledged.
    pub durability: Durability,
    /// How often [`Durability::Interval`] syncs.
    pub sync_interval: Duration,
    /// How large a segment becomes before the next one begins. A larger record has one for itself.
    pub segment_bytes: u64,
    /// Bytes of bodies that may wait to be written. Requests that come then are refused.
    pub queue_bytes_max: usize,
    /// How long records are kept that a checkpoint covers.
    pub retention: Duration,
    /// Bytes of segments up to which those are kept. What no checkpoint covers is kept in any case.
    pub size_max: u64,
    /// Free bytes on the disk below which no covered record is kept, and requests are refused.
    pub free_bytes_min: u64,
}

/// The log. Requests, the thread that writes and checkpoints share it.
#[derive(Debug)]
pub struct Log {
    queue: Mutex<Queue>,
    /// Notified when something is queued, and to stop.
    queued: Condvar,
    /// Held while files are written. Taken before `queue`.
    writer: Mutex<Writer>,
    /// The longest wait between two looks at what is due.
    pause: Duration,
    config: Config,
    metrics: LogMetrics,
}

/// What waits to be written, and what requests are told.
#[derive(Debug)]
struct Queue {
    /// The last of `entries` has the sequence before this one.
    next: Sequence,
    entries: Vec<Queued>,
    /// Of these bodies, and of those being written.
    bytes: usize,
    /// Everything before is covered by a checkpoint.
    covered: Sequence,
    refusal: Option<Refusal>,
    stopping: bool,
}

#[derive(Debug)]
struct Queued {
    entry: Entry,
    done: Done,
}

/// What a round of writing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// Records that were queued.
    pub records: usize,
    /// Whether they are in the log now. If not, whoever waits for them was told so.
    pub succeeded: bool,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            // What a power cut costs at most; a disk that does nothing else is synced in a hundredth of that.
            sync_interval: Duration::from_secs(1),
            // Two minutes of 20,000 samples a second: few files, and little that a checkpoint leaves behind.
            segment_bytes: 64 << 20,
            // A second of a disk that takes 64 MB/s.
            queue_bytes_max: 64 << 20,
            // A day of 100,000 series at 30 s takes 7 GB.
            retention: Duration::from_secs(86_400),
            size_max: 8 << 30,
            // What the queue still holds, the segment after that, and twice that for a checkpoint, which is what
            // frees segments.
            free_bytes_min: 256 << 20,
        }
    }
}

// === impl Log ===

// How often the free space and the age of segments are looked at.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

impl Log {
    /// Opens the log in `log/` for appending behind what is there, and for reading from `position` on: the state
    /// covers everything before. Nothing is written yet.
    ///
    /// # Errors
    /// When files cannot be read, or are none of a log's that this version knows.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: Config,
        position: Sequence,
        metrics: LogMetrics,
    ) -> Result<(Self, Recovery), OpenError> {
        let recovery = Recovery::open(Arc::clone(&disk), position)?;
        // A log that is not synced may have lost records that the state knows: their sequences are not given twice.
        let next = recovery.end().max(position);
        let queue =
            Queue { next, entries: Vec::new(), bytes: 0, covered: position, refusal: None, stopping: false };
        let log = Self {
            queue: Mutex::new(queue),
            queued: Condvar::new(),
            writer: Mutex::new(Writer::new(disk, config.clone(), &recovery, metrics.clone())),
            pause: config.sync_interval.min(HOUSEKEEPING_INTERVAL),
            config,
            metrics,
        };
        log.metrics.accepting.set(1);
        log.metrics.next.set(next.0 as i64);
        Ok((log, recovery))
    }

    /// Whether a request may count: asked before it does, because it is to be acknowledged after.
    ///
    /// # Errors
    /// When it would not get into the log.
    pub fn accepts(&self) -> Result<(), Refusal> {
        let queue = self.queue.lock();
        let (bytes, limit) = (queue.bytes, self.config.queue_bytes_max);
        match &queue.refusal {
            Some(refusal) => Err(refusal.clone()),
            None if bytes >= limit => Err(Refusal::QueueFull { bytes, limit }),
            None => Ok(()),
        }
    }

    /// Appends an entry, in memory: the order of calls is that of the log.
    pub fn append(&self, entry: Entry) -> Ticket {
        let bytes = entry.body.len();
        if u32::try_from(bytes).is_err() {
            return Ticket::resolved(Err(LogError::TooLarge(bytes)));
        }
        let (done, ticket) = ticket::pair(self.config.durability);
        let mut queue = self.queue.lock();
        if queue.refusal == Some(Refusal::Closed) {
            return Ticket::resolved(Err(LogError::Closed));
        }
        queue.entries.push(Queued { entry, done });
        queue.next.0 += 1;
        queue.bytes += bytes;
        self.metrics.queue.set(queue.bytes as i64);
        self.metrics.next.set(queue.next.0 as i64);
        drop(queue);
        self.queued.notify_one();
        ticket
    }

    /// The sequence of the record that is appended next.
    pub fn next(&self) -> Sequence {
        self.queue.lock().next
    }

    /// Notes that a checkpoint covers every record before this one. Their segments go at a later round of writing,
    /// as retention and size allow.
    pub fn release(&self, below: Sequence) {
        let mut queue = self.queue.lock();
        queue.covered = queue.covered.max(below);
    }

    /// One round of writing: writes what is queued, syncs if that is due, and tells whoever waits. Without anything
    /// queued it does what is due at this time: to sync, to open a segment after a failure, to remove old ones.
    pub fn write_queued(&self, now: Timestamp) -> Wrote {
        let mut writer = self.writer.lock();
        let mut queue = self.queue.lock();
        let (queued, covered) = (mem::take(&mut queue.entries), queue.covered);
        let first = Sequence(queue.next.0 - queued.len() as u64);
        drop(queue);
        let result = writer.write(first, &queued, covered, now);
        self.tell(queued, result, writer.refusal())
    }

    /// Rounds of writing until [`Log::stop`]: the work of a thread. `elapsed` is steady time.
    pub fn run(&self, now: impl Fn() -> Timestamp, elapsed: impl Fn() -> Duration) {
        while self.wait() {
            let start = elapsed();
            if self.write_queued(now()).records > 0 {
                self.metrics.commit_duration.record(elapsed().saturating_sub(start));
            }
        }
    }

    /// Ends [`Log::run`]. What is queued then is for [`Log::close`].
    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.queued.notify_all();
    }

    /// Accepts nothing more, writes and syncs what is left, and cuts the segment to its length.
    ///
    /// # Errors
    /// When not everything is known to be in the log.
    pub fn close(&self, now: Timestamp) -> Result<(), LogError> {
        self.queue.lock().refusal = Some(Refusal::Closed);
        self.metrics.accepting.set(0);
        self.write_queued(now);
        self.writer.lock().close().map_err(LogError::Failed)
    }

    /// Waits until there may be something to do. False once it is to stop.
    fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        if queue.entries.is_empty() && !queue.stopping {
            self.queued.wait_for(&mut queue, self.pause);
        }
        !queue.stopping
    }

    fn tell(&self, queued: Vec<Queued>, result: Result<(), Arc<str>>, refusal: Option<Refusal>) -> Wrote {
        let bytes: usize = queued.iter().map(|queued| queued.entry.body.len()).sum();
        let mut queue = self.queue.lock();
        queue.bytes -= bytes;
        self.metrics.queue.set(queue.bytes as i64);
        if queue.refusal != Some(Refusal::Closed) {
            self.metrics.accepting.set(i64::from(refusal.is_none()));
            queue.refusal = refusal;
        }
        drop(queue);
        let wrote = Wrote { records: queued.len(), succeeded: result.is_ok() };
        let result = result.map_err(LogError::Failed);
        for queued in queued {
            queued.done.resolve(&result);
        }
        wrote
    }
}
