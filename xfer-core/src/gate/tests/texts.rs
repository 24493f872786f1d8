//! What a person is told of reasons, in whole sentences

use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::path::RelPath;
use xfer_protocol::survey::Container;

use super::samples::*;
use crate::gate::coverage::Tally;
use crate::gate::evidence::*;
use crate::gate::reason::*;

fn one() -> At {
    let examples = vec![RelPath::new("run/last.pt").unwrap()];
    At { root: b"/data".to_vec(), entries: Tally { count: 1, bytes: 7, examples } }
}

fn several() -> At {
    At { entries: Tally { count: 2, ..one().entries }, ..one() }
}

fn lost(digest: bool) -> Lost {
    let digest = digest.then(|| super::samples::digest(1));
    Lost { path: b"/srv".to_vec(), count: 3, bytes: 30, digest }
}

fn process() -> Process {
    Process { pid: 7, command: b"python\n".to_vec() }
}

fn store() -> String {
    "s3://b/a".to_owned()
}

#[test]
fn of_what_is_not_proven() {
    let wanted = ProofLevel::ReadBack;
    let unnamed = At { root: b"/data".to_vec(), entries: tally(1) };
    for (reason, text) in [
        (Reason::ContentDiffers(one()), "/data/run/last.pt (7 bytes): changed after the copy"),
        (Reason::NewFile(several()), "/data (2 entries, 7 bytes): in no receipt"),
        (Reason::NewFile(unnamed), "/data (1 entries, 10 bytes): in no receipt"),
        (
            Reason::NotProven { at: several(), wanted },
            "/data (2 entries, 7 bytes): not proven read-back",
        ),
        (Reason::OutsideChanged(lost(true)), "/srv (3 entries, 30 bytes): outside the roots"),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn of_the_machine() {
    let writer = Writer { process: process(), path: b"/data/log".to_vec(), mapped: true };
    let part = IdentityPart::Boot;
    for (reason, text) in [
        (Reason::Writer(writer), "pid 7 python\\x0a -> /data/log (mapped)"),
        (Reason::WriterUnknown(Some(process())), "pid 7 python\\x0a may write: unreadable"),
        (
            Reason::IdentityChanged { part, since: Some("r1".to_owned()) },
            "the boot is another than in receipt r1",
        ),
        (
            Reason::IdentityUnknown { part: IdentityPart::Mounts, since: None },
            "the table of mounts is unknown in this collection",
        ),
        (
            Reason::MachineState(PlatformWord::Otherwise("exited".to_owned())),
            "its platform says exited",
        ),
        (Reason::MachineState(PlatformWord::Gone), "its platform says it is gone"),
        (Reason::MachineState(PlatformWord::Unknown), "its platform does not say that it runs"),
        (
            Reason::ChannelUnproven(Some(HostKeyChannel::FirstUse)),
            "its host key is proven by first-use alone",
        ),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn of_scans() {
    let broken = ScanFailure::Broken("no answer".to_owned());
    for (why, text) in [
        (Incomplete::Failed(ScanFailure::Missing), "is not there"),
        (Incomplete::Failed(ScanFailure::NoDirectory), "is no directory"),
        (Incomplete::Failed(broken), "could not be scanned: no answer"),
        (Incomplete::Unreadable(tally(4)), "4 entries could not be read"),
        (Incomplete::NotWrittenBack, "was hashed without being synced before"),
        (Incomplete::NotLookedAgain, "was not looked at again at the end"),
    ] {
        let reason = Reason::ScanIncomplete { root: b"/data".to_vec(), why };
        assert_eq!(reason.to_string(), format!("/data: {text}"));
    }
}

#[test]
fn of_who_signed() {
    for (signature, who) in [
        (Signature::Missing, "nobody".to_owned()),
        (Signature::Bad, "a signature that does not fit".to_owned()),
        (Signature::Good(OWN), OWN.to_string()),
    ] {
        let reason = Reason::UntrustedReceipt { receipt: "r1".to_owned(), signature };
        assert_eq!(reason.to_string(), format!("receipt r1 is signed by {who}"));
    }
}

/// Commands in it can be run once the names are put in.
#[test]
fn of_what_to_do() {
    let digest = digest(1);
    for (reason, text) in [
        (Reason::NewFile(one()), "copy it: xfer evacuate vast:7:/data s3://b".to_owned()),
        (Reason::NoReceipt, "copy first: xfer evacuate vast:7 s3://b".to_owned()),
        (
            Reason::Excluded(lost(true)),
            format!("copy without the filter, or --ack {digest} to lose it"),
        ),
        (
            Reason::OutsideChanged(lost(false)),
            "add --root /srv; what cannot be listed cannot be acknowledged".to_owned(),
        ),
        (Reason::NotReadBack(store()), "run xfer gate again".to_owned()),
    ] {
        assert_eq!(reason.remedy_with("vast:7", "s3://b"), text);
    }
    assert_eq!(Reason::NoReceipt.remedy(), "copy first: xfer evacuate MACHINE DESTINATION");
}

#[test]
fn of_names() {
    use HostKeyChannel::{FirstUse, KnownHosts, PlatformPinned};
    let channels = [PlatformPinned, KnownHosts, FirstUse].map(HostKeyChannel::name);
    assert_eq!(channels, ["platform-pinned", "known_hosts", "first-use"]);
    let classes = [Durability::D0, Durability::D1, Durability::D2].map(Durability::name);
    assert_eq!(classes, ["D0", "D1", "D2"]);
}

#[test]
fn of_a_container() {
    let Identity { platform, id, label, marker, first_process, root_device, mounts, boot } =
        identity();
    let told = Container { label, marker, first_process, root_device, mounts, boot };
    assert_eq!(Identity::of(platform, id, told), identity());
}
