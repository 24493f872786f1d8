//! HTTP/1.1 as both the discarding store and the faulty proxy speak it

use std::io::{self, BufRead, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Lines of a head at most, and bytes of one
const LINES_MAX: usize = 200;
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a body taken at once
const PIECE: usize = 128 << 10;

/// A request or an answer
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line
    pub first: String,
    /// Names as they came, and values
    pub fields: Vec<(String, String)>,
    /// What follows, where it was read
    pub body: Vec<u8>,
}

/// How the end of a body is known
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

impl Message {
    /// An answer with that status and body
    pub fn answer(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { first: format!("HTTP/1.1 {status} x"), fields: Vec::new(), body: body.into() }
    }

    /// An error as S3 tells it
    pub fn refusal(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>of a test</Message><RequestId>0</RequestId></Error>"
        );
        Self::answer(status, body).with("content-type", "application/xml")
    }

    /// The same with a field
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// The field's value
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1.as_str())
    }

    /// Has the field, in place of any other of that name
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Has no such field
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|field| !field.0.eq_ignore_ascii_case(name));
    }

    /// Such as `GET`, of a request
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// Path and query, of a request
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The path as it was sent, of a request
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The value of a name in the query, decoded; empty where it has none
    pub fn asks(&self, name: &str) -> Option<String> {
        let query = self.target().split_once('?')?.1;
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(known, _)| decoded(known) == name).map(|(_, value)| decoded(value))
    }

    /// The status, of an answer
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Without its body; `None` at the end of the connection
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut message = Self::default();
        for number in 0..LINES_MAX {
            let line = line(from)?;
            match (line, number) {
                (None, 0) => return Ok(None),
                (Some(line), 0) => message.first = line,
                (Some(line), _) if line.is_empty() => return Ok(Some(message)),
                (Some(line), _) => match line.split_once(':') {
                    Some((name, value)) => {
                        message.fields.push((name.to_owned(), value.trim().to_owned()));
                    }
                    None => return Err(Error::new(ErrorKind::InvalidData, line)),
                },
                (None, _) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Err(Error::new(ErrorKind::InvalidData, "too many lines"))
    }

    /// How the body behind a head ends; `other` where nothing says so
    pub(super) fn framing(&self, other: Framing) -> Framing {
        let coding = self.get("transfer-encoding").unwrap_or_default().to_ascii_lowercase();
        match self.get("content-length").and_then(|length| length.parse().ok()) {
            _ if coding.ends_with("chunked") => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => other,
        }
    }

    /// The head as it is sent
    pub(super) fn head(&self) -> Vec<u8> {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let text = format!("{}\r\n{}\r\n", self.first, fields.collect::<String>());
        text.into_bytes()
    }

    /// Sends all of it, with the length that its body has
    pub(super) fn send(&self, to: &mut impl Write, is_bodiless: bool) -> io::Result<()> {
        let mut whole = self.clone();
        whole.remove("transfer-encoding");
        if !(is_bodiless && whole.get("content-length").is_some()) {
            whole.set("content-length", self.body.len().to_string());
        }
        let mut bytes = whole.head();
        if !is_bodiless {
            bytes.extend_from_slice(&self.body);
        }
        to.write_all(&bytes)
    }
}

fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        let is_end = line.is_empty();
        return if is_end { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
    }
    let text = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
    Ok(Some(text))
}

/// Reads a body piece by piece, and returns how many bytes it had
pub(super) fn body(
    from: &mut impl BufRead,
    framing: Framing,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    match framing {
        Framing::Length(length) => exactly(from, length, &mut each),
        Framing::UntilEnd => {
            let mut total = 0;
            loop {
                let piece = from.fill_buf()?;
                let count = piece.len();
                if count == 0 {
                    return Ok(total);
                }
                each(piece)?;
                from.consume(count);
                total += count as u64;
            }
        }
        Framing::Chunked => {
            let mut total = 0;
            loop {
                let text = line(from)?.ok_or(ErrorKind::UnexpectedEof)?;
                let digits = text.split(';').next().unwrap_or_default().trim();
                let length = u64::from_str_radix(digits, 16).map_err(Error::other)?;
                if length == 0 {
                    while line(from)?.is_some_and(|line| !line.is_empty()) {}
                    return Ok(total);
                }
                total += exactly(from, length, &mut each)?;
                line(from)?;
            }
        }
    }
}

fn exactly(
    from: &mut impl BufRead,
    length: u64,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut left = length;
    while left > 0 {
        let piece = from.fill_buf()?;
        let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        each(&piece[..count])?;
        from.consume(count);
        left -= count as u64;
    }
    Ok(length)
}

/// Percent-decoded, and of what is no UTF-8, what can be shown
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A buffered reader of what comes
pub(super) fn reader(stream: TcpStream) -> io::BufReader<TcpStream> {
    io::BufReader::with_capacity(PIECE, stream)
}

/// Ends a connection so that who waits on the other side learns of it as of a failure
pub(super) fn reset(stream: &TcpStream) {
    let at_once = Some(Duration::ZERO);
    let _gone = rustix::net::sockopt::set_socket_linger(stream, at_once);
}

/// Accepts connections on a free port of 127.0.0.1, each in a thread of its own, for as long as
/// somebody holds what answers
pub(super) fn listen<S: Send + Sync + 'static>(
    answers: &Arc<S>,
    serve: impl Fn(&S, TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind to a free port");
    let address = listener.local_addr().expect("an address");
    let (answers, serve) = (Arc::downgrade(answers), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Some(answers) = Weak::upgrade(&answers) else { return };
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                drop(stream.set_nodelay(true));
                serve(&answers, stream);
            });
        }
    });
    address
}

/// Asks what answers on that port of this machine, on a connection of its own
pub fn ask(port: u16, request: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut whole = request.clone();
    if whole.get("host").is_none() {
        whole.set("host", format!("127.0.0.1:{port}"));
    }
    whole.set("connection", "close");
    whole.send(&mut stream, false)?;
    let mut from = reader(stream);
    let mut answer = Message::read(&mut from)?.ok_or(ErrorKind::UnexpectedEof)?;
    let is_bodiless = request.method() == "HEAD" || answer.status() == 204;
    let framing = if is_bodiless { Framing::Length(0) } else { answer.framing(Framing::UntilEnd) };
    body(&mut from, framing, |piece| {
        answer.body.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(answer)
}

impl Message {
    /// A request
    pub fn request(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Self {
        let first = format!("{method} {target} HTTP/1.1");
        Self { first, fields: Vec::new(), body: body.into() }
    }
}
