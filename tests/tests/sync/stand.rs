//! Trees from words, and the program between them

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use xfer_tests::net::{Direction, Lab, Mapping, Protocol, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Running, Xfer};

/// Where the destination is
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Here,
    Ssh,
    /// By a login, with payload on a data port alone
    Tls,
    Peer,
}

/// The data port of the far machine, inside and outside
const DATA_PORT: (u16, u16) = (8081, 30_526);

/// What has payload go over that port, or nowhere
const OVER_TLS: [&str; 4] = ["--route", "tls", "--data-port", "8081:30526/tcp"];

/// A program with a home, and what it reaches
pub(crate) struct Stand {
    xfer: Xfer,
    place: TempDir,
    side: Side,
    address: String,
    _server: Option<Sshd>,
    lab: Option<Lab>,
    peer: Option<(Xfer, Running)>,
    made: AtomicU32,
}

/// A source, and what stands at its destination
pub(crate) struct Trees {
    pub(crate) source: PathBuf,
    pub(crate) there: PathBuf,
}

impl Stand {
    pub(crate) fn new(side: Side) -> Self {
        let place = TempDir::new().expect("temp dir");
        let (mut xfer, mut address) = (Xfer::new(), String::new());
        // In hosts of their own, where no other program takes the data port.
        let lab = (side == Side::Tls).then(|| Lab::new(&Weather::default()));
        let server = match &lab {
            Some(lab) => Some(Sshd::start_within(&lab.far, lab.link.far(), "")),
            None => (side == Side::Ssh).then(|| Sshd::start("")),
        };
        if let Some(server) = &server {
            xfer = xfer.ssh_config(server.client_config("host"));
        }
        if let Some(lab) = &lab {
            let (inside, outside) = DATA_PORT;
            lab.link.map_ports(&[Mapping { protocol: Protocol::Tcp, outside, inside }]);
            xfer = xfer.within(&lab.near);
        }
        let mut peer = None;
        if side == Side::Peer {
            let (host, running, at) = serve(place.path(), &xfer);
            address = at;
            peer = Some((host, running));
        }
        let made = AtomicU32::new(0);
        Self { xfer, place, side, address, _server: server, lab, peer, made }
    }

    pub(crate) fn home(&self) -> &Path {
        self.xfer.home()
    }

    /// Another home, with a variable
    pub(crate) fn xfer_with(&self, name: &str, value: &str) -> Xfer {
        Xfer::new().env(name, value)
    }

    /// Makes both trees of their lines: `path=content`, `path/=` a directory, `path->` a link,
    /// `path==` one more name of a file, `path@5=content` one that was modified in that second
    pub(crate) fn trees(&self, source: &[&str], there: &[&str]) -> Trees {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let root = self.place.path().join(format!("{number}"));
        let trees = Trees { source: root.join("source"), there: root.join("there") };
        plant(&trees.source, source);
        plant(&trees.there, there);
        trees
    }

    pub(crate) fn arguments(&self, trees: &Trees, flags: &[&str]) -> Vec<OsString> {
        let route = if self.side == Side::Tls { &OVER_TLS[..] } else { &[] };
        let words = ["sync"].iter().chain(route).chain(flags);
        let mut words: Vec<_> = words.map(OsString::from).collect();
        let mut from = trees.source.clone().into_os_string();
        from.push("/");
        words.extend([from, self.location(&trees.there)]);
        words
    }

    /// A path as the program reaches it
    pub(crate) fn location(&self, path: &Path) -> OsString {
        let mut location = OsString::from(match self.side {
            Side::Here => "",
            Side::Ssh | Side::Tls => "host:",
            Side::Peer => return self.at_peer(path),
        });
        location.push(path);
        location
    }

    fn at_peer(&self, path: &Path) -> OsString {
        let below = path.strip_prefix(self.place.path()).expect("below the place");
        format!("xfer://{}/data/{}", self.address, below.display()).into()
    }

    /// Packets that went to the data port until now, where there is one
    pub(crate) fn packets_to_data_port(&self) -> u64 {
        self.lab.as_ref().map_or(0, |lab| lab.link.counts(Direction::Out).remapped)
    }

    pub(crate) fn sync(&self, trees: &Trees, flags: &[&str]) -> Ended {
        self.xfer.run(self.arguments(trees, flags))
    }

    pub(crate) fn start(&self, trees: &Trees, flags: &[&str]) -> Running {
        self.xfer.start(self.arguments(trees, flags))
    }

    pub(crate) fn command(&self, trees: &Trees, flags: &[&str]) -> Command {
        self.xfer.command(self.arguments(trees, flags))
    }

    pub(crate) fn run(&self, words: &[OsString]) -> Ended {
        self.xfer.run(words)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some((_home, peer)) = self.peer.take() {
            peer.signal("TERM");
            peer.wait();
        }
    }
}

/// Starts a peer that serves a directory, and gives its token to a client
fn serve(place: &Path, client: &Xfer) -> (Xfer, Running, String) {
    let host = Xfer::new();
    let tokens = host.home().join("tokens").into_os_string().into_string().expect("UTF-8");
    let root = format!("data={}", place.display());
    let words = ["serve", "--listen", "127.0.0.1:0", "--token-file", &tokens, "--root", &root];
    let running = host.start(words);
    let token = std::cell::RefCell::new(String::new());
    let listening = running.next_line(|line| {
        if line.starts_with("xferpeer1_") {
            token.replace(line.to_owned());
        }
        line.starts_with("listening ")
    });
    let address = listening.expect("a peer that listens")["listening ".len()..].to_owned();
    let file = client.home().join("config/xfer/peer-tokens");
    fs::create_dir_all(file.parent().expect("a directory")).expect("create");
    tree::write(&file, token.into_inner().as_bytes());
    tree::set_mode(&file, 0o600);
    (host, running, address)
}

fn plant(root: &Path, lines: &[&str]) {
    fs::create_dir_all(root).expect("create");
    for line in lines {
        let (path, rest) = line.split_once(['=', '>']).expect("a line of a tree");
        let (path, second) = path.split_once('@').unwrap_or((path, ""));
        let at = root.join(path.trim_end_matches(['/', '-']));
        fs::create_dir_all(at.parent().expect("a parent")).expect("create");
        match rest.strip_prefix('=') {
            Some(of) => fs::hard_link(root.join(of), &at).expect("link"),
            None if path.ends_with('/') => fs::create_dir_all(&at).expect("create"),
            None if path.ends_with('-') => symlink(rest, &at).expect("link"),
            None => tree::write(&at, rest.as_bytes()),
        }
        if let Ok(second) = second.parse() {
            tree::set_modified(&at, second, 0);
        }
    }
}

/// What rsync would change to make two trees equal; times do not count
pub(crate) fn changes(from: &Path, to: &Path) -> Vec<String> {
    rsync(&["-nrlpHc", "--delete", "--itemize-changes"], from, to)
}

/// Runs rsync between the contents of two directories
pub(crate) fn rsync(flags: &[&str], from: &Path, to: &Path) -> Vec<String> {
    let inside = |path: &Path| {
        let mut text = path.as_os_str().to_owned();
        text.push("/");
        text
    };
    let mut command = Command::new("rsync");
    command.args(flags).args([inside(from), inside(to)]).stdin(Stdio::null());
    let output = command.output().expect("rsync is missing: apt-get install rsync");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
