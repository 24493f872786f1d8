//! Private key files

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, PrivateKey, PublicKey, decode_secret_key, parse_public_key_base64};

use super::error::KeyProblem;
use super::handshake::Asking;
use super::host_config::IdentityFile;
use super::host_key::rsa_bits;
use super::prompt::{PassphraseQuestion, Prompt};
use super::tuning::KEY_FILE_BYTES_MAX;
use crate::disk::settings_file::{self, SettingsFileProblem};

/// How often a passphrase is asked for
const PASSPHRASES_MAX: u32 = 3;

/// A key file that may be offered
#[derive(Debug)]
pub(super) struct FileIdentity {
    pub(super) path: PathBuf,
    pub(super) public: PublicKey,
    private: PrivateHalf,
}

#[derive(Debug)]
enum PrivateHalf {
    Open(Arc<PrivateKey>),
    /// The text of a file with a passphrase
    Locked(String),
    /// A public key file, or a key whose secret lives in hardware: only an agent can sign
    Elsewhere(KeyProblemKind),
}

#[derive(Debug, Clone)]
enum KeyProblemKind {
    Public,
    Hardware(String),
}

/// Reads a key file; `None` when it is missing and nobody insisted on it
pub(super) fn load(
    file: &IdentityFile,
    user_id: u32,
    rsa_bits_min: usize,
) -> Result<Option<FileIdentity>, KeyProblem> {
    let content = match settings_file::read(&file.path, KEY_FILE_BYTES_MAX) {
        Ok(content) => content,
        Err(error) => {
            return match error.reason {
                SettingsFileProblem::Missing if !file.required => Ok(None),
                reason => Err(KeyProblem::File(reason)),
            };
        }
    };
    let Ok(text) = String::from_utf8(content.bytes) else {
        return Err(KeyProblem::Malformed("it is not text".to_owned()));
    };
    let identity = match public_key_line(&text) {
        Some(public) => {
            let private = PrivateHalf::Elsewhere(KeyProblemKind::Public);
            FileIdentity { path: file.path.clone(), public, private }
        }
        None => {
            check_permissions(content.mode, content.owner, user_id)?;
            parse(&file.path, text)?
        }
    };
    check_kind(&identity.public, rsa_bits_min)?;
    Ok(Some(identity))
}

impl FileIdentity {
    /// A key that is in no file
    pub(super) fn in_memory(key: Arc<PrivateKey>) -> Self {
        let (path, public) = (PathBuf::new(), key.public_key().clone());
        Self { path, public, private: PrivateHalf::Open(key) }
    }

    /// Why only an agent could sign with this key, when that is so
    pub(super) fn agent_only(&self) -> Option<KeyProblem> {
        match &self.private {
            PrivateHalf::Elsewhere(KeyProblemKind::Public) => Some(KeyProblem::Public),
            PrivateHalf::Elsewhere(KeyProblemKind::Hardware(kind)) => {
                Some(KeyProblem::Kind(kind.clone()))
            }
            _ => None,
        }
    }

    /// Whether it needs no passphrase
    pub(super) fn is_open(&self) -> bool {
        matches!(self.private, PrivateHalf::Open(_))
    }

    /// The private key; the person is asked when it has a passphrase
    pub(super) async fn unlock(
        &self,
        prompt: &Arc<dyn Prompt>,
        asking: &Asking,
    ) -> Result<Arc<PrivateKey>, KeyProblem> {
        let text = match &self.private {
            PrivateHalf::Open(key) => return Ok(Arc::clone(key)),
            PrivateHalf::Locked(text) => text,
            PrivateHalf::Elsewhere(_) => {
                return Err(self.agent_only().unwrap_or(KeyProblem::Public));
            }
        };
        for failures in 0..PASSPHRASES_MAX {
            let (prompt, path) = (Arc::clone(prompt), self.path.clone());
            let text = text.clone();
            let opened = asking
                .blocking(move || {
                    let question = PassphraseQuestion { key: &path, failures };
                    let passphrase = prompt.passphrase(&question)?;
                    Some(decode_secret_key(&text, Some(passphrase.expose())).ok())
                })
                .await;
            match opened {
                None if failures == 0 => return Err(KeyProblem::NobodyToAsk),
                None => return Err(KeyProblem::WrongPassphrase),
                Some(Some(key)) if key.public_key().key_data() == self.public.key_data() => {
                    return Ok(Arc::new(key));
                }
                Some(_) => {}
            }
        }
        Err(KeyProblem::WrongPassphrase)
    }
}

fn check_permissions(mode: u32, owner: u32, user_id: u32) -> Result<(), KeyProblem> {
    match (mode & 0o077 != 0, owner == user_id) {
        (false, _) => Ok(()),
        (true, true) => Err(KeyProblem::OpenToOthers { mode }),
        (true, false) => Err(KeyProblem::NotOurs { owner }),
    }
}

fn check_kind(public: &PublicKey, rsa_bits_min: usize) -> Result<(), KeyProblem> {
    if let Some(bits) = rsa_bits(public).filter(|bits| *bits < rsa_bits_min) {
        return Err(KeyProblem::TooShort { bits, required: rsa_bits_min });
    }
    match public.algorithm() {
        Algorithm::Dsa | Algorithm::Other(_) => {
            Err(KeyProblem::Kind(public.algorithm().to_string()))
        }
        _ => Ok(()),
    }
}

fn parse(path: &Path, text: String) -> Result<FileIdentity, KeyProblem> {
    let made = |public, private| FileIdentity { path: path.to_owned(), public, private };
    if text.trim().is_empty() {
        return Err(KeyProblem::Empty);
    }
    if text.trim_start().starts_with("PuTTY-User-Key-File-") {
        return Err(KeyProblem::Putty);
    }
    if text.contains("-----BEGIN DSA PRIVATE KEY-----") {
        return Err(KeyProblem::Kind("ssh-dss".to_owned()));
    }
    // Only this format carries the public half outside the encryption.
    if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let malformed =
            |error: russh::keys::ssh_key::Error| KeyProblem::Malformed(error.to_string());
        let key = PrivateKey::from_openssh(text.trim_start()).map_err(malformed)?;
        let public = key.public_key().clone();
        return Ok(match public.algorithm() {
            Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
                let kind = KeyProblemKind::Hardware(public.algorithm().to_string());
                made(public, PrivateHalf::Elsewhere(kind))
            }
            _ if key.is_encrypted() => made(public, PrivateHalf::Locked(text)),
            _ => made(public, PrivateHalf::Open(Arc::new(key))),
        });
    }
    if text.contains("ENCRYPTED") {
        return match public_beside(path) {
            Some(public) => Ok(made(public, PrivateHalf::Locked(text))),
            None => Err(KeyProblem::Malformed(
                "it has a passphrase and no .pub file beside it".to_owned(),
            )),
        };
    }
    let key = decode_secret_key(&text, None)
        .map_err(|error| KeyProblem::Malformed(error.to_string().to_lowercase()))?;
    Ok(made(key.public_key().clone(), PrivateHalf::Open(Arc::new(key))))
}

/// The key of a file that holds one `TYPE BASE64 COMMENT` line
fn public_key_line(text: &str) -> Option<PublicKey> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let mut words = line.split_ascii_whitespace();
    let (kind, blob) = (words.next()?, words.next()?);
    let key = parse_public_key_base64(blob).ok()?;
    (key.algorithm().as_ref() == kind).then_some(key)
}

fn public_beside(path: &Path) -> Option<PublicKey> {
    let mut name = path.file_name()?.to_owned();
    name.push(".pub");
    let file = settings_file::read(&path.with_file_name(name), KEY_FILE_BYTES_MAX).ok()?;
    public_key_line(&String::from_utf8(file.bytes).ok()?)
}
