//! Which program is placed on the far machine: found here, and named by its digest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::disk::named::is_file;
use crate::disk::program::{self, Program};

/// The program for one kind of machine.
#[derive(Clone, Debug)]
pub struct AgentBinary {
    path: PathBuf,
    program: Program,
}

impl AgentBinary {
    /// SHA-256 in hexadecimal: what the far side's own tools can check.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.program.sha256
    }

    /// Bytes of it.
    #[must_use]
    pub fn length(&self) -> usize {
        self.program.length
    }

    /// The program itself: tens of megabytes, which only a machine without it needs.
    ///
    /// # Errors
    /// [`BinaryError::Unreadable`], also where another one lies there by now.
    pub fn read(&self) -> Result<Bytes, BinaryError> {
        let read = program::read(&self.path, &self.program);
        let unreadable = |cause| BinaryError::Unreadable { path: self.path.clone(), cause };
        read.map(Bytes::from).map_err(unreadable)
    }
}

/// A kind of machine, as `uname -sm` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineKind {
    /// Such as `Linux`.
    pub system: String,
    /// Such as `x86_64`.
    pub architecture: String,
}

/// The programs that a session has found: naming one reads all of it, and each stream starts one.
#[derive(Clone, Debug, Default)]
pub struct Programs(Arc<Mutex<Vec<(MachineKind, AgentBinary)>>>);

impl Programs {
    /// The program for a kind of machine, looked for by `find` where it was not found before.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn of(
        &self,
        kind: &MachineKind,
        find: impl FnOnce(&MachineKind) -> Result<AgentBinary, BinaryError>,
    ) -> Result<AgentBinary, BinaryError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.iter().find(|(of, _)| of == kind) {
            return Ok(found.clone());
        }
        let found = find(kind)?;
        known.push((kind.clone(), found.clone()));
        Ok(found)
    }
}

/// Why there is no program for a machine.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// The file that was named cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Nothing for that kind of machine was found.
    #[error("no agent for {system} {architecture} was found; looked for {looked_for}")]
    NotFound {
        /// The system.
        system: String,
        /// The architecture.
        architecture: String,
        /// Where.
        looked_for: String,
    },
}

/// Finds the program: the file that was named, `XFER_AGENT_DIR`, beside this program, this program.
pub fn find(
    named: Option<&Path>,
    directory: Option<&Path>,
    kind: &MachineKind,
) -> Result<AgentBinary, BinaryError> {
    if let Some(path) = named {
        return load(path);
    }
    let name = file_name(kind);
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let candidates: Vec<PathBuf> =
        [directory, beside].into_iter().flatten().map(|d| d.join(&name)).collect();
    if let Some(found) = candidates.iter().find(|path| is_file(path)) {
        return load(found);
    }
    match own {
        Some(own) if *kind == own_kind() && program::is_static(&own) => load(&own),
        _ => Err(BinaryError::NotFound {
            system: kind.system.clone(),
            architecture: kind.architecture.clone(),
            looked_for: name,
        }),
    }
}

/// What this machine is.
#[must_use]
pub fn own_kind() -> MachineKind {
    let uname = rustix::system::uname();
    MachineKind {
        system: uname.sysname().to_string_lossy().into_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
    }
}

fn file_name(kind: &MachineKind) -> String {
    let (system, architecture) = (kind.system.to_lowercase(), kind.architecture.to_lowercase());
    format!("xfer-agent-{system}-{architecture}")
}

fn load(path: &Path) -> Result<AgentBinary, BinaryError> {
    let unreadable = |cause| BinaryError::Unreadable { path: path.to_owned(), cause };
    let program = program::identify(path).map_err(unreadable)?;
    Ok(AgentBinary { path: path.to_owned(), program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_once_for_each_kind_of_machine() {
        let (programs, mut looked) = (Programs::default(), 0);
        let other = MachineKind { architecture: "other".to_owned(), ..own_kind() };
        let mut of = |kind: &MachineKind| {
            let found = programs.clone().of(kind, |_| {
                looked += 1;
                load(Path::new("/bin/sh"))
            });
            found.unwrap().length()
        };
        assert_eq!(of(&own_kind()), of(&own_kind()));
        of(&other);
        assert_eq!(looked, 2);
        let missing = programs.of(&MachineKind { system: "none".to_owned(), ..other }, |kind| {
            find(None, Some(Path::new("/nonexistent")), kind)
        });
        assert!(missing.is_err());
    }
}
