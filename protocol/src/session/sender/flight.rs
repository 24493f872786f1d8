//! What is under way on which stream.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{StreamId, UnitId};

/// Open streams with what flies on each.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<StreamId, Stream>,
    units: usize,
    bytes: u64,
    departures: u64,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    /// In the order of their departure.
    flying: BTreeMap<u64, (UnitId, u64)>,
    departed: BTreeMap<UnitId, u64>,
    bytes: u64,
    /// The last sign of life since there was something to do.
    alive_at: Duration,
    /// Bytes that moved since.
    moved: u64,
    stalled: bool,
}

impl Streams {
    pub(super) fn open(&mut self, stream: StreamId) {
        self.open.entry(stream).or_default();
    }

    /// Removes a stream and returns what was under way on it, oldest first.
    pub(super) fn close(&mut self, stream: StreamId) -> Vec<UnitId> {
        let units = self.ground(stream);
        self.open.remove(&stream);
        units
    }

    /// Takes everything off a stream, oldest first.
    pub(super) fn ground(&mut self, stream: StreamId) -> Vec<UnitId> {
        let Some(known) = self.open.get_mut(&stream) else { return Vec::new() };
        self.units -= known.flying.len();
        self.bytes -= known.bytes;
        known.bytes = 0;
        known.departed.clear();
        std::mem::take(&mut known.flying).into_values().map(|(unit, _)| unit).collect()
    }

    pub(super) fn put_on(&mut self, stream: StreamId, unit: UnitId, bytes: u64, now: Duration) {
        let Some(known) = self.open.get_mut(&stream) else { return };
        if known.flying.is_empty() {
            known.alive_at = now;
            known.moved = 0;
        }
        self.departures += 1;
        known.flying.insert(self.departures, (unit, bytes));
        known.departed.insert(unit, self.departures);
        known.bytes += bytes;
        self.units += 1;
        self.bytes += bytes;
    }

    pub(super) fn take_off(&mut self, stream: StreamId, unit: UnitId) {
        let Some(known) = self.open.get_mut(&stream) else { return };
        let departure = known.departed.remove(&unit);
        if let Some((_, bytes)) = departure.and_then(|d| known.flying.remove(&d)) {
            known.bytes -= bytes;
            self.units -= 1;
            self.bytes -= bytes;
        }
    }

    /// Notes a sign of life.
    pub(super) fn alive(&mut self, stream: StreamId, now: Duration) {
        if let Some(known) = self.open.get_mut(&stream) {
            known.alive_at = now;
            known.moved = 0;
            known.stalled = false;
        }
    }

    /// Counts bytes; enough of them are a sign of life.
    pub(super) fn moved(
        &mut self,
        stream: StreamId,
        bytes: u64,
        enough: u64,
        now: Duration,
    ) -> bool {
        let Some(known) = self.open.get_mut(&stream) else { return false };
        known.moved = known.moved.saturating_add(bytes);
        let alive = known.moved >= enough;
        if alive {
            self.alive(stream, now);
        }
        alive
    }

    /// Marks and returns the streams that stall now.
    pub(super) fn stalled(&mut self, now: Duration, after: Duration) -> Vec<StreamId> {
        let late = |known: &Stream| {
            !known.stalled
                && !known.flying.is_empty()
                && now >= known.alive_at.saturating_add(after)
        };
        let streams: Vec<_> =
            self.open.iter().filter(|(_, known)| late(known)).map(|(stream, _)| *stream).collect();
        for stream in &streams {
            if let Some(known) = self.open.get_mut(stream) {
                known.stalled = true;
            }
        }
        streams
    }

    /// When the next stream will count as stalled.
    pub(super) fn next_stall(&self, after: Duration) -> Option<Duration> {
        let busy = self.open.values().filter(|known| !known.stalled && !known.flying.is_empty());
        busy.map(|known| known.alive_at.saturating_add(after)).min()
    }

    /// The stream with the fewest bytes under way, the fewest units among equals; and those bytes.
    pub(super) fn lightest(&self) -> Option<(StreamId, u64)> {
        let well = self.open.iter().filter(|(_, known)| !known.stalled);
        let least = well.min_by_key(|(_, known)| (known.bytes, known.flying.len()));
        least.map(|(stream, known)| (*stream, known.bytes))
    }

    pub(super) fn units(&self) -> usize {
        self.units
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
