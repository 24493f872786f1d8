//! What rclone is asked, one request at a time.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::range::ByteRange;

use super::beside::Beside;
use super::problem::{shown, sorted};
use super::rows::{Features, Row};
use crate::endpoint::object::store::{StoreError, StoreResult, dates};
use crate::transport::web::{WebAnswer, WebError, WebRequest};

/// Bytes of an answer: a directory of a million names.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Bytes of a complaint.
const COMPLAINT_BYTES_MAX: usize = 64 << 10;

/// The host that no address of a socket has.
const HOST: &str = "http://localhost/";

#[derive(Deserialize)]
struct Complaint {
    error: String,
}

#[derive(Deserialize)]
struct List {
    list: Vec<Row>,
}

#[derive(Deserialize)]
struct Found {
    item: Option<Row>,
}

/// Bytes of a file, and what the file is now.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    pub(super) size: u64,
    pub(super) modified: Option<Timestamp>,
}

/// What it complains of.
pub(super) fn complaint(body: &[u8]) -> String {
    match serde_json::from_slice::<Complaint>(body) {
        Ok(complaint) => complaint.error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// A part of an address; what is no letter or digit is encoded.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

impl Beside {
    /// It is gone, or about to be; what it was asked may be done.
    pub(super) fn gone(&self, error: &WebError) -> StoreError {
        let said = self.companion.last_words();
        match self.companion.ended() {
            Some(ended) if said.is_empty() => StoreError::Again(format!("rclone ended: {ended}")),
            Some(_) => StoreError::Again(format!("rclone ended: {}", shown(&said))),
            None => StoreError::Again(format!("rclone does not answer: {error}")),
        }
    }

    /// Asks, and reads the answer whole.
    pub(super) async fn ask(&self, call: &str, what: &Value) -> StoreResult<(u16, Bytes)> {
        let _call = self.calls.acquire().await;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (method, address) = (Method::POST, format!("{HOST}{call}"));
        let request = WebRequest { method, address, headers, body: what.to_string().into() };
        let asked = async {
            let answer = self.web.ask(request).await?;
            Ok((answer.status, answer.at_most(ANSWER_BYTES_MAX).await?))
        };
        asked.await.map_err(|error| match error {
            WebError::Length { .. } => {
                StoreError::Failed("a directory of too many names".to_owned())
            }
            error => self.gone(&error),
        })
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        call: &str,
        what: &Value,
    ) -> StoreResult<T> {
        let (status, body) = self.ask(call, what).await?;
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|_| StoreError::Nonsense(format!("rclone: {call}"))),
            404 => Err(StoreError::Missing),
            _ => Err(sorted(&complaint(&body))),
        }
    }

    /// What is in a directory; with a sum of each file, where one is named.
    pub(super) async fn list(
        &self,
        file_system: &str,
        directory: &str,
        sum: Option<&str>,
    ) -> StoreResult<Vec<Row>> {
        let what = json!({ "fs": file_system, "remote": directory, "opt": options(sum) });
        self.call("operations/list", &what).await.map(|List { list }| list)
    }

    /// One file; `None` where none is.
    pub(super) async fn look(
        &self,
        file_system: &str,
        path: &str,
        features: &Features,
    ) -> StoreResult<Option<Row>> {
        let mut opt = options(features.sum);
        opt["filesOnly"] = true.into();
        opt["metadata"] = features.of_server.into();
        let what = json!({ "fs": file_system, "remote": path, "opt": opt });
        match self.call("operations/stat", &what).await {
            Ok(Found { item }) => Ok(item.filter(|row| !row.is_dir)),
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Copies a file that was laid out for it; it compares what arrived by its own sums.
    pub(super) async fn copy_in(&self, name: &str, to: (&str, &str)) -> StoreResult<()> {
        let from = self.stage.path().to_string_lossy();
        let what = json!({ "srcFs": from, "srcRemote": name, "dstFs": to.0, "dstRemote": to.1 });
        self.call::<Value>("operations/copyfile", &what).await.map(drop)
    }

    /// Gives a file its name, in place of what has it.
    pub(super) async fn rename(&self, file_system: &str, from: &str, to: &str) -> StoreResult<()> {
        let what = json!({
            "srcFs": file_system, "srcRemote": from, "dstFs": file_system, "dstRemote": to,
        });
        self.call::<Value>("operations/movefile", &what).await.map(drop)
    }

    /// Removes a file; one that is not there is no error.
    pub(super) async fn remove(&self, file_system: &str, path: &str) -> StoreResult<()> {
        let what = json!({ "fs": file_system, "remote": path });
        match self.call::<Value>("operations/deletefile", &what).await {
            Ok(_) | Err(StoreError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a directory that is empty; one that is not there is no error.
    pub(super) async fn remove_directory(&self, file_system: &str, path: &str) -> StoreResult<()> {
        let what = json!({ "fs": file_system, "remote": path });
        match self.call::<Value>("operations/rmdir", &what).await {
            Ok(_) | Err(StoreError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads bytes of a file, exactly as many as are asked for.
    pub(super) async fn read(
        &self,
        file_system: &str,
        path: &str,
        range: ByteRange,
    ) -> StoreResult<Read> {
        let _call = self.calls.acquire().await;
        let address = format!("{HOST}%5B{}%5D/{}", encoded(file_system), encoded(path));
        let mut headers = HeaderMap::new();
        let wanted = format!("bytes={}-{}", range.start(), range.end() - 1);
        if let Ok(wanted) = HeaderValue::from_str(&wanted) {
            headers.insert(RANGE, wanted);
        }
        let request = WebRequest { method: Method::GET, address, headers, body: Bytes::new() };
        let answer = self.web.ask(request).await.map_err(|error| self.gone(&error))?;
        match answer.status {
            200 | 206 => self.taken(answer, range).await,
            404 => Err(StoreError::Missing),
            416 => Err(StoreError::Changed),
            _ => {
                let body = answer.at_most(COMPLAINT_BYTES_MAX).await;
                Err(sorted(&complaint(&body.map_err(|error| self.gone(&error))?)))
            }
        }
    }

    async fn taken(&self, answer: WebAnswer, range: ByteRange) -> StoreResult<Read> {
        let modified = answer.header(LAST_MODIFIED.as_str()).and_then(dates::of_header);
        let told = answer.header(CONTENT_RANGE.as_str()).map(|told| {
            let (span, size) = told.strip_prefix("bytes ")?.split_once('/')?;
            let starts = span.split_once('-')?.0.parse() == Ok(range.start());
            size.parse::<u64>().ok().filter(|_| starts)
        });
        let size = match told {
            Some(size) => size,
            // Without ranges all of it comes.
            None => (range.start() == 0).then_some(range.len()),
        };
        let nonsense = || StoreError::Nonsense("rclone gives another range".to_owned());
        let size = size.ok_or_else(nonsense)?;
        let length = usize::try_from(range.len()).map_err(|_| nonsense())?;
        let bytes = answer.exactly(length).await.map_err(|error| match error {
            WebError::Length { .. } => StoreError::Changed,
            // It breaks off what it cannot read to the end, and says why in its own place.
            error => self.gone(&error),
        })?;
        Ok(Read { bytes, size, modified })
    }
}

fn options(sum: Option<&str>) -> Value {
    match sum {
        Some(sum) => json!({ "noMimeType": true, "showHash": true, "hashTypes": [sum] }),
        None => json!({ "noMimeType": true }),
    }
}
