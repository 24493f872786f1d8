//! Frames: how messages and payloads lie on a stream.
