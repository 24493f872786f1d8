//! Files that only got another name: found before anything is moved, and renamed once all else is
//! there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use xfer_protocol::message::FileAt;

use super::Dispatcher;
use super::work::Work;
use crate::engine::context::{Context, Stop};
use crate::engine::file::compare;
use crate::engine::ledger::Side;
use crate::engine::pack::FileWork;
use crate::engine::removal::{Renames, rename};

impl Dispatcher {
    /// Finds files of which the content stands under names that go; the others still wait.
    pub(in crate::engine) async fn find_renamed(&mut self) -> Result<(), Stop> {
        let renames = self.removals.as_ref().and_then(|removals| removals.renames(&self.cx));
        let Some(renames) = renames.map(Arc::new) else { return Ok(()) };
        // The first of several names is waited for by the others.
        let firsts: HashSet<_> = self.links.iter().map(|link| link.first_ticket()).collect();
        let is_new = |file: &FileWork| {
            let nothing_there = file.found.is_none() && file.basis.is_none();
            nothing_there && !firsts.contains(&file.ticket) && renames.may_have(file)
        };
        let (looked_at, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|work| matches!(work, Work::CopyLarge(file) if is_new(file)));
        self.waiting = rest;
        let others = Arc::new(Mutex::new(Vec::new()));
        for work in looked_at {
            let Work::CopyLarge(file) = work else { continue };
            let (cx, renames, others) =
                (Arc::clone(&self.cx), Arc::clone(&renames), Arc::clone(&others));
            self.spawn(async move {
                if !is_renamed(&cx, &renames, &file).await? {
                    others.lock().unwrap_or_else(PoisonError::into_inner).push(file);
                }
                Ok(())
            })
            .await?;
        }
        self.wait().await?;
        let others = std::mem::take(&mut *others.lock().unwrap_or_else(PoisonError::into_inner));
        self.waiting.extend(others.into_iter().map(Work::CopyLarge));
        self.renamed = renames.found();
        Ok(())
    }

    /// Gives what was found its names, where what goes may go now; what cannot have its name so is
    /// copied.
    pub(in crate::engine) async fn rename_found(&mut self) -> Result<(), Stop> {
        let found = std::mem::take(&mut self.renamed);
        if found.is_empty() {
            return Ok(());
        }
        let may_go = self.removals.as_ref().is_some_and(|removals| removals.may_go(&self.cx));
        let left = match may_go {
            true => rename(&self.cx, found).await?,
            false => found.into_iter().map(|renamed| renamed.into_work()).collect(),
        };
        for work in left {
            self.begin(Work::CopyLarge(Box::new(work))).await?;
        }
        self.wait().await?;
        self.publish_all().await
    }
}

/// Whether a file has the content of one that goes, and is to have that one's place.
async fn is_renamed(cx: &Arc<Context>, renames: &Renames, file: &FileWork) -> Result<bool, Stop> {
    for known in renames.like(file) {
        let (path, stamp) = (known.path.clone(), known.stamp);
        let theirs = FileAt { root: cx.sink_root, path, stamp };
        let Some(digest) = compare(cx, file, theirs).await? else { continue };
        let ours = cx.source_file(&file.source_path, file.stamp);
        if let Err(error) = cx.source.confirm(&ours, digest).await {
            cx.sort(Side::Source, error)?;
            return Ok(false);
        }
        if renames.take(file, known, digest) {
            return Ok(true);
        }
    }
    Ok(false)
}
