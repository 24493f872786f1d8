//! Receipts as they are read, from whoever hands one in.

use std::io::BufRead;

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{Device, EntryKind, ManifestEntry, Metadata, Timestamp};
use xfer_protocol::path::RelPath;

use super::{
    ManifestRoot, ReceiptEntry, ReceiptHead, SCHEMA, SCHEMA_UNSIGNED, SignatureLine, bytes_of,
    write_head,
};
use crate::trust::{PublicKey, Signature};

/// Why a receipt cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The file could not be read.
    #[error("line {line} cannot be read: {cause}")]
    Io {
        /// Counts from 1.
        line: u64,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line} is no line of a receipt")]
    BadLine {
        /// Counts from 1.
        line: u64,
    },
    /// It has another number of entries, or of bytes in them, than its head says.
    #[error("its entries are not as many, or not as large, as it says")]
    CountMismatch,
    /// Its lines do not have the root that its head names.
    #[error("its entries do not have the root that it names")]
    RootMismatch,
    /// What it says was not signed by the key that it names.
    #[error("its signature is not that of the key that it names")]
    Forged,
}

/// Reads a receipt line by line.
pub struct ReceiptReader<R> {
    lines: R,
    line: u64,
    head: ReceiptHead,
    /// Who signed the head, which is its line.
    signed: Option<(PublicKey, Vec<u8>)>,
    /// Entries still to come, where the head is to be believed.
    left: u64,
    text: blake3::Hasher,
}

/// Bytes in one line: a path and a link's content in base64, with room.
const LINE_BYTES_MAX: usize = 256 * 1024;

impl<R: BufRead> ReceiptReader<R> {
    /// Reads the head.
    pub fn new(mut lines: R) -> Result<Self, ReceiptError> {
        let bad = || ReceiptError::BadLine { line: 1 };
        let text = read_line(&mut lines, 1)?;
        let head: ReceiptHead = serde_json::from_slice(&text).map_err(|_| bad())?;
        let signed = match (&*head.schema, &head.key, &head.lines) {
            (SCHEMA_UNSIGNED, None, None) => None,
            (SCHEMA, Some(_), Some(_)) => Some((head.signer().ok_or_else(bad)?, text)),
            _ => return Err(bad()),
        };
        // Two that say the same are the same, byte by byte.
        let mut written = Vec::new();
        write_head(&mut written, &head);
        if signed.as_ref().is_some_and(|(_, text)| *text != written) {
            return Err(bad());
        }
        let (left, text) = (head.entries, blake3::Hasher::new());
        Ok(Self { lines, line: 1, head, signed, left, text })
    }

    /// The first line.
    #[must_use]
    pub fn head(&self) -> &ReceiptHead {
        &self.head
    }

    /// The next entry, `None` after the last.
    pub fn next_entry(&mut self) -> Result<Option<ReceiptEntry>, ReceiptError> {
        if self.signed.is_some() && self.left == 0 {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(1);
        let text = self.next_line()?;
        if text.is_empty() && self.signed.is_none() {
            return Ok(None);
        }
        self.text.update(&text);
        let entry = serde_json::from_slice(&text);
        entry.map(Some).map_err(|_| ReceiptError::BadLine { line: self.line })
    }

    fn next_line(&mut self) -> Result<Vec<u8>, ReceiptError> {
        self.line += 1;
        read_line(&mut self.lines, self.line)
    }

    /// Reads all entries, checks them against the root and the signature, and hands each on.
    pub fn check(
        mut self,
        mut each: impl FnMut(&ReceiptEntry, &ManifestEntry),
    ) -> Result<ReceiptHead, ReceiptError> {
        let mut root = ManifestRoot::default();
        let (mut entries, mut bytes) = (0_u64, 0_u64);
        while let Some(entry) = self.next_entry()? {
            let manifest = entry.to_manifest().ok_or(ReceiptError::BadLine { line: self.line })?;
            root.add(&manifest);
            entries += 1;
            bytes = bytes.saturating_add(manifest.kind.size());
            each(&entry, &manifest);
        }
        let text = self.text.finalize().to_hex();
        let is_text = self.head.lines.as_deref().is_none_or(|lines| *lines == *text);
        if root.root().to_string() != self.head.manifest_root || !is_text {
            return Err(ReceiptError::RootMismatch);
        }
        if (entries, bytes) != (self.head.entries, self.head.bytes) {
            return Err(ReceiptError::CountMismatch);
        }
        self.check_signature()?;
        Ok(self.head)
    }

    /// Checks the last line, where there has to be one.
    fn check_signature(&mut self) -> Result<(), ReceiptError> {
        let Some((key, signed)) = self.signed.take() else { return Ok(()) };
        let line: Result<SignatureLine, _> = serde_json::from_slice(&self.next_line()?);
        let signature = line.ok().and_then(|line| Signature::parse(&line.signature));
        let signature = signature.ok_or(ReceiptError::BadLine { line: self.line })?;
        if !self.next_line()?.is_empty() {
            return Err(ReceiptError::BadLine { line: self.line });
        }
        key.check(&signed, &signature).map_err(|_| ReceiptError::Forged)
    }
}

/// A line with its end; nothing behind the last.
fn read_line(lines: &mut impl BufRead, line: u64) -> Result<Vec<u8>, ReceiptError> {
    let mut text = Vec::new();
    let read = std::io::Read::take(lines, LINE_BYTES_MAX as u64).read_until(b'\n', &mut text);
    read.map_err(|cause| ReceiptError::Io { line, cause })?;
    Ok(text)
}

impl ReceiptEntry {
    /// The entry as a manifest names it; `None` where a field is not what it should be.
    #[must_use]
    pub fn to_manifest(&self) -> Option<ManifestEntry> {
        let kind = match self.kind.as_str() {
            "device" => {
                let (block, major, minor) = self.device?;
                EntryKind::Device(Device { block, major, minor })
            }
            "directory" => EntryKind::Directory,
            "fifo" => EntryKind::Fifo,
            "file" => EntryKind::File { size: self.size?, allocated: self.size? },
            "socket" => EntryKind::Socket,
            "symlink" => EntryKind::Symlink { content: self.content.as_ref()?.bytes()? },
            _ => return None,
        };
        let digest = match &self.blake3 {
            None => None,
            Some(hex) => Some(parse_digest(hex)?),
        };
        let metadata = Metadata {
            mode: self.mode,
            modified: Timestamp { seconds: self.modified.0, nanoseconds: self.modified.1 },
            ..Metadata::default()
        };
        let path = RelPath::new(self.path.bytes()?).ok()?;
        Some(ManifestEntry { path, kind, metadata, digest })
    }
}

/// Reads 64 hexadecimal digits.
#[must_use]
pub fn parse_digest(hex: &str) -> Option<Digest> {
    bytes_of(hex).map(Digest::from_bytes)
}
