//! Azure and GCS, through the library that knows them, and by requests of ours where it loses
//! something.
//!
//! The library lists no keys but those it can use, completes an upload of Azure without attributes
//! or conditions, and removes from Azure by a batch whose answer it trusts: those requests are made
//! here, and signed by it. It repeats nothing, for patience is above.

mod azure;
mod direct;
mod gcs;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, RetryConfig,
};
use xfer_protocol::manifest::Timestamp;

use super::carrier::{Head, within};
use super::{
    Abilities, Checksum, Condition, Get, Key, List, Load, Object, Page, Part, Put, Store,
    StoreError, StoreResult, Stored, Upload, UploadId, Version, origin,
};

/// A bucket of Azure or GCS, or one in memory.
pub struct PlainStore {
    name: String,
    objects: Arc<dyn ObjectStore>,
    rest: Rest,
}

/// The library's own stores show their tokens.
impl fmt::Debug for PlainStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainStore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the library's common ground does not have.
enum Rest {
    Azure(azure::Azure),
    Gcs(gcs::Gcs),
    #[cfg(test)]
    Memory(memory::Memory),
}

/// Whatever the kind of store is.
macro_rules! rest {
    ($self:ident, $rest:ident => $asked:expr) => {
        match &$self.rest {
            Rest::Azure($rest) => $asked,
            Rest::Gcs($rest) => $asked,
            #[cfg(test)]
            Rest::Memory($rest) => $asked,
        }
    };
}

fn never_again() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The library takes a key as it is, or not at all.
fn path(key: &Key) -> StoreResult<Path> {
    let refused = || StoreError::Failed("a key with control bytes cannot be asked for".to_owned());
    let path = Path::parse(key.as_str()).map_err(|_| refused())?;
    if path.as_ref() == key.as_str() { Ok(path) } else { Err(refused()) }
}

fn sorted(error: &object_store::Error) -> StoreError {
    use object_store::Error;
    if let Some(error) = within(error) {
        return error;
    }
    // No text of the library's is shown: it may hold an address with a signature.
    match error {
        Error::NotFound { .. } => StoreError::Missing,
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            StoreError::Changed
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } => StoreError::Unsupported,
        Error::PermissionDenied { .. } => StoreError::Denied("by the store".to_owned()),
        Error::Unauthenticated { .. } => StoreError::Refused("by the store".to_owned()),
        _ => StoreError::Nonsense("what it says is not what was asked for".to_owned()),
    }
}

/// An error of a writing: where the answer made no sense, it may have been done.
fn sorted_write(error: &object_store::Error) -> StoreError {
    match sorted(error) {
        StoreError::Nonsense(why) => StoreError::Unknown(why),
        other => other,
    }
}

/// The same request again does the same.
fn repeatable(error: StoreError) -> StoreError {
    match error {
        StoreError::Unknown(why) => StoreError::Again(why),
        other => other,
    }
}

fn attributes(given: &[(String, String)]) -> Attributes {
    let named = |name: &String| Attribute::Metadata(name.clone().into());
    given.iter().map(|(name, value)| (named(name), value.clone())).collect()
}

fn version_of(meta: &ObjectMeta) -> Version {
    Version { etag: meta.e_tag.clone(), id: meta.version.clone() }
}

fn object(got: &GetResult, checksums: Vec<Checksum>) -> Object {
    let (mut attributes, mut coding) = (Vec::new(), None);
    for (name, value) in &got.attributes {
        match name {
            Attribute::Metadata(name) => {
                attributes.push((name.to_ascii_lowercase(), value.to_string()));
            }
            Attribute::ContentEncoding => coding = Some(value.to_string()),
            _ => {}
        }
    }
    attributes.sort();
    let coding = coding.filter(|coding| !coding.is_empty() && coding != "identity");
    let written = got.meta.last_modified;
    let nanoseconds = written.timestamp_subsec_nanos();
    let modified = Timestamp { seconds: written.timestamp(), nanoseconds };
    let (size, version) = (got.meta.size, version_of(&got.meta));
    Object { size, version, modified, checksums, attributes, coding }
}

impl PlainStore {
    fn told(&self, got: &GetResult) -> Object {
        let empty = HeaderMap::new();
        let headers = got.extensions.get::<Head>().map_or(&empty, |head| &head.0);
        let mut told = object(got, rest!(self, rest => rest.checksums(headers)));
        if let Rest::Azure(_) = &self.rest {
            azure::rename(&mut told.attributes);
        }
        told
    }
}

#[async_trait]
impl Store for PlainStore {
    fn abilities(&self) -> Abilities {
        rest!(self, rest => rest.abilities())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<&str> {
        match &self.rest {
            Rest::Azure(azure) => Some(origin(&azure.0.base)),
            Rest::Gcs(gcs) => Some(origin(&gcs.direct.base)),
            #[cfg(test)]
            Rest::Memory(_) => None,
        }
    }

    async fn head(&self, key: &Key) -> StoreResult<Object> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let got = self.objects.get_opts(&path(key)?, options).await;
        Ok(self.told(&got.map_err(|error| sorted(&error))?))
    }

    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)> {
        let (start, end) = (get.range.start(), get.range.end());
        let (if_match, version) = match (&get.version.etag, &get.version.id) {
            (Some(etag), _) => (Some(etag.clone()), None),
            (None, id) => (None, id.clone()),
        };
        let range = Some(GetRange::Bounded(start..end));
        let options = GetOptions { range, if_match, version, ..GetOptions::default() };
        let got = self.objects.get_opts(&path(get.key)?, options).await;
        let got = got.map_err(|error| sorted(&error))?;
        let told = self.told(&got);
        if got.range != (start..end) {
            let why = format!("{} bytes end before what was asked for", told.size);
            return Err(StoreError::Damaged(why));
        }
        if get.version.etag.is_some() && told.version.etag != get.version.etag {
            return Err(StoreError::Changed);
        }
        let bytes = got.bytes().await.map_err(|error| sorted(&error))?;
        if bytes.len() as u64 != get.range.len() {
            let (came, due) = (bytes.len(), get.range.len());
            return Err(StoreError::Damaged(format!("{came} bytes came where {due} are due")));
        }
        Ok((bytes, told))
    }

    async fn put(&self, put: Put<'_>) -> StoreResult<Stored> {
        let put_max = self.abilities().put_max;
        if put.body.length() > put_max {
            return Err(StoreError::Failed(format!("more than {put_max} bytes at once")));
        }
        rest!(self, rest => rest.put(&self.objects, put).await)
    }

    async fn remove(&self, key: &Key) -> StoreResult<()> {
        let removed = rest!(self, rest => rest.remove(&self.objects, key).await);
        match removed.map_err(repeatable) {
            Err(StoreError::Missing) => Ok(()),
            other => other,
        }
    }

    async fn remove_if(&self, key: &Key, etag: &str) -> StoreResult<()> {
        let Rest::Azure(azure) = &self.rest else { return self.remove(key).await };
        match azure.remove_if(key, etag).await.map_err(repeatable) {
            Err(StoreError::Missing) => Ok(()),
            other => other,
        }
    }

    async fn list(&self, list: List<'_>) -> StoreResult<Page> {
        rest!(self, rest => rest.list(&self.objects, list).await)
    }

    async fn begin(&self, key: &Key, attributes: &[(String, String)]) -> StoreResult<UploadId> {
        rest!(self, rest => rest.begin(key, attributes).await).map_err(repeatable)
    }

    async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Load,
        checksum: Checksum,
    ) -> StoreResult<Part> {
        if number == 0 || number > self.abilities().parts_max {
            return Err(StoreError::Failed(format!("there is no part {number}")));
        }
        let body = body.bytes()?;
        let put = rest!(self, rest => rest.put_part(key, upload, number, body, checksum).await);
        put.map_err(repeatable)
    }

    async fn parts(&self, key: &Key, upload: &UploadId, after: u32) -> StoreResult<Vec<Part>> {
        rest!(self, rest => rest.parts(key, upload, after).await)
    }

    async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        attributes: &[(String, String)],
        _checksum: Option<Checksum>,
        condition: Condition,
    ) -> StoreResult<Stored> {
        if parts.is_empty() {
            return Err(StoreError::Failed("an upload without a part".to_owned()));
        }
        if let (Rest::Gcs(_), false) = (&self.rest, condition == Condition::Always) {
            gcs::look_before(self, key, &condition).await?;
        }
        rest!(self, rest => rest.complete(key, upload, parts, attributes, condition).await)
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()> {
        rest!(self, rest => rest.abort(key, upload).await).map_err(repeatable)
    }

    async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        rest!(self, rest => rest.uploads(prefix).await)
    }
}
