//! Each method of the contracts as one request and the reply that fits it.

use async_trait::async_trait;
use bytes::Bytes;
use xfer_protocol::data_port::{Dial, KeyDigest, Listen, Listening};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::hello::{
    FEATURE_DELTA, FEATURE_IN_PLACE, FEATURE_PASSAGES, FEATURE_PROBES, FEATURE_REMOVALS,
    FEATURE_RENAMES, FEATURE_SETTLING, FEATURE_SURVEYS, SessionId,
};
use xfer_protocol::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign};
use xfer_protocol::message::passage::{
    Forward, Forwarded, Lend, ParcelIndex, Purpose, Reach, ReachByLogin, Reached, Redeem,
    RedeemedWrite,
};
use xfer_protocol::message::removal::{Remove, Rename};
use xfer_protocol::message::settling::Settling;
use xfer_protocol::message::{
    Begin, Begun, Commit, Create, Digests, FileAt, FileRead, FilesAt, Finish, HashBlocks,
    HashFiles, Keep, Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex,
    Paths, Publish, ReadBlock, Reply, Request, Root, RootIndex, Scan, ScanBatch, ScanIndex,
    ScanNext, SetMetadata, Space, TryDisk, WriteBlock, WritePack,
};
use xfer_protocol::probe::{DiskTrial, Facts};
use xfer_protocol::range::ByteRange;
use xfer_protocol::survey::{Container, Survey, Surveyed};

use super::RemoteEndpoint;
use crate::disk::glob;
use crate::endpoint::{
    Capabilities, Endpoint, EndpointError, EndpointResult, LostReason, ProtocolReason, Sink, Source,
};

/// A reply that does not answer its request.
pub(super) const MISMATCH: EndpointError = EndpointError::Protocol(ProtocolReason::Mismatched);

/// Whether rows name what was asked for and nothing else: their last names become names here.
fn may_stand_at(asked: &Locate, rows: &[Located]) -> bool {
    let is_plain = !asked.expand || !glob::has_patterns(&asked.path);
    match rows {
        // Where nothing matches, the name may hold the very characters of a pattern.
        [row] if row.path == asked.path => true,
        [] => !is_plain,
        rows => !is_plain && rows.iter().all(|row| glob::expands_to(&asked.path, &row.path)),
    }
}

/// Whether a copy lies within what was looked through, and within the blocks that were told.
fn may_be_found(asked: &Match, copy: &CopiedRange) -> bool {
    let block = u64::from(asked.block);
    let blocks = asked.from.saturating_add(block.saturating_mul(asked.sums.into()));
    let end = asked.range.end().saturating_add(block).min(asked.file.stamp.size);
    let is_read = copy.from >= asked.from && copy.from.saturating_add(copy.length) <= blocks;
    copy.to >= asked.range.start() && copy.end() <= end && is_read
}

/// Whether each file of a pack came with its bytes or its fault. One that is longer or shorter now
/// has changed, and has none.
pub(crate) fn are_whole(reads: &[FileRead], sizes: &[u64]) -> bool {
    reads.len() == sizes.len() && reads.iter().zip(sizes).all(|(read, &size)| is_whole(read, size))
}

pub(super) fn is_whole(read: &FileRead, size: u64) -> bool {
    read.as_ref().map_or(true, |read| read.size == size)
}

impl RemoteEndpoint {
    /// Has the far side open data ports.
    pub async fn listen(&self, listen: Listen) -> EndpointResult<Listening> {
        let asked = listen.ports.len();
        match self.ask(Request::Listen(listen)).await? {
            Reply::Listening(listening) if listening.ports.len() >= asked => Ok(listening),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side open data ports for another machine.
    pub async fn listen_for(&self, listen: Listen, purpose: Purpose) -> EndpointResult<Listening> {
        let asked = listen.ports.len();
        match self.ask(Request::ListenFor(listen, purpose)).await? {
            Reply::Listening(listening) if listening.ports.len() >= asked => Ok(listening),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side dial this one and serve what is asked there.
    pub async fn dial(&self, dial: Dial) -> EndpointResult<()> {
        self.done(Request::Dial(dial)).await
    }

    /// Whether the far side delivers payload to other machines, and takes what others deliver.
    #[must_use]
    pub fn opens_passages(&self) -> bool {
        self.offers(FEATURE_PASSAGES)
    }

    /// The key of the far side's data ports.
    pub async fn make_key(&self) -> EndpointResult<KeyDigest> {
        match self.ask(Request::MakeKey).await? {
            Reply::Key(key) => Ok(key),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side open a passage to another machine.
    pub async fn reach(&self, reach: Reach) -> EndpointResult<Reached> {
        match self.ask(Request::Reach(reach)).await? {
            Reply::Reached(reached) if reached.streams > 0 => Ok(reached),
            _ => Err(MISMATCH),
        }
    }

    /// The public half of the far side's key to log in to another machine with.
    pub async fn make_login(&self) -> EndpointResult<String> {
        match self.ask(Request::MakeLogin).await? {
            Reply::Login(key) => Ok(key),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side open a passage by that key.
    pub async fn reach_by_login(&self, reach: ReachByLogin) -> EndpointResult<Reached> {
        match self.ask(Request::ReachByLogin(reach)).await? {
            Reply::Reached(reached) if reached.streams > 0 => Ok(reached),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side let another machine log in to deliver.
    pub async fn lend(&self, lend: Lend) -> EndpointResult<()> {
        self.done(Request::Lend(lend)).await
    }

    /// Has the far side take that back.
    pub async fn reclaim(&self, session: SessionId) -> EndpointResult<()> {
        self.done(Request::Reclaim(session)).await
    }

    /// Has the far side read, and deliver what it read.
    pub async fn forward(&self, forward: Forward) -> EndpointResult<Forwarded> {
        match self.ask(Request::Forward(forward)).await? {
            Reply::Forwarded(Forwarded::Undelivered) => Err(EndpointError::Lost(LostReason::Ended)),
            Reply::Forwarded(forwarded) => Ok(forwarded),
            _ => Err(MISMATCH),
        }
    }

    /// Delivers payload.
    pub async fn deliver(&self, parcel: ParcelIndex, payload: Bytes) -> EndpointResult<()> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        match self.call(Request::Deliver(parcel, length), payload, 0).await? {
            (Reply::Done, payload) if payload.is_empty() => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side write what was delivered to it: nothing is told of one block, and an
    /// outcome of each file.
    pub async fn redeem(&self, redeem: Redeem) -> EndpointResult<Vec<Outcome>> {
        let count = match &redeem.write {
            RedeemedWrite::Block(_) => None,
            RedeemedWrite::Pack(pack) => Some(pack.files.len()),
        };
        match (self.ask(Request::Redeem(redeem)).await?, count) {
            (Reply::Done, None) => Ok(Vec::new()),
            (Reply::Outcomes(outcomes), Some(count)) if outcomes.len() == count => Ok(outcomes),
            _ => Err(MISMATCH),
        }
    }

    /// Whether the far side lets itself be measured.
    #[must_use]
    pub fn lets_itself_be_measured(&self) -> bool {
        self.offers(FEATURE_PROBES)
    }

    /// Sends payload that means nothing.
    pub async fn sink(&self, filler: Bytes) -> EndpointResult<()> {
        let length = u32::try_from(filler.len()).unwrap_or(u32::MAX);
        match self.call(Request::Sink(length), filler, 0).await? {
            (Reply::Done, payload) if payload.is_empty() => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    /// Has so many bytes sent that mean nothing.
    pub async fn supply(&self, length: u32) -> EndpointResult<()> {
        match self.call(Request::Supply(length), Bytes::new(), length.into()).await? {
            (Reply::Supplied(supplied), _) if supplied == length => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    pub(super) async fn ask(&self, request: Request) -> EndpointResult<Reply> {
        match self.call(request, Bytes::new(), 0).await? {
            (reply, payload) if payload.is_empty() => Ok(reply),
            _ => Err(MISMATCH),
        }
    }

    /// Asks what only some agents can tell.
    async fn ask_surveyor(&self, request: Request) -> EndpointResult<Reply> {
        if self.offers(FEATURE_SURVEYS) {
            self.ask(request).await
        } else {
            Err(crate::endpoint::unsupported())
        }
    }

    pub(super) async fn done(&self, request: Request) -> EndpointResult<()> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    /// Outcomes, one for each entry of the request or, where that is not known, any number.
    async fn outcomes(
        &self,
        request: Request,
        count: Option<usize>,
    ) -> EndpointResult<Vec<Outcome>> {
        match self.ask(request).await? {
            Reply::Outcomes(outcomes) if count.is_none_or(|c| c == outcomes.len()) => Ok(outcomes),
            _ => Err(MISMATCH),
        }
    }
}

#[async_trait]
impl Endpoint for RemoteEndpoint {
    fn capabilities(&self) -> &Capabilities {
        self.capabilities_of_far_side()
    }

    fn block_max(&self) -> Option<u64> {
        self.longest_block()
    }

    fn is_far(&self) -> bool {
        true
    }

    fn makes_deltas(&self) -> bool {
        self.offers(FEATURE_DELTA)
    }

    async fn sign(&self, sign: Sign) -> EndpointResult<Bytes> {
        let (length, kind) = (sign.length_of_sums(), sign.kind);
        match self.call(Request::Sign(sign), Bytes::new(), length).await? {
            (Reply::Sums(told_kind, told), sums)
                if told_kind == kind
                    && u64::from(told) * kind.bytes() as u64 == length
                    && sums.len() as u64 == length =>
            {
                // They are no bytes of a file.
                self.shared.overhead.add(sums.len());
                Ok(sums)
            }
            _ => Err(MISMATCH),
        }
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        let asked = locate.clone();
        match self.ask(Request::Locate(locate)).await? {
            Reply::Located(rows) if may_stand_at(&asked, &rows) => Ok(rows),
            Reply::Located(_) => Err(EndpointError::Protocol(ProtocolReason::UnsafeName)),
            _ => Err(MISMATCH),
        }
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        match self.ask(Request::OpenRoot(open)).await? {
            Reply::Root(root) => Ok(root),
            _ => Err(MISMATCH),
        }
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        match self.ask(Request::Scan(scan)).await? {
            Reply::Scan(index) => Ok(index),
            _ => Err(MISMATCH),
        }
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        match self.ask(Request::ScanNext(next)).await? {
            Reply::ScanBatch(batch) if batch.sequence == next.sequence => Ok(batch),
            _ => Err(MISMATCH),
        }
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        match self.ask(Request::DataRanges(file)).await? {
            Reply::Ranges(ranges) => Ok(ranges),
            _ => Err(MISMATCH),
        }
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        let blocks = hash.range.len().div_ceil(hash.block.bytes());
        match self.ask(Request::HashBlocks(hash)).await? {
            Reply::Digests(digests) if digests.digests.len() as u64 == blocks => Ok(digests),
            _ => Err(MISMATCH),
        }
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        let files = hash.files.files.len();
        match self.ask(Request::HashFiles(hash)).await? {
            Reply::FileDigests(digests, past_cache) if digests.len() == files => {
                Ok((digests, past_cache))
            }
            _ => Err(MISMATCH),
        }
    }

    async fn space(&self, root: RootIndex) -> EndpointResult<Space> {
        match self.ask(Request::Space(root)).await? {
            Reply::Space(space) => Ok(space),
            _ => Err(MISMATCH),
        }
    }

    async fn facts(&self) -> EndpointResult<Facts> {
        match self.ask(Request::Facts).await? {
            Reply::Facts(facts) => Ok(facts),
            _ => Err(MISMATCH),
        }
    }

    async fn try_disk(&self, trial: TryDisk) -> EndpointResult<DiskTrial> {
        match self.ask(Request::TryDisk(trial)).await? {
            Reply::DiskTrial(tried) => Ok(tried),
            _ => Err(MISMATCH),
        }
    }

    async fn settling(&self, root: RootIndex) -> EndpointResult<Settling> {
        if !self.offers(FEATURE_SETTLING) {
            return Err(crate::endpoint::unsupported());
        }
        match self.ask(Request::Settling(root)).await? {
            Reply::Settling(settling) => Ok(settling),
            _ => Err(MISMATCH),
        }
    }

    async fn identify(&self, mark: bool) -> EndpointResult<Container> {
        match self.ask_surveyor(Request::Identify(mark)).await? {
            Reply::Container(container) => Ok(container),
            _ => Err(MISMATCH),
        }
    }

    async fn survey(&self, survey: Survey) -> EndpointResult<Surveyed> {
        loop {
            match self.ask_surveyor(Request::Survey(survey.clone())).await? {
                Reply::Surveyed(Some(found)) => return Ok(*found),
                // The far side takes its time before it says so.
                Reply::Surveyed(None) => {}
                _ => return Err(MISMATCH),
            }
        }
    }

    async fn write_back(&self, root: RootIndex) -> EndpointResult<()> {
        match self.ask_surveyor(Request::WriteBack(root)).await? {
            Reply::Done => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    async fn close(&self) {
        self.end().await;
    }
}

#[async_trait]
impl Source for RemoteEndpoint {
    fn window(&self) -> u64 {
        self.window_of_payload()
    }

    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        let length = read.range.len();
        match self.call(Request::ReadBlock(read), Bytes::new(), length).await? {
            (Reply::Block(digests), payload) if payload.len() as u64 == length => {
                Ok((digests, payload))
            }
            _ => Err(MISMATCH),
        }
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        let sizes: Vec<_> = files.files.iter().map(|(_, stamp)| stamp.size).collect();
        let expected = sizes.iter().sum::<u64>();
        let request = Request::ReadPack(files);
        match self.call(request, Bytes::new(), expected.max(1)).await? {
            (Reply::Pack(reads), payload) if are_whole(&reads, &sizes) => Ok((reads, payload)),
            _ => Err(MISMATCH),
        }
    }

    async fn find_copies(&self, looked: Match, sums: Bytes) -> EndpointResult<Vec<CopiedRange>> {
        let asked = Match { file: looked.file.clone(), ..looked };
        self.shared.overhead.add(sums.len());
        match self.call(Request::Match(looked), sums, 0).await? {
            (Reply::Copies(copies), payload)
                if payload.is_empty() && copies.iter().all(|copy| may_be_found(&asked, copy)) =>
            {
                Ok(copies)
            }
            _ => Err(MISMATCH),
        }
    }

    async fn read_parts(&self, read: ReadParts) -> EndpointResult<(Vec<Digest>, Bytes)> {
        let blocks = read.range.len().div_ceil(read.block.bytes());
        let length = read.parts.iter().map(|part| part.len()).sum();
        match self.call(Request::ReadParts(read), Bytes::new(), length).await? {
            (Reply::Parts(digests, _), parts)
                if digests.len() as u64 == blocks && parts.len() as u64 == length =>
            {
                Ok((digests, parts))
            }
            _ => Err(MISMATCH),
        }
    }
}

#[async_trait]
impl Sink for RemoteEndpoint {
    async fn begin(&self, begin: Begin) -> EndpointResult<Begun> {
        let asked = begin.lists.len();
        let is_guess = begin.only_if.is_some();
        let request = Request::Begin(begin);
        // Whether a guess is right is known by now, and asking it only now gains nothing.
        if is_guess && !self.was_foretold(&request) {
            return Err(crate::endpoint::unsupported());
        }
        match self.ask(request).await? {
            Reply::Begun(begun) if begun.lists.len() == asked => {
                let is_first = |list: &Result<(ScanIndex, ScanBatch), Fault>| {
                    list.as_ref().map_or(true, |(_, batch)| batch.sequence == 0)
                };
                if begun.lists.iter().all(is_first) { Ok(begun) } else { Err(MISMATCH) }
            }
            _ => Err(MISMATCH),
        }
    }

    async fn lock(&self, lock: Lock) -> EndpointResult<()> {
        self.done(Request::Lock(lock)).await
    }

    async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>> {
        let count = create.entries.len();
        self.outcomes(Request::Create(create), Some(count)).await
    }

    async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial> {
        match self.ask(Request::OpenPartial(open)).await? {
            Reply::Partial(partial) => Ok(partial),
            _ => Err(MISMATCH),
        }
    }

    async fn keep(&self, keep: Keep) -> EndpointResult<()> {
        self.done(Request::Keep(keep)).await
    }

    async fn write_block(&self, write: WriteBlock, payload: Bytes) -> EndpointResult<()> {
        match self.call(Request::WriteBlock(write), payload, 0).await? {
            (Reply::Done, payload) if payload.is_empty() => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    async fn patch(&self, patch: Patch, payload: Bytes) -> EndpointResult<()> {
        match self.call(Request::Patch(patch), payload, 0).await? {
            (Reply::Done, payload) if payload.is_empty() => Ok(()),
            _ => Err(MISMATCH),
        }
    }

    async fn commit(&self, commit: Commit) -> EndpointResult<()> {
        self.done(Request::Commit(commit)).await
    }

    async fn discard(&self, partial: PartialIndex) -> EndpointResult<()> {
        self.done(Request::Discard(partial)).await
    }

    async fn write_pack(&self, pack: WritePack, payload: Bytes) -> EndpointResult<Vec<Outcome>> {
        let count = pack.files.len();
        match self.call(Request::WritePack(pack), payload, 1).await? {
            (Reply::Outcomes(outcomes), payload)
                if payload.is_empty() && outcomes.len() == count =>
            {
                Ok(outcomes)
            }
            _ => Err(MISMATCH),
        }
    }

    async fn publish(&self, publish: Publish) -> EndpointResult<Vec<Outcome>> {
        self.outcomes(Request::Publish(publish), None).await
    }

    async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        let count = set.entries.len();
        self.outcomes(Request::SetMetadata(set), Some(count)).await
    }

    async fn remove_partials(&self, partials: Paths) -> EndpointResult<()> {
        self.done(Request::RemovePartials(partials)).await
    }

    fn removes(&self) -> bool {
        self.offers(FEATURE_REMOVALS)
    }

    fn backs_up(&self) -> bool {
        // What is kept is renamed.
        self.offers(FEATURE_REMOVALS) && self.capabilities().rename
    }

    async fn remove(&self, remove: Remove) -> EndpointResult<Vec<Outcome>> {
        let count = remove.entries.len();
        self.outcomes(Request::Remove(remove), Some(count)).await
    }

    fn renames(&self) -> bool {
        self.offers(FEATURE_RENAMES)
    }

    fn writes_in_place(&self) -> bool {
        self.offers(FEATURE_IN_PLACE)
    }

    async fn rename(&self, rename: Rename) -> EndpointResult<Vec<Outcome>> {
        let count = rename.entries.len();
        self.outcomes(Request::Rename(rename), Some(count)).await
    }

    async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        self.done(Request::Finish(finish)).await?;
        self.holds_nothing();
        Ok(())
    }
}
