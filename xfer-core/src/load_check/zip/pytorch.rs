//! What PyTorch writes: an archive with a pickle, a version, and a member for each storage.
//!
//! The pickle is walked, and each storage that it names must be there and as long as it says.

use std::collections::BTreeMap;

use super::pickle::{self, Ended};
use super::{Beyond, Checked, Flaw, Members, Stop};

/// Bytes of the pickle: names and shapes, about a hundred for each tensor.
const PICKLE_MAX: u64 = 64 << 20;

/// Storages of one file.
const STORAGES_MAX: usize = 1 << 20;

/// Elements by the name of their storage, and their bytes.
const ELEMENTS: &[(&[u8], u64)] = &[
    (b"BFloat16Storage", 2),
    (b"BoolStorage", 1),
    (b"ByteStorage", 1),
    (b"CharStorage", 1),
    (b"ComplexDoubleStorage", 16),
    (b"ComplexFloatStorage", 8),
    (b"DoubleStorage", 8),
    (b"FloatStorage", 4),
    (b"HalfStorage", 2),
    (b"IntStorage", 4),
    (b"LongStorage", 8),
    (b"QInt32Storage", 4),
    (b"QInt8Storage", 1),
    (b"QUInt8Storage", 1),
    (b"ShortStorage", 2),
    (b"UntypedStorage", 1),
];

/// The members that loading needs.
pub(super) struct Storages {
    pickle: Option<Vec<u8>>,
    is_in_pickle: bool,
    has_version: bool,
    /// Bytes of each storage, by its name.
    sizes: BTreeMap<Vec<u8>, u64>,
}

impl Storages {
    pub(super) fn new() -> Self {
        let sizes = BTreeMap::new();
        Self { pickle: None, is_in_pickle: false, has_version: false, sizes }
    }
}

impl Members for Storages {
    fn begin(&mut self, name: &[u8], size: u64) -> Checked<()> {
        let slash = name.iter().position(|byte| *byte == b'/');
        let name = slash.map_or(name, |slash| &name[slash + 1..]);
        self.is_in_pickle = name == b"data.pkl";
        self.has_version |= name == b"version" || name == b".data/version";
        if self.is_in_pickle {
            if size > PICKLE_MAX {
                return Err(Stop::Beyond(Beyond::Memory));
            }
            self.pickle = Some(Vec::new());
        }
        if let Some(key) = name.strip_prefix(b"data/") {
            self.sizes.insert(key.to_vec(), size);
        }
        if self.sizes.len() > STORAGES_MAX {
            return Err(Stop::Beyond(Beyond::Memory));
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        if let Some(pickle) = self.pickle.as_mut().filter(|_| self.is_in_pickle) {
            pickle.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Flaw> {
        self.is_in_pickle = false;
        Ok(())
    }

    fn finish(self) -> Checked<()> {
        let missing = Stop::broken(0, Flaw::Missing);
        let Some(pickle) = self.pickle.filter(|_| self.has_version) else { return Err(missing) };
        let sizes = self.sizes;
        let walked = pickle::walk(&pickle, |storage| {
            let size = sizes.get(storage.key).ok_or(Flaw::Missing)?;
            let Some((_, bytes)) = ELEMENTS.iter().find(|(name, _)| *name == storage.of) else {
                return Ok(());
            };
            let expected = storage.count.checked_mul(*bytes);
            if expected == Some(*size) { Ok(()) } else { Err(Flaw::Mismatch) }
        });
        walked.map_err(|ended| match ended {
            Ended::At(flaw) => Stop::broken(0, flaw),
            Ended::Beyond(beyond) => Stop::Beyond(beyond),
        })
    }
}
