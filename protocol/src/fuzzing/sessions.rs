//! Sequences of calls to the state machines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Input;
use super::trees::File;
use crate::digest::Digest;
use crate::message::PartialIndex;
use crate::range::{ByteRange, RangeSet};
use crate::session::assembly::Accept;
use crate::session::receiver::Receiver;
use crate::session::sender::{
    AfterFailure, Failure, FlightLimits, Landed, Next, RetryPolicy, Sender, StreamId, UnitId,
};

/// One file at a sink: a plain set of ranges knows what is present, and it is complete only when
/// all of it is.
pub fn receiver_session(bytes: &[u8]) {
    let mut input = Input(bytes);
    let file = File::new(&mut input);
    let partial = PartialIndex(1);
    let mut receiver = Receiver::new();
    receiver.open(partial, file.size()).unwrap();
    let mut plain = RangeSet::new();
    while !input.is_empty() {
        let choice = input.byte();
        let Some(range) = file.range(&mut input) else { break };
        match choice % 8 {
            0 => {
                for gone in receiver.forget(partial, range).unwrap() {
                    assert!(plain.contains(gone));
                    plain.remove(gone);
                }
            }
            1 => {
                let zero = Digest::from_bytes([0; 32]);
                let odd = ByteRange::at(input.number() >> 2, 1 + input.number() % file.size());
                let Ok(odd) = odd else { continue };
                assert!(receiver.written(partial, odd, &[zero]).is_err(), "nothing is claimed");
                if receiver.accept(partial, odd, 1).is_ok() {
                    receiver.release(partial, odd);
                }
                assert!(receiver.keep(PartialIndex(2), odd).is_err());
            }
            2 => {
                let (kept, digests) = (receiver.keep(partial, range), file.digests(range));
                assert_eq!(kept.is_ok(), plain.contains(range));
                if let [digest] = digests[..] {
                    receiver.hashed(partial, range, digest).unwrap();
                    if plain.missing_from(range).contains(range) {
                        receiver.keep(partial, range).unwrap();
                        plain.insert(range);
                    }
                }
            }
            _ => deliver(&mut receiver, &file, range, &mut plain),
        }
        let present = receiver.assembly(partial).unwrap().present();
        assert_eq!(present, &plain);
        let whole = ByteRange::whole(file.size()).is_none_or(|whole| plain.contains(whole));
        assert_eq!(receiver.clone().complete(partial, file.root()).is_ok(), whole);
    }
}

fn deliver(receiver: &mut Receiver, file: &File, range: ByteRange, plain: &mut RangeSet) {
    let partial = PartialIndex(1);
    let accept = receiver.accept(partial, range, file.digests(range).len()).unwrap();
    match accept {
        Accept::Busy => panic!("every claim was released"),
        Accept::Duplicate => assert!(plain.contains(range)),
        Accept::Write(pieces) => {
            assert_eq!(
                receiver.accept(partial, range, file.digests(range).len()),
                Ok(Accept::Busy)
            );
            for piece in pieces {
                assert!(plain.missing_from(piece).contains(piece));
                receiver.written(partial, piece, &file.digests(piece)).unwrap();
            }
            receiver.release(partial, range);
            plain.insert(range);
        }
    }
}

/// Any calls to a flight control: every unit ends at most once, the limits hold, and the counters
/// tell the truth.
pub fn sender_session(bytes: &[u8]) {
    let mut input = Input(bytes);
    let limits =
        FlightLimits { units: input.below(9).try_into().unwrap(), bytes: 1 + input.below(200) };
    let mut sender = Sender::new(limits, RetryPolicy::default(), input.number());
    let mut model = Model { limits, ..Model::default() };
    let mut now = Duration::ZERO;
    while !input.is_empty() {
        let choice = input.byte();
        let unit = UnitId(input.below(16));
        let stream = StreamId(u32::from(input.byte() % 4));
        match choice % 10 {
            0 | 1 => {
                let bytes = input.below(100);
                sender.offer(unit, bytes);
                model.left.entry(unit).or_insert(bytes);
            }
            2 => {
                let landed = sender.landed(unit, stream, now);
                assert_eq!(landed == Landed::First, model.left.remove(&unit).is_some());
            }
            3 => {
                let failure = if input.byte() % 4 == 0 { Failure::Final } else { Failure::Retry };
                let after = sender.failed(unit, stream, now, failure);
                if after == AfterFailure::GivenUp {
                    assert!(model.left.remove(&unit).is_some());
                }
            }
            4 => {
                sender.stream_lost(stream);
                model.streams.remove(&stream);
            }
            5 => {
                sender.stream_opened(stream);
                model.streams.insert(stream);
            }
            6 => now += Duration::from_secs(input.below(40)),
            7 => sender.moved(stream, input.number() >> 40, now),
            8 => drop(sender.timeouts(now)),
            _ => model.drain(&mut sender, now),
        }
        assert_eq!(sender.units_left(), model.left.len());
        assert!(sender.units_in_flight() <= model.left.len());
        assert!(sender.bytes_in_flight() <= model.left.values().sum());
    }
}

#[derive(Default)]
struct Model {
    limits: FlightLimits,
    left: BTreeMap<UnitId, u64>,
    streams: BTreeSet<StreamId>,
}

impl Model {
    /// What may fly beside the window: a unit for each stream that had none.
    fn one_a_stream(&self) -> u64 {
        let mut sizes: Vec<_> = self.left.values().copied().collect();
        sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
        sizes.iter().take(self.streams.len()).sum()
    }

    fn drain(&mut self, sender: &mut Sender, now: Duration) {
        for stalled in sender.timeouts(now) {
            assert!(self.streams.contains(&stalled));
        }
        loop {
            match sender.next(now) {
                Next::Abandon(unit) => assert!(self.left.remove(&unit).is_some()),
                Next::Done => panic!("nobody said that it was all"),
                Next::GiveUp => return,
                Next::Idle => {
                    assert!(self.left.is_empty());
                    return;
                }
                Next::Send { unit, stream } => {
                    assert!(self.left.contains_key(&unit) && self.streams.contains(&stream));
                    let alone = sender.units_in_flight() == 1;
                    assert!(alone || sender.units_in_flight() <= self.limits.units);
                    assert!(sender.bytes_in_flight() <= self.limits.bytes + self.one_a_stream());
                }
                Next::WaitUntil(until) => {
                    assert!(until > now);
                    return;
                }
            }
        }
    }
}
