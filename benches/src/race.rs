//! The races: what is moved, who takes part, and turns in which they run

use std::fs;
use std::process::Command;

use xfer_tests::oracle;

use crate::Done;
use crate::contender::{Contender, Direction, Move};
use crate::lab::{Lab, empty};
use crate::measure::{Cost, Extent, extent, median};
use crate::options::Options;

/// One workload
#[derive(Clone, Debug)]
pub(crate) struct Race {
    pub(crate) name: &'static str,
    /// The time of the best peer over ours that is wished for
    pub(crate) target: f64,
    wanted: Move,
    peers: &'static [Contender],
    /// Whether the destination holds everything before the run
    unchanged: bool,
}

/// Every turn of one race
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) target: f64,
    pub(crate) extent: Extent,
    pub(crate) load: String,
    /// Costs by contender, ours first
    pub(crate) costs: Vec<(Contender, Vec<Cost>)>,
}

const MOVERS: &[Contender] = &[
    Contender::Tar,
    Contender::Scp,
    Contender::Rsync,
    Contender::Syq,
    Contender::Mscp,
    Contender::Rclone,
];
const SWIFT: &[Contender] = &[Contender::Tar, Contender::Rsync, Contender::Syq];
const SYNCING: &[Contender] = &[Contender::Rsync];
const SKIPPING: &[Contender] = &[Contender::Rsync, Contender::Syq];
const LOGIN: &[Contender] = &[Contender::SshTrue];

/// The races that the options ask for
pub(crate) fn programme(options: &Options, lab: &Lab) -> Vec<Race> {
    use Direction::{Pull, Push};
    let small = if options.slow { MOVERS } else { SWIFT };
    type Tree = fn(&Lab) -> std::path::PathBuf;
    let rows: [(_, _, Tree, _, _, _); 8] = [
        ("byte-push", 1.0 / 1.5, Lab::byte, Push, false, LOGIN),
        ("small-push", 1.5, Lab::small, Push, false, small),
        ("small-pull", 1.5, Lab::small, Pull, false, small),
        ("big-push", 1.3, Lab::big, Push, false, MOVERS),
        ("big-pull", 1.1, Lab::big, Pull, false, MOVERS),
        ("big-push-synced", 1.2, Lab::big, Push, true, SYNCING),
        ("big-pull-synced", 1.2, Lab::big, Pull, true, SYNCING),
        ("unchanged-push", 1.5, Lab::many, Push, false, SKIPPING),
    ];
    let asked = |name: &str| {
        options.only.is_empty() || options.only.iter().any(|only| name.contains(only.as_str()))
    };
    let rows = rows.into_iter().filter(|row| asked(row.0));
    let races = rows.map(|(name, target, tree, direction, synced, peers)| {
        let unchanged = name.starts_with("unchanged");
        let destination = lab.destination(synced || unchanged);
        let wanted = Move { source: tree(lab), destination, direction, synced };
        Race { name, target, wanted, peers, unchanged }
    });
    races.collect()
}

impl Race {
    /// Lets everybody run in turns, and checks after each run that all of the tree is there
    pub(crate) fn run(&self, lab: &Lab, options: &Options, fit: &[Contender]) -> Done<Outcome> {
        let takes_part = |one: &&Contender| **one == Contender::Xfer || self.peers.contains(one);
        let mut costs: Vec<_> =
            fit.iter().filter(takes_part).map(|one| (*one, Vec::new())).collect();
        let extent = extent(&self.wanted.source)?;
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        empty(&self.wanted.destination)?;
        if self.unchanged {
            self.prepare(lab)?;
        }
        for round in 0..options.rounds {
            for (contender, costs) in &mut costs {
                if !self.unchanged {
                    empty(&self.wanted.destination)?;
                }
                let cost = lab.timed(contender.command(lab, &self.wanted))?;
                let (name, who) = (self.name, contender.name());
                eprintln!("{name} {who} {:.2} s, processors {:.2} s", cost.wall, cost.processor);
                costs.push(cost);
                self.check(*contender, extent, round + 1 == options.rounds)?;
            }
        }
        empty(&self.wanted.destination)?;
        let load = load.trim_end().to_owned();
        Ok(Outcome { name: self.name, target: self.target, extent, load, costs })
    }

    /// Puts the tree there, records it, and sees to it that nothing is left to move
    fn prepare(&self, lab: &Lab) -> Done {
        lab.timed(Contender::Xfer.command(lab, &self.wanted))?;
        let arguments = self.wanted.xfer().into_iter().chain(["--json".into()]);
        let result = lab.xfer().run(arguments).expect_code(0).result();
        match result["payload_bytes"].as_u64() {
            Some(0) => Ok(()),
            _ => Err(format!("{}: a second run moved something: {result}", self.name)),
        }
    }

    fn check(&self, contender: Contender, wanted: Extent, last: bool) -> Done {
        if contender == Contender::SshTrue {
            return Ok(());
        }
        let (landed, source) = (self.wanted.landed(), &self.wanted.source);
        let found = extent(&landed)?;
        if found != wanted {
            let who = contender.name();
            return Err(format!("{}: {who} left {found:?} of {wanted:?}", self.name));
        }
        let ours = contender == Contender::Xfer;
        let equal = match source.is_dir() {
            _ if !last || !ours => true,
            true => oracle::rsync_changes(source, &landed).is_empty(),
            false => {
                let compared = Command::new("cmp").arg("-s").arg(source).arg(&landed).status();
                compared.is_ok_and(|status| status.success())
            }
        };
        if equal { Ok(()) } else { Err(format!("{}: what arrived is not equal", self.name)) }
    }
}

impl Outcome {
    /// The median of what a contender's turns took
    pub(crate) fn median(&self, who: Contender, of: fn(&Cost) -> f64) -> Option<f64> {
        let (_, costs) = self.costs.iter().find(|(contender, _)| *contender == who)?;
        Some(median(costs.iter().map(of).collect()))
    }

    /// The peer with the smallest median, and that median
    pub(crate) fn best_peer(&self, of: fn(&Cost) -> f64) -> Option<(Contender, f64)> {
        let peers = self.costs.iter().filter(|(contender, _)| *contender != Contender::Xfer);
        let medians = peers.filter_map(|(peer, _)| Some((*peer, self.median(*peer, of)?)));
        medians.min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// How many times as long as ours the best peer took
    pub(crate) fn ratio(&self, of: fn(&Cost) -> f64) -> Option<f64> {
        Some(self.best_peer(of)?.1 / self.median(Contender::Xfer, of)?)
    }
}
