//! What the fields of a message may hold, beyond what their types already rule out.

use super::{FrameError, deltas, errands, surveys};
use crate::digest::spans;
use crate::encoding::{Accepts, Encoded};
use crate::limits;
use crate::manifest::{EntryKind, Metadata, ScanItem, Stamp, Timestamp};
use crate::message::errand::Gathered;
use crate::message::passage::{Forward, Forwarded, ForwardedRead, Redeem, RedeemedWrite};
use crate::message::removal::{Remove, Rename};
use crate::message::{
    Begin, FileAt, FileRead, FilesAt, FilterRules, HashBlocks, Message, NewKind, PackedFile,
    ReadBlock, Reply, Request, Root, ScanBatch, ScanOptions, Subject, TryDisk, WriteBlock,
};
use crate::path::RelPath;
use crate::range::ByteRange;

/// Why a field of a message cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// More digests than a reply may hold would answer this, or a block has none.
    #[error("an impossible number of digests")]
    DigestCount,
    /// A payload is encoded where there is none, to more bytes than it has, or at no level.
    #[error("an encoding that cannot be")]
    Encoding,
    /// A file beyond [`limits::FILE_BYTES_MAX`].
    #[error("a file of {0} bytes")]
    FileSize(u64),
    /// A symbolic link's content is empty, too long, or holds NUL.
    #[error("a symbolic link that cannot be")]
    LinkContent,
    /// More elements than a list of its kind may hold.
    #[error("a list of {0} elements")]
    ListLength(usize),
    /// A key, a name or a moment of a login that is none.
    #[error("words of a login that cannot be")]
    Login,
    /// Sums of blocks of no length, or copies that overlap, are empty or lead beyond their files.
    #[error("copies that cannot be")]
    Copies,
    /// An address, a header or a reason of a carried request that cannot be, or a body where there
    /// is none.
    #[error("an errand that cannot be")]
    Errand,
    /// Bits beyond [`limits::MODE_MAX`].
    #[error("a mode of {0:#o}")]
    Mode(u32),
    /// A moment's nanoseconds of a second or more.
    #[error("{0} nanoseconds within a second")]
    Nanoseconds(u32),
    /// A parcel of nothing, or of more than a payload may hold.
    #[error("a parcel of {0} bytes")]
    Parcel(u64),
    /// A path as typed is too long or holds NUL.
    #[error("a location's path that cannot be")]
    Path,
    /// A range beyond its file, off the grid of digests, or longer than a payload.
    #[error("bytes {}..{} cannot be asked for", .0.start(), .0.end())]
    Range(ByteRange),
    /// Ranges overlap or are not in order.
    #[error("ranges out of order at byte {}", .0.start())]
    RangeOrder(ByteRange),
    /// The root where only something below it can stand.
    #[error("the root itself where an entry below it is due")]
    RootItself,
    /// A label or a command of a survey that cannot be.
    #[error("a survey that cannot be")]
    Survey,
    /// A trial of nothing, or beyond a limit of trials.
    #[error("a trial of {0}")]
    Trial(u64),
    /// Extended attributes are too large, misnamed, repeated, or out of order.
    #[error("extended attributes that cannot be")]
    Xattrs,
}

/// Checks a message and that its payload has the length that it tells.
pub(super) fn check(message: &Message, payload: u64) -> Result<(), FrameError> {
    let expected = match message {
        Message::Request(_, request) => check_request(request)?,
        Message::Reply(_, Ok(Reply::Block(digests))) => {
            check_block_digests(digests.len())?;
            payload.max(1)
        }
        Message::Reply(_, Ok(reply)) => check_reply(reply)?,
        Message::Reply(_, Err(_)) | Message::End => 0,
        Message::EncodedRequest(_, request, encoded) => {
            check_encoded(*encoded, check_request(request)?, payload)?
        }
        Message::EncodedReply(_, reply, encoded) => {
            let decoded = match reply {
                Reply::Block(digests) => {
                    check_block_digests(digests.len())?;
                    u64::from(encoded.length)
                }
                reply => check_reply(reply)?,
            };
            check_encoded(*encoded, decoded, payload)?
        }
        Message::AcceptingRequest(_, request, accepts) => check_accepting(request, *accepts)?,
    };
    if expected == payload {
        Ok(())
    } else {
        Err(FrameError::PayloadMismatch { expected, found: payload })
    }
}

/// Checks a request and returns its payload's length.
fn check_request(request: &Request) -> Result<u64, FieldError> {
    match request {
        Request::Ping
        | Request::ScanNext(_)
        | Request::Space(_)
        | Request::Discard(_)
        | Request::Publish(_)
        | Request::Finish(_)
        | Request::Facts
        | Request::Identify(_)
        | Request::WriteBack(_)
        | Request::Settling(_)
        | Request::MakeKey
        | Request::MakeLogin
        | Request::Reclaim(_) => {}
        Request::Sink(length) => return check_trial_payload(*length),
        Request::Supply(length) => drop(check_trial_payload(*length)?),
        Request::Survey(survey) => surveys::check_survey(survey)?,
        Request::TryDisk(trial) => check_try_disk(trial)?,
        Request::Locate(locate) => check_location(&locate.path)?,
        Request::OpenRoot(open) => check_location(&open.path)?,
        Request::Scan(scan) => check_scan(&scan.options)?,
        Request::DataRanges(file) => check_file(file)?,
        Request::ReadBlock(read) => check_read_block(read)?,
        Request::ReadPack(files) => check_pack(files)?,
        Request::HashBlocks(hash) => check_hash_blocks(hash)?,
        Request::HashFiles(hash) => check_stamps(&hash.files.files)?,
        Request::Lock(lock) => check_length(&lock.entries, limits::BATCH_ENTRIES_MAX)?,
        Request::Create(create) => {
            check_length(&create.entries, limits::BATCH_ENTRIES_MAX)?;
            for entry in &create.entries {
                check_metadata(&entry.metadata)?;
                check_new_kind(&entry.kind)?;
            }
        }
        Request::OpenPartial(open) => {
            check_below_root(&open.path).and_then(|()| check_size(open.size))?
        }
        Request::Keep(keep) => check_ranges(&keep.ranges)?,
        Request::WriteBlock(write) => return check_write_block(write),
        Request::Commit(commit) => check_metadata(&commit.metadata)?,
        Request::WritePack(pack) => return check_write_pack(&pack.files),
        Request::SetMetadata(set) => {
            check_length(&set.entries, limits::BATCH_ENTRIES_MAX)?;
            set.entries.iter().try_for_each(|(_, _, metadata)| check_metadata(metadata))?;
        }
        Request::Listen(listen) => check_length(&listen.ports, limits::DATA_PORTS_MAX)?,
        Request::Dial(dial) => check_length(&dial.addresses, limits::DIALS_MAX)?,
        Request::Reach(_)
        | Request::Forward(_)
        | Request::Deliver(..)
        | Request::Redeem(_)
        | Request::ListenFor(..)
        | Request::ReachByLogin(_)
        | Request::Lend(_) => return check_passage(request),
        Request::Gather(_) | Request::Carry(_) | Request::RedeemAll(_) | Request::Dispose(_) => {
            check_errand(request)?
        }
        Request::Remove(remove) => check_remove(remove)?,
        Request::Rename(rename) => check_rename(rename)?,
        Request::Sign(_) | Request::Match(_) | Request::ReadParts(_) | Request::Patch(_) => {
            return check_delta(request);
        }
        Request::Begin(begin) => check_begin(begin)?,
        Request::RemovePartials(partials) => check_partials(&partials.paths)?,
    }
    Ok(0)
}

fn check_partials(paths: &[RelPath]) -> Result<(), FieldError> {
    check_length(paths, limits::BATCH_ENTRIES_MAX)?;
    paths.iter().try_for_each(check_below_root)
}

fn check_errand(request: &Request) -> Result<(), FieldError> {
    match request {
        Request::Gather(gather) => check_forwarded(&gather.read),
        Request::Carry(carry) => errands::check_carry(carry),
        Request::RedeemAll(redeem) => {
            check_length(&redeem.parcels, limits::BATCH_ENTRIES_MAX)?;
            check_redeemed(&redeem.write)
        }
        Request::Dispose(parcels) => check_length(parcels, limits::BATCH_ENTRIES_MAX),
        _ => Ok(()),
    }
}

/// Checks a request of a delta, and returns its payload's length.
fn check_delta(request: &Request) -> Result<u64, FieldError> {
    match request {
        Request::Sign(sign) => deltas::check_sign(sign).map(|()| 0),
        Request::Match(looked) => deltas::check_match(looked),
        Request::ReadParts(read) => deltas::check_read_parts(read).map(|()| 0),
        Request::Patch(patch) => deltas::check_patch(patch),
        _ => Ok(0),
    }
}

fn check_remove(remove: &Remove) -> Result<(), FieldError> {
    check_length(&remove.entries, limits::BATCH_ENTRIES_MAX)?;
    for entry in &remove.entries {
        check_below_root(&entry.path)?;
        check_stamp(&entry.stamp)?;
    }
    remove.backup.iter().try_for_each(check_below_root)
}

fn check_rename(rename: &Rename) -> Result<(), FieldError> {
    check_length(&rename.entries, limits::BATCH_ENTRIES_MAX)?;
    for entry in &rename.entries {
        check_below_root(&entry.from)?;
        check_below_root(&entry.to)?;
        check_stamp(&entry.stamp)?;
        check_metadata(&entry.metadata)?;
    }
    Ok(())
}

/// Checks a request of a passage, and returns its payload's length.
fn check_passage(request: &Request) -> Result<u64, FieldError> {
    match request {
        Request::Reach(reach) => check_length(&reach.addresses, limits::DIALS_MAX)?,
        Request::Forward(Forward { read, .. }) => check_forwarded(read)?,
        Request::Deliver(_, length) => return check_parcel((*length).into()),
        Request::ListenFor(listen, _) => check_length(&listen.ports, limits::DATA_PORTS_MAX)?,
        Request::ReachByLogin(reach) => {
            check_length(&reach.addresses, limits::DIALS_MAX)?;
            check_login(&reach.user, is_user)?;
            check_login(&reach.host_key, is_key)?;
        }
        Request::Lend(lend) => {
            check_length(&lend.from, limits::DIALS_MAX)?;
            check_login(&lend.key, is_key)?;
            check_login(&lend.expires, |byte| byte.is_ascii_digit())?;
        }
        Request::Redeem(Redeem { write, .. }) => check_redeemed(write)?,
        _ => {}
    }
    Ok(0)
}

/// Checks that a payload is shorter than the bytes that it stands for, which are as many as its
/// message tells; returns its length.
fn check_encoded(encoded: Encoded, decoded: u64, payload: u64) -> Result<u64, FieldError> {
    let within = 1..=limits::PAYLOAD_BYTES_MAX as u64;
    let fits = within.contains(&decoded) && u64::from(encoded.length) == decoded;
    if fits && (1..decoded).contains(&payload) { Ok(payload) } else { Err(FieldError::Encoding) }
}

fn check_accepting(request: &Request, accepts: Accepts) -> Result<u64, FieldError> {
    let asks_payload =
        matches!(request, Request::ReadBlock(_) | Request::ReadPack(_) | Request::ReadParts(_));
    if asks_payload && (1..=limits::LEVEL_MAX).contains(&accepts.level) {
        check_request(request)
    } else {
        Err(FieldError::Encoding)
    }
}

/// Checks a reply and returns its payload's length.
fn check_reply(reply: &Reply) -> Result<u64, FieldError> {
    match reply {
        Reply::Block(_)
        | Reply::Done
        | Reply::Scan(_)
        | Reply::Space(_)
        | Reply::Facts(_)
        | Reply::Surveyed(None)
        | Reply::DiskTrial(_)
        | Reply::Key(_)
        | Reply::Reached(_)
        | Reply::Forwarded(Forwarded::Undelivered) => {}
        Reply::Forwarded(Forwarded::Block(digests)) => check_block_digests(digests.len())?,
        Reply::Login(key) => check_login(key, is_key)?,
        Reply::Forwarded(Forwarded::Pack(files)) => {
            check_read_pack(files)?;
        }
        Reply::Gathered(Gathered::Block { digests, .. }) => check_block_digests(digests.len())?,
        Reply::Gathered(Gathered::Pack(files)) => {
            check_length(files, limits::BATCH_ENTRIES_MAX)?;
            sum_of_payload(files.iter().flat_map(|(read, _)| read).map(|file| file.size))?;
        }
        Reply::Carried(carried) => errands::check_carried(carried)?,
        Reply::Supplied(length) => return check_trial_payload(*length),
        Reply::Sums(kind, count) => return deltas::check_sums(*kind, *count),
        Reply::Copies(copies) => deltas::check_copies(copies)?,
        Reply::Parts(digests, length) => return deltas::check_parts(digests, *length),
        Reply::Listening(listening) => check_length(&listening.ports, limits::DATA_PORTS_MAX)?,
        Reply::Digests(digests) => check_length(&digests.digests, limits::DIGESTS_MAX)?,
        Reply::FileDigests(digests, _) => check_length(digests, limits::BATCH_ENTRIES_MAX)?,
        Reply::Located(located) => {
            check_length(located, limits::BATCH_ENTRIES_MAX)?;
            located.iter().try_for_each(|row| check_location(&row.path))?;
        }
        Reply::Outcomes(outcomes) => {
            check_length(outcomes, limits::BATCH_ENTRIES_MAX)?;
            let stamps = outcomes.iter().filter_map(|o| o.result.as_ref().ok()?.as_ref());
            stamps.into_iter().try_for_each(check_stamp)?;
        }
        Reply::Pack(files) => return check_read_pack(files),
        Reply::Container(container) => surveys::check_container(container)?,
        Reply::Surveyed(Some(found)) => surveys::check_surveyed(found)?,
        Reply::Settling(settling) => {
            check_length(&settling.open, limits::SETTLING_FILES_MAX)?;
            check_time(&settling.now)?;
        }
        Reply::Partial(partial) => check_ranges(&partial.held)?,
        Reply::Ranges(ranges) => check_ranges(ranges)?,
        Reply::Root(Root { path, .. }) => check_location(path)?,
        Reply::ScanBatch(batch) => check_scan_batch(batch)?,
        Reply::Begun(begun) => {
            check_location(&begun.root.path)?;
            check_length(&begun.lists, limits::LISTS_BEGUN_MAX)?;
            begun.lists.iter().flatten().try_for_each(|(_, batch)| check_scan_batch(batch))?;
        }
    }
    Ok(0)
}

fn check_begin(begin: &Begin) -> Result<(), FieldError> {
    check_location(&begin.open.path)?;
    check_length(&begin.entries, limits::BATCH_ENTRIES_MAX)?;
    check_length(&begin.lists, limits::LISTS_BEGUN_MAX)?;
    if let Some(only_if) = &begin.only_if {
        check_location(&only_if.path)?;
        check_length(&only_if.kinds, limits::LOCATED_KINDS_MAX)?;
    }
    begin.lists.iter().try_for_each(|(_, options)| check_scan(options))
}

fn check_pack(files: &FilesAt) -> Result<(), FieldError> {
    check_stamps(&files.files)?;
    sum_of_payload(files.files.iter().map(|(_, stamp)| stamp.size)).map(drop)
}

/// Checks words of a login: they become part of a file that decides who gets in.
fn check_login(text: &str, is_allowed: impl Fn(u8) -> bool) -> Result<(), FieldError> {
    let length = 1..=limits::LOGIN_BYTES_MAX;
    if length.contains(&text.len()) && text.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(FieldError::Login)
    }
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/= -@.".contains(&byte)
}

fn is_user(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

fn check_forwarded(read: &ForwardedRead) -> Result<(), FieldError> {
    match read {
        ForwardedRead::Block(read) => check_read_block(read),
        ForwardedRead::Pack(files) => check_pack(files),
    }
}

/// Checks what is written of a parcel: a block has some bytes.
fn check_redeemed(write: &RedeemedWrite) -> Result<(), FieldError> {
    match write {
        RedeemedWrite::Block(write) if check_write_block(write)? == 0 => Err(FieldError::Parcel(0)),
        RedeemedWrite::Block(_) => Ok(()),
        RedeemedWrite::Pack(pack) => check_write_pack(&pack.files).map(drop),
    }
}

/// The length of a payload that is delivered.
pub(super) fn check_parcel(length: u64) -> Result<u64, FieldError> {
    let allowed = 1..=limits::PAYLOAD_BYTES_MAX as u64;
    if allowed.contains(&length) { Ok(length) } else { Err(FieldError::Parcel(length)) }
}

/// The length of a payload that measures a link.
fn check_trial_payload(length: u32) -> Result<u64, FieldError> {
    let length = u64::from(length);
    let allowed = 1..=u64::from(limits::TRIAL_PAYLOAD_MAX);
    if allowed.contains(&length) { Ok(length) } else { Err(FieldError::Trial(length)) }
}

fn check_try_disk(trial: &TryDisk) -> Result<(), FieldError> {
    if !(1..=limits::TRIAL_DISK_BYTES_MAX).contains(&trial.bytes) {
        return Err(FieldError::Trial(trial.bytes));
    }
    if !(1..=limits::TRIAL_DISK_MILLIS_MAX).contains(&trial.millis) {
        return Err(FieldError::Trial(trial.millis.into()));
    }
    Ok(())
}

fn check_scan(options: &ScanOptions) -> Result<(), FieldError> {
    if let Some(only) = &options.only {
        check_length(only, limits::SCAN_ONLY_MAX)?;
    }
    let FilterRules { rules, modified_max, modified_min, .. } = &options.filter;
    check_length(rules, limits::FILTER_RULES_MAX)?;
    modified_max.iter().chain(modified_min).try_for_each(check_time)
}

fn check_scan_batch(batch: &ScanBatch) -> Result<(), FieldError> {
    check_length(&batch.items, limits::BATCH_ENTRIES_MAX)?;
    batch.items.iter().try_for_each(|item| match item {
        ScanItem::Entry(entry) => {
            match &entry.kind {
                EntryKind::File { size, .. } => check_size(*size)?,
                EntryKind::Symlink { content } => check_link(content)?,
                EntryKind::Device(_)
                | EntryKind::Directory
                | EntryKind::Fifo
                | EntryKind::Socket => {}
            }
            check_metadata(&entry.metadata)?;
            check_time(&entry.inode.changed)
        }
        ScanItem::Partial { path, .. } => check_below_root(path),
        ScanItem::Excluded(_) | ScanItem::Problem(_) => Ok(()),
    })
}

fn check_read_block(read: &ReadBlock) -> Result<(), FieldError> {
    check_file(&read.file)?;
    let short = read.range.len() <= limits::PAYLOAD_BYTES_MAX as u64;
    if short && spans(read.range, read.file.stamp.size).next().is_some() {
        Ok(())
    } else {
        Err(FieldError::Range(read.range))
    }
}

fn check_hash_blocks(hash: &HashBlocks) -> Result<(), FieldError> {
    let block = hash.block.bytes();
    let mut on_grid = hash.range.start().is_multiple_of(block);
    if let Subject::File(file) = &hash.subject {
        check_file(file)?;
        on_grid &= hash.range.end() <= file.stamp.size;
        on_grid &= hash.range.end() == file.stamp.size || hash.range.end().is_multiple_of(block);
    }
    if !on_grid {
        return Err(FieldError::Range(hash.range));
    }
    if hash.range.len().div_ceil(block) > limits::DIGESTS_MAX as u64 {
        return Err(FieldError::DigestCount);
    }
    Ok(())
}

fn check_write_block(write: &WriteBlock) -> Result<u64, FieldError> {
    check_block_digests(write.digests.len())?;
    if write.hole {
        return Ok(0);
    }
    if write.range.len() > limits::PAYLOAD_BYTES_MAX as u64 {
        return Err(FieldError::Range(write.range));
    }
    Ok(write.range.len())
}

fn check_write_pack(files: &[PackedFile]) -> Result<u64, FieldError> {
    check_length(files, limits::BATCH_ENTRIES_MAX)?;
    for file in files {
        check_below_root(&file.path)?;
        check_metadata(&file.metadata)?;
    }
    sum_of_payload(files.iter().map(|file| file.size))
}

fn check_read_pack(files: &[FileRead]) -> Result<u64, FieldError> {
    check_length(files, limits::BATCH_ENTRIES_MAX)?;
    sum_of_payload(files.iter().flatten().map(|file| file.size))
}

/// Adds sizes up to what one payload may hold; more is an error at the file that oversteps it.
fn sum_of_payload(mut sizes: impl Iterator<Item = u64>) -> Result<u64, FieldError> {
    sizes.try_fold(0_u64, |sum, size| {
        sum.checked_add(size)
            .filter(|&sum| sum <= limits::PAYLOAD_BYTES_MAX as u64)
            .ok_or(FieldError::FileSize(size))
    })
}

fn check_block_digests(count: usize) -> Result<(), FieldError> {
    if (1..=limits::SPANS_MAX).contains(&count) { Ok(()) } else { Err(FieldError::DigestCount) }
}

pub(super) fn check_length<T>(list: &[T], max: usize) -> Result<(), FieldError> {
    if list.len() <= max { Ok(()) } else { Err(FieldError::ListLength(list.len())) }
}

pub(super) fn check_ranges(ranges: &[ByteRange]) -> Result<(), FieldError> {
    check_length(ranges, limits::RANGES_MAX)?;
    match ranges.windows(2).find(|pair| pair[1].start() < pair[0].end()) {
        Some(pair) => Err(FieldError::RangeOrder(pair[1])),
        None => Ok(()),
    }
}

fn check_new_kind(kind: &NewKind) -> Result<(), FieldError> {
    match kind {
        NewKind::HardLink { of } => check_below_root(of),
        NewKind::Symlink { content } => check_link(content),
        NewKind::Device(_) | NewKind::Directory | NewKind::Fifo | NewKind::Socket => Ok(()),
    }
}

fn check_link(content: &[u8]) -> Result<(), FieldError> {
    let length = 1..=limits::SYMLINK_BYTES_MAX;
    if length.contains(&content.len()) && !content.contains(&0) {
        Ok(())
    } else {
        Err(FieldError::LinkContent)
    }
}

pub(super) fn check_location(path: &[u8]) -> Result<(), FieldError> {
    let fits = path.len() <= limits::PATH_BYTES_MAX && !path.contains(&0);
    if fits { Ok(()) } else { Err(FieldError::Path) }
}

fn check_below_root(path: &RelPath) -> Result<(), FieldError> {
    if path.is_root() { Err(FieldError::RootItself) } else { Ok(()) }
}

pub(super) fn check_file(file: &FileAt) -> Result<(), FieldError> {
    check_stamp(&file.stamp)
}

fn check_stamps(files: &[(RelPath, Stamp)]) -> Result<(), FieldError> {
    check_length(files, limits::BATCH_ENTRIES_MAX)?;
    files.iter().try_for_each(|(_, stamp)| check_stamp(stamp))
}

fn check_stamp(stamp: &Stamp) -> Result<(), FieldError> {
    check_size(stamp.size)?;
    check_time(&stamp.modified)?;
    check_time(&stamp.changed)
}

fn check_size(size: u64) -> Result<(), FieldError> {
    if size <= limits::FILE_BYTES_MAX { Ok(()) } else { Err(FieldError::FileSize(size)) }
}

fn check_time(time: &Timestamp) -> Result<(), FieldError> {
    if time.nanoseconds < limits::NANOSECONDS_END {
        Ok(())
    } else {
        Err(FieldError::Nanoseconds(time.nanoseconds))
    }
}

fn check_metadata(metadata: &Metadata) -> Result<(), FieldError> {
    if metadata.mode > limits::MODE_MAX {
        return Err(FieldError::Mode(metadata.mode));
    }
    check_time(&metadata.modified)?;
    let xattrs = &metadata.xattrs;
    let bytes: usize = xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
    let named = xattrs.iter().all(|x| {
        (1..=limits::XATTR_NAME_BYTES_MAX).contains(&x.name.len()) && !x.name.contains(&0)
    });
    let sorted = xattrs.windows(2).all(|pair| pair[0].name < pair[1].name);
    if named && sorted && bytes <= limits::XATTR_BYTES_MAX && xattrs.len() <= limits::XATTRS_MAX {
        Ok(())
    } else {
        Err(FieldError::Xattrs)
    }
}
