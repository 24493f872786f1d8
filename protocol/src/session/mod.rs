//! Sessions as state machines without I/O.
//!
//! Each is fed what happened and asked what to do next. Time is a value, the span since an origin
//! of the caller's choice; randomness is a seed. The same calls in the same order always give the
//! same answers, so a whole transfer runs in a test on a clock that no one waits for.

pub mod assembly;
pub mod handshake;
pub mod receiver;
pub mod sender;
