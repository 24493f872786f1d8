//! What of the race over emulated links can be chosen

use std::path::PathBuf;
use std::time::Duration;

use crate::Done;
use crate::contender::Direction;
use crate::emulated::Cell;
use crate::flags::{self, number, or};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- wan [FLAG…]   as root, with /dev/net/tun
  --seconds N             the file is what a link carries in that time (60)
  --limit N               seconds after which a tool is cut off (twice --seconds)
  --rtt MS                instead of 10, 50, 100 and 250; repeatable
  --loss PERCENT          instead of 0, 0.1, 1 and 3; repeatable
  --rate MBIT             instead of 200 and 1000; repeatable
  --cell MS,PERCENT,MBIT  this cell instead of the grid; repeatable
  --only NAME             only tools whose name contains NAME; repeatable
  --seed N                another future of the links (1)
  --pull                  from the far side
  --memory DIR            a directory on tmpfs with room for two such files (/dev/shm)
  --output STEM           where STEM.md, STEM.json and STEM.svg go (bench-wan)
  --quick                 a second over one short link, to see that it works";

/// The flags of `wan`
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    limit: Option<u64>,
    rtts: Vec<u32>,
    losses: Vec<f64>,
    rates: Vec<u64>,
    cells: Vec<Cell>,
    pub(crate) only: Vec<String>,
    /// Of what the links do by chance
    pub(crate) seed: u64,
    pub(crate) direction: Direction,
    pub(crate) memory: PathBuf,
    pub(crate) output: PathBuf,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Done<Self> {
        let mut options = Self {
            seconds: 60,
            limit: None,
            rtts: Vec::new(),
            losses: Vec::new(),
            rates: Vec::new(),
            cells: Vec::new(),
            only: Vec::new(),
            seed: 1,
            direction: Direction::Push,
            memory: PathBuf::from("/dev/shm"),
            output: PathBuf::from("bench-wan"),
        };
        flags::read(words, &mut options, Self::switch, Self::set)?;
        Ok(options)
    }

    /// By rate, so that a file serves all cells of one
    pub(crate) fn cells(&self) -> Vec<Cell> {
        if !self.cells.is_empty() {
            return self.cells.clone();
        }
        let mut cells = Vec::new();
        for rate in or(&self.rates, &[200, 1000]) {
            for rtt in or(&self.rtts, &[10, 50, 100, 250]) {
                let losses = or(&self.losses, &[0.0, 0.1, 1.0, 3.0]);
                cells.extend(losses.into_iter().map(|loss| Cell { rtt, loss, rate }));
            }
        }
        cells
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit.unwrap_or(2 * self.seconds))
    }

    /// Whether a tool is asked for
    pub(crate) fn asks(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    fn switch(&mut self, flag: &str) -> bool {
        match flag {
            "--pull" => self.direction = Direction::Pull,
            "--quick" => {
                self.seconds = 1;
                self.limit = Some(60);
                self.cells = vec![Cell { rtt: 10, loss: 0.1, rate: 200 }];
            }
            _ => return false,
        }
        true
    }

    fn set(&mut self, flag: &str, value: &str) -> Done<bool> {
        match flag {
            "--seconds" => self.seconds = number::<u64>(flag, value)?.clamp(1, 86_400),
            "--limit" => self.limit = Some(number::<u64>(flag, value)?.clamp(1, 86_400)),
            "--rtt" => self.rtts.push(number(flag, value)?),
            "--loss" => self.losses.push(number(flag, value)?),
            "--rate" => self.rates.push(number(flag, value)?),
            "--cell" => self.cells.push(Cell::parse(value)?),
            "--only" => self.only.push(value.to_owned()),
            "--seed" => self.seed = number(flag, value)?,
            "--memory" => self.memory = value.into(),
            "--output" => self.output = value.into(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Done<Options> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_grid_is_the_product_of_what_is_asked() {
        assert_eq!(parse("").unwrap().cells().len(), 32);
        let cells = parse("--rtt 100 --loss 0 --loss 1 --rate 200").unwrap().cells();
        let wanted = [0.0, 1.0].map(|loss| Cell { rtt: 100, loss, rate: 200 });
        assert_eq!(cells, wanted);
        assert_eq!(parse("--rtt 50 --cell 100,1,200").unwrap().cells(), wanted[1..]);
        assert_eq!(wanted[0].bytes(20), 500_000_000);
        for bad in ["--cell 1,2", "--cell 1,2,x", "--rate", "--fast 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
