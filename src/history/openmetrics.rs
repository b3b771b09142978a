//! What is particular to OpenMetrics and Prometheus' text format: times and escapes.

use super::line::{shown, whole};
use crate::time::Timestamp;

/// Below this a time is in seconds, from here on in milliseconds: the year 5138, and 1973.
const MILLISECONDS_MIN: u64 = 100_000_000_000;

/// Reads a time, to the millisecond.
pub(super) fn time(text: &[u8]) -> Result<Timestamp, String> {
    let is_negative = text.first() == Some(&b'-');
    let ms =
        decimal(&text[usize::from(is_negative)..]).or_else(|| other(text).map(f64::abs).and_then(rounded));
    let ms = ms.ok_or_else(|| format!("{:?} is no time", shown(text)))?;
    Ok(Timestamp(if is_negative { -ms } else { ms }))
}

/// Resolves `\\`, `\"` and `\n`; another backslash stands for itself, as in Prometheus.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        resolved.push_str(before);
        let next = after.chars().next();
        match next {
            Some('n') => resolved.push('\n'),
            Some(c @ ('\\' | '"')) => resolved.push(c),
            Some(c) => resolved.extend(['\\', c]),
            None => resolved.push('\\'),
        }
        rest = &after[next.map_or(0, char::len_utf8)..];
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// `1700000000`, `1700000000.125` or `1700000000125`, in milliseconds.
fn decimal(text: &[u8]) -> Option<i64> {
    let (seconds, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = whole(seconds)?;
    if seconds >= MILLISECONDS_MIN {
        return i64::try_from(seconds).ok().filter(|_| fraction.is_empty());
    }
    let mut ms = 0;
    for place in 0..3 {
        ms = ms * 10 + u64::from(digit(fraction.get(place))?);
    }
    let rest = fraction.get(3..).unwrap_or_default();
    if !rest.iter().all(u8::is_ascii_digit) {
        return None;
    }
    ms += u64::from(digit(rest.first())? >= 5);
    i64::try_from(seconds * 1_000 + ms).ok()
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    byte.map_or(Some(0), |byte| byte.is_ascii_digit().then(|| byte - b'0'))
}

/// Any other way to write a number, such as `1.7e9`.
fn other(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn rounded(time: f64) -> Option<i64> {
    let ms = if time < MILLISECONDS_MIN as f64 { time * 1_000.0 } else { time };
    // Far beyond any time, and far within `i64`.
    (ms < 1e17).then_some(ms.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_milliseconds() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(time(text.as_bytes()).ok().map(|at| at.0), expected, "{text}");
        }
        check("1700000000", Some(1_700_000_000_000));
        check("1700000000.1", Some(1_700_000_000_100));
        check("1700000000.123", Some(1_700_000_000_123));
        check("1700000000.1234", Some(1_700_000_000_123));
        check("1700000000.9995", Some(1_700_000_001_000));
        check("1700000000125", Some(1_700_000_000_125));
        check("1.7e9", Some(1_700_000_000_000));
        check("1.700000000125e+12", Some(1_700_000_000_125));
        check("-1.5", Some(-1_500));
        check("-1e0", Some(-1_000));
        check("0", Some(0));
        for text in ["x", "1.2x", "1.2345x", "NaN", "Inf", "-", "1e300", "170000000012345678901234567890"] {
            check(text, None);
        }
    }

    #[test]
    fn only_three_escapes_are_known() {
        assert_eq!(unescape(r#"a\\b\"c\nd\d\\n"#).unwrap(), "a\\b\"c\nd\\d\\n");
        assert_eq!(unescape("\\é\\").unwrap(), "\\é\\");
    }
}
