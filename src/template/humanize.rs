//! Numbers for people, as the functions of Prometheus' templates write them.

use jiff::Timestamp;
use minijinja::{Environment, Error, ErrorKind, Value, value::Rest};

// Prometheus writes four significant digits everywhere.
const DIGITS: usize = 4;
const MULTIPLES: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const FRACTIONS: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

/// Makes the functions known, as filters, too.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    for (name, function) in NUMBERS {
        environment.add_filter(name, move |value: Value| number(&value).map(function));
        environment.add_function(name, move |value: Value| number(&value).map(function));
    }
    for (name, function) in TEXTS {
        environment.add_filter(name, move |text: Value| function(&text.to_string()));
        environment.add_function(name, move |text: Value| function(&text.to_string()));
    }
    environment.add_function("printf", printf);
    environment.add_function("index", |map: Value, key: Value| map.get_item(&key));
}

/// A function by its name.
type Named<F> = (&'static str, F);

/// Functions of a number.
pub(super) const NUMBERS: [Named<fn(f64) -> String>; 5] = [
    ("humanize", humanize),
    ("humanize1024", humanize_1024),
    ("humanizeDuration", humanize_duration),
    ("humanizePercentage", humanize_percentage),
    ("humanizeTimestamp", humanize_timestamp),
];

/// Functions of a text.
pub(super) const TEXTS: [Named<fn(&str) -> String>; 2] =
    [("toUpper", |text| text.to_uppercase()), ("toLower", |text| text.to_lowercase())];

/// Functions of several things.
pub(super) const OTHERS: [&str; 2] = ["printf", "index"];

/// A number, or a text that says one, as Prometheus takes it.
fn number(value: &Value) -> Result<f64, Error> {
    let number = f64::try_from(value.clone()).ok();
    let number = number.or_else(|| value.as_str()?.trim().parse().ok());
    number.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{value:?} is no number")))
}

fn humanize(value: f64) -> String {
    let (mut rest, mut prefix) = (value, "");
    if value == 0.0 || !value.is_finite() {
        return significant(value, DIGITS);
    }
    if value.abs() >= 1.0 {
        for next in MULTIPLES {
            if rest.abs() < 1_000.0 {
                break;
            }
            (rest, prefix) = (rest / 1_000.0, next);
        }
    } else {
        for next in FRACTIONS {
            if rest.abs() >= 1.0 {
                break;
            }
            (rest, prefix) = (rest * 1_000.0, next);
        }
    }
    format!("{}{prefix}", significant(rest, DIGITS))
}

fn humanize_1024(value: f64) -> String {
    let (mut rest, mut prefix) = (value, "");
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, DIGITS);
    }
    for next in BINARY {
        if rest.abs() < 1_024.0 {
            break;
        }
        (rest, prefix) = (rest / 1_024.0, next);
    }
    format!("{}{prefix}", significant(rest, DIGITS))
}

fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return significant(value, DIGITS);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let rest = value.abs();
    if rest == 0.0 {
        return "0s".to_owned();
    }
    if rest < 1.0 {
        return format!("{sign}{}s", humanize(rest));
    }
    let whole = rest as u64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3_600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", significant(rest, DIGITS)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

fn humanize_percentage(value: f64) -> String {
    format!("{}%", significant(value * 100.0, DIGITS))
}

fn humanize_timestamp(value: f64) -> String {
    match Timestamp::from_millisecond((value * 1e3) as i64) {
        Ok(at) if value.is_finite() => at.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        _ => significant(value, DIGITS),
    }
}

/// As Go prints a number with `%v`.
pub(super) fn plain(value: f64) -> String {
    let exponent = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    match exponent {
        _ if !value.is_finite() => not_finite(value),
        -4.0..21.0 => value.to_string(),
        _ => scientific(&format!("{value:e}")),
    }
}

/// As C prints a number with `%.{digits}g`.
fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let digits = digits.max(1);
    let rounded = format!("{value:.*e}", digits - 1);
    let exponent = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let exponent = exponent.unwrap_or_default();
    if exponent < -4 || exponent >= digits as i32 {
        return scientific(&rounded);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

/// `1.20e5` as `1.2e+05`.
fn scientific(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{}e{sign}{exponent:0>2}", trimmed(mantissa))
}

/// Without zeros at the end of its decimals.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn not_finite(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => "NaN".to_owned(),
    }
}

/// Go's `printf`, as far as numbers and texts go: `%s %v %q %d %f %.2f %g %.3g %e %%`.
fn printf(format: &str, arguments: Rest<Value>) -> Result<String, Error> {
    let refused = |reason: String| Error::new(ErrorKind::InvalidOperation, format!("printf: {reason}"));
    let mut arguments = arguments.0.into_iter();
    let mut parts = format.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            text.push('%');
            text.push_str(parts.next().unwrap_or_default());
            continue;
        }
        let end = part.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| refused(format!("%{part}")))?;
        let argument = arguments.next().ok_or_else(|| refused("too few values".to_owned()))?;
        let (flags, verb, rest) = (&part[..end], &part[end..=end], &part[end + 1..]);
        text += &formatted(flags, verb, &argument).map_err(|reason| {
            reason.unwrap_or_else(|| {
                refused(format!(
                    "%{flags}{verb} is not known; use %s, %v, %q, %d, %f, %e or %g, with a precision"
                ))
            })
        })?;
        text.push_str(rest);
    }
    Ok(text)
}

fn formatted(flags: &str, verb: &str, argument: &Value) -> Result<String, Option<Error>> {
    let precision = match flags.strip_prefix('.') {
        Some(digits) => Some(digits.parse().ok().filter(|digits| *digits <= 20_usize).ok_or(None)?),
        None if flags.is_empty() => None,
        None => return Err(None),
    };
    let number = || number(argument).map_err(Some);
    Ok(match (verb, precision) {
        ("s", None) => argument.to_string(),
        ("v", None) if argument.is_number() => plain(number()?),
        ("v", None) => argument.to_string(),
        ("q", None) => format!("{:?}", argument.to_string()),
        ("d", None) => format!("{:.0}", number()?.trunc()),
        ("f", precision) => format!("{:.*}", precision.unwrap_or(6), number()?),
        ("e", precision) => scientific_padded(number()?, precision.unwrap_or(6)),
        ("g", None) => plain(number()?),
        ("g", Some(precision)) => significant(number()?, precision),
        _ => return Err(None),
    })
}

fn scientific_padded(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{exponent:0>2}")
}
