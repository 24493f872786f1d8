//! Ports beside the channel of a session: who may speak there, and where they lie.
//!
//! A machine behind a port map has two numbers for one port: it listens on the *inside* one, and is
//! dialled on the *outside* one.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::limits;

/// The BLAKE3 digest of a public key as it stands in a handshake (SubjectPublicKeyInfo).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyDigest(pub [u8; 32]);

/// Hexadecimal, for logs.
impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What carries the bytes of a data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Carrier {
    /// TLS over TCP.
    Tcp,
    /// QUIC over UDP.
    Udp,
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the machine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InsidePort {
    /// What it carries.
    pub carrier: Carrier,
    /// Its number; 0 asks the system for a free one.
    pub number: u16,
}

/// Asks for listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The key that alone may speak there.
    pub key: KeyDigest,
    /// Where to listen.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DATA_PORTS_MAX }>")]
    pub ports: Vec<InsidePort>,
    /// Listens on ports that the machine's environment maps, too: on a few of those that are free.
    pub mapped: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The key that answers there, and that dials out.
    pub key: KeyDigest,
    /// The machine's public address, as its environment tells it.
    pub address: Option<IpAddr>,
    /// The address from which the session's channel comes, as this machine sees it.
    pub controller: Option<IpAddr>,
    /// Every port that was asked for, in order, and behind them those that the environment maps.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DATA_PORTS_MAX }>")]
    pub ports: Vec<DataPort>,
}

/// One port and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPort {
    /// Where the machine listens.
    pub inside: InsidePort,
    /// Where it is dialled, as its environment tells it.
    pub outside: Option<u16>,
    /// Why nothing listens there.
    pub refused: Option<PortRefusal>,
}

/// Why nothing listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PortRefusal {
    /// Another program has it.
    #[error("another program listens there")]
    InUse,
    /// The system does not allow it.
    #[error("the system does not allow it")]
    Permission,
    /// Anything else.
    #[error("the system refuses it")]
    Other,
}

/// Asks the far side to dial the near one, and to serve what it is asked there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// The key that must answer.
    pub key: KeyDigest,
    /// What carries the bytes.
    pub carrier: Carrier,
    /// Where the near side listens; the first that answers with that key is taken.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DIALS_MAX }>")]
    pub addresses: Vec<SocketAddr>,
}
