//! The ssh-agent: asked with a limit on time, on keys and on the size of an answer

use std::path::Path;
use std::time::Duration;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::{HashAlg, PublicKey};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::tuning::{AGENT_KEYS_MAX, AGENT_SIGNS_WITHIN, AGENT_WITHIN};

/// A connected agent
pub(super) struct Agent {
    client: AgentClient<UnixStream>,
}

/// A key that the agent holds
#[derive(Debug, Clone)]
pub(super) struct AgentKey {
    pub(super) public: PublicKey,
    pub(super) comment: String,
}

impl Agent {
    /// Connects and lists the keys; `None` when there is no agent that answers
    ///
    /// A login goes on without an agent, as it does in ssh.
    pub(super) async fn connect(
        socket: &Path,
        binding: Option<&AgentSessionBinding>,
    ) -> Option<(Self, Vec<AgentKey>)> {
        let greeting = async {
            let mut client = AgentClient::connect_uds(socket).await?;
            if let Some(binding) = binding {
                // Older agents refuse this and serve all the same.
                let _ = client.bind_session(binding, false).await;
            }
            let identities = client.request_identities().await?;
            Ok::<_, russh::keys::Error>((client, identities))
        };
        let (client, identities) = within(AGENT_WITHIN, greeting).await?;
        let keys =
            identities.into_iter().take(AGENT_KEYS_MAX).filter_map(|identity| match identity {
                AgentIdentity::PublicKey { key, comment } => {
                    Some(AgentKey { public: key, comment })
                }
                AgentIdentity::Certificate { .. } => None,
            });
        let keys = keys.collect();
        Some((Self { client }, keys))
    }

    /// Appends the signature to `data`; `None` when the agent or its owner refuses
    pub(super) async fn sign(
        &mut self,
        key: &PublicKey,
        digest: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let identity = AgentIdentity::from(key.clone());
        within(AGENT_SIGNS_WITHIN, self.client.sign_request(&identity, digest, data)).await
    }
}

async fn within<T, E>(limit: Duration, answer: impl Future<Output = Result<T, E>>) -> Option<T> {
    timeout(limit, answer).await.ok()?.ok()
}
