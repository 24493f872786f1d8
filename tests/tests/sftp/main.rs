//! The endpoint over SFTP against real servers, and against ones that lie

#![allow(clippy::unwrap_used)]

mod contract;
mod hostile;
mod repeated;
