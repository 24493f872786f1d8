//! Payload made shorter for the wire, where that pays.
//!
//! Whether it pays is asked anew for each payload: three slices of it are compressed at the lowest
//! level, and what that saves on the link is weighed against what it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use xfer_protocol::encoding::{Accepts, Encoded, Encoding};
use xfer_protocol::limits::LEVEL_MAX;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::find_frame_compressed_size;

use crate::clock::Clock;

/// A link that carries more bytes a second is faster than one processor compresses.
pub(crate) const RATE_MAX: u64 = 200_000_000;

/// The level at which slices are compressed, and whole payloads where there is little time.
const LEVEL_MIN: u8 = 1;

/// The levels above the lowest take about so many times as long.
const HIGHER_TAKES: u128 = 8;

/// Bytes of a slice.
const SLICE: usize = 16 << 10;

/// Slices of a payload: its beginning, its middle and its end.
const SLICES: usize = 3;

/// What does not lose a tenth goes as it is.
const WORTH: (u128, u128) = (9, 10);

/// Payloads that are encoded at a time: each takes a processor, and megabytes of memory.
const AT_A_TIME: usize = 4;

/// Encodes and decodes the payload of one session, away from the threads that move bytes.
#[derive(Clone)]
pub(crate) struct Coder {
    turns: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    /// The highest level that is used, whatever is asked.
    most: u8,
}

impl Coder {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self::up_to(LEVEL_MAX, clock)
    }

    /// The same for somebody who is not to choose how much memory and time a payload takes.
    pub(crate) fn up_to(most: u8, clock: Arc<dyn Clock>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(processors.min(AT_A_TIME))), clock, most }
    }

    /// The payload encoded; `None` where that does not pay.
    pub(crate) async fn encode(
        &self,
        payload: Bytes,
        accepts: Accepts,
    ) -> Option<(Encoded, Bytes)> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let clock = Arc::clone(&self.clock);
        let accepts = Accepts { level: accepts.level.min(self.most), ..accepts };
        let work = move || {
            let _turn = turn;
            encode(&payload, accepts, &*clock)
        };
        tokio::task::spawn_blocking(work).await.ok()?
    }

    /// What an encoded payload stands for; `None` where it is not what was told of it.
    pub(crate) async fn decode(&self, encoded: Encoded, payload: Bytes) -> Option<Bytes> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let work = move || {
            let _turn = turn;
            decode(encoded, &payload)
        };
        tokio::task::spawn_blocking(work).await.ok()?
    }
}

fn encode(payload: &[u8], accepts: Accepts, clock: &dyn Clock) -> Option<(Encoded, Bytes)> {
    let length = u32::try_from(payload.len()).ok()?;
    let level = match accepts.rate {
        None => accepts.level,
        Some(rate) => sample(payload, clock)?.level(payload.len(), rate, accepts.level)?,
    };
    let found = Compressor::new(level.into()).ok()?.compress(payload).ok()?;
    let is_shorter = match accepts.rate {
        None => found.len() < payload.len(),
        Some(_) => is_worth(payload.len(), found.len()),
    };
    is_shorter.then(|| (Encoded { encoding: Encoding::Zstd, length }, found.into()))
}

fn decode(encoded: Encoded, payload: &[u8]) -> Option<Bytes> {
    let Encoded { encoding: Encoding::Zstd, length } = encoded;
    let length = usize::try_from(length).ok()?;
    if find_frame_compressed_size(payload).ok()? != payload.len() {
        return None;
    }
    // No more than this much room is made, whatever the frame says of itself.
    let found = Decompressor::new().ok()?.decompress(payload, length).ok()?;
    (found.len() == length).then(|| found.into())
}

fn is_worth(plain: usize, encoded: usize) -> bool {
    encoded as u128 * WORTH.1 < plain as u128 * WORTH.0
}

/// What slices of a payload tell of it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    plain: usize,
    encoded: usize,
    took: Duration,
}

fn sample(payload: &[u8], clock: &dyn Clock) -> Option<Sample> {
    let slices = if payload.len() <= SLICES * SLICE {
        payload.to_vec()
    } else {
        let middle = (payload.len() - SLICE) / 2;
        let starts = [0, middle, payload.len() - SLICE];
        starts.iter().flat_map(|&start| &payload[start..start + SLICE]).copied().collect()
    };
    let mut compressor = Compressor::new(LEVEL_MIN.into()).ok()?;
    let began = clock.elapsed();
    let encoded = compressor.compress(&slices).ok()?.len();
    Some(Sample { plain: slices.len(), encoded, took: clock.elapsed().saturating_sub(began) })
}

impl Sample {
    /// The level, up to `most`, at which the whole is to be compressed for a link that carries so
    /// many bytes a second; `None` where the link is sooner done with it as it is.
    fn level(self, length: usize, rate: u64, most: u8) -> Option<u8> {
        if !is_worth(self.plain, self.encoded) || rate > RATE_MAX {
            return None;
        }
        // In units of 1 / (`plain` · `rate`) microseconds.
        let saved = (self.plain - self.encoded) as u128 * length as u128 * 1_000_000;
        let takes = self.took.as_micros() * length as u128 * u128::from(rate);
        if saved > takes * HIGHER_TAKES {
            Some(most)
        } else {
            (saved > takes).then_some(LEVEL_MIN.min(most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const MIB: usize = 1 << 20;

    /// Bytes that no program makes shorter.
    fn noise(length: usize) -> Vec<u8> {
        let mut output = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut output);
        output
    }

    /// Lines of a log.
    fn text(length: usize) -> Vec<u8> {
        let line = |n: usize| format!("{n} step loss 0.{} rate {}\n", n * 7919 % 10_000, n % 97);
        let mut text: Vec<u8> = (0..length / 16).flat_map(|n| line(n).into_bytes()).collect();
        text.truncate(length);
        text
    }

    fn zstd(length: usize) -> Encoded {
        Encoded { encoding: Encoding::Zstd, length: length.try_into().unwrap() }
    }

    fn frame(content: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(content, 3).unwrap()
    }

    #[test]
    fn what_pays_comes_back_as_it_was() {
        let clock = SystemClock::shared();
        for length in [1000, 48 << 10, 64 << 10, MIB, 5 * MIB + 3] {
            let plain = text(length);
            let accepts = Accepts { level: 3, rate: Some(1_000_000) };
            let (told, found) = encode(&plain, accepts, &*clock).unwrap();
            assert!(found.len() * 2 < plain.len(), "{length}: {}", found.len());
            assert_eq!(decode(told, &found).unwrap(), plain);
        }
    }

    #[test]
    fn noise_and_what_a_fast_link_carries_go_as_they_are() {
        let clock = SystemClock::shared();
        let slow = |level| Accepts { level, rate: Some(1000) };
        let fast = Accepts { level: 3, rate: Some(RATE_MAX + 1) };
        assert!(encode(&noise(MIB), slow(3), &*clock).is_none());
        assert!(encode(&noise(MIB), Accepts { level: 3, rate: None }, &*clock).is_none());
        assert!(encode(&text(MIB), fast, &*clock).is_none());
        assert!(encode(b"", slow(1), &*clock).is_none());
        // Its beginning would shrink; all of it does not.
        let mixed = [text(SLICE), noise(MIB)].concat();
        assert!(encode(&mixed, slow(3), &*clock).is_none());
    }

    #[tokio::test]
    async fn no_level_beyond_the_highest_is_used() {
        let payload = Bytes::from(text(MIB));
        let accepts = Accepts { level: LEVEL_MAX, rate: None };
        let coder = Coder::up_to(1, SystemClock::shared());
        let (_, found) = coder.encode(payload.clone(), accepts).await.unwrap();
        assert_eq!(found, zstd::bulk::compress(&payload, 1).unwrap());
    }

    #[test]
    fn the_link_and_the_sample_decide() {
        let sampled = |encoded: u32, micros| Sample {
            plain: 48 << 10,
            encoded: usize::try_from(encoded << 10).unwrap(),
            took: Duration::from_micros(micros),
        };
        let level = |sample: Sample, rate| sample.level(MIB, rate, 3);
        // 48 KiB in 240 µs are 200 MB/s: half saved pays up to a link of 100 MB/s.
        assert_eq!(level(sampled(24, 240), 120_000_000), None);
        assert_eq!(level(sampled(24, 240), 80_000_000), Some(1));
        assert_eq!(level(sampled(24, 240), 10_000_000), Some(3));
        assert_eq!(level(sampled(44, 240), 1_000), None);
        assert_eq!(level(sampled(43, 240), 1_000), Some(3));
        assert_eq!(level(sampled(1, 0), RATE_MAX + 1), None);
        assert_eq!(sampled(24, 240).level(MIB, 10_000_000, 1), Some(1));
    }

    /// Rows: H9.
    #[test]
    fn a_payload_that_is_not_what_was_told_is_refused() {
        let plain = text(MIB);
        let good = frame(&plain);
        assert_eq!(decode(zstd(MIB), &good).unwrap(), plain);
        let bomb = frame(&vec![0; 64 * MIB]);
        assert!(bomb.len() < 16 << 10);
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 0xff;
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
        for (name, length, payload) in [
            ("a bomb", MIB, bomb),
            ("one byte more", MIB - 1, good.clone()),
            ("one byte less", MIB + 1, good.clone()),
            ("cut", MIB, good[..good.len() - 1].to_vec()),
            ("a byte behind it", MIB, [&good[..], &[0]].concat()),
            ("two frames", 2 * MIB, [&good[..], &good].concat()),
            ("a frame to be skipped", MIB, [&skippable[..], &good].concat()),
            ("nothing but that", 4, skippable),
            ("no frame", MIB, noise(1000)),
            ("nothing", MIB, Vec::new()),
        ] {
            assert!(decode(zstd(length), &payload).is_none(), "{name}");
        }
        // Another content of the same length is the digests' to find.
        let _any = decode(zstd(MIB), &flipped);
    }
}
