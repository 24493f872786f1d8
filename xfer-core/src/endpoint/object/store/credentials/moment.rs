//! Times of day, as those who give credentials out write them.

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since 1970 of `2026-11-22T15:04:05Z`, with `UTC`, `+01:00` or a fraction in their
/// places; `None` where it is none.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = |from: usize, to: usize| -> Option<i64> {
        let field = text.get(from..to)?;
        field.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.parse().ok())?
    };
    let is = |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|b| wanted.contains(b));
    let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
    let fits = fits && hour < 24 && minute < 60 && second <= 60;
    let rest = text.get(19..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" | "UTC" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            let field = |text: &str, most: i64| {
                let is_pair = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<i64>().ok().filter(|number| is_pair && *number <= most)
            };
            sign * (field(hours, 23)? * 3600 + field(minutes, 59)? * 60)
        }
    };
    let of_day = hour * 3600 + minute * 60 + second;
    (marks && fits).then(|| days(year, month, day) * 86_400 + of_day - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        for (text, read) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("2026-11-22T15:04:05Z", Some(1_795_359_845)),
            ("2026-11-22T15:04:05.123456Z", Some(1_795_359_845)),
            ("2026-11-22T15:04:05UTC", Some(1_795_359_845)),
            ("2026-11-22T16:04:05+01:00", Some(1_795_359_845)),
            ("2026-11-22T10:34:05-04:30", Some(1_795_359_845)),
            ("2026-13-22T15:04:05Z", None),
            ("2026-11-22", None),
            ("2026-11-22T15:04:05", None),
            ("2026-11-22T15:04:05+1", None),
            ("2026-11-22T15:04:05+24:00", None),
            ("2026-11-22T15:04:05+01:60", None),
            ("2026-11-22T15:04:05+1:00", None),
            ("2026-11-22T15:04:05+-1:00", None),
            ("2026-11-22T15:04:05+9223372036854775807:00", None),
            ("é026-11-22T15:04:05Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), read, "{text}");
        }
    }
}
