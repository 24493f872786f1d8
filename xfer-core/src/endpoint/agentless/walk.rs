//! What walks of a far tree share: which entries are wanted, where the walk is, and directories
//! listed ahead of it, for each costs round trips, which must not add up.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use tokio::task::JoinHandle;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;

use crate::endpoint::EndpointResult;
use crate::scan::Wanted;
use crate::scan::filter::{Decision, Filter};
use crate::scan::ignored::IgnoreFiles;
use crate::scan::only::Only;

/// Which entries a walk tells.
pub(in crate::endpoint) struct Rules {
    pub(in crate::endpoint) filter: Filter,
    pub(in crate::endpoint) ignored: IgnoreFiles,
    only: Option<Only>,
    /// The entry at which the walk begins; patterns match what follows it.
    pub(in crate::endpoint) under: RelPath,
}

impl Rules {
    /// Fails with rules that are none, and with links that are to be followed.
    pub(in crate::endpoint) fn new(under: RelPath, options: ScanOptions) -> Result<Self, Fault> {
        let bad = |kind| Fault::new(kind, Operation::List, under.clone());
        if options.follow_links {
            return Err(bad(FaultKind::Unsupported));
        }
        let filter = Filter::new(&options.filter).map_err(|_| bad(FaultKind::Limit))?;
        let ignored = IgnoreFiles::new(&options.filter);
        Ok(Self { filter, ignored, only: options.only.map(Only::new), under })
    }

    /// What is wanted where the walk begins.
    pub(in crate::endpoint) fn wanted_first(&self) -> Wanted {
        self.only.as_ref().map_or(Wanted::All, |only| only.below(&self.under))
    }

    pub(in crate::endpoint) fn excluded(&self, path: &RelPath, directory: bool) -> bool {
        let below = path.strip_prefix(&self.under).unwrap_or_default();
        let named =
            if below.is_root() { path.name().unwrap_or_default() } else { below.as_bytes() };
        match self.filter.decide(named, directory) {
            Decision::Exclude => true,
            Decision::Include => false,
            Decision::Open => self.ignored.exclude(path, directory),
        }
    }

    /// What is wanted at a path or below it, where nothing is.
    pub(in crate::endpoint) fn missing(&self, path: RelPath, wanted: &Wanted) -> Vec<Fault> {
        match wanted {
            Wanted::Some(_) => self.missing_below(wanted),
            Wanted::All => vec![missing(path)],
        }
    }

    /// What is wanted below something that is no directory is missing.
    pub(in crate::endpoint) fn missing_below(&self, wanted: &Wanted) -> Vec<Fault> {
        match (wanted, self.only.as_ref()) {
            (Wanted::Some(range), Some(only)) => {
                only.paths(range).iter().cloned().map(missing).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn missing(path: RelPath) -> Fault {
    Fault::new(FaultKind::NotFound, Operation::Stat, path)
}

/// What has a name in its directory.
pub(in crate::endpoint) trait Named {
    fn name(&self) -> &[u8];
}

/// The entries of a directory that are visited.
pub(in crate::endpoint) enum Children<F> {
    All(VecDeque<F>),
    /// Those that lead to wanted entries, found by name without listing the directory.
    Wanted(Range<usize>),
}

/// One directory whose children are being visited.
struct Level<F> {
    path: RelPath,
    children: Children<F>,
    /// Directories among the children that may be listed ahead.
    directories: VecDeque<RelPath>,
}

/// What a walk comes to next.
pub(in crate::endpoint) enum Step<F> {
    /// An entry, with what is known of it and what is wanted at and below it.
    Entry(RelPath, Option<F>, Wanted),
    /// The end of a directory.
    Left(RelPath),
    /// An entry of this directory whose path is too long.
    TooLong(RelPath),
}

/// Where a walk is: the directories that lead there, and listings under way.
pub(in crate::endpoint) struct Levels<F, L> {
    levels: Vec<Level<F>>,
    ahead: HashMap<RelPath, Ahead<L>>,
    ahead_max: usize,
}

/// A listing under way, given up when it is dropped.
struct Ahead<L>(JoinHandle<EndpointResult<L>>);

impl<L> Drop for Ahead<L> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<F: Named, L: Send + 'static> Levels<F, L> {
    /// So many directories at most are listed ahead.
    pub(in crate::endpoint) fn new(ahead_max: usize) -> Self {
        Self { levels: Vec::new(), ahead: HashMap::new(), ahead_max }
    }

    /// The next step; `None` once the walk is over.
    pub(in crate::endpoint) fn step(&mut self, rules: &Rules) -> Option<Step<F>> {
        let level = self.levels.last_mut()?;
        let next = match &mut level.children {
            Children::All(found) => found
                .pop_front()
                .map(|found| (level.path.child(found.name()), Some(found), Wanted::All)),
            Children::Wanted(range) => {
                let depth = level.path.components().count();
                let next = rules.only.as_ref().and_then(|only| only.next_child(range, depth));
                next.map(|(name, wanted)| (level.path.child(name), None, wanted))
            }
        };
        Some(match next {
            Some((Ok(path), found, wanted)) => Step::Entry(path, found, wanted),
            Some((Err(_), ..)) => Step::TooLong(level.path.clone()),
            None => Step::Left(self.levels.pop()?.path),
        })
    }

    /// Goes into a directory, of whose children some are directories themselves.
    pub(in crate::endpoint) fn enter(
        &mut self,
        path: RelPath,
        children: Children<F>,
        is_directory: impl Fn(&F) -> bool,
    ) {
        let directories = match &children {
            Children::All(found) => found
                .iter()
                .filter(|found| is_directory(found))
                .filter_map(|found| path.child(found.name()).ok())
                .collect(),
            Children::Wanted(_) => VecDeque::new(),
        };
        self.levels.push(Level { path, children, directories });
    }

    /// The listing of a directory, of which one may be under way.
    pub(in crate::endpoint) async fn listed(
        &mut self,
        path: &RelPath,
        list: impl Future<Output = EndpointResult<L>>,
    ) -> EndpointResult<L> {
        if let Some(mut ahead) = self.ahead.remove(path)
            && let Ok(listed) = (&mut ahead.0).await
        {
            return listed;
        }
        list.await
    }

    /// Lists what the walk comes to next, from the deepest directory up.
    pub(in crate::endpoint) fn list_ahead<W>(
        &mut self,
        skips: impl Fn(&RelPath) -> bool,
        list: impl Fn(RelPath) -> W,
    ) where
        W: Future<Output = EndpointResult<L>> + Send + 'static,
    {
        for at in (0..self.levels.len()).rev() {
            while self.ahead.len() < self.ahead_max {
                let Some(next) = self.levels[at].directories.pop_front() else { break };
                let begun = self.levels.get(at + 1).is_some_and(|below| next <= below.path);
                if begun || skips(&next) {
                    continue;
                }
                let listing = tokio::spawn(list(next.clone()));
                self.ahead.insert(next, Ahead(listing));
            }
        }
    }
}
