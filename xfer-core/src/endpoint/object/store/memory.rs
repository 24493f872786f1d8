//! A bucket in memory: for tests, and as the strictest reading of what a store promises.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm::Crc64Nvme;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::range::ByteRange;

use super::{
    Abilities, Checksum, Condition, Get, Key, List, Listed, Load, Object, Original, Page, Part,
    Put, Service, Store, StoreError, StoreResult, Stored, Upload, UploadId, Version,
};

/// Bytes of the smallest part but the last, as S3 has it.
const PART_MIN: u64 = 5 << 20;

/// Objects of a page at most.
const PAGE_MAX: u16 = 1000;

/// A request, to order troubles for and to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are named as the methods of a store")]
pub enum Request {
    Abort,
    Begin,
    Complete,
    Copy,
    CopyPart,
    Get,
    Head,
    List,
    Parts,
    Put,
    PutPart,
    Remove,
    Uploads,
}

/// What happens to a request instead of being answered.
#[derive(Clone, Debug)]
pub enum BucketTrouble {
    /// It fails, and nothing is done.
    Fail(StoreError),
    /// It is done, and the answer is lost.
    LoseReply,
}

/// Objects and uploads that outlive whoever writes them. Clones are the same bucket.
#[derive(Clone, Debug)]
pub struct MemoryBucket {
    name: String,
    state: Arc<Mutex<State>>,
    abilities: Abilities,
    tells_checksums: bool,
    /// Whether the state of what is copied is looked at.
    heeds_states: bool,
    /// Times that each request lets others go first.
    yields: u32,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Under>,
    /// Counts changes, as the clock of the bucket.
    ticks: u64,
    calls: HashMap<Request, u64>,
    troubles: Vec<Ordered>,
}

#[derive(Clone, Debug)]
struct Held {
    bytes: Bytes,
    object: Object,
}

#[derive(Debug)]
struct Under {
    upload: Upload,
    attributes: Vec<(String, String)>,
    parts: BTreeMap<u32, Bytes>,
}

#[derive(Debug)]
struct Ordered {
    request: Request,
    after: u64,
    times: u64,
    trouble: BucketTrouble,
}

impl MemoryBucket {
    /// An empty bucket.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let abilities = Abilities {
            part_min: PART_MIN,
            part_max: 5 << 30,
            parts_max: 10_000,
            put_max: 5 << 30,
            lists_parts: true,
            attributes_at_end: false,
            takes_back: true,
        };
        let name = format!("memory://{name}");
        let (tells_checksums, heeds_states, yields) = (true, true, 0);
        Self { name, state: Arc::default(), abilities, tells_checksums, heeds_states, yields }
    }

    /// The same bucket, where each request lets whatever else is ready go first, so many times.
    #[must_use]
    pub fn slowed(&self, yields: u32) -> Self {
        Self { yields, ..self.clone() }
    }

    /// The same bucket, as a store that computes no checksums.
    #[must_use]
    pub fn without_checksums(&self) -> Self {
        Self { tells_checksums: false, ..self.clone() }
    }

    /// The same bucket, as a store that copies objects in whatever state they are.
    #[must_use]
    pub fn heedless(&self) -> Self {
        Self { heeds_states: false, ..self.clone() }
    }

    /// The same bucket, as a store that cannot list the parts of an upload.
    #[must_use]
    pub fn without_parts(&self) -> Self {
        let abilities = Abilities { lists_parts: false, ..self.abilities };
        Self { abilities, ..self.clone() }
    }

    /// After `after` more requests of a kind, the next `times` meet a trouble.
    pub fn order(&self, request: Request, after: u64, times: u64, trouble: BucketTrouble) {
        self.guard().troubles.push(Ordered { request, after, times, trouble });
    }

    /// Forgets what was ordered.
    pub fn clear_orders(&self) {
        self.guard().troubles.clear();
    }

    /// Requests of a kind so far.
    #[must_use]
    pub fn calls(&self, request: Request) -> u64 {
        self.guard().calls.get(&request).copied().unwrap_or_default()
    }

    /// Puts an object there as another program does, under any key.
    pub fn put_as_is(&self, key: &str, bytes: impl Into<Bytes>, attributes: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let attributes = attributes.iter().map(own).collect();
        let bytes = bytes.into();
        let tag = tag_of(&bytes);
        self.guard().write(key, bytes, tag, attributes);
    }

    /// Gives an object a coding, as `gcloud storage cp -Z` does.
    pub fn set_coding(&self, key: &str, coding: &str) {
        if let Some(held) = self.guard().objects.get_mut(key) {
            held.object.coding = Some(coding.to_owned());
        }
    }

    /// An object's bytes.
    #[must_use]
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.guard().objects.get(key).map(|held| held.bytes.clone())
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.guard().objects.keys().cloned().collect()
    }

    /// Uploads that are neither completed nor aborted.
    #[must_use]
    pub fn open_uploads(&self) -> Vec<UploadId> {
        self.guard().uploads.values().map(|under| under.upload.id.clone()).collect()
    }

    fn guard(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve<T>(
        &self,
        request: Request,
        serve: impl FnOnce(&mut State) -> StoreResult<T>,
    ) -> StoreResult<T> {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
        let mut state = self.guard();
        *state.calls.entry(request).or_default() += 1;
        match state.meet(request) {
            Some(BucketTrouble::Fail(error)) => Err(error),
            Some(BucketTrouble::LoseReply) => {
                let _lost = serve(&mut state);
                Err(StoreError::Unknown("the answer was lost".to_owned()))
            }
            None => serve(&mut state),
        }
    }

    fn told(&self, object: &Object) -> Object {
        let mut object = object.clone();
        if !self.tells_checksums {
            object.checksums.clear();
        }
        object
    }

    fn part(&self, number: u32, bytes: &Bytes) -> Part {
        let checksum = self.tells_checksums.then(|| Checksum::Crc64Nvme(crc(bytes)));
        Part { number, size: length(bytes), tag: tag_of(bytes), checksum }
    }
}

impl State {
    fn meet(&mut self, request: Request) -> Option<BucketTrouble> {
        let ordered = self.troubles.iter_mut().find(|o| o.request == request && o.times > 0)?;
        if ordered.after > 0 {
            ordered.after -= 1;
            return None;
        }
        ordered.times -= 1;
        Some(ordered.trouble.clone())
    }

    fn now(&mut self) -> Timestamp {
        self.ticks += 1;
        let seconds = 1_700_000_000 + i64::try_from(self.ticks).unwrap_or_default();
        Timestamp { seconds, nanoseconds: 0 }
    }

    fn write(
        &mut self,
        key: &str,
        bytes: Bytes,
        etag: String,
        attributes: Vec<(String, String)>,
    ) -> Stored {
        let modified = self.now();
        let version = Version { etag: Some(etag), id: Some(format!("v{}", self.ticks)) };
        let checksum = Checksum::Crc64Nvme(crc(&bytes));
        let object = Object {
            size: length(&bytes),
            version: version.clone(),
            modified,
            checksums: vec![checksum],
            attributes,
            coding: None,
        };
        self.objects.insert(key.to_owned(), Held { bytes, object });
        Stored { version, checksum: None }
    }

    /// The bytes of an object that is copied.
    fn original(&self, original: &Original, heeds_states: bool) -> StoreResult<Bytes> {
        let held = self.objects.get(original.key.as_str()).ok_or(StoreError::Missing)?;
        match !heeds_states || held.object.version.etag.as_ref() == Some(&original.etag) {
            true => Ok(held.bytes.clone()),
            false => Err(StoreError::Changed),
        }
    }

    fn check(&self, key: &Key, condition: &Condition) -> StoreResult<()> {
        let etag = self.objects.get(key.as_str()).map(|held| &held.object.version.etag);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => etag.is_none(),
            Condition::Has(wanted) => etag.is_some_and(|etag| etag.as_ref() == Some(wanted)),
        };
        if holds { Ok(()) } else { Err(StoreError::Changed) }
    }

    fn upload(&mut self, key: &Key, upload: &UploadId) -> StoreResult<&mut Under> {
        let under = self.uploads.get_mut(&upload.0);
        under.filter(|under| under.upload.key == key.as_str()).ok_or(StoreError::Missing)
    }

    fn complete(
        &mut self,
        key: &Key,
        upload: &UploadId,
        table: &[Part],
        checksum: Option<Checksum>,
    ) -> StoreResult<Stored> {
        let under = self.upload(key, upload)?;
        let mut whole = BytesMut::new();
        for (nth, part) in table.iter().enumerate() {
            let invalid = || StoreError::Failed(format!("part {} is not as told", part.number));
            let bytes = under.parts.get(&part.number).ok_or_else(invalid)?;
            let in_order = nth == 0 || table[nth - 1].number < part.number;
            let too_small = nth + 1 < table.len() && length(bytes) < PART_MIN;
            if tag_of(bytes) != part.tag || !in_order || too_small {
                return Err(invalid());
            }
            whole.extend_from_slice(bytes);
        }
        if table.is_empty() || checksum.is_some_and(|sum| sum != Checksum::Crc64Nvme(crc(&whole))) {
            return Err(StoreError::Damaged("the checksum is another".to_owned()));
        }
        let attributes = under.attributes.clone();
        self.uploads.remove(&upload.0);
        let whole = whole.freeze();
        let plain = tag_of(&whole);
        let tag = format!("\"{}-{}\"", plain.trim_matches('"'), table.len());
        Ok(self.write(key.as_str(), whole, tag, attributes))
    }
}

#[async_trait]
impl Store for MemoryBucket {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn head(&self, key: &Key) -> StoreResult<Object> {
        self.serve(Request::Head, |state| {
            let held = state.objects.get(key.as_str()).ok_or(StoreError::Missing)?;
            Ok(self.told(&held.object))
        })
        .await
    }

    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)> {
        self.serve(Request::Get, |state| {
            let held = state.objects.get(get.key.as_str()).ok_or(StoreError::Missing)?;
            let (wanted, found) = (get.version, &held.object.version);
            let other = |wanted: &Option<String>, found| wanted.is_some() && wanted != found;
            if other(&wanted.etag, &found.etag) || other(&wanted.id, &found.id) {
                return Err(StoreError::Changed);
            }
            if get.range.end() > held.object.size {
                return Err(StoreError::Failed("the range is not satisfiable".to_owned()));
            }
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = held.bytes.slice(at(get.range.start())..at(get.range.end()));
            Ok((bytes, self.told(&held.object)))
        })
        .await
    }

    async fn put(&self, put: Put<'_>) -> StoreResult<Stored> {
        self.serve(Request::Put, |state| {
            let body = put.body.bytes()?;
            if !is_right(put.checksum, &body) {
                return Err(StoreError::Damaged("the checksum is another".to_owned()));
            }
            state.check(put.key, &put.condition)?;
            let tag = tag_of(&body);
            let attributes = put.attributes.to_vec();
            Ok(state.write(put.key.as_str(), body, tag, attributes))
        })
        .await
    }

    /// Of no other bucket.
    fn service(&self) -> Option<Service> {
        Some(Service { at: self.name.clone(), bucket: self.name.clone() })
    }

    async fn copy(
        &self,
        key: &Key,
        original: &Original,
        attributes: &[(String, String)],
    ) -> StoreResult<Stored> {
        self.serve(Request::Copy, |state| {
            let bytes = state.original(original, self.heeds_states)?;
            let tag = tag_of(&bytes);
            Ok(state.write(key.as_str(), bytes, tag, attributes.to_vec()))
        })
        .await
    }

    async fn copy_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        original: &Original,
        range: ByteRange,
    ) -> StoreResult<Part> {
        self.serve(Request::CopyPart, |state| {
            let bytes = state.original(original, self.heeds_states)?;
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            if range.end() > length(&bytes) {
                return Err(StoreError::Failed("the range is not satisfiable".to_owned()));
            }
            let bytes = bytes.slice(at(range.start())..at(range.end()));
            let part = self.part(number, &bytes);
            state.upload(key, upload)?.parts.insert(number, bytes);
            Ok(part)
        })
        .await
    }

    async fn remove(&self, key: &Key) -> StoreResult<()> {
        self.serve(Request::Remove, |state| {
            state.objects.remove(key.as_str());
            Ok(())
        })
        .await
    }

    async fn remove_if(&self, key: &Key, etag: &str) -> StoreResult<()> {
        self.serve(Request::Remove, |state| {
            let found = state.objects.get(key.as_str());
            if found.is_some_and(|found| found.object.version.etag.as_deref() != Some(etag)) {
                return Err(StoreError::Changed);
            }
            state.objects.remove(key.as_str());
            Ok(())
        })
        .await
    }

    async fn list(&self, list: List<'_>) -> StoreResult<Page> {
        self.serve(Request::List, |state| Ok(page(state, &list))).await
    }

    async fn begin(&self, key: &Key, attributes: &[(String, String)]) -> StoreResult<UploadId> {
        self.serve(Request::Begin, |state| {
            let begun = state.now();
            let id = UploadId(format!("upload-{}", state.ticks));
            let upload = Upload { key: key.as_str().to_owned(), id: id.clone(), begun };
            let attributes = attributes.to_vec();
            state
                .uploads
                .insert(id.0.clone(), Under { upload, attributes, parts: BTreeMap::new() });
            Ok(id)
        })
        .await
    }

    async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Load,
        checksum: Checksum,
    ) -> StoreResult<Part> {
        let body = body.bytes()?;
        self.serve(Request::PutPart, |state| {
            if !is_right(checksum, &body) {
                return Err(StoreError::Damaged("the checksum is another".to_owned()));
            }
            if number == 0 || number > self.abilities.parts_max {
                return Err(StoreError::Failed("no such part number".to_owned()));
            }
            let part = self.part(number, &body);
            state.upload(key, upload)?.parts.insert(number, body);
            Ok(part)
        })
        .await
    }

    async fn parts(&self, key: &Key, upload: &UploadId, after: u32) -> StoreResult<Vec<Part>> {
        self.serve(Request::Parts, |state| {
            if !self.abilities.lists_parts {
                return Err(StoreError::Unsupported);
            }
            let under = state.upload(key, upload)?;
            let later = under.parts.range(after.saturating_add(1)..);
            Ok(later.take(1000).map(|(number, bytes)| self.part(*number, bytes)).collect())
        })
        .await
    }

    async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        attributes: &[(String, String)],
        checksum: Option<Checksum>,
        condition: Condition,
    ) -> StoreResult<Stored> {
        self.serve(Request::Complete, |state| {
            state.check(key, &condition)?;
            if self.abilities.attributes_at_end {
                state.upload(key, upload)?.attributes = attributes.to_vec();
            }
            state.complete(key, upload, parts, checksum)
        })
        .await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()> {
        self.serve(Request::Abort, |state| {
            state.upload(key, upload)?;
            state.uploads.remove(&upload.0);
            Ok(())
        })
        .await
    }

    async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        self.serve(Request::Uploads, |state| {
            let all = state.uploads.values().map(|under| under.upload.clone());
            Ok(all.filter(|upload| upload.key.starts_with(prefix)).collect())
        })
        .await
    }
}

fn page(state: &State, list: &List<'_>) -> Page {
    let mut page = Page::default();
    let most = usize::from(list.most.clamp(1, PAGE_MAX));
    let from = list.page.filter(|after| *after >= list.prefix).unwrap_or(list.prefix).to_owned();
    let mut last = String::new();
    for (key, held) in state.objects.range(from..) {
        let Some(rest) = key.strip_prefix(list.prefix) else { break };
        let folded = rest.find('/').filter(|_| list.folded);
        let told = folded.map_or(key.as_str(), |end| &key[..=list.prefix.len() + end]);
        if list.page.is_some_and(|after| told <= after) || told == last && folded.is_some() {
            continue;
        }
        if page.objects.len() + page.prefixes.len() >= most {
            page.next = Some(last);
            return page;
        }
        last = told.to_owned();
        if folded.is_some() {
            page.prefixes.push(told.to_owned());
        } else {
            let Object { size, version, modified, .. } = held.object.clone();
            page.objects.push(Listed { key: key.clone(), size, etag: version.etag, modified });
        }
    }
    page
}

fn is_right(checksum: Checksum, bytes: &[u8]) -> bool {
    match checksum {
        Checksum::Crc64Nvme(sum) => sum == crc(bytes),
        _ => true,
    }
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(Crc64Nvme, bytes)
}

fn tag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32])
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
