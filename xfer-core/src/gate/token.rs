//! The signed word of a release: bound to one machine as it was, short-lived, good once.
//!
//! A token is one line of text: base64 over
//!
//! ```text
//! bytes  what
//! 8      "xfer-gt1"
//! 32     the key of the state directory that issued it
//! 32     random: its name
//! 32     the container: digest of its identity
//! 32     the manifests of all roots
//! 32     the stamps of their entries
//! 32     the destinations
//! 32     the policy
//! 8      when the collection ended: seconds since 1970
//! 16, 8  the same: boot id of the controller, milliseconds since that boot
//! 1, 8   the same: 1 and the platform's seconds since 1970, or zeros
//! 4      seconds for which it lives
//! 1, n   the machine's name and its length
//! 64     Ed25519 over all before it, for the purpose "xfer gate token"
//! ```
//!
//! Numbers are little-endian.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xfer_protocol::digest::Digest;

use super::evidence::{Identity, Moment};
use super::policy::TOKEN_LIFE_MAX;
use super::verdict::Release;
use crate::error::TokenReason;
use crate::trust::{PublicKey, SIGNATURE_BYTES, SigningKey};

const MAGIC: &[u8; 8] = b"xfer-gt1";

/// For which a token is signed.
const PURPOSE: &str = "xfer gate token";

/// Bytes of a machine's name.
const NAME_BYTES_MAX: usize = 255;

/// Characters of the longest token's line and its end: 533 bytes and a signature.
pub const TEXT_BYTES_MAX: usize = 797;

/// Seconds by which two looks at a clock that others keep may contradict each other.
const SKEW_MAX: i64 = 5;

/// A token, read or about to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Who issued it.
    pub key: PublicKey,
    /// Its name, under which it is spent.
    pub name: [u8; 32],
    /// The machine, as locations name it.
    pub machine: String,
    /// Digest of its identity.
    pub container: Digest,
    /// Digest of the manifests of all roots.
    pub manifest: Digest,
    /// Digest of the stamps of their entries.
    pub stamps: Digest,
    /// Digest of the destinations.
    pub destination: Digest,
    /// Digest of the policy.
    pub policy: Digest,
    /// When the collection ended.
    pub issued: Times,
    /// Seconds for which it lives from then on.
    pub life: u32,
}

/// One moment on every clock that tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// On the controller.
    pub here: Moment,
    /// At the platform: seconds since 1970, as its answers are dated.
    pub platform: Option<i64>,
}

/// What is seen of a machine in the breath in which it is to be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The machine, as locations name it.
    pub machine: String,
    /// What it is.
    pub identity: Identity,
    /// Digest of the stamps of the entries of all roots.
    pub stamps: Digest,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum TokenRefusal {
    /// It is no token.
    #[error("this is no gate token")]
    Malformed,
    /// Another state directory issued it.
    #[error("another state directory issued this token: use the one that ran xfer gate")]
    OtherKey,
    /// It was changed, or nobody signed it.
    #[error("the token's signature does not fit: run xfer gate again")]
    BadSignature,
    /// A clock was turned back since it was issued.
    #[error("the token was issued later than now: a clock was turned; run xfer gate again")]
    NotYetValid,
    /// It is too old.
    #[error("the token has expired: run xfer gate again")]
    Expired,
    /// Only the time of day tells its age, and that may have been turned.
    #[error("no clock that nobody turns tells the token's age: run xfer gate again")]
    ClockUncertain,
    /// It is for another machine.
    #[error("the token is for another machine")]
    OtherMachine,
    /// It is for another container, or another boot, of this machine.
    #[error("the machine is not the container that the token is for: run xfer gate again")]
    OtherContainer,
    /// Something on the machine changed since.
    #[error("what is on the machine is not what the token is for: run xfer gate again")]
    OtherManifest,
}

impl From<TokenRefusal> for TokenReason {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Malformed => Self::Malformed,
            TokenRefusal::OtherKey => Self::OtherKey,
            TokenRefusal::BadSignature => Self::BadSignature,
            TokenRefusal::NotYetValid => Self::NotYetValid,
            TokenRefusal::Expired => Self::Expired,
            TokenRefusal::ClockUncertain => Self::ClockUncertain,
            TokenRefusal::OtherMachine => Self::OtherMachine,
            TokenRefusal::OtherContainer => Self::OtherContainer,
            TokenRefusal::OtherManifest => Self::OtherManifest,
        }
    }
}

impl Token {
    /// The token of a release; `name` is random, `platform` is the platform's date of the
    /// collection's end. `None` where no clock but the time of day was read, or the machine's name
    /// has more than 255 bytes: such a token would be refused.
    #[must_use]
    pub fn of(
        release: &Release,
        key: PublicKey,
        name: [u8; 32],
        platform: Option<i64>,
    ) -> Option<Self> {
        let fits = release.machine.len() <= NAME_BYTES_MAX && release.collected.boot.is_some();
        fits.then(|| Self {
            key,
            name,
            machine: release.machine.clone(),
            container: release.identity.digest(),
            manifest: release.manifest,
            stamps: release.stamps,
            destination: release.destination(),
            policy: release.policy,
            issued: Times { here: release.collected, platform },
            life: release.life.min(TOKEN_LIFE_MAX),
        })
    }

    /// Its line, signed. The key must be the one that it names, or nobody takes it.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let mut bytes = self.body();
        let signature = key.sign_for(PURPOSE, &bytes);
        bytes.extend(signature.to_bytes());
        STANDARD.encode(bytes) + "\n"
    }

    /// Reads a line and proves that the state directory of `own` issued it.
    ///
    /// # Errors
    /// `Malformed`, `OtherKey` or `BadSignature`.
    pub fn read(text: &[u8], own: &PublicKey) -> Result<Self, TokenRefusal> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenRefusal::Malformed);
        }
        let line = text.strip_suffix(b"\n").ok_or(TokenRefusal::Malformed)?;
        let bytes = STANDARD.decode(line).map_err(|_| TokenRefusal::Malformed)?;
        let body = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or(TokenRefusal::Malformed)?;
        let (body, signature) = bytes.split_at(body);
        let token = Self::parse(body).ok_or(TokenRefusal::Malformed)?;
        if token.key != *own {
            return Err(TokenRefusal::OtherKey);
        }
        if !own.has_signed(PURPOSE, body, signature) {
            return Err(TokenRefusal::BadSignature);
        }
        Ok(token)
    }

    /// Whether it is for what is seen now.
    ///
    /// # Errors
    /// Every other refusal. Each clock that tells an age has a veto.
    pub fn check(&self, seen: &Seen, now: &Times) -> Result<(), TokenRefusal> {
        self.check_age(now)?;
        if seen.machine != self.machine {
            return Err(TokenRefusal::OtherMachine);
        }
        if seen.identity.digest() != self.container {
            return Err(TokenRefusal::OtherContainer);
        }
        if seen.stamps != self.stamps {
            return Err(TokenRefusal::OtherManifest);
        }
        Ok(())
    }

    /// Whether its age is known, and is not too much.
    ///
    /// # Errors
    /// `Expired`, `NotYetValid` or `ClockUncertain`.
    pub fn check_age(&self, now: &Times) -> Result<(), TokenRefusal> {
        let since_boot = now.here.since(&self.issued.here);
        let at_platform = match (now.platform, self.issued.platform) {
            (Some(now), Some(then)) => Some(now.saturating_sub(then)),
            _ => None,
        };
        let of_day = now.here.day.saturating_sub(self.issued.here.day);
        let life = i64::from(self.life);
        let old = since_boot.is_some_and(|age| age >= life * 1000)
            || at_platform.is_some_and(|age| age >= life)
            || of_day >= life;
        if old {
            return Err(TokenRefusal::Expired);
        }
        let early = since_boot.is_some_and(|age| age < 0)
            || at_platform.is_some_and(|age| age < -SKEW_MAX)
            || of_day < -SKEW_MAX;
        if early {
            return Err(TokenRefusal::NotYetValid);
        }
        match (since_boot, at_platform) {
            (None, None) => Err(TokenRefusal::ClockUncertain),
            _ => Ok(()),
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.key.0);
        bytes.extend(self.name);
        let digests = [self.container, self.manifest, self.stamps, self.destination, self.policy];
        for digest in &digests {
            bytes.extend(digest.as_bytes());
        }
        let (boot, since) = self.issued.here.boot.unwrap_or_default();
        bytes.extend(self.issued.here.day.to_le_bytes());
        bytes.extend(boot);
        bytes.extend(since.to_le_bytes());
        bytes.push(u8::from(self.issued.platform.is_some()));
        bytes.extend(self.issued.platform.unwrap_or_default().to_le_bytes());
        bytes.extend(self.life.to_le_bytes());
        // No token with a longer name is made or read.
        bytes.push(u8::try_from(self.machine.len()).unwrap_or(u8::MAX));
        bytes.extend(self.machine.as_bytes());
        bytes
    }

    /// Reads what [`Self::body`] writes, to the last byte.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let [key, name, container, manifest, stamps, destination, policy] =
            take_digests(&mut rest)?;
        let day = i64::from_le_bytes(take(&mut rest)?);
        let boot = take(&mut rest)?;
        let since = u64::from_le_bytes(take(&mut rest)?);
        let [has_platform] = take(&mut rest)?;
        let platform = i64::from_le_bytes(take(&mut rest)?);
        let platform = match (has_platform, platform) {
            (0, 0) => None,
            (1, day) => Some(day),
            _ => return None,
        };
        let life = u32::from_le_bytes(take(&mut rest)?);
        let [length] = take(&mut rest)?;
        if rest.len() != usize::from(length) || !(1..=TOKEN_LIFE_MAX).contains(&life) {
            return None;
        }
        let digest = Digest::from_bytes;
        Some(Self {
            key: PublicKey(key),
            name,
            machine: String::from_utf8(rest.to_vec()).ok()?,
            container: digest(container),
            manifest: digest(manifest),
            stamps: digest(stamps),
            destination: digest(destination),
            policy: digest(policy),
            issued: Times { here: Moment { day, boot: Some((boot, since)) }, platform },
            life,
        })
    }
}

fn take_digests(bytes: &mut &[u8]) -> Option<[[u8; 32]; 7]> {
    let mut digests = [[0; 32]; 7];
    for digest in &mut digests {
        *digest = take(bytes)?;
    }
    Some(digests)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}
