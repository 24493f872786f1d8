//! One machine: its ways one after the other, what it is, and its disk.

use std::sync::Arc;
use std::time::Duration;

use xfer_protocol::fault::FaultKind;
use xfer_protocol::limits::TRIAL_DISK_BYTES_MAX;
use xfer_protocol::message::{Access, Locate, LocatedKind, OpenRoot, Root, TryDisk};
use xfer_protocol::probe::Facts;

use super::link::{Bounds, Direction, middle_and_jitter, round_trips, session_flow};
use super::{Closed, Disk, Looker, Machine, Measured, Rates, Share, Way};
use crate::connect::{Connected, OpenWay, Survey, Ways};
use crate::endpoint::remote::RemoteEndpoint;
use crate::endpoint::{Endpoint, EndpointError, EndpointResult, LostReason};
use crate::error::TransferError;
use crate::event::{Event, Route, RouteDecision, RouteTrial};
use crate::location::{Location, Machine as Where};

/// Requests by which round trips are measured, and how long they may take in all.
pub(super) const ROUND_TRIPS: (usize, Duration) = (12, Duration::from_secs(1));

/// Measurements of one way: one stream and several, there and back.
const FLOWS: u32 = 4;

/// A measurement lasts so many round trips at least, or so long: sooner no connection has found its
/// rate.
const FLOW_ROUND_TRIPS: u32 = 6;
pub(super) const FLOW_TIME_MIN: Duration = Duration::from_millis(100);

/// No delay has a measurement last longer than this.
const FLOW_TIME_MAX: Duration = Duration::from_secs(3);

/// How long a disk may take beyond its time: one that others use as well syncs late.
const DISK_PATIENCE: Duration = Duration::from_secs(20);

/// The share of the time for a disk in which it is written; the rest is for reading.
const OF_DISK_TIME: u32 = 2;

impl Looker {
    /// What this machine is.
    pub(super) async fn facts_here(&self) -> Option<Facts> {
        let here = self.connector.connect(&Where::Local, &self.options).await.ok()?;
        here.source.facts().await.ok()
    }

    /// Looks at one location.
    pub(super) async fn machine(
        &self,
        location: &Location,
        share: Share,
    ) -> Result<Machine, TransferError> {
        match self.connector.survey(&location.machine, &self.options).await? {
            Survey::Plain(end) => {
                end.notices.iter().for_each(|notice| self.notice(notice));
                if let Some(asked) = end.asked() {
                    let machine = self.asked(asked, location, share).await;
                    end.sink.close().await;
                    return Ok(machine);
                }
                let mut machine = Machine { rented: end.rented.clone(), ..Machine::default() };
                if let Some(route) = &end.route {
                    self.plainly(&end, route, &mut machine).await;
                }
                machine.facts = end.source.facts().await.ok();
                machine.disk = self.disk_in_time(&*end.sink, location, share).await;
                end.sink.close().await;
                Ok(machine)
            }
            Survey::Ways(ways) => self.ways(*ways, location, share).await,
        }
    }

    /// A machine that stores and does nothing else: only its delay can be measured.
    async fn plainly(&self, end: &Connected, route: &Route, machine: &mut Machine) {
        let mut times = Vec::new();
        for _ in 0..ROUND_TRIPS.0 {
            let asked = self.clock.elapsed();
            let locate = Locate { path: b"/".to_vec(), expand: false };
            if end.sink.locate(locate).await.is_err() {
                break;
            }
            times.push(self.clock.elapsed().saturating_sub(asked));
        }
        let measured = Measured { round_trip: middle_and_jitter(&times), ..Measured::default() };
        let Some(kind) = crate::connect::WayKind::of_name(route.kind) else { return };
        let reason = "no program may be run there, so no more can be measured".to_owned();
        let place = String::new();
        let way = Way { kind, place, direct: route.direct, reason, opened: Ok(measured) };
        (machine.taken, machine.taken_because) = (Some(0), "it is the only one".to_owned());
        machine.ways.push(way);
    }

    async fn ways(
        &self,
        mut ways: Ways,
        location: &Location,
        share: Share,
    ) -> Result<Machine, TransferError> {
        ways.notices.iter().for_each(|notice| self.notice(notice));
        let mut machine = Machine { rented: ways.rented.clone(), ..Machine::default() };
        let kinds = ways.kinds();
        let count = u32::try_from(ways.promising()).unwrap_or(u32::MAX).max(1);
        let each = Bounds {
            time: share.link_time / (count * FLOWS),
            bytes: share.bytes / u64::from(count * FLOWS),
        };
        for kind in kinds {
            let way = match ways.open(kind).await {
                Ok(open) => self.measured(&mut ways, open, each).await,
                Err(shut) => {
                    let closed = if shut.was_tried { Closed::Failed } else { Closed::Absent };
                    let (place, reason) = (shut.place, shut.reason);
                    Way { kind, place, direct: false, reason, opened: Err(closed) }
                }
            };
            self.tell(&way);
            machine.ways.push(way);
        }
        let moved = machine.ways.iter().filter_map(|way| Some(way.opened.ok()?.moved));
        machine.moved = moved.fold(Rates::default(), |sum, of| Rates {
            up: sum.up + of.up,
            down: sum.down + of.down,
        });
        if machine.ways.iter().all(|way| way.opened.is_err()) {
            return Err(ways.nowhere());
        }
        let is_open = |way: &&Way| way.opened.is_ok_and(|measured| measured.round_trip.is_some());
        let open: Vec<_> = machine.ways.iter().filter(is_open).map(|way| way.kind).collect();
        if let Some((kind, because)) = ways.preferred(&open) {
            machine.taken = machine.ways.iter().position(|way| way.kind == kind);
            machine.taken_because = because;
        }
        let remote = &ways.remote;
        if remote.lets_itself_be_measured() {
            let facts = tokio::time::timeout(DISK_PATIENCE, remote.facts()).await;
            machine.facts = facts.ok().and_then(Result::ok);
        }
        machine.disk = self.disk_in_time(&**remote, location, share).await;
        remote.close().await;
        Ok(machine)
    }

    /// Measures a way that is open, and leaves it.
    async fn measured(&self, ways: &mut Ways, mut open: OpenWay, each: Bounds) -> Way {
        let mut measured = Measured::default();
        let outcome = if ways.remote.lets_itself_be_measured() {
            self.measure(ways, &mut open, each, &mut measured).await
        } else {
            open.reason.push_str("; its program is too old to be measured");
            Ok(())
        };
        if let Some(reading) = open.reading() {
            // Several streams fill queues that one leaves room in: what they lose is their own.
            measured.loss = measured.loss.or_else(|| reading.loss());
            measured.path_mtu = (reading.path_mtu > 0).then_some(reading.path_mtu);
        }
        let mut way = Way {
            kind: open.kind,
            place: open.place.clone(),
            direct: open.direct,
            reason: open.reason.clone(),
            opened: Ok(measured),
        };
        ways.leave(open);
        if let Err(error) = outcome {
            way.reason = format!("it was lost while it was measured: {error}");
            if measured.one.is_none() {
                way.opened = Err(Closed::Failed);
            }
        }
        way
    }

    async fn measure(
        &self,
        ways: &mut Ways,
        open: &mut OpenWay,
        each: Bounds,
        measured: &mut Measured,
    ) -> EndpointResult<()> {
        let (remote, clock) = (Arc::clone(&ways.remote), &*self.clock);
        let times = round_trips(&remote, clock, ROUND_TRIPS.0, ROUND_TRIPS.1).await?;
        measured.round_trip = middle_and_jitter(&times);
        let round_trip = measured.round_trip.map_or(Duration::ZERO, |(middle, _)| middle);
        let least = (round_trip * FLOW_ROUND_TRIPS).clamp(FLOW_TIME_MIN, FLOW_TIME_MAX);
        let bounds = Bounds { time: each.time.max(least), ..each };
        if bounds.bytes == 0 {
            return Ok(());
        }
        let one = self.both(&remote, round_trip, bounds, &mut measured.moved).await?;
        let lost = EndpointError::Lost(LostReason::Ended);
        if !ways.carries(open) {
            return Err(lost);
        }
        measured.one = Some(one);
        measured.loss = open.reading().and_then(|reading| reading.loss());
        let streams = ways.widen(open).await;
        if streams > 1 {
            let several = self.both(&remote, round_trip, bounds, &mut measured.moved).await?;
            if !ways.carries(open) {
                return Err(lost);
            }
            measured.several = Some((streams, several));
        }
        Ok(())
    }

    async fn both(
        &self,
        remote: &Arc<RemoteEndpoint>,
        round_trip: Duration,
        bounds: Bounds,
        moved: &mut Rates,
    ) -> EndpointResult<Rates> {
        let clock = &*self.clock;
        let up = session_flow(remote, clock, Direction::Up, round_trip, bounds).await?;
        moved.up += up.bytes;
        let down = session_flow(remote, clock, Direction::Down, round_trip, bounds).await?;
        moved.down += down.bytes;
        Ok(Rates { up: up.rate, down: down.rate })
    }

    /// The same as [`Self::disk`] of a far side that answers in time.
    async fn disk_in_time(
        &self,
        endpoint: &dyn Endpoint,
        location: &Location,
        share: Share,
    ) -> Result<Disk, String> {
        let limit = share.disk_time * 2 + DISK_PATIENCE;
        let looked = tokio::time::timeout(limit, self.disk(endpoint, location, share)).await;
        looked.unwrap_or_else(|_| Err("no answer came in time".to_owned()))
    }

    /// What is free below a location, and how fast its disk is where that may be tried.
    async fn disk(
        &self,
        endpoint: &dyn Endpoint,
        location: &Location,
        share: Share,
    ) -> Result<Disk, String> {
        let path = nearest(endpoint, &location.path).await.map_err(|error| error.to_string())?;
        let open = |access| endpoint.open_root(OpenRoot { path: path.clone(), access });
        let (root, refused) = match open(Access::Write).await {
            Ok(root) => (root, None),
            Err(refused) => match open(Access::Read).await {
                Ok(root) => (root, Some(refused)),
                Err(error) => return Err(story(&error)),
            },
        };
        let mut disk = Disk {
            path: root.path.clone(),
            space: root.space,
            rates: None,
            past_cache: false,
            refused: refused.as_ref().map(story),
        };
        if disk.refused.is_none() {
            try_disk(endpoint, &root, share, &mut disk).await;
        }
        Ok(disk)
    }

    fn tell(&self, way: &Way) {
        let decision = match way.opened {
            Ok(_) => return,
            Err(Closed::Failed) => RouteDecision::Failed,
            Err(Closed::Absent) => RouteDecision::Skipped,
        };
        let (place, reason) = (way.place.clone(), way.reason.clone());
        let trial = RouteTrial { kind: way.kind.name(), place, decision, reason };
        self.observer.observe(&Event::RouteTrial(trial));
    }

    pub(super) fn notice(&self, notice: &str) {
        self.observer.observe(&Event::Notice(notice.to_owned()));
    }
}

/// The directory itself, or the nearest above that is there.
async fn nearest(endpoint: &dyn Endpoint, path: &[u8]) -> EndpointResult<Vec<u8>> {
    let mut path = path.to_vec();
    loop {
        let found = endpoint.locate(Locate { path: path.clone(), expand: false }).await?;
        let kind = found.first().and_then(|located| located.kind);
        if matches!(kind, Some(LocatedKind::Directory | LocatedKind::DirectoryLink)) {
            return Ok(path);
        }
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        path = match path.iter().rposition(|&byte| byte == b'/') {
            _ if path.is_empty() || path == b"/" => return Ok(path),
            Some(0) => b"/".to_vec(),
            Some(slash) => path[..slash].to_vec(),
            None => Vec::new(),
        };
    }
}

async fn try_disk(endpoint: &dyn Endpoint, root: &Root, share: Share, disk: &mut Disk) {
    let millis = (share.disk_time / OF_DISK_TIME).as_millis().clamp(1, 10_000);
    let millis = u32::try_from(millis).unwrap_or(1);
    let trial = TryDisk { root: root.index, bytes: TRIAL_DISK_BYTES_MAX, millis };
    match endpoint.try_disk(trial).await {
        Ok(tried) if tried.written > 0 && tried.read > 0 => {
            disk.rates = Some(Rates {
                up: rate(tried.written, tried.write_micros),
                down: rate(tried.read, tried.read_micros),
            });
            disk.past_cache = tried.past_cache;
        }
        Ok(_) => disk.refused = Some("too little is free there".to_owned()),
        Err(error) => disk.refused = Some(story(&error)),
    }
}

fn rate(bytes: u64, micros: u64) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / u128::from(micros.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Why, without the path of an entry that nobody asked about.
fn story(error: &EndpointError) -> String {
    match error {
        EndpointError::Fault(fault) if fault.kind == FaultKind::Unsupported => {
            "nothing can be tried there".to_owned()
        }
        EndpointError::Fault(fault) => fault.story().to_string(),
        other => other.to_string(),
    }
}
