//! Throw-away keys of data ports: who may speak there is known by digest, and by nothing else.
//!
//! Each side makes a key for one session, and its digest crosses a channel that is authenticated
//! already. There are no certificates, no authority and no trust on first use: TLS 1.3 carries raw
//! public keys (RFC 7250), and what does not hold the other key is refused in the handshake.
//!
//! A standing peer has a key that stays, and asks for none: who dials it proves a secret over the
//! connection's exporter ([`super::peer`]).

pub(super) mod exporter;
mod verifier;

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};
use xfer_protocol::data_port::KeyDigest;

use verifier::Pinned;

/// The protocol of a data port: it carries the version of the streams within.
const ALPN: &[u8] = b"xfer/1";

/// The protocol of a standing peer, whose streams begin with a proof: neither port is ever taken
/// for the other.
const ALPN_OF_PEER: &[u8] = b"xfer-peer/1";

/// No key could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key could be made: the system gives no random bytes, or what is kept is no key")]
pub struct KeyError;

/// The key of one side of one session, which is never written down, or that of a standing peer.
#[derive(Clone)]
pub struct SessionKey {
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    digest: KeyDigest,
}

impl SessionKey {
    /// Makes a key.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError)?;
        Self::from_pkcs8(document.as_ref())
    }

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
        let provider = Arc::new(provider());
        let document = PrivatePkcs8KeyDer::from(document.to_vec()).into();
        let key = provider.key_provider.load_private_key(document).map_err(|_| KeyError)?;
        let public = key.public_key().ok_or(KeyError)?;
        let digest = digest_of(&public);
        let certified = CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], key);
        Ok(Self { certified: Arc::new(certified), provider, digest })
    }

    /// What the other side knows this key by.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        self.digest
    }

    /// What dials and takes `peer` alone for an answer.
    pub(super) fn client(&self, peer: KeyDigest) -> Result<ClientConfig, rustls::Error> {
        let own = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.certified));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::new(peer, &self.provider)))
            .with_client_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }

    /// What answers `peer` alone.
    pub(super) fn server(&self, peer: KeyDigest) -> Result<ServerConfig, rustls::Error> {
        let own = AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.certified));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(Pinned::new(peer, &self.provider)))
            .with_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl SessionKey {
    /// What answers anybody, as a standing peer does: the other side proves itself later.
    pub(super) fn server_of_peer(&self) -> Result<ServerConfig, rustls::Error> {
        let own = AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.certified));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![ALPN_OF_PEER.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// What dials a standing peer, and takes the holder of `peer` alone for an answer.
pub(super) fn client_of_peer(peer: KeyDigest) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(peer, &provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_OF_PEER.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// The digest alone: the key is secret.
impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SessionKey").field(&self.digest).finish()
    }
}

/// The digest of a public key as it stands in a handshake (SubjectPublicKeyInfo).
fn digest_of(public: &[u8]) -> KeyDigest {
    KeyDigest(*blake3::hash(public).as_bytes())
}

/// The ciphers, the fastest on this machine first: the side that dials decides.
fn provider() -> CryptoProvider {
    let (gcm, chacha) =
        (cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256);
    let cipher_suites: Vec<SupportedCipherSuite> =
        if has_aes() { vec![gcm, chacha] } else { vec![chacha, gcm] };
    CryptoProvider { cipher_suites, ..rustls::crypto::ring::default_provider() }
}

/// Whether the processor computes AES itself.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    has
}

#[cfg(test)]
mod tests;
