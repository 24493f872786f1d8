//! The endpoint on this machine's disks.
