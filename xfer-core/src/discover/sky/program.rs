//! The program `sky`, run within limits of time and of output.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::super::error::ApiProblem;

/// Time for an answer; the program may have to start its own interface first.
const WITHIN: Duration = Duration::from_secs(30);

/// Bytes of an answer; a cluster takes one or two thousand.
const SAID_BYTES_MAX: u64 = 8 << 20;

/// Bytes of its complaints, of which the last line is shown.
const COMPLAINTS_BYTES_MAX: u64 = 64 << 10;

/// Characters of its complaints that an error repeats.
const COMPLAINT_MAX: usize = 200;

/// What it answers.
///
/// # Errors
/// Where it is not there, does not end in time, fails, or says more than anybody reads.
pub(super) async fn run(program: &OsStr, arguments: &[&str]) -> Result<Vec<u8>, ApiProblem> {
    run_within(program, arguments, WITHIN).await
}

/// The same with more time, for what asks a cloud.
///
/// # Errors
/// As [`run`].
pub(super) async fn run_within(
    program: &OsStr,
    arguments: &[&str],
    within: Duration,
) -> Result<Vec<u8>, ApiProblem> {
    let shown = format!("{} {}", program.display(), arguments.join(" "));
    let failed = |why: String| ApiProblem::NotRun(format!("{shown}: {why}"));
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("there is no such program here".to_owned()),
        _ => failed(error.to_string()),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let finished = async {
        let said = read(stdout, SAID_BYTES_MAX + 1).await;
        if said.len() as u64 > SAID_BYTES_MAX {
            // It would wait for somebody to read the rest.
            drop(child.kill().await);
            return Err(failed(format!("it says more than {SAID_BYTES_MAX} bytes")));
        }
        Ok((said, child.wait().await.map_err(|error| failed(error.to_string()))?))
    };
    let both = async { tokio::join!(finished, complaints(stderr)) };
    let (finished, complained) = tokio::time::timeout(within, both)
        .await
        .map_err(|_| failed(format!("no answer within {} s", within.as_secs())))?;
    let (said, status) = finished?;
    if status.success() {
        return Ok(said);
    }
    Err(failed(last_of(&complained).unwrap_or_else(|| status.to_string())))
}

async fn read(source: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        // What was read before an error is all that there is.
        drop(source.take(limit).read_to_end(&mut bytes).await);
    }
    bytes
}

/// The beginning of what it complains of; all of it is read, or it would wait to be.
async fn complaints(source: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut source) = source else { return Vec::new() };
    let bytes = read(Some(&mut source), COMPLAINTS_BYTES_MAX).await;
    drop(tokio::io::copy(&mut source, &mut tokio::io::sink()).await);
    bytes
}

fn last_of(complaints: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(complaints);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(last.chars().take(COMPLAINT_MAX).collect())
}
