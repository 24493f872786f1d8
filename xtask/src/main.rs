//! The project's own tasks: `cargo xtask test`, `cargo xtask agent`, `cargo xtask release`
//!
//! They need nothing but the toolchain and the standard library, so they build in seconds.

mod agent;
mod packages;
mod release;
mod run;
mod wheel;
mod zip;

use std::ffi::OsString;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK
  test [--long] [ARGUMENT…]  everything that is tested; ARGUMENTs go to `cargo test`
                             as root it installs the servers that tests need, else it names them
                             --long adds what takes hours
  agent                      builds the static program and prints its path
  release                    makes the tarball, the wheel and their checksums in target/dist";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let task = arguments.next();
    let rest: Vec<OsString> = arguments.collect();
    let done = match task.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("test") => test(rest),
        Some("agent") => agent::build().map(|path| println!("{}", path.display())),
        Some("release") => release::make(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("xtask: {text}");
            ExitCode::FAILURE
        }
    }
}

fn test(arguments: Vec<OsString>) -> run::Done {
    packages::provide()?;
    let (long, arguments): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|a| a == "--long");
    let mut command = run::cargo();
    command.args(["test", "--locked", "--release", "--workspace", "--no-fail-fast"]);
    command.args(arguments);
    if !long.is_empty() {
        command.env("XFER_TEST_LONG", "1");
    }
    run::shown(&mut command)
}
