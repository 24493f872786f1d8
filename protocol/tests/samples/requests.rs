//! One of every request.

use std::net::SocketAddr;

use xfer_protocol::data_port::{Carrier, Dial, InsidePort, KeyDigest, Listen};
use xfer_protocol::digest::BlockSize;
use xfer_protocol::hello::SessionId;
use xfer_protocol::manifest::Device;
use xfer_protocol::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign, SumKind};
use xfer_protocol::message::errand::{CarriedMethod, Carry, Gather, Keeping, RedeemAll, Slice};
use xfer_protocol::message::passage::{
    Forward, ForwardedRead, Lend, ParcelIndex, Purpose, Reach, ReachByLogin, Redeem, RedeemedWrite,
};
use xfer_protocol::message::removal::{Removal, Remove, Rename, Renaming};
use xfer_protocol::message::{
    Access, Begin, Commit, Create, FilesAt, FilterRule, FilterRules, Finish, HashBlocks, HashFiles,
    Keep, Locate, LocatedKind, Lock, Message, NewEntry, NewKind, OnlyIf, OpenPartial, OpenRoot,
    PackedFile, PartialIndex, Paths, Publish, ReadBlock, Reading, Request, RequestId, RootIndex,
    Scan, ScanIndex, ScanNext, ScanOptions, SetMetadata, Subject, Ticket, TryDisk, WriteBlock,
    WritePack,
};
use xfer_protocol::survey::Survey;

use super::{Sample, digest, file, metadata, path, plain_metadata, range, stamp, time};

const ROOT: RootIndex = RootIndex(2);
const PARTIAL: PartialIndex = PartialIndex(300);
const MIB: u64 = 1 << 20;

pub(super) fn samples() -> Vec<Sample> {
    let mut all = opening();
    all.extend(scanning());
    all.extend(reading());
    all.extend(writing());
    all.extend(ending());
    all.extend(beside());
    all.extend(trials());
    all.extend(passages());
    all.extend(errands());
    all.extend(surveys());
    all.extend(removals());
    all.extend(deltas());
    all.push(("request-settling", Request::Settling(ROOT), vec![]));
    all.extend(renames());
    let numbered = all.into_iter().zip(0_u64..);
    numbered
        .map(|((name, request, payload), id)| {
            let id = RequestId(id * id * id);
            Sample::new(name, Message::Request(id, request), &payload)
        })
        .collect()
}

type Named = (&'static str, Request, Vec<u8>);

fn opening() -> Vec<Named> {
    let bare = |name, request| (name, request, vec![]);
    let locate = Locate { path: b"~/data/*.bin".to_vec(), expand: true };
    let open = |access| Request::OpenRoot(OpenRoot { path: b"/data/\xff".to_vec(), access });
    let lock = Lock { root: ROOT, entries: vec![path(b"a"), path(b"b/c")] };
    vec![
        bare("request-ping", Request::Ping),
        bare("request-locate", Request::Locate(locate)),
        bare("request-open-root-read", open(Access::Read)),
        bare("request-open-root-write", open(Access::Write)),
        bare("request-open-root-write-create", open(Access::WriteCreate)),
        bare("request-lock", Request::Lock(lock)),
        bare("request-space", Request::Space(RootIndex(u32::MAX))),
    ]
}

fn scanning() -> Vec<Named> {
    let filter = FilterRules {
        rules: vec![
            FilterRule { pattern: "*.tmp".to_owned(), include: false },
            FilterRule { pattern: "/keep/ü".to_owned(), include: true },
        ],
        gitignore: true,
        xferignore: false,
        size_min: Some(1),
        size_max: Some(u64::MAX),
        modified_max: Some(time(2_000_000_000, 5)),
        modified_min: None,
    };
    let options = ScanOptions {
        follow_links: false,
        xattrs: true,
        owner: true,
        filter,
        only: Some(vec![path(b"a/b"), path(b"c")]),
    };
    let full = Scan { root: ROOT, under: path(b"sub"), options };
    let next = ScanNext { scan: ScanIndex(128), sequence: 300 };
    let plain = Scan { root: ROOT, under: path(b""), options: ScanOptions::default() };
    vec![
        ("request-scan", Request::Scan(full), vec![]),
        ("request-scan-all", Request::Scan(plain), vec![]),
        ("request-scan-next", Request::ScanNext(next), vec![]),
    ]
}

fn reading() -> Vec<Named> {
    let files =
        || FilesAt { root: ROOT, files: vec![(path(b"one"), stamp(5)), (path(b"two"), stamp(0))] };
    let read = ReadBlock { file: file(3 * MIB + 5), range: range(2 * MIB, 3 * MIB) };
    let of_file = HashBlocks {
        subject: Subject::File(file(3 * MIB + 5)),
        range: range(MIB, 3 * MIB + 5),
        block: BlockSize::DEFAULT,
        reading: Reading::PastCache,
    };
    let of_partial = HashBlocks {
        subject: Subject::Partial(PARTIAL),
        range: range(0, 65_537),
        block: BlockSize::MIN,
        reading: Reading::Cached,
    };
    let hash_files = HashFiles { files: files(), reading: Reading::Cached };
    vec![
        ("request-data-ranges", Request::DataRanges(file(1 << 40)), vec![]),
        ("request-read-block", Request::ReadBlock(read), vec![]),
        ("request-read-pack", Request::ReadPack(files()), vec![]),
        ("request-hash-blocks", Request::HashBlocks(of_file), vec![]),
        ("request-hash-blocks-partial", Request::HashBlocks(of_partial), vec![]),
        ("request-hash-files", Request::HashFiles(hash_files), vec![]),
    ]
}

fn writing() -> Vec<Named> {
    let open = OpenPartial {
        partial: PARTIAL,
        root: ROOT,
        path: path(b"models/a b"),
        size: i64::MAX as u64,
        over: Some(stamp(5 << 20)),
    };
    let keep = Keep { partial: PARTIAL, ranges: vec![range(0, 65_536), range(65_536, 200_000)] };
    let block = WriteBlock {
        partial: PARTIAL,
        range: range(65_536, 65_541),
        digests: vec![digest(1)],
        hole: false,
    };
    let hole = WriteBlock {
        partial: PARTIAL,
        range: range(MIB, MIB << 20),
        digests: (0..20).map(digest).collect(),
        hole: true,
    };
    let commit =
        Commit { partial: PARTIAL, ticket: Ticket(9), digest: digest(200), metadata: metadata() };
    let packed = |ticket, name: &[u8], size| PackedFile {
        ticket: Ticket(ticket),
        path: path(name),
        size,
        digest: digest(u8::try_from(ticket).unwrap()),
        metadata: plain_metadata(),
    };
    let pack = WritePack {
        root: ROOT,
        files: vec![packed(1, b"x", 3), packed(2, b"empty", 0), packed(3, b"y/z", 4)],
        publish: true,
    };
    vec![
        ("request-create", Request::Create(create()), vec![]),
        ("request-open-partial", Request::OpenPartial(open), vec![]),
        ("request-keep", Request::Keep(keep), vec![]),
        ("request-write-block", Request::WriteBlock(block), b"block".to_vec()),
        ("request-write-block-hole", Request::WriteBlock(hole), vec![]),
        ("request-commit", Request::Commit(commit), vec![]),
        ("request-discard", Request::Discard(PARTIAL), vec![]),
        ("request-write-pack", Request::WritePack(pack), b"abcdefg".to_vec()),
    ]
}

fn create() -> Create {
    let entry = |ticket, name: &[u8], kind| NewEntry {
        ticket: Ticket(ticket),
        path: path(name),
        kind,
        metadata: plain_metadata(),
    };
    let device = Device { block: false, major: 1, minor: 3 };
    Create {
        root: ROOT,
        entries: vec![
            entry(1, b"null", NewKind::Device(device)),
            entry(2, b"dir", NewKind::Directory),
            entry(3, b"dir/fifo", NewKind::Fifo),
            entry(4, b"dir/hard", NewKind::HardLink { of: path(b"x") }),
            entry(5, b"dir/socket", NewKind::Socket),
            entry(6, b"dir/link", NewKind::Symlink { content: b"../../etc\xfe".to_vec() }),
        ],
    }
}

fn beside() -> Vec<Named> {
    let key = KeyDigest(std::array::from_fn(|i| u8::try_from(i).unwrap()));
    let inside = |carrier, number| InsidePort { carrier, number };
    let ports = vec![inside(Carrier::Tcp, 8081), inside(Carrier::Udp, 0)];
    let addresses = vec!["192.0.2.7:443".parse().unwrap(), "[2001:db8::7]:40001".parse().unwrap()];
    let dial = Dial { key, carrier: Carrier::Udp, addresses };
    let open = OpenRoot { path: b"~/in".to_vec(), access: Access::WriteCreate };
    let lists = vec![(path(b"a"), ScanOptions::default())];
    let begin = Begin { open, entries: vec![path(b"a"), path(b"b")], lists, only_if: None };
    let kinds = vec![None, Some(LocatedKind::Directory)];
    let only_if = OnlyIf { path: b"~/in".to_vec(), kinds, elsewhere_than: [9; 16] };
    let guess = Begin { only_if: Some(only_if), ..begin.clone() };
    vec![
        ("request-listen", Request::Listen(Listen { key, ports, mapped: true }), vec![]),
        ("request-dial", Request::Dial(dial), vec![]),
        ("request-begin", Request::Begin(begin), vec![]),
        ("request-begin-only-if", Request::Begin(guess), vec![]),
    ]
}

fn passages() -> Vec<Named> {
    let (key, session) = (KeyDigest([0x5a; 32]), SessionId([7; 16]));
    let parcel = ParcelIndex(300);
    let addresses: Vec<SocketAddr> = vec!["192.0.2.7:443".parse().unwrap()];
    let dialled = vec![(Carrier::Udp, addresses[0])];
    let reach = Reach { session, key, addresses: dialled, streams: 8, compress: true, stall: 30 };
    let block = ReadBlock { file: file(MIB), range: range(0, MIB) };
    let pack = FilesAt { root: ROOT, files: vec![(path(b"one"), stamp(5))] };
    let digests = vec![digest(4)];
    let write = WriteBlock { partial: PARTIAL, range: range(0, 5), digests, hole: false };
    let packed = PackedFile {
        ticket: Ticket(1),
        path: path(b"a"),
        size: 3,
        digest: digest(1),
        metadata: plain_metadata(),
    };
    let written = WritePack { root: ROOT, files: vec![packed], publish: false };
    let forward = |read| Request::Forward(Forward { parcel, read });
    let redeem = |write| Request::Redeem(Redeem { parcel, write });
    let listen = || Listen { key, ports: vec![], mapped: true };
    let login = ReachByLogin {
        session,
        user: "root".to_owned(),
        host_key: "ssh-ed25519 AAAA".to_owned(),
        addresses,
        mark: [3; 32],
        streams: 0,
        compress: false,
        stall: 300,
    };
    let lend = Lend {
        session,
        key: "ssh-ed25519 AAAB".to_owned(),
        from: vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        expires: "20261231235959".to_owned(),
        mark: [3; 32],
    };
    vec![
        ("request-make-key", Request::MakeKey, vec![]),
        ("request-reach", Request::Reach(reach), vec![]),
        ("request-forward-block", forward(ForwardedRead::Block(block)), vec![]),
        ("request-forward-pack", forward(ForwardedRead::Pack(pack)), vec![]),
        ("request-deliver", Request::Deliver(parcel, 5), b"bytes".to_vec()),
        ("request-redeem-block", redeem(RedeemedWrite::Block(write)), vec![]),
        ("request-redeem-pack", redeem(RedeemedWrite::Pack(written)), vec![]),
        ("request-listen-deliveries", Request::ListenFor(listen(), Purpose::Deliveries), vec![]),
        ("request-listen-passage", Request::ListenFor(listen(), Purpose::Passage), vec![]),
        ("request-make-login", Request::MakeLogin, vec![]),
        ("request-reach-by-login", Request::ReachByLogin(login), vec![]),
        ("request-lend", Request::Lend(lend), vec![]),
        ("request-reclaim", Request::Reclaim(session), vec![]),
    ]
}

fn errands() -> Vec<Named> {
    let parcel = ParcelIndex(300);
    let files = FilesAt { root: ROOT, files: vec![(path(b"a"), stamp(1)), (path(b"b"), stamp(0))] };
    let block = ReadBlock { file: file(10 * MIB), range: range(MIB, 2 * MIB) };
    let gather = |read| Request::Gather(Gather { parcel, read });
    let carry = Carry {
        method: CarriedMethod::Get,
        address: "https://store.example/b/k?X-Amz-Signature=00".to_owned(),
        headers: vec![("range".to_owned(), "bytes=65536-131071".to_owned())],
        body: vec![],
        keep: Some(Keeping { parcel, length: 65_536, start: 65_536, size: MIB }),
        stall: 60,
    };
    let first = Slice { parcel, start: 5, length: MIB };
    let body = vec![first, Slice { parcel: ParcelIndex(u64::MAX), start: 0, length: 1 }];
    let method = CarriedMethod::Put;
    let put = Carry { method, headers: vec![], body, keep: None, ..carry.clone() };
    let digests = vec![digest(5)];
    let write = WriteBlock { partial: PARTIAL, range: range(0, 5), digests, hole: false };
    let pack = WritePack { root: ROOT, files: vec![], publish: true };
    let all = |write| {
        let parcels = vec![parcel, ParcelIndex(7)];
        Request::RedeemAll(RedeemAll { parcels, write })
    };
    vec![
        ("request-gather-block", gather(ForwardedRead::Block(block)), vec![]),
        ("request-gather-pack", gather(ForwardedRead::Pack(files)), vec![]),
        ("request-carry-get", Request::Carry(carry), vec![]),
        ("request-carry-put", Request::Carry(put), vec![]),
        ("request-redeem-all-block", all(RedeemedWrite::Block(write)), vec![]),
        ("request-redeem-all-pack", all(RedeemedWrite::Pack(pack)), vec![]),
        ("request-dispose", Request::Dispose(vec![parcel]), vec![]),
    ]
}

fn trials() -> Vec<Named> {
    let trial = TryDisk { root: ROOT, bytes: 256 << 20, millis: 1_500 };
    vec![
        ("request-sink", Request::Sink(5), b"bytes".to_vec()),
        ("request-supply", Request::Supply(1 << 20), vec![]),
        ("request-facts", Request::Facts, vec![]),
        ("request-try-disk", Request::TryDisk(trial), vec![]),
    ]
}

fn surveys() -> Vec<Named> {
    let roots = vec![b"/workspace".to_vec(), b"/root".to_vec()];
    let survey = Survey { number: 3, roots, outside: true };
    vec![
        ("request-identify", Request::Identify(true), vec![]),
        ("request-survey", Request::Survey(survey), vec![]),
        ("request-write-back", Request::WriteBack(ROOT), vec![]),
    ]
}

fn ending() -> Vec<Named> {
    let publish = Publish { root: ROOT, durable: true, number: 200 };
    let set = SetMetadata {
        root: ROOT,
        entries: vec![
            (Ticket(5), path(b"dir/sub"), metadata()),
            (Ticket(6), path(b""), metadata()),
        ],
    };
    let partials = Paths { root: ROOT, paths: vec![path(b"dir/.partial")] };
    vec![
        ("request-publish", Request::Publish(publish), vec![]),
        ("request-set-metadata", Request::SetMetadata(set), vec![]),
        ("request-remove-partials", Request::RemovePartials(partials), vec![]),
        ("request-finish", Request::Finish(Finish { root: ROOT, durable: false }), vec![]),
    ]
}

fn removals() -> Vec<Named> {
    let removal = |ticket, at: &[u8], directory| Removal {
        ticket: Ticket(ticket),
        path: path(at),
        directory,
        stamp: stamp(if directory { 0 } else { 300 }),
        linked: ticket == 7,
    };
    let entries = vec![removal(7, b"old/file", false), removal(8, b"old", true)];
    let remove = Remove { root: ROOT, entries, backup: None, stays: false };
    let entries = vec![removal(9, b"replaced", false)];
    let backup = Some(path(b"kept/monday"));
    let moved = Remove { root: ROOT, entries, backup, stays: true };
    vec![
        ("request-remove", Request::Remove(remove), vec![]),
        ("request-remove-backup", Request::Remove(moved), vec![]),
    ]
}

fn renames() -> Vec<Named> {
    let renaming = Renaming {
        ticket: Ticket(10),
        from: path(b"old/name"),
        stamp: stamp(5 << 20),
        to: path(b"new/name"),
        metadata: metadata(),
    };
    let rename = Rename { root: ROOT, entries: vec![renaming], durable: true };
    vec![("request-rename", Request::Rename(rename), vec![])]
}

fn deltas() -> Vec<Named> {
    let sign = Sign {
        file: file(3 << 20),
        range: range(65_536, 3 << 20),
        block: 16_384,
        kind: SumKind::Placed,
    };
    let looked = Match {
        file: file(300_000),
        range: range(1, 300_000),
        block: 1024,
        from: 7,
        sums: 2,
        kind: SumKind::Rolling,
    };
    let read = ReadParts {
        file: file(300_000),
        range: range(262_144, 300_000),
        block: BlockSize::MIN,
        parts: vec![range(262_145, 262_147), range(299_999, 300_000)],
    };
    let copies = vec![
        CopiedRange { to: 0, from: 1, length: 131_069 },
        CopiedRange { to: 131_071, from: 0, length: 1 },
    ];
    let patch = Patch {
        partial: PARTIAL,
        range: range(0, 131_072),
        block: BlockSize::MIN,
        digests: vec![digest(1), digest(2)],
        basis: file(200_000),
        copies,
    };
    vec![
        ("request-sign", Request::Sign(sign), vec![]),
        ("request-match", Request::Match(looked), vec![7; 24]),
        ("request-read-parts", Request::ReadParts(read), vec![]),
        ("request-patch", Request::Patch(patch), b"ab".to_vec()),
    ]
}
