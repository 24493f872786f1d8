//! Logs in with the keys that there are, in the order in which ssh offers them

use std::path::PathBuf;
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::{MethodKind, Signer};
use tokio::time::timeout;

use super::agent::{Agent, AgentKey};
use super::environment::Environment;
use super::error::{KeyProblem, SshError};
use super::handshake::{Asking, Guard, PeerNotes};
use super::host_config::HostConfig;
use super::host_key::fingerprint;
use super::identity::{self, FileIdentity};
use super::login_refused::{KeyOrigin, LoginRefused, OfferedKey};
use super::prompt::{NoPrompt, Prompt};
use super::tuning::AGENT_ALONE_WITHIN;

/// Some hosts hang up without a word when they have seen enough keys; an earlier end is a lost
/// connection
const SILENT_TRIES_MIN: usize = 3;

/// What a host took; a further login offers it again, and nothing else
pub(super) enum Credential {
    /// The host asks for nothing
    Nothing,
    /// A key that signs without a word from anybody
    Key(Box<Candidate>),
    /// A person may have taken part, who is not asked again
    Person,
}

/// Logs in once more with what a host took, or says why it cannot be
pub(super) async fn log_in_again(
    handle: &mut Handle<Guard>,
    config: &HostConfig,
    credential: &Credential,
    asking: &Asking,
    notes: &PeerNotes,
) -> Result<(), SshError> {
    let prompt: Arc<dyn Prompt> = Arc::new(NoPrompt);
    let mut agent = None;
    if let (Credential::Key(key), Some(socket)) = (credential, &config.identity.agent)
        && matches!(**key, Candidate::Agent(_))
    {
        let connected = Agent::connect(socket, handle.agent_session_binding()).await;
        agent = connected.map(|(agent, _)| agent);
    }
    let mut attempt = Attempt::new(handle, config, &prompt, asking);
    let is_in = match credential {
        Credential::Nothing => attempt.admitted_without_a_key().await?,
        Credential::Key(candidate) => {
            matches!(attempt.offer(candidate, agent.as_mut()).await?, Verdict::Accepted)
        }
        Credential::Person => false,
    };
    if is_in {
        return Ok(());
    }
    let reason = match notes.has_disconnect() {
        true => notes.reason(),
        false => "it does not take what it took before".to_owned(),
    };
    Err(SshError::Lost { host: config.host_and_port(), reason })
}

/// Logs in, or says which keys were offered to no avail
pub(super) async fn log_in(
    handle: &mut Handle<Guard>,
    config: &HostConfig,
    prompt: &Arc<dyn Prompt>,
    asking: &Asking,
    notes: &PeerNotes,
) -> Result<Credential, SshError> {
    let mut keys = Candidates::gather(config, handle).await?;
    let mut attempt = Attempt::new(handle, config, prompt, asking);
    let mut offered = Vec::new();
    let mut stopped = false;
    let mut queue = std::mem::take(&mut keys.queue).into_iter();
    for candidate in queue.by_ref() {
        let origin = candidate.origin();
        match attempt.offer(&candidate, keys.agent.as_mut()).await? {
            Verdict::Accepted => return Ok(attempt.credential(candidate)),
            Verdict::NotOffered(reason) => keys.unusable.push((origin, reason)),
            Verdict::Refused => offered.push(offered_key(candidate.public(), origin)),
            Verdict::KeysUnwelcome => {
                offered.push(offered_key(candidate.public(), origin));
                break;
            }
            Verdict::Stopped => {
                offered.push(offered_key(candidate.public(), origin));
                stopped = true;
                break;
            }
        }
    }
    if !stopped && attempt.admitted_without_a_key().await? {
        return Ok(Credential::Nothing);
    }
    if let Some((path, problem)) = attempt.locked {
        return Err(SshError::Key { path, problem });
    }
    if stopped && !notes.has_disconnect() && offered.len() < SILENT_TRIES_MIN {
        let reason = notes.reason();
        return Err(SshError::Lost { host: config.host_and_port(), reason });
    }
    let attempts_allowed = stopped.then_some(offered.len());
    Err(SshError::LoginRefused(Box::new(LoginRefused {
        user: config.user.clone(),
        host: config.hostname.clone(),
        port: config.port,
        location: None,
        offered,
        untried: queue.map(|left| offered_key(left.public(), left.origin())).collect(),
        attempts_allowed,
        unusable: keys.unusable,
        methods: attempt.methods,
        listed: None,
        remedies: Vec::new(),
    })))
}

fn offered_key(key: &PublicKey, origin: KeyOrigin) -> OfferedKey {
    OfferedKey { fingerprint: fingerprint(key), origin }
}

/// A key that can be offered
pub(super) enum Candidate {
    Agent(AgentKey),
    File(FileIdentity),
}

impl Candidate {
    fn public(&self) -> &PublicKey {
        match self {
            Self::Agent(key) => &key.public,
            Self::File(file) => &file.public,
        }
    }

    fn origin(&self) -> KeyOrigin {
        match self {
            Self::Agent(key) => KeyOrigin::Agent(key.comment.clone()),
            Self::File(file) => KeyOrigin::File(file.path.clone()),
        }
    }
}

/// The keys in order, and the files that are out
struct Candidates {
    agent: Option<Agent>,
    queue: Vec<Candidate>,
    unusable: Vec<(KeyOrigin, String)>,
}

impl Candidates {
    /// First the agent's keys that the configuration names, then its others, then the files
    async fn gather(config: &HostConfig, handle: &Handle<Guard>) -> Result<Self, SshError> {
        let (files, mut unusable) = load_files(config).await?;
        let (agent, mut held) = match &config.identity.agent {
            None => (None, Vec::new()),
            Some(socket) => match Agent::connect(socket, handle.agent_session_binding()).await {
                None => (None, Vec::new()),
                Some((agent, keys)) => (Some(agent), keys),
            },
        };
        let mut queue = Vec::new();
        let mut from_files = Vec::new();
        for (file, required) in files {
            let same = |key: &AgentKey| key.public.key_data() == file.public.key_data();
            if let Some(at) = held.iter().position(same) {
                queue.push(Candidate::Agent(held.remove(at)));
                continue;
            }
            match file.agent_only() {
                None => from_files.push(Candidate::File(file)),
                Some(problem) if required => {
                    return Err(SshError::Key { path: file.path, problem });
                }
                Some(problem) => unusable.push((KeyOrigin::File(file.path), problem.to_string())),
            }
        }
        if !config.identity.only_listed {
            queue.extend(held.into_iter().map(Candidate::Agent));
        }
        queue.extend(from_files);
        Ok(Self { agent, queue, unusable })
    }
}

type LoadedFiles = (Vec<(FileIdentity, bool)>, Vec<(KeyOrigin, String)>);

async fn load_files(config: &HostConfig) -> Result<LoadedFiles, SshError> {
    let wanted = config.identity.files.clone();
    let bits = config.algorithms.rsa_bits_min;
    let user_id = Environment::current().user_id;
    let loaded = tokio::task::spawn_blocking(move || {
        let mut usable = Vec::new();
        let mut unusable = Vec::new();
        for file in wanted {
            match identity::load(&file, user_id, bits) {
                Ok(None) => {}
                Ok(Some(identity)) => usable.push((identity, file.required)),
                Err(problem) if file.required => {
                    return Err(SshError::Key { path: file.path, problem });
                }
                Err(problem) => unusable.push((KeyOrigin::File(file.path), problem.to_string())),
            }
        }
        Ok((usable, unusable))
    });
    loaded.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// What became of one key
enum Verdict {
    Accepted,
    Refused,
    /// The host takes no keys, or no further ones
    KeysUnwelcome,
    /// The host ended the conversation
    Stopped,
    NotOffered(String),
}

struct Attempt<'a> {
    handle: &'a mut Handle<Guard>,
    config: &'a HostConfig,
    prompt: &'a Arc<dyn Prompt>,
    asking: &'a Asking,
    /// A key that the host would take and that could not be opened
    locked: Option<(PathBuf, KeyProblem)>,
    methods: Vec<String>,
    /// Whether the host took a key and wanted more
    in_parts: bool,
    /// Whether the last signature took a person's time
    waited: bool,
}

impl<'a> Attempt<'a> {
    fn new(
        handle: &'a mut Handle<Guard>,
        config: &'a HostConfig,
        prompt: &'a Arc<dyn Prompt>,
        asking: &'a Asking,
    ) -> Self {
        let (locked, methods) = (None, Vec::new());
        let (in_parts, waited) = (false, false);
        Self { handle, config, prompt, asking, locked, methods, in_parts, waited }
    }
}

impl Attempt<'_> {
    /// What a further login may use of the key that was taken last
    fn credential(&self, key: Candidate) -> Credential {
        let is_silent = match &key {
            Candidate::Agent(key) => !is_in_hardware(&key.public),
            Candidate::File(file) => file.is_open(),
        };
        match is_silent && !self.in_parts && !self.waited {
            true => Credential::Key(Box::new(key)),
            false => Credential::Person,
        }
    }

    async fn offer(
        &mut self,
        candidate: &Candidate,
        agent: Option<&mut Agent>,
    ) -> Result<Verdict, SshError> {
        let public = candidate.public().clone();
        let digest = match self.digest_for(&public).await? {
            Ok(digest) => digest,
            Err(reason) => return Ok(Verdict::NotOffered(reason)),
        };
        let user = self.config.user.clone();
        let (prompt, asking) = (self.prompt, self.asking);
        let mut signer = KeySigner { candidate, agent, prompt, asking, waited: false };
        let answer =
            self.handle.authenticate_publickey_with(user, public, digest, &mut signer).await;
        self.waited = signer.waited;
        match answer {
            Ok(AuthResult::Success) => Ok(Verdict::Accepted),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                self.in_parts |= partial_success;
                if !remaining_methods.is_empty() {
                    self.methods = remaining_methods.iter().map(String::from).collect();
                }
                let goes_on = remaining_methods.contains(&MethodKind::PublicKey);
                Ok(match (remaining_methods.is_empty(), goes_on) {
                    (true, _) => Verdict::Stopped,
                    (false, true) => Verdict::Refused,
                    (false, false) => Verdict::KeysUnwelcome,
                })
            }
            Err(NotSigned::Key(problem)) => {
                if let Candidate::File(file) = candidate {
                    self.locked.get_or_insert_with(|| (file.path.clone(), problem));
                }
                Ok(Verdict::NotOffered("it could not be opened".to_owned()))
            }
            Err(NotSigned::Agent) => Ok(Verdict::NotOffered("the agent did not sign".to_owned())),
            Err(NotSigned::Gone) => Ok(Verdict::Stopped),
        }
    }

    /// The digest of an RSA signature; SHA-1 is not used, whatever the host wants
    async fn digest_for(
        &self,
        public: &PublicKey,
    ) -> Result<Result<Option<HashAlg>, String>, SshError> {
        if !public.algorithm().is_rsa() {
            return Ok(Ok(None));
        }
        let gone = |_| SshError::Lost {
            host: self.config.host_and_port(),
            reason: "it closed the connection before a key was offered".to_owned(),
        };
        Ok(match self.handle.best_supported_rsa_hash().await.map_err(gone)? {
            None => Ok(Some(HashAlg::Sha256)),
            Some(Some(digest)) => Ok(Some(digest)),
            Some(None) => Err("the host takes RSA signatures over SHA-1 only".to_owned()),
        })
    }

    /// Some hosts know their guest by other means and ask for nothing; this also names the methods
    async fn admitted_without_a_key(&mut self) -> Result<bool, SshError> {
        let user = self.config.user.clone();
        match self.handle.authenticate_none(user).await {
            Ok(AuthResult::Success) => Ok(true),
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                if !remaining_methods.is_empty() {
                    self.methods = remaining_methods.iter().map(String::from).collect();
                }
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }
}

/// Signs with a file's key or asks the agent to
struct KeySigner<'a> {
    candidate: &'a Candidate,
    agent: Option<&'a mut Agent>,
    prompt: &'a Arc<dyn Prompt>,
    asking: &'a Asking,
    /// Whether the agent took so long that it may have asked its owner
    waited: bool,
}

enum NotSigned {
    Key(KeyProblem),
    Agent,
    Gone,
}

impl From<russh::SendError> for NotSigned {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

impl Signer for KeySigner<'_> {
    type Error = NotSigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        digest: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, NotSigned> {
        match (self.candidate, self.agent.as_mut()) {
            (Candidate::Agent(key), Some(agent)) => {
                let signing = self.asking.person(agent.sign(&key.public, digest, to_sign));
                let mut signing = std::pin::pin!(signing);
                let signed = match timeout(AGENT_ALONE_WITHIN, &mut signing).await {
                    Ok(signed) => signed,
                    Err(_) => {
                        self.waited = true;
                        signing.await
                    }
                };
                signed.ok_or(NotSigned::Agent)
            }
            (Candidate::Agent(_), None) => Err(NotSigned::Agent),
            (Candidate::File(file), _) => {
                let key = file.unlock(self.prompt, self.asking).await.map_err(NotSigned::Key)?;
                sign(&key, digest, to_sign).map_err(|error| {
                    NotSigned::Key(KeyProblem::Malformed(error.to_string().to_lowercase()))
                })
            }
        }
    }
}

/// Whether a key signs only when somebody touches it
fn is_in_hardware(key: &PublicKey) -> bool {
    matches!(key.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
}

/// Appends the signature, as the string that a login request carries
fn sign(
    key: &PrivateKey,
    digest: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, russh::keys::ssh_key::Error> {
    use russh::keys::signature::Signer as _;
    use russh::keys::ssh_encoding::Encode as _;
    use russh::keys::ssh_key::Signature;
    use russh::keys::ssh_key::private::KeypairData;

    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, digest).try_sign(&data)?,
        pair => pair.try_sign(&data)?,
    };
    signature.encode_prefixed(&mut data)?;
    Ok(data)
}
