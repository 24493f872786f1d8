//! Where nothing may be executed, the same verbs work over SFTP

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use xfer_tests::xfer::Xfer;
use xfer_tests::{oracle, tree};

use crate::kills::{kill, session_processes};
use crate::space::goes_on_after_a_full_disk;
use crate::{Pair, arguments, inside, number, remote};

/// A server on which every command is SFTP
const FORCED: &str = "ForceCommand internal-sftp";

/// Pushes a tree out and pulls it back under another name, each twice
fn there_and_back(flags: &[&str], build: impl Fn(&Path)) {
    let pair = Pair::with(FORCED);
    let [source, there, back] = ["source", "there", "back"].map(|name| pair.path(name));
    build(&source);
    let push = [inside(source.clone()), remote(&there)];
    let pull = [inside(remote(&there)), OsString::from(&back)];
    for (verb, locations, destination) in [("push", &push, &there), ("pull", &pull, &back)] {
        let command = arguments(verb, flags, locations);
        let result = pair.xfer.run(&command).expect_code(0).result();
        assert_eq!(result["route"]["kind"], "sftp", "{result}");
        // Version 3 does not tell that two names are one file's.
        oracle::assert_equal_by_seconds(&source, destination, verb == "push");
        oracle::assert_nothing_of_xfer(destination);
        let again = pair.xfer.run(&command).expect_code(0).result();
        assert_eq!(number(&again, "payload_bytes"), 0, "{verb} again: {again}");
        assert_eq!(again["manifest_root"], result["manifest_root"], "{verb} again");
        oracle::assert_equal_by_seconds(&source, destination, verb == "push");
    }
}

#[test]
fn awkward_names_links_and_modes() {
    there_and_back(&["--route", "sftp"], |root| {
        fs::create_dir(root).expect("create");
        tree::names(&root.join("names"));
        tree::links(&root.join("links"));
        tree::empty(&root.join("empty"));
        tree::modes(&root.join("modes"), 0o1777);
        let invalid = root.join(std::ffi::OsStr::from_bytes(b"not \xff utf-8 \xc3"));
        tree::write(&invalid, b"bytes");
    });
}

#[test]
fn small_files_and_a_large_one_read_back() {
    there_and_back(&["--route", "sftp", "--verify", "read-back"], |root| {
        fs::create_dir(root).expect("create");
        tree::small_files(&root.join("small"), 500, 2);
        tree::big_file(&root.join("large"), (40 << 20) + 12_345, 1);
    });
}

#[test]
fn owners_and_setuid() {
    there_and_back(&["--route", "sftp", "--owner"], |root| {
        fs::create_dir(root).expect("create");
        tree::owners(&root.join("owners"));
        let file = root.join("setuid");
        tree::write(&file, b"x");
        tree::set_mode(&file, 0o6751);
    });
}

#[test]
fn a_machine_that_runs_nothing_is_reached_without_being_asked_to() {
    let pair = Pair::with(FORCED);
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    tree::write(&source, b"content");
    let locations = [source.into(), remote(&there)];
    let begun = Instant::now();
    let ended = pair.xfer.run(arguments("push", &[], &locations)).expect_code(0);
    // The agent's deadline is 30 s; a server that runs nothing is found out sooner.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(ended.result()["route"]["kind"], "sftp");
    assert!(ended.stderr.contains("no program may be run there"), "{}", ended.stderr);
    assert_eq!(fs::read(&there).expect("it arrived"), b"content");
    // Who asks for the agent gets it or nothing.
    let asked = arguments("push", &["--route", "ssh"], &locations);
    let ended = pair.xfer.run(&asked).expect_code(12);
    assert_eq!(ended.result()["reason"], "agent-failed");
}

/// A link is made under a partial's name, and whoever made it may have been killed then.
#[test]
fn a_link_that_a_killed_push_left_goes() {
    let pair = Pair::with(FORCED);
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    for root in [&source, &there] {
        fs::create_dir(root).expect("create");
        tree::write(&root.join("a"), b"1");
    }
    let left = there.join(".xfer-partial-0123456789abcdef0123456789abcdef");
    std::os::unix::fs::symlink("nowhere", &left).expect("link");
    let locations = [inside(source.clone()), remote(&there)];
    pair.xfer.run(arguments("push", &[], &locations)).expect_code(0);
    oracle::assert_nothing_of_xfer(&there);
}

#[test]
fn a_server_without_sftp_or_commands_tells_of_the_agent() {
    let pair = Pair::with("ForceCommand echo no");
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    tree::write(&source, b"content");
    let command = arguments("push", &[], &[source.into(), remote(&there)]);
    let ended = pair.xfer.run(&command).expect_code(12);
    assert_eq!(ended.result()["reason"], "agent-failed");
    assert!(!there.exists());
}

#[test]
fn what_cannot_be_proven_is_refused_before_the_first_byte() {
    for missing in ["fsync", "posix-rename"] {
        let pair = Pair::with(&format!("{FORCED} -P {missing}"));
        let [source, there] = ["source", "there"].map(|name| pair.path(name));
        tree::write(&source, b"content");
        let locations = [source.clone().into(), remote(&there)];
        for flags in [&["--route", "sftp"][..], &["--route", "sftp", "--verify", "read-back"]] {
            let ended = pair.xfer.run(arguments("push", flags, &locations)).expect_code(5);
            assert_eq!(ended.result()["reason"], "proof-unsupported");
            assert!(ended.stderr.contains("fsync@openssh.com"), "{}", ended.stderr);
            assert!(ended.stderr.contains("--verify received"), "{}", ended.stderr);
            assert!(!there.exists());
        }
        let received = ["--route", "sftp", "--verify", "received"];
        let command = arguments("push", &received, &locations);
        let result = pair.xfer.run(&command).expect_code(0).result();
        assert_eq!(result["proof_level"], "received");
        assert_eq!(fs::read(&there).expect("it arrived"), b"content");
        // What comes from there is proven here.
        let back = pair.path("back");
        let pull = arguments("pull", &["--route", "sftp"], &[remote(&there), back.into()]);
        assert_eq!(pair.xfer.run(&pull).expect_code(0).result()["proof_level"], "durable");
        tree::write(&source, b"other content");
        let replaced = pair.xfer.run(&command);
        let now = fs::read(&there).expect("it is there");
        if missing == "posix-rename" {
            // Only a rename that replaces can replace a file whole.
            assert_eq!(replaced.expect_code(5).result()["entries"]["failed"], 1);
            assert_eq!(now, b"content");
        } else {
            replaced.expect_code(0);
            assert_eq!(now, b"other content");
        }
        assert_eq!(partials(pair.place.path()), 0);
    }
}

#[test]
fn the_proof_level_is_what_was_proven() {
    let pair = Pair::with(FORCED);
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    tree::write(&source, b"content");
    let locations = [source.into(), remote(&there)];
    for (asked, told) in [("durable", "durable"), ("read-back", "read-back-cached")] {
        let flags = ["--route", "sftp", "--verify", asked];
        let result = pair.xfer.run(arguments("push", &flags, &locations)).expect_code(0).result();
        assert_eq!(result["proof_level"], told);
    }
}

#[test]
fn a_kill_of_either_side_is_continued() {
    const SIZE: u64 = 96 << 20;
    let pair = Pair::with(FORCED);
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), SIZE, 7);
    for (verb, of_server) in [("push", false), ("push", true), ("pull", false), ("pull", true)] {
        let destination = pair.path(&format!("{verb}-{of_server}"));
        let locations = match verb {
            "push" => [inside(source.clone()), remote(&destination)],
            _ => [inside(remote(&source)), OsString::from(&destination)],
        };
        let command = arguments(verb, &["--route", "sftp"], &locations);
        // Slow enough that it is not over before it is killed: progress is told rarely.
        let slow = arguments(verb, &["--route", "sftp", "--bwlimit", "48MB/s"], &locations);
        let running = pair.xfer.start(&slow);
        let reached = |event: &Value| {
            event["type"] == "progress" && number(event, "payload_bytes") >= SIZE / 8
        };
        running.next_event(reached).expect("progress before the end");
        if of_server {
            kill(&session_processes(&pair.server, |name| name.starts_with("sshd")));
        } else {
            running.signal("KILL");
        }
        let first = running.wait();
        // Who was not killed itself connects again and finishes.
        assert_eq!(first.code() == 0, of_server, "{verb}: {}", first.stderr);
        let result = match of_server {
            true => first.result(),
            false => pair.xfer.run(&command).expect_code(0).result(),
        };
        assert!(number(&result, "reused_bytes") > 0, "{verb}: nothing re-used: {result}");
        oracle::assert_equal_by_seconds(&source, &destination, true);
        oracle::assert_nothing_of_xfer(&destination);
    }
}

#[test]
fn a_disk_that_fills_up_is_8_and_goes_on_when_there_is_space() {
    goes_on_after_a_full_disk(FORCED, &["--route", "sftp"], |source, there| {
        oracle::assert_equal_by_seconds(source, there, true);
    });
}

#[test]
fn a_second_transfer_from_here_into_one_entry_is_9() {
    let pair = Pair::with(FORCED);
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), 48 << 20, 2);
    let locations = [inside(source.clone()), remote(&there)];
    let slow = ["--route", "sftp", "--bwlimit", "16MB/s"];
    let first = pair.xfer.start(arguments("push", &slow, &locations));
    let moving = |event: &Value| event["payload_bytes"].as_u64() > Some(0);
    first.next_event(moving).expect("bytes move");
    let second = arguments("push", &["--route", "sftp"], &locations);
    assert_eq!(pair.xfer.run(&second).expect_code(9).result()["reason"], "busy");
    first.wait().expect_code(0);
    oracle::assert_equal_by_seconds(&source, &there, true);
}

/// In a chroot there is no home, no shell and no /proc.
#[test]
fn a_chroot_is_reached_by_its_own_paths() {
    // Every directory that leads to a chroot must be closed to all but root.
    let chroot = tempfile::tempdir_in("/run").expect("temp dir");
    let inner = chroot.path().join("files");
    fs::create_dir(&inner).expect("create");
    for place in [chroot.path(), &inner] {
        tree::set_mode(place, 0o755);
    }
    let pair = Pair::with(&format!("{FORCED}\nChrootDirectory {}", chroot.path().display()));
    let [source, back] = ["source", "back"].map(|name| pair.path(name));
    fs::create_dir(&source).expect("create");
    tree::links(&source.join("links"));
    tree::small_files(&source.join("small"), 50, 4);
    let there = OsString::from("host:/files/there");
    let push = arguments("push", &[], &[inside(source.clone()), there.clone()]);
    pair.xfer.run(&push).expect_code(0);
    oracle::assert_equal_by_seconds(&source, &inner.join("there"), true);
    let pull = arguments("pull", &[], &[inside(there), back.clone().into()]);
    pair.xfer.run(&pull).expect_code(0);
    oracle::assert_equal_by_seconds(&source, &back, false);
}

/// The agent's scan is the judge of the one over SFTP.
#[test]
fn filters_leave_out_the_same_as_with_an_agent() {
    let pair = Pair::new();
    let source = pair.path("source");
    for name in ["a/keep", "a/x.o", "a/b/x.o", "a/b/y.c", "skip/deep/z", "skip/.xferignore", "big"]
    {
        fs::create_dir_all(source.join(name).parent().expect("a parent")).expect("create");
        tree::write(&source.join(name), name.as_bytes());
    }
    tree::write(&source.join(".xferignore"), b"*.o\n!/a/b/*.o\n");
    tree::write(&source.join("a/.gitignore"), b"keep\n");
    tree::write(&source.join("big"), &[7; 5000]);
    let list = pair.path("list");
    tree::write(&list, b"a/b\nbig\nskip/deep/z\n");
    let list = list.to_str().expect("a path in UTF-8").to_owned();
    for (index, flags) in [
        &[][..],
        &["--gitignore"],
        &["--exclude", "skip/", "--max-size", "4000"],
        &["--files-from", &list],
    ]
    .into_iter()
    .enumerate()
    {
        let mut pulled = Vec::new();
        for route in ["ssh", "sftp"] {
            let destination = pair.path(&format!("{route}-{index}"));
            let locations = [inside(remote(&source)), OsString::from(&destination)];
            let flags = [&["--route", route], flags].concat();
            let command = arguments("pull", &flags, &locations);
            let result = Xfer::new().ssh_config(pair.server.client_config("host")).run(&command);
            let result = result.expect_code(0).result();
            assert_eq!(result["route"]["kind"], route);
            let paths: Vec<_> = oracle::survey(&destination).into_keys().collect();
            pulled.push((paths, result["manifest_root"].clone()));
        }
        assert_eq!(pulled[0].0, pulled[1].0, "with {flags:?}");
    }
}

#[test]
fn trees_are_listed_and_verified() {
    let pair = Pair::with(FORCED);
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    tree::small_files(&source, 20, 3);
    let route = ["--route", "sftp"];
    let push = arguments("push", &route, &[inside(source.clone()), remote(&there)]);
    pair.xfer.run(&push).expect_code(0);
    let verify = |code| {
        let mut command = vec![OsString::from("verify"), remote(&there), "--against".into()];
        command.extend([inside(source.clone()), "--route".into(), "sftp".into()]);
        pair.xfer.run(&command).expect_code(code);
    };
    verify(0);
    let listed = pair.xfer.run([&"ls".into(), &remote(&there), &"--route".into(), &"sftp".into()]);
    assert!(listed.expect_code(0).stdout.lines().count() > 20);
    let damaged = oracle::survey(&there).into_iter().find(|(_, facts)| facts.size > 0);
    let path = damaged.expect("a file with bytes").0;
    tree::flip_byte(&there.join(std::ffi::OsStr::from_bytes(&path)), 0);
    verify(7);
}

fn partials(directory: &Path) -> usize {
    let names = fs::read_dir(directory).expect("list").map(|entry| entry.expect("entry"));
    let is_partial = |name: &OsString| name.as_bytes().starts_with(b".xfer-partial-");
    names.filter(|entry| is_partial(&entry.file_name())).count()
}
