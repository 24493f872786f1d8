//! What of the race on the loopback can be chosen

use std::path::PathBuf;

use crate::flags::{self, number};
use crate::{Done, options};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- direct [FLAG…]
  --rounds N      turns of every contender (5)
  --size BYTES    the file (4294967296)
  --only NAME     only contenders whose name contains NAME; repeatable
  --push          no pulls
  --memory DIR    a directory on tmpfs with room for two such files (/dev/shm)
  --output STEM   where STEM.md, STEM.json and STEM.svg go (bench-direct)
  --quick         one round of 16 MiB, to see that it works";

/// The flags of `direct`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) size: u64,
    pub(crate) only: Vec<String>,
    pub(crate) push_alone: bool,
    pub(crate) memory: PathBuf,
    pub(crate) output: PathBuf,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Done<Self> {
        let mut options = Self {
            rounds: 5,
            size: 4 << 30,
            only: Vec::new(),
            push_alone: false,
            memory: PathBuf::from("/dev/shm"),
            output: PathBuf::from("bench-direct"),
        };
        flags::read(words, &mut options, Self::switch, Self::set)?;
        Ok(options)
    }

    /// Whether a contender is asked for
    pub(crate) fn asks(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    /// What the laboratory of ssh is told
    pub(crate) fn of_lab(&self) -> options::Options {
        options::Options {
            big: self.size,
            memory: self.memory.clone(),
            disk: self.memory.clone(),
            ..options::Options::default()
        }
    }

    fn switch(&mut self, flag: &str) -> bool {
        match flag {
            "--quick" => (self.rounds, self.size) = (1, 16 << 20),
            "--push" => self.push_alone = true,
            _ => return false,
        }
        true
    }

    fn set(&mut self, flag: &str, value: &str) -> Done<bool> {
        match flag {
            "--rounds" => self.rounds = number::<usize>(flag, value)?.max(1),
            "--size" => self.size = number::<u64>(flag, value)?.max(1),
            "--only" => self.only.push(value.to_owned()),
            "--memory" => self.memory = value.into(),
            "--output" => self.output = value.into(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}
