//! Records of TLS 1.3 (RFC 8446 §5), sealed and opened where they lie
//!
//! rustls makes the handshake and every key; what is left to do for a record is one pass of the
//! cipher. Done here it needs no copy of its own, and neither direction waits for the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::kernel::KernelConnection;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, HandshakeType, PeerMisbehaved,
};

/// The most payload that one record carries.
pub(super) const RECORD_BYTES: usize = 16 << 10;

/// The most bytes that a record has on the wire.
pub(super) const SEALED_RECORD_BYTES_MAX: usize = HEAD_BYTES + BODY_BYTES_MAX;

/// What sealing adds to a record: its head, its kind and its tag.
pub(super) const SEAL_BYTES: usize = HEAD_BYTES + 1 + TAG_BYTES;

/// Room for what goes beside payload: changes of keys, and the word that nothing more comes.
pub(super) const ASIDE_BYTES: usize = 1 << 10;

/// Records after which a key is changed: half of what AES-GCM may seal with one in TLS 1.3
/// (RFC 8446 §5.5 and rustls have it at 2^24). Tests come past it.
const RECORDS_PER_KEY: u64 = if cfg!(test) { 64 } else { 1 << 23 };

const HEAD_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
const BODY_BYTES_MAX: usize = RECORD_BYTES + 256;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const PAYLOAD: u8 = 23;

/// A message that changes the sender's key; its last byte says whether the other is asked for the
/// same.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// A warning that nothing more comes.
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// The keys of a connection to come, which both halves of a stream share
pub(super) struct Succession {
    keys: Mutex<Box<dyn Successor>>,
    /// The peer asked for a change of our key.
    is_update_asked: AtomicBool,
}

impl Succession {
    pub(super) fn new(connection: impl Successor + 'static) -> Arc<Self> {
        let keys: Box<dyn Successor> = Box::new(connection);
        Arc::new(Self { keys: Mutex::new(keys), is_update_asked: AtomicBool::new(false) })
    }

    fn key(
        &self,
        next: impl FnOnce(&mut dyn Successor) -> Result<KeyMaterial, Error>,
    ) -> Result<Key, Error> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Key::new(next(&mut **keys)?)
    }
}

/// The number of its next record, and a key
pub(super) type KeyMaterial = (u64, ConnectionTrafficSecrets);

/// What gives the key after this one
pub(super) trait Successor: Send {
    fn next_to_seal(&mut self) -> Result<KeyMaterial, Error>;
    fn next_to_open(&mut self) -> Result<KeyMaterial, Error>;
}

impl<Data: Send> Successor for KernelConnection<Data> {
    fn next_to_seal(&mut self) -> Result<KeyMaterial, Error> {
        self.update_tx_secret()
    }

    fn next_to_open(&mut self) -> Result<KeyMaterial, Error> {
        self.update_rx_secret()
    }
}

/// The key of one direction
struct Key {
    cipher: LessSafeKey,
    initial: [u8; NONCE_LEN],
    /// The number of the next record; none is used twice with one key.
    number: u64,
}

impl Key {
    fn new((number, secrets): KeyMaterial) -> Result<Self, Error> {
        let (algorithm, key, initial) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::EncryptError),
        };
        let cipher = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        let initial = initial.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Self { cipher: LessSafeKey::new(cipher), initial, number })
    }

    /// RFC 8446 §5.3.
    fn nonce(&mut self) -> Result<Nonce, Error> {
        let mut nonce = self.initial;
        for (byte, of_number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= of_number;
        }
        self.number = self.number.checked_add(1).ok_or(Error::EncryptError)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals what is sent
pub(super) struct Sealer {
    key: Key,
    /// Records that the key may still seal
    left: u64,
    succession: Arc<Succession>,
}

impl Sealer {
    pub(super) fn new(first: KeyMaterial, succession: Arc<Succession>) -> Result<Self, Error> {
        Ok(Self { key: Key::new(first)?, left: RECORDS_PER_KEY, succession })
    }

    /// Seals payload into `sealed`, which has room for it and [`ASIDE_BYTES`]; gives the length.
    pub(super) fn seal(&mut self, payload: &[u8], sealed: &mut [u8]) -> Result<usize, Error> {
        let mut length = 0;
        for piece in payload.chunks(RECORD_BYTES) {
            let asked = &self.succession.is_update_asked;
            if self.left == 0 || asked.load(Ordering::Relaxed) {
                length += self.change_key(&mut sealed[length..])?;
            }
            self.left -= 1;
            length += self.record(PAYLOAD, piece, &mut sealed[length..])?;
        }
        Ok(length)
    }

    /// Seals the word that nothing more comes.
    pub(super) fn seal_end(&mut self, sealed: &mut [u8]) -> Result<usize, Error> {
        self.record(ALERT, &CLOSE_NOTIFY, sealed)
    }

    fn change_key(&mut self, sealed: &mut [u8]) -> Result<usize, Error> {
        self.succession.is_update_asked.store(false, Ordering::Relaxed);
        let [kind, high, middle, low] = KEY_UPDATE;
        let length = self.record(HANDSHAKE, &[kind, high, middle, low, 0], sealed)?;
        self.key = self.succession.key(|keys| keys.next_to_seal())?;
        self.left = RECORDS_PER_KEY;
        Ok(length)
    }

    pub(super) fn record(
        &mut self,
        kind: u8,
        content: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, Error> {
        let length = content.len() + SEAL_BYTES;
        let record = sealed.get_mut(..length).ok_or(Error::EncryptError)?;
        let body = u16::try_from(length - HEAD_BYTES).map_err(|_| Error::EncryptError)?;
        let [high, low] = body.to_be_bytes();
        let head = [PAYLOAD, 3, 3, high, low];
        let (front, rest) = record.split_at_mut(HEAD_BYTES);
        let (inner, tag) = rest.split_at_mut(content.len() + 1);
        front.copy_from_slice(&head);
        inner[..content.len()].copy_from_slice(content);
        inner[content.len()] = kind;
        let nonce = self.key.nonce()?;
        let sealing = self.key.cipher.seal_in_place_separate_tag(nonce, Aad::from(head), inner);
        tag.copy_from_slice(sealing.map_err(|_| Error::EncryptError)?.as_ref());
        Ok(length)
    }
}

/// What a record held
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// So many bytes of payload
    Payload(usize),
    /// The peer's word that nothing more comes
    End,
}

/// A record that was opened
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Its bytes on the wire
    pub(super) length: usize,
    pub(super) content: Content,
}

/// Opens what comes
pub(super) struct Opener {
    key: Key,
    succession: Arc<Succession>,
    /// Once set, nothing is opened.
    failed: Option<Error>,
}

impl Opener {
    pub(super) fn new(first: KeyMaterial, succession: Arc<Succession>) -> Result<Self, Error> {
        Ok(Self { key: Key::new(first)?, succession, failed: None })
    }

    /// Opens the record that begins at `start`, if all of it is there, and moves its payload to
    /// `place`, which is not behind the head's end.
    pub(super) fn open(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        place: usize,
    ) -> Result<Option<Opened>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let opened = self.open_record(bytes, start, place);
        if let Err(error) = &opened {
            self.failed = Some(error.clone());
        }
        opened
    }

    fn open_record(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        place: usize,
    ) -> Result<Option<Opened>, Error> {
        let Some((&head, rest)) = bytes[start..].split_first_chunk() else { return Ok(None) };
        let body = body_length(head)?;
        if rest.len() < body {
            return Ok(None);
        }
        let length = HEAD_BYTES + body;
        let sealed = &mut bytes[place..start + length];
        let nonce = self.key.nonce()?;
        let ciphertext = start + HEAD_BYTES - place..;
        let inner = self.key.cipher.open_within(nonce, Aad::from(head), sealed, ciphertext);
        let inner = inner.map_err(|_| Error::DecryptError)?;
        // What follows the kind is padding.
        let kind = inner.iter().rposition(|byte| *byte != 0);
        let kind = kind.ok_or(PeerMisbehaved::IllegalTlsInnerPlaintext)?;
        let content = &inner[..kind];
        if content.len() > RECORD_BYTES {
            return Err(Error::PeerSentOversizedRecord);
        }
        let content = match inner[kind] {
            PAYLOAD => Content::Payload(content.len()),
            HANDSHAKE => self.follow(content)?,
            ALERT => end_of(content)?,
            other => return Err(unexpected(ContentType::from(other))),
        };
        Ok(Some(Opened { length, content }))
    }

    /// Changes the key as the peer did. There is nothing else that it may say in between.
    fn follow(&mut self, message: &[u8]) -> Result<Content, Error> {
        match message.strip_prefix(&KEY_UPDATE) {
            Some([asks @ (0 | 1)]) => {
                self.key = self.succession.key(|keys| keys.next_to_open())?;
                if *asks == 1 {
                    self.succession.is_update_asked.store(true, Ordering::Relaxed);
                }
                Ok(Content::Payload(0))
            }
            _ => Err(Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::KeyUpdate],
                got_type: message.first().copied().unwrap_or_default().into(),
            }),
        }
    }
}

/// How many bytes follow the head of a record.
fn body_length(head: [u8; HEAD_BYTES]) -> Result<usize, Error> {
    let [kind, _, _, high, low] = head;
    if kind != PAYLOAD {
        return Err(unexpected(ContentType::from(kind)));
    }
    match usize::from(u16::from_be_bytes([high, low])) {
        0..=TAG_BYTES => Err(Error::DecryptError),
        body if body > BODY_BYTES_MAX => Err(Error::PeerSentOversizedRecord),
        body => Ok(body),
    }
}

fn end_of(alert: &[u8]) -> Result<Content, Error> {
    match alert {
        [_, 0] => Ok(Content::End),
        [_, description] => Err(Error::AlertReceived(AlertDescription::from(*description))),
        _ => Err(Error::AlertReceived(AlertDescription::DecodeError)),
    }
}

fn unexpected(kind: ContentType) -> Error {
    Error::InappropriateMessage { expect_types: vec![ContentType::ApplicationData], got_type: kind }
}
