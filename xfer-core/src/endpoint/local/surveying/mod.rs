//! What this machine tells of itself before it may be destroyed.

mod container;
mod mount_table;
mod processes;
mod protected;
#[cfg(test)]
mod tests;
mod texts;
mod write_back;

use std::os::fd::AsFd;

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::RootIndex;
use xfer_protocol::path::RelPath;
use xfer_protocol::survey::{Container, Survey, Surveyed};

use self::protected::Protected;
use super::Shared;
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

    pub(super) fn survey(
        &self,
        survey: &Survey,
        dropped: &CancellationToken,
    ) -> Result<Surveyed, Fault> {
        self.may_survey()?;
        let mut surveyed = Surveyed::default();
        let table = proc_files::open()
            .and_then(|proc| container::own_mounts(proc.as_fd()).ok_or(Errno::NOSYS));
        let table = table.unwrap_or_default();
        let protected = Protected::of(&survey.roots, &table);
        let found = processes::look(&protected, dropped);
        (surveyed.writers, surveyed.unreadable) = (found.writers, found.unreadable);
        Ok(surveyed)
    }
}
