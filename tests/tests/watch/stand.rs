//! A program with a home, a source, and a destination here or over SSH

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::schema::assert_valid;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Running, Xfer};

pub(crate) struct Stand {
    pub(crate) xfer: Xfer,
    pub(crate) server: Option<Sshd>,
    place: TempDir,
}

impl Stand {
    pub(crate) fn here() -> Self {
        Self::new(None)
    }

    pub(crate) fn over_ssh() -> Self {
        Self::new(Some(Sshd::start("")))
    }

    fn new(server: Option<Sshd>) -> Self {
        let mut xfer = Xfer::new();
        if let Some(server) = &server {
            xfer = xfer.ssh_config(server.client_config("host"));
        }
        let place = TempDir::new().expect("temp dir");
        for name in ["source", "there"] {
            fs::create_dir(place.path().join(name)).expect("create");
        }
        Self { xfer, server, place }
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.place.path().join("source").join(name)
    }

    pub(crate) fn there(&self, name: &str) -> PathBuf {
        self.place.path().join("there").join(name)
    }

    /// The words of a transfer from the source to the destination
    pub(crate) fn words(&self, verb: &str, flags: &[&str]) -> Vec<OsString> {
        let far = if self.server.is_some() { "host:" } else { "" };
        let of_source = if verb == "pull" { far } else { "" };
        let of_destination = if verb == "pull" { "" } else { far };
        let place = |before: &str, path: PathBuf| {
            let mut word = OsString::from(before);
            word.push(path);
            word
        };
        let mut words: Vec<_> = [verb].iter().chain(flags).map(OsString::from).collect();
        words.push(place(of_source, self.source("")));
        words.push(place(of_destination, self.place.path().join("there")));
        words
    }

    pub(crate) fn run(&self, verb: &str, flags: &[&str]) -> Ended {
        self.xfer.run(self.words(verb, flags))
    }

    /// Starts a watch that tells what it does
    pub(crate) fn watch(&self, verb: &str, flags: &[&str]) -> Running {
        let flags = [&["--watch", "--json"], flags].concat();
        self.xfer.start(self.words(verb, &flags))
    }
}

/// The next round of a watch that is wanted
pub(crate) fn round(running: &Running, wanted: impl Fn(&Value) -> bool) -> Value {
    let event = running.next_event(|event| event["watch"].is_object() && wanted(&event["watch"]));
    event.expect("a round")["watch"].clone()
}

/// Stops a watch, which ends well and with its result
pub(crate) fn stop(running: Running, signal: &str, code: i32) -> Ended {
    running.signal(signal);
    let ended = running.wait().expect_code(code);
    assert_eq!(ended.result()["exit_code"], code);
    let schema = include_str!("../../../xfer-cli/schema/event.schema.json");
    let schema = serde_json::from_str(schema).expect("a schema");
    ended.events().iter().for_each(|event| assert_valid(&schema, event));
    ended
}

/// Writes a file under another name, and gives it its own at once
pub(crate) fn place(path: &Path, content: &[u8]) {
    let aside = path.with_extension("aside");
    fs::write(&aside, content).expect("write");
    fs::rename(&aside, path).expect("rename");
}
