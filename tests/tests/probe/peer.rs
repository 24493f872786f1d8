//! Standing peers: measured like machines with a login, within what their tokens allow

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use xfer_tests::xfer::{Running, Xfer};

use crate::{assert_within, probed};

/// A peer that serves a directory as `data`, and a client that holds its first token
struct Peer {
    _host: Xfer,
    _running: Running,
    place: TempDir,
    client: Xfer,
    address: String,
}

impl Peer {
    fn new(token_flags: &[&str]) -> Self {
        let (place, host, client) = (TempDir::new().expect("temp dir"), Xfer::new(), Xfer::new());
        let served = place.path().join("served");
        fs::create_dir(&served).expect("create");
        let root = format!("data={}", served.display());
        let tokens = place.path().join("tokens");
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--root", &root];
        arguments.extend(["--token-file", tokens.to_str().expect("UTF-8")]);
        arguments.extend(token_flags);
        let running = host.start(arguments);
        let token = RefCell::new(String::new());
        let listening = running.next_line(|line| {
            if line.starts_with("xferpeer1_") {
                token.replace(line.to_owned());
            }
            line.starts_with("listening ")
        });
        let address = listening.expect("a peer")["listening ".len()..].to_owned();
        let file = client.home().join("token");
        fs::write(&file, token.into_inner()).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
        Self { _host: host, _running: running, place, client, address }
    }

    fn probed(&self, path: &str) -> crate::Told {
        let token = self.client.home().join("token");
        let location = format!("xfer://{}/{path}", self.address);
        let token = token.to_str().expect("UTF-8");
        probed(&self.client, &["--peer-token-file", token, "--duration", "3s", &location])
    }

    fn served(&self) -> &Path {
        self.place.path()
    }
}

fn assert_empty(served: &Path) {
    let names: Vec<_> = fs::read_dir(served.join("served")).expect("list").collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_peer_is_measured_by_both_of_its_ways() {
    let peer = Peer::new(&[]);
    let told = peer.probed("data/not/there");
    for kind in ["tls", "quic"] {
        let way = told.way(kind);
        assert_eq!((&way["state"], &way["direct"]), (&"open".into(), &true.into()), "{way}");
        for streams in ["one_stream", "several_streams"] {
            assert_within(&way[streams]["up"], 1e6..=1e12, kind);
            assert_within(&way[streams]["down"], 1e6..=1e12, kind);
        }
    }
    assert_eq!(told.probe["taken"], "tls", "it is near");
    assert_within(&told.probe["disk"]["write_rate"], 1e5..=1e12, "a disk");
    assert_eq!(told.probe["disk"]["path"], "/data");
    assert_empty(peer.served());
}

#[test]
fn a_token_that_may_not_write_has_no_disk_tried() {
    let peer = Peer::new(&["--read-only"]);
    let told = peer.probed("data");
    let disk = &told.probe["disk"];
    assert!(disk["write_rate"].is_null(), "{disk}");
    assert!(disk["refused"].as_str().is_some_and(|why| why.contains("permission")), "{disk}");
    assert_within(&disk["bytes_free"], 1.0..=1e18, "free bytes");
    assert_eq!(told.way("tls")["state"], "open");
    assert_empty(peer.served());
}
