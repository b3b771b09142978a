//! Types that prost generates from `proto/`: what senders build, and what the walk is tested against.

/// Remote-write 1.0 and remote-read, package `prometheus`.
#[allow(missing_docs, unreachable_pub, clippy::doc_markdown, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/prometheus.rs"));
}

/// Remote-write 2.0, package `io.prometheus.write.v2`.
#[allow(missing_docs, unreachable_pub, clippy::doc_markdown, reason = "generated")]
pub mod v2 {
    include!(concat!(env!("OUT_DIR"), "/io.prometheus.write.v2.rs"));
}
