//! The meaning of xfer's bytes: paths, digests, manifests, messages and sessions.
//!
//! Everything here is pure: values in, values out. There is no runtime, clock, file or socket; the
//! crates above perform what this one decides. `SPEC.md` beside the sources describes the wire.

mod bounded;
pub mod codec;
pub mod data_port;
pub mod digest;
pub mod encoding;
pub mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hello;
pub mod limits;
pub mod manifest;
pub mod message;
pub mod path;
pub mod probe;
pub mod range;
mod sentinel;
pub mod session;
pub mod survey;
