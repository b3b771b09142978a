//! From reports to requests.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use snap::raw::Encoder;
use xxhash_rust::xxh3::xxh3_128;

use super::{Batch, Config};
use crate::{
    alert::AlertState,
    counter::STALE_MARKER_BITS,
    exposition,
    labels::METRIC_NAME,
    prompb::{self, Writer},
    report::{Alert, Report, Roster},
    time::Timestamp,
};

/// What makes a round of each report. It knows which series there were in the one before.
#[derive(Debug)]
pub struct Rounds {
    config: Config,
    published: exposition::Config,
    round: u64,
    written_to: Option<Timestamp>,
    roster: Arc<Roster>,
    /// The label blocks of alerts.
    alerts: Vec<Vec<u8>>,
}

/// A round being written.
struct Pen<'a> {
    config: &'a Config,
    round: u64,
    writer: Writer,
    batches: Vec<Batch>,
}

// As Prometheus' max_samples_per_send.
const SAMPLES_PER_REQUEST: usize = 2_000;

const ALERTS: &str = "ALERTS";
const ALERT_STATE: &str = "alertstate";

// === impl Rounds ===

impl Rounds {
    /// None yet. `published` is what pages show, of which more is left out as the configuration says.
    pub fn new(config: Config, published: &exposition::Config) -> Self {
        let mut published = published.clone();
        published.excluded.extend(config.excluded.iter().cloned());
        Self { config, published, round: 0, written_to: None, roster: Arc::default(), alerts: Vec::new() }
    }

    /// The round of a report; nothing if time has not gone on since the one before.
    pub fn next(&mut self, report: &Report) -> Vec<Batch> {
        let at = report.evaluated_at;
        if self.written_to.is_some_and(|to| at <= to) {
            return Vec::new();
        }
        self.written_to = Some(at);
        self.round += 1;
        let mut pen =
            Pen { config: &self.config, round: self.round, writer: Writer::default(), batches: Vec::new() };
        let has_same_series = Arc::ptr_eq(&self.roster, report.roster());
        let mut present = HashSet::new();
        exposition::visit(report, &self.published, |name, labels, value| {
            let block = pen.block(name, labels.iter().copied());
            if !has_same_series {
                present.insert(xxh3_128(&block));
            }
            pen.push(&block, at, value);
        });
        if !has_same_series {
            self.end_absent(&mut pen, at, &present);
            self.roster = Arc::clone(report.roster());
        }
        let alerts = if self.config.sends_alerts { alert_blocks(&pen, report) } else { Vec::new() };
        alerts.iter().for_each(|block| pen.push(block, at, 1.0));
        for ended in self.alerts.iter().filter(|block| !alerts.contains(block)) {
            pen.push(ended, at, stale());
        }
        pen.close();
        let batches = pen.batches;
        self.alerts = alerts;
        batches
    }

    /// Ends the series of the report before that are not in this one. Names and labels follow from who was in it, so
    /// that an empty report on the same instances has them.
    fn end_absent(&self, pen: &mut Pen<'_>, at: Timestamp, present: &HashSet<u128>) {
        let mut before = Report::default();
        before.begin(at, Duration::ZERO, &self.roster);
        exposition::visit(&before, &self.published, |name, labels, _| {
            let block = pen.block(name, labels.iter().copied());
            if !present.contains(&xxh3_128(&block)) {
                pen.push(&block, at, stale());
            }
        });
    }
}

fn stale() -> f64 {
    f64::from_bits(STALE_MARKER_BITS)
}

/// As Prometheus writes the alerts of its rules.
fn alert_blocks(pen: &Pen<'_>, report: &Report) -> Vec<Vec<u8>> {
    let block = |alert: Alert| {
        let state = match alert.state {
            AlertState::Pending { .. } => "pending",
            AlertState::Firing { .. } => "firing",
            AlertState::Inactive | AlertState::Resolved { .. } => return None,
        };
        let labels = alert.labels.iter().map(|(name, value)| (&**name, &**value));
        Some(pen.block(ALERTS, labels.chain([(ALERT_STATE, state)])))
    };
    report.alerts().into_iter().filter_map(block).collect()
}

// === impl Pen ===

impl Pen<'_> {
    fn block<'a>(&'a self, name: &'a str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
        let mut all: BTreeMap<&str, &str> = self.config.external_labels.iter().collect();
        all.extend(labels);
        all.insert(METRIC_NAME, name);
        prompb::encode_labels(all.into_iter())
    }

    fn push(&mut self, block: &[u8], at: Timestamp, value: f64) {
        self.writer.push(block, at.0, value);
        if self.writer.len() == SAMPLES_PER_REQUEST {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.writer.is_empty() {
            return;
        }
        let body = Encoder::new().compress_vec(self.writer.message());
        let body = body.expect("BUG: a request of some hundred kilobytes has room in a snappy block");
        self.batches.push(Batch { round: self.round, body: body.into(), samples: self.writer.len() });
        self.writer.clear();
    }
}
