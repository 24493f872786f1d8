//! Files that go by way of a bucket (`--via`): all of them there first, and from there on.
//!
//! Two transfers move them, each of which is taken up again where it ended. A third one, between
//! the very ends that were asked for, finds everything there: it proves it, moves what changed
//! meanwhile, and has the receipt. What lies in the bucket is removed after that, and not before.
//! What is there already, by a plan between these ends, goes nowhere.

mod legs;
mod missing;
mod stay;

use tokio_util::sync::CancellationToken;
use xfer_protocol::message::FilterRules;
use xfer_protocol::path::RelPath;

use self::legs::{Purse, Told, heard};
use self::missing::{Planned, Planning};
use self::stay::Stay;
use super::{Counts, Summary, Transfer, run_once};
use crate::connect::Connector;
use crate::error::{ExitClass, TransferError, UsageReason};
use crate::event::{Event, SharedObserver};
use crate::location::{Location, Machine};
use crate::options::{Reader, SettleOptions, TransferOptions, VerifyLevel, Via};

/// What every leg is run with.
struct Relay {
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
    purse: Purse,
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
    let purse = Purse::of(transfer.options.network.max_cost);
    let relay = Relay { connector, observer, cancel, purse };
    if transfer.plan_only {
        relay.tell(format!("all that is to move goes by way of {way}"));
        let straight = unlimited(&transfer);
        return run_once(straight, relay.connector, relay.observer, relay.cancel).await;
    }
    let began = relay.connector.clock().elapsed();
    let mut stay = Stay::claim(&relay.connector, &transfer, way)?;
    let planned = relay.plan(&transfer).await?;
    let carried = if planned.is_there() {
        None
    } else {
        let directory = stay.make(&relay.connector)?;
        match relay.carry(&transfer, &directory, planned).await? {
            Carried::Both(legs) => Some(legs),
            Carried::There(summary) => return Ok(relay.told_of_kept(&stay, *summary)),
        }
    };
    let mut summary = relay.prove(&transfer, carried.is_some(), stay.made().is_some()).await?;
    if summary.class == ExitClass::Done {
        relay.leave(stay, &transfer.options).await;
    } else {
        summary = relay.told_of_kept(&stay, summary);
    }
    if let Some(legs) = carried {
        add(&mut summary, &legs);
    }
    summary.elapsed = relay.connector.clock().elapsed().saturating_sub(began);
    Ok(summary)
}

/// Both transfers that moved the files.
struct Legs {
    there: Summary,
    onwards: Summary,
}

/// How far files came.
enum Carried {
    Both(Box<Legs>),
    /// Nothing of what was asked for got even into the bucket.
    There(Box<Summary>),
}

impl Relay {
    fn tell(&self, notice: String) {
        self.observer.observe(&Event::Notice(notice));
    }

    fn told_of_kept(&self, stay: &Stay, summary: Summary) -> Summary {
        if let Some(directory) = stay.made() {
            self.tell(format!(
                "{directory}: what lies there is kept until all has arrived; the same command goes \
                 on"
            ));
        }
        summary
    }

    async fn run(&self, mut transfer: Transfer, told: Told) -> Result<Summary, TransferError> {
        transfer.options.network.max_cost = self.purse.left();
        let observer = heard(&self.observer, told, &self.purse);
        run_once(transfer, self.connector.clone(), observer, self.cancel.child_token()).await
    }

    /// What is to be moved between the ends, and what that costs.
    async fn plan(&self, transfer: &Transfer) -> Result<Planned, TransferError> {
        let planning = Planning::default();
        let straight = Transfer { plan_only: true, ..unlimited(transfer) };
        let observer = planning.heard(&self.observer);
        let cancel = self.cancel.child_token();
        run_once(straight, self.connector.clone(), observer, cancel).await?;
        Ok(planning.planned())
    }

    /// Has what is missing go to the directory, and from there on.
    async fn carry(
        &self,
        transfer: &Transfer,
        directory: &Location,
        planned: Planned,
    ) -> Result<Carried, TransferError> {
        let mut options = transfer.options.clone();
        options.network.via = Via::Nothing;
        // It is the third transfer that has it.
        options.disk.receipt = None;
        options.verify.load_check = None;
        let missing = planned.missing_of(&transfer.sources);
        if missing.is_some() {
            options.selection.only.clone_from(&missing);
        }
        let there = Transfer {
            sources: transfer.sources.clone(),
            destination: directory.clone(),
            options: at_store(&options),
            plan_only: false,
        };
        self.tell(format!("first to {directory}"));
        let there = self.run(there, Told::Progress).await?;
        let mut onward = selected(&options, missing);
        // What lies in the bucket is finished, however new.
        onward.selection.settle = SettleOptions::default();
        let onwards = Transfer {
            sources: vec![from_there(&transfer.sources, directory)],
            destination: onwards_to(transfer),
            options: onward,
            plan_only: false,
        };
        self.tell(format!("from {directory} on to {}", transfer.destination));
        match self.run(onwards, Told::Entries).await {
            Ok(onwards) => Ok(Carried::Both(Box::new(Legs { there, onwards }))),
            // What is not there was not read before: that is the reason to tell.
            Err(error) if is_missing(&error) && there.class != ExitClass::Done => {
                self.tell_problems(&there);
                let told = Summary { proof_level: None, manifest_root: None, ..there };
                Ok(Carried::There(Box::new(told)))
            }
            Err(error) => Err(error),
        }
    }

    fn tell_problems(&self, summary: &Summary) {
        for fault in &summary.problems {
            self.observer.observe(&Event::Problem { fault: fault.clone(), class: summary.class });
        }
    }

    /// Compares both ends by what they hold, and proves it: also what an earlier run carried, of
    /// which nothing will be left but what arrived.
    async fn prove(
        &self,
        transfer: &Transfer,
        is_rest: bool,
        was_carried: bool,
    ) -> Result<Summary, TransferError> {
        let mut straight = transfer.clone();
        straight.options.network.via = Via::Here;
        if was_carried {
            let level = &mut straight.options.verify.level;
            *level = (*level).max(VerifyLevel::ReadBack);
        }
        self.run(straight, if is_rest { Told::Rest } else { Told::All }).await
    }

    /// Removes what lies in the bucket; what stays there costs money and is told.
    async fn leave(&self, stay: Stay, options: &TransferOptions) {
        let Some(directory) = stay.made() else { return };
        match self.connector.clear(directory, options).await {
            Ok(()) => {
                if let Err(error) = stay.forget() {
                    self.tell(format!("{error}"));
                }
            }
            Err(error) => self.tell(format!(
                "{directory}: what lies there is no longer needed and could not be removed: {error}"
            )),
        }
    }
}

fn is_missing(error: &TransferError) -> bool {
    error.exit_class() == ExitClass::NotFound
}

/// The request between its own ends, as a plan, for which nothing crosses a proxy.
fn unlimited(transfer: &Transfer) -> Transfer {
    let mut straight = transfer.clone();
    let network = &mut straight.options.network;
    (network.via, network.proxy_limit) = (Via::Here, Some(u64::MAX));
    straight
}

fn check(transfer: &Transfer, way: &Location) -> Result<(), TransferError> {
    let is_store = |location: &Location| matches!(location.machine, Machine::Store(_));
    if !is_store(way) {
        return Err(UsageReason::NoWay(way.clone()).into());
    }
    if transfer.options.verify.reader != Reader::Mover {
        return Err(UsageReason::ReadByItself(transfer.destination.clone()).into());
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
    options.preserve.acls = false;
    options
}

/// What is in the bucket was selected before; an earlier run may have left more there than is
/// missing now.
fn selected(options: &TransferOptions, missing: Option<Vec<RelPath>>) -> TransferOptions {
    let mut options = options.clone();
    options.selection.filter = FilterRules::default();
    options.selection.only = missing;
    options.selection.follow_links = false;
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
fn add(summary: &mut Summary, Legs { there, onwards }: &Legs) {
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
