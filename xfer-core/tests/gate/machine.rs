//! A machine on which something happens just before any one call of whoever looks at it

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use xfer_core::endpoint::rehearsed::Rehearsed;
use xfer_core::endpoint::{Capabilities, Endpoint, EndpointResult, Source};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::message::{
    Digests, FileAt, FileRead, FilesAt, HashBlocks, HashFiles, Locate, Located, OpenRoot,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, Space,
};
use xfer_protocol::range::ByteRange;
use xfer_protocol::survey::{Container, Survey, Surveyed};

/// What happens, and when
#[derive(Clone, Default)]
pub(super) struct Moment(Arc<State>);

#[derive(Default)]
struct State {
    calls: AtomicU64,
    /// How often the machine was surveyed, which happens once in a collection
    surveys: AtomicU64,
    waiting: Mutex<Option<(When, Act)>>,
}

type Act = Box<dyn FnOnce() + Send>;

/// Before which call it happens
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// The one after so many of all
    Call(u64),
    /// The first look at the files that comes after the survey
    LastLooks,
}

impl Moment {
    /// Counts calls anew, and has something happen then
    pub(super) fn set(&self, when: When, act: impl FnOnce() + Send + 'static) {
        self.0.calls.store(0, Ordering::SeqCst);
        self.0.surveys.store(0, Ordering::SeqCst);
        *self.0.waiting.lock().expect("nothing panicked") = Some((when, Box::new(act)));
    }

    /// Has it happen now if it did not come yet
    pub(super) fn is_now(&self) {
        let waiting = self.0.waiting.lock().expect("nothing panicked").take();
        if let Some((_, act)) = waiting {
            act();
        }
    }

    /// Has it happen no more
    pub(super) fn is_over(&self) {
        *self.0.waiting.lock().expect("nothing panicked") = None;
    }

    /// Calls since
    pub(super) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn comes(&self) {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst);
        let surveyed = self.0.surveys.load(Ordering::SeqCst) > 0;
        let mut waiting = self.0.waiting.lock().expect("nothing panicked");
        let due = match waiting.as_ref() {
            Some((When::Call(at), _)) => call == *at,
            Some((When::LastLooks, _)) => surveyed,
            None => false,
        };
        if due && let Some((_, act)) = waiting.take() {
            act();
        }
    }
}

/// The machine
pub(super) struct Watched {
    pub(super) inner: Rehearsed,
    pub(super) moment: Moment,
}

#[async_trait]
impl Endpoint for Watched {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        self.moment.comes();
        self.inner.locate(locate).await
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        self.moment.comes();
        self.inner.open_root(open).await
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        self.moment.comes();
        self.inner.scan(scan).await
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        self.moment.comes();
        self.inner.scan_next(next).await
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.moment.comes();
        self.inner.data_ranges(file).await
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        self.moment.comes();
        self.inner.hash_blocks(hash).await
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        self.moment.comes();
        self.inner.hash_files(hash).await
    }

    async fn space(&self, root: RootIndex) -> EndpointResult<Space> {
        self.moment.comes();
        self.inner.space(root).await
    }

    async fn identify(&self, mark: bool) -> EndpointResult<Container> {
        self.moment.comes();
        self.inner.identify(mark).await
    }

    async fn survey(&self, survey: Survey) -> EndpointResult<Surveyed> {
        self.moment.comes();
        let found = self.inner.survey(survey).await;
        self.moment.0.surveys.fetch_add(1, Ordering::SeqCst);
        found
    }

    async fn write_back(&self, root: RootIndex) -> EndpointResult<()> {
        self.moment.comes();
        self.inner.write_back(root).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Source for Watched {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.moment.comes();
        self.inner.read_block(read).await
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.moment.comes();
        self.inner.read_pack(files).await
    }
}
