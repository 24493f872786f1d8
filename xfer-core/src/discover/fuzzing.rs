//! What fuzzing runs: takes any bytes and panics when something is wrong.

use super::json::Json;
use super::vast::fuzzed;

/// An instance of Vast whose object is bent as the bytes choose leads nowhere that the true one
/// does not, and no answer at all panics.
pub fn vast_row(bytes: &[u8]) {
    if let Ok(json) = Json::parse(bytes) {
        fuzzed::read(&json);
    }
    let mut numbers = bytes
        .chunks(4)
        .map(|chunk| chunk.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)));
    fuzzed::bent(&mut || numbers.next().unwrap_or(0));
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_of_any_kind_are_taken() {
        let mut bytes = Vec::new();
        for length in 0..2_000_u32 {
            super::vast_row(&bytes);
            bytes.push(u8::try_from(length.wrapping_mul(2_654_435_761) >> 24).unwrap_or(0));
        }
        super::vast_row(br#"{"id":7,"ports":{"22/tcp":[{"HostPort":"1"}]}}"#);
    }
}
