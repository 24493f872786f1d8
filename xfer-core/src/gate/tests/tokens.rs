//! Tokens: every bit, every clock, every other machine

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::mutants::{Dice, good};
use super::samples::*;
use crate::gate::evidence::{Identity, Moment};
use crate::gate::token::{Seen, TEXT_BYTES_MAX, Times, Token, TokenRefusal};
use crate::gate::verdict::{Release, Verdict, evaluate};
use crate::trust::{PublicKey, SigningKey};

fn key() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate_document().unwrap()).unwrap()
}

fn release() -> Release {
    let trial = good();
    match evaluate(&trial.evidence, &trial.policy, &trial.now) {
        Verdict::Release(release) => *release,
        Verdict::Hold(reasons) => panic!("{reasons:#?}"),
    }
}

fn token(key: &SigningKey) -> Token {
    Token::of(&release(), key.public(), [5; 32], Some(7_000)).unwrap()
}

/// So many seconds after the collection's end, on all clocks
fn times(seconds: u64) -> Times {
    Times { here: at(60 + seconds), platform: Some(7_000 + i64::try_from(seconds).unwrap()) }
}

fn seen() -> Seen {
    let machine = "vast:33402296".to_owned();
    Seen { machine, identity: identity(), stamps: release().stamps }
}

#[test]
fn a_token_is_read_as_it_was_signed_and_good_for_what_it_is_for() {
    let key = key();
    let token = token(&key);
    let text = token.sign(&key);
    assert!(text.len() <= TEXT_BYTES_MAX);
    assert_eq!(Token::read(text.as_bytes(), &key.public()), Ok(token.clone()));
    assert_eq!(token.check(&seen(), &times(0)), Ok(()));
    assert_eq!(token.check(&seen(), &times(899)), Ok(()));
    let release = release();
    assert_eq!(token.destination, release.destination());
    assert_eq!((token.manifest, token.policy), (release.manifest, release.policy));
}

/// J1: each bit of the text, and each bit of what it encodes
#[test]
fn every_bit_counts() {
    let key = key();
    let text = token(&key).sign(&key).into_bytes();
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..text.len() * 8 {
        assert!(Token::read(&flip(&text, bit), &key.public()).is_err(), "bit {bit} of the text");
    }
    let bytes = STANDARD.decode(&text[..text.len() - 1]).unwrap();
    let mut refusals = std::collections::BTreeSet::new();
    for bit in 0..bytes.len() * 8 {
        let text = STANDARD.encode(flip(&bytes, bit)) + "\n";
        refusals.insert(Token::read(text.as_bytes(), &key.public()).expect_err("a bit was turned"));
    }
    let expected = [TokenRefusal::Malformed, TokenRefusal::OtherKey, TokenRefusal::BadSignature];
    assert_eq!(refusals, expected.into());
}

#[test]
fn what_is_no_token_is_refused_whatever_it_is() {
    let key = key();
    let text = token(&key).sign(&key).into_bytes();
    for length in 0..text.len() {
        assert_eq!(Token::read(&text[..length], &key.public()), Err(TokenRefusal::Malformed));
    }
    for more in [&b"\n"[..], b" ", b"x", b"="] {
        let longer = [&text[..], more].concat();
        assert_eq!(Token::read(&longer, &key.public()), Err(TokenRefusal::Malformed));
    }
    let huge = vec![b'A'; 1 << 20];
    assert_eq!(Token::read(&huge, &key.public()), Err(TokenRefusal::Malformed));
    let mut dice = Dice(1);
    for _ in 0..20_000 {
        let length = dice.below(600);
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        assert!(Token::read(&bytes, &key.public()).is_err());
        let text = STANDARD.encode([&b"xfer-gt1"[..], &bytes].concat()) + "\n";
        assert!(Token::read(text.as_bytes(), &key.public()).is_err());
    }
}

/// A form that we do not write is refused even under our own signature: a token has one form
#[test]
fn a_token_has_one_form() {
    type Change = fn(&mut Vec<u8>);
    let key = key();
    let text = token(&key).sign(&key);
    let bytes = STANDARD.decode(text.trim_end()).unwrap();
    let body = &bytes[..bytes.len() - 64];
    let resigned = |change: Change| {
        let mut body = body.to_vec();
        change(&mut body);
        let signature = key.sign_for("xfer gate token", &body).to_bytes();
        let text = STANDARD.encode([&body[..], &signature].concat()) + "\n";
        Token::read(text.as_bytes(), &key.public())
    };
    assert_eq!(resigned(|_| {}), Ok(token(&key)));
    let changes: [Change; 9] = [
        |body| body.push(b'x'),
        |body| body.truncate(body.len() - 1),
        |body| body[7] = b'2',
        |body| body[264] = 2,
        |body| body[264] = 0,
        |body| body[273..277].fill(0),
        |body| body[273..277].fill(0xff),
        |body| body[277] += 1,
        |body| body[278] = 0xff,
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        assert_eq!(resigned(change), Err(TokenRefusal::Malformed), "{nth}");
    }
}

/// J2, J3: of another state directory, or signed by somebody who only names ours
#[test]
fn only_the_directory_that_issued_it_takes_it() {
    let (ours, other) = (key(), key());
    let text = token(&ours).sign(&ours);
    assert_eq!(Token::read(text.as_bytes(), &other.public()), Err(TokenRefusal::OtherKey));
    let forged = token(&ours).sign(&other);
    assert_eq!(Token::read(forged.as_bytes(), &ours.public()), Err(TokenRefusal::BadSignature));
    assert_ne!(ours.public(), PublicKey([0; 32]));
}

/// J3, J5, J8: another machine, another container, a quick look that finds a change
#[test]
fn a_token_is_for_one_machine_as_it_was() {
    let token = token(&key());
    let check = |seen: &Seen| token.check(seen, &times(1));
    let other = Seen { machine: "vast:1".to_owned(), ..seen() };
    assert_eq!(check(&other), Err(TokenRefusal::OtherMachine));
    let changes: [fn(&mut Identity); 8] = [
        |i| i.platform = None,
        |i| i.id = Some("1".to_owned()),
        |i| i.label = None,
        |i| i.marker = Some([0; 16]),
        |i| i.first_process = Some(1),
        |i| i.root_device = None,
        |i| i.mounts = Some(digest(0)),
        |i| i.boot = Some([0; 16]),
    ];
    for change in changes {
        let mut seen = seen();
        change(&mut seen.identity);
        assert_eq!(check(&seen), Err(TokenRefusal::OtherContainer));
    }
    let changed = Seen { stamps: digest(0), ..seen() };
    assert_eq!(check(&changed), Err(TokenRefusal::OtherManifest));
}

/// J4, I6: every clock has a veto, and the time of day alone proves nothing
#[test]
fn a_token_ends_by_any_clock() {
    use TokenRefusal::{ClockUncertain, Expired, NotYetValid};
    let token = token(&key());
    let check = |times: Times| token.check(&seen(), &times);
    assert_eq!(check(times(900)), Err(Expired));
    let day = |by| Times { here: Moment { day: at(70).day + by, ..at(70) }, ..times(10) };
    let platform = |platform| Times { platform, ..times(10) };
    let boot = |boot| Times { here: Moment { boot, ..at(70) }, ..times(10) };
    assert_eq!(check(day(10 * 365 * 86_400)), Err(Expired));
    assert_eq!(check(day(-86_400)), Err(NotYetValid));
    assert_eq!(check(day(-10 - 6)), Err(NotYetValid));
    assert_eq!(check(day(-10 - 5)), Ok(()));
    assert_eq!(check(platform(Some(7_900))), Err(Expired));
    assert_eq!(check(platform(Some(7_899))), Ok(()));
    assert_eq!(check(platform(Some(6_000))), Err(NotYetValid));
    assert_eq!(check(platform(Some(6_995))), Ok(()));
    assert_eq!(check(platform(None)), Ok(()));
    assert_eq!(check(boot(Some(([9; 16], 1)))), Err(NotYetValid));
    assert_eq!(check(boot(Some(([9; 16], u64::MAX)))), Err(Expired));
    assert_eq!(check(boot(Some(([7; 16], 1)))), Ok(()));
    assert_eq!(check(boot(None)), Ok(()));
    let neither = Times { here: Moment { boot: None, ..at(70) }, platform: None };
    assert_eq!(check(neither), Err(ClockUncertain));
    // Set back to revive it: whatever the time of day says, a clock that nobody turns is older.
    let revived = Times { here: Moment { day: at(61).day, ..at(60 + 5000) }, platform: None };
    assert_eq!(check(revived), Err(Expired));
}

#[test]
fn what_could_not_be_spent_is_not_issued() {
    let (key, release) = (key(), release());
    let long = Release { machine: "x".repeat(256), ..release.clone() };
    assert_eq!(Token::of(&long, key.public(), [0; 32], None), None);
    let clockless = Moment { boot: None, ..release.collected };
    let clockless = Release { collected: clockless, ..release.clone() };
    assert_eq!(Token::of(&clockless, key.public(), [0; 32], None), None);
    for machine in ["", &"x".repeat(255)] {
        let release = Release { machine: machine.to_owned(), ..release.clone() };
        let token = Token::of(&release, key.public(), [0; 32], None).unwrap();
        let text = token.sign(&key);
        assert_eq!(text.len() == TEXT_BYTES_MAX, !machine.is_empty());
        assert_eq!(Token::read(text.as_bytes(), &key.public()).unwrap().machine, machine);
    }
}
