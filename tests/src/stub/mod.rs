//! A scripted far side that answers as no honest one would

mod listing;
mod sink;
mod source;
mod wire;

use std::collections::HashMap;
use std::io::{self, Read, Write};

use xfer_protocol::digest::file_digest;
use xfer_protocol::hello::FEATURE_ENCODED_PAYLOAD;
use xfer_protocol::manifest::ScanItem;
use xfer_protocol::message::{
    Begin, Begun, Located, LocatedKind, Message, OpenRoot, PartialIndex, Reply, Request, RequestId,
    Root, RootIndex, ScanBatch, ScanIndex, Space, Ticket,
};

pub use source::{CONTENT, LARGE};
pub use wire::{Controller, frame, from_hex};

/// Entries in one batch, few enough for the longest names
const BATCH_ENTRIES: usize = 90;

static FLOOD: [u8; 16 << 20] = [0; 16 << 20];

/// How the stub lies, and what it remembers
struct Stub {
    row: String,
    argument: String,
    /// Files that were sent and not published, with their lengths
    staged: Vec<(Ticket, u64)>,
    /// Lengths of the files that are being assembled
    partials: HashMap<PartialIndex, u64>,
    /// An answer to be given once more
    earlier: Option<Vec<u8>>,
}

/// Answers until the other side hangs up
///
/// A row is a word and perhaps an argument. `honest` lies nowhere, and each other word is a match
/// arm of this module: to either side `raw HEX` sends bytes in place of the first list, `count HEX`
/// an encoded count of entries, `flood` the largest frames without end, and `wrong-kind REQUEST`
/// answers that request with what answers another, and `encoded HOW` answers with encoded payload.
pub fn serve(input: &mut impl Read, output: &mut impl Write, row: &str) -> io::Result<()> {
    let (row, argument) = row.split_once(' ').unwrap_or((row, ""));
    let (row, argument) = (row.to_owned(), argument.to_owned());
    let mut stub =
        Stub { row, argument, staged: Vec::new(), partials: HashMap::new(), earlier: None };
    let features = if stub.row == "encoded" { FEATURE_ENCODED_PAYLOAD } else { 0 };
    wire::greet(input, output, features)?;
    if stub.row == "early" {
        output.write_all(&reply(RequestId(0), Reply::Done, &[]))?;
    }
    loop {
        output.flush()?;
        let (id, request) = wire::next_request(input)?;
        if is_first_list(&request) && stub.row == "flood" {
            let block = Reply::Block(vec![file_digest(b"")]);
            let frame = reply(RequestId(u64::MAX / 2), block, &FLOOD);
            loop {
                output.write_all(&frame)?;
            }
        }
        output.write_all(&stub.answer(id, request))?;
    }
}

fn is_first_list(request: &Request) -> bool {
    match request {
        Request::ScanNext(next) => next.sequence == 0,
        Request::Begin(_) => true,
        _ => false,
    }
}

/// The frame of a reply
fn reply(id: RequestId, reply: Reply, payload: &[u8]) -> Vec<u8> {
    frame(&Message::Reply(id, Ok(reply)), payload)
}

/// What a request is called
fn name_of(request: &Request) -> String {
    format!("{request:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

impl Stub {
    /// All that is sent for one request
    fn answer(&mut self, id: RequestId, request: Request) -> Vec<u8> {
        if is_first_list(&request) {
            match self.row.as_str() {
                "raw" => return from_hex(&self.argument),
                // The header ends with the count of none and the mark of the last batch.
                "count" => {
                    let count = [&from_hex(&self.argument)[..], &[1]].concat();
                    let list = match request {
                        Request::Begin(begin) => Reply::Begun(begun(begin, nothing(0))),
                        _ => Reply::ScanBatch(nothing(0)),
                    };
                    return wire::ending(&reply(id, list, &[]), 2, &count);
                }
                "request" => return frame(&Message::Request(id, Request::Ping), &[]),
                "unasked" => return reply(RequestId(u64::MAX), Reply::Done, &[]),
                "end" => return frame(&Message::End, &[]),
                _ => {}
            }
        }
        if self.row == "wrong-kind" && name_of(&request) == self.argument {
            let is_done = matches!(self.plain(request).0, Reply::Done);
            let wrong = if is_done { Reply::Scan(ScanIndex(0)) } else { Reply::Done };
            return reply(id, wrong, &[]);
        }
        if let ("encoded", Request::ReadBlock(read)) = (self.row.as_str(), &request)
            && let Some(encoded) = source::encoded(id, read, &self.argument)
        {
            return encoded;
        }
        let is_payload = matches!(request, Request::ReadPack(_) | Request::WritePack(_));
        let listed = matches!(request, Request::ScanNext(_) | Request::Begin(_));
        let opens = matches!(request, Request::OpenPartial(_));
        let (plain, payload) = self.plain(request);
        let mut bytes = reply(id, plain, &payload);
        if listed {
            self.rename(&mut bytes);
        }
        if opens {
            bytes = self.held(&bytes);
        }
        match self.row.as_str() {
            // More is asked after either, so that the second is always seen.
            "again" if is_payload || listed => bytes.repeat(2),
            "later" if is_payload => {
                let earlier = self.earlier.replace(bytes.clone()).unwrap_or_default();
                [bytes, earlier].concat()
            }
            _ => bytes,
        }
    }

    /// A reply of the kind that was asked for
    fn plain(&mut self, request: Request) -> (Reply, Vec<u8>) {
        let plain = match request {
            Request::Locate(locate) => Reply::Located(self.located(locate.path)),
            Request::OpenRoot(open) => Reply::Root(root(open)),
            Request::Begin(mut begin) => {
                if self.row == "few-lists" {
                    begin.lists.clear();
                }
                Reply::Begun(begun(begin, self.batch(u64::from(self.row == "late-list"))))
            }
            Request::Space(_) => Reply::Space(SPACE),
            // Below the root there is nothing.
            Request::Scan(scan) => Reply::Scan(ScanIndex(u32::from(!scan.under.is_root()))),
            Request::ScanNext(next) if next.scan == ScanIndex(0) => {
                Reply::ScanBatch(self.batch(next.sequence))
            }
            Request::ScanNext(next) => Reply::ScanBatch(nothing(next.sequence)),
            Request::DataRanges(_) | Request::ReadBlock(_) | Request::ReadPack(_) => {
                return self.read(request);
            }
            other => self.write(other),
        };
        (plain, Vec::new())
    }

    fn located(&self, path: Vec<u8>) -> Vec<Located> {
        let kind = Some(LocatedKind::Directory);
        let plain = Located { path, kind };
        match self.row.as_str() {
            "located" => vec![Located { path: from_hex(&self.argument), kind }],
            "located-twice" => {
                vec![plain, Located { path: from_hex(&self.argument), kind }]
            }
            _ => vec![plain],
        }
    }

    fn batch(&self, sequence: u64) -> ScanBatch {
        let entries = self.entries();
        let at = usize::try_from(sequence).expect("few").saturating_mul(BATCH_ENTRIES);
        let items: Vec<_> =
            entries.iter().skip(at).take(BATCH_ENTRIES).cloned().map(ScanItem::Entry).collect();
        let last = at.saturating_add(BATCH_ENTRIES) >= entries.len();
        ScanBatch { sequence, items, last }
    }
}

fn nothing(sequence: u64) -> ScanBatch {
    ScanBatch { sequence, items: Vec::new(), last: true }
}

fn root(open: OpenRoot) -> Root {
    let (index, machine) = (RootIndex(0), [9; 16]);
    Root { index, path: open.path, device: 1, inode: 1, machine, space: SPACE }
}

fn begun(begin: Begin, batch: ScanBatch) -> Begun {
    let lists = begin.lists.iter().map(|(under, _)| match under.is_root() {
        true => Ok((ScanIndex(0), batch.clone())),
        false => Ok((ScanIndex(1), nothing(0))),
    });
    let lists = lists.collect();
    Begun { root: root(begin.open), lists }
}

const SPACE: Space = Space { bytes_free: 1 << 40, inodes_free: None, volatile: false };
