//! What the user types to name a place.
//!
//! Parsing starts no process, asks no name server and touches no file. Paths are bytes; hosts,
//! users and ports are checked here, so that none is taken for an option or a command further down.

mod hub;
mod parse;
mod platform;
mod rclone;
mod reason;
mod store;
mod web;

use std::fmt;

use xfer_protocol::path::Escaped;

pub use hub::{HubKind, HubRepository};
pub use platform::{PlatformKind, PlatformMachine, Which};
pub use rclone::RcloneRemote;
pub use reason::{LocationError, LocationReason};
pub use store::{Bucket, StoreKind};
pub use web::WebPlace;

/// A place as typed, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which machine.
    pub machine: Machine,
    /// Which path there; relative to the working directory here, to home elsewhere. A `/` at its
    /// end is kept, because it has a meaning. Empty for home itself. In a bucket, in a remote of
    /// rclone's, on the web and on the hub it begins with `/`.
    pub path: Vec<u8>,
}

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// This one.
    Local,
    /// A standing peer there, which serves roots by their names.
    Peer(PeerHost),
    /// One that a platform rents out: its address and state are looked up at each use.
    Platform(PlatformMachine),
    /// One reached over SSH, as ssh itself would resolve it.
    Ssh(SshHost),
    /// A bucket of an object store.
    Store(Bucket),
    /// A remote of an installed rclone.
    Rclone(RcloneRemote),
    /// A file of a web server, which can only be read.
    Web(WebPlace),
    /// A repository of the Hugging Face hub, which can only be read.
    Hub(Box<HubRepository>),
}

/// What the user typed of a standing peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerHost {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port, of TCP and of UDP.
    pub port: u16,
}

/// What the user typed of an SSH host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SshHost {
    /// Login name, where given.
    pub user: Option<String>,
    /// Host name, alias or address, without brackets.
    pub host: String,
    /// Port, where given.
    pub port: Option<u16>,
}

impl Location {
    /// A path on this machine, taken as it is.
    #[must_use]
    pub fn local(path: impl Into<Vec<u8>>) -> Self {
        Self { machine: Machine::Local, path: path.into() }
    }

    /// Parses what the user typed. Bytes, because paths are.
    pub fn parse(text: &[u8]) -> Result<Self, LocationError> {
        parse::parse(text).map_err(|reason| LocationError { text: parse::redact(text), reason })
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.machine == Machine::Local
    }

    /// Whether it can be read and never written.
    #[must_use]
    pub fn is_source_only(&self) -> bool {
        matches!(self.machine, Machine::Web(_) | Machine::Hub(_))
    }

    /// Whether its files are those of this machine, whatever name it is given.
    #[must_use]
    pub fn is_here(&self) -> bool {
        let is_itself = |machine: &PlatformMachine| machine.which == Which::Itself;
        self.is_local() || matches!(&self.machine, Machine::Platform(machine) if is_itself(machine))
    }

    /// The last name of the path; `None` for `/`, home, and what ends in `.` or `..`.
    #[must_use]
    pub fn last_name(&self) -> Option<&[u8]> {
        let name = self.path.split(|&b| b == b'/').rfind(|part| !part.is_empty())?;
        (name != b"." && name != b"..").then_some(name)
    }

    /// A text that parses to this location; but for the query of an address, which may be a secret
    /// and is left out.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.machine {
            Machine::Local if parse::is_taken_as_local(&self.path) => self.path.clone(),
            Machine::Local => [b"./", &self.path[..]].concat(),
            Machine::Peer(host) => with_path(format!("xfer://{host}"), &self.path),
            Machine::Platform(machine) => platform_bytes(machine, &self.path),
            Machine::Ssh(host) => ssh_bytes(host, &self.path),
            Machine::Store(bucket) => [bucket.to_string().as_bytes(), &self.path].concat(),
            Machine::Rclone(remote) => {
                [remote.to_string().as_bytes(), b":", remote.typed(&self.path)].concat()
            }
            Machine::Web(place) => place.to_string().into_bytes(),
            Machine::Hub(repository) => [repository.to_string().as_bytes(), &self.path].concat(),
        }
    }
}

/// Shows the location with every control byte escaped.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.to_bytes()).fmt(f)
    }
}

/// Shows the host as it stands before the `:` of a location, or as a URI where it has a port.
impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let bracketed = self.host.contains(':');
        match (bracketed, self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (false, None) => f.write_str(&self.host),
        }
    }
}

/// Shows the peer as it stands in a location.
impl fmt::Display for PeerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The directory that holds the last name of a path; `None` where no other name is left.
pub(crate) fn above(path: &[u8]) -> Option<&[u8]> {
    let end = path.iter().rposition(|b| *b != b'/')?;
    let slash = path[..end].iter().rposition(|b| *b == b'/')?;
    Some(&path[..=slash])
}

fn platform_bytes(machine: &PlatformMachine, path: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if machine.which == Which::All { b"" } else { b":" };
    // What would be taken for something else is below home all the same.
    let plain = parse::parse_colon_path(path).is_ok_and(|parsed| parsed == path);
    let below_home: &[u8] = if plain { b"" } else { b"~/" };
    [machine.to_string().as_bytes(), separator, below_home, path].concat()
}

fn ssh_bytes(host: &SshHost, path: &[u8]) -> Vec<u8> {
    let plain = host.port.is_none() && parse::parse_colon_path(path).is_ok_and(|p| p == path);
    if plain && !parse::needs_uri(&host.host) {
        return [format!("{host}:").as_bytes(), path].concat();
    }
    let below_home = !path.starts_with(b"/") && !path.is_empty();
    with_path(format!("ssh://{host}{}", if below_home { "/~/" } else { "" }), path)
}

/// A URI with a path, of which only what must be is encoded.
fn with_path(uri: String, path: &[u8]) -> Vec<u8> {
    let mut text = uri.into_bytes();
    for &byte in path {
        if byte.is_ascii_control() || byte == b'%' {
            text.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            text.push(byte);
        }
    }
    text
}

#[cfg(test)]
mod tests;
