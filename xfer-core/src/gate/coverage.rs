//! A million entries folded into few groups: what is on the machine now, against what receipts and
//! destinations say of it.
//!
//! All streams come in the order of paths and are merged, so memory does not grow with them. The
//! fold knows no policy: entries of which every receipt and destination says the same are one
//! group, and the verdict judges groups.

use std::collections::BTreeMap;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{EntryKind, ManifestEntry, ProofLevel};
use xfer_protocol::path::RelPath;

use crate::receipt::ManifestRoot;

/// Paths kept of a group.
pub const EXAMPLES_MAX: usize = 16;

/// Groups at most: far more than honest receipts make.
pub const GROUPS_MAX: usize = 4096;

/// What lies below a root, and who says what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Entries by what is said of them: one claim for each receipt, in the order of receipts.
    pub groups: BTreeMap<Vec<Claim>, Tally>,
    /// What filters left out of the scan.
    pub excluded: Option<LeftOut>,
    /// What cannot be copied: sockets, devices where they are not preserved.
    pub skipped: Option<LeftOut>,
    /// What could not be listed or read.
    pub unreadable: Tally,
    /// What changed while it was hashed.
    pub changing: Tally,
    /// BLAKE3 over all entries, as receipts name them.
    pub manifest: Digest,
}

/// How many, how large, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// Entries.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// The first of their paths, below the root.
    pub examples: Vec<RelPath>,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, path: &RelPath, bytes: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(path.clone());
        }
    }

    /// Counts all of another too.
    pub fn join(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }
}

/// Entries that nobody proves, to be acknowledged by the digest of their list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// How many and which; an excluded directory counts once.
    pub tally: Tally,
    /// BLAKE3 over the root, why they were left out, and the list of their paths: who acknowledges
    /// a list for one root has not done so for another.
    pub digest: Digest,
}

/// What one receipt and its destination say of an entry as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What the receipt says.
    pub said: Said,
    /// What the destination was found to hold.
    pub found: Found,
}

/// What a receipt says of an entry as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// It names the file and no digest.
    Undigested,
    /// It names other bytes, or another kind of entry.
    Different,
    /// It names this very content, proven so.
    Equal(ProofLevel),
}

/// What a destination was found to hold, by its witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Found {
    /// Nobody looked.
    NotLooked,
    /// Nothing.
    Missing,
    /// Something else.
    Different,
    /// The entry; the store's own checksum of the whole object is ours.
    Checksum,
    /// The entry, read back, perhaps from a cache.
    Cached,
    /// The entry: read back at a version that is still there, with its size and checksum.
    Pinned,
    /// The entry, read back.
    Read,
}

/// One line of the scan of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scanned {
    /// An entry, a file with the digest that it was just found to have.
    Entry(ManifestEntry),
    /// A filter left it out; a directory stands for all below it.
    Excluded(RelPath),
    /// It is of a kind that is not copied.
    Skipped(RelPath),
    /// It could not be listed or read.
    Unreadable(RelPath),
    /// It changed while it was hashed.
    Changing(RelPath),
}

impl Scanned {
    /// Where it is below the root.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Entry(entry) => &entry.path,
            Self::Excluded(path)
            | Self::Skipped(path)
            | Self::Unreadable(path)
            | Self::Changing(path) => path,
        }
    }
}

/// One line of a receipt, its path below the protected root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptLine {
    /// The entry; a file without a digest was only assumed to be there.
    pub entry: ManifestEntry,
    /// How it was proven.
    pub level: ProofLevel,
}

/// One line of what a destination was found to hold, its path below the protected root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundLine {
    /// Where it is.
    pub path: RelPath,
    /// What was found, compared with the receipt's line of that path.
    pub found: Found,
}

/// Lines in the order of paths, each path once; a stream that breaks off says so.
pub type Lines<'a, T> = Box<dyn Iterator<Item = Result<T, FoldError>> + 'a>;

/// What is said of a root by one receipt and at its destination.
pub struct SaidLines<'a> {
    /// The receipt's lines.
    pub receipt: Lines<'a, ReceiptLine>,
    /// What its destination was found to hold.
    pub found: Lines<'a, FoundLine>,
}

/// Why streams could not be folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A path does not follow the one before it.
    #[error("{0} stands out of order in its list")]
    OutOfOrder(RelPath),
    /// A stream broke off, in these words.
    #[error("a list broke off: {0}")]
    Broken(String),
    /// Receipts contradict each other in more ways than honest ones do.
    #[error("receipts differ in more than {GROUPS_MAX} ways")]
    TooManyGroups,
}

/// Folds the scan of a root and what is said of it.
///
/// `root` is the root's absolute path. Directories lead to their entries and hold nothing of their
/// own: only empty ones count.
///
/// # Errors
/// When a stream breaks off or is out of order: nothing is then known of the root.
pub fn fold(
    root: &[u8],
    scan: Lines<'_, Scanned>,
    said: Vec<SaidLines<'_>>,
) -> Result<Coverage, FoldError> {
    let mut scan = Ordered::new(scan, Scanned::path);
    let mut said: Vec<_> = said
        .into_iter()
        .map(|lines| {
            let receipt = Ordered::new(lines.receipt, |line: &ReceiptLine| &line.entry.path);
            (receipt, Ordered::new(lines.found, |line: &FoundLine| &line.path))
        })
        .collect();
    let mut folded = Folding::of(root);
    while let Some(line) = scan.next()? {
        let entry = match line {
            Scanned::Entry(entry) => entry,
            other => {
                folded.leave(&other);
                continue;
            }
        };
        folded.root.add(&entry);
        let is_directory = entry.kind == EntryKind::Directory;
        if is_directory && (entry.path.is_root() || scan.leads_below(&entry.path)) {
            continue;
        }
        let claims = said.iter_mut().map(|(receipt, found)| {
            let line = receipt.find(&entry.path)?;
            let found = found.find(&entry.path)?.map_or(Found::NotLooked, |line| line.found);
            Ok(Claim { said: judge(&entry, line.as_ref()), found })
        });
        folded.group(claims.collect::<Result<_, _>>()?, &entry)?;
    }
    // What a receipt names after the last entry must be in order too.
    for (receipt, found) in &mut said {
        while receipt.next()?.is_some() {}
        while found.next()?.is_some() {}
    }
    Ok(folded.finish())
}

/// What a receipt's line says of an entry as it is.
fn judge(entry: &ManifestEntry, line: Option<&ReceiptLine>) -> Said {
    let Some(line) = line else { return Said::Nothing };
    let (is, was) = (entry, &line.entry);
    match (&is.kind, &was.kind) {
        (EntryKind::File { size, .. }, EntryKind::File { size: before, .. }) => {
            match (is.digest, was.digest) {
                (Some(_), None) if size == before => Said::Undigested,
                (Some(is), Some(was)) if size == before && is == was => Said::Equal(line.level),
                _ => Said::Different,
            }
        }
        (is, was) if is == was => Said::Equal(line.level),
        _ => Said::Different,
    }
}

struct Folding {
    groups: BTreeMap<Vec<Claim>, Tally>,
    excluded: Listing,
    skipped: Listing,
    unreadable: Tally,
    changing: Tally,
    root: ManifestRoot,
}

impl Folding {
    fn of(root: &[u8]) -> Self {
        Self {
            groups: BTreeMap::new(),
            excluded: Listing::of(root, b"excluded"),
            skipped: Listing::of(root, b"skipped"),
            unreadable: Tally::default(),
            changing: Tally::default(),
            root: ManifestRoot::default(),
        }
    }

    fn leave(&mut self, line: &Scanned) {
        match line {
            Scanned::Entry(_) => {}
            Scanned::Excluded(path) => self.excluded.add(path),
            Scanned::Skipped(path) => self.skipped.add(path),
            Scanned::Unreadable(path) => self.unreadable.add(path, 0),
            Scanned::Changing(path) => self.changing.add(path, 0),
        }
    }

    fn group(&mut self, claims: Vec<Claim>, entry: &ManifestEntry) -> Result<(), FoldError> {
        if self.groups.len() == GROUPS_MAX && !self.groups.contains_key(&claims) {
            return Err(FoldError::TooManyGroups);
        }
        self.groups.entry(claims).or_default().add(&entry.path, entry.kind.size());
        Ok(())
    }

    fn finish(self) -> Coverage {
        Coverage {
            groups: self.groups,
            excluded: self.excluded.finish(),
            skipped: self.skipped.finish(),
            unreadable: self.unreadable,
            changing: self.changing,
            manifest: self.root.root(),
        }
    }
}

/// A list of paths that grows only in its digest.
struct Listing {
    tally: Tally,
    hasher: blake3::Hasher,
}

impl Listing {
    fn of(root: &[u8], why: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("xfer gate left out 1");
        hasher.update(root).update(&[0]).update(why).update(&[0]);
        Self { tally: Tally::default(), hasher }
    }

    fn add(&mut self, path: &RelPath) {
        self.tally.add(path, 0);
        self.hasher.update(path.as_bytes()).update(&[0]);
    }

    fn finish(self) -> Option<LeftOut> {
        let digest = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        (self.tally.count > 0).then_some(LeftOut { tally: self.tally, digest })
    }
}

/// A stream that is held to its order.
struct Ordered<'a, T> {
    lines: Peekable<Lines<'a, T>>,
    path: fn(&T) -> &RelPath,
    last: Option<RelPath>,
}

impl<'a, T> Ordered<'a, T> {
    fn new(lines: Lines<'a, T>, path: fn(&T) -> &RelPath) -> Self {
        Self { lines: lines.peekable(), path, last: None }
    }

    fn next(&mut self) -> Result<Option<T>, FoldError> {
        let Some(line) = self.lines.next().transpose()? else { return Ok(None) };
        let path = (self.path)(&line);
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return Err(FoldError::OutOfOrder(path.clone()));
        }
        self.last = Some(path.clone());
        Ok(Some(line))
    }

    /// The line of a path. Paths are asked for in order.
    fn find(&mut self, path: &RelPath) -> Result<Option<T>, FoldError> {
        loop {
            match self.lines.peek() {
                Some(Ok(line)) if (self.path)(line) > path => return Ok(None),
                Some(Ok(line)) if (self.path)(line) == path => return self.next(),
                None => return Ok(None),
                Some(_) => drop(self.next()?),
            }
        }
    }

    /// Whether the next line lies below a path. A stream that breaks off there breaks off later.
    fn leads_below(&mut self, path: &RelPath) -> bool {
        matches!(self.lines.peek(), Some(Ok(next)) if (self.path)(next).starts_with(path))
    }
}
