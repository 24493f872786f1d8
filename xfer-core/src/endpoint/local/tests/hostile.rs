//! Peers and neighbours that want bytes to end up elsewhere, or to come from elsewhere.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::disk::confine::Confinement;

const BOTH: [Confinement; 2] = [Confinement::Kernel, Confinement::Walk];

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    for confinement in BOTH {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("victim"), b"precious").unwrap();
        let options = LocalOptions { confinement, ..LocalOptions::default() };
        let lab = Lab::with("/tmp", options).await;
        symlink(outside.path(), lab.at("link")).unwrap();
        symlink(outside.path().join("victim"), lab.at("file")).unwrap();
        let outcomes = lab.pack(vec![packed(1, "link/new", b"x")], b"x").await;
        assert_eq!(outcomes[0].result.clone().unwrap_err().kind, FaultKind::Unsafe);
        let (partial, root) = (PartialIndex(1), lab.root);
        let open = OpenPartial { partial, root, path: rel("link/new"), size: 1, over: None };
        assert_eq!(kind(lab.endpoint.open_partial(open).await.unwrap_err()), FaultKind::Unsafe);
        let entry = |path: &str, kind| NewEntry {
            ticket: Ticket(1),
            path: rel(path),
            kind,
            metadata: metadata(),
        };
        for entry in [
            entry("link/d", NewKind::Directory),
            entry("link/d/e", NewKind::Directory),
            entry("hard", NewKind::HardLink { of: rel("link/victim") }),
        ] {
            let create = Create { root, entries: vec![entry] };
            let outcomes = lab.endpoint.create(create).await.unwrap();
            assert_eq!(outcomes[0].result.clone().unwrap_err().kind, FaultKind::Unsafe);
        }
        // Metadata of a link is its own; a file replaces the link and not what it leads to.
        let set = SetMetadata { root, entries: vec![(Ticket(1), rel("file"), metadata())] };
        assert!(lab.endpoint.set_metadata(set).await.unwrap()[0].result.is_ok());
        lab.pack(vec![packed(1, "file", b"new")], b"new").await;
        assert!(lab.publish(true).await[0].result.is_ok());
        assert_eq!(std::fs::read(lab.at("file")).unwrap(), b"new");
        let victim = outside.path().join("victim");
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        let victim = rustix::fs::stat(&victim).unwrap();
        assert_ne!(crate::disk::stat::modified(&victim), metadata().modified);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}

/// A neighbour swaps a directory for a link to somewhere else, again and again, while packs arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_swapped_for_a_link_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let lab = Lab::on("/tmp").await;
    std::fs::create_dir(lab.at("d")).unwrap();
    symlink(outside.path(), lab.at("link")).unwrap();
    let place = std::fs::File::open(lab.directory.path()).unwrap();
    let done = AtomicBool::new(false);
    let (mut written, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&place, "d", &place, "link", flags).unwrap();
                std::thread::yield_now();
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for i in 0..600 {
                    let files = vec![packed(i, "d/file", b"bytes")];
                    let pack = WritePack { root: lab.root, files, publish: true };
                    let payload = Bytes::from_static(b"bytes");
                    let outcomes = lab.endpoint.write_pack(pack, payload).await.unwrap();
                    match &outcomes[0].result {
                        Ok(_) => written += 1,
                        Err(_) => refused += 1,
                    }
                }
            });
        });
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(written + refused, 600);
}

#[tokio::test]
async fn a_source_that_is_swapped_is_noticed_and_never_waited_for() {
    let lab = Lab::on("/tmp").await;
    let fifo = || rustix::fs::mkfifoat(rustix::fs::CWD, lab.at("file"), 0o600.into()).unwrap();
    let tricks: [&dyn Fn(); 4] = [
        &fifo,
        &|| symlink("/etc/passwd", lab.at("file")).unwrap(),
        &|| std::fs::write(lab.at("file"), b"other").unwrap(),
        &|| drop(std::os::unix::net::UnixListener::bind(lab.at("file")).unwrap()),
    ];
    for trick in tricks {
        std::fs::write(lab.at("file"), b"first").unwrap();
        let file = lab.file_at("file");
        std::fs::rename(lab.at("file"), lab.at("old")).unwrap();
        trick();
        let block = ReadBlock { file: file.clone(), range: range(0, 5) };
        let error = lab.endpoint.read_block(block).await.unwrap_err();
        assert_eq!(kind(error), FaultKind::Changed);
        let files = FilesAt { root: lab.root, files: vec![(file.path, file.stamp)] };
        let (reads, payload) = lab.endpoint.read_pack(files.clone()).await.unwrap();
        assert_eq!(reads[0].as_ref().unwrap_err().kind, FaultKind::Changed);
        assert!(payload.is_empty());
        let hash = HashFiles { files, reading: Reading::Cached };
        let (hashed, _) = lab.endpoint.hash_files(hash).await.unwrap();
        assert_eq!(hashed[0].as_ref().unwrap_err().kind, FaultKind::Changed);
        std::fs::remove_file(lab.at("file")).unwrap();
    }
}

#[tokio::test]
async fn links_of_a_source_are_followed_only_after_a_scan_that_does() {
    let lab = Lab::on("/tmp").await;
    std::fs::create_dir(lab.at("d")).unwrap();
    std::fs::write(lab.at("d/file"), b"12345").unwrap();
    symlink("d", lab.at("link")).unwrap();
    symlink("../../../etc/passwd", lab.at("out")).unwrap();
    let source = LocalEndpoint::new(LocalOptions::default());
    let root = open(&source, lab.directory.path(), Access::Read).await.index;
    let through = FileAt { root, path: rel("link/file"), stamp: lab.stamp("d/file") };
    let read = ReadBlock { file: through, range: range(0, 5) };
    assert_eq!(kind(source.read_block(read.clone()).await.unwrap_err()), FaultKind::Unsafe);
    let options = ScanOptions { follow_links: true, ..ScanOptions::default() };
    source.scan(Scan { root, under: RelPath::root(), options }).await.unwrap();
    assert_eq!(source.read_block(read).await.unwrap().1, b"12345".as_slice());
    let out = FileAt { root, path: rel("out"), stamp: lab.stamp("out") };
    let read = ReadBlock { file: out, range: range(0, 5) };
    assert_eq!(kind(source.read_block(read).await.unwrap_err()), FaultKind::Unsafe);
}

/// The same pack arrives from several streams at once, while others publish.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_repeated_at_the_same_time_write_whole_files() {
    let lab = Arc::new(Lab::on("/dev/shm").await);
    // A call that replaces what waits keeps the first publishing from making anything.
    lab.pack(vec![packed(200, "file", &[200; 3000])], &[200; 3000]).await;
    lab.publish(false).await;
    let mut calls = tokio::task::JoinSet::new();
    for round in 0..200_u64 {
        let lab = Arc::clone(&lab);
        calls.spawn(async move {
            let bytes = [round as u8; 3000];
            lab.pack(vec![packed(round, "file", &bytes)], &bytes).await;
            for outcome in lab.publish(round % 2 == 0).await {
                assert!(outcome.result.is_ok(), "{outcome:?}");
            }
            let found = std::fs::read(lab.at("file")).unwrap();
            assert!(found.len() == 3000 && found.iter().all(|b| *b == found[0]));
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    lab.finish().await;
    assert_eq!(lab.names(), ["file"]);
}
