//! What answers about objects say: heads and lists.

use http::HeaderMap;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::range::ByteRange;

use super::super::xml::Element;
use super::super::{
    Get, List, Listed, Object, Page, StoreError, StoreResult, Stored, Version, dates,
};
use super::checksums;

/// What precedes attributes.
pub(super) const ATTRIBUTE_PREFIX: &str = "x-amz-meta-";

/// Bytes of what asks for the next page, which becomes part of an address.
const PAGE_TOKEN_BYTES_MAX: usize = 4096;

/// Whether an answer is the outcome of what is called so; AWS calls all of them results.
pub(super) fn tells(answer: &Element, name: &str) -> bool {
    matches!(answer.name.strip_prefix(name), Some("Result" | "Response"))
}

/// What a head says, but for the checksums.
pub(super) fn object(headers: &HeaderMap, size: u64) -> StoreResult<Object> {
    let modified = text(headers, "last-modified").and_then(dates::of_header);
    Ok(Object {
        size,
        version: version(headers),
        modified: modified.ok_or_else(|| nonsense("an object without a date"))?,
        checksums: Vec::new(),
        attributes: attributes(headers),
        coding: coding(headers),
    })
}

/// What an object is, whose bytes are in the body.
pub(super) fn opened(status: u16, headers: &HeaderMap, get: &Get<'_>) -> StoreResult<Object> {
    let told = length(headers);
    let size = match status {
        206 => text(headers, "content-range").and_then(|text| total(text, get.range)),
        // All of it is no part of it, unless all of it was asked for.
        200 if get.range.start() == 0 => told.filter(|length| *length == get.range.len()),
        _ => None,
    };
    let size = size.ok_or_else(|| nonsense("other bytes than were asked for"))?;
    if told.is_some_and(|length| length != get.range.len()) {
        return Err(nonsense("a length that is not the range's"));
    }
    let object = object(headers, size)?;
    let bare =
        |etag: &Option<String>| etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
    let has_changed =
        get.version.etag.is_some() && bare(&get.version.etag) != bare(&object.version.etag);
    let is_other = |id: &String| object.version.id.as_ref().is_some_and(|found| found != id);
    match has_changed || get.version.id.as_ref().is_some_and(is_other) {
        true => Err(StoreError::Changed),
        false => Ok(object),
    }
}

/// What is there now, of a write's answer.
pub(super) fn stored(headers: &HeaderMap) -> Stored {
    let checksum = checksums::of_headers(headers).into_iter().next();
    Stored { version: version(headers), checksum }
}

/// The bytes of the body, by the header.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-length")?.parse().ok()
}

pub(super) fn version(headers: &HeaderMap) -> Version {
    let owned = |name| text(headers, name).filter(|text| !text.is_empty()).map(str::to_owned);
    Version { etag: owned("etag"), id: owned("x-amz-version-id") }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Those that are text; what is none was not written by us, and no header could carry it.
fn attributes(headers: &HeaderMap) -> Vec<(String, String)> {
    let named = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(ATTRIBUTE_PREFIX)?;
        Some((name.to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    });
    named.collect()
}

/// What was sent in pieces that were signed is stored without them, whatever its head says.
fn coding(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all("content-encoding").into_iter();
    let all = all.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let all: Vec<_> = all.collect();
    let codings = all.iter().flat_map(|value| value.split(',')).map(str::trim);
    let codings = codings.filter(|one| !matches!(*one, "" | "identity" | "none" | "aws-chunked"));
    let left: Vec<_> = codings.collect();
    (!left.is_empty()).then(|| left.join(", "))
}

/// The size of the object of which exactly these bytes came.
fn total(content_range: &str, range: ByteRange) -> Option<u64> {
    let (found, total) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let is_exact = found == format!("{}-{}", range.start(), range.end() - 1);
    total.parse().ok().filter(|total| is_exact && *total >= range.end())
}

/// A page of a list. What asks for the next one carries the last name of this one along, so that
/// no list goes in a circle.
pub(super) fn page(answer: &Element, list: &List<'_>) -> StoreResult<Page> {
    let before = list.page.map(split_token).transpose()?;
    let names = Names::of(answer);
    let objects = answer.all("Contents").map(|found| listed(found, names));
    let objects = objects.collect::<StoreResult<Vec<_>>>()?;
    let prefix = |found: &Element| names.read(found.text_of("Prefix").unwrap_or_default());
    let prefixes = answer.all("CommonPrefixes").map(prefix).collect::<StoreResult<Vec<_>>>()?;
    let is_within = |name: &String| name.starts_with(list.prefix);
    let keys = || objects.iter().map(|object| &object.key);
    if !keys().all(is_within) || !prefixes.iter().all(|name| is_within(name) && name.ends_with('/'))
    {
        return Err(nonsense("a list of what was not asked for"));
    }
    let last = before.map_or("", |(last, _)| last);
    if !ascending(last, keys()) || !ascending(last, prefixes.iter()) {
        return Err(nonsense("a list that is out of order"));
    }
    let next = following(answer, before.map(|(_, token)| token))?;
    let last = keys().chain(&prefixes).map(String::as_str).fold(last, Ord::max);
    let next = next.map(|token| format!("{}:{last}{token}", last.len()));
    Ok(Page { objects, prefixes, next })
}

/// What the store called the page.
pub(super) fn page_token(page: &str) -> StoreResult<&str> {
    split_token(page).map(|(_, token)| token)
}

fn split_token(page: &str) -> StoreResult<(&str, &str)> {
    let split = || {
        let (length, rest) = page.split_once(':')?;
        rest.split_at_checked(length.parse().ok()?)
    };
    split().ok_or_else(|| StoreError::Failed("no page of a list is called so".to_owned()))
}

fn ascending<'a>(mut last: &'a str, names: impl Iterator<Item = &'a String>) -> bool {
    for name in names {
        if name.as_str() <= last {
            return false;
        }
        last = name;
    }
    true
}

fn following<'a>(answer: &'a Element, asked: Option<&str>) -> StoreResult<Option<&'a str>> {
    if !is_truncated(answer) {
        return Ok(None);
    }
    let token = answer.text_of("NextContinuationToken");
    let token = token.filter(|token| token.len() <= PAGE_TOKEN_BYTES_MAX);
    match token.ok_or_else(|| nonsense("a list that cannot go on"))? {
        token if Some(token) == asked => Err(nonsense("a list that goes in a circle")),
        token => Ok(Some(token)),
    }
}

pub(super) fn is_truncated(answer: &Element) -> bool {
    answer.text_of("IsTruncated").is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn listed(found: &Element, names: Names) -> StoreResult<Listed> {
    let size = found.text_of("Size").and_then(|text| text.parse().ok());
    Ok(Listed {
        key: names.read(found.text_of("Key").unwrap_or_default())?,
        size: size.ok_or_else(|| nonsense("an object without a size"))?,
        etag: found.text_of("ETag").map(str::to_owned),
        modified: date(found, "LastModified")?,
    })
}

pub(super) fn date(found: &Element, name: &str) -> StoreResult<Timestamp> {
    let date = found.text_of(name).and_then(dates::of_list);
    date.ok_or_else(|| nonsense("a list without dates"))
}

/// Whether a name may have been another before it became XML: what XML has no place for is left
/// out, replaced, or written against the rules.
pub(super) fn is_doubtful(answer: &Element) -> bool {
    let is_doubtful = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    let named = answer.children.iter().flat_map(|listed| &listed.children);
    named
        .filter(|child| matches!(child.name.as_str(), "Key" | "Prefix"))
        .any(|child| child.text.contains(is_doubtful))
}

/// How names stand in a list; a store that does not encode does not say that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Plain,
    Encoded,
}

impl Names {
    pub(super) fn of(answer: &Element) -> Self {
        match answer.text_of("EncodingType") {
            Some(kind) if kind.eq_ignore_ascii_case("url") => Self::Encoded,
            _ => Self::Plain,
        }
    }

    /// # Errors
    /// [`StoreError::Nonsense`] for what is none, the empty name among it.
    pub(super) fn read(self, text: &str) -> StoreResult<String> {
        let name = match self {
            Self::Plain => Some(text.to_owned()),
            Self::Encoded => decoded(text),
        };
        name.filter(|name| !name.is_empty()).ok_or_else(|| nonsense("a name that is none"))
    }
}

/// As forms are encoded, where `+` is a space; once, for a name may look encoded itself.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

pub(super) fn nonsense(what: &str) -> StoreError {
    StoreError::Nonsense(what.to_owned())
}
