//! What was proven, and how.
