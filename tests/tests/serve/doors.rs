//! Who is let in, who is not, and what it costs

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use xfer_tests::tree;

use crate::{Stand, words};

impl Stand {
    /// Lists the root; how that ends
    fn knock(&self, code: i32) -> String {
        let ended = self.client.run(words(&["ls", "--json"], [&self.at("/data")]));
        let ended = ended.expect_code(code);
        let reason = ended.result()["reason"].as_str().unwrap_or_default().to_owned();
        for token in self.known_tokens() {
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!told.contains(&token), "a token was told");
        }
        reason
    }

    fn known_tokens(&self) -> Vec<String> {
        let file = self.client.home().join("config/xfer/peer-tokens");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let tokens = text.split_whitespace().filter(|word| word.starts_with("xferpeer1_"));
        tokens.map(ToOwned::to_owned).collect()
    }
}

#[test]
fn only_a_token_that_is_listed_lets_in() {
    let stand = Stand::new(&[]);
    let good = stand.known_tokens().remove(0);
    assert_eq!(stand.knock(0), "done");
    // The token of another peer names another key.
    let other = Stand::new(&[]);
    stand.hold(&other.known_tokens()[0]);
    assert_eq!(stand.knock(11), "peer-identity");
    // A token that was taken away, and one that is over.
    let gone = stand.new_token(&[]);
    let tokens = stand.path("tokens");
    let text = std::fs::read_to_string(&tokens).expect("read");
    let kept: Vec<&str> = text.lines().take(1).collect();
    tree::write(&tokens, format!("{}\n", kept.join("\n")).as_bytes());
    stand.hold(&gone);
    assert_eq!(stand.knock(11), "token-refused");
    stand.hold(&stand.new_token(&["--expires", "2026-01-01T00:00:00Z"]));
    assert_eq!(stand.knock(11), "token-expired");
    // No token, what is none, and one that others may read.
    for (text, mode, reason) in [
        ("", 0o600, "peer-token-missing"),
        ("xferpeer1_short", 0o600, "peer-token-unusable"),
        (&good, 0o644, "config-exposed"),
    ] {
        stand.hold(text);
        tree::set_mode(&stand.client.home().join("config/xfer/peer-tokens"), mode);
        assert_eq!(stand.knock(3), reason);
    }
    stand.hold(&format!("{} {good}", stand.address));
    assert_eq!(stand.knock(0), "done");
}

/// A token file that leaks lets nobody in: nothing in it is a secret, nor makes one.
#[test]
fn the_token_file_holds_nothing_that_logs_in() {
    use base64_of::{decode, encode};
    let stand = Stand::new(&[]);
    let token = stand.known_tokens().remove(0);
    let listed = std::fs::read_to_string(stand.path("tokens")).expect("read");
    assert!(!listed.contains(&token["xferpeer1_".len()..]));
    let verifier = listed.split_whitespace().next().expect("a verifier");
    let verifier: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&verifier[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    let secret = &decode(&token["xferpeer1_".len()..])[32..64];
    assert!(!listed.contains(&secret.iter().map(|b| format!("{b:02x}")).collect::<String>()));
    let mut forged = [&decode(&token["xferpeer1_".len()..])[..32], &verifier].concat();
    let sum = blake3::hash(&forged);
    forged.extend_from_slice(&sum.as_bytes()[..4]);
    stand.hold(&format!("xferpeer1_{}", encode(&forged)));
    assert_eq!(stand.knock(11), "token-refused");
    stand.hold(verifier_text(&listed));
    assert_eq!(stand.knock(3), "peer-token-unusable");
}

fn verifier_text(listed: &str) -> &str {
    listed.split_whitespace().next().expect("a verifier")
}

#[test]
fn a_stranger_is_gone_in_five_seconds() {
    let stand = Stand::new(&[]);
    // More than there are places for those who have proven nothing.
    let began = Instant::now();
    let mut silent: Vec<_> =
        (0..100).map(|_| TcpStream::connect(&stand.address).expect("connect")).collect();
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut nothing = [0; 1];
        assert!(!matches!(stream.read(&mut nothing), Ok(1)), "it was told something");
    }
    let passed = began.elapsed();
    assert!(passed < Duration::from_secs(15), "strangers stayed for {passed:?}");
    assert_eq!(stand.knock(0), "done");
}

#[test]
fn a_restart_keeps_the_identity() {
    let mut stand = Stand::new(&[]);
    let address = stand.address.clone();
    stand.stop();
    assert_eq!(stand.start(&address, &[]), None, "no second token");
    assert_eq!(stand.knock(0), "done");
    // Another state directory is another peer, and a client is told so.
    stand.stop();
    std::fs::remove_file(stand.host.state().join("peer.key")).expect("remove");
    stand.start(&address, &[]);
    assert_eq!(stand.knock(11), "peer-identity");
}

#[test]
fn no_token_is_told_to_events_or_logs() {
    let stand = Stand::new(&[]);
    let tokens = stand.path("tokens");
    let base = ["serve", "--new-token", "--token-file", tokens.to_str().expect("UTF-8")];
    let refused = stand.host.run(words(&base, [&"--json".into()])).expect_code(2);
    assert_eq!(refused.result()["reason"], "token-in-events");
    let (log, events) = (stand.path("log"), stand.path("events"));
    let kept = ["--log-file".into(), log.clone().into(), "--events".into(), events.clone().into()];
    let told = stand.host.run(words(&base, &kept)).expect_code(0).stdout;
    for file in [log, events] {
        let text = std::fs::read_to_string(file).expect("read");
        assert!(!text.contains(told.trim()), "{text}");
    }
}

/// Base64 of URLs without padding (RFC 4648 §5), so that the test makes tokens without the program
mod base64_of {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    pub(super) fn decode(text: &str) -> Vec<u8> {
        let value = |letter| LETTERS.iter().position(|&known| known == letter).expect("a letter");
        let bits: Vec<usize> = text.bytes().flat_map(|letter| bits_of(value(letter), 6)).collect();
        let byte = |bits: &[usize]| u8::try_from(joined(bits)).expect("eight bits");
        bits.chunks_exact(8).map(byte).collect()
    }

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut bits: Vec<usize> = bytes.iter().flat_map(|&byte| bits_of(byte.into(), 8)).collect();
        bits.resize(bits.len().next_multiple_of(6), 0);
        bits.chunks_exact(6).map(|six| char::from(LETTERS[joined(six)])).collect()
    }

    fn bits_of(value: usize, count: usize) -> impl Iterator<Item = usize> {
        (0..count).rev().map(move |bit| (value >> bit) & 1)
    }

    fn joined(bits: &[usize]) -> usize {
        bits.iter().fold(0, |joined, bit| (joined << 1) | bit)
    }
}
