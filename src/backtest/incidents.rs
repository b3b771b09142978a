//! Incidents: those that people know of, read from a file, and those that the budget shows.

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::span::Span;
use crate::{slo::SloId, time::Timestamp};

/// Something that alerts should have told.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// What people call it.
    pub name: String,
    /// Which SLO it hurt, as `service/name` or `name`; `None`: any.
    pub slo: Option<String>,
    /// From when to when.
    pub span: Span,
}

/// Why a file of incidents is not understood. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: {reason}")]
pub struct IncidentError {
    /// The file.
    pub path: String,
    /// Where in it.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    start: String,
    end: String,
    #[serde(default)]
    slo: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

const COLUMNS: [&str; 4] = ["start", "end", "slo", "name"];

/// Reads incidents: CSV when the path ends so, else YAML.
///
/// # Errors
/// With every line that is not understood.
pub fn read(path: &str, text: &str) -> Result<Vec<Incident>, Vec<IncidentError>> {
    let rows = if path.to_ascii_lowercase().ends_with(".csv") { csv(text) } else { yaml(text) };
    let error = |line, reason| IncidentError { path: path.to_owned(), line, reason };
    let rows = rows.map_err(|(line, reason)| vec![error(line, reason)])?;
    if rows.is_empty() {
        return Err(vec![error(
            1,
            "no incidents; write a list of start, end and, if you like, slo and name".to_owned(),
        )]);
    }
    let (mut incidents, mut errors) = (Vec::new(), Vec::new());
    for (line, row) in rows {
        match row.and_then(|raw| incident(raw, line)) {
            Ok(incident) => incidents.push(incident),
            Err(reason) => errors.push(error(line, reason)),
        }
    }
    if errors.is_empty() { Ok(incidents) } else { Err(errors) }
}

/// Reads a moment: RFC 3339, or seconds since 1970.
///
/// # Errors
/// When it is neither.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>()
        && (seconds * 1_000.0).abs() < i64::MAX as f64
    {
        return Ok(Timestamp((seconds * 1_000.0).round() as i64));
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|at| Timestamp(at.as_millisecond())).map_err(|_| {
        format!("{text:?} is no time; write it like 2026-11-21T14:05:00Z, or in seconds since 1970")
    })
}

type Rows = Vec<(usize, Result<Raw, String>)>;

fn yaml(text: &str) -> Result<Rows, (usize, String)> {
    let place = |error: &serde_saphyr::Error| error.location().map_or(1, |at| at.line() as usize);
    let rows: Vec<Spanned<Raw>> =
        serde_saphyr::from_str(text).map_err(|error| (place(&error), one_line(&error)))?;
    Ok(rows.into_iter().map(|row| (row.referenced.line() as usize, Ok(row.value))).collect())
}

fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Comma-separated, with a header that names the columns. Fields may be in double quotes.
fn csv(text: &str) -> Result<Rows, (usize, String)> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (first, header) = lines.next().ok_or((1, "the file is empty".to_owned()))?;
    let header: Vec<String> = fields(header).map_err(|reason| (first, reason))?;
    if let Some(unknown) = header.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err((first, format!("column {unknown:?} is none of {}", COLUMNS.join(", "))));
    }
    if let Some(missing) = COLUMNS[..2].iter().find(|name| !header.iter().any(|column| column == *name)) {
        return Err((
            first,
            format!("the first line names no column {missing:?}; it is like start,end,slo,name"),
        ));
    }
    Ok(lines.map(|(line, row)| (line, fields(row).and_then(|fields| raw(&header, fields)))).collect())
}

fn raw(header: &[String], fields: Vec<String>) -> Result<Raw, String> {
    if fields.len() != header.len() {
        return Err(format!("{} fields, the first line names {}", fields.len(), header.len()));
    }
    let mut raw = Raw::default();
    for (column, field) in header.iter().zip(fields) {
        match column.as_str() {
            "start" => raw.start = field,
            "end" => raw.end = field,
            "slo" => raw.slo = Some(field).filter(|slo| !slo.is_empty()),
            _ => raw.name = Some(field).filter(|name| !name.is_empty()),
        }
    }
    Ok(raw)
}

fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = line.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => fields[last].extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    if is_quoted {
        return Err("a quote is not closed; fields do not go beyond their line".to_owned());
    }
    Ok(fields.into_iter().map(|field| field.trim().to_owned()).collect())
}

fn incident(raw: Raw, line: usize) -> Result<Incident, String> {
    let span = Span { start: moment(&raw.start)?, end: moment(&raw.end)? };
    if span.end <= span.start {
        return Err(format!(
            "the incident ends at {} and starts at {}; it must end later",
            raw.end, raw.start
        ));
    }
    Ok(Incident { name: raw.name.unwrap_or_else(|| format!("line {line}")), slo: raw.slo, span })
}

// === impl Incident ===

impl Incident {
    /// Whether it is about this SLO.
    pub fn is_of(&self, id: &SloId) -> bool {
        self.slo.as_ref().is_none_or(|slo| *slo == id.name || *slo == id.to_string())
    }
}

/// The time in which an alert that fires is about an incident.
pub(super) fn tells(incident: Span) -> Span {
    incident.longer(PAUSE_MAX)
}

/// A stretch in which the budget burned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Burn {
    pub(super) span: Span,
    pub(super) bad: f64,
}

/// Finds stretches in which more went wrong than allowed.
#[derive(Debug, Default)]
pub(super) struct Burns {
    found: Vec<Burn>,
    open: Option<Burn>,
}

// The short window of the fastest alert of the SRE workbook: what comes back sooner is the same incident, and what fires
// as soon after one is about it. Burn rates rise while errors come in, so that no window makes an alert fire later.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(300);

// === impl Burns ===

impl Burns {
    /// Takes what happened in a step.
    pub(super) fn step(&mut self, step: Span, bad: f64, allowed: f64) {
        let is_over = self.open.is_some_and(|open| step.end.since(open.span.end) > PAUSE_MAX);
        if is_over {
            self.found.extend(self.open.take());
        }
        if bad <= 0.0 {
            return;
        }
        match &mut self.open {
            Some(open) => {
                open.bad += bad;
                if bad > allowed {
                    open.span.end = step.end;
                }
            }
            None if bad > allowed => self.open = Some(Burn { span: step, bad }),
            None => (),
        }
    }

    /// All of them, in their order.
    pub(super) fn finish(mut self) -> Vec<Burn> {
        self.found.extend(self.open.take());
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn span(start: i64, end: i64) -> Span {
        Span { start: Timestamp(start * 1_000), end: Timestamp(end * 1_000) }
    }

    #[test]
    fn yaml_and_csv_say_the_same() {
        let yaml = "
- start: 2023-11-14T22:13:20Z
  end: 1700000600
  slo: api/availability
  name: database
- {start: 1700001000.5, end: 2023-11-14T23:40:00+01:00}
";
        let csv = "name,start,end,slo\n\ndatabase,2023-11-14T22:13:20Z,1700000600,api/availability\n\
                   \"line 6\",1700001000.5,\"2023-11-14T23:40:00+01:00\",\n";
        let read = read("x.yaml", yaml).unwrap();
        assert_eq!(read[0].span, span(1_700_000_000, 1_700_000_600));
        assert_eq!(read[1].span, Span { start: Timestamp(1_700_001_000_500), ..span(0, 1_700_001_600) });
        assert_eq!(read, super::read("X.CSV", csv).unwrap());
    }

    #[track_caller]
    fn check(path: &str, text: &str, expected: &str) {
        let errors = read(path, text).unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said.join("\n"), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check(
            "i.csv",
            "start,end\n1,2\n2,1\nx,5\n1,2,3\n\"1,2\n",
            "i.csv:3: the incident ends at 1 and starts at 2; it must end later\n\
             i.csv:4: \"x\" is no time; write it like 2026-11-21T14:05:00Z, or in seconds since 1970\n\
             i.csv:5: 3 fields, the first line names 2\n\
             i.csv:6: a quote is not closed; fields do not go beyond their line",
        );
        check("i.csv", "", "i.csv:1: the file is empty");
        check("i.csv", "start,ende\n", "i.csv:1: column \"ende\" is none of start, end, slo, name");
        check(
            "i.csv",
            "start\n",
            "i.csv:1: the first line names no column \"end\"; it is like start,end,slo,name",
        );
        check(
            "i.csv",
            "start,end\n",
            "i.csv:1: no incidents; write a list of start, end and, if you like, slo and name",
        );
        check(
            "i.yaml",
            "- start: 1\n  end: 2\n- start: 5\n  end: 4\n",
            "i.yaml:3: the incident ends at 4 and starts at 5; it must end later",
        );
        let unknown = read("i.yaml", "- start: 1\n  end: 2\n  slos: x\n").unwrap_err();
        assert_eq!(unknown[0].line, 3, "{unknown:?}");
        assert!(unknown[0].reason.contains("slos"), "{unknown:?}");
    }

    #[test]
    fn an_incident_is_of_an_slo_by_either_name_or_of_all() {
        let id = SloId { service: "api".to_owned(), name: "availability".to_owned() };
        let incident = |slo: Option<&str>| Incident {
            name: String::new(),
            slo: slo.map(str::to_owned),
            span: span(0, 1),
        };
        for (slo, expected) in [
            (None, true),
            (Some("availability"), true),
            (Some("api/availability"), true),
            (Some("api"), false),
        ] {
            assert_eq!(incident(slo).is_of(&id), expected, "{slo:?}");
        }
    }

    #[test]
    fn what_burns_again_soon_is_the_same_stretch() {
        let mut burns = Burns::default();
        for (second, bad) in [(0, 0.0), (30, 5.0), (60, 0.5), (90, 5.0), (390, 5.0), (391, 0.0), (700, 2.0)] {
            let end = Timestamp(0) + SECOND * second;
            burns.step(Span { start: end - SECOND, end }, bad, 1.0);
        }
        let found: Vec<_> = burns.finish().iter().map(|burn| (burn.span, burn.bad)).collect();
        assert_eq!(found, [(span(29, 390), 15.5), (span(699, 700), 2.0)]);
    }
}
