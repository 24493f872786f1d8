//! A training that writes checkpoints while the link is cut and the watcher killed

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use xfer_tests::random::Random;
use xfer_tests::xfer::Running;

use crate::stand::{Stand, place, round, stop};

/// Seeds of the slice that runs every time
const SEED: u64 = 18;

#[test]
fn every_finished_checkpoint_arrives_and_none_is_half_written() {
    Training::new(SEED).train(14);
}

/// The whole of it: the better part of an hour
#[test]
#[ignore = "minutes; see CONTRIBUTING.md"]
fn five_hundred_checkpoints_arrive() {
    Training::new(SEED + 1).train(500);
}

struct Training {
    stand: Stand,
    random: Random,
    watch: Running,
    /// What every finished file holds.
    finished: BTreeMap<String, Vec<u8>>,
    /// One that is written in place, and what is yet to be written.
    open: Option<(String, fs::File, Vec<u8>, Vec<u8>)>,
    cuts: u32,
    kills: u32,
}

fn watch(stand: &Stand) -> Running {
    stand.watch("push", &["--settle", "1s"])
}

/// Whether a file is one that was finished: its own digest ends it
fn is_whole(content: &[u8]) -> bool {
    let Some(split) = content.len().checked_sub(32) else { return false };
    blake3::hash(&content[..split]).as_bytes()[..] == content[split..]
}

impl Training {
    fn new(seed: u64) -> Self {
        let stand = Stand::over_ssh();
        let watch = watch(&stand);
        let (random, finished) = (Random::new(seed), BTreeMap::new());
        Self { stand, random, watch, finished, open: None, cuts: 0, kills: 0 }
    }

    fn train(mut self, steps: u32) {
        for step in 0..steps {
            self.save(step);
            self.harm(step);
            if self.random.happens(0.4) {
                self.until_all_is_there();
            }
        }
        self.close();
        self.until_all_is_there();
        assert!(self.cuts > 0 && self.kills > 0, "{} cuts, {} kills", self.cuts, self.kills);
        for (name, content) in &self.finished {
            assert_eq!(&fs::read(self.stand.there(name)).expect("read"), content, "{name}");
        }
        stop(self.watch, "TERM", 143);
    }

    fn content(&mut self) -> Vec<u8> {
        let length = if self.random.happens(0.3) { 6 << 20 } else { 200_000 };
        let mut content = self.random.bytes(length);
        let digest = blake3::hash(&content);
        content.extend_from_slice(digest.as_bytes());
        content
    }

    fn save(&mut self, step: u32) {
        let content = self.content();
        // Some names are written anew all the time.
        let name = if step % 5 == 4 { "last.pt".to_owned() } else { format!("step-{step}.pt") };
        if self.random.happens(0.6) {
            place(&self.stand.source(&name), &content);
            self.finished.insert(name, content);
            return;
        }
        self.close();
        let name = format!("in-place-{step}.pt");
        let mut file = fs::File::create(self.stand.source(&name)).expect("create");
        let half = content.len() / 2;
        file.write_all(&content[..half]).expect("write");
        let rest = content[half..].to_vec();
        self.open = Some((name, file, rest, content));
    }

    /// Finishes what is written in place
    fn close(&mut self) {
        if let Some((name, mut file, rest, content)) = self.open.take() {
            file.write_all(&rest).expect("write");
            self.finished.insert(name, content);
        }
    }

    fn harm(&mut self, step: u32) {
        let server = self.stand.server.as_ref().expect("a server");
        if step % 3 == 1 || self.random.happens(0.2) {
            server.kill_sessions();
            self.cuts += 1;
        }
        if step % 4 == 2 || self.random.happens(0.1) {
            self.watch.signal("KILL");
            self.kills += 1;
            self.watch = watch(&self.stand);
        }
    }

    /// Waits until what is finished is there, and judges whatever arrives
    fn until_all_is_there(&mut self) {
        while !self.is_there() {
            let told = self.watch.next_event(|event| {
                let is_moved = event["type"] == "entry" && event["action"] == "moved";
                is_moved || event["watch"].is_object()
            });
            self.judge();
            if told.is_none() {
                // Whoever starts it again does so whenever it ends.
                self.watch = watch(&self.stand);
            }
        }
    }

    fn is_there(&self) -> bool {
        self.finished.iter().all(|(name, content)| {
            fs::read(self.stand.there(name)).is_ok_and(|found| found == *content)
        })
    }

    fn judge(&self) {
        for entry in fs::read_dir(self.stand.there("")).expect("list").flatten() {
            let name = entry.file_name().into_string().expect("UTF-8");
            if name.starts_with(".xfer") || name.ends_with(".aside") {
                continue;
            }
            let Ok(content) = fs::read(entry.path()) else { continue };
            assert!(is_whole(&content), "{name} is half of a file: {} bytes", content.len());
        }
    }
}

/// The first round alone moves what was there before
#[test]
fn what_was_finished_before_goes_in_the_first_round() {
    let stand = Stand::here();
    let mut content = Random::new(1).bytes(1000);
    let digest = blake3::hash(&content);
    content.extend_from_slice(digest.as_bytes());
    assert!(is_whole(&content) && !is_whole(&content[..999]));
    place(&stand.source("step-0.pt"), &content);
    let watch = stand.watch("push", &["--settle", "0"]);
    let first = round(&watch, |_| true);
    assert_eq!(first["moved"], 1, "{first}");
    stop(watch, "TERM", 143);
}
