//! Names of files that harm whoever thinks that they are text

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use xfer_tests::xfer::Running;
use xfer_tests::{awkward, oracle};

use crate::place::{Place, assert_shown_safely, judge_words, shell};

/// Every name is one of the destination too, byte for byte, and no terminal obeys it
#[test]
fn names_are_bytes() {
    let windows: Vec<Vec<u8>> = ["CON", "aux.txt", "dot.", "blank ", "a:b", "a\\b", "*?\"<>|"]
        .map(|name| name.as_bytes().to_vec())
        .into();
    let control: Vec<Vec<u8>> =
        [&b"new\nline"[..], b"tab\t", b"\x1b[2J", b"\x9b", b"\x7f", b"~", b" "]
            .map(<[u8]>::to_vec)
            .into();
    for (row, names) in [
        ("B-N1", awkward::naughty_names()),
        ("B-N1", windows),
        ("B-N2", awkward::names()),
        ("B-N3", control),
    ] {
        let mut place = Place::new();
        for name in &names {
            fs::write(place.path("named").join(OsStr::from_bytes(name)), name).unwrap();
        }
        place.set();
        let ended = place.xfer.run(place.words(&["push", "-v", "@named", "@copy"]));
        assert_eq!(ended.code(), 0, "{row}: {}", ended.stderr);
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(!ended.stderr.contains(raw), "{row}: {:?}", ended.stderr);
        oracle::assert_equal(&place.path("named"), &place.path("copy/named"));
    }
}

/// A name that begins as ours do is refused, and the rest arrives
#[test]
fn names_of_our_own() {
    let place = Place::new();
    let name = format!(".xfer-partial-{}", "0a".repeat(16));
    fs::write(place.path("named").join(&name), "not ours").unwrap();
    fs::write(place.path("named/other"), "other").unwrap();
    let ended = place.xfer.run(place.words(&["push", "@named", "@copy"]));
    judge_words("B-N3", &ended, 16, "unsafe-entry");
    assert!(ended.stderr.contains(&name), "B-N3: {}", ended.stderr);
    assert!(!place.path("copy/named").join(&name).exists());
    assert_eq!(fs::read(place.path("copy/named/other")).unwrap(), b"other");
}

/// Paths that no single call of the system takes
#[test]
fn long_and_deep_paths() {
    for (row, levels, name) in [
        ("B-N4", 15, "n".repeat(255)),
        ("B-N4", 16, "n".repeat(255)),
        ("B-N4", 32, "n".repeat(255)),
        ("B-N4", 300, "d".to_owned()),
        ("B-N4", 5000, "d".to_owned()),
    ] {
        let place = Place::new();
        let script = format!(
            "import os\nos.chdir('named')\nfor _ in range({levels}):\n os.mkdir('{name}')\n \
             os.chdir('{name}')\nopen('bottom', 'w').write('bottom')\n"
        );
        let made = std::process::Command::new("python3")
            .args(["-c", &script])
            .current_dir(place.xfer.home())
            .status();
        assert!(made.unwrap().success());
        fs::write(place.path("named/beside"), "beside").unwrap();
        let ended = place.xfer.run(place.words(&["push", "@named", "@copy"]));
        assert!([0, 5, 15].contains(&ended.code()), "{row}: {levels}: {}", ended.stderr);
        assert_shown_safely(row, &ended);
        assert_eq!(fs::read(place.path("copy/named/beside")).unwrap(), b"beside", "{row}");
        let find = "cd copy/named && find . -name bottom -printf x | wc -c > ../../found";
        shell(place.xfer.home(), find);
        let found = fs::read_to_string(place.path("found")).unwrap();
        let arrived = found.trim() == "1";
        assert_eq!(arrived, ended.code() == 0, "{row}: {levels} levels: {}", ended.stderr);
        assert!(arrived || levels > 1000, "{row}: {levels} levels: {}", ended.stderr);
        // What drops the place is recursive, and no path leads to the bottom.
        shell(place.xfer.home(), "rm -rf named copy");
    }
}

/// A name longer than the destination takes is told, and the rest arrives
#[test]
fn a_name_that_the_destination_does_not_take() {
    let place = Place::new();
    let name = "n".repeat(255);
    fs::write(place.path("named").join(&name), "long").unwrap();
    fs::write(place.path("named/short"), "short").unwrap();
    // Names are encrypted to longer ones on some file systems; strace stands in for one.
    let program = place.command(&["push", "@named", "@copy"]);
    let mut command = std::process::Command::new("strace");
    let inject = "inject=renameat,renameat2:error=ENAMETOOLONG:when=1";
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat,renameat2", "-e", inject]);
    command.arg(program.get_program()).args(program.get_args()).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Running::start(command).wait();
    judge_words("B-N2", &ended, 5, "some-entries-failed");
    assert!(ended.stderr.contains("too long"), "B-N2: {}", ended.stderr);
}
