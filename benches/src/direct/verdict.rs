//! Medians, ratios and what they are wished to be

use serde_json::{Value, json};

use super::entrant::{Entrant, Route, Who};
use super::options::Options;
use super::{Run, Turn};
use crate::contender::Direction;
use crate::figures::{conditions, number, table};
use crate::measure::median;
use crate::plot::Plot;
use crate::raw::Kind;

const GIB: f64 = 1_073_741_824.0;

/// Everything that was measured
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    runs: &'a [Run],
    bytes: u64,
}

/// One entrant's rate over another's
struct Ratio {
    name: String,
    wanted: f64,
    /// By whole commands
    whole: Option<f64>,
    /// From the program's first payload byte, against the other's whole command
    payload: Option<f64>,
}

impl<'a> Verdict<'a> {
    pub(super) fn of(runs: &'a [Run], bytes: u64) -> Self {
        Self { runs, bytes }
    }

    pub(super) fn text(&self) -> String {
        let rows: Vec<_> = self.runs.iter().map(|run| self.row(run)).collect();
        let header = [
            "contender",
            "direction",
            "seconds",
            "MB/s",
            "MB/s from first payload byte",
            "processor s/GiB",
            "streams",
        ];
        let ratios = self.ratios().into_iter().map(|ratio| {
            let [whole, payload] = [ratio.whole, ratio.payload].map(number);
            vec![ratio.name, whole, payload, number(Some(ratio.wanted))]
        });
        let ratios: Vec<_> = ratios.collect();
        let titles = ["ratio of rates", "whole command", "from first payload byte", "wanted"];
        format!(
            "One file of {} bytes on the loopback, both ends in memory, nothing synced; \
             medians.\n\n{}\n{}",
            self.bytes,
            table(&titles, &ratios),
            table(&header, &rows)
        )
    }

    pub(super) fn figures(&self, options: &Options) -> Value {
        let mut all = conditions("direct");
        let ratios = self.ratios().into_iter().map(|ratio| {
            json!({
                "name": ratio.name,
                "ratio": ratio.whole,
                "ratio_from_first_payload_byte": ratio.payload,
                "wanted": ratio.wanted,
            })
        });
        let contenders = self.runs.iter().map(|run| {
            let each =
                |of: &dyn Fn(&Turn) -> Option<f64>| run.turns.iter().map(of).collect::<Vec<_>>();
            json!({
                "name": run.entrant.name(),
                "direction": direction(run.entrant),
                "seconds": each(&|turn| Some(turn.cost.wall)),
                "seconds_from_first_payload_byte": each(&moving),
                "processor_seconds": each(&|turn| Some(turn.cost.processor)),
                "streams": run.turns.iter().map(streams).collect::<Vec<_>>(),
                "bytes_a_second": self.rate(run.entrant.who, run.entrant.direction, wall),
            })
        });
        all["bytes"] = json!(self.bytes);
        all["rounds"] = json!(options.rounds);
        all["ratios"] = ratios.collect();
        all["contenders"] = contenders.collect();
        all
    }

    pub(super) fn plot(&self) -> Plot {
        let mut series: Vec<String> = Vec::new();
        let mut groups: Vec<(String, Vec<(usize, f64)>)> = Vec::new();
        for run in self.runs {
            let (name, group) = (run.entrant.name(), direction(run.entrant));
            let index = series.iter().position(|one| *one == name).unwrap_or_else(|| {
                series.push(name);
                series.len() - 1
            });
            let rate = self.rate(run.entrant.who, run.entrant.direction, wall).unwrap_or(0.0);
            let bar = (index, rate / 1e6);
            match groups.iter_mut().find(|(name, _)| name == group) {
                Some((_, bars)) => bars.push(bar),
                None => groups.push((group.to_owned(), vec![bar])),
            }
        }
        Plot {
            title: format!("One file of {} bytes on the loopback", self.bytes),
            vertical: String::from("MB/s, whole command"),
            horizontal: String::from("direction"),
            series,
            groups,
        }
    }

    fn row(&self, run: &Run) -> Vec<String> {
        let of = |pick: fn(&Turn) -> Option<f64>| {
            self.rate(run.entrant.who, run.entrant.direction, pick)
        };
        let mega = |rate: Option<f64>| number(rate.map(|rate| rate / 1e6));
        let processor = median(run.turns.iter().map(|turn| turn.cost.processor).collect());
        let streams = run.turns.last().and_then(streams);
        vec![
            run.entrant.name(),
            direction(run.entrant).to_owned(),
            number(of(wall).map(|rate| self.bytes as f64 / rate)),
            mega(of(wall)),
            mega(of(moving)),
            number(Some(processor * GIB / self.bytes as f64)),
            streams.map_or_else(|| String::from("–"), |streams| streams.to_string()),
        ]
    }

    fn ratios(&self) -> Vec<Ratio> {
        [Direction::Push, Direction::Pull].into_iter().flat_map(|way| self.ratios_of(way)).collect()
    }

    fn ratios_of(&self, way: Direction) -> Vec<Ratio> {
        let raw = |kind| (kind_name(kind), self.rate(Who::Raw(kind), None, wall));
        let daemon = (String::from("rsync daemon"), self.rate(Who::Daemon, Some(way), wall));
        let best = self.best_peer(way);
        let rows = [
            (Route::Tls, best.clone(), 2.0),
            (Route::Tls, raw(Kind::Tls), 0.55),
            (Route::Tls, raw(Kind::Own), 0.55),
            (Route::Tls, daemon, 1.0),
            (Route::Quic, raw(Kind::Quic), 0.8),
            (Route::Quic, raw(Kind::QuicLarge), 0.8),
            (Route::Ssh, best, 1.0),
        ];
        let ratios = rows.into_iter().filter_map(|(route, (against, rate), wanted)| {
            let over = |pick| Some(self.rate(Who::Xfer(route), Some(way), pick)? / rate?);
            let name = format!("{way:?}: xfer {} / {against}", route.name()).to_lowercase();
            let whole = Some(over(wall)?);
            Some(Ratio { name, wanted, whole, payload: over(moving) })
        });
        ratios.collect()
    }

    /// The fastest of those that are no reference
    fn best_peer(&self, direction: Direction) -> (String, Option<f64>) {
        let peers = self.runs.iter().filter(|run| {
            matches!(run.entrant.who, Who::Peer(_)) && run.entrant.direction == Some(direction)
        });
        let rates = peers.filter_map(|run| {
            Some((run.entrant.name(), self.rate(run.entrant.who, Some(direction), wall)?))
        });
        let best = rates.max_by(|one, other| one.1.total_cmp(&other.1));
        best.map_or_else(Default::default, |(name, rate)| {
            (format!("best peer ({name})"), Some(rate))
        })
    }

    /// Bytes a second by the median of what is picked
    fn rate(
        &self,
        who: Who,
        direction: Option<Direction>,
        pick: fn(&Turn) -> Option<f64>,
    ) -> Option<f64> {
        let run = self.runs.iter().find(|run| run.entrant == Entrant { who, direction })?;
        let seconds = median(run.turns.iter().filter_map(pick).collect());
        seconds.is_finite().then(|| self.bytes as f64 / seconds)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what is picked may be absent")]
fn wall(turn: &Turn) -> Option<f64> {
    Some(turn.cost.wall)
}

fn moving(turn: &Turn) -> Option<f64> {
    turn.course.map(|course| course.moving)
}

fn streams(turn: &Turn) -> Option<u64> {
    turn.course.map(|course| course.streams)
}

fn direction(entrant: Entrant) -> &'static str {
    match entrant.direction {
        Some(Direction::Push) => "push",
        Some(Direction::Pull) => "pull",
        None => "no file",
    }
}

fn kind_name(kind: Kind) -> String {
    kind.name().to_owned()
}
