//! Reports to test the table and the lines with.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    labels::Labels,
    matching::Role,
    report::{AlertReport, BudgetReport, DataStatus, SloReport, Snapshot, WindowReport},
    slo::{
        Budgeting, BurnRateAlert, Counted, Grouping, Indicator, Objective, Slo, SloId, Target, TimeWindow,
        WORKBOOK_WINDOWS,
    },
    time::Timestamp,
};

/// 22:13:20 UTC.
pub(super) const AT: Timestamp = Timestamp(1_700_000_000_000);

const PERIOD: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);

pub(super) fn report(slos: Vec<SloReport>) -> Snapshot {
    Snapshot { evaluated_at: AT, slos }
}

/// An instance with one page over 1m and 5s; `burn_rates` are short and long, an empty route means none.
pub(super) fn slo(name: &str, route: &str, budget: f64, burn_rates: [f64; 2], level: u8) -> SloReport {
    SloReport {
        slo: Arc::new(spec(name)),
        group: Labels::new([("route", route)]).unwrap(),
        role: Role::Whole,
        status: DataStatus::Ok,
        windows: vec![window(SHORT, burn_rates[0]), window(LONG, burn_rates[1]), window(PERIOD, 1.0)],
        events_total: 1_000.0,
        bad_events_total: 1.0,
        budgets: vec![BudgetReport {
            window: TimeWindow::Rolling(PERIOD),
            remaining: budget,
            coverage: 1.0,
            time_to_exhaustion: None,
            time_to_recovery: Duration::ZERO,
        }],
        last_sample: Some(AT),
        alerts: vec![AlertReport { condition: level > 0, level }],
    }
}

fn spec(name: &str) -> Slo {
    Slo {
        id: SloId { service: "shop".to_owned(), name: name.to_owned() },
        description: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        objective: Objective::rolling(Target::new(0.99).unwrap(), PERIOD),
        indicator: Indicator::Counted(Counted { bad: vec![], total: vec![], group_by: Grouping::none() }),
        alerts: vec![BurnRateAlert {
            short: SHORT,
            long: LONG,
            factor: 3.6,
            ..WORKBOOK_WINDOWS[0].alert(PERIOD, Budgeting::Occurrences)
        }],
        state_alerts: Vec::new(),
        inhibits: true,
    }
}

fn window(window: Duration, burn_rate: f64) -> WindowReport {
    let window = TimeWindow::Rolling(window);
    WindowReport { window, events: 100.0, bad_events: 1.0, error_ratio: 0.01, burn_rate }
}
