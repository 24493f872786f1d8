#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xfer_core::discover::fuzzing::vast_row(bytes));
