//! Keys that no name has, and the order of names.

use xfer_protocol::fault::FaultKind;

use super::*;

#[tokio::test]
async fn keys_of_no_name_are_told_and_left_out() {
    let bucket = MemoryBucket::new("b");
    let empty: &[&str] = &["r/dir/", "r/both", "r/both/x", "r//x", "r/./x", "r/a/../x", "r/a/"];
    for key in empty.iter().chain(&["r/full/", "r/ok", "r/%41", "r/.xfer-receipts/ours/x"]) {
        let bytes = if key.starts_with("r/full") { &b"1"[..] } else { b"" };
        bucket.put_as_is(key, Bytes::copy_from_slice(bytes), &[]);
    }
    let stand = Stand::new(&bucket, None, "/r").await;
    let items = stand.scan().await;
    let name = |item: &ScanItem| match item {
        ScanItem::Entry(entry) => Some(entry.path.to_string()),
        _ => None,
    };
    let entries: Vec<_> = items.iter().filter_map(name).collect();
    assert_eq!(entries, [".", "a", "dir", "ok"]);
    let problems: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            ScanItem::Problem(fault) => Some((fault.path.to_string(), fault.kind)),
            _ => None,
        })
        .collect();
    assert!(problems.iter().all(|(_, kind)| *kind == FaultKind::Unsafe), "{problems:?}");
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(problems.iter().any(|(path, _)| path == "both"));
}

#[tokio::test]
async fn names_come_in_their_own_order_however_many_there_are() {
    for (count, depth) in [(3, 2), (1200, 1)] {
        let bucket = MemoryBucket::new("b");
        for n in 0..count {
            for name in ["a", "a-b", "a.b", "%FF", "z"] {
                let key = format!("r/{name}/{}{n:04}", "x/".repeat(depth));
                bucket.put_as_is(&key, Bytes::new(), &[]);
            }
        }
        bucket.put_as_is("r/a-", Bytes::new(), &[]);
        let stand = Stand::new(&bucket, None, "/r").await;
        let entries = stand.entries().await;
        assert!(entries.windows(2).all(|pair| pair[0].path < pair[1].path));
        assert_eq!(entries.len(), 2 + 5 * (1 + depth) + 5 * count);
    }
}

/// Their list has several pages, whose order is another than that of names.
#[tokio::test]
async fn many_small_directories_are_told_in_the_order_of_names() {
    let bucket = MemoryBucket::new("b");
    for n in 0..500 {
        for name in ["a", "a-b", "a.b", "%FF", "z"] {
            bucket.put_as_is(&format!("r/{name}/d{n:04}/f"), Bytes::new(), &[]);
        }
    }
    bucket.put_as_is("r/a-", Bytes::new(), &[]);
    let stand = Stand::new(&bucket, None, "/r").await;
    let entries = stand.entries().await;
    assert!(entries.windows(2).all(|pair| pair[0].path < pair[1].path));
    assert_eq!(entries.len(), 2 + 5 + 2 * 5 * 500);
}
