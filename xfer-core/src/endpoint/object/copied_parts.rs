//! A large object that the store copies part by part, into an upload that is recorded like any
//! other, so that a later session goes on with it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::stream::{StreamExt, TryStreamExt};
use xfer_protocol::manifest::Metadata;
use xfer_protocol::range::ByteRange;

use super::confirm::Mark;
use super::copying::{Copying, Ended, Known, PART_BYTES, Uncopied};
use super::entry::number_of;
use super::hash::pieces;
use super::records::{Begun, CopyOf, RecordedPart, Recording};
use super::store::{Checksum, Key, Original, Part, StoreError, StoreResult, Stored, UploadId};
use super::sums::told_crc;
use super::upload::all_parts;
use super::{Shared, attributes, guard};

/// Parts of one object that are copied at a time.
const PARTS_AT_ONCE: usize = 16;

/// An upload that is copied into.
struct Under {
    id: UploadId,
    attempt: String,
    /// What the object will tell.
    told: Vec<(String, String)>,
    /// What an earlier session copied.
    parts: BTreeMap<u32, Part>,
    recording: Mutex<Option<Recording>>,
}

impl Under {
    fn record(&self, part: &Part) {
        if let Some(recording) = &mut *guard(&self.recording) {
            recording.add(&recorded(part));
        }
    }
}

fn recorded(part: &Part) -> RecordedPart {
    let Part { number, size, tag, .. } = part.clone();
    RecordedPart { number, size, tag, crc: 0, acknowledged: false, digests: Vec::new() }
}

/// Bytes of all parts but the last; `None` where there would be too many.
fn part_length(size: u64, parts_max: u32) -> Option<u64> {
    let mut lengths = std::iter::successors(Some(PART_BYTES), |length| length.checked_mul(2));
    lengths.find(|length| size.div_ceil(*length) <= u64::from(parts_max).max(1))
}

impl Shared {
    /// Copies what no earlier session has, part by part, and makes an object of them.
    pub(super) async fn copy_in_parts(
        &self,
        key: &Key,
        copying: &Copying,
        known: &Known,
        from: &Self,
    ) -> Result<(Stored, u64), Ended> {
        let size = known.original.size;
        let length = part_length(size, self.store.abilities().parts_max);
        let length = length.ok_or(StoreError::Unsupported)?;
        let under = self.copy_begun(key, &copying.metadata, known, length).await?;
        let kept: u64 = under.parts.values().map(|part| part.size).sum();
        let copied = self.copy_missing(key, (copying, known), length, &under).await;
        let ended = match copied {
            // Not every store looks at the state of what it copies parts of.
            Ok(_) if from.differs_from(&known.original).await? => Err(StoreError::Changed),
            Ok(parts) => {
                let sum = told_crc(&known.checksums);
                let mark = Mark { attempt: Some(&under.attempt), size, crc: sum };
                let sum = sum.map(Checksum::Crc64Nvme);
                let all = (&under.id, &parts[..]);
                self.completed(key, all, &under.told, sum, &mark).await
            }
            Err(error) => Err(error),
        };
        let error = match ended {
            Ok(stored) => {
                self.drop_record(key);
                return Ok((stored, kept));
            }
            Err(error) => error,
        };
        // A later session goes on after what may be over then.
        let may_go_on = matches!(
            error,
            StoreError::Again(_)
                | StoreError::Porter(_)
                | StoreError::Refused(_)
                | StoreError::Slow { .. }
                | StoreError::Untrusted(_)
        );
        if !may_go_on {
            self.drop_record(key);
            let _as_far_as_it_goes = self.store.abort(key, &under.id).await;
        }
        match error {
            // Of parts that are gone, or may be an object by now, nothing can be relied on.
            StoreError::Unknown(_) => Err(Ended::Refused(Uncopied::Unproven)),
            error => Err(Ended::Store(error)),
        }
    }

    /// Whether an object of this bucket is in another state by now.
    async fn differs_from(&self, original: &Original) -> StoreResult<bool> {
        match self.store.head(&original.key).await {
            Ok(found) => {
                let found = found.version.etag.as_deref().map(number_of);
                Ok(found != Some(number_of(&original.etag)))
            }
            Err(StoreError::Missing) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn copy_missing(
        &self,
        key: &Key,
        (copying, known): (&Copying, &Known),
        length: u64,
        under: &Under,
    ) -> StoreResult<Vec<Part>> {
        let whole = ByteRange::whole(known.original.size);
        let all = whole.into_iter().flat_map(|whole| pieces(whole, length)).zip(1_u32..);
        let each = all.map(|(range, number)| async move {
            if let Some(part) = under.parts.get(&number) {
                return Ok(part.clone());
            }
            let (store, original) = (&self.store, &known.original);
            let part = store.copy_part(key, &under.id, number, original, range).await?;
            under.record(&part);
            (copying.on_copied)(range.len());
            Ok(part)
        });
        futures_util::stream::iter(each).buffered(PARTS_AT_ONCE).try_collect().await
    }

    /// The upload that is copied into: that of an earlier session where it had the same to copy and
    /// the same to tell of it, or a new one.
    async fn copy_begun(
        &self,
        key: &Key,
        metadata: &Metadata,
        known: &Known,
        length: u64,
    ) -> StoreResult<Under> {
        let Original { bucket, key: from, etag, .. } = &known.original;
        let copy_of = CopyOf {
            bucket: bucket.clone(),
            key: from.as_str().to_owned(),
            etag: etag.clone(),
            attributes: attributes::written(metadata, known.digest, None),
        };
        let (id, attempt, parts) = match self.copy_taken_up(key, &copy_of, length).await? {
            Some(found) => found,
            None => {
                let attempt = self.attempt();
                let told = attributes::written(metadata, known.digest, Some(&attempt));
                (self.store.begin(key, &told).await?, attempt, BTreeMap::new())
            }
        };
        let told = attributes::written(metadata, known.digest, Some(&attempt));
        let begun = Begun::new(self.store.name(), key, &id, Some(attempt.clone()), length);
        let none = std::iter::empty();
        let directory = self.options.records.as_ref();
        let mut recording = directory.and_then(|at| Recording::begin(at, &begun, none));
        if let Some(recording) = &mut recording {
            recording.tell_origin(&copy_of);
            parts.values().for_each(|part| recording.add(&recorded(part)));
        }
        let parts: BTreeMap<u32, Part> = parts;
        Ok(Under { id, attempt, told, parts, recording: Mutex::new(recording) })
    }

    /// What an earlier session began, and the store still has.
    async fn copy_taken_up(
        &self,
        key: &Key,
        copy_of: &CopyOf,
        length: u64,
    ) -> StoreResult<Option<(UploadId, String, BTreeMap<u32, Part>)>> {
        let Some(record) = self.record_of(key) else { return Ok(None) };
        let id = UploadId(record.begun.upload.clone());
        let is_same = record.begun.part_length == length && record.copy_of == Some(copy_of.clone());
        let (Some(attempt), true) = (&record.begun.attempt, is_same) else {
            if record.begun.attempt.is_some() {
                let _gone = self.store.abort(key, &id).await;
            }
            self.drop_record(key);
            return Ok(None);
        };
        let listed = match all_parts(self, key, &id).await {
            Ok(listed) => Some(listed),
            // Completing compares the tags that are recorded.
            Err(StoreError::Unsupported | StoreError::Denied(_)) => None,
            Err(StoreError::Missing) => {
                self.drop_record(key);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let holds = |part: &RecordedPart| {
            listed.as_ref().is_none_or(|listed| {
                let found = listed.iter().find(|found| found.number == part.number);
                found.is_some_and(|found| {
                    found.size == part.size && (found.tag.is_empty() || found.tag == part.tag)
                })
            })
        };
        let parts = record.parts.values().filter(|part| holds(part)).map(|part| {
            let RecordedPart { number, size, tag, .. } = part.clone();
            (number, Part { number, size, tag, checksum: None })
        });
        Ok(Some((id, attempt.clone(), parts.collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::object::upload;

    #[test]
    fn parts_are_few_enough_and_of_no_length_that_is_sent() {
        assert_eq!(part_length(PART_BYTES + 1, 10_000), Some(PART_BYTES));
        let largest = part_length(5 << 40, 10_000).unwrap();
        assert!(largest <= 5 << 30 && (5_u64 << 40).div_ceil(largest) <= 10_000);
        for size in (25..43).map(|log| 1_u64 << log) {
            assert_ne!(part_length(size, 10_000), upload::part_length(size, 10_000));
        }
    }
}
