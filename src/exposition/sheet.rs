//! What stays the same of a page from report to report: every name and label.
//!
//! Of 370,000 lines all but the number is text that changes only when instances come or go, and most of that
//! is the same for all lines of an instance (who it is: the head) or for the same line of all instances (which window:
//! the tail). So heads are kept by instance and tails by pattern, which instances with the same windows and alerts
//! share: some 150 bytes an instance instead of 2,600.
//!
//! A line is `name{head tail} number`; labels are in no order, which neither format asks for.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use super::{
    Config,
    format::{Format, push_label, push_number},
    series::{Dialect, Kind, Pairs, Repeated, Series, Value},
};
use crate::report::{Report, Roster, View};

/// The names and labels of all series of a roster.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    roster: Option<Arc<Roster>>,
    kinds: Vec<Kind>,
    members: Vec<Member>,
    patterns: Vec<Pattern>,
    /// The labels of each instance, one after the other.
    heads: String,
}

#[derive(Debug)]
struct Member {
    pattern: u32,
    /// Where the labels are that tell it from others, for each dialect.
    heads: [Range<u32>; Dialect::ALL.len()],
    /// Where those are that no other instance is likely to have.
    own: Range<u32>,
}

/// The lines of an instance without its head.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Pattern {
    /// By kind.
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Line {
    kind: Kind,
    /// Whether the head belongs to it; else its labels contradict some of the head, and are all in the tail.
    has_head: bool,
    tail: Tail,
    value: Value,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Tail {
    Shared(String),
    /// `Member::own`.
    Own,
}

/// Where a page is written to.
pub(super) trait Output {
    /// A buffer with room for this many bytes more.
    fn room(&mut self, bytes: usize) -> &mut Vec<u8>;
}

// The longest number: 17 digits, sign, point and exponent. And what stands around it.
const NUMBER_BYTES_MAX: usize = 32;

// === impl Sheet ===

impl Sheet {
    /// Makes it that of the report's roster, if it is not.
    pub(super) fn follow(&mut self, report: &Report, config: &Config) {
        if !self.roster.as_ref().is_some_and(|roster| Arc::ptr_eq(roster, report.roster())) {
            *self = Self::of(report, config);
        }
    }

    fn of(report: &Report, config: &Config) -> Self {
        let mut sheet = Self { roster: Some(Arc::clone(report.roster())), ..Self::default() };
        let repeated = Repeated::of(report.views());
        let mut numbers: HashMap<Pattern, u32> = HashMap::new();
        for view in report.views() {
            let (member, pattern) = sheet.member(&view, config, &repeated);
            let next = numbers.len() as u32;
            let pattern = *numbers.entry(pattern).or_insert(next);
            sheet.members.push(Member { pattern, ..member });
        }
        let mut patterns: Vec<(Pattern, u32)> = numbers.into_iter().collect();
        patterns.sort_unstable_by_key(|(_, number)| *number);
        sheet.patterns = patterns.into_iter().map(|(pattern, _)| pattern).collect();
        let kinds = sheet.patterns.iter().flat_map(|pattern| pattern.lines.iter().map(|line| line.kind));
        sheet.kinds = kinds.collect::<BTreeSet<Kind>>().into_iter().collect();
        sheet.heads.shrink_to_fit();
        sheet
    }

    fn member(&mut self, view: &View<'_>, config: &Config, repeated: &Repeated) -> (Member, Pattern) {
        let mut member = Member { pattern: 0, heads: Default::default(), own: 0..0 };
        let mut lines = Vec::new();
        for dialect in config.dialects() {
            let identity = dialect.identity(view, config, repeated);
            member.heads[dialect as usize] = self.head(&identity);
            let series = dialect.series(view, config).into_iter();
            for series in series.filter(|series| config.publishes(series.kind)) {
                lines.push(self.line(series, &identity, &mut member));
            }
        }
        lines.sort_by_key(|line| line.kind);
        (member, Pattern { lines })
    }

    fn head(&mut self, labels: &Pairs<'_>) -> Range<u32> {
        let start = self.heads.len() as u32;
        push_labels(labels.iter().map(|(name, value)| (*name, &**value)), &mut self.heads);
        start..self.heads.len() as u32
    }

    fn line(&mut self, series: Series<'_>, identity: &Pairs<'_>, member: &mut Member) -> Line {
        let Series { kind, labels, value } = series;
        let has_head =
            labels.iter().all(|(name, value)| identity.get(name).is_none_or(|known| known == value));
        let mut tail = String::new();
        if has_head {
            let further = labels.iter().filter(|(name, _)| !identity.contains_key(*name));
            push_labels(further.map(|(name, value)| (*name, &**value)), &mut tail);
        } else {
            let mut all = identity.clone();
            all.extend(labels);
            push_labels(all.iter().map(|(name, value)| (*name, &**value)), &mut tail);
        }
        if has_head && !tail.is_empty() {
            tail.insert(0, ',');
        }
        if kind.is_info() {
            let start = self.heads.len() as u32;
            self.heads.push_str(&tail);
            member.own = start..self.heads.len() as u32;
            return Line { kind, has_head, tail: Tail::Own, value };
        }
        Line { kind, has_head, tail: Tail::Shared(tail), value }
    }

    /// Writes every series of the report that it is of.
    pub(super) fn write(&self, report: &Report, format: Format, out: &mut impl Output) {
        let mut places = vec![0_usize; self.patterns.len()];
        for kind in &self.kinds {
            let name = kind.name();
            let family = kind.family();
            let header = out.room(3 * (name.len() + NUMBER_BYTES_MAX) + 2 * family.help.len());
            format.push_header(&name, family, header);
            let begin = format!("{name}{{");
            let ranges =
                self.patterns.iter().zip(&mut places).map(|(pattern, place)| pattern.take(*kind, place));
            let ranges: Vec<&[Line]> = ranges.collect();
            for (member, view) in self.members.iter().zip(report.views()) {
                let lines = ranges[member.pattern as usize];
                let head = self.text(&member.heads[kind.dialect as usize]);
                for line in lines {
                    self.write_line(&begin, head, member, line, line.value.of(&view), out);
                }
            }
        }
    }

    fn write_line(
        &self,
        begin: &str,
        head: &str,
        member: &Member,
        line: &Line,
        number: f64,
        out: &mut impl Output,
    ) {
        let head = if line.has_head { head } else { "" };
        let tail = match &line.tail {
            Tail::Shared(tail) => tail,
            Tail::Own => self.text(&member.own),
        };
        let out = out.room(begin.len() + head.len() + tail.len() + NUMBER_BYTES_MAX);
        out.extend_from_slice(begin.as_bytes());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(tail.as_bytes());
        out.extend_from_slice(b"} ");
        push_number(number, out);
        out.push(b'\n');
    }

    fn text(&self, range: &Range<u32>) -> &str {
        &self.heads[range.start as usize..range.end as usize]
    }
}

fn push_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut String) {
    for (number, (name, value)) in labels.enumerate() {
        if number > 0 {
            out.push(',');
        }
        push_label(name, value, out);
    }
}

// === impl Pattern ===

impl Pattern {
    /// Its lines of a kind, which begin at a place; moves that on. Kinds are asked for in their order.
    fn take(&self, kind: Kind, place: &mut usize) -> &[Line] {
        let rest = &self.lines[*place..];
        let length = rest.iter().take_while(|line| line.kind == kind).count();
        *place += length;
        &rest[..length]
    }
}
