//! Uploads in parts

use std::collections::BTreeMap;

use crc_fast::{CrcAlgorithm, checksum_combine};

use super::super::http::Message;
use super::{
    Content, Held, Part, Received, State, Upload, attributes, base64_of, check_body,
    check_condition, now,
};

/// Bytes of every part but the last, at least
const PART_MIN: u64 = 5 << 20;

/// Bytes of a part at most
const PART_MAX: u64 = 5 << 30;

/// Parts of an object at most
const PARTS_MAX: u32 = 10_000;

pub(super) fn begin(state: &mut State, request: &Message, key: &str) -> Message {
    let id = format!("upload-{}", state.tag());
    let attributes = attributes(request);
    let upload = Upload { key: key.to_owned(), attributes, parts: BTreeMap::new(), begun: now() };
    state.uploads.insert(id.clone(), upload);
    let (bucket, key) = (&state.bucket, super::lists::escaped(key));
    Message::answer(
        200,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InitiateMultipartUploadResult>\
             <Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>"
        ),
    )
    .with("content-type", "application/xml")
}

pub(super) fn part(
    state: &mut State,
    request: &Message,
    key: &str,
    received: &Received,
) -> Result<Message, Message> {
    let number = request.asks("partNumber").and_then(|number| number.parse::<u32>().ok());
    let number = number.filter(|number| (1..=PARTS_MAX).contains(number));
    let number = number.ok_or_else(|| Message::refusal(400, "InvalidArgument"))?;
    find(state, request, key)?;
    if received.size > PART_MAX {
        return Err(Message::refusal(400, "EntityTooLarge"));
    }
    check_body(request, received)?;
    let tag = state.tag();
    let part = Part { size: received.size, checksum: received.checksum, tag: tag.clone() };
    find(state, request, key)?.parts.insert(number, part);
    let answer = Message::answer(200, "").with("etag", format!("\"{tag}\""));
    Ok(answer.with("x-amz-checksum-crc64nvme", base64_of(received.checksum)))
}

pub(super) fn abort(state: &mut State, request: &Message, key: &str) -> Result<Message, Message> {
    find(state, request, key)?;
    state.uploads.remove(&request.asks("uploadId").unwrap_or_default());
    Ok(Message::answer(204, ""))
}

pub(super) fn complete(
    state: &mut State,
    request: &Message,
    key: &str,
    received: &Received,
) -> Result<Message, Message> {
    let upload = find(state, request, key)?.clone();
    let listed = received.content.as_deref().and_then(listed);
    let listed = listed.ok_or_else(|| Message::refusal(400, "MalformedXML"))?;
    if !listed.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(Message::refusal(400, "InvalidPartOrder"));
    }
    let mut parts = Vec::new();
    for (number, tag, checksum) in &listed {
        let part = upload.parts.get(number).filter(|part| part.tag == *tag);
        let part = part.ok_or_else(|| Message::refusal(400, "InvalidPart"))?;
        if checksum.as_ref().is_some_and(|told| *told != base64_of(part.checksum)) {
            return Err(Message::refusal(400, "InvalidPart"));
        }
        parts.push(part);
    }
    let is_small = |part: &&Part| part.size < PART_MIN;
    if parts.iter().rev().skip(1).any(is_small) {
        return Err(Message::refusal(400, "EntityTooSmall"));
    }
    let size: u64 = parts.iter().map(|part| part.size).sum();
    let told = request.get("x-amz-mp-object-size").map(str::parse);
    if told.is_some_and(|told| told != Ok(size)) {
        return Err(Message::refusal(400, "InvalidRequest"));
    }
    let joined = parts.iter().map(|part| (part.checksum, part.size)).reduce(|all, next| {
        let sum = checksum_combine(CrcAlgorithm::Crc64Nvme, all.0, next.0, next.1);
        (sum, all.1 + next.1)
    });
    let checksum = joined.map_or(0, |joined| joined.0);
    if request.get("x-amz-checksum-crc64nvme").is_some_and(|told| told != base64_of(checksum)) {
        return Err(Message::refusal(400, "BadDigest"));
    }
    check_condition(state, request, key)?;
    let tag = format!("{}-{}", state.tag(), parts.len());
    let held = Held {
        size,
        checksum,
        tag: tag.clone(),
        parts: parts.iter().map(|part| part.size).collect(),
        attributes: upload.attributes.clone(),
        content: Content::Gone,
        written: now(),
    };
    state.objects.insert(key.to_owned(), held);
    state.uploads.remove(&request.asks("uploadId").unwrap_or_default());
    let (bucket, key) = (&state.bucket, super::lists::escaped(key));
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult>\
         <Location>http://127.0.0.1/{bucket}/{key}</Location><Bucket>{bucket}</Bucket>\
         <Key>{key}</Key><ETag>&quot;{tag}&quot;</ETag><ChecksumCRC64NVME>{}</ChecksumCRC64NVME>\
         <ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>",
        base64_of(checksum)
    );
    Ok(Message::answer(200, body).with("content-type", "application/xml"))
}

fn find<'a>(state: &'a mut State, request: &Message, key: &str) -> Result<&'a mut Upload, Message> {
    let id = request.asks("uploadId").unwrap_or_default();
    let upload = state.uploads.get_mut(&id).filter(|upload| upload.key == key);
    upload.ok_or_else(|| Message::refusal(404, "NoSuchUpload"))
}

/// Number, tag and checksum of each part that a completion names; none that names none
fn listed(body: &[u8]) -> Option<Vec<(u32, String, Option<String>)>> {
    let text = std::str::from_utf8(body).ok()?;
    let of = |part: &str, name: &str| {
        let value = part.split_once(&format!("<{name}>"))?.1;
        Some(
            value
                .split_once(&format!("</{name}>"))?
                .0
                .replace("&quot;", "\"")
                .replace("&#34;", "\""),
        )
    };
    let part = |part: &str| {
        let number = of(part, "PartNumber")?.trim().parse().ok()?;
        let tag = of(part, "ETag")?.trim().trim_matches('"').to_owned();
        Some((number, tag, of(part, "ChecksumCRC64NVME")))
    };
    let parts: Option<Vec<_>> = text.split("<Part>").skip(1).map(part).collect();
    parts.filter(|parts| !parts.is_empty())
}
