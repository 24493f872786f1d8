//! Fields of an answer, each read as far as it makes sense.
//!
//! Platforms send numbers as texts, nothing in place of numbers, and texts with line ends. What can
//! be read exactly is; of the rest it is said which field it was.

use std::net::{IpAddr, Ipv4Addr};

use super::json::Json;

/// A number that names something: exact, or nothing.
pub(super) fn id(value: &Json) -> Option<u64> {
    match value {
        Json::Whole(number) => u64::try_from(*number).ok(),
        Json::Text(text) => digits(text)?.parse().ok().filter(|id| i64::try_from(*id).is_ok()),
        _ => None,
    }
    .filter(|id| *id > 0)
}

/// A port that can be dialled.
pub(super) fn port(value: &Json) -> Option<u16> {
    let port = match value {
        Json::Whole(number) => u16::try_from(*number).ok(),
        Json::Text(text) => digits(text)?.parse().ok(),
        _ => None,
    };
    port.filter(|port| *port > 0)
}

/// An amount of money, or of anything that is not less than nothing.
pub(super) fn amount(value: Option<&Json>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "an amount is no id")]
    let amount = match value? {
        Json::Whole(number) => *number as f64,
        Json::Number(number) => *number,
        Json::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (amount.is_finite() && amount >= 0.0).then_some(amount)
}

/// A second since 1970.
pub(super) fn second(value: Option<&Json>) -> Option<i64> {
    /// The year 9999, above which no contract ends.
    const LAST: f64 = 253_402_300_799.0;
    let seconds = amount(value).filter(|seconds| *seconds > 0.0 && *seconds < LAST)?;
    #[expect(clippy::cast_possible_truncation, reason = "it was compared with the largest")]
    Some(seconds as i64)
}

/// An address at which a machine may be dialled from elsewhere: none that means this machine, this
/// link or many machines.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let address = text.trim().parse::<IpAddr>().ok()?.to_canonical();
    let is_elsewhere = match address {
        IpAddr::V4(v4) => !v4.is_link_local() && v4 != Ipv4Addr::BROADCAST && v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_unspecified(),
    };
    (is_elsewhere && !address.is_loopback() && !address.is_multicast()).then_some(address)
}

/// A name or an address that no shell, file or terminal takes for anything else.
pub(super) fn is_host(name: &str) -> bool {
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let is_address = name.parse::<IpAddr>().is_ok();
    if is_address {
        return address(name).is_some();
    }
    // A name that ends in a number is an address of another notation.
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_word = last.bytes().any(|b| b.is_ascii_alphabetic());
    is_name && is_word && name.len() <= 253 && !name.starts_with(['-', '.'])
}

/// What stands for a value in an error: short, and nothing of a secret's length.
pub(super) fn shown(value: &Json) -> String {
    /// The longest that a port or an address is written.
    const LONGEST: usize = 40;
    match value {
        Json::Text(text) if text.len() <= LONGEST => format!("{text:?}"),
        Json::Whole(number) => number.to_string(),
        Json::Number(number) => number.to_string(),
        Json::Bool(truth) => truth.to_string(),
        other => other.kind().to_owned(),
    }
}

/// The text, where it is digits alone, as many as any number has.
fn digits(text: &str) -> Option<&str> {
    let is_number = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    /// Rows: B-A6.
    #[test]
    fn an_id_is_exact_or_none() {
        assert_eq!(id(&Json::Whole(312)), Some(312));
        assert_eq!(id(&text("312")), Some(312));
        assert_eq!(id(&Json::Whole((1 << 53) + 1)), Some((1 << 53) + 1));
        for value in
            ["", "-1", "1.0", "0x16", "18446744073709551616", "1 ", "0", "9223372036854775808"]
        {
            assert_eq!(id(&text(value)), None, "{value:?}");
        }
        for value in [Json::Whole(-1), Json::Whole(0), Json::Number(312.0), Json::Null] {
            assert_eq!(id(&value), None, "{value:?}");
        }
    }

    /// Rows: B-A3.
    #[test]
    fn a_port_can_be_dialled_or_is_none() {
        assert_eq!(port(&text("20000")), Some(20000));
        assert_eq!(port(&Json::Whole(65535)), Some(65535));
        for value in ["", "0", "70000", "-1", "22 ", " 22", "0x16", "22.5", "+22", "٢٢"] {
            assert_eq!(port(&text(value)), None, "{value:?}");
        }
        for value in [0, -1, 70_000] {
            assert_eq!(port(&Json::Whole(value)), None, "{value}");
        }
        assert_eq!(port(&Json::Number(22.5)), None);
        assert_eq!(port(&Json::List(vec![])), None);
    }

    /// Rows: B-A4.
    #[test]
    fn an_address_leads_elsewhere_or_is_none() {
        for (typed, expected) in [
            (" 1.2.3.4\n", "1.2.3.4"),
            ("203.0.113.37 ", "203.0.113.37"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("10.0.0.7", "10.0.0.7"),
        ] {
            assert_eq!(address(typed), expected.parse().ok(), "{typed:?}");
        }
        for typed in [
            "",
            "host.example",
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "1.2.3.4 5.6.7.8",
            "1.2.3.4:22",
        ] {
            assert_eq!(address(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn an_amount_that_is_none_is_unknown() {
        assert_eq!(amount(Some(&Json::Number(0.5))), Some(0.5));
        assert_eq!(amount(Some(&text(" 2 "))), Some(2.0));
        assert_eq!(amount(Some(&Json::Whole(0))), Some(0.0));
        for value in
            [text("NaN"), text("inf"), text("-1"), Json::Number(-0.1), Json::Null, text("")]
        {
            assert_eq!(amount(Some(&value)), None, "{value:?}");
        }
        assert_eq!(amount(None), None);
        assert_eq!(second(Some(&Json::Number(1_788_600_000.7))), Some(1_788_600_000));
        assert_eq!(second(Some(&Json::Number(1e30))), None);
    }
}
