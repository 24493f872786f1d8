//! Small good files, made by hand, one of each kind at least; tests and fuzzing bend them.

use super::hdf5;
use super::window::Crc;

/// A name and what stands in the file.
pub(super) type Sample = (&'static str, Vec<u8>);

pub(super) fn all() -> Vec<Sample> {
    let array = npy();
    let version: &[u8] = b"3\n";
    let pickle = pickle();
    vec![
        ("a.gz", gzip(b"some words, some words, some words")),
        ("a.zst", zstd(b"some words, some words, some words")),
        ("a.tar", tar()),
        ("a.json", br#"[{"a": [1, -2.5e3, NaN]}, "\u00e9\n", {}, null, true]"#.to_vec()),
        ("a.jsonl", b"{\"a\": 1}\n\n[false]\n\"\xc3\xa9\"".to_vec()),
        ("a.npy", array.clone()),
        ("a.npz", archive(&[("a.npy", &array), ("b.npy", &array)])),
        ("a.zip", archive(&[("a", b"words"), ("empty", b"")])),
        (
            "a.pt",
            archive(&[("a/data.pkl", &pickle), ("a/data/0", &[1; 8]), ("a/version", version)]),
        ),
        ("a.safetensors", safetensors()),
        ("a.gguf", gguf()),
        ("a.parquet", parquet()),
        ("a.h5", hdf5::sample()),
    ]
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.value().to_le_bytes()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3, b'a', 0];
    file.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
    file.extend(crc(data));
    file.extend(length(data));
    file
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let written = zstd::Encoder::new(&mut frame, 3).and_then(|mut encoder| {
        encoder.include_checksum(true)?;
        std::io::Write::write_all(&mut encoder, data)?;
        encoder.finish().map(|_| ())
    });
    assert!(written.is_ok(), "memory takes what is written");
    frame
}

fn tar() -> Vec<u8> {
    let mut header = [0; 512];
    header[..1].copy_from_slice(b"a");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000012");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut file = header.to_vec();
    file.extend(b"some words");
    file.resize(512 * 4, 0);
    file
}

fn npy() -> Vec<u8> {
    let head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(head.len()).unwrap_or_default().to_le_bytes());
    file.extend(head);
    file.extend([7; 24]);
    file
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        facts.extend(crc(data));
        facts.extend(length(data));
        facts.extend(length(data));
        facts.extend(&length(name.as_bytes())[..2]);
        facts.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&facts);
        directory.extend([0; 10]);
        directory.extend(length(&file));
        directory.extend(name.as_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(facts);
        file.extend(name.as_bytes());
        file.extend(*data);
    }
    let count = u8::try_from(members.len()).unwrap_or_default();
    let start = length(&file);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\x00\x00\x00\x00");
    file.extend([count, 0, count, 0]);
    file.extend(length(&directory));
    file.extend(start);
    file.extend([0, 0]);
    file
}

/// A tuple of one storage, as PyTorch names it.
fn pickle() -> Vec<u8> {
    b"\x80\x02}q\x00(X\x07\x00\x00\x00storageq\x01ctorch\nFloatStorage\nq\x02X\x01\x00\x00\x000\
      q\x03X\x03\x00\x00\x00cpuq\x04K\x02tq\x05Q."
        .to_vec()
}

fn safetensors() -> Vec<u8> {
    let head = br#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],
"data_offsets":[0,24]},"b":{"dtype":"U8","shape":[3],"data_offsets":[24,27]}}"#;
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head);
    file.extend([7; 27]);
    file
}

fn gguf() -> Vec<u8> {
    let mut file = b"GGUF\x03\x00\x00\x00".to_vec();
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    file.extend(2_u64.to_le_bytes());
    file.extend(2_u64.to_le_bytes());
    text(&mut file, "general.name");
    file.extend(8_u32.to_le_bytes());
    text(&mut file, "a");
    text(&mut file, "some.list");
    file.extend([9_u32, 8].map(u32::to_le_bytes).concat());
    file.extend(1_u64.to_le_bytes());
    text(&mut file, "b");
    for (name, offset) in [("a", 0_u64), ("b", 32)] {
        text(&mut file, name);
        file.extend(1_u32.to_le_bytes());
        file.extend(5_u64.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend(offset.to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend([7; 20]);
    file.extend([0; 12]);
    file.extend([7; 20]);
    file
}

fn parquet() -> Vec<u8> {
    let data = [7, 0, 0, 0, 8, 0, 0, 0];
    let crc = u32::from_le_bytes(crc(&data)).cast_signed();
    let mut crc = u64::from(((crc << 1) ^ (crc >> 31)).cast_unsigned());
    // A page: its kind, two lengths, its CRC, and a header with two values.
    let mut page = vec![0x15, 0, 0x15, 16, 0x15, 16, 0x15];
    while crc > 0x7f {
        page.push(u8::try_from(crc & 0x7f).unwrap_or_default() | 0x80);
        crc >>= 7;
    }
    page.push(u8::try_from(crc).unwrap_or_default());
    page.extend([0x1c, 0x15, 4, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0]);
    page.extend(data);
    let whole = u8::try_from(page.len() * 2).unwrap_or_default();
    let mut file = b"PAR1".to_vec();
    file.extend(&page);
    // Version, two elements of a schema, two rows, and one group of one column.
    let mut footer = vec![0x15, 2, 0x19, 0x2c, 0x48, 1, b'r', 0x15, 2, 0];
    footer.extend([0x15, 2, 0x25, 0, 0x18, 1, b'a', 0, 0x16, 4, 0x19, 0x1c, 0x19, 0x1c]);
    footer.extend([0x26, 8, 0x1c, 0x15, 2, 0x19, 0x05, 0x19, 0x18, 1, b'a', 0x15, 0, 0x16, 4]);
    footer.extend([0x16, whole, 0x16, whole, 0x26, 8, 0, 0, 0x16, whole, 0x16, 4, 0, 0]);
    file.extend(&footer);
    file.extend(length(&footer));
    file.extend(b"PAR1");
    file
}
