//! What of the sweep can be chosen

use std::path::PathBuf;
use std::time::Duration;

use super::sweep::{BLOCKS, CELLS, ROUTES, STREAMS, Setting};
use super::{Round, earlier, verdict};
use crate::Done;
use crate::contender::Direction;
use crate::direct::Route;
use crate::emulated::Cell;
use crate::flags::{self, number, or};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- regret [FLAG…]   as root, with /dev/net/tun
  --seconds N             the file is what a link carries in that time (20)
  --limit N               seconds after which a setting is cut off (twice --seconds)
  --cell MS,PERCENT,MBIT  this cell instead of the nine; repeatable
  --streams N             instead of 1, 2, 4, 8, 16 and 32; repeatable
  --block KIB             instead of 256, 1024, 4096 and 16384; repeatable
  --route quic|tls        instead of both; repeatable
  --with FILE             links of an earlier sweep, from its JSON, are not swept again; repeatable
  --seed N                another future of the links (1)
  --pull                  from the far side
  --memory DIR            a directory on tmpfs with room for two such files (/dev/shm)
  --output STEM           where STEM.md, STEM.json and STEM.svg go (bench-regret)
  --quick                 a second over one short link and two settings, to see that it works";

/// The flags of `regret`
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) seconds: u64,
    limit: Option<u64>,
    cells: Vec<Cell>,
    streams: Vec<usize>,
    blocks: Vec<u64>,
    routes: Vec<Route>,
    earlier: Vec<PathBuf>,
    pub(super) seed: u64,
    pub(super) direction: Direction,
    pub(super) memory: PathBuf,
    pub(super) output: PathBuf,
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Done<Self> {
        let mut options = Self {
            seconds: 20,
            limit: None,
            cells: Vec::new(),
            streams: Vec::new(),
            blocks: Vec::new(),
            routes: Vec::new(),
            earlier: Vec::new(),
            seed: 1,
            direction: Direction::Push,
            memory: PathBuf::from("/dev/shm"),
            output: PathBuf::from("bench-regret"),
        };
        flags::read(words, &mut options, Self::switch, Self::set)?;
        Ok(options)
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        or(&self.cells, &CELLS)
    }

    /// What was swept before, each link once
    pub(super) fn earlier(&self) -> Done<Vec<Round>> {
        let conditions = verdict::figures(&[], self);
        let mut rounds: Vec<Round> = Vec::new();
        for path in &self.earlier {
            for round in earlier::read(path, &conditions)? {
                rounds.retain(|known| known.cell != round.cell);
                rounds.push(round);
            }
        }
        Ok(rounds)
    }

    /// Every fixed setting, in turn
    pub(super) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for route in or(&self.routes, &ROUTES) {
            for streams in or(&self.streams, &STREAMS) {
                let blocks = or(&self.blocks, &BLOCKS).into_iter();
                settings.extend(blocks.map(|block| Setting { route, streams, block }));
            }
        }
        settings
    }

    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit.unwrap_or(2 * self.seconds))
    }

    fn switch(&mut self, flag: &str) -> bool {
        match flag {
            "--pull" => self.direction = Direction::Pull,
            "--quick" => {
                self.seconds = 1;
                self.limit = Some(60);
                self.cells = vec![Cell { rtt: 10, loss: 0.1, rate: 200 }];
                (self.streams, self.blocks) = (vec![2], vec![1 << 20]);
            }
            _ => return false,
        }
        true
    }

    fn set(&mut self, flag: &str, value: &str) -> Done<bool> {
        match flag {
            "--seconds" => self.seconds = number::<u64>(flag, value)?.clamp(1, 86_400),
            "--limit" => self.limit = Some(number::<u64>(flag, value)?.clamp(1, 86_400)),
            "--cell" => self.cells.push(Cell::parse(value)?),
            "--streams" => self.streams.push(number::<usize>(flag, value)?.clamp(1, 64)),
            "--block" => self.blocks.push(number::<u64>(flag, value)?.saturating_mul(1024)),
            "--route" => self.routes.push(match value {
                "quic" => Route::Quic,
                "tls" => Route::Tls,
                _ => return Err(format!("--route {value}: neither quic nor tls")),
            }),
            "--with" => self.earlier.push(value.into()),
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

    fn parse(text: &str) -> Options {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words).unwrap()
    }

    #[test]
    fn the_sweep_is_what_is_fixed_unless_something_else_is_asked() {
        assert_eq!((parse("").cells().len(), parse("").settings().len()), (9, 48));
        let some = parse("--cell 100,1,200 --route tls --streams 8 --streams 32 --block 256");
        let wanted =
            [8, 32].map(|streams| Setting { route: Route::Tls, streams, block: 256 << 10 });
        assert_eq!((some.cells().len(), some.settings()), (1, wanted.to_vec()));
    }
}
