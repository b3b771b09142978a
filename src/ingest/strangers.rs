//! Series met for the first time: their labels are read, and the SLOs found that they count for.

use std::sync::Arc;

use foldhash::{HashSet, HashSetExt};

use super::{
    BLOCKS_PER_SERIES, Ingest, Refusal, Tally, WriteError,
    routes::{Refused, Routes},
    series::Series,
    show_pairs,
    table::{Held, Known},
};
use crate::{
    labels::{LabelSet, LabelsRef, METRIC_NAME},
    matching::TermId,
    prompb::{self, RawLabel, Request, hash_labels},
    time::Timestamp,
};

/// A label block that is not known yet.
#[derive(Clone, Copy, Debug)]
struct Block {
    hash: u64,
    bytes: usize,
    /// Whether it is the one that we would make of its labels.
    is_canonical: bool,
}

/// What is to be remembered of a label block.
#[derive(Debug)]
struct Acquaintance {
    hash: u64,
    /// `None` if no SLO selects it.
    followed: Option<Followed>,
}

#[derive(Debug)]
struct Followed {
    /// The hash of the label block that we make of its labels.
    canonical: u64,
    routes: Arc<Routes>,
    refused: Option<Refused>,
}

/// Lists that serve for all strangers of a request.
#[derive(Debug, Default)]
struct Lists {
    terms: Vec<TermId>,
    key: Vec<u8>,
    block: Vec<u8>,
}

// As many series as senders put into a request; more find their room.
const STRANGERS_USUAL_MAX: usize = 10_000;

// === impl Ingest ===

impl Ingest {
    /// Remembers the series of a request of which nothing is known, and holds the table with them. What is
    /// still a stranger then is refused.
    ///
    /// # Errors
    /// When label blocks are no label blocks: then nothing of the request counts.
    pub(super) fn meet_strangers<'t>(
        &'t self,
        message: &[u8],
        request: &Request,
        known: &[Known],
        tally: &mut Tally,
        now: Timestamp,
    ) -> Result<Held<'t>, WriteError> {
        let mut strangers = HashSet::with_capacity(known.len().min(STRANGERS_USUAL_MAX));
        let mut acquaintances = Vec::with_capacity(strangers.capacity());
        let (mut pairs, mut text, mut lists) = (Vec::new(), Vec::new(), Lists::default());
        for (view, known) in request.series.iter().zip(known) {
            if *known != Known::Stranger || !strangers.insert(view.hash) {
                continue;
            }
            let met = match request.labels(message, view, &mut pairs) {
                Ok(is_canonical) => {
                    let block = Block { hash: view.hash, bytes: request.label_bytes(view), is_canonical };
                    self.meet(block, &pairs, &mut text, &mut lists)
                }
                Err(prompb::Error::References(bad)) => Err(Refusal::References(bad)),
                Err(error) => return Err(error.into()),
            };
            match met {
                Ok(acquaintance) => acquaintances.push(acquaintance),
                Err(refusal) => _ = tally.first_refusal.get_or_insert(refusal),
            }
        }
        Ok(self.remember(acquaintances, tally, now))
    }

    fn meet<'a>(
        &self,
        block: Block,
        pairs: &[RawLabel<'a>],
        text: &mut Vec<(&'a str, &'a str)>,
        lists: &mut Lists,
    ) -> Result<Acquaintance, Refusal> {
        self.read_labels(block.bytes, pairs, text)?;
        let is_canonical = block.is_canonical && text.len() == pairs.len();
        let labels = if is_canonical {
            LabelsRef::of_sorted(text)
        } else {
            LabelsRef::new(text).map_err(|error| Refusal::Labels { series: show_pairs(pairs), error })?
        };
        if labels.get(METRIC_NAME).is_empty() {
            return Err(Refusal::NoMetricName(show_pairs(pairs)));
        }
        self.instances.plan().terms(labels, &mut lists.terms);
        let routes = (!lists.terms.is_empty())
            .then(|| self.routes.routes_of(&lists.terms, labels, &self.instances, &mut lists.key))
            .flatten();
        let followed = routes.map(|(routes, refused)| {
            if let Some(refused) = &refused {
                self.telemetry.groups_refused.inc_by(refused.groups() as u64);
            }
            let canonical = if is_canonical {
                block.hash
            } else {
                hash_labels(&self.table.hasher, labels.iter(), &mut lists.block)
            };
            Followed { canonical, routes, refused }
        });
        Ok(Acquaintance { hash: block.hash, followed })
    }

    fn read_labels<'a>(
        &self,
        bytes: usize,
        pairs: &[RawLabel<'a>],
        labels: &mut Vec<(&'a str, &'a str)>,
    ) -> Result<(), Refusal> {
        let (labels_max, bytes_max) = (self.config.labels_per_series_max, self.config.label_bytes_max);
        if pairs.len() > labels_max || bytes > bytes_max {
            let labels = pairs.len();
            return Err(Refusal::TooLong { labels, bytes, labels_max, bytes_max });
        }
        // The series of a pair of replicas are the same series.
        let is_of_pair = self.elections.pair_of(pairs.iter().copied()).is_some();
        labels.clear();
        for (name, value) in pairs {
            if is_of_pair && self.elections.is_replica_label(name) {
                continue;
            }
            let text = str::from_utf8(name).and_then(|name| Ok((name, str::from_utf8(value)?)));
            labels.push(text.map_err(|_| Refusal::NotUtf8(show_pairs(pairs)))?);
        }
        Ok(())
    }

    fn remember(&self, acquaintances: Vec<Acquaintance>, tally: &mut Tally, now: Timestamp) -> Held<'_> {
        let series_max = self.config.series_max;
        self.table.change(|table| {
            if table.limit_blocks(series_max.saturating_mul(BLOCKS_PER_SERIES)) {
                self.telemetry.blocks_forgotten.inc();
            }
            for Acquaintance { hash, followed } in acquaintances {
                let Some(Followed { canonical, routes, refused }) = followed else {
                    table.insert_unselected(hash);
                    continue;
                };
                let follow = || Series::new(routes, refused, now);
                if let Err(followed) = table.insert_followed(hash, canonical, series_max, follow) {
                    tally.first_refusal.get_or_insert(Refusal::TooManySeries(followed));
                }
            }
        })
    }
}
