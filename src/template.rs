//! Templates of annotations: Jinja's syntax (the crate minijinja), and the part of Prometheus' that people write.
//!
//! `{{ labels.slo }}` and `{{ value | humanize }}` are the same in both but for the `$`, so that texts of Prometheus'
//! rules work as they are: `{{ $labels.slo }}`, `{{ $value | humanizePercentage }}`, `{{ printf "%.2f" $value }}`
//! (`go`). A text that uses more of Go's language is told apart; it is up to the caller to deliver it as it is.
//!
//! It does not know alerts. The invariant: a rendering ends soon, is short, and reaches nothing but what it is given.

mod go;
mod humanize;

use std::{collections::BTreeMap, io};

use minijinja::{
    Environment, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter, value::ValueKind,
};

/// Renders templates, and keeps those that it has read.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    /// How each text is found in the environment, or why it is not there.
    known: BTreeMap<String, Result<(), Problem>>,
}

/// What a template may say.
#[derive(Clone, Debug)]
pub struct Context(Value);

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The byte of the text at which it shows.
    pub offset: usize,
    /// What it is.
    pub kind: ProblemKind,
}

/// What kind of text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// It is broken.
    #[error("broken template: {0}")]
    Broken(String),
    /// It is a template of Prometheus that slod does not render.
    #[error("{0} is of Go's templates, which slod does not run; the text is delivered as it is")]
    Foreign(String),
}

// A text of some sentences takes some hundred steps.
const FUEL: u64 = 20_000;
// Chats and mails show less; Alertmanager itself has no limit.
const BYTES_MAX: usize = 16 << 10;
// Texts come from specs, which may be reloaded with other ones.
const KNOWN_MAX: usize = 10_000;

/// Whether a text can be rendered, and if not, where and why.
///
/// # Errors
/// When it cannot.
pub fn check(text: &str) -> Result<(), Problem> {
    // Most texts are none, and need no engine.
    if text.contains('{') { Templates::default().check(text) } else { Ok(()) }
}

// === impl Templates ===

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        // Nothing of this goes into HTML by itself.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        // As Prometheus: a label that is not there is empty.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_formatter(as_go_prints);
        environment.set_fuel(Some(FUEL));
        environment.set_debug(true);
        humanize::add_to(&mut environment);
        Self { environment, known: BTreeMap::new() }
    }
}

impl Templates {
    /// The text with its templates filled in.
    ///
    /// # Errors
    /// When it is no template, or fails; says why.
    pub fn render(&mut self, text: &str, context: &Context) -> Result<String, String> {
        if !text.contains('{') {
            return Ok(text.to_owned());
        }
        match self.read(text) {
            Err(Problem { kind: ProblemKind::Foreign(_), .. }) => return Ok(text.to_owned()),
            Err(problem) => return Err(problem.kind.to_string()),
            Ok(()) => (),
        }
        self.run(text, context).map_err(|error| said(&error))
    }

    fn check(&mut self, text: &str) -> Result<(), Problem> {
        self.read(text)?;
        let nothing = Context::new(&BTreeMap::new(), &BTreeMap::new(), 1.0, "", "");
        match self.run(text, &nothing) {
            // Other errors may be due to having nothing to say.
            Err(error) if is_of_names(&error) => {
                let offset = error.range().map_or(0, |range| range.start);
                let offset = go::translate(text).map_or(0, |go| go.offset(offset));
                Err(Problem { offset, kind: ProblemKind::Broken(said(&error)) })
            }
            _ => Ok(()),
        }
    }

    fn run(&self, text: &str, context: &Context) -> Result<String, minijinja::Error> {
        let mut output = Bounded::default();
        let template = self.environment.get_template(text)?;
        template.render_captured_to(context.0.clone(), &mut output)?;
        Ok(String::from_utf8_lossy(&output.0).into_owned())
    }

    fn read(&mut self, text: &str) -> Result<(), Problem> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
            self.environment.clear_templates();
        }
        let read = self.read_anew(text);
        self.known.insert(text.to_owned(), read.clone());
        read
    }

    fn read_anew(&mut self, text: &str) -> Result<(), Problem> {
        let translated = go::translate(text)?;
        let added = self.environment.add_template_owned(text.to_owned(), translated.text.clone());
        added.map_err(|error| {
            let offset = error.range().map_or(0, |range| range.start);
            Problem { offset: translated.offset(offset), kind: ProblemKind::Broken(said(&error)) }
        })
    }
}

/// A function, filter or test that is not there.
fn is_of_names(error: &minijinja::Error) -> bool {
    use ErrorKind::{MissingArgument, TooManyArguments, UnknownFilter, UnknownFunction, UnknownTest};
    matches!(error.kind(), UnknownFilter | UnknownFunction | UnknownTest | MissingArgument | TooManyArguments)
}

fn said(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {FUEL} steps"),
        (ErrorKind::WriteFailure, _) => format!("it becomes longer than {BYTES_MAX} bytes"),
        (ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

/// Numbers as Go prints them: `14` where others print `14.0`.
fn as_go_prints(output: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    match f64::try_from(value.clone()) {
        Ok(number) if value.kind() == ValueKind::Number && !value.is_integer() => {
            escape_formatter(output, state, &Value::from(humanize::plain(number)))
        }
        _ => escape_formatter(output, state, value),
    }
}

/// What is written, up to a limit.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Context ===

impl Context {
    /// Of an alert: its labels, those of this slod, its value, its reason, and where slod is.
    pub fn new(
        labels: &BTreeMap<String, String>,
        external_labels: &BTreeMap<String, String>,
        value: f64,
        reason: &str,
        external_url: &str,
    ) -> Self {
        let map = |labels: &BTreeMap<String, String>| {
            Value::from_pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        };
        let (labels, external) = (map(labels), map(external_labels));
        let entries: [(&str, Value); 11] = [
            ("labels", labels.clone()),
            ("value", value.into()),
            ("reason", reason.into()),
            ("external_labels", external.clone()),
            ("external_url", external_url.into()),
            // Prometheus' names.
            ("Labels", labels),
            ("Value", value.into()),
            ("externalLabels", external.clone()),
            ("ExternalLabels", external),
            ("externalURL", external_url.into()),
            ("ExternalURL", external_url.into()),
        ];
        Self(Value::from_pairs(entries))
    }
}

#[cfg(test)]
mod tests;
