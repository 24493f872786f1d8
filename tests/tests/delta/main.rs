//! What need not be sent because it stands at the destination already, judged by the bytes that
//! crossed and by rsync

mod stand;

use std::fs;

use stand::{KIB, MIB, Stand, Way, append, edited, noise};

const BOTH: [Way; 2] = [Way::Push, Way::Pull];

/// Edits all over a file cost little more than themselves.
#[test]
fn scattered_edits_are_sent_alone() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(48 * MIB, 1);
        let edits: Vec<_> = (0..40).map(|n| 1 + n * 1_234_567).collect();
        let new = edited(&old, &edits);
        let payload = stand.moves(way, &[("f", &old)], &[("f", &new)], &[]);
        assert!(payload <= 40 * 2 * 16 * KIB, "{way:?}: {payload}");
        assert!(payload >= 40, "{way:?}: {payload}");
    }
}

/// A log that grew costs what it grew by.
#[test]
fn what_was_appended_is_sent_alone() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(40 * MIB + 12_345, 2);
        let new = append(&old, &noise(3 * MIB, 3));
        let payload = stand.moves(way, &[("log", &old)], &[("log", &new)], &[]);
        assert!((3 * MIB..=3 * MIB + 16 * KIB).contains(&payload), "{way:?}: {payload}");
    }
}

/// A file that was cut has nothing to be sent, but for its last bytes.
#[test]
fn what_was_cut_is_not_sent() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(20 * MIB, 4);
        let new = &old[..17_000_001];
        let payload = stand.moves(way, &[("f", &old)], &[("f", new)], &[]);
        assert!(payload <= 16 * KIB, "{way:?}: {payload}");
    }
}

/// Bytes that were inserted shift all that follows, which is found again.
#[test]
fn what_was_inserted_is_sent_alone() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(40 * MIB, 5);
        for at in [0, 13_000_001] {
            let mut new = old.clone();
            new.splice(at..at, noise(MIB + 1, 6));
            let payload = stand.moves(way, &[("f", &old)], &[("f", &new)], &[]);
            assert!((MIB..=MIB + 256 * KIB).contains(&payload), "{way:?} at {at}: {payload}");
        }
    }
}

/// What a few places say of the rest is believed until it is copied, and looked at more closely
/// where it is not so.
#[test]
fn edits_of_what_was_shifted_are_sent_alone() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(40 * MIB, 14);
        let edits = [3_000_003, 20_000_002, 20_300_000, 36_000_001];
        let mut inserted = edited(&old, &edits);
        inserted.splice(9..9, noise(MIB + 1, 15));
        let cut = &edited(&old, &edits)[noise(MIB, 0).len() + 1..];
        for (new, least) in [(&inserted[..], MIB), (cut, 0)] {
            let payload = stand.moves(way, &[("f", &old)], &[("f", new)], &[]);
            let most = least + 256 * KIB;
            assert!((least..=most).contains(&payload), "{way:?}, {least}: {payload}");
        }
    }
}

/// What is assumed of the bytes behind an insertion takes nothing from what was found before it,
/// and is assumed of nothing else.
#[test]
fn what_was_inserted_in_the_middle_is_sent_alone() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(40 * MIB, 16);
        let edits = [3_000_003, 9_000_000];
        for (edits, at) in [(&[][..], 20_000_001), (&edits[..], 20_000_001)] {
            let mut new = edited(&old, edits);
            new.splice(at..at, noise(100 * KIB, 17));
            let payload = stand.moves(way, &[("f", &old)], &[("f", &new)], &[]);
            assert!(payload <= 356 * KIB, "{way:?}, {edits:?}: {payload}");
        }
    }
}

/// Where one part is shifted as a few places say, another may stand elsewhere still.
#[test]
fn parts_that_changed_places_are_not_sent() {
    for way in BOTH {
        let stand = Stand::new();
        let (first, second) = (noise(10 * MIB, 18), noise(30 * MIB, 21));
        let (old, new) = ([&first[..], &second].concat(), [&second[..], &first].concat());
        let payload = stand.moves(way, &[("f", &old)], &[("f", &new)], &[]);
        assert!(payload <= 256 * KIB, "{way:?}: {payload}");
    }
}

/// Two insertions, of which a few places see only the first: behind the second, and behind the end
/// of the old file, is looked once more.
#[test]
fn what_was_inserted_twice_is_sent_alone() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(80 * MIB, 22);
        let mut new = old.clone();
        let late = old.len() - 3_000_000;
        new.splice(late..late, noise(MIB, 23));
        new.splice(0..0, noise(2 * MIB, 24));
        let payload = stand.moves(way, &[("f", &old)], &[("f", &new)], &[]);
        assert!(payload <= 3 * MIB + 512 * KIB, "{way:?}: {payload}");
    }
}

/// A file that lies elsewhere at the destination is not sent, wherever its old name is listed.
#[test]
fn a_file_under_another_name_is_not_sent() {
    for way in BOTH {
        for (before, after) in [("a", "b"), ("b", "a"), ("d/old", "e/new"), ("z/old", "a/new")] {
            let stand = Stand::new();
            let file = noise(9 * MIB + 77, 7);
            for flags in [&[][..], &["--delete", "--max-delete=9"]] {
                // Where nothing would stay, nothing is deleted.
                let kept = ("kept", &b"kept"[..]);
                let there = [(before, &file[..]), kept];
                let payload = stand.moves(way, &there, &[(after, &file), kept], flags);
                assert_eq!(payload, 0, "{way:?}: {before} to {after}, {flags:?}");
            }
        }
    }
}

/// A duplicate of what stands there, unchanged, is not sent.
#[test]
fn a_duplicate_is_not_sent() {
    for way in BOTH {
        let stand = Stand::new();
        let file = noise(9 * MIB, 8);
        let payload = stand.moves(way, &[("f", &file)], &[("f", &file), ("g", &file)], &[]);
        assert_eq!(payload, 0, "{way:?}");
    }
}

/// The next checkpoint is made of what it has in common with the one before.
#[test]
fn a_likely_version_before_is_used() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(12 * MIB, 9);
        let new = append(&edited(&old, &[5 << 20]), &noise(1000, 10));
        let names = [("run/step-100.pt", &old[..]), ("run/step-200.pt", &new[..])];
        let payload = stand.moves(way, &names[..1], &names, &[]);
        assert!(payload <= 64 * KIB, "{way:?}: {payload}");
    }
}

/// Files made so that looking for what they have in common costs most are sent once and whole, and
/// cost no more than where nothing stands at the destination.
#[test]
fn what_cannot_be_spared_is_sent_once() {
    let zeros = vec![0; 8 << 20];
    let shifted = [&[1], &zeros[..]].concat();
    let old = noise(8 * MIB, 11);
    let edges: Vec<_> = (0..old.len()).step_by(16 << 10).collect();
    let other = noise(8 * MIB, 12);
    let [equal_sums, of_equal_sums] = [19, 20].map(|seed| stand::equal_sums(8 * MIB, seed));
    for way in BOTH {
        let stand = Stand::new();
        for (name, before, after) in [
            ("zeros", &zeros, &shifted),
            ("edges", &old, &edited(&old, &edges)),
            ("another", &old, &other),
            ("equal sums", &equal_sums, &of_equal_sums),
        ] {
            stand.moves(way, &[], &[("f", after)], &[]);
            let plain = stand.crossed();
            let payload = stand.moves(way, &[("f", before)], &[("f", after)], &[]);
            let crossed = stand.crossed();
            let size = after.len() as u64;
            println!("{way:?} {name}: {payload} of {size}, {crossed} crossed, {plain} plain");
            assert!(payload <= size, "{way:?} {name}: {payload}");
            assert!(crossed <= size + size / 8, "{way:?} {name}: {crossed}");
            assert!(crossed <= 2 * plain, "{way:?} {name}: {crossed}, and {plain} plain");
        }
    }
}

/// On one machine a copy is as quick as a look, and files are written whole.
#[test]
fn on_one_machine_files_are_whole() {
    let stand = Stand::new();
    let old = noise(6 * MIB, 13);
    let new = append(&old, b"more");
    let payload = stand.moves(Way::Here, &[("f", &old)], &[("f", &new)], &[]);
    assert_eq!(payload, new.len() as u64);
}

/// A partial that an earlier session left is finished by what the basis has.
#[test]
fn a_partial_is_finished_from_its_basis() {
    let stand = Stand::new();
    let old = noise(24 * MIB, 14);
    let new = edited(&old, &[7_000_000, 20_000_000]);
    let trees = stand.plant(&[("f", &old)], &[("f", &new)]);
    // What an earlier session left, of which one half is right.
    let partial = trees.there.join(stand::partial_name("f"));
    fs::write(&partial, [&new[..12 << 20], &noise(3 * MIB, 15)[..]].concat()).expect("write");
    let payload = stand.run(Way::Push, &trees, &[]);
    assert!(payload <= 64 * KIB, "{payload}");
    assert!(!partial.exists());
}

/// What is copied from may change at any moment: what no longer fits is sent.
#[test]
fn a_basis_that_changes_meanwhile_harms_nothing() {
    for way in BOTH {
        let stand = Stand::new();
        let old = noise(16 * MIB, 16);
        let edits: Vec<_> = (0..320).map(|n| n * 50_003).collect();
        let new = edited(&old, &edits);
        let trees = stand.plant(&[("f", &old)], &[("f", &new)]);
        let running = stand.start(way, &trees, &["--bwlimit=2MiB/s"]);
        let moving = running.next_event(|event| event["payload_bytes"].as_u64() > Some(0));
        assert!(moving.is_some(), "{way:?}: nothing moved");
        // In place, so that it is the same file that is copied from.
        stand::overwrite(&trees.there.join("f"), &noise(10 * MIB, 17));
        let ended = running.wait().expect_code(0);
        let payload = ended.result()["payload_bytes"].as_u64().expect("a number");
        assert!(payload > 320 * 16 * KIB, "{way:?}: nothing was sent for it: {payload}");
        assert!(fs::read(trees.there.join("f")).expect("read") == new, "{way:?}: it differs");
    }
}
