//! Judges that are not ours: rsync compares trees, b3sum proves manifests, lstat describes
//!
//! They panic with what differs, so a test that calls one needs no assertion of its own.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::SeekFrom;

/// Bytes of a page, on whose grid file systems tell data from holes
const PAGE: usize = 4096;

/// What rsync would change to make `destination` equal to `source`, by content and all metadata
///
/// Both are directories, compared by what they contain. Times are compared to the nanosecond.
pub fn rsync_changes(source: &Path, destination: &Path) -> Vec<String> {
    rsync(&["-ncaHAX", "--delete", "--itemize-changes", "--modify-window=-1"], source, destination)
}

fn rsync(flags: &[&str], source: &Path, destination: &Path) -> Vec<String> {
    let output = Command::new("rsync")
        .args(flags)
        .arg(with_slash(source))
        .arg(with_slash(destination))
        .stdin(Stdio::null())
        .output()
        .expect("rsync is missing: apt-get install rsync");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rsync failed: {errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Panics unless rsync and lstat find no difference between two directories
pub fn assert_equal(source: &Path, destination: &Path) {
    let changes = rsync_changes(source, destination);
    assert!(changes.is_empty(), "rsync would change {}:\n{}", changes.len(), first(&changes));
    let differences = differences(&survey(source), &survey(destination));
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), first(&differences));
}

/// The same where times are kept in whole seconds and two names of a file may have become two files
///
/// rsync compares times by the second unless it is told otherwise.
pub fn assert_equal_by_seconds(source: &Path, destination: &Path, hard_links: bool) {
    let flags = if hard_links { "-ncaHA" } else { "-ncaA" };
    let changes = rsync(&[flags, "--delete", "--itemize-changes"], source, destination);
    assert!(changes.is_empty(), "rsync would change {}:\n{}", changes.len(), first(&changes));
    let coarse = |root: &Path| {
        let mut survey = survey(root);
        for facts in survey.values_mut() {
            facts.modified.1 = 0;
            if !hard_links {
                facts.linked_with.clear();
            }
        }
        survey
    };
    let differences = differences(&coarse(source), &coarse(destination));
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), first(&differences));
}

/// Panics unless `b3sum -c` accepts the manifest within `root`
pub fn assert_b3sum(manifest: &Path, root: &Path) {
    let failed = b3sum_failures(manifest, root);
    assert!(failed.is_empty(), "b3sum -c refuses {}:\n{}", failed.len(), first(&failed));
}

/// The lines of a manifest that `b3sum -c` does not accept within `root`
pub fn b3sum_failures(manifest: &Path, root: &Path) -> Vec<String> {
    let manifest = fs::canonicalize(manifest).expect("the manifest exists");
    let output = Command::new("b3sum")
        .arg("--check")
        .arg(manifest)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .expect("b3sum is missing: apt-get install b3sum");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut failed: Vec<_> =
        text.lines().filter(|line| !line.ends_with(": OK")).map(str::to_owned).collect();
    if !output.status.success() {
        failed.extend(String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned));
        failed.push(format!("{}", output.status));
    }
    failed
}

/// What lstat says of everything below a directory, by path; the directory itself is the empty path
///
/// Two surveys of one tree tell whether anything in it was touched.
pub fn survey(root: &Path) -> Survey {
    let mut found = Survey::new();
    let mut links = HashMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        let facts = describe(&path, root, &mut links);
        if facts.kind == "directory" {
            let list = fs::read_dir(&path).unwrap_or_else(|error| panic!("list {path:?}: {error}"));
            pending.extend(list.map(|entry| entry.expect("list an entry").path()));
        }
        found.insert(key(&path, root), facts);
    }
    name_link_groups(&mut found, links);
    found
}

/// Facts by path
pub type Survey = BTreeMap<Vec<u8>, Facts>;

/// What an entry looks like from outside
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `file`, `directory`, `link`, `fifo`, `socket` or `device`
    pub kind: &'static str,
    /// Permission bits with setuid, setgid and sticky
    pub mode: u32,
    /// Seconds and nanoseconds
    pub modified: (i64, i64),
    /// Bytes of a file
    pub size: u64,
    /// User and group
    pub owner: (u32, u32),
    /// What a link points to
    pub target: Vec<u8>,
    /// The first path, in order, of the same file; empty for a file with one name
    pub linked_with: Vec<u8>,
}

/// The lines in which two surveys differ
pub fn differences(before: &Survey, after: &Survey) -> Vec<String> {
    let name = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let mut lines = Vec::new();
    for (path, facts) in before {
        match after.get(path) {
            Some(other) if other == facts => {}
            Some(other) => lines.push(format!("{:?}: {facts:?}\n    now {other:?}", name(path))),
            None => lines.push(format!("{:?}: gone", name(path))),
        }
    }
    let added = after.keys().filter(|path| !before.contains_key(*path));
    lines.extend(added.map(|path| format!("{:?}: new", name(path))));
    lines
}

/// Bytes that a tree occupies on disk, each file counted once
pub fn allocated(root: &Path) -> u64 {
    let mut inodes = HashMap::new();
    for path in survey(root).keys() {
        let path = root.join(std::ffi::OsStr::from_bytes(path));
        let facts = fs::symlink_metadata(path).expect("stat");
        inodes.insert((facts.dev(), facts.ino()), facts.blocks() * 512);
    }
    inodes.into_values().sum()
}

/// Where a file has data by the word of its file system, and what stands there
pub fn data(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("open {path:?}: {error}"));
    let length = file.metadata().expect("stat").len();
    let mut runs = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, SeekFrom::Hole(start)).expect("seek a hole");
        let mut bytes = vec![0; usize::try_from(end.min(length) - start).expect("fits memory")];
        file.read_exact_at(&mut bytes, start).expect("read data");
        runs.push((start, bytes));
        at = end;
    }
    runs
}

/// The same cut into pages, without those of zeros: file systems draw the line in different places
pub fn without_zeros(runs: Vec<(u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    let pages = runs.into_iter().flat_map(|(start, bytes)| {
        let pages = bytes.chunks(PAGE).map(<[u8]>::to_vec).collect::<Vec<_>>();
        (start..).step_by(PAGE).zip(pages)
    });
    pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0)).collect()
}

/// Panics if anything below `root` bears a name of ours
pub fn assert_nothing_of_xfer(root: &Path) {
    let ours: Vec<_> = survey(root)
        .into_keys()
        .filter(|path| path.split(|byte| *byte == b'/').any(|name| name.starts_with(b".xfer-")))
        .map(|path| String::from_utf8_lossy(&path).into_owned())
        .collect();
    assert!(ours.is_empty(), "left behind:\n{}", first(&ours));
}

fn describe(path: &Path, root: &Path, links: &mut LinkGroups) -> Facts {
    let facts = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("stat {path:?}: {error}"));
    let kind = facts.file_type();
    let names = [
        (kind.is_file(), "file"),
        (kind.is_dir(), "directory"),
        (kind.is_symlink(), "link"),
        (kind.is_fifo(), "fifo"),
        (kind.is_socket(), "socket"),
    ];
    let kind = names.iter().find(|(is, _)| *is).map_or("device", |(_, name)| name);
    if kind != "directory" && facts.nlink() > 1 {
        links.entry((facts.dev(), facts.ino())).or_default().push(key(path, root));
    }
    let target = match kind {
        "link" => fs::read_link(path).expect("read a link").as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Facts {
        kind,
        mode: facts.mode() & 0o7777,
        modified: (facts.mtime(), facts.mtime_nsec()),
        size: if kind == "file" { facts.len() } else { 0 },
        owner: (facts.uid(), facts.gid()),
        target,
        linked_with: Vec::new(),
    }
}

type LinkGroups = HashMap<(u64, u64), Vec<Vec<u8>>>;

fn name_link_groups(found: &mut Survey, links: LinkGroups) {
    for mut group in links.into_values().filter(|group| group.len() > 1) {
        group.sort();
        for path in &group {
            if let Some(facts) = found.get_mut(path) {
                facts.linked_with.clone_from(&group[0]);
            }
        }
    }
}

fn key(path: &Path, root: &Path) -> Vec<u8> {
    let below = path.strip_prefix(root).expect("below the root");
    below.as_os_str().as_bytes().to_vec()
}

fn with_slash(path: &Path) -> std::ffi::OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}

fn first(lines: &[String]) -> String {
    lines.iter().take(20).map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn copied() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("temp dir");
        let (source, copy) = (directory.path().join("a"), directory.path().join("b"));
        tree::everything(&source, tree::Extent { sparse_length: 64 << 20, owners: true });
        let done = Command::new("cp").arg("-a").arg(&source).arg(&copy).status().expect("cp");
        assert!(done.success());
        (directory, source, copy)
    }

    #[test]
    fn a_copy_is_equal_until_any_one_thing_changes() {
        let (_directory, source, copy) = copied();
        assert_equal(&source, &copy);
        assert_nothing_of_xfer(&copy);

        type Change = fn(&Path);
        let changes: &[(&str, Change)] = &[
            ("content", |root| tree::flip_byte(&root.join("names/files/plain"), 0)),
            ("a nanosecond", |root| tree::set_modified(&root.join("times/file-1970-ns"), 0, 2)),
            ("the sticky bit", |root| tree::set_mode(&root.join("modes/f1644"), 0o644)),
            ("a target", |root| {
                fs::remove_file(root.join("links/dangling")).expect("remove");
                std::os::unix::fs::symlink("elsewhere", root.join("links/dangling")).expect("link");
            }),
            ("a hard link", |root| {
                let path = root.join("links/near/two");
                let content = fs::read(&path).expect("read");
                fs::remove_file(&path).expect("remove");
                fs::write(path, content).expect("write");
            }),
            ("an owner", |root| {
                std::os::unix::fs::chown(root.join("owners/user"), Some(1), None).expect("chown");
            }),
            ("an addition", |root| fs::write(root.join("new"), "").expect("write")),
        ];
        let mut count = 0;
        for (what, change) in changes {
            change(&copy);
            let found = rsync_changes(&source, &copy).len();
            assert!(found > count, "rsync does not see {what}");
            count = found;
        }
    }

    #[test]
    fn lstat_sees_what_rsync_may_not() {
        let (_directory, source, copy) = copied();
        tree::set_modified(&copy.join("special/fifo"), 1, 0);
        let lines = differences(&survey(&source), &survey(&copy));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("fifo"));
    }

    #[test]
    fn b3sum_refuses_a_wrong_line() {
        let directory = tempfile::tempdir().expect("temp dir");
        tree::write(&directory.path().join("f"), b"content");
        let right = format!("{}  f\n", blake3::hash(b"content"));
        let manifest = directory.path().join("manifest");
        tree::write(&manifest, right.as_bytes());
        assert_b3sum(&manifest, directory.path());
        tree::write(&directory.path().join("f"), b"Content");
        assert!(!b3sum_failures(&manifest, directory.path()).is_empty());
    }
}
