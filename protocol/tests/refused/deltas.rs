//! Deltas that cannot be.

use xfer_protocol::digest::BlockSize;
use xfer_protocol::limits;
use xfer_protocol::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign, SumKind};
use xfer_protocol::message::{Message, Reply, Request, RequestId};

use super::{PARTIAL, Refused, ask, frame, named};
use crate::samples::{digest, file, range};

const KIB64: u64 = 65_536;

pub(super) fn frames() -> Vec<Refused> {
    let mut all = sums();
    all.extend(parts());
    all.extend(patches());
    all.extend(copies());
    all
}

fn sums() -> Vec<Refused> {
    let kind = SumKind::Rolling;
    let sign = |start, block| {
        ask(Request::Sign(Sign { file: file(9_000), range: range(start, 9_000), block, kind }))
    };
    let looked = |range, block, from, sums, payload: &[u8]| {
        let file = file(1 << 40);
        let asked = Match { file, range, block, from, sums, kind };
        frame(&Message::Request(RequestId(1), Request::Match(asked)), payload)
    };
    let told = |count| frame(&Message::Reply(RequestId(1), Ok(Reply::Sums(kind, count))), b"");
    let (all, above) = (range(0, 9_000), u32::try_from(limits::SUMS_MAX).unwrap() + 1);
    let whole = Sign { file: file(1 << 40), range: range(0, 1 << 40), block: 1024, kind };
    vec![
        named("sign-no-block", "Copies", sign(0, 0)),
        named("sign-small-block", "Copies", sign(0, limits::SUMMED_MIN - 1)),
        named("sign-large-block", "Copies", sign(0, limits::SUMMED_MAX + 1)),
        named("sign-off-grid", "Range", sign(1, 1024)),
        named("sign-too-much", "Range", ask(Request::Sign(whole))),
        named("match-short-payload", "PayloadMismatch", looked(all, 1024, 0, 1, &[0; 11])),
        named("match-too-much", "Range", looked(range(0, 1 << 40), 1024, 0, 0, b"")),
        named("match-no-block", "Copies", looked(all, 0, 0, 1, &[0; 12])),
        named("match-basis-wraps", "Copies", looked(all, 1024, u64::MAX, 1, &[0; 12])),
        named("match-too-many", "Copies", looked(all, 1024, 0, above, b"")),
        named("sums-too-many", "Copies", told(above)),
        named("sums-without-payload", "PayloadMismatch", told(1)),
    ]
}

fn parts() -> Vec<Refused> {
    let read = |range, parts| {
        let (file, block) = (file(200_000), BlockSize::MIN);
        ask(Request::ReadParts(ReadParts { file, range, block, parts }))
    };
    let told = |digests: u8, length| {
        let digests = (0..digests).map(digest).collect();
        frame(&Message::Reply(RequestId(1), Ok(Reply::Parts(digests, length))), b"")
    };
    let above = u32::try_from(limits::PAYLOAD_BYTES_MAX).unwrap() + 1;
    vec![
        named("parts-off-grid", "Range", read(range(1, 200_000), vec![])),
        named("parts-end-off-grid", "Range", read(range(0, KIB64 + 1), vec![])),
        named("parts-beyond-file", "Range", read(range(0, 262_144), vec![])),
        named("parts-beyond-range", "Range", read(range(0, KIB64), vec![range(1, KIB64 + 1)])),
        named(
            "parts-out-of-order",
            "RangeOrder",
            read(range(0, KIB64), vec![range(9, 12), range(5, 9)]),
        ),
        named("parts-without-digest", "DigestCount", told(0, 0)),
        named("parts-above-limit", "DigestCount", told(1, above)),
        named("parts-without-payload", "PayloadMismatch", told(1, 1)),
    ]
}

fn patches() -> Vec<Refused> {
    let patch = |range, digests: u8, copies: &[(u64, u64, u64)], payload: &[u8]| {
        let patch = Patch {
            partial: PARTIAL,
            range,
            block: BlockSize::MIN,
            digests: (0..digests).map(digest).collect(),
            basis: file(200_000),
            copies: copies.iter().map(copied).collect(),
        };
        frame(&Message::Request(RequestId(1), Request::Patch(patch)), payload)
    };
    let one = range(0, KIB64);
    let long = range(0, 2 * limits::PATCH_BYTES_MAX);
    vec![
        named("patch-off-grid", "Range", patch(range(1, KIB64), 1, &[(1, 0, 9)], b"")),
        named("patch-too-long", "Range", patch(long, 1, &[(0, 0, 9)], b"")),
        named("patch-missing-digest", "DigestCount", patch(one, 0, &[(0, 0, KIB64)], b"")),
        named("patch-spare-digest", "DigestCount", patch(one, 2, &[(0, 0, KIB64)], b"")),
        named("patch-without-copy", "Copies", patch(one, 1, &[], &[0; 65_536])),
        named("patch-beyond-range", "Copies", patch(one, 1, &[(9, 0, KIB64)], b"")),
        named("patch-before-range", "Copies", patch(range(KIB64, 131_072), 1, &[(0, 0, 9)], b"")),
        named("patch-beyond-basis", "Copies", patch(one, 1, &[(0, 200_000, 1)], b"")),
        named("patch-basis-wraps", "Copies", patch(one, 1, &[(0, u64::MAX, 2)], b"")),
        named("patch-overlaps", "Copies", patch(one, 1, &[(0, 0, 9), (8, 0, 9)], b"")),
        named("patch-out-of-order", "Copies", patch(one, 1, &[(9, 0, 9), (0, 0, 9)], b"")),
        named("patch-empty-copy", "Copies", patch(one, 1, &[(0, 0, 0)], &[0; 65_536])),
        named("patch-short-payload", "PayloadMismatch", patch(one, 1, &[(0, 0, 65_535)], b"")),
    ]
}

fn copies() -> Vec<Refused> {
    let told = |copies: &[(u64, u64, u64)]| {
        let copies = copies.iter().map(copied).collect();
        frame(&Message::Reply(RequestId(1), Ok(Reply::Copies(copies))), b"")
    };
    let many: Vec<_> = (0..=limits::COPIES_MAX as u64).map(|at| (at, 0, 1)).collect();
    vec![
        named("copies-overlap", "Copies", told(&[(0, 0, 2), (1, 0, 2)])),
        named("copies-empty", "Copies", told(&[(0, 0, 0)])),
        named("copies-wrap", "Copies", told(&[(u64::MAX, 0, 2)])),
        named("copies-too-many", "Malformed", told(&many)),
    ]
}

fn copied(&(to, from, length): &(u64, u64, u64)) -> CopiedRange {
    CopiedRange { to, from, length }
}
