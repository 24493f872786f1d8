//! `--detach`, and what becomes of transfers that go on by themselves.
//!
//! A detached transfer is this program once more, with the same words, in a session of its own.
//! What it prints is kept in the state directory: its events, which are locked while it lives, and
//! its words. All else is read from them.

mod attach;
mod follow;
mod list;
mod record;
mod start;

pub(super) use attach::{attach, cancel};
pub(super) use list::list;
pub(super) use start::start;
