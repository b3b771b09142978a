//! What people write in Prometheus' rules and in Jinja, and what becomes of what is broken.

use super::*;

fn context() -> Context {
    let labels = [("slo", "availability"), ("service", "shop"), ("route", "/pay")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let external = [("cluster".to_owned(), "eu".to_owned())].into();
    Context::new(&labels, &external, 0.125, "14.9x over 1h", "http://slod:9720")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(Templates::default().render(text, &context()).as_deref(), Ok(expected), "{text}");
    assert_eq!(super::check(text), Ok(()), "{text}");
}

/// The place of what is wrong, as the rest of the text from there on, and the reason.
#[track_caller]
fn refused(text: &str, rest: &str, reason: &str) {
    let problem = super::check(text).unwrap_err();
    assert_eq!(&text[problem.offset..], rest, "{problem:?}");
    assert!(problem.kind.to_string().contains(reason), "{problem:?}");
}

#[test]
fn a_text_without_templates_is_itself() {
    check("100% of } requests { fail", "100% of } requests { fail");
    check("", "");
}

#[test]
fn templates_of_prometheus_work_as_they_are() {
    check("{{ $labels.slo }} of {{$labels.service}}", "availability of shop");
    check("{{ .Labels.slo }} {{ .Value }} {{ $externalLabels.cluster }}", "availability 0.125 eu");
    check("{{ $value | humanizePercentage }} {{ $value|humanize }}", "12.5% 125m");
    check("{{ humanizePercentage $value }}", "12.5%");
    check("{{ printf \"%.2f%%\" $value }} {{ $value | printf \"%.1f\" }}", "0.12% 0.1");
    check("{{ index $labels \"route\" | toUpper }}", "/PAY");
    check("a {{- $labels.slo -}} b", "aavailabilityb");
    check("[{{ $labels.nothing }}]", "[]");
}

#[test]
fn templates_of_jinja_work_too() {
    check("{{ labels.slo | upper }}: {{ value | humanizePercentage }}", "AVAILABILITY: 12.5%");
    check("{% if labels.route %}route {{ labels.route }}{% else %}all{% endif %}", "route /pay");
    check(
        "{{ external_labels.cluster }} {{ reason }} {{ external_url }}",
        "eu 14.9x over 1h http://slod:9720",
    );
    check("{{ labels['slo'] }} {{ '}}' }}", "availability }}");
    check("{{ value * 2 }} {{ 14.0 }}", "0.25 14");
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    refused("ab {{ $labels.slo ", "$labels.slo ", "unexpected character");
    refused("a {{ labels.slo | humanise }}", "humanise }}", "unknown filter: filter humanise is unknown");
    refused("a {% if labels.slo %}b", "b", "unexpected end of input");
    refused("{{ $value | humanize }} {{ labels. }}", "}}", "unexpected end of variable block");
}

#[test]
fn more_of_go_is_delivered_as_it_is() {
    for text in [
        "{{ if $labels.slo }}x{{ end }}",
        "{{ range query \"up\" }}{{ .Value }}{{ end }}",
        "{{- $x := 5 -}}",
        "{{ $labels.slo | title | reReplaceAll \"a\" \"b\" }}",
        "{{ template \"x\" . }}",
    ] {
        refused(text, text, "is of Go's templates, which slod does not run");
        assert_eq!(Templates::default().render(text, &context()).as_deref(), Ok(text));
    }
}

#[test]
fn a_rendering_ends_and_is_short() {
    #[track_caller]
    fn fails(text: &str, reason: &str) {
        let error = Templates::default().render(text, &context()).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    fails("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "steps");
    fails("{% for a in range(3000) %}0123456789{% endfor %}", "longer than 16384 bytes");
    fails("{{ labels.slo | humanize }}", "is no number");
}

#[test]
fn numbers_are_as_prometheus_writes_them() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(
            Templates::default().render(&format!("{{{{ {text} }}}}"), &context()).as_deref(),
            Ok(expected)
        );
    }
    // As the tests of Prometheus' template package.
    for (value, expected) in [
        ("0.0", "0"),
        ("1.0", "1"),
        ("1234567.0", "1.235M"),
        ("0.12", "120m"),
        ("1e-9", "1n"),
        ("12.5", "12.5"),
    ] {
        check(&format!("{value} | humanize"), expected);
    }
    for (value, expected) in [("0.0", "0"), ("1.0", "1"), ("1048576.0", "1Mi"), ("0.12", "0.12")] {
        check(&format!("{value} | humanize1024"), expected);
    }
    for (value, expected) in [
        ("0.0", "0s"),
        ("1.0", "1s"),
        ("60.0", "1m 0s"),
        ("3600.0", "1h 0m 0s"),
        ("86400.0", "1d 0h 0m 0s"),
        ("90061.0", "1d 1h 1m 1s"),
        ("-86400.0", "-1d 0h 0m 0s"),
        ("899.99", "14m 59s"),
        ("0.1", "100ms"),
        ("0.0001", "100us"),
        ("1.2345678", "1.235s"),
    ] {
        check(&format!("{value} | humanizeDuration"), expected);
    }
    check("-0.22222 | humanizePercentage", "-22.22%");
    check("1435065584.128 | humanizeTimestamp", "2015-06-23 13:19:44.128 +0000 UTC");
    check("printf('%g %e %d %q %v', 1e21, 5.0, 7.9, 'a', 1e-7)", "1e+21 5.000000e+00 7 \"a\" 1e-07");
}
