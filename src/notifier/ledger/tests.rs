//! Prometheus' rules in tables, and what holds of any stream of alerts.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{labels::Labels, spec};

const SECOND: Duration = Duration::from_secs(1);
const PACE: Pace =
    Pace { resend_delay: Duration::from_secs(60), validity: Duration::from_secs(240), may_forget: true };

fn alert(name: &str, state: AlertState, is_muted: bool) -> (Key, Alert) {
    let slo = spec::read("slo.yaml", SLO).slos.remove(0);
    let labels = BTreeMap::from([("slo".to_owned(), name.to_owned())]);
    let alert = Alert {
        slo: Arc::new(slo),
        group: Labels::default(),
        labels,
        annotations: BTreeMap::new(),
        state,
        is_muted,
        value: 1.0,
        reason: String::new(),
    };
    (Key::of(&alert.labels), alert)
}

const SLO: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    query: sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))
  objective: {target: 99, window: 30d}
"#;

fn at(second: i64) -> Timestamp {
    Timestamp(second * 1_000)
}

fn firing(since: i64) -> AlertState {
    AlertState::Firing { since: at(since), active_at: at(since), held_at: at(since), kept_since: None }
}

fn pending(since: i64) -> AlertState {
    AlertState::Pending { since: at(since), held_at: at(since) }
}

fn resolved(since: i64, until: i64) -> AlertState {
    AlertState::Resolved { since: at(since), at: at(until) }
}

/// When, an alert's state and whether it is muted, and what is told.
type Evaluation<'a> = (i64, Option<(AlertState, bool)>, &'a str);

/// What is told in each of these evaluations: when, of what state, whether muted. `None` is an alert that is not there.
#[track_caller]
fn check(pace: Pace, evaluations: &[Evaluation<'_>]) {
    let mut ledger = Ledger::new(pace);
    for (second, state, expected) in evaluations {
        let alerts: Vec<_> = state.iter().map(|(state, muted)| alert("a", *state, *muted)).collect();
        let due = ledger.due(&alerts, at(*second));
        due.iter().for_each(|due| ledger.note(due, at(*second)));
        let said = |due: &Due| {
            format!("{} {}-{}", due.status.name(), due.starts_at.0 / 1_000, due.ends_at.0 / 1_000)
        };
        assert_eq!(due.iter().map(said).collect::<String>(), *expected, "at {second}");
    }
}

const LOUD: bool = false;
const MUTED: bool = true;

#[test]
fn firing_is_told_at_once_and_again_and_its_end_for_a_quarter_of_an_hour() {
    check(
        PACE,
        &[
            (0, Some((pending(0), LOUD)), ""),
            (10, Some((firing(10), LOUD)), "firing 10-250"),
            (11, Some((firing(10), LOUD)), ""),
            (70, Some((firing(10), LOUD)), ""),
            (71, Some((firing(10), LOUD)), "firing 10-311"),
            (100, Some((resolved(10, 100), LOUD)), "resolved 10-100"),
            (160, Some((resolved(10, 100), LOUD)), ""),
            (161, Some((resolved(10, 100), LOUD)), "resolved 10-100"),
            (1_001, None, ""),
        ],
    );
}

#[test]
fn the_same_incident_goes_on_after_a_restart() {
    check(PACE, &[(500, Some((firing(10), LOUD)), "firing 10-740")]);
    check(PACE, &[(500, Some((resolved(10, 400), LOUD)), "resolved 10-400")]);
}

#[test]
fn an_alert_that_fires_again_is_told_at_once_with_its_new_start() {
    check(
        PACE,
        &[
            (10, Some((firing(10), LOUD)), "firing 10-250"),
            (20, Some((resolved(10, 20), LOUD)), "resolved 10-20"),
            (30, Some((firing(30), LOUD)), "firing 30-270"),
            // Nobody looked between two evaluations.
            (40, Some((firing(39), LOUD)), "firing 39-280"),
            (50, Some((resolved(45, 48), LOUD)), "resolved 45-48"),
        ],
    );
}

#[test]
fn what_is_pending_again_was_resolved() {
    check(
        PACE,
        &[
            (10, Some((firing(10), LOUD)), "firing 10-250"),
            (20, Some((pending(19), LOUD)), "resolved 10-20"),
            (21, Some((pending(19), LOUD)), ""),
            (22, Some((firing(22), LOUD)), "firing 22-262"),
        ],
    );
}

#[test]
fn what_is_muted_is_not_told_any_more_and_comes_back_if_it_still_fires() {
    check(
        PACE,
        &[
            (0, Some((firing(0), LOUD)), "firing 0-240"),
            (30, Some((firing(0), MUTED)), ""),
            (100, Some((firing(0), MUTED)), ""),
            // The Alertmanager took it to end at 240.
            (300, Some((firing(0), LOUD)), "firing 0-540"),
            (310, Some((firing(0), MUTED)), ""),
            // Muted for a moment only: it is known to fire.
            (320, Some((firing(0), LOUD)), ""),
            (330, Some((resolved(0, 330), MUTED)), "resolved 0-330"),
        ],
    );
    check(PACE, &[(0, Some((firing(0), MUTED)), ""), (9, Some((resolved(0, 9), MUTED)), "")]);
}

#[test]
fn what_is_gone_is_not_said_to_be_resolved() {
    check(
        PACE,
        &[
            (0, Some((firing(0), LOUD)), "firing 0-240"),
            (1, None, ""),
            (2, Some((firing(0), LOUD)), "firing 0-242"),
        ],
    );
}

#[test]
fn a_webhook_is_told_of_changes_and_seldom_again() {
    check(
        Pace::of_webhook(SECOND * 3_600),
        &[
            (0, Some((firing(0), LOUD)), "firing 0-3600"),
            (3_600, Some((firing(0), LOUD)), ""),
            (3_601, Some((firing(0), LOUD)), "firing 0-7201"),
            (3_700, Some((resolved(0, 3_700), LOUD)), "resolved 0-3700"),
            (7_400, Some((resolved(0, 3_700), LOUD)), ""),
        ],
    );
}

#[test]
fn whoever_may_have_forgotten_is_told_again_and_news_go_first() {
    let mut ledger = Ledger::new(PACE);
    let known = alert("known", firing(0), LOUD);
    let due = ledger.due(std::slice::from_ref(&known), at(0));
    ledger.note(&due[0], at(0));
    ledger.tell_again();
    let due = ledger.due(&[known, alert("new", firing(1), LOUD)], at(1));
    assert_eq!(
        due.iter().map(|due| (due.index, due.is_repeated)).collect::<Vec<_>>(),
        [(1, false), (0, true)]
    );
}

#[test]
fn what_had_no_room_is_due_at_the_next_evaluation() {
    let mut ledger = Ledger::new(PACE);
    let alerts = [alert("a", firing(0), LOUD)];
    assert_eq!(ledger.due(&alerts, at(0)).len(), 1);
    assert_eq!(ledger.due(&alerts, at(1)).len(), 1);
}

#[test]
fn lost_tellings_do_not_resolve() {
    let pace = Pace::of_alertmanager(SECOND * 60, SECOND);
    assert_eq!((pace.resend_delay, pace.validity), (SECOND * 60, SECOND * 240));
    assert_eq!(Pace::of_alertmanager(SECOND, SECOND * 30).validity, SECOND * 120);
}

/// How an alert goes on by one evaluation: what the state machine of `alert` can do.
fn next(state: AlertState, step: u8, now: i64) -> AlertState {
    match (state, step) {
        (AlertState::Firing { since, .. }, 0..=2) => resolved(since.0 / 1_000, now),
        (AlertState::Firing { .. }, _) => state,
        (AlertState::Pending { .. }, 0..=2) => AlertState::Inactive,
        (AlertState::Pending { .. }, 3..=5) => firing(now),
        (AlertState::Inactive | AlertState::Resolved { .. }, 0..=1) => pending(now),
        (AlertState::Inactive | AlertState::Resolved { .. }, 2) => firing(now),
        _ => state,
    }
}

proptest! {
    /// Whatever an alert does, and however evaluations are missed, queues are full and processes restart: it is told to
    /// fire only while it does, with its own start, and to be resolved only when it does not; what fires unmuted is
    /// never believed to have ended.
    #[test]
    fn nothing_is_told_that_the_state_did_not_have(
        steps in prop::collection::vec((0_u8..10, 1_i64..90, prop::bool::weighted(0.1), 0_u8..20), 1..80),
    ) {
        let (mut ledger, mut state, mut now) = (Ledger::new(PACE), AlertState::Inactive, 0);
        // Until when the receiver takes it to fire.
        let mut believed_until = None;
        for (step, pause, is_muted, accident) in steps {
            now += pause;
            state = next(state, step, now);
            match accident {
                0 => continue, // nobody looked
                1 => ledger = Ledger::new(PACE),
                2 => ledger.tell_again(),
                _ => (),
            }
            let alerts: Vec<_> = (state != AlertState::Inactive).then(|| alert("a", state, is_muted)).into_iter().collect();
            for due in ledger.due(&alerts, at(now)) {
                if accident == 3 {
                    continue; // no room
                }
                ledger.note(&due, at(now));
                match (due.status, state) {
                    (Status::Firing, AlertState::Firing { since, .. }) => {
                        prop_assert!(!is_muted);
                        prop_assert_eq!(due.starts_at, since);
                        believed_until = Some(due.ends_at);
                    }
                    (Status::Resolved, AlertState::Firing { .. }) | (Status::Firing, _) => {
                        prop_assert!(false, "{due:?} of {state:?}");
                    }
                    (Status::Resolved, _) => {
                        prop_assert!(due.ends_at <= at(now));
                        believed_until = None;
                    }
                }
            }
            if matches!(state, AlertState::Firing { .. }) && !is_muted && accident != 3 {
                prop_assert!(believed_until.is_some_and(|until| until > at(now)), "it fires, and nobody knows");
            }
        }
    }
}
