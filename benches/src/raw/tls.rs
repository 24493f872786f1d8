//! rustls as it is, one thread and one connection a stream

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use super::{Load, PIECE, identity, ready};
use crate::Done;

/// What is read from a socket at once; rustls by itself asks for some 4 KiB
const READ_AHEAD: usize = 256 << 10;

/// What rustls seals before it writes
const SEALED_AHEAD: usize = 256 << 10;

/// Receives all streams and says how many bytes came
pub(super) fn receive(load: Load) -> Done<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    ready(listener.local_addr().map_err(told)?, "-");
    let config = Arc::new(identity::server()?);
    let mut threads = Vec::new();
    for _ in 0..load.streams {
        let (socket, _) = listener.accept().map_err(told)?;
        let config = Arc::clone(&config);
        threads.push(std::thread::spawn(move || drain(socket, config)));
    }
    let counts = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread died")?);
    counts.sum()
}

/// Sends all streams
pub(super) fn send(to: SocketAddr, load: Load) -> Done {
    let config = Arc::new(identity::client()?);
    let mut threads = Vec::new();
    for number in 0..load.streams {
        let config = Arc::clone(&config);
        threads.push(std::thread::spawn(move || {
            let name = ServerName::IpAddress(to.ip().into());
            let connection = ClientConnection::new(config, name);
            let connection = connection.map_err(|error| error.to_string())?;
            let wire = Wire::new(TcpStream::connect(to).map_err(told)?).map_err(told)?;
            fill(StreamOwned::new(connection, wire), load.of_stream(number)).map_err(told)
        }));
    }
    let mut ends = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread died")?);
    ends.try_for_each(|end| end)
}

fn fill(mut stream: StreamOwned<ClientConnection, Wire>, mut left: u64) -> io::Result<()> {
    stream.conn.set_buffer_limit(Some(SEALED_AHEAD));
    // A stream that carries nothing shakes hands all the same.
    stream.conn.complete_io(&mut stream.sock)?;
    let piece = vec![1; PIECE];
    while left > 0 {
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        stream.write_all(&piece[..length])?;
        left -= length as u64;
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn drain(socket: TcpStream, config: Arc<ServerConfig>) -> Done<u64> {
    let connection = ServerConnection::new(config).map_err(|error| error.to_string())?;
    let mut stream = StreamOwned::new(connection, Wire::new(socket).map_err(told)?);
    let mut buffer = vec![0; PIECE];
    let mut count = 0;
    loop {
        match stream.read(&mut buffer).map_err(told)? {
            0 => return Ok(count),
            length => count += length as u64,
        }
    }
}

/// A socket that is read far ahead
struct Wire {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Wire {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let input = BufReader::with_capacity(READ_AHEAD, socket.try_clone()?);
        Ok(Self { input, output: socket })
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.output.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn told(error: io::Error) -> String {
    error.to_string()
}
