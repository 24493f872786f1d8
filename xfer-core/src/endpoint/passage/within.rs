//! From one bucket to another of the same service, which copies by itself: no machine of ours has
//! the bytes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xfer_protocol::fault::Fault;
use xfer_protocol::message::FileAt;

use crate::endpoint::EndpointResult;
use crate::endpoint::object::ObjectEndpoint;
use crate::endpoint::object::copying::{CopyResult, Copying, Known};

/// Two buckets of one service.
pub(crate) struct Within {
    from: Arc<ObjectEndpoint>,
    to: Arc<ObjectEndpoint>,
    /// Whether the service said that it does not copy.
    refused: AtomicBool,
    /// What was told, each once.
    told: Mutex<HashSet<&'static str>>,
}

impl Within {
    /// Nothing where they are of two services, or of one that copies nothing for us.
    pub(crate) fn new(from: &Arc<ObjectEndpoint>, to: &Arc<ObjectEndpoint>) -> Option<Self> {
        let (refused, told) = (AtomicBool::new(false), Mutex::default());
        let within = Self { from: Arc::clone(from), to: Arc::clone(to), refused, told };
        to.copies_from(from).then_some(within)
    }

    /// Whether it is worth asking.
    pub(crate) fn is_open(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// Asks for nothing more; whether that is news.
    pub(crate) fn close(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    /// Whether that was not told yet.
    pub(crate) fn is_news(&self, what: &'static str) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
    }

    /// What the service knows of a file at the source.
    pub(crate) async fn known(&self, at: &FileAt) -> EndpointResult<Result<Known, Fault>> {
        self.from.known(at).await
    }

    /// What it knows of a file at the destination.
    pub(crate) async fn known_there(&self, at: &FileAt) -> EndpointResult<Result<Known, Fault>> {
        self.to.known(at).await
    }

    /// Has it make a file at the destination of one at the source.
    pub(crate) async fn copy(&self, copying: Copying, known: Known) -> CopyResult {
        self.to.copy_known(copying, known, &self.from).await
    }
}
