//! A network device whose packets are read and written as a file
#![expect(unsafe_code, reason = "no crate that is in use has the request that makes a device")]

use std::fs::{File, OpenOptions};

use rustix::ioctl::{Opcode, Setter, ioctl};

/// `TUNSETIFF`
const SET_DEVICE: Opcode = 0x4004_54ca;
/// `IFF_TUN | IFF_NO_PI`: bare IP packets
const BARE_PACKETS: u16 = 0x0001 | 0x1000;
/// `struct ifreq`: a name, then flags
const REQUEST: usize = 40;
const NAME: usize = 16;

/// Makes a device in the namespace of this thread
pub(super) fn open(name: &str) -> File {
    assert!(name.len() < NAME, "{name:?} is too long for a device");
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let device = device.unwrap_or_else(|error| {
        panic!("the network laboratory needs root and /dev/net/tun: {error}");
    });
    let mut request = [0; REQUEST];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[NAME..NAME + 2].copy_from_slice(&BARE_PACKETS.to_ne_bytes());
    // SAFETY: the request reads 40 bytes, which is what an array by value points at.
    let made = unsafe { ioctl(&device, Setter::<SET_DEVICE, [u8; REQUEST]>::new(request)) };
    made.unwrap_or_else(|error| panic!("the device {name} cannot be made: {error}"));
    device
}
