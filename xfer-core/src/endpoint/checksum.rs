//! The checksum that stores tell of whole objects.

use crc_fast::CrcAlgorithm::Crc64Nvme;

/// The CRC-64/NVME of bytes.
pub(crate) fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(Crc64Nvme, bytes)
}

/// The CRC-64/NVME of two pieces, one behind the other.
pub(crate) fn combined(first: u64, second: u64, second_length: u64) -> u64 {
    crc_fast::checksum_combine(Crc64Nvme, first, second, second_length)
}
