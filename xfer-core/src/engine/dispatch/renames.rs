//! Files that only got another name: found before anything is moved, and renamed once all else is
//! there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use xfer_protocol::digest::Digest;
use xfer_protocol::message::{FileAt, Ticket};

use super::Dispatcher;
use super::work::{COMPARED, Work};
use crate::engine::batch::batches;
use crate::engine::context::{Context, Stop};
use crate::engine::file::compare;
use crate::engine::ledger::Side;
use crate::engine::pack::{FileWork, PACK_FILE_MAX, digests_of_both};
use crate::engine::removal::{Candidate, NewSmall, Pair, Renames, rename};

/// What is copied after all.
type Others = Arc<Mutex<Vec<FileWork>>>;

impl Dispatcher {
    /// Finds files of which the content stands under names that go; the others still wait.
    pub(in crate::engine) async fn find_renamed(&mut self) -> Result<(), Stop> {
        let Some(removals) = &self.removals else { return Ok(()) };
        // The first of several names is waited for by the others.
        let firsts: HashSet<_> = self.links.iter().map(|link| link.first_ticket()).collect();
        let new_small = || new_small(&self.waiting, &firsts);
        let Some(renames) = removals.renames(&self.cx, new_small).map(Arc::new) else {
            return Ok(());
        };
        let order = self.order.as_ref();
        // What goes before all else is not renamed after it.
        let is_first = |file: &FileWork| order.is_some_and(|order| order.is_first(file));
        let may_be =
            |file: &FileWork| is_new(file, &firsts) && !is_first(file) && renames.may_have(file);
        let (mut large, mut small, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for work in std::mem::take(&mut self.waiting) {
            match work {
                Work::CopyLarge(file) if may_be(&file) => large.push(*file),
                Work::Copy(files) => {
                    let (looked_at, others): (Vec<_>, Vec<_>) = files.into_iter().partition(may_be);
                    small.extend(looked_at);
                    if !others.is_empty() {
                        rest.push(Work::Copy(others));
                    }
                }
                other => rest.push(other),
            }
        }
        self.waiting = rest;
        let (pairs, left) = renames.pair(small);
        let others: Others = Arc::new(Mutex::new(left));
        for file in large {
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
        for pairs in batches(pairs, COMPARED) {
            let (cx, renames, others) =
                (Arc::clone(&self.cx), Arc::clone(&renames), Arc::clone(&others));
            self.spawn(async move {
                let left = without_renamed(&cx, &renames, pairs).await?;
                others.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
                Ok(())
            })
            .await?;
        }
        self.wait().await?;
        let others = std::mem::take(&mut *others.lock().unwrap_or_else(PoisonError::into_inner));
        self.waiting.extend(Work::copies(others));
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
        let count = found.len();
        let left = match may_go {
            true => rename(&self.cx, found).await?,
            false => found.into_iter().map(|renamed| renamed.into_work()).collect(),
        };
        let removals = self.removals.iter_mut();
        removals.for_each(|removals| removals.renamed(count.saturating_sub(left.len())));
        self.begin_all(Work::copies(left)).await?;
        self.wait().await?;
        self.publish_all().await
    }
}

/// What is new among what waits, by what is to be told of small files.
fn new_small(waiting: &[Work], firsts: &HashSet<Ticket>) -> NewSmall {
    let new = waiting.iter().flat_map(Work::copied).filter(|file| is_new(file, firsts));
    let small = new.filter(|file| file.size <= PACK_FILE_MAX);
    small.map(|file| (file.size, file.stamp.modified)).collect()
}

/// Whether nothing stands where a file goes, and no other name waits for it. An empty one is made
/// as quickly.
fn is_new(file: &FileWork, firsts: &HashSet<Ticket>) -> bool {
    let nothing_there = file.found.is_none() && file.basis.is_none();
    nothing_there && file.size > 0 && !firsts.contains(&file.ticket)
}

/// Whether a file has the content of one that goes, and is to have that one's place.
async fn is_renamed(cx: &Arc<Context>, renames: &Renames, file: &FileWork) -> Result<bool, Stop> {
    for known in renames.like(file) {
        let (path, stamp) = (known.path.clone(), known.stamp);
        let theirs = FileAt { root: cx.sink_root, path, stamp };
        let Some(digest) = compare(cx, file, theirs).await? else { continue };
        if !is_confirmed(cx, file, digest).await? {
            return Ok(false);
        }
        if renames.take(file, known, digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compares small files with what is likest among what goes. Returns those that are something else.
async fn without_renamed(
    cx: &Arc<Context>,
    renames: &Renames,
    pairs: Vec<Pair>,
) -> Result<Vec<FileWork>, Stop> {
    let theirs = pairs.iter().map(|pair| (pair.known.path.clone(), pair.known.stamp)).collect();
    let digests = digests_of_both(cx, pairs.iter().map(|pair| &pair.work), theirs).await?;
    // Of many of one size and time, hardly any may be paired with its own.
    let mut there: HashMap<Digest, Vec<Candidate>> = HashMap::new();
    let mut files = Vec::new();
    for (Pair { work, known }, [ours, theirs]) in pairs.into_iter().zip(digests) {
        theirs.into_iter().for_each(|digest| there.entry(digest).or_default().push(known.clone()));
        files.push((work, ours));
    }
    let mut left = Vec::new();
    for (work, digest) in files {
        match digest.and_then(|digest| Some((digest, there.get_mut(&digest)?.pop()?))) {
            Some((digest, known)) if is_confirmed(cx, &work, digest).await? => {
                renames.has(Pair { work, known }, digest);
            }
            _ => left.push(work),
        }
    }
    Ok(left)
}

/// Whether the source agrees that a file has a digest; what it says against it is told when the
/// file is copied.
async fn is_confirmed(cx: &Context, work: &FileWork, digest: Digest) -> Result<bool, Stop> {
    let ours = cx.source_file(&work.source_path, work.stamp);
    match cx.source.confirm(&ours, digest).await {
        Ok(()) => Ok(true),
        Err(error) => cx.sort(Side::Source, error).map(|_| false),
    }
}
