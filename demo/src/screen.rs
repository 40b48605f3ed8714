//! What the panels answer, in a terminal: a title, the series, their newest values and a sparkline each.

use std::fmt::Write as _;
use std::io::IsTerminal;

use grafana_plugin::{Field, Frame};
use statline_series::terminal::{short_number, sparkline};

use crate::dashboards::{Dashboard, Panel};
use crate::stack::Stack;
use crate::{Error, say};

/// The most series or rows that are drawn of one panel.
const MAX_LINES: usize = 6;
const NAME_WIDTH: usize = 34;
const SPARK_WIDTH: usize = 48;
const CELL_WIDTH: usize = 24;

/// How many panels there were, and how they answered.
#[derive(Debug, Default)]
pub struct Outcome {
    panels: usize,
    empty: Vec<String>,
    failed: Vec<String>,
}

impl Outcome {
    /// Whether every panel shows something.
    pub fn is_full(&self) -> bool {
        self.panels > 0 && self.empty.is_empty() && self.failed.is_empty()
    }
}

/// Asks every panel of every dashboard, and draws the answers.
pub async fn show(stack: &Stack, dashboards: &[Dashboard]) -> Result<Outcome, Error> {
    let style = Style::of_terminal();
    let mut outcome = Outcome::default();
    for dashboard in dashboards {
        say(&format!("\n{}", style.title(&dashboard.title)));
        for panel in &dashboard.panels {
            outcome.panels += 1;
            let name = format!("{} / {}", dashboard.title, panel.title);
            let drawn = draw(stack, panel).await?;
            say(&format!("\n{} {}", style.bold(&panel.title), style.dim(&format!("last {}", panel.span))));
            say(drawn.text.trim_end());
            for error in drawn.errors {
                say(&style.alarm(&format!("  error: {error}")));
                outcome.failed.push(format!("{name}: {error}"));
            }
            if drawn.values == 0 {
                say(&style.alarm("  empty"));
                outcome.empty.push(name);
            }
        }
    }
    say(&format!("\n{} panels, {} empty, {} errors", outcome.panels, outcome.empty.len(), outcome.failed.len()));
    for trouble in outcome.empty.iter().map(|name| format!("{name}: empty")).chain(outcome.failed.iter().cloned()) {
        say(&format!("  {trouble}"));
    }
    Ok(outcome)
}

/// A panel as text.
struct Drawn {
    text: String,
    /// How many values there are in all, missing ones left out.
    values: usize,
    errors: Vec<String>,
}

async fn draw(stack: &Stack, panel: &Panel) -> Result<Drawn, Error> {
    let answers = stack.host.query_data(&stack.context, panel.queries()?).await?;
    let mut drawn = Drawn { text: String::new(), values: 0, errors: Vec::new() };
    let mut series = Vec::new();
    for (ref_id, answer) in &answers {
        if let Some(error) = &answer.error {
            drawn.errors.push(format!("{ref_id}: {error}"));
        }
        for frame in &answer.frames {
            drawn.values += frame.fields.iter().map(present).sum::<usize>();
            if frame.fields.first().is_some_and(Field::is_time)
                && frame.fields.iter().all(|field| field.is_time() || field.is_number())
            {
                series.extend(frame.fields.iter().filter(|field| field.is_number()));
            } else {
                push_table(&mut drawn.text, frame);
            }
        }
    }
    // The series that say most come first.
    series.sort_by_key(|field| std::cmp::Reverse(present(field)));
    for field in series.iter().take(MAX_LINES) {
        push_series(&mut drawn.text, field);
    }
    push_rest(&mut drawn.text, series.len(), "series");
    Ok(drawn)
}

fn push_series(text: &mut String, field: &Field) {
    let display =
        field.config.as_ref().map(|config| config.display_name_from_ds.as_str()).filter(|name| !name.is_empty());
    let name = shorten(display.unwrap_or(&field.name), NAME_WIDTH);
    let values: Vec<f64> = (0..field.len()).map(|row| field.number(row).unwrap_or(f64::NAN)).collect();
    let newest = values.iter().rev().copied().find(|value| !value.is_nan()).unwrap_or(f64::NAN);
    // Writing to a string never fails.
    let _ = writeln!(text, "  {name:NAME_WIDTH$} {:>10}  {}", short_number(newest), sparkline(&values, SPARK_WIDTH));
}

fn push_table(text: &mut String, frame: &Frame) {
    let rows = frame.fields.first().map_or(0, Field::len);
    let header = frame.fields.iter().map(|field| field.name.clone());
    let body =
        (0..rows.min(MAX_LINES)).map(|row| frame.fields.iter().map(move |field| cell(field, row)).collect::<Vec<_>>());
    let lines: Vec<Vec<String>> = std::iter::once(header.collect())
        .chain(body)
        .map(|line: Vec<String>| line.iter().map(|cell| shorten(cell, CELL_WIDTH)).collect())
        .collect();
    let widths: Vec<usize> = (0..frame.fields.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    for line in lines {
        text.push(' ');
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, " {cell:width$} ");
        }
        let trimmed = text.trim_end().len();
        text.truncate(trimmed);
        text.push('\n');
    }
    push_rest(text, rows, "rows");
}

fn push_rest(text: &mut String, all: usize, what: &str) {
    if all > MAX_LINES {
        let _ = writeln!(text, "  … and {} more {what}", all - MAX_LINES);
    }
}

fn cell(field: &Field, row: usize) -> String {
    if let Some(instant) = field.time_ms_at(row) {
        return instant_text(instant);
    }
    field
        .number(row)
        .map(short_number)
        .or_else(|| field.text(row).map(|text| text.replace('\n', " ")))
        .unwrap_or_else(|| "-".to_owned())
}

/// Days and hours before now: what a reader of a terminal wants of an instant.
fn instant_text(instant_ms: i64) -> String {
    let minutes = (crate::history::now_ms() - instant_ms) / 60_000;
    let (before, minutes) = if minutes < 0 { ("in ", -minutes) } else { ("", minutes) };
    let after = if before.is_empty() { " ago" } else { "" };
    match minutes {
        0..=99 => format!("{before}{minutes} min{after}"),
        100..=2879 => format!("{before}{} h{after}", minutes / 60),
        _ => format!("{before}{} d{after}", minutes / 1440),
    }
}

fn present(field: &Field) -> usize {
    if field.is_time() {
        return 0;
    }
    let values = field.values();
    let nulls = values.logical_null_count();
    values.len() - nulls
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// How text is set off; plain when nobody looks.
struct Style {
    colours: bool,
}

impl Style {
    fn of_terminal() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(&self, text: &str) -> String {
        self.paint("1;36", &format!("━━ {text} {}", "━".repeat(76_usize.saturating_sub(text.chars().count()))))
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn alarm(&self, text: &str) -> String {
        self.paint("31", text)
    }
}
