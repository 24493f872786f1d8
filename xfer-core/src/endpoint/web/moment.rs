//! Moments as HTTP and hubs write them.

use xfer_protocol::manifest::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT`; `None` for anything else.
pub(super) fn of_http(text: &str) -> Option<Timestamp> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = number(words.next()?)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = number(words.next()?)?;
    let seconds = time(words.next()?)?;
    let is_whole = words.next() == Some("GMT") && words.next().is_none();
    let month = i64::try_from(month).ok()? + 1;
    is_whole.then(|| moment(days(year, month, day)?, seconds, 0)).flatten()
}

/// `2024-02-29T08:49:37.123Z`; `None` for anything else.
pub(super) fn of_hub(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, part) = rest.split_once('.').unwrap_or((rest, "0"));
    if part.len() > 9 {
        return None;
    }
    let nanoseconds = u32::try_from(number(&format!("{part:0<9}"))?).ok()?;
    moment(days(year, month, day)?, time(clock)?, nanoseconds)
}

fn moment(days: i64, seconds: i64, nanoseconds: u32) -> Option<Timestamp> {
    Some(Timestamp { seconds: days.checked_mul(86_400)?.checked_add(seconds)?, nanoseconds })
}

fn number(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn time(text: &str) -> Option<i64> {
    let mut words = text.splitn(3, ':').map(number);
    let (hours, minutes, seconds) = (words.next()??, words.next()??, words.next()??);
    let is_one = hours < 24 && minutes < 60 && seconds <= 60;
    is_one.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar: counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    Some(365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What GNU date says of them.
    #[test]
    fn moments_are_read_as_others_read_them() {
        let http = |text| of_http(text).map(|moment| moment.seconds);
        assert_eq!(http("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(http("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        let hub = of_hub("2024-02-29T23:59:59.125Z").unwrap();
        assert_eq!((hub.seconds, hub.nanoseconds), (1_709_251_199, 125_000_000));
        assert_eq!(of_hub("1969-12-31T23:59:59Z").unwrap().seconds, -1);
    }

    #[test]
    fn what_is_none_is_none() {
        for bad in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999 08:49:37 GMT",
        ] {
            assert_eq!(of_http(bad), None, "{bad}");
        }
        for bad in ["", "2024-02-29", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00.0000000000Z"] {
            assert_eq!(of_hub(bad), None, "{bad}");
        }
    }
}
