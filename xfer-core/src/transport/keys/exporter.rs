//! Bytes that both ends of one TLS connection know, and nobody else (RFC 8446 §7.5)
//!
//! What is signed over them is proven on that connection and cannot be shown on another. rustls
//! exports them from its own connections and not from those whose records we seal ourselves, so the
//! one secret that they follow from is taken when rustls tells of it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Prk};
use rustls::KeyLog;

/// Bytes that are exported
pub(in crate::transport) const EXPORTED_BYTES: usize = 32;

/// What they are for: a label of our own (RFC 5705 §4)
pub(in crate::transport) const LABEL: &[u8] = b"EXPORTER-xfer-peer";

/// Exported bytes of one connection
pub(in crate::transport) type Exported = [u8; EXPORTED_BYTES];

/// Hears the one secret of one connection; nothing of it is written anywhere.
#[derive(Default)]
pub(in crate::transport) struct Exporter(OnceLock<Prk>);

impl Exporter {
    pub(in crate::transport) fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// What the connection exports; `None` before its handshake is over.
    pub(in crate::transport) fn exported(&self) -> Option<Exported> {
        let nothing = digest(&SHA256, b"");
        let secret = expand(self.0.get()?, LABEL, nothing.as_ref())?;
        let secret = Prk::new_less_safe(HKDF_SHA256, &secret);
        expand(&secret, b"exporter", nothing.as_ref())
    }
}

impl KeyLog for Exporter {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            // Each connection has one.
            let _set_before = self.0.set(Prk::new_less_safe(HKDF_SHA256, secret));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

/// Nothing: it is secret.
impl fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// HKDF-Expand-Label of RFC 8446 §7.1; every cipher here is one of SHA-256.
fn expand(secret: &Prk, label: &[u8], context: &[u8]) -> Option<Exported> {
    let length = u16::try_from(EXPORTED_BYTES).ok()?.to_be_bytes();
    let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    let info: [&[u8]; 6] = [&length, &label_length, PREFIX, label, &context_length, context];
    let mut output = [0; EXPORTED_BYTES];
    secret.expand(&info, HKDF_SHA256).ok()?.fill(&mut output).ok()?;
    Some(output)
}

const PREFIX: &[u8] = b"tls13 ";

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, ServerConnection};

    use super::super::{SessionKey, client_of_peer};
    use super::*;

    /// Ours are what rustls itself exports, on either side, and no two connections share them.
    #[test]
    fn what_is_exported_is_what_rustls_exports() {
        let key = SessionKey::generate().unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (near, far) = (Exporter::shared(), Exporter::shared());
            let mut client = client_of_peer(key.digest()).unwrap();
            client.key_log = Arc::<Exporter>::clone(&near);
            let mut server = key.server_of_peer().unwrap();
            server.key_log = Arc::<Exporter>::clone(&far);
            let name = ServerName::try_from("xfer").unwrap();
            let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
            let mut server = ServerConnection::new(Arc::new(server)).unwrap();
            assert_eq!(near.exported(), None);
            while client.is_handshaking() || server.is_handshaking() {
                let mut bytes = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut bytes).unwrap();
                }
                let mut input = Cursor::new(bytes);
                while server.read_tls(&mut input).unwrap() > 0 {
                    server.process_new_packets().unwrap();
                }
                let mut bytes = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut bytes).unwrap();
                }
                let mut input = Cursor::new(bytes);
                while client.read_tls(&mut input).unwrap() > 0 {
                    client.process_new_packets().unwrap();
                }
            }
            let by_rustls =
                client.export_keying_material([0; EXPORTED_BYTES], LABEL, None).unwrap();
            assert_eq!((near.exported(), far.exported()), (Some(by_rustls), Some(by_rustls)));
            seen.push(by_rustls);
        }
        assert_ne!(seen[0], seen[1]);
    }
}
