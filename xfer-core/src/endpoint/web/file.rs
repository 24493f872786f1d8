//! One public file: its ranges, each of the state that was seen first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, Stamp, Timestamp};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::check::{Check, Gap, Proof};
use super::fetch::{Fetched, Fetcher};
use super::problem::WebProblem;
use super::sequence::Sequence;
use super::there::Given;
use crate::transport::address::Address;
use crate::transport::web::WebAnswer;

/// Permission bits of a file.
const MODE: u32 = 0o644;

/// Bytes that are read again at once where a digest lacks them.
const GAP_BYTES: u64 = 4 << 20;

/// What holds a file to one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// A strong entity tag.
    ETag(HeaderValue),
    /// The moment of its last change.
    Modified(HeaderValue),
    /// Its content, whose digest is known.
    Content,
    /// Nothing: only one answer is of one state.
    Nothing,
}

/// A public file.
pub(super) struct RemoteFile {
    pub(super) path: RelPath,
    pub(super) address: Address,
    /// `None` where nobody tells.
    pub(super) size: Option<u64>,
    pub(super) modified: Timestamp,
    pub(super) pin: Pin,
    /// Another number for another state.
    pub(super) identity: u64,
    /// Where it was found last.
    found_at: Mutex<Option<Address>>,
    has_ranges: AtomicBool,
    sequence: tokio::sync::Mutex<Sequence>,
    check: Option<Arc<Mutex<Check>>>,
    pub(super) given: Given,
}

/// What is known of a file.
pub(super) struct Known {
    pub(super) size: Option<u64>,
    pub(super) modified: Timestamp,
    pub(super) pin: Pin,
    pub(super) has_ranges: bool,
    pub(super) proof: Option<Proof>,
}

impl RemoteFile {
    pub(super) fn new(path: RelPath, address: Address, known: Known) -> Self {
        let Known { size, modified, pin, has_ranges, proof } = known;
        let mut hasher = blake3::Hasher::new();
        hasher.update(path.as_bytes()).update(b"\0");
        match (&pin, &proof) {
            (Pin::ETag(tag) | Pin::Modified(tag), _) => hasher.update(tag.as_bytes()),
            (_, Some(proof)) => hasher.update(proof.bytes()),
            (Pin::Content | Pin::Nothing, None) => hasher.update(b""),
        };
        let identity = hasher.finalize();
        let identity = identity.as_bytes().first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let check = proof.zip(size);
        let check = check.map(|(proof, size)| Arc::new(Mutex::new(Check::new(proof, size))));
        Self {
            path,
            address,
            size,
            modified,
            pin,
            identity,
            found_at: Mutex::default(),
            // What nothing pins is read in one answer.
            has_ranges: AtomicBool::new(has_ranges),
            sequence: tokio::sync::Mutex::default(),
            check,
            given: Given::default(),
        }
    }

    /// Whether it is read in any order; in one answer from its beginning otherwise.
    pub(super) fn has_ranges(&self) -> bool {
        self.has_ranges.load(Ordering::Relaxed) && self.pin != Pin::Nothing
    }

    /// As a scan lists it; `None` where its size is not known.
    pub(super) fn entry(&self) -> Option<Entry> {
        let size = self.size?;
        Some(Entry {
            path: self.path.clone(),
            kind: EntryKind::File { size, allocated: size },
            metadata: Metadata { mode: MODE, modified: self.modified, ..Metadata::default() },
            inode: Inode { number: self.identity, links: 1, ..Inode::default() },
        })
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.entry().map(|entry| entry.stamp())
    }

    /// Bytes of it, as often tried as that helps; checked as far as they can be by now.
    pub(super) async fn read(
        self: &Arc<Self>,
        fetcher: &Fetcher,
        range: ByteRange,
    ) -> Result<Bytes, WebProblem> {
        let bytes = self.bytes(fetcher, range).await?;
        let mut gap = self.checked(range.start(), Bytes::clone(&bytes)).await?;
        while let Gap::Lacks(lacking) = gap {
            let end = lacking.end().min(lacking.start() + GAP_BYTES);
            let part = ByteRange::new(lacking.start(), end)
                .map_err(|_| WebProblem::Unusable("an empty gap"))?;
            let again = self.bytes(fetcher, part).await?;
            gap = self.checked(part.start(), again).await?;
        }
        Ok(bytes)
    }

    /// All of a small file, checked by itself.
    pub(super) async fn read_whole(&self, fetcher: &Fetcher) -> Result<Bytes, WebProblem> {
        let Some(range) = self.size.and_then(ByteRange::whole) else { return Ok(Bytes::new()) };
        let bytes = self.bytes(fetcher, range).await?;
        let Some(check) = &self.check else { return Ok(bytes) };
        let proof = check.lock().unwrap_or_else(PoisonError::into_inner).proof();
        let whole = Bytes::clone(&bytes);
        let is_equal = tokio::task::spawn_blocking(move || proof.proves(&whole)).await;
        match is_equal {
            Ok(true) => Ok(bytes),
            Ok(false) => Err(WebProblem::Mismatch),
            Err(_) => Err(WebProblem::Unusable("the check did not end")),
        }
    }

    async fn checked(&self, start: u64, bytes: Bytes) -> Result<Gap, WebProblem> {
        let Some(check) = self.check.as_ref().map(Arc::clone) else { return Ok(Gap::Nothing) };
        let feed = move || {
            let mut check = check.lock().unwrap_or_else(PoisonError::into_inner);
            check.feed(start, &bytes)
        };
        let fed = tokio::task::spawn_blocking(feed).await;
        fed.map_err(|_| WebProblem::Unusable("the check did not end"))?
    }

    async fn bytes(&self, fetcher: &Fetcher, range: ByteRange) -> Result<Bytes, WebProblem> {
        let mut tries = fetcher.tries();
        while self.has_ranges() {
            let slot = fetcher.slot().await;
            let tried = self.range(fetcher, range).await;
            drop(slot);
            match tried {
                Ok(bytes) => return Ok(bytes),
                Err(WebProblem::NoRanges) => self.has_ranges.store(false, Ordering::Relaxed),
                Err(problem) => tries.after(problem).await?,
            }
        }
        let mut sequence = self.sequence.lock().await;
        loop {
            match sequence.read(self, fetcher, range).await {
                Ok(bytes) => return Ok(bytes),
                Err(problem) => {
                    sequence.shut();
                    tries.after(problem).await?;
                }
            }
        }
    }

    /// One range in one request.
    pub(super) async fn range(
        &self,
        fetcher: &Fetcher,
        range: ByteRange,
    ) -> Result<Bytes, WebProblem> {
        let answer = self.fetch(fetcher, &self.asking(range)?).await?.answer;
        self.check_part(answer.status, &answer.headers, range)?;
        let length = usize::try_from(range.len());
        let length = length.map_err(|_| WebProblem::Unusable("the range is too long"))?;
        Ok(answer.exactly(length).await?)
    }

    /// The headers that ask for one range of the state that was seen first.
    pub(super) fn asking(&self, range: ByteRange) -> Result<HeaderMap, WebProblem> {
        let mut headers = HeaderMap::new();
        let (first, last) = (range.start(), range.end() - 1);
        let asked = HeaderValue::from_str(&format!("bytes={first}-{last}"));
        headers.insert(RANGE, asked.map_err(|_| WebProblem::Unusable("no header of a range"))?);
        if let Pin::ETag(value) | Pin::Modified(value) = &self.pin {
            headers.insert(IF_RANGE, HeaderValue::clone(value));
        }
        Ok(headers)
    }

    /// Whether an answer is of that range, and of that state.
    pub(super) fn check_part(
        &self,
        status: u16,
        headers: &HeaderMap,
        range: ByteRange,
    ) -> Result<(), WebProblem> {
        self.check_state(status, headers)?;
        if status != 206 {
            return Err(WebProblem::NoRanges);
        }
        self.check_range(headers, range)
    }

    /// Whether somebody tells a digest of all of it.
    pub(super) fn is_proven(&self) -> bool {
        self.check.is_some()
    }

    /// The whole file, from its beginning.
    pub(super) async fn open(&self, fetcher: &Fetcher) -> Result<WebAnswer, WebProblem> {
        let answer = self.fetch(fetcher, &HeaderMap::new()).await?.answer;
        self.check_state(answer.status, &answer.headers)?;
        let told = length(&answer.headers);
        if answer.status != 200 {
            return Err(WebProblem::Nonsense(format!("status {} to no range", answer.status)));
        }
        if told.is_some() && told != self.size {
            return Err(WebProblem::Changed);
        }
        Ok(answer)
    }

    /// Asks where it was found last, and where it is told to be once that has expired.
    async fn fetch(&self, fetcher: &Fetcher, headers: &HeaderMap) -> Result<Fetched, WebProblem> {
        let found_at = || self.found_at.lock().unwrap_or_else(PoisonError::into_inner);
        let known = found_at().clone();
        if let Some(known) = known {
            match fetcher.fetch(&Method::GET, &known, headers).await {
                Err(WebProblem::Refused(_) | WebProblem::Missing | WebProblem::Status(_)) => {
                    *found_at() = None;
                }
                fetched => return fetched,
            }
        }
        let fetched = fetcher.fetch(&Method::GET, &self.address, headers).await?;
        if fetched.at != self.address {
            *found_at() = Some(fetched.at.clone());
        }
        Ok(fetched)
    }

    /// Compares an answer's state with the one that was seen first.
    fn check_state(&self, status: u16, headers: &HeaderMap) -> Result<(), WebProblem> {
        let (name, pinned) = match &self.pin {
            Pin::ETag(value) => (ETAG, value),
            Pin::Modified(value) => (LAST_MODIFIED, value),
            Pin::Content | Pin::Nothing => return Ok(()),
        };
        match headers.get(name) {
            Some(found) if found != pinned => Err(WebProblem::Changed),
            // An answer to the condition needs not repeat it; a whole one must.
            None if status != 206 => Err(WebProblem::Changed),
            _ => Ok(()),
        }
    }

    fn check_range(&self, headers: &HeaderMap, range: ByteRange) -> Result<(), WebProblem> {
        let told = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let told = told.unwrap_or_default();
        let (first, last, whole) = content_range(told)
            .ok_or_else(|| WebProblem::Nonsense("no range of bytes".to_owned()))?;
        if whole.is_some_and(|whole| Some(whole) != self.size) {
            return Err(WebProblem::Changed);
        }
        if (first, last) != (range.start(), range.end() - 1) {
            return Err(WebProblem::Nonsense("another range than was asked for".to_owned()));
        }
        Ok(())
    }
}

/// What pins a file, by the headers of an answer.
pub(super) fn pin(headers: &HeaderMap) -> Pin {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    match (strong, headers.get(LAST_MODIFIED)) {
        (Some(tag), _) => Pin::ETag(tag.clone()),
        (None, Some(moment)) => Pin::Modified(moment.clone()),
        (None, None) => Pin::Nothing,
    }
}

/// The length that an answer tells.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// `bytes 0-9/100` or `bytes 0-9/*`: first, last and whole length.
pub(super) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u64>().ok()).flatten()
    };
    let whole = match whole {
        "*" => None,
        whole => Some(number(whole)?),
    };
    Some((number(first)?, number(last)?, whole))
}
