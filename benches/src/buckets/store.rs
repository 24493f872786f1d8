//! The store, a process of its own: s3s-fs, which this program starts itself as

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use xfer_tests::stores::{Access, S3s};

use crate::flags::number;
use crate::{Done, lab};

/// Ticks of `/proc/PID/stat` in a second, on every Linux
const TICKS_A_SECOND: f64 = 100.0;

/// What a store does not do at once
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Throttle {
    /// What each request waits
    pub(super) delay: Duration,
    /// Bytes a second either way; 0 for any number
    pub(super) rate: u64,
}

/// A store that runs until it is dropped
#[derive(Debug)]
pub(super) struct Store {
    child: Child,
    /// Its end ends the store, also where this process is killed.
    held: Option<ChildStdin>,
    access: Access,
    objects: PathBuf,
}

/// What `store` does: `PLACE MILLISECONDS BYTES_A_SECOND`
pub(super) fn serve(words: &[String]) -> Done {
    let [place, delay, rate] = words else {
        return Err(String::from("it is started by the race"));
    };
    let delay = Duration::from_millis(number("delay", delay)?);
    let rate = Some(number("rate", rate)?).filter(|rate| *rate > 0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let throttle = xfer_tests::stores::Throttle { delay, rate };
    let store = S3s::start_in(Path::new(place), threads, &throttle);
    println!("{} {}", store.access().port(), store.objects().display());
    // Nothing comes, but an end.
    let mut nothing = Vec::new();
    drop(std::io::stdin().read_to_end(&mut nothing));
    Ok(())
}

impl Store {
    /// Starts one that keeps what it has below `place`
    pub(super) fn start(place: &Path, throttle: Throttle) -> Done<Self> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let (delay, rate) = (throttle.delay.as_millis().to_string(), throttle.rate.to_string());
        let mut child = Command::new(program)
            .args(["buckets", "store"])
            .arg(place)
            .args([delay, rate])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the store: {error}"))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            drop(BufReader::new(output).read_line(&mut line));
        }
        let told = line.trim_end().split_once(' ');
        let (port, objects) = told.ok_or("the store did not start")?;
        let access = Access::on(number("port", port)?);
        let held = child.stdin.take();
        Ok(Self { child, held, access, objects: objects.into() })
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Where the object `a/b` is the file `a/b`
    pub(super) fn objects(&self) -> &Path {
        &self.objects
    }

    /// Removes all objects, and what is kept beside them
    pub(super) fn empty(&self) -> Done {
        lab::empty(&self.objects)?;
        let records = self.objects.parent().unwrap_or(&self.objects);
        let failed = |error| format!("{}: {error}", records.display());
        for entry in fs::read_dir(records).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Processor seconds that it took so far
    pub(super) fn processor(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let numbers = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let own = numbers.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
        own.sum::<f64>() / TICKS_A_SECOND
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.child.wait());
    }
}
