//! Every limit that a peer's bytes meet, with the reason for its number.
//!
//! Local policy wins: none of these is negotiated, and each is checked before anything is
//! allocated.

/// Bytes in one name: what every Linux file system allows.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes in one path. Linux reaches deeper trees than `PATH_MAX` by descriptor, as we do.
pub const PATH_BYTES_MAX: usize = 32 * 1024;

/// Components in one path: bounds every walk and the descriptors that it holds.
pub const PATH_DEPTH_MAX: usize = 5_000;

/// Bytes of a frame's header, the encoded message: a batch of entries with long names fits.
pub const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a frame's payload: the largest block.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The highest level of Zstandard: what lies above takes memory that no payload here is worth.
pub const LEVEL_MAX: u8 = 19;

/// Bytes of a hello's body.
pub const HELLO_BYTES_MAX: usize = 1024;

/// Entries in one scan batch, files in one pack, actions in one batch.
pub const BATCH_ENTRIES_MAX: usize = 4096;

/// Entries to which one scan may be narrowed; a longer list is split over several scans.
pub const SCAN_ONLY_MAX: usize = 64 * 1024;

/// Data ports of one session: as many as a rented machine has mapped at most.
pub const DATA_PORTS_MAX: usize = 64;

/// Addresses at which one request to dial out may look for the near side.
pub const DIALS_MAX: usize = 16;

/// Bytes of one payload that measures a link and means nothing: a far side keeps as many to supply
/// them from, once for all who ask.
pub const TRIAL_PAYLOAD_MAX: u32 = 1024 * 1024;

/// Bytes that one trial of a disk may write: a second of a fast one.
pub const TRIAL_DISK_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Milliseconds that one trial of a disk may write.
pub const TRIAL_DISK_MILLIS_MAX: u32 = 10_000;

/// Filter rules of one scan.
pub const FILTER_RULES_MAX: usize = 16 * 1024;

/// Bytes of encoded entries after which a batch is sent: a few round trips carry a large tree, and
/// an answer that names every entry once more fits its frame too.
pub const BATCH_BYTES_TARGET: usize = 128 * 1024;

/// Bytes of a key, a name or a moment in what concerns a login.
pub const LOGIN_BYTES_MAX: usize = 4096;

/// Bytes of a carried request's address: a signature and a session token have a tenth of it.
pub const CARRIED_ADDRESS_BYTES_MAX: usize = 16 * 1024;

/// Headers of a carried request or of its answer.
pub const CARRIED_HEADERS_MAX: usize = 64;

/// Bytes of the name or the value of one of these headers.
pub const CARRIED_HEADER_BYTES_MAX: usize = 8 * 1024;

/// Bytes that are told of a carried answer's body: what a store says of an error.
pub const CARRIED_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the reason for which there is no answer.
pub const CARRIED_REASON_BYTES_MAX: usize = 1024;

/// Pieces that the body of a carried request is made of: a part by half MiB.
pub const SLICES_MAX: usize = 256;

/// Bytes of the body of a carried request: the largest part that one machine collects.
pub const CARRIED_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// Protected roots of one survey: more than anybody names.
pub const SURVEY_ROOTS_MAX: usize = 256;

/// Processes that a survey tells: whoever must stop them stops these first and asks again.
pub const SURVEY_PROCESSES_MAX: usize = 256;

/// Trees and mounts that a survey tells; more are told as the trees that hold them.
pub const SURVEY_TREES_MAX: usize = 256;

/// Files that are told to be open for writing: more than a machine's training and its logs have.
pub const SETTLING_FILES_MAX: usize = 4096;

/// Bytes of a process's command.
pub const SURVEY_COMMAND_BYTES_MAX: usize = 256;

/// Bytes of a container's label.
pub const CONTAINER_LABEL_BYTES_MAX: usize = 255;

/// Lists that one `Begin` asks for: the first batches of all of them fit in one header.
pub const LISTS_BEGUN_MAX: usize = 3;

/// Kinds of what may stand at the path of a condition: each that there is, and nothing.
pub const LOCATED_KINDS_MAX: usize = 4;

/// Batches of a scan that are kept to be told again, and that may be asked for at a time: hides the
/// round trips of a long link, and a lost answer costs one more.
pub const SCAN_BATCHES_KEPT: u64 = 8;

/// Block digests in one reply: 512 KiB of digests.
pub const DIGESTS_MAX: usize = 16 * 1024;

/// Digests of one partial that wait for the word that the source has the same: 256 GiB by MiB.
pub const HASHED_MAX: usize = 1 << 18;

/// Digests of one block: more spans than any range below 2^63 bytes is cut into.
pub const SPANS_MAX: usize = 96;

/// Ranges in one message: a partial riddled with more holes is reported coarser.
pub const RANGES_MAX: usize = 16 * 1024;

/// Bytes of a sum by which a block is known at one place: a digest's first. They find what may be
/// equal, and prove nothing.
pub const PLACED_SUM_BYTES: usize = 8;

/// Bytes of a sum by which a block is found at every byte: four that roll, and those of
/// [`PLACED_SUM_BYTES`].
pub const ROLLING_SUM_BYTES: usize = 4 + PLACED_SUM_BYTES;

/// Sums in one payload.
pub const SUMS_MAX: usize = PAYLOAD_BYTES_MAX / ROLLING_SUM_BYTES;

/// Bytes of the blocks that sums are told of: below, the sums cost more than they spare.
pub const SUMMED_MIN: u32 = 1024;

/// See [`SUMMED_MIN`]. Above, a single changed byte costs as much as a block that is sent.
pub const SUMMED_MAX: u32 = 1024 * 1024;

/// Bytes that one request looks through.
pub const MATCHED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes that one request patches, most of which are copied: no answer takes long.
pub const PATCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Digests of one patch: one for each 64 KiB.
pub const PATCH_DIGESTS_MAX: usize = 1024;

/// Copied ranges in one message: they fit its header, however long their numbers are.
pub const COPIES_MAX: usize = 16 * 1024;

/// Bytes of a symbolic link's content: `PATH_MAX`.
pub const SYMLINK_BYTES_MAX: usize = 4096;

/// Bytes of all extended attributes of one entry: what ext4 and XFS allow for one value.
pub const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Extended attributes of one entry: as many as Linux can list in 64 KiB of names.
pub const XATTRS_MAX: usize = 4096;

/// Bytes in an extended attribute's name.
pub const XATTR_NAME_BYTES_MAX: usize = 255;

/// Permission bits of an entry, with setuid, setgid and sticky.
pub const MODE_MAX: u32 = 0o7777;

/// Nanoseconds of a moment lie below this.
pub const NANOSECONDS_END: u32 = 1_000_000_000;

/// Bytes of one file: the largest offset that the system calls take.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// Roots that one session may open.
pub const ROOTS_MAX: usize = 16 * 1024;

/// Partials that one session may hold open at a time.
pub const PARTIALS_MAX: usize = 1024;

/// Scans that one session remembers.
pub const SCANS_MAX: usize = 4096;

/// Bytes that a remote shell may print before our sentinel.
pub const NOISE_BYTES_MAX: usize = 64 * 1024;
