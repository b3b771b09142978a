//! Which form of a page a scraper asks for, and how the text of each is written.
//!
//! Formats are negotiated as by Prometheus' own libraries (`expfmt.Negotiate`): the scraper's preferred one that is
//! known, and text 0.0.4 for whoever asks for nothing that is.

use std::cmp::Reverse;

use super::conventions::Family;

/// A text format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// How a page is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

// Up to 2^53 every whole number is exact, and is written as one.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// An entry of a list such as that of `Accept`, and how much it is wanted, in thousandths.
fn preferences(list: &str) -> Vec<(&str, u32)> {
    let mut entries: Vec<(&str, u32)> =
        list.split(',').map(preference).filter(|(_, quality)| *quality > 0).collect();
    // Stable, so that of equals the first wins.
    entries.sort_by_key(|(_, quality)| Reverse(*quality));
    entries
}

fn preference(entry: &str) -> (&str, u32) {
    let quality = parameter(entry, "q").map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0));
    (entry.trim(), (quality.clamp(0.0, 1.0) * 1_000.0) as u32)
}

fn name(entry: &str) -> &str {
    entry.split(';').next().unwrap_or_default().trim()
}

fn parameter<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let mut parameters = entry.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let found = parameters.find(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().trim_matches('"'))
}

// === impl Format ===

impl Format {
    /// The one that a header `Accept` prefers.
    pub fn negotiated(accept: &str) -> Self {
        let known = preferences(accept).into_iter().find_map(|(entry, _)| {
            let version = parameter(entry, "version");
            match name(entry).to_ascii_lowercase().as_str() {
                OPEN_METRICS if matches!(version, None | Some("1.0.0")) => Some(Self::OpenMetrics),
                "text/plain" if matches!(version, None | Some("0.0.4")) => Some(Self::Text),
                "text/*" | "*/*" => Some(Self::Text),
                _ => None,
            }
        });
        known.unwrap_or_default()
    }

    /// The content type of a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What says about a family what it is, before its series.
    pub(super) fn push_header(self, name: &str, family: Family, out: &mut Vec<u8>) {
        let kind = if family.is_counter { "counter" } else { "gauge" };
        self.push_described(name, family.help, kind, out);
    }

    pub(super) fn push_described(self, name: &str, help: &str, kind: &str, out: &mut Vec<u8>) {
        let (name, unit) = match self {
            Self::Text => (name, None),
            Self::OpenMetrics if kind == "counter" => base(name.strip_suffix("_total").unwrap_or(name)),
            Self::OpenMetrics => base(name),
        };
        push_all(out, &["# HELP ", name, " "]);
        self.push_help(help, out);
        push_all(out, &["\n# TYPE ", name, " ", kind, "\n"]);
        if let Some(unit) = unit {
            push_all(out, &["# UNIT ", name, " ", unit, "\n"]);
        }
    }

    fn push_help(self, help: &str, out: &mut Vec<u8>) {
        for byte in help.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'"' if self == Self::OpenMetrics => out.extend_from_slice(b"\\\""),
                byte => out.push(byte),
            }
        }
    }

    /// What ends a page.
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Self::Text => b"",
            Self::OpenMetrics => b"# EOF\n",
        }
    }
}

/// The name of a family, and the unit that it ends in.
fn base(name: &str) -> (&str, Option<&str>) {
    let unit = name.rsplit_once('_').map(|(_, unit)| unit);
    (name, unit.filter(|unit| ["seconds", "bytes", "ratio"].contains(unit)))
}

fn push_all(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

// === impl Encoding ===

impl Encoding {
    /// The one that a header `Accept-Encoding` prefers; of equals the one that packs better.
    pub fn negotiated(accept: &str) -> Self {
        let preferences = preferences(accept);
        let wanted = |names: &[&str]| {
            let entry = preferences
                .iter()
                .find(|(entry, _)| names.contains(&name(entry).to_ascii_lowercase().as_str()));
            entry.map_or(0, |(_, quality)| *quality)
        };
        let (zstd, gzip) = (wanted(&["zstd"]), wanted(&["gzip", "x-gzip"]));
        match (zstd, gzip, wanted(&["identity"])) {
            (zstd, gzip, identity) if zstd > 0 && zstd >= gzip && zstd >= identity => Self::Zstd,
            (_, gzip, identity) if gzip > 0 && gzip >= identity => Self::Gzip,
            _ => Self::Identity,
        }
    }

    /// The value of the header `Content-Encoding`.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

// === texts ===

/// `name="value"`, escaped as both formats want it.
pub(super) fn push_label(name: &str, value: &str, out: &mut String) {
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            character => out.push(character),
        }
    }
    out.push('"');
}

/// The shortest text that is read as this number.
pub(super) fn push_number(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        if number.abs() <= WHOLE_MAX && number == number.trunc() {
            out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        } else {
            out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        }
    } else if number.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if number > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}
