//! The programs that tests run against, and the packages of Debian and Ubuntu that hold them

use std::process::Command;

use crate::run::{Done, captured, find_program, shown};

struct Needed {
    program: &'static str,
    package: &'static str,
    reason: &'static str,
}

const fn needed(program: &'static str, package: &'static str, reason: &'static str) -> Needed {
    Needed { program, package, reason }
}

const NEEDED: &[Needed] = &[
    needed("sshd", "openssh-server", "the far side of most tests"),
    needed("ssh", "openssh-client", "resolves hosts; keys and agents for tests"),
    needed("rsync", "rsync", "judges whether two trees are equal"),
    needed("b3sum", "b3sum", "judges manifests"),
    needed("openssl", "openssl", "judges signatures"),
    needed("strace", "strace", "shows the order of system calls"),
    needed("mkfs.ext4", "e2fsprogs", "disks that are full or fail"),
    needed("mount", "mount", "disks that are full or fail"),
    needed("unshare", "util-linux", "private mounts for a private sshd"),
    needed("ip", "iproute2", "hosts and links of the network laboratory"),
    needed("setfacl", "acl", "access control lists"),
    needed("setfattr", "attr", "extended attributes"),
    needed("time", "time", "measures the memory of a program"),
    needed("python3", "python3", "runs the example"),
    needed("perl", "perl-base", "starts the agent in memory"),
    needed("pip3", "python3-pip", "installs the wheel"),
];

/// Installs what is missing when run as root; else names it
pub(crate) fn provide() -> Done {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if captured(Command::new("id").arg("-u"))?.trim_ascii() != b"0" {
        return Err(refusal(&missing));
    }
    let mut packages: Vec<_> = missing.iter().map(|needed| needed.package).collect();
    packages.dedup();
    shown(apt().args(["update", "-qq"]))?;
    shown(apt().args(["install", "-qq", "-y", "--no-install-recommends"]).args(packages))?;
    match self::missing().first() {
        None => Ok(()),
        Some(left) => Err(format!("{} is still missing after installing", left.program)),
    }
}

fn missing() -> Vec<&'static Needed> {
    NEEDED.iter().filter(|needed| find_program(needed.program).is_none()).collect()
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Under this run level an installed server is not started; tests start their own.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
}

fn refusal(missing: &[&Needed]) -> String {
    let mut text = String::from("the tests need programs that are not here:\n");
    for needed in missing {
        text.push_str(&format!("  {:<16} {}\n", needed.package, needed.reason));
    }
    let packages: Vec<_> = missing.iter().map(|needed| needed.package).collect();
    text.push_str("run this as root, or install them:\n  sudo apt-get install ");
    text.push_str(&packages.join(" "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_each_package_and_the_command() {
        let text = refusal(&[&NEEDED[0], &NEEDED[3]]);
        assert!(text.contains("apt-get install openssh-server b3sum"), "{text}");
        assert!(text.contains(NEEDED[3].reason));
    }
}
