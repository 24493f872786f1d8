//! What a far side tells of an entry, and is asked to set

use super::packet::{Decoder, Encoder, Malformed};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// Attributes of an entry, each where it is known
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Length in bytes
    pub(crate) size: Option<u64>,
    /// User and group
    pub(crate) owner: Option<(u32, u32)>,
    /// Permission bits, and the kind of entry in the bits above
    pub(crate) permissions: Option<u32>,
    /// Times of the last access and modification, in seconds since 1970
    pub(crate) times: Option<(u32, u32)>,
}

/// Kinds of entries
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Device,
    Directory,
    Fifo,
    Regular,
    Socket,
    Symlink,
}

impl Attributes {
    /// What it is; `None` where the far side does not say.
    pub(crate) fn kind(&self) -> Option<FileKind> {
        match self.permissions? & 0o170_000 {
            0o010_000 => Some(FileKind::Fifo),
            0o020_000 | 0o060_000 => Some(FileKind::Device),
            0o040_000 => Some(FileKind::Directory),
            0o100_000 => Some(FileKind::Regular),
            0o120_000 => Some(FileKind::Symlink),
            0o140_000 => Some(FileKind::Socket),
            _ => None,
        }
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        let flags = [
            (self.size.is_some(), SIZE),
            (self.owner.is_some(), OWNER),
            (self.permissions.is_some(), PERMISSIONS),
            (self.times.is_some(), TIMES),
        ];
        out.u32(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        if let Some(size) = self.size {
            out.u64(size);
        }
        if let Some((user, group)) = self.owner {
            out.u32(user).u32(group);
        }
        if let Some(permissions) = self.permissions {
            out.u32(permissions);
        }
        if let Some((accessed, modified)) = self.times {
            out.u32(accessed).u32(modified);
        }
    }

    pub(super) fn decode(input: &mut Decoder) -> Result<Self, Malformed> {
        let flags = input.u32()?;
        let mut found = Self::default();
        if flags & SIZE != 0 {
            found.size = Some(input.u64()?);
        }
        if flags & OWNER != 0 {
            found.owner = Some((input.u32()?, input.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            found.permissions = Some(input.u32()?);
        }
        if flags & TIMES != 0 {
            found.times = Some((input.u32()?, input.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..input.u32()? {
                input.string()?;
                input.string()?;
            }
        }
        Ok(found)
    }
}
