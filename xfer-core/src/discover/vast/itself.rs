//! What an instance knows of itself: its number, its ports and a key for itself alone, as the
//! environment of its first process, or what images write of that to files, tells.
//!
//! Such files are of any make: quoted or not, appended to again and again, with values of several
//! lines that look like other variables. So each variable is read from its own line, and a number
//! that is told in two ways is none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use xfer_protocol::data_port::{Carrier, InsidePort};

use crate::discover::fields;
use crate::discover::json::Json;
use crate::discover::{LoginPlace, MachineRow, MachineState, Prices};
use crate::disk::settings_file;
use crate::location::{PlatformKind, PlatformMachine};
use crate::options::MappedPort;
use crate::transport::http::Bearer;

/// Bytes of an environment that are read at most.
const ENVIRONMENT_BYTES_MAX: u64 = 1 << 20;

/// From this number on the port inside is the one outside.
const IDENTITY_FROM: u32 = 70_000;

/// Inside, where an instance's own sshd listens.
const SSHD: u32 = 22;

const LABEL: &str = "VAST_CONTAINERLABEL";
const NUMBER: &str = "CONTAINER_ID";
const KEY: &str = "CONTAINER_API_KEY";
const ADDRESS: &str = "PUBLIC_IPADDR";

/// Where an instance tells of itself; nobody is asked where all are empty.
#[derive(Clone, Default)]
pub struct InstancePlaces {
    /// The environment of the container's first process. Default: none.
    pub process: Option<PathBuf>,
    /// What this process was given of it. Default: nothing.
    pub variables: BTreeMap<String, OsString>,
    /// Files that images write it to, the better first. Default: none.
    pub files: Vec<PathBuf>,
}

/// What one environment tells.
#[derive(Default)]
struct Told {
    id: Option<u64>,
    /// Whether it tells two numbers.
    contradicts: bool,
    key: Option<Bearer>,
    address: Option<IpAddr>,
    ports: BTreeMap<(Carrier, u32), u16>,
}

impl InstancePlaces {
    /// Those of the container that this process runs in.
    pub(super) fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let of = |name: &str| Some((name.to_owned(), variable(name)?));
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let profile = home.map(|home| home.join(".bashrc"));
        Self {
            process: Some("/proc/1/environ".into()),
            variables: [LABEL, NUMBER, KEY, ADDRESS].into_iter().filter_map(of).collect(),
            files: [PathBuf::from("/etc/environment")].into_iter().chain(profile).collect(),
        }
    }

    /// The instance that this process runs in, as far as it knows itself; what it costs is asked
    /// elsewhere.
    pub(super) fn row(&self) -> Option<MachineRow> {
        let (id, told) = self.found()?;
        let sshd = told.ports.get(&(Carrier::Tcp, SSHD));
        let login = told.address.zip(sshd).map(|(address, port)| LoginPlace {
            user: "root".to_owned(),
            host: address.to_string(),
            port: *port,
            direct: true,
            configured: None,
        });
        Some(MachineRow {
            machine: PlatformMachine::named(PlatformKind::Vast, id.to_string()),
            says: None,
            label: None,
            state: MachineState::Running,
            status: String::new(),
            logins: login.into_iter().collect(),
            lacking: Vec::new(),
            ports: told.data_ports(),
            mapped: told.ports.len(),
            near: Vec::new(),
            host: None,
            disk: None,
            started: None,
            prices: Prices::default(),
            clocks: Vec::new(),
        })
    }

    /// The key that shows, starts, stops and ends this instance and no other.
    pub(super) fn key(&self) -> Option<Bearer> {
        let (id, told) = self.found()?;
        // A key that another place tells may be that of another instance.
        told.key.or_else(|| {
            let others = self.told().filter(|other| other.id.is_none_or(|named| named == id));
            others.filter_map(|other| other.key).next()
        })
    }

    /// The first place that tells a number, with what it tells.
    fn found(&self) -> Option<(u64, Told)> {
        let told = self.told().find(|told| told.id.is_some() || told.contradicts)?;
        if told.contradicts {
            return None;
        }
        Some((told.id?, told))
    }

    /// Every place, the better first.
    fn told(&self) -> impl Iterator<Item = Told> {
        let read = |path: &PathBuf| {
            let read = settings_file::read(path, ENVIRONMENT_BYTES_MAX);
            read.map(|file| file.bytes).unwrap_or_default()
        };
        let process = self.process.iter().map(move |path| Told::of(&read(path), 0));
        let variables = self.variables.iter().flat_map(|(name, value)| {
            [name.as_bytes(), b"=", value.as_encoded_bytes(), b"\0"].concat()
        });
        let variables: Vec<u8> = variables.collect();
        let own = std::iter::once_with(move || Told::of(&variables, 0));
        process.chain(own).chain(self.files.iter().map(move |path| Told::of(&read(path), b'\n')))
    }
}

impl Told {
    /// Reads `NAME=value`, `NAME="value"` and `export NAME=value`, each ended by `separator`.
    fn of(bytes: &[u8], separator: u8) -> Self {
        let mut told = Self::default();
        for variable in bytes.split(|byte| *byte == separator) {
            let Ok(text) = std::str::from_utf8(variable) else { continue };
            let Some((name, value)) = text.split_once('=') else { continue };
            let name = name.trim();
            let name = name.strip_prefix("export ").map_or(name, str::trim);
            told.take(name, unquoted(value.trim()));
        }
        told
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            LABEL => self.is(value.strip_prefix("C.").unwrap_or_default()),
            NUMBER => self.is(value),
            KEY => self.key = Bearer::new(value).or_else(|| self.key.take()),
            ADDRESS => self.address = fields::address(value).or(self.address),
            _ => {
                let port = fields::port(&Json::Text(value.to_owned()));
                // What was appended later is what holds since the last start.
                self.ports.extend(inside(name).zip(port));
            }
        }
    }

    fn is(&mut self, number: &str) {
        let id = fields::id(&Json::Text(number.to_owned()));
        self.contradicts |= self.id.is_some() && id.is_some() && id != self.id;
        self.id = id.or(self.id);
    }

    fn data_ports(&self) -> Vec<MappedPort> {
        let host = self.address.map(|address| address.to_string());
        let data = self.ports.iter().filter(|(inside, _)| **inside != (Carrier::Tcp, SSHD));
        let mapped = data.filter_map(|(&(carrier, number), &outside)| {
            let is_identity = number >= IDENTITY_FROM;
            let number = if is_identity { outside } else { u16::try_from(number).ok()? };
            let inside = InsidePort { carrier, number };
            Some(MappedPort { inside, host: host.clone(), outside })
        });
        mapped.collect()
    }
}

/// The inside port that a variable is about.
fn inside(name: &str) -> Option<(Carrier, u32)> {
    let of = |prefix, carrier| Some((carrier, name.strip_prefix(prefix)?.parse().ok()?));
    of("VAST_TCP_PORT_", Carrier::Tcp).or_else(|| of("VAST_UDP_PORT_", Carrier::Udp))
}

/// What stands between quotes, of which the second may be on a later line.
fn unquoted(value: &str) -> &str {
    let Some(quote) = value.chars().next().filter(|first| ['"', '\''].contains(first)) else {
        return value;
    };
    let inner = &value[1..];
    inner.strip_suffix(quote).unwrap_or(inner).trim()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files of the test itself")]

    use super::*;

    fn told(text: &str) -> Told {
        Told::of(text.as_bytes(), b'\n')
    }

    #[test]
    fn a_number_is_read_in_every_form_and_never_guessed() {
        for (text, expected) in [
            ("VAST_CONTAINERLABEL=C.7", Some(7)),
            ("VAST_CONTAINERLABEL=\"C.7\"", Some(7)),
            ("export VAST_CONTAINERLABEL='C.7'", Some(7)),
            (" VAST_CONTAINERLABEL = C.7 \r", Some(7)),
            ("CONTAINER_ID=7", Some(7)),
            ("VAST_CONTAINERLABEL=C.7\nCONTAINER_ID=\"7\"", Some(7)),
            ("VAST_CONTAINERLABEL=C.7\nVAST_CONTAINERLABEL=\"C.7\"", Some(7)),
            // A value of several lines, quoted or raw, and one whose end is missing.
            ("SSH_PUBLIC_KEY=\"ssh-ed25519 AAAA\nsecond\"\nVAST_CONTAINERLABEL=\"C.7\"", Some(7)),
            ("KEY=-----BEGIN\nabc=\n-----END\nVAST_CONTAINERLABEL=C.7", Some(7)),
            ("NOTE=\"look:\nVAST_CONTAINERLABEL=C.8\"\nVAST_CONTAINERLABEL=\"C.7\"", Some(7)),
            ("BROKEN=\"x\nVAST_CONTAINERLABEL=C.7", Some(7)),
            ("VAST_CONTAINERLABEL=\"C.7", Some(7)),
            ("\u{fffd}\n=\n==\nVAST_CONTAINERLABEL=C.7\n\0\u{1b}[2J", Some(7)),
            ("MY_VAST_CONTAINERLABEL=C.7", None),
            ("#VAST_CONTAINERLABEL=C.7", None),
            ("VAST_CONTAINERLABEL=7", None),
            ("VAST_CONTAINERLABEL=C.", None),
            ("VAST_CONTAINERLABEL=C.0", None),
            ("VAST_CONTAINERLABEL=C.-1", None),
            ("VAST_CONTAINERLABEL=C.7/../8", None),
            ("VAST_CONTAINERLABEL=C.18446744073709551616", None),
            ("VAST_CONTAINERLABEL=C.\"7\"", None),
            ("CONTAINER_ID=7.0", None),
            ("CONTAINER_ID=", None),
            ("", None),
        ] {
            let told = told(text);
            assert_eq!((told.id, told.contradicts), (expected, false), "{text:?}");
        }
        for text in [
            "VAST_CONTAINERLABEL=C.7\nVAST_CONTAINERLABEL=C.8",
            "VAST_CONTAINERLABEL=C.7\nCONTAINER_ID=8",
            "NOTE=\"look:\nVAST_CONTAINERLABEL=C.8\nat\"\nVAST_CONTAINERLABEL=\"C.7\"",
        ] {
            assert!(told(text).contradicts, "{text:?}");
        }
    }

    #[test]
    fn bytes_of_any_kind_are_passed_over() {
        let mut state = 0x9e37_79b9_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or(0)
        };
        let text = b"VAST_CONTAINERLABEL=\"C.7\"\nVAST_TCP_PORT_22=\"41234\"\nCONTAINER_API_KEY=k";
        for _ in 0..50_000 {
            let mut bytes = text.to_vec();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = u8::try_from(random() % 256).unwrap_or(0);
            }
            for separator in [0, b'\n'] {
                let _read = Told::of(&bytes, separator);
            }
        }
    }

    #[test]
    fn ports_are_numbers_and_the_last_word_on_each_counts() {
        let told = told(
            "PUBLIC_IPADDR=\"203.0.113.7\n\"\nVAST_TCP_PORT_22=1\nVAST_TCP_PORT_22=\"41234\"\n\
             VAST_TCP_PORT_8081=33526\nVAST_UDP_PORT_70000=33600\nVAST_TCP_PORT_1=0\n\
             VAST_TCP_PORT_2=-1\nVAST_TCP_PORT_x=3\nVAST_TCP_PORT_66000=5\nVAST_TCP_PORT_4=65536",
        );
        let ports: Vec<_> = told.ports.into_iter().collect();
        let tcp = |inside, outside| ((Carrier::Tcp, inside), outside);
        let udp = ((Carrier::Udp, 70_000), 33_600);
        assert_eq!(ports, [tcp(22, 41_234), tcp(8081, 33_526), tcp(66_000, 5), udp]);
        assert_eq!(told.address, "203.0.113.7".parse().ok());
    }

    #[test]
    fn the_first_process_is_believed_before_what_was_written_down() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let write = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).unwrap();
        let places = InstancePlaces {
            process: Some(at("environ")),
            variables: BTreeMap::new(),
            files: vec![at("environment"), at(".bashrc")],
        };
        assert_eq!(places.row(), None);
        let name = || places.row().and_then(|row| row.machine.name().map(str::to_owned));
        write(".bashrc", b"export VAST_CONTAINERLABEL=C.9\n");
        assert_eq!(name().as_deref(), Some("9"));
        write("environment", b"VAST_CONTAINERLABEL=\"C.8\"\nCONTAINER_API_KEY=\"of-eight\"\n");
        assert_eq!(name().as_deref(), Some("8"));
        assert_eq!(places.key(), Bearer::new("of-eight"));
        write("environ", b"PATH=/bin\0KEY=a\nVAST_CONTAINERLABEL=C.6\0VAST_CONTAINERLABEL=C.7\0");
        assert_eq!(name().as_deref(), Some("7"));
        assert_eq!(places.key(), None, "that of another instance is not this one's");
        write("environ", b"VAST_CONTAINERLABEL=C.7\0CONTAINER_API_KEY=own\0");
        assert_eq!(places.key(), Bearer::new("own"));
        write("environ", b"VAST_CONTAINERLABEL=C.7\0VAST_CONTAINERLABEL=C.8\0");
        assert_eq!(places.row(), None, "it tells two numbers");
        write("environ", &vec![b'x'; 2 << 20]);
        assert_eq!(name().as_deref(), Some("8"), "what is too long tells nothing");
    }
}
