//! SLIs that a server is asked for: orders, answers and what is counted, without any server.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use slod::{
    matching::Role,
    report::{DataStatus, SloReport},
    sampling::{Answered, Order, Unanswered},
    slo::{Budgeting, Indicator, Objective, Pulled, Question, Slo, SloId, Target, workbook_alerts},
    testing::{World, parse_labels},
    time::Timestamp,
    window::Counts,
};

use crate::support::cases;

// A whole hour.
const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const FAILED: Unanswered = Unanswered { may_be_of_size: false };
const TOO_LARGE: Unanswered = Unanswered { may_be_of_size: true };

fn slo(question: Question<&str>, is_grouped: bool) -> Slo {
    let month = Duration::from_secs(30 * 86_400);
    let question = question.map(str::to_owned);
    Slo {
        id: SloId { service: "shop".into(), name: "pulled".into() },
        description: String::new(),
        labels: Default::default(),
        annotations: Default::default(),
        objective: Objective::rolling(Target::new(0.99).unwrap(), month),
        indicator: Indicator::Pulled(Pulled { question, step: MINUTE, is_grouped }),
        alerts: workbook_alerts(month, Budgeting::Occurrences),
        state_alerts: Vec::new(),
        inhibits: true,
    }
}

fn world() -> World {
    World::immediate(vec![slo(Question::BadRatio("bad"), false)], SECOND, NOW)
}

fn at(second: i64) -> Timestamp {
    Timestamp(NOW.0 + second * 1_000)
}

/// One series that has a value at each step of an order.
fn always(order: &Order, labels: &str, value: f64) -> Answered {
    let steps = (order.first.0..=order.last.0).step_by(order.step.as_millis() as usize);
    let samples: Vec<(Timestamp, f64)> = steps.map(|at| (Timestamp(at), value)).collect();
    order.question.clone().map(|_| vec![(parse_labels(labels).unwrap(), samples.clone())])
}

/// Evaluates every second, and tells what becomes of orders at once. Returns the orders and the last report.
fn run(
    world: &mut World,
    seconds: std::ops::Range<i64>,
    answer: impl Fn(&Order) -> Result<Answered, Unanswered>,
) -> (Vec<Order>, Vec<SloReport>) {
    let (mut orders, mut last) = (Vec::new(), Vec::new());
    for second in seconds {
        for order in world.poll_orders(at(second), 10) {
            world.handle_answer(order.number, answer(&order));
            orders.push(order);
        }
        last = world.tick(at(second)).snapshot().slos;
    }
    (orders, last)
}

fn events(slo: &SloReport) -> Counts {
    Counts { bad: slo.bad_events_total, total: slo.events_total }
}

/// First and last step of each order, in seconds.
fn steps(orders: &[Order]) -> Vec<(i64, i64)> {
    let second = |at: Timestamp| (at.0 - NOW.0) / 1_000;
    orders.iter().map(|order| (second(order.first), second(order.last))).collect()
}

#[test]
fn every_step_is_asked_for_once() {
    let mut world = world();
    let (orders, reports) = run(&mut world, 0..200, |order| Ok(always(order, "up", 0.25)));
    assert_eq!(steps(&orders), [(0, 0), (60, 60), (120, 120), (180, 180)]);
    assert_eq!(events(&reports[0]), Counts { bad: 1.0, total: 4.0 });
    assert_eq!((reports.len(), reports[0].role), (1, Role::Whole));
    // No sender was ever there, and none is needed.
    assert_eq!(reports[0].status, DataStatus::Ok);
}

#[test]
fn events_are_rates_of_both_and_what_is_missing_is_zero() {
    let question = Question::Events { bad: "bad", total: "total" };
    let mut world = World::immediate(vec![slo(question, false)], SECOND, NOW);
    let (_, reports) = run(&mut world, 0..61, |order| {
        let Question::Events { total, .. } = always(order, "up", 10.0) else { panic!("no events") };
        let bad = if order.first == at(0) { total.clone() } else { Vec::new() };
        Ok(Question::Events { bad, total })
    });
    assert_eq!(events(&reports[0]), Counts { bad: 10.0, total: 20.0 });
}

#[test]
fn an_outage_is_caught_up_with_and_nothing_counts_twice() {
    let mut world = world();
    run(&mut world, 0..61, |order| Ok(always(order, "up", 0.0)));
    let (refused, reports) = run(&mut world, 61..1_500, |_| Err(FAILED));
    assert!((20..40).contains(&refused.len()), "asked again {} times in 24 minutes", refused.len());
    assert_eq!(reports[0].status, DataStatus::Stale);
    assert!(reports[0].budgets[0].coverage < 1.0, "{:?}", reports[0].budgets);
    let (orders, reports) = run(&mut world, 1_500..1_621, |order| Ok(always(order, "up", 1.0)));
    assert_eq!(steps(&orders)[0], (120, 1_500));
    assert_eq!(events(&reports[0]), Counts { bad: 26.0, total: 28.0 });
    assert_eq!((reports[0].status, world.pulled("answered")), (DataStatus::Ok, 28));
    assert!(reports[0].budgets[0].coverage > 0.0);
}

#[test]
fn steps_that_are_far_apart_are_no_gaps() {
    let far = Duration::from_secs(120);
    let mut slo = slo(Question::BadRatio("bad"), false);
    slo.indicator = Indicator::Pulled(Pulled {
        question: Question::BadRatio("bad".to_owned()),
        step: far,
        is_grouped: false,
    });
    slo.objective = Objective::rolling(Target::new(0.99).unwrap(), far * 30);
    let mut world = World::immediate(vec![slo], SECOND, NOW);
    let (_, reports) = run(&mut world, 0..3_601, |order| Ok(always(order, "up", 0.0)));
    assert_eq!(reports[0].budgets[0].coverage, 1.0);
}

#[test]
fn what_is_too_much_at_once_is_asked_for_in_parts() {
    let mut world = world();
    run(&mut world, 0..1, |order| Ok(always(order, "up", 0.0)));
    let most = Duration::from_secs(300);
    let (orders, reports) = run(&mut world, 3_600..3_720, |order| {
        if order.last.since(order.first) > most { Err(TOO_LARGE) } else { Ok(always(order, "up", 1.0)) }
    });
    let asked = steps(&orders);
    assert_eq!(asked[..3], [(60, 3_600), (60, 1_800), (60, 900)]);
    assert_eq!(events(&reports[0]).total, 62.0, "{asked:?}");
}

#[test]
fn steps_of_more_than_three_hours_ago_are_given_up() {
    let mut world = world();
    run(&mut world, 0..1, |order| Ok(always(order, "up", 0.0)));
    let (orders, reports) = run(&mut world, 5 * 3_600..5 * 3_600 + 1, |order| Ok(always(order, "up", 0.0)));
    assert_eq!(steps(&orders), [(2 * 3_600, 5 * 3_600)]);
    assert_eq!((world.pulled("expired"), events(&reports[0]).total), (119, 182.0));
}

#[test]
fn queries_that_look_at_their_range_are_asked_step_by_step() {
    let question = Question::BadRatio("a @ end()");
    let mut world = World::immediate(vec![slo(question, false)], SECOND, NOW);
    run(&mut world, 0..1, |order| Ok(always(order, "up", 0.0)));
    let (orders, _) = run(&mut world, 200..210, |order| Ok(always(order, "up", 0.0)));
    assert_eq!(steps(&orders), [(60, 60), (120, 120), (180, 180)]);
}

#[test]
fn an_empty_answer_is_no_event() {
    let mut world = world();
    let (_, reports) = run(&mut world, 0..601, |order| Ok(order.question.clone().map(|_| Vec::new())));
    assert_eq!((events(&reports[0]), reports[0].status), (Counts::ZERO, DataStatus::NoSeries));
    assert_eq!(world.pulled("empty"), 11);
}

#[test]
fn every_label_set_of_an_answer_is_a_group() {
    let mut world = World::immediate(vec![slo(Question::BadRatio("bad"), true)], SECOND, NOW);
    let (_, reports) = run(&mut world, 0..61, |order| {
        let name = if order.first == at(0) { "up{job=\"a\",slo=\"x\"}" } else { "up{job=\"b\"}" };
        Ok(always(order, name, 1.0))
    });
    let found: Vec<String> = reports.iter().map(|slo| format!("{:?} {}", slo.role, slo.group)).collect();
    assert_eq!(
        found,
        ["RollUp {}", "Group {exported_slo=\"x\",job=\"a\"}", "Group {job=\"b\"}"],
        "no metric name, and no label of slod's own"
    );
    assert_eq!(events(&reports[0]), Counts { bad: 2.0, total: 2.0 });
}

#[test]
fn a_reload_keeps_what_is_on_its_way_of_an_slo_that_asks_the_same() {
    let mut world = world();
    let orders = world.poll_orders(at(0), 10);
    let mut stricter = slo(Question::BadRatio("bad"), false);
    stricter.objective.target = Target::new(0.999).unwrap();
    world.install(vec![stricter]);
    assert_eq!(world.poll_orders(at(1), 10), [], "the first order is out");
    world.handle_answer(orders[0].number, Ok(always(&orders[0], "up", 1.0)));
    world.handle_answer(orders[0].number, Ok(always(&orders[0], "up", 1.0)));
    assert_eq!(events(&world.tick(at(2)).snapshot().slos[0]).total, 1.0);

    let orders = world.poll_orders(at(60), 10);
    world.install(vec![slo(Question::BadRatio("other"), false)]);
    let others = world.poll_orders(at(61), 10);
    assert_eq!(steps(&others), [(60, 60)]);
    world.handle_answer(orders[0].number, Ok(always(&orders[0], "up", 1.0)));
    assert_eq!(events(&world.tick(at(62)).snapshot().slos[0]).total, 0.0, "the answer to another question");
}

#[test]
fn no_more_is_ordered_than_there_is_room_for_and_the_oldest_first() {
    let named = |name: &str| {
        let slo = slo(Question::BadRatio("bad"), false);
        Slo { id: SloId { name: name.to_owned(), ..slo.id.clone() }, ..slo }
    };
    let mut world = World::immediate(vec![named("a"), named("b")], SECOND, NOW);
    let first = world.poll_orders(at(0), 1);
    world.handle_answer(first[0].number, Ok(always(&first[0], "up", 0.0)));
    let second = world.poll_orders(at(60), 1);
    assert_eq!(steps(&second), [(0, 60)], "the one that was not asked yet");
    assert_eq!(world.poll_orders(at(60), 0), []);
}

fn restarted(before: &mut World, slos: Vec<Slo>, second: i64) -> World {
    let mut after = World::immediate(slos, SECOND, at(second));
    let state = before.export_steps();
    after.restore_steps(state, before, at(second));
    after
}

#[test]
fn after_a_restart_the_steps_since_are_asked_for_and_no_others() {
    let mut before = world();
    run(&mut before, 0..121, |order| Ok(always(order, "up", 1.0)));
    assert_eq!(steps(&before.poll_orders(at(180), 10)), [(180, 180)], "not answered any more");
    let asked = || slo(Question::BadRatio("bad"), false);
    let mut after = restarted(&mut before, vec![asked()], 400);
    assert_eq!(after.tick(at(400)).snapshot().slos[0].status, DataStatus::NoTraffic, "not stale");
    let (orders, reports) = run(&mut after, 400..421, |order| Ok(always(order, "up", 1.0)));
    assert_eq!(steps(&orders), [(180, 360), (420, 420)]);
    assert_eq!(events(&reports[0]).total, 5.0);

    // Too long ago for all of them.
    let mut after = restarted(&mut before, vec![asked()], 86_400);
    assert_eq!(steps(&after.poll_orders(at(86_400), 10)), [(86_400 - 3 * 3_600, 86_400)]);
    // The clock that they were of was wrong.
    let mut after = restarted(&mut before, vec![asked()], -3_600);
    let (orders, _) = run(&mut after, -3_600..-3_400, |order| Ok(always(order, "up", 1.0)));
    assert_eq!(steps(&orders), [(-3_540, -3_540), (-3_480, -3_480), (-3_420, -3_420)]);
    // Another question.
    let mut after = restarted(&mut before, vec![slo(Question::BadRatio("other"), false)], 400);
    assert_eq!(steps(&after.poll_orders(at(400), 10)), [(360, 360)]);
}

#[test]
fn groups_of_answers_live_on_after_a_restart() {
    let asked = || slo(Question::BadRatio("bad"), true);
    let mut before = World::immediate(vec![asked()], SECOND, NOW);
    run(&mut before, 0..121, |order| Ok(always(order, "up{job=\"a\"}", 1.0)));
    let (_, state) = before.export_steps();
    let mut after = restarted(&mut before, vec![asked()], 130);
    assert_eq!(after.export_steps().1.slos, state.slos);
    let (_, reports) = run(&mut after, 130..181, |order| Ok(always(order, "up{job=\"a\"}", 1.0)));
    let totals: Vec<f64> = reports.iter().map(|slo| slo.events_total).collect();
    assert_eq!(totals, [1.0, 1.0], "the group and all");
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever fails in between and however long answers take: each step counts once.
    #[test]
    fn each_step_counts_once(fates in prop::collection::vec((0..4u8, 1..200i64), 1..60)) {
        let mut world = world();
        let (mut waiting, mut counted) = (Vec::<Order>::new(), BTreeSet::new());
        let mut second = 0;
        for (fate, pause) in fates {
            waiting.extend(world.poll_orders(at(second), 10));
            let Some(order) = waiting.first().cloned() else { second += pause; continue };
            match fate {
                0 => (),
                1 => world.handle_answer(waiting.remove(0).number, Err(TOO_LARGE)),
                2 => world.handle_answer(waiting.remove(0).number, Err(FAILED)),
                _ => {
                    waiting.remove(0);
                    let steps = (order.first.0..=order.last.0).step_by(60_000);
                    steps.for_each(|step| prop_assert_step(counted.insert(step)));
                    world.handle_answer(order.number, Ok(always(&order, "up", 1.0)));
                    world.handle_answer(order.number, Ok(always(&order, "up", 1.0)));
                }
            }
            world.tick(at(second));
            second += pause;
        }
        let report = world.tick(at(second)).snapshot();
        prop_assert_eq!(events(&report.slos[0]).total, counted.len() as f64);
    }
}

#[track_caller]
fn prop_assert_step(is_new: bool) {
    assert!(is_new, "a step is asked for again that was answered");
}
