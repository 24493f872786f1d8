//! From typed bytes to a location.

use std::net::Ipv6Addr;

use xfer_protocol::limits;

use super::reason::LocationReason;
use super::{
    Bucket, HubRepository, Location, Machine, PeerHost, PlatformKind, PlatformMachine,
    RcloneRemote, SshHost, StoreKind, WebPlace, Which, rclone,
};

/// Bytes of a host name that any resolver takes.
const HOST_BYTES_MAX: usize = 255;

/// What stands before a remote of rclone's.
const RCLONE: &[u8] = b"rclone:";

/// Characters of a user that a shell or an option parser could take for its own.
const USER_REFUSED: &[char] =
    &['\'', '"', '`', '$', '\\', ';', '&', '<', '>', '|', '(', ')', '{', '}', '/', ':'];

pub(super) fn parse(text: &[u8]) -> Result<Location, LocationReason> {
    match text {
        b"" => return Err(LocationReason::Empty),
        b"-" => return Err(LocationReason::Dash),
        _ if text.contains(&0) => return Err(LocationReason::Nul),
        _ if text.len() > limits::PATH_BYTES_MAX => return Err(LocationReason::TooLong),
        _ => {}
    }
    if let Some((platform, rest)) = split_platform(text) {
        return platform_form(platform, rest);
    }
    if let Some(rest) = text.strip_prefix(RCLONE) {
        let (remote, path) = RcloneRemote::parse(rest)?;
        return Ok(Location { machine: Machine::Rclone(remote), path });
    }
    if let Some((scheme, rest)) = split_scheme(text) {
        return scheme_form(scheme, rest);
    }
    match split_colon(text) {
        Some((host, path)) => colon_form(host, path),
        None => Ok(Location::local(text)),
    }
}

fn scheme_form(scheme: &[u8], rest: &[u8]) -> Result<Location, LocationReason> {
    if let Some(kind) = StoreKind::ALL.into_iter().find(|k| k.scheme().as_bytes() == scheme) {
        let (bucket, path) = Bucket::parse(kind, rest)?;
        return Ok(Location { machine: Machine::Store(bucket), path });
    }
    let web = |scheme| {
        let (place, path) = WebPlace::parse(scheme, rest)?;
        Ok(Location { machine: Machine::Web(place), path })
    };
    match scheme {
        b"ssh" => ssh_uri(rest),
        b"xfer" => peer_uri(rest),
        b"file" => file_uri(rest),
        b"https" => web("https"),
        b"http" => web("http"),
        b"hf" => {
            let (repository, path) = HubRepository::parse(rest)?;
            Ok(Location { machine: Machine::Hub(Box::new(repository)), path })
        }
        _ => Err(LocationReason::UnknownScheme),
    }
}

/// Whether a path, typed as it is, is taken as a path on this machine.
pub(super) fn is_taken_as_local(path: &[u8]) -> bool {
    let names_another = split_scheme(path).is_some() || split_colon(path).is_some();
    path != b"-" && !path.is_empty() && !names_another
}

/// Whether a host can only be written in a URI.
pub(super) fn needs_uri(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_digit())
        || host.as_bytes() == &RCLONE[..RCLONE.len() - 1]
        || PlatformKind::ALL.iter().any(|platform| platform.name() == host)
        || (cfg!(windows) && host.len() == 1)
}

/// What was typed, without what may be a password or a signature of a URL.
pub(super) fn redact(text: &[u8]) -> Vec<u8> {
    if text.starts_with(RCLONE) {
        return rclone::redact(text);
    }
    let start = match split_scheme(text) {
        Some((scheme, _)) => scheme.len() + 3,
        None => match split_colon(text) {
            Some((_, path)) if looks_like_password(path) => 0,
            _ => return text.to_vec(),
        },
    };
    let (head, rest) = text.split_at(start);
    let mut shown = head.to_vec();
    // What stands behind a `?` is a query, which may hold an `@` of its own; SSH knows none.
    let is_ssh = head.is_empty() || head == b"ssh://";
    let end = rest.iter().position(|&b| b == b'?').filter(|_| !is_ssh).unwrap_or(rest.len());
    let (rest, query) = rest.split_at(end);
    if query.contains(&b'@') && (head == b"xfer://" || is_maybe_secret(rest)) {
        shown.extend_from_slice(b"***?***");
        return shown;
    }
    let at = rest.iter().rposition(|&b| b == b'@');
    let colon = match at {
        // Whatever somebody writes before a peer, or a store, may be a token.
        Some(_) if head == b"xfer://" => Some(0),
        Some(at) if !rest[..at].contains(&b'/') && head != b"ssh://" && !head.is_empty() => Some(0),
        at => at.and_then(|at| rest[..at].iter().position(|&b| b == b':')),
    };
    let rest = match (colon, at) {
        (Some(colon), Some(at)) => {
            shown.extend_from_slice(&rest[..colon]);
            shown.extend_from_slice(b":***");
            &rest[at..]
        }
        _ => rest,
    };
    let end = rest.iter().position(|&b| b == b'?').unwrap_or(rest.len());
    shown.extend_from_slice(&rest[..end]);
    if end < rest.len() || !query.is_empty() {
        shown.extend_from_slice(b"?***");
    }
    shown
}

/// Whether what stands before a `?` may be the beginning of a secret that holds one.
fn is_maybe_secret(front: &[u8]) -> bool {
    let end = front.iter().position(|&b| b == b'/').unwrap_or(front.len());
    end == front.len() || split_port(&front[..end]).is_err()
}

/// The path of the form `host:path`: relative below home.
pub(super) fn parse_colon_path(path: &[u8]) -> Result<Vec<u8>, LocationReason> {
    match path {
        b"~" | b"~/" => Ok(Vec::new()),
        _ if looks_like_password(path) => Err(LocationReason::Password),
        [b'~', b'/', below @ ..] => Ok(below.to_vec()),
        [b'~', ..] => Err(LocationReason::OtherHome),
        // Somebody means an IPv6 address, or a module of rsync's daemon.
        [b':', ..] => Err(LocationReason::DoubleColon),
        _ => Ok(path.to_vec()),
    }
}

/// `scheme://rest`, the scheme as RFC 3986 spells it.
fn split_scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(3).position(|w| w == b"://")?;
    let (scheme, rest) = (&text[..end], &text[end + 3..]);
    let (first, others) = scheme.split_first()?;
    let valid = first.is_ascii_alphabetic()
        && others.iter().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(b));
    valid.then_some((scheme, rest))
}

/// `before:after`, where no `/` stands before the `:`. A bracketed address is one word.
fn split_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = &text[..text.iter().position(|&b| b == b'/').unwrap_or(text.len())];
    let mut colon = head.iter().position(|&b| b == b':')?;
    let bracket = head.iter().position(|&b| b == b'[');
    if bracket.is_some_and(|bracket| bracket < colon && is_host_start(head, bracket)) {
        let close = head.iter().position(|&b| b == b']').unwrap_or(0);
        colon = close + head[close..].iter().position(|&b| b == b':').unwrap_or(0);
    }
    if cfg!(windows) && colon == 1 && text[0].is_ascii_alphabetic() {
        return None;
    }
    Some((&text[..colon], text.get(colon + 1..).unwrap_or(b"")))
}

fn is_host_start(head: &[u8], at: usize) -> bool {
    at == 0 || head[at - 1] == b'@'
}

/// `vast:rest`
fn split_platform(text: &[u8]) -> Option<(PlatformKind, &[u8])> {
    PlatformKind::ALL.into_iter().find_map(|platform| {
        let rest = text.strip_prefix(platform.name().as_bytes())?;
        Some((platform, rest.strip_prefix(b":")?))
    })
}

/// `machine`, `machine:path`, or nothing for all machines.
fn platform_form(platform: PlatformKind, rest: &[u8]) -> Result<Location, LocationReason> {
    let (name, path) = match rest.iter().position(|&b| b == b':') {
        Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
        None => (rest, None),
    };
    let machine = PlatformMachine::parse(platform, name)?;
    if machine.which == Which::All && path.is_some() {
        return Err(LocationReason::BadMachine);
    }
    let path = parse_colon_path(path.unwrap_or_default())?;
    Ok(Location { machine: Machine::Platform(machine), path })
}

fn colon_form(host: &[u8], path: &[u8]) -> Result<Location, LocationReason> {
    let (user, host) = split_user(host);
    let path = match parse_colon_path(path) {
        Err(LocationReason::DoubleColon) if host.starts_with(b"[") => path.to_vec(),
        other => other?,
    };
    if !host.is_empty() && host.iter().all(u8::is_ascii_digit) {
        return Err(LocationReason::NumericHost);
    }
    let host =
        SshHost { user: user.map(check_user).transpose()?, host: check_host(host)?, port: None };
    Ok(Location { machine: Machine::Ssh(host), path })
}

/// `name:secret@host:path`, which the form `host:path` would take for a path.
fn looks_like_password(path: &[u8]) -> bool {
    let head = &path[..path.iter().position(|&b| b == b'/').unwrap_or(path.len())];
    match head.iter().position(|&b| b == b'@') {
        Some(at) => head[at..].contains(&b':'),
        None => false,
    }
}

fn ssh_uri(rest: &[u8]) -> Result<Location, LocationReason> {
    let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A password may hold a slash; what stands before the last @ is never a host.
    if rest[..end].contains(&b':') && !authority.contains(&b'@') && looks_like_split_secret(rest) {
        return Err(LocationReason::Password);
    }
    let (user, address) = split_user(authority);
    if user.is_some_and(|user| user.contains(&b':')) {
        return Err(LocationReason::Password);
    }
    let user = user.map(|user| check_user(&decode(user)?)).transpose()?;
    let (host, port) = split_port(address)?;
    let host = SshHost { user, host: check_host(host)?, port };
    let path = decode_path(path)?;
    let path = match &path[..] {
        b"/~" => Vec::new(),
        [b'/', b'~', b'/', below @ ..] => below.to_vec(),
        [b'/', b'~', ..] => return Err(LocationReason::OtherHome),
        _ => path,
    };
    Ok(Location { machine: Machine::Ssh(host), path })
}

/// `host:port/root/path`; a token is never part of it.
fn peer_uri(rest: &[u8]) -> Result<Location, LocationReason> {
    let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains(&b'@') || looks_like_split_secret(rest) {
        return Err(LocationReason::TokenInLocation);
    }
    let (host, port) = split_port(authority)?;
    let host = check_host(host)?;
    let port = port.ok_or(LocationReason::PeerPortMissing)?;
    let path = decode_path(path)?;
    if path.iter().all(|&b| b == b'/') {
        return Err(LocationReason::RootMissing);
    }
    Ok(Location { machine: Machine::Peer(PeerHost { host, port }), path })
}

/// `user:a/b@host`: a port that is none, and an `@` further on.
fn looks_like_split_secret(rest: &[u8]) -> bool {
    let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
    rest[end..].contains(&b'@') && split_port(&rest[..end]).is_err()
}

fn file_uri(rest: &[u8]) -> Result<Location, LocationReason> {
    let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
    if !path.starts_with(b"/") {
        return Err(LocationReason::FileHost);
    }
    Ok(Location::local(decode_path(path)?))
}

fn split_user(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match text.iter().rposition(|&b| b == b'@') {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    }
}

pub(super) fn split_port(address: &[u8]) -> Result<(&[u8], Option<u16>), LocationReason> {
    let colon = if address.starts_with(b"[") {
        let close = address.iter().position(|&b| b == b']').ok_or(LocationReason::BadAddress)?;
        match address.get(close + 1) {
            None => None,
            Some(b':') => Some(close + 1),
            Some(_) => return Err(LocationReason::BadAddress),
        }
    } else {
        address.iter().position(|&b| b == b':')
    };
    let Some(colon) = colon else { return Ok((address, None)) };
    let digits = &address[colon + 1..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(LocationReason::BadPort);
    }
    let port = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    match port {
        Some(port) if port != 0 => Ok((&address[..colon], Some(port))),
        _ => Err(LocationReason::BadPort),
    }
}

fn check_user(user: &[u8]) -> Result<String, LocationReason> {
    let user = std::str::from_utf8(user).map_err(|_| LocationReason::BadUser)?;
    let refused = |c: char| c.is_control() || c.is_whitespace() || USER_REFUSED.contains(&c);
    if user.is_empty() || user.starts_with('-') || user.contains(refused) {
        return Err(LocationReason::BadUser);
    }
    Ok(user.to_owned())
}

fn check_host(host: &[u8]) -> Result<String, LocationReason> {
    let host = std::str::from_utf8(host).map_err(|_| LocationReason::BadHost)?;
    if host.is_empty() {
        return Err(LocationReason::HostMissing);
    }
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').ok_or(LocationReason::BadAddress)?;
        return check_address(address);
    }
    let allowed = |c: char| c.is_alphanumeric() || "._-+,=".contains(c);
    if host.len() > HOST_BYTES_MAX || host.starts_with('-') || !host.chars().all(allowed) {
        return Err(LocationReason::BadHost);
    }
    Ok(host.to_owned())
}

fn check_address(text: &str) -> Result<String, LocationReason> {
    let (address, zone) = match text.split_once('%') {
        // RFC 6874 writes the sign before a zone as %25.
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    let zone_valid = zone.is_none_or(|zone| {
        !zone.is_empty()
            && !zone.starts_with('-')
            && zone.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    if address.parse::<Ipv6Addr>().is_err() || !zone_valid {
        return Err(LocationReason::BadAddress);
    }
    Ok(zone.map_or_else(|| address.to_owned(), |zone| format!("{address}%{zone}")))
}

/// Decodes each component once. An encoded `/`, `.` or `..` would mean another path than it shows.
pub(super) fn decode_path(path: &[u8]) -> Result<Vec<u8>, LocationReason> {
    let mut decoded = Vec::with_capacity(path.len());
    for (index, component) in path.split(|&b| b == b'/').enumerate() {
        if index > 0 {
            decoded.push(b'/');
        }
        let plain = decode(component)?;
        let dots = plain == b"." || plain == b"..";
        if plain.contains(&b'/') || (dots && plain != component) {
            return Err(LocationReason::EncodedSeparator);
        }
        decoded.extend_from_slice(&plain);
    }
    Ok(decoded)
}

fn decode(text: &[u8]) -> Result<Vec<u8>, LocationReason> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|&b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(LocationReason::BadEscape);
        };
        match u8::try_from(high * 16 + low) {
            Ok(0) => return Err(LocationReason::Nul),
            Ok(value) => decoded.push(value),
            Err(_) => return Err(LocationReason::BadEscape),
        }
    }
    Ok(decoded)
}
