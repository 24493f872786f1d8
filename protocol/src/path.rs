//! Names as bytes: a path relative to a root, canonical by construction.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::limits;

/// A path below a root: components joined by `/`, no component empty, `.`, `..` or holding NUL.
///
/// The empty path is the root itself. Any other byte survives, valid UTF-8 or not. A `RelPath` can
/// only be made by a check, so a path from a peer is safe to walk component by component. Paths
/// order as a depth-first walk with sorted names visits them: component by component.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Box<[u8]>);

/// Why bytes are no path below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component longer than [`limits::NAME_BYTES_MAX`].
    #[error("a name is longer than {} bytes", limits::NAME_BYTES_MAX)]
    ComponentTooLong,
    /// `.` or `..` as a component.
    #[error("a component is . or ..")]
    DotComponent,
    /// `//`, a leading or a trailing `/`.
    #[error("a component is empty, or the path is absolute")]
    EmptyComponent,
    /// A NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
    /// Longer than [`limits::PATH_BYTES_MAX`], or deeper than [`limits::PATH_DEPTH_MAX`].
    #[error("the path is too long or too deep")]
    TooLong,
}

impl RelPath {
    /// The root itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks bytes and makes a path of them.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        Self::check(&bytes)?;
        Ok(Self(bytes.into_boxed_slice()))
    }

    fn check(bytes: &[u8]) -> Result<(), PathError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() > limits::PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let mut depth = 0;
        for component in bytes.split(|&b| b == b'/') {
            check_component(component)?;
            depth += 1;
        }
        if depth > limits::PATH_DEPTH_MAX {
            return Err(PathError::TooLong);
        }
        Ok(())
    }

    /// The bytes, without a leading or trailing `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root down; none for the root itself.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// The last component, `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The path without its last component, `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// This path with one component more.
    pub fn child(&self, name: &[u8]) -> Result<Self, PathError> {
        check_component(name)?;
        self.join_checked(name)
    }

    /// This path with another below it.
    pub fn join(&self, below: &Self) -> Result<Self, PathError> {
        if below.is_root() { Ok(self.clone()) } else { self.join_checked(&below.0) }
    }

    /// What remains of this path below `ancestor`; `None` when it is not below it.
    #[must_use]
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&*ancestor.0)?;
        match rest.split_first() {
            None => Some(Self::root()),
            Some((b'/', below)) => Some(Self(below.into())),
            Some(_) => None,
        }
    }

    /// Whether this path is `ancestor` or lies below it.
    #[must_use]
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self.0.strip_prefix(&*ancestor.0).is_some_and(|r| r.is_empty() || r[0] == b'/')
    }

    fn join_checked(&self, below: &[u8]) -> Result<Self, PathError> {
        let separator = usize::from(!self.is_root());
        let components = |bytes: &[u8]| bytes.iter().filter(|&&b| b == b'/').count() + 1;
        let above = if self.is_root() { 0 } else { components(&self.0) };
        if self.0.len() + separator + below.len() > limits::PATH_BYTES_MAX
            || above + components(below) > limits::PATH_DEPTH_MAX
        {
            return Err(PathError::TooLong);
        }
        let mut bytes = Vec::with_capacity(self.0.len() + separator + below.len());
        bytes.extend_from_slice(&self.0);
        if separator == 1 {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(below);
        Ok(Self(bytes.into_boxed_slice()))
    }
}

fn check_component(name: &[u8]) -> Result<(), PathError> {
    match name {
        b"" => Err(PathError::EmptyComponent),
        b"." | b".." => Err(PathError::DotComponent),
        _ if name.len() > limits::NAME_BYTES_MAX => Err(PathError::ComponentTooLong),
        _ if name.contains(&b'/') => Err(PathError::EmptyComponent),
        _ if name.contains(&0) => Err(PathError::Nul),
        _ => Ok(()),
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<Vec<u8>> for RelPath {
    type Error = PathError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, PathError> {
        Self::new(bytes)
    }
}

impl From<RelPath> for Vec<u8> {
    fn from(path: RelPath) -> Self {
        path.0.into_vec()
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(PathVisitor)
    }
}

thread_local! {
    /// Why a path was refused while a message was decoded: the decoder's own error has no room to
    /// tell an unsafe name from bytes that are no message.
    static REFUSED: Cell<Option<PathError>> = const { Cell::new(None) };
}

/// Why a path was refused on this thread since this was asked for last.
pub(crate) fn take_refused() -> Option<PathError> {
    REFUSED.take()
}

fn refuse<E: serde::de::Error>(error: PathError) -> E {
    REFUSED.set(Some(error));
    E::custom(error)
}

/// Checks bytes where they lie, before they are copied.
struct PathVisitor;

impl<'de> Visitor<'de> for PathVisitor {
    type Value = RelPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a path below a root")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<RelPath, E> {
        RelPath::check(bytes).map_err(refuse)?;
        Ok(RelPath(bytes.into()))
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<RelPath, E> {
        RelPath::new(bytes).map_err(refuse)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<RelPath, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = elements.next_element()? {
            if bytes.len() == limits::PATH_BYTES_MAX {
                return Err(refuse(PathError::TooLong));
            }
            bytes.push(byte);
        }
        self.visit_byte_buf(bytes)
    }
}

/// Shows the path with every control byte and every byte that is not UTF-8 escaped, so that a name
/// cannot write to somebody's terminal or forge a line of a log.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { fmt::Display::fmt(&Escaped(&self.0), f) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

/// Bytes shown for a person: control characters, direction marks and invalid UTF-8 as `\xNN`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_unsafe_to_show(c) {
                    let mut buffer = [0; 4];
                    c.encode_utf8(&mut buffer).bytes().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
                } else if c == '\\' {
                    f.write_str("\\\\")?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

fn is_unsafe_to_show(c: char) -> bool {
    let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let turns_lines = matches!(c, '\u{2028}'..='\u{202e}');
    c.is_control() || invisible || turns_lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_deeper_than_the_limit() {
        let deepest = RelPath::new(vec!["d"; limits::PATH_DEPTH_MAX].join("/")).unwrap();
        let above = deepest.parent().unwrap();
        assert_eq!(above.child(b"d"), Ok(deepest.clone()));
        assert_eq!(deepest.child(b"d"), Err(PathError::TooLong));
        let top = RelPath::new("top").unwrap();
        assert_eq!(top.join(&deepest), Err(PathError::TooLong));
        assert!(top.join(&above).is_ok());
        assert_eq!(RelPath::root().join(&deepest), Ok(deepest));
    }
}
