//! The manifest of all mappings and the record of each, written entry by entry.

use std::path::{Path, PathBuf};

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{EntryKind, Metadata, ProofLevel, Stamp};
use xfer_protocol::path::RelPath;

use super::context::Stop;
use super::ledger::{Finished, Pending, Spooled};
use super::outcome;
use crate::connect::Connector;
use crate::disk::output_file::OutputFile;
use crate::disk::state::{Spool, StateDirectory, StateError};
use crate::journal::Known;
use crate::options::VerifyLevel;
use crate::plan::Evidence;
use crate::receipt::{
    ManifestRoot, ReceiptHead, manifest_entry, write_entry, write_head, write_signature,
};
use crate::trust::{SigningKey, kept_in};

/// The manifest of all mappings, in the order of paths.
pub(super) struct Manifest {
    pub(super) root: ManifestRoot,
    /// The weakest level at which any entry is proven.
    pub(super) level: Option<ProofLevel>,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    lines: Spool,
    /// BLAKE3 over the lines.
    text: blake3::Hasher,
    key: SigningKey,
    head: Vec<u8>,
    buffer: Vec<u8>,
}

impl Manifest {
    /// An empty one, which the key of the state directory will sign.
    pub(super) fn begin(state: &StateDirectory, connector: &Connector) -> Result<Self, Stop> {
        let key = kept_in(state, connector.unique());
        Ok(Self {
            root: ManifestRoot::default(),
            level: None,
            entries: 0,
            bytes: 0,
            lines: state.spool(connector.unique())?,
            text: blake3::Hasher::new(),
            key: key.map_err(|error| Stop::Error(outcome::trust(error)))?,
            head: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// The digest of its lines and the key that signs it, as its head names them.
    pub(super) fn vouched(&self) -> (String, String) {
        (self.text.finalize().to_string(), self.key.public().to_string())
    }

    /// Adds an entry. Paths must come in order.
    pub(super) fn add(
        &mut self,
        path: RelPath,
        kind: &EntryKind,
        metadata: &Metadata,
        proven: &Proven,
    ) -> Result<(), StateError> {
        self.level = Some(self.level.map_or(proven.level, |l| l.min(proven.level)));
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(kind.size());
        let entry = manifest_entry(path, kind, metadata, proven.digest);
        self.root.add(&entry);
        self.buffer.clear();
        write_entry(&mut self.buffer, &entry);
        self.text.update(&self.buffer);
        self.lines.write(&self.buffer)
    }

    /// Writes the receipt into the state directory; returns where. It lasts as well as what it
    /// tells of.
    pub(super) fn write_receipt(
        &mut self,
        head: &ReceiptHead,
        state: &StateDirectory,
        unique: u64,
        durable: bool,
    ) -> Result<PathBuf, StateError> {
        self.head.clear();
        write_head(&mut self.head, head);
        self.buffer.clear();
        write_signature(&mut self.buffer, &self.head, &self.key);
        let receipts = state.child("receipts")?;
        let file = receipts.create(&format!("{}.ndjson", head.id), unique)?;
        self.copy_to(file.into(), durable)
    }

    /// Writes the same to where it was asked for.
    pub(super) fn write_receipt_to(
        &mut self,
        path: &Path,
        unique: u64,
        durable: bool,
    ) -> Result<PathBuf, StateError> {
        self.copy_to(OutputFile::create(path, unique)?, durable)
    }

    fn copy_to(&mut self, mut file: OutputFile, durable: bool) -> Result<PathBuf, StateError> {
        file.write(&self.head)?;
        file.copy_from(&mut self.lines.reader()?)?;
        file.write(&self.buffer)?;
        file.commit(durable)
    }
}

/// How an entry is proven at the end of the transfer.
pub(super) struct Proven {
    destination: Stamp,
    digest: Option<Digest>,
    level: ProofLevel,
}

impl Proven {
    /// What will be proven of an entry that was found equal.
    pub(super) fn found(
        kind: &EntryKind,
        destination: Stamp,
        evidence: Evidence,
        asked: VerifyLevel,
    ) -> Self {
        let Evidence { digest, level } = evidence;
        let level = match level {
            // An assumption stays one.
            ProofLevel::Assumed => level,
            // All else that stands there is synced when the transfer finishes.
            level => level.max(base(kind, asked)),
        };
        Self { destination, digest, level }
    }

    /// What is proven of an entry; `None` of one that failed.
    pub(super) fn of(
        line: &Spooled,
        asked: VerifyLevel,
        finished: impl Fn(u32) -> Option<Finished>,
    ) -> Option<Self> {
        match line.result {
            Pending::Known { digest, destination, level } => {
                Some(Self::found(&line.kind, destination, Evidence { digest, level }, asked))
            }
            Pending::Slot(slot) => {
                let done = finished(slot)?;
                let destination = Stamp {
                    size: line.kind.size(),
                    modified: line.metadata.modified,
                    changed: done.changed,
                    inode: done.inode,
                };
                let level = match done.read_back {
                    _ if done.assumed => ProofLevel::Assumed,
                    None => base(&line.kind, asked),
                    Some(true) => ProofLevel::ReadBack,
                    Some(false) => ProofLevel::ReadBackCached,
                };
                Some(Self { destination, digest: done.digest, level })
            }
        }
    }

    /// What the record should say; `None` of what has no digest.
    pub(super) fn known(&self, kind: &EntryKind, source: Stamp) -> Option<Known> {
        let digest = self.digest.filter(|_| matches!(kind, EntryKind::File { .. }))?;
        Some(Known { source, destination: self.destination, digest, level: self.level })
    }
}

/// What is proven of what stands there once the transfer has finished, its bytes not read back: of
/// what has none there is nothing to be read.
fn base(kind: &EntryKind, asked: VerifyLevel) -> ProofLevel {
    match (asked, kind) {
        (VerifyLevel::Received, _) => ProofLevel::Received,
        (VerifyLevel::Durable, _) | (_, EntryKind::File { .. }) => ProofLevel::Durable,
        (VerifyLevel::ReadBack, _) => ProofLevel::ReadBack,
    }
}
