//! Expressions over recent samples: the SLIs that no sum over samples expresses.
//!
//! ```text
//! ingest ─record─▶ Recent ─take─▶ Sampler: samples of the last hours, series by series
//!                                    │ every step T of event time: Expression::evaluate(T) ─▶ events at T
//!                                    └──▶ open slots of the SLO's instances
//! ```
//!
//! Ingest records each sample of a series that an expression selects. What comes of them is asked at the steps
//! of an SLO, the multiples of its step in event time. A step is evaluated once, in the order of time, and only
//! when the samples of its time are there: while they are not, because the sender is away or a backlog is coming
//! in, steps are pending, and are later evaluated over the samples of their own time.
//!
//! Where samples are not at hand, a [`Puller`] has a server asked for the same steps, and counts what it answers.
//!
//! Both are exported and restored around a restart: samples, and how far each SLO's steps have come.
//!
//! This module does not know requests, and reads no clock. The invariant: no step is evaluated twice.

use std::time::Duration;

mod puller;
mod question;
mod recent;
mod sampler;
mod state;
mod tally;

pub use puller::{Answered, Matrix, Order, Puller, Unanswered};
pub use recent::{Recent, Recorded};
pub use sampler::Sampler;
pub use state::{GroupState, PulledState, PullerState, RecordedState, SampledState, SamplerState};

/// How long a step may be pending. What a sender keeps when it cannot deliver: two hours, and one that it may take to
/// come back to them.
const PENDING_MAX: Duration = Duration::from_secs(3 * 3_600);
