//! What is large or many, in memory that is neither

use std::fs::File;

use xfer_tests::stores::{Discard, invented};
use xfer_tests::tree;
use xfer_tests::xfer::{Running, measured, measurement};

use crate::Bench;

/// What a side may cost, in KiB
const KIB_MAX: u64 = 256 << 10;

const GIB: u64 = 1 << 30;

/// Pushes, and returns what it cost in KiB
fn pushed(bench: &Bench, source: &std::path::Path) -> u64 {
    let cost = bench.path("cost");
    let places = [source.into(), bench.access.location("to/").into()];
    let plain = bench.xfer.command(bench.arguments("push", places, &[]));
    Running::start(measured(&plain, &cost)).wait().expect_code(0);
    measurement(&cost)
}

/// A sparse file of so many bytes becomes one object
fn one_large(length: u64) {
    let store = Discard::start();
    let bench = Bench::before(store.access());
    let source = bench.path("large");
    let file = File::create(&source).expect("create");
    file.set_len(length).expect("set a length");
    let kib = pushed(&bench, &source);
    assert!(kib <= KIB_MAX, "{kib} KiB");
    let held = store.objects().remove("to/large").expect("an object");
    assert_eq!((held.size, held.parts.iter().sum::<u64>()), (length, length));
    assert!(held.parts.len() <= 10_000, "{} parts", held.parts.len());
    let (last, rest) = held.parts.split_last().expect("parts");
    assert!(rest.iter().all(|size| *size >= 5 << 20), "{rest:?}");
    assert!(*last > 0);
    assert_eq!(store.uploads(), 0, "an upload is left");
}

#[test]
fn four_gibibytes_go_in_little_memory() {
    one_large(4 * GIB + 1);
}

#[test]
#[ignore = "100 GiB through one processor: many minutes"]
fn a_hundred_gibibytes_go_in_little_memory_and_ten_thousand_parts() {
    one_large(100 * GIB + 1);
}

fn many_small(count: usize) {
    let store = Discard::start();
    let bench = Bench::before(store.access());
    let source = bench.path("many");
    tree::small_files(&source, count, 3);
    let kib = pushed(&bench, &source);
    assert!(kib <= KIB_MAX, "{kib} KiB");
    let objects = store.objects();
    let files = objects.keys().filter(|key| key.starts_with("to/many/d")).count();
    assert_eq!(files, count);
    let puts = store.count("PutObject");
    assert!(puts <= count + count / 10 + 20, "{puts} writings of {count} files");
    let others = store.asked().len() - puts;
    assert!(others <= count + count / 10 + 100, "{others} requests beside them");
}

#[test]
fn two_thousand_files_cost_one_writing_each() {
    many_small(2_000);
}

#[test]
#[ignore = "20,000 files: a minute or two"]
fn twenty_thousand_files_cost_one_writing_each() {
    many_small(20_000);
}

/// Where a file is large, its ranges come from where they were asked for
#[test]
fn a_large_object_comes_in_little_memory() {
    use std::os::unix::fs::FileExt;
    let store = Discard::start();
    let bench = Bench::before(store.access());
    store.invent("from/large", GIB + 5);
    let (here, cost) = (bench.path("here"), bench.path("cost"));
    let places = [bench.access.location("from/large").into(), here.clone().into()];
    let plain = bench.xfer.command(bench.arguments("pull", places, &[]));
    Running::start(measured(&plain, &cost)).wait().expect_code(0);
    let kib = measurement(&cost);
    assert!(kib <= KIB_MAX, "{kib} KiB");
    let file = File::open(&here).expect("open");
    assert_eq!(file.metadata().expect("stat").len(), GIB + 5);
    let mut bytes = vec![0; 1 << 20];
    for at in [0, 8 << 20, 500 << 20, GIB + 5 - (1 << 20)] {
        file.read_exact_at(&mut bytes, at).expect("read");
        assert!((at..).map(invented).zip(&bytes).all(|(right, byte)| right == *byte), "at {at}");
    }
}
