//! A file that is streamed: its parts one behind the other, in one request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::calls::{complaint, encoded};
use super::problem::sorted;
use super::{RcloneStore, guard};
use crate::disk::partial_name;
use crate::endpoint::object::store::{Key, Part, StoreError, StoreResult, UploadId};
use crate::transport::web::{Pieces, streamed};

/// Bytes that are handed over at once: what is taken shows that it moves.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes of parts that came before their turn, of all files together; beyond that, they wait.
const AHEAD_BYTES_MAX: u64 = 64 << 20;

/// Bytes of what is answered.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Parts the pieces of a form; it is no part of a file, for its length is not told by it.
const BOUNDARY: &str = "xfer-0c1b52f3a7b94e55";

/// One such file.
pub(super) struct Streaming {
    /// What it is called until it is whole.
    name: String,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// The part that is due.
    next: u32,
    ahead: BTreeMap<u32, Ahead>,
    pieces: Option<Pieces>,
    answer: Option<JoinHandle<StoreResult<()>>>,
    /// Whether a part is being given.
    busy: bool,
    /// Whether nothing more can come of it.
    over: bool,
}

/// A part that came before its turn; counted while it is here.
struct Ahead {
    body: Bytes,
    count: Arc<AtomicU64>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.count.fetch_sub(self.body.len() as u64, Ordering::Relaxed);
    }
}

/// What becomes of a part.
enum Given<'a> {
    /// It is its turn.
    Now(Turn<'a>),
    /// It was given, or is kept for its turn.
    Done,
}

/// Gives up what it was begun for, unless that came to its end.
struct Turn<'a>(&'a Streaming, bool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = guard(&self.0.state);
        state.busy = false;
        if !self.1 {
            state.end();
        }
        drop(state);
        self.0.changed.notify_waiters();
    }
}

impl State {
    fn end(&mut self) {
        self.over = true;
        self.pieces = None;
        self.ahead.clear();
        if let Some(answer) = self.answer.take() {
            answer.abort();
        }
    }
}

impl Streaming {
    fn new(name: String) -> Self {
        let state = State {
            next: 1,
            ahead: BTreeMap::new(),
            pieces: None,
            answer: None,
            busy: false,
            over: false,
        };
        Self { name, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits for the turn of a part, unless it can be kept until then.
    async fn turn(
        &self,
        (number, body): (u32, &Bytes),
        ahead: &Arc<AtomicU64>,
        stall: Duration,
    ) -> StoreResult<Given<'_>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = guard(&self.state);
                if state.over {
                    return Err(StoreError::Missing);
                }
                if number < state.next || state.ahead.contains_key(&number) {
                    return Ok(Given::Done);
                }
                if number == state.next && !state.busy {
                    state.busy = true;
                    return Ok(Given::Now(Turn(self, false)));
                }
                if number > state.next && !body.is_empty() && has_room(ahead, body.len()) {
                    let kept = Ahead { body: body.clone(), count: Arc::clone(ahead) };
                    state.ahead.insert(number, kept);
                    return Ok(Given::Done);
                }
            }
            if tokio::time::timeout(stall, changed).await.is_err() {
                // What comes before it does not come.
                guard(&self.state).end();
                self.changed.notify_waiters();
                return Err(StoreError::Missing);
            }
        }
    }
}

impl RcloneStore {
    pub(super) fn begin_streaming(&self, key: &Key) -> UploadId {
        let id = UploadId(format!("{:016x}-{}", self.options.seed, self.count()));
        let name = match self.features.renames {
            true => partial_of(key),
            false => key.as_str().to_owned(),
        };
        guard(&self.uploads).insert(id.clone(), Arc::new(Streaming::new(name)));
        id
    }

    fn streaming(&self, id: &UploadId) -> StoreResult<Arc<Streaming>> {
        guard(&self.uploads).get(id).map(Arc::clone).ok_or(StoreError::Missing)
    }

    pub(super) async fn give_part(
        &self,
        id: &UploadId,
        number: u32,
        body: Bytes,
    ) -> StoreResult<Part> {
        let streaming = self.streaming(id)?;
        let size = body.len() as u64;
        let part = Part { number, size, tag: number.to_string(), checksum: None };
        let turn = streaming.turn((number, &body), &self.ahead, self.options.stall);
        let Given::Now(mut turn) = turn.await? else { return Ok(part) };
        let begun = guard(&streaming.state).pieces.take();
        let pieces = match begun {
            Some(pieces) => pieces,
            None => self.begin_request(&streaming).await,
        };
        self.give_bytes(&streaming, &pieces, body).await?;
        loop {
            let kept = {
                let mut state = guard(&streaming.state);
                state.next = state.next.saturating_add(1);
                let due = state.next;
                state.ahead.remove(&due)
            };
            let Some(kept) = kept else { break };
            self.give_bytes(&streaming, &pieces, kept.body.clone()).await?;
        }
        guard(&streaming.state).pieces = Some(pieces);
        turn.1 = true;
        Ok(part)
    }

    async fn give_bytes(
        &self,
        streaming: &Streaming,
        pieces: &Pieces,
        body: Bytes,
    ) -> StoreResult<()> {
        let mut rest = body;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            match tokio::time::timeout(self.options.stall, pieces.give(piece)).await {
                Ok(true) => streaming.changed.notify_waiters(),
                Ok(false) => return Err(self.broken(streaming).await),
                Err(_) => return Err(StoreError::Again("rclone takes nothing more".to_owned())),
            }
        }
        Ok(())
    }

    /// Begins the request, with what stands before the first byte.
    async fn begin_request(&self, streaming: &Arc<Streaming>) -> Pieces {
        let (pieces, body) = streamed();
        let (directory, name) = streaming.name.rsplit_once('/').unwrap_or(("", &streaming.name));
        let query = |text: &str| encoded(text).replace('/', "%2F");
        let address = format!(
            "http://localhost/operations/uploadfile?fs={}&remote={}",
            query(&self.file_system),
            query(directory)
        );
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename*=UTF-8''{}\r\nContent-Type: application/octet-stream\r\n\r\n",
            query(name)
        );
        let mut headers = HeaderMap::new();
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        if let Ok(kind) = HeaderValue::from_str(&kind) {
            headers.insert(CONTENT_TYPE, kind);
        }
        let web = self.program.web.clone();
        let asked = async move {
            let broken = |error: crate::transport::web::WebError| {
                StoreError::Again(format!("rclone breaks off: {error}"))
            };
            let answer = web.send(&address, headers, body).await.map_err(broken)?;
            let status = answer.status;
            let said = answer.at_most(ANSWER_BYTES_MAX).await.map_err(broken)?;
            if status == 200 { Ok(()) } else { Err(sorted(&complaint(&said))) }
        };
        guard(&streaming.state).answer = Some(tokio::spawn(asked));
        // Where nobody takes it, the first piece finds that out.
        let _taken = pieces.give(Bytes::from(head)).await;
        pieces
    }

    /// Why nothing more is taken.
    async fn broken(&self, streaming: &Streaming) -> StoreError {
        let answer = guard(&streaming.state).answer.take();
        match finished(answer).await {
            // What was sent is lost either way: the file is sent anew.
            Ok(()) | Err(StoreError::Again(_) | StoreError::Slow { .. }) => StoreError::Missing,
            Err(error) => error,
        }
    }

    /// Ends the request; the file is there as a whole, under the name that it was begun with.
    pub(super) async fn end_streaming(
        &self,
        id: &UploadId,
        parts: u32,
    ) -> StoreResult<Arc<Streaming>> {
        let streaming = self.streaming(id)?;
        let due = parts.saturating_add(1);
        let nothing = Bytes::new();
        let turn = streaming.turn((due, &nothing), &self.ahead, self.options.stall);
        let Given::Now(mut turn) = turn.await? else { return Err(StoreError::Missing) };
        let (pieces, answer) = {
            let mut state = guard(&streaming.state);
            (state.pieces.take(), state.answer.take())
        };
        let pieces = pieces.ok_or(StoreError::Missing)?;
        if pieces.give(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))).await {
            pieces.end().await;
        }
        match finished(answer).await {
            Ok(()) => {}
            Err(StoreError::Again(_) | StoreError::Slow { .. }) => return Err(StoreError::Missing),
            Err(error) => return Err(error),
        }
        turn.1 = true;
        drop(turn);
        guard(&streaming.state).end();
        guard(&self.uploads).remove(id);
        Ok(streaming)
    }

    /// Gives a whole file its name.
    pub(super) async fn name_streamed(&self, streaming: &Streaming, key: &Key) -> StoreResult<()> {
        if streaming.name == key.as_str() {
            return Ok(());
        }
        self.program.rename(&self.file_system, &streaming.name, key.as_str()).await
    }

    /// What was streamed, as the remote tells it before it has its name.
    pub(super) async fn streamed_bytes(&self, streaming: &Streaming) -> StoreResult<Option<u64>> {
        let row = self.program.look(&self.file_system, &streaming.name, &self.features).await?;
        Ok(row.and_then(|row| row.bytes()))
    }

    pub(super) async fn abort_streaming(&self, id: &UploadId) -> StoreResult<()> {
        let Some(streaming) = guard(&self.uploads).remove(id) else { return Ok(()) };
        guard(&streaming.state).end();
        streaming.changed.notify_waiters();
        if self.features.renames {
            self.program.remove(&self.file_system, &streaming.name).await?;
        }
        Ok(())
    }
}

fn has_room(ahead: &AtomicU64, length: usize) -> bool {
    let more = |kept: u64| kept.checked_add(length as u64).filter(|sum| *sum <= AHEAD_BYTES_MAX);
    ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

async fn finished(answer: Option<JoinHandle<StoreResult<()>>>) -> StoreResult<()> {
    match answer {
        Some(answer) => answer.await.unwrap_or(Err(StoreError::Missing)),
        None => Err(StoreError::Missing),
    }
}

/// The name of a partial, beside the key that it becomes.
fn partial_of(key: &Key) -> String {
    let (directory, name) = match key.as_str().rsplit_once('/') {
        Some((directory, name)) => (format!("{directory}/"), name),
        None => (String::new(), key.as_str()),
    };
    format!("{directory}{}", String::from_utf8_lossy(&partial_name(name.as_bytes())))
}
