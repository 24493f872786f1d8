use super::super::http::ask;
use super::super::judges;
use super::*;

/// A time as requests are signed at it
fn stamp(seconds: u64) -> String {
    let text = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y%m%dT%H%M%SZ"])
        .output()
        .expect("run date");
    String::from_utf8_lossy(&text.stdout).trim().to_owned()
}

fn presigned_at(seconds: u64, life: u64, signed: &str, target: &str) -> String {
    let joint = if target.contains('?') { '&' } else { '?' };
    let at = stamp(seconds);
    format!(
        "{target}{joint}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={at}&X-Amz-Expires={life}\
         &X-Amz-SignedHeaders={signed}&X-Amz-Signature=0"
    )
}

fn presigned(target: &str) -> String {
    presigned_at(now(), 60, "host", target)
}

/// The code of the error, or the status
fn outcome(store: &Discard, request: &Message) -> String {
    let answer = ask(store.access().port(), request).expect("an answer");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    match text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")) {
        Some((code, _)) => code.to_owned(),
        None => answer.status().to_string(),
    }
}

fn put(store: &Discard, target: &str, body: &[u8]) -> Message {
    let request = Message::request("PUT", &presigned(target), body);
    ask(store.access().port(), &request).expect("an answer")
}

fn begin(store: &Discard) -> String {
    let request = Message::request("POST", &presigned("/bucket/k?uploads"), "");
    let answer = ask(store.access().port(), &request).expect("an answer");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let id = text.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<'));
    id.expect("an upload").0.to_owned()
}

fn complete(store: &Discard, id: &str, parts: &[(u32, &str)], fields: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(number, tag)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
    });
    let body = format!("<C>{}</C>", parts.collect::<String>());
    let names = fields.iter().map(|field| format!(";{}", field.0)).collect::<String>();
    let target = format!("/bucket/k?uploadId={id}");
    let target = presigned_at(now(), 60, &format!("host{names}"), &target);
    let mut request = Message::request("POST", &target, body);
    fields.iter().for_each(|(name, value)| request.set(name, *value));
    outcome(store, &request)
}

#[test]
fn what_is_not_signed_or_too_old_is_refused() {
    let store = Discard::start();
    let get = |target: &str| outcome(&store, &Message::request("GET", target, ""));
    assert_eq!(get("/bucket/k"), "AccessDenied");
    assert_eq!(get(&presigned("/bucket/k")), "NoSuchKey");
    let old = now() - 100;
    assert_eq!(get(&presigned_at(old, 60, "host", "/bucket/k")), "AccessDenied");
    assert_eq!(get(&presigned_at(old, 101 + 60, "host", "/bucket/k")), "NoSuchKey");
    let early = now() + 3600;
    assert_eq!(get(&presigned_at(early, 60, "host", "/bucket/k")), "RequestTimeTooSkewed");
    let request = Message::request("PUT", &presigned("/bucket/k"), "x");
    let request = request.with("X-Amz-Meta-Name", "value");
    assert_eq!(outcome(&store, &request), "HeadersNotSigned");
    let signed = presigned_at(now(), 60, "host;x-amz-meta-name", "/bucket/k");
    let request = Message::request("PUT", &signed, "x").with("X-Amz-Meta-Name", "value");
    assert_eq!(outcome(&store, &request), "200");
    let held = store.objects().remove("k").expect("an object");
    assert_eq!(held.attributes, [(String::from("name"), String::from("value"))]);
    assert_eq!((held.size, store.count("PutObject"), store.received()), (1, 2, 2));
}

#[test]
fn bodies_are_compared_with_their_checksum() {
    let store = Discard::start();
    let fields = "host;x-amz-checksum-crc64nvme";
    let sent = |sum: &str| {
        let target = presigned_at(now(), 60, fields, "/bucket/k");
        let request = Message::request("PUT", &target, "123456789");
        outcome(&store, &request.with("x-amz-checksum-crc64nvme", sum))
    };
    // The check value that the catalogue of checksums gives.
    let right = base64_of(0xae8b_1486_0a79_9888);
    assert_eq!(sent("AAAAAAAAAAA="), "BadDigest");
    assert!(store.objects().is_empty());
    assert_eq!(sent(&right), "200");
    let target = presigned_at(now(), 60, "host;x-amz-checksum-mode", "/bucket/k");
    let request = Message::request("HEAD", &target, "").with("x-amz-checksum-mode", "ENABLED");
    let answer = ask(store.access().port(), &request).expect("an answer");
    assert_eq!(answer.get("x-amz-checksum-crc64nvme"), Some(right.as_str()));
    assert_eq!(answer.get("content-length"), Some("9"));
}

#[test]
fn parts_are_put_together_as_strictly_as_aws_does() {
    let store = Discard::start();
    let id = begin(&store);
    let part = |number: u32, size: usize| {
        let target = format!("/bucket/k?partNumber={number}&uploadId={id}");
        let answer = put(&store, &target, &vec![b'x'; size]);
        answer.get("etag").unwrap_or_default().to_owned()
    };
    let (one, two, small) = (part(1, 5 << 20), part(2, 5 << 20), part(3, 7));
    assert_eq!(part(0, 1), "");
    assert_eq!(part(10_001, 1), "");
    assert_eq!(complete(&store, &id, &[(2, &two), (1, &one)], &[]), "InvalidPartOrder");
    assert_eq!(complete(&store, &id, &[(1, &two)], &[]), "InvalidPart");
    assert_eq!(complete(&store, &id, &[(1, &one), (4, &two)], &[]), "InvalidPart");
    assert_eq!(complete(&store, &id, &[], &[]), "MalformedXML");
    let (again, most) = (part(4, 1), [(1, one.as_str()), (3, &small)]);
    assert_eq!(complete(&store, &id, &[most[0], most[1], (4, &again)], &[]), "EntityTooSmall");
    let sum = [("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")];
    assert_eq!(complete(&store, &id, &most, &sum), "BadDigest");
    let size = [("x-amz-mp-object-size", "6")];
    assert_eq!(complete(&store, &id, &most, &size), "InvalidRequest");
    assert_eq!((store.uploads(), store.objects().len()), (1, 0));
    let whole = crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &vec![b'x'; (5 << 20) + 7]);
    let sum = [("x-amz-checksum-crc64nvme", base64_of(whole))];
    let sum = sum.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(complete(&store, &id, &most, &sum), "200");
    assert_eq!(complete(&store, &id, &most, &sum), "NoSuchUpload");
    let held = store.objects().remove("k").expect("an object");
    assert_eq!(held.parts, [5 << 20, 7]);
    assert_eq!(held.checksum, whole);
}

#[test]
fn conditions_hold_or_nothing_is_written() {
    let store = Discard::start();
    let sent = |name: &str, value: &str| {
        let request = Message::request("PUT", &presigned("/bucket/k"), "x");
        outcome(&store, &request.with(name, value))
    };
    assert_eq!(sent("if-match", "\"none\""), "PreconditionFailed");
    assert_eq!(sent("if-none-match", "*"), "200");
    assert_eq!(sent("if-none-match", "*"), "PreconditionFailed");
    let tag = store.objects()["k"].tag.clone();
    assert_eq!(sent("if-match", &format!("\"{tag}\"")), "200");
    assert_eq!(sent("if-match", &format!("\"{tag}\"")), "PreconditionFailed");
}

#[test]
fn invented_bytes_are_where_they_are_asked_for() {
    let store = Discard::start();
    store.invent("big", 300 << 30);
    let at = 200 << 30;
    let request = Message::request("GET", &presigned("/bucket/big"), "");
    let request = request.with("range", format!("bytes={at}-{}", at + 99_999));
    let answer = ask(store.access().port(), &request).expect("an answer");
    assert_eq!((answer.status(), answer.body.len()), (206, 100_000));
    let range = format!("bytes {at}-{}/{}", at + 99_999, 300_u64 << 30);
    assert_eq!(answer.get("content-range"), Some(range.as_str()));
    assert!((at..at + 100_000).map(invented).eq(answer.body));
}

/// AWS's own program reads what is said, and pages through it
#[test]
fn aws_lists_it() {
    let store = Discard::start();
    for name in ["a/1", "a/2", "a%20b/%26", "c"] {
        assert_eq!(put(&store, &format!("/bucket/{name}"), b"12345").status(), 200);
    }
    let listed = judges::listed(store.access(), "");
    let names = ["a b/&", "a/1", "a/2", "c"].map(|name| (name.to_owned(), 5));
    assert_eq!(listed, names);
    let paged = ["s3", "ls", "--page-size", "1", "s3://bucket/"];
    let text = judges::said(&mut judges::aws(store.access()), paged);
    let words: Vec<_> = text.split_whitespace().filter(|word| word.contains('/')).collect();
    assert_eq!(words, ["b/", "a/"], "{text}");
    let id = begin(&store);
    assert_eq!(judges::uploads(store.access()), 1);
    put(&store, &format!("/bucket/k?partNumber=3&uploadId={id}"), b"123");
    let arguments = ["s3api", "list-parts", "--bucket", "bucket", "--key", "k", "--upload-id", &id];
    let text = judges::said(&mut judges::aws(store.access()), arguments);
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&list["Parts"][0]["PartNumber"], &list["Parts"][0]["Size"]),
        (&3.into(), &3.into())
    );
}
