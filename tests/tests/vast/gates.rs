//! Whether a machine may be destroyed, asked on the command line

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use xfer_tests::stores::S3s;

use super::logins::Rented;

/// A machine whose tree is in a bucket
struct Kept {
    rented: Rented,
    _store: S3s,
}

impl Kept {
    fn new() -> Self {
        let mut rented = Rented::new();
        rented.push(&[], 0);
        let store = S3s::start_within(&rented.lab.near, Ipv4Addr::LOCALHOST, "canary-secret-4711");
        for (name, value) in store.access().environment() {
            rented.stand.xfer = rented.stand.xfer.env(name, value);
        }
        let endpoint = &store.access().endpoint;
        rented.stand.xfer = rented.stand.xfer.env("AWS_ENDPOINT_URL_S3", endpoint);
        let kept = Self { rented, _store: store };
        let source = kept.root();
        let bucket = kept._store.access().location("run7/");
        let source = format!("vast:33402296:{source}/");
        kept.rented.stand.run(&["push", &source, &bucket, "--verify", "read-back"], 0);
        kept
    }

    fn root(&self) -> String {
        self.rented.machine.home().join("data").display().to_string()
    }

    /// Asks the gate; gives the verdict
    fn gate(&self, flags: &[&str], code: i32) -> Value {
        let place = format!("vast:33402296:{}", self.root());
        let arguments = [&["gate", &place, "--json"], flags].concat();
        let ended = self.rented.stand.xfer.run(arguments).expect_code(code);
        eprintln!("{}", ended.stderr);
        let verdict = ended.events().into_iter().find(|event| event["type"] == "verdict");
        verdict.expect("a verdict")
    }
}

#[test]
fn what_holds_is_told() {
    let kept = Kept::new();
    let verdict = kept.gate(&[], 20);
    panic!("{verdict:#}");
}
