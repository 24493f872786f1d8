//! Whether the destination has room, and when payload may begin to flow.

use xfer_protocol::message::Space;

use crate::error::Shortage;

/// Bytes that stay free where nobody asked for another number, but no more than a tenth of them.
const RESERVE: u64 = 512 * 1024 * 1024;

/// What a plan will take at the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes of files to be written, holes not counted.
    pub bytes: u64,
    /// Entries to be made.
    pub inodes: u64,
    /// Bytes that partials of earlier sessions occupy already.
    pub held: u64,
    /// Bytes of the largest file that is yet to be compared with what stands in its place: should
    /// it differ, it is written beside that.
    pub rewrite: u64,
}

/// Checks a complete plan, or what is known of it so far, and tells the bytes that are left over.
/// `reserve` is what was asked to stay free.
pub fn check(need: &Need, space: &Space, reserve: Option<u64>) -> Result<u64, Shortage> {
    let needed = need.bytes.saturating_add(need.rewrite).saturating_sub(need.held);
    let reserve = match reserve {
        _ if needed == 0 => 0,
        Some(asked_for) => asked_for,
        None => RESERVE.min(space.bytes_free / 10),
    };
    if needed.saturating_add(reserve) > space.bytes_free {
        return Err(Shortage::Bytes {
            needed: needed.saturating_add(reserve),
            reserve,
            free: space.bytes_free,
            held: need.held,
        });
    }
    match space.inodes_free {
        Some(free) if need.inodes > free => Err(Shortage::Inodes { needed: need.inodes, free }),
        _ => Ok(space.bytes_free - needed.saturating_add(reserve)),
    }
}

/// Whether payload may flow before the plan is complete: only where room is plentiful, so that a
/// shortage is never found after the first byte.
#[must_use]
pub fn may_begin(need: &Need, space: &Space) -> bool {
    let bytes = need.bytes.saturating_add(need.rewrite);
    let plenty_of_bytes = bytes.saturating_mul(4) < space.bytes_free;
    plenty_of_bytes && space.inodes_free.is_none_or(|free| need.inodes.saturating_mul(4) < free)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space { bytes_free: 1000, inodes_free: Some(10), volatile: false };

    #[test]
    fn what_partials_hold_is_not_asked_for_again() {
        let need = Need { bytes: 1500, inodes: 1, held: 600, rewrite: 0 };
        assert_eq!(check(&need, &SPACE, Some(50)), Ok(50));
        let need = Need { held: 500, ..need };
        assert!(matches!(
            check(&need, &SPACE, Some(50)),
            Err(Shortage::Bytes { needed: 1050, .. })
        ));
    }

    #[test]
    fn inodes_count_too() {
        let need = Need { bytes: 1, inodes: 11, held: 0, rewrite: 0 };
        assert_eq!(check(&need, &SPACE, Some(0)), Err(Shortage::Inodes { needed: 11, free: 10 }));
    }

    #[test]
    fn a_full_disk_takes_a_plan_that_needs_nothing() {
        let full = Space { bytes_free: 0, inodes_free: Some(0), volatile: false };
        assert_eq!(check(&Need::default(), &full, Some(512)), Ok(0));
    }

    /// What was asked for must stay free, however much that is; by itself it is a tenth at most.
    #[test]
    fn a_reserve_that_was_asked_for_is_kept() {
        let need = Need { bytes: 900, inodes: 1, held: 0, rewrite: 0 };
        assert_eq!(check(&need, &SPACE, None), Ok(0));
        assert_eq!(check(&need, &SPACE, Some(100)), Ok(0));
        let kept = check(&need, &SPACE, Some(101));
        assert_eq!(kept, Err(Shortage::Bytes { needed: 1001, reserve: 101, free: 1000, held: 0 }));
        let need = Need { bytes: 1, ..need };
        assert!(check(&need, &SPACE, Some(u64::MAX)).is_err());
    }

    #[test]
    fn payload_waits_where_room_is_short() {
        assert!(may_begin(&Need { bytes: 100, inodes: 1, held: 0, rewrite: 0 }, &SPACE));
        for (bytes, rewrite) in [(300, 0), (100, 200)] {
            assert!(!may_begin(&Need { bytes, inodes: 1, held: 0, rewrite }, &SPACE));
        }
    }
}
