//! Where settings come from: variables, a home directory, and what the machine says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::disk::settings_file;

/// Bytes of what the firmware says of a machine.
const HARDWARE_BYTES_MAX: u64 = 4096;

/// Where Linux tells what the firmware says.
const HARDWARE: &str = "/sys/class/dmi/id";

/// Variables and a home directory; never shown, for they may hold keys.
#[derive(Clone)]
pub struct Environment {
    /// Those of the process, where there are no others.
    variables: Option<BTreeMap<String, String>>,
    home: Option<PathBuf>,
    hardware: PathBuf,
}

impl Default for Environment {
    /// That of the process.
    fn default() -> Self {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        Self { variables: None, home, hardware: PathBuf::from(HARDWARE) }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Environment {
    /// These variables alone, and this home directory; what the firmware says stands in files of
    /// the directory `hardware`.
    pub fn of<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
        home: Option<PathBuf>,
        hardware: PathBuf,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: Some(variables.collect()), home, hardware }
    }

    /// A variable; an empty one is none.
    pub(in super::super) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.variables {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.trim().is_empty())
    }

    /// The first of some variables that is set, with its name.
    pub(in super::super) fn first<'a>(&self, names: &[&'a str]) -> Option<(&'a str, String)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// A path as a person writes it: `~/` is the home directory.
    pub(in super::super) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }

    /// A file below the home directory.
    pub(in super::super) fn at_home(&self, relative: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(relative))
    }

    /// Whether the firmware's entry of one of these names says that; the network is not asked.
    pub(in super::super) fn machine_says(&self, entries: &[&str], wanted: &str) -> bool {
        entries.iter().any(|entry| {
            let read = settings_file::read(&self.hardware.join(entry), HARDWARE_BYTES_MAX);
            read.is_ok_and(|read| {
                String::from_utf8_lossy(&read.bytes).trim().eq_ignore_ascii_case(wanted)
            })
        })
    }
}
