//! A controller that lies to the agent: nothing appears outside the root that it opened, and memory
//! does not follow what it asks

use std::fs;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use tempfile::TempDir;
use xfer_protocol::digest::file_digest;
use xfer_protocol::manifest::Metadata;
use xfer_protocol::message::{
    Access, Create, NewEntry, NewKind, OpenRoot, PackedFile, Reply, Request, RootIndex, Ticket,
    WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_tests::stub::{Controller, frame};
use xfer_tests::tree;
use xfer_tests::xfer::{Xfer, measured, measurement};

const GROWTH_KIB_MAX: u64 = 64 << 10;
const SESSION: [u8; 16] = [7; 16];

/// A real agent on pipes, its memory measured
struct Agent {
    process: Child,
    controller: Controller<BufReader<ChildStdout>, ChildStdin>,
    root: RootIndex,
}

struct Lab {
    place: TempDir,
    xfer: Xfer,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { place: TempDir::new().expect("temp dir"), xfer: Xfer::new() };
        for name in ["root", "outside"] {
            fs::create_dir(lab.at(name)).expect("create");
        }
        tree::write(&lab.at("outside/passwd"), b"precious");
        tree::write(&lab.at("root/own"), b"own");
        lab
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    fn agent(&self) -> Agent {
        let session = "07".repeat(16);
        let mark = "ab".repeat(32);
        let words = ["agent", "--sentinel", &mark, "--session", &session, "--silence", "10"];
        let plain = self.xfer.command(words);
        let mut command = measured(&plain, &self.at("memory"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("apt-get install time");
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
    use xfer_protocol::message::{Message, RequestId};
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

#[test]
fn names_that_lead_out_end_the_session() {
    let lab = Lab::new();
    let names: [&[u8]; 6] = [b"../oo", b"/oooo", b"o/../", b"o//oo", b"oooo/", b"oo\0oo"];
    for name in names {
        let shown = String::from_utf8_lossy(name);
        let mut agent = lab.agent();
        let root = agent.root;
        let pack = WritePack { root, files: vec![packed("~~~~~")], publish: true };
        let link = create(root, "hard", NewKind::HardLink { of: path("~~~~~") });
        for (request, payload) in [(Request::WritePack(pack), &b"x"[..]), (link, b"")] {
            let bytes = with_name(request, payload, "~~~~~", name);
            // It may have hung up on the first of them.
            let _sent = agent.controller.send_raw(&bytes);
        }
        assert!(agent.controller.answer().is_err(), "{shown}: answered");
        assert_ne!(lab.end(agent).0, Some(0), "{shown}");
        assert_untouched(&lab, &shown);
    }
}

#[test]
fn links_lead_nowhere() {
    let lab = Lab::new();
    let mut agent = lab.agent();
    let root = agent.root;
    let outside = lab.at("outside").as_os_str().as_bytes().to_vec();
    let link = create(root, "d", NewKind::Symlink { content: outside });
    agent.controller.ask(link, &[]).expect("answered").expect("made");
    let through = [
        (
            Request::WritePack(WritePack { root, files: vec![packed("d/passwd")], publish: true }),
            true,
        ),
        (create(root, "d/new", NewKind::Directory), false),
        (create(root, "hard", NewKind::HardLink { of: path("d/passwd") }), false),
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
