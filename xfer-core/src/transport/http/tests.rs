use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Answers one request with these bytes, and tells what was asked.
async fn asked(said: Vec<u8>, stays: bool, limit: Duration) -> (Result<Answer, HttpError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        // Whoever has heard enough hangs up.
        let _heard = stream.write_all(&said).await;
        if stays {
            let _ended = stream.read_buf(&mut request).await;
        }
        String::from_utf8(request).unwrap()
    });
    let ask = Ask { method: Method::Get, path: "/a/", query: &[("b", "{c d}".into())], body: None };
    let key = Bearer::new(" k3y\n").unwrap();
    let base = Base::parse(&base).unwrap();
    let answered = Http::to(&base).unwrap().ask(&base, &key, &ask, limit).await;
    (answered, serving.await.unwrap())
}

async fn answered(said: &str) -> Result<Answer, HttpError> {
    asked(said.as_bytes().to_vec(), false, LIMIT).await.0
}

#[tokio::test]
async fn a_request_carries_its_key_and_its_answer_comes_whole() {
    let said = "HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 3\r\n\r\nabc";
    let (answered, request) = asked(said.into(), false, LIMIT).await;
    let answered = answered.unwrap();
    assert_eq!((answered.status, &answered.body[..]), (429, &b"abc"[..]));
    assert_eq!(answered.retry_after, Some(Duration::from_secs(7)));
    assert!(request.starts_with("GET /prefix/a/?b=%7Bc+d%7D HTTP/1.1\r\n"), "{request}");
    assert!(request.to_ascii_lowercase().contains("authorization: bearer k3y\r\n"), "{request}");
}

/// Rows: B-A10, B-A11.
#[tokio::test]
async fn what_is_no_plain_answer_is_refused() {
    for status in [301, 302, 303, 307, 308] {
        let said = format!("HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\n\r\n");
        let error = answered(&said).await.unwrap_err();
        assert!(matches!(error, HttpError::Redirected(code) if code == status), "{error}");
    }
    let coded = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x1f";
    assert!(matches!(answered(coded).await, Err(HttpError::Coded)));
    for said in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "not http at all\r\n\r\n",
        "",
    ] {
        assert!(matches!(answered(said).await, Err(HttpError::Broken(_))), "{said:?}");
    }
    for after in ["-1", "Wed, 21 Oct 2015 07:28:00 GMT", "1.5", ""] {
        let said = format!("HTTP/1.1 429 x\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(answered(&said).await.unwrap().retry_after, None, "{after:?}");
    }
}

/// Rows: B-A11.
#[tokio::test]
async fn an_answer_without_end_ends_here() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(ANSWER_BYTES_MAX + 1024, b'a');
    let (answered, _) = asked(endless, false, LIMIT).await;
    assert!(matches!(answered, Err(HttpError::TooLong)), "{answered:?}");
    let slow = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec();
    let (answered, _) = asked(slow, true, Duration::from_millis(300)).await;
    assert!(matches!(answered, Err(HttpError::TimedOut(_))), "{answered:?}");
}

#[tokio::test]
async fn a_key_leaves_in_the_clear_to_this_machine_alone() {
    for text in ["https://a.example", "http://127.0.0.1:80/x", "http://[::1]/", "http://localhost"]
    {
        assert!(Base::parse(text).is_some(), "{text}");
    }
    for text in [
        "http://a.example",
        "http://127.0.0.1.example",
        "https://u:p@a.example",
        "https://a.example?x=1",
        "ftp://127.0.0.1",
        "a.example",
        "",
    ] {
        assert!(Base::parse(text).is_none(), "{text}");
    }
    assert_eq!(Base::parse("https://a.example/b").unwrap().place(), "a.example");
    let key = Bearer::new("secret").unwrap();
    assert_eq!(format!("{key:?}"), "Bearer(…)");
    assert_eq!(Bearer::new("a\nb"), None);
    assert_eq!(Bearer::new(" \n"), None);
}
