//! Tests of the whole: the real binary, real peers, and the text of the code itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(missing_docs, reason = "nobody imports tests")]

mod rules;
mod tidy;
