//! Which series count for which SLO, and in which instance of it.
//!
//! A [`Plan`] is immutable: the SLOs in force, and an index from metric names to their terms. The
//! [`Instances`] of its SLOs appear as series of new groups do; an ungrouped SLO has one from the start, and
//! a grouped one has its roll-up.
//!
//! This module does not know samples or time; an instance merely holds what ingest leaves there.

mod index;
mod instances;
mod plan;
mod presence;

pub use instances::{Instance, Instances, Role};
pub use plan::{Match, Plan, TermId, Worth};
pub use presence::{Presence, Presences};
