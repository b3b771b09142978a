//! Answers requests to the API that reads: brings together the newest report and copies of histories, which the
//! thread that ticks makes between evaluations.

use std::{
    cell::Cell,
    sync::{Arc, mpsc},
    time::Duration,
};

use super::{
    Shared,
    ticker::{Call, CopyOrder},
};
use crate::{
    api::{self, Facts},
    report::Roster,
    time::Clock,
    web::{Question, Reply},
    window::Copied,
};

// Prometheus' query.timeout is two minutes; what slod is asked takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(20);
// Instances that come or go make a report too old to ask for histories by it. A group each second is much.
const ATTEMPTS: usize = 3;

/// See [`web::Service::ask`](crate::web::Service::ask).
pub(super) fn answer(shared: &Shared, question: &Question) -> Option<Reply> {
    let start = shared.clock.elapsed();
    let is_overdue = || shared.clock.elapsed().saturating_sub(start) > TIMEOUT;
    let mut reply = None;
    for _ in 0..ATTEMPTS {
        let is_outdated = Cell::new(false);
        let copied = |roster: &Arc<Roster>, places: &[usize]| copied(shared, roster, places, &is_outdated);
        let facts = Facts {
            report: shared.report().unwrap_or_default(),
            exposition: &shared.exposition,
            own: shared.telemetry.gather(),
            now: shared.clock.now(),
            interval: shared.interval,
            copied: &copied,
            is_overdue: &is_overdue,
        };
        reply = api::answer(question, &facts);
        if !is_outdated.get() {
            break;
        }
    }
    reply
}

fn copied(
    shared: &Shared,
    roster: &Arc<Roster>,
    places: &[usize],
    is_outdated: &Cell<bool>,
) -> Result<Vec<Copied>, String> {
    let (answer, answered) = mpsc::sync_channel(1);
    let order = CopyOrder { roster: Arc::clone(roster), places: places.to_vec(), answer };
    shared.calls.try_send(Call::Copy(order)).map_err(|_| "too many ask for the past at once; try again")?;
    let copied = answered.recv_timeout(TIMEOUT).map_err(|_| "the evaluation takes too long; try again")?;
    copied.ok_or_else(|| {
        is_outdated.set(true);
        "SLOs or groups came or went meanwhile; try again".to_owned()
    })
}
