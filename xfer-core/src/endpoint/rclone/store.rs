//! A remote as a store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::RcloneStore;
use super::rows::Row;
use crate::disk::private_directory::PrivateDirectory;
use crate::endpoint::object::modified_of;
use crate::endpoint::object::store::{
    Abilities, Checksum, Condition, Get, Key, List, Load, Object, Page, Part, Put, Store,
    StoreError, StoreResult, Stored, Upload, UploadId, Version,
};

/// Bytes that are copied from the directory of ours as one file.
const PUT_MAX: u64 = 64 << 20;

impl RcloneStore {
    pub(super) async fn row(&self, key: &Key) -> StoreResult<Option<Row>> {
        if self.features.is_bucket(key.as_str()) {
            return Ok(None);
        }
        self.program.look(&self.file_system, key.as_str(), &self.features).await
    }

    async fn object(&self, key: &Key) -> StoreResult<Object> {
        let row = self.row(key).await?.ok_or(StoreError::Missing)?;
        Ok(self.features.object(&row))
    }

    /// What is there once something was written.
    async fn stored(&self, key: &Key, size: u64) -> StoreResult<Stored> {
        self.listings.clear();
        let object = self.object(key).await?;
        if object.size != size {
            return Err(StoreError::Damaged("another length arrived".to_owned()));
        }
        let checksum = object.checksums.first().copied();
        Ok(Stored { version: object.version, checksum })
    }

    async fn check(&self, key: &Key, condition: &Condition) -> StoreResult<()> {
        let found = match condition {
            Condition::Always => return Ok(()),
            Condition::Absent | Condition::Has(_) => self.row(key).await?,
        };
        let tag = found.map(|row| self.features.tag(&row));
        let holds = match condition {
            Condition::Has(wanted) => tag.as_ref() == Some(wanted),
            Condition::Always | Condition::Absent => tag.is_none(),
        };
        if holds { Ok(()) } else { Err(StoreError::Changed) }
    }
}

/// A file that is laid out; gone when dropped.
struct LaidOut {
    directory: Arc<PrivateDirectory>,
    name: String,
}

impl Drop for LaidOut {
    fn drop(&mut self) {
        self.directory.remove(&self.name);
    }
}

#[async_trait]
impl Store for RcloneStore {
    fn abilities(&self) -> Abilities {
        Abilities {
            part_min: 1,
            part_max: u64::MAX,
            parts_max: 10_000,
            put_max: PUT_MAX,
            lists_parts: false,
            attributes_at_end: true,
            takes_back: true,
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn head(&self, key: &Key) -> StoreResult<Object> {
        self.object(key).await
    }

    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)> {
        let object = match &get.version.etag {
            Some(_) => None,
            None => Some(self.object(get.key).await?),
        };
        let told = object.as_ref().and_then(|object| object.version.etag.as_deref());
        let tag = told.or(get.version.etag.as_deref()).unwrap_or_default().to_owned();
        let read = self.program.read(&self.file_system, get.key.as_str(), get.range).await?;
        if !self.features.is_state(&tag, read.size, read.modified) {
            return Err(StoreError::Changed);
        }
        // Reading tells of times by seconds alone; the sum tells more, where there is one.
        if self.features.sum.is_some() {
            let after = self.row(get.key).await?.ok_or(StoreError::Changed)?;
            if self.features.tag(&after) != tag {
                return Err(StoreError::Changed);
            }
        }
        let object = object.unwrap_or_else(|| Object {
            size: read.size,
            version: Version { etag: Some(tag), id: None },
            modified: read.modified.unwrap_or_default(),
            checksums: Vec::new(),
            attributes: Vec::new(),
            coding: None,
        });
        Ok((read.bytes, object))
    }

    async fn put(&self, put: Put<'_>) -> StoreResult<Stored> {
        self.check(put.key, &put.condition).await?;
        let laid_out =
            LaidOut { directory: Arc::clone(&self.program.stage), name: self.program.next_name() };
        let modified = modified_of(put.attributes);
        let (directory, name) = (Arc::clone(&laid_out.directory), laid_out.name.clone());
        let body = put.body.clone().bytes()?;
        let size = body.len() as u64;
        let writing = move || directory.write(&name, &body, modified);
        let written = tokio::task::spawn_blocking(writing).await;
        let failed = |why: String| StoreError::Failed(format!("before it is sent: {why}"));
        written
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        let to = (self.file_system.as_str(), put.key.as_str());
        self.program.copy_in(&laid_out.name, to).await?;
        self.stored(put.key, size).await
    }

    async fn remove(&self, key: &Key) -> StoreResult<()> {
        self.listings.clear();
        self.program.remove(&self.file_system, key.as_str()).await
    }

    async fn remove_directory(&self, prefix: &str) -> StoreResult<()> {
        self.listings.clear();
        let path = prefix.strip_suffix('/').unwrap_or(prefix);
        self.program.remove_directory(&self.file_system, path).await
    }

    async fn list(&self, list: List<'_>) -> StoreResult<Page> {
        self.page(list).await
    }

    async fn begin(&self, key: &Key, _: &[(String, String)]) -> StoreResult<UploadId> {
        Ok(self.begin_streaming(key))
    }

    async fn put_part(
        &self,
        _: &Key,
        upload: &UploadId,
        number: u32,
        body: Load,
        _: Checksum,
    ) -> StoreResult<Part> {
        self.give_part(upload, number, body.bytes()?).await
    }

    async fn parts(&self, _: &Key, _: &UploadId, _: u32) -> StoreResult<Vec<Part>> {
        Err(StoreError::Missing)
    }

    async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        _: &[(String, String)],
        _: Option<Checksum>,
        condition: Condition,
    ) -> StoreResult<Stored> {
        self.check(key, &condition).await?;
        let size = parts.iter().map(|part| part.size).sum();
        let count = u32::try_from(parts.len()).map_err(|_| StoreError::Unsupported)?;
        let streaming = self.end_streaming(upload, count).await?;
        if self.streamed_bytes(&streaming).await? != Some(size) {
            return Err(StoreError::Damaged("another length arrived".to_owned()));
        }
        self.name_streamed(&streaming, key).await?;
        self.stored(key, size).await
    }

    async fn abort(&self, _: &Key, upload: &UploadId) -> StoreResult<()> {
        self.abort_streaming(upload).await
    }

    async fn uploads(&self, _: &str) -> StoreResult<Vec<Upload>> {
        Err(StoreError::Unsupported)
    }
}
