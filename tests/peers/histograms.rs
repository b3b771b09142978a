//! Native histograms, scraped and sent by Prometheus 3 over remote-write 2.0: exponential ones, and classic
//! ones that it converts to custom buckets.

use prost::Message;

use crate::{
    prometheus::{Page, Prometheus},
    support::{Slod, wait_until},
};

const TEXT: &str = "text/plain; version=0.0.4";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
/// At a bound of a bucket numbers are exact.
const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: latency, service: shop}
spec:
  sli:
    type: latency
    query: histogram_fraction(0, 0.25, sum(rate(http_request_duration_seconds{job="shop"}[5m])))
  objective: {target: 99, window: 1h}
"#;

/// What slow and quick requests there were.
#[derive(Clone, Copy, Debug)]
struct Served {
    quick: u64,
    slow: u64,
}

// Parts of io.prometheus.client, package `prometheus/client_model`.

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    /// 4 is a histogram.
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(message, repeated, tag = "12")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_deltas: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[test]
fn exponential_histograms_count_exactly() {
    check("scrape_native_histograms: true", PROTOBUF, |served| {
        exponential(served).encode_length_delimited_to_vec()
    });
}

#[test]
fn converted_histograms_count_exactly() {
    check("convert_classic_histograms_to_nhcb: true", TEXT, |served| classic(served).into_bytes());
}

fn check(scrape: &str, media_type: &'static str, page_of: impl Fn(Served) -> Vec<u8>) {
    let slod = Slod::start(SPEC, "evaluation_delay: 1s\n");
    let page = Page::start();
    let show = |quick, slow| page.show(media_type, page_of(Served { quick, slow }));
    let sender = Prometheus::sender(slod.directory.path(), &page, slod.address, scrape, &[]);
    show(500, 20);
    println!("{}", sender.log());
    wait_until("slod follows the histogram", || slod.sum("slod_ingest_series{state=\"followed\"") == 1.0);
    show(600, 25);
    show(900, 25);
    // A new process.
    show(30, 4);
    show(70, 9);
    let counted = || (slod.sum("slo_bad_events_total{"), slod.sum("slo_events_total{"));
    wait_until("all requests are counted", || counted() == (5.0 + 9.0, 405.0 + 79.0));
}

/// Buckets at powers of two: `(0.125, 0.25]` has index -2, `(0.5, 1]` has index 0.
fn exponential(Served { quick, slow }: Served) -> MetricFamily {
    let spans = [Span { offset: -2, length: 1 }, Span { offset: 1, length: 1 }];
    let histogram = Histogram {
        sample_count: quick + slow,
        sample_sum: quick as f64 * 0.2 + slow as f64 * 0.7,
        schema: 0,
        zero_threshold: 1e-9,
        positive_spans: spans.to_vec(),
        positive_deltas: vec![quick as i64, slow as i64 - quick as i64],
    };
    let metrics = vec![Metric { histogram: Some(histogram) }];
    MetricFamily { name: "http_request_duration_seconds".to_owned(), kind: 4, metrics }
}

fn classic(Served { quick, slow }: Served) -> String {
    let (all, sum) = (quick + slow, quick as f64 * 0.2 + slow as f64 * 0.7);
    let name = "http_request_duration_seconds";
    format!(
        "# TYPE {name} histogram\n{name}_bucket{{le=\"0.25\"}} {quick}\n{name}_bucket{{le=\"1\"}} {all}\n\
         {name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}\n"
    )
}
