//! HTTP to stores and to public files: one request, the head of its answer, and a body whose bytes
//! are counted.
//!
//! Goals: no redirection is followed, for what signs a request belongs to one host; no proxy sees
//! what stays on this machine; a body that is shorter or longer than it should be is an error and
//! never an end; nothing of an address is shown but its host, because a signature is a secret.

mod streamed;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method};
use http_body::{Frame, SizeHint};
use reqwest::redirect::Policy;
use tokio::time::timeout;

use super::guard::{self, Guard};
use super::http::{is_here, tls};

pub(crate) use streamed::{Pieces, streamed};

/// Time in which a connection must come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Connections that are kept for the next request.
const IDLE_MAX: usize = 128;

/// Bytes of a body that a connection is given at once: what it takes shows that it moves.
const SLICE_BYTES: usize = 64 << 10;

/// One request.
#[derive(Clone)]
pub struct WebRequest {
    /// What is done.
    pub method: Method,
    /// Where, with its query; never shown.
    pub address: String,
    /// Its headers; `host` and `content-length` are set here.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl fmt::Debug for WebRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebRequest({}, {} bytes)", self.method, self.body.len())
    }
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// No connection.
    #[error("{host}: no connection: {reason}")]
    Unreached {
        /// Host and port.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// The certificate is not believed.
    #[error("{host}: {reason}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection ended, or what came is no HTTP.
    #[error("{host}: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// What happened.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("{host}: nothing came for {} s", .after.as_secs())]
    TimedOut {
        /// Host and port.
        host: String,
        /// How long.
        after: Duration,
    },
    /// The body is not as long as it should be.
    #[error("{host}: {came} bytes came where {expected} are due")]
    Length {
        /// Host and port.
        host: String,
        /// Bytes that were due at most.
        expected: u64,
        /// Bytes that came.
        came: u64,
    },
    /// No request can be made.
    #[error("{0}")]
    Unusable(&'static str),
}

/// Makes requests; clones share connections.
#[derive(Clone, Debug)]
pub struct Web {
    /// By whether the address is one of this machine or its link, which no proxy may see.
    elsewhere: reqwest::Client,
    near: reqwest::Client,
    stall: Duration,
    is_guarded: bool,
}

/// The head of an answer, and its body to come.
#[derive(Debug)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    host: String,
    stall: Duration,
    body: reqwest::Response,
}

impl Web {
    /// Silence of `stall` ends a request. Roots and proxies are those of the platforms' requests.
    ///
    /// # Errors
    /// Only where the system gives no randomness or no roots can be read at all.
    pub fn new(stall: Duration) -> Result<Self, WebError> {
        Self::with(stall, false)
    }

    /// The same for requests that another machine made: neither an address of the link nor one
    /// where a cloud tells a machine who it is is asked, whatever name leads there.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn guarded(stall: Duration) -> Result<Self, WebError> {
        Self::with(stall, true)
    }

    /// The same connections with another patience.
    #[must_use]
    pub fn patient_for(&self, stall: Duration) -> Self {
        Self { stall, ..self.clone() }
    }

    fn with(stall: Duration, is_guarded: bool) -> Result<Self, WebError> {
        let client = |near: bool| {
            let tls = tls().map_err(|_| WebError::Unusable("no version of TLS"))?;
            let builder = reqwest::Client::builder();
            let builder = if near { builder.no_proxy() } else { builder };
            let builder = if is_guarded { builder.dns_resolver(Guard) } else { builder };
            builder
                .tls_backend_preconfigured(tls)
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(CONNECT_WITHIN)
                .pool_max_idle_per_host(IDLE_MAX)
                .tcp_nodelay(true)
                .user_agent(concat!("xfer/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|_| WebError::Unusable("the TLS configuration is not taken"))
        };
        Ok(Self { elsewhere: client(false)?, near: client(true)?, stall, is_guarded })
    }

    /// The same by the socket of a program on this machine, whatever host an address names.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn over_socket(socket: &Path, stall: Duration) -> Result<Self, WebError> {
        let tls = tls().map_err(|_| WebError::Unusable("no version of TLS"))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(IDLE_MAX)
            .unix_socket(socket)
            .build()
            .map_err(|_| WebError::Unusable("the TLS configuration is not taken"))?;
        Ok(Self { elsewhere: client.clone(), near: client, stall, is_guarded: false })
    }

    /// Asks once; any status is an answer.
    ///
    /// # Errors
    /// As [`WebError`] says.
    pub async fn ask(&self, request: WebRequest) -> Result<WebAnswer, WebError> {
        let body = request.body.clone();
        self.ask_with(request, vec![body]).await
    }

    /// The same with a body of several pieces, in place of that of the request.
    ///
    /// # Errors
    /// As [`WebError`] says.
    pub async fn ask_with(
        &self,
        request: WebRequest,
        pieces: Vec<Bytes>,
    ) -> Result<WebAnswer, WebError> {
        let address = reqwest::Url::parse(&request.address)
            .map_err(|_| WebError::Unusable("the address cannot be read"))?;
        if !matches!(address.scheme(), "http" | "https") {
            return Err(WebError::Unusable("only http and https are spoken"));
        }
        if self.is_guarded && guard::address_of(&address).is_some_and(guard::is_forbidden) {
            return Err(WebError::Unusable(guard::FORBIDDEN));
        }
        let host = host_of(&address);
        let client = if is_near(&address) { &self.near } else { &self.elsewhere };
        let mut asked = reqwest::Request::new(request.method, address);
        *asked.headers_mut() = request.headers;
        let taken = Arc::new(AtomicUsize::new(0));
        let body = Slices::new(pieces, Arc::clone(&taken));
        if body.left > 0 {
            *asked.body_mut() = Some(reqwest::Body::wrap(body));
        } else if matches!(*asked.method(), Method::POST | Method::PUT) {
            // An empty body says nothing of its length by itself, and some refuse that.
            asked.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut sent = pin!(client.execute(asked));
        let mut seen = 0;
        let body = loop {
            if let Ok(sent) = timeout(self.stall, sent.as_mut()).await {
                break sent.map_err(|error| sort(&error, &host, self.stall))?;
            }
            // A long body on a slow way is no silence: as long as bytes leave, there is patience.
            let before = std::mem::replace(&mut seen, taken.load(Ordering::Relaxed));
            if before == seen {
                return Err(WebError::TimedOut { host, after: self.stall });
            }
        };
        let (status, headers) = (body.status().as_u16(), body.headers().clone());
        Ok(WebAnswer { status, headers, host, stall: self.stall, body })
    }
}

impl WebAnswer {
    /// One header as text; `None` where it is not there or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// As [`WebError`] says; an end before the announced length is one.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, WebError> {
        match timeout(self.stall, self.body.chunk()).await {
            Ok(piece) => piece.map_err(|error| sort(&error, &self.host, self.stall)),
            Err(_) => Err(WebError::TimedOut { host: self.host.clone(), after: self.stall }),
        }
    }

    /// A body of exactly so many bytes.
    ///
    /// # Errors
    /// As [`WebError`] says; another length is one.
    pub async fn exactly(mut self, length: usize) -> Result<Bytes, WebError> {
        let expected = length as u64;
        let short = |host: &str, came: usize| WebError::Length {
            host: host.to_owned(),
            expected,
            came: came as u64,
        };
        let mut whole = BytesMut::with_capacity(length);
        while let Some(piece) = self.piece().await? {
            if piece.len() > length - whole.len() {
                return Err(short(&self.host, whole.len() + piece.len()));
            }
            whole.extend_from_slice(&piece);
        }
        if whole.len() != length {
            return Err(short(&self.host, whole.len()));
        }
        Ok(whole.freeze())
    }

    /// The first bytes of a body, so many at most; what follows them is not read.
    ///
    /// # Errors
    /// As [`WebError`] says.
    pub async fn first(mut self, most: usize) -> Result<Bytes, WebError> {
        let mut first = BytesMut::new();
        while first.len() < most {
            let Some(piece) = self.piece().await? else { break };
            first.extend_from_slice(&piece[..piece.len().min(most - first.len())]);
        }
        Ok(first.freeze())
    }

    /// A body of at most so many bytes.
    ///
    /// # Errors
    /// As [`WebError`] says; a longer one is an error.
    pub async fn at_most(mut self, most: usize) -> Result<Bytes, WebError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            let came = whole.len() + piece.len();
            if came > most {
                let (expected, came) = (most as u64, came as u64);
                return Err(WebError::Length { host: self.host, expected, came });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// A body that tells how much of it a connection has taken.
struct Slices {
    rest: VecDeque<Bytes>,
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Slices {
    fn new(pieces: Vec<Bytes>, taken: Arc<AtomicUsize>) -> Self {
        let rest: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = rest.iter().map(Bytes::len).sum();
        Self { rest, left, taken }
    }
}

impl http_body::Body for Slices {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.rest.front_mut() else { return Poll::Ready(None) };
        let slice = piece.split_to(piece.len().min(SLICE_BYTES));
        if piece.is_empty() {
            self.rest.pop_front();
        }
        self.left -= slice.len();
        self.taken.fetch_add(slice.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// Exact, so that the length is announced: stores refuse a body of unknown length.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

/// Whether an address is one of this machine or its link, where a proxy would be asked for another
/// machine's keys, and could read them.
fn is_near(address: &reqwest::Url) -> bool {
    guard::address_of(address).is_some_and(guard::is_of_link) || is_here(address)
}

fn host_of(address: &reqwest::Url) -> String {
    let host = address.host_str().unwrap_or_default();
    match address.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What lies beneath says more than the outermost error, which repeats the address.
fn sort(error: &reqwest::Error, host: &str, stall: Duration) -> WebError {
    let host = host.to_owned();
    if error.is_timeout() && !error.is_connect() {
        return WebError::TimedOut { host, after: stall };
    }
    let causes = std::iter::successors(error.source(), |error: &&(dyn Error + 'static)| {
        let error: &(dyn Error + 'static) = *error;
        error.source()
    });
    if error
        .source()
        .is_some_and(|error| lies_within(error, |error| error.is::<guard::Forbidden>()))
    {
        return WebError::Unusable(guard::FORBIDDEN);
    }
    let untrusted = error.source().is_some_and(is_untrusted);
    let innermost = causes.last();
    let reason = innermost.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    match (untrusted, error.is_connect()) {
        (true, _) => WebError::Untrusted { host, reason },
        (false, true) => WebError::Unreached { host, reason },
        (false, false) => WebError::Broken { host, reason },
    }
}

fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    lies_within(error, |error| {
        let error = error.downcast_ref::<rustls::Error>();
        matches!(error, Some(rustls::Error::InvalidCertificate(_)))
    })
}

/// Looks into errors of I/O as well, which name what they wrap as no source of theirs.
fn lies_within(
    error: &(dyn Error + 'static),
    is_it: impl Fn(&(dyn Error + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if is_it(error) {
            return true;
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use http_body::Body;
    use rustls::CertificateError;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn what_no_proxy_may_see() {
        for (address, near) in [
            ("http://127.0.0.1:9/a", true),
            ("http://localhost/a", true),
            ("http://169.254.169.254/latest", true),
            ("http://169.254.170.2/v2", true),
            ("http://[fe80::1]/", true),
            ("http://[febf::1]/", true),
            ("http://[fd00:ec2::254]/latest", true),
            ("http://[fd00:ec2::23]/v1", true),
            ("http://[::ffff:169.254.169.254]/latest", true),
            ("http://[fec0::1]/", false),
            ("http://[fd00:ec2::1]/", false),
            ("http://10.0.0.1/", false),
            ("https://169.254.169.254.example/", false),
        ] {
            let parsed = reqwest::Url::parse(address).unwrap();
            assert_eq!(is_near(&parsed), near, "{address}");
        }
    }

    #[test]
    fn a_certificate_is_found_however_deep_it_lies() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let once = io::Error::new(io::ErrorKind::InvalidData, unknown());
        assert!(is_untrusted(&unknown()) && is_untrusted(&once));
        assert!(is_untrusted(&io::Error::other(once)));
        assert!(!is_untrusted(&io::Error::other(rustls::Error::DecryptError)));
        assert!(!is_untrusted(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn a_body_tells_how_much_was_taken() {
        let taken = Arc::new(AtomicUsize::new(0));
        let long = Bytes::from(vec![7; SLICE_BYTES + 1]);
        let pieces = vec![long, Bytes::new(), Bytes::from_static(b"ab")];
        let mut body = Slices::new(pieces, Arc::clone(&taken));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let all = SLICE_BYTES + 3;
        for (left, expected) in [(all, SLICE_BYTES), (3, SLICE_BYTES + 1), (2, all)] {
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            assert!(!body.is_end_stream());
            let polled = Pin::new(&mut body).poll_frame(&mut context);
            assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
            assert_eq!(taken.load(Ordering::Relaxed), expected);
        }
        assert!(body.is_end_stream());
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut context), Poll::Ready(None)));
    }

    /// Resolves every name as one that is refused.
    struct LedAstray;

    impl reqwest::dns::Resolve for LedAstray {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(std::future::ready(Err(guard::Forbidden.into())))
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_where_nobody_may_ask_says_so() {
        let inner = reqwest::Client::builder().no_proxy().dns_resolver(LedAstray);
        let inner = inner.tls_backend_preconfigured(tls().unwrap()).build().unwrap();
        let error = inner.get("http://name.invalid/").send().await.unwrap_err();
        let sorted = sort(&error, "name.invalid", Duration::ZERO);
        assert_eq!(sorted, WebError::Unusable(guard::FORBIDDEN));
        let guarded = Web::guarded(Duration::from_secs(60)).unwrap();
        let address = "http://169.254.169.254/".to_owned();
        let (method, headers, body) = (Method::GET, HeaderMap::new(), Bytes::new());
        let outcome = guarded.ask(WebRequest { method, address, headers, body }).await.map(drop);
        assert_eq!(outcome, Err(WebError::Unusable(guard::FORBIDDEN)));
    }

    #[tokio::test]
    async fn a_body_is_sent_with_its_length() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/a", listener.local_addr().unwrap());
        let length = 3 * SLICE_BYTES + 5;
        let store = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut came = Vec::new();
            let head = loop {
                assert!(stream.read_buf(&mut came).await.unwrap() > 0);
                if let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
            };
            while came.len() < head + length {
                assert!(stream.read_buf(&mut came).await.unwrap() > 0);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let head = String::from_utf8(came[..head].to_vec()).unwrap().to_ascii_lowercase();
            (head, came.len())
        };
        let body = Bytes::from(vec![7; length]);
        let request = WebRequest { method: Method::PUT, address, headers: HeaderMap::new(), body };
        let web = Web::new(Duration::from_secs(60)).unwrap();
        let (answer, (head, came)) = tokio::join!(web.ask(request), store);
        assert_eq!(answer.unwrap().status, 200);
        assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(came, head.len() + length);
    }

    #[tokio::test]
    async fn a_body_that_was_taken_and_is_not_answered_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/a", listener.local_addr().unwrap());
        let (method, headers, after) = (Method::PUT, HeaderMap::new(), Duration::from_millis(20));
        for body in [Bytes::new(), Bytes::from(vec![7; 2 * SLICE_BYTES])] {
            let (method, address, headers) = (method.clone(), address.clone(), headers.clone());
            let request = WebRequest { method, address, headers, body };
            let outcome = Web::new(after).unwrap().ask(request).await.map(drop);
            assert!(matches!(outcome, Err(WebError::TimedOut { .. })), "{outcome:?}");
        }
    }
}
