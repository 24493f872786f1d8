//! Payload that means nothing and does not compress, to measure with.

use std::sync::OnceLock;

use bytes::Bytes;
use xfer_protocol::limits::TRIAL_PAYLOAD_MAX;

/// So many bytes, and no more than [`TRIAL_PAYLOAD_MAX`]. All are parts of one piece, which is made
/// once and kept.
#[must_use]
pub fn filler(length: u32) -> Bytes {
    static PIECE: OnceLock<Bytes> = OnceLock::new();
    let whole = usize::try_from(TRIAL_PAYLOAD_MAX).unwrap_or(usize::MAX);
    let piece = PIECE.get_or_init(|| {
        let mut bytes = vec![0; whole];
        blake3::Hasher::new().update(b"xfer filler 1").finalize_xof().fill(&mut bytes);
        Bytes::from(bytes)
    });
    piece.slice(..whole.min(usize::try_from(length).unwrap_or(whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_asked_and_no_longer_than_allowed() {
        assert_eq!(filler(1).len(), 1);
        assert_eq!(filler(u32::MAX).len(), filler(TRIAL_PAYLOAD_MAX).len());
        let mut counts = [0_u32; 256];
        filler(TRIAL_PAYLOAD_MAX).iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        // Evenly spread bytes leave a compressor nothing.
        assert!(counts.iter().all(|count| (3_600..4_600).contains(count)), "{counts:?}");
    }
}
