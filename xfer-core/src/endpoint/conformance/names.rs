//! Names are bytes.

use bytes::Bytes;
use xfer_protocol::digest::file_digest;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::message::{
    Commit, NewKind, OpenPartial, PartialIndex, ScanOptions, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::Fixture;
use super::stand::{Stand, fault_of, item_path, one, plain};
use crate::disk::partial_name;
use crate::endpoint::Sink;

/// Names that somebody's program got wrong.
const AWKWARD: &[&[u8]] = &[
    b"-rf",
    b"--help",
    b" leading",
    b"trailing ",
    b" ",
    b"...",
    b".hidden",
    b"~",
    b"~root",
    b"a\nb",
    b"a\rb",
    b"\t",
    b"\x01\x02\x1f\x7f",
    b"\x1b[2J",
    b"\x9b",
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b"\xe2\x80\xaemoc.exe",
    b"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
    b"back\\slash",
    b"quote'\"`",
    b"$(touch x);|&<>",
    b"*?[a-z]",
    b"%s%n%00",
    b"CON",
    b"aux.txt",
    b"name:stream",
    b"dot.",
    b"..a",
    b".xfer",
    b".xfer-partial-",
    b".xferignore",
    b"A",
    b"a",
];

/// Every name comes back as it was, for files of either way and for directories.
pub async fn awkward_names_survive<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let longest = [b'n'; 255];
    let longest_invalid = [0xfe; 255];
    let names = AWKWARD.iter().copied().chain([longest.as_slice(), &longest_invalid]);
    let names: Vec<_> = names.map(|name| RelPath::new(name).unwrap()).collect();
    for (n, name) in names.iter().enumerate() {
        let content = name.as_bytes();
        let file = RelPath::new("files").unwrap().join(name).unwrap();
        stand.put_at(&file, content, plain()).await;
        let partial = PartialIndex(n as u64);
        let size = content.len() as u64;
        let file = RelPath::new("large").unwrap().join(name).unwrap();
        stand.make_parents(&file).await;
        let open = OpenPartial { partial, root: stand.root, path: file, size, over: None };
        stand.side.open_partial(open).await.unwrap();
        let digest = file_digest(content);
        let range = ByteRange::whole(size).unwrap();
        let write = WriteBlock { partial, range, digests: vec![digest], hole: false };
        stand.side.write_block(write, Bytes::copy_from_slice(content)).await.unwrap();
        let commit = Commit { partial, ticket: stand.ticket(), digest, metadata: plain() };
        stand.side.commit(commit).await.unwrap();
        if stand.keeps.directories {
            let directory = RelPath::new("directories").unwrap().join(name).unwrap();
            stand.make_parents(&directory).await;
            stand.create(&directory, NewKind::Directory).await.unwrap();
        }
    }
    let outcomes = stand.publish().await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    let mut names = names;
    names.sort();
    let mut themes = vec!["files", "large"];
    if stand.keeps.directories {
        themes.push("directories");
    }
    for theme in themes {
        let top = RelPath::new(theme).unwrap();
        let items = stand.scan(theme, ScanOptions::default()).await;
        let found: Vec<_> = items
            .iter()
            .map(|item| item_path(item).strip_prefix(&top).unwrap())
            .filter(|path| !path.is_root())
            .collect();
        assert_eq!(found, names, "in {theme}");
    }
    for name in &names {
        let file = RelPath::new("files").unwrap().join(name).unwrap();
        assert_eq!(stand.content(&file).await.unwrap(), name.as_bytes());
    }
}

/// Paths longer than the system calls take.
pub async fn long_paths_survive<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let mut file = RelPath::root();
    for depth in 0..40_u8 {
        file = file.child(&[b'a' + depth % 26; 120]).unwrap();
    }
    assert!(file.as_bytes().len() > 4096);
    if !stand.capabilities().long_paths {
        let files = vec![stand.packed(&file, b"deep", plain())];
        let pack = WritePack { root: stand.root, files, publish: true };
        let written = stand.side.write_pack(pack, Bytes::from_static(b"deep")).await.unwrap();
        assert_eq!(one(written).unwrap_err().kind, FaultKind::NameTooLong);
        return;
    }
    stand.put_at(&file, b"deep", plain()).await;
    assert_eq!(stand.content(&file).await.unwrap(), b"deep");
}

/// No entry has the name of a partial.
pub async fn reserved_names_are_refused<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let reserved = RelPath::new(partial_name(b"file")).unwrap();
    let open = OpenPartial {
        partial: PartialIndex(0),
        root: stand.root,
        path: reserved.clone(),
        size: 1,
        over: None,
    };
    assert_eq!(fault_of(stand.side.open_partial(open).await), FaultKind::Unsafe);
    let files = vec![stand.packed(&reserved, b"", plain())];
    let pack = WritePack { root: stand.root, files, publish: true };
    let refused = one(stand.side.write_pack(pack, Bytes::new()).await.unwrap()).unwrap_err();
    assert_eq!(refused.kind, FaultKind::Unsafe);
    if stand.keeps.directories {
        let refused = stand.create(&reserved, NewKind::Directory).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Unsafe);
    }
}
