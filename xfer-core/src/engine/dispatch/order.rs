//! What is moved first: the work that waits, put into the order that was asked for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobMatcher};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use super::Dispatcher;
use super::work::{COMPARED, Work};
use crate::engine::batch::Batch;
use crate::engine::context::Stop;
use crate::engine::ledger::Side;
use crate::engine::pack::{FileWork, PACK};
use crate::options::{Order, OrderOptions};

/// Files that wait to be put in order: 64 MiB or so of them. Those that are found later are in an
/// order of their own, behind these.
pub(super) const ORDERED_MAX: usize = 150_000;

/// The order that was asked for.
pub(super) struct Ordering {
    by: Order,
    first: Vec<(GlobMatcher, bool)>,
}

/// Work in its order: what goes before all other is apart.
#[derive(Default)]
pub(super) struct Ordered {
    pub(super) first: Vec<Work>,
    pub(super) rest: Vec<Work>,
}

impl Ordering {
    /// Nothing where nobody asked for an order other than that of paths.
    pub(super) fn of(options: &OrderOptions) -> Result<Option<Self>, Stop> {
        if options.first.is_empty() && options.by == Order::Name {
            return Ok(None);
        }
        let mut first = Vec::with_capacity(options.first.len());
        for glob in &options.first {
            let matcher = matcher(glob).ok_or_else(|| {
                let fault = Fault::new(FaultKind::Limit, Operation::List, RelPath::root());
                Stop::Fault(Side::Source, fault)
            })?;
            first.push((matcher, glob.contains('/')));
        }
        Ok(Some(Self { by: options.by, first }))
    }

    /// Whether a file goes before all that are not asked for first.
    pub(super) fn is_first(&self, file: &FileWork) -> bool {
        let path = file.source_path.as_bytes();
        let path = if path.is_empty() { file.path.name().unwrap_or_default() } else { path };
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        self.first.iter().any(|(glob, is_path)| {
            let text = if *is_path { path } else { name };
            glob.is_match(OsStr::from_bytes(text))
        })
    }

    /// Puts work into order. Directories, links and special files go before the files, and files
    /// that go first before all others.
    pub(super) fn arrange(&self, waiting: Vec<Work>) -> Ordered {
        let (mut ordered, mut files) = (Ordered::default(), Vec::new());
        for work in waiting {
            match work {
                Work::Copy(pack) => files.extend(pack.into_iter().map(|file| (false, file))),
                Work::Compare(pack) => files.extend(pack.into_iter().map(|file| (true, file))),
                Work::CopyLarge(file) => files.push((false, *file)),
                creates @ Work::Create(_) => ordered.first.push(creates),
            }
        }
        match self.by {
            // They come in the order of their paths, and the sort keeps it among equals.
            Order::Name => files.sort_by(|(_, a), (_, b)| a.source_path.cmp(&b.source_path)),
            Order::Newest => {
                files.sort_by_key(|(_, file)| std::cmp::Reverse(file.stamp.modified));
            }
            Order::Smallest => files.sort_by_key(|(_, file)| file.size),
        }
        let (first, rest): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(_, file)| self.is_first(file));
        pack(first, &mut ordered.first);
        pack(rest, &mut ordered.rest);
        ordered
    }
}

impl Dispatcher {
    /// Moves what goes before all other, and publishes it; nothing where nobody asked for that.
    pub(in crate::engine) async fn finish_first(&mut self) -> Result<(), Stop> {
        let Some(order) = self.order.as_ref().filter(|_| !self.cx.options.order.first.is_empty())
        else {
            return Ok(());
        };
        let Ordered { first, rest } = order.arrange(std::mem::take(&mut self.waiting));
        self.waiting = rest;
        self.begin_all(first).await?;
        self.wait().await?;
        self.publish_all().await
    }

    /// Where so many files wait that they must not be more, they are moved in their order, and
    /// others gathered meanwhile.
    pub(super) async fn move_many(&mut self) -> Result<(), Stop> {
        let is_due = self.gathered >= ORDERED_MAX;
        if !is_due || !self.preflight.may_begin(self.cx.clock.elapsed()) {
            return self.check_halt();
        }
        self.gathered = 0;
        self.flush_small().await?;
        self.open_barrier().await?;
        self.barrier_open = false;
        Ok(())
    }
}

/// A pattern as a shell has it: `*` ends at a `/`, `**` does not.
fn matcher(glob: &str) -> Option<GlobMatcher> {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    built.ok().map(|glob| glob.compile_matcher())
}

/// Whether a pattern of `--first` can be used.
pub(super) fn is_pattern(glob: &str) -> bool {
    matcher(glob).is_some()
}

/// Groups small files again, in their order; whether one is compared goes with it.
fn pack(files: Vec<(bool, FileWork)>, out: &mut Vec<Work>) {
    let (mut copies, mut compares) = (Batch::new(PACK), Batch::new(COMPARED));
    let flush = |copies: &mut Batch<FileWork>, compares: &mut Batch<FileWork>, out: &mut Vec<_>| {
        let (copied, compared) = (copies.take(), compares.take());
        out.extend((!copied.is_empty()).then_some(Work::Copy(copied)));
        out.extend((!compared.is_empty()).then_some(Work::Compare(compared)));
    };
    for (is_compared, file) in files {
        if file.is_large() {
            flush(&mut copies, &mut compares, out);
            out.push(Work::CopyLarge(Box::new(file)));
        } else if is_compared {
            out.extend(compares.push(file).map(Work::Compare));
        } else {
            out.extend(copies.push(file).map(Work::Copy));
        }
    }
    flush(&mut copies, &mut compares, out);
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::{Metadata, Stamp, Timestamp};
    use xfer_protocol::message::Ticket;

    use super::*;

    /// Path, bytes, and when it was modified.
    type Row = (&'static str, u64, i64);

    const LARGE: u64 = 8 << 20;

    fn file((path, size, modified): Row) -> FileWork {
        let path = RelPath::new(path).expect("a path");
        let modified = Timestamp { seconds: modified, nanoseconds: 0 };
        FileWork {
            ticket: Ticket(0),
            source_path: path.clone(),
            path,
            size,
            allocated: size,
            stamp: Stamp { size, modified, ..Stamp::default() },
            wanted: Metadata::default(),
            found: None,
            basis: None,
            over: None,
            changes: 0,
        }
    }

    fn names(works: &[Work]) -> Vec<String> {
        let each = works.iter().map(|work| match work {
            Work::Copy(files) => files.iter().map(|f| f.path.to_string()).collect(),
            Work::Compare(files) => files.iter().map(|f| format!("?{}", f.path)).collect(),
            Work::CopyLarge(file) => vec![format!("!{}", file.path)],
            Work::Create(_) => vec!["made".to_owned()],
        });
        each.map(|names: Vec<String>| names.join("+")).collect()
    }

    fn arranged(by: Order, first: &[&str]) -> (Vec<String>, Vec<String>) {
        let first = first.iter().map(|&glob| glob.to_owned()).collect();
        let ordering = Ordering::of(&OrderOptions { by, first }).ok().flatten().expect("an order");
        let waiting = vec![
            Work::Copy(vec![file(("a", 3, 10)), file(("d/b", 1, 30))]),
            Work::CopyLarge(Box::new(file(("d/large", LARGE, 20)))),
            Work::Create(Vec::new()),
            Work::Compare(vec![file(("e/best.pt", 2, 5)), file(("z", 9, 40))]),
        ];
        let Ordered { first, rest } = ordering.arrange(waiting);
        (names(&first), names(&rest))
    }

    #[test]
    fn work_is_taken_in_the_order_that_was_asked_for() {
        let made = || vec!["made".to_owned()];
        let of = |by| arranged(by, &[]);
        assert_eq!(of(Order::Newest).0, made());
        assert_eq!(of(Order::Newest).1, ["d/b", "?z", "!d/large", "a", "?e/best.pt"]);
        assert_eq!(of(Order::Smallest).1, ["d/b+a", "?e/best.pt+?z", "!d/large"]);
        let (first, rest) = arranged(Order::Name, &["*.pt", "d/l*"]);
        assert_eq!(first, ["made", "!d/large", "?e/best.pt"]);
        assert_eq!(rest, ["a+d/b", "?z"]);
        let (first, rest) = arranged(Order::Newest, &["d/**", "e/*"]);
        assert_eq!(first, ["made", "d/b", "!d/large", "?e/best.pt"]);
        assert_eq!(rest, ["a", "?z"]);
    }

    #[test]
    fn what_nobody_asked_for_costs_nothing() {
        assert!(Ordering::of(&OrderOptions::default()).ok().flatten().is_none());
        assert!(is_pattern("best*") && !is_pattern("[z-a]") && !is_pattern("[a"));
    }
}
