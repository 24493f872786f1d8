//! When payload is compressed: where the link is what everything waits for.
//!
//! Only what the link carries counts, so the rate is that of the bytes on the wire, whatever they
//! stand for. Until it is known, and on a link that is faster than a processor compresses, nothing
//! is even looked at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use xfer_protocol::encoding::{Accepts, Encoded};
use xfer_protocol::hello::FEATURE_ENCODED_PAYLOAD;
use xfer_protocol::message::Request;

use crate::options::Compression;
use crate::transport::compression::{Coder, RATE_MAX};

/// Time over which the link's rate is taken.
const SPAN: Duration = Duration::from_millis(300);

/// Time after which nothing that landed is a rate as well.
const SILENCE: Duration = Duration::from_secs(1);

/// The level where it is ours to choose: higher ones take longer than the links that are left
/// to them.
const LEVEL: u8 = 3;

/// Whether a session's payload is compressed, and what that kept from the link.
pub(super) struct Compressing {
    choice: Compression,
    coder: Coder,
    link: Mutex<LinkRate>,
    shrunk: AtomicU64,
}

/// How a request's payload goes, or how that of its reply may come.
#[derive(Clone, Debug)]
pub(super) enum Coding {
    Plain,
    Encoded(Encoded),
    Accepting(Accepts),
}

/// Features of the hellos of a session of this choice.
pub(super) fn features(choice: Compression) -> u64 {
    if choice == Compression::Never { 0 } else { FEATURE_ENCODED_PAYLOAD }
}

impl Compressing {
    pub(super) fn new(choice: Compression, coder: Coder) -> Self {
        Self { choice, coder, link: Mutex::default(), shrunk: AtomicU64::new(0) }
    }

    /// Features of our hellos.
    pub(super) fn features(&self) -> u64 {
        features(self.choice)
    }

    /// Bytes of payload that did not have to cross the link.
    pub(super) fn shrunk_bytes(&self) -> u64 {
        self.shrunk.load(Ordering::Relaxed)
    }

    /// Takes how many bytes of payload have landed by now.
    pub(super) fn observe(&self, now: Duration, landed: u64) {
        let on_wire = landed.saturating_sub(self.shrunk_bytes());
        self.link.lock().unwrap_or_else(PoisonError::into_inner).observe(now, on_wire);
    }

    /// Takes the rate that a link had at another time, until its own is known.
    pub(super) fn expect(&self, rate: u64) {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).rate.get_or_insert(rate);
    }

    /// Nothing was on its way until now, so that time tells nothing.
    pub(super) fn rested(&self) {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).since = None;
    }

    /// What may be done to payload that goes to, or comes from, an agent with these features.
    pub(super) fn accepts(&self, features: u64) -> Option<Accepts> {
        if features & FEATURE_ENCODED_PAYLOAD == 0 {
            return None;
        }
        match self.choice {
            Compression::Never => None,
            Compression::Level(level) => Some(Accepts { level, rate: None }),
            Compression::Auto => {
                let rate = self.link.lock().unwrap_or_else(PoisonError::into_inner).rate?;
                (rate <= RATE_MAX).then_some(Accepts { level: LEVEL, rate: Some(rate) })
            }
        }
    }

    /// How a request goes to an agent with these features, and its payload.
    pub(super) async fn coded(
        &self,
        features: u64,
        request: &Request,
        payload: &Bytes,
    ) -> (Coding, Bytes) {
        let Some(accepts) = self.accepts(features) else { return (Coding::Plain, payload.clone()) };
        let asks_payload =
            matches!(request, Request::ReadBlock(_) | Request::ReadPack(_) | Request::ReadParts(_));
        if asks_payload {
            return (Coding::Accepting(accepts), Bytes::new());
        }
        if payload.is_empty() {
            return (Coding::Plain, Bytes::new());
        }
        match self.coder.encode(payload.clone(), accepts).await {
            Some((encoded, shorter)) => (Coding::Encoded(encoded), shorter),
            None => (Coding::Plain, payload.clone()),
        }
    }

    /// The bytes that a reply's payload stands for; `None` where it is not what was told of it.
    pub(super) async fn decoded(&self, encoded: Option<Encoded>, payload: Bytes) -> Option<Bytes> {
        let Some(encoded) = encoded else { return Some(payload) };
        let on_wire = payload.len();
        let decoded = self.coder.decode(encoded, payload).await?;
        self.shrank(decoded.len(), on_wire);
        Some(decoded)
    }

    /// Counts what an encoded payload that has landed kept from the link.
    pub(super) fn shrank(&self, plain: usize, on_wire: usize) {
        self.shrunk.fetch_add(plain.saturating_sub(on_wire) as u64, Ordering::Relaxed);
    }
}

/// Bytes that a link carries in a second.
#[derive(Debug, Default)]
struct LinkRate {
    since: Option<(Duration, u64)>,
    rate: Option<u64>,
}

impl LinkRate {
    fn observe(&mut self, now: Duration, on_wire: u64) {
        let Some((since, before)) = self.since else {
            self.since = Some((now, on_wire));
            return;
        };
        let span = now.saturating_sub(since);
        let moved = on_wire.saturating_sub(before);
        if span < SPAN || moved == 0 && span < SILENCE {
            return;
        }
        self.since = Some((now, on_wire));
        let rate = u128::from(moved) * 1_000_000 / span.as_micros().max(1);
        self.rate = Some(u64::try_from(rate).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn compressing(choice: Compression) -> Compressing {
        Compressing::new(choice, Coder::new(SystemClock::shared()))
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn only_a_link_known_to_be_slow_is_spared() {
        let (known, choice) = (FEATURE_ENCODED_PAYLOAD, compressing(Compression::Auto));
        assert_eq!(choice.accepts(known), None);
        choice.observe(millis(0), 0);
        choice.observe(millis(200), 1);
        assert_eq!(choice.accepts(known), None, "too early");
        choice.observe(millis(400), 4_000_000);
        let paying = Some(Accepts { level: LEVEL, rate: Some(10_000_000) });
        assert_eq!(choice.accepts(known), paying);
        assert_eq!(choice.accepts(!known), None, "an agent that does not understand it");
        choice.observe(millis(800), 324_000_000);
        assert_eq!(choice.accepts(known), None, "800 MB/s");
    }

    #[test]
    fn bytes_that_did_not_cross_are_no_rate() {
        let choice = compressing(Compression::Auto);
        choice.observe(millis(0), 0);
        choice.shrank(900_000_000, 0);
        choice.observe(millis(1000), 901_000_000);
        let rate = choice.accepts(FEATURE_ENCODED_PAYLOAD).and_then(|accepts| accepts.rate);
        assert_eq!(rate, Some(1_000_000));
    }

    #[test]
    fn what_is_expected_counts_until_it_is_known() {
        let choice = compressing(Compression::Auto);
        let rate = || choice.accepts(FEATURE_ENCODED_PAYLOAD).and_then(|accepts| accepts.rate);
        choice.expect(2_000_000);
        assert_eq!(rate(), Some(2_000_000));
        choice.observe(millis(0), 0);
        choice.observe(millis(500), 2_000_000);
        choice.expect(1);
        assert_eq!(rate(), Some(4_000_000));
    }

    #[test]
    fn a_rest_is_no_slow_link() {
        let choice = compressing(Compression::Auto);
        choice.observe(millis(0), 0);
        choice.observe(millis(400), 320_000_000);
        choice.rested();
        choice.observe(millis(60_000), 320_000_000);
        choice.observe(millis(60_400), 640_000_000);
        assert_eq!(choice.accepts(FEATURE_ENCODED_PAYLOAD), None);
    }

    #[test]
    fn a_choice_is_a_choice() {
        let level = compressing(Compression::Level(9)).accepts(FEATURE_ENCODED_PAYLOAD);
        assert_eq!(level, Some(Accepts { level: 9, rate: None }));
        let never = compressing(Compression::Never);
        assert_eq!((never.accepts(FEATURE_ENCODED_PAYLOAD), never.features()), (None, 0));
    }
}
