//! Sessions: a controller and an agent's end of it in one process, over streams in memory.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod contract;
mod errands;
mod lanes;
mod line;
mod turns;
