//! What is given to people: a tarball, a wheel, and their checksums, reproducible byte for byte

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{Done, at, captured, root, shown};
use crate::{agent, wheel};

/// The files of a release
pub(crate) struct Kit {
    /// As in Cargo.toml
    pub(crate) version: String,
    /// Sorted by name
    pub(crate) files: Vec<KitFile>,
    /// The text that introduces it
    pub(crate) readme: String,
}

/// One file of a release
pub(crate) struct KitFile {
    pub(crate) name: &'static str,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
}

/// Builds everything into `target/dist`
pub(crate) fn make() -> Done {
    let program = agent::build()?;
    let dist = dist(&program)?;
    if dist.exists() {
        at(&dist, fs::remove_dir_all(&dist))?;
    }
    at(&dist, fs::create_dir_all(&dist))?;
    let kit = kit(&program)?;
    let made = [tarball(&kit, &dist)?, wheel::write(&kit, &dist)?];
    let sums = captured(Command::new("sha256sum").args(&made).current_dir(&dist))?;
    at(&dist, fs::write(dist.join("SHA256SUMS"), sums))?;
    for name in made.iter().map(String::as_str).chain(["SHA256SUMS"]) {
        println!("{}", dist.join(name).display());
    }
    Ok(())
}

/// The SHA-256 digest of some bytes, by `sha256sum`
pub(crate) fn sha256(content: &[u8]) -> Done<Vec<u8>> {
    let failed = |error| format!("sha256sum: {error}");
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut input = child.stdin.take().ok_or("sha256sum has no input")?;
    input.write_all(content).map_err(failed)?;
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    let hex = output.stdout.get(..64).ok_or("sha256sum printed too little")?;
    let digits = hex.chunks(2).map(|pair| {
        std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    digits.collect::<Option<_>>().ok_or_else(|| "sha256sum printed no digest".to_owned())
}

/// `TARGET_DIRECTORY/dist`; the program lies in TARGET_DIRECTORY/TRIPLE/release
fn dist(program: &Path) -> Done<PathBuf> {
    let target = program.ancestors().nth(3).ok_or("the program lies in no target directory")?;
    Ok(target.join("dist"))
}

fn kit(program: &Path) -> Done<Kit> {
    let mut files = Vec::new();
    let mut add = |name, mode, content| files.push(KitFile { name, mode, content });
    add("xfer", 0o755, at(program, fs::read(program))?);
    add("xfer.1", 0o644, captured(Command::new(program).arg("man"))?);
    for (name, shell) in [
        ("completions/xfer.bash", "bash"),
        ("completions/_xfer", "zsh"),
        ("completions/xfer.fish", "fish"),
    ] {
        add(name, 0o644, captured(Command::new(program).args(["completions", shell]))?);
    }
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        let path = root().join(name);
        add(name, 0o644, at(&path, fs::read(&path))?);
    }
    files.sort_by_key(|file| file.name);
    let readme = root().join("README.md");
    let readme = at(&readme, fs::read_to_string(&readme))?;
    Ok(Kit { version: env!("CARGO_PKG_VERSION").to_owned(), files, readme })
}

fn tarball(kit: &Kit, dist: &Path) -> Done<String> {
    let stem = format!("xfer-{}-x86_64-linux", kit.version);
    let stage = dist.join("stage");
    let top = stage.join(&stem);
    for file in &kit.files {
        let path = top.join(file.name);
        let parent = path.parent().ok_or("a file has a directory")?;
        at(parent, fs::create_dir_all(parent))?;
        at(&path, fs::write(&path, &file.content))?;
        at(&path, set_mode(&path, file.mode))?;
    }
    let name = format!("{stem}.tar.gz");
    let mut command = Command::new("tar");
    command
        .args(["--create", "--sort=name", "--format=ustar", "--mtime=@0"])
        .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+r,go-w"])
        .args(["--use-compress-program=gzip -9 --no-name", "--file"])
        .arg(dist.join(&name))
        .args(["--directory"])
        .arg(&stage)
        .arg(&stem);
    shown(&mut command)?;
    at(&stage, fs::remove_dir_all(&stage))?;
    Ok(name)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        let digest = sha256(b"").unwrap();
        assert_eq!(digest[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(digest.len(), 32);
    }
}
