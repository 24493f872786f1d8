//! A hundred thousand pieces of evidence, each changed somewhere, before two judges

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy};
use xfer_protocol::manifest::ProofLevel;

use super::reference;
use super::samples::*;
use crate::gate::coverage::{Found, LeftOut, Said};
use crate::gate::evidence::*;
use crate::gate::policy::Policy;
use crate::gate::verdict::{Verdict, evaluate};

const TRIALS: u64 = 100_000;

/// SplitMix64
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(super) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()].clone()
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What two judges decide about
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) evidence: Evidence,
    pub(super) policy: Policy,
    pub(super) now: Moment,
}

pub(super) fn good() -> Trial {
    Trial { evidence: evidence(), policy: Policy::default(), now: at(70) }
}

type Change = fn(&mut Trial, &mut Dice);

/// Every field of evidence, policy and clock; some to what is as good as before
const CHANGES: &[Change] = &[
    |t, d| {
        let words = [
            PlatformWord::Running,
            PlatformWord::Otherwise("stopped".to_owned()),
            PlatformWord::Gone,
            PlatformWord::Unknown,
        ];
        t.evidence.machine.platform = d.of(&words);
    },
    |t, d| change_identity(&mut t.evidence.machine.at_start, d),
    |t, d| change_identity(&mut t.evidence.machine.at_end, d),
    |t, d| {
        let (machine, part) = (&mut t.evidence.machine, d.below(1000));
        let other = Identity { id: Some(part.to_string()), ..identity() };
        (machine.at_start, machine.at_end) = (other.clone(), other);
    },
    |t, d| change_identity(&mut any_receipt(t, d).source, d),
    |t, d| t.evidence.nonce = [u8::try_from(d.below(5)).unwrap(); 32],
    |t, d| t.evidence.own_key = d.of(&[OWN, FRIEND]),
    |t, d| change_moment(&mut t.evidence.began, d),
    |t, d| change_moment(&mut t.evidence.ended, d),
    |t, d| change_moment(&mut t.now, d),
    |t, d| t.now = at(60 + d.below(1200)),
    |t, d| {
        use HostKeyChannel::{FirstUse, KnownHosts, PlatformPinned};
        t.evidence.channel = d.of(&[None, Some(KnownHosts), Some(PlatformPinned), Some(FirstUse)]);
    },
    |t, d| match d.below(4) {
        0 => t.evidence.roots.clear(),
        1 => drop(t.evidence.roots.pop()),
        2 => t.evidence.roots.reverse(),
        _ => t.evidence.roots.push(root("/data", BTreeMap::new())),
    },
    |t, d| {
        let failures = [
            ScanFailure::Missing,
            ScanFailure::NoDirectory,
            ScanFailure::Unreachable("no".to_owned()),
            ScanFailure::Broken("x".to_owned()),
        ];
        if let Some(root) = t.evidence.roots.last_mut() {
            root.scan = Err(d.of(&failures));
        }
    },
    |t, d| with_scan(t, |scan| change_moment(&mut scan.began, d)),
    |t, d| with_scan(t, |scan| change_moment(&mut scan.ended, d)),
    |t, d| with_scan(t, |scan| scan.written_back = d.coin()),
    |t, d| with_scan(t, |scan| scan.coverage.unreadable = tally(d.below(2))),
    |t, d| with_scan(t, |scan| scan.coverage.changing = tally(d.below(2))),
    |t, d| with_scan(t, |scan| scan.changed_since = d.of(&[None, Some(tally(0)), Some(tally(1))])),
    |t, d| {
        let list = left_out(d);
        with_scan(t, |scan| scan.coverage.excluded = list);
    },
    |t, d| {
        let list = left_out(d);
        with_scan(t, |scan| scan.coverage.skipped = list);
    },
    |t, d| {
        let byte = u8::try_from(d.below(9)).unwrap();
        with_scan(t, |scan| scan.coverage.manifest = digest(byte));
    },
    |t, d| {
        let byte = u8::try_from(d.below(9)).unwrap();
        with_scan(t, |scan| scan.stamps = digest(byte));
    },
    change_claims,
    change_claims,
    change_claims,
    |t, d| match d.below(5) {
        0 => t.evidence.receipts.clear(),
        1 => drop(t.evidence.receipts.pop()),
        2 => t.evidence.receipts.reverse(),
        _ => t.evidence.receipts.push(receipt("c")),
    },
    |t, d| {
        let by =
            [Signature::Missing, Signature::Bad, Signature::Good(OWN), Signature::Good(FRIEND)];
        any_receipt(t, d).signature = d.of(&by);
    },
    |t, d| any_receipt(t, d).intact = d.coin(),
    |t, d| any_receipt(t, d).failed = d.below(2),
    |t, d| change_moment(&mut any_receipt(t, d).ended, d),
    |t, d| change_moment(&mut any_receipt(t, d).seen, d),
    |t, d| {
        use Durability::{D0, D1, D2};
        any_receipt(t, d).destination.durability = d.of(&[None, Some(D0), Some(D1), Some(D2)]);
    },
    |t, d| {
        let there = &mut any_receipt(t, d).destination;
        let media = [None, Some(b"x".to_vec()), Some(b"bucket b".to_vec())];
        if d.coin() { there.medium_now = d.of(&media) } else { there.medium_then = d.of(&media) }
    },
    change_statement,
    change_statement,
    |t, d| {
        let loads = |failed, untried| Loads { failed: tally(failed), untried: tally(untried) };
        let all = [None, Some(loads(0, 0)), Some(loads(1, 0)), Some(loads(0, 1))];
        any_receipt(t, d).destination.loads = d.of(&all);
    },
    |t, d| {
        let process = Process { pid: 812, command: b"python train.py".to_vec() };
        let path = b"/workspace/x".to_vec();
        let mut found = processes();
        match d.below(5) {
            0 => found.writers.push(Writer { process, path, mapped: d.coin() }),
            1 => found.unreadable.push(process),
            2 => found.shared.push(path),
            _ => change_moment(&mut found.looked, d),
        }
        t.evidence.processes = d.of(&[None, Some(found.clone()), Some(found)]);
    },
    |t, d| t.evidence.mounts = places(d),
    |t, d| t.evidence.outside = places(d),
    |t, d| {
        let volume = |protected, survives| Volume { id: "V.1".to_owned(), protected, survives };
        let all = [
            None,
            Some(vec![volume(true, None)]),
            Some(vec![volume(false, None)]),
            Some(vec![volume(false, Some(true)), volume(true, Some(false))]),
            Some(vec![volume(false, Some(true)), volume(false, Some(false))]),
        ];
        t.evidence.volumes = d.of(&all);
    },
    |t, _| t.evidence.acknowledged = [digest(100)].into(),
    |t, _| t.policy.allowed_exclusions = [digest(101)].into(),
    |t, d| t.policy.roots = d.of(&[vec!["/root".to_owned()], vec!["/data".to_owned()]]),
    |t, d| t.policy.durability = d.of(&[Durability::D1, Durability::D2]),
    |t, d| t.policy.proof = d.of(&[ProofLevel::Durable, ProofLevel::ReadBackCached]),
    |t, d| t.policy.store_checksum = d.coin(),
    |t, d| t.policy.token_life = d.of(&[1, 10, 11, 900, 86_400]),
    |t, d| {
        let channels = [HostKeyChannel::FirstUse, HostKeyChannel::PlatformPinned];
        t.policy.host_key_channels = [d.of(&channels)].into();
    },
    |t, _| t.policy.trusted_keys = [FRIEND].into(),
    |t, _| t.policy.load_check = false,
];

fn any_receipt<'a>(trial: &'a mut Trial, dice: &mut Dice) -> &'a mut ReceiptEvidence {
    if trial.evidence.receipts.is_empty() {
        trial.evidence.receipts.push(receipt("d"));
    }
    let nth = dice.below(trial.evidence.receipts.len() as u64);
    &mut trial.evidence.receipts[usize::try_from(nth).unwrap()]
}

fn with_scan(trial: &mut Trial, change: impl FnOnce(&mut RootScan)) {
    if let Some(RootEvidence { scan: Ok(scan), .. }) = trial.evidence.roots.first_mut() {
        change(scan);
    }
}

fn change_identity(identity: &mut Identity, d: &mut Dice) {
    let unknown = d.coin();
    let text = || (!unknown).then(|| "other".to_owned());
    match d.below(9) {
        0 => identity.platform = text(),
        1 => identity.id = text(),
        2 => identity.label = text(),
        3 => identity.marker = (!unknown).then_some([0; 16]),
        4 => identity.first_process = (!unknown).then_some(1),
        5 => identity.root_device = (!unknown).then_some(1),
        6 => identity.mounts = (!unknown).then_some(digest(0)),
        7 => identity.boot = (!unknown).then_some([0; 16]),
        _ => {}
    }
}

fn change_moment(moment: &mut Moment, d: &mut Dice) {
    *moment = match d.below(6) {
        0 => Moment { boot: None, ..*moment },
        1 => Moment { boot: Some(([7; 16], 5)), ..*moment },
        2 => Moment { day: moment.day + d.of(&[-3600, -6, -5, 5, 6, 3600]), ..*moment },
        3 => at(d.below(120)),
        4 => Moment { boot: Some(([9; 16], d.of(&[0, u64::MAX]))), ..*moment },
        _ => *moment,
    };
}

fn change_statement(trial: &mut Trial, d: &mut Dice) {
    let there = &mut any_receipt(trial, d).destination;
    let Some(word) = &mut there.statement else { return };
    match d.below(6) {
        0 => there.statement = None,
        1 => change_moment(&mut word.began, d),
        2 => word.witness = d.of(&[Witness::Agent, Witness::Controller, Witness::Source]),
        3 => word.nonce[31] ^= 1,
        4 => word.signature = d.of(&[Signature::Missing, Signature::Bad]),
        _ => word.signature = d.of(&[Signature::Good(OWN), Signature::Good(FRIEND)]),
    }
}

fn change_claims(trial: &mut Trial, d: &mut Dice) {
    let said = [
        Said::Nothing,
        Said::Undigested,
        Said::Different,
        Said::Equal(ProofLevel::Assumed),
        Said::Equal(ProofLevel::Received),
        Said::Equal(ProofLevel::Durable),
        Said::Equal(ProofLevel::ReadBackCached),
        Said::Equal(ProofLevel::ReadBack),
    ];
    let found = [
        Found::NotLooked,
        Found::Missing,
        Found::Different,
        Found::Checksum,
        Found::Cached,
        Found::Pinned,
        Found::Read,
    ];
    let extra = claim(d.of(&said), d.of(&found));
    let (length, second) = (d.below(4), d.coin());
    let claims = match length {
        0 => vec![extra],
        1 => vec![extra, proven()],
        _ if second => vec![unsaid(), extra],
        _ => vec![extra, unsaid()],
    };
    let clears = d.below(8) == 0;
    with_scan(trial, |scan| {
        if clears {
            scan.coverage.groups.clear();
        } else {
            scan.coverage.groups.insert(claims, tally(1));
        }
    });
}

fn left_out(d: &mut Dice) -> Option<LeftOut> {
    let byte = d.of(&[100, 101, 102]);
    d.coin().then(|| LeftOut { tally: tally(2), digest: digest(byte) })
}

fn places(d: &mut Dice) -> Option<Vec<Outside>> {
    let place = |digest| Outside { path: b"/data".to_vec(), count: 1, bytes: 5, digest };
    d.of(&[
        None,
        Some(Vec::new()),
        Some(vec![place(Some(digest(100)))]),
        Some(vec![place(Some(digest(100))), place(Some(digest(101)))]),
        Some(vec![place(None)]),
    ])
}

/// One trial of a seed: up to four changes, more often few
pub(super) fn trial(seed: u64) -> Trial {
    let (mut trial, mut dice) = (good(), Dice(seed));
    let changes = dice.of(&[0, 1, 1, 1, 1, 1, 2, 2, 3, 4]);
    for _ in 0..changes {
        dice.of(CHANGES)(&mut trial, &mut dice);
    }
    trial
}

pub(super) fn trials() -> impl Strategy<Value = Trial> {
    use proptest::prelude::any;
    any::<u64>().prop_flat_map(|seed| Just(trial(seed)))
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?}\n{:#?}\n{:?}", self.evidence, self.policy, self.now)
    }
}

#[test]
fn two_judges_agree_on_every_change() {
    let mut released = 0;
    for seed in 0..TRIALS {
        let trial = trial(seed);
        let verdict = evaluate(&trial.evidence, &trial.policy, &trial.now);
        let expected = reference::releases(&trial.evidence, &trial.policy, &trial.now);
        let is_release = matches!(verdict, Verdict::Release(_));
        assert_eq!(is_release, expected, "seed {seed}: {verdict:#?}\n{trial:?}");
        released += u64::from(is_release);
    }
    println!("{released} of {TRIALS} released by both");
    assert!(released * 5 >= TRIALS, "only {released} of {TRIALS} are released");
    assert!(released * 5 <= TRIALS * 4, "{released} of {TRIALS} are released");
}

/// Each change by itself, often enough that all it can do is done
#[test]
fn every_kind_of_change_can_hold_and_is_judged() {
    for (nth, change) in CHANGES.iter().enumerate() {
        for seed in 0..200 {
            let (mut trial, mut dice) = (good(), Dice(seed));
            change(&mut trial, &mut dice);
            let verdict = evaluate(&trial.evidence, &trial.policy, &trial.now);
            let expected = reference::releases(&trial.evidence, &trial.policy, &trial.now);
            assert_eq!(matches!(verdict, Verdict::Release(_)), expected, "{nth}: {verdict:#?}");
        }
    }
}
