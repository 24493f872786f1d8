//! Errands: requests of HTTP that the controller signed, made by this machine's own link.
//!
//! What signs a request is in it and nowhere else: nothing of its address, its headers or its
//! answer is shown, and no redirection takes it elsewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::sync::OnceCell;
use xfer_protocol::digest::{Digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::errand::{
    Carried, CarriedMethod, Carry, CarryProblem, CarryProblemKind, Gather, Gathered, Head, Keeping,
};
use xfer_protocol::message::passage::{ForwardedRead, ParcelIndex};
use xfer_protocol::path::RelPath;

use super::stock::{Parcel, Stock};
use crate::endpoint::checksum::crc;
use crate::endpoint::{EndpointResult, Source};
use crate::transport::web::{Web, WebAnswer, WebError, WebRequest};

/// Bytes that are kept at most: the largest part that is collected, and what is on its way beside.
const KEPT_BYTES_MAX: u64 = limits::CARRIED_BYTES_MAX;

/// The least silence after which a request is given up.
const STALL_MIN: Duration = Duration::from_secs(1);

/// Headers that say how a request lies on its connection, which is decided here.
const OURS: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// The errands of one session.
pub(super) struct Errands {
    /// Made by the first request: the roots that it believes are many files.
    web: OnceCell<Web>,
    stock: Stock,
}

impl Errands {
    pub(super) fn new() -> Self {
        Self { web: OnceCell::new(), stock: Stock::new(KEPT_BYTES_MAX) }
    }

    /// Reads as the controller asks, and keeps what was read.
    pub(super) async fn gather<E: Source>(
        &self,
        endpoint: &E,
        gather: Gather,
    ) -> EndpointResult<Gathered> {
        let length = match &gather.read {
            ForwardedRead::Block(read) => read.range.len(),
            ForwardedRead::Pack(files) => files.files.iter().map(|(_, stamp)| stamp.size).sum(),
        };
        let room = self.stock.room(length).await.ok_or_else(over)?;
        let (gathered, payload) = match gather.read {
            ForwardedRead::Block(read) => {
                let (digests, payload) = endpoint.read_block(read).await?;
                let bytes = payload.clone();
                let crc = worked(move || crc(&bytes)).await.ok_or_else(over)?;
                (Gathered::Block { digests, crc }, payload)
            }
            ForwardedRead::Pack(files) => {
                let (reads, payload) = endpoint.read_pack(files).await?;
                let sizes: Vec<_> =
                    reads.iter().map(|read| read.as_ref().map_or(0, |read| read.size)).collect();
                let bytes = payload.clone();
                let sums = worked(move || sums(&bytes, &sizes)).await.ok_or_else(over)?;
                (Gathered::Pack(reads.into_iter().zip(sums).collect()), payload)
            }
        };
        if !payload.is_empty() {
            self.stock.keep(gather.parcel, payload, room);
        }
        Ok(gathered)
    }

    /// Makes one request.
    pub(super) async fn carry(&self, carry: Carry) -> Carried {
        let carried = self.carried(carry).await;
        carried.unwrap_or_else(|problem| Carried {
            outcome: Err(problem),
            digests: Vec::new(),
            crc: None,
        })
    }

    async fn carried(&self, carry: Carry) -> Result<Carried, CarryProblem> {
        let (keep, stall) = (carry.keep, Duration::from_secs(carry.stall.into()).max(STALL_MIN));
        let lent = self.stock.lend(&carry.body);
        let lent = lent.ok_or_else(|| told(CarryProblemKind::NoParcel, "a parcel is not here"))?;
        let room = match keep {
            Some(keep) => self.stock.room(keep.length).await,
            None => None,
        };
        let web = self.web.get_or_try_init(|| async { Web::guarded(stall) }).await;
        let web = web.map_err(problem)?.patient_for(stall);
        let request = request(carry)?;
        let answer = web.ask_with(request, lent.pieces.clone()).await.map_err(problem)?;
        let mut head = Head { status: answer.status, headers: headers(&answer), body: Vec::new() };
        let (Some(keep), Some(room), 200 | 206) = (keep, room, head.status) else {
            let body = answer.first(limits::CARRIED_BODY_BYTES_MAX).await.map_err(problem)?;
            head.body = body.to_vec();
            return Ok(Carried { outcome: Ok(head), digests: Vec::new(), crc: None });
        };
        let length = usize::try_from(keep.length).unwrap_or(usize::MAX);
        let payload = answer.exactly(length).await.map_err(problem)?;
        let bytes = payload.clone();
        let proven = worked(move || prove(keep, &bytes)).await.flatten();
        let unproven = || told(CarryProblemKind::Unusable, "its bytes could not be hashed");
        let (digests, crc) = proven.ok_or_else(unproven)?;
        self.stock.keep(keep.parcel, payload, room);
        Ok(Carried { outcome: Ok(head), digests, crc: Some(crc) })
    }

    /// Gives a parcel up.
    pub(super) fn take(&self, index: ParcelIndex) -> Option<Arc<Parcel>> {
        self.stock.take(index)
    }
}

/// Does what takes a processor long, beside the streams.
async fn worked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// The checksum of each file of a pack; 0 for one without bytes here.
fn sums(bytes: &[u8], sizes: &[u64]) -> Vec<u64> {
    let mut rest = bytes;
    let sum = |&size: &u64| {
        let (file, behind) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        rest = behind;
        Some(crc(file))
    };
    sizes.iter().map(sum).map(Option::unwrap_or_default).collect()
}

fn prove(keep: Keeping, bytes: &[u8]) -> Option<(Vec<Digest>, u64)> {
    Some((range_digests(keep.start, bytes, keep.size)?, crc(bytes)))
}

fn request(carry: Carry) -> Result<WebRequest, CarryProblem> {
    let method = match carry.method {
        CarriedMethod::Get => Method::GET,
        CarriedMethod::Put => Method::PUT,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &carry.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let pair = name.ok().zip(HeaderValue::from_str(value).ok());
        let unusable = || told(CarryProblemKind::Unusable, "a header cannot be read");
        let (name, mut value) = pair.ok_or_else(unusable)?;
        value.set_sensitive(true);
        if !OURS.contains(&name) {
            headers.append(name, value);
        }
    }
    Ok(WebRequest { method, address: carry.address, headers, body: Bytes::new() })
}

/// An answer's headers, as far as they may be told.
fn headers(answer: &WebAnswer) -> Vec<(String, String)> {
    let fits = |text: &str| text.len() <= limits::CARRIED_HEADER_BYTES_MAX;
    let headers = answer.headers.iter().filter_map(|(name, value)| {
        let (name, value) = (name.as_str(), value.to_str().ok()?);
        (fits(name) && fits(value)).then(|| (name.to_owned(), value.to_owned()))
    });
    headers.take(limits::CARRIED_HEADERS_MAX).collect()
}

fn problem(error: WebError) -> CarryProblem {
    use CarryProblemKind as Kind;
    match error {
        WebError::Unreached { reason, .. } => told(Kind::Unreached, &reason),
        WebError::Untrusted { reason, .. } => told(Kind::Untrusted, &reason),
        WebError::Broken { reason, .. } => told(Kind::Broken, &reason),
        WebError::TimedOut { after, .. } => {
            told(Kind::TimedOut, &format!("nothing came for {} s", after.as_secs()))
        }
        WebError::Length { expected, came, .. } => {
            told(Kind::Length, &format!("{came} bytes came where {expected} are due"))
        }
        WebError::Unusable(reason) => told(Kind::Unusable, reason),
    }
}

/// What whoever answered wrote may be part of a reason, so it is cut to what a reply may hold.
fn told(kind: CarryProblemKind, reason: &str) -> CarryProblem {
    let plain = reason.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut reason = String::new();
    for c in plain {
        if reason.len() + c.len_utf8() > limits::CARRIED_REASON_BYTES_MAX {
            break;
        }
        reason.push(c);
    }
    CarryProblem { kind, reason }
}

/// What a session is told that is over by then.
fn over() -> Fault {
    Fault::new(FaultKind::Limit, Operation::Read, RelPath::root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_its_reply() {
        let long = told(CarryProblemKind::Broken, &"\u{1b}ä".repeat(1000));
        assert!(long.reason.len() <= 1024 && long.reason.len() > 1020);
        assert!(long.reason.starts_with("\u{fffd}ä\u{fffd}"));
    }

    #[test]
    fn each_file_of_a_pack_has_its_own_sum() {
        assert_eq!(sums(b"123456789", &[0, 9, 0]), [0, 0xae8b_1486_0a79_9888, 0]);
        assert_eq!(sums(b"12", &[1, 1]), [crc(b"1"), crc(b"2")]);
        assert_eq!(sums(b"1", &[2, 1]), [0, crc(b"1")], "bytes that are not there have none");
    }
}
