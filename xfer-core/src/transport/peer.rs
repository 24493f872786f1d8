//! Who may speak to a standing peer: the holder of a secret, proven anew on each connection
//!
//! A [`Token`] names the peer by the digest of its key and holds a secret of 256 bits, the seed of
//! an Ed25519 key. Each stream begins with an *opening*: the public key, and its signature over
//! bytes that the stream's own TLS connection exports. What the peer keeps is the digest of the
//! public key, by which nobody can log in.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xfer_protocol::data_port::KeyDigest;

use super::Stream;
use super::keys::exporter::Exported;

/// How a token's text begins, so that people and scanners know one when they see it
pub const TOKEN_PREFIX: &str = "xferpeer1_";

/// Bytes of a token's text at most, with room for white space around it
pub const TOKEN_TEXT_MAX: usize = 256;

/// Bytes of a token: the peer's key, the secret, and a sum against slips of the hand
const TOKEN_BYTES: usize = 32 + 32 + SUM_BYTES;
const SUM_BYTES: usize = 4;

/// Ahead of what is signed, so that a signature means nothing elsewhere
const PURPOSE: &[u8] = b"xfer standing peer, opening 1\0";

const PUBLIC_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// Bytes of an opening: wishes, the public key, the signature
const OPENING_BYTES: usize = 1 + PUBLIC_BYTES + SIGNATURE_BYTES;

const WISH_TIMES: u8 = 1;
const WISH_XATTRS: u8 = 2;
const WISH_ACLS: u8 = 4;

/// What a standing peer knows a token by; nobody can log in with it
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verifier(pub [u8; 32]);

/// Hexadecimal, as the token file holds it
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What lets one log in to one standing peer; a secret
#[derive(Clone)]
pub struct Token {
    peer: KeyDigest,
    secret: [u8; 32],
}

/// Text that is no token
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no token of a standing peer, or not the whole of one")]
pub struct TokenError;

/// What a session asks of a standing peer's disks beyond its requests
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Sets modification times.
    pub times: bool,
    /// Removes extended attributes that the source lacks where it sets metadata.
    pub xattrs: bool,
    /// Removes access control lists that the source lacks where it sets metadata.
    pub acls: bool,
}

/// What a standing peer says to an opening
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream is open.
    Accepted,
    /// The token is not listed there, or what was proven is not a token.
    Unknown,
    /// The token was valid once.
    Expired,
    /// The peer serves as many sessions as it can.
    Full,
}

/// An opening that was proven on its connection
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) verifier: Verifier,
    pub(crate) wishes: Wishes,
}

/// Nothing: it is secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Token {
    /// The token of 256 random bits for the peer that has this key
    #[must_use]
    pub fn new(peer: KeyDigest, secret: [u8; 32]) -> Self {
        Self { peer, secret }
    }

    /// The key that the peer must prove
    #[must_use]
    pub fn peer(&self) -> KeyDigest {
        self.peer
    }

    /// Reads a token's text.
    ///
    /// # Errors
    /// When it is none, or was cut or mistyped.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let encoded = text.strip_prefix(TOKEN_PREFIX).ok_or(TokenError)?;
        if encoded.len() > TOKEN_TEXT_MAX {
            return Err(TokenError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError)?;
        let bytes: [u8; TOKEN_BYTES] = bytes.try_into().map_err(|_| TokenError)?;
        let (mut peer, mut secret) = ([0; 32], [0; 32]);
        peer.copy_from_slice(&bytes[..32]);
        secret.copy_from_slice(&bytes[32..64]);
        if sum(&bytes[..64]) != bytes[64..] {
            return Err(TokenError);
        }
        Ok(Self { peer: KeyDigest(peer), secret })
    }

    /// Its text, which is to be shown once and to its holder alone
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = [self.peer.0, self.secret].concat();
        let sum = sum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What the peer keeps of it
    ///
    /// # Errors
    /// When no key follows from the secret.
    pub fn verifier(&self) -> Result<Verifier, TokenError> {
        Ok(verifier_of(self.pair()?.public_key().as_ref()))
    }

    fn pair(&self) -> Result<Ed25519KeyPair, TokenError> {
        Ed25519KeyPair::from_seed_unchecked(&self.secret).map_err(|_| TokenError)
    }

    fn opening(&self, wishes: Wishes, exported: &Exported) -> Result<Vec<u8>, TokenError> {
        let pair = self.pair()?;
        let wishes = wishes.to_byte();
        let signature = pair.sign(&signed(wishes, exported));
        Ok([&[wishes], pair.public_key().as_ref(), signature.as_ref()].concat())
    }

    /// Opens a stream that was just dialled, and tells what the peer says to it.
    ///
    /// # Errors
    /// When the stream ends before that.
    pub(crate) async fn open(
        &self,
        stream: &mut Stream,
        wishes: Wishes,
        exported: &Exported,
    ) -> std::io::Result<Verdict> {
        let opening = self.opening(wishes, exported).map_err(std::io::Error::other)?;
        stream.writer.write_all(&opening).await?;
        stream.writer.flush().await?;
        let said = stream.reader.read_u8().await?;
        let unknown = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        Verdict::of_byte(said).ok_or_else(unknown)
    }
}

impl Wishes {
    fn to_byte(self) -> u8 {
        let of = |wanted, bit| if wanted { bit } else { 0 };
        of(self.times, WISH_TIMES) | of(self.xattrs, WISH_XATTRS) | of(self.acls, WISH_ACLS)
    }

    /// Bits without a meaning belong to later versions.
    fn of_byte(byte: u8) -> Self {
        let is_set = |bit| byte & bit != 0;
        Self { times: is_set(WISH_TIMES), xattrs: is_set(WISH_XATTRS), acls: is_set(WISH_ACLS) }
    }
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Accepted, Self::Unknown, Self::Expired, Self::Full];

    fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Unknown => 1,
            Self::Expired => 2,
            Self::Full => 3,
        }
    }
}

/// Reads an opening and judges its signature; `None` for one that proves nothing.
///
/// # Errors
/// When the stream ends within it.
pub(crate) async fn read_opening(
    stream: &mut Stream,
    exported: &Exported,
) -> std::io::Result<Option<Opened>> {
    let mut opening = [0; OPENING_BYTES];
    stream.reader.read_exact(&mut opening).await?;
    Ok(judge(&opening, exported))
}

/// Says what comes of an opening.
///
/// # Errors
/// When the other side is gone.
pub(crate) async fn answer(stream: &mut Stream, verdict: Verdict) -> std::io::Result<()> {
    stream.writer.write_all(&[verdict.to_byte()]).await?;
    stream.writer.flush().await
}

fn judge(opening: &[u8; OPENING_BYTES], exported: &Exported) -> Option<Opened> {
    let (wishes, rest) = opening.split_first()?;
    let (public, signature) = rest.split_at(PUBLIC_BYTES);
    let key = UnparsedPublicKey::new(&ED25519, public);
    key.verify(&signed(*wishes, exported), signature).ok()?;
    Some(Opened { verifier: verifier_of(public), wishes: Wishes::of_byte(*wishes) })
}

fn signed(wishes: u8, exported: &Exported) -> Vec<u8> {
    [PURPOSE, &[wishes], exported].concat()
}

fn verifier_of(public: &[u8]) -> Verifier {
    Verifier(*blake3::hash(public).as_bytes())
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..SUM_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTED: Exported = [7; 32];
    const WISHES: Wishes = Wishes { times: true, xattrs: false, acls: true };

    fn token() -> Token {
        Token::new(KeyDigest([1; 32]), [2; 32])
    }

    fn opening(token: &Token, exported: &Exported) -> [u8; OPENING_BYTES] {
        token.opening(WISHES, exported).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_told_and_is_never_shown() {
        let text = token().reveal();
        let read = Token::parse(&text).unwrap();
        assert_eq!((read.peer, read.secret), (token().peer, token().secret));
        assert!(!format!("{:?}", token()).contains(&text[TOKEN_PREFIX.len()..]));
        for (at, _) in text.char_indices() {
            assert!(Token::parse(&text[..at]).is_err(), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mistyped = String::from_utf8(bytes).unwrap();
            assert!(Token::parse(&mistyped).is_err(), "mistyped at {at}");
        }
    }

    #[test]
    fn a_proof_holds_on_its_own_connection_alone() {
        let proof = opening(&token(), &EXPORTED);
        let opened = judge(&proof, &EXPORTED).unwrap();
        assert_eq!(opened.verifier, token().verifier().unwrap());
        assert_eq!(opened.wishes, WISHES);
        assert!(judge(&proof, &[8; 32]).is_none(), "replayed on another connection");
        for at in 0..OPENING_BYTES {
            let mut bent = proof;
            bent[at] ^= 1;
            assert!(judge(&bent, &EXPORTED).is_none(), "byte {at}");
        }
    }

    /// A token file that leaks lets nobody in: its verifier in place of the secret proves another.
    #[test]
    fn a_verifier_is_no_secret() {
        let verifier = token().verifier().unwrap();
        let forged = Token::new(token().peer, verifier.0);
        let opened = judge(&opening(&forged, &EXPORTED), &EXPORTED).unwrap();
        assert_ne!(opened.verifier, verifier);
    }
}
