//! Files that go by way of a bucket (`--via`): all of them there first, and from there on.
//!
//! Two transfers move them, each of which is taken up again where it ended. A third one, between
//! the very ends that were asked for, finds everything there: it proves it, moves what changed
//! meanwhile, and has the receipt. What lies in the bucket is removed after that, and not before.

mod legs;
mod stay;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::legs::{Told, heard};
use self::stay::Stay;
use super::{Counts, Summary, Transfer, run_once};
use crate::connect::Connector;
use crate::error::{ExitClass, TransferError, UsageReason};
use crate::event::{Event, SharedObserver};
use crate::location::{Location, Machine};
use crate::options::{TransferOptions, VerifyLevel, Via};

/// What every leg is run with.
struct Relay {
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
}

/// Moves what is asked by way of a directory of a bucket.
///
/// # Errors
/// What ended one of its transfers as a whole; the same request goes on from there.
pub(super) async fn relay(
    transfer: Transfer,
    way: &Location,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> Result<Summary, TransferError> {
    check(&transfer, way)?;
    let relay = Relay { connector, observer, cancel };
    if transfer.plan_only {
        relay.tell(format!("all that is to move goes by way of {way}"));
        let straight = unlimited(&transfer);
        return run_once(straight, relay.connector, relay.observer, relay.cancel).await;
    }
    let began = relay.connector.clock().elapsed();
    let (stay, carried) = if relay.is_there(&transfer).await? {
        (Stay::earlier(&relay.connector, &transfer, way)?, None)
    } else {
        let stay = Stay::open(&relay.connector, &transfer, way)?;
        let carried = relay.carry(&transfer, &stay.directory).await?;
        (Some(stay), Some(carried))
    };
    let mut summary = relay.prove(&transfer, carried.is_some()).await?;
    match stay {
        Some(stay) if summary.class == ExitClass::Done => {
            relay.leave(stay, &transfer.options).await;
        }
        Some(stay) => relay.tell(format!(
            "{}: what lies there is kept until all has arrived; the same command goes on",
            stay.directory
        )),
        None => {}
    }
    if let Some(legs) = carried {
        add(&mut summary, &legs);
    }
    summary.elapsed = relay.connector.clock().elapsed().saturating_sub(began);
    Ok(summary)
}

/// Both transfers that moved the files.
struct Carried {
    there: Summary,
    onwards: Summary,
}

impl Relay {
    fn tell(&self, notice: String) {
        self.observer.observe(&Event::Notice(notice));
    }

    async fn run(&self, transfer: Transfer, told: Told) -> Result<Summary, TransferError> {
        let observer = heard(&self.observer, told);
        run_once(transfer, self.connector.clone(), observer, self.cancel.child_token()).await
    }

    /// Whether nothing is left to move, by what is known without reading any file.
    async fn is_there(&self, transfer: &Transfer) -> Result<bool, TransferError> {
        let totals = Arc::new(std::sync::Mutex::new(None));
        let straight = Transfer { plan_only: true, ..unlimited(transfer) };
        self.run(straight, Told::Totals(Arc::clone(&totals))).await?;
        let totals = *totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_there = totals.is_some_and(|totals| {
            totals.complete && totals.entries_to_move == 0 && totals.entries_to_compare == 0
        });
        Ok(is_there)
    }

    /// Has everything go to the directory, and from there on.
    async fn carry(
        &self,
        transfer: &Transfer,
        directory: &Location,
    ) -> Result<Carried, TransferError> {
        let mut options = transfer.options.clone();
        options.network.via = Via::Nothing;
        // It is the third transfer that has it.
        options.disk.receipt = None;
        let there = Transfer {
            sources: transfer.sources.clone(),
            destination: directory.clone(),
            options: at_store(&options),
            plan_only: false,
        };
        self.tell(format!("first to {directory}"));
        let there = self.run(there, Told::Progress).await?;
        let onwards = Transfer {
            sources: vec![from_there(&transfer.sources, directory)],
            destination: onwards_to(transfer),
            options: selected(&options),
            plan_only: false,
        };
        self.tell(format!("from {directory} on to {}", transfer.destination));
        let onwards = self.run(onwards, Told::Entries).await?;
        Ok(Carried { there, onwards })
    }

    /// Compares both ends by what they hold, and proves it.
    async fn prove(&self, transfer: &Transfer, carried: bool) -> Result<Summary, TransferError> {
        let mut straight = transfer.clone();
        straight.options.network.via = Via::Here;
        if carried {
            let level = &mut straight.options.verify.level;
            *level = (*level).max(VerifyLevel::ReadBack);
        }
        self.run(straight, if carried { Told::Rest } else { Told::All }).await
    }

    /// Removes what lies in the bucket; what stays there costs money and is told.
    async fn leave(&self, stay: Stay, options: &TransferOptions) {
        match self.connector.clear(&stay.directory, options).await {
            Ok(()) => {
                if let Err(error) = stay.forget() {
                    self.tell(format!("{error}"));
                }
            }
            Err(error) => self.tell(format!(
                "{}: what lies there is no longer needed and could not be removed: {error}",
                stay.directory
            )),
        }
    }
}

/// The request between its own ends, as a plan, for which nothing crosses anything.
fn unlimited(transfer: &Transfer) -> Transfer {
    let mut straight = transfer.clone();
    let network = &mut straight.options.network;
    (network.via, network.proxy_limit, network.max_cost) = (Via::Here, Some(u64::MAX), None);
    straight
}

fn check(transfer: &Transfer, way: &Location) -> Result<(), TransferError> {
    let is_store = |location: &Location| matches!(location.machine, Machine::Store(_));
    if !is_store(way) {
        return Err(UsageReason::NoWay(way.clone()).into());
    }
    let mut ends = transfer.sources.iter().chain([&transfer.destination]);
    match ends.find(|end| is_store(end)) {
        Some(end) => Err(UsageReason::StoreByStore(end.clone()).into()),
        None => Ok(()),
    }
}

/// Beside the files the bucket is no place for anything: what is asked of the far end is its own.
fn at_store(options: &TransferOptions) -> TransferOptions {
    let mut options = options.clone();
    let level = &mut options.verify.level;
    *level = (*level).max(VerifyLevel::Durable);
    options.disk.reserve = None;
    options.preserve.owner = false;
    options.preserve.xattrs = false;
    options
}

/// What is in the bucket was selected before.
fn selected(options: &TransferOptions) -> TransferOptions {
    let mut options = options.clone();
    options.selection.filter = xfer_protocol::message::FilterRules::default();
    options.selection.only = None;
    options
}

/// What is copied on: the one entry by its name or pattern, so that it goes where the source itself
/// would have gone; of several, or of contents, all that is there.
fn from_there(sources: &[Location], directory: &Location) -> Location {
    let one = match sources {
        [one] if !one.path.ends_with(b"/") => one.last_name(),
        _ => None,
    };
    let path = [&directory.path[..], one.unwrap_or_default()].concat();
    Location { path, ..directory.clone() }
}

/// Several sources make the destination a directory.
fn onwards_to(transfer: &Transfer) -> Location {
    let mut destination = transfer.destination.clone();
    if transfer.sources.len() > 1 && !destination.path.ends_with(b"/") {
        // Home itself has no name.
        let end: &[u8] = if destination.path.is_empty() { b"./" } else { b"/" };
        destination.path.extend_from_slice(end);
    }
    destination
}

/// Counts as moved what the transfers before moved, which the last one found unchanged.
fn add(summary: &mut Summary, Carried { there, onwards }: &Carried) {
    let moved = |last: &mut Counts, onwards: Counts| {
        let moved = onwards.moved.min(last.unchanged);
        last.moved += moved;
        last.unchanged -= moved;
    };
    moved(&mut summary.entries, onwards.entries);
    moved(&mut summary.bytes, onwards.bytes);
    for leg in [there, onwards] {
        summary.payload_bytes += leg.payload_bytes;
        summary.overhead_bytes += leg.overhead_bytes;
        summary.shrunk_bytes += leg.shrunk_bytes;
        summary.wasted_bytes += leg.wasted_bytes;
    }
    summary.reused_bytes = there.reused_bytes.max(onwards.reused_bytes);
    summary.route = onwards.route.clone().or_else(|| summary.route.take());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Location {
        Location::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_copied_on_goes_where_its_source_would_have_gone() {
        let way = at("s3://bucket/way/");
        for (sources, expected) in [
            (&["host:/a/ckpt"][..], "s3://bucket/way/ckpt"),
            (&["host:/a/ckpt/"], "s3://bucket/way/"),
            (&["host:/a/*.pt"], "s3://bucket/way/*.pt"),
            (&["host:"], "s3://bucket/way/"),
            (&["host:/a/.."], "s3://bucket/way/"),
            (&["host:/a/x", "host:/a/y"], "s3://bucket/way/"),
        ] {
            let sources: Vec<_> = sources.iter().map(|text| at(text)).collect();
            assert_eq!(from_there(&sources, &way).to_string(), expected);
        }
        for (sources, to, expected) in [
            (1, "host:/b", "host:/b"),
            (2, "host:/b", "host:/b/"),
            (2, "host:/b/", "host:/b/"),
            (2, "./b", "./b/"),
        ] {
            let transfer = Transfer::new(vec![at("host:/a/x"); sources], at(to));
            assert_eq!(onwards_to(&transfer).path, at(expected).path, "{to}");
        }
    }

    #[test]
    fn only_a_bucket_is_a_way_and_only_where_none_is_an_end() {
        let transfer = |from: &str, to: &str| Transfer::new(vec![at(from)], at(to));
        let way = at("s3://bucket/way");
        assert!(check(&transfer("host:/a", "./b"), &way).is_ok());
        for (transfer, way) in [
            (transfer("host:/a", "./b"), at("other:/way")),
            (transfer("host:/a", "./b"), at("./way")),
            (transfer("host:/a", "s3://other/b"), way.clone()),
            (transfer("gs://other/b", "./b"), way.clone()),
        ] {
            let refused = check(&transfer, &way).unwrap_err();
            assert_eq!(refused.exit_class(), ExitClass::Usage);
        }
    }
}
