//! What a far side answers

use bytes::Bytes;

use super::attributes::Attributes;
use super::packet::{Decoder, Malformed, kind};

/// The fewest bytes of one name in a list: two empty strings and no attributes
const NAME_BYTES_MIN: usize = 12;

/// An answer
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Attributes(Attributes),
    Data(Bytes),
    Done,
    End,
    Extended(Bytes),
    Handle(Bytes),
    Names(Vec<Name>),
    Refused(Refusal),
}

/// One name of a list
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) name: Bytes,
    pub(crate) attributes: Attributes,
}

/// Why a request was refused: all that version 3 can say
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Any failure of the system that has no code of its own, a full disk among them
    #[error("it failed")]
    Failure,
    #[error("the request was malformed, or a name too long")]
    Malformed,
    #[error("there is no such entry")]
    NotFound,
    #[error("permission denied")]
    Permission,
    #[error("the server cannot do that")]
    Unsupported,
}

impl Reply {
    /// Reads an answer; yields the request's number with it.
    pub(super) fn decode(packet: Bytes) -> Result<(u32, Self), Malformed> {
        let mut input = Decoder::new(packet);
        let kind = input.u8()?;
        let id = input.u32()?;
        let reply = match kind {
            kind::STATUS => match input.u32()? {
                0 => Self::Done,
                1 => Self::End,
                2 => Self::Refused(Refusal::NotFound),
                3 => Self::Refused(Refusal::Permission),
                5 => Self::Refused(Refusal::Malformed),
                8 => Self::Refused(Refusal::Unsupported),
                _ => Self::Refused(Refusal::Failure),
            },
            kind::HANDLE => Self::Handle(input.string()?),
            kind::DATA => Self::Data(input.string()?),
            kind::NAME => Self::Names(names(&mut input)?),
            kind::ATTRIBUTES => Self::Attributes(input.attributes()?),
            kind::EXTENDED_REPLY => Self::Extended(input.rest()),
            _ => return Err(Malformed),
        };
        Ok((id, reply))
    }
}

fn names(input: &mut Decoder) -> Result<Vec<Name>, Malformed> {
    let count = usize::try_from(input.u32()?).map_err(|_| Malformed)?;
    if count > input.remaining() / NAME_BYTES_MIN {
        return Err(Malformed);
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let name = input.string()?;
        // A line of `ls -l`, for people.
        input.string()?;
        names.push(Name { name, attributes: input.attributes()? });
    }
    Ok(names)
}

/// What a far side can do beyond version 3
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) fsync: bool,
    pub(crate) hard_link: bool,
    pub(crate) limits: bool,
    pub(crate) link_attributes: bool,
    pub(crate) rename_over: bool,
    pub(crate) space: bool,
}

impl Extensions {
    /// Reads what follows the version in a far side's first packet.
    pub(super) fn decode(mut input: Decoder) -> Result<Self, Malformed> {
        let mut found = Self::default();
        while input.remaining() > 0 {
            let (name, version) = (input.string()?, input.string()?);
            match (&*name, &*version) {
                (b"fsync@openssh.com", b"1") => found.fsync = true,
                (b"hardlink@openssh.com", b"1") => found.hard_link = true,
                (b"limits@openssh.com", b"1") => found.limits = true,
                (b"lsetstat@openssh.com", b"1") => found.link_attributes = true,
                (b"posix-rename@openssh.com", b"1") => found.rename_over = true,
                (b"statvfs@openssh.com", b"2") => found.space = true,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// What a far side tells of a file system
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) bytes_free: u64,
    /// `None` where inodes are not counted
    pub(crate) inodes_free: Option<u64>,
    pub(crate) read_only: bool,
}

impl FileSystem {
    pub(super) fn decode(reply: Bytes) -> Result<Self, Malformed> {
        let mut input = Decoder::new(reply);
        let mut fields = [0; 11];
        for field in &mut fields {
            *field = input.u64()?;
        }
        let [_, unit, _, _, blocks, inodes, _, inodes_free, _, flags, _] = fields;
        Ok(Self {
            bytes_free: blocks.saturating_mul(unit),
            inodes_free: (inodes > 0).then_some(inodes_free),
            read_only: flags & 1 != 0,
        })
    }
}
