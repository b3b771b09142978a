//! Labels of a series, and the matchers and selectors that pick series by them.
//!
//! A matcher behaves as in Prometheus: regular expressions are anchored at both ends, `.` matches a
//! newline, and an absent label is the empty string. One thing it does better: the bound of a classic
//! histogram's bucket (label `le`) is a number, whose spelling depends on who scraped it. Prometheus 3
//! makes `1.0` of `1`, other senders do not, so bounds are compared as numbers.

mod pattern;

use std::{fmt, sync::Arc};

use pattern::compile;
use xxhash_rust::xxh3::xxh3_128;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

// No byte of UTF-8.
const KEY_SEPARATOR: u8 = 0xff;

/// The label that holds the upper bound of a classic histogram's bucket.
pub const BUCKET_BOUND: &str = "le";

/// The label set of a series: sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

/// What a series is called on disk: the xxh3-128 of its labels in their order, each as name and value followed by a
/// byte 0xff, which no UTF-8 has. The same in every process and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(pub u128);

/// A label set that borrows its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelsRef<'a>(&'a [(&'a str, &'a str)]);

/// What selectors look at.
pub trait LabelSet {
    /// The value of a label; the empty string when it is absent.
    fn get(&self, name: &str) -> &str;
}

/// Why a list of labels is no label set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// The same name twice.
    #[error("label {0:?} is given twice")]
    Repeated(String),
    /// A label without a name.
    #[error("a label has no name (its value is {0:?})")]
    NoName(String),
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// One condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Arc<regex::Regex>>,
    /// What `value` stands for, if it is a bucket's bound.
    bound: Option<f64>,
}

/// A regular expression that Prometheus, or this program, does not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use regular expression {pattern:?}: {reason}")]
pub struct RegexError {
    /// The expression as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A vector selector: the series whose labels satisfy every matcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// All conditions; one on the metric name is among them.
    pub matchers: Vec<Matcher>,
}

// === impl Labels ===

impl Labels {
    /// Sorts `pairs` into a label set; labels with an empty value are dropped, as they mean "absent".
    ///
    /// # Errors
    /// When a name occurs twice or is empty.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, LabelsError> {
        let mut pairs: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().map(|(n, v)| (n.as_ref().into(), v.as_ref().into())).collect();
        if let Some((_, value)) = pairs.iter().find(|(name, _)| name.is_empty()) {
            return Err(LabelsError::NoName(value.to_string()));
        }
        pairs.sort_unstable();
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelsError::Repeated(twice[0].0.to_string()));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs.into()))
    }

    /// The value of a label; the empty string when it is absent.
    pub fn get(&self, name: &str) -> &str {
        LabelSet::get(self, name)
    }

    /// Name and value of every label, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels of these names only.
    #[must_use]
    pub fn keep(&self, names: &[String]) -> Self {
        self.retain(|name| names.iter().any(|n| n == name))
    }

    /// All labels but the metric name and those of these names.
    #[must_use]
    pub fn leave_out(&self, names: &[String]) -> Self {
        self.retain(|name| name != METRIC_NAME && !names.iter().any(|n| n == name))
    }

    /// The labels whose names are to be kept.
    #[must_use]
    pub fn retain(&self, is_kept: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| is_kept(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| is_kept(name)).cloned().collect())
    }
}

impl LabelSet for Labels {
    fn get(&self, name: &str) -> &str {
        self.0.binary_search_by(|(n, _)| (**n).cmp(name)).map_or("", |i| &self.0[i].1)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

// === impl LabelsRef ===

impl<'a> LabelsRef<'a> {
    /// Sorts `pairs` into a label set, as [`Labels::new`] does.
    ///
    /// # Errors
    /// When a name occurs twice or is empty.
    pub fn new<'p: 'a>(pairs: &'a mut Vec<(&'p str, &'p str)>) -> Result<Self, LabelsError> {
        if !pairs.is_sorted() {
            pairs.sort_unstable();
        }
        if let Some((_, value)) = pairs.first().filter(|(name, _)| name.is_empty()) {
            return Err(LabelsError::NoName((*value).to_owned()));
        }
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelsError::Repeated(twice[0].0.to_owned()));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// A label set of pairs that are known to be one: sorted, each name once, nothing empty.
    pub fn of_sorted(pairs: &'a [(&'a str, &'a str)]) -> Self {
        debug_assert!(pairs.is_sorted_by(|(a, _), (b, _)| a < b), "BUG: not sorted: {pairs:?}");
        debug_assert!(pairs.iter().all(|(n, v)| !n.is_empty() && !v.is_empty()), "BUG: empty: {pairs:?}");
        Self(pairs)
    }

    /// Name and value of every label, by name.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }

    /// The labels of these names only.
    pub fn keep(self, names: &[String]) -> Labels {
        let kept = self.0.iter().filter(|(name, _)| names.iter().any(|n| n == name));
        Labels(kept.map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    /// What the series is called on disk; `buffer` is memory to work in.
    pub fn key(self, buffer: &mut Vec<u8>) -> SeriesKey {
        buffer.clear();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            buffer.extend_from_slice(text.as_bytes());
            buffer.push(KEY_SEPARATOR);
        }
        SeriesKey(xxh3_128(buffer))
    }

    /// All labels but the metric name and those of these names.
    pub fn leave_out(self, names: &[String]) -> Labels {
        let is_left = |name: &str| name != METRIC_NAME && !names.iter().any(|n| n == name);
        let left = self.0.iter().filter(|(name, _)| is_left(name));
        Labels(left.map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }
}

impl LabelSet for LabelsRef<'_> {
    fn get(&self, name: &str) -> &str {
        // A dozen labels: going through them is as fast as searching.
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

// === impl Matcher ===

impl Matcher {
    /// A condition on the label `name`.
    ///
    /// # Errors
    /// When `op` takes a regular expression and `value` is none.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, RegexError> {
        let (regex, bound) = match op {
            MatchOp::Equal | MatchOp::NotEqual => (None, bucket_bound(name, value)),
            MatchOp::Regex | MatchOp::NotRegex => (Some(compile(value)?), None),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex, bound })
    }

    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        let bound = bucket_bound(name, value);
        Self { name: name.to_owned(), op: MatchOp::Equal, value: value.to_owned(), regex: None, bound }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it is an equality that only one text satisfies, so that an index may look it up by
    /// [`Self::value`]. `le="1"` is not: `1.0` satisfies it, too.
    pub fn is_exact(&self) -> bool {
        self.op == MatchOp::Equal && self.bound.is_none()
    }

    /// How Prometheus 3 writes the bound of a bucket that this is an equality with.
    pub fn canonical_bound(&self) -> Option<String> {
        let bound = self.bound.filter(|_| self.op == MatchOp::Equal)?;
        spellings(bound).into_iter().next()
    }

    /// The usual ways to write the bound of a bucket that this is an equality with, for those who compare texts.
    pub fn spellings(&self) -> Option<Vec<String>> {
        let bound = self.bound.filter(|_| self.op == MatchOp::Equal)?;
        let mut all = spellings(bound);
        all.push(self.value.clone());
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    /// Whether a label of this value (empty: absent) satisfies the condition.
    pub fn matches(&self, value: &str) -> bool {
        let found = match &self.regex {
            Some(regex) => regex.is_match(value) || self.matches_other_spelling(regex, value),
            None => value == self.value || self.is_same_bound(value),
        };
        found == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    /// What `replacement` becomes with the groups that the value fills in this regular expression (`$1`, `${name}`);
    /// `None` if it does not match.
    pub fn expand(&self, value: &str, replacement: &str) -> Option<String> {
        let captures = self.regex.as_ref()?.captures(value)?;
        let mut expanded = String::new();
        captures.expand(replacement, &mut expanded);
        Some(expanded)
    }

    fn is_same_bound(&self, value: &str) -> bool {
        self.bound.is_some_and(|bound| parse_bound(value) == Some(bound))
    }

    fn matches_other_spelling(&self, regex: &regex::Regex, value: &str) -> bool {
        bucket_bound(&self.name, value)
            .is_some_and(|bound| spellings(bound).iter().any(|spelling| regex.is_match(spelling)))
    }
}

/// A text as PromQL writes it, in quotes.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn bucket_bound(name: &str, value: &str) -> Option<f64> {
    if name == BUCKET_BOUND { parse_bound(value) } else { None }
}

/// A number, of which NaN is none: it equals nothing.
fn parse_bound(value: &str) -> Option<f64> {
    value.parse().ok().filter(|bound: &f64| !bound.is_nan())
}

/// How senders write a bound: as client libraries expose it (`1`, `+Inf`), as Prometheus 3 makes it
/// (`1.0`, with an exponent from a million on), and in full (`1000000`).
fn spellings(bound: f64) -> Vec<String> {
    if bound.is_infinite() {
        let spellings: &[&str] = if bound > 0.0 { &["+Inf", "Inf"] } else { &["-Inf"] };
        return spellings.iter().map(|spelling| (*spelling).to_owned()).collect();
    }
    let (full, shortest) = (bound.to_string(), shortest(bound));
    let canonical = if shortest.contains(['.', 'e']) { shortest.clone() } else { format!("{shortest}.0") };
    vec![canonical, shortest, full]
}

/// A number as Go's `strconv.FormatFloat(bound, 'g', -1, 64)` writes it, which Prometheus uses.
fn shortest(bound: f64) -> String {
    let scientific = format!("{bound:e}");
    let parts = scientific
        .split_once('e')
        .and_then(|(digits, exponent)| exponent.parse::<i32>().ok().map(|exponent| (digits, exponent)));
    match parts {
        Some((digits, exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => bound.to_string(),
    }
}

// The compiled form follows from the rest.
impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(f, "{}{op}{}", self.name, quoted(&self.value))
    }
}

// === impl Selector ===

impl Selector {
    /// The metric name every selected series has, if the selector fixes it.
    pub fn metric_name(&self) -> Option<&str> {
        self.matchers
            .iter()
            .find(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal)
            .map(|m| m.value.as_str())
    }

    /// Whether a series of these labels is selected.
    pub fn matches(&self, labels: &impl LabelSet) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        f.write_str(name.unwrap_or(""))?;
        let rest: Vec<String> = self
            .matchers
            .iter()
            .filter(|m| name.is_none() || m.name != METRIC_NAME || m.op != MatchOp::Equal)
            .map(Matcher::to_string)
            .collect();
        if rest.is_empty() && name.is_some() { Ok(()) } else { write!(f, "{{{}}}", rest.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_on_disk_are_the_same_for_ever() {
        let key = |pairs: &[(&str, &str)]| {
            let mut pairs = pairs.to_vec();
            LabelsRef::new(&mut pairs).unwrap().key(&mut Vec::new()).0
        };
        assert_eq!(
            key(&[("job", "api"), ("__name__", "up")]),
            263_571_556_018_312_060_443_770_753_488_820_509_330
        );
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("a", "bcd")]));
    }

    #[test]
    fn labels_are_sorted_and_an_empty_value_means_absent() {
        let labels = Labels::new([("job", "api"), ("__name__", "up"), ("zone", "")]).unwrap();
        assert_eq!(labels.to_string(), r#"{__name__="up",job="api"}"#);
        assert_eq!(labels.get("zone"), "");
        assert_eq!(labels.get("job"), "api");
    }

    #[test]
    fn repeated_and_nameless_labels_are_refused() {
        assert_eq!(Labels::new([("a", "1"), ("a", "1")]), Err(LabelsError::Repeated("a".into())));
        assert_eq!(Labels::new([("", "1")]), Err(LabelsError::NoName("1".into())));
    }

    #[track_caller]
    fn check(op: MatchOp, pattern: &str, value: &str, expected: bool) {
        let matcher = Matcher::new("code", op, pattern).unwrap();
        assert_eq!(matcher.matches(value), expected, "{matcher} on {value:?}");
    }

    #[test]
    fn matchers_compare_as_prometheus_does() {
        check(MatchOp::Equal, "200", "200", true);
        check(MatchOp::Equal, "", "", true);
        check(MatchOp::NotEqual, "200", "", true);
        check(MatchOp::Regex, "5..", "500", true);
        check(MatchOp::Regex, "5..", "5000", false);
        check(MatchOp::Regex, "a|b", "xb", false);
        check(MatchOp::Regex, "a.b", "a\nb", true);
        check(MatchOp::Regex, ".*", "", true);
        check(MatchOp::NotRegex, "5..", "200", true);
        check(MatchOp::NotRegex, "5..", "503", false);
        check(MatchOp::Equal, "1", "1.0", false);
        check(MatchOp::Regex, "1", "1.0", false);
    }

    #[track_caller]
    fn check_bound(op: MatchOp, pattern: &str, equal: &[&str], other: &[&str]) {
        let matcher = Matcher::new("le", op, pattern).unwrap();
        for (value, expected) in equal.iter().map(|v| (v, true)).chain(other.iter().map(|v| (v, false))) {
            assert_eq!(matcher.matches(value), expected, "{matcher} on {value:?}");
        }
    }

    #[test]
    fn bounds_of_buckets_are_numbers() {
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        check_bound(Equal, "0.3", &["0.3", "0.30", "3e-1", ".3", "+0.3"], &["0.31", "", "x", "NaN"]);
        check_bound(Equal, "1", &["1", "1.0", "1e0"], &["10", "-1", "01x"]);
        check_bound(Equal, "1.0", &["1", "1.00"], &["0.1"]);
        check_bound(Equal, "+Inf", &["+Inf", "Inf", "inf"], &["-Inf", "1e308"]);
        check_bound(NotEqual, "1", &["2", "", "x"], &["1", "1.0"]);
        check_bound(Equal, "NaN", &["NaN"], &["nan", "1"]);
        check_bound(Equal, "", &[""], &["0"]);
        check_bound(Equal, "x", &["x"], &["X"]);
        check_bound(Regex, r"1|1\.0", &["1", "1.0", "1.00", "1e0"], &["10", "0.1", ""]);
        check_bound(Regex, "1", &["1.0"], &["1.5"]);
        check_bound(Regex, "1000000", &["1e+06", "1e6", "1000000.0"], &["1e+07"]);
        check_bound(Regex, r"1e\+06", &["1e+06", "1000000"], &["1e+60"]);
        check_bound(Regex, "Inf", &["+Inf", "inf"], &["-Inf"]);
        check_bound(Regex, "", &[""], &["1"]);
        check_bound(NotRegex, "1|2", &["3.0", ""], &["1", "2.0"]);
    }

    #[test]
    fn bounds_are_spelled_as_prometheus_does() {
        // Asked of strconv.FormatFloat and labels.FormatOpenMetricsFloat of Prometheus 3.
        for (bound, expected) in [
            (0.0, "0.0 0 0"),
            (-3.0, "-3.0 -3 -3"),
            (0.25, "0.25 0.25 0.25"),
            (100_000.0, "100000.0 100000 100000"),
            (1_500_000.0, "1.5e+06 1.5e+06 1500000"),
            (123_456_789.0, "1.23456789e+08 1.23456789e+08 123456789"),
            (0.0001, "0.0001 0.0001 0.0001"),
            (0.000012, "1.2e-05 1.2e-05 0.000012"),
            (1e21, "1e+21 1e+21 1000000000000000000000"),
        ] {
            assert_eq!(spellings(bound).join(" "), expected);
        }
    }

    #[test]
    fn an_index_may_look_up_what_only_one_text_satisfies() {
        for (name, op, value, expected) in [
            ("code", MatchOp::Equal, "1", true),
            ("code", MatchOp::NotEqual, "1", false),
            ("code", MatchOp::Regex, "1", false),
            ("le", MatchOp::Equal, "1", false),
            ("le", MatchOp::Equal, "+Inf", false),
            ("le", MatchOp::Equal, "x", true),
            ("le", MatchOp::Equal, "", true),
        ] {
            assert_eq!(Matcher::new(name, op, value).unwrap().is_exact(), expected, "{name} {value}");
        }
        assert!(!Matcher::equal("le", "0.5").is_exact());
        assert!(Matcher::equal("le", "0.5").matches("0.50"));
    }
}
