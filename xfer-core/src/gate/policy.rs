//! What is asked before a machine may go. The defaults are the strictest.
//!
//! A policy reads itself from any form that serde reads; `gate.toml` is TOML:
//!
//! ```toml
//! roots = ["/workspace", "/root"]
//! durability = "D2"
//! proof = "read-back"
//! store-checksum = false
//! allowed-exclusions = ["7f3a…"]
//! token-life = "15m"
//! host-key-channels = ["platform-pinned", "known_hosts"]
//! trusted-keys = ["ed25519:…"]
//! load-check = true
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr as _;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::ProofLevel;

use super::evidence::{Durability, HostKeyChannel};
use crate::trust::PublicKey;

/// Seconds for which a token may live at most.
pub const TOKEN_LIFE_MAX: u32 = 24 * 60 * 60;

/// What is asked of evidence. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Policy {
    /// Absolute paths of roots that must be among the evidence; none, the default, means those of
    /// the collection: `/workspace` and home, or what was named.
    #[serde(deserialize_with = "roots")]
    pub roots: Vec<String>,
    /// How far a destination must be; D2 by default, D1 at least.
    #[serde(deserialize_with = "durability")]
    pub durability: Durability,
    /// How each entry must be proven; read back by default, durable at least.
    #[serde(deserialize_with = "proof", serialize_with = "proof_text")]
    pub proof: ProofLevel,
    /// Whether a store's own checksum of a whole object, equal to ours, stands for reading it back;
    /// not by default.
    pub store_checksum: bool,
    /// Digests of lists of excluded or skipped entries, and of trees outside the roots, that may be
    /// lost; none by default.
    #[serde(deserialize_with = "digests", serialize_with = "digest_texts")]
    pub allowed_exclusions: BTreeSet<Digest>,
    /// Seconds for which a release counts, from the end of the collection on; 900 by default,
    /// 86,400 at most. Written as `15m`, `900s` or `1h`.
    #[serde(deserialize_with = "life")]
    pub token_life: u32,
    /// How the machine's host key may have been proven; by the platform or by a file of known hosts
    /// by default.
    pub host_key_channels: BTreeSet<HostKeyChannel>,
    /// Whose receipts are believed beside this state directory's; nobody's by default.
    #[serde(deserialize_with = "keys", serialize_with = "key_texts")]
    pub trusted_keys: BTreeSet<PublicKey>,
    /// Whether files must open at the destination as what their kind says; they must by default.
    /// Files of kinds that nobody knows are not tried.
    pub load_check: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            durability: Durability::D2,
            proof: ProofLevel::ReadBack,
            store_checksum: false,
            allowed_exclusions: BTreeSet::new(),
            token_life: 15 * 60,
            host_key_channels: [HostKeyChannel::PlatformPinned, HostKeyChannel::KnownHosts].into(),
            trusted_keys: BTreeSet::new(),
            load_check: true,
        }
    }
}

impl Policy {
    /// A digest over all that it asks: a token is bound to it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("xfer gate policy 1");
        // Plain values cannot fail to serialise into memory, in the order of their fields.
        hasher.update(&serde_json::to_vec(self).unwrap_or_default());
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// What a value may be, for whoever wrote another.
struct Wanted(&'static str);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {}", self.0)
    }
}

fn refused<E: serde::de::Error>(key: &str, found: &str, wanted: Wanted) -> E {
    E::custom(format_args!("{key}: {found:?} is none of its values: {wanted}"))
}

fn roots<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let roots = Vec::<String>::deserialize(from)?;
    let plain = |root: &str| {
        let names = root.strip_prefix('/').map(|rest| rest.split('/'));
        !root.contains('\0')
            && (root == "/"
                || names
                    .is_some_and(|mut names| names.all(|name| !matches!(name, "" | "." | ".."))))
    };
    match roots.iter().find(|root| !plain(root)) {
        Some(root) => Err(refused("roots", root, Wanted("absolute paths, as /workspace"))),
        None => Ok(roots),
    }
}

fn durability<'de, D: Deserializer<'de>>(from: D) -> Result<Durability, D::Error> {
    match String::deserialize(from)?.as_str() {
        "D1" => Ok(Durability::D1),
        "D2" => Ok(Durability::D2),
        other => Err(refused("durability", other, Wanted("\"D2\" or \"D1\""))),
    }
}

fn proof<'de, D: Deserializer<'de>>(from: D) -> Result<ProofLevel, D::Error> {
    let text = String::deserialize(from)?;
    let levels = [ProofLevel::Durable, ProofLevel::ReadBackCached, ProofLevel::ReadBack];
    levels.into_iter().find(|level| level.name() == text).ok_or_else(|| {
        let wanted = Wanted("\"read-back\", \"read-back-cached\" or \"durable\"");
        refused("proof", &text, wanted)
    })
}

fn proof_text<S: serde::Serializer>(proof: &ProofLevel, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(proof.name())
}

fn digests<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Digest>, D::Error> {
    let wanted = || Wanted("64 hexadecimal digits, as the verdict shows them");
    parsed(from, |text| {
        let digest = blake3::Hash::from_str(text).ok();
        digest
            .map(|digest| Digest::from_bytes(*digest.as_bytes()))
            .ok_or_else(|| refused("allowed-exclusions", text, wanted()))
    })
}

fn digest_texts<S: serde::Serializer>(all: &BTreeSet<Digest>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().map(ToString::to_string))
}

fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<PublicKey>, D::Error> {
    let wanted = || Wanted("ed25519: and 64 hexadecimal digits");
    parsed(from, |text| {
        PublicKey::parse(text).ok_or_else(|| refused("trusted-keys", text, wanted()))
    })
}

fn key_texts<S: serde::Serializer>(all: &BTreeSet<PublicKey>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().map(ToString::to_string))
}

fn parsed<'de, D: Deserializer<'de>, T: Ord>(
    from: D,
    parse: impl Fn(&str) -> Result<T, D::Error>,
) -> Result<BTreeSet<T>, D::Error> {
    Vec::<String>::deserialize(from)?.iter().map(|text| parse(text)).collect()
}

fn life<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    seconds(&text).ok_or_else(|| {
        refused("token-life", &text, Wanted("a number and s, m or h, from 1s to 24h: \"15m\""))
    })
}

fn seconds(text: &str) -> Option<u32> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| digits.parse().ok())??;
    number.checked_mul(unit).filter(|life| (1..=TOKEN_LIFE_MAX).contains(life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_strictest_policy() {
        let policy = read("").unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!((policy.durability, policy.proof), (Durability::D2, ProofLevel::ReadBack));
        assert!(!policy.store_checksum && policy.load_check);
        assert_eq!(policy.token_life, 900);
        assert!(!policy.host_key_channels.contains(&HostKeyChannel::FirstUse));
    }

    #[test]
    fn every_key_is_read() {
        let digest = blake3::hash(b"").to_string();
        let key = PublicKey([7; 32]);
        let text = format!(
            "roots = ['/workspace', '/']\ndurability = 'D1'\nproof = 'durable'\n\
             store-checksum = true\nallowed-exclusions = ['{digest}']\ntoken-life = '2h'\n\
             host-key-channels = ['first-use']\ntrusted-keys = ['{key}']\nload-check = false\n"
        );
        let policy = read(&text).unwrap();
        assert_eq!(policy.roots, ["/workspace", "/"]);
        assert_eq!((policy.durability, policy.proof), (Durability::D1, ProofLevel::Durable));
        assert_eq!(policy.token_life, 7200);
        assert!(policy.store_checksum && !policy.load_check);
        assert!(policy.allowed_exclusions.iter().map(ToString::to_string).eq([digest]));
        assert!(policy.trusted_keys.contains(&key));
        assert!(policy.host_key_channels.into_iter().eq([HostKeyChannel::FirstUse]));
    }

    #[test]
    fn a_life_has_a_unit() {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("15m", 900), ("2h", 7200), ("24h", TOKEN_LIFE_MAX)]
        {
            assert_eq!(read(&format!("token-life = '{text}'")).unwrap().token_life, seconds);
        }
    }

    /// Each is refused with its line, its key and what to write instead.
    #[test]
    fn what_is_wrong_is_located() {
        for (line, says) in [
            ("root = ['/a']", "unknown field `root`, expected one of `roots`"),
            ("roots = ['workspace']", "write absolute paths"),
            ("roots = ['/a/../b']", "write absolute paths"),
            ("roots = '/a'", "expected a sequence"),
            ("durability = 'D0'", "durability: \"D0\" is none of its values: write \"D2\" or"),
            ("proof = 'received'", "proof: \"received\" is none of its values: write"),
            ("store-checksum = 'yes'", "expected a boolean"),
            ("allowed-exclusions = ['7f']", "write 64 hexadecimal digits"),
            ("token-life = '0s'", "from 1s to 24h"),
            ("token-life = '25h'", "from 1s to 24h"),
            ("token-life = '99999999999h'", "from 1s to 24h"),
            ("token-life = '+5m'", "from 1s to 24h"),
            ("token-life = 900", "expected a string"),
            ("token-life = 'é'", "from 1s to 24h"),
            ("host-key-channels = ['tofu']", "unknown variant `tofu`, expected"),
            ("trusted-keys = ['ed25519:00']", "write ed25519: and 64"),
        ] {
            let error = read(&format!("# gate\n{line}\n")).unwrap_err();
            assert!(error.contains("line 2"), "{line}: {error}");
            assert!(error.contains(says), "{line}: {error}");
            assert!(error.contains(line.split(' ').next().unwrap()), "{line}: {error}");
        }
    }

    #[test]
    fn every_difference_has_another_digest() {
        let strict = Policy::default();
        let others = [
            Policy { roots: vec!["/a".into()], ..strict.clone() },
            Policy { durability: Durability::D1, ..strict.clone() },
            Policy { proof: ProofLevel::Durable, ..strict.clone() },
            Policy { store_checksum: true, ..strict.clone() },
            Policy { allowed_exclusions: [Digest::from_bytes([1; 32])].into(), ..strict.clone() },
            Policy { token_life: 901, ..strict.clone() },
            Policy { host_key_channels: BTreeSet::new(), ..strict.clone() },
            Policy { trusted_keys: [PublicKey([1; 32])].into(), ..strict.clone() },
            Policy { load_check: false, ..strict.clone() },
        ];
        let digests: BTreeSet<_> = others.iter().map(Policy::digest).collect();
        assert_eq!(digests.len(), others.len());
        assert!(!digests.contains(&strict.digest()));
    }
}
