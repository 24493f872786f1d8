//! Files that a store copies by itself, from one of its buckets to another; what cannot be copied
//! so, or would not be proven, passes here as if there were no such thing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::{FileAt, Outcome};

use super::context::{Context, Stop, fault};
use super::ledger::Side;
use super::pack::{FileWork, PACK_FILE_MAX, set_metadata, source_failed};
use super::publisher::{Staged, settle};
use crate::endpoint::object::copying::{Copied, Copying, Uncopied};
use crate::endpoint::passage::Within;
use crate::event::{EntryAction, Event};
use crate::options::VerifyLevel;

/// Files that are asked about at a time.
const FILES_AT_ONCE: usize = 64;

/// What became of one file.
enum Ended {
    Booked,
    /// It passes here.
    Here,
    /// It is not what the scan saw.
    Changed(Fault),
}

/// Has the store copy files, and books them; those that have to pass here come back.
pub(super) async fn copy_within(
    cx: &Arc<Context>,
    mut files: Vec<FileWork>,
) -> Result<Vec<FileWork>, Stop> {
    let Some(within) = &cx.within else { return Ok(files) };
    let mut here = Vec::new();
    while !files.is_empty() && within.is_open() && !cx.halt.is_halted() {
        let each = std::mem::take(&mut files).into_iter().map(|file| async move {
            let ended = copy_one(cx, within, &file).await;
            (file, ended)
        });
        let mut each = stream::iter(each).buffer_unordered(FILES_AT_ONCE);
        while let Some((file, ended)) = each.next().await {
            match ended? {
                Ended::Booked => {}
                Ended::Here => here.push(file),
                Ended::Changed(fault) => {
                    // What goes whole is to stay what goes whole.
                    let most = if file.is_large() { u64::MAX } else { PACK_FILE_MAX };
                    files.extend(source_failed(cx, file, fault, most).await?);
                }
            }
        }
    }
    here.extend(files);
    Ok(here)
}

async fn copy_one(cx: &Arc<Context>, within: &Within, file: &FileWork) -> Result<Ended, Stop> {
    if !within.is_open() || cx.halt.is_halted() {
        return Ok(Ended::Here);
    }
    let at = cx.source_file(&file.source_path, file.stamp);
    let known = match within.known(&at).await {
        Ok(Ok(known)) => known,
        Ok(Err(fault)) if fault.kind == FaultKind::Changed => return Ok(Ended::Changed(fault)),
        // Whoever reads it is told the same.
        Ok(Err(_)) => return Ok(Ended::Here),
        Err(error) => return Err(Context::stop(Side::Source, error)),
    };
    let is_read_back = cx.options.verify.level == VerifyLevel::ReadBack;
    if !known.is_provable(is_read_back) {
        tell(cx, within, file, &Uncopied::Unproven);
        return Ok(Ended::Here);
    }
    let (root, path, metadata) = (cx.sink_root, file.path.clone(), file.wanted.clone());
    let (counting, copied) = (Arc::clone(cx), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&copied);
    let on_copied = Arc::new(move |bytes| {
        counting.meter.payload(bytes);
        counted.fetch_add(bytes, Ordering::Relaxed);
    });
    let copying = Copying { root, path, metadata, is_read_back, on_copied };
    let ended = within.copy(copying, known).await;
    if matches!(ended, Ok(Err(_))) {
        cx.meter.wasted(copied.load(Ordering::Relaxed));
    }
    match ended {
        Ok(Ok(copied)) => book(cx, file, copied).await.map(|()| Ended::Booked),
        Ok(Err(Uncopied::Changed)) => {
            Ok(Ended::Changed(fault(FaultKind::Changed, Operation::Read, &file.source_path)))
        }
        Ok(Err(why)) => {
            tell(cx, within, file, &why);
            Ok(Ended::Here)
        }
        Err(error) => {
            let fault = cx.sort(Side::Destination, error)?;
            cx.ledger.fail(file.ticket, Side::Destination, &file.path, file.size, fault);
            Ok(Ended::Booked)
        }
    }
}

/// A digest is told of what was read alone: by the endpoint, or by who reads it back next.
async fn book(cx: &Arc<Context>, file: &FileWork, copied: Copied) -> Result<(), Stop> {
    let Copied { stamp, digest, kept } = copied;
    cx.meter.reused(kept);
    cx.meter.spared(kept);
    if let Some(digest) = digest {
        cx.ledger.digest(file.ticket, digest);
    }
    let (path, size, source) = (file.path.clone(), file.size, file.stamp);
    cx.publisher.stage(vec![(file.ticket, Staged { path, size, source, digest, in_place: false })]);
    settle(cx, vec![Outcome { ticket: file.ticket, result: Ok(Some(stamp)) }]).await
}

/// Tells why a file passes here, once for each reason.
fn tell(cx: &Context, within: &Within, file: &FileWork, why: &Uncopied) {
    let path = &file.source_path;
    let words = match why {
        Uncopied::Refused(refusal) if within.close() => {
            let how = "files pass through this machine on their way";
            format!("{how}, as the store does not copy them: {refusal}")
        }
        Uncopied::Failed(refusal) if within.is_news("failed") => format!(
            "{path} and whatever is like it pass through this machine on their way, as the store \
             does not copy it: {refusal}"
        ),
        Uncopied::Unproven if within.is_news("unproven") => format!(
            "{path} and whatever is like it pass through this machine on their way, as nothing \
             would prove a copy that the store makes: neither is the digest of it known, nor does \
             the store tell a checksum that is enough"
        ),
        Uncopied::Differs if within.is_news("differs") => format!(
            "{path} passes through this machine on its way, as the copy that the store made of it \
             is another"
        ),
        _ => return,
    };
    cx.observe(&Event::Notice(words));
}

/// Books files that stand there already, by what the store tells of both; the others come back.
pub(super) async fn unchanged_within(
    cx: &Arc<Context>,
    files: Vec<FileWork>,
) -> Result<Vec<FileWork>, Stop> {
    let is_read = cx.reads_back_found() || cx.load_check.is_some();
    let Some(within) = cx.within.as_ref().filter(|_| !is_read) else {
        return Ok(files);
    };
    let each = files.into_iter().map(|file| async move {
        let Some((stamp, is_set)) = file.found else { return (file, None) };
        let ours = cx.source_file(&file.source_path, file.stamp);
        let theirs = FileAt { root: cx.sink_root, path: file.path.clone(), stamp };
        let known = tokio::join!(within.known(&ours), within.known_there(&theirs));
        let (Ok(Ok(ours)), Ok(Ok(theirs))) = known else { return (file, None) };
        let equal = ours.is_same_as(&theirs).then_some((stamp, is_set));
        (file, equal)
    });
    let looked: Vec<_> = stream::iter(each).buffered(FILES_AT_ONCE).collect().await;
    let (mut rest, mut unset) = (Vec::new(), Vec::new());
    for (file, equal) in looked {
        let Some((stamp, is_set)) = equal else {
            rest.push(file);
            continue;
        };
        cx.meter.verified(file.size);
        cx.meter.reused(file.size);
        if is_set {
            cx.ledger.done(file.ticket, &file.path, file.size, EntryAction::Unchanged, stamp);
        } else {
            unset.push((file.ticket, file.path, file.wanted));
        }
    }
    if !unset.is_empty() {
        set_metadata(cx, unset).await?;
    }
    Ok(rest)
}
