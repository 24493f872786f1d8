//! What a race leaves: a table, a JSON file and a plot

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Done;
use crate::plot::Plot;

/// A table of Markdown
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<_> = header.iter().map(|&word| word.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    rows.iter().fold(line(&header) + &rule, |text, row| text + &line(row))
}

/// A number with as many places as its size makes sense of
pub(crate) fn number(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => String::from("–"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// What every file of figures begins with
pub(crate) fn conditions(race: &str) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    json!({
        "schema": "xfer.bench/1",
        "race": race,
        "kernel": read("/proc/sys/kernel/osrelease"),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "load_before": read("/proc/loadavg"),
    })
}

/// Adds which versions took part
pub(crate) fn add_versions<'a>(all: &mut Value, versions: impl Iterator<Item = (&'a str, String)>) {
    let versions = versions.map(|(name, version)| (name.to_owned(), version.into()));
    all["versions"] = versions.collect::<serde_json::Map<_, _>>().into();
}

/// Writes STEM.md, STEM.json and STEM.svg, and prints the first
pub(crate) fn write(stem: &Path, text: &str, figures: &Value, plot: &Plot) -> Done {
    println!("{text}");
    let files = [("md", text.to_owned()), ("json", format!("{figures:#}\n")), ("svg", plot.svg())];
    files.into_iter().try_for_each(|(extension, content)| {
        let path = stem.with_extension(extension);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))
    })
}
