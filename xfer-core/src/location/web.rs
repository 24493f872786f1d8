//! Files that are read over HTTPS, as they are typed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::parse::{decode_path, split_port};
use super::reason::LocationReason;

/// Bytes of a host name that any resolver takes.
const HOST_BYTES_MAX: usize = 255;

/// One file of a web server. Its query may be a signature, so nothing shows it, not even for
/// debugging.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebPlace {
    /// As it is asked for, encoded.
    address: String,
    /// Bytes of it up to the path: `https://host:port`, or `http://` to this machine alone.
    origin: usize,
    /// Bytes of it up to the query.
    shown: usize,
}

impl WebPlace {
    /// Reads what stands behind `scheme://`: the place, and its path decoded once.
    pub(super) fn parse(scheme: &str, rest: &[u8]) -> Result<(Self, Vec<u8>), LocationReason> {
        if rest.contains(&b'#') {
            return Err(LocationReason::BadAddressOfFile);
        }
        let (place, query) = match rest.iter().position(|&b| b == b'?') {
            Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
            None => (rest, None),
        };
        let end = place.iter().position(|&b| b == b'/').unwrap_or(place.len());
        let (authority, path) = place.split_at(end);
        if authority.contains(&b'@') || (split_port(authority).is_err() && path.contains(&b'@')) {
            return Err(LocationReason::KeyInLocation);
        }
        let (host, port) = split_port(authority)?;
        let host = check_host(host)?;
        if scheme == "http" && !is_here(&host) {
            return Err(LocationReason::Unencrypted);
        }
        let decoded = decode_path(path)?;
        let last = decoded.split(|&b| b == b'/').next_back().unwrap_or_default();
        let is_dots = |name: &[u8]| matches!(name, b"." | b"..");
        if last.is_empty() || decoded.split(|&b| b == b'/').any(is_dots) {
            return Err(LocationReason::BadAddressOfFile);
        }
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let mut address = format!("{scheme}://{host}{port}");
        let origin = address.len();
        address.push_str(&encoded(path));
        let shown = address.len();
        if let Some(query) = query {
            address.push('?');
            address.push_str(&encoded(query));
        }
        Ok((Self { address, origin, shown }, decoded))
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.address[..self.origin]
    }

    /// What is asked for, with its query: not to be shown.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Shows the address, without its query.
impl fmt::Display for WebPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.shown < self.address.len() { "?***" } else { "" };
        write!(f, "{}{hidden}", &self.address[..self.shown])
    }
}

impl fmt::Debug for WebPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebPlace({self})")
    }
}

/// A host as addresses spell it, in small letters.
fn check_host(host: &[u8]) -> Result<String, LocationReason> {
    let host = std::str::from_utf8(host).map_err(|_| LocationReason::BadHost)?;
    if host.is_empty() {
        return Err(LocationReason::HostMissing);
    }
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        return address.map(|address| format!("[{address}]")).ok_or(LocationReason::BadAddress);
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let is_host = host.starts_with(|c: char| c.is_ascii_alphanumeric());
    if host.len() > HOST_BYTES_MAX || !is_host || !host.bytes().all(is_plain) {
        return Err(LocationReason::BadHost);
    }
    Ok(host.to_ascii_lowercase())
}

/// Whether a host is this machine, whatever a resolver says.
fn is_here(host: &str) -> bool {
    let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host == "localhost"
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || plain.and_then(|host| host.parse().ok()).is_some_and(|a: Ipv6Addr| a.is_loopback())
}

/// Encodes what no address holds as it is, and leaves what is encoded.
fn encoded(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
