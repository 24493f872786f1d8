//! `xfer receipt show` and `xfer receipt export`.

use std::path::Path;

use xfer_core::error::ExitClass;
use xfer_core::receipt::{PathText, ReceiptError, ReceiptHead, ReceiptReader, write_b3sum_line};
use xfer_protocol::manifest::{ManifestEntry, Timestamp};
use xfer_protocol::path::Escaped;

use super::done;
use crate::Outcome;
use crate::moment;
use crate::output::json::Body;
use crate::output::{Output, amounts};
use crate::problem::CliError;
use crate::read_file::{LIST_BYTES_MAX, read};

/// As events name them.
const PROOF_LEVELS: [&str; 5] = ["assumed", "received", "durable", "read-back-cached", "read-back"];

/// Prints a receipt's head, once its entries were found to have the root that it names.
pub(super) fn show(file: &Path, output: &Output) -> Outcome {
    let head = entries(file, |_| ())?;
    let time = moment::format(Timestamp { seconds: head.time, nanoseconds: 0 });
    let shown = |text: &str| Escaped(text.as_bytes()).to_string();
    let mut text = format!("receipt      {}\ntime         {time}\n", shown(&head.id));
    for source in &head.sources {
        text.push_str(&format!("source       {}\n", shown(source)));
    }
    let root = head.destination_root.bytes().unwrap_or_default();
    text.push_str(&format!(
        "destination  {}\nroot         {}\nmanifest     {}\nproof level  {}\n\
         entries      {}\nbytes        {}\nexcluded     {}\nfailed       {}\nsignature    none\n",
        shown(&head.destination),
        Escaped(&root),
        shown(&head.manifest_root),
        shown(&head.proof_level),
        amounts::count(head.entries),
        amounts::bytes(head.bytes),
        amounts::count(head.excluded.count),
        amounts::count(head.failed),
    ));
    output.event(&Body::Receipt {
        path: PathText::from(file.as_os_str().as_encoded_bytes()),
        manifest_root: Some(head.manifest_root.clone()),
        proof_level: PROOF_LEVELS.into_iter().find(|level| *level == head.proof_level),
    });
    done(output, &text)
}

/// Prints a receipt's digests in the form that `b3sum -c` reads.
pub(super) fn export(file: &Path, output: &Output) -> Outcome {
    let mut lines = Vec::new();
    let mut unwritable = 0u64;
    let mut unproven = 0u64;
    entries(file, |entry| {
        unproven += u64::from(entry.kind.size() > 0 && entry.digest.is_none());
        // Writing to memory does not fail.
        unwritable += u64::from(!write_b3sum_line(&mut lines, entry).unwrap_or(false));
        tell_digest(entry, output);
    })?;
    output.result(&lines);
    let failed = |reason, count, what| {
        let what = format!("{} {what}", amounts::entries(count));
        CliError::new(ExitClass::Partial, reason, what)
            .next("use the receipt itself: xfer verify LOCATION --against FILE")
    };
    if unwritable > 0 {
        return Err(failed("name-not-utf8", unwritable, "left out: b3sum cannot name them"));
    }
    if unproven > 0 {
        return Err(failed("no-digest", unproven, "left out: the receipt has no digest of them"));
    }
    output.conclude(None);
    Ok(ExitClass::Done)
}

/// A line of the export as an event.
fn tell_digest(entry: &ManifestEntry, output: &Output) {
    let Some(digest) = &entry.digest else { return };
    output.event(&Body::Entry {
        path: PathText::from(entry.path.as_bytes()),
        action: "listed",
        kind: Some("file"),
        size: entry.kind.size(),
        mode: None,
        modified: None,
        content: None,
        digest: Some(digest.to_string()),
    });
}

/// Hands each entry of a receipt on, and gives its head if the entries have its root.
pub(super) fn entries(
    file: &Path,
    mut each: impl FnMut(&ManifestEntry),
) -> Result<ReceiptHead, CliError> {
    let bytes = read(file, LIST_BYTES_MAX).map_err(|error| match error.reason {
        "config-missing" => CliError { class: ExitClass::NotFound, reason: "not-found", ..error },
        _ => error,
    })?;
    let reader = ReceiptReader::new(&bytes[..]).map_err(|error| refused(file, error))?;
    reader.check(|_, entry| each(entry)).map_err(|error| refused(file, error))
}

fn refused(file: &Path, error: ReceiptError) -> CliError {
    let (class, reason) = match error {
        ReceiptError::RootMismatch => (ExitClass::Integrity, "digest-mismatch"),
        _ => (ExitClass::State, "receipt-malformed"),
    };
    let place = Escaped(file.as_os_str().as_encoded_bytes());
    CliError::new(class, reason, format!("{place}: it is no receipt that can be believed"))
        .why(error)
        .next("name one that a push or pull wrote: it says where, and --receipt FILE chooses")
}
