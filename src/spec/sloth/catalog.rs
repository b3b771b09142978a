//! Sloth's catalog of alert windows: which alerts an SLO has follows from its period alone.
//!
//! Each period has four pairs of windows, two that page and two that make a ticket. Sloth brings those of 28 and
//! of 30 days; documents of the kind `AlertWindows` define others, or put theirs in the place of these.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use super::{fields, required_fields};
use crate::{
    slo::{Budgeting, BurnRateAlert, WORKBOOK_WINDOWS, WorkbookWindow},
    spec::{
        reader::{Fields, Reader},
        yaml::Node,
    },
    time::format_duration,
};

pub(in crate::spec) const KIND: &str = "AlertWindows";

/// The alert windows of every known period.
pub(in crate::spec) struct Catalog(BTreeMap<Duration, Definition>);

type Pairs = [WorkbookWindow; 4];

struct Definition {
    pairs: Pairs,
    /// Where it is written; nowhere if it is Sloth's own.
    at: Option<String>,
}

// Sloth v0.16 embeds these two, both with the budget shares of the SRE workbook.
const BUILTIN: [Duration; 2] = [Duration::from_secs(28 * 86_400), Duration::from_secs(30 * 86_400)];

// === impl Catalog ===

impl Default for Catalog {
    fn default() -> Self {
        let builtin = |period| (period, Definition { pairs: WORKBOOK_WINDOWS, at: None });
        Self(BUILTIN.map(builtin).into())
    }
}

impl Catalog {
    /// Adds what a document defines.
    pub(in crate::spec) fn collect(&mut self, reader: &mut Reader<'_>, document: &Node) {
        let read = reader.checked(|reader| {
            let root = fields(reader, document, &["apiVersion", "kind", "metadata", "spec"])?;
            let spec = required_fields(reader, &root, "spec", &["sloPeriod", "page", "ticket"])?;
            read_definition(reader, &spec)
        });
        if let Some((period, definition)) = read {
            self.define(reader, document, period, definition);
        }
    }

    fn define(&mut self, reader: &mut Reader<'_>, document: &Node, period: Duration, definition: Definition) {
        let mut known = match self.0.entry(period) {
            Entry::Occupied(known) => known,
            Entry::Vacant(vacant) => {
                vacant.insert(definition);
                return;
            }
        };
        let Some(first) = &known.get().at else {
            known.insert(definition);
            return;
        };
        let period = format_duration(period);
        if known.get().pairs == definition.pairs {
            let message =
                format!("the windows of sloPeriod {period} are defined at {first} already; drop one");
            reader.warn(document.at, message);
        } else {
            let message = format!("sloPeriod {period} has other windows at {first}; drop one of the two");
            reader.error(document.at, message);
        }
    }

    /// The alerts of an SLO of this period, if it is known.
    pub(super) fn alerts(&self, period: Duration) -> Option<Vec<BurnRateAlert>> {
        let definition = self.0.get(&period)?;
        Some(definition.pairs.iter().map(|pair| pair.alert(period, Budgeting::Occurrences)).collect())
    }

    /// The known periods, in the words of a message.
    pub(super) fn known(&self) -> String {
        self.0.keys().map(|period| format_duration(*period)).collect::<Vec<_>>().join(", ")
    }
}

// === reading ===

fn read_definition(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<(Duration, Definition)> {
    let node = reader.required(spec, "sloPeriod");
    let period = node.and_then(|node| reader.window(node, "sloPeriod"));
    let page = read_severity(reader, spec, "page", period);
    let ticket = read_severity(reader, spec, "ticket", period);
    let ([page_quick, page_slow], [ticket_quick, ticket_slow]) = (page?, ticket?);
    let pairs = [page_quick, page_slow, ticket_quick, ticket_slow];
    Some((period?, Definition { pairs, at: Some(reader.describe(spec.place("sloPeriod"))) }))
}

fn read_severity(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    severity: &'static str,
    period: Option<Duration>,
) -> Option<[WorkbookWindow; 2]> {
    let fields = required_fields(reader, spec, severity, &["quick", "slow"])?;
    let quick = read_pair(reader, &fields, "quick", severity, period);
    let slow = read_pair(reader, &fields, "slow", severity, period);
    Some([quick?, slow?])
}

fn read_pair(
    reader: &mut Reader<'_>,
    severities: &Fields<'_>,
    speed: &str,
    severity: &'static str,
    period: Option<Duration>,
) -> Option<WorkbookWindow> {
    let known = ["errorBudgetPercent", "shortWindow", "longWindow"];
    let fields = required_fields(reader, severities, speed, &known)?;
    let budget_share = read_budget_share(reader, &fields);
    let mut window = |name| reader.required(&fields, name).and_then(|node| reader.window(node, name));
    let (short, long) = (window("shortWindow"), window("longWindow"));
    let (budget_share, short, long) = (budget_share?, short?, long?);
    let words = (format_duration(short), format_duration(long));
    if short >= long {
        let message = format!("shortWindow {} must be shorter than longWindow {}", words.0, words.1);
        reader.error(fields.place("shortWindow"), message);
    }
    if let Some(period) = period.filter(|period| long > *period) {
        let message = format!("longWindow {} is longer than sloPeriod {}", words.1, format_duration(period));
        reader.warn(fields.place("longWindow"), message);
    }
    Some(WorkbookWindow { severity, short, long, budget_share })
}

fn read_budget_share(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<f64> {
    let node = reader.required(fields, "errorBudgetPercent")?;
    let percent = reader.number(node, "errorBudgetPercent")?;
    if percent <= 0.0 {
        reader.error(node.at, format!("errorBudgetPercent {percent} must be above 0"));
    }
    Some(percent / 100.0)
}
