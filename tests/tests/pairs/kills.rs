//! A kill at a moment that the destination's changes choose

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use xfer_tests::changes::Changes;
use xfer_tests::random::Random;

use crate::stand::{Round, Side, Stand};

/// Whom to kill
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The program that the user started
    Near,
    /// What it runs on the other machine
    Agent,
}

impl Victim {
    pub(crate) fn chosen(side: Side, random: &mut Random) -> Self {
        let is_agent = side != Side::Here && random.happens(0.5);
        if is_agent { Self::Agent } else { Self::Near }
    }
}

/// How a run ended
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Killed,
    /// Its moment did not come, or it went on without the other machine's process
    Ended(i32),
}

/// Runs the command, and kills when so many changes were seen below the destination
pub(crate) fn kill_at(stand: &Stand, round: &Round, victim: Victim, after: u64) -> Fate {
    let mut changes = Changes::below(&round.there);
    let running = round.start();
    let pid = Pid::from_raw(running.id().cast_signed()).expect("a process");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("a process that nobody waited for");
    let mut is_killed = changes.wait(after, &process);
    if is_killed {
        match victim {
            Victim::Near => is_killed = kill_process(pid, Signal::KILL).is_ok(),
            Victim::Agent => {
                let agents = stand.server.programs();
                is_killed = !agents.is_empty();
                for agent in agents.into_iter().filter_map(|id| Pid::from_raw(id.cast_signed())) {
                    // It may have ended by itself.
                    let _gone = kill_process(agent, Signal::KILL);
                }
            }
        }
    }
    match running.wait().code() {
        137 if victim == Victim::Near => Fate::Killed,
        // It makes itself another agent, or gives up: the next run has what is left to do.
        code if victim == Victim::Agent && is_killed && code != 0 => {
            assert!(matches!(code, 8..=10), "{round:?}: exit {code} when the agent was killed");
            Fate::Killed
        }
        code => Fate::Ended(code),
    }
}
