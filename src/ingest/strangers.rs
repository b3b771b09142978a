//! Series met for the first time: their labels are read, and the SLOs found that they count for.

use std::sync::Arc;

use foldhash::{HashSet, HashSetExt};

use super::{
    BLOCKS_PER_SERIES, Ingest, Pair, Refusal, Tally, WriteError,
    routes::{LastRoutes, Refused, Routes},
    show,
    table::{Held, Known},
};
use crate::{
    labels::{LabelSet, LabelsRef, METRIC_NAME, SeriesKey},
    matching::{Plan, TermId},
    prompb::{self, RawLabel, Request, SeriesView, hash_labels},
    sampling::Recorded,
    time::Timestamp,
};

/// The strangers of a request, one after the other in the same memory.
pub(super) struct Strangers<'a> {
    ingest: &'a Ingest,
    message: &'a [u8],
    request: &'a Request,
    pair: Option<&'a Pair>,
    plan: Arc<Plan>,
    raw: Vec<RawLabel<'a>>,
    labels: Vec<(&'a str, &'a str)>,
    terms: Vec<TermId>,
    last_routes: LastRoutes,
    block: Vec<u8>,
}

/// What is to be remembered of a label block.
#[derive(Debug)]
struct Acquaintance {
    hash: u64,
    /// `None` if no SLO selects it.
    followed: Option<Followed>,
}

/// What a series is, and what it counts for.
#[derive(Debug)]
pub(super) struct Followed {
    /// The hash of the label block that we make of its labels.
    pub(super) canonical: u64,
    /// What the series is called on disk.
    pub(super) key: SeriesKey,
    pub(super) routes: Arc<Routes>,
    pub(super) refused: Option<Refused>,
    pub(super) recorded: Option<Arc<Recorded>>,
}

/// Why nothing is to be remembered.
enum Fault {
    /// The series is not acceptable.
    Refused(Refusal),
    /// The request is none.
    Malformed(prompb::Error),
}

// As many series as senders put into a request; more find their room.
const STRANGERS_USUAL_MAX: usize = 10_000;

// === impl Ingest ===

impl Ingest {
    /// `None` if they were met for a plan that is not in force any more.
    fn take_note_of(
        &self,
        generation: u64,
        acquaintances: Vec<Acquaintance>,
        tally: &mut Tally,
        now: Timestamp,
    ) -> Option<Held<'_>> {
        // Series that are refused come with every request: they must not hold up the others.
        if acquaintances.is_empty() {
            return Some(self.table.hold());
        }
        let series_max = self.config.series_max;
        let mut is_in_force = true;
        let held = self.table.change(|table| {
            is_in_force = table.generation() == generation;
            if !is_in_force {
                return;
            }
            if table.limit_blocks(series_max.saturating_mul(BLOCKS_PER_SERIES)) {
                self.telemetry.blocks_forgotten.inc();
            }
            for Acquaintance { hash, followed } in acquaintances {
                let Some(followed) = followed else {
                    table.insert_unselected(hash);
                    continue;
                };
                let groups = followed.refused.as_ref().map_or(0, Refused::groups);
                let routes = Arc::clone(&followed.routes);
                match table.insert_followed(hash, series_max, followed, now) {
                    Ok(true) => self.telemetry.groups_refused.inc_by(groups as u64),
                    Ok(false) => (),
                    Err(followed) => {
                        // Once there is room for it, it must not seem to be new.
                        routes.start_over();
                        tally.first_refusal.get_or_insert(Refusal::TooManySeries(followed));
                    }
                }
            }
            self.active.add(table.take_revived() as i64);
        });
        is_in_force.then_some(held)
    }
}

// === impl Strangers ===

impl<'a> Strangers<'a> {
    /// The strangers of a request, which came from a replica if there is a pair.
    pub(super) fn new(
        ingest: &'a Ingest,
        message: &'a [u8],
        request: &'a Request,
        pair: Option<&'a Pair>,
    ) -> Self {
        let (raw, labels, terms, block) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (plan, last_routes) = (ingest.instances.plan(), LastRoutes::default());
        Self { ingest, message, request, pair, plan, raw, labels, terms, last_routes, block }
    }

    /// Remembers the series of a request of which nothing is known, and holds the table with them. What is
    /// still a stranger then is refused.
    ///
    /// # Errors
    /// When label blocks are no label blocks: then nothing of the request counts.
    pub(super) fn meet_all(
        mut self,
        known: &mut Vec<Known>,
        tally: &mut Tally,
        now: Timestamp,
    ) -> Result<Held<'a>, WriteError> {
        loop {
            tally.first_refusal = None;
            let (met, acquaintances) = self.meet_unknown(known, tally)?;
            if let Some(held) = self.ingest.take_note_of(self.plan.generation(), acquaintances, tally, now) {
                held.find_all(&self.request.series, known);
                let mut found = self.request.series.iter().zip(&*known);
                if found.all(|(view, known)| *known != Known::Stranger || met.contains(&view.hash)) {
                    return Ok(held);
                }
            }
            // While the table was not held, or to make room for these, others were forgotten that had been
            // known, or another plan came into force. Met again with all the rest, they enter together, and
            // nobody comes in between.
            known.fill(Known::Stranger);
            self.plan = self.ingest.instances.plan();
        }
    }

    /// The hashes of those of which nothing is known, and what is to be remembered of those that are acceptable.
    fn meet_unknown(
        &mut self,
        known: &[Known],
        tally: &mut Tally,
    ) -> Result<(HashSet<u64>, Vec<Acquaintance>), WriteError> {
        let mut met = HashSet::with_capacity(known.len().min(STRANGERS_USUAL_MAX));
        let mut acquaintances = Vec::with_capacity(met.capacity());
        for (view, known) in self.request.series.iter().zip(known) {
            if *known != Known::Stranger || !met.insert(view.hash) {
                continue;
            }
            match self.meet(view) {
                Ok(acquaintance) => acquaintances.push(acquaintance),
                Err(Fault::Refused(refusal)) => _ = tally.first_refusal.get_or_insert(refusal),
                Err(Fault::Malformed(error)) => return Err(error.into()),
            }
        }
        Ok((met, acquaintances))
    }

    fn meet(&mut self, view: &SeriesView) -> Result<Acquaintance, Fault> {
        let is_canonical = self.read_labels(view)?;
        let labels = LabelsRef::of_sorted(&self.labels);
        if labels.get(METRIC_NAME).is_empty() {
            return Err(Refusal::NoMetricName(show(self.message, self.request, view)).into());
        }
        let Ingest { instances, routes, table, recent, .. } = self.ingest;
        self.plan.terms(labels, &mut self.terms);
        let found = (!self.terms.is_empty())
            .then(|| routes.routes_of(&self.plan, &self.terms, labels, instances, &mut self.last_routes))
            .flatten();
        let followed = found.map(|(routes, refused)| {
            let canonical = if is_canonical {
                view.hash
            } else {
                hash_labels(&table.hasher, labels.iter(), &mut self.block)
            };
            let recorded = routes.is_sampled().then(|| recent.open(labels)).flatten();
            let key = labels.key(&mut self.block);
            Followed { canonical, key, routes, refused, recorded }
        });
        Ok(Acquaintance { hash: view.hash, followed })
    }

    /// Makes `labels` the label set of a series. Returns whether its block is the canonical one.
    fn read_labels(&mut self, view: &SeriesView) -> Result<bool, Fault> {
        let Self { ingest, message, request, raw, labels, .. } = self;
        // The canonical block of a replica's series is that of the series of all replicas.
        if self.pair.is_none() && request.canonical_labels(message, view, labels) {
            ingest.check_limits(labels)?;
            return Ok(true);
        }
        request.labels(message, view, raw)?;
        ingest.check_limits(raw)?;
        let series = || show(message, request, view);
        read_text(raw, labels).ok_or_else(|| Refusal::NotUtf8(series()))?;
        let own = ingest.elections.pair_of(raw.iter().copied());
        if let (Some(own), Some((cluster, replica))) = (own, self.pair) {
            if own != (cluster.as_str(), replica.as_str()) {
                return Err(Refusal::MixedReplicas(series()).into());
            }
            ingest.elections.unify(labels);
        }
        LabelsRef::new(labels).map_err(|error| Refusal::Labels { series: series(), error })?;
        Ok(false)
    }
}

/// Labels as text; `None` if one is not.
fn read_text<'a>(raw: &[RawLabel<'a>], labels: &mut Vec<(&'a str, &'a str)>) -> Option<()> {
    labels.clear();
    for (name, value) in raw {
        labels.push((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?));
    }
    Some(())
}

// === impl Fault ===

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<prompb::Error> for Fault {
    fn from(error: prompb::Error) -> Self {
        match error {
            prompb::Error::References(bad) => Self::Refused(Refusal::References(bad)),
            error => Self::Malformed(error),
        }
    }
}
