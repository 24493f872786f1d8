//! One of every reply, and of every fault.

use xfer_protocol::data_port::{Carrier, DataPort, InsidePort, KeyDigest, Listening, PortRefusal};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Device, Entry, EntryKind, Inode, ScanItem, Timestamp};
use xfer_protocol::message::delta::{CopiedRange, SumKind};
use xfer_protocol::message::errand::{Carried, CarryProblem, CarryProblemKind, Gathered, Head};
use xfer_protocol::message::passage::{Forwarded, Reached};
use xfer_protocol::message::settling::Settling;
use xfer_protocol::message::{
    Begun, Digests, Located, LocatedKind, Message, Outcome, Partial, ReadFile, Reply, RequestId,
    Root, RootIndex, ScanBatch, ScanIndex, Space, Ticket,
};
use xfer_protocol::probe::{DiskTrial, Facts};
use xfer_protocol::survey::{Container, OpenFile, Process, Surveyed, Tree};

use super::{Sample, digest, fault, metadata, path, plain_metadata, range, stamp, time};

pub(super) fn samples() -> Vec<Sample> {
    let space = Space { bytes_free: 1 << 40, inodes_free: Some(1_000_000), volatile: false };
    let root = Root {
        index: RootIndex(0),
        path: b"/srv/data".to_vec(),
        device: 66_306,
        inode: 2,
        machine: [0xab; 16],
        space,
    };
    let digests = Digests { digests: vec![digest(0), digest(64)], past_cache: true };
    let partial =
        Partial { held: vec![range(0, 1 << 20), range(3 << 20, 7 << 20)], in_place: true };
    let hashes = vec![Ok(digest(3)), Err(fault(FaultKind::Changed, Operation::Hash))];
    let pack = vec![
        Ok(ReadFile { size: 2, digest: digest(8) }),
        Err(fault(FaultKind::NotFound, Operation::Open).with_errno(2)),
        Ok(ReadFile { size: 1, digest: digest(9) }),
    ];
    let missing = fault(FaultKind::NotFound, Operation::List);
    let reached = Reached { carrier: Some(Carrier::Udp), streams: 16 };
    let forwarded = |forwarded| Ok(Reply::Forwarded(forwarded));
    let begun =
        Begun { root: root.clone(), lists: vec![Ok((ScanIndex(3), batch())), Err(missing)] };
    let volatile = Space { bytes_free: 0, inodes_free: None, volatile: true };
    let mut all = vec![
        ("reply-block", Ok(Reply::Block(vec![digest(1), digest(2)])), &b"payload"[..]),
        ("reply-digests", Ok(Reply::Digests(digests)), b""),
        ("reply-done", Ok(Reply::Done), b""),
        ("reply-file-digests", Ok(Reply::FileDigests(hashes, false)), b""),
        ("reply-located", Ok(Reply::Located(located())), b""),
        ("reply-outcomes", Ok(Reply::Outcomes(outcomes())), b""),
        ("reply-pack", Ok(Reply::Pack(pack.clone())), b"abc"),
        ("reply-partial", Ok(Reply::Partial(partial)), b""),
        ("reply-ranges", Ok(Reply::Ranges(vec![range(5, 6)])), b""),
        ("reply-root", Ok(Reply::Root(root)), b""),
        ("reply-scan", Ok(Reply::Scan(ScanIndex(7))), b""),
        ("reply-scan-batch", Ok(Reply::ScanBatch(batch())), b""),
        ("reply-space", Ok(Reply::Space(volatile)), b""),
        ("reply-listening", Ok(Reply::Listening(listening())), b""),
        ("reply-begun", Ok(Reply::Begun(begun)), b""),
        ("reply-supplied", Ok(Reply::Supplied(3)), b"abc"),
        ("reply-facts", Ok(Reply::Facts(facts())), b""),
        ("reply-disk-trial", Ok(Reply::DiskTrial(trial())), b""),
        ("reply-key", Ok(Reply::Key(KeyDigest([0xee; 32]))), b""),
        ("reply-reached", Ok(Reply::Reached(reached)), b""),
        ("reply-reached-by-login", Ok(Reply::Reached(Reached { carrier: None, streams: 1 })), b""),
        ("reply-forwarded-block", forwarded(Forwarded::Block(vec![digest(1)])), b""),
        ("reply-forwarded-pack", forwarded(Forwarded::Pack(pack.clone())), b""),
        ("reply-undelivered", forwarded(Forwarded::Undelivered), b""),
        ("reply-login", Ok(Reply::Login("ssh-ed25519 AAAA".to_owned())), b""),
    ]
    .into_iter()
    .map(|(name, reply, payload)| Sample::new(name, Message::Reply(RequestId(77), reply), payload))
    .collect::<Vec<_>>();
    all.extend(errands());
    all.extend(surveys());
    all.extend(deltas());
    all.extend(faults());
    all
}

fn errands() -> Vec<Sample> {
    let read = Ok(ReadFile { size: 2, digest: digest(8) });
    let unread = Err(fault(FaultKind::NotFound, Operation::Open).with_errno(2));
    let block = Gathered::Block { digests: vec![digest(1)], crc: 0xae8b_1486_0a79_9888 };
    let pack = Gathered::Pack(vec![(read, 7), (unread, 0)]);
    let head = |status, body: &[u8]| {
        let headers = vec![("etag".to_owned(), "\"00\"".to_owned())];
        Ok(Head { status, headers, body: body.to_vec() })
    };
    let kept = Carried { outcome: head(206, b""), digests: vec![digest(2)], crc: Some(9) };
    let refused = Carried { outcome: head(403, b"<Error/>"), digests: vec![], crc: None };
    let kinds = [
        CarryProblemKind::Unreached,
        CarryProblemKind::Untrusted,
        CarryProblemKind::Broken,
        CarryProblemKind::TimedOut,
        CarryProblemKind::Length,
        CarryProblemKind::Unusable,
        CarryProblemKind::NoParcel,
    ];
    let replies = [
        ("reply-gathered-block", Reply::Gathered(block)),
        ("reply-gathered-pack", Reply::Gathered(pack)),
        ("reply-carried-kept", Reply::Carried(kept)),
        ("reply-carried-refused", Reply::Carried(refused)),
    ];
    let named = replies.into_iter().map(|(name, reply)| (name.to_owned(), reply));
    let problems = kinds.into_iter().map(|kind| {
        let outcome = Err(CarryProblem { kind, reason: "what happened".to_owned() });
        let carried = Carried { outcome, digests: vec![], crc: None };
        (format!("reply-carried-{kind:?}").to_lowercase(), Reply::Carried(carried))
    });
    let all = named.chain(problems);
    all.map(|(name, reply)| Sample::new(&name, Message::Reply(RequestId(77), Ok(reply)), b""))
        .collect()
}

fn surveys() -> Vec<Sample> {
    let container = Container {
        label: Some("C.33402296".to_owned()),
        marker: Some([7; 16]),
        first_process: Some(123_456),
        root_device: Some(0x2b),
        mounts: Some(digest(3)),
        boot: Some([9; 16]),
    };
    let process = Process { pid: 812, command: b"python train.py".to_vec() };
    let open = OpenFile { process: process.clone(), path: b"/workspace/a".to_vec(), mapped: true };
    let tree = |digest| Tree { path: b"/root/data".to_vec(), count: 40, bytes: 3 << 30, digest };
    let found = Surveyed {
        writers: vec![open],
        unreadable: vec![process],
        shared: vec![b"/workspace/nfs".to_vec()],
        mounts: None,
        changed: Some(vec![tree(Some(digest(4))), tree(None)]),
    };
    let open = vec![(0x2b, 812), (0x2b, 1 << 40)];
    let settling = Settling { now: Timestamp { seconds: -5, nanoseconds: 999_999_999 }, open };
    let replies = [
        ("reply-container", Reply::Container(container)),
        ("reply-container-unknown", Reply::Container(Container::default())),
        ("reply-survey-under-way", Reply::Surveyed(None)),
        ("reply-surveyed", Reply::Surveyed(Some(Box::new(found)))),
        ("reply-settling", Reply::Settling(settling)),
    ];
    let replies = replies.into_iter();
    replies
        .map(|(name, reply)| Sample::new(name, Message::Reply(RequestId(77), Ok(reply)), b""))
        .collect()
}

fn deltas() -> Vec<Sample> {
    let copies = vec![
        CopiedRange { to: 0, from: 1 << 20, length: 65_536 },
        CopiedRange { to: 65_537, from: 0, length: 1 },
    ];
    let replies = [
        ("reply-sums", Reply::Sums(SumKind::Rolling, 2), &[7; 24][..]),
        ("reply-copies", Reply::Copies(copies), b""),
        ("reply-parts", Reply::Parts(vec![digest(1), digest(2)], 3), b"abc"),
    ];
    let sample = |(name, reply, payload): (_, _, &[u8])| {
        Sample::new(name, Message::Reply(RequestId(77), Ok(reply)), payload)
    };
    replies.into_iter().map(sample).collect()
}

fn facts() -> Facts {
    Facts {
        cores: 128,
        features: 0b11_1111,
        memory_bytes: 1 << 40,
        hash_rate: 2_500_000_000,
        seal_rate: 4_000_000_000,
    }
}

fn trial() -> DiskTrial {
    DiskTrial {
        written: 256 << 20,
        write_micros: 300_000,
        read: 128 << 20,
        read_micros: 150_000,
        past_cache: true,
    }
}

fn listening() -> Listening {
    let port = |carrier, number, outside, refused| DataPort {
        inside: InsidePort { carrier, number },
        outside,
        refused,
    };
    Listening {
        key: KeyDigest([0xcd; 32]),
        address: Some("192.0.2.1".parse().unwrap()),
        controller: Some("2001:db8::9".parse().unwrap()),
        ports: vec![
            port(Carrier::Tcp, 8081, Some(33_526), None),
            port(Carrier::Udp, 8080, None, Some(PortRefusal::InUse)),
            port(Carrier::Tcp, 443, None, Some(PortRefusal::Permission)),
            port(Carrier::Tcp, 9, Some(9), Some(PortRefusal::Other)),
        ],
    }
}

fn located() -> Vec<Located> {
    let kinds = [
        Some(LocatedKind::Directory),
        Some(LocatedKind::DirectoryLink),
        Some(LocatedKind::Other),
        None,
    ];
    kinds.into_iter().map(|kind| Located { path: b"/data/x".to_vec(), kind }).collect()
}

fn outcomes() -> Vec<Outcome> {
    let full = fault(FaultKind::NoSpace, Operation::Write).with_errno(28);
    vec![
        Outcome { ticket: Ticket(1), result: Ok(Some(stamp(9))) },
        Outcome { ticket: Ticket(2), result: Ok(None) },
        Outcome { ticket: Ticket(u64::MAX), result: Err(full) },
    ]
}

fn batch() -> ScanBatch {
    let inode = Inode { device: 1, number: u64::MAX, changed: time(0, 0), links: 2 };
    let entry = |name: &[u8], kind, metadata| {
        ScanItem::Entry(Entry { path: path(name), kind, metadata, inode })
    };
    let device = Device { block: true, major: 8, minor: 1 };
    let link = EntryKind::Symlink { content: b"/dangling".to_vec() };
    let regular = EntryKind::File { size: 1 << 40, allocated: 4096 };
    ScanBatch {
        sequence: 3,
        items: vec![
            entry(b"", EntryKind::Directory, plain_metadata()),
            entry(b"disk", EntryKind::Device(device), plain_metadata()),
            entry(b"fifo", EntryKind::Fifo, plain_metadata()),
            entry(b"file", regular, metadata()),
            entry(b"link", link, plain_metadata()),
            entry(b"socket", EntryKind::Socket, plain_metadata()),
            ScanItem::Excluded(path(b"target")),
            ScanItem::Partial { path: path(b"unfinished"), allocated: 1 << 20 },
            ScanItem::Problem(fault(FaultKind::Permission, Operation::List).with_errno(13)),
        ],
        last: true,
    }
}

/// Every kind once, and every operation at least once.
fn faults() -> Vec<Sample> {
    let kinds = [
        FaultKind::Busy,
        FaultKind::Changed,
        FaultKind::Conflict,
        FaultKind::Device,
        FaultKind::FileTooLarge,
        FaultKind::Io,
        FaultKind::Limit,
        FaultKind::Mismatch,
        FaultKind::NameTooLong,
        FaultKind::NoInodes,
        FaultKind::NoSpace,
        FaultKind::NotFound,
        FaultKind::Permission,
        FaultKind::Protocol,
        FaultKind::Quota,
        FaultKind::ReadOnly,
        FaultKind::Tainted,
        FaultKind::Unsafe,
        FaultKind::Unsupported,
        FaultKind::Unmeasured,
        FaultKind::NotLoaded,
    ];
    let operations = [
        Operation::Commit,
        Operation::Create,
        Operation::Hash,
        Operation::List,
        Operation::Lock,
        Operation::Open,
        Operation::Read,
        Operation::Remove,
        Operation::SetMetadata,
        Operation::Stat,
        Operation::Sync,
        Operation::Write,
    ];
    let pairs = kinds.into_iter().zip(operations.into_iter().cycle()).zip(0_u64..);
    pairs
        .map(|((kind, during), id)| {
            let fault = Fault { errno: (id % 2 == 0).then_some(-5), ..fault(kind, during) };
            let name = format!("fault-{}-{}", spaced(kind), spaced(during));
            Sample::new(&name, Message::Reply(RequestId(id), Err(fault)), b"")
        })
        .collect()
}

/// `NoSpace` as `no-space`.
fn spaced(name: impl std::fmt::Debug) -> String {
    let name = format!("{name:?}");
    let dashed = name.chars().enumerate().flat_map(|(i, c)| {
        let dash = (i > 0 && c.is_uppercase()).then_some('-');
        dash.into_iter().chain(c.to_lowercase())
    });
    dashed.collect()
}
