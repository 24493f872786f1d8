//! What a file is, by its first bytes and the end of its name.

use std::fmt;

use super::window::Window;
use super::{Checked, ReadAt, Stop, hdf5, is_zeroed, zip};

/// A kind of file that can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// GGUF, version 2 or 3
    Gguf,
    /// gzip, of one member or several
    Gzip,
    /// HDF5
    Hdf5,
    /// JSON
    Json,
    /// One value of JSON on each line
    JsonLines,
    /// One array of NumPy
    Npy,
    /// A zip archive of arrays of NumPy
    Npz,
    /// Parquet
    Parquet,
    /// A zip archive as PyTorch writes it
    PyTorch,
    /// safetensors
    Safetensors,
    /// tar: ustar, pax or GNU's
    Tar,
    /// zip, of 32 or 64 bits
    Zip,
    /// Zstandard, of one frame or several
    Zstd,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Gguf,
        Self::Gzip,
        Self::Hdf5,
        Self::Json,
        Self::JsonLines,
        Self::Npy,
        Self::Npz,
        Self::Parquet,
        Self::PyTorch,
        Self::Safetensors,
        Self::Tar,
        Self::Zip,
        Self::Zstd,
    ];

    /// Its name, as in events and for a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gguf => "gguf",
            Self::Gzip => "gzip",
            Self::Hdf5 => "hdf5",
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Parquet => "parquet",
            Self::PyTorch => "pytorch",
            Self::Safetensors => "safetensors",
            Self::Tar => "tar",
            Self::Zip => "zip",
            Self::Zstd => "zstd",
        }
    }

    /// Ends of names, without the dot, that mean this kind where the first bytes say nothing.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Gguf => &["gguf"],
            Self::Gzip => &["gz", "tgz"],
            Self::Hdf5 => &["h5", "hdf5", "he5"],
            Self::Json => &["json", "ipynb", "geojson"],
            Self::JsonLines => &["jsonl", "ndjson"],
            Self::Npy => &["npy"],
            Self::Npz => &["npz"],
            Self::Parquet => &["parquet", "parq"],
            Self::PyTorch => &["pt", "pth"],
            Self::Safetensors => &["safetensors"],
            Self::Tar => &["tar"],
            Self::Zip => &["zip"],
            Self::Zstd => &["zst", "zstd"],
        }
    }

    /// Whether it is text, or a checksum of its own covers its data.
    pub(super) fn has_checksum_of_data(self) -> bool {
        matches!(
            self,
            Self::Gzip
                | Self::Json
                | Self::JsonLines
                | Self::Npz
                | Self::PyTorch
                | Self::Zip
                | Self::Zstd
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file begins with, by kind and place.
const MAGIC: &[(u64, &[u8], Kind)] = &[
    (0, b"\x1f\x8b", Kind::Gzip),
    (0, b"\x28\xb5\x2f\xfd", Kind::Zstd),
    (0, b"\x93NUMPY", Kind::Npy),
    (0, b"PK\x03\x04", Kind::Zip),
    (0, b"PK\x05\x06", Kind::Zip),
    (0, b"GGUF", Kind::Gguf),
    (0, b"PAR1", Kind::Parquet),
    (0, b"PARE", Kind::Parquet),
    (257, b"ustar", Kind::Tar),
];

/// What a file is, where that is known.
///
/// Text has no first bytes of its own, so there the name goes first.
pub(super) fn kind(name: &[u8], file: &dyn ReadAt) -> Checked<Option<Kind>> {
    let named = by_name(name);
    if matches!(named, Some(Kind::Json | Kind::JsonLines)) {
        return Ok(named);
    }
    for (at, magic, kind) in MAGIC {
        if begins(file, *at, magic)? {
            return if *kind == Kind::Zip { archive(named, file) } else { Ok(Some(*kind)) };
        }
    }
    if hdf5::place(file)?.is_some() {
        return Ok(Some(Kind::Hdf5));
    }
    // Before there were archives PyTorch wrote pickles, one behind the other, and of text is what
    // Python itself calls `.pth`.
    let is_begun = file.size() > 0;
    if named == Some(Kind::PyTorch) && is_begun && !is_zeroed(file, 0).map_err(Stop::Read)? {
        return Ok(None);
    }
    Ok(named)
}

/// What a zip archive is.
fn archive(named: Option<Kind>, file: &dyn ReadAt) -> Checked<Option<Kind>> {
    if matches!(named, Some(Kind::Npz | Kind::PyTorch)) {
        return Ok(named);
    }
    match zip::is_pytorch(file) {
        Ok(true) => Ok(Some(Kind::PyTorch)),
        Err(Stop::Read(error)) => Err(Stop::Read(error)),
        Ok(false) | Err(_) => Ok(Some(Kind::Zip)),
    }
}

fn by_name(name: &[u8]) -> Option<Kind> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let end = std::str::from_utf8(&name[dot + 1..]).ok()?;
    let is_meant = |kind: &&Kind| kind.extensions().iter().any(|one| one.eq_ignore_ascii_case(end));
    Kind::ALL.iter().find(is_meant).copied()
}

fn begins(file: &dyn ReadAt, at: u64, magic: &[u8]) -> Checked<bool> {
    let mut bytes = [0; 8];
    let bytes = &mut bytes[..magic.len()];
    match Window::at(file, 0).skip(at).and_then(|()| Window::at(file, at).read(bytes)) {
        Ok(()) => Ok(bytes == magic),
        Err(Stop::Read(error)) => Err(Stop::Read(error)),
        Err(_) => Ok(false),
    }
}
