//! What is written to a store: bytes that are here, or bytes that another machine keeps, which
//! sends them by its own link.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::Digest;
use xfer_protocol::message::errand::Slice;

use super::{StoreError, StoreResult};
use crate::endpoint::checksum::combined;
use crate::endpoint::errands::{Kept, Porter};

/// What is written.
#[derive(Clone, Debug)]
pub enum Load {
    /// Bytes that are here.
    Here(Bytes),
    /// Bytes that another machine keeps.
    There(Cargo),
}

/// Bytes that one machine keeps, at least one.
#[derive(Clone)]
pub struct Cargo {
    units: Vec<Unit>,
}

/// Bytes that are written together: a block, or a whole file.
#[derive(Clone)]
pub struct Unit {
    /// What they are part of there.
    pub kept: Arc<Kept>,
    /// The first of them within that.
    pub start: u64,
    /// Bytes, at least one.
    pub length: u64,
    /// As the machine that read them says.
    pub digest: Digest,
    /// CRC-64/NVME, as the machine that read them says.
    pub crc: u64,
}

impl fmt::Debug for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cargo({} bytes)", self.length())
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::Here(Bytes::new())
    }
}

impl From<Bytes> for Load {
    fn from(bytes: Bytes) -> Self {
        Self::Here(bytes)
    }
}

impl From<Vec<u8>> for Load {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Here(bytes.into())
    }
}

impl From<Vec<Unit>> for Load {
    fn from(units: Vec<Unit>) -> Self {
        if units.is_empty() { Self::default() } else { Self::There(Cargo { units }) }
    }
}

impl Load {
    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::There(cargo) => cargo.length(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length() == 0
    }

    /// The bytes, for a store that nobody else can ask.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] where they are not here.
    pub fn bytes(self) -> StoreResult<Bytes> {
        match self {
            Self::Here(bytes) => Ok(bytes),
            Self::There(_) => Err(StoreError::Unsupported),
        }
    }

    /// The bytes from `first` up to `end`; `None` where there are not so many, or where units of
    /// what is elsewhere would be cut.
    #[must_use]
    pub fn cut(&self, first: u64, end: u64) -> Option<Self> {
        match self {
            Self::Here(bytes) => {
                let (first, end) = (usize::try_from(first).ok()?, usize::try_from(end).ok()?);
                let is_within = first <= end && end <= bytes.len();
                is_within.then(|| Self::Here(bytes.slice(first..end)))
            }
            Self::There(cargo) => {
                let (mut at, mut units) = (0, Vec::new());
                for unit in &cargo.units {
                    if at >= first && at + unit.length <= end {
                        units.push(unit.clone());
                    }
                    at += unit.length;
                }
                let cut = Self::from(units);
                (Some(cut.length()) == end.checked_sub(first)).then_some(cut)
            }
        }
    }

    /// Several, one behind the other; `None` where they are not in one place.
    #[must_use]
    pub fn joined(loads: Vec<Self>) -> Option<Self> {
        if loads.len() == 1 {
            return loads.into_iter().next();
        }
        if loads.iter().all(|load| matches!(load, Self::There(_))) {
            let units = loads.into_iter().flat_map(|load| match load {
                Self::Here(_) => Vec::new(),
                Self::There(cargo) => cargo.units,
            });
            return Some(Self::from(units.collect::<Vec<_>>()));
        }
        let mut whole = BytesMut::new();
        for load in loads {
            whole.extend_from_slice(&load.bytes().ok()?);
        }
        Some(Self::Here(whole.freeze()))
    }
}

impl Cargo {
    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.units.iter().map(|unit| unit.length).sum()
    }

    /// What it consists of.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// CRC-64/NVME of all of it.
    #[must_use]
    pub fn crc(&self) -> u64 {
        let mut sums = self.units.iter().map(|unit| (unit.crc, unit.length));
        let first = sums.next().map_or(0, |(crc, _)| crc);
        sums.fold(first, |sum, (crc, length)| combined(sum, crc, length))
    }

    /// Who sends it; `None` where there is nothing.
    #[must_use]
    pub fn porter(&self) -> Option<&Arc<Porter>> {
        self.units.first().map(|unit| unit.kept.porter())
    }

    /// What it is there.
    #[must_use]
    pub fn slices(&self) -> Vec<Slice> {
        let slice = |unit: &Unit| Slice {
            parcel: unit.kept.index(),
            start: unit.start,
            length: unit.length,
        };
        self.units.iter().map(slice).collect()
    }
}
