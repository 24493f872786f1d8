//! The handshake, with little memory for somebody who has not proven anything yet

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{Error, ExtractedSecrets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::TlsError;
use super::records::{Opener, Sealer, Succession};

/// Holds what either side says in a handshake with raw keys several times over.
const HANDSHAKE_BYTES_MAX: usize = 8 << 10;

/// A rustls connection of either role
pub(super) trait Side {
    /// What rustls knows of the role
    type Data: Send + 'static;

    /// Goes on with what came.
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// The keys, once the handshake is over.
    fn into_secrets(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), Error>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn into_secrets(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), Error> {
        self.dangerous_into_kernel_connection()
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn into_secrets(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), Error> {
        self.dangerous_into_kernel_connection()
    }
}

/// What a handshake leads to
pub(super) struct Begun {
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    pub(super) early: Early,
}

/// What the peer said at once behind its handshake
#[derive(Default)]
pub(super) struct Early {
    /// Payload that rustls has opened
    pub(super) payload: Vec<u8>,
    /// After that payload nothing more comes.
    pub(super) has_ended: bool,
    /// The first part of a record
    pub(super) sealed: Vec<u8>,
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

/// Leads a handshake to its end. A peer that is refused is told why.
pub(super) async fn shake_hands<S: Side>(
    mut connection: S,
    socket: &mut TcpStream,
) -> Result<Begun, Failure> {
    let (mut input, mut output) = (Input::new(), Vec::new());
    let mut early = Early::default();
    let led = lead(&mut connection, socket, &mut input, &mut output, &mut early).await;
    if matches!(led, Err(Failure::Tls(_))) {
        // rustls finds the bytes that it had when it failed: it counts on them.
        while let Ok(Step::Again) = go_on(&mut connection, &mut input, &mut output, &mut early) {}
    }
    let said = socket.write_all(&output).await;
    led?;
    said.map_err(Failure::Socket)?;
    early.sealed = input.into_rest();
    let (secrets, successor) = connection.into_secrets().map_err(Failure::Tls)?;
    let succession = Succession::new(successor);
    let sealer = Sealer::new(secrets.tx, Arc::clone(&succession)).map_err(Failure::Tls)?;
    let opener = Opener::new(secrets.rx, succession).map_err(Failure::Tls)?;
    Ok(Begun { sealer, opener, early })
}

/// What is to be done before rustls goes on
enum Step {
    Again,
    Send,
    Receive,
    Done,
}

async fn lead<S: Side>(
    connection: &mut S,
    socket: &mut TcpStream,
    input: &mut Input,
    output: &mut Vec<u8>,
    early: &mut Early,
) -> Result<(), Failure> {
    loop {
        match go_on(connection, input, output, early).map_err(Failure::Tls)? {
            Step::Again => {}
            Step::Send => {
                let said = socket.write_all(output).await;
                output.clear();
                said.map_err(Failure::Socket)?;
            }
            Step::Receive => input.receive(socket).await?,
            Step::Done => return Ok(()),
        }
    }
}

/// One step of rustls's, and what comes next.
fn go_on<S: Side>(
    connection: &mut S,
    input: &mut Input,
    output: &mut Vec<u8>,
    early: &mut Early,
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
            while let Some(Ok(record)) = traffic.next_record() {
                discard += record.discard;
                early.payload.extend_from_slice(record.payload);
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            early.has_ended = true;
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
        Ok(_) => Err(Error::HandshakeNotComplete),
        Err(error) => Err(error),
    };
    input.discard(discard);
    step
}

/// Appends what rustls wants to say.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, output: &mut Vec<u8>) {
    let start = output.len();
    loop {
        match data.encode(&mut output[start..]) {
            Ok(length) => return output.truncate(start + length),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                output.resize(start + required_size, 0);
            }
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
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
