//! `xfer receipt show`, `xfer receipt check` and `xfer receipt export`.

use std::path::{Path, PathBuf};

use xfer_core::error::ExitClass;
use xfer_core::receipt::{PathText, ReceiptError, ReceiptHead, ReceiptReader, write_b3sum_line};
use xfer_core::trust::{self, PublicKey};
use xfer_protocol::manifest::{ManifestEntry, Timestamp};
use xfer_protocol::path::Escaped;

use super::{Context, done};
use crate::Outcome;
use crate::moment;
use crate::output::json::Body;
use crate::output::{Output, amounts};
use crate::problem::CliError;
use crate::read_file::{LIST_BYTES_MAX, read};

/// Bytes of a file of keys at most.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// As events name them.
const PROOF_LEVELS: [&str; 5] = ["assumed", "received", "durable", "read-back-cached", "read-back"];

/// Prints a receipt's head, once its entries were found to have the root that it names.
pub(super) fn show(file: &Path, output: &Output) -> Outcome {
    let head = entries(file, |_| ())?;
    let signature = head.signer().map_or_else(|| "none".to_owned(), |key| format!("by {key}"));
    let time = moment::format(Timestamp { seconds: head.time, nanoseconds: 0 });
    let shown = |text: &str| Escaped(text.as_bytes()).to_string();
    let mut text = format!("receipt      {}\ntime         {time}\n", shown(&head.id));
    for source in &head.sources {
        text.push_str(&format!("source       {}\n", shown(source)));
    }
    let root = head.destination_root.bytes().unwrap_or_default();
    text.push_str(&format!(
        "destination  {}\nroot         {}\nmanifest     {}\nproof level  {}\n\
         entries      {}\nbytes        {}\nexcluded     {}\nfailed       {}\n\
         signature    {signature}\n",
        shown(&head.destination),
        Escaped(&root),
        shown(&head.manifest_root),
        shown(&head.proof_level),
        amounts::count(head.entries),
        amounts::bytes(head.bytes),
        amounts::count(head.excluded.count),
        amounts::count(head.failed),
    ));
    tell(file, &head, output);
    done(output, &text)
}

/// Proves that a receipt is whole and signed by somebody who is believed: whoever has this state
/// directory, or a key of those files.
pub(super) fn check(context: &Context, file: &Path, trusted: &[PathBuf]) -> Outcome {
    let output = &context.output;
    let head = entries(file, |_| ())?;
    let shown = Escaped(file.as_os_str().as_encoded_bytes()).to_string();
    let refused = |reason, what: &str| {
        CliError::new(ExitClass::Integrity, reason, format!("{shown}: {what}"))
    };
    let Some(signer) = head.signer() else {
        return Err(refused(
            "receipt-unsigned",
            "nobody signed it, so anybody may have written it",
        )
        .next("repeat the transfer, which moves nothing that is there and leaves a signed one"));
    };
    let Some(whose) = believed(context, signer, trusted)? else {
        let what = format!("it is signed by {signer}, whom nobody here vouches for");
        return Err(refused("receipt-signer-unknown", &what).next(
            "compare that key with the one that xfer receipt show prints on the machine that \
             wrote it, then name a file that holds it: --trust-key FILE",
        ));
    };
    tell(file, &head, output);
    done(output, &format!("{shown}: whole, and signed by {signer}, {whose}\n"))
}

/// Why a signer is believed, if anything says so.
fn believed(
    context: &Context,
    signer: PublicKey,
    trusted: &[PathBuf],
) -> Result<Option<String>, CliError> {
    for path in trusted {
        if keys_in(path)?.contains(&signer) {
            let path = Escaped(path.as_os_str().as_encoded_bytes());
            return Ok(Some(format!("a key of {path}")));
        }
    }
    let directory = context.around.state_directory()?;
    let own = trust::found_in(&directory).map_err(|error| {
        let place = Escaped(directory.as_os_str().as_encoded_bytes()).to_string();
        CliError::config("state-key-unusable", format!("{place}: its key cannot be used"))
            .why(error)
            .next("make trust.key there yours alone, or name the key: --trust-key FILE")
    })?;
    Ok((own == Some(signer)).then(|| "the key of this state directory".to_owned()))
}

/// The keys in a file: one a line, with what follows it as a remark.
pub(super) fn keys_in(path: &Path) -> Result<Vec<PublicKey>, CliError> {
    let bytes = read(path, KEYS_BYTES_MAX)?;
    let mut keys = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let Some(word) = line.split_whitespace().next().filter(|word| !word.starts_with('#'))
        else {
            continue;
        };
        keys.push(PublicKey::parse(word).ok_or_else(|| {
            let place = Escaped(path.as_os_str().as_encoded_bytes());
            let what = format!("{place}: line {} holds no key", number + 1);
            CliError::config("key-malformed", what).next(
                "write ed25519: and 64 hexadecimal digits, as xfer receipt show prints a signer",
            )
        })?);
    }
    Ok(keys)
}

fn tell(file: &Path, head: &ReceiptHead, output: &Output) {
    output.event(&Body::Receipt {
        path: PathText::from(file.as_os_str().as_encoded_bytes()),
        manifest_root: Some(head.manifest_root.clone()),
        proof_level: PROOF_LEVELS.into_iter().find(|level| *level == head.proof_level),
    });
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
        ReceiptError::Forged => (ExitClass::Integrity, "signature-mismatch"),
        _ => (ExitClass::State, "receipt-malformed"),
    };
    let place = Escaped(file.as_os_str().as_encoded_bytes());
    CliError::new(class, reason, format!("{place}: it is no receipt that can be believed"))
        .why(error)
        .next("name one that a push or pull wrote: it says where, and --receipt FILE chooses")
}
