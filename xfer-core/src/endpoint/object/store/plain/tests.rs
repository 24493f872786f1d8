//! The store in memory through each method, and what is said of errors.

use object_store::ObjectStoreExt;
use xfer_protocol::range::ByteRange;

use super::*;

const SUM: Checksum = Checksum::Crc64Nvme(0);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn put<'a>(key: &'a Key, body: &'static str, condition: Condition) -> Put<'a> {
    let body = Bytes::from_static(body.as_bytes()).into();
    Put { key, body, attributes: &[], checksum: SUM, condition }
}

fn get<'a>(key: &'a Key, start: u64, end: u64, version: &'a Version) -> Get<'a> {
    Get { key, range: ByteRange::new(start, end).unwrap(), version }
}

#[tokio::test]
async fn what_is_written_is_read_with_its_attributes() {
    let store = PlainStore::in_memory();
    let at = key("a/%41 b~#?*é");
    let attributes = [("x-digest".to_owned(), "b3:1".to_owned())];
    let written = Put { attributes: &attributes, ..put(&at, "0123456789", Condition::Absent) };
    let stored = store.put(written).await.unwrap();
    let told = store.head(&at).await.unwrap();
    assert_eq!((told.size, &told.version.etag), (10, &stored.version.etag));
    assert_eq!(told.attributes, attributes);
    let (bytes, again) = store.get(get(&at, 3, 7, &stored.version)).await.unwrap();
    assert_eq!((&*bytes, again), (&b"3456"[..], told));
    // Exactly what is asked for, or nothing.
    let any = Version::default();
    for (start, end) in [(8, 11), (10, 12)] {
        let cut = store.get(get(&at, start, end, &any)).await;
        assert!(cut.is_err(), "{start}..{end}: {cut:?}");
    }
    store.remove(&at).await.unwrap();
    store.remove(&at).await.unwrap();
    assert_eq!(store.head(&at).await.unwrap_err(), StoreError::Missing);
    assert_eq!(store.get(get(&at, 0, 1, &any)).await.unwrap_err(), StoreError::Missing);
}

#[tokio::test]
async fn conditions_hold() {
    let (store, at) = (PlainStore::in_memory(), key("a"));
    let first = store.put(put(&at, "1", Condition::Absent)).await.unwrap();
    let again = store.put(put(&at, "2", Condition::Absent)).await;
    assert_eq!(again.unwrap_err(), StoreError::Changed);
    let etag = first.version.etag.clone().unwrap();
    store.put(put(&at, "3", Condition::Has(etag.clone()))).await.unwrap();
    let stale = store.put(put(&at, "4", Condition::Has(etag))).await;
    assert_eq!(stale.unwrap_err(), StoreError::Changed);
    let pinned = store.get(get(&at, 0, 1, &first.version)).await;
    assert_eq!(pinned.unwrap_err(), StoreError::Changed);
    assert_eq!(store.head(&at).await.unwrap().size, 1);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let store = PlainStore::in_memory();
    for name in ["a", "b/1", "b/2", "b/c/3", "c", "d"] {
        store.put(put(&key(name), "x", Condition::Always)).await.unwrap();
    }
    for (prefix, folded, wanted) in [
        ("", false, &["a", "b/1", "b/2", "b/c/3", "c", "d"][..]),
        ("", true, &["a", "b/", "c", "d"]),
        ("b/", true, &["b/1", "b/2", "b/c/"]),
        ("none", true, &[]),
    ] {
        let (mut found, mut page) = (Vec::new(), None::<String>);
        loop {
            let list = List { prefix, folded, page: page.as_deref(), most: 2 };
            let next = store.list(list).await.unwrap();
            found.extend(next.objects.into_iter().map(|listed| listed.key));
            found.extend(next.prefixes);
            page = next.next;
            if page.is_none() {
                break;
            }
        }
        found.sort();
        assert_eq!(found, wanted, "{prefix:?} {folded}");
    }
}

#[tokio::test]
async fn parts_become_an_object() {
    let (store, at) = (PlainStore::in_memory(), key("a"));
    let attributes = [("k".to_owned(), "v".to_owned())];
    let upload = store.begin(&at, &attributes).await.unwrap();
    assert_eq!(store.uploads("").await.unwrap().len(), 1);
    for (number, body) in [(2, "two"), (1, "xxx"), (1, "one")] {
        store.put_part(&at, &upload, number, Bytes::from(body).into(), SUM).await.unwrap();
    }
    assert!(store.put_part(&at, &upload, 0, Bytes::from("zero").into(), SUM).await.is_err());
    let parts = store.parts(&at, &upload, 0).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(store.parts(&at, &upload, 1).await.unwrap().len(), 1);
    let none = store.complete(&at, &upload, &[], &[], None, Condition::Always).await;
    assert!(matches!(none, Err(StoreError::Failed(_))));
    store.complete(&at, &upload, &parts, &[], None, Condition::Absent).await.unwrap();
    let (bytes, told) = store.get(get(&at, 0, 6, &Version::default())).await.unwrap();
    assert_eq!((&*bytes, &told.attributes[..]), (&b"onetwo"[..], &attributes[..]));
    assert!(store.uploads("").await.unwrap().is_empty());
    let second = store.begin(&at, &[]).await.unwrap();
    store.abort(&at, &second).await.unwrap();
    assert_eq!(store.parts(&at, &second, 0).await.unwrap_err(), StoreError::Missing);
}

#[test]
fn a_key_is_taken_as_it_is_or_not_at_all() {
    for text in ["a", "a/b", "%2F", "a b", "é", "~", "a\\b"] {
        assert_eq!(path(&key(text)).unwrap().as_ref(), text);
    }
    assert!(path(&key("a\u{7}b")).is_err());
}

#[tokio::test]
async fn no_error_repeats_what_the_library_says() {
    let secret = || "https://a.example/?sig=SEKRET".to_owned();
    let source = || secret().into();
    use object_store::Error;
    for (error, wanted) in [
        (Error::NotFound { path: secret(), source: source() }, StoreError::Missing),
        (Error::AlreadyExists { path: secret(), source: source() }, StoreError::Changed),
        (Error::Precondition { path: secret(), source: source() }, StoreError::Changed),
        (Error::NotSupported { source: source() }, StoreError::Unsupported),
        (Error::Generic { store: "", source: StoreError::Busy.into() }, StoreError::Busy),
    ] {
        assert_eq!(sorted(&error), wanted);
    }
    let lost = Error::Generic { store: "", source: source() };
    assert!(matches!(sorted(&lost), StoreError::Nonsense(_)));
    assert!(matches!(sorted_write(&lost), StoreError::Unknown(_)));
    assert!(!format!("{:?}", sorted(&lost)).contains("SEKRET"));
    // Whatever is stored beside ours is none of ours, and is read all the same.
    let store = PlainStore::in_memory();
    store.objects.put(&Path::parse("b").unwrap(), "x".into()).await.unwrap();
    assert_eq!(store.head(&key("b")).await.unwrap().size, 1);
}

#[test]
fn names_of_attributes_pass_through_azure() {
    let mut attributes =
        vec![("x_digest".to_owned(), "1".to_owned()), ("mtime".to_owned(), "2".to_owned())];
    azure::rename(&mut attributes);
    let names: Vec<_> = attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["mtime", "x-digest"]);
}
