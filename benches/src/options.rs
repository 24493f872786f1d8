//! What is raced, how often, and where

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Done;

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p xfer-benches -- ssh [FLAG…]
  --rounds N      turns of every contender in every race (5)
  --big BYTES     the big file (2147483648)
  --small N       small files of 0 to 15,600 bytes (20000, which hold 156 MB)
  --many N        files of the tree in which nothing changed (200000)
  --only NAME     only races whose name contains NAME; repeatable
  --with NAME     only these peers beside xfer; repeatable
  --slow          also peers that take minutes over small files (scp, rclone, mscp)
  --memory DIR    a directory on tmpfs (/dev/shm)
  --disk DIR      a directory on a disk (the directory for temporary files)
  --output FILE   the figures as JSON (bench-ssh.json)
  --quick         sizes and rounds of a few seconds, to see that it works";

/// The flags of `ssh`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) big: u64,
    pub(crate) small: usize,
    pub(crate) many: usize,
    pub(crate) only: Vec<String>,
    pub(crate) with: Vec<String>,
    pub(crate) slow: bool,
    pub(crate) memory: PathBuf,
    pub(crate) disk: PathBuf,
    pub(crate) output: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 5,
            big: 2 << 30,
            small: 20_000,
            many: 200_000,
            only: Vec::new(),
            with: Vec::new(),
            slow: false,
            memory: PathBuf::from("/dev/shm"),
            disk: std::env::temp_dir(),
            output: PathBuf::from("bench-ssh.json"),
        }
    }
}

impl Options {
    /// The options that arguments spell, or nothing where help is asked for
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Done<Option<Self>> {
        let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
        match arguments.next().as_deref() {
            Some("ssh") => {}
            Some("--help" | "-h") => return Ok(None),
            _ => return Err(USAGE.to_owned()),
        }
        let mut options = Self::default();
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--quick" => options.shrink(),
                "--slow" => options.slow = true,
                "--help" | "-h" => return Ok(None),
                _ => options.set(&flag, arguments.next())?,
            }
        }
        Ok(Some(options))
    }

    fn shrink(&mut self) {
        (self.rounds, self.big, self.small, self.many) = (1, 8 << 20, 200, 500);
    }

    fn set(&mut self, flag: &str, value: Option<String>) -> Done {
        let value = value.ok_or_else(|| format!("no flag {flag}, or its value is missing"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{flag} {value}: {error}"));
        let count = || Ok::<_, String>(usize::try_from(number()?).unwrap_or(usize::MAX));
        match flag {
            "--rounds" => self.rounds = count()?.max(1),
            "--big" => self.big = number()?,
            "--small" => self.small = count()?,
            "--many" => self.many = count()?,
            "--only" => self.only.push(value),
            "--with" => self.with.push(value),
            "--memory" => self.memory = value.into(),
            "--disk" => self.disk = value.into(),
            "--output" => self.output = value.into(),
            _ => return Err(format!("no flag {flag}\n{USAGE}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Done<Option<Options>> {
        Options::parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let options = parse("ssh --rounds 3 --only push --only byte --slow").unwrap().unwrap();
        assert_eq!((options.rounds, options.slow), (3, true));
        assert_eq!(options.only, ["push", "byte"]);
        assert_eq!(parse("ssh --help"), Ok(None));
        for bad in ["", "scp", "ssh --rounds", "ssh --rounds many", "ssh --fast 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
