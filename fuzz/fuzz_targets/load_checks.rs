#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xfer_core::load_check::fuzzing::load_checks(bytes));
