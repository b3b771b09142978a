//! Which series count for which SLO, and in which instance of it.
//!
//! A [`Plan`] is immutable: the SLOs in force, and an index from metric names to their terms. The
//! [`Instances`] of its SLOs appear as series of new groups do; an ungrouped SLO has one from the start, and
//! a grouped one has its roll-up.
//!
//! When another plan is put in force, an SLO that goes on with its history keeps its instances: their numbers,
//! where their events are, and their presences.
//!
//! This module does not know samples or time; an instance merely holds what ingest leaves there.

mod index;
mod instances;
mod plan;
mod presence;

pub use instances::{Beginning, Changes, Directory, Instance, Instances, Known, Role, Succession};
pub use plan::{Match, Plan, TermId, Worth};
pub use presence::{Presence, PresenceState, Presences};
