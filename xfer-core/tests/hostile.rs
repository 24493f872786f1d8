//! A far side that lies: a scripted agent answers requests as no honest one would.
//!
//! Goal: whatever it says, nothing appears outside the destination, the right error comes back, and
//! soon. Method: the real engine and a real local destination, with a stub at the other end of a
//! session in memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;
use xfer_core::clock::SystemClock;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::Endpoint;
use xfer_core::endpoint::local::{LocalEndpoint, LocalOptions};
use xfer_core::endpoint::remote::{RemoteEndpoint, SessionOptions};
use xfer_core::engine::{Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::Stream;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::codec::{FrameHead, HEAD_BYTES, encode};
use xfer_protocol::digest::file_digest;
use xfer_protocol::hello::{Hello, HelloProgress, HelloReader, Role};
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, ScanItem};
use xfer_protocol::message::{
    Located, LocatedKind, Message, ReadFile, Reply, Request, RequestId, Root, RootIndex, ScanBatch,
    ScanIndex, Space,
};
use xfer_protocol::path::RelPath;

/// What the stub lists, and what it says of each file's bytes.
#[derive(Clone)]
struct Script {
    entries: Vec<Entry>,
    read: fn(usize) -> (Vec<ReadFile>, Vec<u8>),
    raw: Option<Vec<u8>>,
}

fn honest(files: usize) -> (Vec<ReadFile>, Vec<u8>) {
    (vec![ReadFile { size: 4, digest: file_digest(b"evil") }; files], b"evil".repeat(files))
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    let inode = Inode { number: 1, links: 1, ..Inode::default() };
    Entry { path: RelPath::new(path).unwrap(), kind, metadata, inode }
}

fn file(path: &str) -> Entry {
    entry(path, EntryKind::File { size: 4, allocated: 4096 })
}

fn link(path: &str, content: &str) -> Entry {
    entry(path, EntryKind::Symlink { content: content.into() })
}

fn root() -> Entry {
    entry("", EntryKind::Directory)
}

/// Answers until the stream ends.
async fn stub(mut stream: DuplexStream, script: Script) -> std::io::Result<()> {
    let mut reader = HelloReader::new();
    let theirs = loop {
        let byte = stream.read_u8().await?;
        if let HelloProgress::Complete { hello, .. } = reader.read(&[byte]).unwrap() {
            break hello;
        }
    };
    let ours = Hello::new(Role::Agent, theirs.session, theirs.stream);
    stream.write_all(&ours.encode()).await?;
    loop {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).await?;
        let head = FrameHead::parse(&head).unwrap();
        let mut header = vec![0; head.header_length()];
        stream.read_exact(&mut header).await?;
        let Message::Request(id, request) = head.decode(&header).unwrap() else { return Ok(()) };
        if let (Request::ScanNext(_), Some(raw)) = (&request, &script.raw) {
            stream.write_all(raw).await?;
            continue;
        }
        let mut payload = Vec::new();
        let reply = match request {
            Request::Locate(l) => {
                Reply::Located(vec![Located { path: l.path, kind: Some(LocatedKind::Directory) }])
            }
            Request::OpenRoot(open) => Reply::Root(Root {
                index: RootIndex(0),
                path: open.path,
                device: 1,
                inode: 1,
                machine: [9; 16],
                space: Space { bytes_free: 1 << 40, inodes_free: None, volatile: false },
            }),
            Request::Scan(_) => Reply::Scan(ScanIndex(0)),
            Request::ScanNext(next) => {
                let first = next.sequence == 0;
                let items = if first { script.entries.clone() } else { Vec::new() };
                Reply::ScanBatch(ScanBatch {
                    sequence: next.sequence,
                    items: items.into_iter().map(ScanItem::Entry).collect(),
                    last: true,
                })
            }
            Request::ReadPack(files) => {
                let (reads, bytes) = (script.read)(files.files.len());
                payload = bytes;
                Reply::Pack(reads.into_iter().map(Ok).collect())
            }
            _ => Reply::Done,
        };
        let frame = encode(&Message::Reply(id, Ok(reply)), payload.len()).unwrap();
        stream.write_all(&frame).await?;
        stream.write_all(&payload).await?;
    }
}

async fn pull(directory: &Path, script: Script) -> Result<ExitClass, TransferError> {
    let (near, there) = tokio::io::duplex(1 << 16);
    tokio::spawn(stub(there, script));
    let (reader, writer) = tokio::io::split(near);
    let stream = Stream::new(reader, writer);
    let capabilities = LocalEndpoint::new(LocalOptions::default()).capabilities().clone();
    let options = SessionOptions { stall: Duration::from_secs(5), random: [3; 16] };
    let remote =
        RemoteEndpoint::open(stream, capabilities, options, SystemClock::shared()).await.unwrap();
    let far = Machine::Ssh(SshHost { user: None, host: "far".into(), port: None });
    let ready = Mutex::new(Some(Connected::here(Arc::new(remote))));
    let connector =
        Connector::new(SshOptions::new(Arc::new(NoPrompt), 5), Some(directory.join("s")))
            .with_stand(&far, move || ready.lock().unwrap().take().unwrap());
    let destination = format!("{}/in", directory.display()).into_bytes();
    let mut options = TransferOptions::default();
    options.retry.attempts = 1;
    let transfer = Transfer {
        sources: vec![Location { machine: far, path: b"/x/".to_vec() }],
        destination: Location { machine: Machine::Local, path: destination },
        options,
        plan_only: false,
    };
    let quiet = Arc::new(|_: &xfer_core::event::Event| {});
    let moved = run(transfer, connector, quiet, CancellationToken::new());
    let summary = tokio::time::timeout(Duration::from_secs(20), moved).await.unwrap()?;
    Ok(summary.class)
}

async fn class_of(script: Script) -> (ExitClass, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("outside")).unwrap();
    let class = pull(directory.path(), script).await.unwrap_or_else(|error| error.exit_class());
    assert_eq!(fs::read_dir(directory.path().join("outside")).unwrap().count(), 0);
    let names = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name());
    assert!(names.into_iter().all(|n| ["outside", "in", "s"].contains(&n.to_str().unwrap())));
    (class, directory)
}

fn listing(entries: Vec<Entry>) -> Script {
    Script { entries, read: honest, raw: None }
}

/// The stub can be believed when it does not lie; without this the rest would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_far_side_is_believed() {
    let (class, directory) = class_of(listing(vec![root(), file("a")])).await;
    assert_eq!(class, ExitClass::Done);
    assert_eq!(fs::read(directory.path().join("in/a")).unwrap(), b"evil");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_twice_or_below_what_is_no_directory_are_refused() {
    let lists = [
        vec![root(), file("a"), file("a")],
        vec![root(), file("b"), file("a")],
        vec![root(), file("a"), file("a/b")],
        vec![root(), link("d", "../outside"), file("d/passwd")],
        vec![root(), file("d/x")],
    ];
    for entries in lists {
        let shown = format!("{entries:?}");
        assert_eq!(class_of(listing(entries)).await.0, ExitClass::Unsafe, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_what_they_claim_never_appear() {
    let read: fn(usize) -> (Vec<ReadFile>, Vec<u8>) = |files| {
        (vec![ReadFile { size: 4, digest: file_digest(b"good") }; files], b"evil".repeat(files))
    };
    let script = Script { entries: vec![root(), file("a")], read, raw: None };
    let (class, directory) = class_of(script).await;
    assert_eq!(class, ExitClass::Integrity);
    assert!(!directory.path().join("in/a").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_beyond_limits_and_answers_to_nothing_end_the_session() {
    let unasked = encode(&Message::Reply(RequestId(u64::MAX), Ok(Reply::Done)), 0).unwrap();
    let huge_header = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec();
    let huge_payload = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f].to_vec();
    let asking = encode(&Message::Request(RequestId(1), Request::Ping), 0).unwrap();
    let rows = [
        (unasked, ExitClass::Protocol),
        (huge_header, ExitClass::Limit),
        (huge_payload, ExitClass::Limit),
        (asking, ExitClass::Protocol),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), ExitClass::Limit),
    ];
    for (raw, expected) in rows {
        let shown = format!("{raw:?}");
        let script = Script { entries: vec![root()], read: honest, raw: Some(raw) };
        assert_eq!(class_of(script).await.0, expected, "{shown}");
    }
}
