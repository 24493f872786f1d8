//! Disks that fill up, run out of inodes, forbid large files, or lose what they took.
//!
//! Mounting needs root; without it these tests say so and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A file system of its own, gone with the value.
pub(super) struct Mounted(tempfile::TempDir);

impl Mounted {
    pub(super) fn memory(options: &str) -> Option<Self> {
        Self::new(&["-t", "tmpfs", "-o", options, "xfer-test"])
    }

    fn new(arguments: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested: mounting a file system needs root");
            return None;
        }
        let at = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(arguments).arg(at.path()).output().unwrap();
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        Some(Self(at))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The same file system at another place too, until the value goes.
    pub(super) fn bind(&self, at: &Path) -> Bound {
        let mount = Command::new("mount").arg("--bind").args([self.path(), at]).status();
        assert!(mount.unwrap().success());
        Bound(at.to_owned())
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mount = Command::new("mount").args(["-o", &options]).arg(self.path()).status();
        assert!(mount.unwrap().success());
    }
}

/// A second place of a file system.
pub(super) struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Writes blocks of a mebibyte until one fails.
async fn write_until_full(lab: &Lab, whole: &[u8]) -> (u64, FaultKind) {
    let size = whole.len() as u64;
    for start in (0..size).step_by(MIB as usize) {
        if let Err(error) = lab.write(1, whole, range(start, start + MIB)).await {
            return (start, kind(error));
        }
    }
    panic!("it was never full");
}

#[tokio::test]
async fn a_full_disk_keeps_what_it_took_and_goes_on_later() {
    let Some(disk) = Mounted::memory("size=6m") else { return };
    let lab = Lab::on(disk.path()).await;
    let whole = pattern(8 * MIB);
    lab.open_partial(1, "file", 8 * MIB).await;
    let (written, failure) = write_until_full(&lab, &whole).await;
    assert_eq!(failure, FaultKind::NoSpace);
    assert!(written >= 4 * MIB);
    assert!(lab.endpoint.space(lab.root).await.unwrap().bytes_free < MIB);
    disk.remount("size=64m");
    let lab = lab.later().await;
    let held = lab.open_partial(1, "file", 8 * MIB).await.held;
    assert!(held[0].start() == 0 && held[0].end() >= written);
    let proven = range(0, written);
    let hash = HashBlocks {
        subject: Subject::Partial(PartialIndex(1)),
        range: proven,
        block: BlockSize::DEFAULT,
        reading: Reading::Cached,
    };
    lab.endpoint.hash_blocks(hash).await.unwrap();
    let keep = Keep { partial: PartialIndex(1), ranges: vec![proven] };
    lab.endpoint.keep(keep).await.unwrap();
    lab.write(1, &whole, range(written, 8 * MIB)).await.unwrap();
    lab.commit(1, &whole).await.unwrap();
    assert!(lab.publish(true).await[0].result.is_ok());
    assert_eq!(std::fs::read(lab.at("file")).unwrap(), whole);
}

#[tokio::test]
async fn small_files_on_a_full_disk_leave_nothing_behind() {
    let Some(disk) = Mounted::memory("size=1m") else { return };
    let lab = Lab::on(disk.path()).await;
    let bytes = pattern(300_000);
    let names: Vec<_> = (0..6).map(|i| format!("file-{i}")).collect();
    let files = names.iter().zip(1..).map(|(name, ticket)| packed(ticket, name, &bytes)).collect();
    let outcomes = lab.pack(files, &bytes.repeat(6)).await;
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|o| o.result.is_ok());
    assert!(!good.is_empty());
    for outcome in &bad {
        assert_eq!(outcome.result.as_ref().unwrap_err().kind, FaultKind::NoSpace);
    }
    lab.publish(true).await;
    assert_eq!(lab.names(), names[..good.len()]);
}

#[tokio::test]
async fn a_disk_without_inodes_is_told_from_a_full_one() {
    let Some(disk) = Mounted::memory("size=8m,nr_inodes=12") else { return };
    let lab = Lab::on(disk.path()).await;
    let files = (0..20).map(|i| packed(i, &format!("file-{i}"), b"x")).collect();
    let outcomes = lab.pack(files, &b"x".repeat(20)).await;
    let last = outcomes.last().unwrap().result.clone().unwrap_err();
    assert_eq!(last.kind, FaultKind::NoInodes);
    let space = lab.endpoint.space(lab.root).await.unwrap();
    assert_eq!(space.inodes_free, Some(0));
    assert!(space.bytes_free > MIB && space.volatile);
}

#[tokio::test]
async fn reading_needs_neither_bytes_nor_inodes() {
    let Some(disk) = Mounted::memory("size=1m,nr_inodes=3") else { return };
    let lab = Lab::on(disk.path()).await;
    std::fs::write(lab.at("file"), pattern(900_000)).unwrap();
    std::fs::write(lab.at("none"), b"").unwrap_err();
    let source = LocalEndpoint::new(LocalOptions::default());
    let root = open(&source, lab.directory.path(), Access::Read).await.index;
    let file = FileAt { root, ..lab.file_at("file") };
    let block = ReadBlock { file, range: range(0, 900_000) };
    assert_eq!(source.read_block(block).await.unwrap().1, pattern(900_000));
}

/// What a disk accepts and then cannot keep: an ext4 whose backing file has less room than it says.
/// The kernel reports the loss at the first sync only, so a second one must never be asked.
#[tokio::test]
async fn bytes_that_a_sync_lost_are_never_published() {
    let Some(backing) = Mounted::memory("size=16m") else { return };
    let Some(disk) = thin_disk(&backing) else { return };
    let lab = Lab::on(disk.path()).await;
    let lock = Lock { root: lab.root, entries: vec![RelPath::root()] };
    lab.endpoint.lock(lock).await.unwrap();
    let whole = pattern(20 * MIB);
    lab.open_partial(1000, "large", whole.len() as u64).await;
    lab.write(1000, &whole, range(0, 16 * MIB)).await.unwrap();
    lab.write(1000, &whole, range(16 * MIB, 20 * MIB)).await.unwrap();
    lab.commit(1000, &whole).await.unwrap();
    // More than are synced one by one.
    let small = pattern(100_000);
    let files = (0..120).map(|i| packed(i, &format!("small-{i}"), &small)).collect();
    assert!(lab.pack(files, &small.repeat(120)).await.iter().all(|o| o.result.is_ok()));
    let outcomes = lab.publish(true).await;
    assert_eq!(outcomes.len(), 121);
    let large = &outcomes.last().unwrap().result;
    let lost = large.as_ref().unwrap_err();
    assert!(matches!(lost.kind, FaultKind::Tainted | FaultKind::NoSpace), "{lost}");
    let names = lab.names();
    for outcome in &outcomes[..120] {
        let name = format!("small-{}", outcome.ticket.0);
        assert_eq!(names.contains(&name), outcome.result.is_ok(), "{name}");
    }
    assert!(!names.iter().any(|n| crate::disk::is_partial_name(n.as_bytes())), "{names:?}");
    assert!(!lab.at("large").exists());
}

fn thin_disk(backing: &Mounted) -> Option<Mounted> {
    let image: PathBuf = backing.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(96 * MIB).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&image).output();
    match made {
        Ok(made) if made.status.success() => {}
        _ => {
            eprintln!("not tested: needs mkfs.ext4");
            return None;
        }
    }
    Mounted::new(&["-o", "loop", image.to_str().unwrap()])
}

/// Runs the test below in a process of its own, with files limited to 1 MiB.
#[test]
fn a_limit_on_the_size_of_files_is_told() {
    let program = std::env::current_exe().unwrap();
    let script = "ulimit -f 1024; exec \"$@\"";
    let name = "endpoint::local::tests::faults::under_a_limit_of_one_mebibyte";
    let output = Command::new("bash")
        .args(["-c", script, "bash", program.to_str().unwrap(), "--exact", name, "--ignored"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "run by the test above, under a limit"]
async fn under_a_limit_of_one_mebibyte() {
    crate::disk::process::tell_file_size_limit();
    let lab = Lab::on("/dev/shm").await;
    let whole = pattern(2 * MIB);
    let open = OpenPartial {
        partial: PartialIndex(1),
        root: lab.root,
        path: rel("file"),
        size: 2 * MIB,
        over: None,
    };
    let failure = lab.endpoint.open_partial(open).await.unwrap_err();
    assert_eq!(kind(failure), FaultKind::FileTooLarge);
    let outcomes = lab.pack(vec![packed(1, "file", &whole)], &whole).await;
    let failure = outcomes[0].result.clone().unwrap_err();
    assert_eq!(failure.kind, FaultKind::FileTooLarge);
    assert_eq!(failure.errno, Some(27));
    in_place::is_given_back_under_a_limit_of_one_mebibyte().await;
}
