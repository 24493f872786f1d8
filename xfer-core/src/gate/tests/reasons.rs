//! Each fault has its reason: rows of the fault matrix, by type

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use xfer_protocol::manifest::ProofLevel;

use super::mutants::{Trial, good};
use super::samples::*;
use crate::gate::coverage::{Found, LeftOut, Said, Tally};
use crate::gate::evidence::*;
use crate::gate::reason::*;
use crate::gate::verdict::{Verdict, evaluate};
use crate::trust::PublicKey;

fn hold(trial: &Trial) -> Vec<Reason> {
    match evaluate(&trial.evidence, &trial.policy, &trial.now) {
        Verdict::Hold(reasons) => reasons,
        Verdict::Release(_) => Vec::new(),
    }
}

/// The reasons after one change
fn after(change: impl FnOnce(&mut Trial)) -> Vec<Reason> {
    let mut trial = good();
    change(&mut trial);
    hold(&trial)
}

/// Both receipts changed alike
fn after_receipts(change: fn(&mut ReceiptEvidence)) -> Vec<Reason> {
    after(|t| t.evidence.receipts.iter_mut().for_each(change))
}

fn after_scan(change: impl FnOnce(&mut RootScan)) -> Vec<Reason> {
    after(|t| change(scan(&mut t.evidence)))
}

/// A root's only group changed
fn after_claim(said: Said, found: Found) -> Vec<Reason> {
    after_scan(|scan| scan.coverage.groups = BTreeMap::from([(vec![claim(said, found)], tally(2))]))
}

fn at_workspace(count: u64) -> At {
    At { root: b"/workspace".to_vec(), entries: tally(count) }
}

#[test]
fn good_evidence_is_released_with_what_is_proven_where() {
    let trial = good();
    let verdict = evaluate(&trial.evidence, &trial.policy, &trial.now);
    let Verdict::Release(release) = verdict else { panic!("{verdict:#?}") };
    assert_eq!((release.entries, release.bytes), (110, 1100));
    assert_eq!(release.machine, "vast:33402296");
    assert_eq!(release.identity, identity());
    let places: Vec<_> = release.destinations.clone().into_iter().collect();
    let far = |name: &str| (name.to_owned(), Durability::D2);
    assert_eq!(places, [far("s3://b/a"), far("s3://b/b")]);
    assert_eq!((release.collected, release.life), (at(60), 900));
    assert_eq!(release.policy, trial.policy.digest());
}

/// D3, D4, D6, J5: bytes changed after the copy
#[test]
fn changed_bytes_hold() {
    let reasons = after_claim(Said::Different, Found::Read);
    assert_eq!(reasons, [Reason::ContentDiffers(at_workspace(2))]);
}

/// D5, D7, J5, J12, J18: an entry that no receipt names
#[test]
fn a_new_file_holds() {
    assert_eq!(after_claim(Said::Nothing, Found::Read), [Reason::NewFile(at_workspace(2))]);
    let none = after_scan(|scan| {
        scan.coverage.groups.insert(Vec::new(), tally(3));
    });
    assert_eq!(none, [Reason::NewFile(at_workspace(3))]);
}

/// J6: deleted or altered at the destination
#[test]
fn a_damaged_destination_holds() {
    for found in [Found::Missing, Found::Different] {
        let reasons = after_claim(Said::Equal(ProofLevel::ReadBack), found);
        assert_eq!(reasons, [Reason::DestinationDiffers(at_workspace(2))]);
    }
}

/// J12: a digest that is absent, or less proof than is asked
#[test]
fn weak_proof_holds() {
    let durable = ProofLevel::Durable;
    for (said, found) in [
        (Said::Undigested, Found::Read),
        (Said::Equal(ProofLevel::Assumed), Found::Read),
        (Said::Equal(ProofLevel::Received), Found::Read),
        (Said::Equal(durable), Found::Cached),
        (Said::Equal(durable), Found::Checksum),
        (Said::Equal(ProofLevel::ReadBack), Found::NotLooked),
    ] {
        let expected = Reason::NotProven { at: at_workspace(2), wanted: ProofLevel::ReadBack };
        assert_eq!(after_claim(said, found), [expected], "{said:?} {found:?}");
    }
    assert_eq!(after_claim(Said::Equal(durable), Found::Pinned), []);
    let checksum = |t: &mut Trial| {
        t.policy.store_checksum = true;
        let groups = [(vec![claim(Said::Equal(durable), Found::Checksum)], tally(2))];
        scan(&mut t.evidence).coverage.groups = BTreeMap::from(groups);
    };
    assert_eq!(after(checksum), []);
}

/// J12, D1, D2, D9: what could not be read, changed, or was not looked at again
#[test]
fn a_scan_that_is_not_whole_holds() {
    let incomplete = |why| [Reason::ScanIncomplete { root: b"/workspace".to_vec(), why }];
    let reasons = after_scan(|scan| scan.coverage.unreadable = tally(1));
    assert_eq!(reasons, incomplete(Incomplete::Unreadable(tally(1))));
    let reasons = after_scan(|scan| scan.changed_since = None);
    assert_eq!(reasons, incomplete(Incomplete::NotLookedAgain));
    let reasons = after_scan(|scan| scan.written_back = false);
    assert_eq!(reasons, incomplete(Incomplete::NotWrittenBack));
    let reasons = after_scan(|scan| scan.coverage.changing = tally(1));
    assert_eq!(reasons, [Reason::SourceChanging(at_workspace(1))]);
    let reasons = after_scan(|scan| scan.changed_since = Some(tally(2)));
    assert_eq!(reasons, [Reason::SourceChanging(at_workspace(2))]);
}

/// J14: nothing there, a link instead, an empty directory, no root, no receipt
#[test]
fn a_root_that_is_gone_or_empty_holds() {
    for failure in [ScanFailure::Missing, ScanFailure::NoDirectory] {
        let reasons = after(|t| t.evidence.roots[0].scan = Err(failure.clone()));
        let why = Incomplete::Failed(failure);
        assert_eq!(reasons, [Reason::ScanIncomplete { root: b"/workspace".to_vec(), why }]);
    }
    let reasons = after_scan(|scan| scan.coverage.groups.clear());
    assert_eq!(reasons, [Reason::EmptyRoot(b"/workspace".to_vec())]);
    assert_eq!(after(|t| t.evidence.roots.clear()), [Reason::RootNotScanned(None)]);
    let reasons = after(|t| t.policy.roots.push("/data".to_owned()));
    assert_eq!(reasons, [Reason::RootNotScanned(Some("/data".to_owned()))]);
    let reasons = after(|t| t.evidence.receipts.clear());
    assert!(reasons.contains(&Reason::NoReceipt), "{reasons:?}");
}

/// J13: what filters left out, until the digest of its list is acknowledged
#[test]
fn exclusions_hold_until_they_are_acknowledged() {
    let list = LeftOut { tally: Tally { bytes: 0, ..tally(4) }, digest: digest(77) };
    let left_out = |scan: &mut RootScan| scan.coverage.excluded = Some(list.clone());
    let lost = Lost { path: b"/workspace".to_vec(), count: 4, bytes: 0, digest: Some(digest(77)) };
    assert_eq!(after_scan(left_out), [Reason::Excluded(lost.clone())]);
    let skipped = |scan: &mut RootScan| scan.coverage.skipped = Some(list.clone());
    assert_eq!(after_scan(skipped), [Reason::Excluded(lost)]);
    let acknowledged = after(|t| {
        left_out(scan(&mut t.evidence));
        t.evidence.acknowledged.insert(digest(77));
    });
    assert_eq!(acknowledged, []);
    let allowed = after(|t| {
        left_out(scan(&mut t.evidence));
        t.policy.allowed_exclusions.insert(digest(77));
    });
    assert_eq!(allowed, []);
}

/// J16: disks beside the roots, and what changed outside them
#[test]
fn what_lies_outside_holds_until_it_is_acknowledged() {
    let place = |digest| Outside { path: b"/root/data".to_vec(), count: 40, bytes: 9, digest };
    let lost = |digest| Lost { path: b"/root/data".to_vec(), count: 40, bytes: 9, digest };
    for found in [None, Some(digest(77))] {
        let reasons = after(|t| t.evidence.mounts = Some(vec![place(found)]));
        assert_eq!(reasons, [Reason::UncoveredMount(lost(found))]);
        let reasons = after(|t| t.evidence.outside = Some(vec![place(found)]));
        assert_eq!(reasons, [Reason::OutsideChanged(lost(found))]);
    }
    assert_eq!(after(|t| t.evidence.mounts = None), [Reason::OutsideUnknown]);
    assert_eq!(after(|t| t.evidence.outside = None), [Reason::OutsideUnknown]);
    let acknowledged = after(|t| {
        t.evidence.outside = Some(vec![place(Some(digest(77)))]);
        t.evidence.acknowledged.insert(digest(77));
    });
    assert_eq!(acknowledged, []);
}

/// D4, J5: who can write, who may, and who cannot be looked at
#[test]
fn writers_hold() {
    let process = Process { pid: 812, command: b"python".to_vec() };
    let writer = Writer { process: process.clone(), path: b"/workspace/x".to_vec(), mapped: true };
    let found = |processes| after(|t| t.evidence.processes = processes);
    let mut seen = Processes { writers: vec![writer.clone()], ..processes() };
    assert_eq!(found(Some(seen.clone())), [Reason::Writer(writer)]);
    seen = Processes { unreadable: vec![process.clone()], ..processes() };
    assert_eq!(found(Some(seen.clone())), [Reason::WriterUnknown(Some(process))]);
    seen = Processes { shared: vec![b"/mnt".to_vec()], ..processes() };
    assert_eq!(found(Some(seen)), [Reason::ForeignWriters(b"/mnt".to_vec())]);
    assert_eq!(found(None), [Reason::WriterUnknown(None)]);
    for early_or_late in [at(19), at(61)] {
        let seen = Processes { looked: early_or_late, ..processes() };
        assert_eq!(found(Some(seen)), [Reason::StaleProof(Stale::Processes)]);
    }
    let seen = Processes { looked: Moment { boot: None, ..at(30) }, ..processes() };
    assert_eq!(found(Some(seen)), [Reason::ClockUncertain(Uncertain::Processes)]);
}

/// J3, J8, I2: another machine, container or boot; each part of an identity for itself
#[test]
fn another_container_holds() {
    use IdentityPart::{Boot, FirstProcess, Id, Label, Marker, Mounts, Platform, RootDevice};
    type Change = fn(&mut Identity, bool);

    let changes: [(IdentityPart, Change); 8] = [
        (Platform, |i, known| i.platform = known.then(|| "runpod".to_owned())),
        (Id, |i, known| i.id = known.then(|| "1".to_owned())),
        (Label, |i, known| i.label = known.then(|| "C.1".to_owned())),
        (Marker, |i, known| i.marker = known.then_some([0; 16])),
        (FirstProcess, |i, known| i.first_process = known.then_some(0)),
        (RootDevice, |i, known| i.root_device = known.then_some(0)),
        (Mounts, |i, known| i.mounts = known.then(|| digest(0))),
        (Boot, |i, known| i.boot = known.then_some([0; 16])),
    ];
    for (part, change) in changes {
        for known in [true, false] {
            let expected = |since: Option<&str>| {
                let since = since.map(str::to_owned);
                match known {
                    true => Reason::IdentityChanged { part, since },
                    false => Reason::IdentityUnknown { part, since },
                }
            };
            let reasons = after(|t| change(&mut t.evidence.machine.at_start, known));
            assert_eq!(reasons, [expected(None)]);
            let reasons = after(|t| {
                t.evidence.receipts.iter_mut().for_each(|r| change(&mut r.source, known));
            });
            assert_eq!(reasons, [expected(Some("a")), expected(Some("b"))]);
        }
    }
}

/// J10: the platform's word against the machine's
#[test]
fn a_machine_that_is_not_said_to_run_holds() {
    let stopped = PlatformWord::Otherwise("stopped".to_owned());
    for word in [stopped, PlatformWord::Gone, PlatformWord::Unknown] {
        let reasons = after(|t| t.evidence.machine.platform = word.clone());
        assert_eq!(reasons, [Reason::MachineState(word)]);
    }
    for channel in [None, Some(HostKeyChannel::FirstUse)] {
        let reasons = after(|t| t.evidence.channel = channel);
        assert_eq!(reasons, [Reason::ChannelUnproven(channel)]);
    }
    assert_eq!(after(|t| t.evidence.volumes = None), [Reason::VolumeState(None)]);
    let volume = Volume { id: "V.1".to_owned(), survives: None, protected: false };
    let reasons = after(|t| t.evidence.volumes = Some(vec![volume]));
    assert_eq!(reasons, [Reason::VolumeState(Some("V.1".to_owned()))]);
}

/// C3, C4, I1, J12: receipts that are forged, damaged or of a transfer that failed
#[test]
fn a_receipt_that_proves_nothing_holds() {
    let stranger = Signature::Good(PublicKey([9; 32]));
    let names = ["a", "b"].map(str::to_owned);
    for signature in [Signature::Missing, Signature::Bad, stranger] {
        let reasons = after(|t| {
            t.evidence.receipts.iter_mut().for_each(|r| r.signature = signature);
        });
        let expected = names.clone().map(|receipt| Reason::UntrustedReceipt { receipt, signature });
        assert_eq!(reasons, expected);
    }
    let reasons = after_receipts(|r| r.intact = false);
    assert_eq!(reasons, names.clone().map(Reason::DamagedReceipt));
    let reasons = after_receipts(|r| r.failed = 2);
    let expected = names.map(|receipt| Reason::ReceiptIncomplete { receipt, failed: 2 });
    assert_eq!(reasons, expected);
}

/// J6, J7, J9: destinations that are near, replaced, unseen, or spoken for by nobody
#[test]
fn a_destination_that_proves_nothing_holds() {
    let places = || ["s3://b/a", "s3://b/b"].map(str::to_owned);
    let wanted = Durability::D2;
    for is in [None, Some(Durability::D0), Some(Durability::D1)] {
        let reasons = after(|t| {
            t.evidence.receipts.iter_mut().for_each(|r| r.destination.durability = is);
        });
        let expected = places().map(|destination| Reason::NotDurable { destination, is, wanted });
        assert_eq!(reasons, expected);
    }
    let replaced = places().map(Reason::DestinationReplaced);
    assert_eq!(after_receipts(|r| r.destination.medium_now = Some(b"/".to_vec())), replaced);
    assert_eq!(after_receipts(|r| r.destination.medium_now = None), replaced);
    let neither = after_receipts(|r| {
        (r.destination.medium_then, r.destination.medium_now) = (None, None);
    });
    assert_eq!(neither, replaced);
    let reasons = after_receipts(|r| r.destination.statement = None);
    assert_eq!(reasons, places().map(Reason::NotReadBack));
    let loads = Some(Loads { failed: tally(1), untried: Tally::default() });
    let reasons = after(|t| {
        t.evidence.receipts.iter_mut().for_each(|r| r.destination.loads = loads.clone());
    });
    let files = Some(tally(1));
    let failed = |destination| Reason::NotLoaded { destination, files: files.clone() };
    assert_eq!(reasons, places().map(failed));
    let reasons = after_receipts(|r| r.destination.loads = None);
    assert_eq!(reasons, places().map(|destination| Reason::NotLoaded { destination, files: None }));
}

/// J6, J9, I6: a word for a destination that is of nobody, of the source, of yesterday, or too old
#[test]
fn a_statement_that_proves_nothing_holds() {
    let places = || ["s3://b/a", "s3://b/b"].map(str::to_owned);
    let word = |change: fn(&mut Statement)| {
        after(|t| {
            let receipts = t.evidence.receipts.iter_mut();
            receipts.filter_map(|r| r.destination.statement.as_mut()).for_each(change);
        })
    };
    let untrusted = |witness, signature| {
        places().map(|destination| Reason::UntrustedStatement { destination, witness, signature })
    };
    let signed = Signature::Good(OWN);
    assert_eq!(word(|w| w.witness = Witness::Source), untrusted(Witness::Source, signed));
    let reasons = word(|w| w.signature = Signature::Bad);
    assert_eq!(reasons, untrusted(Witness::Controller, Signature::Bad));
    assert_eq!(word(|w| w.nonce = [0; 32]), places().map(Reason::ReplayedStatement));
    assert_eq!(word(|w| w.began = at(0)), places().map(Reason::ReadBackOlderThanReceipt));
    let unclear = |what| Reason::ClockUncertain(what);
    let expected = places().map(|place| unclear(Uncertain::ReadBack(place)));
    assert_eq!(word(|w| w.began.boot = None), expected);
    assert_eq!(word(|w| w.began.boot = Some(([0; 16], 9))), expected);
}

/// J4, I6: evidence that is old, or of which no clock tells
#[test]
fn old_evidence_and_turned_clocks_hold() {
    let now = |now| after(|t| t.now = now);
    assert_eq!(now(at(959)), []);
    assert_eq!(now(at(960)), [Reason::StaleProof(Stale::Collection { age: 900 })]);
    let uncertain = |what| [Reason::ClockUncertain(what)];
    assert_eq!(now(at(59)), uncertain(Uncertain::Collection));
    assert_eq!(now(Moment { boot: None, ..at(70) }), uncertain(Uncertain::Collection));
    for by in [-3600, 3600, 10 * 365 * 86_400] {
        let turned = Moment { day: at(70).day + by, ..at(70) };
        assert_eq!(now(turned), uncertain(Uncertain::Turned { by }));
    }
    let root = || b"/workspace".to_vec();
    let early = after_scan(|scan| scan.began = Moment { boot: Some(([9; 16], 0)), ..at(3) });
    assert_eq!(early, [Reason::StaleProof(Stale::Scan(root()))]);
    let late = after_scan(|scan| scan.ended = at(61));
    let stale = [Stale::Scan(root()), Stale::Processes].map(Reason::StaleProof);
    assert_eq!(late, stale);
    let unknown = after_scan(|scan| scan.began.boot = None);
    assert_eq!(unknown, uncertain(Uncertain::Scan(root())));
}

/// All at once, the gravest first, whatever else is wrong
#[test]
fn all_reasons_are_told_at_once() {
    let reasons = after(|t| {
        t.evidence.channel = None;
        t.evidence.processes = None;
        t.evidence.machine.platform = PlatformWord::Unknown;
        scan(&mut t.evidence).coverage.groups.insert(vec![unsaid()], tally(1));
        scan(&mut t.evidence)
            .coverage
            .groups
            .insert(vec![claim(Said::Different, Found::Read)], tally(2));
    });
    let ids: Vec<_> = reasons.iter().map(Reason::id).collect();
    let expected =
        ["changed-after-copy", "not-copied", "writer-unknown", "machine-state", "channel-unproven"];
    assert_eq!(ids, expected);
}

/// A receipt without fault proves what others with faults only claim
#[test]
fn one_good_receipt_is_enough() {
    let reasons = after(|t| {
        let mut bad = receipt("bad");
        bad.signature = Signature::Bad;
        bad.source.boot = None;
        t.evidence.receipts.push(bad);
    });
    assert_eq!(reasons, []);
}

/// Names stay, and no two reasons share one or have the same place
#[test]
fn every_reason_has_a_name_and_a_place_of_its_own() {
    let mut seen = BTreeMap::new();
    let mut gravities = BTreeSet::new();
    for seed in 0..30_000 {
        for reason in hold(&super::mutants::trial(seed)) {
            let kind = discriminant(&reason);
            assert_eq!(*seen.entry(reason.id()).or_insert(kind), kind, "{}", reason.id());
            gravities.insert((reason.gravity(), reason.id()));
        }
    }
    // All but those that need two changes at once, which have tests above.
    assert!(seen.len() >= 30, "only {}: {:?}", seen.len(), seen.keys());
    assert_eq!(gravities.len(), seen.len());
}
