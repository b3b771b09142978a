//! Prometheus' API over what slod publishes: `/api/v1/query` and its neighbours, for Grafana and promtool.
//!
//! A request and what is known go in, an answer comes out. It does not know sockets, nor who is waiting: the present
//! is the newest report, the past are copies of histories that it asks for by [`Facts::copied`], at most once for a
//! request and only if the request is about the past.
//!
//! Invariant: an answer is Prometheus' in form, and its numbers of the present are those of `/metrics`. What slod
//! cannot answer is an error that says what it can.

mod fault;
mod json;
mod listing;
mod moments;
mod parameters;
mod published;
mod query;
mod rules;

use std::{sync::Arc, time::Duration};

use prometheus::proto::MetricFamily;

use crate::{
    exposition,
    report::{Report, Roster},
    time::Timestamp,
    web::{Question, Reply},
    window::Copied,
};

use fault::Fault;
use parameters::Parameters;

/// What is known when a request comes.
#[expect(missing_debug_implementations, reason = "functions have nothing to show")]
pub struct Facts<'a> {
    /// The newest report.
    pub report: Arc<Report>,
    /// Which series of it are published.
    pub exposition: &'a exposition::Config,
    /// slod's metrics about itself.
    pub own: Vec<MetricFamily>,
    /// The clock's time.
    pub now: Timestamp,
    /// How often everything is evaluated.
    pub interval: Duration,
    /// Copies of the histories of instances by their places in reports of a roster; the reason if there are none.
    pub copied: &'a Copying<'a>,
    /// Whether nobody waits for the answer any more.
    pub is_overdue: &'a dyn Fn() -> bool,
}

/// Copies the histories of instances by their places in reports of a roster.
pub type Copying<'a> = dyn Fn(&Arc<Roster>, &[usize]) -> Result<Vec<Copied>, String> + 'a;

const PREFIX: &str = "/api/v1/";

/// Answers a request to a path below `/api/v1/`. `None` if there is no such path.
pub fn answer(question: &Question, facts: &Facts<'_>) -> Option<Reply> {
    let parameters = Parameters(&question.parameters);
    let answered = match question.path.strip_prefix(PREFIX)? {
        "query" => query::instant(parameters, facts),
        "query_range" => query::range(parameters, facts),
        "labels" => listing::labels(parameters, facts),
        "series" => listing::series(parameters, facts),
        "metadata" => listing::metadata(parameters, facts),
        "rules" => rules::rules(parameters, facts),
        "alerts" => rules::alerts(facts),
        "status/buildinfo" => listing::build_info(),
        path => {
            listing::label_values(path.strip_prefix("label/")?.strip_suffix("/values")?, parameters, facts)
        }
    };
    Some(answered.unwrap_or_else(|fault| fault.reply()))
}
