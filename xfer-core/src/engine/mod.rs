//! The order of things: scan, plan, move, verify, record.
