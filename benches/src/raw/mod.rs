//! References: bytes from one process to another, without files, digests or a login
//!
//! The sending process starts the receiving one, so that both are seen as one command and the
//! processor seconds of both are counted.

pub(crate) mod identity;
mod own;
mod quic;
mod tls;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use crate::Done;

/// What is written at once
const PIECE: usize = 1 << 20;

/// What carries the bytes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One TLS 1.3 connection a stream, by rustls as it is, AES-128-GCM
    Tls,
    /// The same by the program's own records
    Own,
    /// Streams of one QUIC connection, by quinn as it is but for large buffers
    Quic,
    /// The same in datagrams as large as the loopback takes
    QuicLarge,
}

/// How much goes to whom
#[derive(Clone, Copy, Debug)]
struct Load {
    streams: u64,
    bytes: u64,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Tls, Self::Own, Self::Quic, Self::QuicLarge];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "raw-tls",
            Self::Own => "raw-own-tls",
            Self::Quic => "raw-quinn",
            Self::QuicLarge => "raw-quinn-large",
        }
    }

    /// The command that moves that many bytes and ends
    pub(crate) fn command(self, streams: u64, bytes: u64) -> Done<Command> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["raw", self.name(), "send", &streams.to_string(), &bytes.to_string()]);
        Ok(command)
    }
}

impl Load {
    /// What a stream carries; the first carries the rest too
    fn of_stream(self, number: u64) -> u64 {
        let rest = if number == 0 { self.bytes % self.streams } else { 0 };
        self.bytes / self.streams + rest
    }
}

/// The end that the words name: `KIND send|receive STREAMS BYTES [KEY]`
pub(crate) fn run(words: &[String]) -> Done {
    let refused = || format!("raw: {words:?}");
    let [kind, end, streams, bytes, rest @ ..] = words else { return Err(refused()) };
    let kind = Kind::ALL.into_iter().find(|one| one.name() == kind).ok_or_else(refused)?;
    let number = |word: &String| word.parse::<u64>().map_err(|_| refused());
    let load = Load { streams: number(streams)?.max(1), bytes: number(bytes)? };
    match (end.as_str(), rest) {
        ("send", []) => send(kind, load),
        ("receive", [key]) => receive(kind, load, key),
        _ => Err(refused()),
    }
}

fn send(kind: Kind, load: Load) -> Done {
    let own = own::key()?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut receiver = Command::new(program)
        .args(["raw", kind.name(), "receive"])
        .args([load.streams, load.bytes].map(|number| number.to_string()))
        .arg(own::word(&own))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    if let Some(said) = receiver.stdout.take() {
        BufReader::new(said).read_line(&mut line).map_err(|error| error.to_string())?;
    }
    let (port, key) = line.trim().split_once(' ').ok_or("the receiver did not start")?;
    let port = port.parse().map_err(|_| format!("no port: {port}"))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match kind {
        Kind::Tls => tls::send(to, load)?,
        Kind::Own => own::send(to, load, &own, key)?,
        Kind::Quic | Kind::QuicLarge => quic::send(to, load, kind)?,
    }
    let ended = receiver.wait().map_err(|error| error.to_string())?;
    if ended.success() { Ok(()) } else { Err(String::from("the receiver failed")) }
}

fn receive(kind: Kind, load: Load, key: &str) -> Done {
    let received = match kind {
        Kind::Tls => tls::receive(load)?,
        Kind::Own => own::receive(load, key)?,
        Kind::Quic | Kind::QuicLarge => quic::receive(load, kind)?,
    };
    match received == load.bytes {
        true => Ok(()),
        false => Err(format!("{received} of {} bytes arrived", load.bytes)),
    }
}

/// Tells the sender where to go and whom to expect
fn ready(address: SocketAddr, key: &str) {
    println!("{} {key}", address.port());
}
