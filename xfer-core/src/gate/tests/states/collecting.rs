//! What the model's controller collects, step by step, and what it makes of that

use xfer_protocol::digest::{Digest, file_digest};
use xfer_protocol::manifest::{EntryKind, ManifestEntry, Metadata, ProofLevel};
use xfer_protocol::path::RelPath;

use super::{ABSENT, Issued, World};
use crate::gate::coverage::{
    Coverage, Found, FoundLine, Lines, ReceiptLine, SaidLines, Scanned, Tally, fold,
};
use crate::gate::evidence::*;
use crate::gate::policy::Policy;
use crate::gate::tests::samples::{self, NONCE, OWN};
use crate::gate::verdict::{Verdict, evaluate};

/// Steps of a collection after its beginning
pub(super) const STEPS: u8 = 5;

/// The step in which the file is hashed that may be mapped
pub(super) const HASHES_FIRST: u8 = 1;

/// Seconds for which a token lives: two ticks of the model
pub(super) const LIFE: u32 = 900;

const TICK: u64 = 600;

/// What was found so far
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Collected {
    began: u8,
    ended: u8,
    at_start: (u8, u8),
    at_end: (u8, u8),
    receipt: Option<([u8; 2], (u8, u8))>,
    read_back: [u8; 2],
    hashed: [(u8, u8); 2],
    stamps: [u8; 2],
    writers: bool,
}

pub(super) fn moment(time: u8) -> Moment {
    samples::at(u64::from(time) * TICK)
}

pub(super) fn identity((generation, boot): (u8, u8)) -> Identity {
    let (marker, boot) = (Some([generation; 16]), Some([boot; 16]));
    Identity { marker, boot, ..samples::identity() }
}

pub(super) fn digest_of(stamps: [u8; 2]) -> Digest {
    file_digest(&stamps)
}

impl Collected {
    pub(super) fn begin(world: &World) -> Self {
        Self {
            began: world.time,
            ended: world.time,
            at_start: world.machine.who(),
            at_end: world.machine.who(),
            receipt: world.receipt,
            read_back: [ABSENT; 2],
            hashed: [(ABSENT, 0); 2],
            stamps: [0; 2],
            writers: true,
        }
    }

    /// Reading back, hashing each file, looking for writers, and the last look at it all
    pub(super) fn take(&mut self, step: u8, world: &World) {
        match step {
            0 => self.read_back = world.destination,
            1 => self.hashed[0] = world.machine.files[0],
            2 => self.hashed[1] = world.machine.files[1],
            3 => self.writers = world.machine.mapped,
            _ => {
                self.stamps = world.machine.stamps();
                self.at_end = world.machine.who();
                self.ended = world.time;
            }
        }
    }

    pub(super) fn issued(&self) -> Issued {
        Issued {
            machine: self.at_end,
            stamps: self.stamps,
            time: self.ended,
            read_back: self.read_back,
        }
    }

    pub(super) fn releases(&self, now: u8) -> bool {
        let policy = Policy { token_life: LIFE, ..Policy::default() };
        let verdict = evaluate(&self.evidence(), &policy, &moment(now));
        matches!(verdict, Verdict::Release(_))
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = samples::evidence();
        let machine = &mut evidence.machine;
        (machine.at_start, machine.at_end) = (identity(self.at_start), identity(self.at_end));
        (evidence.began, evidence.ended) = (moment(self.began), moment(self.ended));
        evidence.receipts = self.receipt.iter().map(|(_, who)| self.receipt_of(*who)).collect();
        let process = Process { pid: 1, command: Vec::new() };
        let writer = Writer { process, path: b"/workspace/a".to_vec(), mapped: true };
        let writers = if self.writers { vec![writer] } else { Vec::new() };
        evidence.processes =
            Some(Processes { writers, looked: moment(self.ended), ..samples::processes() });
        let mut changed = Tally::default();
        for (file, (content, stamp)) in self.hashed.into_iter().enumerate() {
            let then = if content == ABSENT { 0 } else { stamp };
            if then != self.stamps[file] {
                changed.add(&name(file), 0);
            }
        }
        let scan = RootScan {
            began: moment(self.began),
            ended: moment(self.ended),
            written_back: true,
            coverage: self.coverage(),
            changed_since: Some(changed),
            stamps: digest_of(self.stamps),
        };
        evidence.roots = vec![RootEvidence { path: b"/workspace".to_vec(), scan: Ok(scan) }];
        evidence
    }

    fn receipt_of(&self, who: (u8, u8)) -> ReceiptEvidence {
        let mut receipt = samples::receipt("a");
        receipt.source = identity(who);
        receipt.seen = moment(self.began);
        let word = receipt.destination.statement.as_mut().unwrap();
        assert_eq!((word.nonce, word.signature), (NONCE, Signature::Good(OWN)));
        word.began = moment(self.began);
        receipt
    }

    fn coverage(&self) -> Coverage {
        let scan = self.hashed.into_iter().enumerate();
        let scan = scan.filter(|(_, (content, _))| *content != ABSENT);
        let scan = scan.map(|(file, (content, _))| Ok(Scanned::Entry(entry(file, content))));
        let said = self.receipt.iter().map(|(contents, _)| {
            let there = contents.iter().copied().enumerate();
            let there = there.filter(|(_, content)| *content != ABSENT);
            let lines = there.clone().map(|(file, content)| {
                Ok(ReceiptLine { entry: entry(file, content), level: ProofLevel::Durable })
            });
            let read_back = self.read_back;
            let found = there.map(move |(file, content)| {
                let found = match read_back[file] {
                    ABSENT => Found::Missing,
                    held if held == content => Found::Read,
                    _ => Found::Different,
                };
                Ok(FoundLine { path: name(file), found })
            });
            let receipt: Lines<'_, ReceiptLine> = Box::new(lines);
            SaidLines { receipt, found: Box::new(found) }
        });
        fold(b"/workspace", Box::new(scan), said.collect()).unwrap()
    }
}

fn name(file: usize) -> RelPath {
    RelPath::new(if file == 0 { "a" } else { "b" }).unwrap()
}

fn entry(file: usize, content: u8) -> ManifestEntry {
    let kind = EntryKind::File { size: 1, allocated: 1 };
    let digest = Some(file_digest(&[content]));
    ManifestEntry { path: name(file), kind, metadata: Metadata::default(), digest }
}
