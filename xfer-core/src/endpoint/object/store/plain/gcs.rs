//! A bucket of Google Cloud Storage.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use object_store::client::StaticCredentialProvider;
use object_store::gcp::{GcpSigningCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, UpdateVersion,
};

use super::super::carrier::{Besides, Carrier, Head, refused_within};
use super::super::credentials::OpenError;
use super::super::credentials::google::Google;
use super::super::xml::Element;
use super::super::{
    Abilities, Checksum, Condition, Key, List, Listed, Page, Part, Put, Store, StoreError,
    StoreResult, Stored, Upload, UploadId, Version, dates,
};
use super::direct::{Asking, Direct, Signer, md5, of_goog};
use super::{PlainStore, Rest, attributes, never_again, path, sorted, sorted_write};
use crate::transport::web::Web;

const USUAL: &str = "https://storage.googleapis.com";

/// Pages of parts or uploads that are asked for; a thousand stand on each.
const PAGES_MAX: usize = 100;

pub(super) struct Gcs {
    store: GoogleCloudStorage,
    pub(super) direct: Direct,
}

impl PlainStore {
    /// A bucket, at Google's own endpoint or at another; nothing is asked of it.
    pub(in super::super) fn gcs(
        bucket: &str,
        endpoint: Option<String>,
        found: Google,
        web: Web,
    ) -> Result<Self, OpenError> {
        let endpoint = endpoint.unwrap_or_else(|| USUAL.to_owned());
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_base_url(&endpoint)
            .with_retry(never_again())
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_http_connector(Carrier(web.clone()));
        let builder = match found {
            Google::Account { json, .. } => builder.with_service_account_key(json),
            Google::Tokens(credentials) => {
                // Without one of ours the library would ask the metadata service for it.
                let email = String::new();
                let signing = GcpSigningCredential { email, private_key: None };
                builder
                    .with_credentials(credentials)
                    .with_signing_credentials(Arc::new(StaticCredentialProvider::new(signing)))
            }
        };
        let unusable = |_| {
            let why = "the service account's key cannot be used; create another one";
            OpenError::broken(format!("gs://{bucket}"), why)
        };
        let store = builder.build().map_err(unusable)?;
        let signer = Signer::Gcs { credentials: Arc::clone(store.credentials()) };
        let direct = Direct { carrier: Carrier(web), base: format!("{endpoint}/{bucket}"), signer };
        let objects = Arc::new(store.clone());
        let name = format!("gs://{bucket}");
        Ok(Self { name, objects, rest: Rest::Gcs(Gcs { store, direct }) })
    }
}

/// Uploads in parts take no condition there, so another writer between the look and the end of the
/// upload is not seen.
pub(super) async fn look_before(
    store: &PlainStore,
    key: &Key,
    condition: &Condition,
) -> StoreResult<()> {
    match (store.head(key).await, condition) {
        (Err(StoreError::Missing), Condition::Absent) => Ok(()),
        (Ok(there), Condition::Has(etag)) if there.version.etag.as_ref() == Some(etag) => Ok(()),
        (Ok(_) | Err(StoreError::Missing), _) => Err(StoreError::Changed),
        (Err(error), _) => Err(error),
    }
}

fn nonsense(what: &str) -> StoreError {
    StoreError::Nonsense(what.to_owned())
}

/// An answer of that name. Any other document would be read as a list of nothing.
fn answer(body: &[u8], name: &str) -> StoreResult<Element> {
    let document = Element::parse(body)?;
    match document.name.as_str() {
        there if there == name => Ok(document),
        "Error" => Err(refused_within(&document)),
        _ => Err(nonsense("another list than was asked for")),
    }
}

/// A page whose names ascend and which does not lead to itself.
fn page_of(document: &Element, asked: Option<&str>) -> StoreResult<Page> {
    let objects: Vec<Listed> = document.all("Contents").map(listed).collect::<StoreResult<_>>()?;
    let mut prefixes = Vec::new();
    for prefix in document.all("CommonPrefixes") {
        let prefix = prefix.text_of("Prefix").ok_or_else(|| nonsense("an empty prefix"))?;
        prefixes.push(prefix.to_owned());
    }
    if !objects.is_sorted_by(|a, b| a.key < b.key) || !prefixes.is_sorted_by(|a, b| a < b) {
        return Err(nonsense("a list that is out of order"));
    }
    let next = document.text_of("NextContinuationToken").map(str::to_owned);
    if next.is_none() && document.text_of("IsTruncated") == Some("true") {
        return Err(nonsense("a page without the next"));
    }
    if next.is_some() && next.as_deref() == asked {
        return Err(nonsense("a list that goes in a circle"));
    }
    Ok(Page { objects, prefixes, next })
}

fn listed(contents: &Element) -> StoreResult<Listed> {
    let key = contents.text_of("Key").ok_or_else(|| nonsense("an object without a key"))?;
    let size = contents.text_of("Size").and_then(|text| text.parse().ok());
    let modified = contents.text_of("LastModified").and_then(dates::of_list);
    let (Some(size), Some(modified)) = (size, modified) else {
        return Err(nonsense("an object without a size or a date"));
    };
    let etag = contents.text_of("ETag").map(str::to_owned);
    Ok(Listed { key: key.to_owned(), size, etag, modified })
}

/// What the store compares with what it received.
fn compared(checksum: Checksum) -> HeaderMap {
    let sum = match checksum {
        Checksum::Crc32c(sum) => format!("crc32c={}", STANDARD.encode(sum.to_be_bytes())),
        Checksum::Md5(sum) => format!("md5={}", STANDARD.encode(sum)),
        _ => return HeaderMap::new(),
    };
    let sum = HeaderValue::try_from(sum).ok();
    sum.map(|sum| ("x-goog-hash".parse().ok(), sum))
        .into_iter()
        .filter_map(|(name, sum)| Some((name?, sum)))
        .collect()
}

impl Gcs {
    pub(super) fn abilities(&self) -> Abilities {
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

    pub(super) fn checksums(&self, headers: &HeaderMap) -> Vec<Checksum> {
        of_goog(headers)
    }

    /// The generation that has this entity tag.
    async fn generation(&self, key: &Key, etag: &str) -> StoreResult<UpdateVersion> {
        let there = self.store.head(&path(key)?).await;
        let there = match there.map_err(|error| sorted(&error)) {
            Err(StoreError::Missing) => return Err(StoreError::Changed),
            there => there?,
        };
        if there.e_tag.as_deref() != Some(etag) || there.version.is_none() {
            return Err(StoreError::Changed);
        }
        Ok(UpdateVersion { e_tag: there.e_tag, version: there.version })
    }

    pub(super) async fn put(
        &self,
        objects: &Arc<dyn ObjectStore>,
        put: Put<'_>,
    ) -> StoreResult<Stored> {
        let mode = match &put.condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Has(etag) => PutMode::Update(self.generation(put.key, etag).await?),
        };
        let mut options = PutOptions { mode, ..PutOptions::default() };
        options.attributes = attributes(put.attributes);
        options.extensions.insert(Besides(compared(put.checksum)));
        let payload = PutPayload::from_bytes(put.body.bytes()?);
        let done = objects.put_opts(&path(put.key)?, payload, options).await;
        let done = done.map_err(|error| sorted_write(&error))?;
        let headers = done.extensions.get::<Head>().map(|head| of_goog(&head.0));
        let checksum = headers.unwrap_or_default().into_iter().next();
        Ok(Stored { version: Version { etag: done.e_tag, id: done.version }, checksum })
    }

    pub(super) async fn remove(
        &self,
        objects: &Arc<dyn ObjectStore>,
        key: &Key,
    ) -> StoreResult<()> {
        objects.delete(&path(key)?).await.map_err(|error| sorted_write(&error))
    }

    pub(super) async fn list(
        &self,
        _objects: &Arc<dyn ObjectStore>,
        list: List<'_>,
    ) -> StoreResult<Page> {
        let mut query = vec![("list-type", "2".to_owned()), ("max-keys", list.most.to_string())];
        if !list.prefix.is_empty() {
            query.push(("prefix", list.prefix.to_owned()));
        }
        if list.folded {
            query.push(("delimiter", "/".to_owned()));
        }
        query.extend(list.page.map(|page| ("continuation-token", page.to_owned())));
        let answered = self.direct.ask(Asking { query, ..Asking::default() }).await?;
        page_of(&answer(&answered.body, "ListBucketResult")?, list.page)
    }

    pub(super) async fn begin(
        &self,
        key: &Key,
        given: &[(String, String)],
    ) -> StoreResult<UploadId> {
        let options =
            PutMultipartOptions { attributes: attributes(given), ..PutMultipartOptions::default() };
        let begun = self.store.create_multipart_opts(&path(key)?, options).await;
        begun.map(UploadId).map_err(|error| sorted_write(&error))
    }

    pub(super) async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Bytes,
        checksum: Checksum,
    ) -> StoreResult<Part> {
        let size = body.len() as u64;
        let query = vec![("partNumber", number.to_string()), ("uploadId", upload.0.clone())];
        let headers = md5(checksum).into_iter().collect();
        let asking = Asking { method: Method::PUT, key: Some(key), query, headers, body };
        let answered = self.direct.ask(asking).await?;
        let checksum = of_goog(&answered.headers).into_iter().next();
        Ok(Part { number, size, tag: answered.etag()?, checksum })
    }

    pub(super) async fn parts(
        &self,
        key: &Key,
        upload: &UploadId,
        after: u32,
    ) -> StoreResult<Vec<Part>> {
        let query = vec![("uploadId", upload.0.clone()), ("part-number-marker", after.to_string())];
        let asked = self.direct.ask(Asking { key: Some(key), query, ..Asking::default() });
        let document = answer(&asked.await?.body, "ListPartsResult")?;
        let mut parts = Vec::new();
        for part in document.all("Part") {
            let number = part.text_of("PartNumber").and_then(|text| text.parse().ok());
            let size = part.text_of("Size").and_then(|text| text.parse().ok());
            let (Some(number), Some(size), Some(tag)) = (number, size, part.text_of("ETag")) else {
                return Err(nonsense("a part without a number, a size or a tag"));
            };
            if number > after {
                parts.push(Part { number, size, tag: tag.to_owned(), checksum: None });
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    pub(super) async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        _attributes: &[(String, String)],
        _condition: Condition,
    ) -> StoreResult<Stored> {
        // The library numbers parts by their places.
        if !(1..).zip(parts).all(|(number, part)| part.number == number) {
            return Err(StoreError::Failed("a part is missing, or in another place".to_owned()));
        }
        let tags = parts.iter().map(|part| PartId { content_id: part.tag.clone() }).collect();
        let done = self.store.complete_multipart(&path(key)?, &upload.0, tags).await;
        let done = done.map_err(|error| sorted_write(&error))?;
        let version = Version { etag: done.e_tag, id: done.version };
        Ok(Stored { version, checksum: None })
    }

    pub(super) async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()> {
        let aborted = self.store.abort_multipart(&path(key)?, &upload.0).await;
        aborted.map_err(|error| sorted_write(&error))
    }

    pub(super) async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        let (mut uploads, mut marker) = (Vec::new(), None::<(String, String)>);
        for _ in 0..PAGES_MAX {
            let mut query = vec![("uploads", String::new())];
            if !prefix.is_empty() {
                query.push(("prefix", prefix.to_owned()));
            }
            if let Some((key, id)) = marker.clone() {
                query.extend([("key-marker", key), ("upload-id-marker", id)]);
            }
            let asked = self.direct.ask(Asking { query, ..Asking::default() });
            let document = answer(&asked.await?.body, "ListMultipartUploadsResult")?;
            for upload in document.all("Upload") {
                let (key, id) = (upload.text_of("Key"), upload.text_of("UploadId"));
                let begun = upload.text_of("Initiated").and_then(dates::of_list);
                let (Some(key), Some(id), Some(begun)) = (key, id, begun) else {
                    return Err(nonsense("an upload without a key, a name or a date"));
                };
                let (key, id) = (key.to_owned(), UploadId(id.to_owned()));
                uploads.push(Upload { key, id, begun });
            }
            let next = |name| document.text_of(name).map(str::to_owned);
            if document.text_of("IsTruncated") != Some("true") {
                return Ok(uploads);
            }
            let key = next("NextKeyMarker").ok_or_else(|| nonsense("a page without the next"))?;
            let next = Some((key, next("NextUploadIdMarker").unwrap_or_default()));
            if next == marker {
                return Err(nonsense("a list that goes in a circle"));
            }
            marker = next;
        }
        Err(nonsense("more uploads than anybody began"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_was_asked_for() {
        let read = |body: &str, asked| {
            answer(body.as_bytes(), "ListBucketResult").and_then(|found| page_of(&found, asked))
        };
        let contents = |key: &str| {
            format!(
                "<Contents><Key>{key}</Key><Size>1</Size>\
                 <LastModified>2026-11-22T15:04:05.000Z</LastModified></Contents>"
            )
        };
        let list = |inner: &str| format!("<ListBucketResult>{inner}</ListBucketResult>");
        let next = "<NextContinuationToken>t</NextContinuationToken>";
        let whole = list(&format!("{}{}{next}", contents("a"), contents("b")));
        let page = read(&whole, Some("s")).unwrap();
        assert_eq!((page.objects.len(), page.next.as_deref()), (2, Some("t")));
        assert_eq!(read("<ListBucketResult/>", None).unwrap(), Page::default());
        for (body, asked) in [
            (whole, Some("t")),
            (list(&format!("{}{}", contents("b"), contents("a"))), None),
            (list(&contents("a").repeat(2)), None),
            (list("<IsTruncated>true</IsTruncated>"), None),
            ("<html/>".to_owned(), None),
            ("<ListPartsResult/>".to_owned(), None),
        ] {
            let found = read(&body, asked);
            assert!(matches!(found, Err(StoreError::Nonsense(_))), "{body}: {found:?}");
        }
        let gone = read("<Error><Code>NoSuchBucket</Code></Error>", None);
        assert_eq!(gone.unwrap_err(), StoreError::NoBucket);
    }
}
