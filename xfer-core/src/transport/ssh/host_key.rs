//! Is this host who it should be?

use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::algorithms::same_kind;
use super::error::{ConfigurationProblem, HostKeyProblem, SshError};
use super::handshake::{Asking, HostKeyTrust};
use super::host_config::{HostConfig, StrictHostKeyChecking};
use super::known_hosts::{self, KnownKey, LookupName, Marker};
use super::prompt::{HostKeyAnswer, HostKeyQuestion, NoPrompt, Prompt};
use crate::disk::settings_file;

/// Decides about the key that a host shows
#[derive(Debug)]
pub(super) struct HostKeyJudge {
    name: LookupName,
    /// The only key that is taken, where an earlier connection to the host was shown it
    shown_before: Option<(PublicKey, HostKeyTrust)>,
    known: Vec<KnownKey>,
    checking: StrictHostKeyChecking,
    new_keys_go_to: Option<PathBuf>,
    hash_names: bool,
    rsa_bits_min: usize,
    prompt: Arc<dyn Prompt>,
    seed: u64,
}

/// What the files say about a key
#[derive(Debug, Clone, Copy)]
enum Finding<'a> {
    Known,
    Revoked(&'a KnownKey),
    Changed(&'a KnownKey),
    Unknown,
}

impl HostKeyJudge {
    /// Reads the known_hosts files of `config`
    pub(super) async fn prepare(
        config: &HostConfig,
        prompt: &Arc<dyn Prompt>,
        seed: u64,
    ) -> Result<Self, SshError> {
        let name = LookupName::of(config);
        let files: Vec<PathBuf> = config
            .host_key
            .user_files
            .iter()
            .chain(&config.host_key.global_files)
            .cloned()
            .collect();
        let searched = name.clone();
        let known =
            tokio::task::spawn_blocking(move || known_hosts::lookup(&files, &searched)).await;
        let known = known
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
            .map_err(|error| SshError::Configuration {
                host: name.entry.clone(),
                problem: ConfigurationProblem::File(error),
            })?;
        Ok(Self {
            name,
            shown_before: None,
            known,
            checking: config.host_key.checking,
            new_keys_go_to: config.host_key.user_files.first().cloned(),
            hash_names: config.host_key.hash_names,
            rsa_bits_min: config.algorithms.rsa_bits_min,
            prompt: Arc::clone(prompt),
            seed,
        })
    }

    /// Takes the key alone that an earlier connection to the host was shown; asks nobody
    pub(super) fn of_further_connection(
        config: &HostConfig,
        shown: (PublicKey, HostKeyTrust),
    ) -> Self {
        Self {
            name: LookupName::of(config),
            shown_before: Some(shown),
            known: Vec::new(),
            checking: StrictHostKeyChecking::Yes,
            new_keys_go_to: None,
            hash_names: false,
            rsa_bits_min: config.algorithms.rsa_bits_min,
            prompt: Arc::new(NoPrompt),
            seed: 0,
        }
    }

    /// The kinds of keys that are listed for the host
    pub(super) fn known_kinds(&self) -> Vec<Algorithm> {
        if let Some((key, _)) = &self.shown_before {
            return vec![key.algorithm()];
        }
        let plain = self.known.iter().filter(|known| known.marker == Marker::None);
        plain.map(|known| known.key.algorithm()).collect()
    }

    /// Accepts or refuses; `asking` is set while a person is asked
    pub(super) async fn judge(
        &self,
        key: &PublicKey,
        asking: &Asking,
    ) -> Result<HostKeyTrust, SshError> {
        self.decide(key, asking)
            .await
            .map_err(|problem| SshError::HostKey { host: self.name.entry.clone(), problem })
    }

    async fn decide(
        &self,
        key: &PublicKey,
        asking: &Asking,
    ) -> Result<HostKeyTrust, Box<HostKeyProblem>> {
        if let Some((before, trust)) = &self.shown_before {
            if before.key_data() == key.key_data() {
                return Ok(*trust);
            }
            let (algorithm, fingerprint) = (key.algorithm().to_string(), fingerprint(key));
            let expected = self::fingerprint(before);
            return Err(HostKeyProblem::Another { algorithm, fingerprint, expected }.into());
        }
        if let Some(bits) = rsa_bits(key).filter(|bits| *bits < self.rsa_bits_min) {
            return Err(HostKeyProblem::TooShort { bits }.into());
        }
        match (self.find(key), self.checking) {
            (Finding::Revoked(known), _) => Err(revoked(key, known).into()),
            (Finding::Known, _) => Ok(HostKeyTrust::Known),
            (Finding::Changed(_), StrictHostKeyChecking::Off) => Ok(HostKeyTrust::Changed),
            // A key of another kind may be chosen by whoever stands between.
            (Finding::Unknown, StrictHostKeyChecking::Off) => Ok(match self.listed() {
                Some(_) => HostKeyTrust::Changed,
                None => HostKeyTrust::Unproven,
            }),
            (Finding::Changed(known), _) => Err(self.changed(key, known).into()),
            (Finding::Unknown, StrictHostKeyChecking::Yes) => Err(self.unknown(key).into()),
            (Finding::Unknown, StrictHostKeyChecking::AcceptNew) => {
                // ssh adds a key of another kind here; whoever stands between could choose that
                // kind.
                if let Some(known) = self.listed() {
                    return Err(self.changed(key, known).into());
                }
                self.record(key)?;
                Ok(HostKeyTrust::AcceptedNew)
            }
            (Finding::Unknown, StrictHostKeyChecking::Ask) => self.ask(key, asking).await,
        }
    }

    fn find(&self, key: &PublicKey) -> Finding<'_> {
        let same = |known: &&KnownKey| known.key.key_data() == key.key_data();
        let of = |marker| self.known.iter().filter(move |known| known.marker == marker);
        if let Some(known) = of(Marker::Revoked).find(same) {
            return Finding::Revoked(known);
        }
        if of(Marker::None).filter(|known| !known.bare).any(|known| same(&known)) {
            return Finding::Known;
        }
        let kind = key.algorithm();
        let other = of(Marker::None)
            .filter(|known| !known.bare)
            .find(|known| same_kind(&known.key.algorithm(), &kind));
        if let Some(known) = other {
            return Finding::Changed(known);
        }
        if of(Marker::None).any(|known| same(&known)) { Finding::Known } else { Finding::Unknown }
    }

    /// A plain key that is listed under the full name
    fn listed(&self) -> Option<&KnownKey> {
        self.known.iter().find(|known| known.marker == Marker::None && !known.bare)
    }

    async fn ask(
        &self,
        key: &PublicKey,
        asking: &Asking,
    ) -> Result<HostKeyTrust, Box<HostKeyProblem>> {
        let Some(path) = &self.new_keys_go_to else { return Err(self.unknown(key).into()) };
        let others = self.known.iter().filter(|known| known.marker == Marker::None);
        let question = HostKeyQuestion {
            host: self.name.entry.clone(),
            algorithm: key.algorithm().to_string(),
            fingerprint: fingerprint(key),
            other_keys: others
                .map(|known| {
                    let (path, kind) = (known.path.display(), known.key.algorithm());
                    format!("{path}:{} {kind} {}", known.line, known.fingerprint())
                })
                .collect(),
            known_hosts: path.clone(),
        };
        let prompt = Arc::clone(&self.prompt);
        let answer = asking.blocking(move || prompt.accept_host_key(&question)).await;
        match answer {
            HostKeyAnswer::Accept => {
                self.record(key)?;
                Ok(HostKeyTrust::AcceptedByPerson)
            }
            HostKeyAnswer::Decline => Err(Box::new(HostKeyProblem::Declined {
                algorithm: key.algorithm().to_string(),
                fingerprint: fingerprint(key),
            })),
            HostKeyAnswer::NobodyToAsk => Err(self.unknown(key).into()),
        }
    }

    fn record(&self, key: &PublicKey) -> Result<(), Box<HostKeyProblem>> {
        let Some(path) = &self.new_keys_go_to else { return Ok(()) };
        let salt = self.hash_names.then(|| self.salt(key));
        let line = known_hosts::line_for(&self.name, key, salt);
        settings_file::append_line(path, &line)
            .map_err(|error| Box::new(HostKeyProblem::NotRecorded { path: path.clone(), error }))
    }

    /// A salt that nobody can guess from the file alone: the seed is random and not in it
    fn salt(&self, key: &PublicKey) -> [u8; 20] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(self.name.entry.as_bytes());
        hasher.update(&key.to_bytes().unwrap_or_default());
        let mut salt = [0; 20];
        hasher.finalize_xof().fill(&mut salt);
        salt
    }

    fn unknown(&self, key: &PublicKey) -> HostKeyProblem {
        let (algorithm, fingerprint) = (key.algorithm().to_string(), fingerprint(key));
        let authority = self.known.iter().find(|known| known.marker == Marker::CertAuthority);
        match authority {
            Some(known) => HostKeyProblem::NeedsCertificate {
                algorithm,
                fingerprint,
                path: known.path.clone(),
                line: known.line,
            },
            None => HostKeyProblem::Unknown { algorithm, fingerprint },
        }
    }

    fn changed(&self, key: &PublicKey, known: &KnownKey) -> HostKeyProblem {
        HostKeyProblem::Changed {
            algorithm: key.algorithm().to_string(),
            fingerprint: fingerprint(key),
            expected: known.fingerprint(),
            path: known.path.clone(),
            line: known.line,
            entry: self.name.entry.clone(),
        }
    }
}

/// Lists a key that was proven by other means under the host's name, in plain
pub(super) fn record(config: &HostConfig, key: &PublicKey) -> Result<(), Box<HostKeyProblem>> {
    let Some(path) = config.host_key.user_files.first() else { return Ok(()) };
    let line = known_hosts::line_for(&LookupName::of(config), key, None);
    settings_file::append_line(path, &line)
        .map_err(|error| Box::new(HostKeyProblem::NotRecorded { path: path.clone(), error }))
}

/// `SHA256:…`
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The size of an RSA key, `None` for other kinds
pub(super) fn rsa_bits(key: &PublicKey) -> Option<usize> {
    key.key_data().rsa().and_then(|rsa| usize::try_from(rsa.key_size()).ok())
}

fn revoked(key: &PublicKey, known: &KnownKey) -> HostKeyProblem {
    HostKeyProblem::Revoked {
        algorithm: key.algorithm().to_string(),
        fingerprint: fingerprint(key),
        path: known.path.clone(),
        line: known.line,
    }
}
