//! What tests are made of: the whole core without IO, an oracle that keeps every sample, and a runner for
//! readable scenarios; a disk that fails on purpose, and a whole world that does; and what fuzzers try.
//!
//! The oracle shares no arithmetic with what it judges: it recounts from all samples at every question.

pub mod faults;
mod fleet;
pub mod fuzz;
mod kept;
mod notation;
mod oracle;
mod script;
pub mod simulation;
mod world;

use crate::{slo::Slo, spec};

pub use fleet::{Adds, Fleet};
pub use kept::Kept;
pub use notation::{SeriesLine, parse_labels, parse_series};
pub use oracle::Oracle;
pub use script::run_script;
pub use world::{Sent, World, compress, encode, encode_v2};

/// The SLOs of a spec that a test wrote.
///
/// # Panics
/// When the spec has a fault, even a small one.
pub fn slos(yaml: &str) -> Vec<Slo> {
    let specs = spec::read("test.yaml", yaml);
    assert!(specs.diagnostics.is_empty(), "{:?}", specs.diagnostics);
    specs.slos
}
