use std::fmt::Write;
use std::sync::atomic::AtomicBool;

use xfer_protocol::digest::file_digest;
use xfer_protocol::message::HashFiles;
use xfer_protocol::message::Reading;

use super::stand::{Asked, Said, Stand, clock, options, web};
use super::*;
use crate::transport::http::Bearer;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const LARGE: u64 = 300_001;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn large() -> Vec<u8> {
    content(usize::try_from(LARGE).unwrap())
}

/// A hub with a repository of two pages, whose large file lies with another host.
struct Hub {
    hub: Stand,
    store: Stand,
    /// Whether what the store signed has expired.
    expired: Arc<AtomicBool>,
}

async fn hub(sum: String, blob: &'static str) -> Hub {
    let expired = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&expired);
    let store = Stand::new(move |asked| {
        if asked.path.contains("old") && is_over.load(Ordering::SeqCst) {
            return Said::status(403);
        }
        Said::ranged(asked, &large(), "\"l\"")
    })
    .await;
    let (elsewhere, is_over) = (store.origin.clone(), Arc::clone(&expired));
    let hub = Stand::new(move |asked| {
        let tree = format!("/api/models/o/m/tree/{COMMIT}?recursive=true");
        let next = format!("<{tree}&cursor=2>; rel=\"next\"");
        let file = |name: &str| asked.path == format!("/o/m/resolve/{COMMIT}/{name}");
        let path = asked.path.as_str();
        if path == "/api/models/o/m/revision/main" {
            let said =
                format!("{{\"sha\":\"{COMMIT}\",\"lastModified\":\"2024-02-29T23:59:59.000Z\"}}");
            Said::body(said)
        } else if path == tree {
            Said::body(first_page(blob)).with("link", next)
        } else if path == format!("{tree}&cursor=2") {
            Said::body(second_page(&sum))
        } else if file("a%20b.txt") {
            Said::ranged(asked, b"hello\n", "\"a\"")
        } else if file("d/large.bin") {
            let signed = if is_over.load(Ordering::SeqCst) { "new" } else { "old" };
            Said::to(format!("{elsewhere}/large?{signed}"))
        } else {
            Said::status(404)
        }
    })
    .await;
    Hub { hub, store, expired }
}

fn first_page(blob: &str) -> String {
    format!(
        "[{{\"type\":\"file\",\"path\":\"a b.txt\",\"size\":6,\"oid\":\"{blob}\",\"other\":[]}},\
         {{\"type\":\"directory\",\"path\":\"d\",\"size\":0,\"oid\":\"{blob}\"}}]"
    )
}

fn second_page(sum: &str) -> String {
    let blob = "0".repeat(40);
    format!(
        "[{{\"type\":\"file\",\"path\":\"d/large.bin\",\"size\":{LARGE},\"oid\":\"{blob}\",\
         \"lfs\":{{\"oid\":\"{sum}\",\"size\":{LARGE},\"pointerSize\":134}}}}]"
    )
}

/// What `git hash-object` prints for `hello\n`.
const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

async fn open(origin: &str, key: Option<&str>) -> Result<WebEndpoint, WebSourceError> {
    let endpoint = Address::parse(origin).unwrap();
    let token = key.map(|key| Bearer::new(key).unwrap());
    let tree = HubTree {
        access: HubAccess { endpoint, token },
        kind: HubKind::Model,
        repository: "o/m".to_owned(),
        revision: "main".to_owned(),
    };
    WebEndpoint::hub(web(), &tree, options(), clock()).await
}

#[tokio::test]
async fn a_repository_is_read_at_one_commit_and_checked() {
    let hub = hub(sha256(&large()), HELLO).await;
    let endpoint = open(&hub.hub.origin, Some("secret")).await.unwrap();
    assert!(endpoint.notices()[0].contains(COMMIT), "{:?}", endpoint.notices());
    let root = root(&endpoint, "/").await;
    let entries = entries(&endpoint, root, "").await;
    let names: Vec<_> = entries.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(names[1..], ["a b.txt", "d", "d/large.bin"], "{names:?}");
    assert!(entries[0].path.is_root());
    assert!(entries.iter().all(|entry| entry.metadata.modified.seconds == 1_709_251_199));
    let small = (entries[1].path.clone(), entries[1].stamp());
    let (reads, payload) = endpoint.read_pack(FilesAt { root, files: vec![small] }).await.unwrap();
    assert_eq!(reads[0].as_ref().unwrap().digest, file_digest(b"hello\n"));
    assert_eq!(payload, b"hello\n"[..]);
    let file = FileAt { root, path: entries[3].path.clone(), stamp: entries[3].stamp() };
    for range in blocks(LARGE).into_iter().rev() {
        assert_eq!(block(&endpoint, &file, range).await.unwrap().1, cut(&large(), range));
    }
    let files = FilesAt { root, files: vec![(file.path, file.stamp)] };
    let hash = HashFiles { files, reading: Reading::Cached };
    let (digests, _) = endpoint.hash_files(hash).await.unwrap();
    assert_eq!(digests, [Ok(file_digest(&large()))]);
    let kind = |kind| Some(kind);
    let expected = [("/d/large.bin".to_owned(), kind(LocatedKind::Other))];
    assert_eq!(located(&endpoint, "/d/*.bin", true).await, expected);
    let expected = [("d".to_owned(), kind(LocatedKind::Directory))];
    assert_eq!(located(&endpoint, "d", false).await, expected);
}

/// Rows: G13.
#[tokio::test]
async fn the_key_stays_with_the_hub() {
    let hub = hub(sha256(&large()), HELLO).await;
    let endpoint = open(&hub.hub.origin, Some("secret")).await.unwrap();
    let root = root(&endpoint, "").await;
    let file = file_at(&endpoint, root, "d/large.bin").await;
    for range in blocks(LARGE) {
        block(&endpoint, &file, range).await.unwrap();
    }
    let keys = |asked: Vec<Asked>| -> Vec<_> {
        asked.iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect()
    };
    let (at_hub, at_store) = (keys(hub.hub.asked()), keys(hub.store.asked()));
    assert!(at_hub.iter().all(|key| key.as_deref() == Some("Bearer secret")), "{at_hub:?}");
    assert!(at_store.iter().all(Option::is_none), "{at_store:?}");
    assert_eq!(at_store.len(), blocks(LARGE).len());

    // Led away and back again, it is not shown either.
    let back = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&back);
    let away = Stand::new(move |_| Said::to(to.lock().unwrap().clone())).await;
    let elsewhere = away.origin.clone();
    let home = Stand::new(move |asked| match asked.path.as_str() {
        "/back" => Said::status(404),
        _ => Said::to(format!("{elsewhere}/x")),
    })
    .await;
    *back.lock().unwrap() = format!("{}/back", home.origin);
    let refused = open(&home.origin, Some("secret")).await.err().unwrap();
    assert_eq!(refused.problem, WebProblem::Missing);
    let asked = home.asked();
    assert_eq!(asked[0].header("authorization"), Some("Bearer secret"));
    assert_eq!((asked[1].path.as_str(), asked[1].header("authorization")), ("/back", None));
}

#[tokio::test]
async fn an_address_that_expired_is_asked_for_again() {
    let hub = hub(sha256(&large()), HELLO).await;
    let endpoint = open(&hub.hub.origin, None).await.unwrap();
    let root = root(&endpoint, "").await;
    let file = file_at(&endpoint, root, "d/large.bin").await;
    let resolve = format!("/o/m/resolve/{COMMIT}/d/large.bin");
    for (n, range) in blocks(LARGE).into_iter().enumerate() {
        hub.expired.store(n >= 2, Ordering::SeqCst);
        assert_eq!(block(&endpoint, &file, range).await.unwrap().1, cut(&large(), range));
    }
    assert_eq!(hub.hub.count("GET", &resolve), 2);
    assert_eq!(hub.store.count("GET", "/large?old"), 3);
}

/// Rows: G8.
#[tokio::test]
async fn the_last_block_of_what_is_not_the_hubs_is_not_given_away() {
    let hub = hub(sha256(b"another"), HELLO).await;
    let endpoint = open(&hub.hub.origin, None).await.unwrap();
    let root = root(&endpoint, "").await;
    let file = file_at(&endpoint, root, "d/large.bin").await;
    let mut ranges = blocks(LARGE);
    ranges.swap(0, 2);
    let last = ranges.pop().unwrap();
    for range in ranges {
        block(&endpoint, &file, range).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(kind_of(block(&endpoint, &file, last).await), FaultKind::Mismatch);
    }
}

#[tokio::test]
async fn a_small_file_that_is_not_the_hubs_fails_alone() {
    let hub = hub(sha256(&large()), "ce013625030ba8dba906f756967f9e9ca394464b").await;
    let endpoint = open(&hub.hub.origin, None).await.unwrap();
    let root = root(&endpoint, "").await;
    let mut files = Vec::new();
    for name in ["a b.txt", "d/large.bin"] {
        let file = file_at(&endpoint, root, name).await;
        files.push((file.path, file.stamp));
    }
    let (reads, payload) = endpoint.read_pack(FilesAt { root, files }).await.unwrap();
    assert_eq!(reads[0].as_ref().unwrap_err().kind, FaultKind::Mismatch);
    assert_eq!(reads[1].as_ref().unwrap().digest, file_digest(&large()));
    assert_eq!(payload, large());
}

/// Rows: G18.
#[tokio::test]
async fn a_tree_that_makes_no_sense_is_refused() {
    let row = |path: &str| {
        format!("{{\"type\":\"file\",\"path\":\"{path}\",\"size\":1,\"oid\":\"{HELLO}\"}}")
    };
    let pages = [
        format!("[{}]", row("../up")),
        format!("[{}]", row("/etc/passwd")),
        format!("[{},{}]", row("a"), row("a")),
        format!("[{},{}]", row("a"), row("a/b")),
        format!("[{},{}]", row("a/b"), row("a")),
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"short\"}]".to_owned(),
        "{}".to_owned(),
        "[".to_owned(),
    ];
    for page in pages {
        let shown = page.clone();
        let stand = Stand::new(move |asked| match asked.path.contains("/revision/") {
            true => Said::body(format!("{{\"sha\":\"{COMMIT}\"}}")),
            false => Said::body(page.clone()),
        })
        .await;
        let refused = open(&stand.origin, None).await.err().unwrap();
        assert!(matches!(refused.problem, WebProblem::Nonsense(_)), "{shown}: {refused}");
    }
    let looping = Stand::new(move |asked| match asked.path.contains("/revision/") {
        true => Said::body(format!("{{\"sha\":\"{COMMIT}\"}}")),
        false => Said::body("[]").with("link", "</loop>; rel=\"next\""),
    })
    .await;
    let refused = open(&looping.origin, None).await.err().unwrap();
    assert!(matches!(refused.problem, WebProblem::Nonsense(_)), "{refused}");
    assert_eq!(looping.count("GET", "/loop"), 1);
}

#[tokio::test]
async fn a_repository_that_is_closed_says_so_without_a_key() {
    let stand = Stand::new(|_| Said::status(401)).await;
    let refused = open(&stand.origin, Some("secret")).await.err().unwrap();
    assert_eq!(refused.problem, WebProblem::Refused(401));
    assert!(!format!("{refused} {refused:?}").contains("secret"));
}
