//! The last act: whether the machine may be destroyed.
//!
//! The verdicts are those of `xfer gate`, by its very collection. Only the machine is played: it
//! has one directory, and no processes but those of this story. On a rented machine all processes
//! and all that lies outside the roots are looked at, which a laptop lets nobody but root do.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Runtime;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::local::{LocalEndpoint, LocalOptions};
use xfer_core::endpoint::rehearsed::{Rehearsal, Rehearsed};
use xfer_core::engine::release::{self, GateRequest, Judged};
use xfer_core::error::TokenReason;
use xfer_core::event::{Event, SharedObserver};
use xfer_core::gate::evidence::Durability;
use xfer_core::gate::policy::Policy;
use xfer_core::gate::reason::Reason;
use xfer_core::gate::token::{Seen, Times, Token, TokenRefusal};
use xfer_core::gate::verdict::Verdict;
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_core::trust::found_in;
use xfer_protocol::manifest::ProofLevel;

use super::child::Writer;
use super::{PEER, Story, broke, failed, tree, with_peer};
use crate::commands::gate::tell_verdict;
use crate::output::amounts;
use crate::problem::CliError;

/// The name by which the played machine goes.
pub(super) const RENTED: &str = "rented-machine";

/// A file of which a byte changes, below the source.
const CHANGED: &str = "checkpoint-1.bin";

/// One that a process has open for writing.
const WRITTEN: &str = "small/0/0.txt";

/// One that the destination loses a byte of.
const CORRUPTED: &str = "checkpoint-2.bin";

/// The same connector with the machine whose files lie beside that location.
pub(super) fn with_machine(
    connector: Connector,
    location: &Location,
    rehearsal: &Rehearsal,
) -> Connector {
    let path = Path::new(std::ffi::OsStr::from_bytes(&location.path));
    let directory = path.parent().unwrap_or(path).to_owned();
    let rehearsal = rehearsal.clone();
    connector.with_stand(&location.machine, move || {
        let source = Arc::new(Rehearsed::new(&directory, &rehearsal));
        Connected::of(source, Arc::new(LocalEndpoint::new(LocalOptions::default())))
    })
}

/// Asks the gate: of the copy as it is, and after each thing that may go wrong.
pub(super) fn ask(story: &Story<'_>, seed: u64) -> Result<(), CliError> {
    let gate = Gate::new(story, seed)?;
    let stage = &story.stage;
    let released = gate.releases()?;
    story.say(&format!("6  gate    {released}: the machine may be destroyed"));
    story.say("   here    this story's processes and directory are all that the machine has;");
    story.say("           on a rented machine all are looked at, and all that lies outside");
    if gate.request.policy.durability < Durability::D2 {
        story.say("   here    the copy is in memory, which no gate takes for a safe place");
    }
    let below = |place: &str, name: &str| format!("{place}/{name}");
    let unmade = |error| failed("a change", error);

    let changed = below(tree::SOURCE, CHANGED);
    stage.change_byte(&changed, 4711).map_err(unmade)?;
    gate.holds("one byte changed there", |reason| matches!(reason, Reason::ContentDiffers(_)))?;
    stage.change_byte(&changed, 4711).map_err(unmade)?;

    let new = below(tree::SOURCE, "new.json");
    stage.file(&new, b"{}\n").map_err(unmade)?;
    gate.holds("a new file", |reason| matches!(reason, Reason::NewFile(_)))?;
    stage.remove(&new).map_err(unmade)?;

    let log = stage.append(&below(tree::SOURCE, WRITTEN)).map_err(unmade)?;
    let writer = Writer::start(&story.program, log).map_err(unmade)?;
    gate.rehearsal.runs(writer.id());
    let pid = writer.id();
    gate.holds(
        "a process that writes",
        |reason| matches!(reason, Reason::Writer(writer) if writer.process.pid == pid),
    )?;
    drop(writer);

    let corrupted = below(tree::COPY, CORRUPTED);
    stage.change_byte(&corrupted, 4711).map_err(unmade)?;
    gate.holds("one byte lost at the destination", |reason| {
        matches!(reason, Reason::DestinationDiffers(_))
    })?;
    stage.change_byte(&corrupted, 4711).map_err(unmade)?;

    let again = gate.judged()?;
    let token = gate.token(&again)?;
    gate.refuses_later(&token)?;
    gate.rehearsal.recycle();
    gate.refuses_another(&token)?;
    gate.holds("made anew under the same name", |reason| {
        matches!(reason, Reason::IdentityChanged { .. })
    })
}

struct Gate<'a> {
    story: &'a Story<'a>,
    runtime: Runtime,
    connector: Connector,
    rehearsal: Rehearsal,
    request: GateRequest,
}

impl<'a> Gate<'a> {
    fn new(story: &'a Story<'a>, seed: u64) -> Result<Self, CliError> {
        let runtime = crate::runtime::start().map_err(|error| failed("the runtime", error))?;
        let host = |name: &str| SshHost { user: None, host: name.to_owned(), port: None };
        let machine = Machine::Ssh(host(RENTED));
        let path = story.stage.place(tree::SOURCE).into_os_string().into_encoded_bytes();
        let machine = Location { machine, path };
        let receipt = story.stage.place("receipt.json").into_os_string().into_vec();
        let state = story.stage.place("state/xfer");
        let connector = Connector::new(SshOptions::new(Arc::new(NoPrompt), seed), Some(state));
        let rehearsal = Rehearsal::default();
        let connector = with_machine(with_peer(connector, host(PEER))?, &machine, &rehearsal);
        let mut policy = Policy::default();
        if story.stage.is_volatile().map_err(|error| failed("the stage", error))? {
            // No medium to read back from; a machine of that kind is no destination for a gate.
            (policy.durability, policy.proof) = (Durability::D0, ProofLevel::ReadBackCached);
        }
        let request = GateRequest {
            machine,
            roots: Vec::new(),
            receipts: vec![Location::local(receipt)],
            policy,
            load_command: None,
            acknowledged: [].into(),
            options: TransferOptions::default(),
        };
        Ok(Self { story, runtime, connector, rehearsal, request })
    }

    /// What the gate says now.
    fn judged(&self) -> Result<Judged, CliError> {
        let (connector, cancel) = (self.connector.clone(), self.story.stop.cancel.clone());
        let asked = release::gate(self.request.clone(), connector, deaf(), cancel);
        let judged = self.runtime.block_on(asked).map_err(CliError::from)?;
        tell_verdict(&judged, self.story.output);
        Ok(judged)
    }

    /// Asserts that it releases.
    fn releases(&self) -> Result<String, CliError> {
        match self.judged()?.verdict {
            Verdict::Release(release) => {
                let entries = amounts::entries(release.entries);
                Ok(format!("Release: {entries} proven elsewhere, read back"))
            }
            Verdict::Hold(reasons) => Err(broke("the gate holds a whole copy").why(told(&reasons))),
        }
    }

    /// Asserts that it holds, for reasons of that kind alone.
    fn holds(&self, what: &str, expected: impl Fn(&Reason) -> bool) -> Result<(), CliError> {
        let wrong = |why: String| Err(broke(&format!("the gate is wrong: {what}")).why(why));
        match self.judged()?.verdict {
            Verdict::Release(_) => wrong("it releases".to_owned()),
            Verdict::Hold(reasons) if !reasons.iter().all(expected) => wrong(told(&reasons)),
            Verdict::Hold(reasons) => {
                let id = reasons.first().map(Reason::id).unwrap_or_default();
                self.story.say(&format!("   hold    {id}: {what}"));
                Ok(())
            }
        }
    }

    fn token(&self, judged: &Judged) -> Result<Token, CliError> {
        let Some(text) = &judged.token else {
            return Err(match &judged.verdict {
                Verdict::Hold(reasons) => {
                    broke("the gate holds what was put right").why(told(reasons))
                }
                Verdict::Release(_) => broke("a release has no token"),
            });
        };
        let state = self.connector.state_directory().map_err(|_| broke("its state is gone"))?;
        let key = found_in(&state.path_of("")).ok().flatten();
        let key = key.ok_or_else(|| broke("the key of the token is gone"))?;
        Token::read(text.as_bytes(), &key)
            .map_err(|refusal| broke("the token is none").why(refusal))
    }

    /// Asserts that a token is good for what is seen now, and no longer once its life is over.
    fn refuses_later(&self, token: &Token) -> Result<(), CliError> {
        let now = self.now();
        let seen = self.seen()?;
        if let Err(refusal) = token.check(&seen, &now) {
            return Err(broke("a token is refused at once").why(refusal));
        }
        let mut later = now;
        later.here.day += i64::from(token.life);
        later.here.boot =
            later.here.boot.map(|(boot, since)| (boot, since + u64::from(token.life) * 1000));
        self.refused(token.check(&seen, &later), TokenRefusal::Expired, "the same token, later")
    }

    /// Asserts that a token is for no other container.
    fn refuses_another(&self, token: &Token) -> Result<(), CliError> {
        let checked = token.check(&self.seen()?, &self.now());
        self.refused(checked, TokenRefusal::OtherContainer, "its token, for another container")
    }

    fn refused(
        &self,
        checked: Result<(), TokenRefusal>,
        expected: TokenRefusal,
        what: &str,
    ) -> Result<(), CliError> {
        if checked != Err(expected) {
            return Err(broke(&format!("{what}: it is not refused as it must be"))
                .why(format!("{checked:?}")));
        }
        let reason = TokenReason::from(expected).id();
        self.story.say(&format!("   refuse  {reason}: {what}"));
        Ok(())
    }

    fn now(&self) -> Times {
        Times { here: release::moment(&*self.connector.clock()), platform: None }
    }

    fn seen(&self) -> Result<Seen, CliError> {
        let Location { machine, path } = &self.request.machine;
        let roots = std::slice::from_ref(path);
        let (connector, cancel) = (self.connector.clone(), self.story.stop.cancel.clone());
        let options = TransferOptions::default();
        let looking = release::look(machine, roots, options, connector, deaf(), cancel);
        self.runtime.block_on(looking).map_err(CliError::from)
    }
}

/// The story tells what matters.
fn deaf() -> SharedObserver {
    Arc::new(|_: &Event| {})
}

fn told(reasons: &[Reason]) -> String {
    let all: Vec<_> = reasons.iter().map(|reason| format!("{}: {reason}", reason.id())).collect();
    all.join("; ")
}
