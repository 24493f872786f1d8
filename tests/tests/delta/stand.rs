//! Two versions of a tree, and the program between them

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use xfer_tests::oracle;
use xfer_tests::random::Random;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Running, Xfer};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// Which way bytes go
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Here,
    Push,
    Pull,
}

/// A program with a home, and a server of SSH
pub(crate) struct Stand {
    xfer: Xfer,
    place: TempDir,
    _server: Sshd,
    made: AtomicU32,
    crossed: Cell<u64>,
}

pub(crate) struct Trees {
    pub(crate) source: PathBuf,
    pub(crate) there: PathBuf,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let server = Sshd::start("");
        let xfer = Xfer::new().ssh_config(server.client_config("host"));
        let (place, made) = (TempDir::new().expect("temp dir"), AtomicU32::new(0));
        Self { xfer, place, _server: server, made, crossed: Cell::new(0) }
    }

    /// Bytes that the last transfer sent and received, whatever they were
    pub(crate) fn crossed(&self) -> u64 {
        self.crossed.get()
    }

    pub(crate) fn plant(&self, there: &[(&str, &[u8])], new: &[(&str, &[u8])]) -> Trees {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let root = self.place.path().join(format!("{number}"));
        let trees = Trees { source: root.join("source"), there: root.join("there") };
        for (place, files) in [(&trees.there, there), (&trees.source, new)] {
            fs::create_dir_all(place).expect("create");
            for (name, bytes) in files {
                let at = place.join(name);
                fs::create_dir_all(at.parent().expect("a parent")).expect("create");
                fs::write(&at, bytes).expect("write");
                let file = fs::File::options().write(true).open(&at).expect("open");
                // To correct the time of a file is to change it.
                let then = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
                file.set_modified(then).expect("set the time");
            }
        }
        trees
    }

    fn words(way: Way, trees: &Trees, flags: &[&str]) -> Vec<OsString> {
        let location = |path: &Path, is_far: bool| {
            let mut location = OsString::from(if is_far { "host:" } else { "" });
            location.push(path);
            location
        };
        let mut source = location(&trees.source, way == Way::Pull);
        source.push("/");
        let there = location(&trees.there, way == Way::Push);
        let mut words: Vec<_> =
            ["sync", "--json"].iter().chain(flags).map(OsString::from).collect();
        words.extend([source, there]);
        words
    }

    pub(crate) fn start(&self, way: Way, trees: &Trees, flags: &[&str]) -> Running {
        self.xfer.start(Self::words(way, trees, flags))
    }

    /// Makes a destination equal to a source, and tells how many bytes of files crossed
    pub(crate) fn run(&self, way: Way, trees: &Trees, flags: &[&str]) -> u64 {
        let ended = self.xfer.run(Self::words(way, trees, flags)).expect_code(0);
        let result = ended.result();
        let number = |name: &str| result[name].as_u64().unwrap_or_default();
        self.crossed.set(number("payload_bytes") + number("overhead_bytes"));
        number("payload_bytes")
    }

    /// From what stands there to what is new; both are equal in the end, as rsync has it
    pub(crate) fn moves(
        &self,
        way: Way,
        there: &[(&str, &[u8])],
        new: &[(&str, &[u8])],
        flags: &[&str],
    ) -> u64 {
        let trees = self.plant(there, new);
        let payload = self.run(way, &trees, flags);
        if flags.is_empty() {
            for (name, bytes) in new {
                assert!(
                    fs::read(trees.there.join(name)).expect("read") == *bytes,
                    "{name} differs"
                );
            }
        } else {
            oracle::assert_equal(&trees.source, &trees.there);
        }
        let partials =
            there.iter().chain(new).map(|(name, _)| trees.there.join(partial_name(name)));
        assert!(partials.into_iter().all(|partial| !partial.exists()));
        payload
    }
}

/// The name of a partial beside its file
pub(crate) fn partial_name(name: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    let (above, last) = name
        .rsplit_once('/')
        .map_or((String::new(), name), |(above, last)| (format!("{above}/"), last));
    let mut bytes = above.into_bytes();
    bytes.extend(xfer_core::disk::partial_name(last.as_bytes()));
    OsString::from_vec(bytes)
}

/// Writes other bytes over the first ones of a file
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("open");
    file.write_all_at(bytes, 0).expect("write");
}

pub(crate) fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).expect("a length in memory")];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// The same with other bytes at some places
pub(crate) fn edited(bytes: &[u8], places: &[usize]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    places.iter().for_each(|place| bytes[*place] ^= 0x55);
    bytes
}

pub(crate) fn append(bytes: &[u8], more: &[u8]) -> Vec<u8> {
    [bytes, more].concat()
}

/// Different bytes of which all blocks of whole KiB have one rolling sum
///
/// A sequence of Thue and Morse and its complement have one sum, whatever is multiplied with modulo
/// 2⁶⁴ (1,024 of them where that is odd), so that only what the two letters add up to counts.
pub(crate) fn equal_sums(length: u64, seed: u64) -> Vec<u8> {
    let letters = noise(length / KIB, seed);
    let kibibyte = |letter: &u8| {
        let letter = *letter;
        let other = 255 - letter;
        (0..1024_u32).map(move |at| if at.count_ones() % 2 == 0 { letter } else { other })
    };
    letters.iter().flat_map(kibibyte).collect()
}
