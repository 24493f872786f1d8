//! S3, and all that speaks it.
//!
//! Each request is made in three steps that know nothing of each other: one makes it a value with
//! its signature in its address (`address`), one sends it, one reads what came (`answers`,
//! `multipart`, `refusals`). So a machine that has no credentials can send what was signed here.
//!
//! Goals: no credential leaves this process; a name is at the store what it is here; nothing that
//! a store says costs more than a limit, or is shown as it came; what is not known is told so.

mod address;
mod answers;
mod checksums;
mod copies;
mod multipart;
mod refusals;
#[cfg(test)]
mod tests;
mod there;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use xfer_protocol::range::ByteRange;

use crate::endpoint::errands::Porter;
use crate::transport::web::{Web, WebAnswer, WebError, WebRequest};

use super::xml::{Element, XML_BYTES_MAX};
use super::{
    Abilities, Checksum, Condition, Fetched, Get, Key, List, Load, Object, Original, Page, Part,
    Put, Service, Store, StoreError, StoreResult, Stored, Upload, UploadId, origin,
};
use address::{Asking, SIGNATURE_LIFE, Signing};
use refusals::{Asked, Refusal, Twice, drained, lost};

pub use address::SignedSettings;

/// A bucket that is spoken to by signed addresses.
pub struct SignedStore {
    name: String,
    /// Scheme and host.
    address: String,
    service: Service,
    region: String,
    checksums: bool,
    signing: Signing,
    web: Web,
    /// Whether an object that was removed was kept as an older version.
    keeps_removed: AtomicBool,
}

impl std::fmt::Debug for SignedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedStore({})", self.name)
    }
}

impl SignedStore {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Failed`] where the settings are no address of a bucket.
    pub fn open(settings: &SignedSettings, web: Web) -> StoreResult<Self> {
        Ok(Self {
            name: format!("s3://{}", settings.bucket),
            address: origin(&address::address(settings)?).to_owned(),
            service: copies::service_of(settings),
            region: settings.region.clone(),
            checksums: settings.checksums,
            signing: Signing::new(settings)?,
            web,
            keeps_removed: AtomicBool::new(false),
        })
    }

    /// The writing of a part as a value, without its body: whoever has it may write this part, with
    /// this checksum, until `life` is over.
    ///
    /// # Errors
    /// [`StoreError::Failed`] where it cannot be asked for, and what the credentials' source says.
    pub async fn part_request(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        checksum: &Checksum,
        life: Duration,
    ) -> StoreResult<WebRequest> {
        let asking = Asking::new(Method::PUT, Some(key))
            .query("partNumber", number.to_string())
            .query("uploadId", upload.0.as_str());
        self.signing.sign(self.guarded(asking, checksum)?, life.min(SIGNATURE_LIFE)).await
    }

    async fn request(&self, asking: Asking<'_>) -> StoreResult<WebRequest> {
        self.signing.sign(asking, SIGNATURE_LIFE).await
    }

    fn asked(&self, of_bucket: bool, twice: Twice) -> Asked<'_> {
        Asked { twice, of_bucket, region: &self.region }
    }

    /// Asks; what is no success is an error.
    async fn ask(&self, asking: Asking<'_>, twice: Twice) -> StoreResult<WebAnswer> {
        let of_bucket = asking.key.is_none();
        self.send(self.request(asking).await?, self.asked(of_bucket, twice)).await
    }

    async fn send(&self, request: WebRequest, asked: Asked<'_>) -> StoreResult<WebAnswer> {
        let answer = self.web.ask(request).await.map_err(|error| lost(&error, asked.twice))?;
        match answer.status {
            200..=299 => Ok(answer),
            _ => Err(Refusal::read(answer).await.meaning(asked)),
        }
    }

    /// Asks for a document that tells the outcome of what is called so.
    async fn ask_for(&self, asking: Asking<'_>, name: &str) -> StoreResult<Element> {
        let asked = self.asked(asking.key.is_none(), Twice::Same);
        let answer = self.ask(asking, Twice::Same).await?;
        let status = answer.status;
        let document = match answer.at_most(XML_BYTES_MAX).await {
            Ok(document) => Element::parse(&document)?,
            Err(WebError::Length { expected, came, .. }) if came > expected => {
                return Err(StoreError::Nonsense("an answer of too many bytes".to_owned()));
            }
            Err(error) => return Err(lost(&error, Twice::Same)),
        };
        match document.name.as_str() {
            "Error" => Err(Refusal::within(status, &document).meaning(asked)),
            _ if answers::tells(&document, name) => Ok(document),
            _ => Err(StoreError::Nonsense(format!("no outcome of {name} came"))),
        }
    }

    /// Asks for a document that lists names. They are asked for as they are, because there are
    /// stores that say that they encoded names, and did not; and encoded where XML may have had no
    /// place for one.
    async fn ask_for_names(&self, asking: Asking<'_>, name: &str) -> StoreResult<Element> {
        match self.ask_for(asking.clone(), name).await {
            Ok(document) if !answers::is_doubtful(&document) => Ok(document),
            Ok(_) | Err(StoreError::Nonsense(_)) => {
                self.ask_for(asking.query("encoding-type", "url"), name).await
            }
            Err(error) => Err(error),
        }
    }

    /// With what has the store compare the bytes that arrive.
    fn guarded<'a>(&self, asking: Asking<'a>, checksum: &Checksum) -> StoreResult<Asking<'a>> {
        let (name, value) = checksums::header(checksum);
        match checksums::algorithm(checksum) {
            None => asking.header(name, &value),
            Some(algorithm) if self.checksums => {
                asking.header(name, &value)?.header("x-amz-sdk-checksum-algorithm", algorithm)
            }
            Some(_) => Ok(asking),
        }
    }

    /// A head has no body, so why it is refused is asked for otherwise.
    async fn reason(&self, key: &Key, refused: StoreError) -> StoreError {
        let asking = Asking::new(Method::GET, Some(key)).header("range", "bytes=0-0");
        match asking {
            Ok(asking) => self.ask(asking, Twice::Same).await.err().unwrap_or(refused),
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Store for SignedStore {
    fn abilities(&self) -> Abilities {
        Abilities {
            part_min: 5 << 20,
            part_max: 5 << 30,
            parts_max: 10_000,
            put_max: 5 << 30,
            lists_parts: true,
            attributes_at_end: false,
            takes_back: true,
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<&str> {
        Some(&self.address)
    }

    async fn head(&self, key: &Key) -> StoreResult<Object> {
        let mut asking = Asking::new(Method::HEAD, Some(key));
        if self.checksums {
            asking = asking.header("x-amz-checksum-mode", "ENABLED")?;
        }
        let request = self.request(asking).await?;
        let answer = self.web.ask(request).await.map_err(|error| lost(&error, Twice::Same))?;
        if !matches!(answer.status, 200..=299) {
            let is_unexplained = matches!(answer.status, 400 | 403);
            let error = Refusal::read(answer).await.meaning(self.asked(false, Twice::Same));
            return match is_unexplained {
                true => Err(self.reason(key, error).await),
                false => Err(error),
            };
        }
        let size = answers::length(&answer.headers);
        let size = size.ok_or_else(|| answers::nonsense("an object without a size"))?;
        let mut object = answers::object(&answer.headers, size)?;
        object.checksums = checksums::of_headers(&answer.headers);
        Ok(object)
    }

    /// Tells no checksums: with a range, some tell those of the part that it is.
    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)> {
        let length = usize::try_from(get.range.len())
            .map_err(|_| StoreError::Failed("a range that no memory holds".to_owned()))?;
        let answer = self.ask(ranged(&get)?, Twice::Same).await?;
        let object = answers::opened(answer.status, &answer.headers, &get)?;
        let body = answer.exactly(length).await;
        Ok((body.map_err(|error| lost(&error, Twice::Same))?, object))
    }

    fn is_asked_by_others(&self) -> bool {
        true
    }

    async fn fetch(
        &self,
        get: Get<'_>,
        size: u64,
        porter: &Arc<Porter>,
    ) -> StoreResult<(Fetched, Object)> {
        self.fetched(get, size, porter).await
    }

    async fn try_from_there(&self, porter: &Arc<Porter>) -> StoreResult<()> {
        self.tried(porter).await
    }

    async fn put(&self, put: Put<'_>) -> StoreResult<Stored> {
        let twice = match put.condition {
            Condition::Always => Twice::Same,
            Condition::Absent | Condition::Has(_) => Twice::Differs,
        };
        let asking = described(Asking::new(Method::PUT, Some(put.key)), put.attributes)?;
        let asking = conditioned(self.guarded(asking, &put.checksum)?, &put.condition)?;
        let request = self.request(asking).await?;
        let headers = self.written(request, put.body, self.asked(false, twice)).await?;
        Ok(answers::stored(&headers))
    }

    fn service(&self) -> Option<Service> {
        Some(self.service.clone())
    }

    async fn copy(
        &self,
        key: &Key,
        original: &Original,
        attributes: &[(String, String)],
    ) -> StoreResult<Stored> {
        self.copied(key, original, attributes).await
    }

    async fn copy_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        original: &Original,
        range: ByteRange,
    ) -> StoreResult<Part> {
        self.copied_part((key, upload), number, original, range).await
    }

    async fn remove(&self, key: &Key) -> StoreResult<()> {
        self.removed(Asking::new(Method::DELETE, Some(key))).await
    }

    fn keeps_removed(&self) -> bool {
        self.keeps_removed.load(Ordering::Relaxed)
    }

    async fn remove_if(&self, key: &Key, etag: &str) -> StoreResult<()> {
        let asking = || Asking::new(Method::DELETE, Some(key));
        match self.removed(asking().header("if-match", &quoted(etag))?).await {
            // Many a store knows no condition here, and says so in one way or another.
            Err(StoreError::Unsupported | StoreError::Failed(_)) => self.removed(asking()).await,
            other => other,
        }
    }

    async fn list(&self, list: List<'_>) -> StoreResult<Page> {
        let mut asking = Asking::new(Method::GET, None)
            .query("list-type", "2")
            .query("max-keys", list.most.to_string());
        if !list.prefix.is_empty() {
            asking = asking.query("prefix", list.prefix);
        }
        if list.folded {
            asking = asking.query("delimiter", "/");
        }
        if let Some(page) = list.page {
            asking = asking.query("continuation-token", answers::page_token(page)?);
        }
        answers::page(&self.ask_for_names(asking, "ListBucket").await?, &list)
    }

    async fn begin(&self, key: &Key, attributes: &[(String, String)]) -> StoreResult<UploadId> {
        self.begin_upload(key, attributes).await
    }

    async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Load,
        checksum: Checksum,
    ) -> StoreResult<Part> {
        let size = body.length();
        let request = self.part_request(key, upload, number, &checksum, SIGNATURE_LIFE).await?;
        let headers = self.written(request, body, self.asked(false, Twice::Same)).await?;
        multipart::written(&headers, number, size)
    }

    async fn parts(&self, key: &Key, upload: &UploadId, after: u32) -> StoreResult<Vec<Part>> {
        self.parts_after(key, upload, after).await
    }

    async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        _attributes: &[(String, String)],
        checksum: Option<Checksum>,
        condition: Condition,
    ) -> StoreResult<Stored> {
        self.complete_upload(key, upload, parts, checksum, &condition).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()> {
        let asking = Asking::new(Method::DELETE, Some(key)).query("uploadId", upload.0.as_str());
        drained(self.ask(asking, Twice::Same).await?, Twice::Same).await
    }

    async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        self.uploads_under_way(prefix).await
    }
}

impl SignedStore {
    /// Has an object removed; one that is not there is no error.
    async fn removed(&self, asking: Asking<'_>) -> StoreResult<()> {
        match self.ask(asking, Twice::Same).await {
            Ok(answer) => {
                let marked = answer.headers.get("x-amz-delete-marker");
                if marked.is_some_and(|marked| marked.as_bytes() == b"true") {
                    self.keeps_removed.store(true, Ordering::Relaxed);
                }
                drained(answer, Twice::Same).await
            }
            Err(StoreError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A reading of a part of an object.
fn ranged<'a>(get: &Get<'a>) -> StoreResult<Asking<'a>> {
    let (start, last) = (get.range.start(), get.range.end() - 1);
    let mut asking = Asking::new(Method::GET, Some(get.key))
        .header("range", &format!("bytes={start}-{last}"))?;
    if let Some(etag) = &get.version.etag {
        asking = asking.header("if-match", &quoted(etag))?;
    }
    if let Some(id) = &get.version.id {
        asking = asking.query("versionId", id.as_str());
    }
    Ok(asking)
}

fn described<'a>(
    mut asking: Asking<'a>,
    attributes: &[(String, String)],
) -> StoreResult<Asking<'a>> {
    for (name, value) in attributes {
        asking = asking.header(&format!("{}{name}", answers::ATTRIBUTE_PREFIX), value)?;
    }
    Ok(asking)
}

fn conditioned<'a>(asking: Asking<'a>, condition: &Condition) -> StoreResult<Asking<'a>> {
    match condition {
        Condition::Always => Ok(asking),
        Condition::Absent => asking.header("if-none-match", "*"),
        Condition::Has(etag) => asking.header("if-match", &quoted(etag)),
    }
}

/// Lists of some stores leave out the quotes that a condition needs.
fn quoted(etag: &str) -> String {
    match etag.ends_with('"') {
        true => etag.to_owned(),
        false => format!("\"{etag}\""),
    }
}
