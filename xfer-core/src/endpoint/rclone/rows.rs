//! What rclone tells of files and of remotes.

use std::collections::HashMap;

use serde::Deserialize;
use xfer_protocol::manifest::Timestamp;

use crate::endpoint::object::store::{Checksum, Object, Version, dates};

/// Sums that tell one content from another, the surest first.
const SUMS: &[&str] =
    &["blake3", "sha512", "sha256", "sha1", "md5", "quickxor", "dropbox", "whirlpool"];

/// Nanoseconds from which a remote keeps no times.
const NO_TIMES: i64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// One file or directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    pub(super) name: String,
    /// Negative where nobody knows it before it is read.
    size: i64,
    #[serde(default)]
    mod_time: String,
    pub(super) is_dir: bool,
    #[serde(default, rename = "ID")]
    id: Option<String>,
    #[serde(default)]
    hashes: HashMap<String, String>,
    /// Where it was asked for: among it the time that a writer gave, as `mtime`.
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

/// What is told of a remote.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(default)]
    features: HashMap<String, bool>,
    #[serde(default)]
    hashes: Vec<String>,
    #[serde(default)]
    precision: i64,
    #[serde(default)]
    root: String,
}

/// What a remote can do, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// Whether a file can be given another name without being sent again.
    pub(super) renames: bool,
    /// Whether directories are made of keys alone, so that an empty one is none.
    buckets: bool,
    /// Whether what stands at its top are buckets, which no request for a file may name.
    top: bool,
    /// The sum that it tells without reading the file.
    pub(super) sum: Option<&'static str>,
    /// Whether its times are those of its own clock, which no writing leaves as they are.
    pub(super) of_server: bool,
    /// Whether it has times at all.
    times: bool,
}

impl Features {
    pub(super) fn of(info: &Info) -> Self {
        let has = |name: &str| info.features.get(name).copied().unwrap_or_default();
        let knows = |sum: &&&str| info.hashes.iter().any(|told| told == **sum);
        let sum = SUMS.iter().find(knows).copied().filter(|_| !has("SlowHash"));
        Self {
            renames: has("Move") || has("Copy"),
            buckets: has("BucketBased"),
            top: has("BucketBased") && info.root.is_empty() && !has("Overlay"),
            sum,
            of_server: has("SlowModTime"),
            times: info.precision < NO_TIMES,
        }
    }

    /// Whether a key is a bucket's name.
    pub(super) fn is_bucket(&self, key: &str) -> bool {
        self.top && !key.contains('/')
    }

    /// Whether a directory without entries is there.
    pub(super) fn holds_empty(&self, directory: &str) -> bool {
        !self.buckets || directory.is_empty() || self.is_bucket(directory)
    }

    pub(super) fn proves_states(&self) -> bool {
        self.sum.is_some() || self.of_server
    }

    /// The entity tag: of what there is, all that changes with the file.
    pub(super) fn tag(&self, row: &Row) -> String {
        let size = row.bytes().unwrap_or(u64::MAX);
        let time = if self.times { row.modified() } else { Timestamp::default() };
        let sum = self.sum.and_then(|sum| row.hashes.get(sum)).map(String::as_str);
        let id = row.id.as_deref().unwrap_or_default();
        let more = blake3::hash([sum.unwrap_or_default(), id].join("\n").as_bytes());
        format!("{size}.{}.{}.{}", time.seconds, time.nanoseconds, &more.to_hex()[..16])
    }

    /// Whether what was read is still in the state of a tag, as far as reading tells.
    pub(super) fn is_state(&self, tag: &str, size: u64, modified: Option<Timestamp>) -> bool {
        let mut words = tag.split('.');
        let same_size = words.next().and_then(|word| word.parse().ok()) == Some(size);
        let told = words.next().and_then(|word| word.parse().ok());
        same_size && (!self.times || modified.is_none_or(|m| told == Some(m.seconds)))
    }

    pub(super) fn object(&self, row: &Row) -> Object {
        let md5 = row.hashes.get("md5").and_then(|text| {
            let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
            Some(Checksum::Md5(number.to_be_bytes()))
        });
        Object {
            size: row.bytes().unwrap_or(u64::MAX),
            version: Version { etag: Some(self.tag(row)), id: None },
            modified: row.told().unwrap_or_else(|| row.modified()),
            checksums: md5.into_iter().collect(),
            attributes: Vec::new(),
            coding: None,
        }
    }
}

impl Row {
    /// Bytes; `None` where nobody knows.
    pub(super) fn bytes(&self) -> Option<u64> {
        u64::try_from(self.size).ok()
    }

    /// The time that a writer gave, where the remote's own stands in its place.
    fn told(&self) -> Option<Timestamp> {
        dates::of_list(self.metadata.as_ref()?.get("mtime")?)
    }

    pub(super) fn modified(&self) -> Timestamp {
        dates::of_list(&self.mod_time).unwrap_or_default()
    }
}
