//! The codec: what a block's header costs, and how fast a scan's batches go through.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use xfer_protocol::codec::{HEAD_BYTES, decode, encode};
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, ScanItem, Timestamp};
use xfer_protocol::message::{
    Message, PackedFile, PartialIndex, Reply, Request, RequestId, RootIndex, ScanBatch, Ticket,
    WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

const MIB: usize = 1 << 20;

fn codec(criterion: &mut Criterion) {
    for (name, message, payload, elements) in messages() {
        let frame = encode(&message, payload).unwrap();
        let header = &frame[HEAD_BYTES..];
        let mut group = criterion.benchmark_group(format!("{name}, {} bytes", header.len()));
        group.throughput(Throughput::Elements(elements));
        group.bench_function("encode", |b| b.iter(|| encode(black_box(&message), payload)));
        group.bench_function("decode", |b| b.iter(|| decode(black_box(header), payload)));
        group.finish();
    }
}

fn messages() -> [(&'static str, Message, usize, u64); 3] {
    let ask = |request| Message::Request(RequestId(1_000_000), request);
    let block = WriteBlock {
        partial: PartialIndex(300),
        range: ByteRange::at(5 << 20, 1 << 20).unwrap(),
        digests: vec![digest(1)],
        hole: false,
    };
    let files = (0..200).map(|i| PackedFile {
        ticket: Ticket(i),
        path: path(i),
        size: 7_800,
        digest: digest(u8::try_from(i).unwrap()),
        metadata: metadata(),
    });
    let pack = WritePack { root: RootIndex(0), files: files.collect(), publish: false };
    let items = (0..2000).map(|i| ScanItem::Entry(entry(i))).collect();
    let batch = ScanBatch { sequence: 9, items, last: false };
    [
        ("write block", ask(Request::WriteBlock(block)), MIB, 1),
        ("write pack of 200 files", ask(Request::WritePack(pack)), 200 * 7_800, 200),
        (
            "scan batch of 2000 entries",
            Message::Reply(RequestId(7), Ok(Reply::ScanBatch(batch))),
            0,
            2000,
        ),
    ]
}

fn entry(i: u64) -> Entry {
    Entry {
        path: path(i),
        kind: EntryKind::File { size: 7_800, allocated: 8_192 },
        metadata: metadata(),
        inode: Inode { device: 66_306, number: 12_000_000 + i, changed: time(), links: 1 },
    }
}

fn path(i: u64) -> RelPath {
    RelPath::new(format!("dataset/train/part-{:03}/image-{i:07}.jpg", i / 100)).unwrap()
}

fn metadata() -> Metadata {
    Metadata { mode: 0o644, modified: time(), owner: None, xattrs: Vec::new() }
}

fn time() -> Timestamp {
    Timestamp { seconds: 1_790_000_000, nanoseconds: 123_456_789 }
}

fn digest(first: u8) -> Digest {
    Digest::from_bytes([first; 32])
}

criterion_group!(benches, codec);
criterion_main!(benches);
