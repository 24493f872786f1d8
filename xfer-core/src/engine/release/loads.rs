//! Opening files at a destination as what they are.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use xfer_protocol::manifest::Entry;
use xfer_protocol::message::{FileAt, FileRead, FilesAt, Root};
use xfer_protocol::path::Escaped;
use xfer_protocol::range::ByteRange;

use super::Collecting;
use super::roots::RootStop;
use crate::connect::Connected;
use crate::engine::batch::batches;
use crate::engine::hashing::is_small;
use crate::engine::load_command::{Far, LoadError};
use crate::engine::pack::PACK;
use crate::gate::coverage::Tally;
use crate::load_check::{Beyond, LoadCheck, ReadAt, check};

/// Bytes that are fetched of a large file at a time.
const FETCHED: u64 = 1 << 20;

/// What came of opening files.
#[derive(Default)]
pub(super) struct Opening {
    /// Files that are not what their kind says.
    pub(super) failed: Tally,
    /// Files that could not be read to be opened.
    pub(super) untried: Tally,
    /// Files of known kinds of which nothing can be proven.
    beyond: Tally,
    /// Files of no kind that is known.
    unknown: u64,
    sound: u64,
    /// Files of which the user's command said that they load, and that they do not.
    accepted: u64,
    refused: u64,
}

impl Opening {
    fn note(&mut self, entry: &Entry, found: &io::Result<LoadCheck>) {
        let size = entry.kind.size();
        match found {
            Ok(LoadCheck::Sound { .. }) => self.sound += 1,
            Ok(LoadCheck::Broken { .. }) => self.failed.add(&entry.path, size),
            Ok(LoadCheck::Unchecked { beyond: Beyond::UnknownKind, .. }) => self.unknown += 1,
            Ok(LoadCheck::Unchecked { .. }) => self.beyond.add(&entry.path, size),
            Err(_) => self.untried.add(&entry.path, size),
        }
    }

    fn note_command(&mut self, entry: &Entry, accepted: &Result<bool, LoadError>) {
        let size = entry.kind.size();
        match accepted {
            Ok(true) => self.accepted += 1,
            Ok(false) => {
                self.refused += 1;
                self.failed.add(&entry.path, size);
            }
            Err(_) => self.untried.add(&entry.path, size),
        }
    }

    /// Says what was opened, and what was not.
    pub(super) fn unchecked_told(&self, collecting: &Collecting, destination: &str) {
        let Self { beyond, unknown, sound, accepted, refused, .. } = self;
        if collecting.load_command.is_some() {
            let tried = accepted + refused;
            collecting.notice(format!(
                "{destination}: --load-check says that {accepted} of {tried} files load"
            ));
        }
        let broken = self.failed.count - refused;
        if broken + beyond.count + unknown + sound == 0 {
            return;
        }
        let mut text = format!(
            "{destination}: {sound} files open as what they are, {} do not; of {unknown} the kind \
             is not known, and these are unchecked",
            broken
        );
        if beyond.count > 0 {
            text += &format!("; {} more are of kinds that cannot be checked here", beyond.count);
        }
        collecting.notice(text);
    }
}

impl Collecting {
    /// Opens files whose bytes were just proven, and notes what they are.
    pub(super) async fn open_files(
        &self,
        files: Vec<Entry>,
        end: &Connected,
        root: &Root,
        opening: &mut Opening,
    ) -> Result<(), RootStop> {
        let Some(command) = &self.load_command else {
            return self.open_known(files, end, root, opening).await;
        };
        let mut accepted = Vec::with_capacity(files.len());
        for entry in files {
            let file = FileAt { root: root.index, path: entry.path.clone(), stamp: entry.stamp() };
            let far = Far { source: Arc::clone(&end.source), file, size: entry.kind.size() };
            let found = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(RootStop::Ended(Self::stopped())),
                found = command.accepts(&far) => found,
            };
            if let Err(error) = &found {
                let path = Escaped(entry.path.as_bytes());
                self.notice(format!("{path}: --load-check could not be asked: {error}"));
            }
            opening.note_command(&entry, &found);
            if matches!(found, Ok(true)) {
                accepted.push(entry);
            }
        }
        match self.policy.load_check {
            true => self.open_known(accepted, end, root, opening).await,
            false => Ok(()),
        }
    }

    /// Opens files of the kinds that are known here.
    async fn open_known(
        &self,
        files: Vec<Entry>,
        end: &Connected,
        root: &Root,
        opening: &mut Opening,
    ) -> Result<(), RootStop> {
        let (small, large): (Vec<_>, Vec<_>) = files.into_iter().partition(is_small);
        // More than a frame holds is refused by every endpoint.
        for pack in batches(small, PACK) {
            let files = pack.iter().map(|entry| (entry.path.clone(), entry.stamp())).collect();
            let asked = end.source.read_pack(FilesAt { root: root.index, files });
            let (reads, bytes) = self.unless_stopped(asked).await?;
            let all = pack.clone();
            let checking = tokio::task::spawn_blocking(move || checked(pack, reads, &bytes));
            match checking.await {
                Ok(found) => found.iter().for_each(|(entry, found)| opening.note(entry, found)),
                // A check that broke on odd bytes proves nothing of them.
                Err(error) => {
                    let broken = Err(io::Error::other(error));
                    all.iter().for_each(|entry| opening.note(entry, &broken));
                }
            }
        }
        for entry in large {
            let file = FileAt { root: root.index, path: entry.path.clone(), stamp: entry.stamp() };
            let far = Far { source: Arc::clone(&end.source), file, size: entry.kind.size() };
            let runtime = Handle::current();
            let checking = tokio::task::spawn_blocking(move || {
                let name = far.file.path.clone();
                let file = Fetching { far, runtime, last: RefCell::new((0, Bytes::new())) };
                check(name.as_bytes(), &file)
            });
            let found = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(RootStop::Ended(Self::stopped())),
                found = checking => found.unwrap_or_else(|error| Err(io::Error::other(error))),
            };
            opening.note(&entry, &found);
        }
        Ok(())
    }
}

/// Small files opened, each by its own bytes of a pack.
fn checked(
    pack: Vec<Entry>,
    reads: Vec<FileRead>,
    bytes: &[u8],
) -> Vec<(Entry, io::Result<LoadCheck>)> {
    let mut rest = bytes;
    let each = pack.into_iter().zip(reads).map(|(entry, read)| {
        let length = read.as_ref().map_or(0, |read| read.size);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        let (own, after) = rest.split_at(length);
        rest = after;
        let found = match read {
            Ok(_) => check(entry.path.as_bytes(), &own),
            Err(fault) => Err(io::Error::other(fault.to_string())),
        };
        (entry, found)
    });
    each.collect()
}

/// The same as a check reads it: a piece at a time, the last one kept.
struct Fetching {
    far: Far,
    runtime: Handle,
    last: RefCell<(u64, Bytes)>,
}

impl ReadAt for Fetching {
    fn size(&self) -> u64 {
        self.far.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || offset >= self.far.size {
            return Ok(0);
        }
        let start = offset / FETCHED * FETCHED;
        let mut last = self.last.borrow_mut();
        if last.0 != start || last.1.is_empty() {
            let end = (start + FETCHED).min(self.far.size);
            let range = ByteRange::new(start, end).map_err(io::Error::other)?;
            let fetched = self.runtime.block_on(self.far.fetch(range));
            *last = (start, fetched.map_err(|error| io::Error::other(error.to_string()))?);
        }
        let within = usize::try_from(offset - start).unwrap_or(usize::MAX);
        let piece = last.1.get(within..).unwrap_or_default();
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        Ok(length)
    }
}
