//! What is there, page by page

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::http::Message;
use super::{State, base64_of};

/// Rows of a page at most
const PAGE_MAX: usize = 1000;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

pub(super) fn location() -> Message {
    xml(format!("{HEAD}<LocationConstraint/>"))
}

pub(super) fn objects(state: &State, request: &Message) -> Result<Message, Message> {
    let asked = |name: &str| request.asks(name).unwrap_or_default();
    let (prefix, delimiter) = (asked("prefix"), asked("delimiter"));
    let most = limit(request, "max-keys");
    let token = request.asks("continuation-token");
    let after = match &token {
        Some(token) => token.strip_prefix("after-").map(str::to_owned),
        None => Some(asked("start-after")),
    };
    let after = after.ok_or_else(|| Message::refusal(400, "InvalidArgument"))?;
    let is_coded = asked("encoding-type") == "url";
    let named = |key: &str| if is_coded { coded(key) } else { escaped(key) };
    let (mut rows, mut folded, mut last) = (String::new(), BTreeSet::new(), String::new());
    let (mut count, mut is_cut) = (0, false);
    for (key, held) in &state.objects {
        let Some(rest) = key.strip_prefix(&prefix) else { continue };
        let fold = rest.find(&delimiter).filter(|_| !delimiter.is_empty());
        let fold = fold.map(|at| format!("{prefix}{}", &rest[..at + delimiter.len()]));
        if *key <= after || fold.as_ref().is_some_and(|fold| after.starts_with(fold)) {
            continue;
        }
        if fold.as_ref().is_some_and(|fold| folded.contains(fold)) {
            continue;
        }
        if count == most {
            is_cut = true;
            break;
        }
        count += 1;
        last.clone_from(fold.as_ref().unwrap_or(key));
        match fold {
            Some(fold) => drop(folded.insert(fold)),
            None => write!(
                rows,
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>\
                 <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                named(key),
                stamp_of(held.written),
                held.tag,
                held.size
            )
            .expect("written to memory"),
        }
    }
    for fold in &folded {
        let fold = named(fold);
        write!(rows, "<CommonPrefixes><Prefix>{fold}</Prefix></CommonPrefixes>").expect("memory");
    }
    if is_cut {
        let token = escaped(&format!("after-{last}"));
        write!(rows, "<NextContinuationToken>{token}</NextContinuationToken>").expect("memory");
    }
    if is_coded {
        rows.push_str("<EncodingType>url</EncodingType>");
    }
    let (bucket, prefix) = (&state.bucket, named(&prefix));
    Ok(xml(format!(
        "{HEAD}<ListBucketResult><Name>{bucket}</Name><Prefix>{prefix}</Prefix>\
         <KeyCount>{count}</KeyCount><MaxKeys>{most}</MaxKeys>\
         <IsTruncated>{is_cut}</IsTruncated>{rows}</ListBucketResult>"
    )))
}

pub(super) fn parts(state: &State, request: &Message, key: &str) -> Result<Message, Message> {
    let id = request.asks("uploadId").unwrap_or_default();
    let upload = state.uploads.get(&id).filter(|upload| upload.key == key);
    let upload = upload.ok_or_else(|| Message::refusal(404, "NoSuchUpload"))?;
    let after = request.asks("part-number-marker").and_then(|number| number.parse::<u32>().ok());
    let rest: Vec<_> = upload.parts.range(after.unwrap_or(0) + 1..).collect();
    let most = limit(request, "max-parts");
    let (page, is_cut) = (&rest[..rest.len().min(most)], rest.len() > most);
    let mut rows = String::new();
    for (number, part) in page {
        write!(
            rows,
            "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{}&quot;</ETag><Size>{}</Size>\
             <ChecksumCRC64NVME>{}</ChecksumCRC64NVME><LastModified>{}</LastModified></Part>",
            part.tag,
            part.size,
            base64_of(part.checksum),
            stamp_of(upload.begun)
        )
        .expect("written to memory");
    }
    if let Some((number, _)) = page.last().filter(|_| is_cut) {
        write!(rows, "<NextPartNumberMarker>{number}</NextPartNumberMarker>").expect("memory");
    }
    let (bucket, key) = (&state.bucket, escaped(key));
    Ok(xml(format!(
        "{HEAD}<ListPartsResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
         <UploadId>{id}</UploadId><MaxParts>{most}</MaxParts>\
         <IsTruncated>{is_cut}</IsTruncated>{rows}</ListPartsResult>"
    )))
}

pub(super) fn uploads(state: &State, request: &Message) -> Message {
    let prefix = request.asks("prefix").unwrap_or_default();
    let mut found: Vec<_> = state.uploads.iter().collect();
    found.retain(|(_, upload)| upload.key.starts_with(&prefix));
    found.sort_by(|one, other| one.1.key.cmp(&other.1.key));
    let mut rows = String::new();
    for (id, upload) in found {
        write!(
            rows,
            "<Upload><Key>{}</Key><UploadId>{id}</UploadId><Initiated>{}</Initiated></Upload>",
            escaped(&upload.key),
            stamp_of(upload.begun)
        )
        .expect("written to memory");
    }
    let bucket = &state.bucket;
    xml(format!(
        "{HEAD}<ListMultipartUploadsResult><Bucket>{bucket}</Bucket>\
         <IsTruncated>false</IsTruncated>{rows}</ListMultipartUploadsResult>"
    ))
}

fn limit(request: &Message, name: &str) -> usize {
    let asked = request.asks(name).and_then(|number| number.parse().ok());
    asked.unwrap_or(PAGE_MAX).min(PAGE_MAX)
}

fn xml(body: String) -> Message {
    Message::answer(200, body).with("content-type", "application/xml")
}

/// As it stands in XML
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut whole, letter| {
        match letter {
            '&' => whole.push_str("&amp;"),
            '<' => whole.push_str("&lt;"),
            '>' => whole.push_str("&gt;"),
            '"' => whole.push_str("&quot;"),
            '\0'..'\x20' | '\x7f' => {
                write!(whole, "&#x{:x};", u32::from(letter)).expect("written to memory");
            }
            _ => whole.push(letter),
        }
        whole
    })
}

fn coded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut whole, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'*' => {
                whole.push(char::from(byte));
            }
            b' ' => whole.push('+'),
            _ => write!(whole, "%{byte:02X}").expect("written to memory"),
        }
        whole
    })
}

/// Year, month, day, weekday from Thursday on, and the second of the day
fn calendar(seconds: u64) -> (u64, usize, u64, usize, u64) {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = usize::try_from(days % 7).expect("small");
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month, days + 1, weekday, second)
}

/// As lists tell a time
fn stamp_of(seconds: u64) -> String {
    let (year, month, day, _, second) = calendar(seconds);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z", month + 1)
}

/// As fields tell a time
pub(super) fn date_of(seconds: u64) -> String {
    let (year, month, day, weekday, second) = calendar(seconds);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][weekday];
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".get(month * 3..month * 3 + 3).expect("one");
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}
