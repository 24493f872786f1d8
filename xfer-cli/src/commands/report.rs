//! `xfer report`: what a file of events says of a run, for a person.
//!
//! The events may be those of a later version, or cut by a kill: what is not known is passed over,
//! and a run without a last event has an outcome that nobody knows.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use xfer_core::error::ExitClass;
use xfer_core::receipt::PathText;
use xfer_protocol::path::Escaped;

use super::done;
use crate::Outcome;
use crate::output::json::SCHEMA;
use crate::output::{Output, amounts};
use crate::problem::CliError;
use crate::read_file::{LIST_BYTES_MAX, read};

/// Problems and notices that are shown, each.
const SHOWN_MAX: usize = 50;

/// Prints what a file of `--events` or `--json` says.
pub(super) fn show(file: &Path, output: &Output) -> Outcome {
    let bytes = read(file, LIST_BYTES_MAX)?;
    let malformed = |what: &str| {
        let place = Escaped(file.as_os_str().as_encoded_bytes());
        let what = format!("{place}: {what}");
        CliError::new(ExitClass::State, "report-malformed", what)
            .next("name a file that --events FILE wrote, or what --json printed")
    };
    let mut told = Told::default();
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        return Err(malformed("there is no event in it"));
    }
    while let Some(line) = lines.next() {
        match serde_json::from_slice::<Value>(line) {
            Ok(event) if event["schema"] == SCHEMA => told.take(event),
            // Whoever was killed may have written half a line.
            _ if lines.peek().is_none() && told.events > 0 => {}
            _ => return Err(malformed(&format!("event {} is none", told.events + 1))),
        }
    }
    done(output, &told.text())
}

/// What was told, the latest of each type.
#[derive(Default)]
struct Told {
    events: u64,
    first: Option<Value>,
    last_time: Option<String>,
    run: Option<Value>,
    plan: Option<Value>,
    route: Option<Value>,
    progress: Option<Value>,
    verdict: Option<Value>,
    result: Option<Value>,
    problems: Few,
    notices: Few,
}

/// The first few of many.
#[derive(Default)]
struct Few {
    shown: Vec<String>,
    count: usize,
}

impl Few {
    fn add(&mut self, text: &Value) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(word(text));
        }
    }
}

impl Told {
    fn take(&mut self, event: Value) {
        self.events += 1;
        self.last_time = event["time"].as_str().map(str::to_owned);
        let slot = match event["type"].as_str().unwrap_or_default() {
            "run" => &mut self.run,
            "plan" => &mut self.plan,
            "route" if event["decision"].is_null() => &mut self.route,
            "progress" => {
                if !event["notice"].is_null() {
                    self.notices.add(&event["notice"]);
                }
                &mut self.progress
            }
            "problem" => return self.problems.add(&event["message"]),
            "verdict" => &mut self.verdict,
            "result" => &mut self.result,
            _ => return,
        };
        if self.first.is_none() {
            self.first = Some(event["time"].clone());
        }
        *slot = Some(event);
    }

    fn text(&self) -> String {
        let mut text = Lines(String::new());
        if let Some(run) = &self.run {
            text.line("run", &format!("xfer {} {}", word(&run["version"]), word(&run["verb"])));
            for source in run["sources"].as_array().into_iter().flatten() {
                text.line("source", &path(source));
            }
            if !run["destination"].is_null() {
                text.line("to", &path(&run["destination"]));
            }
        }
        if let Some(first) = &self.first {
            text.line("began", &word(first));
        }
        if let Some(route) = &self.route {
            let direct = if route["direct"] == true { "direct" } else { "through a proxy" };
            let (kind, transport) = (word(&route["kind"]), word(&route["transport"]));
            text.line("route", &format!("{kind}: {transport}, {direct}"));
        }
        if let Some(verdict) = &self.verdict {
            text.line("verdict", &word(&verdict["verdict"]));
        }
        match &self.result {
            Some(result) => ended(&mut text, result),
            None => self.unended(&mut text),
        }
        text.few("problem", &self.problems);
        text.few("notice", &self.notices);
        text.0
    }

    fn unended(&self, text: &mut Lines) {
        let last = self.last_time.as_deref().unwrap_or("nobody knows when");
        text.line("ended", &format!("unknown: the last event is of {}", shown(last)));
        if let Some(plan) = &self.plan {
            text.line("planned", &amounts::bytes(number(&plan["bytes_to_move"])));
        }
        if let Some(progress) = &self.progress {
            text.line("sent", &amounts::bytes(number(&progress["payload_bytes"])));
        }
    }
}

fn ended(text: &mut Lines, result: &Value) {
    text.line("ended", &format!("{}: {}", word(&result["status"]), word(&result["message"])));
    text.line("exit", &format!("{} {}", number(&result["exit_code"]), word(&result["reason"])));
    for state in ["moved", "unchanged", "deferred", "skipped", "failed"] {
        let (entries, bytes) = (&result["entries"][state], &result["bytes"][state]);
        if number(entries) > 0 {
            let (entries, bytes) = (amounts::entries(number(entries)), number(bytes));
            text.line(state, &format!("{entries}, {}", amounts::bytes(bytes)));
        }
    }
    if number(&result["deleted"]) > 0 {
        text.line("deleted", &amounts::entries(number(&result["deleted"])));
    }
    let sent = number(&result["payload_bytes"]);
    let elapsed = result["elapsed_s"].as_f64().filter(|elapsed| (0.0..1e12).contains(elapsed));
    let elapsed = Duration::from_secs_f64(elapsed.unwrap_or_default());
    let rate = amounts::bytes(amounts::rate(sent, elapsed));
    text.line("sent", &format!("{} in {}, {rate}/s", amounts::bytes(sent), amounts::span(elapsed)));
    for (label, key) in [("re-used", "reused_bytes"), ("wasted", "wasted_bytes")] {
        if number(&result[key]) > 0 {
            text.line(label, &amounts::bytes(number(&result[key])));
        }
    }
    for (label, key) in [("proven", "proof_level"), ("manifest", "manifest_root")] {
        if !result[key].is_null() {
            text.line(label, &word(&result[key]));
        }
    }
    if !result["receipt"].is_null() {
        text.line("receipt", &path(&result["receipt"]));
    }
    for remedy in result["remedies"].as_array().into_iter().flatten() {
        text.line("next", &word(&remedy["text"]));
    }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, label: &str, value: &str) {
        let _never_fails = writeln!(self.0, "{label:<10} {value}");
    }

    fn few(&mut self, label: &str, few: &Few) {
        few.shown.iter().for_each(|text| self.line(label, text));
        if few.count > few.shown.len() {
            self.line(label, &format!("and {} more", few.count - few.shown.len()));
        }
    }
}

fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// Text that a stranger may have written.
fn word(value: &Value) -> String {
    shown(value.as_str().unwrap_or("?"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn path(value: &Value) -> String {
    let text = serde_json::from_value::<PathText>(value.clone()).ok();
    let bytes = text.and_then(|text| text.bytes()).unwrap_or_else(|| b"?".to_vec());
    Escaped(&bytes).to_string()
}
