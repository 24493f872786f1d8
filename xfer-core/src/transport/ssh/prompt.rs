//! Questions that only a person can answer

use std::fmt;
use std::path::{Path, PathBuf};

/// Asks the person at the terminal; the calls may block
pub trait Prompt: Send + Sync + fmt::Debug {
    /// May this host, which no file knows, be trusted from now on?
    fn accept_host_key(&self, question: &HostKeyQuestion) -> HostKeyAnswer;

    /// The passphrase of a key, `None` when nobody can be asked or the person gives up
    fn passphrase(&self, question: &PassphraseQuestion<'_>) -> Option<Passphrase>;
}

/// A prompt where there is no terminal: every question is answered by a refusal
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn accept_host_key(&self, _: &HostKeyQuestion) -> HostKeyAnswer {
        HostKeyAnswer::NobodyToAsk
    }

    fn passphrase(&self, _: &PassphraseQuestion<'_>) -> Option<Passphrase> {
        None
    }
}

/// An unknown host key
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyQuestion {
    /// The name that will stand in known_hosts
    pub host: String,
    /// The kind of key, as `ssh-ed25519`
    pub algorithm: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Keys of other kinds that are listed for this host, as `path:line algorithm fingerprint`
    pub other_keys: Vec<String>,
    /// The file to which the key is added after a yes
    pub known_hosts: PathBuf,
}

/// The answer to a [`HostKeyQuestion`]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyAnswer {
    /// Yes, and remember it
    Accept,
    /// No
    Decline,
    /// There is no terminal
    NobodyToAsk,
}

/// A key that the host takes and that has a passphrase
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseQuestion<'a> {
    /// The private key
    pub key: &'a Path,
    /// How many passphrases did not open it before
    pub failures: u32,
}

/// A passphrase; it is never shown
pub struct Passphrase(String);

impl Passphrase {
    /// Takes what the person typed, without the newline
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Passphrase(…)")
    }
}
