//! A container of Azure Blob Storage.
//!
//! Names of metadata are identifiers of C# there, and come back in any case: `-` is written `_`. An
//! upload is nothing but the blocks that wait for their list; a name of ours begins their ids, so
//! that they can be found again, and what is not listed is thrown away after a week.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::StaticCredentialProvider;
use object_store::{ClientOptions, ObjectStore};

use super::super::carrier::{Carrier, refused_within};
use super::super::credentials::OpenError;
use super::super::credentials::azure::{Azure as Found, Proof};
use super::super::xml::Element;
use super::super::{
    Abilities, Checksum, Condition, Key, List, Listed, Page, Part, Put, StoreError, StoreResult,
    Stored, Upload, UploadId, Version, dates,
};
use super::direct::{Answered, Asking, Direct, Signer, md5, of_md5};
use super::{PlainStore, Rest, never_again};
use crate::transport::web::Web;

/// Hexadecimal digits of a name of ours; with ten of a number they are 32, as those of others.
const UPLOAD_DIGITS: usize = 22;

pub(super) struct Azure(pub(super) Direct);

impl PlainStore {
    /// A container, at the account's own endpoint or at another; nothing is asked of it.
    pub(in super::super) fn azure(
        container: &str,
        endpoint: Option<String>,
        found: Found,
        web: Web,
    ) -> Result<Self, OpenError> {
        let Found { account, proof, .. } = found;
        let usual = || format!("https://{account}.blob.core.windows.net");
        let endpoint = endpoint.unwrap_or_else(usual);
        let builder = MicrosoftAzureBuilder::new()
            .with_account(&account)
            .with_container_name(container)
            .with_endpoint(endpoint.clone())
            .with_retry(never_again())
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_http_connector(Carrier(web.clone()));
        let builder = match proof {
            Proof::Fixed(credential) => {
                builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
            }
            Proof::Application { tenant, id, secret } => builder
                .with_credential_type("client_secret")
                .with_client_secret_authorization(id, secret, tenant),
            Proof::Federated { tenant, id, file } => builder
                .with_credential_type("workload_identity")
                .with_client_id(id)
                .with_tenant_id(tenant)
                .with_federated_token_file(file.to_string_lossy()),
        };
        let unusable = |_| OpenError::broken(format!("az://{container}"), "no store can be made");
        let store = builder.build().map_err(unusable)?;
        let credentials = Arc::clone(store.credentials());
        let (base, carrier) = (format!("{endpoint}/{container}"), Carrier(web));
        let signer = Signer::Azure { account, credentials };
        let rest = Rest::Azure(Azure(Direct { carrier, base, signer }));
        Ok(Self { name: format!("az://{container}"), objects: Arc::new(store), rest })
    }
}

/// Attributes as they were before they were written.
pub(super) fn rename(attributes: &mut [(String, String)]) {
    for (name, _) in attributes.iter_mut() {
        *name = name.replace('_', "-");
    }
    attributes.sort();
}

/// Headers of attributes.
fn described(attributes: &[(String, String)]) -> StoreResult<Vec<(String, String)>> {
    let header = |(name, value): &(String, String)| {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !name.bytes().all(is_name) {
            return Err(StoreError::Failed(format!("no attribute can be named {name:?}")));
        }
        Ok((format!("x-ms-meta-{}", name.replace('-', "_")), value.clone()))
    };
    attributes.iter().map(header).collect()
}

fn conditional(condition: Condition) -> Option<(String, String)> {
    match condition {
        Condition::Always => None,
        Condition::Absent => Some(("if-none-match".to_owned(), "*".to_owned())),
        Condition::Has(etag) => Some(("if-match".to_owned(), etag)),
    }
}

fn block(upload: &UploadId, number: u32) -> String {
    STANDARD.encode(format!("{}{number:010}", upload.0))
}

fn stored(answered: &Answered) -> StoreResult<Stored> {
    let id = answered.header("x-ms-version-id").map(str::to_owned);
    Ok(Stored { version: Version { etag: Some(answered.etag()?), id }, checksum: None })
}

/// A tag within quotes, as headers have it and lists do not.
fn quoted(etag: &str) -> String {
    if etag.starts_with('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

fn nonsense(what: &str) -> StoreError {
    StoreError::Nonsense(what.to_owned())
}

/// By bytes, by UTF-16, or by the names between each `/`: an account may keep any of these orders.
fn ascends<'a>(names: impl Iterator<Item = &'a str> + Clone) -> bool {
    names.clone().is_sorted_by(|a, b| a < b)
        || names.clone().is_sorted_by(|a, b| a.encode_utf16().lt(b.encode_utf16()))
        || names.is_sorted_by(|a, b| a.split('/').lt(b.split('/')))
}

fn page_of(document: &Element, asked: Option<&str>) -> StoreResult<Page> {
    let blobs = document.child("Blobs").ok_or_else(|| nonsense("a list without blobs"))?;
    let mut page = Page::default();
    for blob in blobs.all("Blob") {
        page.objects.extend(listed(blob)?);
    }
    for prefix in blobs.all("BlobPrefix") {
        let name = prefix.text_of("Name").ok_or_else(|| nonsense("a prefix without a name"))?;
        page.prefixes.push(name.to_owned());
    }
    let keys = page.objects.iter().map(|object| object.key.as_str());
    if !ascends(keys) || !ascends(page.prefixes.iter().map(String::as_str)) {
        return Err(nonsense("a list that is out of order"));
    }
    page.next = document.text_of("NextMarker").map(str::to_owned);
    if page.next.is_some() && page.next.as_deref() == asked {
        return Err(nonsense("a list that goes in a circle"));
    }
    Ok(page)
}

fn listed(blob: &Element) -> StoreResult<Option<Listed>> {
    let key = blob.text_of("Name").ok_or_else(|| nonsense("a blob without a name"))?;
    let properties = blob.child("Properties").ok_or_else(|| nonsense("a blob without a size"))?;
    if properties.text_of("ResourceType").is_some_and(|kind| kind == "directory") {
        return Ok(None);
    }
    let size = properties.text_of("Content-Length").and_then(|text| text.parse().ok());
    let modified = properties.text_of("Last-Modified").and_then(dates::of_header);
    let (Some(size), Some(modified)) = (size, modified) else {
        return Err(nonsense("a blob without a size or a date"));
    };
    let etag = properties.text_of("Etag").map(quoted);
    Ok(Some(Listed { key: key.to_owned(), size, etag, modified }))
}

/// The blocks of an upload that wait, in order. Whatever else was answered says nothing of them.
fn parts_of(document: &Element, upload: &UploadId, after: u32) -> StoreResult<Vec<Part>> {
    match document.name.as_str() {
        "BlockList" => {}
        "Error" => return Err(refused_within(document)),
        _ => return Err(nonsense("another list than was asked for")),
    }
    let blocks = document.child("UncommittedBlocks").into_iter();
    let mut parts = Vec::new();
    for block in blocks.flat_map(|blocks| blocks.all("Block")) {
        let name = block.text_of("Name").ok_or_else(|| nonsense("a block without a name"))?;
        let plain = STANDARD.decode(name).ok().and_then(|name| String::from_utf8(name).ok());
        let number = plain.as_deref().and_then(|plain| plain.strip_prefix(&upload.0));
        let Some(number) = number.and_then(|text| text.parse().ok()) else { continue };
        let size = block.text_of("Size").and_then(|text| text.parse().ok());
        let size = size.ok_or_else(|| nonsense("a block without a size"))?;
        if number > after {
            parts.push(Part { number, size, tag: name.to_owned(), checksum: None });
        }
    }
    parts.sort_by_key(|part| part.number);
    Ok(parts)
}

impl Azure {
    pub(super) fn abilities(&self) -> Abilities {
        Abilities {
            part_min: 1,
            part_max: 4000 << 20,
            parts_max: 50_000,
            put_max: 5000 << 20,
            lists_parts: true,
            attributes_at_end: true,
            takes_back: false,
        }
    }

    pub(super) fn checksums(&self, headers: &HeaderMap) -> Vec<Checksum> {
        // That of a part of a blob is told by the plain header, that of all of it by the other.
        let name = if headers.contains_key("content-range") {
            "x-ms-blob-content-md5"
        } else {
            "content-md5"
        };
        let text = headers.get(name).and_then(|value| value.to_str().ok());
        text.and_then(of_md5).into_iter().collect()
    }

    pub(super) async fn put(
        &self,
        _objects: &Arc<dyn ObjectStore>,
        put: Put<'_>,
    ) -> StoreResult<Stored> {
        let mut headers = described(put.attributes)?;
        headers.push(("x-ms-blob-type".to_owned(), "BlockBlob".to_owned()));
        headers.extend(conditional(put.condition));
        headers.extend(md5(put.checksum));
        let (key, body) = (Some(put.key), put.body.bytes()?);
        let asking = Asking { method: Method::PUT, key, headers, body, ..Asking::default() };
        stored(&self.0.ask(asking).await?)
    }

    pub(super) async fn remove(
        &self,
        _objects: &Arc<dyn ObjectStore>,
        key: &Key,
    ) -> StoreResult<()> {
        let asking = Asking { method: Method::DELETE, key: Some(key), ..Asking::default() };
        self.0.ask(asking).await.map(drop)
    }

    pub(super) async fn remove_if(&self, key: &Key, etag: &str) -> StoreResult<()> {
        let headers = conditional(Condition::Has(etag.to_owned())).into_iter().collect();
        let (method, key) = (Method::DELETE, Some(key));
        self.0.ask(Asking { method, key, headers, ..Asking::default() }).await.map(drop)
    }

    pub(super) async fn list(
        &self,
        _objects: &Arc<dyn ObjectStore>,
        list: List<'_>,
    ) -> StoreResult<Page> {
        let mut query = vec![
            ("restype", "container".to_owned()),
            ("comp", "list".to_owned()),
            ("maxresults", list.most.to_string()),
        ];
        if !list.prefix.is_empty() {
            query.push(("prefix", list.prefix.to_owned()));
        }
        if list.folded {
            query.push(("delimiter", "/".to_owned()));
        }
        query.extend(list.page.map(|page| ("marker", page.to_owned())));
        let answered = self.0.ask(Asking { query, ..Asking::default() }).await?;
        page_of(&Element::parse(&answered.body)?, list.page)
    }

    pub(super) async fn begin(
        &self,
        _key: &Key,
        _attributes: &[(String, String)],
    ) -> StoreResult<UploadId> {
        let mut bytes = [0; UPLOAD_DIGITS / 2];
        getrandom::fill(&mut bytes)
            .map_err(|_| StoreError::Failed("the system gives no randomness".to_owned()))?;
        let mut name = String::with_capacity(UPLOAD_DIGITS);
        for byte in bytes {
            let _ = write!(name, "{byte:02x}");
        }
        Ok(UploadId(name))
    }

    pub(super) async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Bytes,
        checksum: Checksum,
    ) -> StoreResult<Part> {
        let (size, tag) = (body.len() as u64, block(upload, number));
        let query = vec![("comp", "block".to_owned()), ("blockid", tag.clone())];
        let headers = md5(checksum).into_iter().collect();
        let key = Some(key);
        self.0.ask(Asking { method: Method::PUT, key, query, headers, body }).await?;
        Ok(Part { number, size, tag, checksum: None })
    }

    /// Those of the upload's blocks that wait.
    pub(super) async fn parts(
        &self,
        key: &Key,
        upload: &UploadId,
        after: u32,
    ) -> StoreResult<Vec<Part>> {
        let query =
            vec![("comp", "blocklist".to_owned()), ("blocklisttype", "uncommitted".to_owned())];
        let key = Some(key);
        let answered = match self.0.ask(Asking { key, query, ..Asking::default() }).await {
            // No block waits yet, or no more.
            Err(StoreError::Missing) => return Ok(Vec::new()),
            answered => answered?,
        };
        parts_of(&Element::parse(&answered.body)?, upload, after)
    }

    pub(super) async fn complete(
        &self,
        key: &Key,
        _upload: &UploadId,
        parts: &[Part],
        attributes: &[(String, String)],
        condition: Condition,
    ) -> StoreResult<Stored> {
        let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
        for part in parts {
            if !part.tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
            {
                return Err(StoreError::Failed("a part's tag is none of this store".to_owned()));
            }
            let _ = write!(body, "<Uncommitted>{}</Uncommitted>", part.tag);
        }
        body.push_str("</BlockList>");
        let mut headers = described(attributes)?;
        headers.extend(conditional(condition));
        let query = vec![("comp", "blocklist".to_owned())];
        let (key, body) = (Some(key), Bytes::from(body));
        stored(&self.0.ask(Asking { method: Method::PUT, key, query, headers, body }).await?)
    }

    /// Nothing ends blocks that wait but time, or a writing of the same blob.
    pub(super) async fn abort(&self, _key: &Key, _upload: &UploadId) -> StoreResult<()> {
        Ok(())
    }

    pub(super) async fn uploads(&self, _prefix: &str) -> StoreResult<Vec<Upload>> {
        Err(StoreError::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_forward() {
        let list = |names: &[&str]| {
            let prefix = |name: &&str| format!("<BlobPrefix><Name>{name}</Name></BlobPrefix>");
            let prefixes: String = names.iter().map(prefix).collect();
            let body = format!("<L><Blobs>{prefixes}</Blobs><NextMarker>m</NextMarker></L>");
            Element::parse(body.as_bytes()).unwrap()
        };
        for names in [&["a-b/", "a/"][..], &["a/", "a-b/"], &[]] {
            let page = page_of(&list(names), Some("l")).unwrap();
            assert_eq!((page.prefixes.len(), page.next.as_deref()), (names.len(), Some("m")));
        }
        for names in [&["b/", "a/"][..], &["a/", "a/"]] {
            assert!(matches!(page_of(&list(names), None), Err(StoreError::Nonsense(_))));
        }
        assert!(matches!(page_of(&list(&["a/"]), Some("m")), Err(StoreError::Nonsense(_))));
    }

    #[test]
    fn only_a_list_of_blocks_says_that_none_waits() {
        let upload = UploadId("u".repeat(22));
        let parts = |text: &str| parts_of(&Element::parse(text.as_bytes()).unwrap(), &upload, 0);
        let name = STANDARD.encode(format!("{}0000000003", upload.0));
        let block = format!("<Block><Name>{name}</Name><Size>9</Size></Block>");
        let list = |blocks: &str| {
            format!("<BlockList><UncommittedBlocks>{blocks}</UncommittedBlocks></BlockList>")
        };
        let found = parts(&list(&block)).unwrap();
        assert_eq!((found.len(), found[0].number, found[0].size), (1, 3, 9));
        assert_eq!(parts(&list("")), Ok(Vec::new()));
        for other in ["<html><body>sign in</body></html>", "<EnumerationResults/>"] {
            assert!(matches!(parts(other), Err(StoreError::Nonsense(_))), "{other}");
        }
        let refused = "<Error><Code>InternalError</Code><Message>m</Message></Error>";
        assert!(parts(refused).is_err());
    }
}
