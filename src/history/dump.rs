//! What is particular to `promtool tsdb dump`: times in milliseconds, and text as Go's `strconv.Quote` writes it.

use super::line::shown;
use crate::time::Timestamp;

/// Reads a time in milliseconds.
pub(super) fn time(text: &[u8]) -> Result<Timestamp, String> {
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.map(Timestamp).ok_or_else(|| format!("{:?} is no time in milliseconds", shown(text)))
}

/// Resolves the escapes of Go.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut resolved = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        resolved.extend(before.as_bytes());
        let length = escape(after, &mut resolved).ok_or_else(|| format!("\\{after} is no escape of Go"))?;
        rest = &after[length..];
    }
    resolved.extend(rest.as_bytes());
    String::from_utf8(resolved).map_err(|_| "its labels are not UTF-8".to_owned())
}

/// Writes what follows a backslash; returns how long it is.
fn escape(after: &str, resolved: &mut Vec<u8>) -> Option<usize> {
    let plain = match after.bytes().next()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        c @ (b'\\' | b'"' | b'\'') => c,
        b'x' => return byte(after, 1..3, resolved),
        b'u' => return character(after, 1..5, resolved),
        b'U' => return character(after, 1..9, resolved),
        _ => return None,
    };
    resolved.push(plain);
    Some(1)
}

fn byte(after: &str, digits: std::ops::Range<usize>, resolved: &mut Vec<u8>) -> Option<usize> {
    let end = digits.end;
    resolved.push(u8::try_from(hexadecimal(after, digits)?).ok()?);
    Some(end)
}

fn character(after: &str, digits: std::ops::Range<usize>, resolved: &mut Vec<u8>) -> Option<usize> {
    let end = digits.end;
    let character = char::from_u32(hexadecimal(after, digits)?)?;
    resolved.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(end)
}

fn hexadecimal(after: &str, digits: std::ops::Range<usize>) -> Option<u32> {
    let digits = after.get(digits)?;
    // `from_str_radix` takes a sign, too.
    digits.bytes().all(|c| c.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_quotes_are_resolved() {
        assert_eq!(unescape(r#"a\\b\"\n\t\x7f\u00e9\U0001F600\a"#).unwrap(), "a\\b\"\n\t\x7fé😀\x07");
        for text in ["\\", "\\q", "\\x4", "\\u00e", "\\ud800", "\\x+1", "\\xff", "\\é"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_milliseconds() {
        assert_eq!(time(b"1700000000125"), Ok(Timestamp(1_700_000_000_125)));
        assert_eq!(time(b"-1"), Ok(Timestamp(-1)));
        assert_eq!(time(b"1.5"), Err("\"1.5\" is no time in milliseconds".to_owned()));
    }
}
