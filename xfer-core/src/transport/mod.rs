//! Authenticated streams between two machines.
