//! The grammars of values: what a flag takes, and nothing else.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use xfer_core::disk::metadata::umask;
use xfer_core::disk::named_roots::is_root_name;
use xfer_core::options::chmod::ModeChanges;
use xfer_core::options::{
    Compression, Deadline, MappedPort, Order, RemovalLimit, RemovalTime, RouteChoice, VerifyLevel,
};
use xfer_protocol::data_port::{Carrier, InsidePort};
use xfer_protocol::limits::LEVEL_MAX;
use xfer_protocol::manifest::Timestamp;

use crate::moment;

/// Bytes of a pattern of what goes first.
const FIRST_BYTES_MAX: usize = 4096;

/// Streams beyond which no route gains: stores admit 64, SSH four logins of 8 channels.
const STREAMS_MAX: usize = 64;

/// Retries beyond which a count is a mistake.
const RETRIES_MAX: u32 = 1000;

/// The longest span: ten years.
const SPAN_SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Why a value is none, in words that follow "--flag VALUE: ".
pub(crate) type Refusal = &'static str;

/// A span of time, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// `90s`, `45m`, `6h`, `7d`.
    Span(Duration),
    /// RFC 3339.
    Moment(Timestamp),
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `GB` = 10⁹, `GiB` = 2³⁰, a bare number is bytes.
pub(crate) fn size(text: &str) -> Result<u64, Refusal> {
    const EXPECTED: Refusal = "expected a size such as 1048576, 500MB, 1.5GB or 2GiB";
    let (number, unit) = split_number(text).ok_or(EXPECTED)?;
    let unit = match &*unit.to_ascii_lowercase() {
        "" | "b" if text.contains('.') => return Err(EXPECTED),
        "" | "b" => 1,
        other => prefix(other.strip_suffix('b').ok_or(EXPECTED)?).ok_or(EXPECTED)?,
    };
    scale(number, unit).ok_or("the size is too large")
}

/// US dollars.
pub(crate) fn dollars(text: &str) -> Result<f64, Refusal> {
    const EXPECTED: Refusal = "expected dollars, such as 2 or 0.50";
    let (_, unit) = split_number(text).ok_or(EXPECTED)?;
    text.parse().ok().filter(|usd: &f64| unit.is_empty() && usd.is_finite()).ok_or(EXPECTED)
}

/// Bytes a second; the unit is required, because tools differ in what a bare number means.
pub(crate) fn rate(text: &str) -> Result<u64, Refusal> {
    const EXPECTED: Refusal = "expected a rate with its unit, such as 100MB/s or 800Mbit/s";
    let (number, unit) = split_number(text).ok_or(EXPECTED)?;
    let unit = unit.strip_suffix("/s").ok_or(EXPECTED)?;
    let (unit, bits) = match (unit.strip_suffix("bit"), unit.strip_suffix('B')) {
        (Some(unit), _) => (unit, 8),
        (None, Some(unit)) => (unit, 1),
        (None, None) => return Err(EXPECTED),
    };
    let unit = if unit.is_empty() { Some(1) } else { prefix(&unit.to_ascii_lowercase()) };
    let rate = scale(number, unit.ok_or(EXPECTED)?).ok_or("the rate is too large")? / bits;
    if rate == 0 { Err("a rate of nothing would never end") } else { Ok(rate) }
}

/// `90s`, `45m`, `6h`, `7d` or RFC 3339.
pub(crate) fn time(text: &str) -> Result<Time, Refusal> {
    if let Some(moment) = moment::parse(text) {
        return Ok(Time::Moment(moment));
    }
    span(text)
        .map(Time::Span)
        .map_err(|_| "expected a time such as 90s, 45m, 6h, 7d or 2026-01-31T12:00:00Z")
}

/// `auto`, a span from now on, or RFC 3339.
pub(crate) fn deadline(text: &str) -> Result<Deadline, Refusal> {
    const EXPECTED: Refusal = "expected auto, or a time such as 45m, 6h or 2026-01-31T12:00:00Z";
    match text {
        "auto" => Ok(Deadline::Auto),
        text => match time(text).map_err(|_| EXPECTED)? {
            Time::Span(span) => Ok(Deadline::In(span)),
            Time::Moment(moment) => Ok(Deadline::At(moment)),
        },
    }
}

/// `90s`, `45m`, `6h` or `7d`.
pub(crate) fn span(text: &str) -> Result<Duration, Refusal> {
    const EXPECTED: Refusal = "expected a span of time such as 90s, 45m, 6h or 7d";
    let (number, unit) = split_number(text).ok_or(EXPECTED)?;
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(EXPECTED),
    };
    match scale(number, unit) {
        Some(milliseconds) if milliseconds <= SPAN_SECONDS_MAX * 1000 => {
            Ok(Duration::from_millis(milliseconds))
        }
        _ => Err("the time is too long"),
    }
}

/// How long a file has to be left alone; nothing needs no unit.
pub(crate) fn settle(text: &str) -> Result<Duration, Refusal> {
    if text == "0" { Ok(Duration::ZERO) } else { span(text) }
}

/// What is moved first.
pub(crate) fn order(text: &str) -> Result<Order, Refusal> {
    match text {
        "name" => Ok(Order::Name),
        "newest" => Ok(Order::Newest),
        "smallest" => Ok(Order::Smallest),
        _ => Err("expected newest, smallest or name"),
    }
}

/// A pattern of what is moved before all other.
pub(crate) fn first(text: &str) -> Result<String, Refusal> {
    let fits = text.len() <= FIRST_BYTES_MAX && !text.is_empty();
    if fits && xfer_core::engine::is_first_pattern(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a pattern such as 'best*.pt' or 'run7/**/best.pt'")
    }
}

/// A span that is not nothing.
pub(crate) fn timeout(text: &str) -> Result<Duration, Refusal> {
    match span(text)? {
        Duration::ZERO => Err("a timeout of nothing would end everything"),
        span => Ok(span),
    }
}

/// `auto` or 1 to 64.
pub(crate) fn streams(text: &str) -> Result<Option<NonZeroUsize>, Refusal> {
    const EXPECTED: Refusal = "expected auto, or a number of streams from 1 to 64";
    if text == "auto" {
        return Ok(None);
    }
    let count: usize = whole(text).ok_or(EXPECTED)?;
    match NonZeroUsize::new(count) {
        Some(count) if count.get() <= STREAMS_MAX => Ok(Some(count)),
        _ => Err(EXPECTED),
    }
}

/// 0 to 1000.
pub(crate) fn retries(text: &str) -> Result<u32, Refusal> {
    match whole(text) {
        Some(count) if count <= RETRIES_MAX => Ok(count),
        _ => Err("expected a number of retries from 0 to 1000"),
    }
}

/// 1 to 65535.
pub(crate) fn port(text: &str) -> Result<u16, Refusal> {
    match whole(text) {
        Some(port) if port != 0 => Ok(port),
        _ => Err("expected a port from 1 to 65535"),
    }
}

/// `received`, `durable` or `read-back`.
pub(crate) fn verify_level(text: &str) -> Result<VerifyLevel, Refusal> {
    let level = VerifyLevel::ALL.into_iter().find(|level| level.name() == text);
    level.ok_or("expected received, durable or read-back")
}

/// `after` or `before`.
pub(crate) fn removal_time(text: &str) -> Result<RemovalTime, Refusal> {
    match text {
        "after" => Ok(RemovalTime::After),
        "before" => Ok(RemovalTime::Before),
        _ => Err("expected after or before"),
    }
}

/// A number of entries, or so many percent of them.
pub(crate) fn removal_limit(text: &str) -> Result<RemovalLimit, Refusal> {
    const EXPECTED: Refusal = "expected a number of entries such as 100, or 0% to 100%";
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_suffix('%') {
        Some(percent) if is_number(percent) => match percent.parse() {
            Ok(percent @ 0..=100) => Ok(RemovalLimit::Percent(percent)),
            _ => Err(EXPECTED),
        },
        None if is_number(text) => text.parse().map(RemovalLimit::Entries).map_err(|_| EXPECTED),
        _ => Err(EXPECTED),
    }
}

/// `auto`, `quic`, `tls`, `ssh` or `sftp`.
/// Changes of permissions.
pub(crate) fn chmod(text: &str) -> Result<ModeChanges, Refusal> {
    const EXPECTED: Refusal = "expected changes such as D755,F644 or u+rwX,go-w";
    ModeChanges::parse(text, umask()).map_err(|_| EXPECTED)
}

pub(crate) fn route(text: &str) -> Result<RouteChoice, Refusal> {
    match text {
        "auto" => Ok(RouteChoice::Auto),
        "ssh" => Ok(RouteChoice::Ssh),
        "sftp" => Ok(RouteChoice::Sftp),
        "quic" => Ok(RouteChoice::Quic),
        "tls" => Ok(RouteChoice::Tls),
        "lan" => Err("that route is not in this version yet; use auto, quic, tls, ssh or sftp"),
        _ => Err("expected auto, quic, tls, ssh or sftp"),
    }
}

/// `auto`, `none`, `zstd` or `zstd:N`.
pub(crate) fn compression(text: &str) -> Result<Compression, Refusal> {
    const EXPECTED: Refusal = "expected auto, none, zstd, or zstd:N with N from 1 to 19";
    match text.split_once(':') {
        None => match text {
            "auto" => Ok(Compression::Auto),
            "none" => Ok(Compression::Never),
            "zstd" => Ok(Compression::Level(3)),
            _ => Err(EXPECTED),
        },
        Some(("zstd", level)) => match whole(level) {
            Some(level) if (1..=LEVEL_MAX).contains(&level) => Ok(Compression::Level(level)),
            _ => Err(EXPECTED),
        },
        Some(_) => Err(EXPECTED),
    }
}

/// `ADDR:PORT`, `[ADDR]:PORT`, or `:PORT` for every address.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, Refusal> {
    const EXPECTED: Refusal = "expected ADDR:PORT such as 0.0.0.0:4242, [::1]:4242 or :4242";
    match text.strip_prefix(':') {
        Some(digits) => {
            let port = whole::<u16>(digits).filter(|_| !digits.is_empty()).ok_or(EXPECTED)?;
            Ok((Ipv6Addr::UNSPECIFIED, port).into())
        }
        None => text.parse().map_err(|_| EXPECTED),
    }
}

/// The name of a root.
pub(crate) fn root_name(text: &str) -> Result<String, Refusal> {
    if is_root_name(text) { Ok(text.to_owned()) } else { Err("expected the name of a root") }
}

/// The number from which a container asks for one port inside and outside.
const IDENTITY_FROM: u32 = 70_000;

/// `[HOST:]INSIDE:OUTSIDE/tcp` or `/udp`.
pub(crate) fn data_port(text: &str) -> Result<MappedPort, Refusal> {
    const EXPECTED: Refusal = "expected [HOST:]INSIDE:OUTSIDE/tcp or /udp, such as 8081:33526/tcp";
    let (ports, carrier) = text.rsplit_once('/').ok_or(EXPECTED)?;
    let carrier = match carrier {
        "tcp" => Carrier::Tcp,
        "udp" => Carrier::Udp,
        _ => return Err(EXPECTED),
    };
    let (rest, outside) = ports.rsplit_once(':').ok_or(EXPECTED)?;
    let outside = port(outside)?;
    let (host, inside) = match rest.rsplit_once(':') {
        None => (None, rest),
        Some((host, inside)) => (Some(data_host(host).ok_or(EXPECTED)?), inside),
    };
    let number = match inside.parse::<u32>() {
        Ok(asked) if asked >= IDENTITY_FROM => outside,
        _ => port(inside)?,
    };
    Ok(MappedPort { inside: InsidePort { carrier, number }, host, outside })
}

/// Where a store is: `https://HOST[:PORT][/PATH]`, or `http://`.
pub(crate) fn endpoint(text: &str) -> Result<String, Refusal> {
    const EXPECTED: Refusal =
        "expected the address of a store, such as https://HOST:9000, with no key and no query";
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.ok_or(EXPECTED)?.split('/').next().unwrap_or_default();
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"@?#\\\"<>".contains(&b));
    if !is_plain || !host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') {
        return Err(EXPECTED);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A name or an address, IPv6 in brackets.
fn data_host(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_name = |text: &str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|address| address.to_string()),
        None => is_name(text).then(|| text.to_owned()),
    }
}

/// `auto`, `always` or `never`.
pub(crate) fn color(text: &str) -> Result<Color, Refusal> {
    match text {
        "auto" => Ok(Color::Auto),
        "always" => Ok(Color::Always),
        "never" => Ok(Color::Never),
        _ => Err("expected auto, always or never"),
    }
}

/// Where files between two machines pass.
pub(crate) fn place(text: &str) -> Result<String, Refusal> {
    let is_one = !text.is_empty() && !text.contains(char::is_control);
    if is_one {
        Ok(text.to_owned())
    } else {
        Err("expected here, or a location such as s3://BUCKET/tmp or vast:ID")
    }
}

/// Text for ssh, which judges it itself.
pub(crate) fn ssh_text(text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.chars().any(char::is_control) {
        Err("expected a value without control characters")
    } else {
        Ok(())
    }
}

/// Digits before and after a point, and what follows them.
fn split_number(text: &str) -> Option<((u128, u128), &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || number.len() > 24 || fraction.contains('.') {
        return None;
    }
    let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value = whole.parse::<u128>().ok()?.checked_mul(divisor)?;
    Some(((value.checked_add(fraction.parse().ok()?)?, divisor), unit))
}

fn scale((value, divisor): (u128, u128), unit: u128) -> Option<u64> {
    let product = value.checked_mul(unit)?;
    u64::try_from(product / divisor).ok()
}

fn prefix(letter: &str) -> Option<u128> {
    let (letter, base) = match letter.strip_suffix('i') {
        Some(letter) => (letter, 1024u128),
        None => (letter, 1000),
    };
    let power = match letter {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    base.checked_pow(power)
}

fn whole<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("1kB", 1000),
            ("1GB", 1_000_000_000),
            ("1gb", 1_000_000_000),
            ("2GiB", 2 << 30),
            ("1.5KiB", 1536),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "-1",
            "+1",
            "NaN",
            "1e9",
            "٣",
            "10XB",
            "1 GB",
            "1G",
            "GB",
            ".5GB",
            "1.GB",
            "1..2GB",
            "18446744073709551616",
            "99999999PB",
            "1.5.5GB",
            "0x10",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_to_listen() {
        for (text, address) in
            [("0.0.0.0:4242", "0.0.0.0:4242"), ("[::1]:0", "[::1]:0"), (":4242", "[::]:4242")]
        {
            assert_eq!(listen(text).map(|a| a.to_string()), Ok(address.to_owned()), "{text}");
        }
        for text in ["", ":", "4242", "host:4242", ":70000", ":-1", "::1:4242", "1.2.3.4", ":٣"] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert!(root_name("data-1.x").is_ok() && root_name("../x").is_err());
    }

    #[test]
    fn endpoints() {
        for (text, address) in [
            ("https://minio.example:9000", "https://minio.example:9000"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("https://[::1]:9000/base/", "https://[::1]:9000/base"),
        ] {
            assert_eq!(endpoint(text), Ok(address.to_owned()));
        }
        for text in [
            "",
            "minio:9000",
            "https://",
            "https:///x",
            "s3://b",
            "https://k:sesame@h",
            "https://h/?sesame",
            "https://h/#x",
            "https://h x",
            "https://-h",
            "HTTPS://h",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("100MB/s", 100_000_000),
            ("800Mbit/s", 100_000_000),
            ("1.5MiB/s", 1_572_864),
            ("1B/s", 1),
            ("8bit/s", 1),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "100",
            "10XB",
            "-5M",
            "NaN",
            "18446744073709551616",
            "5M",
            "0MB/s",
            "1bit/s",
            "1b/s",
            "inf",
            "99999999999999999999PB/s",
            "100MB",
            "٣MB/s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(time("7d"), Ok(Time::Span(Duration::from_secs(604_800))));
        assert!(matches!(time("2026-01-31T12:00:00Z"), Ok(Time::Moment(_))));
        for text in ["", "90", "-1s", "NaNs", "٣s", "1y", "99999999999999h", "1e3s", "2026-01-31"]
        {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(timeout("0s").is_err());
    }

    #[test]
    fn counts() {
        assert_eq!(streams("auto"), Ok(None));
        assert_eq!(streams("64").map(|n| n.map(NonZeroUsize::get)), Ok(Some(64)));
        for text in ["", "0", "-1", "+1", "99999999", "1e9", "٣", "65", " 4", "4 "] {
            assert!(streams(text).is_err(), "{text}");
        }
        for text in ["", "0", "65536", "-1", "22x", "٣"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
