//! What receipts and destinations say of one root, seen from that root.

use xfer_protocol::message::FilterRules;
use xfer_protocol::path::RelPath;

use super::destination::SaidOf;
use super::receipts::HeldReceipt;
use super::roots::{RootStop, ScannedRoot};
use crate::gate::coverage::{Coverage, FoldError, Lines, SaidLines, fold};
use crate::gate::evidence::ScanFailure;

/// How the entry that was copied lies to a root.
enum Lies {
    /// At or below it, by that path.
    Below(RelPath),
    /// Above it, which lies by that path below the entry.
    Above(RelPath),
    Apart,
}

fn lies(source: &[u8], root: &[u8]) -> Lies {
    let below = |path: &[u8], above: &[u8]| {
        let rest = path.strip_prefix(above)?;
        let rest = match rest {
            b"" => rest,
            _ if above == b"/" => rest,
            rest => rest.strip_prefix(b"/")?,
        };
        RelPath::new(rest).ok()
    };
    match (below(source, root), below(root, source)) {
        (Some(path), _) => Lies::Below(path),
        (None, Some(path)) => Lies::Above(path),
        (None, None) => Lies::Apart,
    }
}

impl Lies {
    /// The path below the root of what lies so below the entry.
    fn seen(&self, path: &RelPath) -> Option<RelPath> {
        match self {
            Self::Below(entry) => entry.join(path).ok(),
            Self::Above(root) => path.strip_prefix(root),
            Self::Apart => None,
        }
    }
}

/// Lines of an entry as lines of a root, in the same order.
fn seen<T: 'static>(
    lines: Lines<'static, T>,
    source: &[u8],
    root: &[u8],
    path: fn(&mut T) -> &mut RelPath,
) -> Lines<'static, T> {
    let lies = lies(source, root);
    if matches!(lies, Lies::Apart) {
        return Box::new(std::iter::empty());
    }
    Box::new(lines.filter_map(move |line| {
        let moved = line.map(|mut line| {
            let seen = lies.seen(path(&mut line))?;
            *path(&mut line) = seen;
            Some(line)
        });
        moved.transpose()
    }))
}

/// Folds what was found at a root and what is said of it.
pub(super) fn covered(
    root: &[u8],
    scanned: &mut ScannedRoot,
    said: &mut [SaidOf],
) -> Result<Coverage, RootStop> {
    let mut lines = Vec::with_capacity(said.len());
    for one in said {
        lines.push(SaidLines {
            receipt: seen(one.lines.read()?, &one.source, root, |line| &mut line.entry.path),
            found: seen(one.found.read()?, &one.source, root, |line| &mut line.path),
        });
    }
    let broken = |error: FoldError| RootStop::Failed(ScanFailure::Broken(error.to_string()));
    fold(root, scanned.lines.read()?, lines).map_err(broken)
}

/// What the receipts of a root left out on purpose, where all of that very root say the same.
pub(super) fn filter_of(root: &[u8], receipts: &[HeldReceipt]) -> Option<FilterRules> {
    let of_root = receipts.iter().filter_map(|receipt| {
        let provenance = receipt.head.provenance.as_ref()?;
        let is_of =
            provenance.mapped.iter().any(|mapped| mapped.source.bytes().as_deref() == Some(root));
        is_of.then_some(provenance.filter.as_ref())
    });
    let filters: Vec<_> = of_root.collect();
    let first = *filters.first()?;
    if filters.iter().all(|filter| *filter == first) { first.cloned() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_seen_from_above_and_from_within() {
        let path = |text: &str| RelPath::new(text).unwrap();
        for (source, root, line, expected) in [
            ("/w", "/w", "a/b", Some("a/b")),
            ("/w/ckpt", "/w", "a", Some("ckpt/a")),
            ("/w/ckpt", "/w", "", Some("ckpt")),
            ("/w", "/w/ckpt", "ckpt/a", Some("a")),
            ("/w", "/w/ckpt", "ckpt", Some("")),
            ("/w", "/w/ckpt", "ckpts/a", None),
            ("/w2", "/w", "a", None),
            ("/w", "/w2", "a", None),
            ("/", "/w", "w/a", Some("a")),
            ("/w/a", "/", "b", Some("w/a/b")),
        ] {
            let seen = lies(source.as_bytes(), root.as_bytes()).seen(&path(line));
            assert_eq!(seen, expected.map(path), "{source} {root} {line}");
        }
    }
}
