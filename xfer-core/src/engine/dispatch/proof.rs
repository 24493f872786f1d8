//! What an earlier proof of an entry is worth now.

use xfer_protocol::manifest::{Entry, ProofLevel};

use crate::engine::ledger::Finished;
use crate::options::VerifyLevel;
use crate::plan::Evidence;

/// Whether an earlier proof is less than what is asked now. What `--quick` assumes is assumed
/// still, short of reading back.
pub(super) fn falls_short(proven: ProofLevel, asked: VerifyLevel) -> bool {
    match asked {
        VerifyLevel::Received => false,
        VerifyLevel::Durable => proven == ProofLevel::Received,
        VerifyLevel::ReadBack => proven < ProofLevel::ReadBackCached,
    }
}

/// What stands there and is not touched.
pub(super) fn kept(found: &Entry, evidence: Evidence) -> Finished {
    Finished {
        digest: evidence.digest,
        changed: found.inode.changed,
        inode: found.inode.number,
        read_back: past_cache(evidence.level),
        assumed: evidence.level == ProofLevel::Assumed,
    }
}

/// Whether a file was read back past the cache; `None` where it was not read back.
pub(super) fn past_cache(proven: ProofLevel) -> Option<bool> {
    match proven {
        ProofLevel::Assumed | ProofLevel::Received | ProofLevel::Durable => None,
        ProofLevel::ReadBackCached => Some(false),
        ProofLevel::ReadBack => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was only received is proven anew before it is called durable.
    #[test]
    fn a_weaker_proof_than_asked_does_not_do() {
        use ProofLevel::{Assumed, Durable, ReadBack, ReadBackCached, Received};
        let short = |asked| {
            let all = [Assumed, Received, Durable, ReadBackCached, ReadBack];
            all.into_iter().filter(|proven| falls_short(*proven, asked)).collect::<Vec<_>>()
        };
        assert_eq!(short(VerifyLevel::Received), []);
        assert_eq!(short(VerifyLevel::Durable), [Received]);
        assert_eq!(short(VerifyLevel::ReadBack), [Assumed, Received, Durable]);
    }
}
