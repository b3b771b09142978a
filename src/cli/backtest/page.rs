//! A page of headings, tables and text, for a terminal or as Markdown.

use super::chart::Paint;

/// A part of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Section {
    /// Of the first or a lower level.
    Heading(usize, String),
    /// A line or more.
    Text(String),
    /// What is printed as it is; with colours in the first one.
    Drawing {
        colored: Vec<String>,
        plain: Vec<String>,
    },
    /// A file to paste from.
    Yaml(String),
    Table(Table),
}

/// Columns by name; the first ones are text, the others numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// How many columns hold text.
    pub(super) texts: usize,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// How a page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Human(Paint),
    Markdown,
}

const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

pub(super) fn render(sections: &[Section], style: Style) -> String {
    let parts: Vec<String> = sections.iter().map(|section| section.render(style)).collect();
    parts.join("\n")
}

// === impl Section ===

impl Section {
    fn render(&self, style: Style) -> String {
        match (self, style) {
            (Self::Heading(level, text), Style::Markdown) => format!("{} {text}\n", "#".repeat(level + 1)),
            (Self::Heading(_, text), Style::Human(Paint::Colors)) => format!("{BOLD}{text}{RESET}\n"),
            (Self::Heading(_, text), Style::Human(Paint::Plain)) => format!("{text}\n"),
            (Self::Text(text), Style::Markdown) => format!("{text}\n"),
            (Self::Text(text), Style::Human(_)) => indented(text.lines()),
            (Self::Yaml(text), Style::Markdown) => format!("```yaml\n{text}```\n"),
            (Self::Yaml(text), Style::Human(_)) => indented(text.lines()),
            (Self::Drawing { plain, .. }, Style::Markdown) => format!("```text\n{}\n```\n", plain.join("\n")),
            (Self::Drawing { plain, .. }, Style::Human(Paint::Plain)) => indented(plain.iter()),
            (Self::Drawing { colored, .. }, Style::Human(Paint::Colors)) => indented(colored.iter()),
            (Self::Table(table), Style::Markdown) => table.markdown(),
            (Self::Table(table), Style::Human(_)) => table.human(),
        }
    }
}

fn indented(lines: impl Iterator<Item = impl AsRef<str>>) -> String {
    lines.map(|line| format!("  {}", line.as_ref()).trim_end().to_owned() + "\n").collect()
}

// === impl Table ===

impl Table {
    pub(super) fn new(texts: usize, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self { texts, header: header.iter().map(|name| (*name).to_owned()).collect(), rows }
    }

    fn human(&self) -> String {
        let lines: Vec<&Vec<String>> = std::iter::once(&self.header).chain(&self.rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let cell = |(column, text): (usize, &String)| {
            let width = widths[column];
            if column < self.texts { format!("{text:<width$}") } else { format!("{text:>width$}") }
        };
        let line = |line: &&Vec<String>| line.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        indented(lines.iter().map(line))
    }

    fn markdown(&self) -> String {
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let align = |column| if column < self.texts { "---" } else { "---:" }.to_owned();
        let mut text = row(self.header.clone()) + &row((0..self.header.len()).map(align).collect());
        let escaped = |cell: &String| cell.replace('|', "\\|");
        self.rows.iter().for_each(|cells| text += &row(cells.iter().map(escaped).collect()));
        text
    }
}
