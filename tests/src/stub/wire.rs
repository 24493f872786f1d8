//! The stub's frames, and the controller's end of a session

use std::io::{self, Read, Write};

use xfer_protocol::codec::{FrameHead, HEAD_BYTES, encode};
use xfer_protocol::fault::Fault;
use xfer_protocol::hello::{Hello, HelloProgress, HelloReader, Role, SessionId};
use xfer_protocol::message::{Message, Reply, Request, RequestId};

/// A frame with its payload
pub fn frame(message: &Message, payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode(message, payload.len()).expect("a message that may be");
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame whose header ends otherwise: its last bytes are replaced by as many or other ones
pub(super) fn ending(frame: &[u8], replaced: usize, by: &[u8]) -> Vec<u8> {
    let header = [&frame[HEAD_BYTES..frame.len() - replaced], by].concat();
    let length = u32::try_from(header.len()).expect("short");
    [&length.to_le_bytes()[..], &[0; 4], &header].concat()
}

/// Bytes from their hexadecimal
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c.to_digit(16).expect("hexadecimal")).expect("a digit"))
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Waits for the other side's greeting and answers it
pub(super) fn greet(
    input: &mut impl Read,
    output: &mut impl Write,
    features: u64,
) -> io::Result<()> {
    let theirs = read_hello(input)?;
    let ours = Hello { features, ..Hello::new(Role::Agent, theirs.session, theirs.stream) };
    output.write_all(&ours.encode())?;
    output.flush()
}

fn read_hello(input: &mut impl Read) -> io::Result<Hello> {
    let mut reader = HelloReader::new();
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match reader.read(&byte) {
            Ok(HelloProgress::Complete { hello, .. }) => return Ok(hello),
            Ok(_) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

pub(super) fn next_request(input: &mut impl Read) -> io::Result<(RequestId, Request)> {
    match next_message(input)? {
        Message::Request(id, request)
        | Message::EncodedRequest(id, request, _)
        | Message::AcceptingRequest(id, request, _) => Ok((id, request)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn next_message(input: &mut impl Read) -> io::Result<Message> {
    let mut head = [0; HEAD_BYTES];
    input.read_exact(&mut head)?;
    let head = FrameHead::parse(&head).map_err(io::Error::other)?;
    let mut header = vec![0; head.header_length()];
    input.read_exact(&mut header)?;
    input.read_exact(&mut vec![0; head.payload_length()])?;
    head.decode(&header).map_err(io::Error::other)
}

/// The controller's end of a session with a real agent
#[derive(Debug)]
pub struct Controller<R, W> {
    input: R,
    output: W,
    next: u64,
}

impl<R: Read, W: Write> Controller<R, W> {
    /// Reads past the agent's mark and greets it
    pub fn greet(mut input: R, mut output: W, mark: usize, session: [u8; 16]) -> io::Result<Self> {
        input.read_exact(&mut vec![0; mark])?;
        output.write_all(&Hello::new(Role::Controller, SessionId(session), 0).encode())?;
        output.flush()?;
        read_hello(&mut input)?;
        Ok(Self { input, output, next: 0 })
    }

    /// Asks, and waits for the answer
    pub fn ask(&mut self, request: Request, payload: &[u8]) -> io::Result<Result<Reply, Fault>> {
        self.next += 1;
        self.send_raw(&frame(&Message::Request(RequestId(self.next), request), payload))?;
        self.answer()
    }

    /// Sends bytes that may be no frame
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }

    /// Its two halves, for asking and for answers
    pub fn split(self) -> (Controller<io::Empty, W>, Controller<R, io::Sink>) {
        let Self { input, output, next } = self;
        let asking = Controller { input: io::empty(), output, next };
        (asking, Controller { input, output: io::sink(), next })
    }

    /// The next answer; an error where there will be none
    pub fn answer(&mut self) -> io::Result<Result<Reply, Fault>> {
        match next_message(&mut self.input)? {
            Message::Reply(_, reply) => Ok(reply),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
