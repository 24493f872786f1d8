//! Round trips, counted: a line between two sides that hands over what one of them said only when
//! both have nothing more to say.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;
use xfer_core::agent::serve::Served;
use xfer_core::clock::SystemClock;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::Endpoint;
use xfer_core::endpoint::memory::{MemoryStore, Profile};
use xfer_core::endpoint::remote::{Opening, RemoteEndpoint, SessionOptions};
use xfer_core::engine::{Transfer, run};
use xfer_core::error::ExitClass;
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::Compression;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::codec::{FrameHead, HEAD_BYTES};
use xfer_protocol::hello::{MAGIC, SessionId};
use xfer_protocol::message::{
    Access, Begin, Locate, LocatedKind, Message, OnlyIf, OpenRoot, Request, ScanOptions,
};
use xfer_protocol::path::RelPath;

use crate::line::{Line, stream};

/// More than either side ever says at once.
const ROOM: usize = 256 << 20;

/// What every file holds, and nothing else does.
const MARK: &[u8] = b"what the files hold";

/// What was said when.
#[derive(Default)]
struct Turns {
    /// Times that the near side had an answer.
    made: AtomicUsize,
    /// Those before the first bytes of a file left.
    before_payload: Mutex<Option<usize>>,
}

type Half<T> = (ReadHalf<T>, WriteHalf<T>);

/// Hands over what one side said, and tells whether that was anything.
async fn hand_over(
    from: &mut ReadHalf<DuplexStream>,
    to: &mut WriteHalf<DuplexStream>,
    mut look: impl FnMut(&[u8]),
) -> bool {
    until_nothing_moves().await;
    let mut said = vec![0; ROOM];
    let mut length = 0;
    while let Some(Ok(read @ 1..)) = now(from.read(&mut said[length..])).await {
        length += read;
    }
    look(&said[..length]);
    // A side that is gone hears nothing.
    let _heard = to.write_all(&said[..length]).await;
    length > 0
}

/// What a future comes to at once, if anything.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// All tasks run on this thread, so when none of them did anything for a while, none will.
async fn until_nothing_moves() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

async fn pass_on(near: Half<DuplexStream>, far: Half<DuplexStream>, turns: Arc<Turns>) {
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near, far);
    loop {
        let look = |said: &[u8]| {
            tell(turns.made.load(Ordering::Relaxed), said);
            if said.windows(MARK.len()).any(|window| window == MARK) {
                let mut first = turns.before_payload.lock().unwrap();
                first.get_or_insert(turns.made.load(Ordering::Relaxed));
            }
        };
        hand_over(&mut from_near, &mut to_far, look).await;
        if hand_over(&mut from_far, &mut to_near, |_| ()).await {
            turns.made.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Prints what is asked in a turn: what a failure has to be explained by.
fn tell(turn: usize, mut said: &[u8]) {
    if said.starts_with(&MAGIC) {
        let body = usize::from(u16::from_le_bytes([said[8], said[9]]));
        said = &said[10 + body..];
    }
    let mut asked = BTreeMap::<String, usize>::new();
    while !said.is_empty() {
        let head = FrameHead::parse(said[..HEAD_BYTES].try_into().unwrap()).unwrap();
        let header = HEAD_BYTES + head.header_length();
        let name = match head.decode(&said[HEAD_BYTES..header]).unwrap() {
            Message::Request(_, request) => format!("{request:?}"),
            other => format!("{other:?}"),
        };
        *asked.entry(name.chars().take_while(|c| c.is_alphanumeric()).collect()).or_default() += 1;
        said = &said[header + head.payload_length()..];
    }
    if !asked.is_empty() {
        println!("after {turn} turns: {asked:?}");
    }
}

/// Pushes files to a place that holds nothing yet; the turns before the first payload, and all.
async fn push(files: &[(String, usize)]) -> (usize, usize) {
    let here = MemoryStore::new(Profile::Disk);
    here.set_machine([7; 16]);
    // Both stores number what they hold alike: nothing of the tree may pass for the destination.
    (0..16).for_each(|n| here.put(&RelPath::new(format!("aside/{n}")).unwrap(), vec![]));
    for (name, size) in files {
        let content: Vec<u8> = MARK.iter().copied().cycle().take(*size).collect();
        here.put(&RelPath::new(format!("tree/{name}")).unwrap(), content);
    }
    let there = MemoryStore::new(Profile::Disk);
    there.put(&RelPath::new("in/other").unwrap(), vec![1]);
    let far = Arc::new(there.open());
    let capabilities = far.capabilities().clone();
    let (served, _) = Served::new(far, SystemClock::shared());
    let (near, near_line) = tokio::io::duplex(ROOM);
    let (far_line, far) = tokio::io::duplex(ROOM);
    let turns = Arc::<Turns>::default();
    let halves = (tokio::io::split(near_line), tokio::io::split(far_line));
    let line = tokio::spawn(pass_on(halves.0, halves.1, Arc::clone(&turns)));
    let serving = tokio::spawn(async move { served.stream(stream(Line::new(far))).await.is_ok() });

    let path = b"/in/there".to_vec();
    let open = |path: &[u8]| OpenRoot { path: path.to_vec(), access: Access::Read };
    let kinds = vec![None, Some(LocatedKind::Directory), Some(LocatedKind::DirectoryLink)];
    let guess = Begin {
        open: OpenRoot { path: path.clone(), access: Access::WriteCreate },
        entries: vec![RelPath::root()],
        lists: vec![(RelPath::root(), ScanOptions::default())],
        only_if: Some(OnlyIf { path: path.clone(), kinds, elsewhere_than: [7; 16] }),
    };
    let ahead = [
        Request::Locate(Locate { path: path.clone(), expand: false }),
        Request::Begin(guess),
        Request::OpenRoot(open(&path)),
        Request::OpenRoot(open(b"/in/")),
    ];
    let random = [7; 16];
    let opening = Opening::new(SessionId(random), Compression::Never, &ahead);
    let options =
        SessionOptions { stall: Duration::from_secs(600), random, compression: Compression::Auto };
    let (first, clock) = (stream(Line::new(near)), SystemClock::shared());
    let delay = Some(Duration::from_millis(250));
    let remote = RemoteEndpoint::open_with(first, capabilities, options, clock, opening, delay);
    let remote = Arc::new(remote.await.unwrap());
    assert_eq!(turns.made.load(Ordering::Relaxed), 1, "the greeting is answered in one turn");

    let machine = Machine::Ssh(SshHost { user: None, host: "far".into(), port: None });
    let state = tempfile::tempdir().unwrap();
    let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
    let connector = Connector::new(ssh, Some(state.path().join("state")))
        .with_stand(&Machine::Local, move || Connected::here(Arc::new(here.open())))
        .with_stand(&machine, move || Connected::here(Arc::clone(&remote)));
    let source = Location { machine: Machine::Local, path: b"/tree/".to_vec() };
    let transfer = Transfer::new(vec![source], Location { machine, path });
    let quiet = Arc::new(|_: &xfer_core::event::Event| {});
    let summary = run(transfer, connector, quiet, CancellationToken::new()).await.unwrap();
    assert_eq!(summary.class, ExitClass::Done);
    assert!(serving.await.unwrap());
    line.abort();
    let arrived = there.entries().len();
    assert!(arrived >= files.len(), "{arrived} of {}", files.len());
    let before_payload = turns.before_payload.lock().unwrap().expect("payload left");
    (before_payload, turns.made.load(Ordering::Relaxed))
}

/// The login has one more: its channel is opened before the command on it is started, which is when
/// the greeting is said.
const OF_THE_LOGIN: usize = 1;

/// All of them may be on their way at once, on one stream too: what is counted is what they take
/// beside their bytes.
#[tokio::test]
async fn a_tree_of_small_files_takes_few_round_trips() {
    let files: Vec<_> = (0..2000).map(|n| (format!("{}/{n}", n / 200), 500)).collect();
    let (before_payload, all) = push(&files).await;
    println!("2,000 small files: {before_payload} before payload, {all} in all");
    assert_eq!(OF_THE_LOGIN + before_payload, 2, "{before_payload} before the first payload");
    assert!(OF_THE_LOGIN + all <= 6, "{all} in all");
}

#[tokio::test]
async fn a_large_file_begins_after_few_round_trips() {
    let (before_payload, all) = push(&[("large".to_owned(), 40 << 20)]).await;
    println!("a large file: {before_payload} before payload, {all} in all");
    assert!(OF_THE_LOGIN + before_payload <= 3, "{before_payload} before the first payload");
}
