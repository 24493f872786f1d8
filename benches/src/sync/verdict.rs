//! Medians, and what they are wished to be

use serde_json::{Value, json};

use super::case::Case;
use super::entrant::Entrant;
use super::options::Options;
use super::{Heat, Run, Turn};
use crate::figures::{conditions, number, table};
use crate::measure::median;
use crate::plot::Plot;

const MB: f64 = 1e6;

/// Everything that was measured
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    heats: &'a [Heat],
}

/// One figure that something is wished of
#[derive(Clone, Debug)]
struct Wish {
    what: &'static str,
    value: Option<f64>,
    wanted: f64,
    is_least: bool,
}

impl Wish {
    fn most(what: &'static str, value: Option<f64>, wanted: f64) -> Self {
        Self { what, value, wanted, is_least: false }
    }

    /// `None` where somebody did not take part
    fn is_met(&self) -> Option<bool> {
        let value = self.value?;
        Some(if self.is_least { value >= self.wanted } else { value <= self.wanted })
    }
}

impl Heat {
    fn of(&self, entrant: Entrant, of: fn(&Turn) -> f64) -> Option<f64> {
        let run = self.runs.iter().find(|run| run.entrant == entrant)?;
        Some(middle(run, of))
    }

    /// Ours over rsync's
    fn share(&self, of: fn(&Turn) -> f64) -> Option<f64> {
        Some(self.of(Entrant::Xfer, of)? / self.of(Entrant::Rsync, of)?)
    }

    fn wishes(&self) -> Vec<Wish> {
        let seconds = || self.share(wall);
        let bytes = || self.share(crossed);
        let faster = |wanted| Wish {
            what: "rsync's seconds / ours",
            value: seconds().map(f64::recip),
            wanted,
            is_least: true,
        };
        let shorter = |wanted| Wish::most("our seconds / rsync's", seconds(), wanted);
        let leaner = |wanted| Wish::most("our bytes / rsync's", bytes(), wanted);
        match self.case {
            Case::Unchanged => vec![faster(2.0)],
            Case::Changed => vec![faster(1.5)],
            Case::Edited => vec![leaner(1.1), shorter(0.5)],
            Case::Inserted => vec![leaner(1.2), shorter(0.7)],
            Case::Appended => {
                let ours = self.of(Entrant::Xfer, crossed);
                let share = ours.map(|bytes| bytes / self.extent.differ as f64);
                vec![Wish::most("our bytes / what was appended", share, 1.05)]
            }
            Case::Renamed { goes } => {
                let payload =
                    self.of(Entrant::Xfer, |turn| turn.payload.map_or(f64::NAN, |n| n as f64));
                let share = self.of(Entrant::Xfer, wall).map(|ours| ours / self.least(goes));
                let what = match goes {
                    true => "our seconds / (1.2 × hashing it twice)",
                    false => "our seconds / (1.2 × hashing it twice + copying it)",
                };
                vec![Wish::most("payload bytes", payload, 0.0), Wish::most(what, share, 1.0)]
            }
            Case::Checkpoint { anew: false, .. } => vec![leaner(1.0)],
            Case::Checkpoint { anew: true, .. } => vec![leaner(0.6)],
        }
    }

    /// Seconds that a file may take that is there under another name
    fn least(&self, goes: bool) -> f64 {
        let hashed = median(self.least.iter().map(|least| least.hashed_twice).collect());
        let copied = median(self.least.iter().map(|least| least.copied).collect());
        1.2 * hashed + if goes { 0.0 } else { copied }
    }
}

impl<'a> Verdict<'a> {
    pub(super) fn of(heats: &'a [Heat]) -> Self {
        Self { heats }
    }

    pub(super) fn text(&self) -> String {
        let wishes = self.heats.iter().flat_map(|heat| {
            heat.wishes().into_iter().map(|wish| {
                vec![
                    heat.case.name().to_owned(),
                    wish.what.to_owned(),
                    number(wish.value),
                    format!("{} {}", if wish.is_least { "≥" } else { "≤" }, wish.wanted),
                    wish.is_met().map_or("–", |met| if met { "yes" } else { "**no**" }).to_owned(),
                ]
            })
        });
        let wishes: Vec<_> = wishes.collect();
        let extents: Vec<_> = self.heats.iter().map(extent_row).collect();
        let rows: Vec<_> = self.heats.iter().flat_map(rows).collect();
        format!(
            "Syncs over one sshd on this machine, by way of a relay that counts; medians.\n\n\
             {}\n{}\n{}",
            table(&["case", "figure", "value", "wanted", "met"], &wishes),
            table(&["case", "MB", "MB that differ", "made by"], &extents),
            table(
                &["case", "contender", "turns", "seconds", "processor s", "MB out", "MB in"],
                &rows
            )
        )
    }

    pub(super) fn figures(&self, options: &Options) -> Value {
        let mut all = conditions("sync");
        let cases = self.heats.iter().map(|heat| {
            let wishes = heat.wishes().into_iter().map(|wish| {
                json!({
                    "figure": wish.what,
                    "value": wish.value,
                    "wanted": wish.wanted,
                    "met": wish.is_met(),
                })
            });
            let least = heat
                .least
                .iter()
                .map(|least| json!({ "hashed_twice": least.hashed_twice, "copied": least.copied }));
            json!({
                "name": heat.case.name(),
                "bytes": heat.extent.bytes,
                "differ": heat.extent.differ,
                "made_by": heat.extent.told,
                "load_before": heat.load,
                "wishes": wishes.collect::<Vec<_>>(),
                "least_seconds": least.collect::<Vec<_>>(),
                "contenders": heat.runs.iter().map(contender).collect::<Vec<_>>(),
            })
        });
        all["cases"] = cases.collect();
        all["rounds"] = json!(options.rounds);
        all
    }

    pub(super) fn plot(&self) -> Plot {
        let groups = self.heats.iter().map(|heat| {
            let bars = heat.runs.iter().map(|run| {
                let index = Entrant::ALL.iter().position(|one| *one == run.entrant).unwrap_or(0);
                (index, middle(run, wall))
            });
            (heat.case.name().to_owned(), bars.collect())
        });
        Plot {
            title: String::from("Syncs over one sshd on this machine"),
            vertical: String::from("seconds, whole command"),
            horizontal: String::from("what changed"),
            series: Entrant::ALL.iter().map(|one| one.name().to_owned()).collect(),
            groups: groups.collect(),
        }
    }
}

fn contender(run: &Run) -> Value {
    let seconds = |of: fn(&Turn) -> f64| run.turns.iter().map(of).collect::<Vec<_>>();
    let bytes = |of: fn(&Turn) -> u64| run.turns.iter().map(of).collect::<Vec<_>>();
    json!({
        "name": run.entrant.name(),
        "seconds": seconds(wall),
        "processor_seconds": seconds(|turn| turn.cost.processor),
        "bytes_sent": bytes(|turn| turn.sent),
        "bytes_received": bytes(|turn| turn.received),
        "payload_bytes": run.turns.iter().map(|turn| turn.payload).collect::<Vec<_>>(),
    })
}

fn extent_row(heat: &Heat) -> Vec<String> {
    let mb = |bytes: u64| number(Some(bytes as f64 / MB));
    let extent = &heat.extent;
    let told = match heat.least.is_empty() {
        true => extent.told.clone(),
        false => {
            let middle = |of: fn(&super::Least) -> f64| median(heat.least.iter().map(of).collect());
            let (hashed, copied) = (middle(|one| one.hashed_twice), middle(|one| one.copied));
            format!("hashed twice in {hashed:.2} s, copied in {copied:.2} s")
        }
    };
    vec![heat.case.name().to_owned(), mb(extent.bytes), mb(extent.differ), told]
}

fn rows(heat: &Heat) -> Vec<Vec<String>> {
    let row = |run: &Run| {
        let mb = |of: fn(&Turn) -> f64| format!("{:.3}", middle(run, of) / MB);
        vec![
            heat.case.name().to_owned(),
            run.entrant.name().to_owned(),
            run.turns.len().to_string(),
            number(Some(middle(run, wall))),
            number(Some(middle(run, |turn| turn.cost.processor))),
            mb(|turn| turn.sent as f64),
            mb(|turn| turn.received as f64),
        ]
    };
    heat.runs.iter().map(row).collect()
}

fn middle(run: &Run, of: fn(&Turn) -> f64) -> f64 {
    median(run.turns.iter().map(of).collect())
}

fn wall(turn: &Turn) -> f64 {
    turn.cost.wall
}

fn crossed(turn: &Turn) -> f64 {
    turn.crossed() as f64
}
