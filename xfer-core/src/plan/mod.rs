//! What must change: source, destination and records compared.
//!
//! Pure: values in, values out. [`mapping`] decides where each source goes, [`decide`] what must be
//! done about one entry, [`space`] whether it fits, [`secrets`] what stays here.

pub mod mapping;
pub mod secrets;
pub mod space;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, ProofLevel, Xattr, is_access_list};
use xfer_protocol::message::NewKind;

use crate::endpoint::{MetadataKinds, TimeGrain};
use crate::journal::Known;
use crate::options::{Comparison, Leaves, PreserveOptions};

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
    /// What stays as it is.
    pub leaves: Leaves,
    /// What is preserved.
    pub preserve: PreserveOptions,
    /// What the destination can keep, times no finer than the source tells them.
    pub keeps: MetadataKinds,
    /// Whether both ends tell of inodes: without that no record shows that a file is unchanged.
    pub inodes: bool,
}

/// What becomes of an entry of the destination that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is what the source has: a record tells.
    Equal(Evidence),
    /// Nobody knows what is in it.
    Unknown,
    /// It stands where the source has a directory, and what lies below that has no place.
    InTheWay,
}

/// Whether what stands there stays as it is, whatever the source has.
#[must_use]
pub fn left(source: &Entry, found: &Entry, known: Option<&Known>, policy: &Policy) -> Option<Left> {
    let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
    let stays = match policy.leaves {
        Leaves::Nothing => false,
        Leaves::Newer => {
            let (ours, theirs) = (source.metadata.modified, found.metadata.modified);
            is_file(source) && is_file(found) && ours < theirs && !grain(policy).same(ours, theirs)
        }
        Leaves::Existing if found.kind == EntryKind::Directory => source.kind != found.kind,
        Leaves::Existing => true,
    };
    let equal = known_of(source, found, known, policy).map(Evidence::known).map(Left::Equal);
    stays.then(|| match source.kind {
        EntryKind::Directory => Left::InTheWay,
        _ => equal.unwrap_or(Left::Unknown),
    })
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
    if !matches!(source.kind, EntryKind::Symlink { .. }) {
        wanted.mode = preserve.chmod.of(wanted.mode, source.kind == EntryKind::Directory);
    }
    if !preserve.owner {
        wanted.owner = None;
        wanted.mode &= 0o1777;
    }
    wanted.xattrs.retain(|xattr| is_preserved(xattr, preserve));
    wanted
}

fn is_preserved(xattr: &Xattr, preserve: &PreserveOptions) -> bool {
    preserve.xattrs || preserve.acls && is_access_list(&xattr.name)
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
    let there = found.xattrs.iter().filter(|xattr| is_preserved(xattr, &policy.preserve));
    let xattrs = !policy.keeps.xattrs || wanted.xattrs.iter().eq(there);
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
    let known = known_of(source, found, known, policy);
    let same_time = grain(policy).same(source.metadata.modified, found.metadata.modified);
    match (policy.compare, known) {
        (Comparison::Content, _) | (Comparison::Recorded, None) => Action::Compare,
        (_, Some(known)) => keep_with(source, found, policy, Evidence::known(known)),
        (Comparison::Quick, None) if same_time => {
            keep_with(source, found, policy, Evidence::ASSUMED)
        }
        (Comparison::Quick, None) => Action::Compare,
        (Comparison::Size, None) => keep_with(source, found, policy, Evidence::ASSUMED),
    }
}

/// A record of both entries as they are now.
fn known_of<'a>(
    source: &Entry,
    found: &Entry,
    known: Option<&'a Known>,
    policy: &Policy,
) -> Option<&'a Known> {
    let is_its =
        |known: &&Known| known.source == source.stamp() && known.destination == found.stamp();
    known.filter(|_| policy.inodes).filter(is_its)
}

/// How exactly times are compared.
fn grain(policy: &Policy) -> TimeGrain {
    match policy.keeps.modified {
        TimeGrain::Seconds => TimeGrain::Seconds,
        TimeGrain::Nothing | TimeGrain::Nanoseconds => TimeGrain::Nanoseconds,
    }
}

impl Evidence {
    /// The size was believed, and perhaps the time.
    pub const ASSUMED: Self = Self { digest: None, level: ProofLevel::Assumed };

    /// There are no bytes to prove: what the scan saw is all there is.
    pub const SEEN: Self = Self { digest: None, level: ProofLevel::Durable };

    /// What a record tells.
    fn known(known: &Known) -> Self {
        Self { digest: Some(known.digest), level: known.level }
    }
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
    use crate::options::chmod::ModeChanges;
    use xfer_protocol::manifest::{Inode, Timestamp};
    use xfer_protocol::path::RelPath;

    const POLICY: Policy = Policy {
        compare: Comparison::Recorded,
        leaves: Leaves::Nothing,
        preserve: PreserveOptions {
            times: true,
            owner: false,
            xattrs: false,
            acls: false,
            hard_links: true,
            devices: false,
            chmod: ModeChanges::NOTHING,
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
    fn by_size_alone_equal_size_is_assumed_and_a_record_is_better() {
        let (source, found) = (file(3, 1), file(3, 9));
        let size = Policy { compare: Comparison::Size, ..POLICY };
        let assumed = Action::SetMetadata(Evidence::ASSUMED);
        assert_eq!(decide(&source, Some(&found), None, &size), assumed);
        assert_eq!(decide(&source, Some(&file(4, 1)), None, &size), Action::Copy);
        let record = known(&source, &found);
        let proven = Action::SetMetadata(Evidence::known(&record));
        assert_eq!(decide(&source, Some(&found), Some(&record), &size), proven);
    }

    #[test]
    fn what_is_newer_or_exists_stays_where_that_is_asked() {
        let newer = Policy { leaves: Leaves::Newer, ..POLICY };
        let existing = Policy { leaves: Leaves::Existing, ..POLICY };
        let mut link = file(3, 9);
        link.kind = EntryKind::Symlink { content: b"x".to_vec() };
        let mut directory = file(0, 9);
        directory.kind = EntryKind::Directory;
        let source = file(3, 5);
        for (policy, from, found, stays) in [
            (&POLICY, &source, &file(3, 9), None),
            (&newer, &source, &file(3, 9), Some(Left::Unknown)),
            (&newer, &source, &file(3, 5), None),
            (&newer, &source, &file(4, 4), None),
            (&newer, &source, &link, None),
            (&newer, &link, &file(3, 10), None),
            (&newer, &file(0, 1), &directory, None),
            (&existing, &source, &file(7, 1), Some(Left::Unknown)),
            (&existing, &source, &link, Some(Left::Unknown)),
            (&existing, &source, &directory, Some(Left::Unknown)),
            (&existing, &directory, &directory, None),
            (&existing, &directory, &source, Some(Left::InTheWay)),
        ] {
            assert_eq!(left(from, found, None, policy), stays, "{from:?} {found:?}");
        }
        let later = file(3, 9);
        let record = known(&source, &later);
        let equal = Some(Left::Equal(Evidence::known(&record)));
        assert_eq!(left(&source, &later, Some(&record), &newer), equal);
        let blind = Policy { inodes: false, ..existing };
        assert_eq!(left(&source, &later, Some(&record), &blind), Some(Left::Unknown));
        // What the destination cannot tell apart is not newer.
        let keeps = MetadataKinds { modified: TimeGrain::Seconds, ..POLICY.keeps };
        let coarse = Policy { keeps, ..newer };
        let mut nearly = source.clone();
        nearly.metadata.modified.nanoseconds += 1;
        assert_eq!(left(&source, &nearly, None, &coarse), None);
        assert_eq!(left(&source, &nearly, None, &newer), Some(Left::Unknown));
    }

    #[test]
    fn a_directory_in_the_way_of_a_file_is_never_replaced() {
        let mut directory = file(0, 1);
        directory.kind = EntryKind::Directory;
        let refused = Action::Refuse(FaultKind::Conflict);
        assert_eq!(decide(&file(3, 1), Some(&directory), None, &POLICY), refused);
    }

    #[test]
    fn permissions_change_but_those_of_links() {
        let mut entry = file(3, 1);
        let chmod = ModeChanges::parse("D711,F600", 0o022).unwrap();
        let changed = PreserveOptions { chmod, ..POLICY.preserve };
        assert_eq!(wanted_metadata(&entry, &changed).mode, 0o600);
        let policy = Policy { preserve: changed, ..POLICY };
        let mut found = entry.clone();
        assert!(!metadata_equal(&entry, &found, &policy));
        found.metadata.mode = 0o600;
        assert!(metadata_equal(&entry, &found, &policy));
        entry.kind = EntryKind::Directory;
        assert_eq!(wanted_metadata(&entry, &changed).mode, 0o711);
        entry.kind = EntryKind::Symlink { content: b"x".to_vec() };
        assert_eq!(wanted_metadata(&entry, &changed).mode, 0o644);
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
