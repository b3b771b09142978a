//! What SLOs with the same windows and alerts have in common: where each number of theirs is found.

use std::time::Duration;

use crate::{
    matching::Role,
    slo::{BurnRateAlert, Cause, Slo, TimeWindow},
    time::millis,
    window::Layout,
};

/// The numbers of an instance and how they belong together. Instances of many SLOs share one.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// How many windows are counted: rolling ones, then calendar ones.
    pub counts: usize,
    /// The windows as specified, and the number of the counted one that each is.
    pub windows: Vec<(TimeWindow, usize)>,
    /// One for each window of the objective.
    pub budgets: Vec<BudgetShape>,
    /// One for each alert; none for a roll-up.
    pub rules: Vec<Rule>,
    /// Those of the SLO's state alerts that the instance has.
    pub watches: Vec<Watch>,
    /// The number of the window whose burn rate foretells the budget's end: the shortest long one. Recent,
    /// but not a single bad moment.
    pub trend: usize,
    /// The number of the window whose emptiness means that there is no traffic.
    pub recent: usize,
}

/// Where the numbers of a budget come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetShape {
    /// A rolling window.
    Rolling {
        /// Its number.
        window: usize,
        /// Its length.
        length_ms: i64,
    },
    /// A calendar window.
    Calendar {
        /// Its number among all windows.
        window: usize,
        /// Its number among the calendar windows.
        calendar: usize,
    },
}

/// When an alert's condition holds, with windows by number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The short window.
    pub short: usize,
    /// The long window.
    pub long: usize,
    /// The burn rate that both must exceed.
    pub factor: f64,
    /// The least number of bad events in the long window.
    pub min_bad_events: f64,
    /// The least number of events in the long window.
    pub min_total_events: f64,
}

/// A state that an instance is watched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// The number of its alert among all of the SLO.
    pub alert: usize,
    /// The state.
    pub cause: Cause,
    /// The number of the first budget's window.
    pub period: usize,
    /// The number of the window that the cause names, if it does.
    pub window: usize,
}

// A shorter window may lie between two scrapes, and be empty without meaning anything.
const RECENT_MIN: Duration = Duration::from_secs(60);

// === impl Shape ===

impl Shape {
    /// The shape of an SLO's instances in this role.
    pub fn new(slo: &Slo, layout: &Layout, role: Role) -> Self {
        let rolling = layout.windows.len();
        let mut windows: Vec<(TimeWindow, usize)> = slo
            .rolling_windows()
            .into_iter()
            .map(|length| (TimeWindow::Rolling(length), layout.window_number(length)))
            .collect();
        let mut budgets = Vec::new();
        let mut calendars = 0;
        for window in &slo.objective.windows {
            budgets.push(match window {
                TimeWindow::Rolling(length) => {
                    BudgetShape::Rolling { window: layout.window_number(*length), length_ms: millis(*length) }
                }
                TimeWindow::Calendar(_) => {
                    let calendar = calendars;
                    calendars += 1;
                    windows.push((window.clone(), rolling + calendar));
                    BudgetShape::Calendar { window: rolling + calendar, calendar }
                }
            });
        }
        // A roll-up speaks for groups that have alerts of their own.
        let alerts: &[BurnRateAlert] = if role == Role::RollUp { &[] } else { &slo.alerts };
        let rule = |alert: &BurnRateAlert| Rule {
            short: layout.window_number(alert.short),
            long: layout.window_number(alert.long),
            factor: alert.factor,
            min_bad_events: slo.min_bad_events(alert),
            min_total_events: alert.min_total_events,
        };
        // Windows too short to hold a slice say as little.
        let recent_min = slo.objective.budgeting.slice().unwrap_or_default().max(RECENT_MIN);
        let shortest_long = slo.alerts.iter().map(|alert| alert.long).min();
        Self {
            counts: rolling + calendars,
            trend: shortest_long.map_or(budgets[0].window(), |long| layout.window_number(long)),
            recent: if rolling == 0 { 0 } else { layout.window_number(recent_min) },
            rules: alerts.iter().map(rule).collect(),
            watches: watches(slo, layout, role, budgets[0]),
            windows,
            budgets,
        }
    }
}

fn watches(slo: &Slo, layout: &Layout, role: Role, budget: BudgetShape) -> Vec<Watch> {
    let watch = |(number, cause): (usize, &Cause)| {
        let cause = cause_in(role, cause)?;
        let period = budget.window();
        let window = cause.window().map_or(period, |window| layout.window_number(window));
        Some(Watch { alert: slo.alerts.len() + number, cause, period, window })
    };
    slo.state_alerts.iter().map(|alert| &alert.cause).enumerate().filter_map(watch).collect()
}

/// What an instance in this role is to be watched for: budgets are watched group by group; that nothing ever came, or
/// comes from anywhere, is told of once, of the roll-up.
fn cause_in(role: Role, cause: &Cause) -> Option<Cause> {
    match (role, cause) {
        (Role::Whole, _) => Some(cause.clone()),
        (Role::Group | Role::RollUp, Cause::NoData(statuses)) => {
            let is_of_roll_up = role == Role::RollUp;
            let mine = statuses.iter().filter(|status| status.is_of_all_groups() == is_of_roll_up);
            Some(Cause::NoData(mine.copied().collect())).filter(|cause| *cause != Cause::NoData(Vec::new()))
        }
        (Role::Group, _) => Some(cause.clone()),
        (Role::RollUp, _) => None,
    }
}

// === impl BudgetShape ===

impl BudgetShape {
    /// The number of its window.
    pub fn window(self) -> usize {
        match self {
            Self::Rolling { window, .. } | Self::Calendar { window, .. } => window,
        }
    }
}
