//! The hash tree: how much spans cost over hashing a file in one go, and what joining them costs.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use xfer_protocol::digest::{Digest, TreeAssembler, file_digest, range_digests, zero_span_digest};
use xfer_protocol::range::ByteRange;

const MIB: u64 = 1 << 20;

/// Spans of each block size against the root of the same bytes at once.
fn hashing(criterion: &mut Criterion) {
    let bytes: Vec<u8> = (0..=250).cycle().take(16 << 20).collect();
    let size = bytes.len() as u64;
    let mut group = criterion.benchmark_group("hash 16 MiB");
    group.throughput(Throughput::Bytes(size)).sample_size(20);
    group.bench_function("at once", |b| b.iter(|| file_digest(black_box(&bytes))));
    for block in [64 << 10, 1 << 20, 4 << 20] {
        group.bench_function(format!("by {} KiB", block >> 10), |b| {
            b.iter(|| {
                for (i, piece) in (0_u64..).zip(black_box(&bytes).chunks(block)) {
                    black_box(range_digests(i * block as u64, piece, size));
                }
            });
        });
    }
    group.bench_function("zeros by 1 MiB", |b| {
        b.iter(|| {
            for i in 0..16 {
                black_box(zero_span_digest(i * MIB, MIB, size));
            }
        });
    });
    group.finish();
}

/// A TiB of 1 MiB blocks, in order and with their bits reversed, which makes the most gaps.
fn joining(criterion: &mut Criterion) {
    let size = 1 << 40;
    let blocks = size / MIB;
    let digest = Digest::from_bytes([7; 32]);
    let mut group = criterion.benchmark_group("join a TiB of blocks");
    group.throughput(Throughput::Elements(blocks)).sample_size(10);
    for (name, scattered) in [("in order", false), ("scattered", true)] {
        let order = |i: u64| if scattered { i.reverse_bits() >> 44 } else { i };
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut tree = TreeAssembler::new(size);
                for i in 0..blocks {
                    tree.add(ByteRange::at(order(i) * MIB, MIB).unwrap(), digest).unwrap();
                }
                tree.root().unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hashing, joining);
criterion_main!(benches);
