//! Where files stay on their way: a directory of the bucket that no other transfer uses, and that
//! the same command finds again.

use std::io::Read;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use crate::connect::Connector;
use crate::disk::Errno;
use crate::disk::lock::{self, LockMode};
use crate::disk::state::{LockFile, StateDirectory, StateError};
use crate::engine::Transfer;
use crate::engine::outcome;
use crate::error::TransferError;
use crate::location::Location;
use crate::options::SelectionOptions;

/// Bytes of a number, in hexadecimal digits.
const DIGITS: usize = 16;

/// The place of one request in the bucket, which no other process has meanwhile.
pub(super) struct Stay {
    /// The directory, once there is one; it ends in `/`.
    directory: Option<Location>,
    way: Location,
    records: StateDirectory,
    name: String,
    _lock: LockFile,
}

impl Stay {
    /// That of an earlier run of the same request which did not come to its end, or one that has
    /// no directory yet.
    ///
    /// # Errors
    /// Another process that carries out the same request; a state directory that is of no use.
    pub(super) fn claim(
        connector: &Connector,
        transfer: &Transfer,
        way: &Location,
    ) -> Result<Self, TransferError> {
        let name = name_of(transfer, way);
        let locked = connector.state_directory().and_then(|state| {
            let records = state.child("relays")?;
            Ok((records, state.child("locks")?.lock_file(&format!("relay-{name}"))?))
        });
        let (records, lock) = locked.map_err(outcome::state)?;
        // One that was killed may take a moment to go.
        if lock::lock(&lock, LockMode::Exclusive) == Err(Errno::WOULDBLOCK) {
            let fault = Fault::new(FaultKind::Busy, Operation::Lock, RelPath::root());
            return Err(TransferError::Busy { location: transfer.destination.clone(), fault });
        }
        let number = recorded(&records, &name).map_err(outcome::state)?;
        let directory = number.map(|number| below(way, number));
        Ok(Self { directory, way: way.clone(), records, name, _lock: lock })
    }

    /// The directory, where there is one.
    pub(super) fn made(&self) -> Option<&Location> {
        self.directory.as_ref()
    }

    /// The directory, which is recorded before anything goes there.
    pub(super) fn make(&mut self, connector: &Connector) -> Result<Location, TransferError> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let number = connector.unique();
        record(&self.records, &self.name, number, connector.unique()).map_err(outcome::state)?;
        Ok(self.directory.insert(below(&self.way, number)).clone())
    }

    /// Lets go of it, once nothing is there any more.
    pub(super) fn forget(self) -> Result<(), StateError> {
        self.records.remove(&self.name)
    }
}

fn below(way: &Location, number: u64) -> Location {
    let mut path = way.path.clone();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(format!("xfer-relay-{number:016x}/").as_bytes());
    Location { path, ..way.clone() }
}

/// The name of the record of a request: the same for the same ends and the same selection of files,
/// wherever it is typed. How old they may be is left out, which is another moment each time.
fn name_of(transfer: &Transfer, way: &Location) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for end in transfer.sources.iter().chain([&transfer.destination, way]) {
        add(&end.to_bytes());
        if end.is_local() && !end.path.starts_with(b"/") {
            let here = std::env::current_dir().unwrap_or_default();
            add(here.as_os_str().as_encoded_bytes());
        }
    }
    let SelectionOptions { filter, only, follow_links, allow_secrets, .. } =
        &transfer.options.selection;
    for rule in &filter.rules {
        add(rule.pattern.as_bytes());
        add(&[u8::from(rule.include)]);
    }
    add(&[*follow_links, *allow_secrets, filter.gitignore, filter.xferignore].map(u8::from));
    for bound in [filter.size_min, filter.size_max] {
        add(bound.map(u64::to_le_bytes).as_ref().map_or(&[], |bytes| &bytes[..]));
    }
    for path in only.iter().flatten() {
        add(path.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn recorded(records: &StateDirectory, name: &str) -> Result<Option<u64>, StateError> {
    let Some(file) = records.read(name)? else { return Ok(None) };
    let mut text = String::new();
    // What cannot be read is no number: the directory is begun anew.
    let read = file.take(DIGITS as u64 + 1).read_to_string(&mut text);
    let is_whole = read.is_ok_and(|length| length == DIGITS);
    Ok(is_whole.then(|| u64::from_str_radix(&text, 16).ok()).flatten())
}

fn record(
    records: &StateDirectory,
    name: &str,
    number: u64,
    unique: u64,
) -> Result<(), StateError> {
    let mut file = records.create(name, unique)?;
    file.write(format!("{number:016x}").as_bytes())?;
    file.commit(true).map(drop)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::Timestamp;
    use xfer_protocol::message::FilterRule;

    use super::*;

    fn at(text: &str) -> Location {
        Location::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_has_one_directory_and_another_has_another() {
        let way = at("s3://bucket/tmp");
        let request = |from: &str, to: &str| Transfer::new(vec![at(from)], at(to));
        let name = name_of(&request("host:/a", "./b"), &way);
        assert_eq!(name, name_of(&request("host:/a", "./b"), &way));
        for (other, way) in [
            (request("host:/a/", "./b"), &way),
            (request("host:/a", "./c"), &way),
            (request("host:/a", "./b"), &at("s3://bucket/tmp2")),
        ] {
            assert_ne!(name, name_of(&other, way));
        }
        let select = |change: fn(&mut SelectionOptions)| {
            let mut request = request("host:/a", "./b");
            change(&mut request.options.selection);
            name_of(&request, &way)
        };
        for other in [
            select(|selection| selection.follow_links = true),
            select(|selection| selection.allow_secrets = true),
            select(|selection| selection.only = Some(vec![RelPath::new("x").unwrap()])),
            select(|selection| selection.filter.gitignore = true),
            select(|selection| selection.filter.size_min = Some(1)),
            select(|selection| selection.filter.size_max = Some(1)),
            select(|selection| {
                let pattern = "*.tmp".to_owned();
                selection.filter.rules.push(FilterRule { pattern, include: false });
            }),
        ] {
            assert_ne!(name, other);
        }
        let age = |selection: &mut SelectionOptions| {
            selection.filter.modified_min = Some(Timestamp { seconds: 5, nanoseconds: 0 });
        };
        assert_eq!(name, select(age));
        assert_eq!(below(&way, 5).to_string(), "s3://bucket/tmp/xfer-relay-0000000000000005/");
        let top = below(&at("s3://bucket"), 5).to_string();
        assert_eq!(top, "s3://bucket/xfer-relay-0000000000000005/");
    }

    #[test]
    fn what_was_recorded_is_found_again_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let records = StateDirectory::open(&directory.path().join("relays")).unwrap();
        assert_eq!(recorded(&records, "x").unwrap(), None);
        record(&records, "x", 0xfe, 1).unwrap();
        assert_eq!(recorded(&records, "x").unwrap(), Some(0xfe));
        for (number, text) in ["", "00000000000000f", "00000000000000fe0", "zz"].iter().enumerate()
        {
            let mut file = records.create("x", number as u64).unwrap();
            file.write(text.as_bytes()).unwrap();
            file.commit(false).unwrap();
            assert_eq!(recorded(&records, "x").unwrap(), None, "{text}");
        }
    }
}
