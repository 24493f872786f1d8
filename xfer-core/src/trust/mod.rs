//! Who vouches for what is written down: Ed25519 keys, and what they sign.
//!
//! One key belongs to a state directory; whoever can read that directory can sign for it. Keys and
//! signatures are told in hexadecimal digits, so that other programs can check them (RFC 8032).
//! What is no text that says what it is gets signed for a purpose.

mod kept;

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

pub use kept::{TrustError, found_in, kept_in};

/// Bytes of a public key.
const KEY_BYTES: usize = 32;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// What stands before the digits of a key.
const KEY_PREFIX: &str = "ed25519:";

/// No key could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key could be made: the system gives no random bytes, or what is kept is no key")]
pub struct KeyError;

/// What was signed is something else, or somebody else signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not that of the key that it names")]
pub struct BadSignature;

/// A key that signs. Clones are the same key.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

/// What checks the signatures of one key, and names it: `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; KEY_BYTES]);

/// That somebody who has a key saw some bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

impl SigningKey {
    /// A key to be kept, as a PKCS #8 document.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate_document() -> Result<Vec<u8>, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        document.map(|document| document.as_ref().to_vec()).map_err(|_| KeyError)
    }

    /// A key that was kept.
    ///
    /// # Errors
    /// When the document holds no key of this kind.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(document).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError)?;
        Ok(Self { pair: Arc::new(pair), public: PublicKey(public) })
    }

    /// What checks what it signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs bytes as they are; what they mean is for them to say.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        let mut signature = [0; SIGNATURE_BYTES];
        // Ed25519 has signatures of this length and no others.
        signature.copy_from_slice(self.pair.sign(bytes).as_ref());
        Signature(signature)
    }

    /// Signs bytes for one purpose, which has no NUL: what was signed for another is never taken
    /// for it.
    #[must_use]
    pub fn sign_for(&self, purpose: &str, bytes: &[u8]) -> Signature {
        self.sign(&statement(purpose, bytes))
    }
}

/// What is signed for a purpose.
fn statement(purpose: &str, bytes: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), &[0], bytes].concat()
}

/// Tells whose it is, and nothing that is secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Reads the text of a key; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(KEY_PREFIX).and_then(digits).map(Self)
    }

    /// Whether this key signed these bytes for this purpose.
    #[must_use]
    pub fn has_signed(&self, purpose: &str, bytes: &[u8], signature: &[u8]) -> bool {
        let signature = signature.try_into().map(Signature);
        signature.is_ok_and(|signature| self.check(&statement(purpose, bytes), &signature).is_ok())
    }

    /// Checks that this key signed these bytes.
    ///
    /// # Errors
    /// It did not.
    pub fn check(&self, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = UnparsedPublicKey::new(&ED25519, &self.0[..]);
        key.verify(bytes, &signature.0).map_err(|_| BadSignature)
    }
}

impl Signature {
    /// Reads 128 hexadecimal digits; `None` where it is not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        digits(text).map(Self)
    }

    /// As RFC 8032 writes it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KEY_PREFIX)?;
        write_digits(f, &self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows it in 128 hexadecimal digits.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(f, &self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(f, &self.0)
    }
}

fn write_digits(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads twice as many digits as bytes, in the one form in which they are written.
fn digits<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * BYTES || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The third test of RFC 8032, 7.1: secret key, public key, two bytes, their signature.
    const SECRET: &str = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
    const PUBLIC: &str = "ed25519:fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    const SIGNED: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                          18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

    fn pkcs8_of(secret: [u8; 32]) -> Vec<u8> {
        let begin = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        [&begin[..], &secret[..]].concat()
    }

    #[test]
    fn what_others_signed_is_read() {
        let public = PublicKey::parse(PUBLIC).unwrap();
        let signature = Signature::parse(SIGNED).unwrap();
        assert_eq!(public.check(&[0xaf, 0x82], &signature), Ok(()));
        assert_eq!(public.check(&[0xaf, 0x83], &signature), Err(BadSignature));
        assert_eq!((public.to_string(), signature.to_string()), (PUBLIC.into(), SIGNED.into()));
        // A key without its public half is not taken: what it belongs to would be a guess.
        assert!(SigningKey::from_pkcs8(&pkcs8_of(digits(SECRET).unwrap())).is_err());
    }

    #[test]
    fn every_bit_counts() {
        let document = SigningKey::generate_document().unwrap();
        let key = SigningKey::from_pkcs8(&document).unwrap();
        let bytes = b"what was moved".to_vec();
        let signature = key.sign(&bytes);
        assert_eq!(key.public().check(&bytes, &signature), Ok(()));
        for bit in 0..8 * bytes.len() {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(key.public().check(&other, &signature).is_err(), "bit {bit} of the bytes");
        }
        for bit in 0..8 * SIGNATURE_BYTES {
            let mut other = signature;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(key.public().check(&bytes, &other).is_err(), "bit {bit} of the signature");
        }
        for bit in 0..8 * KEY_BYTES {
            let mut other = key.public();
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(other.check(&bytes, &signature).is_err(), "bit {bit} of the key");
        }
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ public: {}, .. }}", key.public()));
    }

    #[test]
    fn digits_have_one_form() {
        let upper = PUBLIC.replace('f', "F");
        for other in ["", "ed25519:", &PUBLIC[1..], &PUBLIC[8..], &upper, &format!("{PUBLIC}00")] {
            assert_eq!(PublicKey::parse(other), None, "{other}");
        }
        assert_eq!(PublicKey::parse(&format!("ed25519:{}", "\u{e9}".repeat(KEY_BYTES))), None);
        assert_eq!(Signature::parse(PUBLIC), None);
    }

    #[test]
    fn a_signature_is_for_one_purpose() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate_document().unwrap()).unwrap();
        let signature = key.sign_for("a", b"bytes").to_bytes();
        assert!(key.public().has_signed("a", b"bytes", &signature));
        assert!(!key.public().has_signed("b", b"bytes", &signature));
        assert!(!key.public().has_signed("a", b"byte", &signature));
        assert!(!key.public().has_signed("a", b"bytes", &signature[1..]));
    }
}
