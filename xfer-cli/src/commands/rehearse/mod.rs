//! `xfer rehearse`: the whole story on this machine alone, with an embedded peer.
//!
//! A tree is pushed from what plays a rented machine to a second process of this program, over
//! pipes. The pushing process is killed half-way, without a chance to prepare; the same command
//! then finishes; the copy is read again and compared; and a changed byte is found. Then the gate
//! is asked whether the machine may be destroyed: it says so once, and after each thing that goes
//! wrong it does not. Success means that all of it held.

mod child;
mod gate;
mod tree;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use xfer_core::connect::Connector;
use xfer_core::disk::scratch::Scratch;
use xfer_core::endpoint::rehearsed::Rehearsal;
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::location::{Location, Machine};
use xfer_core::receipt::PathText;
use xfer_protocol::path::Escaped;

use self::child::{Child, Stop, number};
use super::install::own_program;
use super::reach::Signals;
use super::{Context, reach, transfer};
use crate::Outcome;
use crate::output::json::{Body, CountsBody, ProgressBody, ResultBody};
use crate::output::{Output, amounts, phase_name, result_of};
use crate::problem::CliError;
use crate::settings::CopySettings;

/// The name by which the embedded peer goes.
const PEER: &str = "embedded-peer";

/// Slow enough that there is a half-way to be killed at.
const RATE: &str = "48MB/s";

/// The share of the bytes after which the push is killed, in percent.
const KILL_AFTER_PERCENT: u64 = 40;

/// Plays the story.
pub(super) fn rehearse(context: &Context, directory: Option<&Path>) -> Outcome {
    let output = &context.output;
    output.event(&Body::Run {
        version: env!("CARGO_PKG_VERSION"),
        verb: context.verb,
        sources: Vec::new(),
        destination: directory.map(|path| PathText::from(path.as_os_str().as_encoded_bytes())),
    });
    let unique = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    let stage = match directory {
        Some(path) => Scratch::named(path).map_err(|error| refused(path, &error))?,
        None => Scratch::unnamed(unique).map_err(|error| failed("the stage", error))?,
    };
    let stop = Arc::new(Stop::default());
    let story = Story { output, stage, program: own_program()?.into(), stop: Arc::clone(&stop) };
    let told = watched(&stop, || story.tell(unique))?;
    let told = match stop.asked.get() {
        Some(&signal) => {
            // Nothing was there before.
            story.stage.clear().map_err(|error| failed("a clean stage", error))?;
            return Err(reach::stopped(TransferError::Stopped { signal }));
        }
        None => told?,
    };
    output.event(&Body::Verdict { verdict: "equal", entries: told.entries, differences: 0 });
    output.result(
        format!(
            "verdict  the copy is equal: {}, {}; killed at {} %, {} re-used, {} sent again\n",
            amounts::entries(told.entries),
            amounts::bytes(told.bytes),
            told.killed_at,
            amounts::bytes(told.reused),
            amounts::bytes(told.sent_again),
        )
        .as_bytes(),
    );
    output.last(ResultBody {
        message: "everything held".to_owned(),
        entries: all(told.entries),
        bytes: all(told.bytes),
        manifest_root: told.manifest_root,
        reused_bytes: told.reused,
        wasted_bytes: told.sent_again,
        proof_level: Some("read-back"),
        ..result_of(ExitClass::Done, "done")
    });
    Ok(ExitClass::Done)
}

/// Tells the story while signals are taken; a stop ends the process of the story that runs.
fn watched<T>(stop: &Arc<Stop>, tell: impl FnOnce() -> T) -> Result<T, CliError> {
    let failed = |error: io::Error| failed("the watch for signals", error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(failed)?;
    let signals = {
        let _within = runtime.enter();
        Signals::taken().map_err(failed)?
    };
    let watched = Arc::clone(stop);
    runtime.spawn(async move { signals.watch(&watched.asked, || watched.kill()).await });
    let told = tell();
    runtime.shutdown_background();
    Ok(told)
}

/// The pushing process of the story.
pub(super) fn rehearsed_push(
    context: &Context,
    source: Location,
    destination: Location,
) -> Outcome {
    let connector = reach::connector(context)?;
    let connector = match &destination.machine {
        Machine::Ssh(host) if host.host == PEER => with_peer(connector, host.clone())?,
        _ => connector,
    };
    let connector = match &source.machine {
        Machine::Ssh(host) if host.host == gate::RENTED => {
            gate::with_machine(connector, &source, &Rehearsal::default())
        }
        _ => connector,
    };
    let settings = CopySettings::resolve(&context.merged, &context.around)?;
    transfer::copy_with(context, connector, settings, vec![source], destination)
}

fn with_peer(
    connector: Connector,
    host: xfer_core::location::SshHost,
) -> Result<Connector, CliError> {
    let session = format!("{:016x}{:016x}", connector.unique(), connector.unique());
    let words = ["agent", "--session", &session, "--silence", "30"].map(OsString::from);
    let command = [own_program()?.into()].into_iter().chain(words).collect();
    Ok(connector.with_process(host, command))
}

fn all(count: u64) -> CountsBody {
    CountsBody { selected: count, moved: count, ..CountsBody::default() }
}

struct Story<'a> {
    output: &'a Output,
    stage: Scratch,
    program: OsString,
    stop: Arc<Stop>,
}

/// What came of it.
struct Told {
    manifest_root: Option<String>,
    entries: u64,
    bytes: u64,
    killed_at: u64,
    reused: u64,
    sent_again: u64,
}

impl Story<'_> {
    fn tell(&self, seed: u64) -> Result<Told, CliError> {
        let made = tree::make(&self.stage, seed).map_err(|error| failed("the tree", error))?;
        self.say(&format!(
            "1  made    {}, {} on what plays a rented machine: {}",
            amounts::entries(made.entries),
            amounts::bytes(made.bytes),
            Escaped(self.stage.place(tree::SOURCE).as_os_str().as_encoded_bytes())
        ));
        let (sent_before, killed_at) = self.push_and_kill(made.bytes)?;
        let (payload, reused, manifest_root) = self.resume()?;
        let (entries, bytes) = self.verify(true)?;
        self.say(&format!(
            "4  verify  {} read again from the medium, all equal",
            amounts::entries(entries)
        ));
        self.change_and_verify()?;
        gate::ask(self, seed)?;
        let moved = made.unique_bytes;
        let sent_again = (sent_before + payload).saturating_sub(moved);
        Ok(Told { manifest_root, entries, bytes, killed_at, reused, sent_again })
    }

    /// Begins the push and kills it. Gives the bytes that had arrived, and the share of all.
    fn push_and_kill(&self, total: u64) -> Result<(u64, u64), CliError> {
        self.say(&format!("2  push    to an embedded peer at {RATE}, to be killed half-way"));
        let mut child = self.start(&self.push_words(), self.loud())?;
        let mut sent = 0;
        while let Some(event) = child.next_event() {
            sent = number(&event, "payload_bytes").max(sent);
            if event["type"] == "progress" && sent * 100 >= total * KILL_AFTER_PERCENT {
                break;
            }
            if event["type"] == "result" {
                let why = event["message"].as_str().unwrap_or_default().to_owned();
                return Err(broke("the push ended before it could be killed").why(why));
            }
        }
        child.kill().map_err(|error| failed("the kill", error))?;
        if sent == 0 {
            return Err(broke("the push ended before it sent anything"));
        }
        let percent = sent * 100 / total.max(1);
        self.say(&format!("   kill    -9 after {} ({percent} %)", amounts::bytes(sent)));
        Ok((sent, percent))
    }

    /// Runs the same command again. Gives the bytes sent, those re-used, and the manifest's root.
    fn resume(&self) -> Result<(u64, u64, Option<String>), CliError> {
        let result = self.run(&self.push_words(), 0, self.loud())?;
        let reused = number(&result, "reused_bytes");
        let payload = number(&result, "payload_bytes");
        if reused == 0 {
            return Err(broke("nothing that had arrived was re-used"));
        }
        let clean = self.stage.is_clean(tree::DESTINATION);
        if !clean.map_err(|error| failed("the copy", error))? {
            return Err(broke("something of xfer was left in the copy"));
        }
        self.say(&format!(
            "3  resume  the same command: {} re-used after hashing, {} sent",
            amounts::bytes(reused),
            amounts::bytes(payload)
        ));
        Ok((payload, reused, result["manifest_root"].as_str().map(ToOwned::to_owned)))
    }

    /// Reads the copy again. Gives its entries and bytes.
    fn verify(&self, expected: bool) -> Result<(u64, u64), CliError> {
        let words = [
            "verify".into(),
            self.stage.place(tree::COPY).into(),
            "--against".into(),
            self.stage.place("receipt.json").into(),
            "--json".into(),
            "--quiet".into(),
        ];
        let code = if expected { ExitClass::Done } else { ExitClass::Integrity }.code();
        // The failure that must come is told by the story, not by the process.
        let result = self.run(&words, code, false)?;
        Ok((number(&result["entries"], "unchanged"), number(&result["bytes"], "unchanged")))
    }

    fn change_and_verify(&self) -> Result<(), CliError> {
        let changed = format!("{}/{}", tree::COPY, tree::LARGE);
        self.stage.change_byte(&changed, 12_345).map_err(|error| failed("the change", error))?;
        self.verify(false)?;
        self.stage.change_byte(&changed, 12_345).map_err(|error| failed("the change", error))?;
        self.say("5  change  one byte of the copy: verify found it, as it must");
        Ok(())
    }

    fn push_words(&self) -> Vec<OsString> {
        let mut destination = OsString::from(format!("{PEER}:"));
        destination.push(self.stage.place(tree::DESTINATION));
        destination.push("/");
        let mut source = OsString::from(format!("{}:", gate::RENTED));
        source.push(self.stage.place(tree::SOURCE));
        vec![
            "rehearsed".into(),
            source,
            destination,
            "--json".into(),
            "--bwlimit".into(),
            RATE.into(),
            "--receipt".into(),
            self.stage.place("receipt.json").into(),
        ]
    }

    /// Runs a command to its end and gives its result.
    fn run(&self, words: &[OsString], code: u8, loud: bool) -> Result<Value, CliError> {
        let mut child = self.start(words, loud)?;
        let mut last = Value::Null;
        while let Some(event) = child.next_event() {
            last = event;
        }
        child.wait().map_err(|error| failed("a process of the story", error))?;
        if last["type"] == "result" && number(&last, "exit_code") == u64::from(code) {
            return Ok(last);
        }
        let verb = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
        let message = last["message"].as_str().unwrap_or("it ended without a result").to_owned();
        Err(broke(&format!("{verb} did not end with exit {code}")).why(message))
    }

    fn loud(&self) -> bool {
        !self.output.settings().quiet
    }

    fn start(&self, words: &[OsString], loud: bool) -> Result<Child, CliError> {
        Child::start(&self.program, words, self.stage.path(), loud, &self.stop)
            .map_err(|error| failed("a process of the story", error))
    }

    fn say(&self, text: &str) {
        self.output.say(&format!("{text}\n"));
        let notice = Some(text.trim().to_owned());
        let phase = phase_name(None);
        self.output.event(&Body::Progress(Box::new(ProgressBody {
            phase,
            notice,
            ..ProgressBody::default()
        })));
    }
}

fn refused(path: &Path, error: &io::Error) -> CliError {
    let place = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
    if error.kind() == io::ErrorKind::DirectoryNotEmpty {
        return CliError::usage(
            "not-empty",
            format!("{place}: a rehearsal needs an empty directory"),
        )
        .next("name a directory that does not exist yet, or none");
    }
    CliError::new(ExitClass::DestinationIo, "stage-unusable", format!("{place}: it cannot be used"))
        .why(error)
}

fn failed(what: &str, error: io::Error) -> CliError {
    let what = format!("rehearsal: {what} could not be made");
    CliError::new(ExitClass::DestinationIo, "stage-unusable", what).why(error)
}

fn broke(what: &str) -> CliError {
    CliError::new(ExitClass::Other, "rehearsal-failed", format!("rehearsal: {what}"))
        .next("repeat it with a directory, which is kept: xfer rehearse DIR")
}
