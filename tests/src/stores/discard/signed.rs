//! What AWS asks of a request's signature, short of computing it

use super::super::http::Message;
use super::now;

/// Seconds that clocks may differ
const SKEW_MAX: u64 = 15 * 60;

/// Seconds that a presigned address lives at most
const LIFE_MAX: u64 = 7 * 24 * 3600;

/// Refuses a request that nobody signed, or not all of it, or too long ago
pub(super) fn check(request: &Message) -> Result<(), Message> {
    let denied = |code| Err(Message::refusal(403, code));
    let (names, at, life) = match request.get("authorization") {
        Some(line) => {
            let part = |name: &str| line.split_once(name)?.1.split([',', ' ']).next();
            let (Some(names), true) = (part("SignedHeaders="), line.starts_with("AWS4-")) else {
                return denied("AccessDenied");
            };
            (names.to_owned(), request.get("x-amz-date").map(str::to_owned), None)
        }
        None => {
            let life = request.asks("X-Amz-Expires").and_then(|life| life.parse::<u64>().ok());
            let Some(names) = request.asks("X-Amz-SignedHeaders") else {
                return denied("AccessDenied");
            };
            if request.asks("X-Amz-Signature").is_none() {
                return denied("AccessDenied");
            }
            match life {
                Some(life) if life <= LIFE_MAX => (names, request.asks("X-Amz-Date"), Some(life)),
                _ => return Err(Message::refusal(400, "AuthorizationQueryParametersError")),
            }
        }
    };
    let Some(at) = at.as_deref().and_then(seconds) else { return denied("AccessDenied") };
    let (begin, end) = match life {
        Some(life) => (at.saturating_sub(SKEW_MAX), at + life),
        None => (at.saturating_sub(SKEW_MAX), at + SKEW_MAX),
    };
    match now() {
        now if now < begin => return denied("RequestTimeTooSkewed"),
        now if now > end && life.is_some() => return denied("AccessDenied"),
        now if now > end => return denied("RequestTimeTooSkewed"),
        _ => {}
    }
    let is_signed = |name: &str| names.split(';').any(|signed| signed.eq_ignore_ascii_case(name));
    let must = |name: &str| name == "host" || name.starts_with("x-amz-");
    let mut fields = request.fields.iter().map(|field| field.0.to_ascii_lowercase());
    match fields.find(|name| must(name) && !is_signed(name)) {
        Some(_) => denied("HeadersNotSigned"),
        None => Ok(()),
    }
}

/// Seconds since 1970 of such as `20260102T030405Z`
fn seconds(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    // Years that begin in March end with the day that leaps.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    let days = (days + (month * 153 + 2) / 5 + day).checked_sub(1 + 719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_told_as_seconds() {
        assert_eq!(seconds("19700101T000000Z"), Some(0));
        assert_eq!(seconds("20240229T235959Z"), Some(1_709_251_199));
        assert_eq!(seconds("20260301T000000Z"), Some(1_772_323_200));
        assert_eq!(seconds("2026"), None);
    }
}
