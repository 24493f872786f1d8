//! The known_hosts files, read as sshd's manual describes them

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{HashAlg, PublicKey, parse_public_key_base64};

use super::host_config::HostConfig;
use super::tuning::KNOWN_HOSTS_LINE_BYTES_MAX;
use crate::disk::settings_file::{self, SettingsFileError, SettingsFileProblem};

/// The name under which a host stands in a known_hosts file
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookupName {
    /// `host`, `[host]:port`, or the configured alias
    pub(super) entry: String,
    /// The bare host, where the entry carries a port: such a line is believed, and never called
    /// changed
    pub(super) bare: Option<String>,
}

impl LookupName {
    pub(super) fn of(config: &HostConfig) -> Self {
        if let Some(alias) = &config.host_key.alias {
            return Self { entry: alias.to_ascii_lowercase(), bare: None };
        }
        let host = config.hostname.to_ascii_lowercase();
        if config.port == 22 {
            return Self { entry: host, bare: None };
        }
        Self { entry: format!("[{host}]:{}", config.port), bare: Some(host) }
    }
}

/// A line that speaks of the host
#[derive(Debug, Clone)]
pub(super) struct KnownKey {
    pub(super) path: PathBuf,
    pub(super) line: usize,
    pub(super) marker: Marker,
    pub(super) key: PublicKey,
    /// It names the host without its port
    pub(super) bare: bool,
}

impl KnownKey {
    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// What stands before the names of a line
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    None,
    Revoked,
    CertAuthority,
}

/// All lines of `files` that speak of `name`; files that are missing or not regular are empty
pub(super) fn lookup(
    files: &[PathBuf],
    name: &LookupName,
) -> Result<Vec<KnownKey>, SettingsFileError> {
    let mut found = Vec::new();
    for path in files {
        match settings_file::open_buffered(path) {
            Ok(file) => search(path, file, name, &mut found)?,
            Err(error) => match error.reason {
                SettingsFileProblem::Missing | SettingsFileProblem::NotRegular => {}
                _ => return Err(error),
            },
        }
    }
    Ok(found)
}

/// The line that lists a new key, its name hashed with `salt` when one is given
pub(super) fn line_for(name: &LookupName, key: &PublicKey, salt: Option<[u8; 20]>) -> String {
    let listed = match salt {
        None => name.entry.clone(),
        Some(salt) => {
            let digest = name_digest(&salt, &name.entry);
            format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(digest))
        }
    };
    let blob = STANDARD.encode(key.to_bytes().unwrap_or_default());
    format!("{listed} {} {blob}", key.algorithm())
}

/// A plain key as a line of a known_hosts file lists it
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The names, as they stand there
    pub name: String,
    /// Of which kind
    pub algorithm: String,
    /// `SHA256:…`
    pub fingerprint: String,
}

/// What a line lists, where that is one plain key
pub fn listed_key(line: &str) -> Option<ListedKey> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let (name, algorithm) = (words.next()?, words.next()?);
    let key = parse_public_key_base64(words.next()?).ok()?;
    (key.algorithm().as_ref() == algorithm).then(|| ListedKey {
        name: name.to_owned(),
        algorithm: algorithm.to_owned(),
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

fn search(
    path: &Path,
    mut file: impl BufRead,
    name: &LookupName,
    found: &mut Vec<KnownKey>,
) -> Result<(), SettingsFileError> {
    let failed =
        |error| SettingsFileError { path: path.to_owned(), reason: SettingsFileProblem::Io(error) };
    let limit = u64::try_from(KNOWN_HOSTS_LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut number = 0;
    let mut continues = false;
    loop {
        line.clear();
        let count = (&mut file).take(limit).read_until(b'\n', &mut line).map_err(failed)?;
        if count == 0 {
            return Ok(());
        }
        // An overlong line is passed over, its rest included: no host key needs it.
        let whole = line.last() == Some(&b'\n') || count < KNOWN_HOSTS_LINE_BYTES_MAX;
        let starts = !std::mem::replace(&mut continues, !whole);
        number += usize::from(starts);
        if starts
            && whole
            && let Some((marker, bare, key)) =
                std::str::from_utf8(&line).ok().and_then(|line| parse_line(line, name))
        {
            found.push(KnownKey { path: path.to_owned(), line: number, marker, key, bare });
        }
    }
}

fn parse_line(line: &str, name: &LookupName) -> Option<(Marker, bool, PublicKey)> {
    let line = line.trim_start_matches([' ', '\t']).trim_end();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut hosts = words.next()?;
    let marker = match hosts {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::CertAuthority,
        other if other.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        hosts = words.next()?;
    }
    let full = names_match(hosts, &name.entry);
    let bare = !full && name.bare.as_deref().is_some_and(|bare| names_match(hosts, bare));
    if !full && !bare {
        return None;
    }
    let algorithm = words.next()?;
    let key = parse_public_key_base64(words.next()?).ok()?;
    (key.algorithm().as_ref() == algorithm).then_some((marker, bare, key))
}

/// Whether a list of names, of patterns with negation, or one hashed name means `name`
fn names_match(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        let decode = |text: &str| STANDARD.decode(text).ok();
        let Some((salt, digest)) = hashed.split_once('|') else { return false };
        return match (decode(salt), decode(digest)) {
            (Some(salt), Some(digest)) => name_digest(&salt, name) == digest,
            _ => false,
        };
    }
    let mut matched = false;
    for pattern in hosts.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern_matches(&pattern.to_ascii_lowercase(), name) {
            if negated {
                return false;
            }
            matched = true;
        }
    }
    matched
}

/// `*` stands for any text, `?` for one character; linear in text times pattern, whatever the
/// pattern
pub(super) fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut position) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                last_star = Some((at, position));
                at += 1;
            }
            Some(character) if *character == '?' || *character == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                at = star + 1;
                position = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

fn name_digest(salt: &[u8], name: &str) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    ring::hmac::sign(&key, name.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn name() -> LookupName {
        LookupName { entry: "[h.example]:2200".to_owned(), bare: Some("h.example".to_owned()) }
    }

    fn found(text: &[u8]) -> Vec<KnownKey> {
        let mut found = Vec::new();
        search(Path::new("/known"), text, &name(), &mut found).unwrap();
        found
    }

    #[test]
    fn overlong_lines_and_binary_ones_are_passed_over_and_counted() {
        let long = "x".repeat(3 * KNOWN_HOSTS_LINE_BYTES_MAX);
        let exact = "y".repeat(KNOWN_HOSTS_LINE_BYTES_MAX - 1);
        let mut text = format!("{long} {KEY}\n{exact}\n").into_bytes();
        text.extend_from_slice(b"\xff\xfe\0\n");
        text.extend_from_slice(format!("[h.example]:2200 {KEY}").as_bytes());
        let found = found(&text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].bare, found[0].marker), (4, false, Marker::None));
    }

    #[test]
    fn a_written_line_is_found_again() {
        let key = found(format!("h.example {KEY}").as_bytes()).remove(0);
        assert!(key.bare);
        for salt in [None, Some([7; 20])] {
            let line = line_for(&name(), &key.key, salt);
            let again = found(format!("{line}\n").as_bytes());
            assert_eq!(again.len(), 1, "{line}");
            assert!(!again[0].bare);
            let other = LookupName { entry: "[h.example]:2201".to_owned(), bare: None };
            let mut none = Vec::new();
            search(Path::new("/known"), line.as_bytes(), &other, &mut none).unwrap();
            assert!(none.is_empty());
        }
    }

    /// The naive matcher that the loop must equal
    fn matches_slowly(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('*', pattern)), None) => matches_slowly(pattern, text),
            (Some(('*', rest)), Some((_, shorter))) => {
                matches_slowly(rest, text) || matches_slowly(pattern, shorter)
            }
            (Some(_), None) => false,
            (Some((wanted, pattern)), Some((character, text))) => {
                (*wanted == '?' || wanted == character) && matches_slowly(pattern, text)
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn patterns_match_as_their_definition_says(pattern in "[ab?*]{0,7}", text in "[ab]{0,7}") {
            let slow = matches_slowly(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            proptest::prop_assert_eq!(pattern_matches(&pattern, &text), slow);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in proptest::collection::vec(0_u8.., 0..400)) {
            found(&text);
        }
    }

    #[test]
    fn a_pattern_of_stars_costs_no_more_than_its_length_times_the_text() {
        let pattern = format!("{}b", "*a".repeat(2000));
        assert!(!pattern_matches(&pattern, &"a".repeat(20_000)));
    }
}
