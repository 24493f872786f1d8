//! A run that is cut off when it takes too long

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use xfer_tests::net::Host;

use crate::Done;
use crate::measure::{Cost, processors};

/// A run
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited {
    pub(crate) cost: Cost,
    /// Whether it came to its end, which is a success
    pub(crate) is_finished: bool,
    /// Bytes that were there at the end
    pub(crate) arrived: u64,
}

/// Runs a command in a host to its success or its limit; what it says goes to a file
///
/// `arrived` counts what is there when it ends or is cut off: some remove what is not whole.
/// `close` ends what the command started elsewhere, and waits for that.
pub(super) fn run(
    mut command: Command,
    host: &Host,
    servers: &[u32],
    limit: Duration,
    said: &Path,
    arrived: impl Fn() -> Done<u64>,
    close: impl FnOnce(),
) -> Done<Limited> {
    let described = format!("{command:?}");
    let told = |error: std::io::Error| format!("{described}: {error}");
    let output = File::create(said).map_err(told)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).process_group(0);
    let before = processors(servers);
    let began = Instant::now();
    let mut child = host.within(|| command.spawn()).map_err(told)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
    let (ended, end) = channel();
    let waiting = std::thread::spawn(move || ended.send(child.wait()));
    let mut is_finished = true;
    let mut cut = None;
    let status = match end.recv_timeout(limit) {
        Ok(status) => status,
        Err(_) => {
            is_finished = false;
            cut = Some(arrived()?);
            // It may have ended just now.
            let _gone = kill_process_group(group, Signal::KILL);
            end.recv().map_err(|_| "nobody waits for the child")?
        }
    };
    let wall = began.elapsed().as_secs_f64();
    drop(waiting.join());
    close();
    let status = status.map_err(told)?;
    if is_finished && !status.success() {
        let text = std::fs::read_to_string(said).unwrap_or_default();
        return Err(format!("{described}: {status}\n{text}"));
    }
    let cost = Cost { wall, processor: processors(servers) - before };
    let arrived = cut.map_or_else(arrived, Ok)?;
    Ok(Limited { cost, is_finished, arrived })
}
