//! Where history is read from.
//!
//! A file is read once and held, as it goes series by series; a server is asked for what each part needs.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::{HistoryArgs, Progress, Range};
use crate::{
    backfill::Backfill,
    cli::backtest::input::{Counted, complain_of, complain_of_histograms},
    config::Config,
    history::{self, Format, Series},
    labels::{LabelsRef, Selector},
    slo::Slo,
    source::{self, Pieces, Source},
    time::Timestamp,
};

/// History of a kind.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// The wanted series of a file, and the latest time of any.
    File { series: Vec<Series>, end: Timestamp },
    /// A server, and how far behind the clock it has everything.
    Source { source: Box<Source>, delay: Duration, runtime: tokio::runtime::Runtime, progress: &'a Progress },
}

const BUFFER_BYTES: usize = 1 << 20;
// What servers are asked for at once; see `daemon::backfilling`.
const PIECE: Duration = Duration::from_secs(3_600);
// That of sources in the configuration.
const DELAY: Duration = Duration::from_secs(30);

// === impl Input ===

impl<'a> Input<'a> {
    /// What the command line names, or the configuration.
    pub(super) fn new(
        args: &HistoryArgs,
        config: &Config,
        slos: &[Slo],
        progress: &'a Progress,
    ) -> anyhow::Result<Self> {
        match args {
            HistoryArgs { openmetrics: Some(path), .. } => {
                Self::file(path, Format::OpenMetrics, slos, progress)
            }
            HistoryArgs { tsdb_dump: Some(path), .. } => Self::file(path, Format::Dump, slos, progress),
            HistoryArgs { source: url, .. } => Self::source(url.as_deref(), config, progress),
        }
    }

    fn file(path: &Path, format: Format, slos: &[Slo], progress: &Progress) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<_> {
            if path == Path::new("-") {
                progress.reading(None);
                return read(io::stdin().lock(), format, slos, progress);
            }
            let file = File::open(path)?;
            progress.reading(file.metadata().ok().map(|metadata| metadata.len()));
            read(file, format, slos, progress)
        };
        let series = read().with_context(|| format!("cannot read history from {}", path.display()))?;
        let last = |series: &Series| series.samples.last().map(|sample| sample.at);
        let end = series.iter().filter_map(last).max();
        let end = end.context(
            "no series of the history is one that an SLO selects; `slod check --explain` lists those",
        )?;
        Ok(Self::File { series, end })
    }

    fn source(url: Option<&str>, config: &Config, progress: &'a Progress) -> anyhow::Result<Self> {
        let (client, delay) = match (url, config.sources.first()) {
            (Some(url), _) => (
                source::Config::new(
                    "--source",
                    source::address(url).context("cannot use the URL of --source")?,
                ),
                DELAY,
            ),
            (None, Some(source)) => (source.client.clone(), source.delay),
            (None, None) => anyhow::bail!(
                "no history is given, and the configuration file has no sources; see --openmetrics and its neighbours"
            ),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self::Source { source: Box::new(Source::new(client)?), delay, runtime, progress })
    }

    /// Up to where it has everything.
    pub(super) fn end(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::File { end, .. } => *end,
            Self::Source { delay, .. } => now - *delay,
        }
    }

    /// Adds what it has of a time to a filling.
    pub(super) fn read(
        &mut self,
        backfill: &mut Backfill,
        range: Range,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        match self {
            Self::File { series, .. } => {
                progress.counting(range);
                backfill.add_all(series, range.from, |at| progress.step(at));
                Ok(())
            }
            Self::Source { source, runtime, progress, .. } => {
                progress.asking(range);
                runtime.block_on(ask(source, backfill, range, progress))
            }
        }
    }
}

async fn ask(
    source: &Source,
    backfill: &mut Backfill,
    range: Range,
    progress: &Progress,
) -> anyhow::Result<()> {
    let selectors = backfill.selectors().to_vec();
    let mut pieces = Pieces::new(range.from, range.to, PIECE);
    let mut histograms = 0;
    while let Some(piece) = source.read_next(&selectors, &mut pieces).await? {
        backfill.add(&piece.series, piece.end);
        histograms += piece.histograms;
        progress.step(piece.end);
    }
    complain_of_histograms(histograms);
    Ok(())
}

/// The series that SLOs select.
fn read(input: impl Read, format: Format, slos: &[Slo], progress: &Progress) -> anyhow::Result<Vec<Series>> {
    let input: Box<dyn BufRead> =
        Box::new(BufReader::with_capacity(BUFFER_BYTES, Counted { inner: input, progress }));
    let selectors: Vec<&Selector> = slos.iter().flat_map(|slo| slo.indicator.selectors()).collect();
    let wants = |labels: &LabelsRef<'_>| selectors.iter().any(|selector| selector.matches(labels));
    let (series, summary) = history::read(input, format, wants)?;
    complain_of(&summary, format);
    ensure!(summary.samples + summary.others > 0, "it has no samples");
    Ok(series)
}
