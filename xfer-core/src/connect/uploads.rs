//! Uploads in parts that are not finished: those of this machine are listed, and those on which
//! nobody works any more are aborted where that was asked. Others' are counted and left alone.

use std::sync::Arc;
use std::time::Duration;

use super::Connector;
use super::store_refusals::store_error;
use crate::endpoint::object::store::{Store, StoreError};
use crate::endpoint::object::{Aborted, ObjectEndpoint, Unfinished};
use crate::endpoint::{EndpointError, LostReason};
use crate::error::TransferError;
use crate::location::{Bucket, Location, Machine, StoreKind};
use crate::options::TransferOptions;
use futures_util::future::BoxFuture;

/// What an upload is after it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// It was only listed.
    Unfinished,
    /// Work on it is too recent for it to be aborted.
    Kept,
    /// A transfer of this machine works on it.
    InUse,
    /// It was aborted, and its parts are gone.
    Aborted,
    /// It is there still, though it was to be aborted: why.
    Failed(String),
}

/// Uploads below a location.
#[derive(Clone, Debug)]
pub struct UploadList {
    /// Those of this machine, by their keys.
    pub ours: Vec<(Unfinished, UploadState)>,
    /// How many others there are; `None` where the store does not tell.
    pub others: Option<u64>,
    /// What the user should know.
    pub notices: Vec<String>,
}

impl Connector {
    /// The uploads of this machine that are not finished at or below a path in a bucket. With
    /// `stale`, those of which nothing was heard for so long are aborted.
    ///
    /// # Errors
    /// Where the bucket cannot be reached, or its uploads not be listed.
    pub fn uploads<'a>(
        &'a self,
        location: &'a Location,
        options: &'a TransferOptions,
        stale: Option<Duration>,
    ) -> BoxFuture<'a, Result<UploadList, TransferError>> {
        Box::pin(async move {
            let Machine::Store(bucket) = &location.machine else {
                return Err(TransferError::Internal("uploads are listed of buckets alone"));
            };
            let path = &location.path[..];
            let prefix = path.strip_prefix(b"/").unwrap_or(path);
            let prefix = String::from_utf8_lossy(prefix);
            let (patient, _) = self.patient_store(bucket, options, &prefix).await?;
            let objects = self.object_options(options);
            let objects = ObjectEndpoint::new(patient as Arc<dyn Store>, objects);
            let found =
                objects.uploads(path).await.map_err(|error| failed(location, bucket, error))?;
            let now = self.clock().now().seconds;
            let mut ours = Vec::with_capacity(found.ours.len());
            for upload in found.ours {
                let state = match stale {
                    None => UploadState::Unfinished,
                    Some(stale) if is_stale(&upload, now, stale) => {
                        aborted(&objects, &upload).await
                    }
                    Some(_) => UploadState::Kept,
                };
                ours.push((upload, state));
            }
            let notices = notices(bucket.kind, found.others.is_some());
            Ok(UploadList { ours, others: found.others, notices })
        })
    }
}

async fn aborted(objects: &ObjectEndpoint, upload: &Unfinished) -> UploadState {
    match objects.abort(upload).await {
        Ok(Aborted::Gone) => UploadState::Aborted,
        Ok(Aborted::InUse) => UploadState::InUse,
        Err(error) => UploadState::Failed(error.to_string()),
    }
}

/// One that tells of no moment at all is not known to be old.
fn is_stale(upload: &Unfinished, now: i64, stale: Duration) -> bool {
    let stale = i64::try_from(stale.as_secs()).unwrap_or(i64::MAX);
    upload.last_sign().is_some_and(|last| now.saturating_sub(last) >= stale)
}

fn notices(kind: StoreKind, others_told: bool) -> Vec<String> {
    let text = match kind {
        StoreKind::Azure => {
            "Azure lists no uploads: these are the records of this machine. Blocks that were never \
             put together expire there by themselves a week after the last one was written; to \
             abort one forgets its record"
        }
        _ if !others_told => {
            "the credentials may not list uploads (s3:ListBucketMultipartUploads): these are the \
             records of this machine"
        }
        _ => return Vec::new(),
    };
    vec![text.to_owned()]
}

fn failed(location: &Location, bucket: &Bucket, error: EndpointError) -> TransferError {
    let told = match error {
        EndpointError::Fault(fault) => {
            return TransferError::Root { location: location.clone(), fault };
        }
        EndpointError::Lost(LostReason::Refused) => StoreError::Refused(error.to_string()),
        EndpointError::Lost(_) => StoreError::Again(error.to_string()),
        EndpointError::Protocol(_) => StoreError::Nonsense(error.to_string()),
    };
    store_error(bucket, told)
}
