//! Sloth's public SLI plugins, `sloth-common/…`: each makes two queries of a few options.
//!
//! Sloth runs them as Go code; there are few, and what they make is known, so that each is a row of a table here.
//! Where a plugin guards itself against a division by zero, nothing is needed: slod divides counts.

use super::fields;
use crate::{
    slo::{Grouping, Indicator, Measure, Threshold, ThresholdOp},
    spec::{
        query::{self, Dialect, Pair, Query},
        reader::{Fields, Reader, unknown},
        yaml::Node,
    },
};

mod table;

use table::PLUGINS;

/// A plugin: its name below [`PREFIX`], what it asks for, and what it makes of that.
struct Plugin {
    name: &'static str,
    options: &'static [(&'static str, Choice)],
    sli: Sli,
}

/// What an option may be.
#[derive(Clone, Copy)]
enum Choice {
    /// Matchers to put into every selector, with or without braces.
    Filter,
    /// The same, and not to be left out.
    RequiredFilter,
    /// A text.
    Required,
    /// A text with a default.
    Default(&'static str),
    /// The bound of a histogram's bucket.
    Bucket,
    /// Whether to put this matcher into every selector.
    Flag(&'static str),
}

/// What a plugin makes. Options stand in angle brackets; those that are matchers bring their comma.
enum Sli {
    Events(Pair, &'static str, &'static str),
    /// The samples of a gauge, bad ones below 1.
    Up(&'static str),
    /// Nothing that can be counted, and why.
    Nothing(&'static str),
}

const PREFIX: &str = "sloth-common/";

// The registered id of `noop` is misspelt, and the plugin's own documentation has it right.
const NOOP_MISSPELT: &str = "sloth_common/noop";

/// The indicator of a field `plugin`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = fields(reader, node, &["id", "options"])?;
    let id = reader.required_text(&fields, "id")?;
    let Some(plugin) = find(id) else {
        reader.error(fields.place("id"), describe_unknown(id));
        return None;
    };
    if let Sli::Nothing(reason) = plugin.sli {
        reader.error(fields.place("id"), format!("plugin {id} cannot be used: {reason}"));
        return None;
    }
    let values = reader.checked(|reader| read_options(reader, &fields, plugin))?;
    plugin.indicator(reader, &values, fields.get("id")?)
}

fn find(id: &str) -> Option<&'static Plugin> {
    let name = if id == NOOP_MISSPELT { "noop" } else { id.strip_prefix(PREFIX)? };
    PLUGINS.iter().find(|plugin| plugin.name == name)
}

fn describe_unknown(id: &str) -> String {
    let names: Vec<&str> = PLUGINS.iter().map(|plugin| plugin.name).collect();
    let known = unknown("SLI plugin", id.strip_prefix(PREFIX).unwrap_or(id), &names);
    format!("{known} (all of them below {PREFIX}); write the queries of others as events or raw")
}

// === options ===

/// What is to stand in the place of each option.
type Values = Vec<(&'static str, String)>;

fn read_options(reader: &mut Reader<'_>, plugin_fields: &Fields<'_>, plugin: &Plugin) -> Option<Values> {
    let names: Vec<&str> = plugin.options.iter().map(|(name, _)| *name).collect();
    let options = plugin_fields.get("options").and_then(|node| fields(reader, node, &names));
    let mut values = Vec::new();
    for &(name, choice) in plugin.options {
        let given = options.map(|options| reader.optional_text(&options, name)).unwrap_or_default();
        let at = options.map_or(plugin_fields.at, |options| options.place(name));
        match choice.value(name, given.trim()) {
            Ok(value) => values.push((name, value)),
            Err(reason) => reader.error(at, reason),
        }
    }
    Some(values)
}

// === impl Choice ===

impl Choice {
    /// What stands for an option in a query. One that is not given is empty.
    fn value(self, name: &str, given: &str) -> Result<String, String> {
        let missing = || format!("missing option `{name}`");
        let matchers = given.trim_matches(['{', '}', ',']);
        match self {
            Self::RequiredFilter | Self::Required | Self::Bucket if given.is_empty() => Err(missing()),
            Self::Filter | Self::RequiredFilter if matchers.is_empty() => Ok(String::new()),
            Self::Filter | Self::RequiredFilter => Ok(format!("{matchers},")),
            Self::Bucket if given.parse::<f64>().is_err() => {
                Err(format!("option {name} must be a number, the bound of a bucket; got {given:?}"))
            }
            Self::Default(default) if given.is_empty() => Ok(default.to_owned()),
            Self::Required | Self::Bucket | Self::Default(_) => Ok(given.to_owned()),
            Self::Flag(matcher) => {
                let is_set = parse_bool(given)
                    .ok_or_else(|| format!("option {name} must be true or false; got {given:?}"))?;
                Ok(if is_set { format!("{matcher},") } else { String::new() })
            }
        }
    }
}

/// What Go takes for a truth value.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

// === impl Plugin ===

impl Plugin {
    fn indicator(&self, reader: &mut Reader<'_>, values: &Values, node: &Node) -> Option<Indicator> {
        let made = |template: &str| Query::made("plugin", fill(template, values), node);
        match self.sli {
            Sli::Events(pair, first, second) => {
                query::read_pair(reader, Dialect::Sloth, pair, &made(first), &made(second))
            }
            Sli::Up(selector) => {
                let selector = query::read_selector(reader, &made(selector))?;
                let is_up = Measure::SamplesWhere(Threshold { op: ThresholdOp::GreaterOrEqual, bound: 1.0 });
                let bad = [(1.0, selector.clone(), Measure::Samples), (-1.0, selector.clone(), is_up)];
                Some(query::counted(bad, [(1.0, selector, Measure::Samples)], Grouping::none()))
            }
            Sli::Nothing(_) => None,
        }
    }
}

fn fill(template: &str, values: &Values) -> String {
    let replace = |text: String, (name, value): &(&str, String)| text.replace(&format!("<{name}>"), value);
    values.iter().fold(template.to_owned(), replace)
}
