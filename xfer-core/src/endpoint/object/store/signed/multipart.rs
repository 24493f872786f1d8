//! Uploads in parts.

use http::{HeaderMap, Method};

use super::super::xml::{Element, XML_BYTES_MAX, escaped};
use super::super::{
    Checksum, Condition, Key, Part, StoreError, StoreResult, Stored, Upload, UploadId, Version,
};
use super::answers::{self, Names, nonsense};
use super::refusals::{Refusal, Twice, lost};
use super::{Asking, SignedStore, checksums, conditioned, described};

/// Parts or uploads of a page; the most that any store gives.
const PAGE_MAX: &str = "1000";

/// Uploads under way that are told of; a bucket with more of them has other troubles.
const UPLOADS_MAX: usize = 100_000;

/// The highest number of a part.
const PART_NUMBER_MAX: u32 = 10_000;

impl SignedStore {
    /// A beginning whose answer is lost is [`StoreError::Again`] like any other: what it may have
    /// begun holds nothing, and is found among the uploads under way.
    pub(super) async fn begin_upload(
        &self,
        key: &Key,
        attributes: &[(String, String)],
    ) -> StoreResult<UploadId> {
        let mut asking = Asking::new(Method::POST, Some(key)).query("uploads", "");
        if self.checksums {
            asking = asking
                .header("x-amz-checksum-algorithm", "CRC64NVME")?
                .header("x-amz-checksum-type", "FULL_OBJECT")?;
        }
        let asking = described(asking, attributes)?;
        let begun = self.ask_for(asking, "InitiateMultipartUpload").await?;
        let id = begun.text_of("UploadId").ok_or_else(|| nonsense("an upload without a name"))?;
        Ok(UploadId(id.to_owned()))
    }

    pub(super) async fn parts_after(
        &self,
        key: &Key,
        upload: &UploadId,
        after: u32,
    ) -> StoreResult<Vec<Part>> {
        let asking = Asking::new(Method::GET, Some(key))
            .query("uploadId", upload.0.as_str())
            .query("max-parts", PAGE_MAX)
            .query("part-number-marker", after.to_string());
        parts(&self.ask_for(asking, "ListParts").await?, after)
    }

    pub(super) async fn complete_upload(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Stored> {
        let mut asking = Asking::new(Method::POST, Some(key))
            .query("uploadId", upload.0.as_str())
            .header("content-type", "application/xml")?
            .body(table(parts).into());
        if self.checksums {
            let size: u64 = parts.iter().map(|part| part.size).sum();
            asking = asking.header("x-amz-mp-object-size", &size.to_string())?;
        }
        // Of the sums that are known here, this alone follows from those of the parts.
        if let Some(checksum @ Checksum::Crc64Nvme(_)) = &checksum
            && self.checksums
        {
            let (name, value) = checksums::header(checksum);
            asking = asking.header(name, &value)?.header("x-amz-checksum-type", "FULL_OBJECT")?;
        }
        let answer = self.ask(conditioned(asking, condition)?, Twice::Differs).await?;
        let (status, version) = (answer.status, answers::version(&answer.headers));
        let document = answer.at_most(XML_BYTES_MAX).await;
        let document = document.map_err(|error| lost(&error, Twice::Differs))?;
        let unknown = || StoreError::Unknown("the answer makes no sense".to_owned());
        let document = Element::parse(&document).map_err(|_| unknown())?;
        match document.name.as_str() {
            _ if answers::tells(&document, "CompleteMultipartUpload") => {
                Ok(completed(&document, version))
            }
            // The status was sent before the work was done.
            "Error" => {
                Err(Refusal::within(status, &document).meaning(self.asked(false, Twice::Differs)))
            }
            _ => Err(unknown()),
        }
    }

    pub(super) async fn uploads_under_way(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        let mut found = Vec::new();
        let mut marker: Option<(String, String)> = None;
        loop {
            let mut asking =
                Asking::new(Method::GET, None).query("uploads", "").query("max-uploads", PAGE_MAX);
            if !prefix.is_empty() {
                asking = asking.query("prefix", prefix);
            }
            if let Some((key, id)) = &marker {
                asking = asking.query("key-marker", key.as_str());
                asking = asking.query("upload-id-marker", id.as_str());
            }
            let answer = self.ask_for_names(asking, "ListMultipartUploads").await?;
            let page = uploads(&answer, prefix)?;
            let is_empty = page.is_empty();
            found.extend(page);
            if !answers::is_truncated(&answer) {
                return Ok(found);
            }
            let next = next_marker(&answer)?;
            if is_empty || marker.as_ref() == Some(&next) || found.len() > UPLOADS_MAX {
                return Err(nonsense("a list of uploads that does not end"));
            }
            marker = Some(next);
        }
    }
}

/// The part that was just written.
pub(super) fn written(headers: &HeaderMap, number: u32, size: u64) -> StoreResult<Part> {
    let tag = answers::version(headers).etag;
    Ok(Part {
        number,
        size,
        tag: tag.ok_or_else(|| nonsense("a part without a tag"))?,
        checksum: checksums::of_headers(headers).into_iter().next(),
    })
}

/// What a store is told to put together.
fn table(parts: &[Part]) -> String {
    let mut table =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        table.push_str(&format!("<Part><PartNumber>{}</PartNumber>", part.number));
        if !part.tag.is_empty() {
            table.push_str(&format!("<ETag>{}</ETag>", escaped(&part.tag)));
        }
        if let Some((name, sum)) = part.checksum.as_ref().and_then(checksums::element) {
            table.push_str(&format!("<{name}>{sum}</{name}>"));
        }
        table.push_str("</Part>");
    }
    table.push_str("</CompleteMultipartUpload>");
    table
}

fn completed(document: &Element, version: Version) -> Stored {
    let etag = document.text_of("ETag").map(str::to_owned);
    let checksum = checksums::of_elements(document).into_iter().next();
    Stored { version: Version { etag: etag.or(version.etag), id: version.id }, checksum }
}

/// A store that tells no tag of a part tells an empty one here: the part counts where a record
/// has its tag. Not every store keeps to an order or to `after`.
fn parts(answer: &Element, after: u32) -> StoreResult<Vec<Part>> {
    let mut all = answer.all("Part").map(part).collect::<StoreResult<Vec<_>>>()?;
    all.sort_unstable_by_key(|part| part.number);
    let is_plain = all.windows(2).all(|pair| pair[0].number != pair[1].number);
    all.retain(|part| part.number > after);
    match is_plain && !(all.is_empty() && answers::is_truncated(answer)) {
        true => Ok(all),
        false => Err(nonsense("a list of parts that has one twice or does not go on")),
    }
}

fn part(found: &Element) -> StoreResult<Part> {
    let number = found.text_of("PartNumber").and_then(|text| text.parse().ok());
    let number = number.filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    let size = found.text_of("Size").and_then(|text| text.parse().ok());
    let tag = found.text_of("ETag").unwrap_or_default();
    Ok(Part {
        number: number.ok_or_else(|| nonsense("a part without a number"))?,
        size: size.ok_or_else(|| nonsense("a part without a size"))?,
        tag: tag.to_owned(),
        checksum: checksums::of_part(found).or_else(|| checksums::of_tag(tag)),
    })
}

fn uploads(answer: &Element, prefix: &str) -> StoreResult<Vec<Upload>> {
    let names = Names::of(answer);
    let upload = |found: &Element| {
        let id = found.text_of("UploadId").ok_or_else(|| nonsense("an upload without a name"))?;
        Ok(Upload {
            key: names.read(found.text_of("Key").unwrap_or_default())?,
            id: UploadId(id.to_owned()),
            begun: answers::date(found, "Initiated")?,
        })
    };
    let found = answer.all("Upload").map(upload).collect::<StoreResult<Vec<_>>>()?;
    match found.iter().all(|upload| upload.key.starts_with(prefix)) {
        true => Ok(found),
        false => Err(nonsense("uploads that were not asked for")),
    }
}

fn next_marker(answer: &Element) -> StoreResult<(String, String)> {
    let key = Names::of(answer).read(answer.text_of("NextKeyMarker").unwrap_or_default())?;
    let id = answer.text_of("NextUploadIdMarker").unwrap_or_default();
    Ok((key, id.to_owned()))
}
