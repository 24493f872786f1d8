//! The decision: whatever is not proven holds.

use std::collections::{BTreeMap, BTreeSet};

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::ProofLevel;

use super::coverage::{Claim, Coverage, Found, LeftOut, Said, Tally};
use super::evidence::{
    Durability, Evidence, Identity, Moment, Outside, PlatformWord, ReceiptEvidence, RootEvidence,
    RootScan, Signature, Statement, Volume, Witness,
};
use super::policy::Policy;
use super::reason::{At, Incomplete, Lost, Reason, Stale, Uncertain};
use crate::trust::PublicKey;

/// Seconds by which the time of day may be corrected while evidence is collected.
const TURNED_MAX: i64 = 5;

/// Whether a machine may be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, as far as this says.
    Release(Box<Release>),
    /// It may not, for all of these reasons, the gravest first; there is at least one.
    Hold(Vec<Reason>),
}

/// What is proven elsewhere, and what may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The machine, as locations name it.
    pub machine: String,
    /// The container.
    pub identity: Identity,
    /// BLAKE3 over all roots and their manifests.
    pub manifest: Digest,
    /// BLAKE3 over all roots and the stamps of their entries.
    pub stamps: Digest,
    /// The destinations that hold it all, each with how far it is.
    pub destinations: BTreeMap<String, Durability>,
    /// Entries that are proven.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Digest of the policy that was asked.
    pub policy: Digest,
    /// When the collection ended: the age of a token is counted from there.
    pub collected: Moment,
    /// Seconds for which that counts.
    pub life: u32,
}

impl Release {
    /// A digest over the destinations.
    #[must_use]
    pub fn destination(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("xfer gate destinations 1");
        for (name, durability) in &self.destinations {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(format!("{durability:?}").as_bytes());
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// Decides. `now` is when, on the clocks by which the evidence was collected.
///
/// Release says that at the end of the collection every entry below the protected roots was
/// proven, as the policy asks, at a destination that the policy takes, or acknowledged as lost.
#[must_use]
pub fn evaluate(evidence: &Evidence, policy: &Policy, now: &Moment) -> Verdict {
    let mut reasons = Vec::new();
    of_machine(evidence, policy, &mut reasons);
    of_clocks(evidence, policy, now, &mut reasons);
    of_processes(evidence, &mut reasons);
    of_outside(evidence, policy, &mut reasons);
    let mut used = BTreeMap::new();
    let (entries, bytes) = of_roots(evidence, policy, &mut used, &mut reasons);
    if !reasons.is_empty() {
        reasons.sort_by_cached_key(|reason| (reason.gravity(), reason.to_string()));
        reasons.dedup();
        return Verdict::Hold(reasons);
    }
    Verdict::Release(Box::new(Release {
        machine: evidence.machine.name.clone(),
        identity: evidence.machine.at_end.clone(),
        manifest: of_every_root(&evidence.roots, |scan| scan.coverage.manifest),
        stamps: of_every_root(&evidence.roots, |scan| scan.stamps),
        destinations: used,
        entries,
        bytes,
        policy: policy.digest(),
        collected: evidence.ended,
        life: policy.token_life,
    }))
}

fn of_every_root(roots: &[RootEvidence], of: impl Fn(&RootScan) -> Digest) -> Digest {
    // Nothing is released with a root that was not scanned.
    let scanned = |root: &RootEvidence| Some((root.path.clone(), of(root.scan.as_ref().ok()?)));
    over_roots(roots.iter().filter_map(scanned).collect())
}

/// One digest over the path of every root and a digest of it, in the order of paths.
#[must_use]
pub fn over_roots(mut roots: Vec<(Vec<u8>, Digest)>) -> Digest {
    roots.sort_unstable();
    let mut hasher = blake3::Hasher::new_derive_key("xfer gate roots 1");
    for (path, digest) in &roots {
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        hasher.update(digest.as_bytes());
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

fn of_machine(evidence: &Evidence, policy: &Policy, reasons: &mut Vec<Reason>) {
    let machine = &evidence.machine;
    if machine.platform != PlatformWord::Running {
        reasons.push(Reason::MachineState(machine.platform.clone()));
    }
    if !evidence.channel.is_some_and(|channel| policy.host_key_channels.contains(&channel)) {
        reasons.push(Reason::ChannelUnproven(evidence.channel));
    }
    reasons.extend(differences(&machine.at_start, &machine.at_end, None));
    match &evidence.volumes {
        None => reasons.push(Reason::VolumeState(None)),
        Some(volumes) => {
            let goes = |volume: &&Volume| volume.survives != Some(true) && !volume.protected;
            let goes = volumes.iter().filter(goes);
            reasons.extend(goes.map(|volume| Reason::VolumeState(Some(volume.id.clone()))));
        }
    }
}

/// In what a machine is, or may be, another than it was.
fn differences(then: &Identity, now: &Identity, since: Option<&str>) -> Vec<Reason> {
    let since = || since.map(str::to_owned);
    let parts = then.parts().into_iter().zip(now.parts());
    parts
        .filter_map(|((part, then), (_, now))| match (then, now) {
            (Some(then), Some(now)) if then == now => None,
            (Some(_), Some(_)) => Some(Reason::IdentityChanged { part, since: since() }),
            _ => Some(Reason::IdentityUnknown { part, since: since() }),
        })
        .collect()
}

fn of_clocks(evidence: &Evidence, policy: &Policy, now: &Moment, reasons: &mut Vec<Reason>) {
    let uncertain = |what| Reason::ClockUncertain(what);
    let (took, age) = (evidence.ended.since(&evidence.began), now.since(&evidence.ended));
    match (took, age) {
        (Some(took), Some(age)) if took >= 0 && age >= 0 => {
            let life = i64::from(policy.token_life) * 1000;
            if age >= life {
                reasons.push(Reason::StaleProof(Stale::Collection { age: age / 1000 }));
            }
            let apart = |late: &Moment, early: &Moment, since: i64| {
                late.day.saturating_sub(early.day).saturating_sub(since / 1000)
            };
            for by in
                [apart(&evidence.ended, &evidence.began, took), apart(now, &evidence.ended, age)]
            {
                if by.saturating_abs() > TURNED_MAX {
                    reasons.push(uncertain(Uncertain::Turned { by }));
                }
            }
        }
        _ => reasons.push(uncertain(Uncertain::Collection)),
    }
    for root in &evidence.roots {
        let Ok(scan) = &root.scan else { continue };
        let steps = [
            scan.began.since(&evidence.began),
            scan.ended.since(&scan.began),
            evidence.ended.since(&scan.ended),
        ];
        if steps.contains(&None) {
            reasons.push(uncertain(Uncertain::Scan(root.path.clone())));
        } else if steps.iter().flatten().any(|step| *step < 0) {
            reasons.push(Reason::StaleProof(Stale::Scan(root.path.clone())));
        }
    }
}

fn of_processes(evidence: &Evidence, reasons: &mut Vec<Reason>) {
    let Some(processes) = &evidence.processes else {
        reasons.push(Reason::WriterUnknown(None));
        return;
    };
    let looked = &processes.looked;
    let scans = evidence.roots.iter().filter_map(|root| root.scan.as_ref().ok());
    let mut steps: Vec<_> = scans.map(|scan| looked.since(&scan.ended)).collect();
    steps.push(evidence.ended.since(looked));
    if steps.contains(&None) {
        reasons.push(Reason::ClockUncertain(Uncertain::Processes));
    } else if steps.iter().flatten().any(|step| *step < 0) {
        reasons.push(Reason::StaleProof(Stale::Processes));
    }
    reasons.extend(processes.writers.iter().cloned().map(Reason::Writer));
    let unreadable = processes.unreadable.iter().cloned();
    reasons.extend(unreadable.map(|process| Reason::WriterUnknown(Some(process))));
    reasons.extend(processes.shared.iter().cloned().map(Reason::ForeignWriters));
}

fn of_outside(evidence: &Evidence, policy: &Policy, reasons: &mut Vec<Reason>) {
    let (Some(mounts), Some(outside)) = (&evidence.mounts, &evidence.outside) else {
        reasons.push(Reason::OutsideUnknown);
        return;
    };
    let lost = |found: &&Outside| !acknowledged(found.digest, evidence, policy);
    reasons.extend(mounts.iter().filter(lost).map(|found| Reason::UncoveredMount(found.into())));
    reasons.extend(outside.iter().filter(lost).map(|found| Reason::OutsideChanged(found.into())));
}

fn acknowledged(digest: Option<Digest>, evidence: &Evidence, policy: &Policy) -> bool {
    let is_in = |list: &BTreeSet<Digest>| digest.is_some_and(|digest| list.contains(&digest));
    is_in(&evidence.acknowledged) || is_in(&policy.allowed_exclusions)
}

impl From<&Outside> for Lost {
    fn from(found: &Outside) -> Self {
        let Outside { path, count, bytes, digest } = found.clone();
        Self { path, count, bytes, digest }
    }
}

/// Judges every root; gives how many entries and bytes are proven.
fn of_roots(
    evidence: &Evidence,
    policy: &Policy,
    used: &mut BTreeMap<String, Durability>,
    reasons: &mut Vec<Reason>,
) -> (u64, u64) {
    if evidence.roots.is_empty() {
        reasons.push(Reason::RootNotScanned(None));
    }
    let scanned = |root: &&String| evidence.roots.iter().any(|r| r.path == root.as_bytes());
    let missing = policy.roots.iter().filter(|root| !scanned(root));
    reasons.extend(missing.map(|root| Reason::RootNotScanned(Some(root.clone()))));
    if evidence.receipts.is_empty() {
        reasons.push(Reason::NoReceipt);
    }
    let faults: Vec<_> =
        evidence.receipts.iter().map(|receipt| of_receipt(receipt, evidence, policy)).collect();
    let mut proven = Tally::default();
    for root in &evidence.roots {
        match &root.scan {
            Err(failure) => reasons.push(Reason::ScanIncomplete {
                root: root.path.clone(),
                why: Incomplete::Failed(failure.clone()),
            }),
            Ok(scan) => {
                of_scan(root, scan, evidence, policy, reasons);
                let mut judging =
                    Judging { evidence, policy, faults: &faults, used, lacking: BTreeMap::new() };
                for (claims, tally) in &scan.coverage.groups {
                    if judging.judge(claims, tally, reasons) {
                        proven.join(tally);
                    }
                }
                let lacking = judging.lacking.into_iter();
                reasons.extend(lacking.map(|(lack, entries)| {
                    lack.of(At { root: root.path.clone(), entries }, policy.proof)
                }));
            }
        }
    }
    (proven.count, proven.bytes)
}

fn of_scan(
    root: &RootEvidence,
    scan: &RootScan,
    evidence: &Evidence,
    policy: &Policy,
    reasons: &mut Vec<Reason>,
) {
    let at = |entries: &Tally| At { root: root.path.clone(), entries: entries.clone() };
    let incomplete = |why| Reason::ScanIncomplete { root: root.path.clone(), why };
    let Coverage { groups, excluded, skipped, unreadable, changing, .. } = &scan.coverage;
    if groups.is_empty() {
        reasons.push(Reason::EmptyRoot(root.path.clone()));
    }
    if unreadable.count > 0 {
        reasons.push(incomplete(Incomplete::Unreadable(unreadable.clone())));
    }
    if changing.count > 0 {
        reasons.push(Reason::SourceChanging(at(changing)));
    }
    if !scan.written_back {
        reasons.push(incomplete(Incomplete::NotWrittenBack));
    }
    match &scan.changed_since {
        None => reasons.push(incomplete(Incomplete::NotLookedAgain)),
        Some(changed) if changed.count > 0 => reasons.push(Reason::SourceChanging(at(changed))),
        Some(_) => {}
    }
    for LeftOut { tally, digest } in [excluded, skipped].into_iter().flatten() {
        if !acknowledged(Some(*digest), evidence, policy) {
            reasons.push(Reason::Excluded(Lost {
                path: root.path.clone(),
                count: tally.count,
                bytes: tally.bytes,
                digest: Some(*digest),
            }));
        }
    }
}

/// Everything for which a receipt and its destination prove nothing.
fn of_receipt(receipt: &ReceiptEvidence, evidence: &Evidence, policy: &Policy) -> Vec<Reason> {
    let mut faults = Vec::new();
    let id = || receipt.id.clone();
    let trusted = |signature| is_trusted(signature, evidence, policy);
    if !trusted(receipt.signature) {
        let signature = receipt.signature;
        faults.push(Reason::UntrustedReceipt { receipt: id(), signature });
    }
    if !receipt.intact {
        faults.push(Reason::DamagedReceipt(id()));
    }
    if receipt.failed > 0 {
        faults.push(Reason::ReceiptIncomplete { receipt: id(), failed: receipt.failed });
    }
    faults.extend(differences(&receipt.source, &evidence.machine.at_end, Some(&receipt.id)));
    let destination = &receipt.destination;
    let name = || destination.name.clone();
    let wanted = policy.durability;
    if destination.durability.is_none_or(|is| is < wanted) {
        let is = destination.durability;
        faults.push(Reason::NotDurable { destination: name(), is, wanted });
    }
    if destination.medium_then.is_none() || destination.medium_then != destination.medium_now {
        faults.push(Reason::DestinationReplaced(name()));
    }
    if policy.proof > ProofLevel::Durable {
        match &destination.statement {
            None => faults.push(Reason::NotReadBack(name())),
            Some(statement) => {
                faults.extend(of_statement(statement, receipt, evidence, trusted));
            }
        }
    }
    if policy.load_check {
        match &destination.loads {
            Some(loads) if loads.failed.count > 0 => {
                let files = Some(loads.failed.clone());
                faults.push(Reason::NotLoaded { destination: name(), files });
            }
            Some(loads) if loads.untried.count == 0 => {}
            _ => faults.push(Reason::NotLoaded { destination: name(), files: None }),
        }
    }
    faults
}

fn is_trusted(signature: Signature, evidence: &Evidence, policy: &Policy) -> bool {
    let believed = |key: &PublicKey| *key == evidence.own_key || policy.trusted_keys.contains(key);
    matches!(signature, Signature::Good(key) if believed(&key))
}

fn of_statement(
    statement: &Statement,
    receipt: &ReceiptEvidence,
    evidence: &Evidence,
    trusted: impl Fn(Signature) -> bool,
) -> Vec<Reason> {
    let destination = || receipt.destination.name.clone();
    let mut faults = Vec::new();
    if !trusted(statement.signature) || statement.witness == Witness::Source {
        let (witness, signature) = (statement.witness, statement.signature);
        let destination = destination();
        faults.push(Reason::UntrustedStatement { destination, witness, signature });
    }
    if statement.nonce != evidence.nonce {
        faults.push(Reason::ReplayedStatement(destination()));
    }
    // Either the receipt ended before that, or it was in hand before that, and so ended earlier.
    let after = [receipt.ended, receipt.seen].map(|moment| statement.began.since(&moment));
    if !after.iter().flatten().any(|after| *after >= 0) {
        faults.push(match after {
            [None, None] => Reason::ClockUncertain(Uncertain::ReadBack(destination())),
            _ => Reason::ReadBackOlderThanReceipt(destination()),
        });
    }
    faults
}

/// What an entry lacks; the order is how near to proof that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// Nothing is said of it.
    Named,
    /// Its bytes were others, or not known.
    Content,
    /// It is not at the destination.
    There,
    /// It is proven less than is asked.
    Proof,
    /// Nothing: its receipt or destination proves nothing at all.
    Nothing,
}

impl Lack {
    fn of(self, at: At, wanted: ProofLevel) -> Reason {
        match self {
            Self::Named => Reason::NewFile(at),
            Self::Content => Reason::ContentDiffers(at),
            Self::There => Reason::DestinationDiffers(at),
            Self::Proof | Self::Nothing => Reason::NotProven { at, wanted },
        }
    }
}

struct Judging<'a> {
    evidence: &'a Evidence,
    policy: &'a Policy,
    /// Of each receipt.
    faults: &'a [Vec<Reason>],
    used: &'a mut BTreeMap<String, Durability>,
    lacking: BTreeMap<Lack, Tally>,
}

impl Judging<'_> {
    /// Whether some receipt without fault proves a group; if none does, notes why.
    fn judge(&mut self, claims: &[Claim], tally: &Tally, reasons: &mut Vec<Reason>) -> bool {
        let said = claims.iter().zip(self.evidence.receipts.iter().zip(self.faults));
        let judged: Vec<_> = said
            .map(|(claim, (receipt, faults))| (lack(*claim, self.policy), receipt, faults))
            .collect();
        let proof =
            judged.iter().find(|(lack, _, faults)| *lack == Lack::Nothing && faults.is_empty());
        if let Some((_, receipt, _)) = proof {
            let destination = &receipt.destination;
            let durability = destination.durability.unwrap_or(Durability::D0);
            self.used.insert(destination.name.clone(), durability);
            return true;
        }
        let nearest = judged.iter().map(|(lack, ..)| *lack).max().unwrap_or(Lack::Named);
        if nearest == Lack::Nothing {
            let faulty = judged.iter().filter(|(lack, ..)| *lack == Lack::Nothing);
            reasons.extend(faulty.flat_map(|(.., faults)| faults.iter().cloned()));
        } else {
            self.lacking.entry(nearest).or_default().join(tally);
        }
        false
    }
}

/// What a claim lacks.
fn lack(claim: Claim, policy: &Policy) -> Lack {
    let level = match claim.said {
        Said::Nothing => return Lack::Named,
        Said::Different => return Lack::Content,
        Said::Undigested => return Lack::Proof,
        Said::Equal(level) => level,
    };
    let found = match claim.found {
        Found::Missing | Found::Different => return Lack::There,
        Found::Read | Found::Pinned => ProofLevel::ReadBack,
        Found::Cached => ProofLevel::ReadBackCached,
        Found::Checksum if policy.store_checksum => ProofLevel::ReadBack,
        // What was read back before its last look is no more than durable now.
        Found::Checksum | Found::NotLooked => ProofLevel::Durable,
    };
    // What was read back and never synced may be gone after a power cut.
    let is_proven = level >= ProofLevel::Durable && found >= policy.proof;
    if is_proven { Lack::Nothing } else { Lack::Proof }
}
