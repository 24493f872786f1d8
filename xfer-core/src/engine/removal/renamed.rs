//! Files that only got another name at the source: what is about to be removed has their content,
//! and gets their name instead of being copied and removed.
//!
//! It keeps its own name until all else has arrived, and goes only with what is removed then: a
//! transfer that ends before leaves it, and one that may remove nothing copies it after all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{Stamp, Timestamp};
use xfer_protocol::message::removal::{Removal, Rename, Renaming};
use xfer_protocol::path::RelPath;

use crate::engine::batch::{Carried, Most, batches, metadata_bytes, path_bytes};
use crate::engine::context::{Context, Stop};
use crate::engine::ledger::Side;
use crate::engine::pack::{FileWork, PACK_FILE_MAX};
use crate::engine::publisher::{Staged, settle};

/// Files under other names that are compared with one.
const COMPARED_MAX: usize = 4;

/// What small files and what goes may have in common: `Likeness::Both` and `Likeness::Time`.
const SMALL_LIKENESSES: usize = 2;

/// Files renamed in one request.
const RENAMED: Most = Most::entries(1024);

/// What goes, by what may tell it, and what of it gets another name.
#[derive(Default)]
pub(in crate::engine) struct Renames(Mutex<State>);

#[derive(Default)]
struct State {
    going: Vec<Going>,
    by_likeness: HashMap<Likeness, VecDeque<usize>>,
    renamed: Vec<Renamed>,
}

struct Going {
    path: RelPath,
    stamp: Stamp,
    is_taken: bool,
}

/// What a file and one that goes may have in common, beside their size.
#[derive(PartialEq, Eq, Hash)]
enum Likeness {
    /// The last part of its name and its time: it is a directory that got another name.
    Both(u64, Vec<u8>, Timestamp),
    /// Its time, which another name leaves.
    Time(u64, Timestamp),
    Name(u64, Vec<u8>),
    Size(u64),
}

/// What goes and may have a file's content.
#[derive(Clone)]
pub(in crate::engine) struct Candidate {
    at: usize,
    pub(in crate::engine) path: RelPath,
    pub(in crate::engine) stamp: Stamp,
}

/// A small file of the source, and what may have its content.
pub(in crate::engine) struct Pair {
    pub(in crate::engine) work: FileWork,
    pub(in crate::engine) known: Candidate,
}

/// A file of the source whose content stands under a name that goes.
pub(in crate::engine) struct Renamed {
    work: FileWork,
    from: RelPath,
    stamp: Stamp,
    digest: Digest,
}

impl Carried for Renamed {
    fn header_bytes(&self) -> usize {
        let paths = path_bytes(&self.from) + path_bytes(&self.work.path);
        paths + metadata_bytes(&self.work.wanted)
    }

    fn content_bytes(&self) -> u64 {
        0
    }
}

impl Carried for Pair {
    fn header_bytes(&self) -> usize {
        self.work.header_bytes() + path_bytes(&self.known.path)
    }

    fn content_bytes(&self) -> u64 {
        self.work.size
    }
}

impl Going {
    fn candidate(&self, at: usize) -> Candidate {
        Candidate { at, path: self.path.clone(), stamp: self.stamp }
    }
}

impl State {
    /// The first of what goes and has this in common with a file.
    fn first(&mut self, likeness: &Likeness) -> Option<Candidate> {
        let list = self.by_likeness.get_mut(likeness)?;
        skip_taken(list, &self.going);
        list.front().map(|at| self.going[*at].candidate(*at))
    }
}

/// What was taken is not come to again.
fn skip_taken(list: &mut VecDeque<usize>, going: &[Going]) {
    while list.front().is_some_and(|at| going[*at].is_taken) {
        list.pop_front();
    }
}

impl Likeness {
    fn of(work: &FileWork) -> impl Iterator<Item = Self> + use<> {
        Self::all(&work.path, work.size, work.stamp.modified)
    }

    /// The likeliest first. A small file is sent as quickly as several are compared with it: only
    /// what has its time may be it.
    fn all(path: &RelPath, size: u64, time: Timestamp) -> impl Iterator<Item = Self> + use<> {
        let name = path.name().unwrap_or_default().to_vec();
        let both = Self::Both(size, name.clone(), time);
        let all = [both, Self::Time(size, time), Self::Name(size, name), Self::Size(size)];
        all.into_iter().take(if is_small(size) { SMALL_LIKENESSES } else { 4 })
    }
}

fn is_small(size: u64) -> bool {
    size <= PACK_FILE_MAX
}

/// Sizes and times of small files that are new: of what goes only what is like one of them is
/// remembered, for it may be a million.
pub(in crate::engine) type NewSmall = HashSet<(u64, Timestamp)>;

impl Renames {
    pub(super) fn of<'a>(going: impl Iterator<Item = &'a Removal>, small: &NewSmall) -> Self {
        let mut state = State::default();
        let may_be = |r: &&Removal| {
            !is_small(r.stamp.size) || small.contains(&(r.stamp.size, r.stamp.modified))
        };
        for removal in going.filter(|r| !r.directory && !r.linked).filter(may_be) {
            let (path, stamp) = (removal.path.clone(), removal.stamp);
            for likeness in Likeness::all(&path, stamp.size, stamp.modified) {
                state.by_likeness.entry(likeness).or_default().push_back(state.going.len());
            }
            state.going.push(Going { path, stamp, is_taken: false });
        }
        Self(Mutex::new(state))
    }

    /// Whether anything that goes may have the content of a file.
    pub(in crate::engine) fn may_have(&self, work: &FileWork) -> bool {
        let least = match is_small(work.size) {
            true => Likeness::Time(work.size, work.stamp.modified),
            false => Likeness::Size(work.size),
        };
        self.lock().by_likeness.contains_key(&least)
    }

    /// Gives each of some small files the likeliest of what goes, which none else gets then; what
    /// has its name as well before what has its time alone. Returns those without one too.
    pub(in crate::engine) fn pair(&self, files: Vec<FileWork>) -> (Vec<Pair>, Vec<FileWork>) {
        let mut state = self.lock();
        let (mut pairs, mut left) = (Vec::new(), files);
        for nth in 0..SMALL_LIKENESSES {
            for work in std::mem::take(&mut left) {
                let likeness = Likeness::of(&work).nth(nth);
                match likeness.and_then(|likeness| state.first(&likeness)) {
                    Some(known) => {
                        state.going[known.at].is_taken = true;
                        pairs.push(Pair { work, known });
                    }
                    None => left.push(work),
                }
            }
        }
        (pairs, left)
    }

    /// Notes that both of a pair have one content.
    pub(in crate::engine) fn has(&self, pair: Pair, digest: Digest) {
        let Pair { work, known: Candidate { path: from, stamp, .. } } = pair;
        self.lock().renamed.push(Renamed { work, from, stamp, digest });
    }

    /// What may have the content of a file, the likeliest first.
    pub(in crate::engine) fn like(&self, work: &FileWork) -> Vec<Candidate> {
        let mut state = self.lock();
        let mut like: Vec<Candidate> = Vec::new();
        for likeness in Likeness::of(work) {
            let State { going, by_likeness, .. } = &mut *state;
            let Some(list) = by_likeness.get_mut(&likeness) else { continue };
            skip_taken(list, going);
            for at in list.iter().copied().filter(|at| !going[*at].is_taken) {
                if like.len() >= COMPARED_MAX {
                    break;
                }
                if like.iter().all(|known| known.at != at) {
                    like.push(going[at].candidate(at));
                }
            }
        }
        like
    }

    /// Notes that a file has the content of one that goes, unless another one has that already.
    pub(in crate::engine) fn take(
        &self,
        work: &FileWork,
        found: Candidate,
        digest: Digest,
    ) -> bool {
        let is_free = !std::mem::replace(&mut self.lock().going[found.at].is_taken, true);
        if is_free {
            self.has(Pair { work: work.clone(), known: found }, digest);
        }
        is_free
    }

    pub(in crate::engine) fn found(&self) -> Vec<Renamed> {
        std::mem::take(&mut self.lock().renamed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renamed {
    pub(in crate::engine) fn into_work(self) -> FileWork {
        self.work
    }
}

/// Gives files their names and books them. Returns those that have to be copied all the same: no
/// more names go once anything has failed.
pub(in crate::engine) async fn rename(
    cx: &Context,
    found: Vec<Renamed>,
) -> Result<Vec<FileWork>, Stop> {
    let durable = cx.options.verify.level.is_durable();
    let mut left = Vec::new();
    for batch in batches(found, RENAMED) {
        if cx.halt.is_halted() {
            return Err(cx.halt.take().unwrap_or(Stop::Cancelled));
        }
        if cx.ledger.has_problems() {
            left.extend(batch.into_iter().map(|renamed| renamed.work));
            continue;
        }
        let entries = batch.iter().map(|renamed| {
            let FileWork { ticket, path, wanted, .. } = &renamed.work;
            let (from, stamp) = (renamed.from.clone(), renamed.stamp);
            Renaming { ticket: *ticket, from, stamp, to: path.clone(), metadata: wanted.clone() }
        });
        let rename = Rename { root: cx.sink_root, entries: entries.collect(), durable };
        let outcomes = cx.sink.rename(rename).await;
        let outcomes = outcomes.map_err(|error| Context::stop(Side::Destination, error))?;
        let tickets = batch.iter().map(|renamed| renamed.work.ticket);
        if outcomes.iter().map(|outcome| outcome.ticket).ne(tickets) {
            return Err(Stop::MISMATCHED);
        }
        let mut done = Vec::new();
        for (outcome, Renamed { work, digest, .. }) in outcomes.into_iter().zip(batch) {
            if let Err(fault) = outcome.result {
                // What keeps it from being copied either is told then.
                drop(cx.sort(Side::Destination, fault.into())?);
                left.push(work);
                continue;
            }
            let FileWork { ticket, path, size, stamp: source, .. } = work;
            cx.ledger.digest(ticket, digest);
            cx.meter.reused(size);
            let staged = Staged { path, size, source, digest: Some(digest), in_place: false };
            cx.publisher.stage(vec![(ticket, staged)]);
            done.push(outcome);
        }
        settle(cx, done).await?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::Metadata;
    use xfer_protocol::message::Ticket;

    use super::*;

    const SIZE: u64 = PACK_FILE_MAX + 1;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn stamp(second: i64) -> Stamp {
        let modified = Timestamp { seconds: second, nanoseconds: 0 };
        Stamp { size: SIZE, modified, ..Stamp::default() }
    }

    fn work(text: &str, second: i64) -> FileWork {
        FileWork {
            ticket: Ticket(0),
            source_path: path(text),
            path: path(text),
            size: SIZE,
            allocated: SIZE,
            stamp: stamp(second),
            wanted: Metadata::default(),
            found: None,
            basis: None,
            over: None,
            changes: 0,
        }
    }

    fn removal(text: &str, size: u64, second: i64) -> Removal {
        let (path, stamp) = (path(text), Stamp { size, ..stamp(second) });
        Removal { ticket: Ticket(0), path, directory: false, stamp, linked: false }
    }

    /// Name and time tell most, then the time alone; what is taken is not come to again.
    #[test]
    fn the_likeliest_come_first_and_each_is_taken_once() {
        let removal = |at: usize, text: &str, second| Removal {
            linked: at == 0,
            ..removal(text, SIZE, second)
        };
        let names = ["linked/a", "0/a", "1/a", "2/a", "3/a", "other/b", "same/a", "6/c"];
        let seconds = [7, 1, 2, 3, 4, 7, 7, 5];
        let going = names.iter().zip(seconds).enumerate();
        let going: Vec<_> = going.map(|(at, (name, second))| removal(at, name, second)).collect();
        let renames = Renames::of(going.iter(), &NewSmall::new());
        let wanted = work("new/a", 7);
        let told = |found: &[Candidate]| -> Vec<_> {
            found.iter().map(|candidate| candidate.path.to_string()).collect()
        };
        let found = renames.like(&wanted);
        assert_eq!(told(&found), ["same/a", "other/b", "0/a", "1/a"]);
        let digest = xfer_protocol::digest::file_digest(b"");
        assert!(renames.take(&wanted, found[0].clone(), digest));
        assert!(!renames.take(&work("also/a", 7), found[0].clone(), digest));
        assert_eq!(told(&renames.like(&wanted)), ["other/b", "0/a", "1/a", "2/a"]);
        assert!(renames.may_have(&wanted) && renames.found().len() == 1);
        assert!(!renames.may_have(&FileWork { size: SIZE + 1, ..wanted }));
    }

    /// Of small ones what has the name too is given first, whatever comes first.
    #[test]
    fn small_files_go_by_name_and_time_then_by_time() {
        let small = |text: &str, second| FileWork { size: 7, ..work(text, second) };
        let going: Vec<_> = ["0/b", "0/a", "0/c"].iter().map(|text| removal(text, 7, 1)).collect();
        let new: Vec<_> = [("1/x", 1), ("1/a", 1), ("1/y", 1), ("1/z", 1), ("1/b", 2)]
            .map(|(text, second)| small(text, second))
            .into();
        let known = new.iter().map(|file| (file.size, file.stamp.modified)).collect();
        let (pairs, left) = Renames::of(going.iter(), &known).pair(new);
        let pairs: Vec<_> =
            pairs.iter().map(|pair| format!("{} {}", pair.work.path, pair.known.path)).collect();
        assert_eq!(pairs, ["1/a 0/a", "1/x 0/b", "1/y 0/c"]);
        let left: Vec<_> = left.iter().map(|file| file.path.to_string()).collect();
        assert_eq!(left, ["1/z", "1/b"]);
    }
}
