//! What a store is asked for, one request at a time

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use xfer_core::endpoint::object::store::signed::{SignedSettings, SignedStore};
use xfer_core::endpoint::object::store::{
    Checksum, Condition, Get, Key, List, Listed, Part, Put, Store, StoreError, StoreResult, Stored,
    UploadId, Version,
};
use xfer_core::transport::web::Web;
use xfer_protocol::range::ByteRange;
use xfer_tests::stores::{Access, Moto, S3s};

/// Bytes of a part that need not be the last.
const PART: u32 = 5 << 20;

/// Keys that something on the way could take for something else.
const ODD_KEYS: &[&str] = &[
    "%",
    "%2",
    "%25",
    "%2541",
    "%2F",
    "%41",
    "*",
    "a b",
    "a!$&'()*+,;=:@b",
    "a#b",
    "a%0Ab",
    "a%20b",
    "a+b",
    "a<b>&amp;",
    "a?b=c&d",
    "a\"b'",
    "b/.c",
    "b/..c/d",
    "b/c..",
    "e\u{301}",
    "x-id=1",
    "z\\y",
    "{}[]|^`",
    "~t",
    "ä/ö",
    "日本語/\u{1f980}",
];

pub(crate) fn opened(access: &Access) -> SignedStore {
    opened_with(access, &access.key, &access.secret, &access.bucket)
}

fn opened_with(access: &Access, key: &str, secret: &str, bucket: &str) -> SignedStore {
    let mut settings = SignedSettings::of_keys(bucket, &access.region, key, secret, None);
    settings.endpoint = Some(access.endpoint.clone());
    settings.virtual_hosted = false;
    let web = Web::new(Duration::from_secs(60)).expect("the web");
    SignedStore::open(&settings, web).expect("open the store")
}

/// Stores run in a runtime of their own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// CRC-64/NVME bit by bit, as its definition says.
fn nvme(bytes: &[u8]) -> Checksum {
    let step = |sum: u64| (sum >> 1) ^ (0x9a6c_9329_ac4b_c9b5 & 0_u64.wrapping_sub(sum & 1));
    let sum = bytes
        .iter()
        .fold(u64::MAX, |sum, byte| (0..8).fold(sum ^ u64::from(*byte), |sum, _| step(sum)));
    Checksum::Crc64Nvme(!sum)
}

pub(crate) async fn put(store: &SignedStore, name: &str, body: &[u8]) -> StoreResult<Stored> {
    put_if(store, name, body, Condition::Always).await
}

async fn put_if(
    store: &SignedStore,
    name: &str,
    body: &[u8],
    condition: Condition,
) -> StoreResult<Stored> {
    let attributes =
        [("mtime".to_owned(), "1.25".to_owned()), ("xfer-mode".to_owned(), "a b%41".to_owned())];
    let (checksum, body) = (nvme(body), body.to_vec().into());
    let key = key(name);
    store.put(Put { key: &key, body, attributes: &attributes, checksum, condition }).await
}

async fn read(
    store: &SignedStore,
    name: &str,
    (start, end): (usize, usize),
    version: &Version,
) -> StoreResult<Vec<u8>> {
    let range = ByteRange::new(start as u64, end as u64).expect("a range");
    let got = store.get(Get { key: &key(name), range, version }).await?;
    Ok(got.0.to_vec())
}

async fn listed(store: &SignedStore, prefix: &str, most: u16) -> (Vec<Listed>, usize) {
    let (mut objects, mut pages, mut next) = (Vec::new(), 0, None::<String>);
    loop {
        let list = List { prefix, folded: false, page: next.as_deref(), most };
        let page = store.list(list).await.expect("list");
        pages += 1;
        objects.extend(page.objects);
        next = page.next;
        if next.is_none() {
            return (objects, pages);
        }
    }
}

fn names(objects: &[Listed]) -> Vec<&str> {
    objects.iter().map(|object| object.key.as_str()).collect()
}

async fn an_object_comes_and_goes(store: &SignedStore) {
    let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let stored = put(store, "a/b", &body).await.expect("put");
    let object = store.head(&key("a/b")).await.expect("head");
    assert_eq!(object.size, body.len() as u64);
    assert_eq!(object.version, stored.version);
    assert_eq!(object.checksums, [nvme(&body)]);
    assert_eq!(object.coding, None);
    for (name, value) in [("mtime", "1.25"), ("xfer-mode", "a b%41")] {
        assert!(object.attributes.contains(&(name.to_owned(), value.to_owned())), "{object:?}");
    }
    let any = Version::default();
    for range in [(0, body.len()), (0, 1), (7, 77), (body.len() - 1, body.len())] {
        for version in [&any, &stored.version] {
            let got = read(store, "a/b", range, version).await.expect("get");
            assert!(got == body[range.0..range.1], "{range:?}");
        }
    }
    let (objects, _) = listed(store, "a/", 1000).await;
    assert_eq!(names(&objects), ["a/b"]);
    assert_eq!(
        (objects[0].size, objects[0].modified.seconds),
        (object.size, object.modified.seconds)
    );
    let bare =
        |etag: &Option<String>| etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
    let told = bare(&objects[0].etag);
    assert!(told.is_none() || told == bare(&stored.version.etag), "{objects:?}");
    put(store, "a/empty", b"").await.expect("put nothing");
    assert_eq!(store.head(&key("a/empty")).await.expect("head").size, 0);
    for _ in 0..2 {
        store.remove(&key("a/b")).await.expect("remove");
    }
    assert_eq!(store.head(&key("a/b")).await, Err(StoreError::Missing));
    assert_eq!(read(store, "a/b", (0, 1), &any).await, Err(StoreError::Missing));
    store.remove(&key("a/empty")).await.expect("remove");
}

async fn a_key_is_the_same_there(store: &SignedStore) {
    for name in ODD_KEYS {
        put(store, name, name.as_bytes()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut expected = ODD_KEYS.to_vec();
    expected.sort_unstable();
    let (objects, _) = listed(store, "", 1000).await;
    assert_eq!(names(&objects), expected);
    for name in ODD_KEYS {
        let got = read(store, name, (0, name.len()), &Version::default()).await;
        assert_eq!(got.as_deref(), Ok(name.as_bytes()), "{name}");
        let (found, _) = listed(store, name, 1000).await;
        assert!(names(&found).contains(name), "{name}");
    }
    for name in ODD_KEYS {
        store.remove(&key(name)).await.expect("remove");
    }
    assert_eq!(listed(store, "", 1000).await.0, []);
    let refused = put(store, "a\nb", b"").await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
}

async fn a_list_has_pages(store: &Arc<SignedStore>) {
    let mut expected: Vec<_> = (0..1100).map(|n| format!("l/{}/{n}", n % 3)).collect();
    expected.sort_unstable();
    let mut writing = JoinSet::new();
    for name in expected.clone() {
        let store = Arc::clone(store);
        writing.spawn(async move { put(&store, &name, name.as_bytes()).await.map(|_| ()) });
        if writing.len() >= 32 {
            writing.join_next().await.expect("one").expect("no panic").expect("put");
        }
    }
    for done in writing.join_all().await {
        done.expect("put");
    }
    let (objects, pages) = listed(store, "l/", 1000).await;
    assert_eq!((names(&objects), pages), (expected.iter().map(String::as_str).collect(), 2));
    assert_eq!(
        listed(store, "l/0/1", 7).await.1,
        names(&listed(store, "l/0/1", 1000).await.0).len().div_ceil(7)
    );
    let list = List { prefix: "l/", folded: true, page: None, most: 1000 };
    let page = store.list(list).await.expect("list");
    assert_eq!(page.prefixes, ["l/0/", "l/1/", "l/2/"]);
    assert_eq!((page.objects, page.next), (Vec::new(), None));
}

async fn written(store: &SignedStore, name: &str, upload: &UploadId, number: u32) -> Part {
    let body = part_body(number);
    let (key, sum) = (key(name), nvme(&body));
    let part = store.put_part(&key, upload, number, body.into(), sum).await.expect("put a part");
    assert_eq!(part.number, number);
    part
}

fn part_body(number: u32) -> Vec<u8> {
    let length = if number == 3 { 12_345 } else { PART };
    (0..length).map(|at: u32| (at >> 8).to_le_bytes()[0] ^ number.to_le_bytes()[0]).collect()
}

/// Parts arrive in any order, one of them twice.
async fn parts_become_an_object(store: &SignedStore, name: &str) -> (Stored, Vec<u8>) {
    let key = key(name);
    let attributes = [("mtime".to_owned(), "1.5".to_owned())];
    let upload = store.begin(&key, &attributes).await.expect("begin");
    let body: Vec<_> = (1..=3).flat_map(part_body).collect();
    let mut parts = Vec::new();
    for number in [3, 1, 2, 1] {
        let part = written(store, name, &upload, number).await;
        parts.retain(|known: &Part| known.number != number);
        parts.push(part);
    }
    parts.sort_by_key(|part| part.number);
    let told = store.parts(&key, &upload, 0).await.expect("list the parts");
    let row = |part: &Part| (part.number, part.size);
    assert!(told.iter().map(row).eq(parts.iter().map(row)), "{told:?}");
    for part in &told {
        let own = &parts[part.number as usize - 1];
        assert!(part.tag.is_empty() || part.tag == own.tag, "{part:?} {own:?}");
        let sum = nvme(&part_body(part.number));
        let is_right = match part.checksum {
            Some(Checksum::Crc64Nvme(_)) => part.checksum == Some(sum),
            Some(Checksum::Md5(_)) | None => true,
            Some(_) => false,
        };
        assert!(is_right, "{part:?}");
    }
    assert_eq!(store.parts(&key, &upload, 2).await.expect("list the parts").len(), 1);
    assert_eq!(store.parts(&key, &upload, 3).await, Ok(Vec::new()));
    let sum = Some(nvme(&body));
    let stored = store.complete(&key, &upload, &parts, &attributes, sum, Condition::Always).await;
    (stored.expect("complete"), body)
}

async fn an_upload_in_parts(store: &SignedStore) {
    let (stored, body) = parts_become_an_object(store, "p/q").await;
    let object = store.head(&key("p/q")).await.expect("head");
    assert_eq!(object.size, body.len() as u64);
    assert!(object.attributes.contains(&("mtime".to_owned(), "1.5".to_owned())), "{object:?}");
    assert!(stored.checksum.is_none_or(|sum| sum == nvme(&body)), "{stored:?}");
    assert!(object.checksums.iter().all(|sum| *sum == nvme(&body)), "{object:?}");
    let got = read(store, "p/q", (0, body.len()), &object.version).await.expect("get");
    assert!(got == body, "the parts lie otherwise");
    let upload = store.begin(&key("p/r"), &[]).await.expect("begin");
    written(store, "p/r", &upload, 1).await;
    store.abort(&key("p/r"), &upload).await.expect("abort");
    let again = store.complete(&key("p/r"), &upload, &[], &[], None, Condition::Always).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(store.head(&key("p/r")).await, Err(StoreError::Missing));
}

async fn conditions_hold(store: &SignedStore) {
    let first = put_if(store, "c", b"1", Condition::Absent).await.expect("put what is absent");
    let etag = first.version.etag.clone().expect("a tag");
    assert_eq!(put_if(store, "c", b"2", Condition::Absent).await, Err(StoreError::Changed));
    let second = put_if(store, "c", b"22", Condition::Has(etag.clone())).await.expect("put");
    let outcome = put_if(store, "c", b"3", Condition::Has(etag)).await;
    assert_eq!(outcome, Err(StoreError::Changed));
    let stale = read(store, "c", (0, 1), &first.version).await;
    assert_eq!(stale, Err(StoreError::Changed));
    assert_eq!(read(store, "c", (0, 2), &second.version).await.as_deref(), Ok(&b"22"[..]));
    let beyond = read(store, "c", (2, 3), &second.version).await;
    assert_eq!(beyond, Err(StoreError::Changed));
    let upload = store.begin(&key("c"), &[]).await.expect("begin");
    let part = written(store, "c", &upload, 3).await;
    let part = Part { number: 3, ..part };
    let late = store.complete(&key("c"), &upload, &[part], &[], None, Condition::Absent).await;
    assert_eq!(late, Err(StoreError::Changed));
    assert_eq!(store.head(&key("c")).await.map(|object| object.size), Ok(2));
}

async fn the_wrong_credentials(access: &Access) {
    let rows = [
        opened_with(access, &access.key, "another", &access.bucket),
        opened_with(access, "AKIAOTHER", &access.secret, &access.bucket),
    ];
    for store in rows {
        let outcomes = [
            store.head(&key("k")).await.map(|_| ()),
            store.remove(&key("k")).await,
            put(&store, "k", b"k").await.map(|_| ()),
            store.begin(&key("k"), &[]).await.map(|_| ()),
        ];
        for outcome in outcomes {
            let Err(StoreError::Refused(text)) = outcome else { panic!("{outcome:?}") };
            assert!(!text.contains(&access.key) && !text.contains("X-Amz"), "{text}");
        }
    }
}

async fn another_bucket(access: &Access) {
    let store = opened_with(access, &access.key, &access.secret, "other");
    let list = List { prefix: "", folded: false, page: None, most: 1000 };
    assert_eq!(store.list(list).await, Err(StoreError::NoBucket));
}

/// Bytes that are not those that were summed. s3s-fs keeps them all the same, and says that it
/// does not.
async fn damage_is_found(store: &SignedStore) {
    let (key, checksum) = (key("d"), nvme(b"right"));
    let body = b"wrong".to_vec().into();
    let put = Put { key: &key, body, attributes: &[], checksum, condition: Condition::Always };
    let outcome = store.put(put).await;
    assert!(matches!(outcome, Err(StoreError::Damaged(_))), "{outcome:?}");
}

async fn uploads_are_told(store: &SignedStore) {
    assert_eq!(store.uploads("").await, Ok(Vec::new()));
    let mut begun = Vec::new();
    for name in ["u/a", "u/b c+%41", "v"] {
        begun.push((name.to_owned(), store.begin(&key(name), &[]).await.expect("begin")));
    }
    for (prefix, expected) in [("", &begun[..]), ("u/", &begun[..2]), ("w", &[])] {
        let told = store.uploads(prefix).await.expect("list the uploads");
        assert!(told.iter().all(|upload| upload.begun.seconds > 0), "{told:?}");
        let told = told.into_iter().map(|upload| (upload.key, upload.id));
        assert_eq!(told.collect::<Vec<_>>(), expected, "{prefix}");
    }
    for (name, upload) in begun {
        store.abort(&key(&name), &upload).await.expect("abort");
        let parts = store.parts(&key(&name), &upload, 0).await;
        assert_eq!(parts, Err(StoreError::Missing));
    }
    assert_eq!(store.uploads("").await, Ok(Vec::new()));
}

#[test]
fn s3s_serves_objects() {
    let served = S3s::start();
    let store = opened(served.access());
    run(async {
        an_object_comes_and_goes(&store).await;
        conditions_hold(&store).await;
        damage_is_found(&store).await;
        another_bucket(served.access()).await;
    });
}

#[test]
fn s3s_serves_odd_keys() {
    let served = S3s::start();
    let store = opened(served.access());
    run(a_key_is_the_same_there(&store));
    run(async {
        for name in ODD_KEYS {
            put(&store, name, name.as_bytes()).await.expect("put");
        }
    });
    for name in ODD_KEYS {
        let found = std::fs::read(served.objects().join(name)).expect("the object's file");
        assert_eq!(found, name.as_bytes(), "{name}");
    }
}

#[test]
fn s3s_serves_lists() {
    let served = S3s::start();
    run(a_list_has_pages(&Arc::new(opened(served.access()))));
}

#[test]
fn s3s_serves_uploads() {
    let served = S3s::start();
    let store = opened(served.access());
    run(async {
        an_upload_in_parts(&store).await;
        assert_eq!(store.uploads("").await, Err(StoreError::Unsupported));
    });
}

#[test]
fn s3s_knows_who_asks() {
    let served = S3s::start();
    run(the_wrong_credentials(served.access()));
}

#[test]
fn moto_serves_objects() {
    let served = Moto::start();
    let store = opened(served.access());
    run(async {
        an_object_comes_and_goes(&store).await;
        conditions_hold(&store).await;
        another_bucket(served.access()).await;
    });
}

#[test]
fn moto_serves_odd_keys() {
    let served = Moto::start();
    run(a_key_is_the_same_there(&opened(served.access())));
}

#[test]
fn moto_serves_lists() {
    let served = Moto::start();
    run(a_list_has_pages(&Arc::new(opened(served.access()))));
}

#[test]
fn moto_serves_uploads() {
    let served = Moto::start();
    let store = opened(served.access());
    run(async {
        uploads_are_told(&store).await;
        an_upload_in_parts(&store).await;
    });
}
