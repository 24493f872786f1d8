//! What two versions of a file have in common, where an endpoint finds and copies that.

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::{BlockSize, span_digest};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::limits;
use xfer_protocol::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign, SumKind, gaps};
use xfer_protocol::message::{FileAt, PartialIndex};
use xfer_protocol::range::ByteRange;

use super::Fixture;
use super::partials::nothing_else_is_left;
use super::stand::{Stand, cut, fault_of, path, slice};
use crate::endpoint::{Endpoint, Sink, Source};

const KIB64: u64 = 65_536;

impl<S: Sink + Source> Stand<S> {
    async fn stands(&self, name: &str, bytes: &[u8]) -> FileAt {
        let stamp = self.put(name, bytes).await;
        FileAt { root: self.root, path: path(name), stamp }
    }

    /// A range of `whole`, of which everything is copied but the gaps between copies.
    fn patch(
        &self,
        range: ByteRange,
        whole: &Bytes,
        basis: &FileAt,
        copies: &[CopiedRange],
    ) -> (Patch, Bytes) {
        let size = whole.len() as u64;
        let blocks = cut(size, KIB64).filter(|block| range.contains(*block));
        let digest = |block: ByteRange| span_digest(block.start(), &slice(whole, block), size);
        let patch = Patch {
            partial: PartialIndex(0),
            range,
            block: BlockSize::MIN,
            digests: blocks.map(digest).collect(),
            basis: basis.clone(),
            copies: copies.to_vec(),
        };
        let mut payload = BytesMut::new();
        gaps(range, copies).into_iter().for_each(|gap| payload.extend(slice(whole, gap)));
        (patch, payload.freeze())
    }
}

/// The old version, and a new one with some bytes before it and an edit in it.
fn versions<S: Sink + Source>(stand: &Stand<S>) -> (Bytes, Bytes, Vec<CopiedRange>) {
    let old = stand.several_parts();
    let mut new = BytesMut::from(&b"inserted"[..]);
    new.extend_from_slice(&old);
    new[200_000] ^= 1;
    let length = new.len() as u64;
    let copies = vec![
        CopiedRange { to: 8, from: 0, length: 200_000 - 8 },
        CopiedRange { to: 200_001, from: 200_001 - 8, length: length - 200_001 },
    ];
    (old, new.freeze(), copies)
}

/// Where it is not done, it is the fault `Unsupported`; where it is, nothing is found that is not
/// there, and the parts of a file come with its digests.
pub async fn what_is_common_is_found<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let (old, new, _) = versions(&stand);
    let basis = stand.stands("old", &old).await;
    let file = stand.stands("new", &new).await;
    let (size, length) = (old.len() as u64, new.len() as u64);
    let range = ByteRange::new(0, size).unwrap();
    let sign = Sign { file: basis, range, block: 4096, kind: SumKind::Rolling };
    if !stand.side.makes_deltas() {
        assert_eq!(fault_of(stand.side.sign(sign).await), FaultKind::Unsupported);
        return;
    }
    let placed = Sign { kind: SumKind::Placed, ..sign.clone() };
    let sums = stand.side.sign(sign).await.unwrap();
    assert_eq!(sums.len() as u64, size / 4096 * limits::ROLLING_SUM_BYTES as u64);
    let looked = Match {
        file: file.clone(),
        range: ByteRange::new(0, length).unwrap(),
        block: 4096,
        from: 0,
        sums: u32::try_from(size / 4096).unwrap(),
        kind: SumKind::Rolling,
    };
    let found = stand.side.find_copies(looked.clone(), sums.clone()).await.unwrap();
    let mut found_bytes = 0;
    for copy in &found {
        let there = slice(&new, ByteRange::at(copy.to, copy.length).unwrap());
        assert_eq!(there, slice(&old, ByteRange::at(copy.from, copy.length).unwrap()));
        found_bytes += copy.length;
    }
    assert!(found_bytes + 3 * 4096 > length, "{found:?}");
    let placed = stand.side.sign(placed).await.unwrap();
    assert_eq!(placed.len() as u64, size / 4096 * limits::PLACED_SUM_BYTES as u64);
    let in_place = Match { kind: SumKind::Placed, ..looked.clone() };
    assert_eq!(stand.side.find_copies(in_place, placed).await.unwrap(), []);
    let short = stand.side.find_copies(looked, sums.slice(1..)).await;
    assert_eq!(fault_of(short), FaultKind::Protocol);

    let whole = ByteRange::new(KIB64, length).unwrap();
    let parts = vec![ByteRange::at(KIB64 + 1, 7).unwrap(), ByteRange::at(length - 1, 1).unwrap()];
    let read = ReadParts { file, range: whole, block: BlockSize::MIN, parts: parts.clone() };
    let (digests, bytes) = stand.side.read_parts(read.clone()).await.unwrap();
    let blocks = cut(length, KIB64).skip(1);
    let expected = blocks.map(|b| span_digest(b.start(), &slice(&new, b), length));
    assert!(expected.eq(digests));
    assert_eq!(bytes, [slice(&new, parts[0]), slice(&new, parts[1])].concat());
    let beyond = ReadParts { parts: vec![ByteRange::new(0, 9).unwrap()], ..read };
    assert_eq!(fault_of(stand.side.read_parts(beyond).await), FaultKind::Protocol);
}

/// What is patched is there, also where the same is asked again; the rest is written as ever.
pub async fn ranges_are_copied_from_a_basis<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.makes_deltas() {
        return;
    }
    let (old, new, copies) = versions(&stand);
    let basis = stand.stands("old", &old).await;
    let size = new.len() as u64;
    stand.open_partial(0, "file", size).await;
    let first = ByteRange::new(0, 4 * KIB64).unwrap();
    stand.write(0, first, &new).await.unwrap();
    let range = ByteRange::new(4 * KIB64, size).unwrap();
    let rest: Vec<_> = copies.iter().filter_map(|copy| copy.within(range)).collect();
    let (patch, payload) = stand.patch(range, &new, &basis, &rest);
    for _ in 0..2 {
        stand.side.patch(patch.clone(), payload.clone()).await.unwrap();
    }
    stand.commit(0, &new).await.unwrap();
    stand.side.patch(patch, payload).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), new);
    assert_eq!(stand.content(&path("old")).await.unwrap(), old);
    nothing_else_is_left(&stand, &["file", "old"]).await;
}

/// What was copied is held to its digests: a false range does not count, and is written after all.
pub async fn what_was_copied_is_proven<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.makes_deltas() {
        return;
    }
    let (old, new, copies) = versions(&stand);
    let basis = stand.stands("old", &old).await;
    let size = new.len() as u64;
    stand.open_partial(0, "file", size).await;
    let whole = ByteRange::new(0, size).unwrap();
    let (right, payload) = stand.patch(whole, &new, &basis, &copies);
    let mut shifted = right.clone();
    shifted.copies[0].from += 1;
    let mut false_digest = right.clone();
    false_digest.digests.reverse();
    for patch in [shifted, false_digest] {
        let refused = stand.side.patch(patch, payload.clone()).await;
        assert_eq!(fault_of(refused), FaultKind::Mismatch);
        assert_eq!(fault_of(stand.commit(0, &new).await), FaultKind::Mismatch);
    }
    // What is proven is not written over, by whatever patch.
    let first = ByteRange::new(0, KIB64).unwrap();
    stand.write(0, first, &new).await.unwrap();
    let over = stand.side.patch(right.clone(), payload.clone()).await;
    assert_eq!(fault_of(over), FaultKind::Protocol);
    // The basis is another file by now.
    let behind = ByteRange::new(KIB64, size).unwrap();
    let rest: Vec<_> = copies.iter().filter_map(|copy| copy.within(behind)).collect();
    let (patch, payload) = stand.patch(behind, &new, &basis, &rest);
    stand.put("old", b"another").await;
    let changed = stand.side.patch(patch, payload).await;
    assert_eq!(fault_of(changed), FaultKind::Changed);
    let gone = FileAt { path: path("none"), ..basis };
    let (patch, payload) = stand.patch(behind, &new, &gone, &rest);
    assert_eq!(fault_of(stand.side.patch(patch, payload).await), FaultKind::NotFound);
    assert_eq!(fault_of(stand.commit(0, &new).await), FaultKind::Mismatch);
    stand.write_all(0, &new).await;
    stand.commit(0, &new).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), new);
}

/// Copies that overlap, or lead beyond the basis, the range or the file, and what has no partial.
pub async fn patches_outside_the_rules_are_refused<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.makes_deltas() {
        return;
    }
    let (old, new, copies) = versions(&stand);
    let basis = stand.stands("old", &old).await;
    let size = new.len() as u64;
    stand.open_partial(0, "file", size).await;
    let whole = ByteRange::new(0, size).unwrap();
    let (right, payload) = stand.patch(whole, &new, &basis, &copies);
    let copying = |to, from, length| {
        let copies = vec![CopiedRange { to, from, length }];
        Patch { copies, ..right.clone() }
    };
    let wrong = [
        (copying(0, 9, old.len() as u64 - 8), new.slice(..0)),
        (copying(0, u64::MAX, 8), new.slice(8..)),
        (copying(u64::MAX, 0, 8), new.slice(8..)),
        (copying(size - 1, 0, 2), new.slice(1..)),
        (copying(0, 0, 0), new.clone()),
        (Patch { copies: Vec::new(), ..right.clone() }, new.clone()),
        (Patch { copies: [&copies[..], &copies[..]].concat(), ..right.clone() }, payload.clone()),
        (Patch { digests: Vec::new(), ..right.clone() }, payload.clone()),
        (Patch { partial: PartialIndex(99), ..right.clone() }, payload.clone()),
        (right.clone(), payload.slice(1..)),
    ];
    for (patch, payload) in wrong {
        let told = format!("{:?}", patch.copies);
        assert_eq!(fault_of(stand.side.patch(patch, payload).await), FaultKind::Protocol, "{told}");
    }
    stand.side.patch(right, payload).await.unwrap();
    stand.commit(0, &new).await.unwrap();
}
