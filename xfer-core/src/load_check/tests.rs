//! Every kind at once: good files, and all that can become of them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::fuzzing::{counted, load_checks};
use super::{Beyond, Flaw, Kind, LoadCheck, ReadAt, Seeking, check, samples};

fn is_sound(found: LoadCheck) -> bool {
    matches!(found, LoadCheck::Sound { .. })
}

#[test]
fn good_files_are_sound() {
    let mut kinds = Vec::new();
    for (name, file) in samples::all() {
        match counted(name, &file) {
            LoadCheck::Sound { kind, proven } => {
                assert!(proven.members > 0, "{name}");
                kinds.push(kind);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    kinds.sort();
    assert_eq!(kinds, Kind::ALL, "a sample of every kind");
}

/// Where a line ends, and where a tar's member ends, a shorter file is whole as well.
#[test]
fn what_was_cut_is_broken() {
    for (name, file) in samples::all() {
        for length in 0..file.len() {
            let is_whole = match name {
                "a.jsonl" => matches!(length, 0 | 8..=10 | 17 | 18),
                "a.tar" => length == 1024,
                // What pads the last tensor is no part of it.
                _ => false,
            };
            let found = counted(name, &file[..length]);
            assert_eq!(is_sound(found), is_whole, "{name}: {length} bytes: {found:?}");
        }
    }
}

#[test]
fn zeros_are_broken() {
    for (name, file) in samples::all() {
        for length in [1, 4, 512, 1024, file.len(), 10_240, 100_000] {
            let found = counted(name, &vec![0; length]);
            let is_broken = matches!(found, LoadCheck::Broken { flaw: Flaw::Zeroed, .. });
            let is_short = matches!(found, LoadCheck::Broken { .. }) && length < 1024;
            assert!(is_broken || is_short, "{name}: {length} zeros: {found:?}");
        }
    }
}

#[test]
fn bits_under_a_checksum_are_covered() {
    // The gzip's data and sums, the zip's data, the frame, the page, the header and the superblock.
    // In the gzip's byte 28 its deflated data ends, and what fills that byte is covered by nothing.
    let rows = [
        ("a.gz", 12..28),
        ("a.gz", 29..40),
        ("a.zip", 31..36),
        ("a.zst", 9..20),
        ("a.tar", 0..148),
        ("a.tar", 156..512),
        ("a.parquet", 26..34),
        ("a.h5", 8..72),
    ];
    for (name, file) in samples::all() {
        let places = rows.iter().filter(|(row, _)| *row == name);
        let places = places.flat_map(|(_, places)| places.clone());
        for at in places.take_while(|at| *at < file.len()) {
            for bit in 0..8 {
                let mut bent = file.clone();
                bent[at] ^= 1 << bit;
                let found = counted(name, &bent);
                assert!(!is_sound(found), "{name}: byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn no_bit_makes_it_panic() {
    for (name, file) in samples::all() {
        for at in 0..file.len() {
            for byte in [0, 0x7f, 0x80, 0xff, file[at] ^ 1, file[at] ^ 0x40] {
                let mut bent = file.clone();
                bent[at] = byte;
                counted(name, &bent);
            }
        }
    }
}

#[test]
fn a_declared_length_takes_no_memory() {
    let vast = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    for length in [3, 1 << 20, 100_000_001, 1 << 40, u64::MAX] {
        let found = counted("a.safetensors", &vast(length));
        assert!(matches!(found, LoadCheck::Broken { flaw: Flaw::Extent, .. }), "{length}");
    }
    // A frame that says that it needs 2 GiB, and one that stands for more than it can.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let memory = LoadCheck::Unchecked { kind: Some(Kind::Zstd), beyond: Beyond::Memory };
    assert_eq!(counted("a", &frame), memory);
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 7, 1, 0, 0];
    let found = counted("a", &frame);
    assert!(matches!(found, LoadCheck::Broken { flaw: Flaw::Extent, .. }), "{found:?}");
}

#[test]
fn what_is_not_known_is_not_checked() {
    let unknown = LoadCheck::Unchecked { kind: None, beyond: Beyond::UnknownKind };
    for name in ["a", "a.txt", "", ".", "a.bin", "zip"] {
        assert_eq!(counted(name, b"some words"), unknown, "{name:?}");
    }
    // A pickle of old, and what Python calls so.
    assert_eq!(counted("a.pt", b"\x80\x02."), unknown);
    assert_eq!(counted("a.pth", b"import a\n"), unknown);
    let names = b"a.GZ".as_slice();
    let found = check(names, &b"no magic".as_slice()).unwrap();
    assert!(matches!(found, LoadCheck::Broken { kind: Kind::Gzip, flaw: Flaw::Magic, at: 0 }));
}

#[test]
fn a_file_that_seeks_is_the_same() {
    for (name, file) in samples::all() {
        let seeking = Seeking::new(std::io::Cursor::new(&file)).unwrap();
        assert_eq!(seeking.size(), file.size());
        let found = check(name.as_bytes(), &seeking).unwrap();
        assert_eq!(found, counted(name, &file));
    }
}

/// What ends before its size, as a file that shrinks while it is read, is broken and nothing else.
#[test]
fn a_file_that_shrinks_is_broken() {
    struct Shrunk(Vec<u8>, u64);
    impl ReadAt for Shrunk {
        fn size(&self) -> u64 {
            self.1
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read_at(offset, buffer)
        }
    }
    for (name, file) in samples::all() {
        let size = file.size();
        let shrunk = Shrunk(file[..file.len() / 2].to_vec(), size);
        let found = check(name.as_bytes(), &shrunk).unwrap();
        assert!(matches!(found, LoadCheck::Broken { .. }), "{name}: {found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics_whatever_stands_in_it(bytes in vec(any::<u8>(), 0..64)) {
        load_checks(&bytes);
    }
}
