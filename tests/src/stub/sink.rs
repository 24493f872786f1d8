//! The stub as a sink: what it says of bytes that it throws away

use xfer_protocol::digest::file_digest;
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Digests, OpenPartial, Outcome, Partial, Reply, Request, Ticket};
use xfer_protocol::range::ByteRange;

use super::{Stub, from_hex, wire};

impl Stub {
    pub(super) fn write(&mut self, request: Request) -> Reply {
        let row = self.row.as_str();
        match request {
            Request::Create(create) => {
                outcomes(create.entries.iter().map(|entry| entry.ticket), row != "not-made")
            }
            Request::SetMetadata(set) => {
                outcomes(set.entries.iter().map(|entry| entry.0), row != "not-set")
            }
            Request::OpenPartial(open) => {
                self.partials.insert(open.partial, open.size);
                Reply::Partial(Partial { held: claimed(row, &open), in_place: false })
            }
            Request::Commit(commit) => {
                let size = self.partials.get(&commit.partial).copied();
                self.staged.push((commit.ticket, size.unwrap_or_default()));
                Reply::Done
            }
            Request::WritePack(pack) => {
                self.staged.extend(pack.files.iter().map(|file| (file.ticket, file.size)));
                let tickets = pack.files.iter().map(|file| file.ticket);
                outcomes(tickets.skip(usize::from(row == "few-outcomes")), false)
            }
            Request::Publish(_) => {
                let shift = if row == "other-tickets" { 1 << 40 } else { 0 };
                let longer = u64::from(row == "other-sizes");
                let staged = std::mem::take(&mut self.staged);
                let told = if row == "no-outcomes" { Vec::new() } else { staged };
                let told = told.into_iter().map(|(ticket, size)| Outcome {
                    ticket: Ticket(ticket.0 + shift),
                    result: Ok(Some(Stamp { size: size + longer, ..Stamp::default() })),
                });
                Reply::Outcomes(told.collect())
            }
            Request::HashFiles(files) => {
                Reply::FileDigests(vec![Ok(file_digest(b"nothing")); files.files.files.len()], true)
            }
            Request::HashBlocks(asked) => {
                let count = asked.range.len().div_ceil(asked.block.bytes());
                let count =
                    usize::try_from(count).expect("few") + usize::from(row == "more-digests");
                Reply::Digests(Digests {
                    digests: vec![file_digest(b"nothing"); count],
                    past_cache: true,
                })
            }
            _ => Reply::Done,
        }
    }

    /// An answer to the opening of a partial as no encoder would write it
    pub(super) fn held(&self, honest: &[u8]) -> Vec<u8> {
        match self.row.as_str() {
            // The header ends with two ranges of one byte each, and before them with their count.
            "held-overlap" => wire::ending(honest, 4, &[1, 5, 2, 6]),
            "held-reversed" => wire::ending(honest, 4, &[4, 3, 5, 6]),
            "held-count" => wire::ending(honest, 5, &from_hex(&self.argument)),
            _ => honest.to_vec(),
        }
    }
}

fn claimed(row: &str, open: &OpenPartial) -> Vec<ByteRange> {
    let range = |start, end| ByteRange::new(start, end).expect("a range");
    match row {
        "held-all" | "more-digests" => vec![range(0, open.size)],
        "held-beyond" => vec![range(open.size * 2, limits::FILE_BYTES_MAX)],
        "held-tiny" => (0..limits::RANGES_MAX as u64).map(|at| range(2 * at, 2 * at + 1)).collect(),
        "held-overlap" | "held-reversed" | "held-count" => vec![range(1, 2), range(3, 4)],
        _ => Vec::new(),
    }
}

/// An outcome for each, there or only staged
fn outcomes(tickets: impl Iterator<Item = Ticket>, there: bool) -> Reply {
    let stamp = there.then(Stamp::default);
    Reply::Outcomes(tickets.map(|ticket| Outcome { ticket, result: Ok(stamp) }).collect())
}
