//! A directory of records that cannot be trusted

use std::process::Command;

use crate::place::{Place, by_shell, mounted, shell};

/// The state of the user is `state/xfer` in the place
#[test]
fn directories_of_state() {
    for (row, prepare, code, reason) in [
        ("B-P7", "mkdir -p state/xfer; chmod 777 state/xfer", 3, "config-exposed"),
        ("B-P7", "mkdir -p state/xfer; chmod 770 state/xfer", 3, "config-exposed"),
        ("B-P7", "mkdir -p state/xfer; chown 65534 state/xfer", 3, "config-exposed"),
        ("B-P7", "mkdir -p state elsewhere; ln -s ../elsewhere state/xfer", 3, "config-exposed"),
        ("B-P7", "mkdir -p state/xfer/records; chmod 777 state/xfer/records", 3, "config-exposed"),
        ("B-P7", "touch state", 14, "state-unwritable"),
    ] {
        let place = Place::new();
        shell(place.xfer.home(), prepare);
        let told = place.refuses(row, || place.command(&["push", "@s", "@d"]), code, reason);
        assert!(told.contains(place.path("state").to_str().unwrap()), "{row}: {told}");
    }
}

#[test]
fn state_within_the_destination() {
    for (row, source, destination, state) in [
        ("B-P7", "@s/", "@d/", "d"),
        ("B-P7", "@s/", "@d", "d/below/it"),
        ("B-P7", "@s", "@d", "d/s"),
        ("B-P7", "@s", "@d", "d/s/below"),
        ("B-P7", "@s", "@new/", "new/s"),
        ("B-P7", "@s/", "@link-to-d/", "d"),
        ("B-P7", "@s/", "@d/", "link-to-d/x"),
    ] {
        let mut place = Place::new();
        shell(place.xfer.home(), "ln -s d link-to-d");
        place.set();
        let make = || {
            let mut command = place.command(&["push", source, destination]);
            command.env("XDG_STATE_HOME", place.path(state));
            command
        };
        let told = place.refuses(row, make, 3, "state-in-destination");
        assert!(told.contains("XDG_STATE_HOME"), "{row}: {told}");
        assert!(!place.path("new").exists(), "{row}: the destination was made");
    }
}

/// Beside the destination entry is not within it: home may hold both
#[test]
fn state_beside_the_destination() {
    for (row, destination, state) in [("B-P7", "@d", "d"), ("B-P7", "@d", "d/s-too")] {
        let place = Place::new();
        let mut command = place.command(&["push", "@s", destination]);
        command.env("XDG_STATE_HOME", place.path(state));
        assert_eq!(command.status().unwrap().code(), Some(0), "{row}: {state}");
    }
}

/// No server of network files is needed to see one: what the system says of a file system is
/// changed on its way to the program
#[test]
fn state_on_a_network_file_system() {
    for (row, kind) in [("B-P7", "6969000000000000"), ("B-P7", "424d53ff00000000")] {
        let place = Place::new();
        let inject = format!("inject=fstatfs:poke_exit=@arg2={kind}");
        let make = || {
            let program = place.command(&["push", "@s", "@d"]);
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fstatfs", "-e", &inject]);
            command.arg(program.get_program()).args(program.get_args()).env_clear();
            command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command
        };
        let told = place.refuses(row, make, 3, "state-on-network");
        assert!(told.contains(place.path("state").to_str().unwrap()), "{row}: {told}");
    }
}

#[test]
fn state_that_cannot_be_written() {
    let place = Place::new();
    shell(place.xfer.home(), "mkdir -p state/xfer");
    let script = "mount -t tmpfs -o ro tmpfs state && exec \"$@\"";
    let make = || mounted(&place, script, &["push", "@s", "@d"]);
    place.refuses("B-P7", make, 14, "state-unwritable");
    let script = "ulimit -f 0; exec \"$@\"";
    let ended = xfer_tests::xfer::Running::start(by_shell(&place, script, &["push", "@s", "@d"]));
    assert_ne!(ended.wait().code(), 0, "B-P7: no file may grow, and it was no failure");
}
