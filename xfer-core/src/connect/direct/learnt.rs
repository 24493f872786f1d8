//! What routes were found to carry, kept as a place to begin from.
//!
//! Whatever is read here only decides what is tried first: a file that is old, damaged or somebody
//! else's costs a few seconds of a slower start, and nothing else.

use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xfer_protocol::data_port::Carrier;

use super::candidates::kind_of;
use super::tuning::STREAMS_MAX;
use crate::clock::Clock;
use crate::disk::state::StateDirectory;

/// For how many seconds a route is believed to be what it was.
const BELIEVED_SECONDS: i64 = 14 * 86_400;

/// The directory below the state directory.
const DIRECTORY: &str = "routes";

/// More than any of our files has.
const BYTES_MAX: u64 = 4096;

/// A route of another delay is another route: the longer may be so many times the shorter.
const DELAYS_ALIKE: u32 = 2;

/// What one route carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Learnt {
    /// Streams that were found to be enough.
    pub(super) streams: usize,
    /// Bytes a second that they carried.
    pub(super) rate: u64,
    /// The delay, in microseconds.
    pub(super) round_trip_us: u64,
}

/// What is kept of the routes between this network and one place.
pub(super) struct Lessons {
    directory: Option<StateDirectory>,
    /// Where from, and where to.
    between: String,
}

impl Lessons {
    /// Reads and writes below the state directory; nothing is kept where there is none.
    pub(super) fn new(
        state: Option<&StateDirectory>,
        network: Option<IpAddr>,
        place: &str,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let directory = state.and_then(|state| state.child(DIRECTORY).ok());
        if let Some(directory) = &directory {
            let since = clock.now().seconds.saturating_sub(BELIEVED_SECONDS);
            // What cannot be removed is believed a while longer.
            let _still_there = directory.remove_older_than(since);
        }
        let network = network.map(|address| address.to_string()).unwrap_or_default();
        Self { directory, between: format!("{network} {place}") }
    }

    /// What is known of a route of about this delay.
    pub(super) fn recall(&self, carrier: Carrier, round_trip: Duration) -> Option<Learnt> {
        let file = self.directory.as_ref()?.read(&self.name(carrier)).ok()??;
        let mut text = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut text).ok()?;
        let learnt: Learnt = serde_json::from_slice(&text).ok()?;
        let before = Duration::from_micros(learnt.round_trip_us);
        let alike = before <= round_trip.saturating_mul(DELAYS_ALIKE)
            && round_trip <= before.saturating_mul(DELAYS_ALIKE);
        ((1..=STREAMS_MAX).contains(&learnt.streams) && alike).then_some(learnt)
    }

    /// Keeps what was learnt. Where that fails, it is learnt again.
    pub(super) fn note(&self, carrier: Carrier, learnt: Learnt, unique: u64) {
        let Some(directory) = &self.directory else { return };
        let Ok(text) = serde_json::to_vec(&learnt) else { return };
        let kept = directory.create(&self.name(carrier), unique).and_then(|mut file| {
            file.write(&text)?;
            file.commit(false)
        });
        let _learnt_again = kept;
    }

    /// The carriers, the one first that is known to have carried more by a quarter.
    pub(super) fn order(&self, mut carriers: Vec<Carrier>, round_trip: Duration) -> Vec<Carrier> {
        if let [one, other] = carriers[..] {
            let rate = |carrier| self.recall(carrier, round_trip).map(|learnt| learnt.rate);
            if let (Some(one), Some(other)) = (rate(one), rate(other))
                && other > one.saturating_add(one / 4)
            {
                carriers.swap(0, 1);
            }
        }
        carriers
    }

    fn name(&self, carrier: Carrier) -> String {
        let digest = blake3::hash(format!("{} {}", self.between, kind_of(carrier)).as_bytes());
        digest.to_hex()[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files are damaged and aged by hand")]

    use std::fs;
    use std::time::SystemTime;

    use super::*;
    use crate::clock::SystemClock;

    const DELAY: Duration = Duration::from_millis(40);

    const KNOWN: Learnt = Learnt { streams: 16, rate: 25_000_000, round_trip_us: 50_000 };

    fn lessons(place: &std::path::Path, far: &str) -> Lessons {
        let state = StateDirectory::open(&place.join("state")).unwrap();
        Lessons::new(Some(&state), Some([192, 0, 2, 1].into()), far, &SystemClock::shared())
    }

    #[test]
    fn what_was_learnt_of_a_route_is_known_of_that_one_alone() {
        let place = tempfile::tempdir().unwrap();
        let before = lessons(place.path(), "host");
        assert_eq!(before.recall(Carrier::Tcp, DELAY), None);
        before.note(Carrier::Tcp, KNOWN, 1);
        before.note(Carrier::Tcp, KNOWN, 1);
        let known = lessons(place.path(), "host");
        assert_eq!(known.recall(Carrier::Tcp, DELAY), Some(KNOWN));
        assert_eq!(known.recall(Carrier::Udp, DELAY), None);
        assert_eq!(known.recall(Carrier::Tcp, DELAY * 3), None);
        assert_eq!(known.recall(Carrier::Tcp, DELAY / 2), None);
        assert_eq!(lessons(place.path(), "other").recall(Carrier::Tcp, DELAY), None);
        let nowhere = Lessons::new(None, None, "host", &SystemClock::shared());
        nowhere.note(Carrier::Tcp, KNOWN, 1);
        assert_eq!(nowhere.recall(Carrier::Tcp, DELAY), None);
    }

    #[test]
    fn what_is_damaged_absurd_or_old_is_as_if_it_were_not_there() {
        let place = tempfile::tempdir().unwrap();
        let known = lessons(place.path(), "host");
        known.note(Carrier::Tcp, KNOWN, 1);
        let file = place.path().join("state").join(DIRECTORY).join(known.name(Carrier::Tcp));
        let text = fs::read(&file).unwrap();
        let huge = vec![b' '; 1 << 20];
        for bad in [
            &b""[..],
            b"\0\xff",
            &text[..text.len() - 1],
            br#"{"streams":0,"rate":1,"round_trip_us":40000}"#,
            br#"{"streams":1000000,"rate":1,"round_trip_us":40000}"#,
            br#"{"streams":-1,"rate":1,"round_trip_us":40000}"#,
            br#"{"streams":8,"rate":1,"round_trip_us":40000,"more":1}"#,
            &huge,
        ] {
            fs::write(&file, bad).unwrap();
            assert_eq!(known.recall(Carrier::Tcp, DELAY), None, "{bad:?}");
        }
        fs::write(&file, &text).unwrap();
        assert_eq!(known.recall(Carrier::Tcp, DELAY), Some(KNOWN));
        let long_ago = SystemTime::now() - Duration::from_secs(15 * 86_400);
        fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(lessons(place.path(), "host").recall(Carrier::Tcp, DELAY), None);
    }

    #[test]
    fn the_carrier_that_carried_more_is_tried_first() {
        let place = tempfile::tempdir().unwrap();
        let known = lessons(place.path(), "host");
        let usual = || vec![Carrier::Udp, Carrier::Tcp];
        assert_eq!(known.order(usual(), DELAY), usual());
        known.note(Carrier::Udp, KNOWN, 1);
        let faster = |quarters: u64| Learnt { rate: KNOWN.rate / 4 * quarters, ..KNOWN };
        known.note(Carrier::Tcp, faster(5), 1);
        assert_eq!(known.order(usual(), DELAY), usual());
        known.note(Carrier::Tcp, faster(6), 1);
        assert_eq!(known.order(usual(), DELAY), [Carrier::Tcp, Carrier::Udp]);
        assert_eq!(known.order(vec![Carrier::Udp], DELAY), [Carrier::Udp]);
    }
}
