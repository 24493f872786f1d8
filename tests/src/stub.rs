//! A scripted far side that answers as no honest one would

use std::io::{self, Read, Write};

use xfer_protocol::codec::{FrameHead, HEAD_BYTES, encode};
use xfer_protocol::digest::file_digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::hello::{Hello, HelloProgress, HelloReader, Role, SessionId};
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, ScanItem};
use xfer_protocol::message::{
    Located, LocatedKind, Message, ReadFile, Reply, Request, RequestId, Root, RootIndex, ScanBatch,
    ScanIndex, Space,
};
use xfer_protocol::path::RelPath;

/// What every file of the stub holds
pub const CONTENT: &[u8] = b"evil";

/// Stands for a name that cannot be made here; the stub writes the real one over it
fn placeholder(name: &[u8]) -> Vec<u8> {
    name.chunks(200).map(|piece| "~".repeat(piece.len().max(1))).collect::<Vec<_>>().concat().into()
}

/// Answers until the other side hangs up
///
/// Rows: `honest`; `name HEX` lists a file of that name; `twice`, `below-file`, `below-link`,
/// `false-digest`, `false-link`, `request`, `unasked`, `again`, `wrong-kind`, `early`; `raw HEX`
/// sends bytes in place of the first list; `count HEX` an encoded count of entries in it; `flood`
/// answers everything with the largest frames that may be.
pub fn serve(input: &mut impl Read, output: &mut impl Write, row: &str) -> io::Result<()> {
    let (row, argument) = row.split_once(' ').unwrap_or((row, ""));
    let argument = from_hex(argument);
    greet(input, output)?;
    if row == "early" {
        send(output, RequestId(0), Reply::Done, &[])?;
    }
    loop {
        let (id, request) = next_request(input)?;
        let listing = matches!(&request, Request::ScanNext(next) if next.sequence == 0);
        match row {
            "raw" if listing => {
                output.write_all(&argument)?;
                output.flush()?;
                continue;
            }
            "count" if listing => {
                with_count(output, id, &argument)?;
                continue;
            }
            "request" if listing => {
                output.write_all(&frame(&Message::Request(id, Request::Ping), &[]))?;
            }
            "unasked" if listing => send(output, RequestId(u64::MAX), Reply::Done, &[])?,
            "flood" if listing => loop {
                send(
                    output,
                    RequestId(u64::MAX / 2),
                    Reply::Block(vec![file_digest(b"")]),
                    &FLOOD,
                )?;
            },
            _ => {}
        }
        let is_pack = matches!(request, Request::ReadPack(_));
        let (reply, payload) = answer(request, row, &argument);
        let reply = if row == "wrong-kind" && is_pack { Reply::Done } else { reply };
        let payload = if matches!(reply, Reply::Pack(_)) { payload } else { Vec::new() };
        let mut bytes = frame(&Message::Reply(id, Ok(reply)), &payload);
        if row == "name" && listing {
            let wrong = placeholder(&argument);
            let at = bytes.windows(wrong.len()).position(|window| window == wrong);
            let at = at.expect("the placeholder");
            bytes[at..at + argument.len()].copy_from_slice(&argument);
        }
        output.write_all(&bytes)?;
        if row == "again" && is_pack {
            output.write_all(&bytes)?;
        }
        output.flush()?;
    }
}

static FLOOD: [u8; 16 << 20] = [0; 16 << 20];

fn answer(request: Request, row: &str, argument: &[u8]) -> (Reply, Vec<u8>) {
    let reply = match request {
        Request::Locate(l) => {
            Reply::Located(vec![Located { path: l.path, kind: Some(LocatedKind::Directory) }])
        }
        Request::OpenRoot(open) => Reply::Root(Root {
            index: RootIndex(0),
            path: open.path,
            device: 1,
            inode: 1,
            machine: [9; 16],
            space: Space { bytes_free: 1 << 40, inodes_free: None, volatile: false },
        }),
        Request::Scan(_) => Reply::Scan(ScanIndex(0)),
        Request::ScanNext(next) => {
            let entries = if next.sequence == 0 { entries(row, argument) } else { Vec::new() };
            let items = entries.into_iter().map(ScanItem::Entry).collect();
            Reply::ScanBatch(ScanBatch { sequence: next.sequence, items, last: true })
        }
        Request::ReadPack(files) => {
            let claimed = match row {
                "false-digest" | "false-link" => file_digest(b"good"),
                _ => file_digest(CONTENT),
            };
            let count = files.files.len();
            let read = ReadFile { size: CONTENT.len() as u64, digest: claimed };
            return (Reply::Pack(vec![Ok(read); count]), CONTENT.repeat(count));
        }
        _ => Reply::Done,
    };
    (reply, Vec::new())
}

fn entries(row: &str, argument: &[u8]) -> Vec<Entry> {
    let root = entry(b"", EntryKind::Directory, 1);
    let outside = EntryKind::Symlink { content: b"../outside".to_vec() };
    let rest = match row {
        "name" => vec![file(&placeholder(argument), 2)],
        "twice" => vec![file(b"a", 2), file(b"a", 3)],
        "below-file" => vec![file(b"a", 2), file(b"a/b", 3)],
        "below-link" => vec![entry(b"d", outside, 2), file(b"d/passwd", 3)],
        // Two names of one file, of which no byte is what was claimed.
        "false-link" => vec![file(b"a", 2), file(b"b", 2)],
        _ => vec![file(b"a", 2)],
    };
    [vec![root], rest].concat()
}

fn file(path: &[u8], inode: u64) -> Entry {
    entry(path, EntryKind::File { size: CONTENT.len() as u64, allocated: 4096 }, inode)
}

fn entry(path: &[u8], kind: EntryKind, inode: u64) -> Entry {
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    let links = if matches!(kind, EntryKind::File { .. }) { 2 } else { 1 };
    let inode = Inode { number: inode, links, ..Inode::default() };
    Entry { path: RelPath::new(path).expect("a path"), kind, metadata, inode }
}

/// A batch that says to hold as many entries as the encoded count tells
fn with_count(output: &mut impl Write, id: RequestId, count: &[u8]) -> io::Result<()> {
    let empty = ScanBatch { sequence: 0, items: Vec::new(), last: true };
    let bytes = frame(&Message::Reply(id, Ok(Reply::ScanBatch(empty))), &[]);
    // The header ends with the count of none and the mark of the last batch.
    let header = [&bytes[HEAD_BYTES..bytes.len() - 2], count, &[1]].concat();
    let length = u32::try_from(header.len()).expect("short");
    output.write_all(&length.to_le_bytes())?;
    output.write_all(&[0; 4])?;
    output.write_all(&header)?;
    output.flush()
}

/// Waits for the other side's greeting and answers it
fn greet(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut reader = HelloReader::new();
    let theirs = loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match reader.read(&byte) {
            Ok(HelloProgress::Complete { hello, .. }) => break hello,
            Ok(_) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    };
    output.write_all(&Hello::new(Role::Agent, theirs.session, theirs.stream).encode())?;
    output.flush()
}

fn next_request(input: &mut impl Read) -> io::Result<(RequestId, Request)> {
    let mut head = [0; HEAD_BYTES];
    input.read_exact(&mut head)?;
    let head = FrameHead::parse(&head).map_err(io::Error::other)?;
    let mut header = vec![0; head.header_length()];
    input.read_exact(&mut header)?;
    let mut payload = vec![0; head.payload_length()];
    input.read_exact(&mut payload)?;
    match head.decode(&header).map_err(io::Error::other)? {
        Message::Request(id, request) => Ok((id, request)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn send(output: &mut impl Write, id: RequestId, reply: Reply, payload: &[u8]) -> io::Result<()> {
    output.write_all(&frame(&Message::Reply(id, Ok(reply)), payload))?;
    output.flush()
}

/// A frame with its payload
pub fn frame(message: &Message, payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode(message, payload.len()).expect("a message that may be");
    bytes.extend_from_slice(payload);
    bytes
}

/// Bytes from their hexadecimal
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c.to_digit(16).expect("hexadecimal")).expect("a digit"))
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The controller's end of a session with a real agent
#[derive(Debug)]
pub struct Controller<R, W> {
    input: R,
    output: W,
    next: u64,
}

impl<R: Read, W: Write> Controller<R, W> {
    /// Reads past the agent's mark and greets it
    pub fn greet(mut input: R, mut output: W, mark: usize, session: [u8; 16]) -> io::Result<Self> {
        input.read_exact(&mut vec![0; mark])?;
        output.write_all(&Hello::new(Role::Controller, SessionId(session), 0).encode())?;
        output.flush()?;
        let mut reader = HelloReader::new();
        loop {
            let mut byte = [0];
            input.read_exact(&mut byte)?;
            match reader.read(&byte) {
                Ok(HelloProgress::Complete { .. }) => return Ok(Self { input, output, next: 0 }),
                Ok(_) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Asks, and waits for the answer
    pub fn ask(&mut self, request: Request, payload: &[u8]) -> io::Result<Result<Reply, Fault>> {
        self.next += 1;
        self.send_raw(&frame(&Message::Request(RequestId(self.next), request), payload))?;
        self.answer()
    }

    /// Sends bytes that may be no frame
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }

    /// The next answer; an error where there will be none
    pub fn answer(&mut self) -> io::Result<Result<Reply, Fault>> {
        let mut head = [0; HEAD_BYTES];
        self.input.read_exact(&mut head)?;
        let head = FrameHead::parse(&head).map_err(io::Error::other)?;
        let mut bytes = vec![0; head.header_length()];
        self.input.read_exact(&mut bytes)?;
        self.input.read_exact(&mut vec![0; head.payload_length()])?;
        match head.decode(&bytes).map_err(io::Error::other)? {
            Message::Reply(_, reply) => Ok(reply),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
