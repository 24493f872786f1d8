mod files;
mod hubs;
mod stand;

use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, ScanItem};
use xfer_protocol::message::{
    Access, FileAt, Locate, LocatedKind, OpenRoot, RootIndex, Scan, ScanNext, ScanOptions,
};

use super::*;

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| u8::try_from(i * i % 253).unwrap()).collect()
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn cut(whole: &[u8], range: ByteRange) -> &[u8] {
    let in_memory = |offset| usize::try_from(offset).unwrap();
    &whole[in_memory(range.start())..in_memory(range.end())]
}

fn kind_of<T: std::fmt::Debug>(result: EndpointResult<T>) -> FaultKind {
    match result.unwrap_err() {
        EndpointError::Fault(fault) => fault.kind,
        other => panic!("{other}"),
    }
}

async fn root(endpoint: &WebEndpoint, at: &str) -> RootIndex {
    let open = OpenRoot { path: at.as_bytes().to_vec(), access: Access::Read };
    endpoint.open_root(open).await.unwrap().index
}

async fn items(endpoint: &WebEndpoint, root: RootIndex, under: &str) -> Vec<ScanItem> {
    let scan = Scan { root, under: path(under), options: ScanOptions::default() };
    let scan = endpoint.scan(scan).await.unwrap();
    endpoint.scan_next(ScanNext { scan, sequence: 0 }).await.unwrap().items
}

async fn entries(endpoint: &WebEndpoint, root: RootIndex, under: &str) -> Vec<Entry> {
    let entry = |item| match item {
        ScanItem::Entry(entry) => entry,
        other => panic!("{other:?}"),
    };
    items(endpoint, root, under).await.into_iter().map(entry).collect()
}

async fn file_at(endpoint: &WebEndpoint, root: RootIndex, at: &str) -> FileAt {
    let entries = entries(endpoint, root, at).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    FileAt { root, path: path(at), stamp: entries[0].stamp() }
}

async fn block(
    endpoint: &WebEndpoint,
    file: &FileAt,
    range: ByteRange,
) -> EndpointResult<(Vec<Digest>, Bytes)> {
    endpoint.read_block(ReadBlock { file: file.clone(), range }).await
}

/// A file in blocks of 64 KiB.
fn blocks(size: u64) -> Vec<ByteRange> {
    let start = |n| n * 65_536;
    (0..size.div_ceil(65_536)).map(|n| range(start(n), size.min(start(n + 1)))).collect()
}

async fn located(
    endpoint: &WebEndpoint,
    at: &str,
    expand: bool,
) -> Vec<(String, Option<LocatedKind>)> {
    let locate = Locate { path: at.as_bytes().to_vec(), expand };
    let found = endpoint.locate(locate).await.unwrap();
    let row = |row: Located| (String::from_utf8(row.path).unwrap(), row.kind);
    found.into_iter().map(row).collect()
}

#[test]
fn an_address_names_its_file_decoded() {
    let path = |text: &str| {
        let path = path_of(&Address::parse(text).unwrap());
        path.map(|path| String::from_utf8(path.as_bytes().to_vec()).unwrap())
    };
    assert_eq!(path("https://h.org/a/b%20c.bin?x=y"), Some("a/b c.bin".to_owned()));
    assert_eq!(path("https://h.org/%"), Some("%".to_owned()));
    for bad in ["https://h.org", "https://h.org/", "https://h.org/a%00b"] {
        assert_eq!(path(bad), None, "{bad}");
    }
}
