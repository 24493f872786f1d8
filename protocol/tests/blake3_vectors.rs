//! BLAKE3's official vectors, through our own spans and trees: what we call a file's root is what
//! `b3sum` prints.
#![allow(clippy::unwrap_used)]

use xfer_protocol::digest::{TreeAssembler, file_digest, is_span, span_digest, spans};
use xfer_protocol::range::ByteRange;

const VECTORS: &str = include_str!("../vectors/blake3.txt");
const SPAN_MIN: u64 = 64 << 10;

#[test]
fn official_vectors_pass_through_our_trees() {
    let mut count = 0;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let (length, expected) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(length.parse().unwrap()).collect();
        assert_eq!(file_digest(&bytes).to_string(), expected, "{length} bytes at once");
        for step in [SPAN_MIN, 2 * SPAN_MIN, 1 << 20] {
            for reversed in [false, true] {
                let root = assemble(&bytes, step, reversed);
                assert_eq!(root, expected, "{length} bytes by {step}, reversed: {reversed}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 35);
}

fn assemble(bytes: &[u8], step: u64, reversed: bool) -> String {
    let size = u64::try_from(bytes.len()).unwrap();
    let mut cut: Vec<ByteRange> = (0..size.div_ceil(step))
        .map(|i| ByteRange::new(i * step, size.min((i + 1) * step)).unwrap())
        .flat_map(|block| spans(block, size))
        .collect();
    if reversed {
        cut.reverse();
    }
    let mut tree = TreeAssembler::new(size);
    for span in cut {
        assert!(is_span(span, size));
        let start = usize::try_from(span.start()).unwrap();
        let end = usize::try_from(span.end()).unwrap();
        tree.add(span, span_digest(span.start(), &bytes[start..end], size)).unwrap();
    }
    tree.root().unwrap().to_string()
}
