#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xfer_protocol::fuzzing::path(bytes));
