//! What one worker does at a time.

use std::sync::Arc;

use xfer_protocol::message::NewEntry;

use crate::engine::batch::{Most, batches};
use crate::engine::context::{Context, Stop};
use crate::engine::create::create;
use crate::engine::file::copy_file;
use crate::engine::pack::{FileWork, PACK, PACK_FILES, compare_pack, copy_pack};

/// Files and their bytes compared in one request.
pub(super) const COMPARED: Most = Most { entries: PACK_FILES, content: 16 << 20 };

/// A unit of work for one worker.
pub(super) enum Work {
    Copy(Vec<FileWork>),
    CopyLarge(Box<FileWork>),
    Compare(Vec<FileWork>),
    Create(Vec<NewEntry>),
}

impl Work {
    /// Copies of files, each large one by itself.
    pub(super) fn copies(files: Vec<FileWork>) -> impl Iterator<Item = Self> {
        let (large, small): (Vec<_>, Vec<_>) = files.into_iter().partition(FileWork::is_large);
        let packs = batches(small, PACK).into_iter().map(Self::Copy);
        large.into_iter().map(|file| Self::CopyLarge(Box::new(file))).chain(packs)
    }

    /// Entries that it is about.
    pub(super) fn entries(&self) -> usize {
        match self {
            Self::Copy(files) | Self::Compare(files) => files.len(),
            Self::CopyLarge(_) => 1,
            Self::Create(entries) => entries.len(),
        }
    }

    /// The files that it copies.
    pub(super) fn copied(&self) -> &[FileWork] {
        match self {
            Self::Copy(files) => files,
            Self::CopyLarge(file) => std::slice::from_ref(&**file),
            Self::Compare(_) | Self::Create(_) => &[],
        }
    }

    pub(super) async fn perform(self, cx: &Arc<Context>) -> Result<(), Stop> {
        match self {
            Self::Copy(files) => {
                let bytes = files.iter().map(|f| f.size).sum();
                let room = cx.budget.bytes(bytes).await;
                let copied = copy_pack(cx, files).await;
                drop(room);
                copied
            }
            Self::CopyLarge(file) => copy_file(cx, *file).await,
            Self::Compare(files) => compare_pack(cx, files).await,
            Self::Create(entries) => create(cx, entries, &[]).await.map(drop),
        }
    }
}
