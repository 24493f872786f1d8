//! Answers that a store may give, read; and requests against a listener that answers by a script.

use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xfer_protocol::range::ByteRange;

use super::super::Version;
use super::*;

const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

fn headers(rows: &[(&str, &str)]) -> HeaderMap {
    let rows = [("last-modified", DATE)].iter().chain(rows);
    rows.map(|(name, value)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap()))
        .collect()
}

fn version(etag: Option<&str>, id: Option<&str>) -> Version {
    Version { etag: etag.map(str::to_owned), id: id.map(str::to_owned) }
}

fn is_nonsense<T: std::fmt::Debug>(outcome: StoreResult<T>) -> bool {
    matches!(outcome, Err(StoreError::Nonsense(_)))
}

#[test]
fn a_head_is_read() {
    let head = headers(&[
        ("etag", "\"e\""),
        ("x-amz-version-id", "v"),
        ("x-amz-meta-Mtime", "1.5"),
        ("x-amz-meta-", "nameless"),
        ("content-encoding", "aws-chunked, GZIP"),
    ]);
    let object = answers::object(&head, 7).unwrap();
    assert_eq!(object.size, 7);
    assert_eq!(object.version, version(Some("\"e\""), Some("v")));
    assert_eq!(object.modified.seconds, 1_445_412_480);
    assert!(object.attributes.contains(&("mtime".to_owned(), "1.5".to_owned())));
    assert_eq!(object.coding.as_deref(), Some("gzip"));
    for coding in ["aws-chunked", "identity", "", "none", "Aws-Chunked,identity"] {
        let head = headers(&[("content-encoding", coding)]);
        assert_eq!(answers::object(&head, 7).unwrap().coding, None, "{coding}");
    }
    assert!(is_nonsense(answers::object(&HeaderMap::new(), 7)));
}

#[test]
fn only_the_bytes_that_were_asked_for_are_taken() {
    let key = Key::new("k").unwrap();
    let (etag, other) = (version(Some("\"e\""), None), version(Some("\"f\""), None));
    let rows: [(u16, &str, &str, &Version, &str); 19] = [
        (206, "bytes 0-9/10", "10", &etag, "10"),
        (206, "bytes 0-9/99", "10", &etag, "99"),
        (206, "bytes 0-9/99", "", &etag, "99"),
        (206, "bytes 0-8/99", "10", &etag, "Nonsense"),
        (206, "bytes 0-8/99", "9", &etag, "Nonsense"),
        (206, "bytes 0-10/99", "11", &etag, "Nonsense"),
        (206, "bytes 1-10/99", "10", &etag, "Nonsense"),
        (206, "bytes 0-9/*", "10", &etag, "Nonsense"),
        (206, "bytes 0-9/9", "10", &etag, "Nonsense"),
        (206, "bytes 00-9/10", "10", &etag, "Nonsense"),
        (206, "0-9/10", "10", &etag, "Nonsense"),
        (206, "", "10", &etag, "Nonsense"),
        (206, "bytes 0-9/10", "9", &etag, "Nonsense"),
        (200, "", "10", &etag, "10"),
        (200, "", "99", &etag, "Nonsense"),
        (200, "", "", &etag, "Nonsense"),
        (200, "bytes 0-9/99", "99", &etag, "Nonsense"),
        (204, "", "10", &etag, "Nonsense"),
        (206, "bytes 0-9/10", "10", &other, "Changed"),
    ];
    for (status, range, length, asked, expected) in rows {
        let given = [("content-range", range), ("content-length", length), ("etag", "\"e\"")];
        let given: Vec<_> = given.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let range = ByteRange::new(0, 10).unwrap();
        let get = Get { key: &key, range, version: asked };
        let found = match answers::opened(status, &headers(&given), &get) {
            Ok(object) => object.size.to_string(),
            Err(StoreError::Nonsense(_)) => "Nonsense".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(found, expected, "{status} {given:?}");
    }
    let get = Get { key: &key, range: ByteRange::new(5, 10).unwrap(), version: &etag };
    let whole = headers(&[("content-length", "5"), ("etag", "\"e\"")]);
    assert!(is_nonsense(answers::opened(200, &whole, &get)));
}

fn page(body: &str, prefix: &str, page: Option<&str>) -> StoreResult<Page> {
    let document = format!("<ListBucketResult>{body}</ListBucketResult>");
    let list = List { prefix, folded: true, page, most: 1000 };
    answers::page(&Element::parse(document.as_bytes())?, &list)
}

fn contents(keys: &[&str]) -> String {
    let date = "<LastModified>2015-10-21T07:28:00.000Z</LastModified>";
    let one = |key: &&str| {
        format!("<Contents><Key>{key}</Key><Size>1</Size><ETag>\"e\"</ETag>{date}</Contents>")
    };
    keys.iter().map(one).collect()
}

#[test]
fn a_page_is_read() {
    let encoded = "<EncodingType>url</EncodingType>";
    let keys = ["a+b%2B", "a%252B", "a%25%34%31", "a%C3%A4/"];
    let found = page(&format!("{}{encoded}", contents(&keys)), "a", None).unwrap();
    let names: Vec<_> = found.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(names, ["a b+", "a%2B", "a%41", "aä/"]);
    assert_eq!((found.objects[0].size, found.next), (1, None));
    // A store that was asked to encode, and did not, does not say that it did.
    let found = page(&contents(&["a%41", "a+b"]), "a", None).unwrap();
    assert_eq!((found.objects[0].key.as_str(), found.objects[1].key.as_str()), ("a%41", "a+b"));
    let folded = "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>";
    let found = page(&format!("{}{folded}", contents(&["a", "c"])), "", None).unwrap();
    assert_eq!((found.objects.len(), found.prefixes), (2, vec!["b/".to_owned()]));
}

#[test]
fn a_list_ends() {
    let more = |token: &str| {
        format!(
            "<IsTruncated>true</IsTruncated>\
             <NextContinuationToken>{token}</NextContinuationToken>"
        )
    };
    let first = page(&format!("{}{}", contents(&["a", "b"]), more("t:1")), "", None).unwrap();
    let first = first.next.unwrap();
    assert_eq!(answers::page_token(&first).unwrap(), "t:1");
    let second = page(&format!("{}{}", contents(&["c"]), more("u")), "", Some(&first)).unwrap();
    assert_eq!(answers::page_token(&second.next.unwrap()).unwrap(), "u");
    assert_eq!(page(&contents(&["c"]), "", Some(&first)).unwrap().next, None);
    let endless = [
        format!("{}{}", contents(&["c"]), more("t:1")),
        format!("{}{}", contents(&["a", "b"]), more("u")),
        format!("{}{}", contents(&["b"]), more("u")),
        contents(&["d", "c"]),
        contents(&["d", "d"]),
        "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>".to_owned(),
        "<IsTruncated>true</IsTruncated>".to_owned(),
        more(&"x".repeat(5000)),
    ];
    for body in endless {
        assert!(is_nonsense(page(&body, "", Some(&first))), "{body}");
    }
    for token in ["", "x", "9:a", ":", "1:ä"] {
        assert!(matches!(page("", "", Some(token)), Err(StoreError::Failed(_))), "{token}");
    }
}

#[test]
fn what_is_no_page() {
    let encoded = |key: &str| format!("<EncodingType>url</EncodingType>{}", contents(&[key]));
    let rows = [
        contents(&["a"]).replace("<Size>1</Size>", ""),
        contents(&["a"]).replace("<Size>1</Size>", "<Size>-1</Size>"),
        contents(&["a"]).replace("<Size>1</Size>", "<Size>99999999999999999999</Size>"),
        contents(&["a"]).replace("2015-", ""),
        contents(&[""]),
        contents(&["b"]),
        encoded("a%"),
        encoded("a%4"),
        encoded("a%zz"),
        encoded("a%ff"),
        "<CommonPrefixes><Prefix>a</Prefix></CommonPrefixes>".to_owned(),
        "<CommonPrefixes/>".to_owned(),
    ];
    for row in rows {
        assert!(is_nonsense(page(&row, "a", None)), "{row}");
    }
}

#[tokio::test]
async fn names_that_xml_has_no_place_for_are_asked_for_again() {
    let list =
        |body: &str| answer("200 OK", "", &format!("<ListBucketResult>{body}</ListBucketResult>"));
    let encoded = format!("<EncodingType>url</EncodingType>{}", contents(&["a%01%2541"]));
    for doubtful in ["a&#1;", "a\u{fffd}", "a&#0;", "a&#10;"] {
        let script = vec![list(&contents(&[doubtful])), list(&encoded)];
        let (store, asked) = scripted(script).await;
        let ask = List { prefix: "", folded: false, page: None, most: 9 };
        assert_eq!(store.list(ask).await.unwrap().objects[0].key, "a\u{1}%41", "{doubtful}");
        let asked = asked.await.unwrap();
        assert!(!asked[0].contains("encoding-type") && asked[1].contains("&encoding-type=url&"));
    }
}

/// A store over a listener that answers each request with the next of `answers`, and what it was
/// asked.
async fn scripted(answers: Vec<String>) -> (SignedStore, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let settings = SignedSettings {
        endpoint: Some(endpoint),
        virtual_hosted: false,
        ..SignedSettings::of_keys("b", "here", "AKIDTEST", "sekret", None)
    };
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked.push(request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let web = Web::new(Duration::from_secs(60)).unwrap();
    (SignedStore::open(&settings, web).unwrap(), asked)
}

/// A head and the body that it announces.
async fn request(stream: &mut tokio::net::TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut piece = [0; 4096];
        let came = stream.read(&mut piece).await.unwrap();
        assert_ne!(came, 0, "a request that ends in the middle: {text}");
        text.push_str(std::str::from_utf8(&piece[..came]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().unwrap_or_default().parse().unwrap());
        if body.len() >= length {
            return text;
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\
         last-modified: {DATE}\r\n{headers}\r\n{body}"
    )
}

fn key() -> Key {
    Key::new("k").unwrap()
}

fn upload() -> UploadId {
    UploadId("up".to_owned())
}

async fn completed(answer: String) -> (StoreResult<Stored>, String) {
    let (store, asked) = scripted(vec![answer]).await;
    let part =
        |number, tag: &str, checksum| Part { number, size: 5, tag: tag.to_owned(), checksum };
    let nvme = Checksum::Crc64Nvme(0xae8b_1486_0a79_9888);
    let parts = [part(1, "\"e<\"", Some(nvme)), part(3, "", None)];
    let (key, upload) = (key(), upload());
    let outcome = store.complete(&key, &upload, &parts, &[], Some(nvme), Condition::Absent);
    let outcome = outcome.await;
    (outcome, asked.await.unwrap().remove(0))
}

#[tokio::test]
async fn a_success_may_hold_a_failure() {
    let error =
        |code: &str| answer("200 OK", "", &format!("\n <Error><Code>{code}</Code></Error>"));
    let rows = [
        ("InternalError", "Unknown"),
        ("SlowDown", "Slow"),
        ("EntityTooSmall", "Failed"),
        ("NoSuchUpload", "Missing"),
        ("PreconditionFailed", "Changed"),
        ("BadDigest", "Damaged"),
        ("Other", "Failed"),
    ];
    for (code, expected) in rows {
        let (outcome, _) = completed(error(code)).await;
        let shown = format!("{:?}", outcome.unwrap_err());
        assert!(shown.starts_with(expected), "{code}: {shown}");
    }
    let unclear = [
        answer("200 OK", "", ""),
        answer("200 OK", "", "   "),
        answer("200 OK", "", "<Other/>"),
        answer("200 OK", "", "<CompleteMultipartUploadResult><ETag>"),
        answer("200 OK", "", "<html>").replace("content-length: 6", "content-length: 60"),
        answer("500 Oops", "", ""),
        answer("503 Oops", "", "<html></html>"),
        String::new(),
    ];
    for given in unclear {
        let (outcome, _) = completed(given.clone()).await;
        assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{given}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_completion_says_all_that_is_known() {
    let body = "<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult><ETag>\"f-2\"</ETag>\
                <ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>\
                <ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>";
    let (outcome, asked) = completed(answer("200 OK", "x-amz-version-id: v\r\n", body)).await;
    let stored = outcome.unwrap();
    assert_eq!(stored.version, version(Some("\"f-2\""), Some("v")));
    assert_eq!(stored.checksum, Some(Checksum::Crc64Nvme(0xae8b_1486_0a79_9888)));
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /b/k?uploadId=up&X-Amz-Algorithm=AWS4-HMAC-SHA256"), "{head}");
    for header in [
        "if-none-match: *",
        "x-amz-checksum-crc64nvme: rosUhgp5mIg=",
        "x-amz-checksum-type: FULL_OBJECT",
        "x-amz-mp-object-size: 10",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    assert_eq!(
        body,
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Part>\
         <PartNumber>1</PartNumber><ETag>&quot;e&lt;&quot;</ETag><ChecksumCRC64NVME>rosUhgp5mIg=\
         </ChecksumCRC64NVME></Part><Part><PartNumber>3</PartNumber></Part>\
         </CompleteMultipartUpload>"
    );
}

#[tokio::test]
async fn bytes_are_counted() {
    let range = ByteRange::new(0, 5).unwrap();
    let given = |body: &str, length: usize| {
        answer("206 Partial", "content-range: bytes 0-4/9\r\netag: \"e\"\r\n", body).replace(
            &format!("content-length: {}", body.len()),
            &format!("content-length: {length}"),
        )
    };
    let chunked =
        |body: &str| given(body, 5).replace("content-length: 5", "transfer-encoding: chunked");
    let rows = [
        (given("hello", 5), "Ok"),
        (given("hell", 5), "Err(Again"),
        (chunked("5\r\nhello\r\n0\r\n\r\n"), "Ok"),
        (chunked("4\r\nhell\r\n0\r\n\r\n"), "Err(Again"),
        (chunked("6\r\nhellos\r\n0\r\n\r\n"), "Err(Damaged"),
    ];
    for (given, expected) in rows {
        let (store, asked) = scripted(vec![given.clone()]).await;
        let (key, version) = (key(), version(Some("e"), Some("v 1")));
        let outcome = store.get(Get { key: &key, range, version: &version }).await;
        let shown = format!("{outcome:?}");
        assert!(shown.starts_with(expected), "{given}: {shown}");
        let asked = asked.await.unwrap().remove(0);
        assert!(asked.starts_with("GET /b/k?versionId=v%201&X-Amz-"), "{asked}");
        assert!(asked.contains("range: bytes=0-4") && asked.contains("if-match: \"e\""), "{asked}");
    }
}

#[tokio::test]
async fn what_is_refused_shows_no_secret() {
    let echo = "<Error><Code>SignatureDoesNotMatch</Code><Message>GET /b/k?X-Amz-Signature=1 \
                </Message><AWSAccessKeyId>AKIDTEST</AWSAccessKeyId></Error>";
    let (store, _) = scripted(vec![answer("403 No", "", echo)]).await;
    let error = store.remove(&key()).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    for shown in [format!("{error} {error:?}"), format!("{store:?}")] {
        for secret in ["AKIDTEST", "Signature=", "sekret", "/b/k"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_head_without_a_reason_is_asked_for_it() {
    let refused = "<Error><Code>ExpiredToken</Code></Error>";
    let script = vec![answer("400 No", "", ""), answer("400 No", "", refused)];
    let (store, asked) = scripted(script).await;
    assert!(matches!(store.head(&key()).await, Err(StoreError::Refused(_))));
    let asked = asked.await.unwrap();
    assert!(asked[0].starts_with("HEAD ") && asked[1].starts_with("GET "), "{asked:?}");
}

#[tokio::test]
async fn a_redirection_is_told_and_not_followed() {
    let headers = "location: http://127.0.0.1:1/b/k\r\nx-amz-bucket-region: eu-west-1\r\n";
    for status in ["301 Moved", "307 Moved", "308 Moved"] {
        let (store, _) = scripted(vec![answer(status, headers, "")]).await;
        let error = store.head(&key()).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Elsewhere(text) if text.contains("eu-west-1")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn lists_of_parts_and_uploads_end() {
    let part = |number: u32| {
        format!("<Part><PartNumber>{number}</PartNumber><Size>5</Size><ETag>\"e\"</ETag></Part>")
    };
    let more = "<IsTruncated>true</IsTruncated>";
    let listed =
        |body: &str| answer("200 OK", "", &format!("<ListPartsResult>{body}</ListPartsResult>"));
    let rows = [
        (format!("{}{}", part(2), part(4)), Some(1)),
        (String::new(), Some(0)),
        (format!("{}{}{more}", part(1), part(2)), None),
        (format!("{}{}{}", part(4), part(1), part(3)), Some(2)),
        (format!("{}{}", part(4), part(4)), None),
        (part(0), None),
        (part(10_001), None),
        (part(4).replace("<Size>5</Size>", ""), None),
    ];
    for (body, expected) in rows {
        let (store, _) = scripted(vec![listed(&body)]).await;
        let outcome = store.parts(&key(), &upload(), 2).await;
        assert_eq!(outcome.as_ref().ok().map(Vec::len), expected, "{body}: {outcome:?}");
        assert!(expected.is_some() || is_nonsense(outcome));
    }
    let page = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
                <NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>\
                <Upload><Key>k</Key><UploadId>u</UploadId>\
                <Initiated>2015-10-21T07:28:00Z</Initiated></Upload></ListMultipartUploadsResult>";
    let (store, asked) =
        scripted(vec![answer("200 OK", "", page), answer("200 OK", "", page)]).await;
    assert!(is_nonsense(store.uploads("k").await));
    assert!(asked.await.unwrap()[1].contains("key-marker=k&upload-id-marker=u"));
}
