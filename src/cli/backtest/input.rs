//! Where history is read from.
//!
//! A new kind of history is a variant here: it adds what it has to the replay, and may have it advance in between.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

use super::{HistoryArgs, Progress, Range, complain, log};
use crate::{
    backtest::{Backtest, TrackId},
    history::{self, Format, Sample, Summary},
    labels::{Labels, LabelsRef},
    source::{self, Pieces, Source},
    time::Timestamp,
};

/// History of a kind.
#[derive(Debug)]
pub(super) enum Input {
    /// A file, series by series: all of it is held before the replay begins.
    File { path: PathBuf, format: Format },
    /// The log of a slod, by its data directory: all of it is held before the replay begins.
    Log { directory: PathBuf },
    /// A server with Prometheus' API, in pieces of time: each is replayed before the next is asked for.
    Source { source: Box<Source>, now: Timestamp },
}

/// A reader that says how far it has come.
pub(in crate::cli) struct Counted<'a, R> {
    pub(in crate::cli) inner: R,
    pub(in crate::cli) progress: &'a Progress,
}

const BUFFER_BYTES: usize = 1 << 20;
// As much as Prometheus keeps in a block that it has not merged; more at once is not faster.
const PIECE: Duration = Duration::from_secs(2 * 3_600);

// === impl Input ===

impl Input {
    /// What the command line names; `configured` is the source of the configuration.
    pub(super) fn new(
        args: &HistoryArgs,
        configured: Option<source::Config>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let file = |path: &PathBuf, format| Ok(Self::File { path: path.clone(), format });
        match args {
            HistoryArgs { openmetrics: Some(path), .. } => file(path, Format::OpenMetrics),
            HistoryArgs { tsdb_dump: Some(path), .. } => file(path, Format::Dump),
            HistoryArgs { log: Some(directory), .. } => Ok(Self::Log { directory: directory.clone() }),
            HistoryArgs { source: Some(url), .. } => Self::source(url, configured, now),
            _ => bail!("no history is given; see --openmetrics and its neighbours"),
        }
    }

    fn source(url: &str, configured: Option<source::Config>, now: Timestamp) -> anyhow::Result<Self> {
        let config = if url.is_empty() {
            configured.context("--source has no URL, and the configuration file has no sources")?
        } else {
            source::Config::new("--source", source::address(url).context("cannot use the URL of --source")?)
        };
        Ok(Self::Source { source: Box::new(Source::new(config)?), now })
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
            Self::Log { directory } => {
                let complaints = log::read(&directory, backtest, range, progress)
                    .with_context(|| format!("cannot read the log in {}", directory.display()))?;
                complaints.iter().for_each(|complaint| complain(complaint));
                Ok(())
            }
            Self::Source { source, now } => {
                let range = Range { to: range.to.min(now), ..range };
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let histograms = runtime.block_on(read_source(&source, backtest, range, progress))?;
                complain_of_histograms(histograms);
                Ok(())
            }
        }
    }
}

/// Replays piece by piece. Returns how many native histograms there were.
async fn read_source(
    source: &Source,
    backtest: &mut Backtest,
    range: Range,
    progress: &Progress,
) -> anyhow::Result<u64> {
    if range.from == Timestamp(i64::MIN) {
        bail!("--source needs --from: as long ago as its history is to be replayed, like 30d");
    }
    progress.asking(range);
    let selectors = backtest.selectors();
    let mut pieces = Pieces::new(range.from, range.to, PIECE);
    let mut histograms = 0;
    while let Some(piece) = source.read_next(&selectors, &mut pieces).await? {
        piece.series.iter().for_each(|series| backtest.add(series));
        histograms += piece.histograms;
        // What follows may belong to the last step, too.
        backtest.advance(piece.end, |_| ());
        progress.step(piece.end);
    }
    Ok(histograms)
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

pub(in crate::cli) fn complain_of(summary: &Summary, format: Format) {
    if summary.bad_lines > 0 {
        complain(&format!("{} lines cannot be read and are left out; the first:", summary.bad_lines));
        summary.first_bad.iter().for_each(|bad| complain(&format!("  {bad}")));
    }
    complain_of_histograms(summary.histograms);
    if format == Format::OpenMetrics && !summary.has_eof && summary.bad_lines > 0 {
        complain("the file does not end with # EOF; it may be cut off");
    }
}

pub(in crate::cli) fn complain_of_histograms(histograms: u64) {
    if histograms > 0 {
        complain(&format!("{histograms} native histograms are left out"));
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
