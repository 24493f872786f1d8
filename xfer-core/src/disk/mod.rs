//! The operating system's files: every `unsafe` block and every file call of xfer is in here.
//!
//! Entries are reached as one name in a directory that [`confine`] opened beneath a root. Functions
//! return the system's [`Errno`]; [`fault`] says what it means for a transfer.

#![expect(clippy::disallowed_methods, reason = "this is where files are opened")]

pub(crate) mod authorized_keys;
pub mod base;
pub mod boot;
#[cfg(target_os = "linux")]
pub mod changes;
pub mod confine;
pub mod descriptor;
pub mod detached;
pub mod direct;
pub mod fault;
pub mod file;
pub mod follow;
pub mod glob;
pub(crate) mod handover;
pub mod list;
pub mod lock;
#[cfg(target_os = "linux")]
pub(crate) mod marker;
pub mod memory;
pub mod metadata;
pub mod named;
pub mod named_roots;
pub mod output_file;
pub mod partial;
pub mod partial_name;
pub(crate) mod pause;
pub mod private_directory;
#[cfg(target_os = "linux")]
pub(crate) mod proc_files;
pub mod process;
pub(crate) mod program;
pub mod scratch;
pub mod secret;
pub mod settings_file;
pub mod space;
pub mod sparse;
pub mod special;
pub mod stat;
pub mod state;
pub mod sync;
pub mod trial;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod unprivileged;
#[cfg(target_os = "linux")]
pub(crate) mod walk;
pub mod xattrs;

pub use partial_name::{in_place_name, is_partial_name, partial_name, written_over};
pub use rustix::io::Errno;
