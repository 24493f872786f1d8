#![expect(clippy::disallowed_methods, reason = "tests lay out the files themselves")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use xfer_protocol::message::{Access, OpenRoot};
use xfer_protocol::survey::Survey;

use crate::endpoint::Endpoint;
use crate::endpoint::local::{LocalEndpoint, LocalOptions};

/// A shell that did what it was told, and waits
struct Held(Child);

impl Held {
    fn new(script: &str, directory: &Path) -> Self {
        let mut child = Command::new("bash")
            .args(["-c", &format!("{script}; echo; read -r _")])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "{script}");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _gone = self.0.stdin.take().unwrap().write_all(b"\n");
        self.0.wait().unwrap();
    }
}

async fn writers(endpoint: &LocalEndpoint, root: &Path) -> Vec<(u32, Vec<u8>)> {
    let roots = vec![root.as_os_str().as_encoded_bytes().to_vec()];
    let found = endpoint.survey(Survey { number: 1, roots, outside: false }).await.unwrap();
    found.writers.into_iter().map(|file| (file.process.pid, file.path)).collect()
}

#[tokio::test]
async fn who_has_a_file_open_for_writing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("old"), b"x").unwrap();
    std::fs::write(directory.path().join("beside"), b"x").unwrap();
    let endpoint = LocalEndpoint::new(LocalOptions::default());
    assert_eq!(writers(&endpoint, &root).await, []);
    for (script, path) in [
        ("exec 3>new", Some("new")),
        ("exec 3>>old", Some("old")),
        ("exec 3<>old", Some("old")),
        ("exec 3>gone; rm gone", Some("gone (deleted)")),
        ("ln ../beside linked; exec 3>>../beside", Some("../beside")),
        ("exec 3<old", None),
        ("exec 3<.", None),
        ("exec 3>../other", None),
        ("mkfifo pipe; exec 3<>pipe", None),
    ] {
        let held = Held::new(script, &root);
        let found = writers(&endpoint, &root).await;
        let told: Vec<_> = found.iter().map(|(pid, _)| *pid).collect();
        assert_eq!(told, path.iter().map(|_| held.0.id()).collect::<Vec<_>>(), "{script}");
        if let Some(path) = path.filter(|path| !path.starts_with("..")) {
            assert_eq!(found[0].1, root.join(path).as_os_str().as_encoded_bytes(), "{script}");
        }
    }
    assert_eq!(writers(&endpoint, &root).await, []);
}

#[tokio::test]
async fn a_root_on_a_disk_is_written_back_and_one_in_memory_is_not() {
    let endpoint = LocalEndpoint::new(LocalOptions::default());
    for (place, works) in [("/var/tmp", true), ("/dev/shm", false)] {
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = directory.path().as_os_str().as_encoded_bytes().to_vec();
        let root = endpoint.open_root(OpenRoot { path, access: Access::Read }).await.unwrap();
        assert_eq!(endpoint.write_back(root.index).await.is_ok(), works, "{place}");
    }
}
