//! A route while it carries payload: more streams, fewer, and what is remembered of them.

use std::ops::Range;
use std::time::Duration;

use futures_util::future::join_all;
use xfer_protocol::data_port::Carrier;

use super::candidates::Candidate;
use super::learnt::Learnt;
use super::race::{Keys, further};
use super::{LOOK, Ladder};
use crate::connect::tuner::Tuner;
use crate::endpoint::remote::Tier;
use crate::event::RouteDecision;

/// Streams of TLS at most, where nobody asks for more.
pub(super) const STREAMS_MAX: usize = 32;

/// The pause between two times that what was found is kept.
const KEPT_EVERY: Duration = Duration::from_secs(10);

impl Ladder {
    /// Has a route that began with so many streams use as many as make it faster, for as long as it
    /// lasts. Of what is `spare`, further streams take their names.
    pub(super) async fn tune(
        &self,
        candidate: &Candidate,
        keys: &Keys,
        began_with: usize,
        mut spare: Range<u16>,
    ) -> &'static str {
        let most = match candidate.carrier {
            // All streams of a connection of QUIC have one window.
            Carrier::Udp => began_with,
            Carrier::Tcp if self.network.streams.is_some() => began_with,
            Carrier::Tcp => STREAMS_MAX.max(began_with),
        };
        let mut tuner = Tuner::new(began_with, most, self.remote.round_trip());
        let mut kept = None;
        loop {
            tokio::time::sleep(LOOK).await;
            // Blocks land in clumps on a slow link; what has moved of them does not.
            let (now, moved) = (self.clock.elapsed(), self.remote.moved_bytes(Tier::Direct));
            self.keep(candidate.carrier, &tuner, &mut kept, now);
            let Some(step) = tuner.sample(now, moved, self.remote.is_moving()) else { continue };
            self.tell_of(candidate, RouteDecision::Tuned, &step.told("streams"));
            let missing = step.to.saturating_sub(self.remote.streams(Tier::Direct));
            let names = spare.by_ref().take(missing);
            join_all(names.map(|index| async move {
                if let Some(stream) = further(candidate, keys).await {
                    let _refused = self.remote.add_stream(stream, index, Tier::Direct).await;
                }
            }))
            .await;
            self.remote.use_streams(Tier::Direct, Some(step.to));
            tuner.has(step.to.min(self.remote.streams(Tier::Direct)), self.clock.elapsed());
        }
    }

    /// Keeps what was found, now and then.
    fn keep(&self, carrier: Carrier, tuner: &Tuner, kept: &mut Option<Duration>, now: Duration) {
        let is_due = kept.is_none_or(|at| now.saturating_sub(at) >= KEPT_EVERY);
        let Some((streams, rate)) = tuner.found().filter(|_| is_due) else { return };
        *kept = Some(now);
        let micros = self.remote.round_trip().as_micros();
        let round_trip_us = u64::try_from(micros).unwrap_or(u64::MAX);
        self.lessons.note(carrier, Learnt { streams, rate, round_trip_us }, self.unique);
    }
}
