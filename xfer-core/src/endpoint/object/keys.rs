//! Which key a name has, and which name a key: the name itself, so that every tool agrees.
//!
//! Only what no key can hold is written as `%XX`, in capitals: bytes that are not UTF-8, control
//! bytes, and a `%` before two hexadecimal digits, without which two names could have one key.

use xfer_protocol::fault::FaultKind;
use xfer_protocol::path::RelPath;

use super::store::Key;

/// The key of an entry below a prefix, which is empty or ends in `/`.
///
/// # Errors
/// `Unsafe` where it is longer than a key may be, or the entry is the root itself.
pub(super) fn key_of(prefix: &str, path: &RelPath) -> Result<Key, FaultKind> {
    let mut key = String::with_capacity(prefix.len() + path.as_bytes().len());
    key.push_str(prefix);
    encode(&mut key, path.as_bytes());
    Key::new(key).ok_or(FaultKind::Unsafe)
}

/// The name of a key below a prefix; `None` where it is not the key of any name, as with `//`, `.`,
/// `..`, a `/` at its end, or an escape that nothing needs.
pub(super) fn path_of(prefix: &str, key: &str) -> Option<RelPath> {
    let text = key.strip_prefix(prefix)?;
    let path = RelPath::new(decode(text)).ok()?;
    let mut again = String::with_capacity(text.len());
    encode(&mut again, path.as_bytes());
    (!path.is_root() && again == text).then_some(path)
}

fn encode(key: &mut String, name: &[u8]) {
    let mut rest = name;
    while !rest.is_empty() {
        let (plain, broken) = match std::str::from_utf8(rest) {
            Ok(plain) => (plain, 0),
            Err(error) => {
                let (plain, after) = rest.split_at(error.valid_up_to());
                let broken = error.error_len().unwrap_or(after.len());
                (std::str::from_utf8(plain).unwrap_or_default(), broken)
            }
        };
        encode_text(key, plain);
        let (broken, after) = rest[plain.len()..].split_at(broken);
        broken.iter().for_each(|byte| escape(key, *byte));
        rest = after;
    }
}

fn encode_text(key: &mut String, text: &str) {
    for (at, character) in text.char_indices() {
        let byte = text.as_bytes()[at];
        let is_escape = byte == b'%' && escaped(&text.as_bytes()[at..]).is_some();
        if is_escape || character.is_ascii_control() {
            escape(key, byte);
        } else {
            key.push(character);
        }
    }
}

fn escape(key: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    key.push('%');
    key.push(char::from(DIGITS[usize::from(byte >> 4)]));
    key.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn decode(key: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                name.push(byte);
                rest = &rest[3..];
            }
            None => {
                name.push(byte);
                rest = after;
            }
        }
    }
    name
}

/// The byte of `%XX` at the beginning.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::object::store::KEY_BYTES_MAX;

    fn path(name: &[u8]) -> RelPath {
        RelPath::new(name).unwrap()
    }

    #[test]
    fn a_plain_name_is_its_key() {
        for name in ["a", "a b/c+d", "100%", "50% off", "%zz", "é/日本", "~a#b?c*d", "a.b", "-"]
        {
            let key = key_of("p/", &path(name.as_bytes())).unwrap();
            assert_eq!(key.as_str(), format!("p/{name}"));
            assert_eq!(path_of("p/", key.as_str()), Some(path(name.as_bytes())));
        }
    }

    #[test]
    fn what_no_key_holds_is_escaped() {
        let cases: &[(&[u8], &str)] = &[
            (b"a\nb", "a%0Ab"),
            (b"\x7f", "%7F"),
            (b"\xff\xfe", "%FF%FE"),
            (b"caf\xe9.txt", "caf%E9.txt"),
            (b"\xe6\x97", "%E6%97"),
            (b"%41", "%2541"),
            (b"%4", "%4"),
            (b"%%41", "%%2541"),
            (b"dt%3D1/x", "dt%253D1/x"),
        ];
        for (name, key) in cases {
            assert_eq!(key_of("", &path(name)).unwrap().as_str(), *key);
            assert_eq!(path_of("", key), Some(path(name)), "{key}");
        }
    }

    #[test]
    fn a_key_of_no_name_is_none() {
        for key in
            ["", "a//b", "a/", "/a", "./a", "a/../b", "%41", "%0a", "%2f", "a%00", "%C3%A9", "p"]
        {
            assert_eq!(
                path_of("", key),
                None.or_else(|| (key == "p").then(|| path(b"p"))),
                "{key}"
            );
        }
        assert_eq!(path_of("p/", "q/a"), None);
        assert_eq!(path_of("p/", "p/"), None);
    }

    #[test]
    fn a_key_that_is_too_long_is_unsafe() {
        let name = vec![b'x'; 250];
        let long = [&name[..], &name, &name, &name].join(&b'/');
        assert!(key_of(&"p/".repeat(10), &path(&long)).is_ok());
        assert_eq!(key_of(&"p/".repeat(11), &path(&long)), Err(FaultKind::Unsafe));
        assert_eq!(key_of("", &RelPath::root()), Err(FaultKind::Unsafe));
        assert_eq!(KEY_BYTES_MAX, 1024);
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            Just(b'%'),
            Just(b'4'),
            Just(b'A'),
            Just(b'e'),
            Just(b'/'),
            Just(0xc3),
            Just(0xa9),
            any::<u8>(),
        ];
        proptest::collection::vec(byte, 1..40)
    }

    proptest! {
        #[test]
        fn every_name_has_a_key_of_its_own(one in names(), other in names()) {
            let keys = [&one, &other].map(|name| {
                let path = RelPath::new(name.clone()).ok()?;
                let key = key_of("b/", &path).ok()?;
                assert_eq!(path_of("b/", key.as_str()), Some(path));
                Some(key)
            });
            if let [Some(a), Some(b)] = keys {
                prop_assert_eq!(a == b, one == other);
                prop_assert!(!a.as_str().bytes().any(|byte| byte.is_ascii_control()));
            }
        }

        #[test]
        fn a_name_comes_from_its_own_key_alone(key in "[a-c%0-9A-F/é.]{1,20}") {
            if let Some(path) = path_of("", &key) {
                let own = key_of("", &path).unwrap();
                prop_assert_eq!(own.as_str(), key);
            }
        }
    }
}
