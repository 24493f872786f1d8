//! Sessions as state machines without I/O.
