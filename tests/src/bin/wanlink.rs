//! A link of the network laboratory, held open for benchmarks and for work by hand
//!
//! wanlink [--a NAME] [--b NAME] [--rtt MS] [--rate MBIT] [--loss PERCENT] [--burst PACKETS]
//! [--reorder PERCENT] [--duplicate PERCENT] [--corrupt PERCENT] [--drop udp|tcp]
//! [--black-hole BYTES] [--queue KIB] [--mtu N] [--cc NAME] [--seed N] [-- CMD...]
//!
//! Reordered packets are held for 5 ms; a black hole takes datagrams of more bytes.
//!
//! Host A, `ip netns exec wanA …`, is 10.77.0.1, host B is 10.77.0.2. With CMD it runs that outside
//! of both, says what it counted, and ends with its code; without, it stays until it is killed, and
//! the next of its name clears away what it left.

use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use xfer_tests::net::{Direction, Host, Link, Protocol, Selection, Setup, Weather};

/// How long a reordered packet is held
const HELD: Duration = Duration::from_millis(5);

struct Asked {
    names: [String; 2],
    setup: Setup,
    weather: Weather,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(refusal) => {
            eprintln!("wanlink: {refusal}");
            return ExitCode::from(2);
        }
    };
    let [near, far] = asked.names.each_ref().map(|name| Host::named(name));
    let link = Link::between(&near, &far, &asked.setup, &asked.weather);
    let (a, b) = (near.name(), far.name());
    eprintln!("wanlink: {a} {} <-> {b} {}, {:?}", link.near(), link.far(), asked.weather);
    let Some((program, arguments)) = asked.command.split_first() else {
        loop {
            std::thread::park();
        }
    };
    let ended = Command::new(program).args(arguments).status();
    for (way, direction) in [("a->b", Direction::Out), ("b->a", Direction::In)] {
        eprintln!("wanlink: {way} {:?}", link.counts(direction));
    }
    let code = ended.ok().and_then(|status| status.code()).unwrap_or(127);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut a, mut b) = (String::from("wanA"), String::from("wanB"));
    let mut setup = Setup::default();
    let mut weather = Weather::default().megabits(1000).round_trip(Duration::from_millis(50));
    let mut command = Vec::new();
    while let Some(flag) = words.next() {
        if flag == "--" {
            command = words.by_ref().collect();
            break;
        }
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let refused = || format!("{flag}: unknown, or no value for it: {value}");
        match flag.as_str() {
            "--a" => a = value,
            "--b" => b = value,
            "--cc" => setup.congestion = value,
            "--mtu" => setup.mtu = number(&value).ok_or_else(refused)?,
            "--seed" => setup.seed = number(&value).ok_or_else(refused)?,
            _ => set(&mut weather, &flag, &value).ok_or_else(refused)?,
        }
    }
    Ok(Asked { names: [a, b], setup, weather, command })
}

fn set(weather: &mut Weather, flag: &str, value: &str) -> Option<()> {
    match flag {
        "--rtt" => weather.delay = milliseconds(number(value)?) / 2,
        "--rate" => *weather = weather.clone().megabits(number(value)?),
        "--loss" => weather.loss = share(value)?,
        "--burst" => weather.burst = number(value)?,
        "--reorder" => (weather.reorder, weather.reorder_by) = (share(value)?, HELD),
        "--duplicate" => weather.duplicate = share(value)?,
        "--corrupt" => weather.corrupt = share(value)?,
        "--drop" => weather.drops.push(Selection::default().protocol(protocol(value)?)),
        "--black-hole" => {
            let datagrams = Selection::default().protocol(Protocol::Udp);
            weather.drops.push(datagrams.above(number(value)?));
        }
        "--queue" => weather.queue = Some(number::<u64>(value)? * 1024),
        _ => return None,
    }
    Some(())
}

fn number<N: FromStr>(value: &str) -> Option<N> {
    value.parse().ok()
}

fn share(percent: &str) -> Option<f64> {
    Some(number::<f64>(percent)? / 100.0)
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "udp" => Some(Protocol::Udp),
        "tcp" => Some(Protocol::Tcp),
        _ => None,
    }
}

fn milliseconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count / 1000.0).unwrap_or_default()
}
