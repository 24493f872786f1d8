//! Trees in which something is no plain file

use std::fs;
use std::path::Path;

use xfer_tests::xfer::{Ended, Running};
use xfer_tests::{oracle, tree};

use crate::place::{Place, assert_shown_safely, by_shell, judge_words, shell};

/// Sets the stage, pushes `named` to `copy`, and returns how that ended
fn push(place: &Place, prepare: &str, words: &[&str]) -> Ended {
    shell(place.xfer.home(), prepare);
    place.xfer.run(place.words(words))
}

#[test]
fn links_are_kept_and_never_followed() {
    let place = Place::new();
    fs::remove_dir(place.path("named")).unwrap();
    tree::links(&place.path("named"));
    shell(
        place.xfer.home(),
        "for n in $(seq 50); do ln -s $((n + 1)) named/$n; done; echo > named/51",
    );
    let ended = place.xfer.run(place.words(&["push", "@named", "@copy"]));
    assert_eq!(ended.code(), 0, "B-N5: {}", ended.stderr);
    oracle::assert_equal(&place.path("named"), &place.path("copy/named"));
}

#[test]
fn links_that_are_followed_lead_out_in_circles_or_nowhere() {
    for (row, link) in [
        ("B-N5", "ln -s nowhere named/link"),
        ("B-N5", "ln -s link named/link"),
        ("B-N5", "ln -s b named/link; ln -s link named/b"),
        ("B-N5", "ln -s /etc/passwd named/link"),
        ("B-N5", "ln -s .. named/link"),
        ("B-N5", "for n in $(seq 50); do ln -s $((n + 1)) named/$n; done; ln -s 1 named/link"),
    ] {
        let place = Place::new();
        let ended = push(
            &place,
            &format!("{link}; echo > named/beside"),
            &["push", "-L", "@named", "@copy"],
        );
        assert!([5, 16].contains(&ended.code()), "{row}: {link}: {}", ended.stderr);
        assert!(ended.stderr.contains("link"), "{row}: {link}: {}", ended.stderr);
        assert_shown_safely(row, &ended);
        assert!(place.path("copy/named/beside").is_file(), "{row}: {link}");
        assert!(!place.path("copy/named/link").exists(), "{row}: {link}");
    }
}

/// As for rsync: the link itself, or with a trailing slash what it leads to
#[test]
fn a_source_that_is_a_link() {
    let place = Place::new();
    let words = ["push", "@link-to-source", "@copy/as-link"];
    assert_eq!(place.xfer.run(place.words(&words)).code(), 0, "B-N5");
    assert!(fs::symlink_metadata(place.path("copy/as-link")).unwrap().is_symlink(), "B-N5");
    let words = ["push", "@link-to-source/", "@copy/as-tree"];
    assert_eq!(place.xfer.run(place.words(&words)).code(), 0, "B-N5");
    oracle::assert_equal(&place.path("s"), &place.path("copy/as-tree"));
}

#[test]
fn what_holds_no_data_is_never_opened() {
    let place = Place::new();
    fs::remove_dir(place.path("named")).unwrap();
    tree::special(&place.path("named"));
    tree::empty(&place.path("named/empty"));
    tree::sparse_file(&place.path("named/holes"), 64 << 20, 3);
    shell(place.xfer.home(), "truncate -s 1G named/hole");
    let ended = place.xfer.run(place.words(&["push", "@named", "@copy"]));
    assert_eq!(ended.code(), 0, "B-N6: {}", ended.stderr);
    oracle::assert_equal(&place.path("named"), &place.path("copy/named"));
    assert!(oracle::allocated(&place.path("copy/named")) < 8 << 20, "B-N6: holes were filled");
}

#[test]
fn a_device_is_told_and_the_rest_arrives() {
    let place = Place::new();
    let prepare = "mknod named/null c 1 3; mknod named/disk b 7 200; echo > named/beside";
    let ended = push(&place, prepare, &["push", "@named", "@copy"]);
    judge_words("B-N6", &ended, 5, "some-entries-failed");
    for word in ["null", "disk", "--devices"] {
        assert!(ended.stderr.contains(word), "B-N6: no {word:?} in {}", ended.stderr);
    }
    assert!(place.path("copy/named/beside").is_file());
    assert!(!place.path("copy/named/null").exists());
}

/// A file of `/proc` says that it is empty and is not: an empty copy would be a loss
#[test]
fn a_file_that_tells_no_size_is_told() {
    let place = Place::new();
    for (row, source) in
        [("B-N6", "/proc/version"), ("B-N6", "/proc/mounts"), ("B-N6", "/proc/sys/kernel/ostype")]
    {
        let ended = place.xfer.run(place.words(&["push", source, "@copy/"]));
        let name = Path::new(source).file_name().unwrap();
        if fs::symlink_metadata(source).unwrap().is_symlink() {
            assert!(fs::symlink_metadata(place.path("copy").join(name)).unwrap().is_symlink());
            continue;
        }
        judge_words(row, &ended, 5, "some-entries-failed");
        assert!(ended.stderr.contains("tells no size"), "{row}: {}", ended.stderr);
        assert!(!place.path("copy").join(name).exists(), "{row}: an empty {source} was made");
        // An empty file that is there already is no copy of it either.
        fs::write(place.path("copy").join(name), "").unwrap();
        let ended = place.xfer.run(place.words(&["push", "--checksum", source, "@copy/"]));
        assert_eq!(ended.code(), 5, "{row}: {}", ended.stderr);
    }
}

#[test]
fn hard_links_across_directories_and_to_the_outside() {
    let place = Place::new();
    let prepare = "mkdir named/a named/b; echo 1 > named/a/f; ln named/a/f named/b/g; \
                   echo 2 > outside; ln outside named/inside";
    let ended = push(&place, prepare, &["push", "@named", "@copy"]);
    assert_eq!(ended.code(), 0, "B-N7: {}", ended.stderr);
    // The name outside is no part of the tree, so the copy has one name less.
    fs::remove_file(place.path("outside")).unwrap();
    oracle::assert_equal(&place.path("named"), &place.path("copy/named"));
}

/// Nobody of importance, who may not read what root may
const NOBODY: &str = "chmod 755 . ; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";

/// Pushes a tree as a user who may read some of it only
fn push_as_nobody(place: &Place, prepare: &str) -> Ended {
    shell(place.xfer.home(), prepare);
    shell(
        place.xfer.home(),
        "mkdir -p state cache config run; chown 65534 copy state cache config run",
    );
    Running::start(by_shell(place, NOBODY, &["push", "@named", "@copy"])).wait()
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_arrives() {
    for (row, prepare, names) in [
        ("B-N8", "mkdir named/no; echo > named/no/f; chmod 0 named/no", &["no"][..]),
        ("B-N8", "echo > named/no; chmod 0 named/no", &["no"]),
        ("B-N8", "mkdir named/no; echo > named/no/f; chmod 711 named/no", &["no"]),
        ("B-N8", "echo > named/no; setfacl -m u:65534:- named/no", &["no"]),
        ("B-N8", "mkdir named/no; setfacl -m u:65534:- named/no", &["no"]),
        ("B-N8", "mkdir named/no named/nor; chmod 0 named/no named/nor", &["no", "nor"]),
    ] {
        let place = Place::new();
        let ended = push_as_nobody(&place, &format!("echo beside > named/beside; {prepare}"));
        judge_words(row, &ended, 5, "some-entries-failed");
        for name in names {
            let problem = format!("{name}: cannot ");
            assert!(ended.stderr.contains(&problem), "{row}: {prepare}: {}", ended.stderr);
        }
        let beside = fs::read(place.path("copy/named/beside")).unwrap_or_default();
        assert_eq!(beside, b"beside\n", "{row}: {prepare}: {}", ended.stderr);
        assert!(!place.path("copy/named/no/f").exists(), "{row}: {prepare}");
    }
}

/// A destination directory that we may not write is told too
#[test]
fn what_may_not_be_written_is_told_and_the_rest_arrives() {
    let place = Place::new();
    let prepare = "mkdir -p named/a copy/named/a; echo 1 > named/a/f; echo 2 > named/g; \
                   echo old > copy/named/a/f; chown 65534 copy/named; chmod 755 copy/named/a";
    let ended = push_as_nobody(&place, prepare);
    judge_words("B-N8", &ended, 5, "some-entries-failed");
    assert!(ended.stderr.contains("a/f: cannot "), "B-N8: {}", ended.stderr);
    assert_eq!(fs::read(place.path("copy/named/a/f")).unwrap(), b"old\n");
    assert_eq!(fs::read(place.path("copy/named/g")).unwrap(), b"2\n");
}
