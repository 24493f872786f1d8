//! The verdict once more, from the prose of the design and not from the code: 150 lines at most.
//! "Release only if the machine runs, is the same container that it was, and every byte that its
//! end would take is elsewhere, far enough, and was read back there after the last write; or
//! somebody said that it may be lost. Whatever is not known is not so."

use crate::gate::coverage::{Claim, Found, Said};
use crate::gate::evidence::*;
use crate::gate::policy::Policy;
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::ProofLevel;

struct Judge<'a>(&'a Evidence, &'a Policy);

pub(super) fn releases(evidence: &Evidence, policy: &Policy, now: &Moment) -> bool {
    let judge = Judge(evidence, policy);
    judge.same_machine()
        && judge.fresh(now)
        && judge.nobody_writes()
        && judge.nothing_outside()
        && judge.roots_are_there()
        && evidence.roots.iter().all(|root| judge.root_is_safe(root))
}

/// Whether one moment is later than, or at the same time as, another, told by no clock that turns
fn later(late: &Moment, early: &Moment) -> bool {
    match (late.boot, early.boot) {
        (Some(late), Some(early)) => late.0 == early.0 && late.1 >= early.1,
        _ => false,
    }
}

fn milliseconds(late: &Moment, early: &Moment) -> u64 {
    late.boot.unwrap().1 - early.boot.unwrap().1
}

fn steady(late: &Moment, early: &Moment) -> bool {
    let by_day = i128::from(late.day) - i128::from(early.day);
    (by_day - i128::from(milliseconds(late, early) / 1000)).abs() <= 5
}

fn same_container(one: &Identity, other: &Identity) -> bool {
    let named = one.platform.is_some() && one.id.is_some() && one.label.is_some();
    let made = one.marker.is_some() && one.first_process.is_some() && one.boot.is_some();
    let lies = one.root_device.is_some() && one.mounts.is_some();
    named && made && lies && one == other
}

impl Judge<'_> {
    fn same_machine(&self) -> bool {
        let machine = &self.0.machine;
        matches!(machine.platform, PlatformWord::Running)
            && same_container(&machine.at_start, &machine.at_end)
            && matches!(self.0.channel, Some(c) if self.1.host_key_channels.contains(&c))
            && matches!(&self.0.volumes, Some(all)
                if all.iter().all(|v| v.protected || v.survives == Some(true)))
    }

    fn fresh(&self, now: &Moment) -> bool {
        let Evidence { began, ended, .. } = self.0;
        (later(ended, began) && later(now, ended))
            && milliseconds(now, ended) < u64::from(self.1.token_life) * 1000
            && steady(ended, began)
            && steady(now, ended)
    }

    fn nobody_writes(&self) -> bool {
        let quiet = |p: &Processes| p.writers.len() + p.unreadable.len() + p.shared.len() == 0;
        let looked = |p: &Processes| quiet(p) && later(&self.0.ended, &p.looked);
        self.0.processes.as_ref().is_some_and(looked)
    }

    fn may_be_lost(&self, digest: Option<&Digest>) -> bool {
        let lists = [&self.0.acknowledged, &self.1.allowed_exclusions];
        digest.is_some_and(|digest| lists.iter().any(|list| list.contains(digest)))
    }

    fn nothing_outside(&self) -> bool {
        [&self.0.mounts, &self.0.outside].into_iter().all(|places| {
            let lost = |place: &Outside| self.may_be_lost(place.digest.as_ref());
            places.as_ref().is_some_and(|places| places.iter().all(lost))
        })
    }

    fn roots_are_there(&self) -> bool {
        let has = |name: &String| self.0.roots.iter().any(|root| root.path == name.as_bytes());
        !self.0.roots.is_empty() && self.1.roots.iter().all(has) && !self.0.receipts.is_empty()
    }

    fn root_is_safe(&self, root: &RootEvidence) -> bool {
        let Ok(scan) = &root.scan else { return false };
        let (all, began, ended) = (&scan.coverage, &self.0.began, &self.0.ended);
        let mut left_out = all.excluded.iter().chain(&all.skipped);
        later(&scan.began, began)
            && later(&scan.ended, &scan.began)
            && later(ended, &scan.ended)
            && self.0.processes.iter().all(|p| later(&p.looked, &scan.ended))
            && (scan.written_back && all.unreadable.count + all.changing.count == 0)
            && scan.changed_since.as_ref().map(|changed| changed.count) == Some(0)
            && left_out.all(|list| self.may_be_lost(Some(&list.digest)))
            && !all.groups.is_empty()
            && all.groups.keys().all(|claims| {
                (0..self.0.receipts.len().min(claims.len()))
                    .any(|nth| self.proves(&claims[nth]) && self.counts(&self.0.receipts[nth]))
            })
    }

    /// Whether a claim, if its receipt counts, proves an entry
    fn proves(&self, claim: &Claim) -> bool {
        use ProofLevel::{Durable, ReadBack, ReadBackCached};
        let synced = [Durable, ReadBackCached, ReadBack].map(Said::Equal).contains(&claim.said);
        synced
            && match (claim.found, self.1.proof) {
                (Found::Missing | Found::Different, _) => false,
                (Found::Read | Found::Pinned, _) => true,
                (Found::Checksum, _) if self.1.store_checksum => true,
                (Found::Cached, wanted) => wanted != ReadBack,
                (Found::Checksum | Found::NotLooked, wanted) => wanted == Durable,
            }
    }

    fn trusts(&self, signature: &Signature) -> bool {
        match signature {
            Signature::Good(key) => self.0.own_key == *key || self.1.trusted_keys.contains(key),
            Signature::Bad | Signature::Missing => false,
        }
    }

    /// Whether a receipt and its destination count at all
    fn counts(&self, receipt: &ReceiptEvidence) -> bool {
        let there = &receipt.destination;
        let far = match there.durability {
            Some(Durability::D2) => true,
            Some(Durability::D1) => self.1.durability != Durability::D2,
            Some(Durability::D0) | None => false,
        };
        let looked = self.1.proof == ProofLevel::Durable
            || there.statement.is_some_and(|word| {
                let after = later(&word.began, &receipt.ended) || later(&word.began, &receipt.seen);
                let witness = word.witness != Witness::Source && self.trusts(&word.signature);
                after && witness && word.nonce == self.0.nonce
            });
        let loads = !self.1.load_check
            || matches!(&there.loads, Some(l) if l.failed.count == 0 && l.untried.count == 0);
        let same_place = there.medium_now.is_some() && there.medium_now == there.medium_then;
        self.trusts(&receipt.signature)
            && (receipt.intact && receipt.failed == 0)
            && same_container(&receipt.source, &self.0.machine.at_end)
            && (far && same_place && looked && loads)
    }
}
