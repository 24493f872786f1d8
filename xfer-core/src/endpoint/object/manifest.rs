//! What objects cannot say of a tree: its directories and links, and of each file its mode, its
//! time and its digest. It lies beside the data, and is the authority for what it describes.
//!
//! The form is text: a head, then one JSON object a line in the order of paths. A file's line holds
//! the entity tag of the object that it describes, and means nothing for another.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::limits::{MODE_MAX, NANOSECONDS_END, SYMLINK_BYTES_MAX};
use xfer_protocol::manifest::{Metadata, Timestamp};
use xfer_protocol::path::RelPath;

use crate::receipt::{PathText, parse_digest};

/// The name of the form.
const SCHEMA: &str = "xfer.bucket/1";

/// Bytes of a manifest that is read.
pub(super) const MANIFEST_BYTES_MAX: u64 = 512 << 20;

/// What is known of one entry beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) kind: DescribedKind,
    pub(super) mode: u32,
    pub(super) modified: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DescribedKind {
    File { size: u64, etag: String, digest: Option<Digest> },
    Directory,
    Symlink { content: Vec<u8> },
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("line {0} is no line of a manifest of ours")]
    BadLine(u64),
    #[error("line {0} is not in the order of paths, or names one twice")]
    Unsorted(u64),
    #[error("it is of the form {0}, which this version does not know")]
    Schema(String),
    #[error("it ends before its last line")]
    Cut,
}

/// The entries below one root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    entries: BTreeMap<RelPath, Described>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    schema: String,
    entries: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    path: PathText,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<PathText>,
    mode: u32,
    modified: (i64, u32),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
    Symlink,
}

impl Described {
    pub(super) fn new(kind: DescribedKind, metadata: &Metadata) -> Self {
        Self { kind, mode: metadata.mode, modified: metadata.modified }
    }

    pub(super) fn is_no_file(&self) -> bool {
        !matches!(self.kind, DescribedKind::File { .. })
    }

    pub(super) fn metadata(&self) -> Metadata {
        Metadata { mode: self.mode, modified: self.modified, ..Metadata::default() }
    }

    fn line(&self, path: &RelPath) -> Line {
        let mut line = Line {
            path: PathText::from(path.as_bytes()),
            kind: Kind::Directory,
            size: None,
            etag: None,
            blake3: None,
            content: None,
            mode: self.mode,
            modified: (self.modified.seconds, self.modified.nanoseconds),
        };
        match &self.kind {
            DescribedKind::Directory => {}
            DescribedKind::Symlink { content } => {
                line.kind = Kind::Symlink;
                line.content = Some(PathText::from(content.as_slice()));
            }
            DescribedKind::File { size, etag, digest } => {
                line.kind = Kind::File;
                (line.size, line.etag) = (Some(*size), Some(etag.clone()));
                line.blake3 = digest.map(|digest| digest.to_string());
            }
        }
        line
    }
}

impl Line {
    fn described(self) -> Option<(RelPath, Described)> {
        let path = RelPath::new(self.path.bytes()?).ok()?;
        let (seconds, nanoseconds) = self.modified;
        if self.mode > MODE_MAX || nanoseconds >= NANOSECONDS_END {
            return None;
        }
        let kind = match self.kind {
            Kind::Directory => DescribedKind::Directory,
            Kind::Symlink => {
                let content = self.content?.bytes()?;
                if content.is_empty() || content.len() > SYMLINK_BYTES_MAX || content.contains(&0) {
                    return None;
                }
                DescribedKind::Symlink { content }
            }
            Kind::File => {
                let digest = match self.blake3 {
                    None => None,
                    Some(hex) => Some(parse_digest(&hex)?),
                };
                DescribedKind::File { size: self.size?, etag: self.etag?, digest }
            }
        };
        if path.is_root() && kind != DescribedKind::Directory {
            return None;
        }
        let modified = Timestamp { seconds, nanoseconds };
        Some((path, Described { kind, mode: self.mode, modified }))
    }
}

impl Manifest {
    /// Reads a manifest.
    pub(super) fn decode(text: &[u8]) -> Result<Self, ManifestError> {
        let mut lines = text.split_inclusive(|&byte| byte == b'\n').zip(1..);
        let (first, _) = lines.next().ok_or(ManifestError::Cut)?;
        let head: Head = serde_json::from_slice(first).map_err(|_| ManifestError::BadLine(1))?;
        if head.schema != SCHEMA {
            return Err(ManifestError::Schema(head.schema.chars().take(64).collect()));
        }
        let mut entries = BTreeMap::new();
        for (line, at) in lines {
            let read: Option<Line> = serde_json::from_slice(line).ok();
            let described = read.and_then(Line::described);
            let (path, described) = described.ok_or(ManifestError::BadLine(at))?;
            if entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(ManifestError::Unsorted(at));
            }
            entries.insert(path, described);
        }
        if entries.len() as u64 != head.entries {
            return Err(ManifestError::Cut);
        }
        Ok(Self { entries })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let head = Head { schema: SCHEMA.to_owned(), entries: self.entries.len() as u64 };
        write_line(&mut text, &head);
        for (path, described) in &self.entries {
            write_line(&mut text, &described.line(path));
        }
        text
    }

    pub(super) fn get(&self, path: &RelPath) -> Option<&Described> {
        self.entries.get(path)
    }

    pub(super) fn insert(&mut self, path: RelPath, described: Described) {
        self.entries.insert(path, described);
    }

    pub(super) fn remove(&mut self, path: &RelPath) {
        self.entries.remove(path);
    }

    /// An entry and all below it, in the order of paths.
    pub(super) fn below<'a>(
        &'a self,
        under: &'a RelPath,
    ) -> impl Iterator<Item = (&'a RelPath, &'a Described)> {
        let from = (Bound::Included(under), Bound::Unbounded);
        self.entries.range::<RelPath, _>(from).take_while(|(path, _)| path.starts_with(under))
    }
}

fn write_line<T: Serialize>(text: &mut Vec<u8>, value: &T) {
    // Plain structs with string keys cannot fail to serialise into memory.
    drop(serde_json::to_writer(&mut *text, value));
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &[u8]) -> RelPath {
        RelPath::new(name).unwrap()
    }

    fn described(kind: DescribedKind) -> Described {
        Described { kind, mode: 0o750, modified: Timestamp { seconds: -5, nanoseconds: 7 } }
    }

    fn sample() -> Manifest {
        let mut manifest = Manifest::default();
        let digest = Some(xfer_protocol::digest::file_digest(b"x"));
        let file = |digest| DescribedKind::File { size: 1, etag: "\"e\"".to_owned(), digest };
        manifest.insert(path(b""), described(DescribedKind::Directory));
        manifest.insert(path(b"a/\xff\n"), described(file(digest)));
        manifest.insert(path(b"a"), described(DescribedKind::Directory));
        manifest.insert(path(b"a-b"), described(file(None)));
        let content = b"../\xfe".to_vec();
        manifest.insert(path(b"l"), described(DescribedKind::Symlink { content }));
        manifest
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Manifest::decode(&sample().encode()).unwrap(), sample());
        let below: Vec<_> = sample().below(&path(b"a")).map(|(path, _)| path.clone()).collect();
        assert_eq!(below, [path(b"a"), path(b"a/\xff\n")]);
        assert_eq!(sample().below(&RelPath::root()).count(), 5);
    }

    #[test]
    fn a_cut_or_bent_manifest_is_none() {
        let text = sample().encode();
        for cut in 0..text.len() - 1 {
            assert!(Manifest::decode(&text[..cut]).is_err(), "cut at {cut}");
        }
        let text = String::from_utf8(text).unwrap();
        for (from, to) in [
            ("xfer.bucket/1", "xfer.bucket/2"),
            ("\"mode\":488", "\"mode\":99999"),
            ("\"path\":\"l\"", "\"path\":\"../l\""),
            ("\"path\":\"l\"", "\"path\":\"a\""),
            ("\"path\":\"l\"", "\"path\":\"/l\""),
            ("\"kind\":\"symlink\"", "\"kind\":\"device\""),
            ("\"size\":1", "\"size\":-1"),
            ("[-5,7]", "[-5,1000000000]"),
            ("\"entries\":5", "\"entries\":6"),
        ] {
            let bent = text.replacen(from, to, 1);
            assert_ne!(bent, text, "{from}");
            assert!(Manifest::decode(bent.as_bytes()).is_err(), "{to}");
        }
    }
}
