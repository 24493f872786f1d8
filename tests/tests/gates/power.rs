//! The power of the disk is cut on which the program keeps receipts and tokens

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use xfer_core::disk::state::StateDirectory;
use xfer_core::journal::tokens::{TokenRecord, TokenRecords};
use xfer_tests::changes::Changes;
use xfer_tests::medium::Medium;
use xfer_tests::xfer::long;

use super::room::{Kept, ROOT};

/// The disk's size in MiB
const MEDIUM: u64 = 64;

/// Where in a token its name stands
const NAME: std::ops::Range<usize> = 40..72;

/// Cuts in the midst of a verdict
fn cuts() -> u64 {
    if long() { 100 } else { 6 }
}

/// Whether there is a token; panics unless it is whole, and may be spent
fn is_issued(token: &Path, state: &Path) -> bool {
    let text = fs::read_to_string(token).unwrap_or_default();
    if text.is_empty() {
        return false;
    }
    let bytes = STANDARD.decode(text.trim_end()).expect("a token");
    let name = bytes[NAME].try_into().expect("32 bytes");
    let records = StateDirectory::open(&state.join("xfer")).expect("a state directory");
    let records = TokenRecords::of(&records).expect("records");
    let held = records.hold(&name).expect("hold");
    assert_eq!(held.record().expect("a record"), TokenRecord::Unspent);
    assert_eq!(held.roots().expect("roots"), [ROOT.as_bytes()]);
    true
}

/// Rows: C4.
#[test]
fn a_token_is_there_with_its_record_or_not_at_all() {
    let mut medium = Medium::new(MEDIUM);
    let state = medium.directory("state");
    let kept = Kept::remembering_at(&state);
    medium.sync();
    let token = medium.place().join("token");
    let flags = ["--token", token.to_str().expect("text")];
    let mut changes = Changes::below(&medium.place());
    kept.ask(&flags, 0);
    medium.cut();
    let all = changes.seen();
    medium.mount_again();
    assert!(is_issued(&token, &state), "the gate said yes, and there is no token");
    kept.assert_released(&[]);
    for number in 0..cuts() {
        fs::remove_file(&token).expect("remove");
        medium.sync();
        let mut changes = Changes::below(&medium.place());
        let running = kept.start(&flags);
        let pid = Pid::from_raw(running.id().cast_signed()).expect("a process");
        let process = pidfd_open(pid, PidfdFlags::empty()).expect("a process");
        let _is_reached = changes.wait(1 + all * number / cuts(), &process);
        medium.cut();
        let ended = running.wait();
        medium.mount_again();
        let is_issued = is_issued(&token, &state);
        assert!(is_issued || ended.code() != 0, "yes, and no token");
        kept.assert_released(&[]);
        fs::write(&token, b"").expect("write");
    }
}
