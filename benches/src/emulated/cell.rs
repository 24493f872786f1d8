//! A link, as the command line names it

use std::time::Duration;

use xfer_tests::net::Weather;

use crate::Done;
use crate::flags::number;

/// A link
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    /// Round trip in milliseconds
    pub(crate) rtt: u32,
    /// Per cent of packets
    pub(crate) loss: f64,
    /// Millions of bits a second
    pub(crate) rate: u64,
}

impl Cell {
    /// The value of `--cell`
    pub(crate) fn parse(value: &str) -> Done<Self> {
        let parts: Vec<_> = value.split(',').collect();
        let [rtt, loss, rate] = parts[..] else {
            return Err(format!("--cell {value}: not MS,PERCENT,MBIT"));
        };
        let flag = "--cell";
        Ok(Self { rtt: number(flag, rtt)?, loss: number(flag, loss)?, rate: number(flag, rate)? })
    }

    /// The file that the link carries in that time, in bytes
    pub(crate) fn bytes(self, seconds: u64) -> u64 {
        self.rate * 125_000 * seconds
    }

    pub(crate) fn name(self) -> String {
        format!("{} ms, {} %, {} Mbit/s", self.rtt, self.loss, self.rate)
    }

    pub(super) fn round_trip(self) -> Duration {
        Duration::from_millis(self.rtt.into())
    }

    /// What it is to the laboratory
    pub(super) fn weather(self) -> Weather {
        let weather = Weather::default().megabits(self.rate).round_trip(self.round_trip());
        weather.loss(self.loss / 100.0)
    }
}
