//! A source that lies to `pull`

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use xfer_tests::oracle;
use xfer_tests::stub::{CONTENT, LARGE};

use super::{Lab, Row, hex, row, to_either};
use crate::{inside, remote};

/// Names that lead out, or are none (H4)
fn names() -> Vec<Row> {
    let deep = [&b"d/".repeat(5_000)[..], b"d"].concat();
    let names: [&[u8]; 12] = [
        b"../x",
        b"/x",
        b"a/../../x",
        b".",
        b"..",
        b"d/.",
        b"a//b",
        b"a/",
        b"a\0b",
        &[b'n'; 256],
        &[b'n'; 5000],
        &deep,
    ];
    names.into_iter().map(|name| row(format!("name {}", hex(name)), &[16])).collect()
}

fn rows() -> Vec<Row> {
    let mut rows = names();
    let lists = ["twice", "root-twice", "backwards", "orphan", "below-file", "below-link"];
    rows.extend(lists.map(|script| row(script, &[16])));
    rows.extend(["false-digest", "false-link", "false-block"].map(|script| row(script, &[7])));
    rows.extend(["no-data", "swollen", "swollen-block"].map(|script| row(script, &[12])));
    let kinds = ["Locate", "OpenRoot", "Scan", "ScanNext", "ReadPack", "ReadBlock"];
    rows.extend(kinds.map(|kind| row(format!("wrong-kind {kind}"), &[12])));
    rows.push(row("vast", &[8]));
    rows.extend(to_either());
    rows
}

#[test]
fn nothing_appears_outside_and_little_memory_goes() {
    let lab = Lab::new();
    // Where the stub does not lie it is believed; without that the rest would prove nothing.
    let baseline = lab.honest_pull();
    assert_eq!(fs::read(lab.pair.path("in/a")).expect("read"), CONTENT);
    assert_eq!(fs::metadata(lab.pair.path("in/large")).expect("look").len(), LARGE);
    for row in rows() {
        fs::remove_dir_all(lab.pair.path("in")).ok();
        let ran = lab.pull(&row.script);
        lab.judge(&row, &ran, baseline);
        let wrong: &[&str] = match row.script.as_str() {
            "false-block" => &["in/large"],
            "false-digest" | "false-link" | "no-data" | "swollen" => {
                &["in/a", "in/b", "in/d/00000"]
            }
            _ => &[],
        };
        for name in wrong.iter().filter(|name| lab.pair.path(name).exists()) {
            lab.note(format!("{}: {name} appeared", row.script));
        }
    }
}

/// What is asked for decides what may be brought, as H4 has it for names below it
#[test]
fn a_name_that_nobody_asked_for_is_refused() {
    let lab = Lab::new();
    let asked = [
        ("/x/report", "located", "/x/.profile"),
        ("/x/report", "located", "/x/other/report"),
        ("/x/report/", "located", "/x/report"),
        ("/x/report", "located-twice", "/x/.profile"),
        ("/x/*.txt", "located", "/x/.profile"),
        ("/x/*.txt", "located", "/x/a.txt/b.txt"),
        ("/x/*/report", "located", "/x/../report"),
        ("/x/*.txt", "located", "/etc/a.txt"),
        ("/x/*.txt", "located", "/x/../a.txt"),
    ];
    let baseline = lab.honest_pull();
    for (from, script, answer) in asked {
        fs::remove_dir_all(lab.pair.path("in")).ok();
        fs::create_dir(lab.pair.path("in")).expect("create");
        let row = row(format!("{script} {}", hex(answer.as_bytes())), &[16]);
        let ran = lab.pull_from(Path::new(from), &row.script);
        println!("{from} {answer}");
        lab.judge(&row, &ran, baseline);
        if fs::read_dir(lab.pair.path("in")).expect("list").next().is_some() {
            lab.note(format!("{answer} brought something"));
        }
    }
    let answer = row(format!("located {}", hex(b"/x/a.txt")), &[0]);
    let ran = lab.pull_from(Path::new("/x/*.txt"), &answer.script);
    lab.judge(&answer, &ran, baseline);
    assert_eq!(fs::read(lab.pair.path("in/a.txt/a")).expect("read"), CONTENT);
}

/// H6: the second name waits for the first, and is then one file with it
#[test]
fn a_link_waits_for_its_file() {
    let lab = Lab::new();
    lab.pull("links").0.expect_code(0);
    let [a, b] = ["in/a", "in/b"].map(|name| fs::metadata(lab.pair.path(name)).expect("look"));
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
}

/// H9: four GiB of nothing, told in a few bytes, are a hole here too
#[test]
fn a_bomb_of_holes_and_a_deep_tree_cost_little() {
    let lab = Lab::new();
    let baseline = lab.honest_pull();
    for script in ["bomb", "deep"] {
        fs::remove_dir_all(lab.pair.path("in")).ok();
        let row = row(script, &[0]);
        let ran = lab.pull(script);
        lab.judge(&row, &ran, baseline);
    }
}

/// H9: payload that is not what it is said to be once it is decoded
#[test]
fn encoded_payload_is_believed_no_more_than_plain() {
    let lab = Lab::new();
    let baseline = lab.honest_pull();
    let pull = |how: &str, compress: &str| {
        fs::remove_dir_all(lab.pair.path("in")).ok();
        let at = [remote(Path::new("/anything/")), inside(lab.pair.path("in"))];
        lab.run("pull", &format!("encoded {how}"), &["--compress", compress], &at)
    };
    let wrong = ["bomb", "more", "less", "short", "cut", "trailing", "noise"];
    for how in wrong {
        lab.judge(&row(format!("encoded {how}"), &[12]), &pull(how, "zstd"), baseline);
        assert!(!lab.pair.path("in/large").exists(), "{how}");
    }
    lab.judge(&row("encoded other", &[7]), &pull("other", "zstd"), baseline);
    lab.judge(&row("encoded unasked", &[12]), &pull("honestly", "none"), baseline);
    lab.judge(&row("encoded window", &[0, 12]), &pull("window", "zstd"), baseline);
    lab.judge(&row("encoded honestly", &[0]), &pull("honestly", "zstd"), baseline);
    assert_eq!(fs::read(lab.pair.path("in/large")).expect("read").len() as u64, LARGE);
}

/// H5: the directory becomes a link that leads out between the decision and the bytes
#[test]
fn a_directory_that_turns_into_a_link_is_not_followed() {
    let lab = Lab::new();
    let baseline = lab.honest_pull();
    fs::remove_dir_all(lab.pair.path("in")).expect("remove");
    fs::create_dir_all(lab.pair.path("in/d")).expect("create");
    let swap = row(format!("swap {}", hex(lab.pair.path("in").as_os_str().as_bytes())), &[16]);
    let ran = lab.pull(&swap.script);
    assert!(lab.pair.path("in/moved").is_dir(), "nothing was swapped");
    lab.judge(&swap, &ran, baseline);
}

/// H5 once more, at any moment
#[test]
fn a_directory_that_flips_is_never_followed() {
    let lab = Lab::new();
    let [directory, link] = ["in/d", "in/link"].map(|name| lab.pair.path(name));
    let over = AtomicBool::new(false);
    for _ in 0..5 {
        fs::remove_dir_all(lab.pair.path("in")).ok();
        fs::create_dir_all(&directory).expect("create");
        symlink("../outside", &link).expect("link");
        over.store(false, Ordering::Relaxed);
        let flips = std::thread::scope(|scope| {
            let flipping = scope.spawn(|| {
                let mut flips = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    let done = renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE);
                    flips += u64::from(done.is_ok());
                }
                flips
            });
            let ran = lab.pull("many");
            over.store(true, Ordering::Relaxed);
            // What was written before a flip is in the directory, wherever that is now.
            assert!([0, 16].contains(&ran.0.code()), "{}", ran.0.stderr);
            flipping.join().expect("it flips")
        });
        assert!(flips > 0);
        lab.judge_places("flips");
    }
}

/// H11: what is there stays, whatever is said later
#[test]
fn what_is_committed_stays_when_the_far_side_goes_on_to_lie() {
    let lab = Lab::new();
    lab.pull("honest").0.expect_code(0);
    let before = oracle::survey(&lab.pair.path("in"));
    for (script, code) in
        [("unasked", 12), ("request", 12), ("early", 12), ("flood", 12), ("below-file", 16)]
    {
        lab.pull(script).0.expect_code(code);
        let changes = oracle::differences(&before, &oracle::survey(&lab.pair.path("in")));
        assert!(changes.is_empty(), "{script}: {changes:?}");
    }
    // Every pack after the first brings the one before once more, committed by then.
    lab.pull("later").0.expect_code(12);
    let after = oracle::survey(&lab.pair.path("in"));
    assert_eq!(fs::read(lab.pair.path("in/a")).expect("read"), CONTENT);
    assert!(before.iter().all(|(name, facts)| name.is_empty() || after.get(name) == Some(facts)));
}
