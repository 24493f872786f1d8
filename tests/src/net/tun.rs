//! A network device whose packets are read and written as a file
#![expect(unsafe_code, reason = "no crate that is in use has the request that makes a device")]

use std::fs::{File, OpenOptions};

use rustix::ioctl::{IntegerSetter, Opcode, Setter, ioctl};

/// `TUNSETIFF`
const SET_DEVICE: Opcode = 0x4004_54ca;
/// `IFF_TUN | IFF_NO_PI`: bare IP packets
const BARE_PACKETS: u16 = 0x0001 | 0x1000;
/// `IFF_VNET_HDR`: each behind a header that says whether it is many
const WITH_CARD: u16 = 0x4000;
/// `TUNSETOFFLOAD`
const SET_OFFLOADS: Opcode = 0x4004_54d0;
/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_USO4 | TUN_F_USO6`, of which the last two go together
const OFFLOADS: usize = 0x01 | 0x02 | 0x20 | 0x40;
/// `struct ifreq`: a name, then flags
const REQUEST: usize = 40;
const NAME: usize = 16;

/// Makes a device in the namespace of this thread; one that offloads gives and takes bursts
pub(super) fn open(name: &str, offloads: bool) -> File {
    assert!(name.len() < NAME, "{name:?} is too long for a device");
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let device = device.unwrap_or_else(|error| {
        panic!("the network laboratory needs root and /dev/net/tun: {error}");
    });
    let mut request = [0; REQUEST];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let kind = if offloads { BARE_PACKETS | WITH_CARD } else { BARE_PACKETS };
    request[NAME..NAME + 2].copy_from_slice(&kind.to_ne_bytes());
    // SAFETY: the request reads 40 bytes, which is what an array by value points at.
    let made = unsafe { ioctl(&device, Setter::<SET_DEVICE, [u8; REQUEST]>::new(request)) };
    made.unwrap_or_else(|error| panic!("the device {name} cannot be made: {error}"));
    if offloads {
        // SAFETY: the request takes its flags by value.
        let set = unsafe { ioctl(&device, IntegerSetter::<SET_OFFLOADS>::new_usize(OFFLOADS)) };
        set.unwrap_or_else(|error| panic!("the device {name} takes no bursts: {error}"));
    }
    device
}
