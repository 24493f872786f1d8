//! The contract of endpoints over a real rclone

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use xfer_core::clock::SystemClock;
use xfer_core::disk::state::StateDirectory;
use xfer_core::endpoint::conformance::{self, Fixture};
use xfer_core::endpoint::object::{ObjectEndpoint, ObjectOptions};
use xfer_core::endpoint::rclone::{RcloneOptions, RcloneStore};
use xfer_core::location::RcloneRemote;
use xfer_tests::stores::{Access, Moto, judges};

/// An empty place that rclone is to reach
struct Place {
    program: PathBuf,
    remote: RcloneRemote,
    base: Vec<u8>,
    locks: TempDir,
    _directory: TempDir,
}

impl Place {
    fn directory() -> Self {
        let directory = tempfile::tempdir().expect("temp dir");
        let base = directory.path().as_os_str().as_bytes().to_vec();
        let remote = RcloneRemote { name: ":local".to_owned(), absolute: true };
        let (program, locks) = (judges::rclone_program(), tempfile::tempdir().expect("temp dir"));
        Self { program, remote, base, locks, _directory: directory }
    }

    /// A bucket of its own, in a store that the program is told of by its environment
    fn bucket(access: &Access, program: &Path, locks: TempDir) -> Self {
        static BUCKETS: AtomicU64 = AtomicU64::new(1);
        let bucket = format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        judges::said(&mut judges::rclone(access), ["mkdir", &format!(":s3:{bucket}")]);
        let remote = RcloneRemote { name: ":s3".to_owned(), absolute: false };
        let (program, base) = (program.to_owned(), format!("/{bucket}").into_bytes());
        Self { program, remote, base, locks, _directory: tempfile::tempdir().expect("temp dir") }
    }
}

#[async_trait]
impl Fixture for Place {
    type Side = ObjectEndpoint;

    async fn open(&self) -> ObjectEndpoint {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let seed = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let (program, stall) = (self.program.clone().into(), Duration::from_secs(5));
        let options = RcloneOptions { program, stall, seed };
        let store = RcloneStore::open(&self.remote, options, &*SystemClock::shared()).await;
        let store = store.expect("open the remote");
        let locks = StateDirectory::open(&self.locks.path().join("locks")).expect("a directory");
        let options = ObjectOptions {
            seed: u128::from(seed).to_le_bytes(),
            locks: Some(locks),
            weak_states: !store.proves_states(),
            begins_anew: true,
            ..ObjectOptions::default()
        };
        ObjectEndpoint::new(Arc::new(store), options)
    }

    fn base(&self) -> Vec<u8> {
        self.base.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_behind_rclone_keeps_the_contract() {
    let store = Moto::start();
    let environment: Vec<_> = judges::rclone(store.access())
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
        .filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("RCLONE_"))
        .map(|(name, value)| format!("export {name}='{value}'"))
        .collect();
    let text = format!("{}\nexec \"$RCLONE_REAL\" \"$@\"", environment.join("\n"));
    let (_kept, program) = crate::Bench::script(&text);
    let locks = || tempfile::tempdir().expect("temp dir");
    conformance::all(async || Place::bucket(store.access(), &program, locks())).await;
}

/// All but of names of 255 bytes that are no text: the directory has them encoded, which is longer
/// than it takes
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_behind_rclone_keeps_the_contract() {
    use conformance::{entries, locks, names, packs, partials, places, reading, resuming};
    macro_rules! clauses {
        ($($theme:ident: $($clause:ident),+;)+) => {
            $($($theme::$clause(&Place::directory()).await;)+)+
        };
    }
    clauses! {
        places: locations_tell_what_is_there, patterns_match_names, roots_open_as_asked,
            scans_list_everything_in_order, batches_are_told_again, scans_begin_where_asked,
            filters_leave_entries_out, wanted_entries_alone_are_listed, space_is_told;
        reading: blocks_come_with_their_digests, a_file_that_changed_is_not_read,
            packs_bring_whole_files, digests_are_those_of_blake3, every_byte_of_data_is_told;
        packs: files_appear_when_they_are_published, files_may_be_published_at_once,
            wrong_bytes_are_refused_alone, files_are_replaced_whole;
        partials: blocks_arrive_in_any_order_and_twice, only_the_whole_and_right_file_is_committed,
            discarding_leaves_nothing, an_empty_file_is_a_file, a_file_opened_again_is_one_file;
        resuming: a_later_session_sends_only_what_is_missing, only_proven_bytes_are_kept,
            partials_can_be_removed;
        entries: directories_are_made_and_kept, symbolic_links_hold_their_bytes,
            what_stands_in_the_way_is_kept, nothing_is_written_through_a_link, metadata_survives;
        names: long_paths_survive, reserved_names_are_refused;
        locks: an_entry_is_locked_by_one_session, a_closed_endpoint_serves_nobody;
    }
}
