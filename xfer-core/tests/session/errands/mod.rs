//! Errands: what an agent asks of a store by its own link, with requests that were made here.

mod stand;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use xfer_core::agent::serve::Served;
use xfer_core::clock::SystemClock;
use xfer_core::endpoint::memory::{MemoryEndpoint, MemoryStore, Profile};
use xfer_core::endpoint::remote::{RemoteEndpoint, SessionOptions};
use xfer_core::endpoint::{Endpoint, EndpointError, Sink};
use xfer_core::options::Compression;
use xfer_protocol::digest::{file_digest, range_digests};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::errand::{
    Carried, CarriedMethod, Carry, CarryProblemKind, Gather, Gathered, Head, Keeping, RedeemAll,
    Slice,
};
use xfer_protocol::message::passage::{ForwardedRead, ParcelIndex, Redeem, RedeemedWrite};
use xfer_protocol::message::{
    Access, Commit, FileAt, FilesAt, Locate, OpenPartial, OpenRoot, PackedFile, PartialIndex,
    Publish, ReadBlock, RootIndex, Ticket, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use crate::line::{Line, stream};
use stand::{Said, Stand};

const MIB: u64 = 1 << 20;

/// Bytes of the file that is there.
const SIZE: u64 = 2 * MIB + 70_000;

struct Lab {
    store: MemoryStore,
    near: RemoteEndpoint,
    root: RootIndex,
    whole: Vec<u8>,
}

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

fn there(name: &str) -> RelPath {
    path("there").join(&path(name)).unwrap()
}

fn bytes(size: u64) -> Vec<u8> {
    (0..size).map(|n| ((n * n) >> 7).to_le_bytes()[0]).collect()
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

impl Lab {
    async fn new() -> Self {
        let (store, whole) = (MemoryStore::new(Profile::Disk), bytes(SIZE));
        store.put(&path("there/file"), whole.clone());
        let near = Self::session(&store, Duration::from_secs(30)).await;
        let open = OpenRoot { path: b"/there".to_vec(), access: Access::WriteCreate };
        let root = near.open_root(open).await.unwrap().index;
        Self { store, near, root, whole }
    }

    async fn session(store: &MemoryStore, stall: Duration) -> RemoteEndpoint {
        let far: Arc<MemoryEndpoint> = Arc::new(store.open());
        let capabilities = far.capabilities().clone();
        let (served, _) = Served::new(far, SystemClock::shared());
        let (here, there) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            let _ended = served.stream(stream(Line::new(there))).await;
        });
        let options = SessionOptions { stall, random: [7; 16], compression: Compression::Auto };
        let (here, clock) = (stream(Line::new(here)), SystemClock::shared());
        RemoteEndpoint::open(here, capabilities, options, clock).await.unwrap()
    }

    fn stamp(&self, name: &str) -> Stamp {
        self.store.entry(&there(name)).unwrap().stamp()
    }

    async fn gather(&self, parcel: u64, start: u64, end: u64) -> Gathered {
        let file = FileAt { root: self.root, path: path("file"), stamp: self.stamp("file") };
        let range = ByteRange::new(start, end).unwrap();
        let read = ForwardedRead::Block(ReadBlock { file, range });
        self.near.gather(Gather { parcel: ParcelIndex(parcel), read }).await.unwrap()
    }

    async fn get(&self, stand: &Stand, path: &str, keep: Option<Keeping>) -> Carried {
        let carry = Carry { keep, ..get(format!("{}{path}", stand.origin)) };
        self.near.carry(carry).await.unwrap()
    }

    async fn put(&self, stand: &Stand, path: &str, body: Vec<Slice>) -> Carried {
        let method = CarriedMethod::Put;
        let carry = Carry { method, body, ..get(format!("{}{path}", stand.origin)) };
        self.near.carry(carry).await.unwrap()
    }

    fn write(&self, start: u64, end: u64) -> RedeemedWrite {
        let range = ByteRange::new(start, end).unwrap();
        let digests = range_digests(start, &self.whole[at(start)..at(end)], SIZE).unwrap();
        let partial = PartialIndex(1);
        RedeemedWrite::Block(WriteBlock { partial, range, digests, hole: false })
    }

    fn pack(&self, files: &[(&str, &[u8])]) -> RedeemedWrite {
        let files = files.iter().zip(0..).map(|((name, bytes), ticket)| PackedFile {
            ticket: Ticket(ticket),
            path: path(name),
            size: bytes.len() as u64,
            digest: file_digest(bytes),
            metadata: Metadata { mode: 0o644, ..Metadata::default() },
        });
        RedeemedWrite::Pack(WritePack { root: self.root, files: files.collect(), publish: true })
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn get(address: String) -> Carry {
    let headers = vec![("x-signed".to_owned(), "so".to_owned())];
    let (method, body) = (CarriedMethod::Get, Vec::new());
    Carry { method, address, headers, body, keep: None, stall: 60 }
}

fn slice(parcel: u64, start: u64, length: u64) -> Slice {
    Slice { parcel: ParcelIndex(parcel), start, length }
}

fn keeping(parcel: u64, start: u64, end: u64, size: u64) -> Keeping {
    Keeping { parcel: ParcelIndex(parcel), length: end - start, start, size }
}

fn head(carried: &Carried) -> &Head {
    carried.outcome.as_ref().unwrap()
}

fn problem(carried: Carried) -> CarryProblemKind {
    assert_eq!((carried.digests.len(), carried.crc), (0, None));
    carried.outcome.unwrap_err().kind
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, EndpointError>) -> FaultKind {
    match outcome.unwrap_err() {
        EndpointError::Fault(fault) => fault.kind,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_part_is_put_from_pieces_of_what_was_gathered() {
    let lab = Lab::new().await;
    assert!(lab.near.runs_errands());
    let etag = || vec![("ETag", "\"of the part\"".to_owned())];
    let stand = Stand::new(move |_| Said { headers: etag(), ..Said::body(200, b"") }).await;
    for (parcel, start, end) in [(1, 0, MIB), (2, MIB, 2 * MIB), (3, 2 * MIB, SIZE)] {
        let bytes = &lab.whole[at(start)..at(end)];
        let digests = range_digests(start, bytes, SIZE).unwrap();
        let gathered = Gathered::Block { digests, crc: crc(bytes) };
        assert_eq!(lab.gather(parcel, start, end).await, gathered);
    }
    let body = vec![slice(1, 0, MIB), slice(2, 0, MIB), slice(3, 0, 70_000)];
    let carried = lab.put(&stand, "/b/k?X-Amz-Signature=00", body).await;
    assert_eq!(head(&carried).status, 200);
    let etag = ("etag".to_owned(), "\"of the part\"".to_owned());
    assert!(head(&carried).headers.contains(&etag), "names are in lower case");
    // Pieces in any order, one of them twice: what is kept stays, and may be put again.
    lab.put(&stand, "/b/l", vec![slice(3, 69_990, 10), slice(1, 5, 7), slice(3, 69_990, 10)]).await;
    lab.put(&stand, "/b/empty", Vec::new()).await;
    let asked = stand.asked();
    assert!(asked[0].body == lab.whole);
    assert_eq!((&*asked[0].method, &*asked[0].path), ("PUT", "/b/k?X-Amz-Signature=00"));
    assert_eq!(asked[0].header("x-signed"), Some("so"));
    assert_eq!(asked[0].header("content-length"), Some(&*SIZE.to_string()));
    assert_eq!(asked[0].header("transfer-encoding"), None);
    let last = &lab.whole[lab.whole.len() - 10..];
    assert_eq!(asked[1].body, [last, &lab.whole[5..12], last].concat());
    assert_eq!((asked[2].header("content-length"), asked[2].body.len()), (Some("0"), 0));
    lab.near.dispose(vec![ParcelIndex(2), ParcelIndex(99)]).await.unwrap();
    for missing in [slice(2, 0, 1), slice(9, 0, 1), slice(3, 70_000, 1), slice(3, 0, 70_001)] {
        let carried = lab.put(&stand, "/b/m", vec![slice(1, 0, 1), missing]).await;
        assert_eq!(problem(carried), CarryProblemKind::NoParcel, "{missing:?}");
    }
    assert_eq!(stand.asked().len(), 3, "nothing is asked for with a part of a body");
}

#[tokio::test]
async fn small_files_are_put_one_by_one_from_one_parcel() {
    let lab = Lab::new().await;
    let stand = Stand::new(|_| Said::body(200, b"")).await;
    for (name, text) in [("a", &b"123456789"[..]), ("b", b"changed"), ("c", b""), ("d", b"last")] {
        lab.store.put(&there(name), text.to_vec());
    }
    let mut files: Vec<_> = ["a", "b", "c", "d"].map(|n| (path(n), lab.stamp(n))).into();
    files[1].1.inode ^= 1;
    let read = ForwardedRead::Pack(FilesAt { root: lab.root, files });
    let gathered = lab.near.gather(Gather { parcel: ParcelIndex(1), read }).await.unwrap();
    let Gathered::Pack(reads) = gathered else { panic!("{gathered:?}") };
    assert_eq!(reads[0].1, 0xae8b_1486_0a79_9888, "the check value of CRC-64/NVME");
    assert_eq!(reads[0].0.as_ref().unwrap().digest, file_digest(b"123456789"));
    assert_eq!((reads[1].0.is_err(), reads[1].1), (true, 0));
    assert_eq!((reads[2].1, reads[3].1), (crc(b""), crc(b"last")));
    for (path, body) in [("/a", slice(1, 0, 9)), ("/d", slice(1, 9, 4))] {
        lab.put(&stand, path, vec![body]).await;
    }
    let bodies: Vec<_> = stand.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies, [b"123456789".to_vec(), b"last".to_vec()]);
}

#[tokio::test]
async fn what_a_store_sends_is_kept_and_written_as_a_file() {
    let lab = Lab::new().await;
    let whole = lab.whole.clone();
    let stand = Stand::new(move |asked| {
        let (start, end) = asked.path[1..].split_once('-').unwrap();
        Said::body(206, &whole[start.parse().unwrap()..end.parse().unwrap()])
    })
    .await;
    let (partial, size) = (PartialIndex(1), SIZE);
    let open = OpenPartial { partial, root: lab.root, path: path("copy"), size, over: None };
    lab.near.open_partial(open).await.unwrap();
    // The first block by one request, the second by two whose parcels are written together.
    for (parcel, start, end) in [(1, 0, MIB), (2, MIB, 2 * MIB), (3, 2 * MIB, SIZE)] {
        let keep = keeping(parcel, start, end, SIZE);
        let carried = lab.get(&stand, &format!("/{start}-{end}"), Some(keep)).await;
        let bytes = &lab.whole[at(start)..at(end)];
        assert_eq!((head(&carried).status, head(&carried).body.len()), (206, 0));
        assert_eq!(carried.digests, range_digests(start, bytes, SIZE).unwrap());
        assert_eq!(carried.crc, Some(crc(bytes)));
    }
    let first = Redeem { parcel: ParcelIndex(1), write: lab.write(0, MIB) };
    lab.near.redeem(first.clone()).await.unwrap();
    assert_eq!(kind(lab.near.redeem(first).await), FaultKind::Mismatch, "it was given up");
    let parcels = vec![ParcelIndex(2), ParcelIndex(3)];
    let write = lab.write(MIB, SIZE);
    lab.near.redeem_all(RedeemAll { parcels: parcels.clone(), write }).await.unwrap();
    let again = RedeemAll { parcels, write: lab.write(MIB, SIZE) };
    assert_eq!(kind(lab.near.redeem_all(again).await), FaultKind::Mismatch);
    let (ticket, digest) = (Ticket(0), file_digest(&lab.whole));
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    lab.near.commit(Commit { partial, ticket, digest, metadata }).await.unwrap();
    lab.near.publish(Publish { root: lab.root, durable: false, number: 0 }).await.unwrap();
    assert!(lab.store.read(&path("there/copy")).unwrap() == lab.whole);
}

#[tokio::test]
async fn small_files_are_fetched_one_by_one_and_written_together() {
    let lab = Lab::new().await;
    let stand = Stand::new(|asked| Said::body(200, asked.path.as_bytes())).await;
    for (parcel, path) in [(1, "/one"), (2, "/the-other")] {
        let size = path.len() as u64;
        let carried = lab.get(&stand, path, Some(keeping(parcel, 0, size, size))).await;
        assert_eq!(carried.digests, [file_digest(path.as_bytes())]);
    }
    let files: [(&str, &[u8]); 3] = [("one", b"/one"), ("none", b""), ("two", b"/the-other")];
    let parcels = vec![ParcelIndex(1), ParcelIndex(2)];
    let redeem = RedeemAll { parcels, write: lab.pack(&files) };
    let outcomes = lab.near.redeem_all(redeem.clone()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    for (name, bytes) in files {
        assert_eq!(lab.store.read(&there(name)).unwrap(), bytes);
    }
    let outcomes = lab.near.redeem_all(redeem).await.unwrap();
    let kinds: Vec<_> = outcomes.into_iter().map(|o| o.result.unwrap_err().kind).collect();
    assert_eq!(kinds, [FaultKind::Mismatch; 3], "the parcels were given up");
}

#[tokio::test]
async fn any_status_is_an_answer_and_none_leads_elsewhere() {
    let lab = Lab::new().await;
    let secret = "/elsewhere?X-Amz-Signature=secret";
    let stand = Stand::new(move |asked| match &*asked.path {
        "/403" => Said::body(403, b"<Error><Code>AccessDenied</Code></Error>"),
        "/404" => Said::body(404, &[7; 100_000]),
        "/503" => Said { headers: vec![("retry-after", "3".to_owned())], ..Said::body(503, b"") },
        "/302" => Said { headers: vec![("location", secret.to_owned())], ..Said::body(302, b"x") },
        other => panic!("{other}"),
    })
    .await;
    let keep = Some(keeping(1, 0, 5, 5));
    let refused = lab.get(&stand, "/403", keep).await;
    assert_eq!(head(&refused).status, 403);
    assert_eq!(head(&refused).body, b"<Error><Code>AccessDenied</Code></Error>");
    let long = lab.get(&stand, "/404", keep).await;
    assert_eq!((head(&long).status, head(&long).body.len()), (404, 65_536));
    let busy = lab.get(&stand, "/503", keep).await;
    assert!(head(&busy).headers.contains(&("retry-after".to_owned(), "3".to_owned())));
    for put in [false, true] {
        let led = match put {
            false => lab.get(&stand, "/302", keep).await,
            true => lab.put(&stand, "/302", Vec::new()).await,
        };
        assert_eq!(head(&led).status, 302);
        assert!(head(&led).headers.contains(&("location".to_owned(), secret.to_owned())));
        assert!(!format!("{led:?}").contains("secret"));
    }
    assert_eq!(stand.asked().len(), 5);
    let redeem = RedeemAll { parcels: vec![ParcelIndex(1)], write: lab.pack(&[("x", b"12345")]) };
    let outcomes = lab.near.redeem_all(redeem).await.unwrap();
    assert!(outcomes[0].result.is_err(), "no body of theirs was kept");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_should_be_is_not_kept() {
    let lab = Lab::new().await;
    let stand = Stand::new(|asked| match &*asked.path {
        "/short" => Said::body(200, b"1234"),
        "/long" => Said::body(200, b"123456"),
        "/cut" => Said { announced: Some(5), ..Said::body(200, b"1234") },
        "/none" => Said::body(200, b""),
        other => panic!("{other}"),
    })
    .await;
    for (path, expected) in [
        ("/short", CarryProblemKind::Length),
        ("/long", CarryProblemKind::Length),
        ("/cut", CarryProblemKind::Broken),
        ("/none", CarryProblemKind::Length),
    ] {
        let carried = lab.get(&stand, path, Some(keeping(1, 0, 5, 5))).await;
        assert_eq!(problem(carried), expected, "{path}");
        let write = lab.pack(&[("x", b"12345")]);
        let redeem = RedeemAll { parcels: vec![ParcelIndex(1)], write };
        let outcomes = lab.near.redeem_all(redeem).await.unwrap();
        assert_eq!(outcomes[0].result.as_ref().unwrap_err().kind, FaultKind::Mismatch);
    }
}

#[tokio::test]
async fn what_cannot_or_must_not_be_asked_says_so() {
    let lab = Lab::new().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/secret", nobody.local_addr().unwrap());
    drop(nobody);
    for (address, expected) in [
        (&*refused, CarryProblemKind::Unreached),
        ("http://169.254.169.254/secret", CarryProblemKind::Unusable),
        ("http://0xa9fea9fe/secret", CarryProblemKind::Unusable),
        ("http://[fe80::1]/secret", CarryProblemKind::Unusable),
        ("http://[::ffff:169.254.169.254]/secret", CarryProblemKind::Unusable),
        ("https://100.100.100.200/secret", CarryProblemKind::Unusable),
        ("file:///secret", CarryProblemKind::Unusable),
        ("ftp://127.0.0.1/secret", CarryProblemKind::Unusable),
        ("secret", CarryProblemKind::Unusable),
    ] {
        let carried = lab.near.carry(get(address.to_owned())).await.unwrap();
        let outcome = carried.outcome.unwrap_err();
        assert_eq!(outcome.kind, expected, "{address}: {outcome:?}");
        assert!(!outcome.reason.contains("secret"), "{outcome:?}");
    }
}

#[tokio::test]
async fn silence_ends_a_request_and_nothing_else_that_is_asked_waits_for_it() {
    let lab = Lab::new().await;
    let stand = Stand::new(|_| Said { is_silent: true, ..Said::default() }).await;
    let carry = |stall| Carry { stall, ..get(format!("{}/silent", stand.origin)) };
    let waiting = join_all((0..256).map(|_| lab.near.carry(carry(600))));
    let others = async {
        stand.came(256).await;
        let locate = Locate { path: b"/there".to_vec(), expand: false };
        assert_eq!(lab.near.locate(locate).await.unwrap().len(), 1);
        assert_eq!(kind(lab.near.carry(carry(600)).await), FaultKind::Limit);
    };
    tokio::select! {
        ended = waiting => panic!("{ended:?}"),
        () = others => {}
    }
    let other = Lab::new().await;
    let carried = other.near.carry(carry(1)).await.unwrap();
    assert_eq!(problem(carried), CarryProblemKind::TimedOut);
}

#[tokio::test]
async fn of_more_than_is_kept_the_oldest_go() {
    let lab = Lab::new().await;
    let stand = Stand::new(|_| Said::body(200, b"")).await;
    let (long, length) = (bytes(16 * MIB), 16 * MIB);
    lab.store.put(&path("there/file"), long);
    for parcel in 0..13 {
        lab.gather(parcel, 0, length).await;
    }
    let gone = lab.put(&stand, "/a", vec![slice(0, 0, 1)]).await;
    assert_eq!(problem(gone), CarryProblemKind::NoParcel);
    let all = (1..13).map(|parcel| slice(parcel, parcel, 1)).collect();
    assert_eq!(head(&lab.put(&stand, "/a", all).await).status, 200);
    assert_eq!(stand.asked()[0].body, bytes(13)[1..]);
}

/// An errand outlasts the session's patience: the store is waited for, and the agent lives.
#[tokio::test]
async fn an_errand_outlasts_the_silence_that_ends_a_stream() {
    let lab = Lab::new().await;
    let near = Lab::session(&lab.store, Duration::from_millis(300)).await;
    let stand = Stand::new(|_| Said { is_silent: true, ..Said::default() }).await;
    let carried = near.carry(Carry { stall: 1, ..get(stand.origin.clone()) }).await.unwrap();
    assert_eq!(problem(carried), CarryProblemKind::TimedOut);
}
