//! History from slod's own log: the requests that it accepted.

use std::{path::Path, sync::Arc};

use foldhash::{HashMap, fast::RandomState};

use super::{Progress, Range};
use crate::{
    backtest::{Backtest, TrackId},
    history::Sample,
    labels::{Labels, LabelsRef},
    prompb::{self, Request, Version},
    storage::{
        disk::{Disk, RealDisk},
        log::{Entry, Recovery, Sequence},
    },
    time::Timestamp,
};

/// The series of a log: by a hash of how a request spells them, the place of those that are wanted.
#[derive(Default)]
struct Reader {
    hasher: RandomState,
    request: Request,
    message: Vec<u8>,
    tracks: HashMap<(bool, u64), Option<TrackId>>,
    /// The same series may be spelled in several ways.
    known: HashMap<Labels, TrackId>,
    /// Requests that cannot be read.
    unreadable: u64,
}

// Larger requests were never accepted (limits.decoded_bytes_max).
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Adds the samples of a data directory's log to a replay. Returns what is to be complained of.
pub(super) fn read(
    directory: &Path,
    backtest: &mut Backtest,
    range: Range,
    progress: &Progress,
) -> anyhow::Result<Vec<String>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory));
    let mut records = Recovery::open(disk, Sequence(0))?;
    let Some(oldest) = records.oldest() else {
        anyhow::bail!("there is no log in {}; it is the directory of storage.path", directory.display());
    };
    // What a checkpoint covers may be gone, and is not missed.
    records = Recovery::open(Arc::new(RealDisk::new(directory)), oldest)?;
    progress.reading(None);
    let mut reader = Reader::default();
    for record in &mut records {
        progress.bytes(record.entry.body.len() as u64);
        reader.add(&record.entry, backtest, range);
    }
    let mut complaints: Vec<String> = records.report().findings.iter().map(ToString::to_string).collect();
    if reader.unreadable > 0 {
        complaints.push(format!("{} requests of the log cannot be read", reader.unreadable));
    }
    Ok(complaints)
}

// === impl Reader ===

impl Reader {
    fn add(&mut self, entry: &Entry, backtest: &mut Backtest, range: Range) {
        let read = prompb::decompress(&entry.body, MESSAGE_BYTES_MAX, &mut self.message)
            .and_then(|()| self.request.read(entry.version, &self.message, &self.hasher));
        if read.is_err() {
            self.unreadable += 1;
            return;
        }
        let mut end = 0;
        for view in &self.request.series {
            let samples = &self.request.samples[end..view.samples_end as usize];
            end = view.samples_end as usize;
            let spelling = (entry.version == Version::V2, view.hash);
            let track = match self.tracks.get(&spelling) {
                Some(track) => *track,
                None => {
                    let mut pairs = Vec::new();
                    let labels = self.request.labels(&self.message, view, &mut pairs).is_ok();
                    let track = labels.then(|| open(&pairs, backtest, &mut self.known)).flatten();
                    self.tracks.insert(spelling, track);
                    track
                }
            };
            let Some(track) = track else { continue };
            for sample in samples {
                let at = Timestamp(sample.timestamp_ms);
                if at >= range.from && at <= range.to {
                    backtest.push(track, Sample { at, value: sample.value });
                }
            }
        }
    }
}

/// Where the samples of a series go; `None` if no SLO wants them.
fn open(
    pairs: &[prompb::RawLabel<'_>],
    backtest: &mut Backtest,
    known: &mut HashMap<Labels, TrackId>,
) -> Option<TrackId> {
    let text = |(name, value): &prompb::RawLabel<'_>| {
        Some((String::from_utf8(name.to_vec()).ok()?, String::from_utf8(value.to_vec()).ok()?))
    };
    let labels = Labels::new(pairs.iter().map(text).collect::<Option<Vec<_>>>()?).ok()?;
    if let Some(track) = known.get(&labels) {
        return Some(*track);
    }
    let mut sorted: Vec<(&str, &str)> = labels.iter().collect();
    if !backtest.wants(LabelsRef::new(&mut sorted).ok()?) {
        return None;
    }
    let track = backtest.open(&labels);
    known.insert(labels, track);
    Some(track)
}
