//! Where files stay on their way: a directory of the bucket that no other transfer uses, and that
//! the same command finds again.

use std::io::Read;

use crate::connect::Connector;
use crate::disk::state::{StateDirectory, StateError};
use crate::engine::Transfer;
use crate::engine::outcome;
use crate::error::TransferError;
use crate::location::Location;

/// Bytes of a number, in hexadecimal digits.
const DIGITS: usize = 16;

/// A directory of the bucket, and where it is recorded.
pub(super) struct Stay {
    /// The directory; it ends in `/`.
    pub(super) directory: Location,
    records: StateDirectory,
    name: String,
}

impl Stay {
    /// The directory of an earlier run of the same request, which did not come to its end.
    pub(super) fn earlier(
        connector: &Connector,
        transfer: &Transfer,
        way: &Location,
    ) -> Result<Option<Self>, TransferError> {
        let records = records(connector).map_err(outcome::state)?;
        let name = name_of(transfer, way);
        let number = recorded(&records, &name).map_err(outcome::state)?;
        Ok(number.map(|number| Self { directory: below(way, number), records, name }))
    }

    /// That, or a new one.
    pub(super) fn open(
        connector: &Connector,
        transfer: &Transfer,
        way: &Location,
    ) -> Result<Self, TransferError> {
        if let Some(earlier) = Self::earlier(connector, transfer, way)? {
            return Ok(earlier);
        }
        let records = records(connector).map_err(outcome::state)?;
        let (name, number) = (name_of(transfer, way), connector.unique());
        record(&records, &name, number, connector.unique()).map_err(outcome::state)?;
        Ok(Self { directory: below(way, number), records, name })
    }

    /// Lets go of it, once nothing is there any more.
    pub(super) fn forget(self) -> Result<(), StateError> {
        self.records.remove(&self.name)
    }
}

fn records(connector: &Connector) -> Result<StateDirectory, StateError> {
    connector.state_directory()?.child("relays")
}

fn below(way: &Location, number: u64) -> Location {
    let mut path = way.path.clone();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(format!("xfer-relay-{number:016x}/").as_bytes());
    Location { path, ..way.clone() }
}

/// The name of the record of a request: the same for the same ends, wherever it is typed.
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
