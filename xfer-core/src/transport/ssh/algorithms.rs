//! Which algorithms are offered, in which order

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

use super::error::ConfigurationProblem;
use super::host_config::AlgorithmConfig;
use super::known_hosts::pattern_matches;

/// AES-GCM first: with hardware support it is far ahead of the others, and Terrapin does not touch
/// it
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

const KEY_EXCHANGES: [kex::Name; 9] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
];

const MACS: [mac::Name; 4] =
    [mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Whether ChaCha20-Poly1305 is offered; it is safe only after a strict key exchange
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChaCha20 {
    Offered,
    Withheld,
}

/// What is offered to a host, of which keys of the kinds in `known_keys` are listed
pub(super) fn preferred(
    config: &AlgorithmConfig,
    known_keys: &[Algorithm],
    chacha20: ChaCha20,
) -> Result<Preferred, ConfigurationProblem> {
    let allowed =
        |list: &[String], name: &str| list.is_empty() || list.iter().any(|entry| entry == name);
    let mut ciphers: Vec<_> =
        CIPHERS.into_iter().filter(|name| allowed(&config.ciphers, name.as_ref())).collect();
    if chacha20 == ChaCha20::Withheld {
        ciphers.retain(|name| *name != cipher::CHACHA20_POLY1305);
    }
    let key_exchanges: Vec<_> = KEY_EXCHANGES
        .into_iter()
        .filter(|name| key_exchange_allowed(&config.key_exchanges, name.as_ref()))
        .collect();
    let macs: Vec<_> =
        MACS.into_iter().filter(|name| allowed(&config.macs, name.as_ref())).collect();
    let mut host_keys: Vec<Algorithm> = HOST_KEYS
        .into_iter()
        .filter(|algorithm| allowed(&config.host_keys, algorithm.as_ref()))
        .collect();
    for (keyword, empty) in [
        ("ciphers", ciphers.is_empty()),
        ("kexalgorithms", key_exchanges.is_empty()),
        // An AEAD cipher brings its own, so an empty list only narrows the ciphers.
        ("macs", macs.is_empty() && !ciphers.iter().any(is_aead)),
        ("hostkeyalgorithms", host_keys.is_empty()),
    ] {
        if empty {
            return Err(ConfigurationProblem::NoAlgorithm { keyword });
        }
    }
    // A host is asked first for a key of a kind that is known, or it would seem to have changed.
    host_keys.sort_by_key(|algorithm| !known_keys.iter().any(|known| same_kind(known, algorithm)));
    Ok(Preferred {
        kex: Cow::Owned(with_extensions(key_exchanges)),
        key: Cow::Owned(host_keys),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        compression: Cow::Borrowed(&[compression::NONE]),
    })
}

/// The names that are offered by default for `keyword`, without those that a pattern list names
pub(super) fn without(keyword: &str, patterns: &str) -> Vec<String> {
    let names: Vec<&str> = match keyword {
        "ciphers" => CIPHERS.iter().map(AsRef::as_ref).collect(),
        "kexalgorithms" => KEY_EXCHANGES.iter().map(AsRef::as_ref).collect(),
        "macs" => MACS.iter().map(AsRef::as_ref).collect(),
        _ => HOST_KEYS.iter().map(AsRef::as_ref).collect(),
    };
    let named = |name: &&str| !patterns.split(',').any(|pattern| pattern_matches(pattern, name));
    let left: Vec<String> = names.into_iter().filter(named).map(str::to_owned).collect();
    // An empty list would allow everything.
    if left.is_empty() { vec!["none".to_owned()] } else { left }
}

/// RSA keys are one kind, whatever the digest of a signature
pub(super) fn same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    match (one, other) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (one, other) => one == other,
    }
}

fn is_aead(name: &cipher::Name) -> bool {
    [cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305].contains(name)
}

/// A list that an older ssh prints can not name ML-KEM; it counts as allowed where that version's
/// own post-quantum exchange is
fn key_exchange_allowed(list: &[String], name: &str) -> bool {
    let stands_in = |entry: &str| {
        name == kex::MLKEM768X25519_SHA256.as_ref() && entry.starts_with("sntrup761x25519-sha512")
    };
    list.is_empty() || list.iter().any(|entry| entry == name || stands_in(entry))
}

fn with_extensions(mut names: Vec<kex::Name>) -> Vec<kex::Name> {
    names.push(kex::EXTENSION_SUPPORT_AS_CLIENT);
    names.push(kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn known_kinds_of_host_keys_come_first() {
        let known = [Algorithm::Rsa { hash: None }];
        let preferred = preferred(&AlgorithmConfig::default(), &known, ChaCha20::Offered).unwrap();
        let names: Vec<&str> = preferred.key.iter().map(AsRef::as_ref).collect();
        assert_eq!(names[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
        assert_eq!(preferred.cipher[0], cipher::AES_128_GCM);
        assert_eq!(*preferred.compression, [compression::NONE]);
    }

    #[test]
    fn a_configuration_narrows_and_never_empties() {
        let config = AlgorithmConfig {
            ciphers: list(&["chacha20-poly1305@openssh.com", "aes256-ctr"]),
            ..AlgorithmConfig::default()
        };
        let offered = preferred(&config, &[], ChaCha20::Offered).unwrap();
        assert_eq!(*offered.cipher, [cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]);
        let withheld = preferred(&config, &[], ChaCha20::Withheld).unwrap();
        assert_eq!(*withheld.cipher, [cipher::AES_256_CTR]);

        for (config, expected) in [
            (AlgorithmConfig { ciphers: list(&["3des-cbc"]), ..Default::default() }, "ciphers"),
            (
                AlgorithmConfig {
                    key_exchanges: list(&["diffie-hellman-group1-sha1"]),
                    ..Default::default()
                },
                "kexalgorithms",
            ),
            (
                AlgorithmConfig { host_keys: list(&["ssh-dss"]), ..Default::default() },
                "hostkeyalgorithms",
            ),
            (
                AlgorithmConfig {
                    ciphers: list(&["aes128-ctr"]),
                    macs: list(&["hmac-md5"]),
                    ..Default::default()
                },
                "macs",
            ),
        ] {
            let refused = preferred(&config, &[], ChaCha20::Offered);
            assert!(matches!(refused, Err(ConfigurationProblem::NoAlgorithm { keyword })
                    if keyword == expected));
        }
    }
}
