//! What a tree of many entries costs either side in memory

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use xfer_tests::tree;
use xfer_tests::xfer::{Running, binary, measured, measurement};

use crate::{Pair, arguments, inside, number, remote};

const MILLION: u64 = 1_000_000;

/// What a million entries may cost a side, in KiB
const MILLION_KIB_MAX: u64 = 256 << 10;

/// What no entry costs: the program itself and its buffers
const BASE_KIB: u64 = 64 << 10;

/// What so many entries may cost a side, in KiB
fn bound(entries: u64) -> u64 {
    BASE_KIB + (MILLION_KIB_MAX - BASE_KIB) * entries / MILLION
}

#[test]
fn a_hundred_thousand_entries_cost_either_side_their_share() {
    cost_either_side_little(MILLION / 10);
}

#[test]
#[ignore = "takes minutes and a million inodes, three times"]
fn a_million_entries_cost_either_side_little() {
    cost_either_side_little(MILLION);
}

fn cost_either_side_little(count: u64) {
    let pair = Pair::new();
    let source = pair.path("source");
    for index in 0..count {
        let directory = source.join(format!("d{:04}", index / 1000));
        if index % 1000 == 0 {
            fs::create_dir_all(&directory).expect("create");
        }
        tree::write(&directory.join(format!("file-{index:08}")), index.to_string().as_bytes());
    }
    // The agent's memory is told by who started it, and a lock says that it was.
    let agent = pair.path("agent");
    let text = format!(
        "#!/bin/sh\nexec 9>>{}\nflock -s 9\nexec time -q -a -o {} -f %M {} \"$@\"\n",
        pair.path("there.lock").display(),
        pair.path("there.kib").display(),
        binary().display(),
    );
    tree::write(&agent, text.as_bytes());
    tree::set_mode(&agent, 0o755);
    let [out, back] = ["out", "back"].map(|name| pair.path(name));
    let push = [inside(source.clone()), remote(&out)];
    let pull = [inside(remote(&source)), OsString::from(&back)];
    for (verb, locations) in [("push", &push), ("pull", &pull)] {
        for again in [false, true] {
            let (payload, sides) = run(&pair, verb, &agent, locations);
            println!("{verb}, again {again}: {count} entries, {sides:?} KiB");
            assert_eq!(payload == 0, again, "{verb}: {payload} bytes");
            for side in sides {
                assert!(side <= bound(count), "{verb}: {side} of {} KiB", bound(count));
            }
        }
    }
}

/// Runs a command on either side's memory; its payload, and KiB here and there
fn run(pair: &Pair, verb: &str, agent: &Path, locations: &[OsString; 2]) -> (u64, [u64; 2]) {
    let [here, there] = ["here.kib", "there.kib"].map(|name| pair.path(name));
    fs::remove_file(&there).ok();
    let agent = agent.to_str().expect("in UTF-8");
    let plain = pair.xfer.command(arguments(verb, &["--agent-binary", agent], locations));
    let ended = Running::start(measured(&plain, &here)).wait().expect_code(0);
    // Who measures the far side writes when that has ended, also behind the end of its session.
    let lock = pair.path("there.lock");
    let freed = Command::new("flock").args(["-x", "-w", "60"]).arg(lock).arg("true").status();
    assert!(freed.expect("flock").success(), "an agent goes on");
    (number(&ended.result(), "payload_bytes"), [&here, &there].map(|path| measurement(path)))
}
