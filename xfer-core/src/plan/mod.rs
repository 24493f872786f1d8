//! What must change: source, destination and records compared.
//!
//! Pure: values in, values out. [`mapping`] decides where each source goes, [`decide`] what must be
//! done about one entry, [`space`] whether it fits, [`secrets`] what stays here.

pub mod mapping;
pub mod secrets;
pub mod space;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, ProofLevel};
use xfer_protocol::message::NewKind;

use crate::endpoint::{MetadataKinds, TimeGrain};
use crate::journal::Known;
use crate::options::{Comparison, PreserveOptions};

/// What must be done about one entry of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Compare the bytes of both, then copy or set metadata.
    Compare,
    /// Copy the file.
    Copy,
    /// Make a directory, link or special file.
    Create(NewKind),
    /// The content is equal, the metadata is not.
    SetMetadata(Evidence),
    /// Nothing: it is equal.
    Keep(Evidence),
    /// Nothing may be done: the entry fails.
    Refuse(FaultKind),
    /// Nothing can be done: the destination has no such kind of entry.
    Skip,
}

/// Why content counts as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The file's digest, where one is known.
    pub digest: Option<Digest>,
    /// How it is proven.
    pub level: ProofLevel,
}

/// What decides beside the entries themselves.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How existing files are compared.
    pub compare: Comparison,
    /// What is preserved.
    pub preserve: PreserveOptions,
    /// What the destination can keep, times no finer than the source tells them.
    pub keeps: MetadataKinds,
    /// Whether both ends tell of inodes: without that no record shows that a file is unchanged.
    pub inodes: bool,
}

/// Decides about one entry of the source, given what stands at its place and what is known.
#[must_use]
pub fn decide(
    source: &Entry,
    destination: Option<&Entry>,
    known: Option<&Known>,
    policy: &Policy,
) -> Action {
    let blocked = destination.is_some_and(|d| d.kind == EntryKind::Directory);
    if blocked && source.kind != EntryKind::Directory {
        return Action::Refuse(FaultKind::Conflict);
    }
    match &source.kind {
        EntryKind::File { .. } => decide_file(source, destination, known, policy),
        EntryKind::Directory if !policy.keeps.directories => Action::Skip,
        EntryKind::Directory => match destination {
            Some(d) if d.kind == EntryKind::Directory => keep(source, d, policy),
            _ => Action::Create(NewKind::Directory),
        },
        EntryKind::Symlink { .. } if !policy.keeps.symlinks => {
            Action::Refuse(FaultKind::Unsupported)
        }
        EntryKind::Symlink { content } => match destination {
            Some(d) if d.kind == source.kind => keep(source, d, policy),
            _ => Action::Create(NewKind::Symlink { content: content.clone() }),
        },
        EntryKind::Device(_) if !policy.preserve.devices => Action::Refuse(FaultKind::Device),
        EntryKind::Device(_) | EntryKind::Fifo | EntryKind::Socket if !policy.keeps.special => {
            Action::Refuse(FaultKind::Unsupported)
        }
        EntryKind::Device(device) => special(source, destination, NewKind::Device(*device), policy),
        EntryKind::Fifo => special(source, destination, NewKind::Fifo, policy),
        EntryKind::Socket => special(source, destination, NewKind::Socket, policy),
    }
}

/// The metadata that is asked of the destination for an entry.
#[must_use]
pub fn wanted_metadata(source: &Entry, preserve: &PreserveOptions) -> Metadata {
    let mut wanted = source.metadata.clone();
    if !preserve.owner {
        wanted.owner = None;
        wanted.mode &= 0o1777;
    }
    if !preserve.xattrs {
        wanted.xattrs.clear();
    }
    wanted
}

/// Whether what stands there has the metadata that is wanted.
#[must_use]
pub fn metadata_equal(source: &Entry, destination: &Entry, policy: &Policy) -> bool {
    let wanted = wanted_metadata(source, &policy.preserve);
    let found = &destination.metadata;
    let is_link = matches!(source.kind, EntryKind::Symlink { .. });
    let mode = is_link || !policy.keeps.mode || wanted.mode == found.mode;
    let times =
        !policy.preserve.times || policy.keeps.modified.same(wanted.modified, found.modified);
    let owner = wanted.owner.is_none() || !policy.keeps.owner || wanted.owner == found.owner;
    let xattrs = !policy.preserve.xattrs || !policy.keeps.xattrs || wanted.xattrs == found.xattrs;
    mode && times && owner && xattrs
}

fn decide_file(
    source: &Entry,
    destination: Option<&Entry>,
    known: Option<&Known>,
    policy: &Policy,
) -> Action {
    let Some(found) = destination.filter(|d| matches!(d.kind, EntryKind::File { .. })) else {
        return Action::Copy;
    };
    if source.kind.size() != found.kind.size() {
        return Action::Copy;
    }
    let known = known
        .filter(|_| policy.inodes)
        .filter(|k| k.source == source.stamp() && k.destination == found.stamp());
    let grain = match policy.keeps.modified {
        TimeGrain::Seconds => TimeGrain::Seconds,
        TimeGrain::Nothing | TimeGrain::Nanoseconds => TimeGrain::Nanoseconds,
    };
    let same_time = grain.same(source.metadata.modified, found.metadata.modified);
    match (policy.compare, known) {
        (Comparison::Content, _) | (Comparison::Recorded, None) => Action::Compare,
        (_, Some(k)) => {
            keep_with(source, found, policy, Evidence { digest: Some(k.digest), level: k.level })
        }
        (Comparison::Quick, None) if same_time => {
            keep_with(source, found, policy, Evidence::ASSUMED)
        }
        (Comparison::Quick, None) => Action::Compare,
    }
}

impl Evidence {
    /// Size and time were believed.
    pub const ASSUMED: Self = Self { digest: None, level: ProofLevel::Assumed };

    /// There are no bytes to prove: what the scan saw is all there is.
    pub const SEEN: Self = Self { digest: None, level: ProofLevel::Durable };
}

fn special(source: &Entry, found: Option<&Entry>, kind: NewKind, policy: &Policy) -> Action {
    match found {
        Some(d) if d.kind == source.kind => keep(source, d, policy),
        _ => Action::Create(kind),
    }
}

fn keep(source: &Entry, found: &Entry, policy: &Policy) -> Action {
    keep_with(source, found, policy, Evidence::SEEN)
}

fn keep_with(source: &Entry, found: &Entry, policy: &Policy, evidence: Evidence) -> Action {
    if metadata_equal(source, found, policy) {
        Action::Keep(evidence)
    } else {
        Action::SetMetadata(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_protocol::manifest::{Inode, Timestamp};
    use xfer_protocol::path::RelPath;

    const POLICY: Policy = Policy {
        compare: Comparison::Recorded,
        preserve: PreserveOptions {
            times: true,
            owner: false,
            xattrs: false,
            hard_links: true,
            devices: false,
        },
        keeps: MetadataKinds {
            mode: true,
            modified: TimeGrain::Nanoseconds,
            symlinks: true,
            hard_links: true,
            directories: true,
            special: true,
            xattrs: true,
            owner: true,
            sparse: true,
        },
        inodes: true,
    };

    fn file(size: u64, seconds: i64) -> Entry {
        Entry {
            path: RelPath::new("f").unwrap(),
            kind: EntryKind::File { size, allocated: size },
            metadata: Metadata {
                mode: 0o644,
                modified: Timestamp { seconds, nanoseconds: 1 },
                ..Metadata::default()
            },
            inode: Inode { number: 7, ..Inode::default() },
        }
    }

    fn known(source: &Entry, destination: &Entry) -> Known {
        Known {
            source: source.stamp(),
            destination: destination.stamp(),
            digest: Digest::from_bytes([3; 32]),
            level: ProofLevel::Durable,
        }
    }

    #[test]
    fn a_missing_file_and_one_of_another_size_are_copied() {
        assert_eq!(decide(&file(3, 1), None, None, &POLICY), Action::Copy);
        assert_eq!(decide(&file(3, 1), Some(&file(4, 1)), None, &POLICY), Action::Copy);
    }

    #[test]
    fn without_a_record_equal_stat_is_no_proof() {
        let found = file(3, 1);
        assert_eq!(decide(&file(3, 1), Some(&found), None, &POLICY), Action::Compare);
        let quick = Policy { compare: Comparison::Quick, ..POLICY };
        assert_eq!(
            decide(&file(3, 1), Some(&found), None, &quick),
            Action::Keep(Evidence::ASSUMED)
        );
    }

    #[test]
    fn a_record_counts_only_while_both_stamps_are_its_own() {
        let (source, found) = (file(3, 1), file(3, 1));
        let record = known(&source, &found);
        assert!(matches!(decide(&source, Some(&found), Some(&record), &POLICY), Action::Keep(_)));
        let mut touched = found.clone();
        touched.inode.changed.seconds += 1;
        assert_eq!(decide(&source, Some(&touched), Some(&record), &POLICY), Action::Compare);
        let content = Policy { compare: Comparison::Content, ..POLICY };
        assert_eq!(decide(&source, Some(&found), Some(&record), &content), Action::Compare);
    }

    #[test]
    fn a_record_of_an_end_without_inodes_proves_nothing() {
        let (source, found) = (file(3, 1), file(3, 1));
        let record = known(&source, &found);
        let blind = Policy { inodes: false, ..POLICY };
        assert_eq!(decide(&source, Some(&found), Some(&record), &blind), Action::Compare);
    }

    #[test]
    fn times_are_compared_as_exactly_as_they_are_kept() {
        let (source, mut found) = (file(3, 1), file(3, 1));
        found.metadata.modified.nanoseconds = 0;
        let keeps = MetadataKinds { modified: TimeGrain::Seconds, ..POLICY.keeps };
        let coarse = Policy { keeps, compare: Comparison::Quick, ..POLICY };
        let quick = Policy { compare: Comparison::Quick, ..POLICY };
        assert!(
            !metadata_equal(&source, &found, &quick) && metadata_equal(&source, &found, &coarse)
        );
        assert_eq!(decide(&source, Some(&found), None, &quick), Action::Compare);
        let kept = Action::Keep(Evidence::ASSUMED);
        assert_eq!(decide(&source, Some(&found), None, &coarse), kept);
        found.metadata.modified.seconds = 2;
        assert_eq!(decide(&source, Some(&found), None, &coarse), Action::Compare);
        let long_ago = Timestamp { seconds: -5, nanoseconds: 7 };
        assert!(TimeGrain::Seconds.same(long_ago, Timestamp::default()));
    }

    #[test]
    fn a_directory_in_the_way_of_a_file_is_never_replaced() {
        let mut directory = file(0, 1);
        directory.kind = EntryKind::Directory;
        let refused = Action::Refuse(FaultKind::Conflict);
        assert_eq!(decide(&file(3, 1), Some(&directory), None, &POLICY), refused);
    }

    #[test]
    fn setuid_travels_only_with_the_owner() {
        let mut source = file(3, 1);
        source.metadata.mode = 0o7777;
        assert_eq!(wanted_metadata(&source, &POLICY.preserve).mode, 0o1777);
        let owner = PreserveOptions { owner: true, ..POLICY.preserve };
        assert_eq!(wanted_metadata(&source, &owner).mode, 0o7777);
    }
}
