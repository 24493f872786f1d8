//! A look at the sources: whether anything is there that was not there before.

use std::collections::HashMap;
use std::time::Duration;

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{Access, OpenRoot, Root, Scan};

use crate::connect::Connected;
use crate::engine::Shared;
use crate::engine::attempt::locate;
use crate::engine::context::{Context, Stop};
use crate::engine::in_step::SourceList;
use crate::engine::ledger::Side;
use crate::engine::settling::Unsettled;
use crate::journal::write_unguarded;
use crate::plan::mapping::begin_of;

/// Looks by one connection: a source that was replaced by another is found by the next one.
const LOOKS_MAX: u32 = 30;

/// What a look found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The same as long as there is nothing new to be moved. Files that are still being written
    /// count by their names alone.
    pub(super) print: Digest,
    /// When the first of those has settled.
    pub(super) ready: Option<Duration>,
    /// How long it took, once the sources were reached.
    pub(super) took: Duration,
}

/// Sources that are open to be looked at.
pub(super) struct Looker {
    sources: Vec<Connected>,
    of_request: Vec<usize>,
    roots: HashMap<(usize, Vec<u8>), Root>,
    looks: u32,
}

impl Looker {
    pub(super) async fn open(shared: &Shared) -> Result<Self, Stop> {
        let transfer = &shared.transfer;
        let (mut machines, mut of_request) = (Vec::new(), Vec::new());
        for source in &transfer.sources {
            let at = machines.iter().position(|m| *m == &source.machine).unwrap_or_else(|| {
                machines.push(&source.machine);
                machines.len() - 1
            });
            of_request.push(at);
        }
        let mut sources = Vec::with_capacity(machines.len());
        for machine in machines {
            let reached = shared.connector.connect_ahead(machine, &transfer.options, &[]).await;
            sources.push(reached.map_err(Stop::Error)?);
        }
        Ok(Self { sources, of_request, roots: HashMap::new(), looks: 0 })
    }

    /// Whether another look may go by the same connections.
    pub(super) fn is_worn(&self) -> bool {
        self.looks >= LOOKS_MAX
    }

    pub(super) async fn close(&self) {
        for source in &self.sources {
            source.source.close().await;
        }
    }

    pub(super) async fn look(&mut self, shared: &Shared) -> Result<Look, Stop> {
        self.looks += 1;
        let began = shared.clock.elapsed();
        let mut print = blake3::Hasher::new();
        let mut ready: Option<Duration> = None;
        for (at, located) in locate(shared, &self.sources, &self.of_request).await? {
            if located.kind.is_none() {
                continue;
            }
            let stop = |e| shared.of_source(at, Context::stop(Side::Source, e));
            let (path, under) = begin_of(&located).map_err(Stop::Mapping)?;
            let source = &self.sources[self.of_request[at]].source;
            let key = (self.of_request[at], path.clone());
            let root = match self.roots.get(&key) {
                Some(root) => root.clone(),
                None => {
                    let open = OpenRoot { path, access: Access::Read };
                    let root = source.open_root(open).await.map_err(stop)?;
                    self.roots.entry(key).or_insert(root).clone()
                }
            };
            let options = shared.transfer.options.source_scan();
            let scan = Scan { root: root.index, under, options };
            let mut list = SourceList::begin(shared, source, scan).await.map_err(stop)?;
            print.update(&root.inode.to_le_bytes());
            while let Some(item) = list.next().await.map_err(stop)? {
                let why = match &item {
                    ScanItem::Entry(entry) => list.leaves(entry),
                    _ => None,
                };
                add(&mut print, &item, why.is_some());
                if let Some(Unsettled::For(time)) = why {
                    ready = Some(ready.map_or(time, |before| before.min(time)));
                }
            }
        }
        let took = shared.clock.elapsed().saturating_sub(began);
        Ok(Look { print: Digest::from_bytes(*print.finalize().as_bytes()), ready, took })
    }
}

/// What of an entry is a reason to move it. Times of directories follow the names in them, which
/// count by themselves.
fn add(print: &mut blake3::Hasher, item: &ScanItem, is_unsettled: bool) {
    let mut line = Vec::new();
    match item {
        ScanItem::Entry(entry) if is_unsettled => {
            write_unguarded(&mut line, &(0_u8, &entry.path));
        }
        ScanItem::Entry(Entry { path, kind, metadata, inode }) => match kind {
            EntryKind::Directory => write_unguarded(&mut line, &(1_u8, path, metadata.mode)),
            EntryKind::File { size, .. } => {
                let stamp = (size, inode.number, inode.changed, inode.links);
                write_unguarded(&mut line, &(2_u8, path, stamp, metadata));
            }
            other => write_unguarded(&mut line, &(3_u8, path, other, metadata)),
        },
        ScanItem::Problem(fault) => write_unguarded(&mut line, &(4_u8, &fault.path)),
        // Nobody moves these.
        ScanItem::Excluded(_) | ScanItem::Partial { .. } => return,
    }
    print.update(&(line.len() as u64).to_le_bytes());
    print.update(&line);
}
