//! The contract of endpoints, as tests that every kind passes unchanged.
