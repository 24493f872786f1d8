//! What a run comes to, in a file for Prometheus, in the text format that its collectors read.
//!
//! The numbers are those of the events, and the file is replaced only whole, so that nobody reads a
//! half of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use xfer_core::disk::output_file::OutputFile;
use xfer_core::disk::state::StateError;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::Escaped;

use super::json::{Body, CountsBody};
use crate::problem::CliError;

/// Between two writings.
const EVERY: Duration = Duration::from_secs(10);

/// The file, and what it says next.
pub(super) struct Metrics {
    path: PathBuf,
    unique: u64,
    next: Duration,
    numbers: Numbers,
    lost: Option<Errno>,
}

#[derive(Debug, Default)]
struct Numbers {
    verb: &'static str,
    /// Seconds since 1970.
    now: f64,
    elapsed: f64,
    files: u64,
    payload: u64,
    verified: u64,
    reused: u64,
    wasted: u64,
    overhead: u64,
    to_move: u64,
    rate: u64,
    left: Option<u64>,
    deleted: u64,
    problems: u64,
    entries: CountsBody,
    bytes: CountsBody,
    ended: Option<(u8, &'static str)>,
}

/// What a number is to Prometheus.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

impl Metrics {
    /// Makes sure that there is a place for it.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let unique = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        OutputFile::check(path, unique).map_err(|error| {
            let place = Escaped(path.as_os_str().as_encoded_bytes());
            CliError::config("output-unwritable", format!("{place}: it cannot be written"))
                .why(error)
                .next("name a file that you may write, in a directory that is there")
        })?;
        let (next, numbers) = (Duration::ZERO, Numbers::default());
        Ok(Self { path: path.to_owned(), unique, next, numbers, lost: None })
    }

    /// Takes an event, and writes where it is time or the last one.
    pub(super) fn hear(&mut self, body: &Body, elapsed: Duration, now: Timestamp) {
        self.numbers.take(body);
        if elapsed < self.next && !matches!(body, Body::Result(_)) {
            return;
        }
        self.next = elapsed + EVERY;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let seconds = now.seconds as f64;
        self.numbers.now = seconds + f64::from(now.nanoseconds) / 1e9;
        if !matches!(body, Body::Result(_)) {
            self.numbers.elapsed = elapsed.as_secs_f64();
        }
        self.lost = self.write().err().map(|error| match error {
            StateError::Io { cause, .. } => Errno::from_io_error(&cause).unwrap_or(Errno::IO),
            _ => Errno::IO,
        });
    }

    /// Why the last writing failed, where it did.
    pub(super) fn lost(&self) -> Option<Errno> {
        self.lost
    }

    fn write(&self) -> Result<(), StateError> {
        let mut file = OutputFile::create(&self.path, self.unique)?;
        file.write(self.numbers.text().as_bytes())?;
        file.commit(false).map(drop)
    }
}

impl Numbers {
    fn take(&mut self, body: &Body) {
        match body {
            Body::Run { verb, .. } => self.verb = verb,
            Body::Plan { entries, bytes, .. } => {
                self.entries.selected = *entries;
                self.bytes.selected = *bytes;
            }
            Body::Progress(progress) => {
                self.files = progress.files_done;
                self.payload = progress.payload_bytes;
                self.verified = progress.verified_bytes;
                self.reused = progress.reused_bytes;
                self.to_move = progress.bytes_to_move;
                (self.rate, self.left) = (progress.rate_now, progress.eta_s);
            }
            Body::Entry { action: "moved", size, .. } => {
                self.entries.moved += 1;
                self.bytes.moved += size;
            }
            Body::Entry { action: "unchanged" | "metadata", size, .. } => {
                self.entries.unchanged += 1;
                self.bytes.unchanged += size;
            }
            Body::Entry { action: "deleted", .. } => self.deleted += 1,
            Body::Problem { .. } => self.problems += 1,
            Body::Result(result) => {
                (self.entries, self.bytes) = (result.entries, result.bytes);
                (self.payload, self.reused) = (result.payload_bytes, result.reused_bytes);
                (self.wasted, self.overhead) = (result.wasted_bytes, result.overhead_bytes);
                (self.deleted, self.problems) = (result.deleted, result.problems);
                (self.elapsed, self.rate, self.left) = (result.elapsed_s, 0, None);
                self.ended = Some((result.exit_code, result.reason));
            }
            _ => {}
        }
    }

    fn text(&self) -> String {
        let mut text = Text(String::new());
        text.family("xfer_run_info", Kind::Gauge, "The verb and the version of this run.");
        let labels = format!("verb=\"{}\",version=\"{}\"", self.verb, env!("CARGO_PKG_VERSION"));
        text.row("xfer_run_info", &labels, 1);
        text.one("xfer_updated_timestamp_seconds", "When this was written.", self.now);
        text.one("xfer_elapsed_seconds", "Since the run began.", self.elapsed);
        for (name, help, value) in [
            ("xfer_payload_bytes_total", "File bytes that the destination took.", self.payload),
            ("xfer_verified_bytes_total", "Bytes compared, hashed or read back.", self.verified),
            ("xfer_reused_bytes_total", "File bytes that were there already.", self.reused),
            ("xfer_wasted_bytes_total", "File bytes sent more than once; at the end.", self.wasted),
            ("xfer_overhead_bytes_total", "Bytes beside payload; at the end.", self.overhead),
            ("xfer_files_committed_total", "Files that stand under their names.", self.files),
            ("xfer_deleted_entries_total", "Entries that were deleted.", self.deleted),
            ("xfer_problems_total", "Entries that failed, and lists that broke.", self.problems),
        ] {
            text.family(name, Kind::Counter, help);
            text.row(name, "", value);
        }
        text.one("xfer_to_move_bytes", "File bytes to move in all, as known.", self.to_move);
        text.one("xfer_rate_bytes_per_second", "Payload of late.", self.rate);
        if let Some(left) = self.left {
            text.one("xfer_remaining_seconds", "Time that is left at that rate.", left);
        }
        text.counts("xfer_entries", "Entries by what became of them.", &self.entries);
        text.counts("xfer_bytes", "Bytes of files by what became of them.", &self.bytes);
        text.one("xfer_finished", "Whether the run has ended.", u8::from(self.ended.is_some()));
        if let Some((code, reason)) = self.ended {
            text.family("xfer_exit_code", Kind::Gauge, "Exit code of the run, and its reason.");
            text.row("xfer_exit_code", &format!("reason=\"{reason}\""), code);
        }
        text.0
    }
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _never_fails = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn row(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _never_fails = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn one(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, Kind::Gauge, help);
        self.row(name, "", value);
    }

    fn counts(&mut self, name: &str, help: &str, counts: &CountsBody) {
        self.family(name, Kind::Gauge, help);
        let CountsBody { selected, moved, unchanged, deferred, skipped, failed } = *counts;
        for (state, value) in [
            ("selected", selected),
            ("moved", moved),
            ("unchanged", unchanged),
            ("deferred", deferred),
            ("skipped", skipped),
            ("failed", failed),
        ] {
            self.row(name, &format!("state=\"{state}\""), value);
        }
    }
}
