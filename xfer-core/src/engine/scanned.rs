//! What is left to be done of mappings that are scanned.

use std::sync::Arc;

use super::Shared;
use super::bill::Bill;
use super::context::{Context, Stop};
use super::dispatch::Dispatcher;
use super::in_step::{Destination, Early};
use super::preflight::Preflight;
use super::proxy::ProxyLimit;
use crate::event::Event;
use crate::options::RemovalTime;

/// Mappings in their order, and what is left to be done of those that are scanned.
#[derive(Default)]
pub(super) struct Scanned {
    /// The scans of the first that began early.
    pub(super) early: Early,
    /// Whether there is a root at the destination; a plan alone may find none.
    pub(super) is_there: bool,
    pub(super) moved: Vec<Arc<Context>>,
    pub(super) scanned: Vec<(Arc<Context>, Dispatcher, Destination)>,
}

impl Scanned {
    pub(super) fn files(&self) -> usize {
        self.scanned.iter().map(|(_, dispatcher, _)| dispatcher.files_waiting()).sum()
    }

    /// Finds out how much has to be written anew, where not all of it might fit.
    pub(super) async fn make_room_known(&mut self, preflight: &Preflight) -> Result<(), Stop> {
        if preflight.check_rewrites().is_ok() {
            return Ok(());
        }
        self.compare_first(preflight).await?;
        preflight.check_rewrites()
    }

    /// Finds out how much has to be moved, where all of it might be more than may cross a proxy.
    pub(super) async fn make_bytes_known(
        &mut self,
        preflight: &Preflight,
        limit: &ProxyLimit<'_>,
        plan_only: bool,
    ) -> Result<(), Stop> {
        let left = || {
            let load = preflight.load(|source| limit.is_crossed_by(source));
            let held = preflight.held();
            (load.to_move.saturating_sub(held), load.most().saturating_sub(held))
        };
        let (least, most) = left();
        limit.check(least).await?;
        if limit.compares_over_link() {
            return limit.check(most).await;
        }
        if plan_only || !limit.exceeds(most) {
            return Ok(());
        }
        self.compare_first(preflight).await?;
        limit.check(left().0).await
    }

    /// Tells what the plan costs, once that is known as well as it has to be.
    pub(super) async fn make_cost_known(
        &mut self,
        shared: &Shared,
        preflight: &Preflight,
        bill: &Bill,
    ) -> Result<(), Stop> {
        bill.check(preflight)?;
        if !shared.transfer.plan_only && !bill.allows_most(preflight) {
            self.compare_first(preflight).await?;
        }
        if let Some(cost) = bill.told(preflight) {
            shared.observer.observe(&Event::Cost(cost));
        }
        bill.check(preflight)
    }

    pub(super) async fn compare_first(&mut self, preflight: &Preflight) -> Result<(), Stop> {
        if preflight.begin_comparing() {
            for (_, dispatcher, _) in &mut self.scanned {
                dispatcher.compare_first().await?;
            }
        }
        Ok(())
    }

    /// Moves what is scanned, one mapping after the other; of all of them first what goes before
    /// all other.
    pub(super) async fn move_scanned(&mut self, shared: &Shared) -> Result<(), Stop> {
        for (cx, dispatcher, _) in &mut self.scanned {
            let found = dispatcher.find_renamed().await;
            found.map_err(|stop| shared.of_source(cx.mapping.source, stop))?;
            let finished = dispatcher.finish_first().await;
            finished.map_err(|stop| shared.of_source(cx.mapping.source, stop))?;
        }
        for (cx, mut dispatcher, there) in std::mem::take(&mut self.scanned) {
            let finished = dispatcher.finish_files().await;
            finished.map_err(|stop| shared.of_source(cx.mapping.source, stop))?;
            let renamed = dispatcher.rename_found().await;
            renamed.map_err(|stop| shared.of_source(cx.mapping.source, stop))?;
            there.remove_partials(&cx).await?;
            dispatcher.remove(shared, RemovalTime::After).await?;
            dispatcher.finish_directories().await?;
        }
        Ok(())
    }

    /// Finds out what is to be removed, and refuses too much of it.
    pub(super) async fn settle_removals(
        &mut self,
        shared: &Shared,
        preflight: &Preflight,
    ) -> Result<(), Stop> {
        for (cx, dispatcher, _) in &mut self.scanned {
            if let Some(removals) = dispatcher.removals() {
                let settled = removals.settle(shared, cx, preflight).await;
                settled.map_err(|stop| shared.of_source(cx.mapping.source, stop))?;
            }
        }
        Ok(())
    }

    /// Removes what goes before anything is moved.
    pub(super) async fn remove_first(&mut self, shared: &Shared) -> Result<(), Stop> {
        for (_, dispatcher, _) in &mut self.scanned {
            dispatcher.remove(shared, RemovalTime::Before).await?;
        }
        Ok(())
    }
}
