//! What a session begins with: a greeting, and requests that need nothing to be known before.
//!
//! On a long link each answer that is waited for costs what thousands of files cost. So what will
//! be asked first is said along with the greeting, or even given to the far side as it is started,
//! and the call that asks it finds its answer on the way. What nobody asks for is dropped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use xfer_protocol::codec::encode;
use xfer_protocol::hello::{Hello, Role, SessionId};
use xfer_protocol::message::{Message, Request, RequestId};

use super::compressing;
use super::lane::{self, Answer, Asked};
use crate::options::Compression;

/// The bytes that the first stream of a session begins with.
#[derive(Clone, Debug)]
pub struct Opening {
    bytes: Vec<u8>,
    requests: Vec<Request>,
    was_said: bool,
    index: u16,
}

impl Opening {
    /// Greets and asks; a request that no frame holds is left to the call that makes it.
    #[must_use]
    pub fn new(session: SessionId, compression: Compression, requests: &[Request]) -> Self {
        let features = compressing::features(compression);
        let mut opening = Self::greeting(session, features, 0);
        for (id, request) in (0..).zip(requests) {
            let Ok(frame) = encode(&Message::Request(RequestId(id), request.clone()), 0) else {
                break;
            };
            opening.bytes.extend(frame);
            opening.requests.push(request.clone());
        }
        opening
    }

    /// Greets on a first stream of ours that is not the session's first.
    #[must_use]
    pub fn joining(session: SessionId, compression: Compression) -> Self {
        Self::greeting(session, compressing::features(compression), 1)
    }

    fn greeting(session: SessionId, features: u64, index: u16) -> Self {
        let hello = Hello { features, ..Hello::new(Role::Controller, session, index) };
        Self { bytes: hello.encode(), requests: Vec::new(), was_said: false, index }
    }

    pub(super) fn index(&self) -> u16 {
        self.index
    }

    /// What is to be said.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same once the far side has it.
    #[must_use]
    pub fn said(self) -> Self {
        Self { was_said: true, ..self }
    }

    /// Whether any of its requests is such a one.
    pub(super) fn asks(&self, wanted: impl Fn(&Request) -> bool) -> bool {
        self.requests.iter().any(wanted)
    }

    pub(super) fn was_said(&self) -> bool {
        self.was_said
    }

    /// What a further stream begins with; `theirs` is what the far side offered on another.
    pub(super) fn of_stream(
        session: SessionId,
        features: u64,
        index: u16,
        theirs: u64,
    ) -> lane::Opening {
        let hello = Hello { features, ..Hello::new(Role::Controller, session, index) };
        let unsaid = hello.encode();
        lane::Opening { unsaid, waiting: HashMap::new(), features: theirs }
    }

    /// What the first lane begins with, the first id that is free, and the answers to come.
    pub(super) fn begin(self) -> (lane::Opening, u64, Foretold) {
        let unsaid = if self.was_said { Vec::new() } else { self.bytes };
        let mut opening = lane::Opening { unsaid, waiting: HashMap::new(), features: 0 };
        let mut foretold = Vec::new();
        for (id, request) in (0..).zip(self.requests) {
            let (asked, answer) = Asked::plainly();
            opening.waiting.insert(RequestId(id), asked);
            foretold.push((request, answer));
        }
        let next = foretold.len() as u64;
        (opening, next, Foretold(Mutex::new(foretold)))
    }
}

/// Requests that were made ahead, and the answers to them.
pub(super) struct Foretold(Mutex<Vec<(Request, oneshot::Receiver<Answer>)>>);

impl Foretold {
    /// Whether there is an answer to a request.
    pub(super) fn holds(&self, request: &Request) -> bool {
        let foretold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        foretold.iter().any(|(made, _)| made == request)
    }

    /// The answer to a request that was made ahead; it answers one call.
    pub(super) async fn answer(&self, request: &Request) -> Option<Answer> {
        let answer = {
            let mut foretold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = foretold.iter().position(|(made, _)| made == request)?;
            foretold.swap_remove(at).1
        };
        // Where its lane is gone, the request goes out as any other does.
        answer.await.ok()
    }
}
