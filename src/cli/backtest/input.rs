//! Where history is read from.
//!
//! A new kind of history is a variant here: it adds what it has to the replay, and may have it advance in between.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{HistoryArgs, Progress, Range, complain};
use crate::{
    backtest::{Backtest, TrackId},
    history::{self, Format, Sample, Summary},
    labels::{Labels, LabelsRef},
};

/// History of a kind.
#[derive(Debug)]
pub(super) enum Input {
    /// A file, series by series: all of it is held before the replay begins.
    File { path: PathBuf, format: Format },
}

/// A reader that says how far it has come.
struct Counted<'a, R> {
    inner: R,
    progress: &'a Progress,
}

const BUFFER_BYTES: usize = 1 << 20;

// === impl Input ===

impl Input {
    pub(super) fn new(args: &HistoryArgs) -> anyhow::Result<Self> {
        match (&args.openmetrics, &args.tsdb_dump) {
            (Some(path), _) => Ok(Self::File { path: path.clone(), format: Format::OpenMetrics }),
            (_, Some(path)) => Ok(Self::File { path: path.clone(), format: Format::Dump }),
            (None, None) => anyhow::bail!("no history is given; see --openmetrics and its neighbours"),
        }
    }

    /// Adds what it has of a time to a replay.
    pub(super) fn read(
        self,
        backtest: &mut Backtest,
        range: Range,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        match self {
            Self::File { path, format } => {
                let summary = read_file(&path, format, backtest, range, progress)
                    .with_context(|| format!("cannot read history from {}", path.display()))?;
                complain_of(&summary, format);
                Ok(())
            }
        }
    }
}

fn read_file(
    path: &Path,
    format: Format,
    backtest: &mut Backtest,
    range: Range,
    progress: &Progress,
) -> anyhow::Result<Summary> {
    if path == Path::new("-") {
        progress.reading(None);
        return read(io::stdin().lock(), format, backtest, range, progress);
    }
    let file = File::open(path)?;
    progress.reading(file.metadata().ok().map(|metadata| metadata.len()));
    read(file, format, backtest, range, progress)
}

/// Reads what follows, and has what is wanted of it added.
pub(super) fn read(
    input: impl Read,
    format: Format,
    backtest: &mut Backtest,
    range: Range,
    progress: &Progress,
) -> anyhow::Result<Summary> {
    let input: Box<dyn BufRead> =
        Box::new(BufReader::with_capacity(BUFFER_BYTES, Counted { inner: input, progress }));
    let backtest = RefCell::new(backtest);
    let mut tracks: Vec<Option<TrackId>> = Vec::new();
    let ignored = Cell::new(0_u64);
    let wants = |labels: &LabelsRef<'_>| backtest.borrow_mut().wants(*labels);
    let keep = |series: usize, labels: &Labels, sample: Sample| {
        if sample.at < range.from || sample.at > range.to {
            return ignored.set(ignored.get() + 1);
        }
        let backtest = &mut **backtest.borrow_mut();
        if series >= tracks.len() {
            tracks.resize(series + 1, None);
        }
        let track = *tracks[series].get_or_insert_with(|| backtest.open(labels));
        backtest.push(track, sample);
    };
    let summary = history::read_each(input, format, wants, keep)?;
    if ignored.get() > 0 && ignored.get() == summary.samples {
        anyhow::bail!("none of its {} samples lies within --from and --to", ignored.get());
    }
    Ok(summary)
}

fn complain_of(summary: &Summary, format: Format) {
    if summary.bad_lines > 0 {
        complain(&format!("{} lines cannot be read and are left out; the first:", summary.bad_lines));
        summary.first_bad.iter().for_each(|bad| complain(&format!("  {bad}")));
    }
    if summary.histograms > 0 {
        complain(&format!("{} native histograms are left out", summary.histograms));
    }
    if format == Format::OpenMetrics && !summary.has_eof && summary.bad_lines > 0 {
        complain("the file does not end with # EOF; it may be cut off");
    }
}

// === impl Counted ===

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.progress.bytes(bytes as u64);
        Ok(bytes)
    }
}
