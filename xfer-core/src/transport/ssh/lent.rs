//! Logins with a key that lives in memory alone, to a host whose key was told

use std::net::SocketAddr;
use std::sync::Arc;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey, parse_public_key_base64};

use super::authenticate::{Candidate, Credential};
use super::connecting::connect_with;
use super::connection::SshConnection;
use super::error::{SshError, TargetProblem};
use super::handshake::HostKeyTrust;
use super::identity::FileIdentity;
use super::options::SshOptions;
use super::prompt::NoPrompt;
use super::target::SshTarget;

/// A key for one transfer, which is never written down
#[derive(Clone)]
pub struct LentKey(Arc<PrivateKey>);

impl LentKey {
    /// Makes a key; `None` when the system gives no random bytes
    #[must_use]
    pub fn generate() -> Option<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).ok()?;
        Some(Self(Arc::new(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))))
    }

    /// Its public half, as `TYPE BASE64`
    #[must_use]
    pub fn public(&self) -> Option<String> {
        line(self.0.public_key())
    }
}

impl SshConnection {
    /// Logs in at an address with that key alone, where the host shows the key given as
    /// `TYPE BASE64`; no configuration is read, and nobody is asked
    pub async fn by_lent_key(
        address: SocketAddr,
        user: &str,
        host_key: &str,
        key: &LentKey,
        seed: u64,
    ) -> Result<Self, SshError> {
        let host = address.ip().to_string();
        let target = SshTarget::new(Some(user), &host, Some(address.port()))?;
        let refused = || SshError::Target { typed: host.clone(), problem: TargetProblem::Port };
        let shown = public(host_key).ok_or_else(refused)?;
        let options = SshOptions {
            config_file: Some("/dev/null".into()),
            options: vec!["IdentityAgent=none".to_owned(), "IdentitiesOnly=yes".to_owned()],
            ssh_program: "".into(),
            ..SshOptions::new(Arc::new(NoPrompt), seed)
        };
        let identity = FileIdentity::in_memory(Arc::clone(&key.0));
        let credential = Credential::Key(Box::new(Candidate::File(identity)));
        connect_with(&target, &options, (shown, HostKeyTrust::Known), &credential).await
    }

    /// The key that the host has shown, as `TYPE BASE64`, where it is proven by it, or has proven
    /// itself by other means
    pub fn proven_host_key(&self, by_other_means: bool) -> Option<String> {
        let (key, trust) = self.host_key()?;
        match trust {
            HostKeyTrust::Changed => None,
            HostKeyTrust::Unproven if !by_other_means => None,
            _ => line(&key),
        }
    }
}

fn line(key: &PublicKey) -> Option<String> {
    let text = key.to_openssh().ok()?;
    let mut words = text.split_ascii_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

fn public(line: &str) -> Option<PublicKey> {
    let (_, blob) = line.split_once(' ')?;
    parse_public_key_base64(blob).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_as_it_is_read() {
        let told = LentKey::generate().unwrap().public().unwrap();
        assert!(told.starts_with("ssh-ed25519 AAAA"), "{told}");
        assert_eq!(line(&public(&told).unwrap()).unwrap(), told);
        assert!(public("ssh-ed25519").is_none() && public("a b").is_none());
    }
}
