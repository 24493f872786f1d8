//! SkyPilot for one test: its program, and the files that it writes for ssh
//!
//! The program answers what `xfer` may ask it, in the words and with the noise of the real one, and
//! fails for anything else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::xfer::Xfer;

const PROGRAM: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/asked"
case "$1 $2" in
"down -y")
    [ $# -eq 3 ] || { echo "Usage: sky down -y CLUSTER" >&2; exit 2; }
    [ -e "$here/clusters/$3" ] || { echo "ValueError: cluster $3 does not exist" >&2; exit 1; }
    code=0
    [ ! -e "$here/down" ] || . "$here/down"
    mv "$here/clusters/$3" "$here/leaving/$3"
    echo "Terminating cluster $3...done." >&2
    exit $code ;;
"status --refresh")
    shift 2; set -- status "$@"
    for name in $(ls "$here/leaving"); do
        looks=$(cat "$here/lingers" 2>/dev/null || echo 0)
        if [ "$looks" -gt 0 ]; then echo $((looks - 1)) > "$here/lingers"
        else rm "$here/leaving/$name"; fi
    done ;;
"status "*) ;;
*) echo "Usage: sky status" >&2; exit 2 ;;
esac
if [ -e "$here/says" ]; then cat "$here/says"; exit "$(cat "$here/code")"; fi
case "$2 $3" in
"-o json")
    shift 3
    [ $# -gt 0 ] || set -- $(ls "$here/clusters" "$here/leaving" | sed '/:$/d')
    list=
    for name; do
        if [ -e "$here/clusters/$name" ]; then
            list="$list${list:+,}$(cat "$here/clusters/$name")"
        elif [ -e "$here/leaving/$name" ]; then
            list="$list${list:+,}$(sed 's/"status":"UP"/"status":"INIT"/' "$here/leaving/$name")"
        else
            printf 'Cluster(s) not found: \033[1m%s\033[0m.\n' "$name"
        fi
    done
    printf '[%s]\n' "$list" ;;
"--endpoints "*)
    [ -e "$here/endpoints/$3" ] || { echo "Aborted!" >&2; exit 1; }
    cat "$here/endpoints/$3" ;;
*) echo "Usage: sky status" >&2; exit 2 ;;
esac
"#;

/// The program
#[derive(Debug)]
pub struct Sky {
    directory: TempDir,
}

impl Default for Sky {
    fn default() -> Self {
        let directory = tempfile::Builder::new().prefix("sky-").tempdir().expect("temp dir");
        for name in ["clusters", "endpoints", "leaving"] {
            fs::create_dir(directory.path().join(name)).expect("create a directory");
        }
        let program = directory.path().join("sky");
        fs::write(&program, PROGRAM).expect("write");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set its mode");
        Self { directory }
    }
}

impl Sky {
    /// A `PATH` on which it is found first
    pub fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        format!("{}:{rest}", self.directory.path().display())
    }

    /// Has a cluster of this record
    pub fn put(&self, name: &str, record: &Value) {
        self.write("clusters", name, &record.to_string());
    }

    /// Has a cluster no more
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.directory.path().join("clusters").join(name)).expect("remove");
    }

    /// Shows a cluster that goes so many looks longer
    pub fn lingers(&self, looks: usize) {
        self.write(".", "lingers", &looks.to_string());
    }

    /// What the shell does as a cluster is to go: `exit 1` before it goes, or `code=1` after it
    pub fn fails_down(&self, script: &str) {
        self.write(".", "down", script);
    }

    /// What it prints of the ports that a cluster opened
    pub fn opens(&self, name: &str, text: &str) {
        self.write("endpoints", name, text);
    }

    /// What it says from now on, whatever it is asked, and how it ends
    pub fn says(&self, text: &[u8], code: i32) {
        fs::write(self.directory.path().join("code"), code.to_string()).expect("write");
        fs::write(self.directory.path().join("says"), text).expect("write");
    }

    /// The arguments of each of its runs so far
    pub fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn write(&self, place: &str, name: &str, text: &str) {
        fs::write(self.directory.path().join(place).join(name), text).expect("write");
    }
}

/// Writes the file of a cluster for ssh, as SkyPilot does it: `entries` are its hosts, each with
/// the lines that only it has
pub fn write_ssh_file(xfer: &Xfer, cluster: &str, key: &Path, entries: &[(&str, &str)]) -> PathBuf {
    let directory = xfer.home().join(".sky/generated/ssh");
    fs::create_dir_all(&directory).expect("create a directory");
    let path = directory.join(cluster);
    let entry = |(host, lines): &(&str, &str)| {
        format!(
            "# Added by sky (use `sky stop/down {cluster}` to remove)\nHost {host}\n{lines}\n  \
             IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  ForwardAgent yes\n  \
             StrictHostKeyChecking no\n  UserKnownHostsFile=/dev/null\n  \
             GlobalKnownHostsFile=/dev/null\n  SetEnv SKY_CLUSTER_NAME={cluster}-1a2b\n\n",
            key.display()
        )
    };
    fs::write(&path, entries.iter().map(entry).collect::<String>()).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set its mode");
    path
}
