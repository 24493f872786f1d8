//! What stands at the destination, what it is to become, and what is wished for

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use xfer_tests::random::Random;
use xfer_tests::tree;

use super::options::Options;
use crate::Done;

const SEED: u64 = 2026;
const FILES_A_DIRECTORY: u64 = 200;
const LONGEST: u64 = 8191;

/// One file in so many changes, and one page
const CHANGED: u64 = 100;
const PAGE: u64 = 4096;

/// The most that is inserted, and appended; of a short file a sixteenth
const INSERTED: u64 = 1 << 20;
const APPENDED: u64 = 16 << 20;

/// What is written first, and later
const THEN: i64 = 1_600_000_000;
const NOW: i64 = 1_600_086_400;

const CHECKPOINT: &str = include_str!("checkpoint.py");

/// A pair of versions
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Very many files
    Unchanged,
    /// One in a hundred of them
    Changed,
    /// One page in a hundred of a large file
    Edited,
    /// At the head of a large file
    Inserted,
    /// To a log
    Appended,
    /// A large file whose old name stays, or goes
    Renamed { goes: bool },
    /// A checkpoint of a model that is trained as a whole or in part, under a name of its own or
    /// under that of the one before
    Checkpoint { frozen: bool, anew: bool },
}

/// Where a case is laid out
#[derive(Clone, Debug)]
pub(super) struct Ground(PathBuf);

/// What was laid out
#[derive(Clone, Debug, Default)]
pub(super) struct Extent {
    pub(super) bytes: u64,
    /// Those that no block of 4 KiB at the same place brings, or that were added
    pub(super) differ: u64,
    pub(super) told: String,
}

impl Ground {
    pub(super) fn at(place: &Path) -> Self {
        Self(place.to_path_buf())
    }

    /// What is synced
    pub(super) fn here(&self) -> PathBuf {
        self.0.join("here")
    }

    /// The destination
    pub(super) fn there(&self) -> PathBuf {
        self.0.join("there")
    }

    /// What the destination is made of before each turn
    fn old(&self) -> PathBuf {
        self.0.join("old")
    }
}

impl Case {
    pub(super) const ALL: [Self; 11] = [
        Self::Unchanged,
        Self::Changed,
        Self::Edited,
        Self::Inserted,
        Self::Appended,
        Self::Renamed { goes: false },
        Self::Renamed { goes: true },
        Self::Checkpoint { frozen: false, anew: false },
        Self::Checkpoint { frozen: false, anew: true },
        Self::Checkpoint { frozen: true, anew: false },
        Self::Checkpoint { frozen: true, anew: true },
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Edited => "edited",
            Self::Inserted => "inserted",
            Self::Appended => "appended",
            Self::Renamed { goes: false } => "renamed",
            Self::Renamed { goes: true } => "renamed-delete",
            Self::Checkpoint { frozen: false, anew: false } => "checkpoint-whole",
            Self::Checkpoint { frozen: false, anew: true } => "checkpoint-whole-new-name",
            Self::Checkpoint { frozen: true, anew: false } => "checkpoint-frozen",
            Self::Checkpoint { frozen: true, anew: true } => "checkpoint-frozen-new-name",
        }
    }

    /// Whether there are many files, so that it matters what was remembered of them
    pub(super) fn is_tree(self) -> bool {
        matches!(self, Self::Unchanged | Self::Changed)
    }

    pub(super) fn deletes(self) -> bool {
        self == Self::Renamed { goes: true }
    }

    /// Whether another name in the same directory may help
    pub(super) fn is_fuzzy(self) -> bool {
        matches!(self, Self::Renamed { .. } | Self::Checkpoint { anew: true, .. })
    }

    /// Lays both ends out as they were while they were equal
    pub(super) fn lay(self, options: &Options, ground: &Ground) -> Done {
        let (here, old, sizes) = (ground.here(), ground.old(), &options.sizes);
        for place in [&here, &old] {
            fs::create_dir_all(place).map_err(|error| format!("{}: {error}", place.display()))?;
        }
        match self {
            Self::Unchanged | Self::Changed => {
                lay_tree(&here, sizes.files);
                copy(&here, &ground.there())
            }
            Self::Renamed { .. } => {
                tree::big_file(&here.join("old-name"), sizes.renamed, SEED);
                tree::write(&here.join("kept"), b"kept\n");
                dated(&here.join("old-name"), THEN);
                copy(&here, &ground.there())
            }
            Self::Checkpoint { .. } => Ok(()),
            Self::Edited | Self::Inserted | Self::Appended => {
                let size = if self == Self::Appended { sizes.log } else { sizes.big };
                tree::big_file(&old.join("file"), size, SEED);
                dated(&old.join("file"), THEN);
                Ok(())
            }
        }
    }

    /// Makes the source what the destination is to become
    pub(super) fn change(self, options: &Options, ground: &Ground) -> Done<Extent> {
        let (old, new) = (ground.old().join("file"), ground.here().join("file"));
        let mut told = String::new();
        let differ = match self {
            Self::Unchanged => 0,
            Self::Changed => change_tree(ground, options.sizes.files)?,
            Self::Edited => edit(&old, &new)?,
            Self::Inserted => extend(&old, &new, INSERTED, true)?,
            Self::Appended => extend(&old, &new, APPENDED, false)?,
            Self::Renamed { .. } => {
                let named = |name: &str| ground.here().join(name);
                fs::rename(named("old-name"), named("new-name")).map_err(|e| e.to_string())?;
                0
            }
            Self::Checkpoint { frozen, anew } => {
                let differ;
                (differ, told) = checkpoints(options, ground, frozen, anew)?;
                differ
            }
        };
        let bytes = crate::measure::extent(&ground.here())?.bytes;
        Ok(Extent { bytes, differ, told })
    }

    /// Makes the destination what it was before
    pub(super) fn restore(self, ground: &Ground) -> Done {
        let there = ground.there();
        match self {
            Self::Unchanged => Ok(()),
            Self::Changed => copy(&ground.old(), &there),
            Self::Renamed { .. } => {
                let [old, new] = ["old-name", "new-name"].map(|name| there.join(name));
                let done = match (old.exists(), new.exists()) {
                    (true, true) => fs::remove_file(new),
                    (false, true) => fs::rename(new, old),
                    _ => Ok(()),
                };
                done.map_err(|error| error.to_string())
            }
            _ => {
                crate::lab::empty(&there)?;
                copy(&ground.old(), &there)
            }
        }
    }
}

fn lay_tree(root: &Path, files: u64) {
    let mut random = Random::new(SEED);
    for index in 0..files {
        let path = file_of(root, index);
        if index % FILES_A_DIRECTORY == 0 {
            fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        }
        let length = usize::try_from(random.below(LONGEST)).expect("short");
        tree::write(&path, &random.bytes(length));
        dated(&path, THEN);
    }
}

/// Writes one file in a hundred anew, and keeps what it was
fn change_tree(ground: &Ground, files: u64) -> Done<u64> {
    let mut random = Random::new(SEED + 1);
    let mut bytes = 0;
    for index in (0..files).step_by(usize::try_from(CHANGED).unwrap_or(1)) {
        let (path, kept) = (file_of(&ground.here(), index), file_of(&ground.old(), index));
        fs::create_dir_all(kept.parent().unwrap_or(&kept)).map_err(|error| error.to_string())?;
        fs::copy(&path, &kept).map_err(|error| format!("{}: {error}", path.display()))?;
        dated(&kept, THEN);
        let length = random.below(LONGEST) + 1;
        tree::write(&path, &random.bytes(usize::try_from(length).expect("short")));
        dated(&path, NOW);
        bytes += length;
    }
    Ok(bytes)
}

fn file_of(root: &Path, index: u64) -> PathBuf {
    root.join(format!("d{:04}/f{index:06}", index / FILES_A_DIRECTORY))
}

/// Writes one page in a hundred anew, of each hundred another
fn edit(old: &Path, new: &Path) -> Done<u64> {
    copy_file(old, new)?;
    let at = |error| format!("{}: {error}", new.display());
    let file = File::options().write(true).open(new).map_err(at)?;
    let pages = file.metadata().map_err(at)?.len() / PAGE;
    let mut random = Random::new(SEED + 2);
    for hundred in 0..pages / CHANGED {
        let page = hundred * CHANGED + random.below(CHANGED);
        let bytes = random.bytes(usize::try_from(PAGE).expect("short"));
        file.write_all_at(&bytes, page * PAGE).map_err(at)?;
    }
    dated(new, NOW);
    Ok(pages / CHANGED * PAGE)
}

/// Writes the same with more before or behind it
fn extend(old: &Path, new: &Path, most: u64, before: bool) -> Done<u64> {
    let at = |error| format!("{}: {error}", new.display());
    let mut bytes = File::open(old).map_err(at)?;
    let length = most.min(bytes.metadata().map_err(at)?.len() / 16);
    let more = Random::new(SEED + 3).bytes(usize::try_from(length).expect("in memory"));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(new).map_err(at)?);
    if before {
        file.write_all(&more).map_err(at)?;
    }
    std::io::copy(&mut bytes, &mut file).map_err(at)?;
    if !before {
        file.write_all(&more).map_err(at)?;
    }
    file.flush().map_err(at)?;
    dated(new, NOW);
    Ok(length)
}

/// Has a model trained by one step more; bytes that differ, and what did it
fn checkpoints(
    options: &Options,
    ground: &Ground,
    frozen: bool,
    anew: bool,
) -> Done<(u64, String)> {
    let names = if anew { ["step-100.pt", "step-101.pt"] } else { ["latest.pt"; 2] };
    let (old, new) = (ground.old().join(names[0]), ground.here().join(names[1]));
    let mut command = Command::new(&options.python);
    command.args(["-c", CHECKPOINT]).arg(&old).arg(&new);
    command.arg(options.sizes.parameters.to_string());
    command.arg(if frozen { "frozen" } else { "whole" });
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("checkpoint.py: {}", String::from_utf8_lossy(&output.stderr)));
    }
    dated(&old, THEN);
    dated(&new, NOW);
    if anew {
        copy_file(&old, &ground.here().join(names[0]))?;
    }
    let told = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok((differing(&old, &new)?, told))
}

/// Bytes of one file in blocks of a page that the other does not have at the same place
fn differing(old: &Path, new: &Path) -> Done<u64> {
    let page = usize::try_from(PAGE).expect("short");
    let open = |path: &Path| {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(std::io::BufReader::with_capacity(1 << 20, file))
    };
    let (mut old, mut new) = (open(old)?, open(new)?);
    let (mut before, mut after) = (vec![0; page], vec![0; page]);
    let mut differ = 0;
    loop {
        let lengths = [read_full(&mut old, &mut before)?, read_full(&mut new, &mut after)?];
        if lengths[1] == 0 {
            return Ok(differ);
        }
        if before[..lengths[0]] != after[..lengths[1]] {
            differ += lengths[1] as u64;
        }
    }
}

fn read_full(from: &mut impl Read, to: &mut [u8]) -> Done<usize> {
    let mut length = 0;
    while length < to.len() {
        match from.read(&mut to[length..]).map_err(|error| error.to_string())? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn dated(path: &Path, seconds: i64) {
    tree::set_modified(path, seconds, 0);
}

/// Copies what is in a directory into another, with times
fn copy(from: &Path, to: &Path) -> Done {
    fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to))
}

fn copy_file(from: &Path, to: &Path) -> Done {
    run(Command::new("cp").arg("-a").arg(from).arg(to))
}

/// Runs a command to its success
pub(super) fn run(command: &mut Command) -> Done {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_counted_by_pages() {
        let room = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| room.path().join(name));
        let bytes = vec![7; 10_000];
        fs::write(&old, &bytes).unwrap();
        fs::write(&new, [&bytes[..5000], &[8], &bytes[5001..], b"more"].concat()).unwrap();
        // The second page, and what is left behind it.
        assert_eq!(differing(&old, &new), Ok(4096 + 10_004 - 8192));
        assert_eq!(differing(&old, &old), Ok(0));
    }

    #[test]
    fn a_destination_is_restored_to_what_differs_from_the_source() {
        let options = Options::parse(&["--quick".to_owned()]).unwrap();
        for case in [Case::Changed, Case::Edited, Case::Inserted, Case::Renamed { goes: true }] {
            let room = tempfile::tempdir().unwrap();
            let ground = Ground::at(room.path());
            case.lay(&options, &ground).unwrap();
            let extent = case.change(&options, &ground).unwrap();
            case.restore(&ground).unwrap();
            let differ = || {
                let mut compared = Command::new("diff");
                compared.arg("-rq").arg(ground.here()).arg(ground.there());
                !compared.output().unwrap().status.success()
            };
            assert!(differ() && extent.bytes > 1 << 17, "{case:?} {extent:?}");
            run(Command::new("rsync")
                .args(["-a", "--delete"])
                .args([ground.here().join(""), ground.there()]))
            .unwrap();
            assert!(!differ(), "{case:?}");
            case.restore(&ground).unwrap();
            assert!(differ(), "{case:?}");
        }
    }
}
