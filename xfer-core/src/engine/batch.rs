//! Batches: what goes into one request is counted in entries and in bytes, for a frame's header
//! holds so many of them, and so does the answer, which may name every entry once more.

use xfer_protocol::limits::BATCH_BYTES_TARGET;
use xfer_protocol::manifest::{Entry, Metadata};
use xfer_protocol::message::removal::Removal;
use xfer_protocol::message::{NewEntry, NewKind, Ticket};
use xfer_protocol::path::RelPath;

/// The most bytes that all of an entry's fields take which are as long for every entry.
const FIXED_BYTES: usize = 112;

/// The most bytes that the lengths and the rest around an attribute take.
const XATTR_BYTES: usize = 16;

/// Something that travels in a batch.
pub(super) trait Carried {
    /// The most bytes that it takes in any header.
    fn header_bytes(&self) -> usize;

    /// Bytes of its content that the request moves or hashes.
    fn content_bytes(&self) -> u64 {
        0
    }
}

/// What may go into one request, whatever its headers hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) entries: usize,
    /// Bytes of content.
    pub(super) content: u64,
}

impl Most {
    pub(super) const fn entries(entries: usize) -> Self {
        Self { entries, content: u64::MAX }
    }
}

/// One batch as it grows.
pub(super) struct Batch<T> {
    most: Most,
    items: Vec<T>,
    header: usize,
    content: u64,
}

impl<T: Carried> Batch<T> {
    pub(super) fn new(most: Most) -> Self {
        Self { most, items: Vec::new(), header: 0, content: 0 }
    }

    /// Adds an item, which may be too large for any batch and then makes one alone. Returns what
    /// must go before it, where the two do not fit together.
    #[must_use]
    pub(super) fn push(&mut self, item: T) -> Option<Vec<T>> {
        let (header, content) = (item.header_bytes(), item.content_bytes());
        let fits = self.items.len() < self.most.entries
            && self.header.saturating_add(header) <= BATCH_BYTES_TARGET
            && self.content.saturating_add(content) <= self.most.content;
        let full = (!fits && !self.items.is_empty()).then(|| self.take());
        self.header = self.header.saturating_add(header);
        self.content = self.content.saturating_add(content);
        self.items.push(item);
        full
    }

    /// What is gathered, and begins anew.
    pub(super) fn take(&mut self) -> Vec<T> {
        (self.header, self.content) = (0, 0);
        std::mem::take(&mut self.items)
    }
}

/// Cuts a whole list, in its order.
pub(super) fn batches<T: Carried>(items: impl IntoIterator<Item = T>, most: Most) -> Vec<Vec<T>> {
    let mut batch = Batch::new(most);
    let mut cut: Vec<_> = items.into_iter().filter_map(|item| batch.push(item)).collect();
    cut.push(batch.take());
    cut.retain(|batch| !batch.is_empty());
    cut
}

/// The most bytes that metadata takes beside [`FIXED_BYTES`].
pub(super) fn metadata_bytes(metadata: &Metadata) -> usize {
    metadata.xattrs.iter().map(|x| x.name.len() + x.value.len() + XATTR_BYTES).sum()
}

/// The most bytes that a path and what goes with every entry take.
pub(super) fn path_bytes(path: &RelPath) -> usize {
    path.as_bytes().len() + FIXED_BYTES
}

impl Carried for RelPath {
    fn header_bytes(&self) -> usize {
        path_bytes(self)
    }
}

impl Carried for Removal {
    fn header_bytes(&self) -> usize {
        path_bytes(&self.path)
    }
}

impl Carried for (Ticket, RelPath, Metadata) {
    fn header_bytes(&self) -> usize {
        path_bytes(&self.1) + metadata_bytes(&self.2)
    }
}

impl Carried for NewEntry {
    fn header_bytes(&self) -> usize {
        let content = match &self.kind {
            NewKind::HardLink { of } => of.as_bytes().len(),
            NewKind::Symlink { content } => content.len(),
            NewKind::Device(_) | NewKind::Directory | NewKind::Fifo | NewKind::Socket => 0,
        };
        path_bytes(&self.path) + metadata_bytes(&self.metadata) + content
    }
}

impl Carried for Entry {
    fn header_bytes(&self) -> usize {
        path_bytes(&self.path)
    }

    fn content_bytes(&self) -> u64 {
        self.kind.size()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use xfer_protocol::codec::{HEAD_BYTES, encode};
    use xfer_protocol::digest::Digest;
    use xfer_protocol::fault::{Fault, FaultKind, Operation};
    use xfer_protocol::limits::{
        HEADER_BYTES_MAX, PATH_BYTES_MAX, SYMLINK_BYTES_MAX, XATTR_BYTES_MAX,
    };
    use xfer_protocol::manifest::{Owner, Stamp, Timestamp, Xattr};
    use xfer_protocol::message::{
        Create, FilesAt, Message, Outcome, PackedFile, Paths, Reply, Request, RequestId, RootIndex,
        SetMetadata, WritePack,
    };

    use super::*;

    fn path(number: usize, length: usize) -> RelPath {
        let parts = std::iter::repeat_n("x".repeat(250), length / 251);
        let name = std::iter::once(format!("{number:0>8}"));
        RelPath::new(parts.chain(name).collect::<Vec<_>>().join("/")).unwrap()
    }

    /// As large as it can be, with attributes of so many bytes.
    fn metadata(xattrs: usize) -> Metadata {
        let modified = Timestamp { seconds: i64::MIN, nanoseconds: 999_999_999 };
        let owner = Some(Owner { user: u32::MAX, group: u32::MAX });
        let value = vec![7; 100];
        let xattr = |n| Xattr { name: format!("user.{n:04}").into_bytes(), value: value.clone() };
        let xattrs = (0..xattrs / 109).map(xattr).collect();
        Metadata { mode: 0o7777, modified, owner, xattrs }
    }

    fn header(message: Message, payload: usize) -> usize {
        encode(&message, payload).unwrap().len() - HEAD_BYTES
    }

    /// Lists of all shapes: none is longer than a frame or what was asked for, nothing is lost.
    fn check<T: Carried + Clone>(make: impl Fn(usize, usize, usize) -> T, send: impl Fn(Vec<T>)) {
        for (length, xattrs) in [(0, 0), (300, 6000), (3500, 0), (0, XATTR_BYTES_MAX)] {
            let items: Vec<_> = (0..3000).map(|n| make(n, length, xattrs)).collect();
            let cut = batches(items.clone(), Most::entries(1024));
            assert_eq!(cut.iter().map(Vec::len).sum::<usize>(), 3000);
            assert!(cut.iter().all(|batch| (1..=1024).contains(&batch.len())));
            let bytes = |batch: &[T]| batch.iter().map(Carried::header_bytes).sum::<usize>();
            for pair in cut.windows(2) {
                let together = bytes(&pair[0]) + pair[1][0].header_bytes();
                assert!(pair[0].len() == 1024 || together > BATCH_BYTES_TARGET);
            }
            cut.into_iter().for_each(&send);
        }
        send(vec![make(1, PATH_BYTES_MAX - 300, XATTR_BYTES_MAX)]);
    }

    fn asked(request: Request) -> Message {
        Message::Request(RequestId(u64::MAX), request)
    }

    fn assert_fits<T: Carried>(batch: &[T], message: Message, payload: usize) {
        let bytes: usize = batch.iter().map(Carried::header_bytes).sum();
        let found = header(message, payload);
        assert!(found <= bytes + 32 && found <= HEADER_BYTES_MAX / 2, "{found} of {bytes}");
    }

    #[test]
    fn what_is_made_fits_its_frame() {
        let root = RootIndex(u32::MAX);
        let make = |n, length: usize, xattrs| {
            let content = vec![b'c'; length.clamp(1, SYMLINK_BYTES_MAX)];
            let kind = NewKind::Symlink { content };
            NewEntry {
                ticket: Ticket(u64::MAX),
                path: path(n, length),
                kind,
                metadata: metadata(xattrs),
            }
        };
        check(make, |entries| {
            let message = asked(Request::Create(Create { root, entries: entries.clone() }));
            assert_fits(&entries, message, 0);
        });
    }

    #[test]
    fn what_is_set_fits_its_frame_and_so_does_the_answer() {
        let root = RootIndex(u32::MAX);
        let make = |n, length, xattrs| (Ticket(u64::MAX), path(n, length), metadata(xattrs));
        check(make, |entries| {
            let failed = |(ticket, path, _): &(Ticket, RelPath, Metadata)| {
                let failed = Fault::new(FaultKind::Io, Operation::Write, path.clone());
                Outcome { ticket: *ticket, result: Err(failed.with_errno(i32::MIN)) }
            };
            let answer = Reply::Outcomes(entries.iter().map(failed).collect());
            assert_fits(&entries, Message::Reply(RequestId(u64::MAX), Ok(answer)), 0);
            let set = SetMetadata { root, entries: entries.clone() };
            assert_fits(&entries, asked(Request::SetMetadata(set)), 0);
        });
    }

    #[test]
    fn packs_and_lists_of_files_fit_their_frames() {
        let root = RootIndex(u32::MAX);
        let stamp = Stamp {
            size: 1,
            modified: metadata(0).modified,
            changed: metadata(0).modified,
            inode: u64::MAX,
        };
        check(
            |n, length, _| path(n, length),
            |paths| {
                let files = paths.iter().map(|path| (path.clone(), stamp)).collect();
                assert_fits(&paths, asked(Request::ReadPack(FilesAt { root, files })), 0);
            },
        );
        let make = |n, length, xattrs| (Ticket(u64::MAX), path(n, length), metadata(xattrs));
        check(make, |files| {
            let packed = |(ticket, path, metadata): &(Ticket, RelPath, Metadata)| PackedFile {
                ticket: *ticket,
                path: path.clone(),
                size: 1,
                digest: Digest::from_bytes([255; 32]),
                metadata: metadata.clone(),
            };
            let pack = WritePack { root, files: files.iter().map(packed).collect(), publish: true };
            let payload = Bytes::from(vec![0; files.len()]);
            assert_fits(&files, asked(Request::WritePack(pack)), payload.len());
        });
        check(
            |n, length, _| path(n, length),
            |paths| {
                let message = asked(Request::RemovePartials(Paths { root, paths: paths.clone() }));
                assert_fits(&paths, message, 0);
            },
        );
    }

    #[test]
    fn content_cuts_too() {
        struct File(u64);
        impl Carried for File {
            fn header_bytes(&self) -> usize {
                1
            }

            fn content_bytes(&self) -> u64 {
                self.0
            }
        }
        let cut = batches([3, 4, 4, 9, 0, 8].map(File), Most { entries: 10, content: 8 });
        let sizes: Vec<Vec<u64>> =
            cut.iter().map(|batch| batch.iter().map(|file| file.0).collect()).collect();
        assert_eq!(sizes, [vec![3, 4], vec![4], vec![9], vec![0, 8]]);
    }
}
