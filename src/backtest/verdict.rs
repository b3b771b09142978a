//! From what was written down in a replay to what it means.

use std::{sync::Arc, time::Duration};

use super::{
    Config,
    incidents::{Burn, Incident, tells},
    report::{Answer, Firing, InstanceReport, Met, Report, SeverityTotal, Tier},
    score,
    span::{Span, total, union},
    tune::{self, Case, Grid, SeverityTuning, Tuning},
    watch::Watch,
};
use crate::{
    burn_rate,
    matching::Role,
    slo::{BurnRateAlert, Slo, default_min_bad_events},
    spec::native,
    time::Timestamp,
};

// What the most eager page of the SRE workbook is for: what spends less is not worth waking anybody.
const SPENT_MIN: f64 = 0.02;
const WEEK_S: f64 = 7.0 * 86_400.0;

/// The report of a replay over this time.
pub(super) fn report(
    config: &Config,
    slos: &[Arc<Slo>],
    grids: &[Option<Arc<Grid>>],
    watches: Vec<Watch>,
    span: Span,
) -> Report {
    let (inside, outside): (Vec<Incident>, Vec<Incident>) =
        config.incidents.iter().cloned().partition(|incident| incident.span.meets(span));
    let given = (!config.incidents.is_empty()).then_some(inside.as_slice());
    let mut instances = Vec::new();
    let mut cases: Vec<Vec<Case>> = slos.iter().map(|_| Vec::new()).collect();
    for mut watch in watches {
        let slo = &slos[watch.slo];
        let burns = burns(slo, &mut watch, span);
        if let Some(trial) = watch.trial.take() {
            let incidents = match given {
                Some(given) => known(slo, given, &burns),
                None => burns.iter().map(|(burn, spent)| (burn.span, *spent)).collect(),
            };
            cases[watch.slo].push(Case { trial, incidents });
        }
        instances.push(instance(slo, watch, &burns, given, span));
    }
    let tunings = grids.iter().zip(cases).zip(slos).filter_map(|((grid, cases), slo)| {
        let severities = tune::choose(grid.as_ref()?, cases, span, given.is_some());
        Some(Tuning { slo: slo.id.clone(), yaml: yaml(slo, &severities), severities })
    });
    Report {
        span,
        interval: config.interval,
        samples: 0,
        unordered: 0,
        refused: 0,
        first_refusal: None,
        silent: Vec::new(),
        scores: score::scores(&instances, given.unwrap_or_default()),
        outside,
        tunings: tunings.collect(),
        instances,
    }
}

/// The stretches in which the budget burned, each with the share of a period's budget that was spent in it.
fn burns(slo: &Slo, watch: &mut Watch, span: Span) -> Vec<(Burn, f64)> {
    let periods = span.length().div_duration_f64(slo.objective.period()).max(f64::MIN_POSITIVE);
    let allowed = burn_rate::allowed(watch.counts.total / periods, slo.objective.target.budget_ratio());
    // As many as wake somebody: one error of a small service is none.
    let bad_min = default_min_bad_events("page", slo.objective.budgeting);
    let burns = watch.take_burns().into_iter().filter(|burn| burn.bad >= bad_min);
    burns.map(|burn| (burn, if allowed > 0.0 { burn.bad / allowed } else { f64::INFINITY })).collect()
}

/// The incidents that were given and are about an instance. One that names no SLO is about those that burned in it.
fn known(slo: &Slo, given: &[Incident], burns: &[(Burn, f64)]) -> Vec<(Span, f64)> {
    let burned = |incident: &Incident| burns.iter().any(|(burn, _)| burn.span.meets(incident.span));
    let is_about =
        |incident: &&Incident| incident.is_of(&slo.id) && (incident.slo.is_some() || burned(incident));
    given.iter().filter(is_about).map(|incident| (incident.span, spent(incident.span, burns))).collect()
}

/// What was spent in a time: of stretches that are partly in it, the part.
fn spent(span: Span, burns: &[(Burn, f64)]) -> f64 {
    let part = |burn: &Burn| burn.span.within(span).div_duration_f64(burn.span.length());
    burns.iter().filter(|(burn, _)| burn.span.meets(span)).map(|(burn, spent)| spent * part(burn)).sum()
}

fn instance(
    slo: &Arc<Slo>,
    watch: Watch,
    burns: &[(Burn, f64)],
    given: Option<&[Incident]>,
    span: Span,
) -> InstanceReport {
    let severities = severities(slo);
    let incidents: Vec<(Incident, f64)> = match given {
        Some(given) => {
            let own = given.iter().filter(|incident| incident.is_of(&slo.id));
            own.map(|incident| (incident.clone(), spent(incident.span, burns))).collect()
        }
        None => found(burns),
    };
    let met = |(incident, spent): (Incident, f64)| {
        let answer = |severity: &String| answer(slo, severity, &watch.firings, incident.span);
        let answers = severities.iter().map(answer).collect();
        Met { incident, spent, answers }
    };
    let incidents: Vec<Met> =
        if watch.role == Role::RollUp { Vec::new() } else { incidents.into_iter().map(met).collect() };
    let weeks = span.length().as_secs_f64() / WEEK_S;
    let severities: Vec<SeverityTotal> =
        severities.iter().map(|severity| severity_total(slo, severity, &watch.firings, weeks)).collect();
    let mut days = watch.days;
    if days.last().is_none_or(|last| last.at < watch.last.at) {
        days.push(watch.last);
    }
    InstanceReport {
        slo: Arc::clone(slo),
        group: watch.group,
        role: watch.role,
        events: watch.counts.total,
        bad_events: watch.counts.bad,
        severities: if watch.role == Role::RollUp { Vec::new() } else { severities },
        firings: watch.firings,
        days,
        hours: watch.hours,
        lowest: watch.lowest,
        incidents,
    }
}

/// Stretches worth waking somebody.
fn found(burns: &[(Burn, f64)]) -> Vec<(Incident, f64)> {
    let worth = burns.iter().filter(|(_, spent)| *spent >= SPENT_MIN);
    let named = (1..).zip(worth).map(|(number, (burn, spent))| {
        (Incident { name: format!("burn {number}"), slo: None, span: burn.span }, *spent)
    });
    named.collect()
}

/// Each severity of an SLO's alerts once, in their order.
fn severities(slo: &Slo) -> Vec<String> {
    let mut severities: Vec<String> = Vec::new();
    for BurnRateAlert { severity, .. } in &slo.alerts {
        if !severities.contains(severity) {
            severities.push(severity.clone());
        }
    }
    severities
}

fn severity_total(slo: &Slo, severity: &str, firings: &[Firing], weeks: f64) -> SeverityTotal {
    let own = firings.iter().filter(|firing| slo.alerts[firing.alert].severity == severity);
    let spans = union(own.map(|firing| firing.span).collect());
    let firing = total(&spans);
    let minutes_per_week = firing.as_secs_f64() / 60.0 / weeks;
    SeverityTotal { severity: severity.to_owned(), alerts: spans.len(), firing, minutes_per_week }
}

/// See [`score`] for which alerts belong to an incident.
fn answer(slo: &Slo, severity: &str, firings: &[Firing], incident: Span) -> Answer {
    let belongs = |firing: &&Firing| {
        let alert = &slo.alerts[firing.alert];
        alert.severity == severity && firing.span.meets(tells(incident))
    };
    let own: Vec<&Firing> = firings.iter().filter(belongs).collect();
    let first = own.iter().map(|firing| firing.span.start).min();
    let is_open = own.iter().any(|firing| firing.is_open);
    let last = own.iter().map(|firing| firing.span.end).max().filter(|_| !is_open);
    let after =
        |start, moment: Option<Timestamp>| -> Option<Duration> { moment.map(|moment| moment.since(start)) };
    Answer {
        severity: severity.to_owned(),
        detected: after(incident.start, first),
        reset: after(incident.end, last),
    }
}

/// The alerts as recommended, unless that is what they are.
fn yaml(slo: &Slo, severities: &[SeverityTuning]) -> Option<String> {
    let mut alerts = Vec::new();
    let mut is_new = false;
    for tuning in severities {
        let own: Vec<&BurnRateAlert> =
            slo.alerts.iter().filter(|alert| alert.severity == tuning.severity).collect();
        match tuning.settings.iter().find(|setting| setting.is_recommended && !setting.is_present) {
            Some(setting) => {
                is_new = true;
                alerts.extend(setting.tiers.iter().map(|tier| retuned(own[0], *tier)));
            }
            None => alerts.extend(own.into_iter().cloned()),
        }
    }
    is_new.then(|| native::alerting_yaml(&Slo { alerts, ..slo.clone() }).ok()).flatten()
}

fn retuned(alert: &BurnRateAlert, Tier { long, short, factor }: Tier) -> BurnRateAlert {
    BurnRateAlert { long, short, factor: (factor * 100.0).round() / 100.0, ..alert.clone() }
}
