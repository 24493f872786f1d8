//! What the user types to name a place.

use std::fmt;

use xfer_protocol::path::Escaped;

/// A place as typed, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which machine.
    pub machine: Machine,
    /// Which path there; relative to the working directory here, to home elsewhere.
    pub path: Vec<u8>,
}

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// This one.
    Local,
    /// One reached over SSH, as ssh itself would resolve it.
    Ssh(SshHost),
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

/// Why text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {}", Escaped(.text))]
pub struct LocationError {
    /// What was typed, any password removed.
    pub text: Vec<u8>,
    /// What is wrong with it.
    pub reason: LocationReason,
}

/// What is wrong with a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationReason {
    /// Nothing was typed.
    #[error("a location is empty")]
    Empty,
}

impl Location {
    /// Parses what the user typed. Bytes, because paths are.
    pub fn parse(text: &[u8]) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError { text: Vec::new(), reason: LocationReason::Empty });
        }
        Ok(Self { machine: Machine::Local, path: text.to_vec() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.machine {
            Machine::Local => {}
            Machine::Ssh(host) => {
                if let Some(user) = &host.user {
                    write!(f, "{user}@")?;
                }
                write!(f, "{}:", host.host)?;
            }
        }
        write!(f, "{}", Escaped(&self.path))
    }
}
