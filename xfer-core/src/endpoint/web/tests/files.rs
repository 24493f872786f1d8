use std::sync::atomic::AtomicUsize;

use xfer_protocol::digest::{BlockSize, file_digest};
use xfer_protocol::message::{HashBlocks, Lock, Reading, Subject};

use super::stand::{Asked, Said, Stand, clock, options, web};
use super::*;
use crate::endpoint::Sink;

const SIZE: u64 = 1_000_000;

async fn open(stand: &Stand, at: &str) -> Result<WebEndpoint, WebSourceError> {
    let address = Address::parse(&format!("{}{at}", stand.origin)).unwrap();
    WebEndpoint::file(web(), &WebFile { address }, options(), clock()).await
}

async fn opened(stand: &Stand) -> (WebEndpoint, FileAt) {
    let endpoint = open(stand, "/d/file?key").await.unwrap();
    let root = root(&endpoint, "/d/").await;
    let file = file_at(&endpoint, root, "file").await;
    (endpoint, file)
}

fn whole() -> Vec<u8> {
    content(usize::try_from(SIZE).unwrap())
}

#[tokio::test]
async fn ranges_come_in_any_order_and_of_one_state() {
    let bytes = whole();
    let served = bytes.clone();
    let answers = move |asked: &Asked| {
        let said = Said::ranged(asked, &served, "\"one\"");
        said.with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")
    };
    let stand = Stand::new(answers).await;
    let (endpoint, file) = opened(&stand).await;
    assert!(endpoint.notices().is_empty());
    assert_eq!((file.stamp.size, file.stamp.modified.seconds), (SIZE, 784_111_777));
    for range in blocks(SIZE).into_iter().rev() {
        let (digests, found) = block(&endpoint, &file, range).await.unwrap();
        assert_eq!(found, cut(&bytes, range));
        assert_eq!(
            Some(digests),
            xfer_protocol::digest::range_digests(range.start(), &found, SIZE)
        );
    }
    let asked = stand.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("HEAD", "/d/file?key"));
    assert_eq!(asked.len(), 1 + blocks(SIZE).len());
    for asked in &asked[1..] {
        assert_eq!(asked.header("if-range"), Some("\"one\""), "{asked:?}");
        assert_eq!(asked.header("accept-encoding"), Some("identity"), "{asked:?}");
        assert!(asked.header("authorization").is_none());
    }
    let hash = HashBlocks {
        subject: Subject::File(file.clone()),
        range: range(0, SIZE),
        block: BlockSize::DEFAULT,
        reading: Reading::Cached,
    };
    assert_eq!(endpoint.hash_blocks(hash).await.unwrap().digests, [file_digest(&bytes)]);
    for (start, end) in [(0, SIZE + 1), (100, 65_536), (0, 100)] {
        let read = block(&endpoint, &file, range(start, end)).await;
        assert_eq!(kind_of(read), FaultKind::Protocol);
    }
}

/// Rows: G6.
#[tokio::test]
async fn a_file_without_ranges_comes_in_one_answer() {
    let bytes = whole();
    let served = bytes.clone();
    let stand = Stand::new(move |_| Said::body(&*served).with("etag", "\"one\"")).await;
    let (endpoint, file) = opened(&stand).await;
    assert!(endpoint.notices()[0].contains("one stream"), "{:?}", endpoint.notices());
    assert!(!endpoint.notices()[0].contains("key"), "{:?}", endpoint.notices());
    let mut ranges = blocks(SIZE);
    ranges.swap(3, 7);
    let reads = ranges.iter().map(|range| block(&endpoint, &file, *range));
    for (range, read) in ranges.iter().zip(futures_util::future::join_all(reads).await) {
        assert_eq!(read.unwrap().1, cut(&bytes, *range));
    }
    // One to look whether there are ranges, and one for all of them.
    assert_eq!(stand.count("GET", "/d/file?key"), 2);
}

/// A server that tells of ranges and has none, and one that tells no state at all.
#[tokio::test]
async fn what_turns_out_to_have_no_ranges_is_read_all_the_same() {
    let bytes = whole();
    let served = bytes.clone();
    let liar = move |_: &Asked| {
        Said::body(&*served).with("etag", "\"one\"").with("accept-ranges", "bytes")
    };
    let stand = Stand::new(liar).await;
    let (endpoint, file) = opened(&stand).await;
    for range in blocks(SIZE) {
        assert_eq!(block(&endpoint, &file, range).await.unwrap().1, cut(&bytes, range));
    }
    assert_eq!(stand.count("GET", "/d/file?key"), 2);

    let served = bytes.clone();
    let stand = Stand::new(move |asked| {
        let mut said = Said::ranged(asked, &served, "");
        said.headers.retain(|(name, _)| *name != "etag");
        said
    })
    .await;
    let (endpoint, file) = opened(&stand).await;
    for range in blocks(SIZE) {
        assert_eq!(block(&endpoint, &file, range).await.unwrap().1, cut(&bytes, range));
    }
    assert_eq!(stand.count("GET", "/d/file?key"), 1);
    assert_eq!(stand.asked().last().unwrap().header("range"), None);
}

/// A second answer may be of another state, and nothing would tell.
#[tokio::test]
async fn what_nothing_pins_is_begun_anew_and_not_gone_on_with() {
    let bytes = whole();
    let served = bytes.clone();
    let is_cut = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&is_cut);
    let stand = Stand::new(move |asked| {
        let mut said = Said::body(&*served).with("accept-ranges", "none");
        let is_cut = asked.method == "GET" && left.swap(0, Ordering::SeqCst) == 1;
        said.cut = is_cut.then_some(300_000);
        said
    })
    .await;
    let (endpoint, file) = opened(&stand).await;
    let ranges = blocks(SIZE);
    for range in &ranges[..4] {
        assert_eq!(block(&endpoint, &file, *range).await.unwrap().1, cut(&bytes, *range));
    }
    assert_eq!(kind_of(block(&endpoint, &file, ranges[4]).await), FaultKind::Changed);
    let renewed = file_at(&endpoint, file.root, "file").await;
    for range in ranges {
        assert_eq!(block(&endpoint, &renewed, range).await.unwrap().1, cut(&bytes, range));
    }
    assert_eq!(stand.count("GET", "/d/file?key"), 2);
}

/// Rows: G7.
#[tokio::test]
async fn a_file_that_is_replaced_is_told_as_changed() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let bytes = whole();
    let stand = Stand::new(move |asked| {
        let gets = asked.method == "GET" && counted.fetch_add(1, Ordering::SeqCst) >= 2;
        let etag = if gets || counted.load(Ordering::SeqCst) > 2 { "\"two\"" } else { "\"one\"" };
        Said::ranged(asked, &bytes, etag)
    })
    .await;
    let (endpoint, file) = opened(&stand).await;
    let ranges = blocks(SIZE);
    block(&endpoint, &file, ranges[0]).await.unwrap();
    block(&endpoint, &file, ranges[1]).await.unwrap();
    assert_eq!(kind_of(block(&endpoint, &file, ranges[2]).await), FaultKind::Changed);
    // Looked at again, it is another file.
    let renewed = file_at(&endpoint, file.root, "file").await;
    assert_ne!(renewed.stamp, file.stamp);
    assert_eq!(kind_of(block(&endpoint, &file, ranges[0]).await), FaultKind::Changed);
    block(&endpoint, &renewed, ranges[0]).await.unwrap();
}

#[tokio::test]
async fn a_weak_tag_pins_nothing_and_the_moment_of_change_does() {
    let bytes = whole();
    let moment = "Sun, 06 Nov 1994 08:49:37 GMT";
    let stand = Stand::new(move |asked| {
        let condition = asked.header("if-range").unwrap_or(moment).to_owned();
        let mut said = Said::ranged(asked, &bytes, &condition);
        said.headers.retain(|(name, _)| *name != "etag");
        said.with("etag", "W/\"weak\"").with("last-modified", moment)
    })
    .await;
    let (endpoint, file) = opened(&stand).await;
    block(&endpoint, &file, blocks(SIZE)[1]).await.unwrap();
    assert_eq!(stand.asked().last().unwrap().header("if-range"), Some(moment));
}

/// Rows: G5.
#[tokio::test]
async fn a_body_that_ends_early_is_asked_for_again_and_then_given_up() {
    for has_ranges in [true, false] {
        let bytes = whole();
        let cuts = Arc::new(AtomicUsize::new(2));
        let left = Arc::clone(&cuts);
        let served = bytes.clone();
        let stand = Stand::new(move |asked| {
            let said = Said::ranged(asked, &served, "\"one\"");
            let mut said = match has_ranges {
                true => said,
                false => Said::body(&*served).with("etag", "\"one\"").with("accept-ranges", "none"),
            };
            let take = |left: usize| left.checked_sub(1);
            let is_read = asked.method == "GET";
            if is_read && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                said.cut = Some(said.body.len() / 2);
            }
            said
        })
        .await;
        let (endpoint, file) = opened(&stand).await;
        for range in blocks(SIZE) {
            assert_eq!(block(&endpoint, &file, range).await.unwrap().1, cut(&bytes, range));
        }
        assert_eq!(cuts.load(Ordering::SeqCst), 0);
        cuts.store(usize::MAX, Ordering::SeqCst);
        let lost = Err(EndpointError::Lost(LostReason::Ended));
        let again = open(&stand, "/d/file?key").await.unwrap();
        let file = FileAt { root: root(&again, "/d").await, ..file };
        assert_eq!(block(&again, &file, *blocks(SIZE).last().unwrap()).await, lost);
        assert!(again.later_notices()[0].starts_with("file: "));
        assert!(again.later_notices().is_empty());
    }
}

/// Rows: G16.
#[tokio::test]
async fn bytes_in_a_coding_are_refused() {
    let stand = Stand::new(|_| Said::body("x").with("content-encoding", "gzip")).await;
    let refused = open(&stand, "/f?key").await.err().unwrap();
    assert_eq!(refused.problem, WebProblem::Coded("gzip".to_owned()));
    assert!(!refused.to_string().contains("key"), "{refused}");

    let bytes = whole();
    let stand = Stand::new(move |asked| {
        let said = Said::ranged(asked, &bytes, "\"one\"");
        if asked.method == "GET" { said.with("content-encoding", "br") } else { said }
    })
    .await;
    let (endpoint, file) = opened(&stand).await;
    assert_eq!(kind_of(block(&endpoint, &file, blocks(SIZE)[0]).await), FaultKind::Unsupported);
}

/// Rows: G6.
#[tokio::test]
async fn another_range_than_was_asked_for_is_refused() {
    for (told, expected) in [
        ("bytes 0-65535/1000000", FaultKind::Io),
        ("bytes 65535-131070/1000000", FaultKind::Io),
        ("bytes 65536-131070/1000000", FaultKind::Io),
        ("bytes 65536-131071/1000001", FaultKind::Changed),
        ("65536-131071", FaultKind::Io),
    ] {
        let bytes = whole();
        let stand = Stand::new(move |asked| {
            let mut said = Said::ranged(asked, &bytes, "\"one\"");
            said.headers.retain(|(name, _)| *name != "content-range");
            said.with("content-range", told)
        })
        .await;
        let (endpoint, file) = opened(&stand).await;
        let read = block(&endpoint, &file, range(65_536, 131_072)).await;
        assert_eq!(kind_of(read), expected, "{told}");
    }
}

#[tokio::test]
async fn a_head_that_is_refused_is_no_end() {
    let bytes = whole();
    let stand = Stand::new(move |asked| match asked.method.as_str() {
        "HEAD" => Said::status(405),
        _ => Said::ranged(asked, &bytes, "\"one\""),
    })
    .await;
    let (endpoint, file) = opened(&stand).await;
    assert!(endpoint.notices().is_empty());
    assert_eq!(stand.asked()[1].range(), Some((0, 1)));
    block(&endpoint, &file, blocks(SIZE)[2]).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_and_one_without_a_size_is_a_problem() {
    let stand = Stand::new(|_| Said::status(404)).await;
    let endpoint = open(&stand, "/none").await.unwrap();
    assert_eq!(located(&endpoint, "/none", false).await, [("/none".to_owned(), None)]);

    let stand = Stand::new(|_| Said { endless: true, ..Said::body("abc") }).await;
    let endpoint = open(&stand, "/f").await.unwrap();
    let root = root(&endpoint, "/").await;
    let items = items(&endpoint, root, "f").await;
    let is_unmeasured =
        |item: &ScanItem| matches!(item, ScanItem::Problem(f) if f.kind == FaultKind::Unmeasured);
    assert!(items.len() == 1 && is_unmeasured(&items[0]), "{items:?}");
}

#[tokio::test]
async fn an_empty_file_is_one() {
    let stand = Stand::new(|_| Said::body("").with("etag", "\"e\"")).await;
    let endpoint = open(&stand, "/f").await.unwrap();
    let root = root(&endpoint, "/").await;
    let file = file_at(&endpoint, root, "f").await;
    let files = FilesAt { root, files: vec![(file.path, file.stamp)] };
    let (reads, payload) = endpoint.read_pack(files).await.unwrap();
    assert_eq!((reads[0].as_ref().unwrap().size, payload.len()), (0, 0));
}

/// Rows: G13.
#[tokio::test]
async fn redirections_end_and_stay_safe() {
    let stand = Stand::new(|asked| match asked.path.as_str() {
        "/loop" => Said::to("/loop"),
        "/clear" => Said::to("http://example.com/f"),
        "/nowhere" => Said::status(302),
        "/5" => Said::body("abc").with("etag", "\"e\""),
        path => Said::to(format!("/{}", path[1..].parse::<u32>().unwrap() + 1)),
    })
    .await;
    for path in ["/loop", "/clear", "/nowhere"] {
        let refused = open(&stand, path).await.err().unwrap();
        assert!(matches!(refused.problem, WebProblem::Astray(_)), "{path}: {refused}");
    }
    assert_eq!(stand.count("HEAD", "/loop"), 6);
    let endpoint = open(&stand, "/0").await.unwrap();
    let root = root(&endpoint, "/").await;
    assert_eq!(file_at(&endpoint, root, "0").await.stamp.size, 3);
}

#[tokio::test]
async fn nothing_is_written_there_and_a_closed_one_ends() {
    let stand = Stand::new(|_| Said::body("abc").with("etag", "\"e\"")).await;
    let endpoint = open(&stand, "/f").await.unwrap();
    let root = root(&endpoint, "/").await;
    let file = file_at(&endpoint, root, "f").await;
    let lock = Lock { root, entries: vec![path("f")] };
    assert_eq!(kind_of(endpoint.lock(lock).await), FaultKind::Unsupported);
    let open = OpenRoot { path: b"/".to_vec(), access: Access::WriteCreate };
    assert_eq!(kind_of(endpoint.open_root(open).await), FaultKind::ReadOnly);
    endpoint.close().await;
    let read = block(&endpoint, &file, range(0, 3)).await;
    assert_eq!(read, Err(EndpointError::Lost(LostReason::ClosedHere)));
}
