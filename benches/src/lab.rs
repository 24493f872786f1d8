//! The private sshd, the trees, and places to move them to

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xfer_tests::net::Host;
use xfer_tests::sshd::Sshd;
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use crate::Done;
use crate::contender::{Contender, Direction, Move};
use crate::measure::{Cost, timed};
use crate::options::Options;

/// One cipher for everybody, and room for peers that open many connections
pub(crate) const SSHD: &str =
    "Ciphers aes128-gcm@openssh.com\nCompression no\nMaxStartups 100:30:200";

const SEED: u64 = 2026;
const FILES_A_DIRECTORY: usize = 200;

/// What a race needs of the world
///
/// Trees are made at the first wish. Dropping it removes them all and ends the server.
#[derive(Debug)]
pub(crate) struct Lab {
    server: Sshd,
    ssh_config: PathBuf,
    xfer: Xfer,
    memory: TempDir,
    disk: TempDir,
    sizes: Options,
}

impl Lab {
    /// What the server is called in the configuration of ssh
    pub(crate) const HOST: &'static str = "bench";

    /// Starts the server
    pub(crate) fn open(options: &Options) -> Done<Self> {
        Self::around(Sshd::start(SSHD), options)
    }

    /// The same with the server in a host of the network laboratory
    pub(crate) fn open_within(options: &Options, host: &Host, address: Ipv4Addr) -> Done<Self> {
        Self::around(Sshd::start_within(host, address, SSHD), options)
    }

    fn around(server: Sshd, options: &Options) -> Done<Self> {
        let ssh_config = server.client_config(Self::HOST);
        let xfer = Xfer::new().ssh_config(ssh_config.clone());
        let room = |place: &Path| {
            tempfile::Builder::new()
                .prefix("xfer-bench-")
                .tempdir_in(place)
                .map_err(|error| format!("{}: {error}", place.display()))
        };
        let (memory, disk) = (room(&options.memory)?, room(&options.disk)?);
        Ok(Self { server, ssh_config, xfer, memory, disk, sizes: options.clone() })
    }

    /// Everybody who is installed and moves one byte both ways, in the order of turns
    ///
    /// Who cannot is named and left out; the program itself must. It also puts the agent there.
    pub(crate) fn trial(&self) -> Done<Vec<Contender>> {
        let wanted = |contender: &Contender| {
            let names = &self.sizes.with;
            matches!(contender, Contender::Xfer | Contender::SshTrue)
                || names.is_empty()
                || names.iter().any(|name| name == contender.name())
        };
        let mut fit = Vec::new();
        for contender in Contender::ALL.into_iter().filter(wanted) {
            if contender.program().is_none() {
                eprintln!("{} is not installed", contender.name());
                continue;
            }
            match self.moves_one_byte(contender) {
                Ok(()) => fit.push(contender),
                Err(text) if contender == Contender::Xfer => return Err(text),
                Err(text) => eprintln!("{} is left out: {text}", contender.name()),
            }
        }
        Ok(fit)
    }

    pub(crate) fn xfer(&self) -> &Xfer {
        &self.xfer
    }

    pub(crate) fn ssh_config(&self) -> &Path {
        &self.ssh_config
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn user_key(&self) -> PathBuf {
        self.server.user_key()
    }

    /// Runs a command to its success and says what it cost on both sides
    pub(crate) fn timed(&self, command: std::process::Command) -> Done<Cost> {
        timed(command, &[self.server.id()])
    }

    /// Where the server listens
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.server.address()
    }

    /// Kills every session of the server
    pub(crate) fn kill_sessions(&self) {
        self.server.kill_sessions();
    }

    /// The process of the server
    pub(crate) fn server(&self) -> u32 {
        self.server.id()
    }

    /// The most memory that the programs of its sessions ever had, in bytes
    pub(crate) fn peak_memory(&self) -> u64 {
        self.server.peak_memory()
    }

    /// One file of the wanted size that nothing can compress, in memory
    pub(crate) fn big(&self) -> PathBuf {
        self.made(&self.memory, "big", |path| tree::big_file(path, self.sizes.big, SEED))
    }

    /// Many small files, in memory
    pub(crate) fn small(&self) -> PathBuf {
        self.made(&self.memory, "small", |path| tree::small_files(path, self.sizes.small, SEED))
    }

    /// One file of one byte, in memory
    pub(crate) fn byte(&self) -> PathBuf {
        self.made(&self.memory, "byte", |path| tree::write(path, b"1"))
    }

    /// Very many files of a few bytes, on disk
    pub(crate) fn many(&self) -> PathBuf {
        self.made(&self.disk, "many", |path| tiny_files(path, self.sizes.many))
    }

    /// A directory for what arrives, in memory or on disk
    pub(crate) fn destination(&self, on_disk: bool) -> PathBuf {
        if on_disk { &self.disk } else { &self.memory }.path().join("destination")
    }

    /// Where everything in memory lies
    pub(crate) fn memory(&self) -> &Path {
        self.memory.path()
    }

    fn made(&self, room: &TempDir, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
        let parent = room.path().join("source");
        fs::create_dir_all(&parent).expect("make a directory for trees");
        let path = parent.join(name);
        if !path.exists() {
            make(&path);
        }
        path
    }

    fn moves_one_byte(&self, contender: Contender) -> Done {
        for direction in [Direction::Push, Direction::Pull] {
            let (source, destination) = (self.byte(), self.destination(false));
            let wanted = Move { source, destination, direction, synced: false };
            empty(&wanted.destination)?;
            self.timed(contender.command(self, &wanted))?;
            let lands = contender != Contender::SshTrue;
            if lands && fs::read(wanted.landed()).ok().as_deref() != Some(b"1") {
                return Err(String::from("it moved nothing and was content"));
            }
        }
        Ok(())
    }
}

/// Makes a directory, or removes what is in it
pub(crate) fn empty(path: &Path) -> Done {
    let gone = match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone.and_then(|()| fs::create_dir_all(path))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn tiny_files(root: &Path, count: usize) {
    for index in 0..count {
        let directory = root.join(format!("d{:04}", index / FILES_A_DIRECTORY));
        if index % FILES_A_DIRECTORY == 0 {
            fs::create_dir_all(&directory).expect("make a directory");
        }
        tree::write(&directory.join(format!("f{index:06}")), format!("{index}\n").as_bytes());
    }
}
