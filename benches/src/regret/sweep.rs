//! The sweep that the tuner is measured against, fixed here

use std::ffi::OsString;

use crate::direct::Route;
use crate::emulated::Cell;

/// Numbers of streams
pub(super) const STREAMS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Sizes of blocks, in bytes
pub(super) const BLOCKS: [u64; 4] = [256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// Transports
pub(super) const ROUTES: [Route; 2] = [Route::Quic, Route::Tls];

/// Links: round trip in milliseconds, loss in per cent, Mbit/s
pub(super) const CELLS: [Cell; 9] = [
    Cell { rtt: 10, loss: 0.0, rate: 1000 },
    Cell { rtt: 10, loss: 1.0, rate: 200 },
    Cell { rtt: 50, loss: 0.0, rate: 200 },
    Cell { rtt: 50, loss: 0.1, rate: 1000 },
    Cell { rtt: 100, loss: 0.0, rate: 1000 },
    Cell { rtt: 100, loss: 0.1, rate: 200 },
    Cell { rtt: 100, loss: 1.0, rate: 200 },
    Cell { rtt: 250, loss: 0.0, rate: 200 },
    Cell { rtt: 250, loss: 1.0, rate: 200 },
];

/// Regret that is allowed, and in how many cells of all it may be more
pub(super) const ALLOWED: f64 = 0.1;
pub(super) const EXCEPTIONS: usize = 1;

/// The mapped ports of the far host
const PORT: u16 = 7700;

/// A fixed setting
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) route: Route,
    pub(super) streams: usize,
    pub(super) block: u64,
}

impl Setting {
    pub(super) fn name(self) -> String {
        let Self { route, streams, block } = self;
        format!("{} × {streams}, blocks of {} KiB", route.name(), block >> 10)
    }
}

/// The flags that fix a setting; without one both ports are there and the rest is the program's
pub(super) fn flags(setting: Option<Setting>, host: &str) -> Vec<OsString> {
    let Some(setting) = setting else {
        let ports = ["tcp", "udp"].map(|protocol| format!("{host}:{PORT}:{PORT}/{protocol}"));
        return ports.iter().flat_map(|port| ["--data-port", port]).map(OsString::from).collect();
    };
    let mut flags = setting.route.flags(host, PORT);
    flags.extend(["--streams".into(), setting.streams.to_string().into()]);
    flags
}
