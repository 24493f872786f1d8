//! The records of one connection, which both halves of a stream share

use std::net::SocketAddr;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, PeerMisbehaved};

use super::error::TlsError;

/// The most payload that one record carries.
pub(super) const RECORD_BYTES: usize = 16 << 10;

/// The most bytes that a record has on the wire.
pub(super) const SEALED_RECORD_BYTES_MAX: usize = RECORD_BYTES + 256 + 5;

/// What sealing adds to a record: its head, its kind and its tag.
pub(super) const SEAL_BYTES: usize = 5 + 1 + 16;

/// Room for what rustls says before payload: a change of keys, an alert.
pub(super) const ASIDE_BYTES: usize = 256;

/// A rustls connection of either role
pub(super) trait Side: Send + Unpin + 'static {
    /// What rustls knows of the role
    type Data;

    /// Goes on with what came.
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

/// What the front of the received bytes held
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Payload, which was taken
    Payload,
    /// The peer's word that nothing more comes
    Ended,
    /// Not a whole record
    Nothing,
}

/// The records of a connection whose handshake is over
///
/// Invariant: no message of rustls's own lies half within bytes that were opened, so that sealing
/// may go on without them.
pub(super) struct Records<S> {
    connection: S,
    address: SocketAddr,
    /// What rustls said unasked; it goes out before the next payload.
    aside: Vec<u8>,
    /// Once set, nothing is opened or sealed.
    failed: Option<Error>,
    has_ended: bool,
}

impl<S: Side> Records<S> {
    pub(super) fn new(connection: S, address: SocketAddr) -> Self {
        Self { connection, address, aside: Vec::new(), failed: None, has_ended: false }
    }

    /// The error of a stream that ends here and now.
    pub(super) fn truncated(&self) -> TlsError {
        TlsError::Truncated { address: self.address }
    }

    /// Opens the first record of `bytes`, and hands its payload to `take`. How many bytes were used
    /// up comes first.
    pub(super) fn open(
        &mut self,
        bytes: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> (usize, Result<Opened, TlsError>) {
        let mut used = 0;
        loop {
            let (count, opened) = self.go_on(&mut bytes[used..], &mut take);
            used += count;
            match opened {
                Ok(Some(opened)) => return (used, Ok(opened)),
                Ok(None) => {}
                Err(error) => return (used, Err(self.fail(error))),
            }
        }
    }

    /// One step of [`Self::open`]; nothing where another must follow.
    fn go_on(
        &mut self,
        bytes: &mut [u8],
        take: &mut impl FnMut(&[u8]),
    ) -> (usize, Result<Option<Opened>, Error>) {
        if let Some(error) = &self.failed {
            return (0, Err(error.clone()));
        }
        if self.has_ended {
            return (0, Ok(Some(Opened::Ended)));
        }
        let UnbufferedStatus { mut discard, state, .. } = self.connection.process(bytes);
        let opened = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            take(record.payload);
                        }
                        Err(error) => return (discard, Err(error)),
                    }
                }
                Ok(Some(Opened::Payload))
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                self.has_ended = true;
                Ok(Some(Opened::Ended))
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, &mut self.aside);
                Ok(None)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(None)
            }
            Ok(_) => Ok(Some(Opened::Nothing)),
            Err(error) => Err(error),
        };
        if matches!(opened, Ok(Some(Opened::Nothing))) && holds_record(&bytes[discard..]) {
            return (discard, Err(in_pieces()));
        }
        (discard, opened)
    }

    /// Seals payload into `sealed`, which has room for it and [`ASIDE_BYTES`]; gives the length.
    pub(super) fn seal(&mut self, payload: &[u8], sealed: &mut [u8]) -> Result<usize, TlsError> {
        self.write(sealed, |traffic, sealed| traffic.encrypt(payload, sealed))
    }

    /// Seals the word that nothing more comes.
    pub(super) fn seal_end(&mut self, sealed: &mut [u8]) -> Result<usize, TlsError> {
        self.write(sealed, |traffic, sealed| traffic.queue_close_notify(sealed))
    }

    fn write(
        &mut self,
        sealed: &mut [u8],
        seal: impl FnOnce(&mut WriteTraffic<'_, S::Data>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, TlsError> {
        if let Some(error) = &self.failed {
            return Err(TlsError::failed(self.address, error.clone()));
        }
        loop {
            match self.connection.process(&mut []).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let aside = self.aside.len();
                    let Some((before, rest)) = sealed.split_at_mut_checked(aside) else {
                        return Err(self.fail(Error::EncryptError));
                    };
                    before.copy_from_slice(&self.aside);
                    return match seal(&mut traffic, rest) {
                        Ok(length) => {
                            self.aside.clear();
                            Ok(aside + length)
                        }
                        Err(_) => Err(self.fail(Error::EncryptError)),
                    };
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.aside),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.has_ended = true,
                Ok(_) => return Err(self.fail(Error::EncryptError)),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Ends the connection for both halves.
    fn fail(&mut self, error: Error) -> TlsError {
        self.failed = Some(error.clone());
        TlsError::failed(self.address, error)
    }
}

/// Appends what rustls wants to say.
pub(super) fn encode<Data>(mut data: EncodeTlsData<'_, Data>, output: &mut Vec<u8>) {
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

/// Whether bytes begin with a whole record.
pub(super) fn holds_record(bytes: &[u8]) -> bool {
    let Some((&[_, _, _, high, low], rest)) = bytes.split_first_chunk() else { return false };
    rest.len() >= usize::from(u16::from_be_bytes([high, low]))
}

/// The error of a record that was left where it lies: it holds the first part of a message of
/// rustls's own, which no peer of ours has a reason to cut.
pub(super) fn in_pieces() -> Error {
    Error::PeerMisbehaved(PeerMisbehaved::MessageInterleavedWithHandshakeMessage)
}
