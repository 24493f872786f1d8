//! What company costs a transfer, and what a transfer costs its company

use serde_json::{Value, json};

use super::crowd::{CROWD, Crowd};
use super::options::Options;
use super::{JOINERS, Joiner, Round, SIEGES, Shares, Siege};
use crate::direct::Route;
use crate::figures::{conditions, number, table};
use crate::measure::median;
use crate::plot::Plot;

/// The share of its rate that a transfer is to keep in a crowd
const KEPT_IN_CROWD: f64 = 0.9;

/// The share of what it has beside another of its kind that a flow is to keep beside a transfer
const KEPT_BY_FLOW: f64 = 0.5;

pub(super) fn text(rounds: &[Round], options: &Options) -> String {
    let crowds = table(
        &[
            "link",
            "transfer",
            "at its port",
            "came in all",
            "MB/s",
            "of its rate alone",
            "wanted",
            "peak memory of the far side, MB",
        ],
        &rounds.iter().flat_map(crowd_rows).collect::<Vec<_>>(),
    );
    let flows = table(
        &[
            "link",
            "beside the flow",
            "the flow, MB/s",
            "% of the link",
            "the other, MB/s",
            "% of the link",
            "Jain's index",
            "of what another flow leaves",
            "wanted",
        ],
        &rounds.iter().flat_map(flow_rows).collect::<Vec<_>>(),
    );
    format!(
        "{:?} of what the link carries in {} s, from the first payload byte; medians of {}. From \
         then on {CROWD} strangers at a time are at the data port, where each comes back once it \
         was closed; those of UDP say their first packet each second.\n\n{crowds}\nOne flow of \
         TCP with CUBIC is under way for {} s when another joins it, or a transfer, with as many \
         bytes: rates of both while both move, and shares of what datagrams bring over the \
         link.\n\n{flows}\n{}\n",
        options.direction,
        options.seconds,
        options.rounds,
        options.lead().as_secs_f64(),
        conclusion(rounds)
    )
}

pub(super) fn figures(rounds: &[Round], options: &Options) -> Value {
    let mut all = conditions("company");
    all["direction"] = json!(format!("{:?}", options.direction).to_lowercase());
    all["seed"] = json!(options.seed);
    all["seconds"] = json!(options.seconds);
    all["rounds"] = json!(options.rounds);
    all["strangers"] = json!(CROWD);
    let controls = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    all["congestion_controls"] = json!(controls.unwrap_or_default().trim());
    let cells = rounds.iter().map(|round| {
        let crowds = round.sieges.iter().map(|(route, crowd, turns)| {
            json!({
                "route": route.name(),
                "crowd": crowd.name(),
                "bytes_a_second": each(turns, |siege| siege.rate),
                "finished": turns.iter().all(|siege| siege.is_finished),
                "came": each(turns, |siege| siege.came),
                "peak_memory_bytes": each(turns, |siege| siege.memory),
                "link_packets": each(turns, |siege| siege.packets),
                "ratio": kept_in_crowd(round, *route, *crowd),
                "wanted": KEPT_IN_CROWD,
            })
        });
        let flows = round.shares.iter().map(|(joiner, turns)| {
            json!({
                "beside": joiner.name(),
                "flow_bytes_a_second": each(turns, |both| both.flow),
                "other_bytes_a_second": each(turns, |both| both.joiner),
                "jain": fairness(turns),
                "ratio": kept_by_flow(round, *joiner),
                "wanted": KEPT_BY_FLOW,
            })
        });
        json!({
            "rtt_ms": round.cell.rtt,
            "loss_percent": round.cell.loss,
            "rate_mbit": round.cell.rate,
            "ceiling_bytes_a_second": round.ceiling,
            "crowds": crowds.collect::<Vec<_>>(),
            "flows": flows.collect::<Vec<_>>(),
        })
    });
    all["cells"] = cells.collect();
    all
}

pub(super) fn plot(rounds: &[Round]) -> Plot {
    let transfers = SIEGES.map(|(route, crowd)| match crowd {
        Crowd::Nobody => format!("xfer-{} alone", route.name()),
        _ => crowd.name().to_owned(),
    });
    let flows = JOINERS.map(|joiner| match joiner {
        Joiner::Nobody => String::from("flow alone"),
        Joiner::Flow => String::from("flow, flow"),
        Joiner::Xfer(_) => format!("flow, {}", joiner.name()),
    });
    let groups = rounds.iter().map(|round| {
        let sieges = round.sieges.iter().map(|(_, _, turns)| rate(turns));
        let flows = round.shares.iter().map(|(_, turns)| flow(turns));
        let bars = sieges.chain(flows).enumerate();
        let bars = bars.filter_map(|(series, rate)| Some((series, rate? / 1e6)));
        (round.cell.name(), bars.collect())
    });
    Plot {
        title: String::from("Transfers and crowds at their ports; a flow of CUBIC beside others"),
        vertical: String::from("MB/s"),
        horizontal: String::from("round trip, loss, rate"),
        series: transfers.into_iter().chain(flows).collect(),
        groups: groups.collect(),
    }
}

fn crowd_rows(round: &Round) -> Vec<Vec<String>> {
    let row = |(route, crowd, turns): &(Route, Crowd, Vec<Siege>)| {
        let is_cut = turns.iter().any(|siege| !siege.is_finished);
        let cut = if is_cut { ", cut" } else { "" };
        let memory = middle(turns, |siege| siege.memory as f64);
        let came = middle(turns, |siege| siege.came as f64);
        let wanted = if *crowd == Crowd::Nobody { None } else { Some(KEPT_IN_CROWD) };
        vec![
            round.cell.name(),
            format!("xfer-{}", route.name()),
            crowd.name().to_owned(),
            number(came.filter(|_| wanted.is_some())),
            number(rate(turns).map(|rate| rate / 1e6)) + cut,
            number(kept_in_crowd(round, *route, *crowd)),
            number(wanted),
            number(memory.map(|bytes| bytes / 1e6)),
        ]
    };
    round.sieges.iter().map(row).collect()
}

fn flow_rows(round: &Round) -> Vec<Vec<String>> {
    let percent = |rate: f64| 100.0 * rate / round.ceiling;
    let megabytes = |rate: f64| rate / 1e6;
    let row = |(joiner, turns): &(Joiner, Vec<Shares>)| {
        let (own, others) = (flow(turns), other(turns));
        let wanted = matches!(joiner, Joiner::Xfer(_)).then_some(KEPT_BY_FLOW);
        vec![
            round.cell.name(),
            joiner.name(),
            number(own.map(megabytes)),
            number(own.map(percent)),
            number(others.map(megabytes)),
            number(others.map(percent)),
            number(fairness(turns)),
            number(kept_by_flow(round, *joiner)),
            number(wanted),
        ]
    };
    round.shares.iter().map(row).collect()
}

/// How many wishes came true
fn conclusion(rounds: &[Round]) -> String {
    let crowds = rounds.iter().flat_map(|round| {
        let crowds = SIEGES.into_iter().filter(|(_, crowd)| *crowd != Crowd::Nobody);
        crowds.map(|(route, crowd)| kept_in_crowd(round, route, crowd))
    });
    let flows = rounds.iter().flat_map(|round| {
        let transfers = JOINERS.into_iter().filter(|joiner| matches!(joiner, Joiner::Xfer(_)));
        transfers.map(|joiner| kept_by_flow(round, joiner))
    });
    let count = |kept: Vec<Option<f64>>, wanted: f64| {
        let granted = kept.iter().filter(|kept| kept.is_some_and(|kept| kept >= wanted)).count();
        format!("{granted} of {}", kept.len())
    };
    format!(
        "A crowd leaves a transfer {KEPT_IN_CROWD} of its rate or more in {}. A transfer leaves a \
         flow {KEPT_BY_FLOW} or more of what another flow does in {}.",
        count(crowds.collect(), KEPT_IN_CROWD),
        count(flows.collect(), KEPT_BY_FLOW)
    )
}

fn kept_in_crowd(round: &Round, route: Route, crowd: Crowd) -> Option<f64> {
    let turns = |crowd: Crowd| {
        let found = round.sieges.iter().find(|siege| (siege.0, siege.1) == (route, crowd))?;
        rate(&found.2)
    };
    Some(turns(crowd)? / turns(Crowd::Nobody)?)
}

fn kept_by_flow(round: &Round, joiner: Joiner) -> Option<f64> {
    let turns = |joiner: Joiner| {
        let found = round.shares.iter().find(|share| share.0 == joiner)?;
        flow(&found.1)
    };
    Some(turns(joiner)? / turns(Joiner::Flow)?)
}

/// Jain's index of two rates: 1 where they are equal, a half where one has everything
fn fairness(turns: &[Shares]) -> Option<f64> {
    let (one, other) = (flow(turns)?, other(turns)?);
    Some((one + other).powi(2) / (2.0 * (one.powi(2) + other.powi(2))))
}

fn rate(turns: &[Siege]) -> Option<f64> {
    middle(turns, |siege| siege.rate)
}

fn flow(turns: &[Shares]) -> Option<f64> {
    middle(turns, |both| both.flow)
}

fn other(turns: &[Shares]) -> Option<f64> {
    let rates: Vec<_> = turns.iter().filter_map(|both| both.joiner).collect();
    middle(&rates, |rate| *rate)
}

fn middle<T>(turns: &[T], of: impl Fn(&T) -> f64) -> Option<f64> {
    (!turns.is_empty()).then(|| median(turns.iter().map(of).collect()))
}

fn each<T, N>(turns: &[T], of: impl Fn(&T) -> N) -> Vec<N> {
    turns.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulated::Cell;

    fn round() -> Round {
        let siege =
            |rate| Siege { rate, is_finished: true, came: 600, memory: 20_000_000, packets: 1 };
        let shares = |flow, joiner| vec![Shares { flow, joiner }];
        Round {
            cell: Cell { rtt: 50, loss: 0.0, rate: 200 },
            ceiling: 20e6,
            sieges: vec![
                (Route::Tls, Crowd::Nobody, [20e6, 10e6, 18e6].map(siege).into()),
                (Route::Tls, Crowd::Silent, vec![siege(9e6)]),
                (Route::Quic, Crowd::Unproven, vec![siege(9e6)]),
            ],
            shares: vec![
                (Joiner::Nobody, shares(19e6, None)),
                (Joiner::Flow, shares(10e6, Some(10e6))),
                (Joiner::Xfer(Route::Quic), shares(5e6, Some(15e6))),
                (Joiner::Xfer(Route::Tls), shares(0.0, Some(20e6))),
            ],
        }
    }

    #[test]
    fn what_is_kept_is_the_ratio_of_medians() {
        let round = round();
        assert_eq!(kept_in_crowd(&round, Route::Tls, Crowd::Silent), Some(0.5));
        assert_eq!(kept_in_crowd(&round, Route::Quic, Crowd::Unproven), None);
        assert_eq!(kept_by_flow(&round, Joiner::Xfer(Route::Quic)), Some(0.5));
        let indices: Vec<_> = round.shares.iter().map(|share| fairness(&share.1)).collect();
        assert_eq!(indices, [None, Some(1.0), Some(0.8), Some(0.5)]);
    }

    #[test]
    fn a_wish_that_nothing_answers_did_not_come_true() {
        let said = conclusion(&[round()]);
        assert!(said.contains("0.9 of its rate or more in 0 of 3"), "{said}");
        assert!(said.contains("what another flow does in 1 of 2"), "{said}");
    }
}
