//! What this machine is, and how fast its disk is, as far as that bounds a transfer.

use std::hint::black_box;
use std::os::fd::AsFd;
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use xfer_protocol::fault::{Fault, Operation};
use xfer_protocol::limits::TRIAL_PAYLOAD_MAX;
use xfer_protocol::message::TryDisk;
use xfer_protocol::path::RelPath;
use xfer_protocol::probe::{CPU_FEATURES, DiskTrial, Facts};

use super::Shared;
use super::roots::{OpenRoot, write_fault};
use crate::clock::{Clock, SystemClock};
use crate::disk::trial::TrialFile;
use crate::disk::{memory, space};
use crate::endpoint::filler::filler;

/// How long a core hashes, and how long it seals, to find out how fast it is.
const CORE_TIME: Duration = Duration::from_millis(15);

/// Bytes between two syncs at first, and at most. In between they follow the disk, so that a slow
/// one does not owe more than it can write in [`SYNC_TIME`] when the time is over.
const SYNC_BYTES: (u64, u64) = (2 << 20, 64 << 20);

/// How long one sync is to take.
const SYNC_TIME: Duration = Duration::from_millis(150);

/// The share of the free bytes that a trial may take for a moment.
const OF_FREE_BYTES: u64 = 4;

/// Asks the processor and measures one core, which takes 30 ms.
pub(super) fn facts() -> Facts {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Facts {
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        features: features(),
        memory_bytes: memory::bytes(),
        hash_rate: rate_of(|bytes| {
            black_box(blake3::hash(bytes));
        }),
        seal_rate: seal_rate(),
    }
}

fn features() -> u64 {
    let mut bits = 0;
    for (bit, name) in CPU_FEATURES.into_iter().enumerate() {
        bits |= u64::from(is_there(name)) << bit;
    }
    bits
}

#[cfg(target_arch = "x86_64")]
fn is_there(name: &str) -> bool {
    match name {
        "aes" => is_x86_feature_detected!("aes"),
        "pclmulqdq" => is_x86_feature_detected!("pclmulqdq"),
        "sse4.1" => is_x86_feature_detected!("sse4.1"),
        "avx" => is_x86_feature_detected!("avx"),
        "avx2" => is_x86_feature_detected!("avx2"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "vaes" => is_x86_feature_detected!("vaes"),
        "sha" => is_x86_feature_detected!("sha"),
        _ => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn is_there(name: &str) -> bool {
    use std::arch::is_aarch64_feature_detected;
    match name {
        "aes" => is_aarch64_feature_detected!("aes"),
        "sha" => is_aarch64_feature_detected!("sha2"),
        "neon" => is_aarch64_feature_detected!("neon"),
        "pmull" => is_aarch64_feature_detected!("pmull"),
        "sve" => is_aarch64_feature_detected!("sve"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn is_there(_name: &str) -> bool {
    false
}

/// 0 where no key can be made, as nothing is sealed there either.
fn seal_rate() -> u64 {
    let Ok(key) = UnboundKey::new(&AES_256_GCM, &[7; 32]) else { return 0 };
    let key = LessSafeKey::new(key);
    let mut room = filler(TRIAL_PAYLOAD_MAX).to_vec();
    rate_of(|_| {
        // What comes of it is never used, so one nonce does.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let _tag = black_box(key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut room));
    })
}

/// Bytes a second.
fn rate_of(mut work: impl FnMut(&[u8])) -> u64 {
    let (clock, bytes) = (SystemClock::shared(), filler(TRIAL_PAYLOAD_MAX));
    let mut done = 0;
    while clock.elapsed() < CORE_TIME {
        work(&bytes);
        done += bytes.len() as u64;
    }
    per_second(done, clock.elapsed())
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

impl Shared {
    /// Writes, syncs and reads back a file that nobody sees.
    pub(super) fn try_disk(&self, trial: TryDisk) -> Result<DiskTrial, Fault> {
        let root = self.writable(trial.root, Operation::Write)?;
        let failed = |errno| write_fault(&root, errno, Operation::Write, &RelPath::root());
        let free = space::free(root.place(), self.options.reserve).map_err(failed)?;
        let most = trial.bytes.min(free.bytes_free / OF_FREE_BYTES);
        let clock = SystemClock::shared();
        let file = self.new_trial(&root)?;
        let limit = Duration::from_millis(trial.millis.into());
        let began = clock.elapsed();
        let written = write_for(&file, most, limit, &*clock).map_err(failed)?;
        let write_time = clock.elapsed().saturating_sub(began);
        let mut file = file.written().map_err(failed)?;
        let (began, mut read) = (clock.elapsed(), 0);
        while read < written && clock.elapsed().saturating_sub(began) < limit {
            let piece = usize::try_from(TRIAL_PAYLOAD_MAX).unwrap_or(usize::MAX);
            match file.read(read, piece).map_err(failed)? {
                0 => break,
                count => read += count as u64,
            }
        }
        Ok(DiskTrial {
            written,
            write_micros: micros(write_time),
            read,
            read_micros: micros(clock.elapsed().saturating_sub(began)),
            past_cache: file.is_past_cache(),
        })
    }

    fn new_trial(&self, root: &OpenRoot) -> Result<TrialFile, Fault> {
        let failed = |errno| write_fault(root, errno, Operation::Create, &RelPath::root());
        TrialFile::create(root.place().as_fd(), std::process::id().into()).map_err(failed)
    }
}

/// Writes until either limit is reached; what was written is synced.
fn write_for(
    file: &TrialFile,
    bytes: u64,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<u64, crate::disk::Errno> {
    let (began, mut written, mut unsynced) = (clock.elapsed(), 0, SYNC_BYTES.0);
    while written < bytes && clock.elapsed().saturating_sub(began) < limit {
        let (start, until) = (clock.elapsed(), (written + unsynced).min(bytes));
        let from = written;
        while written < until {
            let piece = u32::try_from(until - written).unwrap_or(TRIAL_PAYLOAD_MAX);
            let piece = filler(piece.min(TRIAL_PAYLOAD_MAX));
            file.write(&piece, written)?;
            written += piece.len() as u64;
        }
        file.sync()?;
        let rate = per_second(written - from, clock.elapsed().saturating_sub(start));
        let follows = rate.saturating_mul(micros(SYNC_TIME)) / 1_000_000;
        unsynced = follows.clamp(SYNC_BYTES.0, SYNC_BYTES.1);
    }
    Ok(written)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::fault::FaultKind;
    use xfer_protocol::message::{Access, OpenRoot as Open};

    use crate::endpoint::local::{LocalEndpoint, LocalOptions};
    use crate::endpoint::{Endpoint, EndpointError};

    use super::*;

    #[tokio::test]
    async fn a_machine_knows_what_it_is() {
        let facts = LocalEndpoint::new(LocalOptions::default()).facts().await.unwrap();
        assert!(facts.cores > 0 && facts.memory_bytes > 1 << 20, "{facts:?}");
        assert!(facts.hash_rate > 10_000_000 && facts.seal_rate > 1_000_000, "{facts:?}");
    }

    #[expect(clippy::disallowed_methods, reason = "a test looks at what stays")]
    async fn tried(access: Access, reserve: u64) -> (Result<DiskTrial, EndpointError>, usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().as_os_str().as_encoded_bytes().to_vec();
        let endpoint = LocalEndpoint::new(LocalOptions { reserve, ..LocalOptions::default() });
        let root = endpoint.open_root(Open { path, access }).await.unwrap().index;
        let tried = endpoint.try_disk(TryDisk { root, bytes: 5 << 20, millis: 10_000 }).await;
        (tried, std::fs::read_dir(directory.path()).unwrap().count())
    }

    #[tokio::test]
    async fn a_disk_is_tried_and_nothing_stays() {
        let (tried, left) = tried(Access::Write, 0).await;
        let tried = tried.unwrap();
        assert_eq!((tried.written, tried.read, left), (5 << 20, 5 << 20, 0));
        assert!(tried.write_micros > 0 && tried.read_micros > 0);
    }

    #[tokio::test]
    async fn nothing_is_written_below_a_source_or_where_nothing_is_free() {
        let (refused, _) = tried(Access::Read, 0).await;
        let EndpointError::Fault(fault) = refused.unwrap_err() else { panic!("no fault") };
        assert_eq!(fault.kind, FaultKind::Protocol);
        let (full, _) = tried(Access::Write, u64::MAX).await;
        assert_eq!(full.unwrap().written, 0);
    }
}
