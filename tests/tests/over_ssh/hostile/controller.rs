//! A controller that lies to the agent: nothing appears outside the root that it opened, and memory
//! does not follow what it asks

use std::fs;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use xfer_protocol::digest::{BlockSize, file_digest, range_digests};
use xfer_protocol::encoding::{Encoded, Encoding};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::{
    Access, Commit, Create, FileAt, FilesAt, HashBlocks, HashFiles, Keep, Message, NewEntry,
    NewKind, OpenPartial, OpenRoot, PackedFile, PartialIndex, Publish, ReadBlock, Reading, Reply,
    Request, RequestId, RootIndex, ScanIndex, ScanNext, Subject, Ticket, TryDisk, WriteBlock,
    WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;
use xfer_tests::sshd::Sshd;
use xfer_tests::stub::{Controller, frame};
use xfer_tests::xfer::{binary, measurement};
use xfer_tests::zstd::{WINDOW_2_GIB, WINDOW_2_MIB, repeated};
use xfer_tests::{oracle, tree};

use super::GROWTH_KIB_MAX;

const MIB: u64 = 1 << 20;
const SESSION: [u8; 16] = [7; 16];

/// What is asked for at once where much is
const MANY: u64 = 1_000_000;

/// A real agent at the other end of a login, its memory measured
struct Agent {
    process: Child,
    controller: Controller<BufReader<ChildStdout>, ChildStdin>,
    root: RootIndex,
}

struct Lab {
    server: Sshd,
    place: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { server: Sshd::start(""), place: TempDir::new().expect("temp dir") };
        for name in ["root", "outside"] {
            fs::create_dir(lab.at(name)).expect("create");
        }
        tree::write(&lab.at("outside/passwd"), b"precious");
        tree::write(&lab.at("root/own"), b"own");
        symlink("../outside", lab.at("root/link")).expect("link");
        lab
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn agent(&self) -> Agent {
        let words = format!(
            "exec time -q -f %M -o {} {} agent --sentinel {} --session {} --silence 60",
            self.at("memory").display(),
            binary().display(),
            "ab".repeat(32),
            "07".repeat(16),
        );
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.server.client_config("host")).args(["host", &words]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("apt-get install openssh-client time");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let input = process.stdin.take().expect("piped");
        let mut controller = Controller::greet(output, input, 32, SESSION).expect("it greets");
        let path = self.at("root").as_os_str().as_bytes().to_vec();
        let open = Request::OpenRoot(OpenRoot { path, access: Access::WriteCreate });
        let Ok(Ok(Reply::Root(root))) = controller.ask(open, &[]) else { panic!("no root") };
        Agent { process, controller, root: root.index }
    }

    /// Lets an agent end; its exit code and its largest memory in KiB
    fn end(&self, agent: Agent) -> (Option<i32>, u64) {
        let Agent { mut process, controller, .. } = agent;
        drop(controller);
        let code = process.wait().expect("wait").code();
        (code, measurement(&self.at("memory")))
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path")
}

fn packed(name: &str) -> PackedFile {
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    PackedFile { ticket: Ticket(1), path: path(name), size: 1, digest: file_digest(b"x"), metadata }
}

fn create(root: RootIndex, name: &str, kind: NewKind) -> Request {
    let metadata = Metadata { mode: 0o755, ..Metadata::default() };
    let entries = vec![NewEntry { ticket: Ticket(1), path: path(name), kind, metadata }];
    Request::Create(Create { root, entries })
}

/// The bytes of a request in which a name is replaced by one as long that cannot be
fn with_name(request: Request, payload: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    let mut bytes = frame(&Message::Request(RequestId(99), request), payload);
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = at.expect("the name");
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

fn assert_untouched(lab: &Lab, what: &str) {
    assert_eq!(fs::read(lab.at("outside/passwd")).expect("read"), b"precious", "{what}");
    assert_eq!(fs::read_dir(lab.at("outside")).expect("list").count(), 1, "{what}");
    let names = fs::read_dir(lab.place.path()).expect("list");
    for name in names.map(|entry| entry.expect("list").file_name()) {
        let known = ["root", "outside", "memory"].iter().any(|known| name == *known);
        assert!(known, "{what}: {name:?} appeared");
    }
}

/// H4, and H6 where the name is that of a link's file
#[test]
fn names_that_lead_out_end_the_session() {
    let lab = Lab::new();
    let names: [&[u8]; 6] = [b"../oo", b"/oooo", b"o/../", b"o//oo", b"oooo/", b"oo\0oo"];
    for name in names {
        let shown = String::from_utf8_lossy(name);
        let asked = |root| {
            let pack = WritePack { root, files: vec![packed("~~~~~")], publish: true };
            let behind = FileAt { root, path: path("~~~~~"), stamp: Stamp::default() };
            [
                (Request::WritePack(pack), &b"x"[..]),
                (create(root, "hard", NewKind::HardLink { of: path("~~~~~") }), b""),
                (create(root, "~~~~~", NewKind::Directory), b""),
                (Request::DataRanges(behind), b""),
            ]
        };
        for which in 0..4 {
            let mut agent = lab.agent();
            let (request, payload) = asked(agent.root)[which].clone();
            let bytes = with_name(request, payload, "~~~~~", name);
            agent.controller.send_raw(&bytes).expect("sent");
            assert!(agent.controller.answer().is_err(), "{shown}: answered");
            assert_eq!(lab.end(agent).0, Some(16), "{shown}");
            assert_untouched(&lab, &shown);
        }
    }
}

/// H5 and H6
#[test]
fn links_lead_nowhere() {
    let lab = Lab::new();
    let mut agent = lab.agent();
    let root = agent.root;
    let outside = lab.at("outside").as_os_str().as_bytes().to_vec();
    let link = create(root, "d", NewKind::Symlink { content: outside });
    agent.controller.ask(link, &[]).expect("answered").expect("made");
    let staged = WritePack { root, files: vec![packed("staged")], publish: false };
    agent.controller.ask(Request::WritePack(staged), b"x").expect("answered").expect("staged");
    let through = [
        (
            Request::WritePack(WritePack { root, files: vec![packed("d/passwd")], publish: true }),
            true,
        ),
        (create(root, "d/new", NewKind::Directory), false),
        (create(root, "hard", NewKind::HardLink { of: path("d/passwd") }), false),
        // It is not proven yet, and has no name to link to.
        (create(root, "hard", NewKind::HardLink { of: path("staged") }), false),
    ];
    for (request, has_payload) in through {
        let shown = format!("{request:?}");
        let payload = if has_payload { &b"x"[..] } else { b"" };
        let answer = agent.controller.ask(request, payload).expect("answered");
        let refused = match &answer {
            Err(_) => true,
            Ok(Reply::Outcomes(outcomes)) => outcomes.iter().all(|outcome| outcome.result.is_err()),
            Ok(_) => false,
        };
        assert!(refused, "{shown}: {answer:?}");
    }
    lab.end(agent);
    assert_untouched(&lab, "through a link");
    assert!(!lab.at("root/hard").exists());
}

/// H9
#[test]
fn lengths_beyond_limits_end_the_session_and_cost_nothing() {
    let lab = Lab::new();
    let honest = lab.agent();
    let baseline = lab.end(honest).1;
    for (header, payload) in
        [(0, 0), ((1 << 20) + 1, 0), (u32::MAX, 0), (1, (16 << 20) + 1), (1, u32::MAX)]
    {
        let mut agent = lab.agent();
        let raw = [u32::to_le_bytes(header), u32::to_le_bytes(payload)].concat();
        agent.controller.send_raw(&raw).expect("sent");
        assert!(agent.controller.answer().is_err(), "{header} and {payload}: answered");
        let (code, memory) = lab.end(agent);
        assert_eq!(code, Some(12), "{header} and {payload}");
        assert!(memory.saturating_sub(baseline) <= GROWTH_KIB_MAX, "{memory} KiB");
    }
    assert_untouched(&lab, "lengths");
}

/// H9
#[test]
fn trials_beyond_limits_end_the_session_and_cost_nothing() {
    let lab = Lab::new();
    let honest = lab.agent();
    let baseline = lab.end(honest).1;
    // An allowed request, the bytes of its fields, those that take their place, and a payload that
    // is announced and never sent.
    let root = RootIndex(0);
    let sink = || frame(&Message::Request(RequestId(1), Request::Sink(1)), b"x");
    let ask = |request| frame(&Message::Request(RequestId(1), request), &[]);
    let trial = || ask(Request::TryDisk(TryDisk { root, bytes: 1, millis: 1 }));
    let refused: [(Vec<u8>, usize, &[u8], u32); 5] = [
        (sink(), 2, &[0x81, 0x80, 0x40], (1 << 20) + 1),
        (sink(), 2, &[0x80, 0x80, 0x80, 0x08], 16 << 20),
        (ask(Request::Supply(1)), 1, &[0x81, 0x80, 0x40], 0),
        (ask(Request::Supply(1)), 1, &[0xff, 0xff, 0xff, 0xff, 0x0f], 0),
        (trial(), 2, &[0x81, 0x80, 0x80, 0x80, 0x04, 1], 0),
    ];
    for (allowed, fields, others, payload) in refused {
        let mut agent = lab.agent();
        let header = [&allowed[8..allowed.len() - fields], others].concat();
        let length = u32::try_from(header.len()).expect("short");
        let raw = [&length.to_le_bytes()[..], &payload.to_le_bytes(), &header].concat();
        agent.controller.send_raw(&raw).expect("sent");
        assert!(agent.controller.answer().is_err(), "{header:?}: answered");
        let (code, memory) = lab.end(agent);
        assert_eq!(code, Some(12), "{header:?}");
        assert!(memory.saturating_sub(baseline) <= GROWTH_KIB_MAX, "{memory} KiB");
    }
    assert_untouched(&lab, "trials");
}

/// H10
#[test]
fn much_that_is_to_be_supplied_and_never_read_costs_nothing() {
    let lab = Lab::new();
    let honest = lab.agent();
    let baseline = lab.end(honest).1;
    let mut agent = lab.agent();
    for id in 0..2_000 {
        let ask = frame(&Message::Request(RequestId(id), Request::Supply(1 << 20)), &[]);
        agent.controller.send_raw(&ask).expect("sent");
    }
    let supplied = agent.controller.answer().expect("an answer");
    assert_eq!(supplied, Ok(Reply::Supplied(1 << 20)));
    let (_, memory) = lab.end(agent);
    assert!(memory.saturating_sub(baseline) <= GROWTH_KIB_MAX, "{memory} KiB over {baseline}");
}

/// H10
#[test]
fn a_disk_is_tried_below_a_root_for_writing_alone_and_nothing_stays() {
    let lab = Lab::new();
    let mut agent = lab.agent();
    let try_disk = |root| Request::TryDisk(TryDisk { root, bytes: 1 << 20, millis: 1_000 });
    let path = lab.at("outside").as_os_str().as_bytes().to_vec();
    let open = Request::OpenRoot(OpenRoot { path, access: Access::Read });
    let Ok(Ok(Reply::Root(source))) = agent.controller.ask(open, &[]) else { panic!("no root") };
    for root in [source.index, RootIndex(77)] {
        let refused = agent.controller.ask(try_disk(root), &[]).expect("an answer");
        assert_eq!(refused.map_err(|fault| fault.kind), Err(FaultKind::Protocol), "{root:?}");
    }
    let tried = agent.controller.ask(try_disk(agent.root), &[]).expect("an answer");
    assert!(matches!(tried, Ok(Reply::DiskTrial(tried)) if tried.written == 1 << 20), "{tried:?}");
    lab.end(agent);
    assert_untouched(&lab, "a trial");
    assert_eq!(fs::read_dir(lab.at("root")).expect("list").count(), 2);
}

/// One block from the start of a file, with the digests that it has
fn block(partial: PartialIndex, bytes: &[u8], size: u64) -> Request {
    let range = ByteRange::new(0, bytes.len() as u64).expect("a range");
    let digests = range_digests(0, bytes, size).expect("a block");
    Request::WriteBlock(WriteBlock { partial, range, digests, hole: false })
}

fn own_file(root: RootIndex, name: &str, size: u64) -> FileAt {
    FileAt { root, path: path(name), stamp: Stamp { size, ..Stamp::default() } }
}

/// H10: an index that nobody gave, and what lies behind a link that leads out
#[test]
fn what_is_not_of_the_session_is_refused_however_often() {
    let lab = Lab::new();
    let honest = lab.agent();
    let baseline = lab.end(honest).1;
    let mut agent = lab.agent();
    let (root, elsewhere, partial) = (agent.root, RootIndex(99), PartialIndex(5));
    let bytes = vec![0; usize::try_from(MIB).expect("small")];
    let range = ByteRange::new(0, MIB).expect("a range");
    let hash = |subject| HashBlocks {
        subject,
        range,
        block: BlockSize::DEFAULT,
        reading: Reading::Cached,
    };
    let behind = own_file(root, "link/passwd", 8);
    let files = FilesAt { root, files: vec![(behind.path.clone(), behind.stamp)] };
    let open = |root| OpenPartial { partial, root, path: path("f"), size: MIB, over: None };
    let asked = [
        (Request::ReadBlock(ReadBlock { file: own_file(elsewhere, "own", MIB), range }), &b""[..]),
        (Request::DataRanges(own_file(elsewhere, "own", MIB)), b""),
        (Request::DataRanges(behind), b""),
        (Request::ReadPack(files.clone()), b""),
        (Request::HashFiles(HashFiles { files, reading: Reading::Cached }), b""),
        (Request::HashBlocks(hash(Subject::File(own_file(root, "link/passwd", MIB)))), b""),
        (Request::HashBlocks(hash(Subject::Partial(partial))), b""),
        (block(partial, &bytes, MIB), &bytes),
        (Request::OpenPartial(open(elsewhere)), b""),
        (Request::Keep(Keep { partial, ranges: vec![range] }), b""),
        (Request::ScanNext(ScanNext { scan: ScanIndex(3), sequence: 0 }), b""),
        (Request::Publish(Publish { root: elsewhere, durable: true, number: 1 }), b""),
    ];
    for _ in 0..100 {
        for (request, payload) in &asked {
            let shown = format!("{request:?}").chars().take(80).collect::<String>();
            let refused = match agent.controller.ask(request.clone(), payload).expect("answered") {
                Ok(Reply::Pack(reads)) => reads.iter().all(Result::is_err),
                Ok(Reply::FileDigests(digests, _)) => digests.iter().all(Result::is_err),
                answer => answer.is_err(),
            };
            assert!(refused, "{shown}");
        }
    }
    let (code, memory) = lab.end(agent);
    println!("{} KiB, {baseline} where nothing is asked", memory);
    assert_eq!(code, Some(0));
    assert!(memory.saturating_sub(baseline) <= GROWTH_KIB_MAX, "{memory} KiB, {baseline} before");
    assert_eq!(fs::read_dir(lab.at("root")).expect("list").count(), 2);
    assert_untouched(&lab, "asked");
}

/// H10: ranges that overlap, are reversed, or were never compared
#[test]
fn ranges_that_cannot_be_kept_are_not() {
    let lab = Lab::new();
    let partial = PartialIndex(5);
    let range = |start, end| ByteRange::new(start, end).expect("a range");
    // The encoded request ends with two ranges of one byte each.
    for ending in [[1, 5, 2, 6], [4, 3, 5, 6]] {
        let mut agent = lab.agent();
        let keep = Request::Keep(Keep { partial, ranges: vec![range(1, 2), range(3, 4)] });
        let mut bytes = frame(&Message::Request(RequestId(9), keep), b"");
        let at = bytes.len() - ending.len();
        bytes[at..].copy_from_slice(&ending);
        agent.controller.send_raw(&bytes).expect("sent");
        assert!(agent.controller.answer().is_err(), "{ending:?}: answered");
        assert_eq!(lab.end(agent).0, Some(12), "{ending:?}");
    }
    let mut agent = lab.agent();
    let open = OpenPartial { partial, root: agent.root, path: path("f"), size: MIB, over: None };
    agent.controller.ask(Request::OpenPartial(open), b"").expect("answered").expect("opened");
    let keep = Request::Keep(Keep { partial, ranges: vec![range(0, MIB)] });
    assert!(agent.controller.ask(keep, b"").expect("answered").is_err());
    lab.end(agent);
    assert!(!lab.at("root/f").exists());
    assert_untouched(&lab, "kept");
}

/// H9: payload that is not what it is said to be once it is decoded
#[test]
fn a_bomb_is_not_unpacked() {
    let lab = Lab::new();
    let honest = lab.agent();
    let baseline = lab.end(honest).1;
    let mut agent = lab.agent();
    let partial = PartialIndex(5);
    let open = OpenPartial { partial, root: agent.root, path: path("f"), size: MIB, over: None };
    agent.controller.ask(Request::OpenPartial(open), b"").expect("answered").expect("opened");
    let length = usize::try_from(MIB).expect("small");
    let encoded = Encoded { encoding: Encoding::Zstd, length: 1 << 20 };
    let good = repeated(b'g', length, WINDOW_2_MIB);
    let write = block(partial, &vec![b'g'; length], MIB);
    let mut ask = |payload: &[u8]| {
        let message = Message::EncodedRequest(RequestId(9), write.clone(), encoded);
        agent.controller.send_raw(&frame(&message, payload)).expect("sent");
        agent.controller.answer().expect("answered")
    };
    for (name, payload) in [
        ("bomb", repeated(b'g', length << 9, WINDOW_2_MIB)),
        ("short", repeated(b'g', length - 1, WINDOW_2_MIB)),
        ("long", repeated(b'g', length + 1, WINDOW_2_MIB)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("trailing", [&good[..], b"x"].concat()),
        ("twice", good.repeat(2)),
        ("noise", b"noise".to_vec()),
    ] {
        let fault = ask(&payload).expect_err(name);
        assert_eq!(fault.kind, FaultKind::Protocol, "{name}");
    }
    let other = ask(&repeated(b'h', length, WINDOW_2_MIB)).expect_err("another content");
    assert_eq!(other.kind, FaultKind::Mismatch);
    // A window of 2 GiB is a claim like any other: nothing is made for it.
    let _either = ask(&repeated(b'g', length, WINDOW_2_GIB));
    assert_eq!(ask(&good), Ok(Reply::Done));
    let (code, memory) = lab.end(agent);
    println!("{memory} KiB, {baseline} where nothing is asked");
    assert_eq!(code, Some(0));
    assert!(memory.saturating_sub(baseline) <= GROWTH_KIB_MAX, "{memory} KiB, {baseline} before");
    assert_untouched(&lab, "encoded");
}

/// H10: very many small requests, sent without waiting for an answer
#[test]
fn a_million_small_requests_wait_their_turn() {
    let lab = Lab::new();
    let honest = lab.agent();
    let baseline = lab.end(honest).1;
    let Agent { process, controller, root } = lab.agent();
    let (mut asking, mut answers) = controller.split();
    let sender = std::thread::spawn(move || {
        for first in (0..MANY).step_by(1000) {
            let ask = |id| frame(&Message::Request(RequestId(id), Request::Space(root)), b"");
            let bytes: Vec<u8> = (first..first + 1000).flat_map(ask).collect();
            asking.send_raw(&bytes).expect("sent");
        }
        asking
    });
    for _ in 0..MANY {
        assert!(matches!(answers.answer(), Ok(Ok(Reply::Space(_)))));
    }
    drop(sender.join().expect("all are sent"));
    drop(answers);
    let mut process = process;
    assert!(process.wait().expect("wait").success());
    let memory = measurement(&lab.at("memory"));
    println!("{memory} KiB, {baseline} where nothing is asked");
    assert!(memory.saturating_sub(baseline) <= GROWTH_KIB_MAX, "{memory} KiB, {baseline} before");
}

/// H11: what comes out of turn, or once more for a file that stands, changes nothing
#[test]
fn a_committed_file_stays_whatever_is_sent_for_it() {
    let lab = Lab::new();
    let mut agent = lab.agent();
    let (root, partial) = (agent.root, PartialIndex(5));
    let size = usize::try_from(MIB).expect("small");
    let (good, evil) = (vec![1; size], vec![2; size]);
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    let digest = file_digest(&good);
    let commit = Request::Commit(Commit { partial, ticket: Ticket(1), digest, metadata });
    let open =
        Request::OpenPartial(OpenPartial { partial, root, path: path("f"), size: MIB, over: None });
    let publish = |number| Request::Publish(Publish { root, durable: true, number });
    let mut ask = |request: Request, payload: &[u8]| {
        agent.controller.ask(request, payload).expect("answered")
    };
    for early in [commit.clone(), block(partial, &good, MIB)] {
        let payload = if matches!(early, Request::Commit(_)) { &b""[..] } else { &good };
        assert!(ask(early, payload).is_err(), "before it is opened");
    }
    ask(open.clone(), b"").expect("opened");
    assert!(ask(commit.clone(), b"").is_err(), "before it is whole");
    ask(block(partial, &good, MIB), &good).expect("written");
    // Other bytes with their own digests, for a range that is there.
    let _either = ask(block(partial, &evil, MIB), &evil);
    ask(commit.clone(), b"").expect("committed");
    ask(publish(1), b"").expect("published");
    assert_eq!(fs::read(lab.at("root/f")).expect("read"), good);
    let before = oracle::survey(&lab.at("root"));
    for (request, payload) in
        [(block(partial, &evil, MIB), &evil[..]), (commit, b""), (open, b""), (publish(1), b"")]
    {
        let _either = ask(request, payload);
    }
    let _either = ask(publish(2), b"");
    assert_eq!(fs::read(lab.at("root/f")).expect("read"), good);
    lab.end(agent);
    let changes = oracle::differences(&before, &oracle::survey(&lab.at("root")));
    assert!(changes.is_empty(), "{changes:?}");
    assert_untouched(&lab, "committed");
}
