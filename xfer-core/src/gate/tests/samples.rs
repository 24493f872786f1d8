//! Evidence from which every test begins: good, and small

use std::collections::{BTreeMap, BTreeSet};

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::ProofLevel;

use crate::gate::coverage::{Claim, Coverage, Found, Said, Tally};
use crate::gate::evidence::*;
use crate::trust::PublicKey;

pub(super) const OWN: PublicKey = PublicKey([1; 32]);
pub(super) const FRIEND: PublicKey = PublicKey([2; 32]);
pub(super) const NONCE: [u8; 32] = [3; 32];

/// A moment of the boot in which all was collected, so many seconds after its beginning
pub(super) fn at(seconds: u64) -> Moment {
    let day = 1_800_000_000 + i64::try_from(seconds).unwrap();
    Moment { day, boot: Some(([9; 16], 1_000_000 + seconds * 1000)) }
}

pub(super) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub(super) fn identity() -> Identity {
    Identity {
        platform: Some("vast".to_owned()),
        id: Some("33402296".to_owned()),
        label: Some("C.33402296".to_owned()),
        marker: Some([4; 16]),
        first_process: Some(4711),
        root_device: Some(42),
        mounts: Some(digest(5)),
        boot: Some([6; 16]),
    }
}

pub(super) fn tally(count: u64) -> Tally {
    Tally { count, bytes: count * 10, examples: Vec::new() }
}

pub(super) fn claim(said: Said, found: Found) -> Claim {
    Claim { said, found }
}

pub(super) fn proven() -> Claim {
    claim(Said::Equal(ProofLevel::Durable), Found::Read)
}

pub(super) fn unsaid() -> Claim {
    claim(Said::Nothing, Found::NotLooked)
}

pub(super) fn receipt(name: &str) -> ReceiptEvidence {
    ReceiptEvidence {
        id: name.to_owned(),
        signature: Signature::Good(OWN),
        intact: true,
        failed: 0,
        source: identity(),
        ended: Moment { day: 1_799_999_000, boot: Some(([8; 16], 5)) },
        seen: at(1),
        destination: DestinationEvidence {
            name: format!("s3://b/{name}"),
            durability: Some(Durability::D2),
            medium_then: Some(b"bucket b".to_vec()),
            medium_now: Some(b"bucket b".to_vec()),
            statement: Some(Statement {
                began: at(2),
                witness: Witness::Controller,
                nonce: NONCE,
                signature: Signature::Good(OWN),
            }),
            loads: Some(Loads::default()),
        },
    }
}

pub(super) fn root(path: &str, groups: BTreeMap<Vec<Claim>, Tally>) -> RootEvidence {
    let coverage = Coverage {
        groups,
        excluded: None,
        skipped: None,
        unreadable: Tally::default(),
        changing: Tally::default(),
        manifest: digest(10),
    };
    let scan = RootScan {
        began: at(3),
        ended: at(20),
        written_back: true,
        coverage,
        changed_since: Some(Tally::default()),
        stamps: digest(11),
    };
    RootEvidence { path: path.as_bytes().to_vec(), scan: Ok(scan) }
}

/// Two roots and two receipts: one proves most, the other the rest; each proves something else too
pub(super) fn evidence() -> Evidence {
    let first = BTreeMap::from([
        (vec![proven(), unsaid()], tally(100)),
        (vec![claim(Said::Different, Found::Read), proven()], tally(3)),
    ]);
    let second = BTreeMap::from([(vec![unsaid(), proven()], tally(7))]);
    Evidence {
        machine: MachineEvidence {
            name: "vast:33402296".to_owned(),
            platform: PlatformWord::Running,
            at_start: identity(),
            at_end: identity(),
        },
        nonce: NONCE,
        own_key: OWN,
        began: at(0),
        ended: at(60),
        channel: Some(HostKeyChannel::PlatformPinned),
        roots: vec![root("/workspace", first), root("/root", second)],
        receipts: vec![receipt("a"), receipt("b")],
        processes: Some(processes()),
        mounts: Some(Vec::new()),
        outside: Some(Vec::new()),
        volumes: Some(Vec::new()),
        acknowledged: BTreeSet::new(),
    }
}

/// Nobody writes
pub(super) fn processes() -> Processes {
    let (writers, unreadable, shared) = (Vec::new(), Vec::new(), Vec::new());
    Processes { looked: at(30), writers, unreadable, shared }
}

pub(super) fn scan(evidence: &mut Evidence) -> &mut RootScan {
    evidence.roots[0].scan.as_mut().unwrap()
}
