//! What is agreed upon with hosts that sshd does not play: old ones, without a strict key exchange

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::PrivateKey;
use russh::server::{Auth, Config, Handler, VerifiedPublicKey, run_stream};
use russh::{Preferred, cipher, compression, kex, mac};
use tokio::net::TcpListener;
use xfer_core::transport::ssh::{SshError, SshErrorClass};
use xfer_tests::sshd::Sshd;

use crate::{connect, options};

/// Lets everybody in
struct Open;

impl Handler for Open {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }
}

/// A host with these ciphers, with or without the strict key exchange; answers its port
async fn host(fixture: &Sshd, ciphers: &'static [cipher::Name], strict: bool) -> u16 {
    let text = std::fs::read_to_string(fixture.directory().join("hostkey")).unwrap();
    let mut key_exchanges = vec![kex::CURVE25519];
    if strict {
        key_exchanges.push(kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER);
    }
    let config = Arc::new(Config {
        keys: vec![PrivateKey::from_openssh(text).unwrap()],
        preferred: Preferred {
            kex: Cow::Owned(key_exchanges),
            cipher: Cow::Borrowed(ciphers),
            mac: Cow::Borrowed(&[mac::HMAC_SHA256]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = run_stream(config, stream, Open).await {
                    drop(session.await);
                }
            });
        }
    });
    port
}

fn config(fixture: &Sshd, port: u16) -> PathBuf {
    let known = format!("[127.0.0.1]:{}", fixture.port());
    let text = format!(
        "Host here\n  Port {port}\n  HostKeyAlias {known}\n{}",
        fixture.client_config_text("here")
    );
    let path = fixture.directory().join(format!("ssh_config.negotiation.{port}"));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn chacha20_is_spoken_after_a_strict_key_exchange_only() {
    const CHACHA20: &[cipher::Name] = &[cipher::CHACHA20_POLY1305];
    const BOTH: &[cipher::Name] = &[cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];
    let fixture = Sshd::start("");
    for (ciphers, strict, accepted) in
        [(CHACHA20, true, true), (CHACHA20, false, false), (BOTH, false, true)]
    {
        let port = host(&fixture, ciphers, strict).await;
        let outcome = connect(&options(&config(&fixture, port)), "here").await;
        match outcome {
            Ok(_) => assert!(accepted, "{ciphers:?} strict: {strict}"),
            Err(error) => {
                assert!(!accepted, "{ciphers:?} strict: {strict}: {error}");
                assert!(matches!(error, SshError::Protocol { .. }), "{error}");
                assert_eq!(error.class(), SshErrorClass::Protocol);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aes_gcm_is_chosen_where_sshd_offers_it() {
    let server = Sshd::start("LogLevel DEBUG1");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    drop(connection);
    let line = server.log();
    let agreed: Vec<&str> = line.lines().filter(|line| line.contains("kex: ")).collect();
    let gcm = |line: &&&str| line.contains("aes128-gcm@openssh.com");
    assert_eq!(agreed.iter().filter(gcm).count(), 2, "{agreed:?}");
    assert!(agreed.iter().filter(gcm).all(|line| line.contains("compression: none")));
}
