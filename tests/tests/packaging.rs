//! What is given to people works where there is nothing: both packages are made, installed as a
//! person would, and run in a root directory that holds the program, the two devices of random
//! numbers and nothing else

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use xfer_tests::{oracle, tree};

/// What `cargo xtask release` made when it was run twice
struct Release {
    directory: PathBuf,
    checksums: [String; 2],
}

fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let (directory, first) = make();
        let (_, second) = make();
        Release { directory, checksums: [first, second] }
    })
}

fn make() -> (PathBuf, String) {
    let mut command = Command::new(env!("CARGO"));
    let printed =
        output(command.args(["xtask", "release"]).current_dir(env!("CARGO_MANIFEST_DIR")));
    let last = Path::new(printed.lines().last().expect("the release prints what it made"));
    let directory = last.parent().expect("a file lies in a directory");
    (directory.to_path_buf(), fs::read_to_string(last).expect("read checksums"))
}

fn output(command: &mut Command) -> String {
    let ended =
        command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?}: {}\n{said}", ended.status);
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

fn made(extension: &str) -> PathBuf {
    let directory = &release().directory;
    let list = fs::read_dir(directory).expect("list the release");
    let mut paths = list.map(|entry| entry.expect("an entry").path());
    let wanted = |path: &PathBuf| path.to_string_lossy().ends_with(extension);
    paths.find(wanted).unwrap_or_else(|| panic!("no {extension} in {}", directory.display()))
}

/// Copies a tree by the program alone in a root directory that holds nothing else
fn runs_in_an_empty_root(program: &Path) {
    let root = TempDir::new().expect("temp dir");
    let inside = |name: &str| root.path().join(name);
    fs::copy(program, inside("xfer")).expect("place the program");
    fs::create_dir(inside("dev")).expect("make /dev");
    for (name, minor) in [("dev/random", "8"), ("dev/urandom", "9")] {
        let mut mknod = Command::new("mknod");
        output(mknod.args(["-m", "444"]).arg(inside(name)).args(["c", "1", minor]));
    }
    tree::names(&inside("source"));
    tree::big_file(&inside("source/big"), 20 << 20, 9);
    let run = |arguments: &[&str]| {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(root.path()).arg("/xfer").args(arguments);
        output(command.env_clear().env("HOME", "/"))
    };
    assert!(run(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
    run(&["push", "/source/", "/destination"]);
    oracle::assert_equal(&inside("source"), &inside("destination"));
}

#[test]
fn the_tarball_runs_in_an_empty_root() {
    let place = TempDir::new().expect("temp dir");
    let mut command = Command::new("tar");
    output(command.arg("-xzf").arg(made(".tar.gz")).arg("-C").arg(place.path()));
    let top = fs::read_dir(place.path()).expect("list").next().expect("one directory");
    let top = top.expect("an entry").path();
    for name in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "xfer.1",
        "completions/xfer.bash",
        "completions/_xfer",
        "completions/xfer.fish",
    ] {
        let length = fs::metadata(top.join(name)).map(|facts| facts.len());
        assert!(length.is_ok_and(|length| length > 100), "{name} is missing or empty");
    }
    runs_in_an_empty_root(&top.join("xfer"));
}

#[test]
fn the_wheel_installs_and_runs_in_an_empty_root() {
    let place = TempDir::new().expect("temp dir");
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-index", "--no-deps", "--target"]).arg(place.path());
    output(pip.arg(made(".whl")).env("PIP_ROOT_USER_ACTION", "ignore"));
    runs_in_an_empty_root(&place.path().join("bin/xfer"));
}

#[test]
fn the_wheel_holds_what_its_record_says() {
    let script = r#"
import base64, csv, hashlib, io, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
assert wheel.testzip() is None
record = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
rows = list(csv.reader(io.StringIO(wheel.read(record[0]).decode())))
assert sorted(row[0] for row in rows) == sorted(wheel.namelist()), "RECORD lists other files"
for name, digest, length in rows:
    if name == record[0]:
        continue
    content = wheel.read(name)
    own = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    assert (digest, int(length)) == ("sha256=" + own, len(content)), name
program = next(i for i in wheel.infolist() if i.filename.endswith("/scripts/xfer"))
assert program.external_attr >> 16 == 0o100755, oct(program.external_attr)
"#;
    output(Command::new("python3").args(["-c", script]).arg(made(".whl")));
}

#[test]
fn checksums_are_right_and_a_second_release_is_the_same() {
    let [first, second] = &release().checksums;
    assert_eq!(first.lines().count(), 2, "{first}");
    assert_eq!(first, second);
    let mut command = Command::new("sha256sum");
    output(command.args(["-c", "SHA256SUMS"]).current_dir(&release().directory));
}
