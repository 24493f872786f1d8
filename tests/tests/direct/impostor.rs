//! Both sides of TLS by somebody who has a key of his own and takes any other

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};

/// The protocol of data ports
pub(crate) const ALPN: &[u8] = b"xfer/1";

/// An Ed25519 key in PKCS #8, up to its 32 secret bytes
const PKCS8: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

/// Believes everybody
#[derive(Debug)]
struct Gullible;

fn own_key() -> Arc<CertifiedKey> {
    let document = [&PKCS8[..], &[7; 32]].concat();
    let key =
        default_provider().key_provider.load_private_key(PrivatePkcs8KeyDer::from(document).into());
    let key = key.expect("a key");
    let public = key.public_key().expect("a public key").to_vec();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key))
}

/// What dials, with a key or without, and speaks these protocols
pub(crate) fn dialling(with_key: bool, protocols: &[&[u8]]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match with_key {
        true => {
            let resolver = AlwaysResolvesClientRawPublicKeys::new(own_key());
            builder.with_client_cert_resolver(Arc::new(resolver))
        }
        false => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// What answers whoever dials
fn answering() -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(Gullible))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own_key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// Dials, speaks, and returns the first that is answered
pub(crate) fn speak(config: ClientConfig, mut socket: TcpStream) -> std::io::Result<Vec<u8>> {
    let name = ServerName::try_from("xfer").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name);
    let mut connection = connection.expect("a connection");
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"a greeting of somebody else")?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Answers, and returns the first that is said
pub(crate) fn listen(mut socket: TcpStream) -> std::io::Result<Vec<u8>> {
    let connection = ServerConnection::new(Arc::new(answering()));
    let mut connection = connection.expect("a connection");
    let mut said = vec![0; 4096];
    let length = rustls::Stream::new(&mut connection, &mut socket).read(&mut said)?;
    said.truncate(length);
    Ok(said)
}

/// What both verifiers are asked about signatures
macro_rules! takes_any_signature {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Gullible {
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

    takes_any_signature!();
}

impl ClientCertVerifier for Gullible {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    takes_any_signature!();
}
