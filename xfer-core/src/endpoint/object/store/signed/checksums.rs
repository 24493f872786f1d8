//! Checksums as S3 writes them: base64 of their big-endian bytes, each by a name of its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::super::Checksum;
use super::super::xml::Element;

/// What precedes a checksum's name in headers.
const PREFIX: &str = "x-amz-checksum-";

/// Names of the checksums that are read, in headers and in elements, the better first.
const NAMES: [(&str, &str); 3] = [
    ("crc64nvme", "ChecksumCRC64NVME"),
    ("sha256", "ChecksumSHA256"),
    ("crc32c", "ChecksumCRC32C"),
];

/// The header that has a store compare what arrives.
pub(super) fn header(checksum: &Checksum) -> (&'static str, String) {
    match checksum {
        Checksum::Crc64Nvme(sum) => {
            ("x-amz-checksum-crc64nvme", STANDARD.encode(sum.to_be_bytes()))
        }
        Checksum::Crc32c(sum) => ("x-amz-checksum-crc32c", STANDARD.encode(sum.to_be_bytes())),
        Checksum::Sha256(sum) => ("x-amz-checksum-sha256", STANDARD.encode(sum)),
        Checksum::Md5(sum) => ("content-md5", STANDARD.encode(sum)),
    }
}

/// The name of the algorithm, as requests of AWS's own programs have it beside the checksum; some
/// stores look for nothing else.
pub(super) fn algorithm(checksum: &Checksum) -> Option<&'static str> {
    match checksum {
        Checksum::Crc64Nvme(_) => Some("CRC64NVME"),
        Checksum::Crc32c(_) => Some("CRC32C"),
        Checksum::Sha256(_) => Some("SHA256"),
        Checksum::Md5(_) => None,
    }
}

/// The element that names a checksum, where there is one.
pub(super) fn element(checksum: &Checksum) -> Option<(&'static str, String)> {
    let (name, value) = header(checksum);
    let name = name.strip_prefix(PREFIX)?;
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, element)| (*element, value))
}

/// Checksums over a whole object, of an answer's headers.
pub(super) fn of_headers(headers: &HeaderMap) -> Vec<Checksum> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let values = NAMES.iter().map(|(name, _)| (*name, text(&format!("{PREFIX}{name}"))));
    whole(values, text("x-amz-checksum-type"), text("etag"))
}

/// Checksums over a whole object, of an answer's elements.
pub(super) fn of_elements(answer: &Element) -> Vec<Checksum> {
    let values = NAMES.iter().map(|(name, element)| (*name, answer.text_of(element)));
    whole(values, answer.text_of("ChecksumType"), answer.text_of("ETag"))
}

/// The checksum over a part: a part is never composed, so its type and tag say nothing here.
pub(super) fn of_part(listed: &Element) -> Option<Checksum> {
    let values = NAMES.iter().map(|(name, element)| (*name, listed.text_of(element)));
    whole(values, None, None).into_iter().next()
}

/// A tag that may be the MD5 of a part.
pub(super) fn of_tag(tag: &str) -> Option<Checksum> {
    let digits = tag.trim_matches('"');
    let is_plain = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sum = is_plain.then(|| u128::from_str_radix(digits, 16).ok()).flatten()?;
    Some(Checksum::Md5(sum.to_be_bytes()))
}

/// A sum of the parts' sums is none over the bytes. Where a store does not say which it is, the
/// tag tells of parts; CRC-64/NVME is of the bytes always.
fn whole<'a>(
    values: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    kind: Option<&str>,
    etag: Option<&str>,
) -> Vec<Checksum> {
    let has_parts = etag.is_some_and(|etag| etag.contains('-'));
    let may_be_composed = |name: &str| match kind {
        Some(kind) => kind != "FULL_OBJECT",
        None => has_parts && name != "crc64nvme",
    };
    let values = values.filter(|(name, _)| !may_be_composed(name));
    values.filter_map(|(name, value)| read(name, value?)).collect()
}

fn read(name: &str, value: &str) -> Option<Checksum> {
    let bytes = STANDARD.decode(value).ok()?;
    match name {
        "crc64nvme" => Some(Checksum::Crc64Nvme(u64::from_be_bytes(bytes.try_into().ok()?))),
        "sha256" => Some(Checksum::Sha256(bytes.try_into().ok()?)),
        "crc32c" => Some(Checksum::Crc32c(u32::from_be_bytes(bytes.try_into().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_written_and_read() {
        // The check values of the algorithms, over "123456789".
        let nvme = Checksum::Crc64Nvme(crc_fast::crc64_nvme(b"123456789"));
        assert_eq!(nvme, Checksum::Crc64Nvme(0xae8b_1486_0a79_9888));
        let crc = Checksum::Crc32c(0xe306_9283);
        let rows = [
            (nvme, "x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
            (crc, "x-amz-checksum-crc32c", "4waSgw=="),
        ];
        for (checksum, name, value) in rows {
            assert_eq!(header(&checksum), (name, value.to_owned()));
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(of_headers(&headers), [checksum]);
        }
        assert_eq!(element(&crc), Some(("ChecksumCRC32C", "4waSgw==".to_owned())));
        assert_eq!(element(&Checksum::Md5([0; 16])), None);
        assert_eq!(header(&Checksum::Md5([0; 16])).0, "content-md5");
    }

    #[test]
    fn sums_of_sums_are_none() {
        let sum = Some("4waSgw==");
        let of = |name, value, kind, etag| whole([(name, value)].into_iter(), kind, etag).len();
        let plain = Some("\"d41d8cd98f00b204e9800998ecf8427e\"");
        let parts = Some("\"d41d8cd98f00b204e9800998ecf8427e-3\"");
        assert_eq!(of("crc32c", sum, Some("FULL_OBJECT"), parts), 1);
        assert_eq!(of("crc32c", sum, Some("COMPOSITE"), plain), 0);
        assert_eq!(of("crc32c", sum, Some("OTHER"), plain), 0);
        assert_eq!(of("crc32c", sum, None, plain), 1);
        assert_eq!(of("crc32c", sum, None, parts), 0);
        assert_eq!(of("crc64nvme", Some("rosUhgp5mIg="), None, parts), 1);
        assert_eq!(of("crc32c", Some("4waSgw==-3"), None, plain), 0);
        assert_eq!(of("crc32c", Some("rosUhgp5mIg="), None, plain), 0);
        assert_eq!(of("crc32c", Some("x"), None, plain), 0);
        assert_eq!(of("crc32c", None, None, plain), 0);
    }

    #[test]
    fn a_parts_tag_may_be_its_md5() {
        let md5 = [0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0, 0xb2, 4, 0xe9, 0x80, 9, 0x98, 0xec, 0xf8];
        let Some(Checksum::Md5(sum)) = of_tag("\"d41d8cd98f00b204e9800998ecf8427e\"") else {
            panic!("no sum");
        };
        assert_eq!((&sum[..14], sum[14..].len()), (&md5[..], 2));
        for tag in
            ["", "\"d41d8cd98f00b204e9800998ecf8427e-1\"", "+41d8cd98f00b204e9800998ecf8427e"]
        {
            assert_eq!(of_tag(tag), None, "{tag}");
        }
    }
}
