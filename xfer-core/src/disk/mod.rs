//! The operating system's files: every `unsafe` block and every file call of xfer is in here.
pub mod settings_file;
pub mod state;
