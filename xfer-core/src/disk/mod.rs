//! The operating system's files: every `unsafe` block and every file call of xfer is in here.
//!
//! Entries are reached as one name in a directory that [`confine`] opened beneath a root. Functions
//! return the system's [`Errno`]; [`fault`] says what it means for a transfer.

pub mod confine;
pub mod fault;
pub mod naming;
pub mod settings_file;
pub mod space;
pub mod stat;
pub mod state;

pub use naming::{is_partial_name, partial_name};
pub use rustix::io::Errno;
