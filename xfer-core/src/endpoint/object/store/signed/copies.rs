//! Objects that the store makes of others by itself. A success may hold an error, for its status
//! is sent before the work is done.

use http::Method;
use xfer_protocol::range::ByteRange;

use super::super::xml::Element;
use super::super::{Key, Original, Part, Service, StoreResult, Stored, UploadId, Version};
use super::answers::nonsense;
use super::{Asking, SignedSettings, SignedStore, checksums, described, quoted};

/// What all buckets of AWS have in common, wherever they are.
const AWS: &str = "amazonaws.com";

impl SignedStore {
    pub(super) async fn copied(
        &self,
        key: &Key,
        original: &Original,
        attributes: &[(String, String)],
    ) -> StoreResult<Stored> {
        let asking = described(Asking::new(Method::PUT, Some(key)), attributes)?
            .header("x-amz-metadata-directive", "REPLACE")?;
        let copied = self.ask_for(of(asking, original)?, "CopyObject").await?;
        let version = Version { etag: Some(tag(&copied)?), id: None };
        Ok(Stored { version, checksum: checksums::of_elements(&copied).into_iter().next() })
    }

    pub(super) async fn copied_part(
        &self,
        (key, upload): (&Key, &UploadId),
        number: u32,
        original: &Original,
        range: ByteRange,
    ) -> StoreResult<Part> {
        let asking = Asking::new(Method::PUT, Some(key))
            .query("partNumber", number.to_string())
            .query("uploadId", upload.0.as_str());
        let bytes = format!("bytes={}-{}", range.start(), range.end() - 1);
        let asking = of(asking, original)?.header("x-amz-copy-source-range", &bytes)?;
        let copied = self.ask_for(asking, "CopyPart").await?;
        let checksum = checksums::of_part(&copied);
        Ok(Part { number, size: range.len(), tag: tag(&copied)?, checksum })
    }
}

/// Who can copy from each other: by an address of our own for AWS, whose regions reach each other.
pub(super) fn service_of(settings: &SignedSettings) -> Service {
    let suffix = if settings.region.starts_with("cn-") { ".cn" } else { "" };
    let at = match &settings.endpoint {
        Some(endpoint) => endpoint.trim_end_matches('/').to_ascii_lowercase(),
        None => format!("{AWS}{suffix}"),
    };
    Service { at, bucket: settings.bucket.clone() }
}

/// The object that is copied, in no other state.
fn of<'a>(asking: Asking<'a>, original: &Original) -> StoreResult<Asking<'a>> {
    asking
        .header("x-amz-copy-source", &named(original))?
        .header("x-amz-copy-source-if-match", &quoted(&original.etag))
}

fn tag(copied: &Element) -> StoreResult<String> {
    let tag = copied.text_of("ETag").filter(|tag| !tag.is_empty());
    tag.map(str::to_owned).ok_or_else(|| nonsense("a copy without a tag"))
}

/// Bucket and key as a header has them.
fn named(original: &Original) -> String {
    let mut named = format!("/{}/", original.bucket);
    for byte in original.key.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                named.push(char::from(byte));
            }
            other => named.push_str(&format!("%{other:02X}")),
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_so_that_no_byte_of_it_means_anything() {
        let key = Key::new("a b/ü?versionId=1+%41").unwrap();
        let original = Original { bucket: "from".into(), key, etag: "e".into(), size: 1 };
        assert_eq!(named(&original), "/from/a%20b/%C3%BC%3FversionId%3D1%2B%2541");
        let asking = of(Asking::new(Method::PUT, None), &original).unwrap();
        assert_eq!(asking.headers["x-amz-copy-source-if-match"], "\"e\"");
    }

    #[test]
    fn who_has_one_address_is_one_service() {
        let settings = |endpoint: Option<&str>, region: &str| {
            let endpoint = endpoint.map(str::to_owned);
            SignedSettings { endpoint, ..SignedSettings::of_keys("b", region, "id", "key", None) }
        };
        let at = |endpoint, region| service_of(&settings(endpoint, region)).at;
        assert_eq!(at(None, "us-east-1"), at(None, "eu-west-1"));
        assert_ne!(at(None, "us-east-1"), at(None, "cn-north-1"));
        assert_eq!(at(Some("http://H:9/"), "x"), at(Some("http://h:9"), "y"));
        assert_ne!(at(Some("http://h:9"), "x"), at(Some("http://h:8"), "x"));
        assert_ne!(at(Some("http://h:9"), "x"), at(None, "x"));
    }
}
