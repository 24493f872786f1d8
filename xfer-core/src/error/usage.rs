//! Requests that make no sense, and what to ask instead.

use xfer_protocol::path::{Escaped, PathError};

use crate::location::{Location, LocationError};

/// What makes a request senseless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageReason {
    /// A location that names no place.
    #[error("{0}")]
    Location(#[from] LocationError),
    /// A source whose last name another source has too.
    #[error("two sources are called {}", Escaped(.0))]
    SameName(Vec<u8>),
    /// Source and destination are one.
    #[error("{0} is source and destination")]
    SameEntry(Location),
    /// The destination lies inside the source.
    #[error("the destination lies inside the source {0}")]
    DestinationInSource(Location),
    /// The source lies inside the destination entry that would be replaced.
    #[error("the source lies inside the destination {0}")]
    SourceInDestination(Location),
    /// The destination must be a directory.
    #[error(
        "{0} is a file, and a directory, several sources or a trailing / need a directory there"
    )]
    NotDirectory(Location),
    /// A file stands where the path of a location needs a directory.
    #[error("{0} cannot be opened as a directory: a file is in the way")]
    FileInTheWay(Location),
    /// A name that no file system takes.
    #[error("{} cannot be the name of an entry: {reason}", Escaped(.name))]
    BadName {
        /// The name.
        name: Vec<u8>,
        /// What is wrong with it.
        reason: PathError,
    },
    /// A pull whose destination is elsewhere.
    #[error("{0} is not on this machine; pull copies to this machine, push to any")]
    PullElsewhere(Location),
    /// A destination that can only be read.
    #[error("{0} can only be read")]
    SourceOnly(Location),
    /// A machine that xfer does not destroy.
    #[error("{}: xfer does not destroy it", Escaped(.0.as_bytes()))]
    NotDestroyed(String),
    /// A route by which no standing peer is reached.
    #[error("{0}: a standing peer is reached by quic or tls alone")]
    RouteOfPeer(String),
    /// Files can go by way of a bucket, and by nothing else.
    #[error("--via {0}: that is no bucket")]
    NoWay(Location),
    /// What is in a bucket, or goes there, needs none on its way.
    #[error("{0} is in a bucket already, and --via names another on the way")]
    StoreByStore(Location),
    /// A pattern whose matches lie in several directories, where names below one are compared.
    #[error("what matches {0} lies in several directories")]
    SeveralDirectories(Location),
    /// More paths or patterns than a far source takes.
    #[error("the lists of paths and patterns are longer than {0} can be asked to heed at once")]
    ListTooLong(Location),
    /// Something with which nothing can be deleted safely.
    #[error("nothing is deleted or kept aside with {0}")]
    NotRemoved(&'static str),
    /// A destination at which nothing can be deleted.
    #[error("{0}: nothing can be deleted there")]
    CannotRemove(Location),
    /// A destination at which nothing can be kept aside.
    #[error("{0}: nothing can be kept aside there, for it cannot rename below one root")]
    CannotBackUp(Location),
    /// A destination at which nothing can be written over where it stands.
    #[error("{0}: files cannot be written in place there")]
    CannotWriteInPlace(Location),
    /// A destination that its own machine reads back.
    #[error("{0} is read back by its own machine, from its own disk")]
    ReadByItself(Location),
    /// What cannot read a bucket for us.
    #[error("{reader} cannot read the bucket: {why}")]
    NoReader {
        /// What was named.
        reader: Location,
        /// Why it cannot.
        why: String,
    },
    /// A source that nobody can watch.
    #[error("{0}: only files of machines can be watched")]
    NotWatched(Location),
    /// A plan that would never end.
    #[error("--watch goes on for ever, and --dry-run does nothing: one of them has to go")]
    WatchedPlan,
}

impl UsageReason {
    pub(super) fn id(&self) -> &'static str {
        match self {
            Self::Location(error) => error.reason.id(),
            Self::SameName(_) => "same-last-name",
            Self::SameEntry(_) => "same-entry",
            Self::DestinationInSource(_) => "destination-in-source",
            Self::SourceInDestination(_) => "source-in-destination",
            Self::NotDirectory(_) | Self::FileInTheWay(_) => "not-a-directory",
            Self::BadName { .. } => "bad-name",
            Self::PullElsewhere(_) => "pull-elsewhere",
            Self::SourceOnly(_) => "source-only",
            Self::NotDestroyed(_) => "not-destroyed",
            Self::ListTooLong(_) => "list-too-long",
            Self::NotRemoved(_) => "delete-with",
            Self::CannotRemove(_) => "cannot-delete",
            Self::CannotBackUp(_) => "cannot-back-up",
            Self::CannotWriteInPlace(_) => "cannot-write-in-place",
            Self::ReadByItself(_) => "read-by-itself",
            Self::NoReader { .. } => "bad-reader",
            Self::NotWatched(_) => "not-watched",
            Self::WatchedPlan => "flags-conflict",
            Self::RouteOfPeer(_) => "route-of-peer",
            Self::SeveralDirectories(_) => "several-directories",
            Self::NoWay(_) => "bad-way",
            Self::StoreByStore(_) => "store-by-store",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Location(error) => error.reason.remedy(),
            Self::SameName(_) => "copy them one at a time, to different names",
            Self::SameEntry(_) => "name another destination",
            Self::DestinationInSource(_) => "name a destination outside of the source",
            Self::SourceInDestination(_) => "name a destination that does not hold the source",
            Self::NotDirectory(_) => "name a directory, or move that file out of the way",
            Self::FileInTheWay(_) => "look at each part of that path; one of them is a file",
            Self::BadName { .. } => "name a destination whose last part is shorter",
            Self::PullElsewhere(_) => "use xfer push",
            Self::SourceOnly(_) => "name a bucket (s3://…), a machine or a directory",
            Self::NotDestroyed(_) => {
                "name one machine, as in vast:33402296; others end by their platform's own means"
            }
            Self::ListTooLong(_) => "split the list, and copy part by part",
            Self::NotRemoved(_) => "repeat without it, or without --delete and --backup-dir",
            Self::CannotRemove(_) => "repeat without --delete; its program may be an older xfer",
            Self::CannotBackUp(_) => "repeat without --backup-dir",
            Self::CannotWriteInPlace(_) => {
                "repeat without --inplace; its program may be an older xfer"
            }
            Self::ReadByItself(_) => "repeat without --read-back-from, which is for buckets",
            Self::NoReader { .. } => {
                "name a machine with xfer that reaches the bucket, or --read-back-from here"
            }
            Self::NotWatched(_) => "repeat without --watch, from time to time",
            Self::WatchedPlan => "repeat with one of them",
            Self::RouteOfPeer(_) => "repeat with --route auto, or without it",
            Self::SeveralDirectories(_) => "verify them one directory at a time",
            Self::NoWay(_) => "name a bucket, as --via s3://BUCKET/tmp, or --via here",
            Self::StoreByStore(_) => "repeat without --via",
        }
    }
}
