//! What is reached by requests alone: buckets, and public files.
//!
//! A bucket gets an upload that is never completed, and public files give ranges of one. Nothing of
//! either stays, also when the look is stopped in the middle.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use xfer_protocol::range::ByteRange;

use super::link::{Bounds, Flow, Pieces, flow, middle_and_jitter};
use super::machine::{FLOW_TIME_MIN, ROUND_TRIPS};
use super::{Looker, Machine, Measured, Rates, Share, Way};
use crate::connect::{Asked, WayKind};
use crate::endpoint::object::store::{Store, StoreResult, UploadId};
use crate::endpoint::object::trial::{PIECE_MAX, Trial};
use crate::endpoint::web::WebEndpoint;
use crate::location::Location;

/// A request has a cost of its own, so pieces are larger and more is on its way than in a session.
const OF_REQUESTS: Pieces = Pieces {
    bytes: (256 << 10, PIECE_MAX),
    lasts: Duration::from_millis(250),
    window: (1 << 20, 128 << 20),
    window_lasts: Duration::from_secs(2),
};

/// Bytes of a file of which a rate is told: what is smaller measures the delay once more.
const READ_MIN: u64 = 256 << 10;

/// How long a request may take that carries nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Directions of payload.
const DIRECTIONS: u32 = 2;

/// An upload that means nothing, for whoever ends or stops the look to take back.
#[derive(Clone, Default)]
pub(super) struct Leftover(Arc<Mutex<Option<Begun>>>);

struct Begun {
    trial: Arc<Trial>,
    upload: UploadId,
}

impl Leftover {
    async fn begin(&self, trial: &Arc<Trial>) -> Result<UploadId, String> {
        let (slot, trial) = (Arc::clone(&self.0), Arc::clone(trial));
        // It goes on when the look is stopped: only what is known can be taken back.
        let beginning = tokio::spawn(async move {
            let mut slot = slot.lock().await;
            let upload = trial.begin().await?;
            *slot = Some(Begun { trial, upload: upload.clone() });
            Ok(upload)
        });
        let ended: StoreResult<_> = in_time(beginning).await?;
        ended.map_err(|error| error.to_string())
    }

    /// Takes back what is left, and tells what stays, and why.
    pub(super) async fn take_back(&self) -> Result<(), String> {
        let patiently = async {
            let mut slot = self.0.lock().await;
            if let Some(Begun { trial, upload }) = &*slot {
                let back = trial.take_back(upload).await;
                back.map_err(|error| format!("the upload of {}: {error}", trial.key()))?;
            }
            *slot = None;
            Ok(())
        };
        let patiently = tokio::time::timeout(PATIENCE, patiently);
        patiently.await.unwrap_or_else(|_| Err("an upload: no answer came in time".to_owned()))
    }
}

/// What is found out about one place.
struct Look {
    kind: WayKind,
    address: String,
    measured: Measured,
    rates: Rates,
    at_once: usize,
    unmeasured: Vec<String>,
}

impl Looker {
    /// Looks at what requests alone reach.
    pub(super) async fn asked(
        &self,
        asked: Asked<'_>,
        location: &Location,
        share: Share,
    ) -> Machine {
        let bounds = Bounds {
            time: (share.link_time / DIRECTIONS).max(FLOW_TIME_MIN),
            bytes: share.bytes / u64::from(DIRECTIONS),
        };
        match asked {
            Asked::Store(store) => {
                let store = Arc::clone(store) as Arc<dyn Store>;
                self.bucket(store, location, bounds).await
            }
            Asked::Web(endpoint) => self.public(endpoint, location, bounds).await,
        }
    }

    async fn bucket(&self, store: Arc<dyn Store>, location: &Location, bounds: Bounds) -> Machine {
        let address = store.address().unwrap_or_else(|| store.name()).to_owned();
        let mut look = Look::new(WayKind::Store, address);
        let beside = ("free space", "a bucket has no end that it would tell");
        let Some(trial) = Trial::new(store, &location.path, self.connector.unique()) else {
            let why = "round trip, upload and download: no key has this path".to_owned();
            look.unmeasured.push(why);
            return look.machine(beside);
        };
        let trial = Arc::new(trial);
        let ask = || {
            let trial = Arc::clone(&trial);
            async move { trial.ask().await }
        };
        let asked = self.round_trips(ask).await;
        let round_trip = look.round_trip(asked);
        let up = self.upload(&trial, round_trip, bounds).await;
        if let Err(stays) = self.leftover.take_back().await {
            self.notice(&stays_behind(&stays));
        }
        look.flowed("upload", up, |measured, rates, flow| {
            (rates.up, measured.moved.up) = (flow.rate, flow.bytes);
        });
        let down = self.download(&trial, round_trip, bounds).await;
        look.read(down);
        look.machine(beside)
    }

    async fn upload(
        &self,
        trial: &Arc<Trial>,
        round_trip: Duration,
        bounds: Bounds,
    ) -> Result<Flow, String> {
        if !trial.takes_back() {
            return Err("this store keeps what is not completed, so nothing is sent".to_owned());
        }
        may_move(bounds)?;
        let upload = self.leftover.begin(trial).await?;
        let mut number = 0;
        let put = |length| {
            number += 1;
            let (trial, upload, number) = (Arc::clone(trial), upload.clone(), number);
            async move { trial.put(&upload, number, length).await }
        };
        let flowed = flow(&*self.clock, OF_REQUESTS, round_trip, bounds, put).await;
        flowed.map_err(|error| error.to_string())
    }

    async fn download(
        &self,
        trial: &Arc<Trial>,
        round_trip: Duration,
        bounds: Bounds,
    ) -> Result<Flow, String> {
        may_move(bounds)?;
        let largest = in_time(trial.largest()).await?;
        let (key, size) = largest.ok_or_else(|| "no object is there to be read".to_owned())?;
        let get = |range| {
            let (trial, key) = (Arc::clone(trial), key.clone());
            async move { trial.get(&key, range).await }
        };
        self.ranges(size, round_trip, bounds, get).await
    }

    async fn public(&self, endpoint: &WebEndpoint, location: &Location, bounds: Bounds) -> Machine {
        let mut look = Look::new(WayKind::Web, endpoint.address());
        let beside = ("upload", "nothing can be written there");
        let Some(trial) = endpoint.trial(&location.path) else {
            let why = "round trip and download: no file is there of which ranges can be read";
            look.unmeasured.push(why.to_owned());
            return look.machine(beside);
        };
        let trial = Arc::new(trial);
        let get = |range| {
            let trial = Arc::clone(&trial);
            async move { trial.get(range).await }
        };
        let asked = match ByteRange::new(0, 1) {
            Ok(first) => self.round_trips(|| get(first)).await,
            Err(_) => Ok(Vec::new()),
        };
        let round_trip = look.round_trip(asked);
        let down = match may_move(bounds) {
            Ok(()) => self.ranges(trial.size(), round_trip, bounds, get).await,
            Err(why) => Err(why),
        };
        look.read(down);
        look.machine(beside)
    }

    /// Times requests that carry next to nothing.
    async fn round_trips<W, E: Display>(&self, ask: impl Fn() -> W) -> Result<Vec<Duration>, String>
    where
        W: Future<Output = Result<(), E>>,
    {
        let (count, time) = ROUND_TRIPS;
        let (began, mut found) = (self.clock.elapsed(), Vec::new());
        while found.is_empty() || found.len() < count && self.clock.elapsed() - began < time {
            let asked = self.clock.elapsed();
            in_time(ask()).await?;
            found.push(self.clock.elapsed().saturating_sub(asked));
        }
        Ok(found)
    }

    /// Reads a file of that size from its beginning, no byte twice.
    async fn ranges<W, E: Display>(
        &self,
        size: u64,
        round_trip: Duration,
        bounds: Bounds,
        get: impl Fn(ByteRange) -> W,
    ) -> Result<Flow, String>
    where
        W: Future<Output = Result<(), E>>,
    {
        if size < READ_MIN {
            return Err(format!("the largest file that is there has {size} bytes, too few"));
        }
        let mut next = 0;
        let pass = |length| {
            let range = ByteRange::new(next, next + u64::from(length));
            next += u64::from(length);
            let got = range.ok().map(&get);
            async move {
                match got {
                    Some(got) => got.await,
                    None => Ok(()),
                }
            }
        };
        let bounds = Bounds { bytes: bounds.bytes.min(size), ..bounds };
        let flowed = flow(&*self.clock, OF_REQUESTS, round_trip, bounds, pass).await;
        flowed.map_err(|error| error.to_string())
    }
}

impl Look {
    fn new(kind: WayKind, address: String) -> Self {
        let (measured, rates) = (Measured::default(), Rates::default());
        Self { kind, address, measured, rates, at_once: 0, unmeasured: Vec::new() }
    }

    /// The middle round trip, or none.
    fn round_trip(&mut self, asked: Result<Vec<Duration>, String>) -> Duration {
        match asked {
            Ok(times) => self.measured.round_trip = middle_and_jitter(&times),
            Err(why) => self.unmeasured.push(format!("round trip: {why}")),
        }
        self.measured.round_trip.map_or(Duration::ZERO, |(middle, _)| middle)
    }

    fn read(&mut self, flowed: Result<Flow, String>) {
        self.flowed("download", flowed, |measured, rates, flow| {
            (rates.down, measured.moved.down) = (flow.rate, flow.bytes);
        });
    }

    fn flowed(
        &mut self,
        what: &str,
        flowed: Result<Flow, String>,
        take: impl FnOnce(&mut Measured, &mut Rates, Flow),
    ) {
        let why = match flowed {
            Ok(flow) => {
                take(&mut self.measured, &mut self.rates, flow);
                self.at_once = self.at_once.max(flow.at_once);
                if flow.rate > 0 {
                    return;
                }
                "nothing arrived in time".to_owned()
            }
            Err(why) => why,
        };
        self.unmeasured.push(format!("{what}: {why}"));
    }

    /// What is told at last, and why it is not known, which is why no disk is.
    fn machine(self, (what, why): (&str, &str)) -> Machine {
        let Self { kind, address, mut measured, rates, at_once, mut unmeasured } = self;
        let is_any = rates != Rates::default();
        measured.several = is_any.then_some((at_once, rates));
        unmeasured.push(format!("{what}: {why}"));
        let reason = format!("asked at {address}");
        let way = Way { kind, place: address, direct: true, reason, opened: Ok(measured) };
        Machine {
            moved: measured.moved,
            ways: vec![way],
            taken: Some(0),
            taken_because: "it is the only one".to_owned(),
            disk: Err(why.to_owned()),
            unmeasured,
            ..Machine::default()
        }
    }
}

/// What the user should know of an upload that could not be taken back.
pub(super) fn stays_behind(stays: &str) -> String {
    format!("what was sent to measure could not be removed, and may cost until it is: {stays}")
}

fn may_move(bounds: Bounds) -> Result<(), String> {
    match bounds.bytes {
        0 => Err("no bytes may be moved".to_owned()),
        _ => Ok(()),
    }
}

async fn in_time<T, E: Display>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(ended) => ended.map_err(|error| error.to_string()),
        Err(_) => Err("no answer came in time".to_owned()),
    }
}
