//! Dates as stores write them: of RFC 3339 in what they list, of RFC 9110 in headers.

use xfer_protocol::manifest::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `2015-10-21T07:28:00.000Z`; `None` where it is none, or not of UTC.
pub(crate) fn of_list(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let is_plain = fraction.len() <= 9 && date.next().is_none();
    let nanoseconds = is_plain.then(|| digits(&format!("{fraction:0<9}"), 9)).flatten()?;
    let seconds = moment(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?, time)?;
    Some(Timestamp { seconds, nanoseconds })
}

/// Reads `Wed, 21 Oct 2015 07:28:00 GMT`; `None` where it is none.
pub(crate) fn of_header(text: &str) -> Option<Timestamp> {
    let (_, text) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut words = text.split(' ');
    let (day, month) = (digits(words.next()?, 2)?, words.next()?);
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let year = digits(words.next()?, 4)?;
    let seconds = moment(year, month, day, words.next()?)?;
    words.next().is_none().then_some(Timestamp { seconds, nanoseconds: 0 })
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let is_plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn moment(year: u32, month: u32, day: u32, time: &str) -> Option<i64> {
    let mut time = time.split(':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let second = digits(time.next()?, 2)?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let is_one = (1..=longest).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let is_one = is_one && time.next().is_none();
    is_one.then(|| days(year, month, day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second))
}

/// Days since 1970-01-01, in years that begin with March, so that a leap day is their last.
fn days(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        // The seconds are those of `date -u -d … +%s`.
        let rows = [
            ("2015-10-21T07:28:00.000Z", "Wed, 21 Oct 2015 07:28:00 GMT", 1_445_412_480),
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("2000-02-29T23:59:59+00:00", "Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("2024-03-01T00:00:00Z", "Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
        ];
        for (listed, header, seconds) in rows {
            let moment = Some(Timestamp { seconds, nanoseconds: 0 });
            assert_eq!(of_list(listed), moment, "{listed}");
            assert_eq!(of_header(header), moment, "{header}");
        }
        let exact = of_list("1970-01-01T00:00:01.25Z");
        assert_eq!(exact, Some(Timestamp { seconds: 1, nanoseconds: 250_000_000 }));
    }

    #[test]
    fn what_is_no_date() {
        let rows = [
            "",
            "2015-10-21",
            "2015-10-21T07:28:00",
            "2015-10-21T07:28:00+01:00",
            "2015-02-29T00:00:00Z",
            "2015-13-01T00:00:00Z",
            "2015-00-01T00:00:00Z",
            "2015-01-01T24:00:00Z",
            "2015-01-01T00:00:00.1234567890Z",
            "+015-01-01T00:00:00Z",
            "2015-01-01T00:00Z",
            "２015-01-01T00:00:00Z",
        ];
        for row in rows {
            assert_eq!(of_list(row), None, "{row}");
        }
        for row in [
            "Wed, 21 Oct 2015 07:28:00 CET",
            "21 Oct 2015 07:28:00 GMT",
            "Wed, 21 Okt 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:28:00 x GMT",
            "Wednesday, 21-Oct-15 07:28:00 GMT",
        ] {
            assert_eq!(of_header(row), None, "{row}");
        }
    }
}
