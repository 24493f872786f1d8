use std::io;

use super::super::http::{Framing, ask};
use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A store that answers `GET` with what it was asked for and how often, and keeps the rest
#[derive(Debug, Default)]
struct Echo {
    asked: Mutex<Vec<Message>>,
}

fn echo(state: &Echo, stream: TcpStream) {
    let mut reader = http::reader(stream.try_clone().expect("a socket"));
    let mut writer = stream;
    while let Ok(Some(mut request)) = Message::read(&mut reader) {
        let framing = request.framing(Framing::Length(0));
        let read = http::body(&mut reader, framing, |piece| {
            request.body.extend_from_slice(piece);
            Ok(())
        });
        if read.is_err() {
            return;
        }
        let is_bodiless = request.method() == "HEAD";
        let number = {
            let mut asked = lock(&state.asked);
            asked.push(request.clone());
            asked.len()
        };
        let body = format!("{number} {}", request.target());
        let answer = Message::answer(200, body).with("etag", "\"of the store\"");
        if answer.send(&mut writer, is_bodiless).is_err() {
            return;
        }
    }
}

struct Bench {
    store: Arc<Echo>,
    proxy: Faults,
}

impl Bench {
    fn new() -> Self {
        let store = Arc::new(Echo::default());
        let proxy = Faults::before(http::listen(&store, echo).port());
        Self { store, proxy }
    }

    fn get(&self, target: &str) -> io::Result<Message> {
        ask(self.proxy.port(), &Message::request("GET", target, ""))
    }

    fn put(&self, target: &str, body: &str) -> io::Result<Message> {
        ask(self.proxy.port(), &Message::request("PUT", target, body))
    }

    fn heard(&self) -> usize {
        lock(&self.store.asked).len()
    }
}

#[test]
fn what_no_rule_means_passes_as_it_is() {
    let bench = Bench::new();
    let fault = bench.proxy.rule(When::part_number(7), Action::Unheard);
    assert_eq!(bench.put("/b/k?partNumber=8&uploadId=u", "body").expect("an answer").status(), 200);
    assert_eq!(bench.get("/b/k").expect("an answer").body, b"2 /b/k");
    assert_eq!(lock(&bench.store.asked)[0].body, b"body");
    assert_eq!(fault.fired(), 0);
    let passed = bench.proxy.passed();
    assert_eq!((passed[0].sent, passed[0].status), (4, Some(200)));
}

#[test]
fn only_the_requests_that_are_meant_are_answered_in_its_place() {
    let bench = Bench::new();
    let fault = bench.proxy.rule(When::get().of("/k").only(2..=3), Action::refuse(503, "SlowDown"));
    let statuses: Vec<_> = ["/b/k", "/b/other", "/b/k", "/b/k", "/b/k"]
        .map(|target| bench.get(target).expect("an answer").status())
        .to_vec();
    assert_eq!(statuses, [200, 200, 503, 503, 200]);
    assert_eq!((fault.fired(), bench.heard()), (2, 3));
}

#[test]
fn a_rule_tells_requests_by_their_query() {
    let means =
        |when: When, method: &str, target: &str| when.means(&Message::request(method, target, ""));
    assert!(means(When::complete(), "POST", "/b/k?X-Amz-Date=1&uploadId=u"));
    assert!(!means(When::complete(), "POST", "/b/k?uploads"));
    assert!(means(When::begin(), "POST", "/b/k?uploads="));
    assert!(means(When::list(), "GET", "/b?list-type=2&prefix=a%2F"));
    assert!(!means(When::get(), "GET", "/b?list-type=2"));
    assert!(means(When::part(), "PUT", "/b/k?partNumber=1&uploadId=u"));
    assert!(!means(When::put(), "PUT", "/b/k?partNumber=1&uploadId=u"));
    assert!(means(When::get().of("/a b"), "GET", "/b/a%20b"));
}

#[test]
fn a_reply_is_lost_and_a_request_unheard() {
    let bench = Bench::new();
    let lost = bench.proxy.rule(When::put().once(), Action::Lost);
    assert!(bench.put("/b/k", "one").is_err());
    assert_eq!((lost.fired(), bench.heard()), (1, 1));
    let unheard = bench.proxy.rule(When::get().once(), Action::Unheard);
    assert!(bench.get("/b/k").is_err());
    assert_eq!((unheard.fired(), bench.heard()), (1, 1));
    let instead = bench.proxy.rule(When::get(), Action::Instead(Message::answer(200, "<Error>")));
    assert_eq!(bench.get("/b/k").expect("an answer").body, b"<Error>");
    assert_eq!((instead.fired(), bench.heard()), (1, 2));
}

#[test]
fn bodies_are_cut_in_each_way() {
    let bench = Bench::new();
    let cut = |how| {
        bench.proxy.forget();
        let fault = bench.proxy.rule(When::get(), Action::Cut(3, how));
        let answer = bench.get("/b/k");
        assert_eq!(fault.fired(), 1);
        answer
    };
    assert!(cut(Cut::Reset).is_err());
    assert!(cut(Cut::Closed).is_err());
    let answer = cut(Cut::Length).expect("an answer");
    assert_eq!((answer.get("content-length"), answer.body.len()), (Some("3"), 3));
    let answer = cut(Cut::Chunks).expect("an answer");
    assert_eq!((answer.get("transfer-encoding"), answer.body.len()), (Some("chunked"), 3));
    let answer = cut(Cut::Unframed).expect("an answer");
    assert_eq!((answer.get("content-length"), answer.body.len()), (None, 3));
}

#[test]
fn answers_and_requests_are_changed() {
    let bench = Bench::new();
    bench.proxy.rule(When::get().only(1..=1), Action::field("etag", "\"other\""));
    bench.proxy.rule(When::get().only(2..=2), Action::without_field("etag"));
    bench.proxy.rule(When::get().only(3..=3), Action::flip(0));
    bench.proxy.rule(When::put(), Action::flip_sent(100));
    bench.proxy.rule(When::head(), Action::redirect(307, "http://127.0.0.2/"));
    assert_eq!(bench.get("/b/k").expect("an answer").get("etag"), Some("\"other\""));
    assert_eq!(bench.get("/b/k").expect("an answer").get("etag"), None);
    assert_eq!(bench.get("/b/k").expect("an answer").body, b"2 /b/k");
    bench.put("/b/k", "abc").expect("an answer");
    assert_eq!(lock(&bench.store.asked)[3].body, b"abb");
    let head = ask(bench.proxy.port(), &Message::request("HEAD", "/b/k", "")).expect("an answer");
    assert_eq!((head.status(), head.get("location")), (307, Some("http://127.0.0.2/")));
}

#[test]
fn an_earlier_answer_comes_again() {
    let bench = Bench::new();
    let stale = bench.proxy.rule(When::list().only(2..=3), Action::Again(1));
    let bodies: Vec<_> = (0..4)
        .map(|_| bench.get("/b?list-type=2").expect("an answer").body)
        .map(|body| String::from_utf8_lossy(&body[..1]).into_owned())
        .collect();
    assert_eq!((bodies.concat().as_str(), stale.fired()), ("1114", 2));
}

#[test]
fn what_is_held_waits_until_it_is_told() {
    let bench = Bench::new();
    let held = bench.proxy.rule(When::get().once(), Action::Hold);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.get("/b/slow").expect("an answer"));
        assert!(held.wait(1, SOON));
        assert_eq!(bench.heard(), 0);
        assert_eq!(bench.get("/b/quick").expect("an answer").body, b"1 /b/quick");
        held.release();
        assert_eq!(waiting.join().expect("an answer").body, b"2 /b/slow");
    });
    assert!(!held.wait(2, Duration::from_millis(20)));
}
