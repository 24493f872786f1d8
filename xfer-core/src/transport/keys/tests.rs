use std::io::{Cursor, Read};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use xfer_protocol::data_port::KeyDigest;

use super::SessionKey;

fn key() -> SessionKey {
    SessionKey::generate().unwrap()
}

/// Runs a handshake in memory; what either side ended with.
fn meet(client: ClientConfig, server: ServerConfig) -> (bool, bool) {
    let name = ServerName::try_from("xfer").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let (mut client_failed, mut server_failed) = (false, false);
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut input = Cursor::new(bytes);
        while server.read_tls(&mut input).unwrap() > 0 {
            server_failed |= server.process_new_packets().is_err();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut input = Cursor::new(bytes);
        while client.read_tls(&mut input).unwrap() > 0 {
            client_failed |= client.process_new_packets().is_err();
        }
    }
    let mut nothing = [0; 1];
    let _alert = client.reader().read(&mut nothing);
    let done = |failed: bool, handshaking: bool| !failed && !handshaking;
    (done(client_failed, client.is_handshaking()), done(server_failed, server.is_handshaking()))
}

#[test]
fn two_sides_that_know_each_other_meet() {
    let (near, far) = (key(), key());
    let client = near.client(far.digest()).unwrap();
    let server = far.server(near.digest()).unwrap();
    assert_eq!(meet(client, server), (true, true));
}

/// Rows: E13.
#[test]
fn whoever_holds_another_key_is_refused() {
    let (near, far, other) = (key(), key(), key());
    let client = near.client(other.digest()).unwrap();
    assert!(!meet(client, far.server(near.digest()).unwrap()).0, "another server");
    let client = other.client(far.digest()).unwrap();
    assert!(!meet(client, far.server(near.digest()).unwrap()).1, "another client");
}

/// Rows: E13.
#[test]
fn another_protocol_is_refused() {
    let (near, far) = (key(), key());
    let mut client = near.client(far.digest()).unwrap();
    client.alpn_protocols = vec![b"xfer/9".to_vec()];
    assert_eq!(meet(client, far.server(near.digest()).unwrap()), (false, false));
}

/// Rows: E13.
#[test]
fn a_client_without_a_key_is_refused() {
    let (near, far) = (key(), key());
    let mut client = near.client(far.digest()).unwrap();
    client.client_auth_cert_resolver = Arc::new(Nobody);
    assert!(!meet(client, far.server(near.digest()).unwrap()).1);
}

#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn no_two_sessions_share_a_key_and_none_is_shown() {
    let (one, other) = (key(), key());
    assert_ne!(one.digest(), other.digest());
    assert_ne!(one.digest(), KeyDigest([0; 32]));
    assert_eq!(format!("{one:?}"), format!("SessionKey({:?})", one.digest()));
}
