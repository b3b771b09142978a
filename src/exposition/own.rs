//! slod's metrics about itself, which the crate `prometheus` keeps, as text.
//!
//! That crate writes the text format. OpenMetrics differs in few ways for what slod has: counters lose `_total` in
//! what is said about the family, whole quantiles have a point, and a counter without the suffix is none.

use prometheus::{TextEncoder, proto};

use super::format::Format;

/// These families.
pub(super) fn text(families: &[proto::MetricFamily], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        match format {
            Format::Text => push_text(family, &mut out),
            Format::OpenMetrics => push_open_metrics(family, &mut out),
        }
    }
    out.extend_from_slice(format.end());
    out
}

/// A family that cannot be written, because it is empty or a name is wrong, is left out: the others are worth more.
fn push_text(family: &proto::MetricFamily, out: &mut Vec<u8>) {
    let mut text = String::new();
    match TextEncoder::new().encode_utf8(std::slice::from_ref(family), &mut text) {
        Ok(()) => out.extend_from_slice(text.as_bytes()),
        Err(error) => tracing::debug!(%error, family = family.name(), "a family is left out of the page"),
    }
}

fn push_open_metrics(family: &proto::MetricFamily, out: &mut Vec<u8>) {
    let mut samples = Vec::new();
    push_text(family, &mut samples);
    if samples.is_empty() {
        return;
    }
    let name = family.name();
    let kind = match family.get_field_type() {
        proto::MetricType::COUNTER if name.ends_with("_total") => "counter",
        proto::MetricType::GAUGE => "gauge",
        proto::MetricType::SUMMARY => "summary",
        proto::MetricType::HISTOGRAM => "histogram",
        _ => "unknown",
    };
    Format::OpenMetrics.push_described(name, family.help(), kind, out);
    for line in samples.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")) {
        out.extend_from_slice(line);
    }
}
