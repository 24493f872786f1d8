//! Shares of what the link carries, and what they are wished to be

use serde_json::{Value, json};

use super::options::Options;
use super::tool::Tool;
use super::{Round, Run};
use crate::contender::Direction;
use crate::direct::Route;
use crate::emulated::Cell;
use crate::figures::{conditions, number, table};
use crate::plot::Plot;

pub(super) fn text(rounds: &[Round], options: &Options) -> String {
    let tools = tools(rounds);
    let mut header = vec!["link", "MB/s of it", "wanted of quic"];
    let names: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
    header.extend(names.iter().map(String::as_str));
    let rows = rounds.iter().map(|round| {
        let wanted = format!("{:.0} %", wanted(round.cell));
        let mut row = vec![round.cell.name(), number(Some(round.ceiling / 1e6)), wanted];
        row.extend(tools.iter().map(|tool| share(round, *tool)));
        row
    });
    let shares = table(&header, &rows.collect::<Vec<_>>());
    let ratios = rounds.iter().map(|round| {
        let named =
            |peer: Option<&Run>| peer.map_or_else(|| String::from("–"), |peer| peer.tool.name());
        let [by_ssh, any] = [true, false].map(|by_ssh| best_peer(round, by_ssh));
        let over = |route: Route, peer: Option<&Run>| {
            let ours = run_of(round, Tool::Xfer(route))?.whole_rate();
            Some(ours / peer?.rate())
        };
        let ssh = number(over(Route::Ssh, by_ssh));
        let [quic, tls] = [Route::Quic, Route::Tls].map(|route| number(over(route, any)));
        vec![round.cell.name(), named(by_ssh), ssh, named(any), quic, tls]
    });
    let ratios = table(
        &["link", "best by ssh", "xfer-ssh / it", "best peer", "xfer-quic / it", "xfer-tls / it"],
        &ratios.collect::<Vec<_>>(),
    );
    format!(
        "{:?} of what the link carries in {} s, in per cent of what datagrams bring over it; in \
         brackets MB/s, and the seconds of the whole command. The program is timed from its first \
         128 KiB on, the others from their start. Cut off after {:?}: `cut`, with what had \
         arrived.\n\n{shares}\nRatios of rates, whole commands:\n\n{ratios}",
        options.direction,
        options.seconds,
        options.limit(),
    )
}

pub(super) fn figures(rounds: &[Round], options: &Options) -> Value {
    let mut all = conditions("wan");
    all["direction"] = json!(format!("{:?}", options.direction).to_lowercase());
    all["pull"] = json!(options.direction == Direction::Pull);
    all["seed"] = json!(options.seed);
    all["seconds"] = json!(options.seconds);
    all["limit"] = json!(options.limit().as_secs_f64());
    let cells = rounds.iter().map(|round| {
        json!({
            "rtt_ms": round.cell.rtt,
            "loss_percent": round.cell.loss,
            "rate_mbit": round.cell.rate,
            "ceiling_bytes_a_second": round.ceiling,
            "wanted_percent_quic": wanted(round.cell),
            "tools": round.runs.iter().map(|run| tool(round, run)).collect::<Vec<_>>(),
        })
    });
    all["cells"] = cells.collect();
    all
}

pub(super) fn plot(rounds: &[Round]) -> Plot {
    let tools = tools(rounds);
    let groups = rounds.iter().map(|round| {
        let bars = tools.iter().enumerate().filter_map(|(series, tool)| {
            Some((series, 100.0 * run_of(round, *tool)?.rate() / round.ceiling))
        });
        (round.cell.name(), bars.collect())
    });
    Plot {
        title: String::from("Over emulated links, queue of one bandwidth-delay product"),
        vertical: String::from("per cent of the link"),
        horizontal: String::from("round trip, loss, rate"),
        series: tools.iter().map(|tool| tool.name()).collect(),
        groups: groups.collect(),
    }
}

fn tool(round: &Round, run: &Run) -> Value {
    json!({
        "name": run.tool.name(),
        "finished": run.limited.is_finished,
        "bytes": run.bytes,
        "seconds": run.limited.cost.wall,
        "payload_seconds": run.passed.map(|(_, seconds)| seconds),
        "percent": 100.0 * run.rate() / round.ceiling,
        "percent_of_whole_command": 100.0 * run.whole_rate() / round.ceiling,
        "processor_seconds": run.limited.cost.processor,
        "link_packets": run.counts.packets,
        "link_bytes": run.counts.bytes,
        "link_lost": run.counts.lost,
        "link_overflowed": run.counts.overflowed,
    })
}

fn share(round: &Round, tool: Tool) -> String {
    let Some(run) = run_of(round, tool) else { return String::from("–") };
    let [percent, rate] = [100.0 * run.rate() / round.ceiling, run.rate() / 1e6];
    let [percent, rate, wall] = [percent, rate, run.limited.cost.wall].map(|x| number(Some(x)));
    let cut = if run.limited.is_finished { "" } else { ", cut" };
    format!("{percent} % ({rate}; {wall} s{cut})")
}

/// Per cent of the link that a mapped UDP port is to give
fn wanted(cell: Cell) -> f64 {
    match cell.loss {
        loss if loss <= 0.0 => 90.0,
        loss if loss <= 0.1 => 85.0,
        loss if loss <= 1.0 => 75.0,
        _ => 50.0,
    }
}

fn tools(rounds: &[Round]) -> Vec<Tool> {
    let raced = |tool: &Tool| rounds.iter().any(|round| run_of(round, *tool).is_some());
    Tool::ALL.into_iter().filter(raced).collect()
}

fn run_of(round: &Round, tool: Tool) -> Option<&Run> {
    round.runs.iter().find(|run| run.tool == tool)
}

/// Of those that need no port but sshd's, or of all
fn best_peer(round: &Round, by_ssh: bool) -> Option<&Run> {
    let peers = round.runs.iter().filter(|run| !run.tool.is_ours());
    let peers = peers.filter(|run| run.tool.is_by_ssh() || !by_ssh);
    peers.max_by(|one, other| one.rate().total_cmp(&other.rate()))
}
