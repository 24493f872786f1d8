//! The first bytes on every stream.
