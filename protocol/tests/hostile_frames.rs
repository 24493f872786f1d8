//! Frames from somebody who means harm: whatever the bytes, no panic, and no more memory than the
//! limits allow. An allocator that counts is the witness.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "only an allocator can see what is allocated")]

mod samples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use xfer_protocol::codec::{self, FrameHead, HEAD_BYTES};
use xfer_protocol::hello::HelloReader;
use xfer_protocol::limits;
use xfer_protocol::message::Message;

/// Memory beyond the header that decoding a single sample's worth of bytes may take.
const SMALL: usize = 256 * 1024;

/// Memory that decoding the worst header may take.
const LARGE: usize = 8 * 1024 * 1024;

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells of the
// calling thread that neither allocate nor have a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().saturating_add(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that was held at a time during `act`, beyond what was held before.
fn peak_of<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = act();
    (result, PEAK.get() - before)
}

fn decode(header: &[u8], payload: usize) -> Result<Message, codec::FrameError> {
    codec::decode(header, payload)
}

fn headers() -> Vec<(String, Vec<u8>, usize)> {
    let samples = samples::messages().into_iter();
    let split = |s: samples::Sample| {
        let length = s.frame().len() - s.payload.len();
        (s.name.clone(), s.frame()[HEAD_BYTES..length].to_vec(), s.payload.len())
    };
    samples.map(split).collect()
}

#[test]
fn the_allocator_counts() {
    let (bytes, peak) = peak_of(|| vec![1_u8; 1 << 20]);
    assert!(peak >= bytes.len());
}

/// Rows: B-W1, B-W3.
#[test]
fn a_frame_cut_at_any_byte_is_refused() {
    for (name, header, payload) in headers() {
        for length in 0..header.len() {
            assert!(decode(&header[..length], payload).is_err(), "{name} cut to {length}");
        }
        let longer = [&header[..], &[0]].concat();
        assert!(decode(&longer, payload).is_err(), "{name} with a byte behind it");
    }
}

/// A flipped bit may make another message, never a panic, and what is accepted is in its one form.
#[test]
fn any_flipped_bit_is_borne() {
    for (name, header, payload) in headers() {
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (result, peak) = peak_of(|| decode(&flipped, payload));
            assert!(peak < SMALL, "{name}, bit {bit}: {peak} bytes");
            if let Ok(message) = result {
                let again = codec::encode(&message, payload).unwrap();
                assert_eq!(again[HEAD_BYTES..], flipped, "{name}, bit {bit}");
            }
        }
    }
    for bit in 0..HEAD_BYTES * 8 {
        let mut head = [1, 0, 0, 0, 0, 0, 0, 0];
        head[bit / 8] ^= 1 << (bit % 8);
        if let Ok(head) = FrameHead::parse(&head) {
            assert!((1..=limits::HEADER_BYTES_MAX).contains(&head.header_length()));
            assert!(head.payload_length() <= limits::PAYLOAD_BYTES_MAX);
        }
    }
}

/// At every place where a length or count could be, a huge one.
///
/// Rows: B-W1.
#[test]
fn a_huge_count_anywhere_takes_no_memory() {
    let huge: [&[u8]; 4] = [
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0x80, 0x80, 0x80, 0x10],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x80, 0x80, 0x40],
    ];
    for (name, header, payload) in headers() {
        for at in 0..header.len() {
            for count in huge {
                let mut lying = header.clone();
                lying.splice(at..=at, count.iter().copied());
                let (_, peak) = peak_of(|| decode(&lying, payload));
                assert!(peak < SMALL, "{name}, {count:x?} at {at}: {peak} bytes");
            }
        }
    }
}

/// Headers of the largest size, filled with the smallest elements that each list can hold.
#[test]
fn the_worst_header_takes_bounded_memory() {
    let scan_rules = [0, 1, 3, 0, 0, 0, 0, 0];
    let scan_only = [0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let lists: [(&str, &[u8], &[u8]); 10] = [
        ("items", &[1, 1, 0, 11, 0], &[1, 0]),
        ("outcomes", &[1, 1, 0, 5], &[0, 0, 0]),
        ("located", &[1, 1, 0, 4], &[0, 0]),
        ("ranges", &[1, 1, 0, 8], &[0, 1]),
        ("file digests", &[1, 1, 0, 3], &[1, 0, 0, 0, 0]),
        ("rules", &scan_rules, &[0, 0]),
        ("only", &scan_only, &[0]),
        ("lock", &[0, 1, 10, 0], &[0]),
        ("new entries", &[0, 1, 12, 0], &[0, 0, 1, 0, 0, 0, 0, 0]),
        ("xattrs", &[0, 1, 16, 0, 0], &[1, 0, 0]),
    ];
    let mut worst = 0;
    for (name, before, element) in lists {
        for count in [64, 4096, 4097, 65_536, 300_000_u64] {
            let mut header = [before, &postcard::to_stdvec(&count).unwrap()].concat();
            let room = (limits::HEADER_BYTES_MAX - header.len()) / element.len();
            let fill = usize::try_from(count).unwrap().min(room);
            header.extend(element.iter().copied().cycle().take(fill * element.len()));
            let (_, peak) = peak_of(|| decode(&header, 0));
            assert!(peak < LARGE, "{count} {name}: {peak} bytes");
            worst = worst.max(peak);
        }
    }
    assert!(worst > SMALL, "these lists are not what they should be");
}

#[test]
fn a_hello_never_holds_more_than_its_limit() {
    let bytes = [&xfer_protocol::hello::MAGIC[..], &[0, 4], &[0xff; 1 << 20]].concat();
    for length in [10, 500, 1034, bytes.len()] {
        let (_, peak) = peak_of(|| HelloReader::new().read(&bytes[..length]));
        assert!(peak <= 4 * limits::HELLO_BYTES_MAX, "{length}: {peak} bytes");
    }
}
