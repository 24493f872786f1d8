//! What of the race in company can be chosen

use std::path::PathBuf;
use std::time::Duration;

use crate::Done;
use crate::contender::Direction;
use crate::emulated::Cell;
use crate::flags::{self, number, or};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- company [FLAG…]   as root, with /dev/net/tun
  --seconds N             the file is what a link carries in that time (20)
  --rounds N              turns of every transfer, of which the median counts (1)
  --cell MS,PERCENT,MBIT  this link instead of 50,0,200; repeatable
  --seed N                another future of the links (1)
  --pull                  from the far side
  --memory DIR            a directory on tmpfs with room for two such files (/dev/shm)
  --output STEM           where STEM.md, STEM.json and STEM.svg go (bench-company)
  --quick                 two seconds over one short link, to see that it works";

/// The link where none is asked for
const CELLS: [Cell; 1] = [Cell { rtt: 50, loss: 0.0, rate: 200 }];

/// A transfer that has half of the link, and starts slowly, ends well within so many times what
/// the link takes alone
const PATIENCE: u64 = 4;

/// What it takes to start, and more
const LIMIT_LEAST: Duration = Duration::from_secs(60);

/// How long a flow is under way before somebody joins it
const LEAD_MOST: Duration = Duration::from_secs(5);

/// The flags of `company`
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) seconds: u64,
    pub(super) rounds: usize,
    cells: Vec<Cell>,
    pub(super) seed: u64,
    pub(super) direction: Direction,
    pub(super) memory: PathBuf,
    pub(super) output: PathBuf,
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Done<Self> {
        let mut options = Self {
            seconds: 20,
            rounds: 1,
            cells: Vec::new(),
            seed: 1,
            direction: Direction::Push,
            memory: PathBuf::from("/dev/shm"),
            output: PathBuf::from("bench-company"),
        };
        flags::read(words, &mut options, Self::switch, Self::set)?;
        Ok(options)
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        or(&self.cells, &CELLS)
    }

    /// After that a transfer is cut off
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(PATIENCE.saturating_mul(self.seconds)).max(LIMIT_LEAST)
    }

    /// How long a flow is under way before somebody joins it
    pub(super) fn lead(&self) -> Duration {
        (Duration::from_secs(self.seconds) / 4).min(LEAD_MOST)
    }

    fn switch(&mut self, flag: &str) -> bool {
        match flag {
            "--pull" => self.direction = Direction::Pull,
            "--quick" => {
                self.seconds = 2;
                self.cells = vec![Cell { rtt: 10, loss: 0.0, rate: 200 }];
            }
            _ => return false,
        }
        true
    }

    fn set(&mut self, flag: &str, value: &str) -> Done<bool> {
        match flag {
            "--seconds" => self.seconds = number::<u64>(flag, value)?.clamp(1, 86_400),
            "--rounds" => self.rounds = number::<usize>(flag, value)?.max(1),
            "--cell" => self.cells.push(Cell::parse(value)?),
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

    #[test]
    fn what_is_asked_takes_the_place_of_the_usual() {
        let parse = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            Options::parse(&words)
        };
        let usual = parse("").unwrap();
        assert_eq!((usual.cells(), usual.rounds), (CELLS.to_vec(), 1));
        assert_eq!((usual.limit().as_secs(), usual.lead().as_secs()), (80, 5));
        let asked = parse("--cell 10,1,100 --seconds 4 --rounds 3").unwrap();
        assert_eq!(asked.cells(), [Cell { rtt: 10, loss: 1.0, rate: 100 }]);
        assert_eq!((asked.limit().as_secs(), asked.lead().as_secs()), (60, 1));
        assert!(parse("--rounds many").is_err() && parse("--loss 1").is_err());
    }
}
