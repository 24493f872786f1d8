//! A real `xfer serve` on this machine, and the program as its client, judged by rsync and lstat

mod confinement;
mod doors;
mod transfers;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xfer_tests::tree;
use xfer_tests::xfer::{Running, Xfer};

/// A peer that serves the directory `served` as `data`, and a client with its first token
struct Stand {
    /// Where trees lie
    place: TempDir,
    /// The home of the peer, which holds its key
    host: Xfer,
    /// The home of the client
    client: Xfer,
    address: String,
    peer: Option<Running>,
}

impl Stand {
    /// The flags are those of the first token.
    fn new(flags: &[&str]) -> Self {
        let place = TempDir::new().expect("temp dir");
        std::fs::create_dir(place.path().join("served")).expect("create");
        let (host, client) = (Xfer::new(), Xfer::new());
        let mut stand = Self { place, host, client, address: String::new(), peer: None };
        let token = stand.start("127.0.0.1:0", flags).expect("a first token");
        stand.hold(&token);
        stand
    }

    /// Starts the peer, and tells the token that it printed
    fn start(&mut self, listen: &str, flags: &[&str]) -> Option<String> {
        let tokens = self.path("tokens");
        let root = format!("data={}", self.path("served").display());
        let mut arguments = vec!["serve", "--listen", listen, "--root", &root];
        arguments.extend(["--token-file", tokens.to_str().expect("UTF-8")]);
        arguments.extend(flags);
        let running = self.host.start(arguments);
        let token = RefCell::new(None);
        let listening = running.next_line(|line| {
            if line.starts_with("xferpeer1_") {
                token.replace(Some(line.to_owned()));
            }
            line.starts_with("listening ")
        });
        self.address = listening.expect("a peer that listens")["listening ".len()..].to_owned();
        self.peer = Some(running);
        token.into_inner()
    }

    /// Stops the peer, which tells no error but the stop.
    fn stop(&mut self) {
        let peer = self.peer.take().expect("a peer that runs");
        peer.signal("TERM");
        peer.wait().expect_code(143);
    }

    /// Has another token made
    fn new_token(&self, flags: &[&str]) -> String {
        let tokens = self.path("tokens");
        let mut arguments = vec!["serve", "--new-token", "--token-file"];
        arguments.push(tokens.to_str().expect("UTF-8"));
        arguments.extend(flags);
        self.host.run(arguments).expect_code(0).stdout.trim().to_owned()
    }

    /// Gives the client a token where it looks for one
    fn hold(&self, token: &str) {
        hold(&self.client, token);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A location below the address of the peer
    fn at(&self, path: &str) -> OsString {
        format!("xfer://{}{path}", self.address).into()
    }
}

fn hold(client: &Xfer, token: &str) {
    let file = client.home().join("config/xfer/peer-tokens");
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("create");
    tree::write(&file, token.as_bytes());
    tree::set_mode(&file, 0o600);
}

/// The contents of a directory, not the directory itself
fn inside(path: &Path) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}

fn words<'a>(words: &[&str], rest: impl IntoIterator<Item = &'a OsString>) -> Vec<OsString> {
    words.iter().map(OsString::from).chain(rest.into_iter().cloned()).collect()
}
