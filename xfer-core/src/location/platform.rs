//! Machines that a platform rents out, named by the platform's own word for them.

use std::fmt;

use super::reason::LocationReason;

/// Bytes of a name that any platform gives.
const NAME_BYTES_MAX: usize = 128;

/// A platform that rents machines out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PlatformKind {
    /// Vast.ai.
    Vast,
    /// Clusters that SkyPilot made, on whichever cloud.
    Sky,
    /// RunPod.
    RunPod,
    /// Lambda Cloud.
    Lambda,
}

impl PlatformKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vast, Self::Sky, Self::RunPod, Self::Lambda];

    /// As it is typed before a `:`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vast => "vast",
            Self::Sky => "sky",
            Self::RunPod => "runpod",
            Self::Lambda => "lambda",
        }
    }
}

/// A machine of a platform, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlatformMachine {
    /// Whose.
    pub platform: PlatformKind,
    /// Which.
    pub which: Which,
}

/// Which machine of a platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// All that the key sees: a list, and no place.
    All,
    /// The one that this process runs on.
    Itself,
    /// The one of that name.
    Named(String),
}

impl PlatformMachine {
    /// The machine of that name.
    #[must_use]
    pub fn named(platform: PlatformKind, name: impl Into<String>) -> Self {
        Self { platform, which: Which::Named(name.into()) }
    }

    /// The machine of a name that came from outside; `None` where no machine there has such a name.
    #[must_use]
    pub fn checked(platform: PlatformKind, name: &str) -> Option<Self> {
        check_name(platform, name.as_bytes()).ok().map(|name| Self::named(platform, name))
    }

    /// Its name, where it is one machine and not this one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.which {
            Which::Named(name) => Some(name),
            Which::All | Which::Itself => None,
        }
    }

    /// Reads what stands between the platform's `:` and the path.
    pub(super) fn parse(platform: PlatformKind, name: &[u8]) -> Result<Self, LocationReason> {
        let which = match name {
            b"" => Which::All,
            // Elsewhere nothing inside says which machine it is, and a cluster may be called so.
            b"self" if platform == PlatformKind::Vast => Which::Itself,
            _ => Which::Named(check_name(platform, name)?),
        };
        Ok(Self { platform, which })
    }
}

/// Shows the machine as it stands before the path of a location.
impl fmt::Display for PlatformMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.which {
            Which::All => "",
            Which::Itself => "self",
            Which::Named(name) => name,
        };
        write!(f, "{}:{name}", self.platform.name())
    }
}

/// A name is part of a request's path and of file names: no other text than its platform's gets
/// there.
fn check_name(platform: PlatformKind, name: &[u8]) -> Result<String, LocationReason> {
    let text = std::str::from_utf8(name).map_err(|_| LocationReason::BadMachine)?;
    let is_one = match platform {
        PlatformKind::Vast => {
            let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
            is_plain && text.parse::<u64>().is_ok_and(|id| i64::try_from(id).is_ok())
        }
        PlatformKind::Sky => {
            let is_word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(is_word)
        }
        PlatformKind::RunPod => {
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            !text.is_empty() && text.bytes().all(is_plain)
        }
        PlatformKind::Lambda => {
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            !text.is_empty() && text.bytes().all(is_hex)
        }
    };
    if is_one && text.len() <= NAME_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err(LocationReason::BadMachine)
    }
}
