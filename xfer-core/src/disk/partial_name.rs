//! Names of partials.

/// What every partial's name begins with; no entry may have such a name.
pub const PARTIAL_PREFIX: &[u8] = b".xfer-partial-";

/// What the name begins with under which a file is written over; no entry may have such a name.
pub const IN_PLACE_PREFIX: &[u8] = b".xfer-in-place-";

/// Bytes of the longest name.
const NAME_BYTES_MAX: usize = 255;

/// Hexadecimal digits of the final name's digest in a partial's name.
const DIGEST_DIGITS: usize = 32;

/// The name under which the file `name` is assembled, in the same directory.
///
/// It is the same each time, so that a later session finds what an earlier one wrote, and of one
/// length, so that a name of 255 bytes has a partial too.
#[must_use]
pub fn partial_name(name: &[u8]) -> Vec<u8> {
    let digest = blake3::hash(name).to_hex();
    let mut partial = PARTIAL_PREFIX.to_vec();
    partial.extend_from_slice(&digest.as_bytes()[..DIGEST_DIGITS]);
    partial
}

/// The name under which the file `name` is written over, in the same directory; `None` where that
/// would be too long.
///
/// It tells whose bytes they were: until the file is complete nobody else has them.
#[must_use]
pub fn in_place_name(name: &[u8]) -> Option<Vec<u8>> {
    let partial = [IN_PLACE_PREFIX, name].concat();
    (partial.len() <= NAME_BYTES_MAX).then_some(partial)
}

/// The file that is written over under a partial's name; `None` where that is another partial.
#[must_use]
pub fn written_over(partial: &[u8]) -> Option<&[u8]> {
    partial.strip_prefix(IN_PLACE_PREFIX).filter(|name| !name.is_empty())
}

/// Whether `name` is one that [`partial_name`] or [`in_place_name`] makes.
#[must_use]
pub fn is_partial_name(name: &[u8]) -> bool {
    let is_assembled = name.strip_prefix(PARTIAL_PREFIX).is_some_and(|digits| {
        digits.len() == DIGEST_DIGITS
            && digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    is_assembled || written_over(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_partial_of_one_length() {
        let names: [&[u8]; 4] = [b"a", &[0xff; 255], b".xfer-partial-", b"new\nline"];
        let partials = names.map(partial_name);
        for partial in &partials {
            assert!(is_partial_name(partial));
            assert_eq!(partial.len(), PARTIAL_PREFIX.len() + DIGEST_DIGITS);
        }
        assert_eq!(partials[0], partial_name(b"a"));
        assert_ne!(partials[0], partials[1]);
    }

    #[test]
    fn only_exact_names_are_partials() {
        let digits = "0123456789abcdef0123456789abcdef";
        assert!(is_partial_name(format!(".xfer-partial-{digits}").as_bytes()));
        for name in [
            format!(".xfer-partial-{digits}0"),
            format!(".xfer-partial-{}", &digits[1..]),
            format!(".xfer-partial-{}", digits.to_uppercase()),
            format!("xfer-partial-{digits}"),
            String::from(".xfer-partial-"),
        ] {
            assert!(!is_partial_name(name.as_bytes()), "{name}");
        }
    }
}
