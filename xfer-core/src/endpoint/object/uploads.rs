//! Uploads in parts that are not finished. Ours are those that a record of this machine names: no
//! list tells with what an upload was begun, so nothing else proves whose one is, and what is not
//! proven to be ours is left alone.

use std::collections::HashMap;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::RelPath;

use super::fault::sort;
use super::keys::{key_of, path_of};
use super::locate::typed;
use super::records::Kept;
use super::store::{Key, Part, StoreError, StoreResult, Upload as Told, UploadId};
use super::upload::all_parts;
use super::{ObjectEndpoint, Shared};
use crate::disk::fault::fault as io_fault;
use crate::endpoint::EndpointResult;

/// An upload that this machine began and that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The object that it would become.
    pub key: String,
    /// When it was begun, by the store's clock; `None` where the store does not tell.
    pub begun: Option<Timestamp>,
    /// When a part of it was recorded last, by this machine's clock, in seconds since 1970.
    pub worked_on: Option<i64>,
    /// Parts that are there.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    id: UploadId,
}

/// What is not finished below a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// Those that this machine began, by their keys.
    pub ours: Vec<Unfinished>,
    /// How many others there are; `None` where the store does not tell.
    pub others: Option<u64>,
}

/// What became of an upload that was to be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aborted {
    /// It is no more, nor are its parts.
    Gone,
    /// A transfer of this machine works on it.
    InUse,
}

impl Unfinished {
    /// The last sign of work on it, in seconds since 1970: nothing was done for it since.
    #[must_use]
    pub fn last_sign(&self) -> Option<i64> {
        self.begun.map(|begun| begun.seconds).max(self.worked_on)
    }
}

impl ObjectEndpoint {
    /// The uploads that are not finished at or below a path as it was typed.
    ///
    /// # Errors
    /// Where the store cannot be asked, or the path can be none of a bucket.
    pub async fn uploads(&self, path: &[u8]) -> EndpointResult<Uploads> {
        self.shared.check_open()?;
        self.shared.unfinished(path).await
    }

    /// Aborts one of this machine's uploads, unless somebody here works on it.
    ///
    /// # Errors
    /// Where the store does not do so.
    pub async fn abort(&self, upload: &Unfinished) -> EndpointResult<Aborted> {
        let upload = upload.clone();
        self.whole(|shared| async move { shared.abort_unfinished(&upload).await }).await
    }
}

impl Shared {
    async fn unfinished(&self, path: &[u8]) -> EndpointResult<Uploads> {
        let unsafe_path = || Fault::new(FaultKind::Unsafe, Operation::List, RelPath::root());
        let at = typed(path).ok_or_else(unsafe_path)?;
        let within = Within::new(&at, path.ends_with(b"/"))?;
        let failed = |error| sort(error, Operation::List, &at);
        let listed = match self.store.uploads(&within.prefix).await {
            Ok(listed) => Some(listed),
            // Whoever may not look has what is recorded.
            Err(StoreError::Unsupported | StoreError::Denied(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        let listed = listed.map(|listed| {
            let within = listed.into_iter().filter(|upload| within.holds(&upload.key));
            within.map(|upload| ((upload.key.clone(), upload.id.clone()), upload))
        });
        let mut listed: Option<HashMap<_, _>> = listed.map(Iterator::collect);
        let mut ours = Vec::new();
        for kept in self.own_records().into_iter().filter(|kept| within.holds(kept.key())) {
            let id = UploadId(kept.record.begun.upload.clone());
            let told = listed.as_mut().and_then(|all| all.remove(&(kept.key().to_owned(), id)));
            // What a list does not name may be there all the same.
            ours.extend(self.looked_up(&kept, told).await.map_err(failed)?);
        }
        ours.sort_by(|one: &Unfinished, other| one.key.cmp(&other.key));
        let others = listed.map(|others| u64::try_from(others.len()).unwrap_or(u64::MAX));
        Ok(Uploads { ours, others })
    }

    /// An upload that is recorded, as the store has it; `None` where it has none.
    async fn looked_up(&self, kept: &Kept, told: Option<Told>) -> StoreResult<Option<Unfinished>> {
        let Some(key) = Key::new(kept.key()) else { return Ok(None) };
        let id = UploadId(kept.record.begun.upload.clone());
        let sizes: Vec<u64> = match all_parts(self, &key, &id).await {
            // There, it is as if there were no such upload.
            Ok(parts) if parts.is_empty() && told.is_none() => return Ok(None),
            Ok(parts) => parts.iter().map(|part: &Part| part.size).collect(),
            Err(StoreError::Missing) => return Ok(None),
            Err(StoreError::Unsupported | StoreError::Denied(_)) => {
                kept.record.parts.values().map(|part| part.size).collect()
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Unfinished {
            key: kept.key().to_owned(),
            begun: told.map(|told| told.begun),
            worked_on: kept.modified,
            parts: u64::try_from(sizes.len()).unwrap_or(u64::MAX),
            bytes: sizes.into_iter().fold(0, u64::saturating_add),
            id,
        }))
    }

    async fn abort_unfinished(&self, upload: &Unfinished) -> EndpointResult<Aborted> {
        let path = path_of("", &upload.key).unwrap_or_default();
        let refused = || Fault::new(FaultKind::Protocol, Operation::Remove, path.clone());
        let key = Key::new(upload.key.as_str()).ok_or_else(refused)?;
        // A transfer of this machine may be at it.
        let _kept_off = match self.lock_place() {
            Some(place) => {
                let at = [b"/", path.as_bytes()].concat();
                match self.locks.keep_off(place, &at) {
                    Ok(Some(kept)) => kept,
                    Ok(None) => return Ok(Aborted::InUse),
                    Err(errno) => return Err(io_fault(errno, Operation::Remove, &path).into()),
                }
            }
            None => Vec::new(),
        };
        let aborted = self.abort_recorded(&key, &upload.id).await;
        aborted.map(|()| Aborted::Gone).map_err(|error| sort(error, Operation::Remove, &path))
    }

    async fn abort_recorded(&self, key: &Key, id: &UploadId) -> StoreResult<()> {
        // Meanwhile a transfer may have finished it, or begun another.
        let is_ours = self
            .record_of(key)
            .is_some_and(|record| record.begun.upload == id.0 && record.begun.attempt.is_some());
        if !is_ours {
            return Ok(());
        }
        match self.store.abort(key, id).await {
            Ok(()) | Err(StoreError::Missing) => {
                self.drop_record(key);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// The keys at and below a place.
struct Within {
    /// What all of them begin with; others may, too.
    prefix: String,
    exact: Option<String>,
    below: String,
}

impl Within {
    fn new(at: &RelPath, only_below: bool) -> Result<Self, Fault> {
        if at.is_root() {
            return Ok(Self { prefix: String::new(), exact: None, below: String::new() });
        }
        let key = key_of("", at);
        let key = key.map_err(|kind| Fault::new(kind, Operation::List, at.clone()))?;
        let key = key.as_str().to_owned();
        let below = format!("{key}/");
        Ok(match only_below {
            true => Self { prefix: below.clone(), exact: None, below },
            false => Self { prefix: key.clone(), exact: Some(key), below },
        })
    }

    fn holds(&self, key: &str) -> bool {
        key.starts_with(&self.below) || self.exact.as_deref() == Some(key)
    }
}
