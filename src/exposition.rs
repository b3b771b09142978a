//! The published form of a report: Prometheus' text format 0.0.4 and OpenMetrics 1.0.
//!
//! Every series carries `service`, `slo`, the labels of the spec and those of the group. Values are never
//! NaN: where nothing is known, `slo_data_status` says so. This module knows neither HTTP nor time.
//!
//! A page is rendered at most once per report and format, whoever asks for it ([`Pages`]). Of 10,000 SLOs it has
//! 370,000 lines and 26 MB: it is made in chunks, which answers share and the next page uses again.

mod compression;
pub mod conventions;
mod format;
mod own;
mod pages;
mod series;
mod sheet;

use std::collections::BTreeSet;

use bytes::Bytes;
use prometheus::proto;

use crate::report::{Report, View};
pub use format::{Encoding, Format};
pub use pages::{Moment, Page, Pages, Wanted};
use series::Repeated;
pub use series::{Dialect, Kind, Value};
use sheet::{Output, Sheet};

/// What is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whose names series have beside slod's own.
    pub compat: BTreeSet<Dialect>,
    /// Families that are not published, by name.
    pub excluded: BTreeSet<String>,
    /// The labels and annotations of specs that are published; all without. What tells series apart always is.
    pub labels: Option<BTreeSet<String>>,
}

/// A series of a report.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its metric name.
    pub name: &'a str,
    /// Its other labels, sorted by name.
    pub labels: &'a [(&'a str, &'a str)],
    /// Where its value is found.
    pub value: &'a Value,
    /// The instance that it is of.
    pub view: View<'a>,
    /// The place of that instance in the report.
    pub place: usize,
}

/// What makes pages of reports. It keeps what their lines have in common, and memory for the next one.
#[derive(Debug)]
pub struct Renderer {
    config: Config,
    sheet: Sheet,
    spare: Vec<Vec<u8>>,
}

/// A page being written.
#[derive(Debug)]
struct Chunks<'a> {
    full: Vec<Bytes>,
    open: Vec<u8>,
    spare: &'a mut Vec<Vec<u8>>,
}

// Large enough that a page has some hundred, small enough that a small page wastes little.
const CHUNK_BYTES: usize = 128 << 10;

/// The whole page of a report in the text format, without slod's metrics about itself.
pub fn text(report: &Report) -> String {
    let page = Renderer::new(Config::default()).render(report, Format::Text);
    String::from_utf8_lossy(&page.concat()).into_owned()
}

/// The end of a page: slod's metrics about itself.
pub fn about_slod(families: &[proto::MetricFamily], format: Format) -> String {
    String::from_utf8_lossy(&own::text(families, format)).into_owned()
}

/// Calls `visit(name, labels, value)` for every series of a report, with its labels sorted by name.
pub fn visit(report: &Report, config: &Config, mut visit: impl FnMut(&str, &[(&str, &str)], f64)) {
    visit_some(
        report,
        config,
        |_| true,
        |shown| visit(shown.name, shown.labels, shown.value.of(&shown.view)),
    );
}

/// Calls `visit` for every series of a report whose name is wanted.
pub fn visit_some(
    report: &Report,
    config: &Config,
    is_wanted: impl Fn(&str) -> bool,
    mut visit: impl FnMut(Shown<'_>),
) {
    let repeated = Repeated::of(report.views());
    for (place, view) in report.views().enumerate() {
        for dialect in config.dialects() {
            let identity = dialect.identity(&view, config, &repeated);
            let series = dialect.series(&view, config).into_iter();
            for series in series.filter(|series| config.publishes(series.kind)) {
                let name = series.kind.name();
                if !is_wanted(&name) {
                    continue;
                }
                let further = identity.iter().filter(|(name, _)| !series.labels.contains_key(*name));
                let mut labels: Vec<(&str, &str)> =
                    series.labels.iter().chain(further).map(|(name, value)| (*name, &**value)).collect();
                labels.sort_unstable();
                visit(Shown { name: &name, labels: &labels, value: &series.value, view, place });
            }
        }
    }
}

// === impl Config ===

impl Config {
    /// Every family that can be excluded.
    pub fn families() -> impl Iterator<Item = &'static str> {
        let all = conventions::OWN.iter().chain(&conventions::SLOTH).chain(&conventions::PYRRA);
        all.map(|family| family.name)
    }

    /// Every family that is published.
    pub fn published(&self) -> impl Iterator<Item = conventions::Family> {
        let all = self.dialects().flat_map(Dialect::families);
        all.copied().filter(|family| !self.excluded.contains(family.name))
    }

    fn dialects(&self) -> impl Iterator<Item = Dialect> {
        Dialect::ALL.into_iter().filter(|dialect| *dialect == Dialect::Slod || self.compat.contains(dialect))
    }

    fn publishes(&self, kind: Kind) -> bool {
        !self.excluded.contains(kind.family().name)
    }

    fn allows(&self, label: &str) -> bool {
        self.labels.as_ref().is_none_or(|allowed| allowed.contains(label))
    }
}

// === impl Renderer ===

impl Renderer {
    /// One without any page yet.
    pub fn new(config: Config) -> Self {
        Self { config, sheet: Sheet::default(), spare: Vec::new() }
    }

    /// The page of a report, but for its end.
    pub fn render(&mut self, report: &Report, format: Format) -> Vec<Bytes> {
        self.sheet.follow(report, &self.config);
        let mut chunks = Chunks { full: Vec::new(), open: Vec::new(), spare: &mut self.spare };
        self.sheet.write(report, format, &mut chunks);
        chunks.close();
        chunks.full
    }

    /// Takes back the memory of a page that is not needed any more, as far as nobody else holds it.
    pub fn take_back(&mut self, page: Vec<Bytes>) {
        for chunk in page.into_iter().filter(Bytes::is_unique) {
            let mut chunk = Vec::from(chunk);
            if chunk.capacity() >= CHUNK_BYTES {
                chunk.clear();
                self.spare.push(chunk);
            }
        }
    }

    /// Lets go of memory that the last page had no need of.
    pub fn release(&mut self) {
        self.spare = Vec::new();
    }
}

// === impl Chunks ===

impl Chunks<'_> {
    fn close(&mut self) {
        let full = std::mem::take(&mut self.open);
        if !full.is_empty() {
            self.full.push(full.into());
        }
    }
}

impl Output for Chunks<'_> {
    fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        if self.open.capacity() - self.open.len() < bytes {
            self.close();
            let large = bytes.max(CHUNK_BYTES);
            let spare = self.spare.pop().filter(|spare| spare.capacity() >= large);
            self.open = spare.unwrap_or_else(|| Vec::with_capacity(large));
        }
        &mut self.open
    }
}

#[cfg(test)]
mod tests;
