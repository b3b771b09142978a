//! The JSON of a dashboard, as far as slod's need it (Grafana 9 and later).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// A dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    tags: [&'static str; 2],
    schema_version: u32,
    version: u32,
    editable: bool,
    graph_tooltip: u32,
    refresh: &'static str,
    time: TimeRange,
    templating: Templating,
    links: Vec<Value>,
    panels: Vec<Panel>,
}

#[derive(Clone, Debug, Serialize)]
struct TimeRange {
    from: &'static str,
    to: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Templating {
    list: Vec<Variable>,
}

/// What is chosen at the top of a dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variable {
    name: &'static str,
    label: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    query: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    datasource: Option<Source>,
    refresh: u32,
    sort: u32,
    multi: bool,
    #[serde(rename = "includeAll")]
    has_all: bool,
    /// Without it Grafana lists every value.
    #[serde(skip_serializing_if = "Option::is_none")]
    all_value: Option<&'static str>,
    current: Value,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Source {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'static str,
}

/// A panel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Panel {
    id: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    grid_pos: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    datasource: Option<Source>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
    field_config: FieldConfig,
    options: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transformations: Vec<Value>,
}

/// Where a panel stands, in a grid 24 wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) w: u32,
    pub(super) h: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    expr: String,
    legend_format: &'static str,
    instant: bool,
    range: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    datasource: Source,
}

#[derive(Clone, Debug, Default, Serialize)]
struct FieldConfig {
    defaults: BTreeMap<&'static str, Value>,
    overrides: Vec<Value>,
}

const SOURCE: Source = Source { kind: "prometheus", uid: "${datasource}" };
// That of Grafana 9.5; later ones read it and bring it up to date.
const SCHEMA_VERSION: u32 = 38;

// === impl Dashboard ===

impl Dashboard {
    pub(super) fn new(
        uid: &'static str,
        title: &'static str,
        description: &'static str,
        variables: Vec<Variable>,
        panels: Vec<Panel>,
    ) -> Self {
        let source = Variable {
            query: json!("prometheus"),
            datasource: None,
            refresh: 1,
            ..Variable::new("datasource", "Data source", "datasource")
        };
        let list = std::iter::once(source).chain(variables).collect();
        let number = |(id, panel): (usize, Panel)| Panel { id: id + 1, ..panel };
        Self {
            uid,
            title,
            description,
            tags: ["slo", "slod"],
            schema_version: SCHEMA_VERSION,
            version: 1,
            editable: true,
            // The cross-hair is shared.
            graph_tooltip: 1,
            refresh: "30s",
            time: TimeRange { from: "now-24h", to: "now" },
            templating: Templating { list },
            links: vec![json!({
                "title": "SLOs", "type": "dashboards", "tags": ["slod"], "asDropdown": false, "icon": "external link",
                "includeVars": true, "keepTime": true, "targetBlank": false, "tooltip": "", "url": "",
            })],
            panels: panels.into_iter().enumerate().map(number).collect(),
        }
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}.json", self.uid)
    }

    /// What the file says.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("texts, numbers and lists have a JSON form");
        text + "\n"
    }

    /// Every query in it, with variables: those of panels, and those that variables take their values from.
    pub fn queries(&self) -> Vec<String> {
        let of_panels = self.panels.iter().flat_map(|panel| &panel.targets).map(|target| target.expr.clone());
        let of_variables = self.templating.list.iter().filter_map(Variable::selector);
        of_panels.chain(of_variables).collect()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<Place> {
        self.panels.iter().map(|panel| panel.grid_pos).collect()
    }
}

// === impl Variable ===

impl Variable {
    fn new(name: &'static str, label: &'static str, kind: &'static str) -> Self {
        Self {
            name,
            label,
            kind,
            query: Value::Null,
            datasource: Some(SOURCE),
            // With each change of the time range: SLOs come and go.
            refresh: 2,
            sort: 1,
            multi: false,
            has_all: false,
            all_value: None,
            current: json!({}),
        }
    }

    /// The values of a label.
    pub(super) fn label(name: &'static str, title: &'static str, selector: &str, label: &str) -> Self {
        let query = format!("label_values({selector}, {label})");
        Self { query: json!({"query": query, "refId": name}), ..Self::new(name, title, "query") }
    }

    /// One, several or all of them.
    pub(super) fn multi(self) -> Self {
        let current = json!({"text": ["All"], "value": ["$__all"], "selected": true});
        Self { multi: true, has_all: true, all_value: Some(".*"), current, ..self }
    }

    /// One that is chosen before anyone has chosen.
    pub(super) fn initially(self, value: &'static str) -> Self {
        Self { current: json!({"text": value, "value": value, "selected": true}), ..self }
    }

    fn selector(&self) -> Option<String> {
        let query = self.query["query"].as_str()?.strip_prefix("label_values(")?;
        query.rsplit_once(", ").map(|(selector, _)| selector.to_owned())
    }
}

// === impl Panel ===

impl Panel {
    fn new(kind: &'static str, title: &'static str, place: [u32; 4], options: Value) -> Self {
        let [x, y, w, h] = place;
        Self {
            id: 0,
            kind,
            title,
            description: "",
            grid_pos: Place { x, y, w, h },
            datasource: Some(SOURCE),
            targets: Vec::new(),
            field_config: FieldConfig::default(),
            options,
            transformations: Vec::new(),
        }
    }

    /// A heading.
    pub(super) fn row(title: &'static str, y: u32) -> Self {
        Self { datasource: None, ..Self::new("row", title, [0, y, 24, 1], json!({})) }
    }

    /// A number, or one for each series.
    pub(super) fn stat(title: &'static str, place: [u32; 4], expr: String) -> Self {
        let options = json!({
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
            "colorMode": "value", "graphMode": "none", "textMode": "auto",
        });
        Self::new("stat", title, place, options).instant(expr, "")
    }

    /// Lines over time.
    pub(super) fn lines(title: &'static str, place: [u32; 4]) -> Self {
        let options = json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        Self::new("timeseries", title, place, options)
            .custom(json!({"fillOpacity": 8, "showPoints": "never"}))
    }

    /// States over time.
    pub(super) fn states(title: &'static str, place: [u32; 4]) -> Self {
        let options = json!({"mergeValues": true, "showValue": "auto", "rowHeight": 0.8});
        Self::new("state-timeline", title, place, options)
    }

    /// A row for each set of labels, a column for each query.
    pub(super) fn table(title: &'static str, place: [u32; 4]) -> Self {
        let panel = Self::new("table", title, place, json!({"showHeader": true}));
        Self { transformations: vec![json!({"id": "merge", "options": {}})], ..panel }
    }

    /// With a query at every moment.
    pub(super) fn range(self, expr: String, legend: &'static str) -> Self {
        self.target(expr, legend, false, None)
    }

    /// With a query at the present.
    pub(super) fn instant(self, expr: String, legend: &'static str) -> Self {
        self.target(expr, legend, true, None)
    }

    /// With a query at the present for a column of this title.
    pub(super) fn column(self, expr: String, title: &'static str, unit: &'static str) -> Self {
        let mut panel = self.target(expr, "", true, Some("table"));
        let Some(target) = panel.targets.last() else { return panel };
        let matcher = json!({"id": "byName", "options": format!("Value #{}", target.ref_id)});
        let properties = json!([{"id": "displayName", "value": title}, {"id": "unit", "value": unit}, {"id": "decimals", "value": 2}]);
        panel.field_config.overrides.push(json!({"matcher": matcher, "properties": properties}));
        panel
    }

    fn target(
        mut self,
        expr: String,
        legend: &'static str,
        instant: bool,
        format: Option<&'static str>,
    ) -> Self {
        // A, B, C …
        let ref_id = char::from(b'A' + self.targets.len() as u8).to_string();
        let target = Target {
            ref_id,
            expr,
            legend_format: legend,
            instant,
            range: !instant,
            format,
            datasource: SOURCE,
        };
        self.targets.push(target);
        self
    }

    pub(super) fn about(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// What its numbers are.
    pub(super) fn unit(self, unit: &'static str) -> Self {
        self.default("unit", json!(unit))
    }

    /// The colour up to the first bound, and from each bound on.
    pub(super) fn colors(self, first: &str, bounds: &[(f64, &str)]) -> Self {
        let base = std::iter::once(json!({"color": first, "value": null}));
        let steps: Vec<Value> =
            base.chain(bounds.iter().map(|(value, color)| json!({"color": color, "value": value}))).collect();
        self.default("thresholds", json!({"mode": "absolute", "steps": steps}))
            .default("color", json!({"mode": "thresholds"}))
    }

    /// What numbers are called, and their colours.
    pub(super) fn words(self, words: &[(&str, &str, &str)]) -> Self {
        let options: BTreeMap<&str, Value> = words
            .iter()
            .map(|(value, text, color)| (*value, json!({"text": text, "color": color})))
            .collect();
        self.default("mappings", json!([{"type": "value", "options": options}]))
    }

    pub(super) fn default(mut self, name: &'static str, value: Value) -> Self {
        self.field_config.defaults.insert(name, value);
        self
    }

    pub(super) fn custom(self, value: Value) -> Self {
        self.default("custom", value)
    }

    /// A transformation of its tables, behind those before.
    pub(super) fn transformed(mut self, id: &str, options: Value) -> Self {
        self.transformations.push(json!({"id": id, "options": options}));
        self
    }
}
