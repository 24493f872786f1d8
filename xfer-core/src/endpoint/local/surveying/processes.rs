//! Which processes can write below a root.
//!
//! A path in `/proc` is that of the process's own view, and a file has as many as it has mounts and
//! links. So a file is judged by its file system and its place on that; where that cannot be told,
//! the process counts as one that writes.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType};
use tokio_util::sync::CancellationToken;
use xfer_protocol::limits::{SURVEY_COMMAND_BYTES_MAX, SURVEY_PROCESSES_MAX};
use xfer_protocol::survey::{OpenFile, Process};

use super::container::{TABLE_BYTES_MAX, TEXT_BYTES_MAX, own_mounts};
use super::mount_table::MountTable;
use super::protected::Protected;
use super::texts::{self, Mapping, Opened};
use crate::disk::{Errno, proc_files, stat};

/// Bytes of one process's mappings.
const MAPPINGS_BYTES_MAX: usize = 64 << 20;

/// Files that are told of one process.
const FILES_MAX: usize = 16;

/// Bytes of all paths that are told.
const PATHS_BYTES_MAX: usize = 256 * 1024;

/// Looks for processes that began meanwhile.
const ROUNDS_MAX: usize = 4;

/// What begins the names of memory that no file system of the machine holds.
const NAMELESS: &[&[u8]] =
    &[b"/memfd:", b"/SYSV", b"/dev/zero", b"/[", b"/anon_hugepage", b"/dmabuf:", b"/drm mm object"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) writers: Vec<OpenFile>,
    pub(super) unreadable: Vec<Process>,
    bytes: usize,
}

/// Looks at all processes but this one, or at none but those of a list.
pub(super) fn look(
    protected: &Protected,
    only: Option<&BTreeSet<u32>>,
    closed: &CancellationToken,
) -> Found {
    let mut found = Found::default();
    let proc = proc_files::open();
    let Some((proc, own, table)) = proc.ok().and_then(|proc| {
        let own = proc_files::link(proc.as_fd(), b"self").ok()?;
        let table = own_mounts(proc.as_fd())?;
        Some((proc, own, table))
    }) else {
        found.is_unknown("no process can be seen: /proc is not there, or not of these processes");
        return found;
    };
    if only.is_none() && hides_processes(&table) {
        found.is_unknown("processes of others are hidden: /proc is mounted with hidepid");
    }
    let own: Option<u32> = std::str::from_utf8(&own).ok().and_then(|own| own.parse().ok());
    let space = proc_files::link(proc.as_fd(), b"self/ns/mnt").ok();
    let mut looker =
        Looker { proc, table, space, protected, foreign: HashMap::new(), found, files: 0 };
    let mut seen = BTreeSet::new();
    seen.extend(own);
    for _ in 0..ROUNDS_MAX {
        let Ok(mut fresh) = proc_files::numbers(looker.proc.as_fd()) else {
            looker.found.is_unknown("/proc cannot be listed");
            break;
        };
        fresh.retain(|pid| only.is_none_or(|only| only.contains(pid)) && seen.insert(*pid));
        fresh.sort_unstable();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            if closed.is_cancelled() {
                return looker.found;
            }
            looker.look_at(pid);
        }
    }
    looker.found.writers.sort_unstable();
    looker.found.unreadable.sort_unstable();
    looker.found.unreadable.truncate(SURVEY_PROCESSES_MAX);
    looker.found
}

/// Whether some processes may not even be listed.
fn hides_processes(table: &MountTable) -> bool {
    let Some(mount) = table.holding(b"/proc") else { return true };
    let hidden = mount.option(b"hidepid").unwrap_or_default();
    let hides = !matches!(hidden.as_slice(), b"" | b"0" | b"off" | b"1" | b"noaccess");
    hides && !proc_files::is_superuser()
}

impl Found {
    fn is_unknown(&mut self, why: &str) {
        self.unreadable.push(Process { pid: 0, command: why.as_bytes().to_vec() });
    }

    fn is_unreadable(&mut self, process: Process) {
        if self.unreadable.len() < SURVEY_PROCESSES_MAX {
            self.unreadable.push(process);
        }
    }

    fn writes(&mut self, file: OpenFile) {
        let fits = self.writers.is_empty() || self.bytes + file.path.len() <= PATHS_BYTES_MAX;
        if self.writers.len() < SURVEY_PROCESSES_MAX && fits {
            self.bytes += file.path.len();
            self.writers.push(file);
        }
    }
}

/// Why a process could not be looked at whole.
enum Stopped {
    /// It ended.
    Ended,
    /// It does not let itself be looked at.
    Refused,
}

impl From<Errno> for Stopped {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH => Self::Ended,
            _ => Self::Refused,
        }
    }
}

/// The process that is being looked at.
struct Looked {
    directory: OwnedFd,
    process: Process,
    /// Where its root directory is, and its mounts, where they are not ours.
    view: Option<View>,
}

/// What a process of another namespace of mounts sees.
struct View {
    root: Vec<u8>,
    /// Names the namespace.
    space: Vec<u8>,
}

struct Looker<'a> {
    proc: OwnedFd,
    table: MountTable,
    /// Our own namespace of mounts.
    space: Option<Vec<u8>>,
    protected: &'a Protected,
    /// Tables of other namespaces, as seen from these roots.
    foreign: HashMap<(Vec<u8>, Vec<u8>), Option<MountTable>>,
    found: Found,
    /// Files told of the process that is being looked at.
    files: usize,
}

/// Tables of others that are kept.
const FOREIGN_MAX: usize = 256;

impl Looker<'_> {
    fn look_at(&mut self, pid: u32) {
        let name = pid.to_string();
        let directory = match proc_files::open_directory(self.proc.as_fd(), name.as_bytes()) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::SRCH) => return,
            Err(_) => {
                let command = b"it cannot be seen".to_vec();
                return self.found.is_unreadable(Process { pid, command });
            }
        };
        let status = proc_files::read(directory.as_fd(), b"stat", TEXT_BYTES_MAX);
        let status = match status.map_err(Stopped::from) {
            Ok(text) => texts::status(&text),
            Err(Stopped::Ended) => return,
            Err(Stopped::Refused) => None,
        };
        if status.as_ref().is_some_and(|status| status.is_kernel) {
            return;
        }
        let short = status.map(|status| status.name).unwrap_or_default();
        let process = Process { pid, command: command(directory.as_fd(), &short) };
        let mut looked = Looked { directory, process, view: None };
        self.files = 0;
        match self.descriptors(&mut looked).and_then(|()| self.mapped(&looked)) {
            Ok(()) | Err(Stopped::Ended) => {}
            Err(Stopped::Refused) => self.found.is_unreadable(looked.process),
        }
    }

    /// Looks through the descriptors of all its threads: each may have a table of its own, and go
    /// on when the first has ended.
    fn descriptors(&mut self, looked: &mut Looked) -> Result<(), Stopped> {
        looked.view = self.view(looked.directory.as_fd());
        let threads = proc_files::open_directory(looked.directory.as_fd(), b"task")?;
        let mut refused = false;
        for thread in proc_files::numbers(threads.as_fd())? {
            let name = thread.to_string();
            let Ok(directory) = proc_files::open_directory(threads.as_fd(), name.as_bytes()) else {
                continue;
            };
            match self.thread(directory.as_fd(), looked) {
                Ok(()) | Err(Stopped::Ended) => {}
                Err(Stopped::Refused) => refused |= !has_ended(directory.as_fd()),
            }
        }
        if refused { Err(Stopped::Refused) } else { Ok(()) }
    }

    fn thread(&mut self, thread: BorrowedFd<'_>, looked: &Looked) -> Result<(), Stopped> {
        let descriptors = proc_files::open_directory(thread, b"fd")?;
        for number in proc_files::numbers(descriptors.as_fd())? {
            let name = number.to_string();
            let path = match proc_files::link(descriptors.as_fd(), name.as_bytes()) {
                Ok(path) if path.starts_with(b"/") => path,
                // A socket or a pipe; or closed by now.
                Ok(_) | Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let file = format!("fdinfo/{name}");
            let told = match proc_files::read(thread, file.as_bytes(), TEXT_BYTES_MAX) {
                Ok(told) => told,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let opened = texts::opened(&told).ok_or(Stopped::Refused)?;
            if opened.writes && self.is_within(&path, &opened, (&descriptors, &name), looked) {
                self.tell(looked, path, false);
            }
        }
        Ok(())
    }

    /// Whether a descriptor that writes is one of a file within a root.
    fn is_within(
        &mut self,
        path: &[u8],
        opened: &Opened,
        (descriptors, name): (&OwnedFd, &str),
        looked: &Looked,
    ) -> bool {
        let at = rustix::fs::statat(descriptors, name, AtFlags::empty());
        let kind = at.as_ref().ok().map(stat::file_type);
        if matches!(kind, Some(FileType::CharacterDevice | FileType::Fifo | FileType::Socket)) {
            return false;
        }
        // Another name of the same file may lie within a root.
        let links = at.as_ref().map_or(2, |found| stat::inode(found).links);
        let own = opened.mount.and_then(|id| self.table.by_id(id));
        let judged = match own {
            Some(mount) => mount.spot_of(path, b"/").map(|spot| (spot, mount.clone())),
            None => opened.mount.and_then(|id| {
                let view = looked.view.as_ref()?;
                let table = self.foreign(looked.directory.as_fd(), view)?;
                let mount = table.by_id(id)?.clone();
                Some((mount.spot_of(path, &view.root)?, mount))
            }),
        };
        match judged {
            Some((spot, mount)) => {
                self.protected.holds(&spot)
                    || self.protected.is_below(&mount, &self.table)
                    || links > 1 && self.protected.is_on(spot.device)
            }
            // Memory without a name, or a mount that nobody can reach by a path any more.
            None => {
                let magic = proc_files::magic_at(descriptors.as_fd(), name.as_bytes());
                let is_memory = NAMELESS.iter().any(|begin| path.starts_with(begin));
                let is_elsewhere = magic.is_ok_and(|magic| !self.protected.is_on_kind(magic));
                self.protected.names(path) || !is_elsewhere && !is_memory
            }
        }
    }

    /// Looks through its shared mappings, which stay when a file is closed.
    fn mapped(&mut self, looked: &Looked) -> Result<(), Stopped> {
        let text = proc_files::read(looked.directory.as_fd(), b"maps", MAPPINGS_BYTES_MAX)?;
        let mappings = texts::mappings(&text).ok_or(Stopped::Refused)?;
        let mut sizes = None;
        for mapping in mappings {
            if !self.is_mapped_within(&mapping, looked) {
                continue;
            }
            if !mapping.writes {
                // It may be made writable later, if its file was open for that.
                let read =
                    || proc_files::read(looked.directory.as_fd(), b"smaps", 4 * MAPPINGS_BYTES_MAX);
                let told = sizes.get_or_insert_with(read);
                if told.as_ref().is_ok_and(|told| !texts::may_write(told, &mapping.range)) {
                    continue;
                }
            }
            self.tell(looked, mapping.path, true);
        }
        Ok(())
    }

    fn is_mapped_within(&mut self, mapping: &Mapping, looked: &Looked) -> bool {
        let path = &mapping.path;
        let own = looked.view.is_none();
        let (table, above) = match &looked.view {
            None => (Some(&self.table), b"/".as_slice()),
            Some(view) => {
                let view = View { root: view.root.clone(), space: view.space.clone() };
                self.foreign(looked.directory.as_fd(), &view);
                let key = (view.space.clone(), view.root.clone());
                let table = self.foreign.get(&key).and_then(Option::as_ref);
                (table, looked.view.as_ref().map_or(b"/".as_slice(), |view| &view.root))
            }
        };
        let inside = path.strip_prefix(above.strip_suffix(b"/").unwrap_or(above));
        let mount = table.zip(inside).and_then(|(table, inside)| table.holding(inside));
        let Some(mount) = mount else {
            return self.protected.is_on(mapping.device) || own && self.protected.names(path);
        };
        let is_overlay = mount.kind == b"overlay";
        if mount.device != mapping.device && !is_overlay {
            // The path misleads; the file system does not.
            return self.protected.is_on(mapping.device);
        }
        if NAMELESS.iter().any(|begin| path.starts_with(begin)) {
            return false;
        }
        match mount.spot_of(path, above) {
            Some(spot) => {
                self.protected.holds(&spot) || self.protected.is_below(mount, &self.table)
            }
            None => self.protected.is_on(mapping.device),
        }
    }

    /// What a process sees, where that is not what we see.
    fn view(&self, process: BorrowedFd<'_>) -> Option<View> {
        let space = proc_files::link(process, b"ns/mnt").ok();
        if space.is_some() && space == self.space {
            return None;
        }
        let root = proc_files::link(process, b"root").unwrap_or_else(|_| b"/".to_vec());
        Some(View { root, space: space.unwrap_or_default() })
    }

    /// The mounts of another view, read once.
    fn foreign(&mut self, process: BorrowedFd<'_>, view: &View) -> Option<&MountTable> {
        let key = (view.space.clone(), view.root.clone());
        if self.foreign.len() >= FOREIGN_MAX && !self.foreign.contains_key(&key) {
            self.foreign.clear();
        }
        let read = || {
            let text = proc_files::read(process, b"mountinfo", TABLE_BYTES_MAX).ok()?;
            MountTable::of(&text)
        };
        self.foreign.entry(key).or_insert_with(read).as_ref()
    }

    fn tell(&mut self, looked: &Looked, path: Vec<u8>, mapped: bool) {
        let file = OpenFile { process: looked.process.clone(), path, mapped };
        if self.files < FILES_MAX && !self.found.writers.contains(&file) {
            self.files += 1;
            self.found.writes(file);
        }
    }
}

fn has_ended(thread: BorrowedFd<'_>) -> bool {
    match proc_files::read(thread, b"stat", TEXT_BYTES_MAX).map_err(Stopped::from) {
        Ok(text) => texts::status(&text).is_some_and(|status| status.has_ended),
        Err(Stopped::Ended) => true,
        Err(Stopped::Refused) => false,
    }
}

/// A process's command and arguments with blanks between; its short name where it has none.
fn command(process: BorrowedFd<'_>, short: &[u8]) -> Vec<u8> {
    let told = proc_files::read(process, b"cmdline", MAPPINGS_BYTES_MAX).unwrap_or_default();
    let told = told.strip_suffix(b"\0").unwrap_or(&told);
    let mut command: Vec<u8> =
        told.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
    if command.is_empty() {
        command = [b"[", short, b"]"].concat();
    }
    command.truncate(SURVEY_COMMAND_BYTES_MAX);
    command
}
