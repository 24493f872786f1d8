//! Who races on the loopback, and by which command

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::daemon::Daemon;
use super::free_port;
use crate::Done;
use crate::contender::{Contender, Direction, Move};
use crate::lab::Lab;
use crate::raw::Kind;

/// Which way the program's payload takes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Tls,
    Quic,
    Ssh,
}

/// Who moves the file
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Xfer(Route),
    /// Over its own choice of routes, or ssh where it has no other
    Peer(Contender),
    /// rsync to a daemon over plain TCP
    Daemon,
    /// No file at all
    Raw(Kind),
    Iperf3,
}

/// Who moves it, and whither
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entrant {
    pub(super) who: Who,
    /// Nothing where there is no file
    pub(super) direction: Option<Direction>,
}

/// What a command is made of
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) lab: &'a Lab,
    pub(super) daemon: &'a Daemon,
    pub(super) source: PathBuf,
    /// Streams of raw contenders
    pub(super) streams: u64,
    pub(super) bytes: u64,
}

impl Route {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Ssh => "ssh",
        }
    }

    /// The flags that make the program take it, with a port of this number where it needs one
    pub(crate) fn flags(self, host: &str, port: u16) -> Vec<OsString> {
        let protocol = match self {
            Self::Tls => "tcp",
            Self::Quic => "udp",
            Self::Ssh => return vec!["--route".into(), "ssh".into()],
        };
        let place = format!("{host}:{port}:{port}/{protocol}");
        ["--route", self.name(), "--data-port", &place].map(OsString::from).into()
    }
}

impl Entrant {
    /// Everybody in the order of turns; what is raw stands between what it is compared with
    pub(super) fn all(push_alone: bool) -> Vec<Self> {
        use Direction::{Pull, Push};
        let mut all = Vec::new();
        let mut add = |who, directions: &[Direction]| {
            let both = directions.iter().filter(|one| !push_alone || **one == Push);
            all.extend(both.map(|one| Self { who, direction: Some(*one) }));
        };
        add(Who::Xfer(Route::Tls), &[Push]);
        add(Who::Raw(Kind::Tls), &[Push]);
        add(Who::Raw(Kind::Own), &[Push]);
        add(Who::Xfer(Route::Tls), &[Pull]);
        add(Who::Xfer(Route::Quic), &[Push]);
        add(Who::Raw(Kind::Quic), &[Push]);
        add(Who::Raw(Kind::QuicLarge), &[Push]);
        add(Who::Xfer(Route::Quic), &[Pull]);
        add(Who::Xfer(Route::Ssh), &[Push, Pull]);
        add(Who::Daemon, &[Push, Pull]);
        for peer in [Contender::Scp, Contender::Rsync, Contender::Syq] {
            add(Who::Peer(peer), &[Push, Pull]);
        }
        add(Who::Iperf3, &[Push]);
        for entrant in &mut all {
            if matches!(entrant.who, Who::Raw(_) | Who::Iperf3) {
                entrant.direction = None;
            }
        }
        all
    }

    pub(super) fn name(self) -> String {
        match self.who {
            Who::Xfer(route) => format!("xfer-{}", route.name()),
            Who::Peer(peer) => peer.name().to_owned(),
            Who::Daemon => String::from("rsync-daemon"),
            Who::Raw(kind) => kind.name().to_owned(),
            Who::Iperf3 => String::from("iperf3"),
        }
    }

    pub(super) fn is_installed(self) -> bool {
        match self.who {
            Who::Peer(peer) => peer.program().is_some(),
            Who::Iperf3 => installed("iperf3"),
            Who::Xfer(_) | Who::Daemon | Who::Raw(_) => true,
        }
    }

    /// One turn
    pub(super) fn command(self, around: &Surroundings<'_>) -> Done<Command> {
        let lab = around.lab;
        let wanted = Move {
            source: around.source.clone(),
            destination: lab.destination(false),
            direction: self.direction.unwrap_or(Direction::Push),
            synced: false,
        };
        Ok(match self.who {
            Who::Xfer(route) => {
                let mut arguments = wanted.xfer();
                arguments.splice(1..1, route.flags("127.0.0.1", free_port()?));
                arguments.extend(["--events".into(), events(lab).into()]);
                lab.xfer().command(arguments)
            }
            Who::Peer(peer) => peer.by_any_route(lab, &wanted),
            Who::Daemon => daemon(around, &wanted),
            Who::Raw(kind) => kind.command(around.streams, around.bytes)?,
            Who::Iperf3 => iperf3(around)?,
        })
    }
}

/// Where the program tells what it does
pub(super) fn events(lab: &Lab) -> PathBuf {
    lab.memory().join("events.ndjson")
}

fn daemon(around: &Surroundings<'_>, wanted: &Move) -> Command {
    let root = around.lab.memory();
    let far = |path: &std::path::Path| {
        let below = path.strip_prefix(root).unwrap_or(path);
        let mut text = OsString::from(format!(
            "rsync://127.0.0.1:{}/{}/",
            around.daemon.port(),
            Daemon::MODULE
        ));
        text.push(below);
        text
    };
    let mut to = wanted.destination.clone();
    to.push("");
    let mut command = Command::new("rsync");
    command.args(["-a", "-W"]);
    match wanted.direction {
        Direction::Push => command.arg(&wanted.source).arg(far(&to)),
        Direction::Pull => command.arg(far(&wanted.source)).arg(to),
    };
    command
}

/// The server serves once; the client asks until it is there
fn iperf3(around: &Surroundings<'_>) -> Done<Command> {
    let script = "iperf3 -s -1 -B 127.0.0.1 -p \"$1\" >/dev/null & server=$!; \
        for attempt in $(seq 200); do \
        iperf3 -c 127.0.0.1 -p \"$1\" -n \"$2\" -P \"$3\" >/dev/null 2>&1 && exec wait $server; \
        sleep 0.01; done; kill $server; exit 1";
    let script = script.replace("exec wait $server", "{ wait $server; exit; }");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]);
    let numbers = [u64::from(free_port()?), around.bytes, around.streams.max(1)];
    command.args(numbers.map(|number| number.to_string()));
    Ok(command)
}

fn installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(name).is_file())
}
