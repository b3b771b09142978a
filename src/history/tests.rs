//! Whole files.

use proptest::prelude::*;

use super::*;
use crate::labels::{LabelSet, METRIC_NAME};

fn all(_: &LabelsRef<'_>) -> bool {
    true
}

/// A file's series, a line each, and what it was made of.
fn text(format: Format, file: &str) -> (String, Summary) {
    let (series, summary) = read(file.as_bytes(), format, all).unwrap();
    let sample = |sample: &Sample| format!(" {}@{}", sample.value, sample.at.0);
    let line = |series: &Series| {
        format!("{}{}\n", series.labels, series.samples.iter().map(sample).collect::<String>())
    };
    (series.iter().map(line).collect(), summary)
}

#[test]
fn openmetrics_is_read() {
    let (series, summary) = text(
        Format::OpenMetrics,
        r#"# HELP http_requests Requests.
# TYPE http_requests counter
http_requests_total{code="200",path="/a\\b\"\n"} 1 1700000000
http_requests_created{code="200"} 1.6999e9 1700000000
http_requests_total{code="200",path="/a\\b\"\n"} 3 1700000015.5 # {trace_id="x y"} 1 1700000015.4
http_requests_total{path="/a\\b\"\n", code="200"} 4 1700000030000

up 1 1700000000
# EOF
"#,
    );
    let expected = r#"{__name__="http_requests_total",code="200",path="/a\\b\"\n"} 1@1700000000000 3@1700000015500 4@1700000030000
{__name__="http_requests_created",code="200"} 1699900000@1700000000000
{__name__="up"} 1@1700000000000
"#;
    assert_eq!(series, expected);
    let expected = Summary { lines: 9, samples: 5, has_eof: true, ..Summary::default() };
    assert_eq!(summary, expected);
}

#[test]
fn a_dump_is_read_and_its_histograms_are_counted() {
    let (series, summary) = text(
        Format::Dump,
        r#"{__name__="g"} -0.1 1700000030000
{__name__="x_total", a="b", c="tab\t\"q\" \\ \n é"} 1 1700000000125
{__name__="x_total", a="b", c="tab\t\"q\" \\ \n é"} 2.5e+10 1700000015125
{__name__="h", a="b"} {count:5, sum:18.4, [-4,-2):1, (2,4]:4} 1700000015125
"#,
    );
    let expected = r#"{__name__="g"} -0.1@1700000030000
{__name__="x_total",a="b",c="tab\t\"q\" \\ \n é"} 1@1700000000125 25000000000@1700000015125
"#;
    assert_eq!(series, expected);
    let expected = Summary { lines: 4, samples: 3, histograms: 1, ..Summary::default() };
    assert_eq!(summary, expected);
}

#[test]
fn a_nan_is_a_staleness_marker() {
    for (format, line) in [(Format::Dump, "{__name__=\"a\"} NaN 1\n"), (Format::OpenMetrics, "a NaN 1\n")] {
        let (series, _) = read(line.as_bytes(), format, all).unwrap();
        assert_eq!(series[0].samples[0].value.to_bits(), STALE_MARKER_BITS);
    }
}

#[test]
fn only_wanted_series_are_kept_and_asked_about_once() {
    let file = "a 1 1\nb 1 1\na 2 2\nb 2 2\nb nonsense 3\n";
    let mut asked = Vec::new();
    let (series, summary) = read(file.as_bytes(), Format::OpenMetrics, |labels| {
        asked.push(labels.get(METRIC_NAME).to_owned());
        labels.get(METRIC_NAME) == "a"
    })
    .unwrap();
    assert_eq!(series.len(), 1);
    assert_eq!(asked, ["a", "b"]);
    let expected = Summary { lines: 5, samples: 2, others: 3, ..Summary::default() };
    assert_eq!(summary, expected);
}

#[test]
fn samples_are_in_the_order_of_time_each_time_once() {
    let (series, _) = text(Format::OpenMetrics, "a 3 3\na 1 1\na 2 2\na 9 1\n");
    assert_eq!(series, "{__name__=\"a\"} 1@1000 2@2000 3@3000\n");
}

#[test]
fn a_bad_line_is_told_and_the_rest_is_read() {
    let long = "x".repeat(2 << 20);
    let file =
        format!("a 1 1\na 2\n{long} 1 1\na{{b=\"1\",b=\"2\"}} 1 1\na one 1\r\na 1 now\na 2 2\r\na 3 3");
    let (series, summary) = text(Format::OpenMetrics, &file);
    assert_eq!(series, "{__name__=\"a\"} 1@1000 2@2000\n");
    assert_eq!((summary.lines, summary.bad_lines), (8, 6));
    let told = [
        "line 2: it has no time; every sample needs one, as promtool tsdb dump and dump-openmetrics write it",
        "line 3: it has more than 1048576 bytes",
        "line 4: label \"b\" is given twice",
        "line 5: \"one\" is no value",
        "line 6: \"now\" is no time",
    ];
    assert_eq!(summary.first_bad.iter().map(ToString::to_string).collect::<Vec<_>>(), told);
}

#[test]
fn a_file_of_another_kind_is_given_up() {
    let file = "lorem ipsum\n".repeat(2_000);
    let error = read(file.as_bytes(), Format::Dump, all).unwrap_err().to_string();
    let expected = "more than 1000 lines cannot be read as the output of promtool tsdb dump, the first are:\n\
                    line 1: it has no time; ";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(error.lines().count(), 6, "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        lines in proptest::collection::vec("[a{}\"\\\\= ,.#1e\u{e9}NaxU-]{0,40}", 0..20),
        format in prop_oneof![Just(Format::OpenMetrics), Just(Format::Dump)],
    ) {
        let file = lines.join("\n");
        let (series, summary) = read(file.as_bytes(), format, all).unwrap();
        let kept: usize = series.iter().map(|series| series.samples.len()).sum();
        prop_assert!(kept as u64 <= summary.samples);
        prop_assert!(summary.samples + summary.bad_lines + summary.histograms <= summary.lines);
    }

    #[test]
    fn what_is_written_comes_back(
        value in any::<f64>().prop_filter("NaN is a marker", |value| !value.is_nan()),
        ms in 1_000_000_000_000_i64..2_000_000_000_000,
        label in ".{1,20}",
    ) {
        let quoted = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // A line ends with a line feed; what Prometheus does to other ends is not ours to test.
        prop_assume!(!label.contains('\r'));
        let file = format!("a{{b=\"{quoted}\"}} {value:e} {}.{:03}\n", ms / 1_000, ms % 1_000);
        let (series, summary) = read(file.as_bytes(), Format::OpenMetrics, all).unwrap();
        prop_assert_eq!(summary.first_bad, vec![]);
        prop_assert_eq!(series[0].labels.get("b"), label);
        let sample = series[0].samples[0];
        prop_assert_eq!((sample.at.0, sample.value.to_bits()), (ms, value.to_bits()));
    }
}
