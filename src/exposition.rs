//! The published form of a report.

pub mod conventions;
