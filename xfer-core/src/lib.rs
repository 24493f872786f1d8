//! The engine of xfer: verified, resumable, multi-stream transfers between machines.
//!
//! A module uses only those of rows below its own; `ARCHITECTURE.md` shows the rows.

pub mod agent;
pub mod clock;
pub mod connect;
pub mod delta;
pub mod discover;
pub mod disk;
pub mod endpoint;
pub mod engine;
pub mod error;
pub mod event;
pub mod gate;
pub mod journal;
pub mod load_check;
pub mod location;
pub mod options;
pub mod plan;
pub mod receipt;
pub mod scan;
pub mod transport;
pub mod trust;
pub mod verify;
