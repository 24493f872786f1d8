//! Which ports a rented machine has mapped, as its environment tells it.
//!
//! Sessions over SSH seldom see that environment: it is that of the container's first process.
//! Images write it to `/etc/environment`, quoted or not. Values are numbers and one address;
//! nothing else of it is kept.

use std::net::IpAddr;
use std::path::Path;

use xfer_protocol::data_port::{Carrier, InsidePort};

use crate::disk::settings_file;

/// Bytes of an environment that are read at most.
const ENVIRONMENT_BYTES_MAX: u64 = 1 << 20;

/// From this number on a container asks for the same port inside and outside: the number itself is
/// none, and the port to listen on is the one that it is mapped to.
const IDENTITY_FROM: u32 = 70_000;

/// The port of the machine's own login.
const SSH: u16 = 22;

/// What an environment tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapped {
    /// The machine's public address.
    pub(super) address: Option<IpAddr>,
    /// Ports to listen on with those at which they are dialled, the likeliest to be free first.
    pub(super) ports: Vec<(InsidePort, u16)>,
}

impl Mapped {
    /// What the environment of this process, of the container's first one, or of its logins tells;
    /// the first that names a port does.
    pub(super) fn read() -> Self {
        let own = std::env::vars_os().map(|(name, value)| {
            use std::os::unix::ffi::OsStrExt;
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        });
        let own: Vec<Vec<u8>> = own.collect();
        let from = |path: &str, separator: u8| {
            let read = settings_file::read(Path::new(path), ENVIRONMENT_BYTES_MAX);
            let bytes = read.map(|file| file.bytes).unwrap_or_default();
            Self::of(bytes.split(|&b| b == separator))
        };
        let mut told = Self::of(own.iter().map(Vec::as_slice));
        for (path, separator) in [("/proc/1/environ", 0), ("/etc/environment", b'\n')] {
            if !told.ports.is_empty() {
                break;
            }
            told = from(path, separator);
        }
        told
    }

    /// Reads `NAME=value` and `NAME="value"`; whatever else stands there is passed over.
    fn of<'a>(variables: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut told = Self::default();
        for variable in variables {
            let Ok(text) = std::str::from_utf8(variable) else { continue };
            let Some((name, value)) = text.split_once('=') else { continue };
            let name = name.trim().trim_start_matches("export ").trim_start();
            let value = value.trim().trim_matches(['"', '\'']).trim();
            if name == "PUBLIC_IPADDR" {
                told.address = value.parse().ok().filter(is_public);
            } else if let Some((carrier, number)) = port_of(name) {
                let outside = value.parse::<u16>().ok().filter(|&port| port != 0);
                told.ports.extend(outside.and_then(|to| inside(carrier, number, to)));
            }
        }
        told.ports.sort_by_key(|&(port, outside)| {
            (port.number != outside, std::cmp::Reverse(port.number), port.carrier)
        });
        told.ports.dedup();
        told
    }
}

fn port_of(name: &str) -> Option<(Carrier, u32)> {
    let of = |prefix, carrier| Some((carrier, name.strip_prefix(prefix)?.parse().ok()?));
    of("VAST_TCP_PORT_", Carrier::Tcp).or_else(|| of("VAST_UDP_PORT_", Carrier::Udp))
}

fn inside(carrier: Carrier, number: u32, outside: u16) -> Option<(InsidePort, u16)> {
    let number = if number >= IDENTITY_FROM { outside } else { u16::try_from(number).ok()? };
    let is_login = carrier == Carrier::Tcp && number == SSH;
    (number != 0 && !is_login).then_some((InsidePort { carrier, number }, outside))
}

/// An environment is no reason to dial this machine itself, or its neighbours by accident.
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_unspecified() || v4.is_link_local()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Mapped {
        Mapped::of(text.split('\n').map(str::as_bytes))
    }

    fn port(carrier: Carrier, inside: u16, outside: u16) -> (InsidePort, u16) {
        (InsidePort { carrier, number: inside }, outside)
    }

    #[test]
    fn ports_are_found_in_both_forms() {
        let found = told(
            "PATH=\"/usr/bin\"\nVAST_TCP_PORT_22=\"41234\"\nVAST_TCP_PORT_8081=\"33526\"\n\
             export VAST_UDP_PORT_8082=33527\nPUBLIC_IPADDR=\"65.130.162.74\n\"",
        );
        assert_eq!(found.address, Some("65.130.162.74".parse().unwrap()));
        let ports = [port(Carrier::Udp, 8082, 33_527), port(Carrier::Tcp, 8081, 33_526)];
        assert_eq!(found.ports, ports);
    }

    #[test]
    fn identity_ports_bind_what_the_environment_names_and_come_first() {
        let found = told("VAST_TCP_PORT_8081=1\nVAST_UDP_PORT_70000=33600\nVAST_TCP_PORT_72299=9");
        let ports = [
            port(Carrier::Udp, 33_600, 33_600),
            port(Carrier::Tcp, 9, 9),
            port(Carrier::Tcp, 8081, 1),
        ];
        assert_eq!(found.ports, ports);
    }

    #[test]
    fn what_is_broken_is_passed_over() {
        let found = told(
            "VAST_TCP_PORT_=1\nVAST_TCP_PORT_x=1\nVAST_TCP_PORT_80=\nVAST_TCP_PORT_81=0\n\
             VAST_TCP_PORT_82=65536\nVAST_TCP_PORT_83=-1\nVAST_UDP_PORT_0=7\n\
             VAST_TCP_PORT_66000=5\n\
             PUBLIC_IPADDR=127.0.0.1\n=\nVAST_TCP_PORT_84 = 12\nsecond line of a key",
        );
        assert_eq!(found, Mapped { address: None, ports: vec![port(Carrier::Tcp, 84, 12)] });
    }
}
