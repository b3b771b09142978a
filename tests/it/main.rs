//! Tests of the whole: the real binary, real peers, and the text of the code itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown when a test fails")]
#![allow(missing_docs, unreachable_pub, reason = "nobody imports tests")]

mod accelerated;
mod accuracy;
mod alerts;
mod allocations;
mod api;
mod backfill;
mod backtest;
mod check;
mod clock;
mod corpus;
mod crash;
mod daemon;
mod degraded;
mod e2e;
mod exposition;
mod expressions;
mod files;
mod filling;
mod fuzz;
mod history;
mod identity;
mod ingest;
mod live;
mod log;
mod notifying;
mod objectives;
mod oracle;
mod promql;
mod pulling;
mod reload;
mod remote_write;
mod restart;
mod rules;
mod sampling;
mod scripts;
mod senders;
mod shop;
mod sim;
mod sources;
mod state;
mod stress;
mod support;
mod tidy;
