//! slod beside a Prometheus 3, as sender and as oracle, and beside the rules of Sloth: `make test-peers`, which builds
//! both.
//!
//! Not part of `make test`, because the build needs Go and minutes. The tests of `it::senders` run with it, too.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown when a test fails")]
#![allow(missing_docs, unreachable_pub, reason = "nobody imports tests")]

mod anchored;
mod expressions;
mod histograms;
mod prometheus;
mod sloth;
mod start_timestamps;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with other tests, which use all of it")]
mod support;
