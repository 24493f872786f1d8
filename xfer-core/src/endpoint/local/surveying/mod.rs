//! What this machine tells of itself before it may be destroyed.

mod changed;
mod container;
mod excepted;
mod mount_table;
mod mounts;
mod open_files;
mod processes;
mod protected;
#[cfg(test)]
mod tests;
mod texts;
mod trees;
mod write_back;

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use tokio_util::sync::CancellationToken;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::RootIndex;
use xfer_protocol::message::settling::Settling;
use xfer_protocol::path::RelPath;
use xfer_protocol::survey::{Container, Survey, Surveyed};

use self::excepted::Excepted;
use self::protected::Protected;
use super::Shared;
use crate::clock::SystemClock;
use crate::disk::proc_files;

impl Shared {
    /// Nobody who is confined to some roots is told of the whole machine.
    fn may_survey(&self) -> Result<(), Fault> {
        let refused = || Fault::new(FaultKind::Unsupported, Operation::Open, RelPath::root());
        if self.reach.is_some() { Err(refused()) } else { Ok(()) }
    }

    pub(super) fn identify(&self, mark: bool) -> Result<Container, Fault> {
        self.may_survey()?;
        let mut fresh = [0; 16];
        let is_fresh = mark && getrandom::fill(&mut fresh).is_ok();
        Ok(container::container(is_fresh.then_some(fresh)))
    }

    pub(super) fn write_back(&self, root: RootIndex) -> Result<(), Fault> {
        self.may_survey()?;
        let root = self.root(root, Operation::Sync)?;
        write_back::write_back(root.place(), root.path())
            .map_err(|errno| root.fault(errno, Operation::Sync))
    }

    /// The time, taken first, and what is being written.
    pub(super) fn settling(&self, root: RootIndex) -> Result<Settling, Fault> {
        let root = self.root(root, Operation::List)?;
        let now = SystemClock::shared().now();
        Ok(Settling { now, open: open_files::open_files(&root, self.reach.is_some()) })
    }

    pub(super) fn survey(
        &self,
        survey: &Survey,
        dropped: &CancellationToken,
    ) -> Result<Surveyed, Fault> {
        self.may_survey()?;
        let proc = proc_files::open().ok();
        let proc = proc.as_ref().map(AsFd::as_fd);
        let table = proc.and_then(container::own_mounts);
        // Without a table nothing is known of any process either, and that is told.
        let protected = Protected::of(&survey.roots, &table.clone().unwrap_or_default());
        let processes::Found { writers, unreadable, .. } =
            processes::look(&protected, None, dropped);
        let mut surveyed = Surveyed { writers, unreadable, ..Surveyed::default() };
        let Some((proc, table)) = proc.zip(table) else { return Ok(surveyed) };
        surveyed.shared = mounts::shared(&table, &protected);
        if survey.outside {
            let excepted = Excepted::new();
            let others = mounts::others(&table, &protected, &excepted, dropped);
            surveyed.mounts = Some(others);
            surveyed.changed = changed::changed(proc, &table, &protected, &excepted, dropped);
        }
        Ok(surveyed)
    }

    /// Which of some processes can write below roots; of nothing else is told.
    pub(super) fn survey_among(
        &self,
        roots: &[Vec<u8>],
        pids: &BTreeSet<u32>,
        dropped: &CancellationToken,
    ) -> Result<Surveyed, Fault> {
        self.may_survey()?;
        let proc = proc_files::open().ok();
        let table = proc.and_then(|proc| container::own_mounts(proc.as_fd()));
        let protected = Protected::of(roots, &table.unwrap_or_default());
        let processes::Found { writers, unreadable, .. } =
            processes::look(&protected, Some(pids), dropped);
        Ok(Surveyed { writers, unreadable, ..Surveyed::default() })
    }
}
