//! A line of a sample: series, value, time. What both formats have in common.
//!
//! ```text
//! http_requests_total{code="200"} 12.5 1700000000.125 # {trace_id="a"} 1 1700000000.1
//! └──────────── series ─────────┘ value └─── time ──┘ └── exemplar, left out ───────┘
//! ```

use memchr::{memchr, memchr2, memchr3, memrchr};

/// The parts of a line, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// Metric name and labels.
    pub(super) series: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) time: &'a [u8],
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Sample(Parts<'a>),
    /// A native histogram, as promtool prints it.
    Histogram,
}

pub(super) const NO_TIME: &str =
    "it has no time; every sample needs one, as promtool tsdb dump and dump-openmetrics write it";

/// Splits a line, without its end. `last` is the series of the line before, which is often that of this one, too.
pub(super) fn split<'a>(line: &'a [u8], last: &[u8]) -> Result<Line<'a>, String> {
    // A prefix that ended with its closing brace does so here, too.
    if last.ends_with(b"}") && line.starts_with(last) {
        return rest(line, last.len());
    }
    // Without an exemplar and a histogram nothing is in braces behind the labels.
    if let (None, Some(brace)) = (memchr(b'#', line), memrchr(b'}', line))
        && let Ok(split) = rest(line, brace + 1)
    {
        return Ok(split);
    }
    rest(line, series_end(line)?)
}

/// Splits what follows the series.
fn rest(line: &[u8], series_end: usize) -> Result<Line<'_>, String> {
    let (series, rest) = line.split_at(series_end);
    let rest = rest.trim_ascii_start();
    if rest.first() == Some(&b'{') {
        return Ok(Line::Histogram);
    }
    let (value, rest) = word(rest);
    let (time, rest) = word(rest);
    if value.is_empty() {
        return Err("it has no value".to_owned());
    }
    if time.is_empty() || time[0] == b'#' {
        return Err(NO_TIME.to_owned());
    }
    if !rest.is_empty() && rest[0] != b'#' {
        return Err(format!("it goes on after its time: {:?}", shown(rest)));
    }
    Ok(Line::Sample(Parts { series, value, time }))
}

/// A finite number, an infinity or NaN.
pub(super) fn number(text: &[u8]) -> Result<f64, String> {
    if let Some(number) = whole(text) {
        return Ok(number as f64);
    }
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("{:?} is no value", shown(text)))
}

/// A number of few digits only, as most samples of counters are.
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    // 15 digits: `f64` holds every such number.
    if text.is_empty() || text.len() > 15 {
        return None;
    }
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// A piece of a line for an error, not too long.
pub(super) fn shown(text: &[u8]) -> String {
    const CHARS_MAX: usize = 80;
    String::from_utf8_lossy(text).chars().take(CHARS_MAX).collect()
}

fn series_end(line: &[u8]) -> Result<usize, String> {
    let name = memchr3(b'{', b' ', b'\t', line).unwrap_or(line.len());
    let after = &line[name..];
    let space = after.len() - after.trim_ascii_start().len();
    match after.get(space) {
        // A histogram of promtool stands behind labels, so this is where they begin.
        Some(b'{') => Ok(name + space + block_end(&after[space..])?),
        _ => Ok(name),
    }
}

/// The length of a block of labels: braces in quotes are none.
fn block_end(block: &[u8]) -> Result<usize, String> {
    let mut at = 0;
    while let Some(found) = memchr2(b'"', b'}', &block[at..]) {
        at += found + 1;
        if block[at - 1] == b'}' {
            return Ok(at);
        }
        at += quoted_end(&block[at..]).ok_or("a quote of its labels is not closed")?;
    }
    Err("its labels have no closing brace".to_owned())
}

/// Where the text after an opening quote goes on behind the closing one.
fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[found] == b'"' {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fall_into_parts() {
        #[track_caller]
        fn check(line: &str, expected: [&str; 3]) {
            let [series, value, time] = expected.map(str::as_bytes);
            let expected = Ok(Line::Sample(Parts { series, value, time }));
            assert_eq!(split(line.as_bytes(), b""), expected);
            assert_eq!(split(line.as_bytes(), series), expected, "after a line of the same series");
        }
        check("up 1 2", ["up", "1", "2"]);
        check("up{} 1 2", ["up{}", "1", "2"]);
        check("up \t 1  2 ", ["up", "1", "2"]);
        check(r#"a {b="c"} 1 2"#, [r#"a {b="c"}"#, "1", "2"]);
        check(r#"a{b="} \" \\"} 1 2"#, [r#"a{b="} \" \\"}"#, "1", "2"]);
        check(r#"a{b="c"} 1 2 # {d="e"} 3 4"#, [r#"a{b="c"}"#, "1", "2"]);
    }

    #[test]
    fn what_is_no_sample_is_told() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            let error = split(line.as_bytes(), b"").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        check("up", "it has no value");
        check("up 1", "it has no time; every sample needs one");
        check(r#"up 1 # {trace_id="a"} 1"#, "it has no time");
        check("up 1 2 3", r#"it goes on after its time: "3""#);
        check(r#"up{a="b 1 2"#, "a quote of its labels is not closed");
        check(r#"up{a="b\"#, "a quote of its labels is not closed");
        check(r#"up{a="b" 1 2"#, "its labels have no closing brace");
        assert_eq!(split(br#"{__name__="x"} {count:5, sum:18.4} 17"#, b""), Ok(Line::Histogram));
    }

    #[test]
    fn numbers_are_exact() {
        #[track_caller]
        fn check(text: &str, expected: f64) {
            assert_eq!(number(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{text}");
        }
        check("0", 0.0);
        check("-0", -0.0);
        check("999999999999999", 999_999_999_999_999.0);
        check("9007199254740993", 9_007_199_254_740_992.0);
        check("2.5e+10", 2.5e10);
        check("+Inf", f64::INFINITY);
        assert!(number(b"NaN").unwrap().is_nan());
        assert_eq!(number(b"1x"), Err("\"1x\" is no value".to_owned()));
        assert!(number(b"\xff").is_err());
    }
}
