//! Benchmarks
fn main() {}
