//! What is kept of a detached transfer.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;
use xfer_core::disk::detached;
use xfer_core::disk::state::{StateDirectory, StateReader};
use xfer_core::error::ExitClass;

use super::super::{Context, reach};
use crate::problem::CliError;

/// How long what is kept of an ended transfer stays: 30 days, in seconds.
const KEPT: i64 = 30 * 86_400;

/// Bytes at the end of the events in which the last lines are looked for.
const TAIL_BYTES: u64 = 1 << 18;

/// The directory of them all.
pub(super) struct Records(StateDirectory);

/// One transfer.
pub(super) struct Record {
    directory: StateDirectory,
    /// Its name: eight hexadecimal digits.
    pub(super) id: String,
}

/// What the first and the last lines of a transfer say.
#[derive(Default)]
pub(super) struct Told {
    /// What it is to do.
    pub(super) run: Option<Value>,
    /// How far it was last.
    pub(super) progress: Option<Value>,
    /// How it ended.
    pub(super) result: Option<Value>,
}

impl Records {
    pub(super) fn open(context: &Context) -> Result<Self, CliError> {
        let state = reach::connector(context)?.state_directory().map_err(lost)?;
        state.child("detached").map(Self).map_err(lost)
    }

    /// A name that no other has.
    pub(super) fn begin(&self) -> Result<Record, CliError> {
        let number = getrandom::u32().map_err(lost)?;
        Ok(Record { directory: self.0.clone(), id: format!("{number:08x}") })
    }

    /// Every transfer, the eldest first.
    pub(super) fn all(&self) -> Result<Vec<Record>, CliError> {
        let names = self.0.names().map_err(lost)?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(".ndjson"));
        let record = |id: &str| Record { directory: self.0.clone(), id: id.to_owned() };
        let mut records: Vec<_> = ids.filter(|id| is_id(id)).map(record).collect();
        records.sort_by_cached_key(|record| (record.began(), record.id.clone()));
        Ok(records)
    }

    /// The transfer whose name begins so.
    pub(super) fn find(&self, typed: &str) -> Result<Record, CliError> {
        let is_meant = |record: &Record| !typed.is_empty() && record.id.starts_with(typed);
        let mut found = self.all()?.into_iter().filter(is_meant);
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(record),
            (None, _) => {
                let what = format!("{typed}: there is no such detached transfer");
                Err(CliError::new(ExitClass::NotFound, "no-such-transfer", what)
                    .next("xfer transfers lists those that there are"))
            }
            (Some(one), Some(other)) => {
                let what = format!("{typed}: {} and {} begin so", one.id, other.id);
                Err(CliError::usage("which-transfer", what).next("type more of its name"))
            }
        }
    }

    /// Forgets those that ended long ago.
    pub(super) fn prune(&self, now: i64) -> Result<(), CliError> {
        for record in self.all()? {
            let is_old = record.touched().is_some_and(|moment| moment < now - KEPT);
            if is_old && !record.is_alive()? {
                for kind in ["pid", "log", "ndjson"] {
                    self.0.remove(&record.file(kind)).map_err(lost)?;
                }
            }
        }
        Ok(())
    }
}

impl Record {
    /// Starts this program with other words.
    pub(super) fn start(&self, words: &[std::ffi::OsString], unique: u64) -> Result<(), CliError> {
        let output = self.directory.handed_on(&self.file("ndjson")).map_err(lost)?;
        let log = self.directory.handed_on(&self.file("log")).map_err(lost)?;
        let number = detached::start(words, output, log).map_err(lost)?;
        let mut kept = self.directory.create(&self.file("pid"), unique).map_err(lost)?;
        kept.write(format!("{number}\n").as_bytes()).map_err(lost)?;
        kept.commit(false).map(drop).map_err(lost)
    }

    /// Its events, from the first on; more come while it lives.
    pub(super) fn events(&self) -> Result<StateReader, CliError> {
        self.read("ndjson")
    }

    /// Its words, likewise.
    pub(super) fn words(&self) -> Result<StateReader, CliError> {
        self.read("log")
    }

    pub(super) fn is_alive(&self) -> Result<bool, CliError> {
        detached::is_alive(self.events()?.get_ref()).map_err(lost)
    }

    /// Asks it to stop; whether there was anything to be asked.
    pub(super) fn stop(&self) -> Result<bool, CliError> {
        let mut number = String::new();
        self.read("pid")?.take(32).read_to_string(&mut number).map_err(lost)?;
        let Ok(number) = number.trim().parse() else { return Ok(false) };
        detached::stop(number, self.events()?.get_ref()).map_err(lost)
    }

    /// What it told first and last.
    pub(super) fn told(&self) -> Result<Told, CliError> {
        let mut told = Told::default();
        let Some(all) = self.directory.read_sections(&self.file("ndjson")).map_err(lost)? else {
            return Ok(told);
        };
        let mut first = Vec::new();
        let mut head = BufReader::new(all.from(0).take(TAIL_BYTES));
        head.read_until(b'\n', &mut first).map_err(lost)?;
        told.run = of_type(&first, "run");
        let end = all.length().unwrap_or_default();
        let tail = BufReader::new(all.from(end.saturating_sub(TAIL_BYTES)).take(TAIL_BYTES));
        for line in tail.split(b'\n') {
            let line = line.map_err(lost)?;
            told.progress = of_type(&line, "progress").or(told.progress);
            told.result = of_type(&line, "result").or(told.result);
        }
        Ok(told)
    }

    /// When it began, RFC 3339.
    fn began(&self) -> Option<String> {
        let run = self.told().ok()?.run?;
        Some(run.get("time")?.as_str()?.to_owned())
    }

    fn touched(&self) -> Option<i64> {
        self.directory.modified(&self.file("ndjson"))
    }

    fn file(&self, kind: &str) -> String {
        format!("{}.{kind}", self.id)
    }

    fn read(&self, kind: &str) -> Result<StateReader, CliError> {
        let name = self.file(kind);
        let read = self.directory.read(&name).map_err(lost)?;
        read.ok_or_else(|| {
            lost(format!("{}: it is not there", self.directory.path_of(&name).display()))
        })
    }
}

/// A whole line of a type.
pub(super) fn of_type(line: &[u8], kind: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(line).ok()?;
    (value.get("type")?.as_str()? == kind).then_some(value)
}

fn is_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is kept of transfers cannot be used.
pub(super) fn lost(why: impl std::fmt::Display) -> CliError {
    let what = "what is kept of detached transfers cannot be used";
    CliError::new(ExitClass::State, "state-unusable", what)
        .why(why)
        .next("see xfer config show for where it is, and put right what is told")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(directory: &std::path::Path) -> Records {
        Records(StateDirectory::open(&directory.join("detached")).unwrap())
    }

    #[test]
    fn a_record_is_found_by_how_its_name_begins() {
        let directory = tempfile::tempdir().unwrap();
        let records = records(directory.path());
        for id in ["00c0ffee", "00c1ffee", "a0000000"] {
            let lines = "{\"type\":\"run\",\"time\":\"2026\"}\n{\"type\":\"progress\"}\n{\"ty";
            let mut file = records.0.handed_on(&format!("{id}.ndjson")).unwrap();
            std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
        }
        drop(records.0.handed_on("strange.ndjson").unwrap());
        assert_eq!(records.all().unwrap().len(), 3);
        assert_eq!(records.find("00c1").unwrap().id, "00c1ffee");
        let told = records.find("a").unwrap().told().unwrap();
        assert!(told.run.is_some() && told.progress.is_some() && told.result.is_none());
        for (typed, reason) in
            [("00c", "which-transfer"), ("b", "no-such-transfer"), ("", "no-such-transfer")]
        {
            assert_eq!(records.find(typed).map(|_| ()).unwrap_err().reason, reason);
        }
        // Of what ended long ago nothing is kept.
        let now = records.find("a").unwrap().touched().unwrap();
        records.prune(now + KEPT).unwrap();
        assert_eq!(records.all().unwrap().len(), 3);
        records.prune(now + KEPT + 1).unwrap();
        assert!(records.all().unwrap().is_empty());
    }
}
