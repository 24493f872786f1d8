//! What holds of every verdict

use std::collections::BTreeMap;

use proptest::prelude::*;
use xfer_protocol::manifest::ProofLevel;

use super::mutants::{Dice, Trial, trial, trials};
use super::samples::*;
use crate::gate::coverage::{Claim, Found, LeftOut, Said};
use crate::gate::evidence::*;
use crate::gate::reason::Reason;
use crate::gate::verdict::{Verdict, evaluate};

type Fault = fn(&mut Trial);

fn receipts(trial: &mut Trial, fault: impl FnMut(&mut ReceiptEvidence)) {
    trial.evidence.receipts.iter_mut().for_each(fault);
}

fn scans(trial: &mut Trial, mut fault: impl FnMut(&mut RootScan)) {
    for root in &mut trial.evidence.roots {
        if let Ok(scan) = &mut root.scan {
            fault(scan);
        }
    }
}

fn claims(trial: &mut Trial, worse: impl Fn(Claim) -> Claim) {
    scans(trial, |scan| {
        let mut groups = BTreeMap::new();
        for (claims, tally) in std::mem::take(&mut scan.coverage.groups) {
            groups.insert(claims.into_iter().map(&worse).collect(), tally);
        }
        scan.coverage.groups = groups;
    });
}

fn parts(identity: &mut Identity, nth: u64) {
    match nth {
        0 => identity.platform = None,
        1 => identity.id = None,
        2 => identity.label = None,
        3 => identity.marker = None,
        4 => identity.first_process = None,
        5 => identity.root_device = None,
        6 => identity.mounts = None,
        _ => identity.boot = None,
    }
}

/// Each makes evidence worse, or a policy stricter, whatever they are
const FAULTS: &[Fault] = &[
    |t| t.evidence.machine.platform = PlatformWord::Unknown,
    |t| t.evidence.channel = None,
    |t| t.evidence.machine.at_start.boot = None,
    |t| t.evidence.machine.at_end.marker = None,
    |t| t.evidence.began.boot = None,
    |t| t.evidence.ended.boot = None,
    |t| t.now.boot = None,
    |t| t.evidence.roots.clear(),
    |t| t.evidence.roots.push(root("/new", BTreeMap::from([(vec![], tally(1))]))),
    |t| t.evidence.roots.iter_mut().for_each(|root| root.scan = Err(ScanFailure::Missing)),
    |t| drop(t.evidence.receipts.pop()),
    |t| t.evidence.processes = None,
    |t| {
        let process = Process { pid: 1, command: Vec::new() };
        if let Some(found) = &mut t.evidence.processes {
            found.unreadable.push(process);
        }
    },
    |t| t.evidence.mounts = None,
    |t| t.evidence.outside = None,
    |t| t.evidence.volumes = None,
    |t| t.evidence.acknowledged.clear(),
    |t| receipts(t, |r| r.signature = Signature::Missing),
    |t| receipts(t, |r| r.intact = false),
    |t| receipts(t, |r| r.failed += 1),
    |t| receipts(t, |r| r.source.mounts = None),
    |t| receipts(t, |r| r.seen.boot = None),
    |t| receipts(t, |r| r.ended.boot = None),
    |t| receipts(t, |r| r.destination.durability = None),
    |t| receipts(t, |r| r.destination.durability = Some(Durability::D0)),
    |t| receipts(t, |r| r.destination.medium_now = None),
    |t| receipts(t, |r| r.destination.statement = None),
    |t| receipts(t, |r| r.destination.loads = None),
    |t| scans(t, |s| s.coverage.unreadable.count += 1),
    |t| scans(t, |s| s.coverage.changing.count += 1),
    |t| scans(t, |s| s.changed_since = None),
    |t| scans(t, |s| s.written_back = false),
    |t| scans(t, |s| s.began.boot = None),
    |t| scans(t, |s| s.coverage.groups.clear()),
    |t| {
        scans(t, |s| {
            s.coverage.skipped = Some(LeftOut { tally: tally(1), digest: digest(250) });
        })
    },
    |t| {
        scans(t, |s| {
            s.coverage.groups.insert(vec![unsaid(), unsaid(), unsaid(), unsaid()], tally(1));
        })
    },
    |t| claims(t, |claim| Claim { found: Found::NotLooked, ..claim }),
    |t| claims(t, |claim| Claim { found: Found::Missing, ..claim }),
    |t| claims(t, |claim| Claim { said: Said::Different, ..claim }),
    |t| claims(t, |_| unsaid()),
    |t| t.policy.roots.push("/other".to_owned()),
    |t| t.policy.durability = Durability::D2,
    |t| t.policy.proof = ProofLevel::ReadBack,
    |t| t.policy.store_checksum = false,
    |t| t.policy.allowed_exclusions.clear(),
    |t| t.policy.token_life = 1,
    |t| t.policy.host_key_channels.clear(),
    |t| t.policy.trusted_keys.clear(),
    |t| t.policy.load_check = true,
];

fn releases(trial: &Trial) -> bool {
    matches!(evaluate(&trial.evidence, &trial.policy, &trial.now), Verdict::Release(_))
}

proptest! {
    #[test]
    fn no_fault_turns_a_hold_into_a_release(before in trials(), nth in 0..FAULTS.len()) {
        let mut after = before.clone();
        FAULTS[nth](&mut after);
        prop_assert!(releases(&before) || !releases(&after), "{nth}: {before:?}");
    }

    #[test]
    fn the_same_evidence_has_the_same_verdict(trial in trials()) {
        let judge = || evaluate(&trial.evidence, &trial.policy, &trial.now);
        prop_assert_eq!(judge(), judge());
    }

    #[test]
    fn reasons_come_gravest_first_and_each_says_what_next(trial in trials()) {
        if let Verdict::Hold(reasons) = evaluate(&trial.evidence, &trial.policy, &trial.now) {
            prop_assert!(!reasons.is_empty());
            prop_assert!(reasons.is_sorted_by_key(Reason::gravity));
            for reason in reasons {
                let is_id = |c: char| c.is_ascii_lowercase() || c == '-';
                prop_assert!(reason.id().chars().all(is_id), "{}", reason.id());
                prop_assert!(!reason.to_string().is_empty(), "{reason:?}");
                prop_assert!(!reason.remedy().is_empty(), "{reason:?}");
            }
        }
    }
}

/// The same by counting, so that it is known how many holds were tried
#[test]
fn no_fault_after_any_change_helps() {
    let mut held = 0;
    for seed in 0..20_000 {
        let before = trial(seed);
        let mut after = before.clone();
        let mut dice = Dice(seed);
        for _ in 0..=dice.below(2) {
            dice.of(FAULTS)(&mut after);
        }
        let part = dice.below(8);
        if dice.below(2) == 0 {
            parts(&mut after.evidence.machine.at_end, part);
        }
        if !releases(&before) {
            held += 1;
            assert!(!releases(&after), "seed {seed}");
        }
    }
    assert!(held > 5_000, "only {held} holds");
}
