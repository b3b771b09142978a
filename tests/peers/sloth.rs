//! What slod makes of Sloth's specs beside the rules that the real Sloth makes of them, on the same month of
//! requests, minute by minute.
//!
//! Nobody waits for a month: a real Prometheus 3 has the samples of 30 days, is asked for the expression of each
//! recording rule at the moments at which its group would have been evaluated, and gets the answers back as the
//! series that the rule records, with staleness markers where it ends. Rules that use what others record are asked
//! next. The rule for 5m, which the period's averages, is evaluated each minute; the others every five.
//!
//! - On alert windows slod counts exactly; Sloth's rules do so as far as `rate` does, which extrapolates. The same
//!   rules with `anchored`, which does not, say exactly what slod says.
//! - The budgets differ, because Sloth averages ratios.
//! - What slod publishes under Sloth's names has the names and labels of what the rules record.
//!
//! The differences are the tables of `docs/sloth-differences.md`; `UPDATE_DOCS=1 make test-peers` writes them anew.

mod compat;
mod findings;
mod page;
mod rules;
mod shop;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use slod::{
    engine, ingest,
    labels::{Labels, METRIC_NAME},
    matching::Role,
    report::{SloReport, Snapshot},
    spec,
    testing::{Sent, World},
    time::Timestamp,
};

use self::{
    findings::Findings,
    rules::{Rule, Rules, WITHOUT_AVERAGES, generate},
    shop::{SCRAPE, STALE, START, Shop},
};
use crate::prometheus::{Matrix, Prometheus};

const MINUTE: Duration = Duration::from_secs(60);
/// How often rules of longer windows are evaluated, and alerts compared.
const MARK: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

const SPECS: [&str; 2] = ["tests/peers/sloth/shop.yml", "tests/peers/sloth/back-office.yml"];
const PAGE: &str = "docs/sloth-differences.md";

/// An SLO, or a group of one: Sloth's id of it, its job, and its route.
pub type Subject = (&'static str, &'static str, &'static str);

pub const SUBJECTS: [Subject; 8] = [
    ("shop-availability", "checkout", ""),
    ("shop-success", "checkout", ""),
    ("shop-latency", "search", ""),
    ("shop-routes", "catalog", "/items"),
    ("shop-routes", "catalog", "/find"),
    ("shop-routes", "catalog", "/admin"),
    (RARE, "mailer", ""),
    ("back-office-reports", "reports", ""),
];

/// Its error series begins with the first error of each process, so that `rate` misses that.
pub const RARE: &str = "back-office-mails";

// All windows of alerts are covered from then on.
const COMPARED_AFTER: Duration = Duration::from_secs(73 * 3_600);
// A request is about this large.
const SAMPLES_PER_REQUEST: usize = 5_000;

/// A month, as slod saw it at every mark.
pub struct Month {
    pub prometheus: Prometheus,
    pub shop: Shop,
    pub reports: BTreeMap<Timestamp, Snapshot>,
    /// What it published in the end under Sloth's names.
    pub published: compat::Published,
}

/// What the rules of an SLO say, by route and time.
pub struct Sloth {
    /// By window, shortest first.
    pub windows: BTreeMap<Duration, Values>,
    /// The same without extrapolation, each hour.
    pub anchored: BTreeMap<Duration, Values>,
    /// The series of the rule for 5m, each minute.
    pub shortest: Values,
    /// When each severity's alert is active.
    pub alerts: BTreeMap<String, BTreeSet<(String, Timestamp)>>,
    /// The error ratio of the period, and what of the budget remains, at the end.
    pub period: Values,
    pub remaining: Values,
    /// The error ratio of the period as `disableOptimized` asks for it.
    pub period_at_once: Values,
}

pub type Values = BTreeMap<(String, Timestamp), f64>;

#[test]
fn rules_of_sloth_differ_by_extrapolation_only_and_budgets_by_averages() {
    let directory = tempfile::tempdir().unwrap();
    let month = Month::run(start_prometheus(directory.path()));
    let sloth: BTreeMap<String, Sloth> =
        SPECS.iter().flat_map(|spec| Sloth::of_spec(&month.prometheus, spec)).collect();
    let findings: Vec<Findings> =
        SUBJECTS.iter().map(|subject| Findings::new(subject, &month, &sloth[subject.0])).collect();
    findings::check_alerts(&findings);
    compat::check(&month.prometheus, START + MONTH, &month.published);
    check_page(&page::tables(&findings));
}

fn world() -> World {
    let texts = SPECS.map(|path| (path, fs::read_to_string(path).unwrap()));
    let specs = spec::read_all(texts, &spec::Settings::default());
    assert!(specs.diagnostics.is_empty(), "{:?}", specs.diagnostics);
    let config = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    World::new(specs.slos, config, ingest::Config::default(), START)
}

/// One that keeps a month in its head: blocks would only cost time.
fn start_prometheus(directory: &std::path::Path) -> Prometheus {
    let flags = [
        "--web.enable-remote-write-receiver",
        "--enable-feature=promql-extended-range-selectors",
        "--storage.tsdb.min-block-duration=100d",
        "--storage.tsdb.max-block-duration=100d",
        "--storage.tsdb.retention.time=36500d",
    ];
    Prometheus::start(directory, "scrape_configs: []\n", &flags)
}

/// Compares the tables of the page, or writes them.
fn check_page(tables: &str) {
    let page = fs::read_to_string(PAGE).unwrap();
    let (head, _) = page.split_once(page::BEGIN).unwrap_or_else(|| panic!("{PAGE} lacks {}", page::BEGIN));
    let updated = format!("{head}{}\n\n{tables}", page::BEGIN);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, &updated).unwrap();
    } else {
        assert!(
            page == updated,
            "{PAGE} is stale, `UPDATE_DOCS=1 make test-peers` writes it anew:\n{tables}"
        );
    }
}

// === impl Month ===

impl Month {
    /// Sends every scrape to both.
    fn run(prometheus: Prometheus) -> Self {
        let mut world = world();
        let mut month =
            Self { prometheus, shop: Shop::new(), reports: BTreeMap::new(), published: BTreeMap::new() };
        let (mut now, mut waiting) = (START, Vec::new());
        for scrape in 0.. {
            while now + MINUTE <= Shop::at(scrape) {
                now = now + MINUTE;
                month.evaluate(&mut world, now);
            }
            if now >= START + MONTH {
                break;
            }
            let samples = month.shop.scrape();
            world.send(&samples, Shop::at(scrape)).unwrap();
            waiting.extend(samples);
            if waiting.len() >= SAMPLES_PER_REQUEST {
                month.prometheus.write(&waiting);
                waiting.clear();
            }
        }
        month.prometheus.write(&waiting);
        month
    }

    fn evaluate(&mut self, world: &mut World, now: Timestamp) {
        let report = world.tick(now);
        if now == START + MONTH {
            self.published = compat::published(&report);
        }
        if now > START + COMPARED_AFTER && now == now.floor(MARK) {
            self.reports.insert(now, report.snapshot());
        }
    }

    /// What slod says of a subject at each mark.
    pub fn of<'m>(&'m self, subject: &Subject) -> impl Iterator<Item = (Timestamp, &'m SloReport)> {
        let &(id, _, route) = subject;
        self.reports.iter().map(move |(at, report)| {
            let is_it = |slo: &&SloReport| {
                slo.role != Role::RollUp
                    && format!("{}-{}", slo.slo.id.service, slo.slo.id.name) == id
                    && slo.group.get("route") == route
            };
            (*at, report.slos.iter().find(is_it).unwrap())
        })
    }
}

// === impl Sloth ===

impl Sloth {
    /// Evaluates what the real one generates of a spec, by its ids of the SLOs.
    fn of_spec(prometheus: &Prometheus, spec: &str) -> BTreeMap<String, Self> {
        let at_once = generate(spec, WITHOUT_AVERAGES);
        let replayed = |(id, rules): (String, Rules)| {
            let period = at_once[&id].period.as_ref().unwrap();
            let sloth = Self::replay(prometheus, &rules, period);
            (id, sloth)
        };
        generate(spec, &[]).into_iter().map(replayed).collect()
    }

    /// Evaluates the rules of an SLO.
    fn replay(prometheus: &Prometheus, rules: &Rules, period_at_once: &Rule) -> Self {
        let (from, end) = (first_mark(), START + MONTH);
        let ask = |rule: &Rule, from, step| record(prometheus, rule, from, step);
        let (shortest, longer) = rules.windows.split_first().unwrap();
        let each_minute = ask(shortest, START + MINUTE, MINUTE);
        let mut windows = BTreeMap::from([(shortest.window(), each_minute.clone())]);
        windows.extend(longer.iter().map(|rule| (rule.window(), ask(rule, from, MARK))));
        let anchored =
            |rule: &Rule| values(prometheus.range(&rule.anchored(), from.floor(HOUR) + HOUR, end, HOUR));
        let period = ask(rules.period.as_ref().unwrap(), end, MINUTE);
        let mut metadata = BTreeMap::new();
        for rule in &rules.metadata {
            metadata.insert(&*rule.record, ask(rule, end, MINUTE));
        }
        let alert = |rule: &Rule| {
            let active = values(prometheus.range(&rule.expr, from, end, MARK));
            (rule.severity().to_owned(), active.into_keys().collect())
        };
        Self {
            anchored: rules.windows.iter().map(|rule| (rule.window(), anchored(rule))).collect(),
            windows,
            shortest: each_minute,
            alerts: rules.alerts.iter().map(alert).collect(),
            period,
            remaining: metadata["slo:period_error_budget_remaining:ratio"].clone(),
            period_at_once: values(prometheus.range(&period_at_once.expr, end, end, MINUTE)),
        }
    }
}

fn first_mark() -> Timestamp {
    START + COMPARED_AFTER + MARK
}

/// Evaluates a recording rule until the end of the month, and writes what it records.
fn record(prometheus: &Prometheus, rule: &Rule, from: Timestamp, step: Duration) -> Values {
    let matrix = prometheus.range(&rule.expr, from, START + MONTH, step);
    for (labels, points) in &matrix {
        let labels = recorded(labels, rule);
        let mut samples = Vec::new();
        for (number, &(at, value)) in points.iter().enumerate() {
            samples.push(Sent { labels: labels.clone(), at, value });
            let next = points.get(number + 1).map_or(START + MONTH + step, |&(next, _)| next);
            if next > at + step {
                samples.push(Sent { labels: labels.clone(), at: at + step, value: STALE });
            }
        }
        samples.chunks(SAMPLES_PER_REQUEST).for_each(|samples| prometheus.write(samples));
    }
    values(matrix)
}

fn recorded(labels: &Labels, rule: &Rule) -> Labels {
    let mut pairs: BTreeMap<&str, &str> = labels.iter().collect();
    pairs.extend(rule.labels.iter().map(|(name, value)| (&**name, &**value)));
    pairs.insert(METRIC_NAME, &rule.record);
    Labels::new(pairs).unwrap()
}

fn values(matrix: Matrix) -> Values {
    let of_series = |(labels, points): (Labels, Vec<(Timestamp, f64)>)| {
        let route = labels.get("route").to_owned();
        points.into_iter().map(move |(at, value)| ((route.clone(), at), value))
    };
    matrix.into_iter().flat_map(of_series).collect()
}
