//! Files that the libraries write which programs use, good and harmed
//!
//! `corpora.py` writes them in the Python that `.ci/servers` installs, and says of each which bytes
//! its kind covers. Each is sound as it was written; cut at half and at 99 %, filled with zeros as
//! a whole or from some place on, and with a bit turned where it is covered, it is broken. Data
//! without a checksum cannot be told from other data: of such a file a zeroed tail is told and not
//! judged. The lowest bit is turned, for in the last byte of deflated data others may mean nothing.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use xfer_core::load_check::{Flaw, Kind, LoadCheck, check};
use xfer_tests::stores;

/// What becomes of a file whose last part is zeros
enum Tail {
    /// It is broken, if so many of a hundred bytes are
    Broken(usize),
    /// It is sound, and the zeros are told
    Told,
}

use Tail::{Broken, Told};

const FILES: &[(&str, Kind, Tail)] = &[
    ("archive.tgz", Kind::Gzip, Broken(5)),
    ("behind.h5", Kind::Hdf5, Told),
    ("behind.zip", Kind::Zip, Broken(5)),
    ("deflated.npz", Kind::Npz, Broken(5)),
    ("deflated.zip", Kind::Zip, Broken(5)),
    ("far.zip", Kind::Zip, Broken(5)),
    ("fields.npy", Kind::Npy, Told),
    ("first.h5", Kind::Hdf5, Broken(50)),
    ("floats.npy", Kind::Npy, Told),
    ("gnu.tar", Kind::Tar, Broken(50)),
    ("latest.h5", Kind::Hdf5, Broken(95)),
    ("model.gguf", Kind::Gguf, Told),
    ("model.pt", Kind::PyTorch, Broken(5)),
    ("none.parquet", Kind::Parquet, Broken(5)),
    ("pax.tar", Kind::Tar, Broken(50)),
    ("plain.parquet", Kind::Parquet, Broken(5)),
    ("second.npy", Kind::Npy, Told),
    ("second.parquet", Kind::Parquet, Broken(5)),
    ("snappy.parquet", Kind::Parquet, Broken(5)),
    ("stored.npz", Kind::Npz, Broken(5)),
    ("stored.zip", Kind::Zip, Broken(5)),
    ("streamed.zip", Kind::Zip, Broken(5)),
    ("streamed.zst", Kind::Zstd, Broken(5)),
    ("tensors.safetensors", Kind::Safetensors, Told),
    ("texts.npy", Kind::Npy, Told),
    ("ustar.tar", Kind::Tar, Broken(50)),
    ("values.json", Kind::Json, Broken(5)),
    ("values.jsonl", Kind::JsonLines, Broken(5)),
    ("words.gz", Kind::Gzip, Broken(5)),
    ("words.zst", Kind::Zstd, Broken(5)),
    ("zstd.parquet", Kind::Parquet, Broken(5)),
];

/// Good files that have nothing in them that could be harmed
const EMPTY: &[(&str, Kind)] =
    &[("empty.parquet", Kind::Parquet), ("empty.safetensors", Kind::Safetensors)];

/// Places of one file at which bits are turned, evenly over what is covered
const TURNED_MAX: usize = 400;

/// The directory with the files, written once for all tests
fn corpora() -> &'static Path {
    static CORPORA: OnceLock<TempDir> = OnceLock::new();
    let written = CORPORA.get_or_init(|| {
        let place = TempDir::new().expect("temp dir");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load_checks/corpora.py");
        let mut command = Command::new(stores::corpora_python());
        command.args([script.as_path(), place.path()]).stdin(Stdio::null());
        let output = command.env_clear().env("HOME", place.path()).output().expect("python runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "corpora.py failed:\n{said}");
        place
    });
    written.path()
}

fn file(name: &str) -> Vec<u8> {
    fs::read(corpora().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn look(name: &str, bytes: &[u8]) -> LoadCheck {
    check(name.as_bytes(), &bytes).expect("memory is read without errors")
}

fn assert_broken(name: &str, kind: Kind, bytes: &[u8], what: &str) -> Flaw {
    match look(name, bytes) {
        LoadCheck::Broken { kind: found, flaw, at } => {
            assert_eq!(found, kind, "{name}, {what}");
            assert!(at <= bytes.len() as u64, "{name}, {what}: at {at}");
            flaw
        }
        other => panic!("{name}, {what}: {other}"),
    }
}

#[test]
fn every_kind_is_there() {
    let mut kinds: Vec<_> = FILES.iter().map(|(_, kind, _)| *kind).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, Kind::ALL);
    let written = fs::read_dir(corpora()).unwrap().count();
    assert_eq!(written, FILES.len() + EMPTY.len() + 1, "each file stands in the table");
}

#[test]
fn good_files_are_sound() {
    let all = FILES.iter().map(|(name, kind, _)| (name, kind));
    for (name, kind) in all.chain(EMPTY.iter().map(|(name, kind)| (name, kind))) {
        let found = look(name, &file(name));
        let is_sound = matches!(found, LoadCheck::Sound { kind: found, .. } if found == *kind);
        assert!(is_sound, "{name}: {found}");
    }
}

/// First bytes tell a kind whatever the name is, but for text and for safetensors
#[test]
fn a_name_is_not_needed() {
    for (name, kind, _) in FILES {
        let found = look("data", &file(name));
        match kind {
            Kind::Json | Kind::JsonLines | Kind::Safetensors => {
                assert!(matches!(found, LoadCheck::Unchecked { kind: None, .. }), "{name}");
            }
            // It begins with what stands before the archive.
            Kind::Zip if *name == "behind.zip" => {
                assert!(matches!(found, LoadCheck::Unchecked { kind: None, .. }), "{name}");
            }
            // Only the name says what an archive of arrays is.
            Kind::Npz => assert!(matches!(found, LoadCheck::Sound { kind: Kind::Zip, .. })),
            kind => {
                let is_sound =
                    matches!(found, LoadCheck::Sound { kind: found, .. } if found == *kind);
                assert!(is_sound, "{name}: {found}");
            }
        }
    }
}

#[test]
fn what_was_cut_is_broken() {
    for (name, kind, _) in FILES {
        let file = file(name);
        for percent in [0, 50, 99] {
            let length = file.len() * percent / 100;
            // No line at all is what a file without lines has.
            if length > 0 || *kind != Kind::JsonLines {
                assert_broken(name, *kind, &file[..length], &format!("{percent} % of it"));
            }
        }
    }
}

#[test]
fn zeros_are_broken() {
    for (name, kind, _) in FILES {
        let zeros = vec![0; file(name).len()];
        assert_eq!(assert_broken(name, *kind, &zeros, "zeros"), Flaw::Zeroed, "{name}");
    }
}

#[test]
fn a_zeroed_tail_is_broken_or_told() {
    for (name, kind, tail) in FILES {
        let mut file = file(name);
        let percent = if let Broken(percent) = tail { *percent } else { 5 };
        let length = file.len() * percent / 100;
        let start = file.len() - length;
        file[start..].fill(0);
        match (tail, look(name, &file)) {
            (Broken(_), _) => {
                assert_broken(name, *kind, &file, "a zeroed tail");
            }
            (Told, LoadCheck::Sound { proven, .. }) => {
                assert!(proven.zero_tail >= length as u64, "{name}: {proven:?}");
            }
            (Told, other) => panic!("{name}: {other}"),
        }
    }
}

/// What each file's kind covers is told by `corpora.py`, from what the libraries say of the file
#[test]
fn a_turned_bit_is_found_where_it_is_covered() {
    let covered = fs::read(corpora().join("covered.json")).unwrap();
    let covered: BTreeMap<String, Vec<(usize, usize)>> = serde_json::from_slice(&covered).unwrap();
    for (name, kind, _) in FILES {
        let file = file(name);
        let ranges = covered.get(*name).unwrap_or_else(|| panic!("{name} covers nothing"));
        let places: Vec<_> = ranges.iter().flat_map(|(from, to)| *from..*to).collect();
        assert!(!places.is_empty(), "{name} covers nothing");
        for at in places.iter().step_by(places.len().div_ceil(TURNED_MAX)) {
            let mut turned = file.clone();
            turned[*at] ^= 1;
            let found = look(name, &turned);
            let is_sound = matches!(found, LoadCheck::Sound { .. });
            assert!(!is_sound, "{name} ({kind}): byte {at} of {}: {found}", file.len());
        }
    }
}
