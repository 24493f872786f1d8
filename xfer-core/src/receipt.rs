//! Durable statements of what was moved and proven.
