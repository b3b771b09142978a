//! The steps of all SLOs that a Prometheus is asked for: which to ask, and what comes of the answers.
//!
//! This knows no server: it gives out orders, and takes what became of them. An SLO has one order at a time, for
//! one step, or after an outage for all that were missed; its steps are counted in their order, and each once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    PENDING_MAX,
    question::{self, Values},
    state::{PulledState, PullerState},
    tally::{Tally, note_sample},
};
use crate::{
    labels::Labels,
    matching::{Instances, Plan},
    slo::{Pulled, Question, SloId, exported},
    telemetry::PullMetrics,
    time::{SET_BACK_MIN, Timestamp, format_duration},
    window::{Batch, OpenSlots},
};

/// Gives out orders for steps, and counts what is answered. Belongs to the thread that ticks.
#[derive(Debug)]
pub struct Puller {
    instances: Arc<Instances>,
    open: Arc<OpenSlots>,
    delay: Duration,
    /// The number of the plan that they are of.
    generation: u64,
    slos: Vec<PulledSlo>,
    /// How far event time has come.
    at: Timestamp,
    /// How many orders there were.
    orders: u64,
    telemetry: PullMetrics,
}

/// What a server is to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// What tells it from all others.
    pub number: u64,
    /// The queries.
    pub question: Question<String>,
    /// The first of the steps asked for.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// The time between two.
    pub step: Duration,
}

/// What queries say at steps.
pub type Answered = Question<Matrix>;

/// What a query says at steps, by labels; the steps in their order.
pub type Matrix = Vec<(Labels, Vec<(Timestamp, f64)>)>;

/// An order that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Whether fewer steps might have been.
    pub may_be_of_size: bool,
}

/// An SLO, and how far its steps have come.
#[derive(Debug)]
struct PulledSlo {
    pulled: Pulled,
    tally: Tally,
    /// The step that is counted next.
    next: Timestamp,
    /// The order that is out, and its last step.
    order: Option<(u64, Timestamp)>,
    /// How many orders failed one after the other.
    failures: u32,
    /// In event time: no order before.
    retry_at: Timestamp,
    steps_max: i64,
    /// Whether it ever had a value.
    is_seen: bool,
}

// Prometheus refuses ranges of more points.
const STEPS_MAX: i64 = 11_000;
// A server that restarts is asked again soon, one that is down not all the time.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

// === impl Puller ===

impl Puller {
    /// A puller for the SLOs of a plan, which asks `delay` after the event time of a step.
    pub fn new(
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        delay: Duration,
        telemetry: PullMetrics,
    ) -> Self {
        let (slos, at) = (Vec::new(), Timestamp(i64::MIN));
        Self { instances, open, delay, generation: u64::MAX, slos, at, orders: 0, telemetry }
    }

    /// What is to be asked at the event time `at`: at most `room` orders, the oldest steps first. To be called
    /// before each evaluation, after what became of orders before was told.
    pub fn poll_orders(&mut self, at: Timestamp, room: usize) -> Vec<Order> {
        let at = at - self.delay;
        if self.at.since(at) > SET_BACK_MIN {
            self.slos.iter_mut().for_each(|slo| slo.set_back(at));
        }
        self.at = at;
        let plan = self.instances.plan();
        if plan.generation() != self.generation {
            self.follow(&plan);
        }
        self.slos.iter_mut().for_each(|slo| slo.expire(at, &self.telemetry));
        let mut due: Vec<&mut PulledSlo> = self.slos.iter_mut().filter(|slo| slo.is_due(at)).collect();
        due.sort_by_key(|slo| slo.next);
        let orders = &mut self.orders;
        let order = |slo: &mut PulledSlo| {
            *orders += 1;
            slo.order(*orders, at)
        };
        due.into_iter().take(room).map(order).collect()
    }

    /// Counts the answer to an order. One that nobody waits for any more is forgotten.
    pub fn handle_answer(&mut self, order: u64, answer: Result<Answered, Unanswered>) {
        let is_it = |slo: &&mut PulledSlo| slo.order.is_some_and(|(number, _)| number == order);
        let Some(slo) = self.slos.iter_mut().find(is_it) else { return };
        match answer {
            Ok(answered) => {
                let mut batch = self.open.batch();
                slo.count(answered, &self.instances, &mut batch, &self.telemetry);
            }
            Err(unanswered) => slo.put_off(unanswered, self.at),
        }
    }

    // --- across restarts ---

    /// Its state. What is being asked is not in it, and will be asked again.
    pub fn export(&self) -> PullerState {
        PullerState { at: self.at, slos: self.slos.iter().map(PulledSlo::state).collect() }
    }

    /// Goes on at the event time `at` where the puller was whose state this is; the steps since then are asked for
    /// as after any absence. To be called before anything is ordered. SLOs that the state does not know, or that
    /// ask something else now, begin with the present step.
    pub fn restore(&mut self, state: PullerState, at: Timestamp) {
        // Times that a wrong clock showed are taken back at the next poll.
        self.at = (at - self.delay).max(state.at);
        self.follow(&self.instances.plan());
        let mut states: HashMap<SloId, PulledState> =
            state.slos.into_iter().map(|slo| (slo.id.clone(), slo)).collect();
        for slo in &mut self.slos {
            let all = &slo.tally.all.slo;
            let state = states.remove(&all.id).filter(|state| state.identity == all.identity());
            if let Some(state) = state {
                slo.restore(state, &self.instances);
            }
        }
    }

    /// Goes on with the SLOs of a plan: one that asks what it asked at the step that it had come to. Others begin
    /// with the present step.
    fn follow(&mut self, plan: &Plan) {
        let (generation, before) = (plan.generation(), std::mem::take(&mut self.slos));
        let mut before: HashMap<SloId, PulledSlo> =
            before.into_iter().map(|slo| (slo.tally.all.slo.id.clone(), slo)).collect();
        let (instances, at, delay) = (&self.instances, self.at, self.delay);
        let next = plan.pulled().filter_map(|(place, pulled)| {
            let all = instances.of_all(generation, place)?;
            let before = before.remove(&all.slo.id).filter(|before| before.tally.all.sli == all.sli);
            let tally = Tally::new(generation, place, pulled.step, all);
            let mut slo = PulledSlo::new(pulled, tally, at);
            match before {
                Some(before) => slo.succeed(before, instances),
                None => slo.warn_of_short_windows(delay),
            }
            Some(slo)
        });
        self.slos = next.collect();
        self.generation = generation;
    }
}

// === impl PulledSlo ===

impl PulledSlo {
    fn new(pulled: &Pulled, tally: Tally, at: Timestamp) -> Self {
        Self {
            pulled: pulled.clone(),
            tally,
            next: at.floor(pulled.step),
            order: None,
            failures: 0,
            retry_at: Timestamp(i64::MIN),
            steps_max: STEPS_MAX,
            is_seen: false,
        }
    }

    fn succeed(&mut self, before: Self, instances: &Instances) {
        self.tally.succeed(before.tally, instances);
        (self.next, self.order) = (before.next, before.order);
        (self.failures, self.retry_at) = (before.failures, before.retry_at);
        (self.steps_max, self.is_seen) = (before.steps_max, before.is_seen);
    }

    fn state(&self) -> PulledState {
        let slo = &self.tally.all.slo;
        let (id, identity) = (slo.id.clone(), slo.identity());
        PulledState { id, identity, next: self.next, is_seen: self.is_seen, groups: self.tally.state() }
    }

    fn restore(&mut self, state: PulledState, instances: &Instances) {
        let PulledState { next, is_seen, groups, .. } = state;
        (self.next, self.is_seen) = (next, is_seen);
        if is_seen {
            self.tally.all.note_live_series(1);
        }
        self.tally.restore(groups, instances);
    }

    /// Says of which alerts nothing is known when they are evaluated: what is newest is older than their windows.
    fn warn_of_short_windows(&self, delay: Duration) {
        let (slo, age) = (&self.tally.all.slo, self.pulled.step + delay);
        for alert in slo.alerts.iter().filter(|alert| alert.short <= age) {
            let (window, age) = (format_duration(alert.short), format_duration(age));
            tracing::warn!(
                slo = %slo.id, window, age,
                "an alert may stay silent: what a source says is older than its short window (pull_interval and delay)"
            );
        }
    }

    fn is_due(&self, at: Timestamp) -> bool {
        self.order.is_none() && self.next <= at && self.retry_at <= at
    }

    fn order(&mut self, number: u64, at: Timestamp) -> Order {
        let Pulled { question, step, .. } = &self.pulled;
        // What `@ end()` says of a range is not what it says of each moment in it.
        let is_of_range =
            question.expressions().any(|query| query.contains("end()") || query.contains("start()"));
        let steps = if is_of_range { 1 } else { self.steps_max };
        let (step, question) = (*step, question.clone());
        let last = at.floor(step).min(Timestamp(self.next.0 + (steps - 1) * step.as_millis() as i64));
        self.order = Some((number, last));
        Order { number, question, first: self.next, last, step }
    }

    /// Counts every step of the order that is out.
    fn count(
        &mut self,
        answered: Answered,
        instances: &Instances,
        batch: &mut Batch<'_>,
        telemetry: &PullMetrics,
    ) {
        let Some((_, last)) = self.order.take() else { return };
        (self.failures, self.steps_max) = (0, (self.steps_max * 2).min(STEPS_MAX));
        let answered = answered.map(with_labels_of_groups);
        while self.next <= last {
            let outcome = self.count_step(&answered, instances, batch);
            telemetry.steps.with_label_values(&[outcome]).inc();
            self.next = self.next + self.pulled.step;
        }
    }

    fn count_step(
        &mut self,
        answered: &Answered,
        instances: &Instances,
        batch: &mut Batch<'_>,
    ) -> &'static str {
        let at = self.next;
        let events = question::events(answered.as_ref().map(|matrix| values_at(matrix, at)));
        let outcome = if events.is_empty() { "empty" } else { "answered" };
        if !events.is_empty() {
            self.note_sample(batch, at);
        }
        for (labels, events) in events {
            self.tally.add(batch, instances, at, labels, events);
        }
        self.tally.end_groups(at);
        outcome
    }

    fn note_sample(&mut self, batch: &mut Batch<'_>, at: Timestamp) {
        let all = &self.tally.all;
        if !std::mem::replace(&mut self.is_seen, true) {
            all.note_live_series(1);
        }
        note_sample(all, batch, at, self.pulled.step);
    }

    /// Waits, twice as long each time, and asks for fewer steps if there may have been too many.
    fn put_off(&mut self, unanswered: Unanswered, at: Timestamp) {
        let Some((_, last)) = self.order.take() else { return };
        let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures += 1;
        self.retry_at = at + wait;
        if unanswered.may_be_of_size {
            let steps = last.since(self.next).as_millis() / self.pulled.step.as_millis().max(1) + 1;
            self.steps_max = (steps as i64 / 2).max(1);
        }
    }

    /// Gives up steps that have been pending for too long.
    fn expire(&mut self, at: Timestamp, telemetry: &PullMetrics) {
        let oldest = (at - PENDING_MAX).floor(self.pulled.step);
        if self.next >= oldest || self.order.is_some() {
            return;
        }
        let expired = oldest.since(self.next).as_millis() / self.pulled.step.as_millis().max(1);
        telemetry.steps.with_label_values(&["expired"]).inc_by(expired as u64);
        self.next = oldest;
        self.tally.end_groups(oldest);
    }

    /// Steps later than this were of a clock that was wrong; so is what is being asked.
    fn set_back(&mut self, at: Timestamp) {
        self.next = self.next.min(at.floor(self.pulled.step) + self.pulled.step);
        self.order = None;
        self.retry_at = self.retry_at.min(at);
        self.tally.set_back(at);
    }
}

fn with_labels_of_groups(matrix: Matrix) -> Matrix {
    matrix.into_iter().map(|(labels, samples)| (exported(labels.leave_out(&[])), samples)).collect()
}

fn values_at(matrix: &Matrix, at: Timestamp) -> Values {
    let value = |(labels, samples): &(Labels, Vec<(Timestamp, f64)>)| {
        let place = samples.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        Some((labels.clone(), samples[place].1))
    };
    matrix.iter().filter_map(value).collect()
}
