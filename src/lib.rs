//! slod evaluates service level objectives on a stream of Prometheus samples.
//!
//! The crate is a large pure middle with a thin shell of IO. Modules stand on floors, and a module
//! uses only floors below its own (`tests/it/tidy.rs` holds the table and checks it).

pub mod labels;
pub mod telemetry;
pub mod time;

pub mod client;
pub mod counter;
pub mod history;
pub mod prompb;
pub mod template;
pub mod window;

pub mod expression;
pub mod histogram;

pub mod slo;

pub mod promql;

pub mod burn_rate;
pub mod matching;
pub mod spec;

pub mod sampling;

pub mod alert;
pub mod ingest;

pub mod report;

pub mod engine;

pub mod dashboards;
pub mod exposition;
pub mod notifier;
pub mod pipeline;
pub mod rules;
pub mod source;
pub mod storage;
pub mod web;

pub mod api;
pub mod remote_write;

pub mod config;
pub mod testing;

pub mod backfill;
pub mod backtest;
pub mod daemon;

pub mod cli;
