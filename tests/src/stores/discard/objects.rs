//! Objects whole

use std::io::{self, Write};
use std::ops::Range;

use super::super::http::Message;
use super::lists::date_of;
use super::{
    Content, Held, KEPT_MAX, Received, Shared, State, attributes, base64_of, check_body,
    check_condition, invented, lock, now,
};

/// Bytes that one writing takes
const PUT_MAX: u64 = 5 << 30;

/// Bytes of a key
const KEY_BYTES_MAX: usize = 1024;

pub(super) fn put(
    state: &mut State,
    request: &Message,
    key: &str,
    received: &Received,
) -> Result<Message, Message> {
    if received.size > PUT_MAX {
        return Err(Message::refusal(400, "EntityTooLarge"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Message::refusal(400, "KeyTooLongError"));
    }
    check_body(request, received)?;
    check_condition(state, request, key)?;
    let tag = state.tag();
    let is_record = key.contains(".xfer") || received.size <= KEPT_MAX as u64 / 8;
    let content = match &received.content {
        Some(content) if is_record => Content::Kept(content.clone()),
        _ => Content::Gone,
    };
    let held = Held {
        size: received.size,
        checksum: received.checksum,
        tag: tag.clone(),
        parts: Vec::new(),
        attributes: attributes(request),
        content,
        written: now(),
    };
    state.objects.insert(key.to_owned(), held);
    let answer = Message::answer(200, "").with("etag", format!("\"{tag}\""));
    Ok(answer
        .with("x-amz-checksum-crc64nvme", base64_of(received.checksum))
        .with("x-amz-checksum-type", "FULL_OBJECT"))
}

pub(super) fn get(state: &State, request: &Message, key: &str) -> Result<Message, Message> {
    let held = state.objects.get(key).ok_or_else(|| Message::refusal(404, "NoSuchKey"))?;
    let tag = request.get("if-match").map(|tag| tag.trim_matches('"'));
    if tag.is_some_and(|tag| tag != held.tag) {
        return Err(Message::refusal(412, "PreconditionFailed"));
    }
    let asked = request.get("range").filter(|_| request.method() == "GET");
    let range = match asked.map(|text| range(text, held.size)) {
        Some(None) => return Err(Message::refusal(416, "InvalidRange")),
        Some(Some(range)) => range,
        None => 0..held.size,
    };
    let mut answer = Message::answer(if asked.is_some() { 206 } else { 200 }, "");
    if asked.is_some() {
        let (first, last) = (range.start, range.end - 1);
        answer.set("content-range", format!("bytes {first}-{last}/{}", held.size));
    }
    match &held.content {
        Content::Kept(content) if request.method() == "GET" => {
            let [start, end] = [range.start, range.end].map(usize::try_from);
            let (start, end) = (start.expect("small"), end.expect("small"));
            answer.body = content[start..end].to_vec();
        }
        Content::Gone if request.method() == "GET" => {
            return Err(Message::refusal(501, "NotImplemented"));
        }
        _ => {}
    }
    answer.set("content-length", (range.end - range.start).to_string());
    answer.set("etag", format!("\"{}\"", held.tag));
    answer.set("last-modified", date_of(held.written));
    answer.set("accept-ranges", "bytes");
    answer.set("content-type", "application/octet-stream");
    for (name, value) in &held.attributes {
        answer.set(&format!("x-amz-meta-{name}"), value.clone());
    }
    if request.get("x-amz-checksum-mode").is_some() && held.content != Content::Invented {
        answer.set("x-amz-checksum-crc64nvme", base64_of(held.checksum));
        answer.set("x-amz-checksum-type", "FULL_OBJECT");
    }
    Ok(answer)
}

fn range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..size.min(last.checked_add(1)?),
        (Ok(first), Err(_)) => first..size,
        (Err(_), Ok(last)) => size.saturating_sub(last)..size,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}

/// Which bytes are to be invented behind the head of this answer
pub(super) fn range_of(
    request: &Message,
    answer: &Message,
    state: &Shared,
    key: &str,
) -> Option<Range<u64>> {
    let is_get = request.method() == "GET" && [200, 206].contains(&answer.status());
    if !is_get || request.asks("uploadId").is_some() {
        return None;
    }
    let size = {
        let state = lock(state);
        let held = state.objects.get(key)?;
        (held.content == Content::Invented).then_some(held.size)?
    };
    match request.get("range") {
        Some(text) => range(text, size),
        None => Some(0..size),
    }
}

pub(super) fn invent(to: &mut impl Write, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + (64 << 10));
        let piece: Vec<u8> = (at..end).map(invented).collect();
        to.write_all(&piece)?;
        at = end;
    }
    Ok(())
}
