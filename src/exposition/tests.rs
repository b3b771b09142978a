//! The small parts of a page; whole pages are in `tests/it/exposition.rs`.

use super::{
    format::{push_label, push_number},
    *,
};

#[track_caller]
fn number(value: f64, expected: &str) {
    let mut text = Vec::new();
    push_number(value, &mut text);
    assert_eq!(String::from_utf8_lossy(&text), expected);
    let read: f64 = expected.parse().unwrap();
    assert!(read == value || (read.is_nan() && value.is_nan()));
}

#[test]
fn numbers_are_as_short_as_they_can_be_read() {
    number(0.0, "0");
    number(-3.0, "-3");
    number(1e6, "1000000");
    number(9_007_199_254_740_992.0, "9007199254740992");
    number(1e17, "1e+17");
    number(0.1, "0.1");
    number(1.0 / 3.0, "0.3333333333333333");
    number(1.5e-7, "1.5e-7");
    number(f64::INFINITY, "+Inf");
    number(f64::NEG_INFINITY, "-Inf");
    number(f64::NAN, "NaN");
}

proptest::proptest! {
    #[test]
    fn a_number_is_read_as_it_was(bits: u64) {
        let value = f64::from_bits(bits);
        let mut text = Vec::new();
        push_number(value, &mut text);
        let read: f64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
        proptest::prop_assert!(read == value || (read.is_nan() && value.is_nan()));
    }
}

#[test]
fn labels_are_escaped() {
    let mut text = String::new();
    push_label("a", "x\"\\\n\té", &mut text);
    assert_eq!(text, "a=\"x\\\"\\\\\\n\té\"");
}

#[test]
fn the_format_is_what_the_scraper_prefers() {
    #[track_caller]
    fn check(accept: &str, expected: Format) {
        assert_eq!(Format::negotiated(accept), expected, "{accept}");
    }
    check("", Format::Text);
    check("*/*", Format::Text);
    check("text/html, application/json;q=0.9", Format::Text);
    check("application/openmetrics-text", Format::OpenMetrics);
    check("application/openmetrics-text; version=2.0.0", Format::Text);
    check("application/openmetrics-text;version=1.0.0;q=0", Format::Text);
    // Prometheus 2.42, then 3.
    check(
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
         text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        Format::OpenMetrics,
    );
    check(
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
         application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
         text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        Format::OpenMetrics,
    );
    check("application/openmetrics-text;q=0.1,text/plain;version=0.0.4;q=0.5", Format::Text);
    check("text/plain, application/openmetrics-text", Format::Text);
    check("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", Format::Text);
}

#[test]
fn a_page_is_packed_for_who_takes_that() {
    #[track_caller]
    fn check(accept: &str, expected: Encoding) {
        assert_eq!(Encoding::negotiated(accept), expected, "{accept}");
    }
    check("", Encoding::Identity);
    check("identity", Encoding::Identity);
    check("gzip", Encoding::Gzip);
    check("gzip, zstd", Encoding::Zstd);
    check("gzip;q=1.0, zstd;q=0.5", Encoding::Gzip);
    check("zstd;q=0, gzip;q=0", Encoding::Identity);
    check("br, deflate", Encoding::Identity);
    check("identity;q=1, gzip;q=0.5", Encoding::Identity);
    check("GZIP", Encoding::Gzip);
    check("gzip;q=nonsense", Encoding::Identity);
}
