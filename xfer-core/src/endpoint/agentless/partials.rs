//! Large files being assembled: which are open, and who works on which of their ranges.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, RwLock};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{OpenPartial, PartialIndex, RootIndex};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;
use xfer_protocol::session::assembly::{Accept, Assembly};

use super::guard;

/// Partials that are done, remembered so that a call that comes late or again is understood.
const DONE_MAX: usize = 1 << 16;

/// The partials of a session, below roots `R`, with what an endpoint keeps of each.
pub(in crate::endpoint) struct Partials<R, C>(Mutex<Table<R, C>>);

struct Table<R, C> {
    open: HashMap<PartialIndex, Arc<PartialFile<R, C>>>,
    done: BTreeSet<PartialIndex>,
}

/// One file being assembled.
pub(in crate::endpoint) struct PartialFile<R, C> {
    pub(in crate::endpoint) index: PartialIndex,
    pub(in crate::endpoint) root: Arc<R>,
    root_index: RootIndex,
    pub(in crate::endpoint) path: RelPath,
    stage: Mutex<Stage>,
    /// Ranges are claimed in it.
    assembly: Mutex<Assembly>,
    released: Notify,
    /// Shared by those who work on ranges, exclusive for whoever ends or takes over the file.
    pub(in crate::endpoint) calls: RwLock<()>,
    pub(in crate::endpoint) content: C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Stage {
    Open,
    Staged,
    /// Another opening took the file over.
    Replaced,
    Tainted,
}

/// What is known of a partial that is to be opened.
pub(in crate::endpoint) enum Known<R, C> {
    /// It is done: this is a first run of a call, and comes too late.
    Done,
    Nothing,
    /// It is open, and goes on.
    Open(Arc<PartialFile<R, C>>),
}

impl<R, C> Default for Partials<R, C> {
    fn default() -> Self {
        Self(Mutex::new(Table { open: HashMap::new(), done: BTreeSet::new() }))
    }
}

impl<R, C> Partials<R, C> {
    pub(in crate::endpoint) fn clear(&self) {
        guard(&self.0).open.clear();
    }

    /// Takes a partial in; not where there are too many.
    pub(in crate::endpoint) fn add(&self, partial: PartialFile<R, C>) -> Result<(), Fault> {
        let mut table = guard(&self.0);
        if table.open.len() >= limits::PARTIALS_MAX {
            return Err(partial.fault(FaultKind::Limit, Operation::Open));
        }
        table.open.insert(partial.index, Arc::new(partial));
        Ok(())
    }

    /// Forgets a partial that was published or removed.
    pub(in crate::endpoint) fn forget(&self, index: PartialIndex) {
        let mut table = guard(&self.0);
        if table.open.remove(&index).is_some() {
            table.done.insert(index);
            if table.done.len() > DONE_MAX {
                table.done.pop_first();
            }
        }
    }

    /// Whether any file that is being assembled here is so.
    pub(in crate::endpoint) fn any(&self, is: impl Fn(&PartialFile<R, C>) -> bool) -> bool {
        guard(&self.0).open.values().any(|partial| is(partial))
    }

    /// What an opening meets that may have been answered before.
    pub(in crate::endpoint) fn known(&self, open: &OpenPartial) -> Result<Known<R, C>, Fault> {
        let table = guard(&self.0);
        if table.done.contains(&open.partial) {
            return Ok(Known::Done);
        }
        let Some(known) = table.open.get(&open.partial) else { return Ok(Known::Nothing) };
        if known.path != open.path || known.root_index != open.root {
            return Err(known.fault(FaultKind::Protocol, Operation::Open));
        }
        let goes_on = matches!(known.stage(), Stage::Open | Stage::Staged);
        if !goes_on || known.size() != open.size {
            return Ok(Known::Nothing);
        }
        Ok(Known::Open(Arc::clone(known)))
    }

    /// Takes a file away from an earlier opening of it, whose calls fail from now on. Whoever asked
    /// waits for those under way.
    pub(in crate::endpoint) fn take(
        &self,
        root: RootIndex,
        path: &RelPath,
    ) -> Option<Arc<PartialFile<R, C>>> {
        let before = {
            let mut table = guard(&self.0);
            let of_path = |p: &&Arc<PartialFile<R, C>>| p.path == *path && p.root_index == root;
            let before = table.open.values().find(of_path).map(Arc::clone);
            before.inspect(|before| drop(table.open.remove(&before.index)))
        };
        before.inspect(|before| before.set_stage(Stage::Replaced))
    }

    /// A partial that is open and not done.
    pub(in crate::endpoint) fn find(&self, index: PartialIndex) -> Option<Arc<PartialFile<R, C>>> {
        guard(&self.0).open.get(&index).map(Arc::clone)
    }

    /// An open partial; `None` if it is done, so that nothing remains to be done.
    pub(in crate::endpoint) fn get(
        &self,
        index: PartialIndex,
        during: Operation,
    ) -> Result<Option<Arc<PartialFile<R, C>>>, Fault> {
        let table = guard(&self.0);
        match table.open.get(&index) {
            Some(partial) => Ok(Some(Arc::clone(partial))),
            None if table.done.contains(&index) => Ok(None),
            None => Err(Fault::new(FaultKind::Protocol, during, RelPath::root())),
        }
    }
}

impl<R, C> PartialFile<R, C> {
    pub(in crate::endpoint) fn new(
        open: &OpenPartial,
        root: Arc<R>,
        assembly: Assembly,
        content: C,
    ) -> Self {
        Self {
            index: open.partial,
            root,
            root_index: open.root,
            path: open.path.clone(),
            stage: Mutex::new(Stage::Open),
            assembly: Mutex::new(assembly),
            released: Notify::new(),
            calls: RwLock::default(),
            content,
        }
    }

    pub(in crate::endpoint) fn size(&self) -> u64 {
        self.assembly().size()
    }

    pub(in crate::endpoint) fn assembly(&self) -> MutexGuard<'_, Assembly> {
        guard(&self.assembly)
    }

    pub(in crate::endpoint) fn fault(&self, kind: FaultKind, during: Operation) -> Fault {
        Fault::new(kind, during, self.path.clone())
    }

    pub(in crate::endpoint) fn check_open(&self, during: Operation) -> Result<(), Fault> {
        match self.stage() {
            Stage::Open => Ok(()),
            Stage::Tainted => Err(self.fault(FaultKind::Tainted, during)),
            Stage::Staged | Stage::Replaced => Err(self.fault(FaultKind::Protocol, during)),
        }
    }

    pub(in crate::endpoint) fn stage(&self) -> Stage {
        *guard(&self.stage)
    }

    pub(in crate::endpoint) fn set_stage(&self, stage: Stage) {
        *guard(&self.stage) = stage;
    }

    /// Takes what of a range is to be written, once no other call works on it.
    pub(in crate::endpoint) async fn claim(
        &self,
        range: ByteRange,
        digests: usize,
    ) -> Result<Option<Claimed<'_, R, C>>, Fault> {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Whoever lets go after the look below is heard.
            released.as_mut().enable();
            let accepted = self.assembly().accept(range, digests);
            match accepted.map_err(|_| self.fault(FaultKind::Protocol, Operation::Write))? {
                Accept::Duplicate => return Ok(None),
                Accept::Write(pieces) => {
                    return Ok(Some(Claimed { partial: self, range, pieces }));
                }
                Accept::Busy => released.await,
            }
        }
    }
}

/// A range that nobody else writes until this is dropped.
pub(in crate::endpoint) struct Claimed<'a, R, C> {
    partial: &'a PartialFile<R, C>,
    range: ByteRange,
    pub(in crate::endpoint) pieces: Vec<ByteRange>,
}

impl<R, C> Drop for Claimed<'_, R, C> {
    fn drop(&mut self) {
        self.partial.assembly().release(self.range);
        self.partial.released.notify_waiters();
    }
}
