//! A store that keeps no bodies: what it was sent is counted, checked and thrown away
//!
//! It answers as AWS does, and refuses what AWS refuses: `x-amz-` fields that are not signed,
//! addresses whose time is over, parts that are too small, too many or out of order, tags that name
//! no part, checksums that are another's. A signature itself is not computed again. Small objects
//! written whole are kept, for they are records; of others, bytes are invented when they are asked
//! for, where a test says that there is such an object.

mod lists;
mod objects;
mod signed;
mod uploads;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crc_fast::{CrcAlgorithm, Digest};

use super::Access;
use super::http::{self, Framing, Message, decoded};

/// Spreads neighbouring numbers over all bits of a tag
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834;

/// Bytes of an object that is kept
const KEPT_MAX: usize = 64 << 10;

/// What a store was asked
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What S3 calls it, such as `UploadPart`
    pub what: &'static str,
    /// The key, decoded
    pub key: String,
    /// What was answered
    pub status: u16,
    /// Bytes of the body
    pub bytes: u64,
}

/// An object that is there, or would be
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Bytes
    pub size: u64,
    /// CRC-64/NVME over all of them
    pub checksum: u64,
    /// What names its state, without quotes
    pub tag: String,
    /// Bytes of its parts, in order; none of what was written whole
    pub parts: Vec<u64>,
    /// What was written with it: names without their prefix
    pub attributes: Vec<(String, String)>,
    content: Content,
    written: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Kept(Vec<u8>),
    Gone,
    Invented,
}

/// The store, which answers until it is dropped
#[derive(Debug)]
pub struct Discard {
    access: Access,
    address: SocketAddr,
    state: Arc<Shared>,
}

type Shared = Mutex<State>;

#[derive(Debug, Default)]
struct State {
    bucket: String,
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Upload>,
    asked: Vec<Asked>,
    number: u64,
}

#[derive(Clone, Debug)]
struct Upload {
    key: String,
    attributes: Vec<(String, String)>,
    parts: BTreeMap<u32, Part>,
    begun: u64,
}

#[derive(Clone, Debug)]
struct Part {
    size: u64,
    checksum: u64,
    tag: String,
}

/// What came with a request
struct Received {
    size: u64,
    checksum: u64,
    /// The body, where it is small
    content: Option<Vec<u8>>,
}

impl Default for Discard {
    fn default() -> Self {
        Self::start()
    }
}

impl Discard {
    /// With one bucket that is empty
    pub fn start() -> Self {
        let bucket = Access::on(0).bucket;
        let state = Arc::new(Mutex::new(State { bucket, ..State::default() }));
        let serve = |state: &Shared, stream| drop(connection(state, stream));
        let address = http::listen(&state, serve);
        Self { access: Access::on(address.port()), address, state }
    }

    /// How it is spoken to
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The objects by their keys
    pub fn objects(&self) -> BTreeMap<String, Held> {
        lock(&self.state).objects.clone()
    }

    /// How many uploads in parts are under way
    pub fn uploads(&self) -> usize {
        lock(&self.state).uploads.len()
    }

    /// What it was asked so far
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// How often it was asked for that, such as `UploadPart`
    pub fn count(&self, what: &str) -> usize {
        lock(&self.state).asked.iter().filter(|asked| asked.what == what).count()
    }

    /// Bytes of the bodies that came
    pub fn received(&self) -> u64 {
        lock(&self.state).asked.iter().map(|asked| asked.bytes).sum()
    }

    /// Has an object of so many bytes, which are as [`invented`] says
    pub fn invent(&self, key: &str, size: u64) {
        let mut state = lock(&self.state);
        let tag = state.tag();
        let (parts, attributes) = (Vec::new(), Vec::new());
        let content = Content::Invented;
        let held = Held { size, checksum: 0, tag, parts, attributes, content, written: now() };
        state.objects.insert(key.to_owned(), held);
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        self.state = Arc::default();
        // Wakes whoever waits for the next connection, to find nobody.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

/// The byte of an invented object at that place
pub fn invented(at: u64) -> u8 {
    let [low, next, ..] = (at / 251).to_le_bytes();
    low ^ next.rotate_left(3) ^ at.to_le_bytes()[0]
}

impl State {
    /// A name that was never given
    fn tag(&mut self) -> String {
        self.number += 1;
        format!("{:032x}", u128::from(self.number).wrapping_mul(SPREAD))
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn connection(state: &Shared, stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = http::reader(stream);
    while let Some(request) = Message::read(&mut reader)? {
        if request.get("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let is_kept = request.asks("partNumber").is_none();
        let received = receive(&mut reader, &request, is_kept)?;
        let (what, key, answer) = answer(state, &request, &received);
        let (status, bytes) = (answer.status(), received.size);
        lock(state).asked.push(Asked { what, key: key.clone(), status, bytes });
        if let Some(range) = objects::range_of(&request, &answer, state, &key) {
            writer.write_all(&answer.head())?;
            objects::invent(&mut writer, range)?;
        } else {
            answer.send(&mut writer, request.method() == "HEAD" || status == 204)?;
        }
    }
    Ok(())
}

fn receive(
    reader: &mut BufReader<TcpStream>,
    request: &Message,
    is_kept: bool,
) -> io::Result<Received> {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut content = is_kept.then(Vec::new);
    let size = http::body(reader, request.framing(Framing::Length(0)), |piece| {
        digest.update(piece);
        match &mut content {
            Some(kept) if kept.len() + piece.len() <= (KEPT_MAX << 8) => {
                kept.extend_from_slice(piece);
            }
            _ => content = None,
        }
        Ok(())
    })?;
    Ok(Received { size, checksum: digest.finalize(), content })
}

/// What S3 calls it, of which key, and what is said to it
fn answer(
    state: &Shared,
    request: &Message,
    received: &Received,
) -> (&'static str, String, Message) {
    let path = request.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let key = decoded(key);
    let what = what(request, &key);
    if let Err(refused) = signed::check(request) {
        return (what, key, refused);
    }
    let mut state = lock(state);
    if bucket != state.bucket {
        return (what, key, Message::refusal(404, "NoSuchBucket"));
    }
    let done = match what {
        "HeadBucket" => Ok(Message::answer(200, "")),
        "GetBucketLocation" => Ok(lists::location()),
        "ListObjectsV2" => lists::objects(&state, request),
        "ListMultipartUploads" => Ok(lists::uploads(&state, request)),
        "ListParts" => lists::parts(&state, request, &key),
        "HeadObject" | "GetObject" => objects::get(&state, request, &key),
        "PutObject" => objects::put(&mut state, request, &key, received),
        "DeleteObject" => {
            state.objects.remove(&key);
            Ok(Message::answer(204, ""))
        }
        "CreateMultipartUpload" => Ok(uploads::begin(&mut state, request, &key)),
        "UploadPart" => uploads::part(&mut state, request, &key, received),
        "CompleteMultipartUpload" => uploads::complete(&mut state, request, &key, received),
        "AbortMultipartUpload" => uploads::abort(&mut state, request, &key),
        _ => Err(Message::refusal(501, "NotImplemented")),
    };
    (what, key, done.unwrap_or_else(|refused| refused))
}

fn what(request: &Message, key: &str) -> &'static str {
    let has = |name: &str| request.asks(name).is_some();
    match (request.method(), key.is_empty()) {
        ("HEAD", true) => "HeadBucket",
        ("GET", true) if has("location") => "GetBucketLocation",
        ("GET", true) if has("uploads") => "ListMultipartUploads",
        ("GET", true) if has("list-type") => "ListObjectsV2",
        ("HEAD", false) => "HeadObject",
        ("GET", false) if has("uploadId") => "ListParts",
        ("GET", false) => "GetObject",
        ("PUT", false) if has("partNumber") => "UploadPart",
        ("PUT", false) if request.get("x-amz-copy-source").is_none() => "PutObject",
        ("POST", false) if has("uploads") => "CreateMultipartUpload",
        ("POST", false) if has("uploadId") => "CompleteMultipartUpload",
        ("DELETE", false) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", false) => "DeleteObject",
        _ => "another",
    }
}

/// As fields tell a checksum
fn base64_of(checksum: u64) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, checksum.to_be_bytes())
}

/// Refuses a body that is not what its fields say
fn check_body(request: &Message, received: &Received) -> Result<(), Message> {
    let coded =
        request.get("content-encoding").is_some_and(|coding| coding.contains("aws-chunked"));
    if coded || request.get("x-amz-trailer").is_some() {
        return Err(Message::refusal(501, "NotImplemented"));
    }
    match request.get("x-amz-checksum-crc64nvme") {
        Some(told) if told != base64_of(received.checksum) => {
            Err(Message::refusal(400, "BadDigest"))
        }
        _ => Ok(()),
    }
}

/// What was written with an object
fn attributes(request: &Message) -> Vec<(String, String)> {
    let of = |(name, value): &(String, String)| {
        let name = name.to_ascii_lowercase();
        Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.clone()))
    };
    request.fields.iter().filter_map(of).collect()
}

/// Refuses a write whose condition does not hold
fn check_condition(state: &State, request: &Message, key: &str) -> Result<(), Message> {
    let held = state.objects.get(key);
    let is_absent = request.get("if-none-match").is_none_or(|_| held.is_none());
    let tag = request.get("if-match").map(|tag| tag.trim_matches('"'));
    let is_it = tag.is_none_or(|tag| held.is_some_and(|held| held.tag == tag));
    if is_absent && is_it { Ok(()) } else { Err(Message::refusal(412, "PreconditionFailed")) }
}

#[cfg(test)]
mod tests;
