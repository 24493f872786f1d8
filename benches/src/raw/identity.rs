//! Keys for references: one side proves a raw key that nobody knows, the other none

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};

use crate::Done;

/// The receiving side
pub(super) fn server() -> Done<ServerConfig> {
    let provider = provider();
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let document = document.map_err(|_| String::from("no random bytes"))?;
    let document = PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into();
    let key = provider.key_provider.load_private_key(document).map_err(told)?;
    let public = key.public_key().ok_or("a key without its public part")?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], key);
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified));
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(&[&TLS13]).map_err(told)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    // The sender reads nothing, and what it leaves unread would reset the connection at its end.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The sending side
pub(crate) fn client() -> Done<ClientConfig> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_protocol_versions(&[&TLS13]).map_err(told)?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    Ok(config.with_no_client_auth())
}

/// The suite that the program takes where the processor computes AES
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

fn told(error: Error) -> String {
    error.to_string()
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
