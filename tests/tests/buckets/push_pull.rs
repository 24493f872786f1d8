//! A tree goes into a bucket and comes back

use std::fs;
use std::path::Path;

use xfer_tests::stores::{Access, Azurite, Garage, Moto, S3s, judges};
use xfer_tests::{oracle, tree};

use crate::{BIG, Bench, assert_same, b3sum};

/// Small files, empty ones, a large one, links and names with spaces
fn plant(root: &Path) {
    tree::small_files(root, 30, 7);
    fs::create_dir_all(root.join("ein Verzeichnis/ü")).expect("make a directory");
    tree::write(&root.join("ein Verzeichnis/ü/a b & c"), b"named\n");
    tree::write(&root.join("empty"), b"");
    fs::create_dir(root.join("nothing in it")).expect("make a directory");
    std::os::unix::fs::symlink("empty", root.join("link")).expect("make a symbolic link");
    tree::big_file(&root.join("big"), BIG, 5);
}

/// Pushes, has it judged by others, and pulls it again
fn goes_and_comes(access: &Access) -> Bench {
    let bench = Bench::before(access);
    let source = bench.path("tree");
    plant(&source);
    bench.push(&source, "runs/").expect_code(0);
    let plain = bench.path("plain");
    let copied = std::process::Command::new("cp").arg("-a").arg(&source).arg(&plain).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp");
    fs::remove_file(plain.join("link")).expect("remove");
    judges::check(access, &plain, "runs/tree");
    let listed = judges::listed(access, "runs/tree/");
    for (name, size) in [("big", BIG), ("empty", 0), ("ein Verzeichnis/ü/a b & c", 6)] {
        let row = (format!("runs/tree/{name}"), size);
        assert!(listed.contains(&row), "{row:?} in {listed:?}");
    }
    let back = bench.path("back");
    fs::create_dir(&back).expect("make a directory");
    bench.pull("runs/tree", &back).expect_code(0);
    oracle::assert_equal(&source, &back.join("tree"));
    bench
}

#[test]
fn a_tree_goes_into_s3s_and_comes_back() {
    let store = S3s::start();
    let bench = goes_and_comes(store.access());
    let (object, file) = (store.objects().join("runs/tree/big"), bench.path("tree/big"));
    assert_eq!(b3sum(&object), b3sum(&file));
    assert_eq!(store.parts(), Vec::<String>::new(), "parts are left");
}

#[test]
fn a_tree_goes_into_moto_and_comes_back() {
    let store = Moto::start();
    goes_and_comes(store.access());
    assert_eq!(judges::uploads(store.access()), 0, "uploads are left");
}

#[test]
fn a_tree_goes_into_garage_and_comes_back() {
    if let Some(store) = Garage::start() {
        goes_and_comes(store.access());
    }
}

#[test]
fn a_tree_goes_into_azurite_and_comes_back() {
    let store = Azurite::start();
    // Where it is stands in place of what S3 asks for.
    let access = Access {
        endpoint: store.endpoint(),
        key: String::new(),
        secret: String::new(),
        region: String::new(),
        bucket: String::from(Azurite::CONTAINER),
    };
    let mut bench = Bench::before(&access);
    for (name, value) in store.environment() {
        bench.xfer = bench.xfer.env(name, value);
    }
    let source = bench.path("tree");
    plant(&source);
    let place = format!("az://{}/runs/", Azurite::CONTAINER);
    let places = [source.clone().into(), place.into()];
    bench.xfer.run(bench.arguments("push", places, &[])).expect_code(0);
    let listed = store.rclone().args(["cat", ":azureblob:container/runs/tree/big"]).output();
    let here = bench.path("of-rclone");
    fs::write(&here, listed.expect("run rclone").stdout).expect("write");
    assert_same(&here, &source.join("big"));
}

/// What is there already is left, and what changed alone is sent
#[test]
fn a_second_push_sends_nothing() {
    let store = S3s::start();
    let bench = Bench::before(store.access());
    let source = bench.path("tree");
    plant(&source);
    bench.push(&source, "runs/").expect_code(0);
    let again = bench.push(&source, "runs/").expect_code(0).result();
    assert_eq!(again["bytes"]["moved"], 0, "{again}");
    tree::write(&source.join("empty"), b"not any more");
    let third = bench.push(&source, "runs/").expect_code(0).result();
    assert_eq!(third["bytes"]["moved"], 12, "{third}");
    let object = fs::read(store.objects().join("runs/tree/empty")).expect("read");
    assert_eq!(object, b"not any more");
}

/// Objects that others wrote are files like any
#[test]
fn what_others_wrote_comes() {
    let store = Moto::start();
    let bench = Bench::before(store.access());
    let source = bench.path("tree");
    tree::small_files(&source, 120, 3);
    tree::big_file(&source.join("big"), BIG, 9);
    let (from, to) = (format!("{}/", source.display()), store.access().location("others/"));
    judges::said(&mut judges::s5cmd(store.access()), ["cp", &from, &to]);
    let back = bench.path("back");
    fs::create_dir(&back).expect("make a directory");
    bench.pull("others/", &back).expect_code(0);
    let changes = oracle::rsync_changes(&source, &back);
    let of_content = changes.iter().filter(|line| line.contains(".f") && line.contains('c'));
    assert_eq!(of_content.collect::<Vec<_>>(), Vec::<&String>::new());
    assert_same(&source.join("big"), &back.join("big"));
    let count = fs::read_dir(back.join("d0001")).expect("list").count();
    assert_eq!(count, 20);
}

/// A bucket tells whoever has it alone what was proven of it
#[test]
fn a_receipt_lies_beside_what_was_moved() {
    let store = S3s::start();
    let bench = Bench::before(store.access());
    let source = bench.path("tree");
    fs::create_dir(&source).expect("make a directory");
    fs::write(source.join("file"), "content").expect("write");
    let pushed = bench.push(&source, "to/").expect_code(0).events();
    let told = pushed.iter().find(|event| event["type"] == "receipt").expect("a receipt");
    let here = fs::read(told["path"].as_str().expect("a path")).expect("read");
    let beside = || -> Vec<_> {
        let names = judges::listed(store.access(), "to/.xfer-receipts/").into_iter();
        names.map(|(key, _)| key).filter(|key| key.ends_with(".ndjson")).collect()
    };
    let [key] = &beside()[..] else { panic!("{:?}", beside()) };
    let object = store.objects().join(key);
    assert_eq!(fs::read(&object).expect("read"), here);
    bench.xfer.run(["receipt".as_ref(), "show".as_ref(), object.as_os_str()]).expect_code(0);
    // What moves nothing leaves none, and no reader meets one.
    bench.push(&source, "to/").expect_code(0);
    assert_eq!(beside().len(), 1);
    let back = bench.path("back");
    bench.pull("to", &back).expect_code(0);
    let names: Vec<_> = fs::read_dir(back).expect("read").flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}
