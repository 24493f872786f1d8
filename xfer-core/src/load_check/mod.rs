//! Whether a file of a known kind would load, proven from its structure.
//!
//! [`check`] reads a file where [`ReadAt`] reaches it, wherever that is, and says one of three
//! things ([`LoadCheck`]). It executes nothing of what it reads: a pickle is walked and not run. It
//! holds a few hundred kilobytes, and beyond that only what a header declares that was compared
//! with the size of the file and with a limit first.
//!
//! A kind is told by the bytes with which it begins and, where it has none of its own, by the end
//! of the file's name; `ARCHITECTURE.md` has what each kind proves and what it cannot.

use std::fmt;

mod detect;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gguf;
mod gzip;
mod hdf5;
mod inflate;
mod json;
mod literal;
mod parquet;
mod read_at;
mod safetensors;
#[cfg(any(test, fuzzing))]
mod samples;
mod tar;
#[cfg(test)]
mod tests;
mod window;
mod zip;
mod zstd;

pub use detect::Kind;
pub use read_at::{ReadAt, Seeking};

/// What a look at a file gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadCheck {
    /// It would load, as far as its kind can tell.
    Sound {
        /// What it is.
        kind: Kind,
        /// What that rests on.
        proven: Proven,
    },
    /// It would not load, or not as what was written.
    Broken {
        /// What it is, or is named as.
        kind: Kind,
        /// The byte, counted from the beginning of the file, where that was seen.
        at: u64,
        /// What was seen there.
        flaw: Flaw,
    },
    /// Nothing was proven, for or against it.
    Unchecked {
        /// What it is, where that is known.
        kind: Option<Kind>,
        /// Why that is so.
        beyond: Beyond,
    },
}

/// What a sound file rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Tensors, members of an archive, frames, pages or lines that were found whole.
    pub members: u64,
    /// Checksums of the file's own that were computed again and held.
    pub checksums: u64,
    /// Zero bytes at the end of a file whose data has no checksum. A kind that knows where its data
    /// lies, but not what it should be, cannot tell a lost tail from zeros that were written.
    pub zero_tail: u64,
}

/// Why a file would not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It ends too early.
    #[error("it ends before what it says is there")]
    Truncated,
    /// It does not begin, or end, as its kind does.
    #[error("the mark of its kind is missing")]
    Magic,
    /// Nothing but zeros where something must stand.
    #[error("zeros stand where there must be something else")]
    Zeroed,
    /// A checksum of its own does not hold.
    #[error("its checksum does not hold")]
    Checksum,
    /// A length or an offset leads out of the file, or out of what it belongs to.
    #[error("a length or an offset leads out of where it belongs")]
    Extent,
    /// What should lie side by side overlaps or leaves a gap.
    #[error("its data overlaps or leaves a gap")]
    Layout,
    /// It is not the text, or the sequence of fields, that it should be.
    #[error("it cannot be parsed")]
    Syntax,
    /// What is compressed cannot be decoded.
    #[error("what is compressed cannot be decoded")]
    Decode,
    /// Two statements about one thing differ.
    #[error("two statements about one thing differ")]
    Mismatch,
    /// What its kind must have is not there.
    #[error("something that its kind must have is missing")]
    Missing,
    /// A field has a value that its kind does not know.
    #[error("a field has a value that its kind does not know")]
    Value,
    /// More bytes follow where it should end.
    #[error("bytes follow where it should end")]
    Trailing,
}

/// Why nothing was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// It is of no kind that is known here.
    #[error("its kind is not known")]
    UnknownKind,
    /// It needs a key.
    #[error("it is encrypted")]
    Encrypted,
    /// It is compressed in a way that is not decoded here.
    #[error("its compression is not decoded here")]
    Compression,
    /// Checking it would take more memory than there is for it.
    #[error("checking it takes more memory than the limit")]
    Memory,
    /// Only executing a pickle would tell.
    #[error("only executing a pickle would tell")]
    Pickle,
    /// It is of a version or has a feature that is not read here.
    #[error("it has a version or a feature that is not read here")]
    Feature,
}

/// Looks whether a file would load; the end of `name` is a hint at what it is.
///
/// Costs one pass over the file for kinds that have checksums or are text, and a look at headers
/// for the others.
///
/// # Errors
/// Those of reading. A file that ends before its size is no error, but broken.
pub fn check(name: &[u8], file: &dyn ReadAt) -> std::io::Result<LoadCheck> {
    let kind = match detect::kind(name, file) {
        Ok(Some(kind)) => kind,
        Ok(None) | Err(Stop::Broken { .. } | Stop::Beyond(_)) => {
            return Ok(LoadCheck::Unchecked { kind: None, beyond: Beyond::UnknownKind });
        }
        Err(Stop::Read(error)) => return Err(error),
    };
    let proven = match kind {
        Kind::Gzip => gzip::check(file),
        Kind::Json => json::check(file, json::Form::Whole),
        Kind::JsonLines => json::check(file, json::Form::Lines),
        Kind::Npy => zip::check_npy(file),
        Kind::Npz => zip::check_npz(file),
        Kind::PyTorch => zip::check_pytorch(file),
        Kind::Gguf => gguf::check(file),
        Kind::Parquet => parquet::check(file),
        Kind::Safetensors => safetensors::check(file),
        Kind::Hdf5 => hdf5::check(file),
        Kind::Tar => tar::check(file),
        Kind::Zip => zip::check(file),
        Kind::Zstd => zstd::check(file),
    };
    match proven.and_then(|proven| with_tail(kind, proven, file)) {
        Ok(proven) => Ok(LoadCheck::Sound { kind, proven }),
        Err(Stop::Broken { at, flaw }) => {
            let flaw = if is_zeroed(file, at)? { Flaw::Zeroed } else { flaw };
            Ok(LoadCheck::Broken { kind, at, flaw })
        }
        Err(Stop::Beyond(beyond)) => Ok(LoadCheck::Unchecked { kind: Some(kind), beyond }),
        Err(Stop::Read(error)) => Err(error),
    }
}

/// Why a look at a file came to an end.
#[derive(Debug)]
enum Stop {
    Broken { at: u64, flaw: Flaw },
    Beyond(Beyond),
    Read(std::io::Error),
}

impl Stop {
    fn broken(at: u64, flaw: Flaw) -> Self {
        Self::Broken { at, flaw }
    }
}

/// What a look at something gives.
type Checked<T> = Result<T, Stop>;

/// Bytes that are looked at to tell whether a place was filled with zeros.
const ZEROS_LOOKED_AT: u64 = 64;

fn is_zeroed(file: &dyn ReadAt, at: u64) -> std::io::Result<bool> {
    let mut bytes = [0xff; 64];
    let length = file.size().saturating_sub(at).min(ZEROS_LOOKED_AT);
    let Ok(length) = usize::try_from(length) else { return Ok(false) };
    let read = file.read_at(at, &mut bytes[..length])?.min(length);
    Ok(read > 0 && bytes[..read].iter().all(|byte| *byte == 0))
}

fn with_tail(kind: Kind, proven: Proven, file: &dyn ReadAt) -> Checked<Proven> {
    if kind.has_checksum_of_data() {
        return Ok(proven);
    }
    Ok(Proven { zero_tail: window::zeros_at_end(file)?, ..proven })
}

impl fmt::Display for LoadCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound { kind, proven } => {
                write!(f, "{kind}: sound, {} whole", proven.members)?;
                write!(f, ", {} checksums held", proven.checksums)?;
                match proven.zero_tail {
                    0 => Ok(()),
                    zeros => write!(f, ", the last {zeros} bytes are zeros"),
                }
            }
            Self::Broken { kind, at, flaw } => write!(f, "{kind}: broken at byte {at}: {flaw}"),
            Self::Unchecked { kind: Some(kind), beyond } => {
                write!(f, "{kind}: unchecked, {beyond}")
            }
            Self::Unchecked { kind: None, beyond } => write!(f, "unchecked, {beyond}"),
        }
    }
}
