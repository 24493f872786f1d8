//! A bucket in memory, for tests of what stands above.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::HeaderMap;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    UpdateVersion,
};
use xfer_protocol::manifest::Timestamp;

use super::super::{
    Abilities, Checksum, Condition, Key, List, Listed, Page, Part, Put, StoreError, StoreResult,
    Stored, Upload, UploadId, Version,
};
use super::{PlainStore, Rest, attributes, path, sorted, sorted_write, version_of};

/// Uploads under way, with their keys and parts.
type Uploads = HashMap<UploadId, (Key, BTreeMap<u32, Part>)>;

/// The library's store in memory, with a list of what was begun there.
pub(super) struct Memory {
    store: Arc<InMemory>,
    uploads: Mutex<Uploads>,
}

impl PlainStore {
    /// An empty bucket in memory.
    pub(crate) fn in_memory() -> Self {
        let store = Arc::new(InMemory::new());
        let objects = Arc::<InMemory>::clone(&store);
        let rest = Rest::Memory(Memory { store, uploads: Mutex::default() });
        Self { name: "memory://bucket".to_owned(), objects, rest }
    }
}

impl Memory {
    pub(super) fn abilities(&self) -> Abilities {
        Abilities {
            part_min: 1,
            part_max: 64 << 20,
            parts_max: 10_000,
            put_max: 64 << 20,
            lists_parts: true,
            attributes_at_end: false,
            takes_back: true,
        }
    }

    pub(super) fn checksums(&self, _headers: &HeaderMap) -> Vec<Checksum> {
        Vec::new()
    }

    pub(super) async fn put(
        &self,
        objects: &Arc<dyn ObjectStore>,
        put: Put<'_>,
    ) -> StoreResult<Stored> {
        let mode = match put.condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Has(etag) => {
                PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None })
            }
        };
        let options =
            PutOptions { mode, attributes: attributes(put.attributes), ..PutOptions::default() };
        let payload = PutPayload::from_bytes(put.body.bytes()?);
        let done = objects.put_opts(&path(put.key)?, payload, options).await;
        let done = done.map_err(|error| sorted_write(&error))?;
        Ok(Stored { version: Version { etag: done.e_tag, id: done.version }, checksum: None })
    }

    pub(super) async fn remove(
        &self,
        objects: &Arc<dyn ObjectStore>,
        key: &Key,
    ) -> StoreResult<()> {
        objects.delete(&path(key)?).await.map_err(|error| sorted_write(&error))
    }

    /// The page's name is the last key, or prefix, of the page before.
    pub(super) async fn list(
        &self,
        objects: &Arc<dyn ObjectStore>,
        list: List<'_>,
    ) -> StoreResult<Page> {
        let all: Vec<_> = objects.list(None).try_collect().await.map_err(|error| sorted(&error))?;
        let mut entries = BTreeMap::new();
        let mut prefixes = BTreeSet::new();
        for meta in all {
            let key = meta.location.as_ref().to_owned();
            let Some(rest) = key.strip_prefix(list.prefix) else { continue };
            if let Some((folder, _)) = rest.split_once('/').filter(|_| list.folded) {
                prefixes.insert(format!("{}{folder}/", list.prefix));
                continue;
            }
            let nanoseconds = meta.last_modified.timestamp_subsec_nanos();
            let modified = Timestamp { seconds: meta.last_modified.timestamp(), nanoseconds };
            let (size, etag) = (meta.size, version_of(&meta).etag);
            entries.insert(key.clone(), Listed { key, size, etag, modified });
        }
        let names = entries.keys().chain(&prefixes).cloned().collect::<BTreeSet<String>>();
        let behind = names.into_iter().filter(|name| list.page.is_none_or(|page| &**name > page));
        let mut behind = behind.peekable();
        let mut page = Page::default();
        for name in behind.by_ref().take(list.most.into()) {
            page.next = Some(name.clone());
            match entries.remove(&name) {
                Some(listed) => page.objects.push(listed),
                None => page.prefixes.push(name),
            }
        }
        page.next = page.next.filter(|_| behind.peek().is_some());
        Ok(page)
    }

    pub(super) async fn begin(
        &self,
        key: &Key,
        given: &[(String, String)],
    ) -> StoreResult<UploadId> {
        let options =
            PutMultipartOptions { attributes: attributes(given), ..PutMultipartOptions::default() };
        let begun = self.store.create_multipart_opts(&path(key)?, options).await;
        let id = begun.map(UploadId).map_err(|error| sorted_write(&error))?;
        let mut uploads = self.uploads.lock().unwrap();
        uploads.insert(id.clone(), (key.clone(), BTreeMap::new()));
        Ok(id)
    }

    pub(super) async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Bytes,
        _checksum: Checksum,
    ) -> StoreResult<Part> {
        let (size, index) = (body.len() as u64, number as usize - 1);
        let put = self.store.put_part(&path(key)?, &upload.0, index, body.into()).await;
        let tag = put.map_err(|error| sorted(&error))?.content_id;
        let part = Part { number, size, tag, checksum: None };
        let mut uploads = self.uploads.lock().unwrap();
        let (_, parts) = uploads.get_mut(upload).ok_or(StoreError::Missing)?;
        parts.insert(number, part.clone());
        Ok(part)
    }

    pub(super) async fn parts(
        &self,
        _key: &Key,
        upload: &UploadId,
        after: u32,
    ) -> StoreResult<Vec<Part>> {
        let uploads = self.uploads.lock().unwrap();
        let (_, parts) = uploads.get(upload).ok_or(StoreError::Missing)?;
        Ok(parts.values().filter(|part| part.number > after).cloned().collect())
    }

    pub(super) async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        _attributes: &[(String, String)],
        condition: Condition,
    ) -> StoreResult<Stored> {
        if condition != Condition::Always {
            let there = self.store.head(&path(key)?).await.map_err(|error| sorted(&error));
            let holds = match (&condition, there) {
                (Condition::Absent, Err(StoreError::Missing)) => true,
                (Condition::Has(etag), Ok(there)) => there.e_tag.as_ref() == Some(etag),
                _ => false,
            };
            holds.then_some(()).ok_or(StoreError::Changed)?;
        }
        let tags = parts.iter().map(|part| PartId { content_id: part.tag.clone() }).collect();
        let done = self.store.complete_multipart(&path(key)?, &upload.0, tags).await;
        let done = done.map_err(|error| sorted(&error))?;
        self.uploads.lock().unwrap().remove(upload);
        Ok(Stored { version: Version { etag: done.e_tag, id: done.version }, checksum: None })
    }

    pub(super) async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()> {
        self.uploads.lock().unwrap().remove(upload);
        let aborted = self.store.abort_multipart(&path(key)?, &upload.0).await;
        aborted.map_err(|error| sorted(&error))
    }

    pub(super) async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        let uploads = self.uploads.lock().unwrap();
        let of = |(id, (key, _)): (&UploadId, &(Key, _))| Upload {
            key: key.as_str().to_owned(),
            id: id.clone(),
            begun: Timestamp::default(),
        };
        let all = uploads.iter().map(of);
        Ok(all.filter(|upload| upload.key.starts_with(prefix)).collect())
    }
}
