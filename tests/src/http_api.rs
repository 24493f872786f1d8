//! An interface over HTTP for one test, which answers until it is dropped

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::net::Host;

/// A request is no longer than this
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// What was asked
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `GET`
    pub method: String,
    /// What stands behind host and port
    pub target: String,
    /// What stands behind `Authorization: Bearer`
    pub key: Option<String>,
    /// What follows the headers
    pub body: String,
}

/// What answers
pub trait Answers: Send + 'static {
    /// A status and a body for each request
    fn answer(&mut self, asked: &Asked) -> (u16, String);
}

/// The interface
#[derive(Debug)]
pub struct HttpApi<A> {
    address: SocketAddr,
    state: Arc<Mutex<A>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl<A: Answers> HttpApi<A> {
    /// On this machine
    pub fn start(answers: A) -> Self {
        Self::answering(TcpListener::bind("127.0.0.1:0").expect("bind to a free port"), answers)
    }

    /// On the loopback of a host of the network laboratory
    pub fn start_within(host: &Host, answers: A) -> Self {
        let bound = host.within(|| TcpListener::bind("127.0.0.1:0"));
        Self::answering(bound.expect("bind to a free port"), answers)
    }

    fn answering(listener: TcpListener, answers: A) -> Self {
        let address = listener.local_addr().expect("an address");
        let (state, asked) = (Arc::new(Mutex::new(answers)), Arc::default());
        let (answering, telling) = (Arc::downgrade(&state), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The interface's last user is gone.
                let Some(state) = answering.upgrade() else { return };
                let telling = Arc::clone(&telling);
                std::thread::spawn(move || serve(&stream, &state, &telling));
            }
        });
        Self { address, state, asked }
    }

    /// Where it is, without a path
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What answers, to be changed
    pub fn state(&self) -> MutexGuard<'_, A> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was asked so far, as `METHOD TARGET STATUS`
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The JSON of an error or an answer
pub fn json(status: u16, body: &Value) -> (u16, String) {
    (status, body.to_string())
}

fn serve<A: Answers>(
    stream: &TcpStream,
    state: &Mutex<A>,
    told: &Mutex<Vec<String>>,
) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut lines = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let (mut key, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => key = value.strip_prefix("Bearer ").map(str::to_owned),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = String::new();
    lines.take(length).read_to_string(&mut body).ok()?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let asked = Asked { method: words.next()?, target: words.next()?, key, body };
    let (status, body) = state.lock().unwrap_or_else(PoisonError::into_inner).answer(&asked);
    let line = format!("{} {} {status}", asked.method, asked.target);
    told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    let length = body.len();
    let mut writer = stream;
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n");
    writer.write_all(format!("{head}\r\n{body}").as_bytes()).ok()
}
