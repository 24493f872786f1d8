//! The tuner's rate beside the best of the sweep

use serde_json::{Value, json};

use super::options::Options;
use super::sweep::{ALLOWED, EXCEPTIONS, Setting};
use super::{Round, Run};
use crate::figures::{conditions, number, table};
use crate::plot::Plot;

pub(super) fn text(rounds: &[Round], options: &Options) -> String {
    let header = ["link", "tuned, MB/s", "best fixed, MB/s", "its setting", "regret"];
    let rows = rounds.iter().map(|round| {
        let best = best(round);
        let megabytes = |rate: f64| number(Some(rate / 1e6));
        vec![
            round.cell.name(),
            tuned(round).map_or_else(String::new, megabytes),
            best.map_or_else(String::new, |run| megabytes(run.rate)),
            best.and_then(|run| run.setting).map_or_else(String::new, Setting::name),
            format!("{} %", number(regret(round).map(|share| share * 100.0))),
        ]
    });
    let regrets: Vec<_> = rounds.iter().filter_map(regret).collect();
    let within = regrets.iter().filter(|regret| **regret <= ALLOWED).count();
    format!(
        "{:?} of what the link carries in {} s, whole commands, cut off after {:?}. \
         The tuner starts with nothing learnt, before the sweep and once more after it; the mean \
         of both counts.\n\n{}\nRegret of {} % or less in {within} of {} cells; wanted in all but \
         {EXCEPTIONS}.\n",
        options.direction,
        options.seconds,
        options.limit(),
        table(&header, &rows.collect::<Vec<_>>()),
        ALLOWED * 100.0,
        regrets.len(),
    )
}

/// One link's outcome
pub(super) fn line(round: &Round) -> String {
    let regret = number(regret(round).map(|share| share * 100.0));
    let best = best(round).and_then(|run| run.setting).map_or_else(String::new, Setting::name);
    format!("{}: regret {regret} %, best is {best}", round.cell.name())
}

pub(super) fn figures(rounds: &[Round], options: &Options) -> Value {
    let mut all = conditions("regret");
    all["direction"] = json!(format!("{:?}", options.direction).to_lowercase());
    all["seed"] = json!(options.seed);
    all["settings"] = options.settings().into_iter().map(Setting::name).collect();
    all["seconds"] = json!(options.seconds);
    all["limit"] = json!(options.limit().as_secs_f64());
    let cells = rounds.iter().map(|round| {
        json!({
            "rtt_ms": round.cell.rtt,
            "loss_percent": round.cell.loss,
            "rate_mbit": round.cell.rate,
            "regret": regret(round),
            "tuned": round.tuned.iter().map(figures_of).collect::<Vec<_>>(),
            "fixed": round.fixed.iter().map(figures_of).collect::<Vec<_>>(),
        })
    });
    all["cells"] = cells.collect();
    all
}

pub(super) fn plot(rounds: &[Round]) -> Plot {
    let groups = rounds.iter().map(|round| {
        let tuned = tuned(round).map(|rate| (0, rate / 1e6));
        let best = best(round).map(|run| (1, run.rate / 1e6));
        (round.cell.name(), tuned.into_iter().chain(best).collect())
    });
    Plot {
        title: String::from("The tuner, starting cold, beside the best fixed setting"),
        vertical: String::from("MB/s"),
        horizontal: String::from("round trip, loss, rate"),
        series: ["tuned", "best fixed"].map(String::from).to_vec(),
        groups: groups.collect(),
    }
}

fn figures_of(run: &Run) -> Value {
    json!({
        "route": run.setting.map(|setting| setting.route.name()),
        "streams": run.setting.map(|setting| setting.streams),
        "block_bytes": run.setting.map(|setting| setting.block),
        "bytes_a_second": run.rate,
        "finished": run.is_finished,
        "seconds": run.wall,
    })
}

fn tuned(round: &Round) -> Option<f64> {
    let sum: f64 = round.tuned.iter().map(|run| run.rate).sum();
    (!round.tuned.is_empty()).then(|| sum / round.tuned.len() as f64)
}

fn best(round: &Round) -> Option<&Run> {
    round.fixed.iter().max_by(|one, other| one.rate.total_cmp(&other.rate))
}

/// The share by which the tuner stays below the best; 0 where it does not
fn regret(round: &Round) -> Option<f64> {
    let (tuned, best) = (tuned(round)?, best(round)?.rate);
    (best > 0.0).then(|| (1.0 - tuned / best).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::sweep::CELLS;
    use super::*;
    use crate::direct::Route;

    fn run(streams: Option<usize>, rate: f64) -> Run {
        let setting = streams.map(|streams| Setting { route: Route::Tls, streams, block: 1 << 20 });
        Run { setting, rate, is_finished: true, wall: 1.0 }
    }

    #[test]
    fn figures_are_read_back() {
        let (tuned, fixed) = (vec![run(None, 80.0)], vec![run(Some(4), 90.0)]);
        let rounds = [Round { cell: CELLS[3], tuned, fixed }];
        let figures = figures(&rounds, &Options::parse(&[]).unwrap());
        let back = super::super::earlier::rounds(&figures).unwrap();
        assert_eq!(format!("{back:?}"), format!("{rounds:?}"));
    }

    #[test]
    fn regret_is_what_the_best_fixed_setting_has_more() {
        let round = |tuned: &[f64], fixed: &[f64]| Round {
            cell: CELLS[0],
            tuned: tuned.iter().map(|&rate| run(None, rate)).collect(),
            fixed: fixed.iter().enumerate().map(|(n, &rate)| run(Some(n), rate)).collect(),
        };
        let near = |found: Option<f64>, wanted: f64| (found.unwrap() - wanted).abs() < 1e-9;
        assert!(near(regret(&round(&[80.0, 100.0], &[50.0, 100.0, 99.0])), 0.1));
        assert!(near(regret(&round(&[120.0], &[100.0])), 0.0));
        assert_eq!(regret(&round(&[], &[100.0])), None);
        assert_eq!(regret(&round(&[1.0], &[])), None);
        assert!(line(&round(&[80.0], &[1.0, 100.0])).contains("regret 20.0 %, best is tls × 1"));
    }
}
