//! The steps of all SLOs with expressions: which are due, and what comes of them.

mod restart;

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use super::{
    PENDING_MAX, question,
    recent::{NEVER, Recent, Recorded, SAMPLES_PER_SERIES_MAX, Taken},
    tally::Tally,
};
use crate::{
    expression::{self, Expression, Sample, Samples},
    labels::Selector,
    matching::{Instance, Instances, Plan},
    slo::{Sampled, SloId},
    telemetry::SamplingMetrics,
    time::{SET_BACK_MIN, Timestamp},
    window::{Batch, OpenSlots},
};

/// Evaluates expressions over recent samples. Belongs to the thread that ticks.
#[derive(Debug)]
pub struct Sampler {
    instances: Arc<Instances>,
    open: Arc<OpenSlots>,
    recent: Arc<Recent>,
    /// The number of the plan that they are of.
    generation: u64,
    slos: Vec<SampledSlo>,
    series: Vec<Series>,
    /// So many of them are known to the SLOs that look at them.
    linked: usize,
    /// How far event time has come.
    at: Timestamp,
    telemetry: SamplingMetrics,
}

/// A series with its samples in the order of time.
#[derive(Debug)]
struct Series {
    recorded: Arc<Recorded>,
    samples: Vec<Sample>,
    /// The newest sample taken, whether it is still needed or not.
    last_at: Timestamp,
}

/// An SLO, and how far its steps have come.
#[derive(Debug)]
struct SampledSlo {
    sampled: Sampled,
    lookback: Duration,
    selected: Vec<Selected>,
    tally: Tally,
    /// The step that is evaluated next; none before it has samples.
    next: Option<Timestamp>,
    /// The newest sample of its series, unless others of its time are missing.
    known_to: Option<Timestamp>,
}

/// The series of a selector, by their places among all.
#[derive(Debug)]
struct Selected {
    selector: Selector,
    series: Vec<usize>,
}

/// What an SLO's expressions look at.
struct View<'a> {
    selected: &'a [Selected],
    series: &'a [Series],
}

// A step waits for a sample of its own time. Prometheus' default interval, since an SLO whose series are scraped
// less often has its steps a scrape later; and as long as a sender takes to deliver what it has.
const AWAITED: Duration = Duration::from_secs(60);
// From so many steps on SLOs that are behind wait for the next call: below a thousandth of a second each for a
// thousand series. An SLO whose steps have begun gets all of them, since half of a backlog would tell another
// story; and one that is not behind is not made to be.
const STEPS_AT_ONCE: usize = 1_000;

// === impl Sampler ===

impl Sampler {
    /// A sampler for the SLOs of a plan; `recent` is what ingest records for them.
    pub fn new(
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        recent: Arc<Recent>,
        telemetry: SamplingMetrics,
    ) -> Self {
        let plan = instances.plan();
        let mut sampler = Self {
            instances,
            open,
            recent,
            generation: plan.generation(),
            slos: Vec::new(),
            series: Vec::new(),
            linked: 0,
            at: NEVER,
            telemetry,
        };
        sampler.follow(&plan);
        sampler
    }

    /// Goes on with the SLOs of a plan: one whose expressions are what they were at the step that it had come to.
    fn follow(&mut self, plan: &Plan) {
        let (generation, before) = (plan.generation(), std::mem::take(&mut self.slos));
        let mut before: HashMap<SloId, SampledSlo> =
            before.into_iter().map(|slo| (slo.tally.all.slo.id.clone(), slo)).collect();
        let instances = &self.instances;
        let next = plan.sampled().filter_map(|(place, sampled)| {
            let all = instances.of_all(generation, place)?;
            let before = before.remove(&all.slo.id).filter(|before| before.sampled == *sampled);
            let mut slo = SampledSlo::new(generation, place, sampled, all)?;
            if let Some(before) = before {
                slo.succeed(before, instances);
            }
            Some(slo)
        });
        self.slos = next.collect();
        self.generation = generation;
        self.link_all();
    }

    /// Evaluates every step up to the event time `at` that is due at the time of the clock `now`. To be called
    /// before each evaluation of that event time. Returns how many steps there were.
    pub fn advance(&mut self, at: Timestamp, now: Timestamp) -> usize {
        let plan = self.instances.plan();
        if plan.generation() != self.generation {
            self.follow(&plan);
        }
        if self.at.since(at) > SET_BACK_MIN {
            self.set_back(at);
        }
        self.at = at;
        // Before samples are taken: what is known to be there is then among them.
        let mut has_work = false;
        self.slos.iter_mut().for_each(|slo| has_work |= slo.look(at, now));
        if !has_work {
            return 0;
        }
        self.take_samples();
        self.link_new();
        let mut steps = 0;
        for slo in &mut self.slos {
            slo.expire(at, &self.telemetry);
            if slo.is_due(at) && (steps < STEPS_AT_ONCE || !slo.is_behind(at)) {
                let mut batch = self.open.batch();
                steps += slo.advance(at, &self.series, &self.instances, &mut batch, &self.telemetry);
            }
        }
        self.forget_samples();
        self.publish_sizes();
        steps
    }

    /// Times later than this were shown by a clock that was wrong, and so were the samples that it let in.
    fn set_back(&mut self, at: Timestamp) {
        for Series { recorded, samples, last_at } in &mut self.series {
            recorded.set_back(at);
            *last_at = at.min(*last_at);
            samples.retain(|sample| sample.at <= at);
        }
        for slo in &mut self.slos {
            slo.set_back(at);
        }
    }

    // --- samples ---

    fn take_samples(&mut self) {
        let opened = self.recent.take_opened().into_iter();
        self.series.extend(opened.map(|recorded| Series { recorded, samples: Vec::new(), last_at: NEVER }));
        let dropped: u64 = self.series.iter_mut().map(Series::take).sum();
        self.telemetry.dropped.inc_by(dropped);
        self.telemetry.refused.inc_by(self.recent.take_refused());
    }

    /// Forgets what no step looks back to any more, and series that have ended long ago.
    fn forget_samples(&mut self) {
        let mut needed_from = vec![Timestamp(i64::MAX); self.series.len()];
        for slo in &self.slos {
            let from = slo.needs_from();
            slo.selected.iter().flat_map(|selected| &selected.series).for_each(|place| {
                needed_from[*place] = needed_from[*place].min(from);
            });
        }
        for (series, from) in self.series.iter_mut().zip(needed_from) {
            series.forget_to(from);
        }
        let all = self.series.len();
        let recent = &self.recent;
        self.series.retain(|series| !series.samples.is_empty() || !recent.close_unused(&series.recorded));
        if self.series.len() < all {
            self.link_all();
        }
    }

    fn link_all(&mut self) {
        let selected = self.slos.iter_mut().flat_map(|slo| &mut slo.selected);
        selected.for_each(|selected| selected.series.clear());
        self.linked = 0;
        self.link_new();
    }

    /// Shows series to the SLOs that have not been shown to them yet.
    fn link_new(&mut self) {
        for (place, series) in self.series.iter().enumerate().skip(self.linked) {
            self.slos.iter_mut().for_each(|slo| slo.link(place, &series.recorded));
        }
        self.linked = self.series.len();
    }

    fn publish_sizes(&self) {
        let samples: usize = self.series.iter().map(|series| series.samples.len()).sum();
        let held: usize = self.series.iter().map(|series| series.samples.capacity()).sum();
        let bytes =
            held * size_of::<Sample>() + self.series.len() * (size_of::<Series>() + size_of::<Recorded>());
        self.telemetry.series.set(self.series.len() as i64);
        self.telemetry.samples.set(samples as i64);
        self.telemetry.memory.set(bytes as i64);
    }
}

// === impl Series ===

impl Series {
    /// Takes what was recorded. Returns how many samples were lost because there were too many.
    fn take(&mut self) -> u64 {
        let Taken { last_at, lost } = self.recorded.take(&mut self.samples);
        self.last_at = last_at;
        let surplus = self.samples.len().saturating_sub(SAMPLES_PER_SERIES_MAX);
        self.samples.drain(..surplus);
        lost + surplus as u64
    }

    fn forget_to(&mut self, from: Timestamp) {
        let unneeded = self.samples.partition_point(|sample| sample.at < from);
        self.samples.drain(..unneeded);
        if self.samples.capacity() > 4 * self.samples.len() {
            self.samples.shrink_to(2 * self.samples.len());
        }
    }
}

// === impl SampledSlo ===

impl SampledSlo {
    fn new(generation: u64, place: usize, sampled: &Sampled, all: Arc<Instance>) -> Option<Self> {
        let mut selectors: Vec<Selector> = Vec::new();
        for selector in sampled.question.expressions().flat_map(Expression::selectors) {
            if !selectors.contains(selector) {
                selectors.push(selector.clone());
            }
        }
        let selected = selectors.into_iter().map(|selector| Selected { selector, series: Vec::new() });
        let lookback = sampled.question.expressions().map(Expression::lookback).max()?;
        Some(Self {
            lookback,
            selected: selected.collect(),
            tally: Tally::new(generation, place, sampled.step, all),
            next: None,
            known_to: None,
            sampled: sampled.clone(),
        })
    }

    /// Goes on where the same SLO was in the plan before.
    fn succeed(&mut self, before: Self, instances: &Instances) {
        self.next = before.next;
        self.tally.succeed(before.tally, instances);
    }

    /// Takes note of a series if an expression selects it.
    fn link(&mut self, place: usize, recorded: &Recorded) {
        for selected in &mut self.selected {
            if selected.selector.matches(&recorded.labels) {
                selected.series.push(place);
            }
        }
    }

    /// Takes note of how far its samples reach. Returns whether there is something to do.
    fn look(&mut self, at: Timestamp, now: Timestamp) -> bool {
        let all = &self.tally.all;
        self.known_to = all.last_sample().filter(|_| !all.is_catching_up(now));
        self.is_due(at) || self.is_expired(at)
    }

    /// Whether its next step is to be evaluated: samples of that time are there, and not only a part of them.
    fn is_due(&self, at: Timestamp) -> bool {
        let is_due = |next: Timestamp, last: Timestamp| next <= at && last > next - AWAITED;
        self.known_to.is_some_and(|last| self.next.is_none_or(|next| is_due(next, last)))
    }

    /// Evaluates what is due. Returns the number of steps.
    fn advance(
        &mut self,
        at: Timestamp,
        series: &[Series],
        instances: &Instances,
        batch: &mut Batch<'_>,
        telemetry: &SamplingMetrics,
    ) -> usize {
        let oldest = (at - PENDING_MAX).floor(self.sampled.step);
        let first = || Some(self.first_step(series)?.max(oldest));
        self.next = self.next.or_else(first);
        let mut steps = 0;
        while let Some(next) = self.next.filter(|_| self.is_due(at)) {
            let outcome = self.evaluate(next, series, instances, batch);
            telemetry.steps.with_label_values(&[outcome]).inc();
            steps += 1;
            self.next = Some(next + self.sampled.step);
        }
        steps
    }

    /// Whether it has more than one step to evaluate.
    fn is_behind(&self, at: Timestamp) -> bool {
        self.next.is_none_or(|next| next + self.sampled.step <= at)
    }

    /// Whether its next step has been pending for too long.
    fn is_expired(&self, at: Timestamp) -> bool {
        self.next.is_some_and(|next| next < (at - PENDING_MAX).floor(self.sampled.step))
    }

    /// Gives up steps that have been pending for too long.
    fn expire(&mut self, at: Timestamp, telemetry: &SamplingMetrics) {
        let oldest = (at - PENDING_MAX).floor(self.sampled.step);
        let Some(next) = self.next.filter(|next| *next < oldest) else { return };
        let expired = oldest.since(next).as_millis() / self.sampled.step.as_millis().max(1);
        telemetry.steps.with_label_values(&["expired"]).inc_by(expired as u64);
        self.next = Some(oldest);
        self.tally.end_groups(oldest);
    }

    /// The first step behind its oldest sample.
    fn first_step(&self, series: &[Series]) -> Option<Timestamp> {
        let places = self.selected.iter().flat_map(|selected| &selected.series);
        let oldest =
            places.filter_map(|place| series[*place].samples.first()).map(|sample| sample.at).min()?;
        Some(oldest.floor(self.sampled.step) + self.sampled.step)
    }

    /// Adds the events of a step. Returns what became of it.
    fn evaluate(
        &mut self,
        at: Timestamp,
        series: &[Series],
        instances: &Instances,
        batch: &mut Batch<'_>,
    ) -> &'static str {
        let view = View { selected: &self.selected, series };
        let outcome = match question::ask(&self.sampled.question, at, &view) {
            Err(_) => "ambiguous",
            Ok(said) if said.is_empty() => "empty",
            Ok(said) => {
                for (labels, events) in said {
                    self.tally.add(batch, instances, at, labels, events);
                }
                "evaluated"
            }
        };
        self.tally.end_groups(at);
        outcome
    }

    /// From when on it needs samples.
    fn needs_from(&self) -> Timestamp {
        self.next.map_or(Timestamp(i64::MIN), |next| next - self.lookback)
    }

    fn set_back(&mut self, at: Timestamp) {
        let next = at.floor(self.sampled.step) + self.sampled.step;
        self.next = self.next.map(|known| known.min(next));
        self.tally.set_back(at);
    }
}

// === impl View ===

impl Samples for View<'_> {
    fn select<'a>(&'a self, selector: &Selector) -> impl Iterator<Item = expression::Series<'a>> {
        let selected = self.selected.iter().find(|selected| selected.selector == *selector);
        let series = selected.into_iter().flat_map(|selected| &selected.series);
        series.map(|place| {
            let Series { recorded, samples, .. } = &self.series[*place];
            let nameless = Cow::Borrowed(&recorded.nameless);
            expression::Series { labels: &recorded.labels, nameless, samples }
        })
    }
}
