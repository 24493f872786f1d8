//! Bad input, row by row of a list: what is typed, read, set or sent by whoever errs or means harm
//!
//! Each case carries the name of its row, `B-C1` and so on; [`rows`] holds the list against the
//! cases.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot set its stage may panic"
)]

mod command_line;
mod environment;
mod files;
mod keys;
mod locations;
mod mistakes;
mod mounted;
mod names;
mod place;
mod rows;
mod ssh_config;
mod state;
mod streams;
mod trees;
