//! Engines that are stopped and restored beside one that runs through, and what is written of them.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    matching::{Known, Plan},
    report::{DataStatus, Report, SloReport, Snapshot},
    spec,
    telemetry::Telemetry,
    time::Latest,
    window::Layout,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// A midnight of UTC.
const START: Timestamp = Timestamp(1_700_006_400_000);
const ZONES: [&str; 2] = ["a", "b"];

// === an engine and who counts for it ===

/// An engine, and the far side of what it counts.
struct Side {
    instances: Arc<Instances>,
    /// By number.
    known: Vec<Arc<Instance>>,
    /// By number: whether one of its series has been met since the start.
    met: Vec<bool>,
    open: Arc<OpenSlots>,
    engine: Engine,
    last_request: Latest,
}

/// What happens to it.
#[derive(Clone, Debug)]
enum Event {
    Sample { sli: usize, at: Timestamp },
    Add { sli: usize, from: Timestamp, to: Timestamp, counts: Counts },
    LateArrival { sli: usize, now: Timestamp },
    Tick { now: Timestamp },
}

/// SLOs of every kind, with these windows of alerts.
fn plan(short: &str, long: &str, resolution: Duration) -> Plan {
    let alert = |severity| {
        format!(
            "{{severity: {severity}, burn_rate: 2, window: {long}, short_window: {short}, for: 20s, \
             keep_firing_for: 30s}}"
        )
    };
    let (page, ticket) = (alert("page"), alert("ticket"));
    let spec = |name: &str, sli: &str, objective: &str, alerts: &str| {
        format!(
            "---\napiVersion: slod.dev/v1\nkind: ServiceLevelObjective\nmetadata: {{name: {name}, service: s}}\n\
             spec:\n  sli: {{type: availability, bad: 'sum(rate(errors_total[5m]))', total: 'sum(rate(requests_total[5m]))'{sli}}}\n  \
             objective: {{target: 90, {objective}}}\n{alerts}"
        )
    };
    let states = "budget_alerts: [{severity: page, remaining_below: 50%, for: 10s}, \
        {severity: page, exhausted: true}, {severity: ticket, exhausted_within: 1h, keep_firing_for: 20s}, \
        {severity: ticket, dropped_by: 5%, within: 30m}], \
        no_data_alerts: [{severity: ticket, for: 10s, \
        status: [stale, sender_down, no_series, no_traffic, catching_up]}]";
    let alerting = format!("  alerting: {{burn_rate_alerts: [{page}, {ticket}], {states}}}\n");
    let none = "  alerting: {burn_rate_alerts: []}\n";
    let slices = "window: 6h, budgeting: Timeslices, slice: {window: 1m, target: 95}";
    let ratio_slices = "window: 6h, budgeting: RatioTimeslices, slice: {window: 1m}";
    let calendars = "windows: [7d, {calendar: day, time_zone: Asia/Kolkata}, {calendar: month}]";
    let text = [
        spec("short", "", "window: 1h", &alerting),
        spec("month", "", "window: 30d", ""),
        spec("slices", "", slices, none),
        spec("ratio", "", ratio_slices, none),
        spec("calendars", "", calendars, &alerting),
        spec("zones", ", group_by: [zone]", "window: 2h", &alerting),
    ];
    let specs = spec::read("test.yaml", &text.concat());
    assert_eq!(specs.slos.len(), text.len(), "{:?}", specs.diagnostics);
    Plan::new(specs.slos, resolution)
}

fn config() -> Config {
    Config { delay: SECOND * 3, ..Config::default() }
}

/// The instances of a plan: those of its SLOs, then two groups of the last one.
fn instances(plan: Plan) -> Arc<Instances> {
    let instances = Arc::new(Instances::new(Arc::new(plan), 100));
    open_groups(&instances);
    instances
}

/// The same after a restart.
fn continued(plan: Plan) -> Arc<Instances> {
    let before = instances(plan);
    let known = before.directory().instances.into_iter().map(|instance| Known {
        sli: instance.sli,
        slo_index: instance.slo_index,
        role: instance.role,
        group: instance.group.clone(),
    });
    Arc::new(Instances::continued(before.plan(), 100, known.collect(), &HashMap::new()).0)
}

fn open_groups(instances: &Instances) -> Vec<Arc<Instance>> {
    let plan = instances.plan();
    let last = plan.slos().len() - 1;
    let group = |zone: &str| {
        let labels = Labels::new([("zone", zone)]).expect("a label");
        instances.group(plan.generation(), last, &labels).expect("there is room for groups")
    };
    let all = (0..=last).filter_map(|slo| instances.of_all(plan.generation(), slo));
    all.chain(ZONES.iter().map(|zone| group(zone))).collect()
}

impl Side {
    fn new(plan: Plan) -> Self {
        let (instances, open) = (instances(plan), Arc::new(OpenSlots::new(config().resolution())));
        let telemetry = Telemetry::new().evaluation;
        let engine = Engine::new(config(), Arc::clone(&instances), Arc::clone(&open), telemetry, START);
        let known = open_groups(&instances);
        known.iter().for_each(|instance| instance.note_live_series(1));
        let met = vec![true; known.len()];
        Self { instances, known, met, open, engine, last_request: Latest::default() }
    }

    fn restored(plan: Plan, state: State, now: Timestamp) -> Self {
        Self::restored_by(config(), plan, state, now)
    }

    fn restored_by(config: Config, plan: Plan, state: State, now: Timestamp) -> Self {
        let (instances, open) = (continued(plan), Arc::new(OpenSlots::new(config.resolution())));
        let telemetry = Telemetry::new().evaluation;
        let Restored { engine, lost, pending_lost } =
            Engine::restored(config, Arc::clone(&instances), Arc::clone(&open), telemetry, now, state);
        assert_eq!((lost, pending_lost), (Vec::new(), 0));
        let known = open_groups(&instances);
        let met = vec![false; known.len()];
        Self { instances, known, met, open, engine, last_request: Latest::default() }
    }

    fn handle(&mut self, event: &Event) -> Option<Arc<Report>> {
        match *event {
            Event::Sample { sli, at } => {
                let instance = &self.known[sli];
                if !std::mem::replace(&mut self.met[sli], true) {
                    instance.note_live_series(1);
                }
                if let Some(unseen_since) = instance.note_sample(at) {
                    self.open.batch().note_unseen(instance.sli, unseen_since.0, at.0);
                }
            }
            Event::Add { sli, from, to, counts } => {
                self.known[sli].add(&mut self.open.batch(), from, to, counts);
            }
            Event::LateArrival { sli, now } => self.known[sli].note_late_arrival(now),
            Event::Tick { now } => {
                self.last_request.note(now);
                return Some(self.engine.tick(now, &self.last_request));
            }
        }
        None
    }

    /// Puts another plan in force, as a reload does.
    fn install(&mut self, plan: Plan) {
        self.instances.install(plan);
        self.known = open_groups(&self.instances);
    }

    /// A checkpoint on top of those before; while it is made, something happens.
    fn checkpoint(&mut self, state: &mut State, scope: Scope, meanwhile: &[Event]) {
        let mark = self.engine.mark();
        meanwhile.iter().for_each(|event| assert!(self.handle(event).is_none()));
        state.begin_export(scope);
        self.engine.export(&mark, scope, &mut |part| state.apply(part));
    }

    fn everything(&mut self) -> State {
        let mut state = State::default();
        self.checkpoint(&mut state, Scope::Everything, &[]);
        state
    }
}

// === the same as if nothing had happened ===

/// What happens, in seconds before the present.
#[derive(Clone, Debug)]
enum Step {
    Live { sli: usize, bad: u32, total: u32 },
    Add { sli: usize, age: i64, length: i64, bad: u32, total: u32 },
    LateArrival { sli: usize },
    Advance { seconds: i64 },
    Checkpoint { is_everything: bool, meanwhile: usize },
    Restart,
    ChangePlan { is_other: bool },
}

const SLIS: RangeInclusive<usize> = 0..=7;

fn any_step() -> impl Strategy<Value = Step> {
    let age = prop_oneof![4 => -3i64..10, 1 => -60i64..0, 2 => 0i64..4_000, 1 => 0i64..3_000_000];
    let length = prop_oneof![3 => Just(0i64), 1 => 1i64..10_000];
    let seconds = prop_oneof![
        20 => Just(1i64), 8 => 2i64..20, 4 => 20i64..900, 1 => 900i64..50_000, 1 => 50_000i64..3_000_000,
        1 => -20i64..0, 1 => -50_000i64..-20,
    ];
    prop_oneof![
        16 => (SLIS, 0u32..30, 0u32..300).prop_map(|(sli, bad, total)| Step::Live { sli, bad, total }),
        8 => (SLIS, age, length, 0u32..300, 0u32..70_000)
            .prop_map(|(sli, age, length, bad, total)| Step::Add { sli, age, length, bad, total }),
        1 => SLIS.prop_map(|sli| Step::LateArrival { sli }),
        24 => seconds.prop_map(|seconds| Step::Advance { seconds }),
        4 => (any::<bool>(), 0usize..4)
            .prop_map(|(is_everything, meanwhile)| Step::Checkpoint { is_everything, meanwhile }),
        3 => Just(Step::Restart),
        1 => any::<bool>().prop_map(|is_other| Step::ChangePlan { is_other }),
    ]
}

/// One engine that runs through, and one that is stopped and restored again and again.
struct Pair {
    through: Side,
    stopped: Side,
    state: State,
    /// What the log has from the last checkpoint on.
    log: Vec<Event>,
    plan: fn() -> Plan,
    now: Timestamp,
    counts_of_one: f64,
}

fn usual_plan() -> Plan {
    plan("1m", "5m", config().resolution())
}

fn other_plan() -> Plan {
    plan("30s", "2h", config().resolution())
}

impl Pair {
    fn new(counts_of_one: f64) -> Self {
        let mut stopped = Side::new(usual_plan());
        let mut through = Side::new(usual_plan());
        // Only a tick sets back the times of instances, and only of those that it knows.
        for side in [&mut through, &mut stopped] {
            side.handle(&Event::Tick { now: START });
        }
        let (state, log) = (stopped.everything(), Vec::new());
        Self { through, stopped, state, log, plan: usual_plan, now: START, counts_of_one }
    }

    fn take(&mut self, steps: &[Step]) {
        let mut steps = steps.iter();
        while let Some(step) = steps.next() {
            match *step {
                Step::Advance { seconds } => {
                    self.now = Timestamp(self.now.0 + seconds * 1_000);
                    self.tick();
                }
                Step::Checkpoint { is_everything, meanwhile } => {
                    let meanwhile = steps.as_slice().iter().take(meanwhile);
                    let meanwhile: Vec<Event> = meanwhile.flat_map(|step| self.events(step)).collect();
                    let scope = if is_everything { Scope::Everything } else { Scope::Changed };
                    self.stopped.checkpoint(&mut self.state, scope, &meanwhile);
                    meanwhile.iter().for_each(|event| assert!(self.through.handle(event).is_none()));
                    self.log = meanwhile;
                }
                Step::Restart => self.restart(),
                Step::ChangePlan { is_other } => self.change_plan(is_other),
                Step::Live { .. } | Step::Add { .. } | Step::LateArrival { .. } => {
                    for event in self.events(step) {
                        self.through.handle(&event);
                        self.stopped.handle(&event);
                        self.log.push(event);
                    }
                }
            }
        }
        // What follows tells whether they are the same in what no report says.
        for seconds in [1, 1, 10, 120, 3_600, 86_400] {
            self.now = self.now + SECOND * seconds;
            self.tick();
        }
        self.stopped.checkpoint(&mut self.state, Scope::Changed, &[]);
        let all = self.stopped.everything();
        let mut again = Side::restored((self.plan)(), self.state.clone(), self.now);
        assert_eq!(again.everything(), all, "what is restored is what was stored");
    }

    fn events(&self, step: &Step) -> Vec<Event> {
        let counts = |bad: u32, total: u32| Counts {
            bad: f64::from(bad) * self.counts_of_one,
            total: f64::from(total) * self.counts_of_one,
        };
        match *step {
            Step::Live { sli, bad, total } => {
                let at = Timestamp(self.now.0 - 500);
                let add = Event::Add { sli, from: at, to: at, counts: counts(bad, total) };
                vec![Event::Sample { sli, at }, add]
            }
            Step::Add { sli, age, length, bad, total } => {
                let to = Timestamp(self.now.0 - age * 1_000);
                vec![Event::Add { sli, from: to - SECOND * length as u32, to, counts: counts(bad, total) }]
            }
            Step::LateArrival { sli } => vec![Event::LateArrival { sli, now: self.now }],
            _ => Vec::new(),
        }
    }

    fn tick(&mut self) {
        let tick = Event::Tick { now: self.now };
        let [through, stopped] =
            [&mut self.through, &mut self.stopped].map(|side| side.handle(&tick).expect("a tick"));
        self.log.push(tick);
        self.check(&through.snapshot(), &stopped.snapshot());
        if self.counts_of_one == 1.0 {
            let states = |report: &Report| {
                let alerts = report.alerts().into_iter();
                alerts.map(|alert| (alert.labels, alert.state, alert.is_muted)).collect::<Vec<_>>()
            };
            assert_eq!(states(&through), states(&stopped));
        }
    }

    fn restart(&mut self) {
        self.stopped = Side::restored((self.plan)(), self.state.clone(), self.now);
        for event in &self.log {
            self.stopped.handle(event);
        }
    }

    /// A reload at the one, and a restart with another configuration at the other.
    fn change_plan(&mut self, is_other: bool) {
        self.tick();
        self.plan = if is_other { other_plan } else { usual_plan };
        self.through.install((self.plan)());
        self.stopped.checkpoint(&mut self.state, Scope::Changed, &[]);
        self.log.clear();
        self.restart();
        self.tick();
    }

    fn check(&self, through: &Snapshot, stopped: &Snapshot) {
        assert_eq!(through.evaluated_at, stopped.evaluated_at);
        assert_eq!(through.slos.len(), stopped.slos.len());
        for (through, stopped) in through.slos.iter().zip(&stopped.slos) {
            let is_exact = self.counts_of_one == 1.0 && through.slo.id.name != "ratio";
            assert_eq!(through.status, stopped.status, "{}", through.slo.id);
            assert_eq!(through.last_sample, stopped.last_sample, "{}", through.slo.id);
            if is_exact {
                assert_eq!(through.alerts, stopped.alerts, "{}", through.slo.id);
                assert_eq!((counts(through), budgets(through)), (counts(stopped), budgets(stopped)));
            } else {
                let is_close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * a.abs().max(1.0);
                let (through, stopped) = (counts(through), counts(stopped));
                assert!(through.iter().zip(&stopped).all(is_close), "{through:?} {stopped:?}");
            }
        }
    }
}

fn counts(slo: &SloReport) -> Vec<f64> {
    let windows = slo.windows.iter().flat_map(|window| [window.events, window.bad_events]);
    windows.chain([slo.events_total, slo.bad_events_total]).collect()
}

/// But for recoveries, which are worked out anew.
fn budgets(slo: &SloReport) -> Vec<(f64, f64, Option<Duration>)> {
    let of =
        |budget: &crate::report::BudgetReport| (budget.remaining, budget.coverage, budget.time_to_exhaustion);
    slo.budgets.iter().map(of).collect()
}

/// Of some hundred ticks each, so fewer than usual, unless another number is asked for.
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let is_asked = std::env::var_os("PROPTEST_CASES").is_some();
    if is_asked { usual } else { ProptestConfig::with_cases(64) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_restart_changes_nothing(steps in proptest::collection::vec(any_step(), 1..150)) {
        Pair::new(1.0).take(&steps);
    }

    #[test]
    fn a_restart_changes_nothing_of_fractions(steps in proptest::collection::vec(any_step(), 1..150)) {
        Pair::new(1.0 / 7.0).take(&steps);
    }
}

// === what is written ===

/// A live side in which the first SLO burns.
fn burning() -> (Side, Timestamp) {
    let mut side = Side::new(usual_plan());
    let mut now = START;
    for _ in 0..900 {
        now = now + SECOND;
        for event in live(0, now, 5.0) {
            side.handle(&event);
        }
        side.handle(&Event::Tick { now });
    }
    (side, now)
}

fn live(sli: usize, now: Timestamp, bad: f64) -> [Event; 2] {
    let counts = Counts { bad, total: 10.0 };
    [Event::Sample { sli, at: now }, Event::Add { sli, from: now, to: now, counts }]
}

fn exported(side: &mut Side, scope: Scope) -> Vec<Exported> {
    let mut parts = Vec::new();
    let mark = side.engine.mark();
    side.engine.export(&mark, scope, &mut |part| parts.push(part));
    parts
}

fn rings(parts: &[Exported]) -> Vec<(u32, RingPlace)> {
    let ring = |part: &Exported| match part {
        Exported::Ring(sli, place, _) => Some((sli.0, *place)),
        _ => None,
    };
    parts.iter().filter_map(ring).collect()
}

#[test]
fn only_rings_that_changed_are_written_again() {
    let (mut side, mut now) = burning();
    let of_first = |tiers: &[u8]| tiers.iter().map(|tier| (0, RingPlace::Tier(*tier))).collect::<Vec<_>>();
    let all = exported(&mut side, Scope::Everything);
    assert_eq!(rings(&all), of_first(&[0, 1]), "an SLI without events has no rings");
    assert_eq!(rings(&exported(&mut side, Scope::Changed)), []);
    // Slots of a second and of five.
    for (seconds, expected) in [(1, of_first(&[0])), (5, of_first(&[0, 1]))] {
        for _ in 0..seconds {
            now = now + SECOND;
            live(0, now, 0.0).iter().for_each(|event| assert!(side.handle(event).is_none()));
            side.handle(&Event::Tick { now });
        }
        assert_eq!(rings(&exported(&mut side, Scope::Changed)), expected);
    }
    let late = now - HOUR * 2;
    side.handle(&Event::Add { sli: 1, from: late, to: late, counts: Counts { bad: 0.0, total: 1.0 } });
    side.handle(&Event::Tick { now });
    let month: Vec<u8> = (1..4).collect();
    let expected: Vec<_> = month.iter().map(|tier| (1, RingPlace::Tier(*tier))).collect();
    assert_eq!(rings(&exported(&mut side, Scope::Changed)), expected);
}

#[test]
fn a_ring_that_holds_nothing_any_more_is_not_kept() {
    let (mut side, mut now) = burning();
    let mut state = side.everything();
    assert!(!state.slis[&SliId(0)].rings.is_empty());
    for _ in 0..300 {
        now = now + SECOND * 60;
        side.handle(&Event::Tick { now });
    }
    side.checkpoint(&mut state, Scope::Changed, &[]);
    assert!(state.slis[&SliId(0)].rings.is_empty());
    assert_eq!(state.slis[&SliId(0)].head.row.lifetime.total, 9_000.0);
}

#[test]
fn of_a_group_that_went_and_one_that_has_its_number_only_the_latter_stays() {
    let mut side = Side::new(usual_plan());
    let mut now = START;
    live(7, now, 5.0).iter().for_each(|event| assert!(side.handle(event).is_none()));
    for _ in 0..100 {
        now = now + SECOND * 10;
        side.handle(&Event::Tick { now });
    }
    let mut state = side.everything();
    assert!(!state.slis[&SliId(7)].rings.is_empty());
    side.known.truncate(7);
    for _ in 0..200 {
        now = now + SECOND * 61;
        side.handle(&Event::Tick { now });
    }
    let labels = Labels::new([("zone", "c")]).unwrap();
    let next = side.instances.group(0, 5, &labels).unwrap();
    assert_eq!(next.sli, SliId(7), "its number was free again");
    side.checkpoint(&mut state, Scope::Changed, &[]);
    let stored = &state.slis[&SliId(7)];
    assert!(stored.rings.is_empty());
    assert_eq!((stored.head.row.lifetime, stored.head.presence), (Counts::ZERO, PresenceState::default()));
}

#[test]
fn what_no_instance_has_any_more_is_dropped() {
    let (mut side, now) = burning();
    side.handle(&Event::Add { sli: 7, from: now, to: now, counts: Counts { bad: 0.0, total: 1.0 } });
    let mut state = side.everything();
    let mut spare = state.slis[&SliId(0)].clone();
    spare.head.published = Counts::ZERO;
    state.slis.insert(SliId(99), spare);
    state.pending.push(PendingState { sli: SliId(99), from: now, to: now, counts: None });
    let mut again = Side::restored(usual_plan(), state, now);
    assert!(exported(&mut again, Scope::Changed).contains(&Exported::Removed(SliId(99))));
    again.handle(&Event::Tick { now: now + SECOND * 10 });
    assert_eq!(again.open.deferred(), 0, "nothing waits for an SLI that will not come");
}

#[test]
fn a_restart_with_another_resolution_loses_nothing() {
    let (mut side, mut now) = burning();
    // In a slot that is open still, and far ahead.
    live(0, now, 0.0).iter().for_each(|event| assert!(side.handle(event).is_none()));
    live(0, now + SECOND * 40, 0.0).iter().for_each(|event| assert!(side.handle(event).is_none()));
    let config = Config { interval: SECOND * 20, ..config() };
    assert_eq!(side.engine.windows.now().0 % 20_000, 17_000, "it ends between two steps of the other");
    let plan = plan("1m", "5m", config.resolution());
    let mut again = Side::restored_by(config, plan, side.everything(), now);
    for _ in 0..120 {
        now = now + SECOND;
        live(0, now, 0.0).iter().for_each(|event| assert!(again.handle(event).is_none()));
        tick(&mut again, now);
    }
    let slo = tick(&mut again, now + SECOND * 23);
    assert_eq!((slo.events_total, slo.bad_events_total), (10_220.0, 4_500.0));
    assert_eq!(
        slo.window(SECOND * 60).unwrap().events,
        400.0,
        "of a minute that ended 20 s after the last event"
    );
}

// === alerts and data statuses ===

fn first(report: &Report) -> SloReport {
    report.snapshot().slos.remove(0)
}

fn tick(side: &mut Side, now: Timestamp) -> SloReport {
    first(&side.handle(&Event::Tick { now }).expect("a tick"))
}

#[test]
fn a_restart_alone_resolves_nothing() {
    let (mut side, now) = burning();
    assert_eq!(tick(&mut side, now).alerts[0].level, 2);
    let mut again = Side::restored(usual_plan(), side.everything(), now);
    // Six hours later nobody has heard anything yet.
    let up = now + HOUR * 6;
    again.engine.resume(up);
    for second in [0, 1, 60, 250] {
        let slo = first(&again.engine.tick(up + SECOND * second, &Latest::default()));
        assert_eq!((slo.alerts[0].level, slo.alerts[1].level), (2, 2), "{second} s after the restart");
    }
    let slo = first(&again.engine.tick(up + SECOND * 301, &Latest::default()));
    assert_eq!((slo.status, slo.alerts[0].level), (DataStatus::SenderDown, 0));
}

#[test]
fn an_alert_that_waited_does_not_fire_for_the_time_in_which_nobody_looked() {
    let mut side = Side::new(usual_plan());
    let mut now = START;
    let step = |side: &mut Side, now: Timestamp| {
        live(0, now - SECOND * 3, 9.0).iter().for_each(|event| assert!(side.handle(event).is_none()));
        tick(side, now).alerts[0].level
    };
    let mut pending = 0;
    while pending < 10 {
        now = now + SECOND;
        pending += u32::from(step(&mut side, now) == 1);
    }
    let mut again = Side::restored(usual_plan(), side.everything(), now);
    now = now + SECOND * 30;
    again.engine.resume(now);
    let levels: Vec<u8> = (0..15).map(|second| step(&mut again, now + SECOND * second)).collect();
    // Of its 20 s it had waited 9.
    assert_eq!(levels.iter().position(|level| *level == 2), Some(11), "{levels:?}");
}

#[test]
fn series_that_were_live_are_taken_to_be_until_they_would_be_stale() {
    let (mut side, now) = burning();
    let mut again = Side::restored(usual_plan(), side.everything(), now);
    assert_eq!(tick(&mut again, now + SECOND).status, DataStatus::Ok);
    assert_eq!(tick(&mut again, now + SECOND * 300).status, DataStatus::NoTraffic);
    assert_eq!(tick(&mut again, now + SECOND * 310).status, DataStatus::Stale);
    live(0, now + SECOND * 310, 0.0).iter().for_each(|event| assert!(again.handle(event).is_none()));
    assert_eq!(tick(&mut again, now + SECOND * 320).status, DataStatus::Ok);
}

// === states that cannot be ===

/// Breaks what is stored of the first SLI: it begins anew, is told, and the others do not notice.
#[track_caller]
fn check_lost(break_it: impl FnOnce(&mut SliState), expected: &str) {
    let (mut side, now) = burning();
    live(2, now, 5.0).iter().for_each(|event| assert!(side.handle(event).is_none()));
    side.handle(&Event::Tick { now: now + SECOND * 10 });
    let mut state = side.everything();
    break_it(state.slis.get_mut(&SliId(0)).unwrap());
    let open = Arc::new(OpenSlots::new(config().resolution()));
    let telemetry = Telemetry::new().evaluation;
    let restored = Engine::restored(config(), continued(usual_plan()), open, telemetry, now, state.clone());
    let lost: Vec<String> = restored.lost.iter().map(ToString::to_string).collect();
    assert_eq!(lost, [format!("cannot restore the history of s/short{{}}, which begins anew: {expected}")]);
    let mut engine = restored.engine;
    let snapshot = engine.tick(now + SECOND * 10, &Latest::default()).snapshot();
    assert_eq!((snapshot.slos[0].events_total, snapshot.slos[2].events_total), (0.0, 1.0));
}

#[test]
fn a_state_that_cannot_be_costs_its_own_instance_only() {
    let layout = |change: fn(&mut Layout)| {
        move |state: &mut SliState| change(Arc::make_mut(&mut state.head.row.layout))
    };
    let unsound = "the layout it was stored with is not sound: ";
    check_lost(layout(|l| l.tiers[0].slot_ms = 0), &format!("{unsound}the slots of a tier have no length"));
    check_lost(layout(|l| l.tiers[0].slots = 0), &format!("{unsound}a tier has too few or too many slots"));
    check_lost(layout(|l| l.tiers[0].slots = 9), &format!("{unsound}a tier does not serve its windows"));
    check_lost(layout(|l| l.windows[0].tier = 7), &format!("{unsound}a tier does not serve its windows"));
    check_lost(layout(|l| l.tiers[0].end_window = 9), &format!("{unsound}a tier does not serve its windows"));
    check_lost(layout(|l| l.windows[0].length_ms = i64::MAX), &format!("{unsound}a window has no length"));
    check_lost(layout(|l| l.windows.reverse()), &format!("{unsound}its windows are not in order"));
    check_lost(layout(|l| l.resolution_ms = -1), &format!("{unsound}its resolution is no length of time"));
    let slices = "it was stored in other slices of time than its SLO counts in";
    check_lost(layout(|l| l.slices = Some(window::Slices { width_ms: 60_000, good_from: None })), slices);
    let ring = |tier| RingPlace::Tier(tier);
    check_lost(
        |state| state.rings.get_mut(&ring(0)).unwrap().slots.truncate(10),
        "the ring of tier 0 is not that of its layout: 10 bytes, 1 a number",
    );
    check_lost(
        |state| {
            let moved = state.rings[&ring(0)].clone();
            state.rings.insert(ring(9), moved);
        },
        "it was stored with 2 rings of slots, of which 3 are there",
    );
    check_lost(
        |state| state.rings.get_mut(&ring(0)).unwrap().newest += 1,
        "the ring of tier 0 is not that of its layout: 602 bytes, 1 a number",
    );
    check_lost(|state| state.head.row.tails.clear(), "it was stored with 0 tiers, its layout has 2");
    let unbounded = "it was stored with counts or times that are beyond all bounds";
    check_lost(|state| state.head.row.tails[0].bad = f64::NAN, unbounded);
    check_lost(|state| state.head.row.lifetime.total = f64::INFINITY, unbounded);
    check_lost(|state| state.head.row.since = Some(Timestamp(i64::MAX)), unbounded);
    check_lost(
        |state| state.head.row.at = state.head.row.at + SECOND,
        "it was stored at 1700007308.000, after all others, at 1700007307.000",
    );
}
