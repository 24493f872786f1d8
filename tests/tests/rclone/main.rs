//! Remotes of rclone end to end: the program, a real rclone, and what that reaches: a directory, a
//! directory that it encrypts, and a bucket of a store that others wrote

mod bad_input;
mod contract;
mod killed;
mod push_pull;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xfer_tests::stores::{Access, judges};
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Running, Xfer};

/// Bytes of a file that is streamed
const BIG: u64 = (40 << 20) + 12_345;

/// What stands in rclone's configuration and nowhere else
const CANARY: &str = "canary-0c3b7e5d";

/// The program, rclone, and its configuration
struct Bench {
    xfer: Xfer,
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(&judges::rclone_program())
    }

    /// With another program in rclone's place
    fn with(program: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("rclone-").tempdir().expect("temp dir");
        let xfer = Xfer::new()
            .env("RCLONE", program)
            .env("RCLONE_CONFIG", directory.path().join("rclone.conf"))
            .env("RCLONE_LOW_LEVEL_RETRIES", "2")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let bench = Self { xfer, directory };
        fs::create_dir(bench.path("there")).expect("make a directory");
        bench.configure(&format!(
            "[disk]\ntype = alias\nremote = {0}\n\n[secret]\ntype = crypt\nremote = {0}/hidden\n\
             password = {1}\n",
            bench.path("there").display(),
            judges::rclone_obscured(CANARY),
        ));
        bench
    }

    fn configure(&self, more: &str) {
        let path = self.path("rclone.conf");
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, before + more).expect("write the configuration");
    }

    /// Has a remote `bucket` that is the bucket of a store
    fn reaching(self, access: &Access) -> Self {
        self.configure(&format!(
            "\n[bucket]\ntype = s3\nprovider = Other\naccess_key_id = {}\n\
             secret_access_key = {}\nendpoint = {}\nregion = {}\nforce_path_style = true\n",
            access.key, access.secret, access.endpoint, access.region
        ));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the remote `disk` has
    fn there(&self, name: &str) -> PathBuf {
        self.path("there").join(name)
    }

    fn file(&self, name: &str, length: u64, seed: u64) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        tree::big_file(&path, length, seed);
        path
    }

    /// A script that stands for rclone; `$RCLONE_REAL` is the real one
    fn script(text: &str) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path().join("rclone");
        let real = judges::rclone_program();
        let text = format!("#!/bin/sh\nRCLONE_REAL='{}'\n{text}\n", real.display());
        fs::write(&path, text).expect("write a script");
        let runs = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, runs).expect("make it run");
        (directory, path)
    }

    fn start(&self, verb: &str, from: &str, to: &str, more: &[&str]) -> Running {
        let patience: &[&str] = if more.contains(&"--retries") { &[] } else { &["--retries", "1"] };
        let fixed = [verb, from, to, "--json"];
        self.xfer.start(fixed.iter().chain(patience).chain(more))
    }

    fn push(&self, source: &Path, to: &str) -> Ended {
        self.start("push", &source.to_string_lossy(), to, &[]).wait()
    }

    fn pull(&self, from: &str, destination: &Path) -> Ended {
        self.start("pull", from, &destination.to_string_lossy(), &[]).wait()
    }
}

/// Panics unless two files have the same bytes
fn assert_same(one: &Path, other: &Path) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert!(read(one) == read(other), "{one:?} and {other:?} differ");
}

/// Command lines and environments of all processes that descend from one
fn seen_of(process: u32) -> Vec<(String, String)> {
    let text = |process: &str, name: &str| {
        let bytes = fs::read(format!("/proc/{process}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let all = fs::read_dir("/proc").expect("proc").flatten();
    let names = all.filter_map(|entry| entry.file_name().into_string().ok());
    let parents: Vec<(String, String)> = names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|name| {
            let stat = text(&name, "stat");
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
            Some((name, parent))
        })
        .collect();
    let mut ours = vec![process.to_string()];
    let mut at = 0;
    while let Some(parent) = ours.get(at).cloned() {
        let below = parents.iter().filter(|(_, above)| *above == parent);
        ours.extend(below.map(|(name, _)| name.clone()));
        at += 1;
    }
    ours.iter().map(|name| (text(name, "cmdline"), name.clone())).collect()
}
