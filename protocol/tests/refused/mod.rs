//! Frames that every reader must refuse, and why.

mod deltas;

use xfer_protocol::digest::BlockSize;
use xfer_protocol::encoding::{Accepts, Encoded, Encoding};
use xfer_protocol::hello::SessionId;
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, Xattr};
use xfer_protocol::message::errand::{
    Carried, CarriedMethod, Carry, CarryProblem, CarryProblemKind, Head, Keeping, RedeemAll, Slice,
};
use xfer_protocol::message::passage::{Lend, ParcelIndex, Redeem, RedeemedWrite};
use xfer_protocol::message::{
    Commit, FilesAt, HashBlocks, HashFiles, Keep, Lock, Message, NewEntry, NewKind, OpenPartial,
    PackedFile, PartialIndex, ReadBlock, ReadFile, Reading, Reply, Request, RequestId, RootIndex,
    Subject, Ticket, TryDisk, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;

use crate::samples::{digest, file, metadata, path, plain_metadata, range, stamp, time};

/// A name, a reason and the bytes.
pub(crate) type Refused = (String, &'static str, Vec<u8>);

const ROOT: RootIndex = RootIndex(0);
const PARTIAL: PartialIndex = PartialIndex(1);
const MIB: u64 = 1 << 20;

pub(crate) fn frames() -> Vec<Refused> {
    let mut all = heads();
    all.extend(damaged_headers());
    all.extend(impossible_paths());
    all.extend(impossible_requests());
    all.extend(impossible_metadata());
    all.extend(impossible_replies());
    all.extend(impossible_encodings());
    all.extend(impossible_trials());
    all.extend(impossible_passages());
    all.extend(impossible_errands());
    all.extend(impossible_answers());
    all.extend(deltas::frames());
    all
}

fn impossible_encodings() -> Vec<Refused> {
    let id = RequestId(1);
    let write = |hole| {
        let digests = vec![digest(0)];
        Request::WriteBlock(WriteBlock { partial: PARTIAL, range: range(0, 8), digests, hole })
    };
    let asked = |request, length, payload: &[u8]| {
        let encoded = Encoded { encoding: Encoding::Zstd, length };
        frame(&Message::EncodedRequest(id, request, encoded), payload)
    };
    let told = |reply, length, payload: &[u8]| {
        let encoded = Encoded { encoding: Encoding::Zstd, length };
        frame(&Message::EncodedReply(id, reply, encoded), payload)
    };
    let block = |digests: u8| Reply::Block((0..digests).map(digest).collect());
    let reads = vec![Ok(ReadFile { size: 9, digest: digest(0) })];
    let above = u32::try_from(limits::PAYLOAD_BYTES_MAX).unwrap() + 1;
    let accepting = |request, level| {
        frame(&Message::AcceptingRequest(id, request, Accepts { level, rate: None }), b"")
    };
    let read = || Request::ReadBlock(ReadBlock { file: file(MIB), range: range(0, MIB) });
    let mut unknown = asked(write(false), 8, b"short");
    let at = unknown.len() - 7;
    unknown[at] = 1;
    vec![
        named("encoded-bomb", "Encoding", asked(write(false), 16 << 20, b"short")),
        named("encoded-to-less", "Encoding", asked(write(false), 7, b"short")),
        named("encoded-not-shorter", "Encoding", asked(write(false), 8, b"8 bytes.")),
        named("encoded-nothing", "Encoding", asked(write(false), 8, b"")),
        named("encoded-hole", "Encoding", asked(write(true), 0, b"")),
        named("encoded-ping", "Encoding", asked(Request::Ping, 8, b"short")),
        named("encoded-otherwise", "Malformed", unknown),
        named("encoded-block-above-payload", "Encoding", told(block(1), above, b"short")),
        named("encoded-block-2^32-1", "Encoding", told(block(1), u32::MAX, b"short")),
        named("encoded-block-without-digest", "DigestCount", told(block(0), 9, b"short")),
        named("encoded-block-not-shorter", "Encoding", told(block(1), 5, b"short")),
        named("encoded-pack-of-more", "Encoding", told(Reply::Pack(reads), 10, b"short")),
        named("encoded-done", "Encoding", told(Reply::Done, 9, b"short")),
        named("accepting-ping", "Encoding", accepting(Request::Ping, 3)),
        named("accepting-write", "Encoding", accepting(write(false), 3)),
        named("accepting-level-0", "Encoding", accepting(read(), 0)),
        named("accepting-level-20", "Encoding", accepting(read(), 20)),
    ]
}

fn head(header: u32, payload: u32) -> Vec<u8> {
    [header.to_le_bytes(), payload.to_le_bytes()].concat()
}

/// A frame around any header.
fn raw(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let lengths = head(header.len().try_into().unwrap(), payload.len().try_into().unwrap());
    [&lengths[..], header, payload].concat()
}

/// A frame around a message that `encode` would refuse.
fn frame(message: &Message, payload: &[u8]) -> Vec<u8> {
    raw(&postcard::to_stdvec(message).unwrap(), payload)
}

fn ask(request: Request) -> Vec<u8> {
    frame(&Message::Request(RequestId(1), request), b"")
}

fn named(name: &str, reason: &'static str, frame: Vec<u8>) -> Refused {
    (name.to_owned(), reason, frame)
}

fn heads() -> Vec<Refused> {
    let max = |limit: usize| u32::try_from(limit).unwrap() + 1;
    vec![
        named("header-empty", "HeaderLength", head(0, 0)),
        named("header-above-limit", "HeaderLength", head(max(limits::HEADER_BYTES_MAX), 0)),
        named("header-2^31", "HeaderLength", head(1 << 31, 0)),
        named("header-2^32-1", "HeaderLength", head(u32::MAX, 0)),
        named("payload-above-limit", "PayloadLength", head(1, max(limits::PAYLOAD_BYTES_MAX))),
        named("payload-2^32-1", "PayloadLength", head(1, u32::MAX)),
        named("http", "HeaderLength", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        named("ssh", "HeaderLength", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        named("tls", "HeaderLength", b"\x16\x03\x01\x02\x00\x01\x00\x01".to_vec()),
    ]
}

fn damaged_headers() -> Vec<Refused> {
    let filter = |pattern: &[u8]| {
        // A scan of the root with one rule, up to the pattern's bytes and behind them.
        let length = u8::try_from(pattern.len()).unwrap();
        let before = [0, 1, 3, 0, 0, 0, 0, 0, 1, length];
        [&before[..], pattern, &[0, 0, 0, 0, 0, 0, 0, 0]].concat()
    };
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let overlong = [&[0xff_u8; 9][..], &[0x7f]].concat();
    vec![
        named("unknown-message", "Malformed", raw(&[3], b"")),
        named("unknown-request", "Malformed", raw(&[0, 1, 127], b"")),
        named("unknown-reply", "Malformed", raw(&[1, 1, 0, 127], b"")),
        named("unknown-fault", "Malformed", raw(&[1, 1, 1, 127, 0, 0, 0], b"")),
        named("unknown-result", "Malformed", raw(&[1, 1, 2, 2], b"")),
        named("cut-short", "Malformed", raw(&[0, 1], b"")),
        named("trailing-byte", "Trailing", raw(&[0, 1, 0, 0], b"")),
        named("overlong-integer", "Overlong", raw(&[0, 0x81, 0x00, 0], b"")),
        named("overlong-variant", "Overlong", raw(&[0, 1, 0x80, 0x00], b"")),
        named(
            "integer-beyond-64-bits",
            "Malformed",
            raw(&[&[0], &overlong[..], &[0]].concat(), b""),
        ),
        named(
            "integer-of-11-bytes",
            "Malformed",
            raw(&[&[0], &[0x80; 10][..], &[0, 0]].concat(), b""),
        ),
        named("bool-2", "Malformed", raw(&[0, 1, 1, 0, 2], b"")),
        named("text-not-utf8", "Malformed", raw(&filter(b"\xff\xfe"), b"")),
        named("count-2^32", "Malformed", raw(&[&[1, 1, 0, 8], &huge[..]].concat(), b"")),
        named("path-count-2^32", "Malformed", raw(&[&[0, 1, 10, 0, 1], &huge[..]].concat(), b"")),
        named("end-with-payload", "PayloadMismatch", frame(&Message::End, b"x")),
        named("ping-with-payload", "PayloadMismatch", raw(&[0, 1, 0], b"x")),
        named("fault-with-payload", "PayloadMismatch", raw(&[1, 1, 1, 0, 0, 0, 0], b"x")),
    ]
}

fn impossible_paths() -> Vec<Refused> {
    let lock = |bytes: &[u8]| {
        let length = postcard::to_stdvec(&bytes.len()).unwrap();
        raw(&[&[0, 1, 10, 0, 1], &length[..], bytes].concat(), b"")
    };
    let long = [b'n'; limits::NAME_BYTES_MAX + 1];
    let deep = b"d/".repeat(limits::PATH_DEPTH_MAX + 1);
    let mut all: Vec<_> = [
        ("dot-dot", &b".."[..]),
        ("climbs", b"a/../../x"),
        ("absolute", b"/etc/passwd"),
        ("dot", b"."),
        ("inner-dot", b"a/./b"),
        ("empty-component", b"a//b"),
        ("trailing-slash", b"a/"),
        ("nul", b"a\0b"),
        ("long-name", &long),
        ("deep", &deep[..deep.len() - 1]),
    ]
    .map(|(name, bytes)| named(&format!("path-{name}"), "UnsafeName", lock(bytes)))
    .into();
    let root =
        OpenPartial { partial: PARTIAL, root: ROOT, path: RelPath::root(), size: 1, over: None };
    all.push(named("partial-of-the-root", "RootItself", ask(Request::OpenPartial(root))));
    let location = [&[0, 1, 1, 3][..], b"a\0b", &[0]].concat();
    all.push(named("location-nul", "Path", raw(&location, b"")));
    all
}

fn impossible_requests() -> Vec<Refused> {
    let range_bytes = |start: u64, end: u64| {
        let range = postcard::to_stdvec(&(start, end)).unwrap();
        raw(&[&[0, 1, 14, 1, 1], &range[..]].concat(), b"")
    };
    let read = |size, start, end| {
        let read = ReadBlock { file: file(size), range: range(start, end) };
        ask(Request::ReadBlock(read))
    };
    let write = |range, digests: u8, hole, payload: &[u8]| {
        let digests = (0..digests).map(digest).collect();
        let write = WriteBlock { partial: PARTIAL, range, digests, hole };
        frame(&Message::Request(RequestId(1), Request::WriteBlock(write)), payload)
    };
    let hash = |start, end, block| {
        let subject = Subject::Partial(PARTIAL);
        let range = range(start, end);
        ask(Request::HashBlocks(HashBlocks { subject, range, block, reading: Reading::Cached }))
    };
    let open =
        |size| OpenPartial { partial: PARTIAL, root: ROOT, path: path(b"f"), size, over: None };
    let stamps = |size| {
        let files = FilesAt { root: ROOT, files: vec![(path(b"f"), stamp(size))] };
        ask(Request::HashFiles(HashFiles { files, reading: Reading::Cached }))
    };
    let keep = Keep { partial: PARTIAL, ranges: vec![range(5, 9), range(8, 12)] };
    let entries = (0..=limits::BATCH_ENTRIES_MAX).map(|_| RelPath::root()).collect();
    let lock = Lock { root: ROOT, entries };
    vec![
        named("range-empty", "Malformed", range_bytes(7, 7)),
        named("range-reversed", "Malformed", range_bytes(8, 7)),
        named("range-beyond-2^63", "Malformed", range_bytes(0, 1 << 63)),
        named("ranges-overlap", "RangeOrder", ask(Request::Keep(keep))),
        named("read-beyond-the-file", "Range", read(MIB, 0, 2 * MIB)),
        named("read-off-the-grid", "Range", read(MIB, 1, MIB)),
        named("read-above-payload", "Range", read(64 * MIB, 0, 32 * MIB)),
        named("write-without-digest", "DigestCount", write(range(0, 3), 0, false, b"abc")),
        named("write-97-digests", "Malformed", write(range(0, 3), 97, false, b"abc")),
        named("write-short-payload", "PayloadMismatch", write(range(0, 3), 1, false, b"ab")),
        named("write-long-payload", "PayloadMismatch", write(range(0, 3), 1, false, b"abcd")),
        named("write-hole-with-payload", "PayloadMismatch", write(range(0, 3), 1, true, b"abc")),
        named("write-above-payload", "Range", write(range(0, 32 * MIB), 1, false, b"")),
        named("hash-off-the-grid", "Range", hash(65_536, 131_072, BlockSize::DEFAULT)),
        named("hash-too-many", "DigestCount", hash(0, 1 << 40, BlockSize::MIN)),
        named("block-size-2^15", "Malformed", raw(&[0, 1, 8, 1, 1, 0, 1, 15, 0], b"")),
        named("block-size-2^25", "Malformed", raw(&[0, 1, 8, 1, 1, 0, 1, 25, 0], b"")),
        named("file-of-2^63", "FileSize", ask(Request::OpenPartial(open(1 << 63)))),
        named("stamp-of-2^64-1", "FileSize", stamps(u64::MAX)),
        named("list-above-limit", "Malformed", ask(Request::Lock(lock))),
    ]
}

fn impossible_metadata() -> Vec<Refused> {
    let commit = |metadata| {
        let ticket = Ticket(1);
        ask(Request::Commit(Commit { partial: PARTIAL, ticket, digest: digest(0), metadata }))
    };
    let xattrs = |names: &[&[u8]], bytes: usize| {
        let value = vec![0; bytes];
        let xattr = |name: &&[u8]| Xattr { name: name.to_vec(), value: value.clone() };
        commit(Metadata { xattrs: names.iter().map(xattr).collect(), ..plain_metadata() })
    };
    let link = |content: &[u8]| {
        let kind = NewKind::Symlink { content: content.to_vec() };
        let entry = NewEntry { ticket: Ticket(1), path: path(b"l"), kind, metadata: metadata() };
        let create = xfer_protocol::message::Create { root: ROOT, entries: vec![entry] };
        ask(Request::Create(create))
    };
    let modified = time(0, 1_000_000_000);
    vec![
        named("mode-017777", "Mode", commit(Metadata { mode: 0o17777, ..plain_metadata() })),
        named("mode-2^32-1", "Mode", commit(Metadata { mode: u32::MAX, ..plain_metadata() })),
        named("nanoseconds-10^9", "Nanoseconds", commit(Metadata { modified, ..plain_metadata() })),
        named("xattrs-out-of-order", "Xattrs", xattrs(&[b"user.b", b"user.a"], 1)),
        named("xattrs-twice", "Xattrs", xattrs(&[b"user.a", b"user.a"], 1)),
        named("xattrs-without-name", "Xattrs", xattrs(&[b""], 1)),
        named("xattrs-with-nul", "Xattrs", xattrs(&[b"user.\0"], 1)),
        named("link-empty", "LinkContent", link(b"")),
        named("link-nul", "LinkContent", link(b"a\0")),
        named("link-long", "LinkContent", link(&[b'l'; limits::SYMLINK_BYTES_MAX + 1])),
    ]
}

fn impossible_passages() -> Vec<Refused> {
    let parcel = ParcelIndex(1);
    let deliver = |length, payload: &[u8]| {
        frame(&Message::Request(RequestId(1), Request::Deliver(parcel, length)), payload)
    };
    let above = u32::try_from(limits::PAYLOAD_BYTES_MAX).unwrap() + 1;
    let hole =
        WriteBlock { partial: PARTIAL, range: range(0, 8), digests: vec![digest(0)], hole: true };
    let write = RedeemedWrite::Block(hole);
    let lend = |key: &str, expires: &str| {
        ask(Request::Lend(Lend {
            session: SessionId([0; 16]),
            key: key.to_owned(),
            from: vec![],
            expires: expires.to_owned(),
            mark: [0; 32],
        }))
    };
    vec![
        named("deliver-nothing", "Parcel", deliver(0, b"")),
        named("deliver-above-limit", "Parcel", deliver(above, b"")),
        named("deliver-short-payload", "PayloadMismatch", deliver(3, b"ab")),
        named("redeem-hole", "Parcel", ask(Request::Redeem(Redeem { parcel, write }))),
        named("lend-two-lines", "Login", lend("ssh-ed25519 AAAA\nssh-rsa AAAA", "1")),
        named("lend-options", "Login", lend("command=\"sh\" ssh-ed25519 AAAA", "1")),
        named("lend-nothing", "Login", lend("", "1")),
        named("lend-no-moment", "Login", lend("ssh-ed25519 AAAA", "1\"")),
    ]
}

fn impossible_errands() -> Vec<Refused> {
    let parcel = ParcelIndex(1);
    let keeping = |length, start, size| Some(Keeping { parcel, length, start, size });
    let get = || Carry {
        method: CarriedMethod::Get,
        address: "https://h/".to_owned(),
        headers: vec![],
        body: vec![],
        keep: None,
        stall: 1,
    };
    let put = |body: &[(u64, u64)]| {
        let body = body.iter().map(|&(start, length)| Slice { parcel, start, length });
        Carry { method: CarriedMethod::Put, body: body.collect(), ..get() }
    };
    let carry = |carry| ask(Request::Carry(carry));
    let at = |address: String| carry(Carry { address, ..get() });
    let kept = |keep| carry(Carry { keep, ..get() });
    let with = |name: &str, value: &str| {
        carry(Carry { headers: vec![(name.to_owned(), value.to_owned())], ..get() })
    };
    let above = 16 * MIB + 1;
    let many = vec![("n".to_owned(), String::new()); limits::CARRIED_HEADERS_MAX + 1];
    let hole =
        WriteBlock { partial: PARTIAL, range: range(0, 8), digests: vec![digest(0)], hole: true };
    let write = RedeemedWrite::Block(hole);
    let parcels = vec![parcel; limits::BATCH_ENTRIES_MAX + 1];
    let both = Carry { keep: keeping(1, 0, 1), ..put(&[(0, 1)]) };
    vec![
        named("carry-nowhere", "Errand", at(String::new())),
        named("carry-two-lines", "Errand", at("https://h/\r\nx: y".to_owned())),
        named("carry-header-two-lines", "Errand", with("n", "v\r\nx: y")),
        named("carry-header-no-name", "Errand", with("", "v")),
        named("carry-header-colon", "Errand", with("n:", "v")),
        named("carry-65-headers", "Malformed", carry(Carry { headers: many, ..get() })),
        named("carry-257-pieces", "Malformed", carry(put(&[(0, 1); 257]))),
        named("carry-piece-of-nothing", "Parcel", carry(put(&[(0, 0)]))),
        named("carry-piece-above-limit", "Parcel", carry(put(&[(0, above)]))),
        named("carry-piece-beyond-limit", "Parcel", carry(put(&[(above - 1, 1)]))),
        named("carry-piece-wraps", "Parcel", carry(put(&[(u64::MAX, 1)]))),
        named("carry-body-above-limit", "Parcel", carry(put(&[(0, 16 * MIB); 13]))),
        named("carry-get-with-body", "Errand", carry(as_get(put(&[(0, 1)])))),
        named("carry-put-that-keeps", "Errand", carry(both)),
        named("carry-keep-nothing", "Parcel", kept(keeping(0, 0, 1))),
        named("carry-keep-above-limit", "Parcel", kept(keeping(above, 0, 64 * MIB))),
        named("carry-keep-beyond-file", "FileSize", kept(keeping(2, 0, 1))),
        named("carry-keep-wraps", "FileSize", kept(keeping(2, u64::MAX, 1))),
        named("carry-keep-of-2^64-1", "FileSize", kept(keeping(1, u64::MAX - 1, u64::MAX))),
        named("carry-keep-off-the-grid", "Range", kept(keeping(MIB, 1, 2 * MIB))),
        named(
            "redeem-all-hole",
            "Parcel",
            ask(Request::RedeemAll(RedeemAll { parcels: vec![parcel], write })),
        ),
        named("dispose-4097", "Malformed", ask(Request::Dispose(parcels))),
    ]
}

fn as_get(carry: Carry) -> Carry {
    Carry { method: CarriedMethod::Get, ..carry }
}

fn impossible_answers() -> Vec<Refused> {
    let carried = |outcome, digests: u8, crc| {
        let digests = (0..digests).map(digest).collect();
        let reply = Reply::Carried(Carried { outcome, digests, crc });
        frame(&Message::Reply(RequestId(1), Ok(reply)), b"")
    };
    let head = |value: &str| {
        let headers = vec![("n".to_owned(), value.to_owned())];
        Ok(Head { status: 200, headers, body: vec![7] })
    };
    let problem = |reason: &str| {
        let kind = CarryProblemKind::Broken;
        Err(CarryProblem { kind, reason: reason.to_owned() })
    };
    let long = "r".repeat(limits::CARRIED_REASON_BYTES_MAX + 1);
    vec![
        named("carried-97-digests", "Malformed", carried(head("v"), 97, None)),
        named("carried-header-two-lines", "Errand", carried(head("v\n"), 0, None)),
        named("carried-long-reason", "Errand", carried(problem(&long), 0, None)),
        named("carried-reason-escapes", "Errand", carried(problem("\x1b[2J"), 0, None)),
        named("carried-problem-with-digest", "Errand", carried(problem("r"), 1, None)),
        named("carried-problem-with-sum", "Errand", carried(problem("r"), 0, Some(1))),
    ]
}

fn impossible_trials() -> Vec<Refused> {
    let sink = |length, payload: &[u8]| {
        frame(&Message::Request(RequestId(1), Request::Sink(length)), payload)
    };
    let supplied = |length, payload: &[u8]| {
        frame(&Message::Reply(RequestId(1), Ok(Reply::Supplied(length))), payload)
    };
    let disk = |bytes, millis| ask(Request::TryDisk(TryDisk { root: ROOT, bytes, millis }));
    let above = limits::TRIAL_PAYLOAD_MAX + 1;
    let (bytes, millis) = (limits::TRIAL_DISK_BYTES_MAX, limits::TRIAL_DISK_MILLIS_MAX);
    vec![
        named("sink-nothing", "Trial", sink(0, b"")),
        named("sink-above-limit", "Trial", sink(above, b"")),
        named("sink-short-payload", "PayloadMismatch", sink(3, b"ab")),
        named("sink-long-payload", "PayloadMismatch", sink(1, b"ab")),
        named("supply-nothing", "Trial", ask(Request::Supply(0))),
        named("supply-above-limit", "Trial", ask(Request::Supply(above))),
        named("supply-2^32-1", "Trial", ask(Request::Supply(u32::MAX))),
        named("supplied-short-payload", "PayloadMismatch", supplied(3, b"ab")),
        named("supplied-above-limit", "Trial", supplied(above, b"")),
        named("disk-nothing", "Trial", disk(0, 1)),
        named("disk-above-limit", "Trial", disk(bytes + 1, 1)),
        named("disk-no-time", "Trial", disk(1, 0)),
        named("disk-long-time", "Trial", disk(1, millis + 1)),
    ]
}

fn impossible_replies() -> Vec<Refused> {
    let reply = |reply, payload: &[u8]| frame(&Message::Reply(RequestId(1), Ok(reply)), payload);
    let pack = |sizes: &[u64], payload: &[u8]| {
        let file = |size: &u64| PackedFile {
            ticket: Ticket(1),
            path: path(b"f"),
            size: *size,
            digest: digest(0),
            metadata: plain_metadata(),
        };
        let files = sizes.iter().map(file).collect();
        let pack = WritePack { root: ROOT, files, publish: false };
        frame(&Message::Request(RequestId(1), Request::WritePack(pack)), payload)
    };
    let ranges = Reply::Ranges(vec![range(9, 12), range(5, 9)]);
    vec![
        named(
            "block-without-payload",
            "PayloadMismatch",
            reply(Reply::Block(vec![digest(0)]), b""),
        ),
        named("block-without-digest", "DigestCount", reply(Reply::Block(vec![]), b"abc")),
        named("done-with-payload", "PayloadMismatch", reply(Reply::Done, b"x")),
        named("ranges-out-of-order", "RangeOrder", reply(ranges, b"")),
        named("pack-too-little", "PayloadMismatch", pack(&[2, 2], b"abc")),
        named("pack-too-much", "PayloadMismatch", pack(&[1, 1], b"abc")),
        named("pack-overflow", "FileSize", pack(&[1, u64::MAX], b"")),
        named("pack-wraps-to-its-payload", "FileSize", pack(&[4, u64::MAX], b"abc")),
    ]
}
