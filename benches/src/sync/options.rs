//! What of the race of syncs can be chosen

use std::path::PathBuf;

use super::case::Case;
use crate::Done;
use crate::flags::{self, number};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- sync [FLAG…]
  --rounds N      turns of xfer and of rsync (3); all others have one
  --case NAME     only cases whose name contains NAME; repeatable
  --only NAME     only contenders whose name contains NAME; repeatable
  --files N       files of the trees (200000)
  --big BYTES     the file that is edited, and into which is inserted (2147483648)
  --log BYTES     the file to which is appended (1073741824)
  --renamed BYTES the file that gets another name (4294967296)
  --parameters N  of the model whose checkpoints are synced, about (40000000)
  --python FILE   what makes these, with torch where it has that (python3)
  --peers DIR     where programs are looked for before PATH; repeatable
  --place DIR     a directory with room for four times the largest file (/dev/shm)
  --output STEM   where STEM.md, STEM.json and STEM.svg go (bench-sync)
  --quick         one round at sizes of a few seconds, to see that it works";

/// The flags of `sync`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) rounds: usize,
    cases: Vec<String>,
    only: Vec<String>,
    pub(super) sizes: Sizes,
    pub(super) python: PathBuf,
    pub(super) peers: Vec<PathBuf>,
    pub(super) place: PathBuf,
    pub(super) output: PathBuf,
}

/// How much there is of everything
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) files: u64,
    pub(super) big: u64,
    pub(super) log: u64,
    pub(super) renamed: u64,
    pub(super) parameters: u64,
}

impl Sizes {
    const USUAL: Self = Self {
        files: 200_000,
        big: 2 << 30,
        log: 1 << 30,
        renamed: 4 << 30,
        parameters: 40_000_000,
    };
    const QUICK: Self =
        Self { files: 300, big: 16 << 20, log: 16 << 20, renamed: 9 << 20, parameters: 1_200_000 };
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Done<Self> {
        let mut options = Self {
            rounds: 3,
            cases: Vec::new(),
            only: Vec::new(),
            sizes: Sizes::USUAL,
            python: PathBuf::from("python3"),
            peers: Vec::new(),
            place: PathBuf::from("/dev/shm"),
            output: PathBuf::from("bench-sync"),
        };
        flags::read(words, &mut options, Self::switch, Self::set)?;
        Ok(options)
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = Case> {
        let asked = |case: &Case| {
            self.cases.is_empty() || self.cases.iter().any(|only| case.name().contains(only))
        };
        Case::ALL.into_iter().filter(asked)
    }

    /// Whether a contender is asked for
    pub(super) fn asks(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    fn switch(&mut self, flag: &str) -> bool {
        if flag == "--quick" {
            (self.rounds, self.sizes) = (1, Sizes::QUICK);
        }
        flag == "--quick"
    }

    fn set(&mut self, flag: &str, value: &str) -> Done<bool> {
        match flag {
            "--rounds" => self.rounds = number::<usize>(flag, value)?.max(1),
            "--case" => self.cases.push(value.to_owned()),
            "--only" => self.only.push(value.to_owned()),
            "--files" => self.sizes.files = number::<u64>(flag, value)?.max(1),
            "--big" => self.sizes.big = number(flag, value)?,
            "--log" => self.sizes.log = number(flag, value)?,
            "--renamed" => self.sizes.renamed = number(flag, value)?,
            "--parameters" => self.sizes.parameters = number(flag, value)?,
            "--python" => self.python = value.into(),
            "--peers" => self.peers.push(value.into()),
            "--place" => self.place = value.into(),
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
        let options = parse("--case renamed --only rsync --quick --files 7").unwrap();
        let names: Vec<_> = options.cases().map(Case::name).collect();
        assert_eq!(names, ["renamed", "renamed-delete"]);
        assert!(options.asks("rsync-fuzzy") && !options.asks("xfer"));
        assert_eq!((options.rounds, options.sizes.files), (1, 7));
        assert_eq!(parse("").unwrap().cases().count(), Case::ALL.len());
        for bad in ["--files", "--files many", "--fast 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
