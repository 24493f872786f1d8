//! A disk whose power can be cut, as a file system in a file
#![expect(unsafe_code, reason = "no crate that is in use has the request that cuts the power")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Opcode, Setter, ioctl};
use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN`
const SHUTDOWN: Opcode = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what is in memory alone is lost, the journal's part too
const WITHOUT_FLUSH: u32 = 2;

/// An ext4 file system of its own; needs root
///
/// It lies on this machine's disk as a file, and is mounted by way of a loop device. Between
/// [`Medium::cut`] and [`Medium::mount_again`] everything fails.
#[derive(Debug)]
pub struct Medium {
    room: TempDir,
    /// How often its power was cut
    mounted: u32,
}

impl Medium {
    /// An empty one of so many MiB
    pub fn new(size: u64) -> Self {
        let room = tempfile::Builder::new().prefix("medium-").tempdir_in("/var/tmp");
        let medium = Self { room: room.expect("a directory on a disk"), mounted: 0 };
        let image = fs::File::create(medium.image()).expect("a file");
        image.set_len(size << 20).expect("a sparse file");
        fs::create_dir(medium.place()).expect("a directory");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(medium.image()));
        medium.mount();
        medium
    }

    /// Where it is mounted
    pub fn place(&self) -> PathBuf {
        self.room.path().join("mounted")
    }

    /// A directory on it, made where it is not there
    pub fn directory(&self, name: &str) -> PathBuf {
        let directory = self.place().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    /// Brings all that was written to the medium
    pub fn sync(&self) {
        let directory = open(self.place(), OFlags::RDONLY, Mode::empty()).expect("a directory");
        rustix::fs::syncfs(directory).expect("sync");
    }

    /// Loses all that was not brought to the medium
    pub fn cut(&self) {
        let directory = open(self.place(), OFlags::RDONLY, Mode::empty()).expect("a directory");
        // SAFETY: the request reads a number of four bytes, which is what is given.
        let cut = unsafe { ioctl(directory, Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSH)) };
        cut.expect("a file system that can be shut down");
    }

    /// Gives it its power again, for those who look at [`Medium::place`] from then on
    ///
    /// What the medium holds is copied to another one: whoever still has a view of what was
    /// mounted, as other namespaces do, keeps it as it is.
    pub fn mount_again(&mut self) {
        assert!(self.unmounts(), "{} cannot be unmounted", self.place().display());
        let old = self.image();
        self.mounted += 1;
        run(Command::new("cp").arg("--sparse=always").args([&old, &self.image()]));
        fs::remove_file(old).expect("remove");
        self.mount();
    }

    fn image(&self) -> PathBuf {
        self.room.path().join(format!("image-{}", self.mounted))
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).args([self.image(), self.place()]));
    }

    fn unmounts(&self) -> bool {
        let mut command = Command::new("umount");
        command.arg("--lazy").arg(self.place()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        let _unmounted = self.unmounts();
    }
}

fn run(command: &mut Command) {
    let ended = command.output();
    let ended = ended.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}
