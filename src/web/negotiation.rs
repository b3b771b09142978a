//! What a write request says it is: Content-Type decides the message, Content-Encoding the compression.
//!
//! Looks at headers only, before the body. `X-Prometheus-Remote-Write-Version` is left aside: senders must
//! send it, receivers must not go by it (remote-write specification 2.0, "Protocol"). What is not supported
//! is answered 415: vmagent repeats a zstd body as snappy then, and stays with snappy.

use std::borrow::Cow;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::prompb::Version;

/// The version of the protocol a body is in. Without a content type, or without its parameter `proto`, the
/// first, whose senders need not say it.
///
/// # Errors
/// When it is none we read, with the reason.
pub(super) fn version(headers: &HeaderMap) -> Result<Version, String> {
    let content_type = only(headers, &CONTENT_TYPE)?;
    let text = content_type.to_str().unwrap_or("not text");
    if text.is_empty() {
        return Ok(Version::V1);
    }
    written_in(text).ok_or_else(|| {
        let [v1, v2] = [Version::V1, Version::V2].map(Version::message);
        format!("content type {content_type:?} is not supported; send {PROTOBUF};proto={v1} or {PROTOBUF};proto={v2}")
    })
}

/// Checks that a body is compressed as we read it: by snappy, which every sender can and which is meant
/// where nothing is said.
///
/// # Errors
/// When it is not, with the reason.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), String> {
    let encoding = only(headers, &CONTENT_ENCODING)?;
    if encoding.is_empty() || encoding.as_bytes().eq_ignore_ascii_case(b"snappy") {
        return Ok(());
    }
    Err(format!("content encoding {encoding:?} is not supported; send snappy (block format)"))
}

const PROTOBUF: &str = "application/x-protobuf";

/// The one value of a header, empty when it is absent.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a HeaderValue, String> {
    static ABSENT: HeaderValue = HeaderValue::from_static("");
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(format!("header {name} is there twice; send it once")),
        (value, _) => Ok(value.unwrap_or(&ABSENT)),
    }
}

fn written_in(content_type: &str) -> Option<Version> {
    let mut parts = split(content_type).map(str::trim);
    if !parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(PROTOBUF)) {
        return None;
    }
    let message = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("proto"))
        .map_or(Cow::Borrowed(Version::V1.message()), |(_, message)| unquoted(message.trim()));
    [Version::V1, Version::V2].into_iter().find(|version| version.message() == message)
}

/// The parts of a media type, which `;` outside of quotes separates (RFC 9110, 5.6.6).
fn split(content_type: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    content_type.split(move |character| {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => (),
        }
        character == ';' && !is_quoted
    })
}

/// The value of a quoted string (RFC 9110, 5.6.4), or what is not quoted as it is.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(quoted) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    let mut is_escaped = false;
    let kept = quoted.chars().filter(|character| {
        is_escaped = *character == '\\' && !is_escaped;
        !is_escaped
    });
    Cow::Owned(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[track_caller]
    fn check(content_type: &'static str, expected: Option<Version>) {
        let found = version(&headers(CONTENT_TYPE, &[content_type]));
        assert_eq!(found.clone().ok(), expected, "{content_type}: {found:?}");
    }

    #[test]
    fn the_content_type_decides_the_version() {
        assert_eq!(version(&HeaderMap::new()), Ok(Version::V1));
        for v1 in [
            "",
            "application/x-protobuf",
            "application/x-protobuf;proto=prometheus.WriteRequest",
            "Application/X-Protobuf ;\tPROTO=\"prometheus.WriteRequest\"",
            "application/x-protobuf; charset=x",
            "application/x-protobuf;",
            "application/x-protobuf; note=\";proto=io.prometheus.write.v2.Request\"",
            "application/x-protobuf; note=\"\\\";proto=io.prometheus.write.v2.Request\"",
        ] {
            check(v1, Some(Version::V1));
        }
        for v2 in [
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "application/x-protobuf; proto=io.prometheus.write.v2.Request",
            "application/x-protobuf;charset=x ; Proto=\"io.prometheus.write.v2.Request\" ",
            "application/x-protobuf;proto=\"io.prometheus.write\\.v2.Request\"",
            "application/x-protobuf; note=\"a;b\"; proto=io.prometheus.write.v2.Request",
        ] {
            check(v2, Some(Version::V2));
        }
        for unknown in [
            "application/json",
            "application/json;proto=prometheus.WriteRequest",
            "application/x-protobuf;proto=io.prometheus.write.v3.Request",
            "application/x-protobuf;proto=",
            "application/x-protobuf;proto=\"prometheus.WriteRequest",
            "x-protobuf",
            ";proto=prometheus.WriteRequest",
        ] {
            check(unknown, None);
        }
        let not_text = HeaderValue::from_bytes(b"\xff").unwrap();
        assert!(version(&HeaderMap::from_iter([(CONTENT_TYPE, not_text)])).is_err());
    }

    #[test]
    fn the_encoding_is_snappy() {
        for snappy in [&[][..], &[""], &["snappy"], &["Snappy"]] {
            assert_eq!(check_encoding(&headers(CONTENT_ENCODING, snappy)), Ok(()), "{snappy:?}");
        }
        for other in [&["zstd"][..], &["gzip"], &["snappy, snappy"], &["snappy", "snappy"], &["identity"]] {
            assert!(check_encoding(&headers(CONTENT_ENCODING, other)).is_err(), "{other:?}");
        }
    }
}
