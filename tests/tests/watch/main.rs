//! What leaves, when and in which order: `--settle`, `--order`, `--first`, `--watch` and the script
//! that starts a watch

mod checkpoints;
mod onstart;
mod rounds;
mod settling;
mod stand;
