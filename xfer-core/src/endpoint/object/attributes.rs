//! What is written with an object beside its bytes, and read again.
//!
//! | name | value |
//! |---|---|
//! | `mtime` | seconds since 1970 with nine decimals, as rclone writes and reads it |
//! | `xfer-mode` | permission bits in octal |
//! | `xfer-blake3` | the BLAKE3 root in hexadecimal; absent where it was not known yet |
//! | `xfer-attempt` | which upload wrote the object |

use xfer_protocol::digest::Digest;
use xfer_protocol::limits::MODE_MAX;
use xfer_protocol::manifest::{Metadata, Timestamp};

use crate::receipt::parse_digest;

const MODIFIED: &str = "mtime";
const MODE: &str = "xfer-mode";
const DIGEST: &str = "xfer-blake3";
const ATTEMPT: &str = "xfer-attempt";

/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// What an object's attributes tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) modified: Option<Timestamp>,
    pub(super) mode: Option<u32>,
    pub(super) digest: Option<Digest>,
    pub(super) attempt: Option<String>,
}

/// What is written with an object.
pub(super) fn written(
    metadata: &Metadata,
    digest: Option<Digest>,
    attempt: Option<&str>,
) -> Vec<(String, String)> {
    let mut attributes = vec![
        (MODIFIED.to_owned(), moment_text(metadata.modified)),
        (MODE.to_owned(), format!("{:o}", metadata.mode)),
    ];
    attributes.extend(digest.map(|digest| (DIGEST.to_owned(), digest.to_string())));
    attributes.extend(attempt.map(|attempt| (ATTEMPT.to_owned(), attempt.to_owned())));
    attributes
}

/// What an upload is begun with, of whose file nothing else is known yet.
pub(super) fn marked(attempt: &str) -> Vec<(String, String)> {
    vec![(ATTEMPT.to_owned(), attempt.to_owned())]
}

/// What was written with an object; what makes no sense counts as not there.
pub(super) fn read(attributes: &[(String, String)]) -> Kept {
    let value = |name: &str| {
        let named = attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    };
    let mode = value(MODE).and_then(|text| u32::from_str_radix(text, 8).ok());
    Kept {
        modified: value(MODIFIED).and_then(moment),
        mode: mode.filter(|mode| *mode <= MODE_MAX),
        digest: value(DIGEST).and_then(parse_digest),
        attempt: value(ATTEMPT).map(str::to_owned),
    }
}

fn moment_text(moment: Timestamp) -> String {
    let Timestamp { seconds, nanoseconds } = moment;
    if seconds < 0 && nanoseconds > 0 {
        // The decimals of a negative number lead away from zero.
        let (whole, rest) = ((seconds + 1).unsigned_abs(), SECOND - nanoseconds);
        return format!("-{whole}.{rest:09}");
    }
    format!("{seconds}.{nanoseconds:09}")
}

fn moment(text: &str) -> Option<Timestamp> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
        return None;
    }
    let seconds = whole.parse::<i64>().ok()?.checked_mul(sign)?;
    let nine: String = decimals.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = nine.parse().ok()?;
    match (sign, nanoseconds) {
        (-1, 1..) => {
            Some(Timestamp { seconds: seconds.checked_sub(1)?, nanoseconds: SECOND - nanoseconds })
        }
        _ => Some(Timestamp { seconds, nanoseconds }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn moments_are_those_of_rclone() {
        for (text, told) in [
            ("1354040105.123123123", at(1_354_040_105, 123_123_123)),
            ("0.000000000", at(0, 0)),
            ("-1.500000000", at(-2, 500_000_000)),
            ("-0.250000000", at(-1, 750_000_000)),
            ("-7.000000000", at(-7, 0)),
        ] {
            assert_eq!(moment_text(told), text);
            assert_eq!(moment(text), Some(told));
        }
        assert_eq!(moment("12"), Some(at(12, 0)));
        assert_eq!(moment("12.5"), Some(at(12, 500_000_000)));
        assert_eq!(moment("1.1234567899"), Some(at(1, 123_456_789)));
        for text in ["", "-", ".5", "1e9", "+1", "--1", "1.-5", "nan", "99999999999999999999"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_there() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let kept =
            read(&[pair("mtime", "x"), pair("xfer-mode", "99999"), pair("xfer-blake3", "g")]);
        assert_eq!(kept, Kept::default());
        let kept = read(&[pair("Mtime", "1"), pair("XFER-MODE", "755")]);
        assert_eq!((kept.modified, kept.mode), (Some(at(1, 0)), Some(0o755)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            seconds in -(1_i64 << 40)..(1_i64 << 40),
            nanoseconds in 0..SECOND,
            mode in 0..=MODE_MAX,
            digest in any::<Option<[u8; 32]>>(),
        ) {
            let modified = at(seconds, nanoseconds);
            let metadata = Metadata { mode, modified, ..Metadata::default() };
            let digest = digest.map(Digest::from_bytes);
            let kept = read(&written(&metadata, digest, Some("1a")));
            let (modified, mode) = (Some(metadata.modified), Some(mode));
            prop_assert_eq!(kept, Kept { modified, mode, digest, attempt: Some("1a".to_owned()) });
        }

        #[test]
        fn no_text_breaks_the_reading(text in "\\PC{0,40}") {
            moment(&text);
        }
    }
}
