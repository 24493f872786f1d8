//! What one run costs

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Done;

/// Ticks of `/proc/PID/stat` in a second, on every Linux
const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of a run: on the wall, and of processors on both sides together
///
/// Others' load moves the first far more than the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
}

/// Files and bytes below a path
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Runs a command to its success; what it started in the servers has ended when this returns
pub(crate) fn timed(mut command: Command, servers: &[u32]) -> Done<Cost> {
    let described = format!("{command:?}");
    let before = processors(servers);
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    let wall = began.elapsed().as_secs_f64();
    let output = output.map_err(|error| format!("{described}: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{described}: {}\n{text}", output.status));
    }
    while servers.iter().any(|server| has_children(*server)) {
        std::thread::yield_now();
    }
    Ok(Cost { wall, processor: processors(servers) - before })
}

/// Processor seconds of all children that ended, of this process and of servers
pub(crate) fn processors(servers: &[u32]) -> f64 {
    let sum = servers.iter().map(|server| ended_children(*server)).sum::<f64>();
    sum + ended_children(std::process::id())
}

/// Whether a process has children that it has not waited for
pub(crate) fn has_children(process: u32) -> bool {
    let path = format!("/proc/{process}/task/{process}/children");
    fs::read_to_string(path).is_ok_and(|children| !children.trim().is_empty())
}

/// Counts what is below a path, or the path itself where it is a file
pub(crate) fn extent(path: &Path) -> Done<Extent> {
    let at = |error| format!("{}: {error}", path.display());
    let facts = fs::symlink_metadata(path).map_err(at)?;
    if !facts.is_dir() {
        return Ok(Extent { files: 1, bytes: facts.len() });
    }
    let mut sum = Extent::default();
    for entry in fs::read_dir(path).map_err(at)? {
        let below = extent(&entry.map_err(at)?.path())?;
        sum = Extent { files: sum.files + below.files, bytes: sum.bytes + below.bytes };
    }
    Ok(sum)
}

/// The middle of some numbers; of an even count, the mean of the two in the middle
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => numbers[count / 2],
        count => f64::midpoint(numbers[count / 2 - 1], numbers[count / 2]),
    }
}

/// Processor seconds of all children that a process has waited for, theirs included
fn ended_children(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; what follows it is numbers.
    let numbers = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let children = numbers.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    children.sum::<f64>() / TICKS_A_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[test]
    fn what_children_burn_is_seen() {
        let before = ended_children(std::process::id());
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
        assert!(ended_children(std::process::id()) > before);
    }

    #[test]
    fn an_extent_counts_what_is_below() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("d")).unwrap();
        fs::write(directory.path().join("d/a"), b"123").unwrap();
        fs::write(directory.path().join("b"), b"4").unwrap();
        assert_eq!(extent(directory.path()), Ok(Extent { files: 2, bytes: 4 }));
        assert!(extent(&directory.path().join("nowhere")).is_err());
    }
}
