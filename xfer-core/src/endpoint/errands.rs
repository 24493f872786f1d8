//! What a far machine does for an endpoint that is here: it asks stores and public places by its
//! own link, with requests that were made here one by one, and keeps what it reads and what comes
//! until that is written.
//!
//! Whatever allows a request is good for that request and for a short time; keys stay here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::runtime::Handle;
use xfer_protocol::digest::Digest;
use xfer_protocol::message::errand::{
    Carried, CarriedMethod, Carry, CarryProblem, CarryProblemKind, Gather, Gathered, Head, Keeping,
    Slice,
};
use xfer_protocol::message::passage::{ForwardedRead, ParcelIndex};
use xfer_protocol::path::Escaped;
use xfer_protocol::range::ByteRange;

use super::{EndpointError, EndpointResult, ProtocolReason};
use crate::transport::web::{WebError, WebRequest};

/// Characters of what a far machine says that are shown.
const REASON_MAX: usize = 200;

/// A machine that runs errands.
#[async_trait]
pub trait Errands: Send + Sync {
    /// Has it read, and keep what it read.
    async fn gather(&self, gather: Gather) -> EndpointResult<Gathered>;

    /// Has it make one request.
    async fn carry(&self, carry: Carry) -> EndpointResult<Carried>;

    /// Has it give up what it keeps; what it does not keep is no error.
    async fn dispose(&self, parcels: Vec<ParcelIndex>) -> EndpointResult<()>;
}

/// One machine's errands, and what it keeps by number.
pub struct Porter {
    machine: Arc<dyn Errands>,
    /// How the machine is called.
    place: String,
    stall: Duration,
    next: AtomicU64,
}

impl fmt::Debug for Porter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Porter({})", self.place)
    }
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// The machine itself is out of reach, or broke the protocol.
    Machine(EndpointError),
    /// What was to be written is kept no longer.
    Unkept,
    /// What was asked did not answer whole.
    Web(WebError),
}

/// An answer that came to the machine.
#[derive(Clone)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it was neither kept nor too long.
    pub body: Bytes,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answered({}, {} bytes)", self.status, self.body.len())
    }
}

/// Bytes that the machine keeps, given up when this is dropped.
pub struct Kept {
    porter: Arc<Porter>,
    index: ParcelIndex,
    is_spent: AtomicBool,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({}, {:?})", self.index.0, self.porter)
    }
}

impl Kept {
    /// What names it there.
    #[must_use]
    pub fn index(&self) -> ParcelIndex {
        self.index
    }

    /// What names it there, for a request that gives it up by itself.
    #[must_use]
    pub fn spent(&self) -> ParcelIndex {
        self.is_spent.store(true, Ordering::Relaxed);
        self.index
    }

    /// Who runs the errands of the machine that keeps it.
    #[must_use]
    pub fn porter(&self) -> &Arc<Porter> {
        &self.porter
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_spent.load(Ordering::Relaxed) {
            return;
        }
        // What nobody can be told goes with the session.
        if let Ok(handle) = Handle::try_current() {
            let (machine, parcels) = (Arc::clone(&self.porter.machine), vec![self.index]);
            handle.spawn(async move { drop(machine.dispose(parcels).await) });
        }
    }
}

impl Porter {
    /// Runs the errands of a machine that is called `place`; silence of `stall` ends a request.
    #[must_use]
    pub fn new(machine: Arc<dyn Errands>, place: String, stall: Duration) -> Arc<Self> {
        Arc::new(Self { machine, place, stall, next: AtomicU64::new(0) })
    }

    /// Has the machine read, and keep what it read.
    pub async fn gather(
        self: &Arc<Self>,
        read: ForwardedRead,
    ) -> EndpointResult<(Gathered, Arc<Kept>)> {
        let kept = self.keeping();
        let gathered = self.machine.gather(Gather { parcel: kept.index, read }).await?;
        Ok((gathered, kept))
    }

    /// Has the machine make a request whose answer is short, with what it keeps as the body.
    ///
    /// # Errors
    /// As [`Unserved`] says.
    pub async fn ask(
        self: &Arc<Self>,
        request: WebRequest,
        body: Vec<Slice>,
    ) -> Result<Answered, Unserved> {
        let host = self.host_of(&request);
        let carry = self.carry(request, body, None)?;
        let carried = self.machine.carry(carry).await.map_err(Unserved::Machine)?;
        answered(carried.outcome, host, self.stall)
    }

    /// Has the machine ask for a range of a file of `size` bytes, and keep it where that is the
    /// answer; the digests are of its aligned spans.
    ///
    /// # Errors
    /// As [`Unserved`] says.
    pub async fn fetch(
        self: &Arc<Self>,
        request: WebRequest,
        range: ByteRange,
        size: u64,
    ) -> Result<(Answered, Vec<Digest>, Arc<Kept>), Unserved> {
        let (host, kept) = (self.host_of(&request), self.keeping());
        let (length, start) = (range.len(), range.start());
        let keep = Keeping { parcel: kept.index, length, start, size };
        let carry = self.carry(request, Vec::new(), Some(keep))?;
        let carried = self.machine.carry(carry).await.map_err(Unserved::Machine)?;
        let answered = answered(carried.outcome, host, self.stall)?;
        Ok((answered, carried.digests, kept))
    }

    fn keeping(self: &Arc<Self>) -> Arc<Kept> {
        let index = ParcelIndex(self.next.fetch_add(1, Ordering::Relaxed));
        Arc::new(Kept { porter: Arc::clone(self), index, is_spent: AtomicBool::new(false) })
    }

    fn carry(
        &self,
        request: WebRequest,
        body: Vec<Slice>,
        keep: Option<Keeping>,
    ) -> Result<Carry, Unserved> {
        let unusable = || Unserved::Web(WebError::Unusable("no other machine can ask that"));
        let method = match request.method {
            Method::GET => CarriedMethod::Get,
            Method::PUT => CarriedMethod::Put,
            _ => return Err(unusable()),
        };
        let headers = request.headers.iter().map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let headers = headers.collect::<Option<Vec<_>>>().ok_or_else(unusable)?;
        let stall = u16::try_from(self.stall.as_secs()).unwrap_or(u16::MAX).max(1);
        Ok(Carry { method, address: request.address, headers, body, keep, stall })
    }

    /// Whom an error names.
    fn host_of(&self, request: &WebRequest) -> String {
        let address = request.address.parse::<http::Uri>().ok();
        let host = address.as_ref().and_then(|address| address.authority());
        let host = host.map_or("", |host| host.as_str().rsplit('@').next().unwrap_or_default());
        format!("{host}, asked by {}", self.place)
    }
}

fn answered(
    outcome: Result<Head, CarryProblem>,
    host: String,
    stall: Duration,
) -> Result<Answered, Unserved> {
    let head = match outcome {
        Ok(head) => head,
        Err(problem) => return Err(unserved(&problem, host, stall)),
    };
    let broken = || Unserved::Machine(EndpointError::Protocol(ProtocolReason::Mismatched));
    if !(100..600).contains(&head.status) {
        return Err(broken());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in head.headers {
        let name = HeaderName::try_from(name).map_err(|_| broken())?;
        headers.append(name, HeaderValue::try_from(value).map_err(|_| broken())?);
    }
    Ok(Answered { status: head.status, headers, body: head.body.into() })
}

fn unserved(problem: &CarryProblem, host: String, after: Duration) -> Unserved {
    let reason: String = problem.reason.chars().take(REASON_MAX).collect();
    let reason = Escaped(reason.as_bytes()).to_string();
    Unserved::Web(match problem.kind {
        CarryProblemKind::NoParcel => return Unserved::Unkept,
        CarryProblemKind::Unreached => WebError::Unreached { host, reason },
        CarryProblemKind::Untrusted => WebError::Untrusted { host, reason },
        CarryProblemKind::TimedOut => WebError::TimedOut { host, after },
        CarryProblemKind::Unusable => WebError::Unusable("the machine refuses that request"),
        CarryProblemKind::Broken | CarryProblemKind::Length => WebError::Broken { host, reason },
    })
}
