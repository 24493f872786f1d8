//! The contract of endpoints, as tests that every kind passes unchanged.
//!
//! Each clause is an async function over a [`Fixture`], and panics where an endpoint breaks it.
//! [`all`] runs every clause on a fresh fixture. Clauses ask [`Capabilities`] what to expect and
//! never what kind the endpoint is.

#![expect(clippy::unwrap_used, reason = "a clause fails by a panic")]

pub mod deltas;
pub mod entries;
pub mod in_place;
pub mod locks;
pub mod names;
pub mod packs;
pub mod partials;
pub mod places;
pub mod reading;
pub mod removal;
pub mod resuming;
mod stand;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{Capabilities, Sink, Source};

/// A place to test endpoints in, and sessions on it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The kind of endpoint.
    type Side: Sink + Source;

    /// One more session on this place.
    async fn open(&self) -> Self::Side;

    /// The location of an empty directory that exists, or what stands for one; the same in every
    /// session, and without characters that patterns are made of.
    fn base(&self) -> Vec<u8>;
}

/// Runs every clause, each on a fixture of its own, and panics at the end with the names of those
/// that were broken.
pub async fn all<F: Fixture>(make: impl AsyncFn() -> F) {
    let mut broken: Vec<&str> = Vec::new();
    macro_rules! clauses {
        ($($theme:ident: $($clause:ident),+;)+) => {
            $($({
                let fixture = make().await;
                let clause = AssertUnwindSafe($theme::$clause(&fixture));
                if clause.catch_unwind().await.is_err() {
                    broken.push(concat!(stringify!($theme), "::", stringify!($clause)));
                }
            })+)+
        };
    }
    clauses! {
        places: locations_tell_what_is_there, patterns_match_names, roots_open_as_asked,
            scans_list_everything_in_order, batches_are_told_again, scans_begin_where_asked,
            filters_leave_entries_out, wanted_entries_alone_are_listed, space_is_told;
        reading: blocks_come_with_their_digests, a_file_that_changed_is_not_read,
            packs_bring_whole_files, digests_are_those_of_blake3, every_byte_of_data_is_told;
        packs: files_appear_when_they_are_published, files_may_be_published_at_once,
            wrong_bytes_are_refused_alone, a_pack_of_another_length_is_refused,
            files_are_replaced_whole, publishing_again_tells_the_same;
        partials: blocks_arrive_in_any_order_and_twice, a_block_with_a_wrong_digest_is_not_written,
            blocks_outside_the_rules_are_refused, only_the_whole_and_right_file_is_committed,
            discarding_leaves_nothing, holes_are_zeros, an_empty_file_is_a_file,
            calls_for_what_is_done_change_nothing, a_file_opened_again_is_one_file;
        resuming: a_later_session_sends_only_what_is_missing, what_differs_is_written_again,
            only_proven_bytes_are_kept, a_file_may_change_its_size, partials_can_be_removed;
        entries: directories_are_made_and_kept, missing_parents_are_made,
            symbolic_links_hold_their_bytes,
            hard_links_share_a_file, special_files_are_made, what_stands_in_the_way_is_kept,
            nothing_is_written_through_a_link, metadata_survives, a_source_is_never_written;
        deltas: what_is_common_is_found, ranges_are_copied_from_a_basis, what_was_copied_is_proven,
            patches_outside_the_rules_are_refused;
        removal: what_is_as_it_was_is_removed, what_changed_stays,
            nothing_is_removed_through_a_link, what_goes_can_be_kept, a_file_gets_another_name,
            no_name_is_taken_from_another;
        in_place: only_what_was_seen_is_written_over, what_is_written_over_stands_until_then,
            what_was_begun_stays;
        names: awkward_names_survive, long_paths_survive, reserved_names_are_refused;
        locks: an_entry_is_locked_by_one_session, locks_cover_what_is_below,
            locks_go_with_their_session, a_closed_endpoint_serves_nobody;
    }
    assert!(broken.is_empty(), "broken: {broken:#?}");
}
