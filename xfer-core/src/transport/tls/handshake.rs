//! The handshake, with little memory for somebody who has not proven anything yet

use std::io;
use std::net::SocketAddr;

use rustls::Error;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::TlsError;
use super::records::{Side, encode, holds_record, in_pieces};

/// Holds what either side says in a handshake with raw keys several times over.
const HANDSHAKE_BYTES_MAX: usize = 8 << 10;

/// A connection whose handshake is over
pub(super) struct Begun<S> {
    pub(super) connection: S,
    /// Payload that has been opened already
    pub(super) opened: Vec<u8>,
    /// Received, and not yet opened
    pub(super) unopened: Vec<u8>,
}

/// Why a handshake did not end well
pub(super) enum Failure {
    Tls(Error),
    Socket(io::Error),
}

impl Failure {
    pub(super) fn at(self, address: SocketAddr) -> TlsError {
        match self {
            Self::Tls(error) => TlsError::failed(address, error),
            Self::Socket(cause) => TlsError::Broken { address, cause },
        }
    }
}

/// What is to be done before rustls goes on
enum Step {
    Again,
    Send,
    Receive,
    Done(Vec<u8>),
}

/// Leads a handshake to its end. A peer that is refused is told why.
pub(super) async fn shake_hands<S: Side>(
    mut connection: S,
    socket: &mut TcpStream,
) -> Result<Begun<S>, Failure> {
    let (mut input, mut output) = (Input::new(), Vec::new());
    let outcome = lead(&mut connection, socket, &mut input, &mut output).await;
    if matches!(outcome, Err(Failure::Tls(_))) {
        // rustls has the bytes before it that it had when it failed: it counts on them.
        while let Ok(Step::Again) = go_on(&mut connection, &mut input, &mut output) {}
    }
    let said = socket.write_all(&output).await;
    let opened = outcome?;
    said.map_err(Failure::Socket)?;
    Ok(Begun { connection, opened, unopened: input.into_rest() })
}

/// Gives payload that was opened meanwhile.
async fn lead<S: Side>(
    connection: &mut S,
    socket: &mut TcpStream,
    input: &mut Input,
    output: &mut Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    loop {
        match go_on(connection, input, output).map_err(Failure::Tls)? {
            Step::Again => {}
            Step::Send => {
                let said = socket.write_all(output).await;
                output.clear();
                said.map_err(Failure::Socket)?;
            }
            Step::Receive => input.receive(socket).await?,
            Step::Done(opened) => return Ok(opened),
        }
    }
}

/// One step of rustls's, and what comes next.
fn go_on<S: Side>(
    connection: &mut S,
    input: &mut Input,
    output: &mut Vec<u8>,
) -> Result<Step, Error> {
    let UnbufferedStatus { mut discard, state, .. } = connection.process(input.held());
    let step = match state {
        Ok(ConnectionState::EncodeTlsData(data)) => {
            encode(data, output);
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Send)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Receive),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut opened = Vec::new();
            while let Some(Ok(record)) = traffic.next_record() {
                discard += record.discard;
                opened.extend_from_slice(record.payload);
            }
            Ok(Step::Done(opened))
        }
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done(Vec::new())),
        Ok(_) => Err(Error::HandshakeNotComplete),
        Err(error) => Err(error),
    };
    input.discard(discard);
    let is_over = matches!(&step, Ok(Step::Done(opened)) if opened.is_empty());
    if is_over && holds_record(input.held()) {
        return Err(in_pieces());
    }
    step
}

/// What came and was not used up
struct Input {
    bytes: Vec<u8>,
    length: usize,
}

impl Input {
    fn new() -> Self {
        Self { bytes: vec![0; HANDSHAKE_BYTES_MAX], length: 0 }
    }

    fn held(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    fn discard(&mut self, count: usize) {
        self.bytes.copy_within(count..self.length, 0);
        self.length -= count;
    }

    async fn receive(&mut self, socket: &mut TcpStream) -> Result<(), Failure> {
        let room = &mut self.bytes[self.length..];
        if room.is_empty() {
            return Err(Failure::Tls(Error::PeerSentOversizedRecord));
        }
        let read = socket.read(room).await.map_err(Failure::Socket)?;
        if read == 0 {
            return Err(Failure::Socket(io::ErrorKind::UnexpectedEof.into()));
        }
        self.length += read;
        Ok(())
    }

    fn into_rest(mut self) -> Vec<u8> {
        self.bytes.truncate(self.length);
        self.bytes
    }
}
